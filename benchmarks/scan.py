"""How `scan -A` grows with the cluster: `python -m benchmarks.scan [pods ...]`, by default 1000 5000 20000 50000.

For each size a synthetic cluster with planted faults is served by a process of its own, from memory, in pages of 500
over TLS. The session process scans it through the gate; what it finds must be what was planted. The baseline is the
same lists of the same pages, with the same client, the same number of connections and the next page asked for as soon
as one is in, as bytes that nobody looks at: once through the gate, once straight from the server. Scans and raw
readings alternate in one process; each figure is the median of its repeats, because all share two cores.

CPU seconds are those of the session process. `first` is the first scan of the process, without anything warm.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.gate import cpu_seconds

SIZES = (1000, 5000, 20_000, 50_000)
CONTINUE = re.compile(rb'"continue":"([^"]+)"')
HEAD_BYTES = 4096


def memory(name: str) -> float:
    # Not getrusage: its peak goes through exec, so it would hold that of the parent.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


class Meter:
    """Wall and CPU seconds of one kind of work."""

    def __init__(self, gate_pid: int) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.gate: list[float] = []
        self._gate_pid = gate_pid

    async def __call__(self, work: Callable[[], Awaitable[object]]) -> None:
        wall, cpu, gate = time.perf_counter(), time.process_time(), cpu_seconds(self._gate_pid)
        await work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        self.gate.append(cpu_seconds(self._gate_pid) - gate)


async def read_raw(client: Any, paths: list[str]) -> int:
    """Read the lists as bytes; returns how many."""
    from assistant.cluster.listing import CHUNK

    async def one(path: str) -> int:
        size, page = 0, ""
        while True:
            query = {"limit": str(CHUNK)} | ({"continue": page} if page else {})
            data = await client.get_bytes(path, query)
            size += len(data)
            found = CONTINUE.search(data, 0, HEAD_BYTES)
            if not found:
                return size
            page = found.group(1).decode()

    return sum(await asyncio.gather(*(one(path) for path in paths)))


async def measure(url: str, ca: str, repeats: int) -> dict[str, Any]:
    """Run in a process of its own, so that the peak is the scan's own."""
    from assistant.backend import Place
    from assistant.cluster.client import ClusterClient
    from assistant.config import load
    from assistant.wiring import open_work

    paths: list[str] = []
    original = ClusterClient._getter

    def noted(self: ClusterClient, path: str, *rest: Any) -> Any:
        paths.append(path)
        return original(self, path, *rest)

    ClusterClient._getter = noted  # type: ignore[method-assign]
    work = await open_work(load({}), Place(all_namespaces=True), propose=False)
    gate_pid = work.backend._gate.pid  # type: ignore[union-attr]

    async def scan() -> None:
        await work.session.ask("Is anything wrong here?")
        await work.session.settled()

    base = memory("VmHWM")
    first, scans, gated, direct = Meter(gate_pid), Meter(gate_pid), Meter(gate_pid), Meter(gate_pid)
    await first(scan)
    peak = memory("VmHWM")
    case = work.session.case
    roots = [f for f in case.findings if f.role == "root_cause"]
    found = sorted({(f.target.kind, f.target.namespace, f.target.name) for f in roots})
    verdict = str(case.answer.verdict) if case.answer else "none"
    lists = list(dict.fromkeys(paths))
    read = 0
    async with ClusterClient(url, "t", ca) as straight:
        for _ in range(repeats):
            await gated(lambda: read_raw(work.backend.client, lists))
            await direct(lambda: read_raw(straight, lists))
            await scans(scan)
        read = await read_raw(straight, lists)
    end = memory("VmHWM")
    await work.close()
    return {
        "first": vars(first), "scan": vars(scans), "gated": vars(gated), "direct": vars(direct), "base": base,
        "peak": peak, "end": end, "found": found, "verdict": verdict, "lists": len(lists), "bytes": read,
    }  # fmt: skip


async def one_size(pods: int, repeats: int) -> dict[str, Any]:
    from assistant.processes import ChildProcess

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = await ChildProcess.start(
            "benchmarks.serving", {"pods": pods}, folder / "server.log", ready_seconds=600
        )
        ca, kubeconfig = folder / "ca.pem", folder / "kubeconfig"
        ca.write_text(server.ready["ca"])
        kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "c", "cluster": {"server": server.ready["url"], "certificate-authority": str(ca)}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "c", "user": "u"}}],
        }))  # fmt: skip
        environment = {
            "XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder),
            "KUBECONFIG": str(kubeconfig), "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }  # fmt: skip
        arguments = [sys.executable, "-m", "benchmarks.scan", "--measure", str(kubeconfig), "--repeats", str(repeats)]
        done = await asyncio.to_thread(
            subprocess.run, arguments, env=environment, capture_output=True, check=False, text=True
        )
        planted = sorted(tuple(fault) for fault in server.ready["planted"])
        await server.stop()
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    found = [tuple(item) for item in result["found"]]
    result |= {"planted": len(planted), "missed": sorted(set(planted) - set(found))}
    return result | {"extra": sorted(set(found) - set(planted))}


def middle(values: list[float]) -> float:
    return statistics.median(values)


def show(pods: int, r: dict[str, Any]) -> tuple[float, float]:
    scan, gated, direct, first = r["scan"], r["gated"], r["direct"], r["first"]
    wall, cpu = middle(scan["wall"]), middle(scan["cpu"])
    raw, raw_cpu, straight = middle(gated["wall"]), middle(gated["cpu"]), middle(direct["wall"])
    right = "all" if not r["missed"] else f"missed {r['missed']}"
    gate, raw_gate = middle(scan["gate"]), middle(gated["gate"])
    through, past = f"raw through the gate {raw:.2f} s: {wall / raw:.2f} x", f"raw direct {straight:.2f} s"
    gates = f"gate {gate:.2f} s, raw {raw_gate:.2f} s: both {(cpu + gate) / (raw_cpu + raw_gate):.2f} x"
    each = f"{(r['peak'] - r['base']) / pods * 1024:.1f} KiB a pod"
    lines = (
        f"{pods} pods, {r['bytes'] / 1e6:.1f} MB in {r['lists']} lists",
        f"  wall    scan {wall:.2f} s (first {first['wall'][0]:.2f}), {through}, {past}: {wall / straight:.2f} x",
        f"  CPU     session {cpu:.2f} s ({cpu / pods * 1e6:.0f} us a pod), raw {raw_cpu:.2f} s; {gates}",
        f"  memory  peak {r['peak']:.0f} MiB, {r['base']:.0f} before: {each}; {r['end']:.0f} after all repeats",
        f"  faults  planted {r['planted']}, found {right}, false alarms {len(r['extra'])} {r['extra'][:3] or ''}",
    )
    print("\n".join(lines), flush=True)
    return wall, cpu


def main(sizes: list[int], repeats: int) -> None:
    points = []
    for pods in sizes:
        points.append((pods, *show(pods, asyncio.run(one_size(pods, repeats)))))
    for (a, wall_a, cpu_a), (b, wall_b, cpu_b) in itertools.pairwise(points):
        step = math.log(b / a)
        print(
            f"growth from {a} to {b} pods: wall n^{math.log(wall_b / wall_a) / step:.2f}, "
            f"CPU n^{math.log(cpu_b / cpu_a) / step:.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pods", type=int, nargs="*", default=SIZES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        authority = (given.measure.parent / "ca.pem").read_text()
        url = yaml.safe_load(given.measure.read_text())["clusters"][0]["cluster"]["server"]
        print(json.dumps(asyncio.run(measure(url, authority, given.repeats))))
    else:
        main(list(given.pods), given.repeats)
