"""The linear face: what it prints can be read at 80 columns, never moves the cursor, and asks in full."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from assistant.domain import event as ev
from assistant.domain.case import Case, fold
from assistant.domain.event import Event
from assistant.domain.finding import Verdict
from assistant.domain.proposal import Answer, Origin, ProposalState, Undo
from assistant.errors import UsageError
from assistant.plain.card import card_digest, card_lines, read_decision
from assistant.plain.face import PlainFace, report_lines
from assistant.plain.json import document, dumps
from assistant.plain.markdown import fenced, report
from tests.replay.course import CHANGE, EVENTS
from tests.session.scripted import FINDING, OPENED, START, FakeClock, patch, proposal

HOSTILE = "web\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u200b[@click=app.quit]x[/] ``` # head <script>\r\nfake: line"
NO_CONTROL = {chr(code) for code in [*range(0, 10), *range(11, 32), *range(127, 160), 0x202E, 0x200B]}


def printed(events: tuple[Event, ...] = EVENTS) -> str:
    out = io.StringIO()
    face, case = PlainFace(out), Case()
    for event in events:
        case = case.apply(event)
        face(event, case)
    return out.getvalue()


def hostile_case() -> Case:
    change = replace(proposal(1, patch(body=HOSTILE), Origin("client", HOSTILE)), title=HOSTILE, not_approvable=HOSTILE)
    payloads: tuple[ev.Payload, ...] = (
        replace(OPENED, context=HOSTILE),
        ev.Asked(1, HOSTILE, HOSTILE),
        ev.ToolStarted("T1", HOSTILE, HOSTILE),
        ev.ToolEnded("T1", False, HOSTILE, 0.1, preview=HOSTILE),
        ev.FindingsRanked((replace(FINDING, summary=HOSTILE, outside=HOSTILE),)),
        ev.Answered(HOSTILE, Verdict.FAULT, "expert", (HOSTILE,)),
        ev.Proposed(change),
        ev.ErrorRaised("x", HOSTILE, HOSTILE, HOSTILE),
        ev.Noted(HOSTILE, "warning"),
    )
    return fold(Event("s1", n, START, payload) for n, payload in enumerate(payloads, 1))


class TestLines:
    def test_a_session_reads_as_lines_of_at_most_80_columns(self) -> None:
        text = printed()
        assert max(map(len, text.splitlines())) <= 80
        for words in ("you ask: Why does web not start?", "F1 root cause", "A-0007 waits for you", "APPROVED by alice",
                      "A-0007 APPLIED (HTTP 200)", "verified: fixed", "FAILED: forbidden", "E1"):  # fmt: skip
            assert words in " ".join(text.split()), words

    def test_hostile_text_cannot_move_the_cursor_or_begin_a_line_of_its_own(self) -> None:
        case = hostile_case()
        out = io.StringIO()
        face, folded = PlainFace(out), Case()
        for entry in case.transcript:
            event = Event("s1", folded.seq + 1, START, entry.payload)
            folded = folded.apply(event)
            face(event, folded)
        texts = [out.getvalue(), "\n".join(report_lines(case)), report(case), dumps(case)]
        texts.append("\n".join(card_lines(case.proposals[0].proposal, START)))
        for text in texts:
            assert not NO_CONTROL & set(text)
        assert not any(line.startswith("fake: line") for line in out.getvalue().splitlines())

    def test_the_report_names_cause_suggestion_and_evidence(self) -> None:
        lines = report_lines(fold(EVENTS))
        text = "\n".join(lines)
        assert "F1 cause: Deployment shop/web" in text and "A1 suggestion" in text
        assert '"reason": "ImagePullBackOff"' in text and "GET /api/v1/namespaces/shop/pods" in text


class TestApproval:
    def test_the_card_shows_all_of_the_change(self) -> None:
        text = "\n".join(card_lines(CHANGE, START))
        for words in ("PATCH /apis/apps/v1/namespaces/shop/deployments/web", "  + image: shop/web:1", "(by the server)",
                      "risk: medium", "undo: set it back", "open for: 10 min 00 s", CHANGE.digest,
                      f"approve {CHANGE.digest[:6]}", "1 lines of bookkeeping"):  # fmt: skip
            assert words in text, words
        assert "generation: 7" not in text

    def test_a_delete_says_where_the_whole_object_is_and_shows_it_when_asked(self) -> None:
        gone = replace(CHANGE, undo=Undo("none", before="kind: Deployment\nspec:\n  replicas: 4\n"))
        short = "\n".join(card_lines(gone, START))
        assert f"the whole object now: 3 lines, see: pilothouse approvals show {gone.id}" in short
        assert "replicas: 4" not in short
        assert "    replicas: 4" in card_lines(gone, START, whole=True)

    def test_what_would_make_it_approvable_is_said(self) -> None:
        closed = replace(CHANGE, not_approvable="access is denied.", approvable_if="Ask for the right.")
        text = " ".join(" ".join(card_lines(closed, START)).split())
        assert "This cannot be approved: access is denied. Ask for the right. Type: deny REASON" in text

    def test_a_change_without_a_diff_shows_its_whole_body(self) -> None:
        text = "\n".join(card_lines(proposal(1, patch(), Origin("client", "kubectl")), START))
        assert patch().body in text

    @pytest.mark.parametrize(
        "typed",
        [
            "",
            "approve",
            "approve 12345",
            "yes",
            "y",
            "approve deadbe",
            "Approve {d}",
            "approve {d} web",
            "a",
            "APPROVE",
        ],
    )
    def test_nothing_short_of_the_digest_approves(self, typed: str) -> None:
        with pytest.raises(UsageError) as caught:
            read_decision(typed.replace("{d}", CHANGE.digest[:6]), CHANGE)
        assert caught.value.hint

    def test_a_critical_change_needs_the_name_as_well(self) -> None:
        critical = proposal(1, patch(), Origin("client", "kubectl"), critical=True)
        digest = critical.digest[:6]
        for typed in (f"approve {digest}", f"approve {digest} Web", f"approve {digest} web web"):
            with pytest.raises(UsageError):
                read_decision(typed, critical)
        assert read_decision(f"approve {digest} web", critical).typed_name == "web"

    def test_what_cannot_be_approved_can_still_be_denied(self) -> None:
        closed = replace(CHANGE, not_approvable="access is denied")
        with pytest.raises(UsageError, match="access is denied"):
            read_decision(f"approve {closed.digest[:6]}", closed)
        assert read_decision("deny  not now, please", closed).reason == "not now, please"

    async def test_typing_asks_again_until_it_is_an_answer_and_sends_what_was_shown(self) -> None:
        class Asked:
            case = fold(EVENTS[:13])
            said: tuple[object, ...] = ()

            async def decide(
                self, proposal_id: str, answer: Answer, reason: str = "", shown: str = "", typed_name: str = "",
                *, looked_seconds: float = -1.0,
            ) -> ProposalState:  # fmt: skip
                self.said = (proposal_id, answer, shown)
                return ProposalState.APPROVED

        typed = iter(["", "yes", f"approve {CHANGE.digest[:6]}"])

        async def read(prompt: str) -> str | None:
            return next(typed, None)

        session, out = Asked(), io.StringIO()
        state = await PlainFace(out).ask_decision(session, CHANGE, read, FakeClock())
        assert state is ProposalState.APPROVED
        assert session.said == ("A-0007", Answer.APPROVE, card_digest(CHANGE))
        assert out.getvalue().count("error: ") == 2
        assert await PlainFace(out).ask_decision(session, CHANGE, read, FakeClock()) is ProposalState.OPEN


class TestDocuments:
    def test_the_json_document_has_the_shape_of_version_1(self) -> None:
        value = json.loads(dumps(fold(EVENTS)))
        assert value == json.loads(json.dumps(document(fold(EVENTS))))
        assert (value["version"], value["verdict"], value["mind"]) == (1, "fault", "expert")
        assert value["findings"][0]["target"] == {
            "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web",
        }  # fmt: skip
        assert value["evidence"][0].items() >= {"id": "E1", "quote": '"reason": "ImagePullBackOff"'}.items()
        assert value["proposals"][0]["change"]["state"] == "applied"
        assert value["usage"]["api_requests"] == 31
        assert value["plan"][0] == {"id": "S1", "title": "look at the pods", "status": "done"}

    def test_no_answer_is_undetermined(self) -> None:
        assert document(fold(EVENTS[:2]))["verdict"] == "undetermined"

    def test_markdown_fences_are_longer_than_what_they_hold(self) -> None:
        assert fenced("a\n````\nb").startswith("`````text\n")
        text = report(fold(EVENTS), cut="the file was cut")
        assert "## Answer: fault" in text and "**Incomplete:** the file was cut" in text
        assert "A-0007" in text and "+ image: shop/web:1" in text

    def test_markdown_of_hostile_text_has_no_html_no_heading_and_no_link(self) -> None:
        outside, inside = [], False
        for line in report(hostile_case()).splitlines():
            if line.startswith("```"):
                inside = not inside
            elif not inside:
                outside.append(line)
        text = "\n".join(outside)
        assert "<script" not in text.replace("\\<", "") and "](" not in text
