"""The layout of the session database as numbered migrations. Apart, because a released one is never edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlite_utils import Migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

MIGRATIONS: Final = Migrations("sessions")

APPEND_ONLY: Final = """
create trigger events_never_change before update on events
begin select raise(abort, 'events are append-only'); end;
create trigger events_stay before delete on events
when not exists (select 1 from deletions where session = old.session)
begin select raise(abort, 'events are append-only'); end;
"""

FULL_TEXT: Final = """
create virtual table events_fts using fts5(text, tokenize = 'unicode61');
create trigger events_index after insert on events
when new.kind in ('asked', 'answered', 'evidence_added', 'tool_ended', 'noted', 'steered', 'error_raised', 'proposed')
begin
  insert into events_fts(rowid, text) values (new.id, case new.kind
    when 'asked' then json_extract(new.data, '$.text')
    when 'answered' then json_extract(new.data, '$.markdown')
    when 'evidence_added' then
      json_extract(new.data, '$.evidence.request') || char(10) || json_extract(new.data, '$.evidence.quote')
    when 'tool_ended' then json_extract(new.data, '$.result') || char(10) || json_extract(new.data, '$.preview')
    when 'proposed' then
      json_extract(new.data, '$.proposal.title') || char(10) || json_extract(new.data, '$.proposal.kubectl')
    when 'error_raised' then json_extract(new.data, '$.meaning')
    else json_extract(new.data, '$.text') end);
end;
create trigger events_unindex after delete on events
begin delete from events_fts where rowid = old.id; end;
"""

QUESTIONS_VIEW: Final = """
select session, at, json_extract(data, '$.turn') as turn, json_extract(data, '$.namespace') as namespace,
  json_extract(data, '$.text') as question from events where kind = 'asked'
"""

ANSWERS_VIEW: Final = """
select session, at, json_extract(data, '$.verdict') as verdict, json_extract(data, '$.mind') as mind,
  json_extract(data, '$.markdown') as answer from events where kind = 'answered'
"""

EVIDENCE_VIEW: Final = """
select session, at, json_extract(data, '$.evidence.id') as evidence,
  json_extract(data, '$.evidence.request') as request,
  json_extract(data, '$.evidence.quote') as quote, json_extract(data, '$.evidence.body') as body
from events where kind = 'evidence_added'
"""

CHANGES_VIEW: Final = """
select p.session, json_extract(p.data, '$.proposal.id') as proposal, p.at as proposed_at,
  json_extract(p.data, '$.proposal.title') as title, json_extract(p.data, '$.proposal.risk.level') as risk,
  json_extract(d.data, '$.decision.answer') as decision, json_extract(d.data, '$.decision.by') as decided_by,
  d.at as decided_at, json_extract(c.data, '$.outcome.state') as outcome, c.at as concluded_at
from events p
left join events d on d.session = p.session and d.kind = 'decided'
  and json_extract(d.data, '$.decision.proposal') = json_extract(p.data, '$.proposal.id')
left join events c on c.session = p.session and c.kind = 'concluded'
  and json_extract(c.data, '$.outcome.proposal') = json_extract(p.data, '$.proposal.id')
where p.kind = 'proposed'
"""


@MIGRATIONS(name="001_sessions")
def sessions(db: Database) -> None:
    """Make sessions (one row each, kept up to date by the writer), events, bodies and what refers to them."""
    db.table("sessions").create(
        {
            "id": str, "opened_at": str, "last_at": str, "context": str, "cluster": str, "namespace": str,
            "identity": str, "mode": str, "source": str, "mind": str, "app_version": str, "production": int,
            "title": str, "verdict": str, "status": str, "result": str, "turns": int, "events": int,
            "evidence": int, "proposals": int, "applied": int, "head": str, "imported": int,
        },
        pk="id",
        not_null={"opened_at", "last_at", "status", "events", "head"},
        strict=True,
    )  # fmt: skip
    db.table("sessions").create_index(["last_at", "id"])
    db.table("sessions").create_index(["context", "last_at"])
    db.table("events").create(
        {
            "id": int, "session": str, "seq": int, "at": str, "kind": str, "data": str, "prev_hash": str, "hash": str,
        },
        pk="id",
        not_null={"session", "seq", "at", "kind", "data", "prev_hash", "hash"},
        foreign_keys=[("session", "sessions", "id")],
        strict=True,
    )  # fmt: skip
    db.table("events").create_index(["session", "seq"], unique=True)
    db.table("events").create_index(["session", "kind"])
    db.table("bodies").create({"sha256": str, "size_bytes": int, "zlib": bytes}, pk="sha256", strict=True)
    db.table("session_bodies").create({"session": str, "sha256": str}, pk=("session", "sha256"), strict=True)
    db.table("session_bodies").create_index(["sha256"])
    db.table("deletions").create({"session": str, "at": str, "events": int, "head": str}, pk="session", strict=True)


@MIGRATIONS(name="002_append_only")
def append_only(db: Database) -> None:
    """Refuse changes of events, and their removal unless the session has been noted as deleted first."""
    _statements(db, APPEND_ONLY)


@MIGRATIONS(name="003_full_text")
def full_text(db: Database) -> None:
    """Index what people search for: questions, answers, quotes, tool previews, notes."""
    _statements(db, FULL_TEXT)


@MIGRATIONS(name="004_views")
def views(db: Database) -> None:
    """Add views that read well in Datasette and in the sqlite3 shell."""
    db.create_view("questions", QUESTIONS_VIEW)
    db.create_view("answers", ANSWERS_VIEW)
    db.create_view("evidence", EVIDENCE_VIEW)
    db.create_view("changes", CHANGES_VIEW)


def _statements(db: Database, script: str) -> None:
    # executescript() would commit the migration's transaction before its first statement.
    for statement in script.split("\ncreate "):
        if statement.strip():
            db.execute(statement if statement.lstrip().startswith("create ") else "create " + statement)
