"""A server's form becomes fields for a person, and what they type becomes the values that the form takes."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest

from assistant.domain.asking import Choice, Field, FieldKind, Reply
from assistant.errors import UsageError
from assistant.tools.mcp.elicitation import Address, Check, address, answering, content, form
from assistant.tools.mcp.faults import McpQuestionError
from assistant.tools.mcp.fields import MOST_CHOICES, Values


def asks(properties: Any, required: Any = (), **more: Any) -> types.ElicitRequestFormParams:
    schema = {"type": "object", "properties": properties, "required": list(required), **more}
    return types.ElicitRequestFormParams(message="Tell me.", requested_schema=schema)


def one(schema: dict[str, Any], *, required: bool = False) -> Field:
    return form(asks({"it": schema}, ["it"] if required else []))[0]


def typed(schema: dict[str, Any], value: str | tuple[str, ...], *, required: bool = False) -> Any:
    return content(asks({"it": schema}, ["it"] if required else []), {"it": value}).get("it")


TEAMS = {"oneOf": [{"const": "a", "title": "Team A"}, {"const": "b", "title": "Team B"}], "type": "string"}
SEVERAL = {"type": "array", "items": {"anyOf": TEAMS["oneOf"]}, "minItems": 1, "maxItems": 1}


@pytest.mark.parametrize(
    ("schema", "kind", "hint"),
    [
        ({"type": "string"}, FieldKind.TEXT, ""),
        ({"type": "string", "minLength": 2, "maxLength": 9}, FieldKind.TEXT, "2 to 9 characters"),
        ({"type": "string", "format": "email"}, FieldKind.TEXT, "an email address"),
        ({"type": "string", "format": "date"}, FieldKind.TEXT, "a date like 2026-01-31"),
        ({"type": "string", "pattern": "^a+$"}, FieldKind.TEXT, "of the form ^a+$"),
        ({"type": "integer", "minimum": 1, "maximum": 5}, FieldKind.INTEGER, "1 to 5"),
        ({"type": "number", "minimum": 0.5}, FieldKind.NUMBER, "at least 0.5"),
        ({"type": "boolean"}, FieldKind.YES_NO, ""),
        ({"type": "string", "enum": ["a", "b"]}, FieldKind.CHOICE, ""),
        (TEAMS, FieldKind.CHOICE, ""),
        (SEVERAL, FieldKind.CHOICES, "choose 1 to 1"),
        ({"type": "array", "items": {"enum": ["a"]}, "maxItems": 2}, FieldKind.CHOICES, "choose at most 2"),
    ],
)
def test_every_kind_of_field_is_told(schema: dict[str, Any], kind: FieldKind, hint: str) -> None:
    field = one(schema)
    assert (field.kind, field.hint, field.required) == (kind, hint, False)


def test_choices_have_titles_where_the_server_gives_them() -> None:
    assert one(TEAMS).choices == (Choice("a", "Team A"), Choice("b", "Team B"))
    assert one({"type": "string", "enum": ["a"], "enumNames": ["Team A"]}).choices == (Choice("a", "Team A"),)
    assert one({"type": "string", "enum": ["a"], "enumNames": []}).choices == (Choice("a", "a"),)


def test_titles_and_words_are_safe_short_and_plain_text() -> None:
    field = one({"type": "string", "title": "Who\x1b[2J\u202e", "description": "x" * 5_000})
    assert not set("\x1b\u202e") & set(field.title)
    assert len(field.about) <= 600
    assert type(field.title) is str


@pytest.mark.parametrize(
    ("schema", "preset"),
    [
        ({"type": "boolean", "default": True}, "yes"),
        ({"type": "boolean", "default": "yes"}, ""),
        ({"type": "integer", "default": 3}, "3"),
        ({"type": "number", "default": float("inf")}, ""),
        ({**TEAMS, "default": "b"}, "b"),
        ({**TEAMS, "default": "c"}, ""),
        ({**SEVERAL, "default": ["a", "b"]}, "a, b"),
        ({"type": "string", "default": "shop"}, "shop"),
        ({"type": "string", "default": "sh\u200bop"}, ""),
    ],
)
def test_a_default_is_told_where_it_fits_and_can_be_seen(schema: dict[str, Any], preset: str) -> None:
    assert one(schema).preset == preset


@pytest.mark.parametrize(
    ("schema", "value", "made"),
    [
        ({"type": "string"}, "web", "web"),
        ({"type": "integer"}, " 12 ", 12),
        ({"type": "number"}, "1.5e2", 150.0),
        ({"type": "number"}, "7", 7),
        ({"type": "boolean"}, "Yes", True),
        ({"type": "boolean"}, "false", False),
        (TEAMS, "a", "a"),
        (TEAMS, "Team B", "b"),
        (SEVERAL, ("a",), ["a"]),
        (SEVERAL, "Team A", ["a"]),
        ({"type": "string", "format": "email"}, "a@b.example", "a@b.example"),
        ({"type": "string", "format": "uri"}, "https://a.example/x", "https://a.example/x"),
        ({"type": "string", "format": "date"}, "2026-02-28", "2026-02-28"),
        ({"type": "string", "format": "date-time"}, "2026-02-28T10:00:00Z", "2026-02-28T10:00:00Z"),
        ({"type": "string", "format": "something"}, "x", "x"),
        ({"type": "string"}, "", None),
        (SEVERAL, (), None),
    ],
)
def test_what_is_typed_becomes_the_forms_type(schema: dict[str, Any], value: Any, made: Any) -> None:
    got = typed(schema, value)
    assert got == made
    assert type(got) is type(made)


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"type": "string"}, "", "it is needed"),
        ({"type": "string", "minLength": 3}, "ab", "not taken"),
        ({"type": "string"}, "x" * 10_001, "too long"),
        ({"type": "integer"}, "1.5", "no whole number"),
        ({"type": "integer"}, "1_000", "no whole number"),
        ({"type": "integer", "maximum": 5}, "6", "not taken"),
        ({"type": "number"}, "nan", "no number"),
        ({"type": "number"}, "1e999", "no number"),
        ({"type": "boolean"}, "perhaps", "neither yes nor no"),
        (TEAMS, "c", "none of the choices"),
        (SEVERAL, ("a", "b"), "not taken"),
        (SEVERAL, ("c",), "none of the choices"),
        (SEVERAL, (), "not taken"),
        ({"type": "string", "format": "email"}, "nobody", "not an email address"),
        ({"type": "string", "format": "date"}, "2026-02-30", "not a date"),
        ({"type": "string", "format": "date-time"}, "2026-02-28 10:00", "not a time"),
        ({"type": "string", "format": "uri"}, "somewhere", "not an address"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(schema: dict[str, Any], value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        typed(schema, value, required=True)
    assert caught.value.hint


@pytest.mark.parametrize(
    "params",
    [
        asks({"it": {"type": "object", "properties": {}}}),
        asks({"it": {"type": "array", "items": {"type": "string"}}}),
        asks({"it": {"type": "string", "enum": []}}),
        asks({"it": {"type": "string", "enum": ["a", "a"]}}),
        asks({"it": {"type": "string", "enum": [1, 2]}}),
        asks({"it": {"type": "string", "enum": [str(number) for number in range(MOST_CHOICES + 1)]}}),
        asks({"it": {}}),
        asks({"it": 3}),
        asks([]),
        asks({}, ["other"]),
        asks({"a\u202eb": {"type": "string"}}),
        asks({f"f{number}": {"type": "string"} for number in range(50)}),
        types.ElicitRequestFormParams(message="x", requested_schema={"type": "string"}),
    ],
)
def test_what_people_cannot_be_asked_is_refused(params: types.ElicitRequestFormParams) -> None:
    with pytest.raises(McpQuestionError):
        form(params)


@pytest.mark.parametrize(
    "schema",
    [
        {"password": {"type": "string"}},
        {"x": {"type": "string", "title": "API token"}},
        {"x": {"type": "string", "format": "password"}},
    ],
)
def test_a_form_may_not_ask_for_a_secret(schema: dict[str, Any]) -> None:
    with pytest.raises(McpQuestionError, match="MCP forbids"):
        form(asks(schema))


def goes_to(url: str) -> types.ElicitRequestURLParams:
    return types.ElicitRequestURLParams(message="Log in.", url=url)


def test_an_address_is_told_with_its_host() -> None:
    assert address(goes_to("https://login.example:8443/a?b=c")) == Address(
        "https://login.example:8443/a?b=c", "login.example:8443"
    )


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "file:///etc/passwd", "http://login.example/", "https://good.example@evil.example/",
        "https://l\u043egin.example/", "https://a.example/\u202e", "https://a.example/ b", "https://[bad", "https://",
        "https://a.example/" + "x" * 3_000,
    ],
)  # fmt: skip
def test_an_address_that_hides_where_it_goes_is_refused(url: str) -> None:
    with pytest.raises(McpQuestionError):
        address(goes_to(url))


class Said:
    def __init__(self, reply: Reply, **values: str) -> None:
        self.reply = reply
        self.values = values


class Desk:
    """Answers at once with what it was made with, as the session's desk does it."""

    def __init__(self, *said: Said) -> None:
        self.said = list(said)
        self.put: list[tuple[Any, ...]] = []

    async def __call__(
        self, server: str, message: str, fields: Any = (), url: str = "", check: Check | None = None
    ) -> Said:
        self.put.append((server, message, [each.name for each in fields], url))
        said = self.said.pop(0)
        values: Values = said.values
        if check is not None and said.reply is Reply.ACCEPT:
            check(values)
        return said


async def test_an_answer_is_in_the_protocols_words() -> None:
    desk = Desk(Said(Reply.ACCEPT, n="4"), Said(Reply.DECLINE), Said(Reply.CANCEL, n="5"), Said(Reply.ACCEPT))
    elicit, params = answering(desk), asks({"n": {"type": "integer"}})
    made = [await elicit("web", params) for _ in range(3)]
    assert [(each.action, each.content) for each in made] == [("accept", {"n": 4}), ("decline", None), ("cancel", None)]
    assert (await elicit("web", goes_to("https://login.example/"))).action == "accept"
    assert desk.put[0] == ("web", "Tell me.", ["n"], "")
    assert desk.put[3] == ("web", "Log in.", [], "https://login.example/")


async def test_what_cannot_be_put_is_declined_and_nobody_is_asked() -> None:
    desk = Desk()
    elicit = answering(desk)
    for question in (asks({"token": {"type": "string"}}), goes_to("http://evil.example/")):
        assert (await elicit("web", question)).action == "decline"
    assert desk.put == []
