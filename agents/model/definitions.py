"""The tools as the model is told of them. Few and short: they are sent with every call, so every word costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agents.model import answer

_TEXT: Final = {"type": "string"}
_IDS: Final = {"type": "array", "items": _TEXT}
CHANGE: Final = "propose_change"

_TOLD: Final[Mapping[str, tuple[str, Mapping[str, Any], tuple[str, ...]]]] = {
    "get": (
        "One object, projected to what matters; `path` shows all of a part.",
        {"kind": _TEXT, "name": _TEXT, "namespace": _TEXT, "path": _TEXT}, ("kind", "name"),
    ),
    "list": (
        "Objects of a kind, one line each, the unwell first.",
        {"kind": _TEXT, "namespace": _TEXT, "match": {**_TEXT, "description": "part of a line"}}, ("kind",),
    ),
    "logs": (
        "A container's log, grouped by pattern. `pod` may be its workload's name.",
        {"pod": _TEXT, "container": _TEXT, "namespace": _TEXT, "previous": {"type": "boolean"},
         "find": {**_TEXT, "description": "only lines with this"}}, ("pod",),
    ),
    "events": (
        "Events, alike ones as one: of an object and what belongs to it, or of the namespace.",
        {"kind": _TEXT, "name": _TEXT, "namespace": _TEXT}, (),
    ),
    "more": (
        "More of an evidence you read: the next lines, or those with `find`.",
        {"id": _TEXT, "find": _TEXT}, ("id",),
    ),
    "suppose": (
        "Put the causes that are possible on the board.",
        {"hypotheses": {"type": "array", "items": {
            "type": "object", "required": ["cause"],
            "properties": {"cause": _TEXT, "for": _IDS, "against": _IDS, "decides": _TEXT}}}}, ("hypotheses",),
    ),
    CHANGE: (
        "Suggest a change: only the fields that change, entries of lists with their name. A person decides.",
        {"title": _TEXT, "kind": _TEXT, "name": _TEXT, "namespace": _TEXT, "patch": {"type": "object"}, "why": _TEXT},
        ("title", "kind", "name", "patch", "why"),
    ),
}  # fmt: skip
READING: Final = ("get", "list", "logs", "events", "more")
ALL: Final = (*_TOLD, answer.NAME)


def definitions(names: Iterable[str] = ALL) -> list[dict[str, Any]]:
    """Return the definitions of these tools as the chat completions protocol has them."""
    return [answer.tool() if name == answer.NAME else _definition(name) for name in names]


def _definition(name: str) -> dict[str, Any]:
    about, properties, required = _TOLD[name]
    parameters = {"type": "object", "properties": dict(properties), "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}
