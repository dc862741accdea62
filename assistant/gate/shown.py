"""What people and the journal may see of a request's body: the same body without secret values.

Apart because a JSON patch (RFC 6902) holds a value beside the path that makes it a secret, so each operation is judged
as the object it would be part of.
"""

from __future__ import annotations

from typing import Any, Final

from assistant.policy.redact import Redactor

_WITHHELD: Final = "(withheld)"


def shown_body(redactor: Redactor, parsed: Any, kind: str, live: Any) -> Any:
    """Return a parsed body without secret values; `live` names the list items that a JSON patch counts."""
    if isinstance(parsed, list):
        return [_operation(redactor, item, kind, live) for item in parsed]
    return redactor.object(parsed, kind)[0]


def _operation(redactor: Redactor, item: Any, kind: str, live: Any) -> Any:
    if not isinstance(item, dict) or "value" not in item:
        return item
    parts = [part.replace("~1", "/").replace("~0", "~") for part in str(item.get("path", "")).split("/")[1:]]
    nested = _nested(parts, item["value"], live)
    whole = {"kind": kind, **nested} if isinstance(nested, dict) else nested
    clean = redactor.object(whole, kind)[0]
    return {**item, "value": _taken(parts, clean)}


def _nested(parts: list[str], value: Any, live: Any) -> Any:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    if head != "-" and not (head.isdigit() and isinstance(live, list)):
        return {head: _nested(rest, value, live.get(head) if isinstance(live, dict) else None)}
    index = int(head) if head.isdigit() else -1
    item = live[index] if isinstance(live, list) and 0 <= index < len(live) else None
    inner = _nested(rest, value, item)
    if rest and isinstance(inner, dict) and isinstance(item, dict) and "name" in item:
        # An environment variable's name decides whether its value is secret, and only the live object knows it.
        inner = {"name": item["name"], **inner}
    return [inner]


def _taken(parts: list[str], clean: Any) -> Any:
    for part in parts:
        if isinstance(clean, list) and clean:
            clean = clean[0]
        elif isinstance(clean, dict) and part in clean:
            clean = clean[part]
        else:
            return _WITHHELD
    return clean
