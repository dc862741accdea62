"""No secret of the set reaches anything that is kept, shown, sent or given to a mind, in whatever it is wrapped."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.graph import GraphWorkflow
from agents.mind import Conclusion
from assistant.cli import _print_error
from assistant.domain import event as ev
from assistant.domain.action import Remedy
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.finding import Finding, Verdict
from assistant.domain.hypothesis import Hypothesis
from assistant.domain.plan import Step
from assistant.domain.ports import Recorder, Turn
from assistant.domain.proposal import Check, CheckResult, DiffLine, Origin
from assistant.errors import ClusterError
from assistant.plain.card import card_lines
from assistant.plain.face import PlainFace, report_lines
from assistant.plain.json import dumps
from assistant.plain.markdown import report
from assistant.policy.redact import RedactingFormatter, redact_text
from assistant.session.clock import SystemClock
from assistant.session.door import RecordedGate
from assistant.session.parts import Parts
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from assistant.store.recording import export_file, read_file
from assistant.tui.app import PilothouseApp
from assistant.tui.ports import Recording
from tests.attacks.secret_forms import CORPUS, LARGE, WRAPPERS, leaked, secret_of, text_of, trace
from tests.gate.conftest import MERGE, Lab, lab
from tests.gate.scripted import ApiServer
from tests.gate.test_holding import held
from tests.session.scripted import FINDING, OPENED, REMEDY, ScriptedGate, proposal
from tests.tui.scripted import StillClock

ENTRIES = CORPUS["must_redact"]
NAMES = [name for name in WRAPPERS if name != LARGE]


def planted(offset: int = 0) -> Iterator[tuple[str, str]]:
    """Yield every entry of the set in one wrapper; over the offsets, in all of them."""
    for number, entry in enumerate(ENTRIES):
        yield WRAPPERS[NAMES[(number + offset) % len(NAMES)]](text_of(entry)), secret_of(entry)


def lost_in(out: str) -> list[str]:
    """Return the entries that a text gives away, each with what stands around the first trace of it."""
    return [f"{entry['id']}: {trace(out, secret_of(entry))!r}" for entry in ENTRIES if leaked(out, secret_of(entry))]


def files_of(folder: Path) -> str:
    """Return every byte of every file, deflated bodies and JSON strings unpacked too."""
    parts = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        parts.append(raw.decode(errors="replace"))
        if raw[:15] == b"SQLite format 3":
            parts += list(_values(path))
    return "\n".join(parts)


def _values(path: Path) -> Iterator[str]:
    with sqlite3.connect(path) as database:
        for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
            for row in database.execute(f"select * from {table}"):  # noqa: S608 - a table of our own file
                for value in row:
                    yield _readable(value)


def _readable(value: object) -> str:
    if isinstance(value, bytes):
        try:
            return zlib.decompress(value).decode(errors="replace")
        except zlib.error:
            return value.decode(errors="replace")
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            return value + "\n" + "\n".join(_strings(json.loads(value)))
    return str(value)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@asynccontextmanager
async def ended(workflow: GraphWorkflow) -> AsyncIterator[None]:
    """Close the checkpoint file whatever a test finds; its thread would keep the process."""
    try:
        yield
    finally:
        await workflow.close()


class LeakyMind:
    """Says everything that it has read, in every field that it may fill, and keeps what it was given as evidence."""

    name = "leaky"

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.given: list[Evidence] = []

    async def plan(self, turn: Turn, recorder: Recorder) -> tuple[Step, ...]:
        return tuple(Step(f"S{n}", text) for n, (text, _) in enumerate(planted(self.offset), 1))

    async def investigate(self, turn: Turn, step: Step, recorder: Recorder) -> tuple[Finding, ...]:
        text = step.title
        call = recorder.new_call()
        recorder.emit(ev.ToolStarted(call, "read_log", text, f"GET /log?x={text}", f"kubectl logs {text}", step.id))
        fact = recorder.cite(Citation("GET /api/v1/namespaces/shop/pods/web/log", text, f"first\n{text}\nlast"), call)
        self.given.append(fact)
        recorder.emit(ev.ToolEnded(call, True, text, 0.1, 1, text))
        recorder.emit(ev.ErrorRaised("cluster", text, text, text))
        sent = recorder.keep(f"sent\n{text}\nall of it")
        recorder.emit(ev.BoardMade((Hypothesis("H1", text, text, None, (fact.id,), (), text),)))
        recorder.emit(ev.OpinionGiven(text, Verdict.FAULT, text))
        recorder.emit(
            ev.ModelCalled(text, text, sent, 1, 1, 0.0, 0.1, text, text, sent, (text,), cut=text, failed=text)
        )
        recorder.emit(ev.FindingsRanked((replace(FINDING, by=text, unsupported=text),)))
        return (replace(FINDING, id=step.id, summary=text, field=text, outside=text, evidence=(fact.id,)),)

    def standing(self, turn: Turn) -> Conclusion | None:
        return None

    async def revise(
        self, turn: Turn, conclusion: Conclusion, denied: str, feedback: str, recorder: Recorder
    ) -> tuple[Remedy, ...]:
        return ()

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        texts = [text for text, _ in planted(self.offset)]
        remedies = tuple(
            replace(REMEDY, id=f"A{n}", title=text, kubectl=text, reason=text) for n, text in enumerate(texts, 1)
        )
        return Conclusion(Verdict.FAULT, found, remedies, "\n\n".join(texts), tuple(texts))

    def next_link(self, conclusion: Conclusion, remedy: Remedy, proposal: str) -> Remedy | None:
        return None

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = 60.0
    ) -> ev.Verified:
        return ev.Verified(proposal, ev.Healing.FIXED, finding.summary)


@pytest.mark.parametrize("offset", (0, 5, 10))
async def test_a_session_keeps_shows_and_exports_none(tmp_path: Path, offset: int) -> None:
    mind, gate = LeakyMind(offset), ScriptedGate()
    gate.time = datetime.now(UTC)
    door = RecordedGate(gate)
    workflow = GraphWorkflow(mind, door, tmp_path / "checkpoints.db", SystemClock())
    texts = [text for text, _ in planted(offset)]
    async with ended(workflow):
        await run_session(tmp_path, offset, mind, gate, door, workflow, texts)


async def run_session(
    tmp_path: Path, offset: int, mind: LeakyMind, gate: ScriptedGate, door: RecordedGate, workflow: GraphWorkflow,
    texts: list[str],
) -> None:  # fmt: skip
    with SessionStore.open(tmp_path / "sessions.db") as store:
        parts = Parts(store, workflow, door, SystemClock(), redact_text, "alice")
        session = await Session.open(parts, "s1", OPENED)
        printed = io.StringIO()
        session.subscribe(PlainFace(printed))
        async with asyncio.timeout(60):
            await session.ask("why?\n\n" + "\n\n".join(texts))
            await session.settled()
        # A foreign client's change, told by the gate's own stream.
        made = proposal(77, REMEDY.action, Origin("client", "kubectl"))  # type: ignore[arg-type]
        session._recorder.emit(ev.Proposed(replace(
            made, title=texts[0], diff=tuple(DiffLine("+", text) for text in texts),
            checks=(Check("dry run", CheckResult.WARN, texts[1]),),
        )))  # fmt: skip
        session._recorder.emit(ev.Noted("\n\n".join(texts)))
        await store.flush()
        case, waiting = session.case, session.case.waiting
        assert waiting, "the turn should wait, so that its checkpoint is there to be looked at"
        sinks = {
            "files": files_of(tmp_path),
            "full text": "\n".join(hit.snippet for word in ("FAKE", "first") for hit in store.search(word)),
            "json": dumps(case) + "\n".join(_strings(json.loads(dumps(case)))),
            "markdown": report(case),
            "text": "\n".join([*report_lines(case), *card_lines(waiting[-1].proposal, gate.time)]),
            "plain face": printed.getvalue(),
            "evidence given to a mind": "\n".join(
                f"{fact.quote}\n{fact.request}\n{store.body(fact.body)}" for fact in mind.given
            ),
        }
        assert len(mind.given) == len(ENTRIES)
        target = tmp_path / "out" / "s1.jsonl"
        target.parent.mkdir()
        export_file(target, session.events, store.body, app_version="0", exported_at=datetime.now(UTC))
        read = read_file(target)
        bodies = "\n".join(read.body(key) for key in read.bodies)
        sinks["recording"] = target.read_text() + "\n".join(repr(event) for event in read.events) + bodies
        leaks = {name: lost for name, text in sinks.items() if (lost := lost_in(text))}
        assert not leaks
        if offset % 5 == 0:
            await shown(session, store)


async def shown(session: Session, store: SessionStore) -> None:
    """Look at the screens of the terminal that draw this session, as text and as the SVG of a screenshot."""
    app = PilothouseApp(recording=Recording("s1", session.events, store.body), clock=StillClock())
    seen = []
    async with app.run_test(size=(160, 60)) as pilot:
        await pilot.pause()
        for key in ("9", "2", "G", "f2", "1", "G"):
            await pilot.press(key)
            await pilot.pause()
            seen.append(app.export_screenshot())
    assert len(set(seen)) > 1
    assert not lost_in("\n".join(seen).replace("&#160;", " "))


async def test_the_gate_keeps_and_hands_out_none(tmp_path: Path) -> None:
    """Secrets and ConfigMaps that hold the set, and env values: read through the gate, changed, shown, in its files."""
    server = ApiServer()
    texts = {f"k{n}": text for n, (text, _) in enumerate(planted(0))}
    config = "/api/v1/namespaces/shop/configmaps/app"
    secret = "/api/v1/namespaces/shop/secrets/app"
    meta = {"name": "app", "namespace": "shop", "uid": "u9", "resourceVersion": "7"}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    server.objects[config] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": texts}
    server.objects[secret] = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {**meta, "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"kind": "Secret", "stringData": texts})
        }}, "data": encoded,
    }  # fmt: skip
    async with lab(tmp_path, server) as here, here.client() as client:
        for path in (config, secret):
            async with client.get(path) as answer:
                assert answer.status == 200
                body = await answer.text()
            assert not lost_in(body + "\n".join(_strings(json.loads(body))))
        assert len(json.loads(body)["data"]) == len(ENTRIES)
        changed = {"data": {key: value + " changed" for key, value in texts.items()}}
        for path, patch in ((config, changed), (secret, {"stringData": changed["data"]})):
            asked = asyncio.create_task(client.patch(path, json=patch, headers={"Content-Type": MERGE}))
            made = await held(here.control)
            assert not lost_in(repr(made) + "\n".join(line.text for line in made.diff) + made.action.body)
            assert not lost_in("\n".join(card_lines(made, datetime.now(UTC))))
            await here.control.withdraw(made.id)
            assert (await asked).status == 403
        assert not lost_in(files_of(tmp_path / "state"))
        assert await env_values(here) == []


async def env_values(here: Lab) -> list[str]:
    """Return what of the set comes through as the value of an environment variable with a sensitive name."""
    env = [{"name": f"DB_PASSWORD_{n}", "value": secret_of(entry)} for n, entry in enumerate(ENTRIES)]
    path = "/api/v1/namespaces/shop/pods/web"
    here.server.objects[path] = {"kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [{"env": env}]}}
    async with here.client() as client, client.get(path) as answer:
        assert answer.status == 200
        return lost_in(await answer.text())


@pytest.mark.parametrize("offset", range(0, len(NAMES), 4))
def test_logs_tracebacks_and_errors_hold_none(capsys: pytest.CaptureFixture[str], offset: int) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(RedactingFormatter(logging.BASIC_FORMAT))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for text, _ in planted(offset):
        logger.warning("answer: %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            logger.exception("it failed")
        _print_error(ClusterError(text, text, detail=text), verbose=True)
    logger.warning("%d", "not a number")
    logged = out.getvalue()
    assert "Traceback" in logged
    assert "withheld" in logged
    assert not lost_in(logged)
    assert not lost_in(capsys.readouterr().err)
