"""Says whether the gate's journal still stands as it was written: chain, approvals, and the heads kept elsewhere.

Apart from the journal itself, because it only reads and must work on a damaged one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from assistant.errors import StoreError
from assistant.store.chain import Damage, Verification, check
from assistant.store.journal import CHAINED, FILE, NAME, entry_link, mac_digest
from assistant.store.sqlite import Connection, StoreMissingError, open_database

NOUN: Final = "entry"
_HEAD: Final = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class NotedHead:
    """What somebody else keeps of the journal: its entry `number` had this hash. `where` says who, for people."""

    number: int
    hash: str
    where: str


@dataclass(frozen=True, slots=True)
class JournalCheck:
    """What a check of the journal found. `older` entries were written before the chain, which began at `since`."""

    found: Verification
    older: int = 0
    since: str = ""
    heads: int = 0


def noted_head(text: str, where: str) -> NotedHead | None:
    """Read the `NUMBER:HASH` that a session keeps, None where it keeps none. Raises ValueError for anything else."""
    if not text:
        return None
    match = _HEAD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is not a number and a hash")
    return NotedHead(int(match[1]), match[2], where)


def verify_journal(state_dir: Path, heads: Iterable[NotedHead]) -> JournalCheck | None:
    """Check the journal in a state directory; None where there is none and nobody has ever seen one.

    Raises StoreError for a file that cannot be read at all.
    """
    heads = sorted(heads, key=lambda item: item.number)
    try:
        reader = open_database(state_dir / FILE, read_only=True)
    except StoreMissingError:
        if not heads:
            return None
        why = f"{heads[-1].where} has seen {heads[-1].number} entries, and there is no {FILE} any more"
        return JournalCheck(Verification(NAME, 0, "", 1, why, Damage.CUT_OFF), heads=len(heads))
    with closing(reader):
        tables = {row["name"] for row in reader.query("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "head" not in tables and "entries" in tables and not heads:
            count = reader.query("SELECT count(*) AS n FROM entries")[0]["n"]
            return JournalCheck(Verification(NAME, count, ""), older=count)
        return check_entries(reader, heads)


def check_entries(reader: Connection, heads: list[NotedHead]) -> JournalCheck:
    """Check an open journal; `heads` in the order of their numbers."""
    try:
        rows = reader.query("SELECT * FROM entries ORDER BY seq")
        kept = reader.query("SELECT entries, hash FROM head")
        links = [entry_link(dict(row)) for row in rows]
    except (StoreError, IndexError, KeyError) as error:
        why = f"its tables are not as Pilothouse makes them ({error})"
        return JournalCheck(Verification(NAME, 0, "", 1, why, Damage.CHANGED), heads=len(heads))
    count, last = (kept[0]["entries"], kept[0]["hash"]) if len(kept) == 1 else (-1, "")
    found = check(NAME, links, last, count, noun=NOUN)
    result = JournalCheck(found, heads=len(heads))
    for row in rows:
        if row["kind"] == CHAINED and not result.since:
            older = _object(row["data"]).get("entries")
            result = replace(result, older=older if isinstance(older, int) else 0, since=str(row["at"]))
    if found.intact and (worse := _compared(found, links, heads) or _approvals(found, rows, reader)):
        return replace(result, found=worse)
    return result


def _compared(found: Verification, links: list[Any], heads: list[NotedHead]) -> Verification | None:
    for head in heads:
        if head.number > len(links):
            why = f"it ends with entry {len(links)}, and {head.where} has seen entry {head.number}"
            return replace(found, bad_seq=len(links) + 1, why=why, damage=Damage.CUT_OFF)
        if head.number and links[head.number - 1].hash != head.hash:
            why = f"entry {head.number} is not the one that {head.where} has seen: history was written anew"
            return replace(found, bad_seq=head.number, why=why, damage=Damage.CHANGED)
    return None


def _approvals(found: Verification, rows: list[Any], reader: Connection) -> Verification | None:
    """Compare the table that makes an approval single-use with the entries, which say all that it says."""
    decided = {row["proposal"]: row for row in rows if row["kind"] == "decided" and "approval" in _object(row["data"])}
    intents = {row["proposal"]: row for row in rows if row["kind"] == "intent"}
    approved = {row["proposal"] for row in rows if _object(row["data"]).get("answer") == "approve"}
    seen = set()
    for row in reader.query("SELECT * FROM approvals ORDER BY proposal"):
        name = str(row["proposal"])
        seen.add(name)
        entry = decided.get(name)
        if entry is None:
            if name in approved:
                # Approved before entries said what the approval was.
                continue
            why = f"the approval of {name} is none that was recorded"
            return replace(found, bad_seq=found.events, why=why, damage=Damage.ADDED)
        said = _object(entry["data"])
        held = {"expires": row["expires"], "mac_sha256": mac_digest(str(row["mac"]))}
        intent = intents.get(name)
        used = intent["at"] if intent is not None else None
        if said["approval"] != held or said.get("digest") != row["digest"] or row["consumed"] != used:
            why = f"the approval of {name} is not as entry {entry['seq']} and its use say"
            return replace(found, bad_seq=entry["seq"], why=why, damage=Damage.CHANGED)
    for name, entry in decided.items():
        if name not in seen:
            why = f"the approval of {name} that entry {entry['seq']} records is missing"
            return replace(found, bad_seq=entry["seq"], why=why, damage=Damage.REMOVED)
    return None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
