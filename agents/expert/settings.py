"""Where a container's settings come from, so that a complaint in its log can be joined to the object that holds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.expert.workload import Container, Workload
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import ClusterView, Thing


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: `name` as the container sees it (a variable or a file path), and the field that holds it.

    `value` is None where it is secret. `holder` is the object to change, `path` the field in it.
    """

    name: str
    value: str | None
    holder: Thing
    path: str
    is_file: bool = False


def settings_of(view: ClusterView, workload: Workload, container: Container) -> list[Setting]:
    """Return every setting of a container that the view can resolve, the most specific first."""
    namespace = container.pod.namespace
    found: list[Setting] = []
    own = workload.thing if container.path else container.pod
    base = container.path or f"spec.{'initContainers' if container.init else 'containers'}[{container.name}]"
    spec = mapping(own.at(base)) or container.spec
    for index, env in enumerate(rows(spec.get("env"))):
        name, source = text(env.get("name")), mapping(env.get("valueFrom"))
        config, secret = mapping(source.get("configMapKeyRef")), mapping(source.get("secretKeyRef"))
        if config:
            found += _keyed(view, namespace, "ConfigMap", text(config.get("name")), text(config.get("key")), name)
        elif secret:
            found += _keyed(view, namespace, "Secret", text(secret.get("name")), text(secret.get("key")), name)
        elif not source:
            found.append(Setting(name, text(env.get("value")), own, f"{base}.env[{index}].value"))
    for source in rows(spec.get("envFrom")):
        prefix = text(source.get("prefix"))
        for ref, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            holder = view.find(kind, namespace, text(mapping(source.get(ref)).get("name")))
            if holder is not None:
                found += [_setting(holder, key, prefix + key) for key in holder.map("data")]
    for field in ("command", "args"):
        for index, word in enumerate(texts(spec.get(field))):
            found.append(Setting(f"{field}[{index}]", word, own, f"{base}.{field}[{index}]"))
    return found + _files(view, namespace, spec, workload)


def _keyed(view: ClusterView, namespace: str, kind: str, name: str, key: str, variable: str) -> list[Setting]:
    holder = view.find(kind, namespace, name)
    return [_setting(holder, key, variable)] if holder is not None and key in holder.map("data") else []


def _setting(holder: Thing, key: str, name: str, is_file: bool = False) -> Setting:
    value = holder.map("data").get(key)
    path = f"data.{key}" if re.fullmatch(r"[\w-]+", key) else f"data['{key}']"
    return Setting(
        name, value if holder.kind == "ConfigMap" and isinstance(value, str) else None, holder, path, is_file
    )


def _files(view: ClusterView, namespace: str, spec: Mapping[str, Any], workload: Workload) -> list[Setting]:
    volumes = {text(v.get("name")): v for v in rows(workload.spec.get("volumes"))}
    found = []
    for mount in rows(spec.get("volumeMounts")):
        volume = volumes.get(text(mount.get("name")), {})
        sources = [mapping(volume.get("configMap")), mapping(volume.get("secret"))]
        sources += [
            mapping(s.get(k))
            for s in rows(mapping(volume.get("projected")).get("sources"))
            for k in ("configMap", "secret")
        ]
        for source in sources:
            name = text(source.get("name")) or text(source.get("secretName"))
            for kind in ("ConfigMap", "Secret"):
                holder = view.find(kind, namespace, name) if name else None
                if holder is None:
                    continue
                places = {text(i.get("key")): text(i.get("path")) for i in rows(source.get("items"))}
                for key in holder.map("data"):
                    place = places.get(key, key if not places else "")
                    sub, at = text(mount.get("subPath")), text(mount.get("mountPath")).rstrip("/")
                    if place and (not sub or sub == place):
                        found.append(_setting(holder, key, at if sub else f"{at}/{place}", is_file=True))
    return found
