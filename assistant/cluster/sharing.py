"""Keeps one copy of what many objects of a list have in common, and drops what nobody reads.

Apart from the client, because it is about memory and nothing else: the pods of a workload carry the same environment,
probes and volumes, and decoded JSON takes about five times the room of its text (measured).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

# Lists whose items have names of their own (a pod's token volume does), but parts in common.
_NAMED: Final = ("containers", "initContainers", "ephemeralContainers", "volumes")
_LARGEST_BYTES: Final = 65_536
_WRITTEN: Final = ("manager", "operation", "subresource", "time")


class Shared:
    """The parts seen so far in one list. What it returns must not be changed in place: others hold it too."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._seen: dict[bytes, Any] = {}

    def items(self, items: Iterable[Any]) -> list[dict[str, Any]]:
        """Return the objects among `items` with equal parts of their specs held once.

        Of managedFields (ObjectMeta) is kept who wrote when, not which fields: they are the most of many objects.
        """
        kept = [item for item in items if isinstance(item, dict)]
        for item in kept:
            meta, spec = item.get("metadata"), item.get("spec")
            if isinstance(meta, dict):
                if "managedFields" in meta:
                    _shorten(meta)
                self._parts(meta)
            if isinstance(spec, dict):
                template = spec.get("template")
                inner = template.get("spec") if isinstance(template, dict) else None
                self._spec(inner if isinstance(inner, dict) else spec)
        return kept

    def _spec(self, spec: dict[str, Any]) -> None:
        for group in _NAMED:
            named = spec.get(group)
            for item in named if isinstance(named, list) else ():
                if isinstance(item, dict):
                    self._parts(item)
        self._parts(spec, _NAMED)

    def _parts(self, whole: dict[str, Any], left: tuple[str, ...] = ()) -> None:
        for name, value in whole.items():
            if isinstance(value, dict | list) and name not in left:
                key = msgspec.json.encode(value)
                if len(key) <= _LARGEST_BYTES:
                    whole[name] = self._seen.setdefault(key, value)


def _shorten(meta: dict[str, Any]) -> None:
    written = meta.pop("managedFields")
    kept = [
        {name: each[name] for name in _WRITTEN if name in each}
        for each in (written if isinstance(written, list) else ())
        if isinstance(each, dict)
    ]
    if kept:
        meta["managedFields"] = kept
