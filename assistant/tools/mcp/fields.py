"""One field of a server's form: what a person reads of it, and what they typed as the value that its schema takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from assistant.domain.asking import Choice, Field, FieldKind
from assistant.errors import UsageError
from assistant.policy.redact_names import sensitive_name
from assistant.policy.sanitize import safe
from assistant.tools.mcp.faults import McpQuestionError
from assistant.tools.mcp.texts import line

Values = Mapping[str, "str | tuple[str, ...]"]
Content = str | int | float | bool | list[str] | None
LONGEST_NAME: Final = 128
LONGEST_TITLE: Final = 120
LONGEST_ABOUT: Final = 600
LONGEST_VALUE: Final = 10_000
MOST_CHOICES: Final = 200
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_YES: Final = frozenset({"yes", "y", "true", "on", "1"})
_NO: Final = frozenset({"no", "n", "false", "off", "0"})
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(
    _DAY.pattern + r"[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def described(name: str, schema: Mapping[str, Any], required: bool) -> Field:
    """Return a field as a person sees it. Raises McpQuestionError for one that people cannot be asked."""
    if not 0 < len(name) <= LONGEST_NAME or safe(name, multiline=False) != name:
        raise McpQuestionError("A field of the server's form has a name that cannot be shown.", "It was told no.")
    title, about = schema.get("title"), schema.get("description")
    titled = title if isinstance(title, str) and title.strip() else name
    if sensitive_name(name) or sensitive_name(titled) or schema.get("format") == "password":
        raise McpQuestionError(
            f"The server asks for a secret in a form ({line(titled, LONGEST_TITLE)}), which MCP forbids.",
            "It was told no. A server may name an address for that, or take it from its own configuration.",
        )
    kind, options = _kind(name, schema)
    return Field(
        name, line(titled, LONGEST_TITLE), kind, line(about, LONGEST_ABOUT), required, options,
        _preset(kind, schema.get("default"), options), _hint(kind, schema),
    )  # fmt: skip


def taken(field: Field, schema: Mapping[str, Any], value: str | tuple[str, ...]) -> Content:
    """Return a typed value as the schema takes it, None where nothing was typed and nothing is needed.

    Raises UsageError with a sentence for the person.
    """
    if field.kind is FieldKind.CHOICES:
        return _several(field, schema, value)
    text = value if isinstance(value, str) else ", ".join(value)
    if len(text) > LONGEST_VALUE:
        raise UsageError(f"{field.title}: this is too long.", f"At most {LONGEST_VALUE} characters are taken.")
    if not text.strip():
        if field.required:
            raise UsageError(f"{field.title} is needed.", field.hint or "Fill it in, or decline the question.")
        return None
    match field.kind:
        case FieldKind.YES_NO:
            return _yes_or_no(field, text.strip().lower())
        case FieldKind.INTEGER | FieldKind.NUMBER:
            return _number(field, schema, text.strip())
        case FieldKind.CHOICE:
            return _one(field, text)
        case _:
            return _text(field, schema, text)


def _kind(name: str, schema: Mapping[str, Any]) -> tuple[FieldKind, tuple[Choice, ...]]:
    match schema.get("type"):
        case "string" if "oneOf" in schema or "enum" in schema:
            return FieldKind.CHOICE, _options(name, schema, "oneOf")
        case "string":
            return FieldKind.TEXT, ()
        case "number":
            return FieldKind.NUMBER, ()
        case "integer":
            return FieldKind.INTEGER, ()
        case "boolean":
            return FieldKind.YES_NO, ()
        case "array" if isinstance(schema.get("items"), dict):
            return FieldKind.CHOICES, _options(name, schema["items"], "anyOf")
        case _:
            raise McpQuestionError(
                f"The field {line(name, LONGEST_TITLE)} of the server's form is of a kind that cannot be asked.",
                "It was told no.",
            )


def _options(name: str, schema: Mapping[str, Any], titled: str) -> tuple[Choice, ...]:
    given, names = schema.get(titled), schema.get("enumNames")
    if isinstance(given, list):
        pairs = [(each.get("const"), each.get("title")) if isinstance(each, dict) else (None, None) for each in given]
    else:
        plain = schema.get("enum")
        plain = plain if isinstance(plain, list) else []
        named = names if isinstance(names, list) and len(names) == len(plain) else plain
        pairs = list(zip(plain, named, strict=True))
    values = [value for value, _ in pairs]
    if not 0 < len(pairs) <= MOST_CHOICES or len(set(map(str, values))) < len(values):
        raise McpQuestionError(
            f"The field {line(name, LONGEST_TITLE)} of the server's form has no choices that can be shown.",
            "It was told no.",
        )
    made = []
    for value, title in pairs:
        if not isinstance(value, str) or len(value) > LONGEST_VALUE:
            raise McpQuestionError(
                f"The field {line(name, LONGEST_TITLE)} of the server's form has a choice that is no text.",
                "It was told no.",
            )
        made.append(Choice(value, line(title, LONGEST_TITLE) or line(value, LONGEST_TITLE) or "(empty)"))
    return tuple(made)


def _preset(kind: FieldKind, default: object, options: tuple[Choice, ...]) -> str:
    """Return a default as it would be typed, "" for none or one that does not fit."""
    known = {each.value for each in options}
    match kind:
        case FieldKind.YES_NO:
            return ("yes" if default else "no") if isinstance(default, bool) else ""
        case FieldKind.INTEGER | FieldKind.NUMBER:
            fits = isinstance(default, int | float) and not isinstance(default, bool) and math.isfinite(default)
            return str(default) if fits and len(str(default)) <= LONGEST_TITLE else ""
        case FieldKind.CHOICE:
            return default if isinstance(default, str) and default in known else ""
        case FieldKind.CHOICES:
            chosen = default if isinstance(default, list) else []
            fits = all(isinstance(each, str) and each in known and "," not in each for each in chosen)
            return ", ".join(chosen) if fits else ""
        case FieldKind.TEXT:
            # What cannot be shown as it is, is not sent as if a person had typed it.
            shown = isinstance(default, str) and len(default) <= LONGEST_VALUE and safe(default) == default
            return str(default) if shown else ""


def _hint(kind: FieldKind, schema: Mapping[str, Any]) -> str:
    match kind:
        case FieldKind.INTEGER | FieldKind.NUMBER:
            return _between("", _bound(schema, "minimum"), _bound(schema, "maximum"), "")
        case FieldKind.CHOICES:
            return _between("choose ", _bound(schema, "minItems"), _bound(schema, "maxItems"), "")
        case FieldKind.TEXT:
            long = _between("", _bound(schema, "minLength"), _bound(schema, "maxLength"), " characters")
            format_ = schema.get("format")
            said = _FORMATS[format_][0] if isinstance(format_, str) and format_ in _FORMATS else ""
            pattern = schema.get("pattern")
            shaped = f"of the form {line(pattern, LONGEST_TITLE)}" if isinstance(pattern, str) else ""
            return ", ".join(each for each in (said, long, shaped) if each)
        case _:
            return ""


def _between(before: str, least: float | None, most: float | None, after: str) -> str:
    if least is not None and most is not None:
        return f"{before}{least:g} to {most:g}{after}"
    if least is not None:
        return f"{before}at least {least:g}{after}"
    return f"{before}at most {most:g}{after}" if most is not None else ""


def _bound(schema: Mapping[str, Any], name: str) -> float | None:
    value = schema.get(name)
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
    return value if fits else None


def _within(field: Field, schema: Mapping[str, Any], names: tuple[str, str], value: float) -> None:
    least, most = _bound(schema, names[0]), _bound(schema, names[1])
    if (least is not None and value < least) or (most is not None and value > most):
        raise UsageError(f"{field.title}: this is not taken.", f"It takes {field.hint}.")


def _yes_or_no(field: Field, text: str) -> bool:
    if text not in _YES | _NO:
        raise UsageError(f"{field.title}: this is neither yes nor no.", "Type yes or no.")
    return text in _YES


def _number(field: Field, schema: Mapping[str, Any], text: str) -> int | float:
    whole = field.kind is FieldKind.INTEGER
    if (_INTEGER if whole else _NUMBER).fullmatch(text) is None:
        raise UsageError(f"{field.title}: this is no {'whole ' if whole else ''}number.", "Type digits.")
    made = int(text) if _INTEGER.fullmatch(text) else float(text)
    if not math.isfinite(made):
        raise UsageError(f"{field.title}: this is no number that can be sent.", "Type a smaller one.")
    _within(field, schema, ("minimum", "maximum"), made)
    return made


def _one(field: Field, text: str) -> str:
    known = {each.value for each in field.choices}
    by_title = {each.title: each.value for each in field.choices}
    if text in known:
        return text
    if text in by_title:
        return by_title[text]
    raise UsageError(f"{field.title}: this is none of the choices.", f"They are: {_choices(field)}.")


def _several(field: Field, schema: Mapping[str, Any], value: str | tuple[str, ...]) -> list[str] | None:
    given = [each.strip() for each in value.split(",")] if isinstance(value, str) else list(value)
    chosen = list(dict.fromkeys(_one(field, each) for each in given if each))
    if not chosen and not field.required:
        return None
    if not chosen and _bound(schema, "minItems") is None:
        raise UsageError(f"{field.title} is needed.", f"Choose of: {_choices(field)}.")
    _within(field, schema, ("minItems", "maxItems"), len(chosen))
    return chosen


def _choices(field: Field) -> str:
    named = ", ".join(each.title for each in field.choices[:10])
    return named + (", …" if len(field.choices) > 10 else "")


def _text(field: Field, schema: Mapping[str, Any], text: str) -> str:
    _within(field, schema, ("minLength", "maxLength"), len(text))
    format_ = schema.get("format")
    if isinstance(format_, str) and format_ in _FORMATS:
        said, fits = _FORMATS[format_]
        if not fits(text):
            raise UsageError(f"{field.title}: this is not {said}.", "Correct it, or decline the question.")
    return text


def _is_email(text: str) -> bool:
    name, at, host = text.rpartition("@")
    return bool(at and name and "." in host) and not re.search(r"\s", text) and "@" not in name


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"\s", text)


def _is_date(text: str) -> bool:
    return _DAY.fullmatch(text) is not None and _reads(date.fromisoformat, text)


def _is_moment(text: str) -> bool:
    return _MOMENT.fullmatch(text) is not None and _reads(datetime.fromisoformat, text.upper())


def _reads(reader: Callable[[str], object], text: str) -> bool:
    try:
        reader(text)
    except ValueError:
        return False
    return True


_FORMATS: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "email": ("an email address", _is_email),
    "uri": ("an address with its scheme", _is_uri),
    "date": ("a date like 2026-01-31", _is_date),
    "date-time": ("a time like 2026-01-31T14:00:00Z", _is_moment),
}
