"""The drivers behind device classes, and the DaemonSets that run their plugins."""

from __future__ import annotations

import re

from agents.expert.devices.requests import class_selectors
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView, Thing

DRIVER = re.compile(r"device\.driver\s*==\s*(?:\"([\w./-]+)\"|'([\w./-]+)')")


def drivers_of(view: ClusterView, class_name: str) -> list[str]:
    """Return the drivers that the selectors of a class ask for by name."""
    selectors = class_selectors(view, class_name) or ()
    return list(dict.fromkeys(a or b for s in selectors for a, b in DRIVER.findall(s.expression)))


def plugin_of(view: ClusterView, driver: str) -> Thing | None:
    """Return the DaemonSet of a driver's plugin.

    It is the one whose template names the driver (argument, variable, path of its socket); else one that is called a
    DRA or kubelet plugin of the same vendor.
    """

    def names(value: object) -> bool:
        if isinstance(value, str):
            return driver in value
        if isinstance(value, dict):
            return any(names(v) for v in value.values())
        return isinstance(value, list) and any(names(v) for v in value)

    memo = view.memo("driver-plugins", logs=False)
    if driver not in memo:
        every = view.all("daemonsets.apps")
        found = next((d for d in every if names(d.map("spec.template.spec"))), None)
        memo[driver] = found or next((d for d in every if _called(d, driver)), None)
    plugin: Thing | None = memo[driver]
    return plugin


def _called(daemons: Thing, driver: str) -> bool:
    parts = driver.split(".")
    vendor = parts[-2] if len(parts) > 1 else driver
    images = (text(c.get("image")) for c in rows(daemons.at("spec.template.spec.containers")))
    words = set(re.split(r"[^a-z0-9]+", " ".join([daemons.name, *images]).lower()))
    return vendor in words and ("dra" in words or {"kubelet", "plugin"} <= words)
