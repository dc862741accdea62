"""A recorded turn answered anew: on its own evidence under its own ids, in a session of its own, with no way out."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agents.graph import GraphWorkflow
from agents.mind import Conclusion, Mind
from agents.recorded import RecordedMind
from assistant.domain import event as ev
from assistant.domain.case import Case
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Verdict
from assistant.domain.ports import Recorder, Turn
from assistant.domain.recorded import RecordedTurn
from assistant.errors import RecordingError, UsageError
from assistant.policy.redact import redact_text
from assistant.session.clock import SystemClock
from assistant.session.compare import Agreement, compare
from assistant.session.parts import Parts
from assistant.session.rerun import case_of_turn, recorded_turn, turns_of
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from assistant.store.recording import read_file
from assistant.tools.recorded import RecordedReader
from tests.replay.course import BODY, EVENTS, PODS, SHA256
from tests.session.scripted import FINDING, OPENED, REMEDY, START, WEB

RECORDINGS = sorted((Path(__file__).parents[2] / "recordings" / "sessions").glob("*.gz"))
NAMES = [path.name.removesuffix(".jsonl.gz") for path in RECORDINGS]


def body(sha256: str) -> str:
    if sha256 != SHA256:
        raise RecordingError("not there")
    return BODY


def events(*payloads: ev.Payload) -> tuple[ev.Event, ...]:
    return tuple(ev.Event("s1", seq, START, payload) for seq, payload in enumerate(payloads, 1))


def asked(*payloads: ev.Payload) -> RecordedTurn:
    return recorded_turn(events(OPENED, ev.Asked(1, "Why?", "shop"), *payloads), body, 1)


async def answered(path: Path, mind: Mind, recorded: RecordedTurn) -> tuple[Case, tuple[ev.Event, ...]]:
    """Run one turn as the command does; return its case, and its events as the file has them afterwards."""
    workflow = GraphWorkflow(mind, None, None, SystemClock())
    with SessionStore.open(path / "sessions.db") as store:
        parts = Parts(store, workflow, None, SystemClock(), redact_text, "rerun", propose=False)
        session = await Session.open(parts, "s2", replace(OPENED, mind="recorded", source="rerun of s1"))
        await session.ask(recorded.question, recorded.namespace)
        await session.finished()
        await session.close()
        await workflow.close()
        assert store.verify("s2").intact
        return session.case, store.load("s2").events


@contextmanager
def sealed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse every way out of this process; the loop's own pair of sockets is there already."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a rerun touched the outside")

    with monkeypatch.context() as patched:
        for name in ("socket", "create_connection", "getaddrinfo", "socketpair"):
            patched.setattr(socket, name, refuse)
        patched.setattr("subprocess.Popen", refuse)
        patched.setattr("os.fork", refuse)
        yield


@pytest.mark.parametrize("path", RECORDINGS, ids=NAMES)
async def test_the_recorded_conclusion_stands_again_on_the_same_evidence(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = read_file(path)
    recorded = recorded_turn(recording.events, recording.body, 1)
    before = case_of_turn(recording.events, 1)
    with sealed(monkeypatch):
        after, stored = await answered(tmp_path, RecordedMind(recorded, SystemClock()), recorded)
    facts = {fact.evidence.id: fact.evidence for fact in recorded.facts}
    assert {fact.id: (fact.request, fact.quote, fact.body, fact.target) for fact in after.evidence} == {
        name: (fact.request, fact.quote, fact.body, fact.target) for name, fact in facts.items()
    }
    told = recorded.answer
    assert told is not None and told.mind == "expert" and after.answer is not None and before.answer is not None
    assert (after.findings, after.remedies) == (told.findings, told.remedies)
    assert (after.answer.mind, after.answer.verdict, after.answer.markdown) == (told.mind, told.verdict, told.markdown)
    assert case_of_turn(stored, 1).answer == after.answer
    found = compare(before, after)
    assert (found.agreement, found.same_verdict) == (Agreement.SAME, True)
    if before.answer.mind == "expert":
        assert (after.findings, after.remedies, after.answer) == (before.findings, before.remedies, before.answer)
        assert found.cited_by_both == len(found.before.cited)
    assert not any(isinstance(event.payload, ev.Proposed) for event in stored), "nothing can be changed from here"
    assert after.used.api_requests == 0


class ReadingMind(RecordedMind):
    """Stands for a language model: starts from the recorded conclusion, looks further, and thinks otherwise."""

    name = "scripted/model"

    def __init__(self, expert: RecordedMind, reader: RecordedReader, look: Callable[..., Awaitable[None]]) -> None:
        self._expert, self._reader, self._look = expert, reader, look

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        told = await self._expert.conclude(turn, found, recorder)
        recorder.emit(ev.OpinionGiven(self._expert.name, told.verdict, told.markdown))
        view = self._reader.begin(turn.thread, turn.namespace)
        await self._look(self._reader, recorder)
        pod = view.all("pods", turn.namespace)[0]
        fact = recorder.cite(view.cite(pod, "status.phase"))
        other = replace(told.findings[0], target=pod.target, field="status", evidence=(fact.id,), by=self.name)
        recorder.emit(ev.ModelCalled(self.name, "diagnose", "0" * 64, 1200, 80, -1.0, 0.5))
        return Conclusion(Verdict.FAULT, (other,), (), f"It is the pod [{fact.id}].")


async def test_another_mind_starts_from_it_and_reads_the_recording_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = read_file(RECORDINGS[NAMES.index("bad-setting")])
    recorded = recorded_turn(recording.events, recording.body, 1)
    clock = SystemClock()

    async def look(reader: RecordedReader, recorder: Recorder) -> None:
        assert "services" in await reader.kinds(recorder)
        await reader.read([("services", recorded.namespace), ("pods", recorded.namespace)], recorder)

    reader = RecordedReader(recorded.facts, recorded.requests, clock)
    mind = ReadingMind(RecordedMind(recorded, clock), reader, look)
    with sealed(monkeypatch):
        after, stored = await answered(tmp_path, mind, recorded)
    reads = [(call.title, call.ok, call.result) for call in after.calls if call.tool == "list"]
    assert ("list services  shop-checkout", False, "not recorded") in reads
    found = compare(case_of_turn(recording.events, 1), after)
    assert found.agreement is Agreement.OTHER
    effort = found.after.effort
    assert (effort.tool_calls, effort.model_calls, effort.prompt_tokens, effort.cost_usd) == (4, 1, 1200, None)
    # A rerun of the rerun starts from the expert again, and not from what the model made of it.
    again = recorded_turn(stored, lambda sha256: "", 1)
    assert again.answer is not None and again.answer.mind == "expert"


class TestWhatIsTakenOutOfARecording:
    def test_a_turn_ends_with_its_answer(self) -> None:
        late = Evidence("E2", PODS, "1 of 1 is ready", START, SHA256, 1, WEB)
        turn = recorded_turn((*EVENTS[:-1], replace(EVENTS[-1], payload=ev.EvidenceAdded(late))), body, 1)
        assert [fact.evidence.id for fact in turn.facts] == ["E1"]
        assert turn.facts[0].text == BODY and turn.requests == (PODS,)
        assert turn.answer is not None and turn.answer.remedies == (REMEDY,)

    def test_a_later_turn_has_the_facts_of_the_earlier_ones(self) -> None:
        more = Evidence("E2", PODS, "other", START, SHA256, 1, WEB)
        later: Sequence[ev.Payload] = (
            ev.Asked(2, "And api?", ""), ev.EvidenceAdded(more), ev.Answered("x", Verdict.HEALTHY, "expert"),
            ev.Asked(3, "Well?", ""),
        )  # fmt: skip
        both = (*EVENTS[:-1], *(ev.Event("s1", seq, START, each) for seq, each in enumerate(later, len(EVENTS))))
        assert turns_of(both) == (1, 2, 3)
        turn = recorded_turn(both, body, 2)
        assert [fact.evidence.id for fact in turn.facts] == ["E1", "E2"]
        assert (turn.question, turn.namespace) == ("And api?", "")
        assert [len(recorded_turn(both, body, number).facts) for number in (1, 2, 3)] == [1, 2, 2]
        assert recorded_turn(both, body, 3).answer is None
        assert case_of_turn(both, 1).proposals and case_of_turn(both, 2).question == "And api?"

    @pytest.mark.parametrize("ranked_twice", [True, False])
    def test_of_two_opinions_the_experts_is_taken(self, ranked_twice: bool) -> None:
        models = replace(FINDING, id="F2", by="gpt-x")
        shared = replace(FINDING, by="expert and gpt-x", unsupported="the quote is not there")
        first: Sequence[ev.Payload] = (ev.FindingsRanked((FINDING,)),) if ranked_twice else ()
        turn = asked(
            *first, ev.OpinionGiven("expert", Verdict.FAULT, "The expert says."),
            ev.OpinionGiven("gpt-x", Verdict.HEALTHY, "Nothing."), ev.FindingsRanked((models, shared)),
            ev.RemediesSuggested(
                (
                    replace(REMEDY, id="A4", reason="gpt-x"),
                    replace(REMEDY, id="A3", reason="gpt-x: it was right before"),
                    replace(REMEDY, id="A2", fixes=("F2",)),
                    replace(REMEDY, id="A10"),
                    REMEDY,
                )
            ),
            ev.Answered("The model says.", Verdict.UNDETERMINED, "gpt-x", ("pods",)),
        )  # fmt: skip
        assert turn.answer is not None
        told = turn.answer
        assert (told.mind, told.verdict, told.markdown) == ("expert", Verdict.FAULT, "The expert says.")
        assert told.findings == (FINDING,) and told.checked == ("pods",)
        assert [remedy.id for remedy in told.remedies] == ["A1", "A10"], "in the expert's order, without the model's"

    def test_a_model_alone_is_taken_as_it_is(self) -> None:
        turn = asked(ev.FindingsRanked((FINDING,)), ev.Answered("x", Verdict.FAULT, "gpt-x"))
        assert turn.answer is not None and turn.answer.mind == "gpt-x"

    def test_a_turn_that_does_not_exist_is_named(self) -> None:
        with pytest.raises(UsageError, match="no turn 2"):
            recorded_turn(EVENTS, body, 2)
        with pytest.raises(UsageError, match="Nothing was asked"):
            case_of_turn(events(OPENED), 1)


class TestWhatIsMissing:
    async def test_without_its_text_a_fact_stands_by_its_quote(self, tmp_path: Path) -> None:
        def nothing(sha256: str) -> str:
            raise RecordingError("left out")

        recorded = recorded_turn(EVENTS, nothing, 1)
        after, _ = await answered(tmp_path, RecordedMind(recorded, SystemClock()), recorded)
        assert [(fact.id, fact.quote) for fact in after.evidence] == [("E1", '"reason": "ImagePullBackOff"')]
        assert "1 of them without the text" in after.calls[0].result

    async def test_facts_that_become_one_are_cited_as_one(self, tmp_path: Path) -> None:
        """Two facts differ only in their texts, and the recording has neither: the ids after them move up."""
        facts = [Evidence(f"E{n}", PODS, q, START, f"{n}" * 64, 1, WEB) for n, q in ((1, "a"), (2, "a"), (3, "b"))]
        recorded = asked(
            *(ev.EvidenceAdded(fact) for fact in facts),
            ev.FindingsRanked((replace(FINDING, evidence=("E2", "E3", "E9")),)),
            ev.Answered("It is [E2] and [E3].", Verdict.FAULT, "expert"),
        )  # fmt: skip
        after, _ = await answered(tmp_path, RecordedMind(recorded, SystemClock()), recorded)
        assert [fact.id for fact in after.evidence] == ["E1", "E2"]
        assert after.findings[0].evidence == ("E1", "E2"), "what is not in the recording is not cited"
        assert after.answer is not None and after.answer.markdown == "It is [E1] and [E2]."

    async def test_a_turn_that_was_stopped_has_no_conclusion(self, tmp_path: Path) -> None:
        recorded = asked(ev.Stopped("interrupted"))
        after, _ = await answered(tmp_path, RecordedMind(recorded, SystemClock()), recorded)
        assert after.answer is not None and after.answer.verdict is Verdict.UNDETERMINED
        assert "interrupted" in after.answer.markdown


async def test_nothing_can_be_verified_in_a_recording() -> None:
    mind = RecordedMind(asked(), SystemClock())
    turn = Turn("s2", 1, "Why?", "shop")
    verified = await mind.verify(turn, FINDING, "P1", None)  # type: ignore[arg-type]
    assert verified.healing is ev.Healing.CANNOT_TELL and "recording" in verified.text
    assert mind.standing(turn) is None
