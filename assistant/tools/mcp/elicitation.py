"""What a server wants to know, as a form that a person can fill in, and what they typed, as the protocol wants it back.

Forms are flat and hold no secrets: what is not like that is not put to a person, and the server gets a no. An address
that a server wants looked at is shown, with its host, and opened by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import mcp_types as types

from assistant.domain.asking import Field, Reply
from assistant.errors import PilothouseError
from assistant.tools.mcp.faults import McpQuestionError
from assistant.tools.mcp.fields import Content, Values, described, taken
from assistant.tools.mcp.questions import Elicit
from assistant.tools.mcp.texts import line, lines

MOST_FIELDS: Final = 24
LONGEST_MESSAGE: Final = 2_000
LONGEST_ADDRESS: Final = 2_000
_ACTIONS: Final[Mapping[Reply, Literal["accept", "decline", "cancel"]]] = {
    Reply.ACCEPT: "accept",
    Reply.DECLINE: "decline",
    Reply.CANCEL: "cancel",
}
_THIS_MACHINE: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server wants the person to go; `host` is what they have to recognise."""

    url: str
    host: str


class Answer(Protocol):
    """What a person said; `values` as they were typed."""

    @property
    def reply(self) -> Reply: ...  # noqa: D102 - see the class

    @property
    def values(self) -> Values: ...  # noqa: D102


class Check(Protocol):
    """Raises UsageError, with a sentence for the person, where a question does not take these values."""

    def __call__(self, values: Values, /) -> None: ...  # noqa: D102


class Put(Protocol):
    """Puts a server's question to the person and waits; the session has one."""

    async def __call__(  # noqa: D102
        self, server: str, message: str, fields: Sequence[Field] = (), url: str = "", check: Check | None = None
    ) -> Answer: ...


def form(params: types.ElicitRequestFormParams) -> tuple[Field, ...]:
    """Return the fields of a server's form. Raises McpQuestionError for one that people cannot be asked."""
    return tuple(described(name, schema, name in needed) for name, schema, needed in _properties(params))


def content(params: types.ElicitRequestFormParams, values: Values) -> dict[str, Content]:
    """Return what was typed as the form's types. What was left empty and is not needed is left out.

    Raises UsageError, with a sentence for the person, where the form does not take it.
    """
    made: dict[str, Content] = {}
    for name, schema, needed in _properties(params):
        value = taken(described(name, schema, name in needed), schema, values.get(name, ""))
        if value is not None:
            made[name] = value
    return made


def address(params: types.ElicitRequestURLParams) -> Address:
    """Return the address that a server wants looked at. Raises McpQuestionError for one that should not be."""
    url = params.url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise McpQuestionError("The server names an address that is none.", "It was told no.") from None
    plain = len(url) <= LONGEST_ADDRESS and all("!" <= char <= "~" for char in url)
    if not host or not plain or parts.scheme not in ("https", "http"):
        raise McpQuestionError(
            "The server names an address that is no plain https address.", "It was told no.",
            detail=line(url, 200),
        )  # fmt: skip
    if parts.username is not None or parts.password is not None:
        raise McpQuestionError(f"The server's address hides its host, {host}, behind a name.", "It was told no.")
    if parts.scheme == "http" and host not in _THIS_MACHINE:
        raise McpQuestionError(f"The server's address at {host} is not encrypted.", "It was told no.")
    return Address(url, f"{host}:{port}" if port else host)


def answering(put: Put) -> Elicit:
    """Return what answers servers' questions by putting them to the person. What cannot be put is declined."""

    async def elicit(server: str, question: types.ElicitRequestParams) -> types.ElicitResult:
        message = lines(question.message, LONGEST_MESSAGE)
        try:
            if isinstance(question, types.ElicitRequestURLParams):
                answer = await put(server, message, (), address(question).url)
                return types.ElicitResult(action=_ACTIONS[answer.reply])
            asked = question

            def check(values: Values) -> None:
                content(asked, values)

            answer = await put(server, message, form(asked), "", check)
            if answer.reply is not Reply.ACCEPT:
                return types.ElicitResult(action=_ACTIONS[answer.reply])
            return types.ElicitResult(action="accept", content=content(asked, answer.values))
        except PilothouseError:
            return types.ElicitResult(action="decline")

    return elicit


def _properties(params: types.ElicitRequestFormParams) -> list[tuple[str, Mapping[str, object], frozenset[str]]]:
    schema = params.requested_schema
    properties, required = schema.get("properties"), schema.get("required", [])
    if schema.get("type") != "object" or not isinstance(properties, dict) or not isinstance(required, list):
        raise McpQuestionError("The server's form is none.", "It was told no.")
    if len(properties) > MOST_FIELDS:
        raise McpQuestionError(f"The server's form has more than {MOST_FIELDS} fields.", "It was told no.")
    needed = frozenset(each for each in required if isinstance(each, str))
    if not needed <= properties.keys():
        raise McpQuestionError("The server's form needs a field that it does not have.", "It was told no.")
    for name, each in properties.items():
        if not isinstance(each, dict):
            raise McpQuestionError("The server's form has a field that is none.", "It was told no.", detail=name[:80])
    return [(name, each, needed) for name, each in properties.items()]
