"""A gate in front of a recorded cluster that a test makes of a few objects."""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from assistant.cluster.server import RecordedCluster, defaults
from assistant.cluster.server import Settings as Recorded
from assistant.cluster.server import start as serve
from assistant.domain.action import Action
from assistant.domain.proposal import Check, CheckResult, Proposal, ProposalState
from assistant.domain.target import Target
from assistant.gate.control import ControlClient
from assistant.gate.process import Running, start
from assistant.gate.settings import Settings
from tests.gate.conftest import MERGE, OURS

SHOP = "/api/v1/namespaces/shop"
APPS = "/apis/apps/v1/namespaces/shop"
JSON = "application/json"
Obj = dict[str, Any]


@dataclass
class Shop:
    """A gate, its control side, and the cluster behind it with its log of requests."""

    server: RecordedCluster
    gate: Running
    control: ControlClient
    log: Path

    @property
    def writes(self) -> list[tuple[str, str]]:
        """What reached the cluster and was no read, no review and no dry run, by the cluster's own log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [(x["method"], x["path"]) for x in lines if x["method"] not in ("GET", "HEAD", "POST")]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client that has the guarded kubeconfig's token."""
        ready = self.gate.ready
        tls = ssl.create_default_context(cadata=ready["ca_pem"])
        async with aiohttp.ClientSession(
            ready["data_url"], headers={"Authorization": f"Bearer {ready['data_token']}"},
            connector=aiohttp.TCPConnector(ssl=tls),
        ) as session:  # fmt: skip
            yield session

    async def waiting(self) -> Proposal:
        """Wait until a change is open."""
        async with asyncio.timeout(20):
            while True:
                for proposal, state in await self.control.proposals():
                    if state is ProposalState.OPEN:
                        return proposal
                await asyncio.sleep(0)

    async def propose(
        self, method: str, path: str, body: Any = None, kind: str = MERGE, query: tuple[tuple[str, str], ...] = ()
    ) -> Proposal:
        text = "" if body is None else json.dumps(body)
        action = Action(method, path, Target("v1", "Thing", "shop", "x"), query, kind if text else "", text)
        return await self.control.propose(action, OURS, "")


@asynccontextmanager
async def shop(folder: Path, *objects: Obj, **settings: Any) -> AsyncIterator[Shop]:
    """Serve these objects, each with a uid of its own, and a gate in front of them."""
    place = folder / "bundle" / "cluster-resources" / "custom-resources" / "all"
    place.mkdir(parents=True)
    for number, item in enumerate((namespace("shop"), *objects)):
        (place / f"{number:04}.json").write_text(json.dumps(defaults.fill(copy.deepcopy(item))))
    log = folder / "requests.jsonl"
    server = await serve(Recorded(folder / "bundle", request_log=log, runtime_dir=folder / "cluster"))
    gate = await start(
        Settings(
            state_dir=str(folder / "state"), runtime_dir=str(folder / "run"), kubeconfig=str(server.kubeconfig),
            **settings,
        )
    )  # fmt: skip
    ready = gate.ready
    try:
        async with ControlClient(ready["control_url"], ready["control_token"], ready["ca_pem"]) as control:
            yield Shop(server, gate, control, log)
    finally:
        await gate.stop()
        await server.close()


def check(proposal: Proposal, name: str) -> Check:
    return next(
        (item for item in proposal.checks if item.name == name), Check(name, CheckResult.UNKNOWN, "(no such check)")
    )


def told(proposal: Proposal) -> str:
    """The blast radius as text."""
    return "\n".join(f"{i.heading}: {'at least ' if i.at_least else ''}{i.text}" for i in proposal.impact)


def meta(name: str, owner: Obj | None = None, **more: Any) -> Obj:
    found: Obj = {"name": name, "namespace": "shop", "uid": f"uid-{name}", **more}
    if owner is not None:
        found["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "controller": True,
            }
        ]  # fmt: skip
    return found


def namespace(name: str, **labels: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": f"ns-{name}", "labels": labels}}


def template(app: str, **resources: Obj) -> Obj:
    container: Obj = {"name": "web", "image": "web:1", **({"resources": resources} if resources else {})}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}}


def workload(kind: str, name: str = "web", **spec: Any) -> Obj:
    base = {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template(name)}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta(name), "spec": {**base, **spec}}


def pod(name: str, owner: Obj | None = None, *, up: bool = True, **spec: Any) -> Obj:
    body = {"containers": [{"name": "web", "image": "web:1"}], **spec}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if up else "False"}]}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": meta(name, owner, labels={"app": "web"}), "spec": body,
        "status": status,
    }  # fmt: skip


def thing(api_version: str, kind: str, name: str, **fields: Any) -> Obj:
    return {"apiVersion": api_version, "kind": kind, "metadata": meta(name), **fields}


def service(name: str = "web") -> Obj:
    return thing("v1", "Service", name, spec={"selector": {"app": "web"}, "ports": [{"port": 80}]})


def running(kind: str = "Deployment", **spec: Any) -> list[Obj]:
    """A Deployment `web` with its ReplicaSet, two ready pods and a Service."""
    top = workload(kind, **spec)
    middle = workload("ReplicaSet", "web-1", selector={"matchLabels": {"app": "web"}})
    middle["metadata"] = meta("web-1", top)
    return [top, middle, pod("web-1-a", middle), pod("web-1-b", middle), service()]
