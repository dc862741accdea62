"""The process that speaks to models against the same scripted server: what comes is what a client in process gets."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from agents.model.client import ModelClient
from agents.model.types import (
    Bounds,
    ChatClient,
    Endpoint,
    ModelBusyError,
    ModelCallError,
    ModelContextError,
    ModelRefusedError,
    ModelTimeoutError,
    Reply,
)
from assistant.model_worker import link
from assistant.model_worker.link import ModelWorker, ModelWorkerError
from assistant.session.clock import SystemClock

from .server import DONE, Says, call, event, fails, serving, text, usage
from .test_client import GOOD, QUESTION, TOOLS, Clock, Heard

LONG = "größer " * 8_000
AGAIN = {"retry_after": "0"}
BOUNDS = Bounds(next_token_seconds=1.0, characters=100_000, tool_calls=8)


@asynccontextmanager
async def working(folder: Path, *endpoints: Endpoint, bounds: Bounds = BOUNDS) -> AsyncIterator[ModelWorker]:
    worker = ModelWorker(endpoints, bounds, folder / "model.log", SystemClock())
    worker.start_ahead()
    try:
        yield worker
    finally:
        await worker.close()


def logged(folder: Path) -> str:
    return (folder / "model.log").read_text()


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def outcome(client: ChatClient, heard: Heard) -> tuple[Any, ...]:
    """All that a caller gets to know, but for how long it took."""
    try:
        reply = await client.call(QUESTION, TOOLS, tell=heard.told.append, on_text=heard.say, on_wait=heard.wait)
    except ModelCallError as error:
        result: Any = (type(error), error.meaning, error.hint, error.detail, error.said, error.code)
    else:
        result = replace(reply, seconds=0.0, first_token_seconds=0.0)
    return result, heard.text, heard.told, heard.waits


ASIDE = [event({}, "tool_calls"), usage()]
SCENARIOS: dict[str, Sequence[Says]] = {
    "an answer": [GOOD],
    "without usage": [Says([*text("The ", "image."), DONE])],
    "calls": [Says([*call("look", '{"a"', ": 1}"), *call("look", "{oops", index=1, id="c2"), *ASIDE])],
    "too many calls": [
        Says([*chain.from_iterable(call("look", "{}", index=n, id=f"c{n}") for n in range(40)), *ASIDE])
    ],
    "longer than a pipe": [Says([*text(*[LONG[n : n + 1_000] for n in range(0, len(LONG), 1_000)]), usage(), DONE])],
    "half a character": [Says([*call("look", '{"a": "\\ud83d"}'), *ASIDE])],
    "empty": [Says([event({}, "stop"), usage(), DONE])],
    "busy twice": [fails(503, **AGAIN), fails(429, **AGAIN), GOOD],
    "busy for good": [fails(503, **AGAIN)],
    "asks for an hour": [fails(429, retry_after="3600")],
    "refused": [fails(401, "Incorrect key: k-" + "of-nobody")],
    "too large": [fails(400, "context_length_exceeded")],
    "finds fault": [fails(422, "tools: unknown field")],
    "no protocol": [Says([b"<html>please log in</html>"], content_type="text/html")],
    "broken off": [Says(text("The ", "cau", finish=None))],
    "says nothing more": [Says(text("The ", finish=None), then="hang")],
}


async def test_every_scenario_comes_out_as_in_process(tmp_path: Path) -> None:
    async with serving(GOOD) as server, working(tmp_path, server.endpoint()) as worker:
        inside = ModelClient([server.endpoint()], SystemClock(), BOUNDS)
        for name, answers in SCENARIOS.items():
            asked, came = [], []
            for client in (inside, worker):
                server.answers, server.asked = list(answers), []
                came.append(await outcome(client, Heard()))
                asked.append(server.asked)
            assert came[0] == came[1], name
            assert asked[0] == asked[1], f"{name}: as often, and the same"


async def test_another_endpoint_is_told_and_asked_as_in_process(tmp_path: Path) -> None:
    async with serving(fails(404)) as first, serving(GOOD) as second:
        endpoints = (first.endpoint(headers={"x-team": "sre"}), second.endpoint("openai/other", api_key="second-key"))
        async with working(tmp_path, *endpoints) as worker:
            heard = Heard()
            result, *_ = await outcome(worker, heard)
        assert (result.asked, result.text) == ("openai/other", "The image.")
        assert "Asking openai/other" in heard.told[-1]
        assert (first.headers[0]["x-team"], second.headers[0]["authorization"]) == ("sre", "Bearer second-key")


class TestCallsAtTheSameTime:
    async def test_get_their_own_answers_however_large_they_are_both_ways(self, tmp_path: Path) -> None:
        async with serving(GOOD) as server:
            server.think = lambda request: Says([
                *text(*[request["messages"][0]["content"][:6] * 500] * 40), usage(), DONE
            ])  # fmt: skip
            bounds = replace(BOUNDS, characters=1_000_000, first_token_seconds=300.0, next_token_seconds=300.0)
            async with working(tmp_path, server.endpoint(), bounds=bounds) as worker:
                asked = (
                    worker.call([{"role": "user", "content": f"n{n:04} " + "of a long prompt " * 12_000}])
                    for n in range(8)
                )
                replies = await asyncio.gather(*asked)
        assert [reply.text[:6] for reply in replies] == [f"n{n:04} " for n in range(8)]
        assert {len(reply.text) for reply in replies} == {120_000}

    async def test_are_not_disturbed_by_one_that_is_cancelled_and_the_server_sees_it_end(self, tmp_path: Path) -> None:
        async with serving(GOOD) as server, working(tmp_path, server.endpoint(), bounds=Bounds()) as worker:
            server.answers = [Says(text("The ", finish=None), then="hang")]
            begun = asyncio.Event()
            asking = asyncio.create_task(worker.call(QUESTION, on_text=lambda part: begun.set()))
            await begun.wait()
            server.answers = [GOOD]
            other = asyncio.create_task(worker.call(QUESTION))
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.wait_for(server.gone.wait(), 10)
            assert (await other).text == "The image."

    async def test_end_alone_where_a_listener_fails(self, tmp_path: Path) -> None:
        def fail(part: str) -> None:
            raise KeyError(part)

        async with serving(GOOD) as server, working(tmp_path, server.endpoint()) as worker:
            with pytest.raises(KeyError):
                await worker.call(QUESTION, on_text=fail)
            assert (await worker.call(QUESTION)).text == "The image."


class TestAProcessThatDies:
    async def test_before_a_call_is_replaced(self, tmp_path: Path) -> None:
        async with serving(GOOD) as server, working(tmp_path, server.endpoint()) as worker:
            await worker.call(QUESTION)
            first = worker.pid
            os.kill(first, signal.SIGKILL)
            while worker.pid:  # noqa: ASYNC110 - until its end is noticed
                await asyncio.sleep(0)
            assert (await worker.call(QUESTION)).text == "The image."
            assert worker.pid not in (0, first)
            assert len(server.asked) == 2

    async def test_in_a_stream_ends_every_call_at_once_with_what_had_come_and_nothing_is_asked_twice(
        self, tmp_path: Path
    ) -> None:
        async with (
            serving(Says(text("The ", finish=None), then="hang")) as server,
            working(tmp_path, server.endpoint(), bounds=Bounds()) as worker,
        ):
            begun = [asyncio.Event(), asyncio.Event()]
            asking = [asyncio.create_task(worker.call(QUESTION, on_text=lambda _, e=e: e.set())) for e in begun]  # type: ignore[misc]
            await asyncio.gather(*(each.wait() for each in begun))
            os.kill(worker.pid, signal.SIGKILL)
            errors = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 10)
            for error in errors:
                assert isinstance(error, ModelWorkerError) and error.said == "The "
                assert "The process that speaks to the model ended" in error.meaning and error.hint
                assert error.code.startswith("model")
            assert len(server.asked) == 2
            server.answers = [GOOD]
            assert (await worker.call(QUESTION)).text == "The image."

    async def test_by_our_own_hand_says_so_and_is_not_started_again(self, tmp_path: Path) -> None:
        async with (
            serving(Says(text("The ", finish=None), then="hang")) as server,
            working(tmp_path, server.endpoint(), bounds=Bounds()) as worker,
        ):
            begun = asyncio.Event()
            asking = asyncio.create_task(worker.call(QUESTION, on_text=lambda part: begun.set()))
            await begun.wait()
            await worker.close()
            with pytest.raises(ModelWorkerError, match="was ended"):
                await asking
            await asyncio.wait_for(server.gone.wait(), 10)
            with pytest.raises(ModelWorkerError, match="was ended"):
                await worker.call(QUESTION)
            assert worker.pid == 0


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(link, "MODULE", "tests.unit.model.odd_worker")

    @asynccontextmanager
    async def made(does: str, clock: Clock | None = None) -> AsyncIterator[ModelWorker]:
        worker = ModelWorker([Endpoint(does)], Bounds(), tmp_path / "model.log", clock or Clock())
        try:
            yield worker
        finally:
            await worker.close()

    return made


class TestAProcessThatIsNotUnderstood:
    @pytest.mark.parametrize("does", ["prints", "never ends a line", "says half a reply"])
    async def test_is_ended_and_named(self, odd: Any, does: str) -> None:
        async with odd(does) as worker:
            with pytest.raises(ModelWorkerError, match="not understood"):
                await worker.call(QUESTION)
            assert worker.pid == 0

    async def test_that_speaks_of_calls_which_nobody_made_is_listened_to(self, odd: Any) -> None:
        async with odd("answers nobody") as worker:
            with pytest.raises(ModelBusyError):
                await worker.call(QUESTION)

    async def test_that_ends_at_a_call_tells_what_had_come(self, odd: Any) -> None:
        async with odd("ends") as worker:
            with pytest.raises(ModelWorkerError, match=r"ended\.") as caught:
                await worker.call(QUESTION)
        assert caught.value.said == "The "

    @pytest.mark.parametrize(
        ("does", "why"), [("ends before it is ready", "ended before"), ("says why it cannot", "no library")]
    )
    async def test_because_it_does_not_start_says_why(self, odd: Any, does: str, why: str) -> None:
        async with odd(does) as worker:
            with pytest.raises(ModelWorkerError, match="did not start") as caught:
                await worker.call(QUESTION)
        assert why in caught.value.detail

    async def test_again_and_again_is_not_started_for_a_while(self, odd: Any) -> None:
        clock = Clock()
        async with odd("ends", clock) as worker:
            for _ in range(link.MOST_DEATHS):
                with pytest.raises(ModelWorkerError, match=r"ended\."):
                    await worker.call(QUESTION)
            with pytest.raises(ModelWorkerError, match="3 times in a row"):
                await worker.call(QUESTION)
            clock.time += link.PAUSE_SECONDS
            with pytest.raises(ModelWorkerError, match=r"ended\."):
                await worker.call(QUESTION)

    async def test_because_it_says_nothing_is_given_up_after_the_time_of_the_call(
        self, odd: Any, tmp_path: Path
    ) -> None:
        clock = Clock()
        async with odd("says nothing", clock) as worker:
            asking = asyncio.create_task(worker.call(QUESTION, seconds=100.0))
            while not worker.pid or "asked" not in logged(tmp_path):  # noqa: ASYNC110 - until it has the call
                await asyncio.sleep(0)
            clock.ring.set()
            with pytest.raises(ModelTimeoutError, match="110 s"):
                await asking
            assert worker.pid == 0

    async def test_nor_is_a_request_that_is_larger_than_a_line(self, odd: Any) -> None:
        async with odd("says nothing") as worker:
            with pytest.raises(ModelContextError):
                await worker.call([{"role": "user", "content": "x" * 9_000_000}])


async def test_an_answer_without_end_is_closed_at_its_bound_and_the_server_sees_it(tmp_path: Path) -> None:
    async with (
        serving(Says(chain(text("a", finish=None), repeat(event({"content": "and so on " * 50}))))) as server,
        working(tmp_path, server.endpoint(), bounds=Bounds(characters=50_000)) as worker,
    ):
        reply: Reply = await worker.call(QUESTION)
        await asyncio.wait_for(server.gone.wait(), 10)
    assert "longer than 50000" in reply.cut


async def test_neither_prompt_nor_key_is_in_the_log_or_on_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LITELLM_LOG", "OPENAI_LOG", "LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD"):
        monkeypatch.setenv(name, "DEBUG")
    async with (
        serving(fails(401, "Incorrect key: k-" + "of-nobody")) as server,
        working(tmp_path, server.endpoint()) as worker,
    ):
        with pytest.raises(ModelRefusedError):
            await worker.call(QUESTION)
        server.answers = [GOOD]
        await worker.call(QUESTION)
        line = command_line(worker.pid)
    assert "model_worker" in line and "of-nobody" not in line
    assert not [words for words in ("of-nobody", "why is web down", "The image") if words in logged(tmp_path)]


def test_a_worker_without_an_endpoint_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        ModelWorker([], Bounds(), tmp_path / "log", SystemClock())
