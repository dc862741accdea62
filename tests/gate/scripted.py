"""An API server that does what a test tells it and remembers every request: the oracle of what left the gate."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/web"


def deployment() -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "uid-1", "resourceVersion": "10", "generation": 1},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    agent: str
    headers: dict[str, str]

    @property
    def writes(self) -> bool:
        """A request that changes something; this is the test's own reading, not the gate's."""
        if self.method in ("GET", "HEAD") or "selfsubject" in self.path:
            return False
        body_dry = isinstance(self.body, dict) and self.body.get("dryRun") == ["All"]
        return not (body_dry if self.method == "DELETE" else self.query.get("dryRun") == "All")


@dataclass
class ApiServer:
    """Holds a few objects. `write_fault` is what happens to a real write after it was read."""

    objects: dict[str, dict[str, Any]] = field(default_factory=lambda: {DEPLOYMENT: deployment()})
    requests: list[Request] = field(default_factory=list)
    write_fault: str = ""
    may: bool = True
    dry_status: int = 200
    admission: Callable[[dict[str, Any]], None] = lambda _: None
    url: str = ""
    raw: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    hanging: frozenset[str] = frozenset()
    reading: int = 0
    most_reading: int = 0
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        http = web.Server(self._handle, access_log=None)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(http, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self._over.set()
        if self._server is not None:
            self._server.close()

    def kubeconfig(self, path: Path) -> str:
        user = {"name": "u", "user": {"token": "up" + "stream"}}
        value = {
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}], "users": [user],
            "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(value))
        return str(path)

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.writes]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        data = await request.read()
        body = json.loads(data) if data else None
        seen = Request(
            request.method, request.path, dict(request.query), body, request.headers.get("User-Agent", ""),
            dict(request.headers),
        )  # fmt: skip
        self.requests.append(seen)
        if request.path in self.hanging:
            await self._over.wait()
        if request.method == "GET":
            self.reading += 1
            self.most_reading = max(self.most_reading, self.reading)
            for _ in range(20):
                await asyncio.sleep(0)
            self.reading -= 1
        if request.path in self.raw:
            status, headers, answer = self.raw[request.path]
            return web.Response(status=status, headers=headers, body=answer)
        if seen.writes and self.write_fault:
            fault = await self._fault(request, seen)
            if fault is not None:
                return fault
        return self._answer(seen)

    async def _fault(self, request: web.BaseRequest, seen: Request) -> web.StreamResponse | None:
        match self.write_fault:
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "close":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case "truncated":
                response = web.StreamResponse(headers={"Content-Type": "application/json"})
                response.content_length = 1000
                await response.prepare(request)
                await response.write(b"{")
                assert request.transport is not None
                request.transport.abort()
                return response
            case "redirect":
                return web.Response(status=307, headers={"Location": self.url + seen.path})
            case status:
                return status_response(int(status), f"scripted {status}")

    def _answer(self, seen: Request) -> web.Response:
        if seen.path == "/version":
            return web.json_response({"gitVersion": "v1.36.2"})
        if seen.path.endswith("selfsubjectreviews"):
            return web.json_response({"status": {"userInfo": {"username": "ada"}}}, status=201)
        if seen.path.endswith("selfsubjectaccessreviews"):
            return web.json_response({"status": {"allowed": self.may}}, status=201)
        dry = not seen.writes
        if dry and seen.method not in ("GET", "HEAD") and self.dry_status != 200:
            return status_response(self.dry_status, "scripted dry run")
        stored = self.objects.get(seen.path)
        if seen.method == "GET" and seen.path.count("/") >= 4 and seen.path.rsplit("/", 1)[-1] in ("pods", "services"):
            return web.json_response({"kind": "List", "items": []})
        if stored is None:
            return status_response(404, "not found")
        match seen.method:
            case "GET":
                return web.json_response(stored)
            case "DELETE":
                wanted = (seen.body or {}).get("preconditions") or {}
                if wanted.get("resourceVersion", stored["metadata"]["resourceVersion"]) != version(stored):
                    return status_response(409, "the object has been modified")
                if not dry:
                    del self.objects[seen.path]
                return web.json_response({"kind": "Status", "status": "Success"})
            case _:
                wanted = seen.body.get("metadata", {}).get("resourceVersion", version(stored))
                if wanted != version(stored):
                    return status_response(409, "the object has been modified")
                after = merged(stored, seen.body)
                self.admission(after)
                if not dry:
                    after["metadata"]["resourceVersion"] = str(int(version(stored)) + 1)
                    self.objects[seen.path] = after
                return web.json_response(after)

    def touch(self, path: str = DEPLOYMENT) -> None:
        """Somebody else changes the object."""
        self.objects[path]["metadata"]["resourceVersion"] = "99"


def version(value: dict[str, Any]) -> str:
    return str(value["metadata"]["resourceVersion"])


def merged(value: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    out = copy.deepcopy(value)
    for key, item in patch.items():
        if item is None:
            out.pop(key, None)
        elif isinstance(item, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], item)
        else:
            out[key] = item
    return out


def status_response(code: int, message: str) -> web.Response:
    value = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    return web.json_response(value, status=code)
