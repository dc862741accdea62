"""Replay: any step in both directions, times, markers; and that nothing but events is touched."""

from __future__ import annotations

import asyncio
import io
import socket
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.domain import event as ev
from assistant.domain.case import Case, fold
from assistant.domain.event import Event
from assistant.domain.hypothesis import Hypothesis, Mark
from assistant.plain.replay import replay_plain
from assistant.session.replay import MarkerKind, Player
from assistant.store.recording import export_lines, read_lines
from tests.replay.course import EVENTS
from tests.replay.thought import SUPPORTED, TEXTS, UNSUPPORTED
from tests.session.scripted import START, FakeClock
from tests.unit.domain.payloads import payloads

ids = st.sampled_from(["H1", "H2", "H3"])
boards = st.lists(st.builds(Hypothesis, ids, st.text(max_size=9), st.just("large")), unique_by=lambda item: item.id)
digests = st.sampled_from(["", *TEXTS])
calls = st.builds(
    ev.ModelCalled, cost_usd=st.sampled_from([-1.0, 0.0, 0.25]), prompt_digest=digests, reply_digest=digests
)
thinking: st.SearchStrategy[ev.Payload] = st.one_of(
    st.builds(ev.BoardMade, boards.map(tuple)),
    st.builds(ev.HypothesisMarked, ids, st.sampled_from(Mark)),
    st.builds(ev.FindingsRanked, st.lists(st.sampled_from([SUPPORTED, UNSUPPORTED])).map(tuple)),
    st.from_type(ev.OpinionGiven), calls, st.from_type(ev.Asked), st.from_type(ev.Answered),
)  # fmt: skip


class TestSteps:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(payloads, max_size=12), st.lists(st.sampled_from("fbjmpt"), max_size=20), st.integers(0, 2000))
    def test_every_way_to_a_step_shows_the_same_case(
        self, given: list[ev.Payload], moves: list[str], goal: int
    ) -> None:
        filler = [ev.Noted(f"n{i}") for i in range(450)]
        all_payloads = [*filler[:200], *given, *filler[200:]]
        events = tuple(Event("s1", n, START + timedelta(seconds=n), p) for n, p in enumerate(all_payloads, 1))
        player = Player(events)
        player.jump(goal)
        for move in moves:
            match move:
                case "f":
                    player.forward()
                case "b":
                    player.back()
                case "j":
                    player.jump(goal)
                case "m":
                    player.next_marker()
                case "p":
                    player.previous_marker()
                case _:
                    player.jump_tenth(goal % 11)
        assert 0 <= player.position <= player.length
        assert player.case == fold(events[: player.position])
        assert player.case_at(goal) == fold(events[:goal])

    @settings(max_examples=60, deadline=None)
    @given(st.lists(thinking, max_size=20), st.data())
    def test_what_a_model_thought_is_replayed_as_it_was_seen(
        self, given: list[ev.Payload], data: st.DataObject
    ) -> None:
        events = tuple(Event("s1", n, START + timedelta(seconds=n), p) for n, p in enumerate(given, 1))
        live, seen = Case(), [Case()]
        for event in events:
            live = live.apply(event)
            seen.append(live)
        lines = export_lines(events, TEXTS.__getitem__, app_version="0.1", exported_at=START)
        player = Player(read_lines(io.BytesIO(b"".join(lines))).events) if events else Player(())
        for step in data.draw(st.lists(st.integers(0, len(events)), max_size=6)):
            assert player.jump(step) == seen[step]
        assert player.jump(player.length) == live

    def test_stepping_back_from_the_end_undoes_the_last_event(self) -> None:
        player = Player(EVENTS)
        end = player.jump(len(EVENTS))
        assert end == fold(EVENTS) and end.closed == "fixed"
        assert player.back() == fold(EVENTS[:-1])
        assert player.forward() == end

    def test_an_empty_recording_stands_at_its_beginning_and_end(self) -> None:
        player = Player(())
        assert player.at_end and player.case == Case() and player.event is None
        assert player.forward() == player.back() == player.jump_tenth(5) == player.jump_time(START) == Case()
        assert not player.find("x")


class TestTime:
    def test_markers_name_what_is_worth_a_jump(self) -> None:
        kinds = [marker.kind for marker in Player(EVENTS).markers]
        assert kinds == [
            MarkerKind.QUESTION, MarkerKind.PLAN, MarkerKind.FAILURE, MarkerKind.FINDING, MarkerKind.FINDING,
            MarkerKind.PROPOSAL, MarkerKind.DECISION, MarkerKind.WRITE, MarkerKind.WRITE, MarkerKind.END,
        ]  # fmt: skip

    def test_a_jump_in_time_lands_on_the_last_step_before_it(self) -> None:
        player = Player(EVENTS)
        player.jump_seconds(200)
        assert isinstance(player.event and player.event.payload, ev.Proposed)
        player.jump_time(START + timedelta(seconds=309))
        assert isinstance(player.event and player.event.payload, ev.Sending)
        player.jump_seconds(-5)
        assert player.position == 0

    def test_long_waits_are_short_when_played_and_true_when_read(self) -> None:
        player = Player(EVENTS)
        player.jump(13)
        assert player.gap_shortened(14) and player.delay_seconds() == 3.0
        player.jump(14)
        assert player.seconds == 309.0
        player.jump(13)
        player.speed = 2.0
        assert player.delay_seconds() == 1.5
        assert [player.faster() for _ in range(4)] == [4.0, 8.0, 0.0, 0.0]
        assert player.delay_seconds() == 0.0

    async def test_playing_takes_the_recorded_time_and_can_be_paused(self) -> None:
        clock = FakeClock()
        player = Player(EVENTS)
        seen: list[int] = []

        async def watch() -> None:
            async for _ in player.play(clock):
                seen.append(player.position)

        task = asyncio.create_task(watch())
        for _ in range(4):
            await clock.pass_seconds(1)
        assert seen and seen[-1] < player.length
        player.playing = False
        await clock.pass_seconds(10)
        await task
        assert seen == list(range(1, len(seen) + 1)) and len(seen) < player.length

    def test_a_clock_that_was_set_back_does_not_break_the_timeline(self) -> None:
        events = tuple(
            Event("s1", n, START + timedelta(seconds=second), ev.Noted("x"))
            for n, second in enumerate((0, 10, 4, 12), 1)
        )
        player = Player(events)
        for step in range(5):
            player.jump(step)
            assert player.seconds >= 0 and player.delay_seconds() >= 0
        assert player.total_seconds == 12

    def test_finding_goes_on_from_here_and_starts_over(self) -> None:
        player = Player(EVENTS)
        assert player.find("imagepullbackoff")
        first = player.position
        assert player.find("imagepullbackoff") and player.position != first
        assert player.find("imagepullbackoff") and player.position == first
        assert not player.find("no such words")


async def test_replay_opens_no_socket_and_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("replay touched the outside")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("subprocess.Popen", refuse)
    monkeypatch.setattr("os.fork", refuse)
    player = Player(EVENTS)
    player.speed = 0.0

    class Now:
        def now(self) -> object:
            raise AssertionError("replay asked for the time")

        def monotonic(self) -> float:
            raise AssertionError("replay asked for the time")

        async def sleep(self, seconds: float) -> None:
            assert seconds == 0.0

    out = io.StringIO()
    await replay_plain(player, out, Now(), cut="the file was cut")  # type: ignore[arg-type]
    text = out.getvalue()
    assert "read only" in text and "APPROVED by alice" in text and "the file was cut" in text
    for step in range(player.length):
        player.jump(step)
    import assistant.session.replay as module

    assert not any(name in vars(module) for name in ("Gate", "Workflow", "RecordedGate", "Session"))
