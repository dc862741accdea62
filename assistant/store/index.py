"""The session list: one row a session, kept up to date with its events, and full-text search over them.

Apart from the log, because a list of ten thousand sessions must never touch an event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from assistant.domain import event as ev
from assistant.domain.case import Spent
from assistant.domain.proposal import BREAK_GLASS, ProposalState
from assistant.errors import UsageError
from assistant.store.chain import GENESIS
from assistant.store.sqlite import Connection, StoreDamagedError
from assistant.wire import convert, to_builtins

SESSION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
TITLE_CHARACTERS: Final = 120
MAX_ROWS: Final = 1000
DAMAGED_TITLE: Final = "(this entry of the list is damaged: sessions verify)"
_NEVER: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """What the list shows of a session without reading its events.

    `title` is the first question, `verdict` and `status` those of the last turn (`open`, `running`, `waiting`,
    `done`, `stopped`, `closed`, or `damaged` where the entry cannot be read). A session that says `running` while
    nobody holds its claim was interrupted.
    `head` is the hash of the last event.
    """

    id: str
    opened_at: datetime
    last_at: datetime
    context: str = ""
    cluster: str = ""
    namespace: str = ""
    identity: str = ""
    mode: str = ""
    source: str = ""
    mind: str = ""
    app_version: str = ""
    production: bool = False
    title: str = ""
    verdict: str = ""
    status: str = "open"
    result: str = ""
    turns: int = 0
    events: int = 0
    evidence: int = 0
    proposals: int = 0
    applied: int = 0
    head: str = GENESIS
    imported: bool = False


COLUMNS: Final = tuple(field.name for field in fields(SessionRow))


@dataclass(frozen=True, slots=True)
class Hit:
    """One event that matches a search; `snippet` is the text around the words."""

    session: str
    seq: int
    at: datetime
    kind: str
    title: str
    snippet: str


def summarise(row: SessionRow, event: ev.Event, head: str) -> SessionRow:
    """Return the row after one more event, whose hash is `head`."""
    row = replace(row, last_at=event.at, events=event.seq, head=head)
    match event.payload:
        case ev.SessionOpened() as opened:
            return replace(
                row, opened_at=event.at, context=opened.context, cluster=opened.cluster, namespace=opened.namespace,
                identity=opened.identity, mode=opened.mode, source=opened.source, mind=opened.mind,
                app_version=opened.app_version, production=opened.production,
            )  # fmt: skip
        case ev.Asked() as asked:
            title = row.title or " ".join(asked.text.split())[:TITLE_CHARACTERS]
            namespace = asked.namespace or row.namespace
            return replace(row, title=title, namespace=namespace, turns=asked.turn, status="running", verdict="")
        case ev.Answered() as answered:
            return replace(row, verdict=answered.verdict.value)
        case ev.EvidenceAdded():
            return replace(row, evidence=row.evidence + 1)
        case ev.Proposed(proposal) if proposal.second is not None and proposal.second.agreed:
            # Known already: what is new is that somebody has agreed to it.
            return row
        case ev.Proposed():
            # A foreign client's change may come while no turn is under way.
            status = "waiting" if row.status == "running" else row.status
            return replace(row, proposals=row.proposals + 1, status=status)
        case ev.Decided() as decided:
            alone = decided.decision.break_glass and not row.title.startswith(BREAK_GLASS)
            title = f"{BREAK_GLASS} {row.title}".strip()[:TITLE_CHARACTERS] if alone else row.title
            return replace(row, title=title, status="running" if row.status == "waiting" else row.status)
        case ev.Concluded() as concluded:
            applied = concluded.outcome.state is ProposalState.APPLIED
            return replace(row, applied=row.applied + applied)
        case ev.Verified() as verified:
            return replace(row, result=verified.healing.value)
        case ev.Stopped():
            return replace(row, status="stopped")
        case ev.TurnEnded():
            return replace(row, status="done")
        case ev.Resumed() as resumed:
            return replace(row, status="running" if resumed.continues else "open")
        case ev.SessionClosed() as closed:
            return replace(row, status="closed", result=closed.result or row.result)
        case _:
            return row


def row_values(row: SessionRow) -> dict[str, Any]:
    """Return the row as SQL parameters."""
    values: dict[str, Any] = to_builtins(row)
    return {name: int(value) if isinstance(value, bool) else value for name, value in values.items()}


def rows(connection: Connection, *, limit: int, offset: int = 0, text: str = "", context: str = "") -> list[SessionRow]:
    """Return sessions, the latest first; `text` narrows to an id's start, a title, a namespace or a full-text match."""
    where, values = ["1"], {"limit": max(1, min(limit, MAX_ROWS)), "offset": max(0, offset)}
    parameters: dict[str, Any] = dict(values)
    if context:
        where.append("context = :context")
        parameters["context"] = context
    if text.strip():
        where.append(
            "(instr(id, :text) = 1 or instr(lower(title), lower(:text)) or namespace = :text or context = :text"
            " or id in (select e.session from events_fts f join events e on e.id = f.rowid"
            " where events_fts match :match))"
        )
        parameters |= {"text": text.strip(), "match": match_expression(text)}
    # The pieces are literals of this function; every value is a parameter.
    sql = (
        f"select {', '.join(COLUMNS)} from sessions where {' and '.join(where)}"  # noqa: S608
        " order by last_at desc, id desc limit :limit offset :offset"
    )
    return [_listed(item) for item in connection.query(sql, parameters)]


def row(connection: Connection, session: str) -> SessionRow | None:
    """Return one session's row, None when there is no such session. Raises StoreDamagedError for an unreadable one."""
    sql = f"select {', '.join(COLUMNS)} from sessions where id = ?"  # noqa: S608 - column names of a dataclass
    found = connection.query(sql, (session,))
    try:
        return _row(found[0]) if found else None
    except msgspec.ValidationError as error:
        raise _damaged(f"The list's entry of session {session!r}", error) from error


def find(connection: Connection, prefix: str) -> str:
    """Return the id of the one session that starts with `prefix`; `last` is the latest. Raises UsageError."""
    if prefix == "last":
        latest = connection.query("select id from sessions order by last_at desc, id desc limit 1")
        if not latest:
            raise UsageError("There is no session yet.", "Ask something first, or try `pilothouse practice`.")
        return str(latest[0]["id"])
    found = connection.query(
        "select id from sessions where substr(id, 1, length(?1)) = ?1 order by id = ?1 desc, last_at desc limit 4",
        (prefix,),
    )
    ids = [str(item["id"]) for item in found]
    if prefix and ids and (ids[0] == prefix or len(ids) == 1):
        return ids[0]
    if not ids or not prefix:
        raise UsageError(f"There is no session {prefix!r}.", "`pilothouse sessions list` shows them.")
    raise UsageError(f"Several sessions start with {prefix!r}: {', '.join(ids)}.", "Give more of the id.")


def match_expression(text: str) -> str:
    """Return an FTS5 expression for what a person typed: every word must begin a word of the text; no operators."""
    words = re.findall(r"\w+", text)
    return " ".join(f'"{word}"*' for word in words) or '""'


def search(connection: Connection, text: str, *, limit: int = 50) -> list[Hit]:
    """Return the events that match, best first."""
    found = connection.query(
        "select e.session, e.seq, e.at, e.kind, s.title, snippet(events_fts, 0, '', '', ' … ', 16) as snippet"
        " from events_fts join events e on e.id = events_fts.rowid join sessions s on s.id = e.session"
        " where events_fts match ? order by rank limit ?",
        (match_expression(text), max(1, min(limit, MAX_ROWS))),
    )
    try:
        return [convert(Hit, dict(item)) for item in found]
    except msgspec.ValidationError as error:
        raise _damaged("An event that matches", error) from error


def spent_since(connection: Connection, at: datetime) -> Spent:
    """Return what language models have cost since `at`, to the second; somebody else's sessions cost us nothing.

    The sessions of that time are looked up first and then their calls alone, each by its index: an old event is never
    touched. A damaged event counts as a call whose price is not known.
    """
    # Without the Z, because a stored time with a fraction of a second goes on with `.` there, which sorts before it.
    since = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    [found] = connection.query(
        "select count(*) as calls, sum(cast(json_extract(data, '$.prompt_tokens') as integer)) as prompt,"
        " sum(cast(json_extract(data, '$.completion_tokens') as integer)) as completion,"
        " sum(case when json_extract(data, '$.cost_usd') >= 0 then json_extract(data, '$.cost_usd') end) as cost,"
        " sum(coalesce(json_extract(data, '$.cost_usd'), -1) < 0) as unpriced"
        " from (select case when json_valid(e.data) then e.data else '{}' end as data"
        " from sessions s cross join events e on e.session = s.id and e.kind = 'model_called'"
        " where s.last_at >= :since and s.imported = 0 and e.at >= :since)",
        {"since": since},
    )
    return Spent(
        found["calls"], found["prompt"] or 0, found["completion"] or 0, found["cost"] or 0.0, found["unpriced"] or 0
    )


def _listed(item: Any) -> SessionRow:
    try:
        return _row(item)
    except msgspec.ValidationError:
        # One spoilt entry must not hide the others; its events may well be whole.
        return SessionRow(str(item["id"]), _NEVER, _NEVER, title=DAMAGED_TITLE, status="damaged")


def _damaged(what: str, error: msgspec.ValidationError) -> StoreDamagedError:
    hint = "`pilothouse sessions verify` says what is damaged; the events themselves may be whole."
    return StoreDamagedError(f"{what} cannot be read.", hint, detail=str(error)[:200])


def _row(item: Any) -> SessionRow:
    values = dict(item)
    for name in ("production", "imported"):
        values[name] = bool(values[name])
    return convert(SessionRow, {name: value for name, value in values.items() if value is not None})
