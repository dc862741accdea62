"""What a proposal says about a change, over a recorded cluster: who keeps it, what it meets, what goes with it."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.action import RiskLevel
from assistant.domain.proposal import CheckResult, LineOrigin, ProposalState
from tests.gate.conftest import MERGE, OURS, SCALE, lab, not_decided, says
from tests.gate.recorded import (
    APPS,
    JSON,
    SHOP,
    Obj,
    check,
    meta,
    namespace,
    pod,
    running,
    service,
    shop,
    template,
    thing,
    told,
    workload,
)

IMAGE = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
STRATEGIC = "application/strategic-merge-patch+json"
WARN, PASS, FAIL, UNKNOWN = CheckResult.WARN, CheckResult.PASS, CheckResult.FAIL, CheckResult.UNKNOWN


def scaler(low: int = 2, high: int = 9) -> Obj:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return thing(
        "autoscaling/v2", "HorizontalPodAutoscaler", "web",
        spec={"scaleTargetRef": ref, "minReplicas": low, "maxReplicas": high},
    )  # fmt: skip


def budget(allowed: int) -> Obj:
    return thing(
        "policy/v1", "PodDisruptionBudget", "web-pdb", spec={"selector": {"matchLabels": {"app": "web"}}},
        status={"disruptionsAllowed": allowed},
    )  # fmt: skip


class TestTheDiff:
    async def test_tells_our_lines_from_a_default_a_sidecar_and_bookkeeping(self, tmp_path: Path) -> None:
        def admit(item: Obj) -> None:
            spec = item["spec"]["template"]["spec"]
            spec["containers"][0]["image"] = "mirror.example/web:2"
            spec["containers"].append({"name": "proxy", "image": "proxy:1"})
            spec["dnsPolicy"] = "ClusterFirst"
            item["metadata"] |= {"generation": 2, "managedFields": [{"manager": "pilothouse-gate"}]}
            item["status"] = {"observedGeneration": 1}

        async with lab(tmp_path) as here:
            here.server.admission = admit
            proposal = await here.control.propose(replace(SCALE, body=json.dumps(IMAGE)), OURS, "k")
            shown = {origin: [x.text for x in proposal.diff if x.origin is origin] for origin in LineOrigin}
            image = "spec.template.spec.containers[name=web].image"
            assert shown[LineOrigin.OURS] == [image, "image: web:1", "image: web:2"]
            assert shown[LineOrigin.SERVER] == [
                image, "image: web:2", "image: mirror.example/web:2", "spec.template.spec.containers[name=proxy]",
                "- name: proxy", "  image: proxy:1", "spec.template.spec.dnsPolicy", "dnsPolicy: ClusterFirst",
            ]  # fmt: skip
            assert {"metadata.generation", "metadata.managedFields", "status"} <= set(shown[LineOrigin.HIDDEN])
            assert proposal.title == "set image of container web in Deployment shop/web: 1 → 2"

    async def test_of_a_new_object_leaves_the_defaults_to_the_server(self, tmp_path: Path) -> None:
        async with shop(tmp_path) as here:
            body = {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "new"},
                "spec": {"ports": [{"port": 80}]},
            }
            proposal = await here.propose("POST", f"{SHOP}/services", body, JSON)
            ours = [x.text for x in proposal.diff if x.origin is LineOrigin.OURS and x.sign == "+"]
            assert "  - port: 80" in ours
            assert not any("clusterIP" in text or "protocol" in text for text in ours)
            server = [x.text for x in proposal.diff if x.origin is LineOrigin.SERVER]
            assert "spec.ports[port=80].protocol" in server
            assert "metadata.uid" in [x.text for x in proposal.diff if x.origin is LineOrigin.HIDDEN]


class TestPodsReplaced:
    @pytest.mark.parametrize(
        ("kind", "spec", "words"),
        [
            ("Deployment", {"replicas": 4}, "4 pods are replaced, at most 1 down and 1 extra at once."),
            ("Deployment", {"strategy": {"type": "Recreate"}}, "All 2 pods stop before new ones start"),
            ("Deployment", {"paused": True}, "paused"),
            ("StatefulSet", {"replicas": 3, "serviceName": "web"}, "one after the other, the highest number first."),
            (
                "StatefulSet",
                {"replicas": 5, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}},
                "2 pods are replaced one after the other, the highest number first with ordinal 3 and above",
            ),
            ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "only when somebody deletes them (OnDelete)"),
            (
                "DaemonSet",
                {"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}},
                "at most 0 down and 1 extra at once",
            ),
        ],
    )
    async def test_how_many_and_how_many_at_once(self, tmp_path: Path, kind: str, spec: Obj, words: str) -> None:
        async with shop(tmp_path, workload(kind, **spec)) as here:
            proposal = await here.propose("PATCH", f"{APPS}/{kind.lower()}s/web", IMAGE, STRATEGIC)
            assert words in told(proposal)


class TestScaling:
    async def test_an_autoscaler_that_fights_it_is_said_with_what_to_change(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running(), scaler()) as here:
            for path in (f"{APPS}/deployments/web", f"{APPS}/deployments/web/scale"):
                proposal = await here.propose("PATCH", path, {"spec": {"replicas": 3}})
                found = check(proposal, "autoscaler")
                assert found.result is WARN
                assert "keeps 2 to 9 replicas" in found.text
                assert "minReplicas" in found.text
                assert "an autoscaler sets the same number" in proposal.risk.reasons

    async def test_no_autoscaler_is_no_line(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running()) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web/scale", {"spec": {"replicas": 3}})
            assert check(proposal, "autoscaler").text == "(no such check)"

    async def test_a_service_that_loses_its_last_ready_pod_is_named(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running(), thing("v1", "Service", "other", spec={"selector": {"app": "x"}})) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web/scale", {"spec": {"replicas": 0}})
            assert "Service web: no ready pod is left" in told(proposal)
            assert "other" not in told(proposal)
            assert "leaves Service web without a ready pod" in proposal.risk.reasons
            less = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 1}})
            assert "Service web: 1 of 2 ready pods are left" in told(less)
            assert not any("without a ready pod" in reason for reason in less.risk.reasons)

    async def test_a_disruption_budget_is_measured_against_it(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running(), budget(1)) as here:
            fine = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 1}})
            assert check(fine, "budget").result is PASS
            broken = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 0}})
            assert check(broken, "budget").result is WARN
            assert "web-pdb allows 1" in check(broken, "budget").text


class TestQuotaAndLimits:
    def quota(self, hard: Obj, used: Obj, **spec: Any) -> Obj:
        return thing("v1", "ResourceQuota", "q", spec={"hard": hard, **spec}, status={"hard": hard, "used": used})

    @pytest.mark.parametrize(
        ("hard", "used", "words"),
        [
            ({"pods": "3"}, {"pods": "2"}, "has 1 of pods left, they need 2"),
            ({"requests.memory": "1Gi"}, {"requests.memory": "900Mi"}, "left, they need 400Mi"),
            ({"limits.cpu": "8"}, {"limits.cpu": "0"}, "asks every container for limits.cpu"),
        ],
    )
    async def test_pods_that_would_not_be_admitted(self, tmp_path: Path, hard: Obj, used: Obj, words: str) -> None:
        top = workload("Deployment", template=template("web", requests={"memory": "200Mi"}))
        async with shop(tmp_path, top, self.quota(hard, used)) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 4}})
            assert check(proposal, "quota").result is WARN
            assert words in check(proposal, "quota").text
            assert proposal.approvable

    async def test_a_quota_of_another_scope_does_not_count(self, tmp_path: Path) -> None:
        other = self.quota({"pods": "1"}, {"pods": "1"}, scopes=["Terminating"])
        async with shop(tmp_path, workload("Deployment"), other) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 4}})
            assert check(proposal, "quota").result is PASS

    async def test_a_rollout_needs_its_extra_pods_only(self, tmp_path: Path) -> None:
        top = workload("Deployment", replicas=4, template=template("web", requests={"cpu": "1"}))
        room = self.quota({"requests.cpu": "5"}, {"requests.cpu": "4"})
        async with shop(tmp_path, top, room) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", IMAGE, STRATEGIC)
            assert check(proposal, "quota").result is PASS
            more = copy.deepcopy(IMAGE)
            container: Obj = more["spec"]["template"]["spec"]["containers"][0]
            container["resources"] = {"requests": {"cpu": "2"}}
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", more, STRATEGIC)
            assert check(proposal, "quota").result is WARN

    async def test_a_limit_range_gives_defaults_and_bounds(self, tmp_path: Path) -> None:
        rule = {"type": "Container", "max": {"memory": "512Mi"}, "default": {"memory": "256Mi"}}
        limits = thing("v1", "LimitRange", "small", spec={"limits": [rule]})
        async with shop(tmp_path, workload("Deployment"), limits) as here:
            fine = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 4}})
            assert check(fine, "quota").result is PASS
            big = copy.deepcopy(IMAGE)
            container: Obj = big["spec"]["template"]["spec"]["containers"][0]
            container["resources"] = {"limits": {"memory": "1Gi"}}
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", big, STRATEGIC)
            assert "container web has 1Gi memory, at most 512Mi" in check(proposal, "quota").text


class TestWebhooks:
    def hook(self, resources: list[str], policy: str = "Fail", versions: str = "*", **more: Any) -> Obj:
        rule = {"apiGroups": ["*"], "apiVersions": [versions], "operations": ["*"], "resources": resources}
        hook = {
            "name": "guard.policy.example", "failurePolicy": policy, "rules": [rule], "sideEffects": "None",
            "clientConfig": {"service": {"namespace": "guard", "name": "guard"}}, **more,
        }  # fmt: skip
        return {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "guard"}, "webhooks": [hook],
        }  # fmt: skip

    def endpoints(self, *up: bool) -> Obj:
        return {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "guard-1", "namespace": "guard", "labels": {"kubernetes.io/service-name": "guard"},
            },
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}} for ready in up],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("hook", "up", "result", "words"),
        [
            ({"resources": ["deployments"]}, (True,), PASS, "Webhooks see this: guard.policy.example"),
            ({"resources": ["deployments"]}, (False,), WARN, "Service guard/guard has no ready endpoint: the API"),
            ({"resources": ["deployments"]}, (), WARN, "the API server would refuse this"),
            ({"resources": ["deployments"], "policy": "Ignore"}, (), PASS, "guard.policy.example"),
            ({"resources": ["pods"]}, (), WARN, "new pods would not be created"),
            ({"resources": ["services"]}, (), PASS, "No admission webhook matches"),
            ({"resources": ["deployments"], "versions": "v1beta1"}, (), WARN, "the API server would refuse this"),
            (
                {"resources": ["deployments"], "versions": "v1beta1", "matchPolicy": "Exact"}, (), PASS,
                "No admission webhook matches",
            ),
            ({"resources": ["deployments/scale"]}, (), PASS, "No admission webhook matches"),
            (
                {"resources": ["*"], "namespaceSelector": {"matchLabels": {"guarded": "yes"}}}, (), PASS,
                "No admission webhook matches",
            ),
            (
                {"resources": ["deployments"], "matchConditions": [{"name": "x", "expression": "true"}]}, (), WARN,
                "must perhaps answer",
            ),
        ],
    )  # fmt: skip
    async def test_that_match_and_cannot_answer(
        self, tmp_path: Path, hook: Obj, up: tuple[bool, ...], result: CheckResult, words: str
    ) -> None:
        objects = (*running(), namespace("guard"), self.hook(**hook), self.endpoints(*up))
        async with shop(tmp_path, *objects) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", IMAGE, STRATEGIC)
            found = check(proposal, "webhooks")
            assert (found.result, words in found.text) == (result, True), found.text
            assert any("webhook" in reason for reason in proposal.risk.reasons) is (result is WARN)

    async def test_that_name_no_objects_are_not_called_for_their_own_removal(self, tmp_path: Path) -> None:
        async with shop(tmp_path, namespace("guard"), self.hook(["*"])) as here:
            path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/guard"
            proposal = await here.propose("DELETE", path)
            assert check(proposal, "webhooks").text == "No admission webhook matches."


class TestOwners:
    async def test_a_pod_is_traced_up_to_its_deployment(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running()) as here:
            proposal = await here.propose("PATCH", f"{SHOP}/pods/web-1-a", {"metadata": {"labels": {"a": "b"}}})
            text = check(proposal, "owner").text
            assert "ReplicaSet web-1 controls it, under Deployment web" in text
            middle = await here.propose("PATCH", f"{APPS}/replicasets/web-1", {"spec": {"replicas": 5}})
            assert "will put it back; change Deployment web." in check(middle, "owner").text

    async def test_a_namesake_of_an_owner_that_is_gone_leads_nowhere(self, tmp_path: Path) -> None:
        objects = running()
        objects[1]["metadata"]["uid"] = "another"
        async with shop(tmp_path, *objects) as here:
            proposal = await here.propose("PATCH", f"{SHOP}/pods/web-1-a", {"metadata": {"labels": {"a": "b"}}})
            assert "ReplicaSet web-1 controls it; the next pod" in check(proposal, "owner").text

    async def test_an_operator_is_named_by_its_own_object(self, tmp_path: Path) -> None:
        crd = {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "shops.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "shops", "singular": "shop", "kind": "Shop", "listKind": "ShopList"},
                "versions": [{
                    "name": "v1", "served": True, "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }],
            },
        }  # fmt: skip
        top = thing("example.com/v1", "Shop", "main", spec={"size": 2})
        app = "shop:example.com/Shop:shop/main"
        top["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": app}
        owned = workload("Deployment")
        owned["metadata"] = meta("web", top)
        async with shop(tmp_path, crd, top, owned) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 5}})
            assert check(proposal, "owner").text.startswith("Shop main above it: Argo CD application shop manages it")
            gone = await here.propose("DELETE", "/apis/example.com/v1/namespaces/shop/shops/main")
            assert "1 Deployment go with it (Background): web" in told(gone)
            whole = await here.propose(
                "DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/shops.example.com"
            )
            assert "1 object with it: 1 shops (main)" in told(whole)

    @pytest.mark.parametrize(
        ("labels", "notes", "words"),
        [
            ({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}, {},
             "Flux Kustomization apps manages it and may revert this"),
            ({"app.kubernetes.io/managed-by": "Helm"},
             {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"},
             "helm upgrade web -n shop"),
            ({"argocd.argoproj.io/instance": "storefront"}, {}, "Argo CD application storefront manages it"),
            ({}, {}, "No GitOps tool"),
        ],
    )  # fmt: skip
    async def test_gitops_tools_are_known_by_their_marks(
        self, tmp_path: Path, labels: Obj, notes: Obj, words: str
    ) -> None:
        top = workload("Deployment")
        top["metadata"] |= {"labels": labels, "annotations": notes}
        async with shop(tmp_path, top) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 5}})
            assert words in check(proposal, "owner").text
            assert check(proposal, "owner").result is (WARN if labels else PASS)

    async def test_other_writers_of_the_same_field(self, tmp_path: Path) -> None:
        top = workload("Deployment")
        top["metadata"]["managedFields"] = [
            {
                "manager": name, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {field: {}}},
            }
            for name, operation, field in (
                ("team-deployer", "Apply", "f:replicas"),
                ("kubectl-edit", "Update", "f:paused"),
            )
        ]  # fmt: skip
        async with shop(tmp_path, top) as here:
            kept = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"replicas": 5}})
            assert check(kept, "fields").result is WARN
            assert "team-deployer keeps spec.replicas" in check(kept, "fields").text
            free = await here.propose("PATCH", f"{APPS}/deployments/web", {"spec": {"paused": True}})
            assert check(free, "fields").result is PASS
            assert "kubectl-edit" in check(free, "fields").text


class TestDeletes:
    async def test_are_shown_in_few_lines_with_the_whole_object_in_the_undo(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running()) as here:
            proposal = await here.propose("DELETE", f"{APPS}/deployments/web")
            texts = [line.text for line in proposal.diff]
            assert texts[0] == "Deployment shop/web"
            assert "image of web: web:1" in texts
            assert len(texts) < 12
            assert {line.origin for line in proposal.diff} == {LineOrigin.OURS}
            assert "matchLabels:" in proposal.undo.before
            assert "2 Pod, 1 ReplicaSet go with it (Background)" in told(proposal)
            assert "Service web: no ready pod is left" in told(proposal)

    async def test_of_a_very_large_object_keep_its_beginning_and_count_the_rest(self, tmp_path: Path) -> None:
        big = thing("v1", "ConfigMap", "big", data={f"k{n}": "x" * 1000 for n in range(400)})
        async with shop(tmp_path, big) as here:
            proposal = await here.propose("DELETE", f"{SHOP}/configmaps/big")
            assert len(proposal.undo.before) < 270_000
            assert proposal.undo.before.rstrip().endswith("more lines")
            assert any("and 388 more" in line.text for line in proposal.diff)
            assert proposal.approvable

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"propagationPolicy": "Orphan"}, "stay behind without an owner (Orphan)"),
            ({"propagationPolicy": "Foreground"}, "before it goes itself (Foreground)"),
        ],
    )
    async def test_say_what_the_propagation_does(self, tmp_path: Path, options: Obj, words: str) -> None:
        async with shop(tmp_path, *running()) as here:
            proposal = await here.propose(
                "DELETE", f"{APPS}/deployments/web", {"kind": "DeleteOptions", **options}, JSON
            )
            assert words in told(proposal)

    async def test_of_a_job_keep_its_pods_where_nobody_says_otherwise(self, tmp_path: Path) -> None:
        job = thing("batch/v1", "Job", "once", spec={"template": template("once")})
        async with shop(tmp_path, job, pod("once-x", job)) as here:
            path = "/apis/batch/v1/namespaces/shop/jobs/once"
            assert "1 Pod stay behind" in told(await here.propose("DELETE", path))
            query = (("propagationPolicy", "Background"),)
            assert "1 Pod go with it" in told(await here.propose("DELETE", path, query=query))

    @pytest.mark.parametrize(("when", "words"), [("Retain", "stay behind"), ("Delete", "are deleted with it")])
    async def test_of_a_stateful_set_say_what_becomes_of_its_claims(
        self, tmp_path: Path, when: str, words: str
    ) -> None:
        top = workload(
            "StatefulSet", "db", serviceName="db", volumeClaimTemplates=[{"metadata": {"name": "data"}}],
            persistentVolumeClaimRetentionPolicy={"whenDeleted": when, "whenScaled": "Retain"},
        )  # fmt: skip
        claims = [
            thing("v1", "PersistentVolumeClaim", name, spec={}) for name in ("data-db-0", "data-db-1", "data-db-old-0")
        ]
        async with shop(tmp_path, top, *claims) as here:
            proposal = await here.propose("DELETE", f"{APPS}/statefulsets/db")
            assert f"2 claims {words} (whenDeleted: {when}): data-db-0, data-db-1." in told(proposal)
            assert proposal.risk.level is RiskLevel.CRITICAL
            assert proposal.undo.action is None
            assert "volumeClaimTemplates" in proposal.undo.before

    @pytest.mark.parametrize(("policy", "words"), [("Delete", "the data is deleted"), ("Retain", "the data stays")])
    async def test_of_a_claim_name_its_volume_and_who_mounts_it(self, tmp_path: Path, policy: str, words: str) -> None:
        claim = thing("v1", "PersistentVolumeClaim", "data", spec={"volumeName": "pv-1"})
        volume = {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"},
            "spec": {"persistentVolumeReclaimPolicy": policy, "capacity": {"storage": "200Gi"}},
        }  # fmt: skip
        user = pod("pg-0", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}])
        async with shop(tmp_path, claim, volume, user, pod("other")) as here:
            text = told(await here.propose("DELETE", f"{SHOP}/persistentvolumeclaims/data"))
            assert f"Volume pv-1 (200Gi) has reclaim policy {policy}: {words}." in text
            assert "Mounted by pg-0:" in text

    async def test_of_a_namespace_count_what_is_in_it(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running(), namespace("other")) as here:
            proposal = await here.propose("DELETE", "/api/v1/namespaces/shop")
            text = told(proposal)
            assert "2 pods" in text
            assert "1 services" in text
            assert "5 objects with it" in text
            empty = await here.propose("DELETE", "/api/v1/namespaces/other")
            assert "Nothing is in it." in told(empty)

    async def test_of_a_pod_do_not_ask_the_budget_that_they_break(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running(), budget(0)) as here:
            proposal = await here.propose("DELETE", f"{SHOP}/pods/web-1-a")
            assert "it is not asked, so it would be broken" in check(proposal, "budget").text
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-1-a"}}
            evicted = await here.propose("POST", f"{SHOP}/pods/web-1-a/eviction", body, JSON)
            assert not evicted.approvable
            assert "would violate the pod's disruption budget" in evicted.not_approvable
            assert check(evicted, "access").text.endswith("may create pods/eviction.")


class TestTheWayBack:
    async def test_is_refused_where_somebody_changed_the_same_field_since(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running()) as here:
            path = f"{APPS}/deployments/web"
            first = await here.propose("PATCH", path, {"spec": {"replicas": 5}})
            await here.control.decide(says(first))
            assert (await here.control.execute(first.id)).state is ProposalState.APPLIED
            assert first.undo.action is not None
            other = await here.propose("PATCH", path, {"spec": {"replicas": 7}})
            await here.control.decide(says(other))
            await here.control.execute(other.id)
            undo = await here.control.propose(first.undo.action, first.origin, "undo")
            assert not undo.approvable
            assert check(undo, "expected").text.startswith("/spec/replicas is 7 now and not 5")
            assert undo.approvable_if
            assert await not_decided(here.control, says(undo))

    async def test_goes_on_where_something_else_moved(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running()) as here:
            path = f"{APPS}/deployments/web"
            first = await here.propose("PATCH", path, {"spec": {"replicas": 5}})
            await here.control.decide(says(first))
            await here.control.execute(first.id)
            other = await here.propose("PATCH", path, {"metadata": {"labels": {"a": "b"}}})
            await here.control.decide(says(other))
            await here.control.execute(other.id)
            assert first.undo.action is not None
            undo = await here.control.propose(first.undo.action, first.origin, "undo")
            assert check(undo, "expected").result is PASS
            assert undo.title == "scale Deployment shop/web 5 → 2"
            await here.control.decide(says(undo))
            assert (await here.control.execute(undo.id)).state is ProposalState.APPLIED
            item = here.server.cluster.objects.get(("apps", "deployments"), "shop", "web")
            assert item is not None
            assert (item["spec"]["replicas"], item["metadata"]["labels"]) == (2, {"a": "b"})

    async def test_of_a_name_that_the_server_makes_is_none(self, tmp_path: Path) -> None:
        async with shop(tmp_path) as here:
            made = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"generateName": "report-"},
                "data": {"a": "b"},
            }
            proposal = await here.propose("POST", f"{SHOP}/configmaps", made, JSON)
            assert proposal.undo.action is None
            assert "the server makes the name" in proposal.undo.text
            assert proposal.title == "create ConfigMap shop/report-*"

    async def test_of_an_apply_that_creates_is_a_delete_and_needs_the_right_to_create(self, tmp_path: Path) -> None:
        async with shop(tmp_path) as here:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"a": "b"}}
            apply = "application/apply-patch+yaml"
            query = (("fieldManager", "kubectl"),)
            proposal = await here.propose("PATCH", f"{SHOP}/configmaps/new", body, apply, query)
            assert "may create configmaps" in check(proposal, "access").text
            assert proposal.undo.action is not None
            assert (proposal.undo.action.method, proposal.undo.action.path) == ("DELETE", f"{SHOP}/configmaps/new")
            assert check(proposal, "fresh").text == "There is no object yet."


class TestWhatCannotBeFoundOut:
    async def test_is_an_unknown_check_and_raises_the_risk(self, tmp_path: Path) -> None:
        rules = {"resourceRules": [{"verbs": ["get", "patch"], "apiGroups": ["apps"], "resources": ["deployments"]}]}
        async with shop(tmp_path, *running()) as here:
            sure = await here.propose("PATCH", f"{APPS}/deployments/web", {"metadata": {"labels": {"a": "b"}}})
            here.server.cluster.bundle.rights["shop"] = rules  # type: ignore[index]
            unsure = await here.propose("PATCH", f"{APPS}/deployments/web", {"metadata": {"labels": {"a": "b"}}})
            assert check(unsure, "webhooks").result is UNKNOWN
            assert check(unsure, "surroundings").result is UNKNOWN
            assert "Pod" in check(unsure, "surroundings").text
            assert unsure.risk.level is not sure.risk.level
            assert any("could not be checked" in reason for reason in unsure.risk.reasons)

    async def test_an_owner_that_may_not_be_read_is_said(self, tmp_path: Path) -> None:
        rules = [
            {"verbs": ["*"], "apiGroups": ["", "autoscaling", "policy"], "resources": ["*"]},
            {"verbs": ["*"], "apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"]},
        ]
        async with shop(tmp_path, *running()) as here:
            here.server.cluster.bundle.rights["shop"] = {"resourceRules": rules}  # type: ignore[index]
            proposal = await here.propose("PATCH", f"{SHOP}/pods/web-1-a", {"metadata": {"labels": {"a": "b"}}})
            assert "Could not read ReplicaSet:" in check(proposal, "surroundings").text
            assert "ReplicaSet web-1 controls it" in check(proposal, "owner").text

    async def test_more_than_is_read_is_said_with_its_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("assistant.gate.facts.MAX_PREVIEW_OBJECTS", 1)
        async with shop(tmp_path, *running()) as here:
            proposal = await here.propose("PATCH", f"{APPS}/deployments/web", IMAGE, STRATEGIC)
            assert "Only 1 of 2 Pod objects were looked at" in check(proposal, "surroundings").text


class TestReading:
    async def test_what_hangs_is_unread_and_holds_nothing_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with lab(tmp_path) as here:
            monkeypatch.setattr("assistant.gate.facts.PREVIEW_SECONDS", 0.5)
            here.server.hanging = frozenset({"/api/v1/namespaces/shop/pods"})
            proposal = await asyncio.wait_for(here.control.propose(SCALE, OURS, "k"), 20)
            assert check(proposal, "surroundings").result is UNKNOWN
            assert "Pod" in check(proposal, "surroundings").text
            assert proposal.approvable

    async def test_asks_a_few_things_at_a_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("assistant.gate.facts.MAX_PREVIEW_REQUESTS", 2)
        async with lab(tmp_path) as here:
            here.server.most_reading = 0
            await here.control.propose(SCALE, OURS, "k")
            assert here.server.most_reading <= 2
            targets = [(r.path, tuple(r.query.items())) for r in here.server.requests if r.method == "GET"]
            assert len(targets) == len(set(targets)), "something was asked for twice"


def _body_of(proposal: Any) -> Any:
    return json.loads(proposal.action.body)


async def test_a_patch_carries_the_preconditions_that_were_read(tmp_path: Path) -> None:
    async with shop(tmp_path, service()) as here:
        proposal = await here.propose("PATCH", f"{SHOP}/services/web", {"metadata": {"labels": {"a": "b"}}}, MERGE)
        assert _body_of(proposal)["metadata"]["resourceVersion"] == proposal.resource_version
        assert proposal.resource_version in check(proposal, "fresh").text
