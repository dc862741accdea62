"""The client against a scripted server: every fault is typed, visible and bounded, nothing is asked twice unseen."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import chain, pairwise, repeat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.model.client import ModelClient
from agents.model.library import load
from agents.model.types import (
    Bounds,
    Endpoint,
    ModelBusyError,
    ModelCallError,
    ModelContextError,
    ModelCutError,
    ModelRefusedError,
    ModelRequestError,
    ModelSecretError,
    ModelTimeoutError,
    Reply,
)

from .server import ANSWERING, DONE, Says, Server, call, event, fails, serving, text, usage

QUESTION = [{"role": "user", "content": "why is web down?"}]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
GOOD = Says([*text("The ", "image."), usage(), DONE])
LONGEST_PAUSE = 40.0


class Clock:
    """Pauses pass at once and are noted; alarms, which are longer, ring when told."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.alarms: list[float] = []
        self.ring = asyncio.Event()
        self.time = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        if seconds < LONGEST_PAUSE:
            self.pauses.append(seconds)
            self.time += seconds
            return
        self.alarms.append(seconds)
        await self.ring.wait()


class Heard:
    def __init__(self, server: Server | None = None) -> None:
        self.told: list[str] = []
        self.waits: list[tuple[str, float]] = []
        self.text = ""
        self._server = server

    def wait(self, why: str, seconds: float) -> None:
        self.waits.append((why, seconds))

    def say(self, part: str) -> None:
        self.text += part
        if self._server is not None:
            self._server.heard.set()


async def ask(
    *endpoints: Endpoint, bounds: Bounds | None = None, clock: Clock | None = None, heard: Heard | None = None
) -> Reply:
    heard = heard or Heard()
    client = ModelClient(endpoints, clock or Clock(), bounds)
    return await client.call(QUESTION, TOOLS, tell=heard.told.append, on_text=heard.say, on_wait=heard.wait)


async def failure(server: Server, kind: type[ModelCallError], clock: Clock | None = None) -> ModelCallError:
    with pytest.raises(kind) as caught:
        await ask(server.endpoint(), clock=clock, heard=Heard(server))
    assert caught.value.meaning and caught.value.hint
    assert "of-nobody" not in f"{caught.value.meaning} {caught.value.detail} {caught.value.said}"
    return caught.value


class TestAnAnswer:
    async def test_is_heard_as_it_comes_and_returned_whole_with_what_it_cost(self) -> None:
        heard = Heard()
        async with serving(GOOD) as server:
            reply = await ask(server.endpoint(), heard=heard)
        assert (reply.text, heard.text, reply.calls) == ("The image.", "The image.", ())
        assert (reply.model, reply.asked) == (ANSWERING, "openai/m"), "who answered, and who was asked"
        assert (reply.prompt_tokens, reply.completion_tokens, reply.estimated) == (120, 7, False)
        assert (reply.cost_usd, reply.tries, reply.cut, heard.told) == (-1.0, 1, "", [])

    async def test_of_a_model_with_a_known_price_says_what_it_costs(self) -> None:
        async with serving(GOOD) as server:
            reply = await ask(server.endpoint("openai/gpt-4o-mini"))
        assert 0 < reply.cost_usd < 0.001

    async def test_without_usage_is_counted_here_and_marked(self) -> None:
        async with serving(Says([*text("The ", "image."), DONE])) as server:
            reply = await ask(server.endpoint())
        assert reply.estimated
        assert reply.prompt_tokens > 10 and reply.completion_tokens > 0

    async def test_may_call_several_tools(self) -> None:
        parts = [*call("look", '{"a"', ": 1}"), *call("look", "{}", index=1, id="c2"), event({}, "tool_calls"), usage()]
        async with serving(Says(parts)) as server:
            reply = await ask(server.endpoint())
        assert [(c.id, c.name, c.arguments, c.fault) for c in reply.calls] == [
            ("c1", "look", {"a": 1}, ""),
            ("c2", "look", {}, ""),
        ]
        assert server.asked[0]["tools"] == TOOLS
        assert server.asked[0]["stream_options"] == {"include_usage": True}

    @pytest.mark.parametrize(
        ("arguments", "fault"),
        [("{oops", "not JSON"), ("[1]", "not an object"), ('"x"', "not an object"), ('{"a": 1} {}', "not JSON")],
    )
    async def test_with_arguments_that_cannot_be_used_says_so_and_names_the_call(
        self, arguments: str, fault: str
    ) -> None:
        async with serving(Says([*call("look", arguments), event({}, "tool_calls"), usage()])) as server:
            (got,) = (await ask(server.endpoint())).calls
        assert (got.id, got.name, got.arguments) == ("c1", "look", {})
        assert fault in got.fault

    async def test_that_says_nothing_is_empty_and_no_error(self) -> None:
        async with serving(Says([event({}, "stop"), usage(), DONE])) as server:
            assert (await ask(server.endpoint())).empty

    async def test_without_end_is_closed_at_the_bound_and_the_server_sees_it(self) -> None:
        endless = Says(chain(text("a", finish=None), repeat(event({"content": "and so on " * 50}))))
        async with serving(endless) as server:
            reply = await ask(server.endpoint(), bounds=Bounds(characters=5_000))
            await asyncio.wait_for(server.gone.wait(), 10)
        assert 5_000 < len(reply.text) < 7_000
        assert "longer than 5000" in reply.cut

    async def test_with_a_thousand_tool_calls_is_closed_at_the_bound(self) -> None:
        parts = chain.from_iterable(call("look", "{}", index=n, id=f"c{n}") for n in range(1_000))
        async with serving(Says([*parts, event({}, "tool_calls"), usage()])) as server:
            reply = await ask(server.endpoint(), bounds=Bounds(tool_calls=8))
        assert len(reply.calls) == 8
        assert "more than 8 tool calls" in reply.cut

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.integers(0, 400), max_size=40))
    async def test_split_at_any_bytes_is_the_same(self, cuts: list[int]) -> None:
        whole = b"".join(
            [*text("größer", finish=None), *call("look", '{"a": "ü', '"}'), event({}, "tool_calls"), usage()]
        )
        places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
        pieces = [whole[a:b] for a, b in pairwise(places)]
        async with serving(Says(pieces)) as server:
            reply = await ask(server.endpoint())
        assert (reply.text, reply.calls[0].arguments) == ("größer", {"a": "ü"})


class TestAServerThatFails:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
    async def test_before_the_first_token_is_asked_again_visibly(self, status: int) -> None:
        heard, clock = Heard(), Clock()
        async with serving(fails(status), fails(status), GOOD) as server:
            reply = await ask(server.endpoint(), heard=heard, clock=clock)
        assert (reply.text, reply.tries, len(server.asked)) == ("The image.", 3, 3)
        assert clock.pauses == [1.0, 4.0]
        assert reply.waited_seconds == 5.0
        assert [seconds for _, seconds in heard.waits] == [1.0, 4.0]
        assert all(server.url in why for why, _ in heard.waits), "and says of whom"

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_for_good_is_named_after_three_requests(self, status: int) -> None:
        async with serving(fails(status)) as server:
            error = await failure(server, ModelBusyError)
            assert len(server.asked) == 3
        assert "Tried 3 times" in error.meaning

    async def test_is_given_the_time_that_it_asks_for(self) -> None:
        clock = Clock()
        await load()  # it takes seconds on a busy machine, and the date would be past
        late = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
        async with serving(fails(429, retry_after="7"), fails(429, retry_after=late), GOOD) as server:
            await ask(server.endpoint(), clock=clock)
        assert clock.pauses[0] == 7.0
        assert 15 < clock.pauses[1] <= 20

    async def test_that_asks_for_an_hour_is_not_waited_for(self) -> None:
        clock = Clock()
        async with serving(fails(429, retry_after="3600")) as server:
            error = await failure(server, ModelBusyError, clock)
            assert len(server.asked) == 1
        assert "3600 s" in error.meaning
        assert clock.pauses == []

    @pytest.mark.parametrize("status", [400, 422])
    async def test_the_request_is_not_repeated(self, status: int) -> None:
        async with serving(fails(status, "tools: unknown field")) as server:
            await failure(server, ModelRequestError)
            assert len(server.asked) == 1

    @pytest.mark.parametrize("status", [401, 402, 403, 404])
    async def test_to_let_us_in_is_not_asked_again_and_tells_no_key(self, status: int) -> None:
        async with serving(fails(status, "Incorrect key: k-" + "of-nobody sk-" + "abcdefghijklmnopqrstuvwx")) as server:
            error = await failure(server, ModelRefusedError)
            assert len(server.asked) == 1
        assert "sk-abc" not in error.detail

    @pytest.mark.parametrize(
        "message",
        [
            "This model's maximum context length is 10 tokens. However, your messages resulted in 90 tokens.",
            "prompt is too long: 200001 tokens > 200000 maximum",
            "context_length_exceeded",
            "Input is too long for requested model.",
        ],
    )
    @pytest.mark.parametrize("status", [400, 413, 500])
    async def test_because_the_request_is_too_large_is_told_apart_and_not_repeated(
        self, message: str, status: int
    ) -> None:
        async with serving(fails(status, message)) as server:
            await failure(server, ModelContextError)
            assert len(server.asked) == 1

    async def test_to_be_there_at_all_is_named(self) -> None:
        with pytest.raises(ModelBusyError, match=r"127\.0\.0\.1:9/v1 cannot be reached"):
            await ask(Endpoint("openai/m", "http://127.0.0.1:9/v1", "k"))

    @pytest.mark.parametrize(
        "says",
        [
            Says([b"<html>please log in</html>"], content_type="text/html"),
            Says([b'{"hello": 1}'], content_type="application/json"),
            Says([b""]),
            Says([DONE]),
        ],
    )
    async def test_to_speak_the_protocol_is_no_empty_answer(self, says: Says) -> None:
        async with serving(says) as server:
            await failure(server, ModelRequestError)
            assert len(server.asked) == 1


class TestAStreamThatBreaks:
    @pytest.mark.parametrize("then", ["reset", "end"])
    async def test_after_the_first_token_keeps_what_was_said_and_is_not_asked_again(self, then: str) -> None:
        async with serving(Says(text("The ", "cau", finish=None), then=then)) as server:
            error = await failure(server, ModelCutError)
            assert len(server.asked) == 1
        assert error.said == "The cau"

    @pytest.mark.parametrize(
        "broken", [b"data: {nonsense\n\n", b'data: {"error": {"message": "overloaded", "code": 529}}\n\n']
    )
    async def test_with_something_else_keeps_what_was_said(self, broken: bytes) -> None:
        async with serving(Says([*text("The ", finish=None), broken, *text("image"), DONE])) as server:
            assert (await failure(server, ModelCutError)).said == "The "

    async def test_at_any_chunk_is_never_taken_for_whole(self) -> None:
        parts = [*text("The ", finish=None), *call("look", '{"a"', ": 1}")]
        for length in range(1, len(parts) + 1):
            async with serving(Says(parts[:length])) as server:
                with pytest.raises((ModelCutError, ModelRequestError)):
                    await ask(server.endpoint())

    async def test_by_saying_nothing_more_ends_at_the_bound_and_the_server_sees_it(self) -> None:
        clock = Clock()
        async with serving(Says(text("The ", finish=None), then="hang")) as server:
            heard = Heard()
            asking = asyncio.create_task(ask(server.endpoint(), clock=clock, heard=heard))
            while not heard.text:  # noqa: ASYNC110 - anything may be the first
                await asyncio.sleep(0)
            clock.ring.set()
            with pytest.raises(ModelTimeoutError, match="45 s") as caught:
                await asking
            await asyncio.wait_for(server.gone.wait(), 10)
        assert caught.value.said == "The "

    async def test_before_it_begins_ends_at_its_own_bound(self) -> None:
        clock = Clock()
        async with serving(Says(then="hang")) as server:
            asking = asyncio.create_task(ask(server.endpoint(), clock=clock))
            while not server.asked:  # noqa: ASYNC110 - anything may be the first
                await asyncio.sleep(0)
            clock.ring.set()
            with pytest.raises(ModelTimeoutError, match="90 s"):
                await asking

    async def test_by_our_own_stop_ends_at_once_and_the_server_sees_it(self) -> None:
        async with serving(Says(text("The ", finish=None), then="hang")) as server:
            heard = Heard()
            asking = asyncio.create_task(ask(server.endpoint(), heard=heard))
            while not heard.text:  # noqa: ASYNC110 - anything may be the first
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.wait_for(server.gone.wait(), 10)


class TestTheNextEndpoint:
    @pytest.mark.parametrize(
        "says", [fails(401), fails(404), fails(503), fails(400), fails(500, "context_length_exceeded")]
    )
    async def test_is_asked_where_the_first_cannot_and_is_named(self, says: Says) -> None:
        heard = Heard()
        async with serving(says) as first, serving(GOOD) as second:
            reply = await ask(first.endpoint(), second.endpoint("openai/other"), heard=heard)
        assert (reply.asked, reply.text) == ("openai/other", "The image.")
        assert f"Asking openai/other at {second.url} instead." in heard.told[-1]

    async def test_is_not_asked_once_the_first_has_begun(self) -> None:
        async with serving(Says(text("The ", finish=None), then="reset")) as first, serving(GOOD) as second:
            with pytest.raises(ModelCutError):
                await ask(first.endpoint(), second.endpoint(), heard=Heard(first))
            assert second.asked == []

    async def test_failing_too_is_the_error_that_is_told(self) -> None:
        async with serving(fails(503)) as first, serving(fails(401)) as second:
            with pytest.raises(ModelRefusedError, match=second.url):
                await ask(first.endpoint(), second.endpoint())


class TestWhatLeaves:
    async def test_is_the_key_and_the_headers_of_that_endpoint_alone(self) -> None:
        async with serving(fails(503)) as first, serving(GOOD) as second:
            await ask(
                first.endpoint(api_key="first-" + "key", headers={"x-team": "sre"}),
                second.endpoint(api_key="second-" + "key"),
            )
        assert first.headers[0]["authorization"] == "Bearer first-key"
        assert first.headers[0]["x-team"] == "sre"
        assert "x-team" not in second.headers[0]
        assert "first-key" not in json.dumps([second.headers, second.asked])

    @pytest.mark.parametrize("where", ["content", "tool"])
    async def test_is_nothing_when_a_secret_got_this_far(self, where: str) -> None:
        secret = "password=" + "hunter2-of-nobody-99"
        messages = [{"role": "user", "content": secret if where == "content" else "x"}]
        tools = [{"type": "function", "function": {"name": "x", "description": secret}}] if where == "tool" else []
        async with serving(GOOD) as server:
            with pytest.raises(ModelSecretError):
                await ModelClient([server.endpoint()], Clock()).call(messages, tools)
            assert server.asked == []

    async def test_is_nothing_when_a_secret_goes_over_several_lines_or_stands_deep_inside(self) -> None:
        key = (
            "-----BEGIN "
            + "PRIVATE KEY-----\n"
            + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 4
            + "-----END "
            + "PRIVATE KEY-----"
        )
        held = "db:\n  password: |\n    " + "hunter2-of-nobody-99\n"
        async with serving(GOOD) as server:
            for secret in (key, held):
                deep = [{"role": "tool", "content": [{"type": "text", "text": f"found\n{secret}\nend"}]}]
                with pytest.raises(ModelSecretError):
                    await ModelClient([server.endpoint()], Clock()).call(deep)
            assert server.asked == []

    async def test_is_no_credential_of_the_address_or_a_header_in_an_error(self) -> None:
        hidden = ("user-of-" + "nobody:pass-of-nobody", "header-of-" + "nobody")
        async with serving(fails(400, f"bad request with {hidden[1]} from {hidden[0]}")) as server:
            address = server.url.replace("http://", f"http://{hidden[0]}@")
            with pytest.raises(ModelCallError) as caught:
                await ask(Endpoint("openai/m", address, "k-" + "of-nobody", {"x-key": hidden[1]}))
        text = f"{caught.value.meaning} {caught.value.detail}"
        assert "127.0.0.1" in text
        assert not [each for each in (*hidden, "pass-of-nobody") if each in text]

    async def test_is_no_key_in_any_log(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with serving(fails(401, "Incorrect key: k-" + "of-nobody")) as server:
            await failure(server, ModelRefusedError)
        out, err = capfd.readouterr()
        ours = [record for record in caplog.records if record.name.startswith(("agents", "assistant"))]
        assert "of-nobody" not in out + err + "".join(record.getMessage() for record in ours)


async def test_loading_takes_nothing_from_a_dotenv_file(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(GOOD) as server:
        await ask(server.endpoint())
    assert os.environ["LITELLM_MODE"] == "PRODUCTION"
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


def test_a_client_without_an_endpoint_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="endpoint"):
        ModelClient([], Clock())


def test_no_key_is_in_the_text_of_an_endpoint() -> None:
    assert "abc" not in repr(Endpoint("openai/m", "http://x", "abc", {"x-key": "abc"}))


async def test_a_provider_without_a_key_is_not_asked_again_and_the_key_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with serving(GOOD) as server:
        clock = Clock()
        with pytest.raises(ModelRefusedError, match="no key for openai/m") as told:
            await ModelClient([server.endpoint(api_key="")], clock).call(QUESTION)
        assert (server.asked, clock.pauses) == ([], [])
        assert "variable" in told.value.hint
