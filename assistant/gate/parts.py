"""Sends a change to several objects: one request for each, each on record before and after, none of them twice.

Apart from the broker, because here one approval covers a list, and what came of it has to be counted exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from assistant.domain.proposal import Outcome, Part, ProposalState
from assistant.errors import StoreError
from assistant.gate import faults
from assistant.gate.preview import Examined, Examiner
from assistant.gate.sender import Sender, Sent
from assistant.gate.status import status_body, success_body
from assistant.policy.surroundings import listed
from assistant.store.journal import Journal

State = ProposalState
POINTS: Final = ("before-part", "after-part-intent", "after-part-sent", "after-part")
"""The fault points between two parts, for the test that kills the gate there."""


async def send_parts(
    sender: Sender, examiner: Examiner, journal: Journal, examined: Examined, stop: Callable[[], str]
) -> Sent:
    """Send every part once, in order, and return what came of all of them.

    An object that is gone, or that changed since it was listed, does not stop the others. A part whose end is not
    known, a refusal, or a reason that `stop` gives does: what is left is not sent.
    """
    ends: list[tuple[str, Sent | None]] = []
    why = ""
    for number, (request, part) in enumerate(zip(examined.parts, examined.proposal.parts, strict=True)):
        why = why or stop()
        if not why and examiner.part_digest(request, part.target.uid, part.resource_version) != part.digest:
            why = "the bytes to send are not the ones that were approved"
        if why:
            ends.append((part.target.name, None))
            continue
        mark = f"{examined.proposal.id}/{number + 1}"
        faults.point("before-part")
        try:
            journal.part_intent(mark, part.digest)
        except StoreError as error:
            why = f"the journal cannot be written ({error.meaning})"
            ends.append((part.target.name, None))
            continue
        faults.point("after-part-intent")
        sent = await sender.send(replace(examined, prepared=request, parts=()), lambda: faults.point("after-part-sent"))
        ends.append((part.target.name, sent))
        why = _recorded(journal, mark, part, sent) or _stopping(sent)
        faults.point("after-part")
    return _all(ends, why)


def _recorded(journal: Journal, mark: str, part: Part, sent: Sent) -> str:
    outcome = Outcome(mark, sent.state, datetime.now(UTC), sent.status, f"{part.target}: {sent.message}")
    try:
        journal.part_ended(outcome)
    except StoreError as error:
        return f"the journal cannot be written ({error.meaning})"
    return ""


def _stopping(sent: Sent) -> str:
    if sent.state is State.APPLIED or sent.status in (404, 409):
        return ""
    return "what came of one is not known" if sent.state is State.UNKNOWN else "one was refused"


def _all(ends: list[tuple[str, Sent | None]], why: str) -> Sent:
    groups: dict[str, list[str]] = {}
    for name, sent in ends:
        groups.setdefault(_word(sent), []).append(name)
    done = len(groups.pop("deleted", []))
    parts = [f"{done} of {len(ends)} deleted"]
    for word in ("gone already", "changed since you looked", "refused", "unknown", "not sent"):
        if names := groups.get(word):
            parts.append(f"{len(names)} {word} ({listed(names, 3)})")
    message = ", ".join(parts) + (f"; stopped because {why}" if why else "") + "."
    bad = next((sent for _, sent in ends if sent is not None and _word(sent) == "refused"), None)
    message += f" {bad.message}" if bad else ""
    if groups.get("unknown"):
        return Sent(State.UNKNOWN, 0, message)
    if set(groups) <= {"gone already"}:
        return Sent(State.APPLIED, 200, message, "", success_body(message))
    failed = next((s for _, s in ends if s is not None and s.state is State.FAILED and s.status not in (0, 404)), None)
    code = failed.status if failed is not None else 409
    return Sent(State.FAILED, code, message, "", status_body(code, message))


def _word(sent: Sent | None) -> str:
    if sent is None:
        return "not sent"
    if sent.state is State.APPLIED:
        return "deleted"
    if sent.state is State.UNKNOWN:
        return "unknown"
    return {404: "gone already", 409: "changed since you looked", 0: "not sent"}.get(sent.status, "refused")
