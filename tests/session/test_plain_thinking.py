"""What a language model adds, in lines, JSON and Markdown: the same as on the screen, and nothing told twice."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

from assistant.domain import event as ev
from assistant.domain.case import Case, fold
from assistant.domain.event import Event
from assistant.domain.finding import Verdict
from assistant.domain.hypothesis import Hypothesis, Mark
from assistant.plain.face import report_lines
from assistant.plain.json import document, dumps
from assistant.plain.markdown import report
from assistant.plain.replay import replay_plain
from assistant.session.replay import Player
from tests.replay import course, thought
from tests.session.scripted import FINDING, START, FakeClock
from tests.session.test_plain_face import HOSTILE, NO_CONTROL, printed


def events(*payloads: ev.Payload) -> tuple[Event, ...]:
    return tuple(Event("s1", n, START, payload) for n, payload in enumerate(payloads, 1))


def squeezed(text: str) -> str:
    return " ".join(text.split())


class TestLines:
    def test_board_opinion_marks_and_calls_are_told_as_they_come(self) -> None:
        text = printed(thought.EVENTS)
        assert max(map(len, text.splitlines())) <= 80
        for words in (
            "might be: H1 The image tag does not exist, Deployment shop/web (by expert; for E1; against nothing yet; "
            "decides: the registry's list of tags)",
            "the expert says (a model still thinks), fault: **The cause** (almost certain)",
            "thinking: ask large diagnose ..",
            "you mark: H2 struck, it is not looked into any more",
            "model: large-2026-10 (asked large) at gateway.example, diagnose, 11900 + 480 tokens, $0.02, 4.2 s",
            "model: large at gateway.example, repair, about 900 + 40 tokens, price unknown, 4.2 s, "
            "cut: no token for 45 s",
            "F1 as before, by expert and large-2026-10",
            "unsupported: no evidence is cited",
        ):
            assert words in squeezed(text), words

    def test_what_a_finding_or_hypothesis_said_already_is_not_said_again(self) -> None:
        again = (
            *thought.PAYLOADS[: thought.STANDING],
            ev.BoardMade((*thought.BOARD[:1], replace(thought.BOARD[1], speaks_for=("E1",)))),
            ev.FindingsRanked((FINDING,)),
            ev.FindingsRanked(()),
        )
        text = squeezed(printed(events(*again)))
        assert text.count("The image does not exist. [E1]") == 1
        assert text.count("might be: H1") == 1 and text.count("might be: H2") == 2
        assert "finding: F1 no longer holds" in text

    def test_a_call_of_a_model_is_no_read(self) -> None:
        assert "read: ask large" not in printed(thought.EVENTS)

    def test_a_failed_call_says_why(self) -> None:
        text = printed(events(replace(thought.CALLED, failed="HTTP 503 three times", cost_usd=0.0)))
        assert "FAILED: HTTP 503 three times" in squeezed(text)

    async def test_a_replay_prints_what_was_printed_live(self) -> None:
        player, out = Player(thought.EVENTS), io.StringIO()
        player.speed = 0.0

        class AtOnce(FakeClock):
            async def sleep(self, seconds: float) -> None:
                return

        await replay_plain(player, out, AtOnce())
        assert printed(thought.EVENTS) in out.getvalue()

    def test_hostile_text_of_a_model_moves_no_cursor_and_begins_no_line(self) -> None:
        board = (Hypothesis("H1", HOSTILE, HOSTILE, None, (HOSTILE,), (HOSTILE,), HOSTILE, Mark.PINNED),)
        hostile = events(
            ev.Asked(1, "q", ""),
            ev.BoardMade(board),
            ev.OpinionGiven(HOSTILE, Verdict.FAULT, "fine"),
            ev.HypothesisMarked(HOSTILE, Mark.STRUCK),
            replace(thought.CALLED, model=HOSTILE, purpose=HOSTILE, endpoint=HOSTILE, cut=HOSTILE, failed=HOSTILE),
            ev.FindingsRanked((replace(thought.UNSUPPORTED, by=HOSTILE, unsupported=HOSTILE),)),
        )
        case = fold(hostile)
        lines = printed(hostile)
        for text in (lines, "\n".join(report_lines(case)), report(case), dumps(case)):
            assert not NO_CONTROL & set(text)
        assert not any(line.strip().startswith("fake: line") for line in lines.splitlines())
        assert "](" not in report(case) and "<script" not in report(case).replace("\\<", "")


class TestReport:
    def test_it_names_board_claims_and_price_and_tells_the_answer_once(self) -> None:
        text = squeezed("\n".join(report_lines(fold(thought.EVENTS))))
        for words in (
            "F2 note: Deployment shop/web: The pull secret may be wrong. (40% sure; nothing cited, so a guess; "
            "by large-2026-10; unsupported: no evidence is cited)",
            "might be: H2 STRUCK: The pull secret is wrong (by large-2026-10;",
            "model: large-2026-10, large: 2 calls, 12800 + 520 tokens, $0.02 + 1 unpriced",
        ):
            assert words in text, words
        assert text.count("The registry refuses the tag") == 1 and "almost certain" not in text

    def test_without_a_model_nothing_of_it_is_said(self) -> None:
        text = "\n".join(report_lines(fold(course.EVENTS)))
        assert not any(words in text for words in ("might be", "model:", "by expert", "unsupported"))

    def test_the_markdown_report_has_board_price_and_the_course_of_calls(self) -> None:
        text = report(fold(thought.EVENTS))
        for words in ("Language model: large-2026-10, large: 2 calls", "## What it might be", "- H2 STRUCK:",
                      "unsupported: no evidence is cited", "the expert said: fault", "marked: H2 struck",
                      "cut: no token for 45 s"):  # fmt: skip
            assert words in text, words


class TestJson:
    def test_board_opinions_claims_and_usage_are_added_to_version_1(self) -> None:
        value: dict[str, Any] = json.loads(dumps(fold(thought.EVENTS)))
        assert value["version"] == 1
        assert [(each["by"], each["unsupported"]) for each in value["findings"]] == [
            ("expert and large-2026-10", ""), ("large-2026-10", "no evidence is cited"),
        ]  # fmt: skip
        assert value["board"][1] == {
            "id": "H2", "cause": "The pull secret is wrong.", "by": "large-2026-10", "target": None, "for": [],
            "against": ["E1"], "decides": "the message of the pull", "mark": "struck",
        }  # fmt: skip
        assert value["board"][0]["target"]["name"] == "web"
        assert value["opinions"] == [{"mind": "expert", "verdict": "fault", "markdown": thought.OPINION}]
        assert value["usage"] == {
            "seconds": 50.0, "api_requests": 31, "model_calls": 2, "prompt_tokens": 12_800, "completion_tokens": 520,
            "cost_usd": 0.0213, "unpriced_calls": 1,
        }  # fmt: skip

    def test_without_a_model_they_are_there_and_empty(self) -> None:
        value = document(fold(course.EVENTS))
        assert value["board"] == value["opinions"] == []
        assert value["findings"][0]["by"] == "expert" and value["findings"][0]["unsupported"] == ""
        assert (value["usage"]["model_calls"], value["usage"]["cost_usd"], value["usage"]["unpriced_calls"]) == (
            0,
            0,
            0,
        )

    def test_opinions_are_those_of_the_turn(self) -> None:
        later = (*thought.EVENTS, Event("s1", len(thought.EVENTS) + 1, START, ev.Asked(2, "and now?", "")))
        assert document(fold(later))["opinions"] == [] and document(Case())["opinions"] == []
