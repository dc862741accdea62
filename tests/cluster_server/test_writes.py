"""Writes over HTTP: what is kept, what is refused, and that a dry run keeps nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistant.cluster.server.routes import parts_of
from assistant.cluster.server.status import ApiError
from tests.cluster_server.conftest import Answer, Client, HandClock

APPS = "/apis/apps/v1/namespaces/shop-checkout/deployments"
CONFIG = "/api/v1/namespaces/shop-checkout/configmaps"
PODS = "/api/v1/namespaces/shop-checkout/pods"
MERGE = "application/merge-patch+json"


def deployment(name: str = "new", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    whole = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": whole}


async def versions(api: Client) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for path in ("/api/v1/configmaps", "/api/v1/pods", "/apis/apps/v1/deployments", "/api/v1/services"):
        items = (await api("GET", path)).json["items"]
        found += [(item["metadata"]["uid"], item["metadata"]["resourceVersion"]) for item in items]
    return found


async def test_created_object_is_complete_and_found_again(api: Client) -> None:
    made = await api("POST", APPS, deployment())
    assert made.status == 201
    meta, spec = made.json["metadata"], made.json["spec"]
    assert meta["uid"] and meta["generation"] == 1 and meta["namespace"] == "shop-checkout"
    assert spec["replicas"] == 1 and spec["strategy"]["rollingUpdate"]["maxSurge"] == "25%"
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert (await api("GET", f"{APPS}/new")).json == made.json


async def test_generate_name_makes_different_names(api: Client) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}
    names = {(await api("POST", CONFIG, body)).json["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5 and all(name.startswith("x-") and len(name) == 7 for name in names)


async def test_generation_counts_the_spec_only(api: Client) -> None:
    async def patch(body: Any) -> Any:
        return (await api("PATCH", f"{APPS}/checkout-api", body, media=MERGE)).json["metadata"]

    start = (await api("GET", f"{APPS}/checkout-api")).json["metadata"]
    labelled = await patch({"metadata": {"labels": {"x": "y"}}})
    assert labelled["generation"] == start["generation"]
    assert int(labelled["resourceVersion"]) > int(start["resourceVersion"])
    assert (await patch({"status": {"replicas": 77}}))["resourceVersion"] == labelled["resourceVersion"]
    scaled = await patch({"spec": {"replicas": 4}})
    assert scaled["generation"] == start["generation"] + 1
    assert (await patch({"spec": {"replicas": 4}}))["resourceVersion"] == scaled["resourceVersion"]


async def test_status_subresource_changes_the_status_only(api: Client) -> None:
    body = {"spec": {"replicas": 9}, "status": {"readyReplicas": 1}}
    made = (await api("PATCH", f"{APPS}/checkout-api/status", body, media=MERGE)).json
    assert made["status"]["readyReplicas"] == 1 and made["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "media"),
    [
        ("POST", f"{APPS}?dryRun=All", deployment(), "application/json"),
        ("PATCH", f"{APPS}/checkout-api?dryRun=All", {"spec": {"replicas": 7}}, MERGE),
        ("PUT", f"{APPS}/checkout-api/scale?dryRun=All", {"spec": {"replicas": 7}}, "application/json"),
        ("DELETE", f"{CONFIG}/checkout-settings?dryRun=All", None, "application/json"),
        (
            "DELETE",
            f"{CONFIG}/checkout-settings",
            {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]},
            "application/json",
        ),
        ("DELETE", f"{PODS}?dryRun=All", None, "application/json"),
        ("DELETE", "/api/v1/namespaces/shop-checkout?dryRun=All", None, "application/json"),
    ],
)
async def test_dry_run_answers_and_keeps_nothing(api: Client, method: str, path: str, body: Any, media: str) -> None:
    before, version = await versions(api), api.server.cluster.objects.version
    answer = await api(method, path, body, media=media)
    assert answer.status in (200, 201), answer.text
    assert await versions(api) == before and api.server.cluster.objects.version == version


async def test_dry_run_of_an_eviction_keeps_the_pod(api: Client) -> None:
    pod = (await api("GET", PODS)).json["items"][0]["metadata"]["name"]
    before = await versions(api)
    answer = await api("POST", f"{PODS}/{pod}/eviction?dryRun=All", {"apiVersion": "policy/v1", "kind": "Eviction"})
    assert answer.status == 201 and await versions(api) == before


async def test_dry_run_that_is_not_all_is_refused_and_not_taken_for_a_write(api: Client) -> None:
    before = await versions(api)
    answer = await api("DELETE", f"{CONFIG}/checkout-settings?dryRun=true")
    assert answer.status == 422 and await versions(api) == before


async def test_preconditions_hold_or_nothing_happens(api: Client) -> None:
    live = (await api("GET", f"{CONFIG}/checkout-settings")).json["metadata"]
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}, {"uid": live["uid"], "resourceVersion": "1"}):
        answer = await api(
            "DELETE",
            f"{CONFIG}/checkout-settings",
            {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": wrong},
        )
        assert answer.status == 409, answer.text
    stale = {"metadata": {"resourceVersion": "1"}, "data": {"a": "b"}}
    assert (await api("PATCH", f"{CONFIG}/checkout-settings", stale, media=MERGE)).status == 409
    other = {"metadata": {"uid": "other"}, "data": {"a": "b"}}
    assert (await api("PATCH", f"{CONFIG}/checkout-settings", other, media=MERGE)).status == 409
    right = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": live["uid"], "resourceVersion": live["resourceVersion"]},
    }
    assert (await api("DELETE", f"{CONFIG}/checkout-settings", right)).status == 200


async def kinds_left(api: Client) -> tuple[bool, bool, bool]:
    paths = (f"{APPS}/checkout-api", "/apis/apps/v1/namespaces/shop-checkout/replicasets", PODS)
    answers = [await api("GET", path) for path in paths]
    return answers[0].status == 200, bool(answers[1].json["items"]), bool(answers[2].json["items"])


@pytest.mark.parametrize(
    ("policy", "left"),
    [("Background", (False, False, False)), ("Foreground", (False, False, False)), ("Orphan", (False, True, True))],
)
async def test_propagation_policy_decides_about_dependents(
    api: Client, policy: str, left: tuple[bool, bool, bool]
) -> None:
    assert await kinds_left(api) == (True, True, True)
    await api("DELETE", f"{APPS}/checkout-api?propagationPolicy={policy}")
    assert await kinds_left(api) == left


async def test_deleted_pod_is_terminating_and_then_gone_and_nothing_takes_its_place(
    api: Client, clock: HandClock
) -> None:
    pods = [pod["metadata"]["name"] for pod in (await api("GET", PODS)).json["items"]]
    answer = await api("DELETE", f"{PODS}/{pods[0]}")
    assert answer.json["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api("GET", f"{PODS}/{pods[0]}")).json["metadata"]["deletionTimestamp"]
    clock.pass_seconds(2)
    assert [pod["metadata"]["name"] for pod in (await api("GET", PODS)).json["items"]] == pods[1:]


async def test_finalizer_holds_an_object_until_it_is_taken_off(api: Client) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/x"]}}
    await api("POST", CONFIG, body)
    assert (await api("DELETE", f"{CONFIG}/held")).json["metadata"]["deletionTimestamp"]
    assert (await api("GET", f"{CONFIG}/held")).status == 200
    await api("PATCH", f"{CONFIG}/held", {"metadata": {"finalizers": None}}, media=MERGE)
    assert (await api("GET", f"{CONFIG}/held")).status == 404


def causes(answer: Answer) -> set[str]:
    assert answer.status == 422, answer.text
    return {cause["field"] for cause in answer.json["details"]["causes"]}


async def test_fields_that_cannot_change_are_named(api: Client) -> None:
    pod = (await api("GET", PODS)).json["items"][0]["metadata"]["name"]
    assert causes(await api("PATCH", f"{PODS}/{pod}", {"spec": {"nodeName": "other"}}, media=MERGE)) == {"spec"}
    assert (await api("PATCH", f"{PODS}/{pod}", {"metadata": {"labels": {"a": "b"}}}, media=MERGE)).status == 200
    service = "/api/v1/namespaces/shop-checkout/services/checkout-api"
    assert causes(await api("PATCH", service, {"spec": {"clusterIP": "10.0.0.9"}}, media=MERGE)) == {
        "spec.clusterIPs[0]"
    }
    assert causes(await api("POST", APPS, deployment(replicas=-1))) == {"spec.replicas"}
    assert causes(await api("POST", CONFIG, {"apiVersion": "v1", "kind": "ConfigMap"})) == {"metadata.name"}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({**deployment(), "kind": "StatefulSet"}, "cannot be handled as a Deployment"),
        ({**deployment(), "apiVersion": "v1"}, "does not match the expected API version"),
        (
            {**deployment(), "metadata": {"name": "x", "namespace": "other"}},
            "does not match the namespace sent on the request",
        ),
        (deployment(replicas="three"), "cannot unmarshal string"),
        ({**deployment(), "metadata": {"name": "x", "resourceVersion": "5"}}, "resourceVersion should not be set"),
    ],
)
async def test_body_of_another_kind_or_shape_is_refused(api: Client, body: Any, text: str) -> None:
    answer = await api("POST", APPS, body)
    assert answer.status == 400 and text in answer.json["message"]


async def test_scale_is_a_view_of_the_replica_count(api: Client) -> None:
    scale = (await api("GET", f"{APPS}/checkout-api/scale")).json
    scale["spec"]["replicas"] = 6
    assert (await api("PUT", f"{APPS}/checkout-api/scale", scale)).json["spec"]["replicas"] == 6
    assert (await api("GET", f"{APPS}/checkout-api")).json["spec"]["replicas"] == 6
    assert (await api("PUT", f"{APPS}/checkout-api/scale", scale)).status == 409


async def test_only_the_request_that_comes_with_the_token_is_answered(api: Client) -> None:
    assert (await api("GET", PODS, token=api.server.token + "x")).status == 401
    assert (await api("DELETE", f"{CONFIG}/checkout-settings", token=None)).status == 403
    assert (await api("GET", "/apis", token=None)).status == 403
    assert (await api("GET", "/version", token=None)).status == 200


@pytest.mark.parametrize(
    "path", ["/api/v1/namespaces/a%2Fb/pods", "/api/v2/pods", "/apis/apps/v1/nonsense", "/nonsense", "/api/v1/pods/x"]
)
async def test_path_that_names_nothing_is_not_found(api: Client, path: str) -> None:
    assert (await api("GET", path)).status == 404


@pytest.mark.parametrize(
    "path", ["/api/v1/namespaces/../pods", "/api/v1/%2e%2e/pods", "/api/v1/a%2fb", "/api/v1/a%00b"]
)
def test_raw_path_with_dots_or_an_encoded_slash_names_nothing(path: str) -> None:
    with pytest.raises(ApiError) as caught:
        parts_of(path)
    assert caught.value.code == 404


async def test_service_account_has_the_rights_of_its_bindings(api: Client) -> None:
    spec = {"user": "system:serviceaccount:platform-sync:label-sync",
            "resourceAttributes": {"namespace": "platform-sync", "verb": "list", "resource": "configmaps"}}  # fmt: skip
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert (await api("POST", path, body)).json["status"]["allowed"] is True
    spec["resourceAttributes"] = {"namespace": "platform-sync", "verb": "list", "resource": "pods"}
    assert (await api("POST", path, body)).json["status"]["allowed"] is False
    role = "/apis/rbac.authorization.k8s.io/v1/namespaces/platform-sync/roles/label-sync"
    patch = [{"op": "add", "path": "/rules/0/resources/-", "value": "pods"}]
    assert (await api("PATCH", role, patch, media="application/json-patch+json")).status == 200
    assert (await api("POST", path, body)).json["status"]["allowed"] is True


X = {"name": "x"}
ODD: list[Any] = [
    None, 3, "x", [], {}, [None], {"name": 3}, {"metadata": 3}, {"metadata": {"name": ["x"]}}, {"preconditions": 3},
    {"metadata": {"name": "x", "labels": [1]}}, {"metadata": {"name": "x", "labels": {"a": 3}}}, {"dryRun": "All"},
    {"metadata": {"name": "x", "finalizers": "a"}}, {"metadata": {"name": "x", "ownerReferences": [3]}},
    {"metadata": X, "spec": 3}, {"metadata": X, "spec": []}, {"metadata": X, "spec": None}, {"spec": {"replicas": 1.5}},
    {"metadata": X, "spec": {"template": {"spec": {"containers": [None]}}}}, {"gracePeriodSeconds": "x"},
    {"metadata": X, "spec": {"containers": [{"name": "a", "image": "b", "ports": [None], "env": [3]}]}},
    {"metadata": X, "spec": {"ports": [None]}}, {"metadata": X, "data": {"a": None}}, {"metadata": X, "rules": [None]},
    {"metadata": X, "spec": {"group": "g", "names": {}, "versions": [{}]}}, {"propagationPolicy": {}},
]  # fmt: skip
COLLECTIONS = [
    CONFIG, PODS, APPS, "/api/v1/namespaces", "/api/v1/namespaces/shop-checkout/services",
    "/apis/apps/v1/namespaces/shop-checkout/statefulsets", "/apis/batch/v1/namespaces/shop-checkout/jobs",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/shop-checkout/roles",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/apis/kueue.x-k8s.io/v1beta2/clusterqueues",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
]  # fmt: skip
PATCHES = ["merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml"]


@pytest.mark.parametrize("body", ODD, ids=repr)
async def test_odd_body_is_answered_and_never_a_fault_of_the_server(api: Client, body: Any) -> None:
    text = json.dumps(body)
    for path in COLLECTIONS:
        answer = await api("POST", f"{path}?dryRun=All", text)
        assert answer.status < 500, f"POST {path}: {answer.text}"
    for path in (f"{CONFIG}/checkout-settings", f"{APPS}/checkout-api", f"{APPS}/checkout-api/scale"):
        for method, media in (("PUT", "json"), ("DELETE", "json"), *(("PATCH", media) for media in PATCHES)):
            target = f"{path}?dryRun=All&fieldManager=x"
            answer = await api(method, target, text, media=f"application/{media}")
            assert answer.status < 500, f"{method} {path} {media}: {answer.text}"
