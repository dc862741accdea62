"""The fold: what a case becomes by its events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.domain import event as ev
from assistant.domain.case import Case, fold
from assistant.domain.evidence import Evidence
from assistant.domain.plan import Step, StepStatus
from assistant.domain.proposal import Answer, Decision, Origin, Outcome, ProposalState
from assistant.wire import event_from_builtins, event_to_builtins
from tests.session.scripted import OPENED, patch, proposal
from tests.unit.domain.payloads import payloads

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def events(*payloads: ev.Payload) -> tuple[ev.Event, ...]:
    return tuple(ev.Event("s1", seq, AT + timedelta(seconds=seq), payload) for seq, payload in enumerate(payloads, 1))


class TestAnySession:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(payloads, max_size=25))
    def test_events_survive_json_and_fold_to_the_same_case(self, given: list[ev.Payload]) -> None:
        live = events(*given)
        reloaded = tuple(event_from_builtins(json.loads(json.dumps(event_to_builtins(event)))) for event in live)
        assert reloaded == live
        assert fold(reloaded) == fold(live)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(payloads, max_size=25), st.data())
    def test_a_fold_can_be_taken_up_anywhere(self, given: list[ev.Payload], data: st.DataObject) -> None:
        all_events = events(*given)
        cut = data.draw(st.integers(0, len(all_events)))
        case = fold(all_events[:cut])
        for event in all_events[cut:]:
            case = case.apply(event)
        assert case == fold(all_events)
        assert case.seq == len(all_events)

    def test_an_event_out_of_order_is_refused(self) -> None:
        with pytest.raises(ValueError, match="does not follow"):
            Case().apply(ev.Event("s1", 2, AT, OPENED))

    def test_every_kind_has_one_stored_name(self) -> None:
        assert len(ev.KINDS) == len(set(ev.KINDS.values())) == len(ev.NAMES)


class TestTurns:
    def test_a_new_question_clears_findings_and_keeps_evidence_and_changes(self) -> None:
        fact = Evidence("E1", "GET /x", "q", AT, "0" * 64, 1)
        change = proposal(1, patch(), Origin("session", "x", "s1"))
        case = fold(
            events(
                OPENED, ev.Asked(1, "one", "shop"), ev.EvidenceAdded(fact), ev.Proposed(change), ev.Asked(2, "two", "")
            )
        )
        assert (case.turn, case.question, case.running, case.findings, case.plan) == (2, "two", True, (), ())
        assert case.evidence == (fact,) and len(case.proposals) == 1

    def test_steps_keep_their_status_when_the_plan_grows(self) -> None:
        first, second = Step("S1", "look"), Step("S2", "look more")
        case = fold(
            events(ev.PlanMade((first,)), ev.StepEnded("S1", StepStatus.DONE, "fine"), ev.PlanMade((first, second)))
        )
        assert [step.status for step in case.plan] == [StepStatus.DONE, StepStatus.PENDING]

    def test_a_resumed_turn_runs_and_an_interrupted_one_does_not(self) -> None:
        assert fold(events(OPENED, ev.Asked(1, "q", ""), ev.Resumed(2, continues=True))).running
        assert not fold(events(OPENED, ev.Asked(1, "q", ""), ev.Resumed(2))).running


class TestChanges:
    def test_a_change_goes_from_open_to_its_outcome(self) -> None:
        change = proposal(1, patch(), Origin("session", "x", "s1"))
        said = Decision(change.id, change.digest, Answer.APPROVE, "alice", AT)
        steps = (ev.Proposed(change), ev.Decided(said), ev.Sending(change.id, change.digest))
        states = [fold(events(*steps[:count])).proposals[0].state for count in (1, 2, 3)]
        assert states == [ProposalState.OPEN, ProposalState.APPROVED, ProposalState.SENDING]
        done = fold(events(*steps, ev.Concluded(Outcome(change.id, ProposalState.APPLIED, AT, 200))))
        assert done.proposals[0].state is ProposalState.APPLIED
        assert done.unresolved == () and done.waiting == ()
