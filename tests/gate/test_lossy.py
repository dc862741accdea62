"""Changes that take away more than they name: a list replaced by a merge patch, a stale manifest, a JSON patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assistant.domain.action import RiskLevel
from assistant.domain.proposal import LineOrigin, Proposal
from tests.gate.recorded import APPS, JSON, SHOP, Obj, shop, thing, workload

WEB = f"{APPS}/deployments/web"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
CONTAINERS = "/spec/template/spec/containers"
RULE = "removes fields of the pod template: web ports, env, resources, readinessProbe"


def whole() -> Obj:
    """A Deployment as people run it: with what a short manifest leaves out."""
    made = workload("Deployment")
    made["spec"]["template"]["spec"]["containers"][0] |= {
        "ports": [{"name": "http", "containerPort": 80}],
        "env": [{"name": "POOL", "value": "20"}, {"name": "MODE", "value": "fast"}],
        "resources": {"limits": {"memory": "128Mi"}, "requests": {"cpu": "100m"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 80}},
    }
    return made


def pod_spec(containers: list[Obj]) -> Obj:
    return {"spec": {"template": {"spec": {"containers": containers}}}}


def short(image: str = "web:2") -> Obj:
    return pod_spec([{"name": "web", "image": image}])


def paths(proposal: Proposal, origin: LineOrigin) -> list[str]:
    return [line.text for line in proposal.diff if line.sign == "@" and line.origin is origin]


class TestAListThatIsReplaced:
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (short(), MERGE),
            ([{"op": "replace", "path": CONTAINERS, "value": [{"name": "web", "image": "web:2"}]}], JSON_PATCH),
            ([{"op": "replace", "path": f"{CONTAINERS}/0", "value": {"name": "web", "image": "web:2"}}], JSON_PATCH),
            (pod_spec([{"$patch": "replace"}, {"name": "web", "image": "web:2"}]), STRATEGIC),
        ],
        ids=["merge", "json-list", "json-item", "strategic-replace"],
    )  # fmt: skip
    async def test_takes_away_by_our_request_and_not_by_the_server(self, tmp_path: Path, body: Any, kind: str) -> None:
        async with shop(tmp_path, whole()) as here:
            proposal = await here.propose("PATCH", WEB, body, kind)
            inside = "spec.template.spec.containers[name=web]"
            ours = paths(proposal, LineOrigin.OURS)
            assert {f"{inside}.{field}" for field in ("image", "ports", "env", "readinessProbe")} <= set(ours)
            assert any(path.startswith(f"{inside}.resources") for path in ours)
            taken = [x for x in proposal.diff if x.sign == "-" and x.origin is LineOrigin.SERVER]
            assert not taken
            assert proposal.title == (
                "set image of container web in Deployment shop/web: 1 → 2, "
                "and removes ports, env, resources, readinessProbe"
            )
            assert RULE in proposal.risk.reasons
            assert proposal.risk.level is RiskLevel.HIGH
            assert "set image" not in proposal.kubectl

    async def test_is_told_as_the_patch_that_it_is(self, tmp_path: Path) -> None:
        async with shop(tmp_path, whole()) as here:
            proposal = await here.propose("PATCH", WEB, short(), MERGE)
            body = '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:2"}]}}}}'
            assert proposal.kubectl == f"kubectl -n shop patch deployment web --type=merge -p '{body}'"

    async def test_of_rules_outside_of_a_pod_template_is_a_risk_too(self, tmp_path: Path) -> None:
        ports = [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]
        live = thing("v1", "Service", "web", spec={"selector": {"app": "web"}, "ports": ports})
        async with shop(tmp_path, live) as here:
            proposal = await here.propose("PATCH", f"{SHOP}/services/web", {"spec": {"ports": ports[:1]}}, MERGE)
            assert proposal.title == "remove ports[name=admin] from Service shop/web"
            assert "removes entries or fields of a list: ports[name=admin]" in proposal.risk.reasons
            assert proposal.risk.level is RiskLevel.HIGH

    async def test_that_loses_nothing_is_an_ordinary_change(self, tmp_path: Path) -> None:
        async with shop(tmp_path, workload("Deployment")) as here:
            proposal = await here.propose("PATCH", WEB, short(), MERGE)
            assert proposal.title == "set image of container web in Deployment shop/web: 1 → 2"
            assert proposal.risk.level is RiskLevel.MEDIUM
            assert paths(proposal, LineOrigin.SERVER) == []


class TestAWholeObject:
    async def test_from_a_stale_manifest_says_what_it_takes_away(self, tmp_path: Path) -> None:
        stale = workload("Deployment")
        stale["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
        async with shop(tmp_path, whole()) as here:
            proposal = await here.propose("PUT", WEB, stale, JSON)
            assert proposal.title.endswith(": 1 → 2, and removes ports, env, resources, readinessProbe")
            assert RULE in proposal.risk.reasons
            assert proposal.risk.level is RiskLevel.HIGH
            assert proposal.kubectl == "kubectl -n shop replace -f -"
            assert not [x for x in proposal.diff if x.sign == "-" and x.origin is LineOrigin.SERVER]

    async def test_read_changed_and_sent_back_is_told_by_its_one_change(self, tmp_path: Path) -> None:
        async with shop(tmp_path, whole()) as here:
            async with here.client() as client, client.get(WEB) as answer:
                sent = await answer.json()
            sent["spec"]["replicas"] = 3
            proposal = await here.propose("PUT", WEB, sent, JSON)
            assert proposal.title == "scale Deployment shop/web 2 → 3"
            assert proposal.kubectl == "kubectl -n shop scale deployment/web --replicas=3"
            assert not any("removes" in reason for reason in proposal.risk.reasons)


class TestAPatchThatTheServerMerges:
    @pytest.mark.parametrize("kind", [STRATEGIC, APPLY])
    async def test_keeps_what_it_does_not_name(self, tmp_path: Path, kind: str) -> None:
        body = short()
        if kind == APPLY:
            body |= {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}}
        async with shop(tmp_path, whole()) as here:
            query = (("fieldManager", "me"), ("force", "true")) if kind == APPLY else ()
            proposal = await here.propose("PATCH", WEB, body, kind, query)
            assert proposal.title == "set image of container web in Deployment shop/web: 1 → 2"
            assert not any("removes" in reason for reason in proposal.risk.reasons)
            if kind == STRATEGIC:
                assert proposal.risk.level is RiskLevel.MEDIUM
                assert proposal.kubectl == "kubectl -n shop set image deployment/web web=web:2"

    async def test_that_names_a_field_to_take_it_away_says_so(self, tmp_path: Path) -> None:
        body = short()
        body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = None
        async with shop(tmp_path, whole()) as here:
            proposal = await here.propose("PATCH", WEB, body, STRATEGIC)
            assert proposal.title.endswith(": 1 → 2, and removes readinessProbe")
            assert "removes fields of the pod template: web readinessProbe" in proposal.risk.reasons

    async def test_replaces_a_list_that_has_no_merge_key(self, tmp_path: Path) -> None:
        live = whole()
        known = [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists", "effect": "NoSchedule"}]
        live["spec"]["template"]["spec"]["tolerations"] = known
        body = {"spec": {"template": {"spec": {"tolerations": known[:1]}}}}
        async with shop(tmp_path, live) as here:
            proposal = await here.propose("PATCH", WEB, body, STRATEGIC)
            assert paths(proposal, LineOrigin.OURS) == ["spec.template.spec.tolerations[key=b]"]
            assert paths(proposal, LineOrigin.SERVER) == []


async def test_what_a_json_patch_removes_is_named(tmp_path: Path) -> None:
    body = [
        {"op": "replace", "path": f"{CONTAINERS}/0/image", "value": "web:2"},
        {"op": "remove", "path": f"{CONTAINERS}/0/readinessProbe"},
    ]
    async with shop(tmp_path, whole()) as here:
        proposal = await here.propose("PATCH", WEB, body, JSON_PATCH)
        assert proposal.title.endswith(": 1 → 2, and removes readinessProbe")
        assert "--type=json" in proposal.kubectl


@pytest.mark.parametrize("kind", [MERGE, JSON_PATCH])
async def test_the_defaults_of_what_we_add_are_the_servers(tmp_path: Path, kind: str) -> None:
    log = {"name": "log", "image": "busybox:1"}
    present = whole()["spec"]["template"]["spec"]["containers"]
    body = [{"op": "add", "path": f"{CONTAINERS}/-", "value": log}] if kind == JSON_PATCH else pod_spec([*present, log])
    async with shop(tmp_path, whole()) as here:
        proposal = await here.propose("PATCH", WEB, body, kind)
        assert proposal.title == "add container log to Deployment shop/web"
        inside = "spec.template.spec.containers[name=log]"
        assert paths(proposal, LineOrigin.OURS) == [inside]
        assert f"{inside}.imagePullPolicy" in paths(proposal, LineOrigin.SERVER)
