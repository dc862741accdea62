"""Table answers: the rows that kubectl prints, with the columns of the real printers (pkg/printers)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assistant.cluster.bundle import parse_time

Object = dict[str, Any]
Cell = Callable[[Object, datetime], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `wide` ones are shown with `-o wide` only."""

    name: str
    cell: Cell
    type: str = "string"
    wide: bool = False

    def definition(self) -> Object:
        """Return the column as the API describes it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": "name" if self.name == "Name" else "",
            "description": "",
            "priority": int(self.wide),
        }


def duration(seconds: float) -> str:
    """Return an age as kubectl prints it (apimachinery `duration.HumanDuration`)."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        rest = whole % 60
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        rest = hours % 24
        return f"{days}d{rest}h" if rest else f"{days}d"
    if days < 730:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if years < 8 and rest else f"{years}y"


def ago(value: Any, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was, `<unknown>` without one."""
    moment = parse_time(value)
    return duration((now - moment).total_seconds()) if moment else "<unknown>"


def age(item: Object, now: datetime) -> str:
    """Return the age of an object."""
    return ago(item["metadata"].get("creationTimestamp"), now)


def name(item: Object, now: datetime) -> str:
    """Return the name of an object."""
    return str(item["metadata"].get("name", ""))


NAME = Column("Name", name)
AGE = Column("Age", age)


def at(*path: str | int, default: Any = "") -> Cell:
    """Return a cell that reads one field."""

    def cell(item: Object, now: datetime) -> Any:
        value: Any = item
        for part in path:
            if isinstance(part, int):
                value = value[part] if isinstance(value, list) and len(value) > part else None
            else:
                value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value

    return cell


def printer_columns(definition: Object, version: str) -> list[Column]:
    """Return the columns that a CustomResourceDefinition asks for, Name first; without any, Name and Age."""
    spec = definition.get("spec") or {}
    wanted = next(
        (v.get("additionalPrinterColumns") for v in spec.get("versions") or [] if v.get("name") == version), None
    )
    if not wanted:
        return [NAME, AGE]
    return [NAME, *(_printer_column(column) for column in wanted)]


def _printer_column(column: Object) -> Column:
    path, kind = str(column.get("jsonPath", "")), str(column.get("type", "string"))

    def cell(item: Object, now: datetime) -> Any:
        value = json_path(item, path)
        if kind == "date":
            return ago(value, now) if value is not None else None
        return value if value is None or isinstance(value, str | int | float | bool) else str(value)

    return Column(str(column.get("name", "")), cell, kind, wide=bool(column.get("priority")))


_PART = re.compile(r"\.?(?:([\w-]+)|\[(\d+|\*)\]|\[\?\(@\.([\w.-]+)\s*==\s*['\"]([^'\"]*)['\"]\)\]|\['([^']+)'\])")


def json_path(item: Any, path: str) -> Any:
    """Return the first value of a JSONPath of the simple kind that printer columns use, None if it is not there."""
    position = 0
    path = path.replace("\\.", "\0")
    while position < len(path):
        match = _PART.match(path, position)
        if match is None:
            return None
        field, index, key, value, quoted = match.groups()
        if field or quoted:
            wanted = (field or quoted).replace("\0", ".")
            item = item.get(wanted) if isinstance(item, dict) else None
        elif key is not None:
            item = (
                next((e for e in item if isinstance(e, dict) and str(e.get(key)) == value), None)
                if isinstance(item, list)
                else None
            )
        elif isinstance(item, list):
            item = (
                item[0]
                if index == "*" and item
                else item[int(index)]
                if index != "*" and int(index) < len(item)
                else None
            )
        else:
            return None
        position = match.end()
    return item
