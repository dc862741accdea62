"""How `scan -A` grows with the cluster: `python -m benchmarks.scan [pods …]`, by default 1000 5000 20000.

A made-up bundle of that many pods is served and scanned through the gate, in a process of its own; then the same lists
are read raw over the same connection. Times, ratio, peak memory of the session's process. Nothing passes or fails.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import objects

SIZES = (1000, 5000, 20_000)
CONTINUE = re.compile(rb'"continue":"([^"]+)"')


def write_bundle(folder: Path, pods: int) -> None:
    root = folder / "cluster-resources"
    parts: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for number in range(pods):
        parts["pods"][objects.place(number)[0]].append(objects.pod(number))
    for number, (deployment, replica_set) in enumerate(objects.workloads(pods)):
        namespace = deployment["metadata"]["namespace"]
        parts["deployments"][namespace].append(deployment)
        parts["replicasets"][namespace].append(replica_set)
        parts["services"][namespace].append(objects.service(number))
        parts["endpointslices"][namespace].append(objects.endpoint_slice(number, pods))
    for kind, by_namespace in parts.items():
        for namespace, items in by_namespace.items():
            path = root / kind / f"{namespace}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(items, separators=(",", ":")))
    nodes = [objects.node(number) for number in range(100)]
    spaces = [{"metadata": {"name": name, "uid": objects.uid(name)}} for name in parts["pods"]]
    (root / "nodes.json").write_text(json.dumps(nodes))
    (root / "namespaces.json").write_text(json.dumps(spaces))
    (folder / "cluster-info").mkdir()
    (folder / "cluster-info" / "cluster_version.json").write_text(
        '{"info":{"gitVersion":"v1.36.2"},"string":"v1.36.2"}'
    )


def peak_mebibytes() -> float:
    # Not getrusage: its peak goes through exec, so it would hold that of the parent that wrote the bundle.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


async def one(bundle: Path) -> dict[str, float | str]:
    """Scan, then read the same lists raw; runs alone in its process, so that the peak is the scan's own."""
    from assistant.backend import Place
    from assistant.cluster.client import CHUNK, ClusterClient
    from assistant.config import load
    from assistant.wiring import open_work

    paths: list[str] = []
    original = ClusterClient.list

    async def listed(self: ClusterClient, path: str, query: Any = None) -> Any:
        paths.append(path)
        return await original(self, path, query)

    ClusterClient.list = listed  # type: ignore[method-assign]
    place = Place(f"bundle:{bundle}", bundle=bundle, all_namespaces=True)
    work = await open_work(load({}), place, propose=False)
    base = peak_mebibytes()
    started, cpu = time.perf_counter(), time.process_time()
    await work.session.ask("Is anything wrong here?")
    await work.session.settled()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = peak_mebibytes()
    answer = work.session.case.answer
    client = work.backend.client
    read = 0

    async def raw(path: str) -> None:
        nonlocal read
        page = ""
        while True:
            query = {"limit": str(CHUNK)} | ({"continue": page} if page else {})
            data = await client.get_bytes(path, query)
            read += len(data)
            found = CONTINUE.search(data, 0, 4096) or CONTINUE.search(data, max(0, len(data) - 4096))
            if not found:
                return
            page = found.group(1).decode()

    begun = time.perf_counter()
    await asyncio.gather(*(raw(path) for path in dict.fromkeys(paths)))
    raw_seconds = time.perf_counter() - begun
    await work.close()
    return {
        "seconds": seconds, "cpu": cpu, "raw_seconds": raw_seconds, "megabytes": read / 1e6, "peak": peak, "base": base,
        "verdict": str(answer.verdict) if answer else "none", "lists": len(paths),
    }  # fmt: skip


def main(sizes: tuple[int, ...]) -> None:
    for pods in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_bundle(folder / "bundle", pods)
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.scan", "one", str(folder / "bundle")],
                env={"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
                capture_output=True, check=False, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            r = json.loads(done.stdout)
        print(
            f"{pods:6} pods {r['megabytes']:7.1f} MB  scan {r['seconds']:6.2f} s (CPU of the session {r['cpu']:.2f} s)"
            f"  raw {r['raw_seconds']:6.2f} s  ratio {r['seconds'] / r['raw_seconds']:.2f}"
            f"  peak {r['peak']:.0f} MiB (before: {r['base']:.0f})  {r['lists']} lists, {r['verdict']}",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(asyncio.run(one(Path(sys.argv[2])))))
    else:
        main(tuple(int(size) for size in sys.argv[1:]) or SIZES)
