"""An API server for measurements: TLS, ready-made answers from memory, started as a child like the gate itself."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from aiohttp import web

from assistant.loopback import identity
from benchmarks import objects

PODS = 5000
ONE = "/api/v1/namespaces/team-000/services/svc-0000"
POD = f"/api/v1/namespaces/team-000/pods/{objects.place(0)[3]}"

# What is in it does not matter to a byte stream, so it is the large list four times: about 100 MB.
HUGE = "/api/v1/namespaces/team-001/pods"


def listing(kind: str, items: list[dict[str, object]]) -> bytes:
    value = {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": items}
    return json.dumps(value, separators=(",", ":")).encode()


def answers() -> dict[str, bytes]:
    named = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system", "uid": "u"}}
    every = [objects.pod(number) for number in range(PODS)]
    return {
        "/version": b'{"gitVersion":"v1.36.2"}',
        "/api/v1/namespaces/kube-system": json.dumps(named).encode(),
        ONE: json.dumps({"kind": "Service", "apiVersion": "v1", **objects.service(0)}).encode(),
        POD: json.dumps({"kind": "Pod", "apiVersion": "v1", **objects.pod(0)}).encode(),
        "/api/v1/pods": listing("PodList", every),
        HUGE: listing("PodList", every * 4),
        "/api/v1/namespaces/team-000/pods": listing("PodList", [objects.pod(number) for number in range(500)]),
        "/api/v1/services": listing("ServiceList", [objects.service(number) for number in range(20_000)]),
    }


async def serve() -> None:
    """Answer from memory until standard input ends; POST sends a watch event with the time it was sent at."""
    ready = answers()
    waiting: set[web.StreamResponse] = set()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        if request.path.endswith("/bindings"):
            line = json.dumps({"type": "MODIFIED", "object": {**objects.pod(1), "sent": time.monotonic()}}) + "\n"
            for stream in waiting:
                await stream.write(line.encode())
            return web.Response()
        if "watch" in request.query:
            stream = web.StreamResponse(headers={"Content-Type": "application/json"})
            await stream.prepare(request)
            waiting.add(stream)
            try:
                await asyncio.Event().wait()
            finally:
                waiting.discard(stream)
        if request.method == "POST":
            return web.json_response({"status": {"userInfo": {"username": "bench"}}}, status=201)
        body = ready.get(request.path)
        if body is None:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        return web.Response(body=body, content_type="application/json")

    own = identity("bench")
    loop = asyncio.get_running_loop()
    http = web.Server(handle, access_log=None, handler_cancellation=True)
    server = await loop.create_server(http, "127.0.0.1", 0, ssl=own.context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(json.dumps({"ready": True, "url": url, "ca": own.certificate_pem.decode()}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    # Streams that still wait for events have nobody to wait for.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(serve())
