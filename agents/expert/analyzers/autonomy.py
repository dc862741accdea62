"""OpenYurt: what becomes of the pods of an edge node that the cloud does not hear of.

A node that is NotReady says that its heartbeats do not arrive, not that its pods are gone: with autonomy they go on.
The settings are node annotations, read in the order in which yurt-manager's pod-binding controller reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.expert.draft import Fix
from agents.expert.remedies import set_path
from assistant.domain.raw import fold_int, text
from assistant.domain.view import Thing, when

EDGE = "openyurt.io/is-edge-worker"
BINDING, LEGACY, DURATION = (
    "apps.openyurt.io/binding",
    "node.beta.openyurt.io/autonomy",
    "node.openyurt.io/autonomy-duration",
)
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SPOKEN = re.compile(r"^\s*(\d+)\s*(d|days?|h|hrs?|hours?|m|mins?|minutes?)\s*$", re.IGNORECASE)
DEFAULT = 300
"""Seconds that a pod stays on a node that is not ready, unless it says otherwise (DefaultTolerationSeconds)."""
_LOST = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")


@dataclass(frozen=True, slots=True)
class Autonomy:
    """How long a node's pods stay without the cloud: `seconds`, None for ever, 0 where the node has no autonomy.

    `field` is the annotation that says so; `wrong` its value where that cannot be read, which counts as none.
    """

    seconds: float | None
    field: str = ""
    wrong: str = ""


def is_edge(node: Thing) -> bool:
    """Say whether a node is an edge worker of OpenYurt."""
    return node.labels.get(EDGE) == "true"


def go_duration(value: str) -> float | None:
    """Return a Go duration ("24h", "1h30m", "0") in seconds, None for what Go would not parse."""
    sign, rest = (-1.0, value[1:]) if value.startswith("-") else (1.0, value.removeprefix("+"))
    if rest == "0":
        return 0.0
    parts = _PART.findall(rest)
    if not parts or "".join(n + u for n, u in parts) != rest:
        return None
    return sign * sum(float(number) * _SECONDS[unit] for number, unit in parts)


def autonomy(node: Thing) -> Autonomy:
    """Return a node's autonomy; a duration of 0 or less means for ever, one that cannot be read means none."""
    notes = node.annotations
    for name in (BINDING, LEGACY):
        if notes.get(name) == "true":
            return Autonomy(None, _path(name))
    value = notes.get(DURATION)
    if not isinstance(value, str):
        return Autonomy(0)
    seconds = go_duration(value)
    if seconds is None:
        return Autonomy(0, _path(DURATION), value or '""')
    return Autonomy(None if seconds <= 0 else seconds, _path(DURATION))


def _path(annotation: str) -> str:
    return f"metadata.annotations['{annotation}']"


def outlook(node: Thing, pods: Iterable[Thing]) -> str:
    """Return in words whether the pods of a node that is not ready stay, and until when (UTC)."""
    since = when(node.condition("Ready").get("lastTransitionTime"))
    mine, live = autonomy(node), "; what is listed as Running there is last known, not live"
    if mine.wrong:
        return f"its autonomy-duration {mine.wrong!r} cannot be read and counts as none, so its pods are evicted{live}"
    if mine.seconds is None:
        return f"its pods stay however long it takes (autonomy without an end), and no eviction is to be expected{live}"
    if mine.seconds:
        end = f" until {_clock(since, mine.seconds)}" if since is not None else ""
        length = node.annotations.get(DURATION)
        return f"its pods stay{end} (autonomy for {length}), and no eviction is to be expected before{live}"
    shortest = min((s for p in pods if (s := tolerated(p)) is not None), default=DEFAULT)
    end = f", at {_clock(since, shortest)}" if since is not None else ""
    return f"it has no autonomy, so its pods are evicted {shortest} s after that{end}{live}"


def tolerated(pod: Thing) -> int | None:
    """Return for how many seconds a pod tolerates that its node is lost, None for ever."""
    found = []
    for entry in pod.rows("spec.tolerations"):
        if entry.get("key") in _LOST or (not entry.get("key") and entry.get("operator") == "Exists"):
            if "tolerationSeconds" not in entry:
                return None
            found.append(fold_int(entry.get("tolerationSeconds")))
    return min(found, default=DEFAULT)


def _clock(since: datetime, seconds: float) -> str:
    return (since + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M UTC")


def give(node: Thing, neighbours: Iterable[Thing]) -> Fix | None:
    """Return the change that gives a node the autonomy that its neighbours have, None where they do not agree."""
    values = {text(n.annotations.get(DURATION)) for n in neighbours if n is not node and n.annotations.get(DURATION)}
    good = [v for v in values if go_duration(v) is not None]
    if len(good) != 1 or not node.annotations:
        return None
    title = f"Give node {node.name} an autonomy of {good[0]}, as its pool's other nodes have"
    return set_path(node, _path(DURATION), good[0], title, "pods that are still bound to it then stay")


def corrected(value: str) -> str:
    """Return what a duration in other words means in Go's, "" where it is not certain."""
    match = _SPOKEN.match(value)
    if match is None:
        return ""
    number, unit = int(match[1]), match[2][0].lower()
    return f"{number * 24}h" if unit == "d" else f"{number}{unit}"
