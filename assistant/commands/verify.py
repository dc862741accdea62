"""`sessions verify`: recomputes every chain and says what holds and where it breaks. It writes nothing but heads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.config import Settings
from assistant.domain.event import Concluded, Decided, Event, Proposed
from assistant.domain.proposal import Answer, Decision, Proposal
from assistant.errors import StoreError
from assistant.policy.sanitize import safe

if TYPE_CHECKING:
    from assistant.store.chain import Verification
    from assistant.store.heads import Heads
    from assistant.store.journal_audit import NotedHead
    from assistant.store.log import SessionStore

BROKEN = 1


def verify(settings: Settings, name: str, export: Path | None, against: Path | None) -> int:
    """Check one session or all, and the journal; exit code 1 where anything does not hold."""
    from assistant.store.heads import read_heads

    kept = read_heads(against, settings.state) if against else None
    broken = 0
    noted: list[NotedHead] = []
    heads: dict[str, str] = {}
    try:
        with _store(settings) as store:
            wanted = store.find(name) if name else ""
            for session in store.ids():
                found, events = _session(store, session)
                heads[session] = f"{found.events}:{found.head}"
                if kept and found.intact:
                    found = _like_kept(store, found, kept)
                noted += _noted(session, events)
                if wanted in ("", session):
                    broken += not found.intact
                    _say(session, found, _extras(store, session, found, events))
            if not wanted:
                for stray in (*store.strays(), *_gone(store, heads, kept)):
                    broken += 1
                    print(safe(f"sessions.db  BROKEN: {stray}", multiline=False))
    except StoreError as error:
        if error.code != "store-missing" or name:
            raise
    journal, broken_journal = _journal(settings, noted, kept)
    if export is not None:
        from assistant.store.heads import Heads, now, write_heads

        write_heads(export, settings.state, Heads(now(), journal, heads))
        print(safe(f"signed heads written to {export}: keep a copy where nobody who can write here can reach it"))
    return BROKEN if broken + broken_journal else 0


def _store(settings: Settings) -> SessionStore:
    from assistant.wiring import open_store

    return open_store(settings, read_only=True)


def _say(name: str, found: Verification, extras: str) -> None:
    if found.intact:
        print(safe(f"{name}  holds: {found.events} events{extras}", multiline=False))
    else:
        what = found.damage.value if found.damage else "damaged"
        print(safe(f"{name}  BROKEN at event {found.bad_seq}, {what}: {found.why}", multiline=False))


def _session(store: SessionStore, session: str) -> tuple[Verification, tuple[Event, ...]]:
    found = store.verify(session)
    if found.intact and not store.row(session).imported:
        texts = store.verify_texts(session)
        found = found if texts.intact else texts
    return found, store.load(session).events


def _noted(session: str, events: tuple[Event, ...]) -> Iterator[NotedHead]:
    from assistant.store.journal_audit import noted_head

    for event in events:
        if isinstance(event.payload, Proposed | Decided | Concluded):
            try:
                head = noted_head(event.payload.journal, f"event {event.seq} of session {session}")
            except ValueError:
                # The chain says whether this is what was written; as a head it is of no use.
                continue
            if head is not None:
                yield head


def _extras(store: SessionStore, session: str, found: Verification, events: tuple[Event, ...]) -> str:
    if not found.intact:
        return ""
    said = ", imported" if store.row(session).imported else ""
    drawn, cards = _cards(events)
    if cards:
        said += f", {drawn} of {cards} approved cards drawn again alike"
    return said


def _cards(events: tuple[Event, ...]) -> tuple[int, int]:
    """Draw each approved card again from the log and compare its hash with the one that was on screen."""
    known: dict[str, Proposal] = {}
    decisions: list[Decision] = []
    for event in events:
        match event.payload:
            case Proposed(proposal):
                known[proposal.id] = proposal
            case Decided(decision) if decision.answer is Answer.APPROVE and decision.shown:
                decisions.append(decision)
            case _:
                pass
    drawn = sum(d.proposal in known and d.shown in card_hashes(known[d.proposal]) for d in decisions)
    return drawn, len(decisions)


def card_hashes(proposal: Proposal) -> tuple[str, ...]:
    """Return the hashes of the cards that the faces of this version draw for a proposal."""
    from assistant.plain.card import card_digest
    from assistant.tui.card import shown_digest

    return card_digest(proposal), shown_digest(proposal)


def _like_kept(store: SessionStore, found: Verification, kept: Heads) -> Verification:
    from dataclasses import replace

    from assistant.store.chain import Damage

    number, _, wanted = kept.sessions.get(found.session, "").partition(":")
    if not number:
        return found
    if found.events < int(number):
        why = f"it has {found.events} events; there were {number} when the heads were signed ({kept.at})"
        return replace(found, bad_seq=found.events + 1, why=why, damage=Damage.CUT_OFF)
    if int(number) and store.hash_of(found.session, int(number)) != wanted:
        why = f"event {number} is not the one of the signed heads ({kept.at}): history was written anew"
        return replace(found, bad_seq=int(number), why=why, damage=Damage.CHANGED)
    return found


def _gone(store: SessionStore, heads: dict[str, str], kept: Heads | None) -> Iterator[str]:
    deleted = store.deleted()
    for session in kept.sessions if kept else ():
        if session not in heads and session not in deleted:
            yield f"session {session} was there when the heads were signed, and is gone without a note of its deletion"


def _journal(settings: Settings, noted: list[NotedHead], kept: Heads | None) -> tuple[str, bool]:
    from assistant.store.journal_audit import noted_head, verify_journal

    try:
        if kept and (head := noted_head(kept.journal, f"the signed head of {kept.at}")):
            noted.append(head)
        result = verify_journal(settings.state, noted)
    except (StoreError, ValueError) as error:
        print(safe(f"journal  BROKEN: {error}", multiline=False))
        return "", True
    if result is None:
        print("journal  there is none: no gate has kept one here")
        return "", False
    found = result.found
    if not found.intact:
        what = found.damage.value if found.damage else "damaged"
        print(safe(f"journal  BROKEN at entry {found.bad_seq}, {what}: {found.why}", multiline=False))
        return f"{found.events}:{found.head}", True
    if result.older and not result.since:
        print(
            f"journal  {found.events} entries without a chain: written by an older version; the next gate chains them"
        )
        return "", False
    since = ""
    if result.older:
        since = (
            f"; entries 1 to {result.older} were written before the chain began ({result.since[:19]}), so changes"
            " before then cannot be seen"
        )
    seen = f", {result.heads} heads in session logs agree" if result.heads else ""
    print(safe(f"journal  holds: {found.events} entries{seen}{since}", multiline=False))
    return f"{found.events}:{found.head}", False
