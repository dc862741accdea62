"""What the gate costs: the same TLS requests straight to a server and through the gate: `python -m benchmarks.gate`.

Three processes: a server with ready-made answers, the gate, and this client. Direct and gated requests alternate, so
that both see the same machine; medians of wall time, CPU time of the gate's process, ratios. Nothing passes or fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import yaml

from assistant.processes import ChildProcess
from benchmarks.api_server import HUGE, ONE, POD, PODS

SMALL_READS = 400
LARGE_READS = 7
WATCH_EVENTS = 200
TICK = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def peak_mebibytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def session(url: str, ca_pem: str, token: str) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cadata=ca_pem)
    return aiohttp.ClientSession(
        url, headers={"Authorization": f"Bearer {token}"}, connector=aiohttp.TCPConnector(ssl=context)
    )


async def timed(client: aiohttp.ClientSession, path: str) -> tuple[float, int]:
    started = time.perf_counter()
    async with client.get(path, headers={"Accept": "application/json"}) as answer:
        size = len(await answer.read())
    assert answer.status == 200, answer.status
    return time.perf_counter() - started, size


async def compare(
    title: str, path: str, repeats: int, direct: aiohttp.ClientSession, gated: aiohttp.ClientSession, pid: int
) -> None:
    for client in (direct, gated, direct, gated):
        await timed(client, path)
    plain, through, cpu, size = [], [], 0.0, 0
    for _ in range(repeats):
        plain.append((await timed(direct, path))[0])
        before = cpu_seconds(pid)
        seconds, size = await timed(gated, path)
        cpu += cpu_seconds(pid) - before
        through.append(seconds)
    a, b = statistics.median(plain), statistics.median(through)
    line = f"{title:<34} {size / 1e6:8.3f} MB  direct {a * 1e3:8.2f} ms  gate {b * 1e3:8.2f} ms"
    print(f"{line}  +{(b - a) * 1e3:.2f} ms  throughput {a / b:.0%}  gate CPU {cpu / repeats * 1e3:.2f} ms", flush=True)


async def watch(title: str, reader: aiohttp.ClientSession, direct: aiohttp.ClientSession) -> None:
    """Time from the server's write to the client's line; the clock is one for all processes of a machine."""
    waits = []
    async with reader.get("/api/v1/namespaces/team-000/pods?watch=true") as stream:
        for _ in range(WATCH_EVENTS):
            async with direct.post("/api/v1/namespaces/team-000/bindings"):
                line = await stream.content.readline()
            waits.append(time.monotonic() - json.loads(line)["object"]["sent"])
    print(f"{title:<34} median {statistics.median(waits) * 1e3:.2f} ms  worst {max(waits) * 1e3:.2f} ms", flush=True)


async def pairs(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(200)))
    return 200 / (time.perf_counter() - started)


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = await ChildProcess.start("benchmarks.api_server", {}, folder / "server.log")
        kubeconfig = folder / "kubeconfig"
        ca = folder / "ca.pem"
        ca.write_text(server.ready["ca"])
        cluster = {"server": server.ready["url"], "certificate-authority": str(ca)}
        kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "c", "user": "u"}}],
        }))  # fmt: skip
        settings = {"kubeconfig": str(kubeconfig), "state_dir": str(folder / "s"), "runtime_dir": str(folder / "r")}
        gate = await ChildProcess.start("assistant.gate", settings, folder / "gate.log")
        said = gate.ready
        async with (
            session(server.ready["url"], server.ready["ca"], "t") as direct,
            session(said["data_url"], said["ca_pem"], said["data_token"]) as gated,
        ):
            for title, path, repeats in (
                ("a service", ONE, SMALL_READS),
                ("a pod, filtered", POD, SMALL_READS),
                ("500 pods, filtered", "/api/v1/namespaces/team-000/pods", 4 * LARGE_READS),
                (f"{PODS} pods, filtered", "/api/v1/pods", LARGE_READS),
                (f"{4 * PODS} pods, filtered", HUGE, LARGE_READS),
                ("20000 services", "/api/v1/services", LARGE_READS),
            ):
                await compare(title, path, repeats, direct, gated, gate.pid)
            for title, client in (("small reads at once, direct", direct), ("small reads at once, gate", gated)):
                rate = statistics.median([await pairs(lambda c=client: timed(c, ONE)) for _ in range(5)])  # type: ignore[misc]
                print(f"{title:<34} {rate:.0f}/s")
            await watch("watch of pods, direct", direct, direct)
            await watch("watch of pods, gate", gated, direct)
        print(f"{'gate, peak memory':<34} {peak_mebibytes(gate.pid):.0f} MiB")
        await gate.stop()
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
