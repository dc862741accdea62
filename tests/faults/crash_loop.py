"""kill -9 of gate, session or both, again and again: `python -m tests.faults.crash_loop [--runs N] [--seed S]`.

Each run is a practice incident with real processes; the recorded cluster outlives them, and its request log decides.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import random
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import yaml

from assistant.gate.faults import POINTS as GATE_POINTS
from assistant.practice import Incident, incident
from assistant.processes import ChildProcess
from tests.faults import driver
from tests.faults.oracle import Found, judge

INCIDENTS: Final = ("missing-image", "lost-points", "bad-setting", "no-pods")
MARK: Final = "PILOTHOUSE_CRASH_RUN"
STAGES: Final = ("asked", "answered", "proposed", "decided", "sending", "concluded")
RUN_SECONDS: Final = 240.0
GONE_SECONDS: Final = 10.0
AT_ONCE: Final = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """Who dies and when: at a named point, or `delay_seconds` after a stage was reached."""

    who: str
    point: str = ""
    stage: str = ""
    delay_seconds: float = 0.0

    @property
    def kind(self) -> str:
        """Return the row of the table that this belongs to."""
        return f"{self.who}, {'named point' if self.point else 'random instant'}"


@dataclass(slots=True)
class Run:
    """One run: its number, its kill, its incident, what came of it."""

    number: int
    kill: Kill
    incident: str
    clients: int
    found: Found | None = None
    violations: list[str] = field(default_factory=list)
    killed: int = 0
    seconds: float = 0.0


def plan(runs: int, seed: int) -> list[Run]:
    """Return the runs of a seed: named points and random instants in turn, so that few runs already have every kind."""
    chance = random.Random(seed)  # noqa: S311 - to repeat a run, not to keep a secret
    gates, sessions, both = (_endless(points, chance) for points in (GATE_POINTS, driver.POINTS, GATE_POINTS))
    planned = []
    for number in range(runs):
        stage = chance.choice(STAGES)
        delay = chance.random() ** 2 * (0.8 if stage == "asked" else 0.25)
        kills = (
            Kill("gate", next(gates)) if number % 6 == 0 else None,
            Kill("session", next(sessions)) if number % 6 == 1 else None,
            Kill("both", next(both)) if number % 6 == 2 else None,
            *(Kill(who, "", stage, delay) for who in ("gate", "session", "both")),
        )
        kill = kills[number % 6]
        assert kill is not None
        planned.append(Run(number, kill, chance.choice(INCIDENTS), chance.randint(0, 2)))
    return planned


def _endless(points: tuple[str, ...], chance: random.Random) -> Iterator[str]:
    while True:
        yield from chance.sample(points, len(points))


def marked(mark: str) -> dict[int, str]:
    """Return the living processes of one run by pid, with their command line; found by a variable they inherit."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


class Trial:
    """Carries out one run in a folder of its own."""

    def __init__(self, run: Run, folder: Path, mark: str) -> None:
        self._run, self._folder, self._mark = run, folder, mark
        self._incident: Incident = incident(run.incident)
        self._kubeconfig = ""
        self._stages: dict[str, asyncio.Event] = {}
        self._guarded = ""
        self._clients: list[asyncio.Task[None]] = []

    async def carry_out(self) -> None:
        """Run, kill, start anew, come to rest, judge."""
        began = time.monotonic()
        cluster = await self._cluster()
        try:
            async with asyncio.timeout(RUN_SECONDS):
                await self._first()
                await self._second()
        except TimeoutError:
            self._run.violations.append("the run did not come to rest")
        finally:
            for client in self._clients:
                client.cancel()
            for end in await asyncio.gather(*self._clients, return_exceptions=True):
                if isinstance(end, Exception):
                    self._run.violations.append(f"a client of the trial itself failed: {end!r}")
            await self._gone()
            await cluster.stop()
        self._run.found = judge(self._folder)
        self._run.violations += self._run.found.violations
        self._run.seconds = time.monotonic() - began

    async def _cluster(self) -> ChildProcess:
        about = self._incident
        settings = {
            "bundle": str(about.bundle),
            "after": str(about.after) if about.after else None,
            "heals_when": str(about.heals_when) if about.heals_when else None,
            "heal_seconds": [0.1, 0.2],
            "request_log": str(self._folder / "requests.jsonl"),
            "runtime_dir": str(self._folder / "cluster"),
        }
        cluster = await ChildProcess.start("tests.faults.cluster", settings, self._folder / "cluster.log")
        self._kubeconfig = str(cluster.ready["kubeconfig"])
        return cluster

    async def _session(self, **more: str) -> asyncio.subprocess.Process:
        settings = driver.Settings(
            str(self._folder), self._kubeconfig, self._incident.namespace, self._incident.symptom, **more
        )
        self._stages = {name: asyncio.Event() for name in (*driver.KINDS, "opened", "rested")}
        with (self._folder / "driver.log").open("ab") as errors:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.faults.driver",
                msgspec.json.encode(settings).decode(),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**os.environ, MARK: self._mark},
            )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            word, _, text = line.decode().strip().partition(" ")
            if word == "opened":
                self._guarded = text
            if word in self._stages:
                self._stages[word].set()

    async def _first(self) -> None:
        kill = self._run.kill
        of_gate = kill.point if kill.who in ("gate", "both") else ""
        process = await self._session(gate_fault=of_gate, fault=kill.point if kill.who == "session" else "")
        listening = asyncio.create_task(self._listen(process))
        ended = asyncio.create_task(process.wait())
        try:
            await self._either(self._stages["opened"].wait(), ended)
            if not ended.done():
                self._clients = [asyncio.create_task(self._client(n)) for n in range(self._run.clients)]
                await self._strike(kill, process, ended)
            await ended
        finally:
            if process.returncode is None:
                process.kill()
            await listening
        code = process.returncode
        if code == -signal.SIGKILL:
            self._run.killed += 1
        elif code != 0:
            self._run.violations.append(f"the session process ended with {code}: {self._last_words()}")

    async def _strike(self, kill: Kill, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        gates = self._gates()
        if kill.point:
            if kill.who == "session":
                return
            # Not our child, so nothing tells of its death but the process table.
            while not ended.done() and any(_alive(pid) for pid in gates):  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            self._run.killed += not ended.done()
        else:
            await self._either(self._stages[kill.stage].wait(), ended)
            await asyncio.sleep(kill.delay_seconds)
            if kill.who != "session":
                for pid in gates:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self._run.killed += 1
        if kill.who != "gate" and not ended.done():
            process.kill()

    async def _second(self) -> None:
        await self._gone()
        facts = (self._folder / "acknowledged.jsonl").read_bytes().splitlines()
        known = [json.loads(line)["session"] for line in facts if b'"session"' in line]
        resume = known[-1] if known and self._stored(known[-1]) else ""
        process = await self._session(resume=resume)
        listening = asyncio.create_task(self._listen(process))
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            await listening
        if code != 0:
            self._run.violations.append(f"starting anew ended with {code}: {self._last_words()}")

    def _stored(self, session: str) -> bool:
        import sqlite3
        from contextlib import closing

        path = self._folder / "state" / "sessions.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute("SELECT 1 FROM sessions WHERE id = ?", (session,)).fetchone() is not None

    def _last_words(self) -> str:
        lines = (self._folder / "driver.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _gates(self) -> list[int]:
        return [pid for pid, command in marked(self._mark).items() if "assistant.gate" in command]

    async def _gone(self) -> None:
        """Wait until no process of this run lives; one that still does after ten seconds is an orphan."""
        limit = time.monotonic() + GONE_SECONDS
        while left := marked(self._mark):
            if time.monotonic() > limit:
                self._run.violations += [f"process {pid} is an orphan: {command}" for pid, command in left.items()]
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return
            await asyncio.sleep(0.02)

    async def _either(self, wanted: Any, ended: asyncio.Task[int]) -> None:
        waiting = asyncio.ensure_future(wanted)
        await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _client(self, number: int) -> None:
        """Write once through the guarded kubeconfig as any tool would, and note what it was told."""
        config = yaml.safe_load(await asyncio.to_thread(Path(self._guarded).read_bytes))
        cluster = config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        name = f"from-outside-{number}"
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": str(number)}}
        body = json.dumps(wanted, separators=(",", ":")).encode()
        path = f"/api/v1/namespaces/{self._incident.namespace}/configmaps"
        headers = {
            "Authorization": f"Bearer {config['users'][0]['user']['token']}",
            "Content-Type": "application/json",
        }
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority))
        status = 0
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with (
                aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as session,
                session.post(cluster["server"] + path, data=body, headers=headers) as answer,
            ):
                status = answer.status
        told = {"path": path, "body": hashlib.sha256(body).hexdigest(), "status": status}
        with (self._folder / "clients.jsonl").open("ab") as file:
            file.write(json.dumps(told).encode() + b"\n")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


async def crash_loop(runs: list[Run], home: Path, *, at_once: int = AT_ONCE, keep: bool = False) -> None:
    """Carry the runs out, a few at once; every result is in its run."""
    places = asyncio.Semaphore(at_once)

    async def one(run: Run) -> None:
        async with places:
            folder = home / str(run.number)
            folder.mkdir(parents=True)
            try:
                await Trial(run, folder, f"{os.getpid()}-{run.number}").carry_out()
            except Exception as error:
                run.violations.append(f"the trial itself failed: {error!r}")
            if not run.violations and not keep:
                shutil.rmtree(folder)

    await asyncio.gather(*(one(run) for run in runs))


def table(runs: list[Run], seconds: float) -> str:
    """Return the numbers of the runs as text."""
    head = (
        "kind of kill",
        "runs",
        "killed",
        "mutations",
        "unknown",
        "told late",
        "resumed",
        "acknowledged",
        "breaches",
    )
    rows = []
    for kind in (*sorted({run.kill.kind for run in runs}), "total"):
        some = [run for run in runs if kind in (run.kill.kind, "total")]
        found = [run.found for run in some if run.found]
        counts: Counter[str] = Counter()
        for item in found:
            counts.update(
                mutations=item.mutations, unknown=item.unknown, late=item.known_late, acknowledged=item.acknowledged
            )
        rows.append(
            (kind, len(some), sum(run.killed > 0 for run in some), counts["mutations"], counts["unknown"],
             counts["late"], sum(item.resumed for item in found), counts["acknowledged"],
             sum(len(run.violations) for run in some))
        )  # fmt: skip
    lines = [f"{row[0]:24}" + "".join(f"{cell:>13}" for cell in row[1:]) for row in (head, *rows)]
    lines.append(f"{seconds:.0f} s, {seconds / max(1, len(runs)):.1f} s a run, {AT_ONCE} at once")
    return "\n".join(lines)


def breaches(runs: list[Run]) -> str:
    """Return each violation with the run that showed it."""
    return "\n".join(
        f"run {run.number} ({run.incident}, {run.kill.kind} {run.kill.point or run.kill.stage}): {text}"
        for run in runs
        for text in run.violations
    )


def main(arguments: list[str]) -> int:
    """Run the loop and print its table; the exit code is 1 when anything was breached."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash_loop", description=__doc__)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, default=-1, help="carry out this one run of the seed and keep its folder")
    chosen = parser.parse_args(arguments)
    runs = plan(chosen.runs, chosen.seed)
    if chosen.only >= 0:
        runs = [plan(chosen.only + 1, chosen.seed)[-1]]
    home = Path(tempfile.mkdtemp(prefix="pilothouse-crash-"))
    began = time.monotonic()
    asyncio.run(crash_loop(runs, home, keep=chosen.only >= 0))
    sys.stdout.write(table(runs, time.monotonic() - began) + "\n")
    bad = breaches(runs)
    if bad or chosen.only >= 0:
        sys.stdout.write(f"{bad}\nfolders: {home}\n")
    else:
        shutil.rmtree(home)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
