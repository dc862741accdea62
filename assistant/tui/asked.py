"""What was asked in the middle of a turn, as transcript and replay tell it: held calls, MCP servers' questions."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TypeAlias, assert_never

from assistant.domain import event as ev
from assistant.domain.asking import Reply
from assistant.domain.case import Case, Entry
from assistant.tui.lines import BLANK, Given, Line, Tone, line
from assistant.tui.words import named, one_line, said, said_lines, short

Asked: TypeAlias = "ev.CallHeld | ev.CallDecided | ev.QuestionPut | ev.QuestionAnswered"

REPLIES = {Reply.ACCEPT: "answered", Reply.DECLINE: "declined", Reply.CANCEL: "not answered"}
SHOWN_WIDTH = 50
"""Cells of a row of foreign text where the width is not known: it fits the narrowest pane."""
ONE_LINE = 200
URGENT_SECONDS = 10.0


def waits(payload: ev.Payload, case: Case) -> bool:
    """Say whether this still waits for a person."""
    return payload in case.held_calls or payload in case.questions


def asked_count(case: Case) -> int:
    """Return how many held calls and questions wait for a person."""
    return len(case.held_calls) + len(case.questions)


def asked_first(case: Case) -> ev.CallHeld | ev.QuestionPut | None:
    """Return what waits longest: all wait equally long, so it is what ends first."""
    waiting: list[ev.CallHeld | ev.QuestionPut] = [*case.held_calls, *case.questions]
    return min(waiting, key=lambda each: each.until.timestamp() if each.until else math.inf, default=None)


def countdown(until: datetime | None, now: datetime) -> str:
    """Return `04:31`, or "over"; "" where there is no end."""
    if until is None:
        return ""
    left = int((until - now).total_seconds())
    return f"{left // 60:02d}:{left % 60:02d}" if left > 0 else "over"


def _held(case: Case, call: str) -> ev.CallHeld | None:
    found = (e.payload for e in reversed(case.transcript) if isinstance(e.payload, ev.CallHeld) and e.ref == call)
    return next(found, None)


def _put(case: Case, question: str) -> ev.QuestionPut | None:
    found = (
        e.payload for e in reversed(case.transcript) if isinstance(e.payload, ev.QuestionPut) and e.ref == question
    )
    return next(found, None)


def asked_lines(payload: Asked, entry: Entry, case: Case) -> list[Line]:
    """Return what the transcript says of it."""
    ref = f"entry:{entry.seq}"
    open_now = waits(payload, case)
    match payload:
        case ev.CallHeld():
            what = ("says it destroys", Tone.BAD) if payload.destructive else ("is not known to only read", Tone.WARN)
            head = line(
                ("held call ", Tone.HEADING), named(payload.tool), " of MCP server ", named(payload.server), "  ", what,
                hang=2, ref=ref,
            )  # fmt: skip
            then = [line(("  f3 shows it", Tone.STRONG), ", it is not called before that", ref=ref)] if open_now else []
            return [BLANK, head, *then]
        case ev.CallDecided():
            held = _held(case, payload.call)
            who: list[Given] = [named(held.tool), " of ", named(held.server)] if held else [payload.call]
            word: Given = ("allowed once", Tone.GOOD) if payload.allowed else ("not allowed", Tone.WARN)
            by = f" by {payload.by}" if payload.by else ""
            why = f": {payload.reason}" if payload.reason else ""
            return [line("  ", *who, " ", word, f"{by}{why}", hang=4, ref=ref)]
        case ev.QuestionPut():
            head = line(("MCP server ", Tone.HEADING), named(payload.server), (" asks you", Tone.HEADING), ref=ref)
            out = [
                BLANK,
                head,
                line(("  its words: ", Tone.MUTED), (one_line(payload.message, ONE_LINE), Tone.CODE), hang=4, ref=ref),
            ]
            if payload.url:
                out.append(
                    line(
                        ("  wants you to look at: ", Tone.MUTED),
                        (one_line(payload.url, ONE_LINE), Tone.CODE),
                        hang=4,
                        ref=ref,
                    )
                )
            if open_now:
                out.append(line(("  f3 answers it", Tone.STRONG), ", the turn waits", ref=ref))
            return out
        case ev.QuestionAnswered():
            put = _put(case, payload.question)
            server: list[Given] = [" of ", named(put.server)] if put else []
            fields = f": {', '.join(short(each) for each in payload.fields)}" if payload.fields else ""
            tone = Tone.GOOD if payload.reply is Reply.ACCEPT else Tone.WARN
            by = f" by {payload.by}" if payload.by else ""
            return [line("  question", *server, " ", (REPLIES[payload.reply], tone), f"{by}{fields}", hang=4, ref=ref)]
        case _:
            assert_never(payload)


def asked_headline(payload: Asked) -> tuple[str, Tone]:
    """Return what happened in a few words, for the list of steps."""
    match payload:
        case ev.CallHeld():
            what = "says it destroys" if payload.destructive else "may change something"
            return f"held: {short(payload.tool)} of {short(payload.server)} {what}", Tone.WARN
        case ev.CallDecided():
            word = "ALLOWED ONCE" if payload.allowed else "NOT ALLOWED"
            by = f" by {payload.by}" if payload.by else ""
            return f"{word}{by}{': ' if payload.reason else ''}{payload.reason}", Tone.WARN
        case ev.QuestionPut():
            return f"MCP server {short(payload.server)} asks: {one_line(payload.message, ONE_LINE)}", Tone.WARN
        case ev.QuestionAnswered():
            by = f" by {payload.by}" if payload.by else ""
            return f"server's question {REPLIES[payload.reply]}{by}", Tone.STRONG
        case _:
            assert_never(payload)


def asked_detail(payload: Asked) -> list[Line]:
    """Return all of it, read-only."""
    head = line(asked_headline(payload), hang=2)
    match payload:
        case ev.CallHeld():
            return [head, *said_lines(payload.lines, SHOWN_WIDTH), line((f"digest {payload.digest}", Tone.MUTED))]
        case ev.QuestionPut():
            out = [line(f"MCP server {short(payload.server)} asks, in its words:", hang=2)]
            out += said(payload.message, SHOWN_WIDTH)
            out += said(payload.url, SHOWN_WIDTH) if payload.url else []
            for field in payload.fields:
                need = ", needed" if field.required else ""
                out.append(
                    line("  field ", named(field.title or field.name), (f"  {field.kind.value}{need}", Tone.MUTED))
                )
            return out
        case ev.QuestionAnswered() if payload.fields:
            names = ", ".join(short(each) for each in payload.fields)
            return [head, line((f"fields: {names}; the values stand in no log", Tone.MUTED), hang=2)]
        case _:
            return [head]


def progress_parts(given_up_at: datetime | None, now: datetime) -> list[Given]:
    """Return `given up in 12 s` for a running call that nobody waits for for ever."""
    if given_up_at is None:
        return []
    left = (given_up_at - now).total_seconds()
    words = f"  given up in {int(left) + 1} s" if left > 0 else "  giving up"
    return [(words, Tone.WARN if left <= URGENT_SECONDS else Tone.MUTED)]
