"""What the session and the process that speaks to models say to each other comes out as it went in, or not at all."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.model import types
from agents.model.types import Bounds, Endpoint, ModelCallError, Reply, ToolCall
from assistant.model_worker import wire

# Also half a character, which a cluster's text may hold; two halves beside each other are one, also in JSON.
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\ud83d"), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(TEXT, JSON, max_size=4)
CALLS = st.builds(ToolCall, TEXT, TEXT, ARGUMENTS, TEXT)
COUNT, AMOUNT = st.integers(0, 10**9), st.floats(-1, 1e9)
REPLIES = st.builds(
    Reply, TEXT, st.lists(CALLS, max_size=3).map(tuple), TEXT, TEXT, COUNT, COUNT, AMOUNT, AMOUNT, AMOUNT,
    st.booleans(), TEXT, COUNT, AMOUNT, TEXT,
)  # fmt: skip
ERRORS = [
    kind for kind in vars(types).values() if isinstance(kind, type) and issubclass(kind, ModelCallError)
]  # every class that a client raises


def over(event: wire.Event) -> wire.Event:
    line = wire.event_line(7, event)
    assert line.endswith(b"\n") and line.count(b"\n") == 1, "one line, whatever it holds"
    number, came = wire.read_event(line)
    assert number == 7
    return came


@given(REPLIES)
def test_a_reply_is_the_same(reply: Reply) -> None:
    assert over(reply) == reply


@given(st.sampled_from(ERRORS), TEXT, TEXT, TEXT, TEXT)
def test_an_error_keeps_its_class_and_all_that_it_says(
    kind: type[ModelCallError], meaning: str, hint: str, detail: str, said: str
) -> None:
    came = over(kind(meaning, hint, detail=detail, said=said))
    assert type(came) is kind and isinstance(came, ModelCallError)
    assert (came.meaning, came.hint, came.detail, came.said) == (meaning, hint, detail, said)
    assert (came.code, came.exit_code) == (kind.code, kind.exit_code)


@given(TEXT, AMOUNT)
def test_what_is_told_meanwhile_is_the_same(text: str, seconds: float) -> None:
    for event in (wire.Text(text), wire.Told(text), wire.Waits(text, seconds)):
        assert over(event) == event


@given(st.lists(ARGUMENTS, max_size=3), st.floats(0, 1e6) | st.just(math.inf))
def test_a_request_is_the_same(messages: list[dict[str, object]], seconds: float) -> None:
    call = wire.Call(3, messages, messages, seconds)
    assert wire.read_request(wire.request_line(call)) == call
    assert wire.read_request(wire.request_line(wire.Cancel(3))) == wire.Cancel(3)


def test_the_settings_are_the_same_and_an_error_about_them_repeats_no_key() -> None:
    settings = wire.Settings((Endpoint("openai/m", "http://x/v1", "k-of-nobody", {"x-team": "sre"}),), Bounds(tries=1))
    line = json.dumps(wire.settings_value(settings)).encode()
    assert wire.read_settings(line) == settings
    for broken in (line[:-3], line.replace(b'"tries": 1', b'"tries": "k-of-nobody"'), b'{"endpoints": []}'):
        with pytest.raises(ValueError, match="settings") as caught:
            wire.read_settings(broken)
        assert "of-nobody" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [b"", b"Give Feedback", b"[]", b"{}", b'{"id": 1}', b'{"id": "1", "text": "x"}', b'{"id": 1, "text": 2}',
     b'{"id": 1, "reply": {"text": "x"}}', b'{"id": 1, "error": "ModelBusyError"}', b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        wire.read_event(line)
    with pytest.raises(ValueError):
        wire.read_request(line)
