"""The Inference Extension: pools, endpoint pickers, selectors, ports and objectives."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from assistant.domain.finding import Role, Verdict
from assistant.domain.view import ClusterView

from .cases import Table, check, check_first_fix, check_healthy, check_undecided, told
from .gateway_objects import (
    INFERENCE,
    TRIAL,
    cluster,
    condition,
    family,
    gateway,
    inference,
    made,
    no,
    picker,
    pool,
    route,
    server,
    web,
)
from .objects import NOW, Raw, container, crashed, deployment, node, pod, service, thing

case = Table()
BACK = {"group": INFERENCE, "kind": "InferencePool", "name": "llama"}
BAD_PICKER = [condition("Accepted"), no("ResolvedRefs", "InvalidExtensionRef", "endpoint picker Service not found")]


def served(*parts: Any, back: Raw | None = None, **known: Any) -> ClusterView:
    """A gateway with a route to a pool, without the pool and what belongs to it."""
    return cluster(family(), gateway(), route("llama-route", back or BACK), node(), *parts, **known)


@case("gateway-api", "InferencePool/llama", "endpointPickerRef.name", "requests to the llama model get a 500")
def picker_that_does_not_exist() -> ClusterView:
    return served(pool(told=BAD_PICKER), *server(), *picker("llama-v2"))


@case("gateway-api", "InferencePool/llama", "endpointPickerRef.port")
def picker_on_another_port() -> ClusterView:
    ref = {"name": "llama-epp", "port": {"number": 9003}}
    return served(pool(picker=ref), *server(), *picker())


@case("gateway-api", "InferencePool/llama", "endpointPickerRef.name")
def picker_that_is_a_name_outside() -> ClusterView:
    outside = thing("Service", "llama-epp", spec={"type": "ExternalName", "externalName": "epp.example.org"})
    return served(pool(told=BAD_PICKER), *server(), outside)


@case("gateway-api", "InferencePool/llama", "selector")
def pool_that_selects_nobody() -> ClusterView:
    return served(pool(selector={"app": "lama"}), *server(), *picker())


@case("gateway-api", "InferencePool/llama", "selector")
def pool_that_selects_one_label_too_many() -> ClusterView:
    return served(pool(selector={"app": "llama", "role": "decode"}), *server(), *picker())


@case("gateway-api", "InferencePool/llama", "selector")
def pool_that_selects_by_another_label() -> ClusterView:
    return served(pool(selector={"app.kubernetes.io/name": "llama"}), *server(), *picker())


@case("rollout", "Deployment/llama", "spec.replicas")
def pool_whose_servers_are_scaled_to_nothing() -> ClusterView:
    return served(pool(), *server(replicas=0), *picker())


@case("gateway-api", "InferencePool/llama", "targetPorts[0].number")
def pool_on_a_port_that_the_servers_do_not_have() -> ClusterView:
    return served(pool(port=8080), *server(port=8000), *picker())


@case("gateway-api", "InferencePool/llama", "targetPorts[0].number")
def pool_on_a_port_that_the_log_denies() -> ClusterView:
    box = container()
    heard = {("llama-1-1", "app"): "INFO Starting server on http://0.0.0.0:8200\nINFO Application startup complete\n"}
    run = [deployment("llama", box, ready=1), pod("llama", containers=[box], ready=True)]
    return served(pool(), run, *picker(), logs=heard)


def picking(*args: str) -> ClusterView:
    box = container(ports=[{"containerPort": 9002}], args=list(args))
    run = pod("llama-epp", containers=[box], ready=True)
    front = service("llama-epp", port=9002, target=9002)
    return served(pool(), *server(), deployment("llama-epp", box, ready=1), run, front)


@case("gateway-api", "Deployment/llama-epp", "args[1]")
def picker_of_a_pool_that_does_not_exist() -> ClusterView:
    return picking("--pool-name", "lama", "--v=4")


@case("gateway-api", "Deployment/llama-epp", "args[0]")
def older_picker_of_a_pool_that_does_not_exist() -> ClusterView:
    return picking("-poolName=lama")


@case("image", "Deployment/llama-epp", "image")
def picker_whose_image_does_not_exist() -> ClusterView:
    box = container(image="registry.test/epp:9")
    waits = {
        "name": "app",
        "ready": False,
        "restartCount": 0,
        "state": {
            "waiting": {
                "reason": "ImagePullBackOff",
                "message": 'Back-off pulling image "registry.test/epp:9": registry.test/epp:9: not found',
            }
        },
    }
    run = pod("llama-epp", containers=[box], statuses=[waits], phase="Pending")
    front = service("llama-epp", port=9002, target=9002)
    return served(pool(), *server(), deployment("llama-epp", box), run, front)


@case("rbac", "RoleBinding/epp", "subjects")
def picker_that_may_not_list_pools() -> ClusterView:
    line = (
        "E0101 reflector] failed to list *v1.InferencePool: inferencepools.inference.networking.k8s.io is forbidden: "
        'User "system:serviceaccount:shop:epp" cannot list resource "inferencepools" in API group '
        '"inference.networking.k8s.io" in the namespace "shop"\n'
    )
    rule = {"apiGroups": [INFERENCE], "resources": ["inferencepools"], "verbs": ["get", "list", "watch"]}
    bind = thing(
        "RoleBinding",
        "epp",
        roleRef={"kind": "Role", "name": "epp"},
        subjects=[{"kind": "ServiceAccount", "name": "eep", "namespace": "shop"}],
    )
    return served(
        pool(),
        *server(),
        deployment("llama-epp", serviceAccountName="epp"),
        pod("llama-epp", statuses=[crashed()], serviceAccountName="epp"),
        service("llama-epp", port=9002, target=9002),
        thing("ServiceAccount", "epp"),
        thing("Role", "epp", rules=[rule]),
        bind,
        logs={("llama-epp-1-1", "app"): line * 5},
    )


@case("gateway-api", "InferencePool/llama", "status.parents")
def pool_that_its_gateway_does_not_take() -> ClusterView:
    return served(pool(silent=True), *server(), *picker())


@case("gateway-api", "InferencePool/spare", "status.parents", "the spare model cannot be reached")
def pool_without_a_route() -> ClusterView:
    return cluster(*inference(), pool("spare", silent=True), *server("spare"), *picker("spare"))


@case("gateway-api", "InferencePool/llama", "conditions")
def pool_that_the_gateway_does_not_support() -> ClusterView:
    return served(pool(told=[no("Accepted", "NotSupportedByParent", "no support")]), *server(), *picker())


@case("gateway-api", "HTTPRoute/llama-route", "backendRefs[0].kind")
def route_whose_gateway_does_not_take_pools() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "InvalidKind", "only Service is supported")]
    return cluster(
        family(), gateway(), route("llama-route", BACK, told=bad), pool(silent=True), *server(), *picker(), node()
    )


@case("gateway-api", "InferencePool/llama", "conditions")
def pool_without_a_picker_that_the_gateway_needs() -> ClusterView:
    bad = [no("Accepted", "EndpointPickerRefMissing", "endpointPickerRef is required")]
    return served(pool(picker={}, told=bad), *server())


@case("gateway-api", "InferencePool/llama", "endpointPickerRef")
def pool_whose_picker_is_refused_without_a_cause() -> ClusterView:
    return served(pool(told=BAD_PICKER), *server(), *picker())


@case("gateway-api", "InferenceObjective/interactive", "poolRef.name")
def objective_of_a_pool_that_does_not_exist() -> ClusterView:
    ref = {"group": INFERENCE, "kind": "InferencePool", "name": "lama"}
    return cluster(*inference(), made("llm-d.ai", "InferenceObjective", "interactive", spec={"poolRef": ref}))


@case("gateway-api", "InferenceModelRewrite/names", "poolRef.name")
def rewrite_of_a_pool_that_does_not_exist() -> ClusterView:
    return cluster(
        *inference(), made("llm-d.ai", "InferenceModelRewrite", "names", spec={"poolRef": {"name": "llama-2"}})
    )


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (picker_that_does_not_exist, '"value": "llama-v2-epp"'),
        (picker_on_another_port, '"value": 9002'),
        (picker_of_a_pool_that_does_not_exist, '"value": "llama"'),
        (older_picker_of_a_pool_that_does_not_exist, '"value": "-poolName=llama"'),
        (pool_that_selects_nobody, '"value": {"app": "llama"}'),
        (pool_that_selects_one_label_too_many, '"value": {"app": "llama"}'),
        (pool_that_selects_by_another_label, '"value": {"app": "llama"}'),
        (pool_whose_servers_are_scaled_to_nothing, '"value": 1'),
        (pool_on_a_port_that_the_servers_do_not_have, '"value": 8000'),
        (pool_on_a_port_that_the_log_denies, '"value": 8200'),
        (objective_of_a_pool_that_does_not_exist, '"value": "llama"'),
    ],
)
def test_the_first_fix_holds_the_computed_value(build: Any, value: str) -> None:
    check_first_fix(build, value)


def test_the_failure_mode_tells_what_clients_see() -> None:
    assert "every request to the pool gets a 5xx" in scan(picker_that_does_not_exist()).roots[0].draft.summary
    ref = {"name": "gone", "port": {"number": 9002}, "failureMode": "FailOpen"}
    said = scan(served(pool(picker=ref, told=BAD_PICKER), *server())).roots[0].draft
    assert "cache affinity is lost" in said.summary


def test_a_pool_whose_conditions_are_all_true_and_whose_selector_is_empty_handed_is_found() -> None:
    said = scan(pool_that_selects_nobody()).roots[0].draft
    assert "503" in said.summary
    assert "app=lama" in said.summary


def test_a_selector_is_not_widened_to_the_pods_of_another_server() -> None:
    prefill, decode = server("prefill"), server("decode")
    for raw in [x for part in (prefill, decode) for x in (part[0][0], part[0][1], part[1])]:
        raw["metadata"].setdefault("labels", {})["model"] = "llama"
        if raw["kind"] != "Pod":
            raw["spec"]["template"]["metadata"]["labels"] = {"model": "llama", "app": raw["metadata"]["name"][:7]}
    wide = pool("decode", {"model": "llama", "role": "worker"})
    said = scan(served(wide, *prefill, *decode, *picker("decode"), back=BACK | {"name": "decode"})).roots[0].draft
    assert (said.target.kind, said.field) == ("InferencePool", "spec.selector.matchLabels[role]")
    assert all(fix.action is None for fix in said.fixes)
    assert not said.fixes[0].title.startswith("Or ")


def test_a_picker_that_is_down_follows_from_what_breaks_its_pods() -> None:
    result = scan(picker_whose_image_does_not_exist(), "llama-route answers 500")
    follows = {c.draft.target.kind for c in result.claims if c.role is Role.CONSEQUENCE}
    assert "InferencePool" in follows, told(result)


def test_servers_that_are_not_ready_explain_the_pool() -> None:
    bad = crashed(137, "OOMKilled")
    limited = container(resources={"limits": {"memory": "1Gi"}}, ports=[{"containerPort": 8000}])
    run = [deployment("llama", limited), pod("llama", containers=[limited], statuses=[bad])]
    result = scan(served(pool(), run, *picker()), "the llama model answers 503")
    assert [(c.draft.category, c.draft.target.kind) for c in result.roots] == [("oom", "Deployment")], told(result)
    assert any(c.draft.target.kind == "InferencePool" for c in result.claims if c.role is Role.CONSEQUENCE)


def old_pool(**spec: Any) -> Raw:
    default = {
        "parentRef": {"kind": "Status", "name": "default"},
        "conditions": [condition("Accepted", "Unknown", "Pending")],
    }
    mine = {
        "parentRef": {"kind": "Gateway", "name": "front"},
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    }
    return made(
        TRIAL,
        "InferencePool",
        "llama",
        spec={"selector": {"app": "llama"}, "targetPortNumber": 8000, "extensionRef": {"name": "llama-epp"}, **spec},
        status={"parent": [default, mine]},
    )


def test_a_pool_of_the_old_group_is_judged_by_the_same_rules() -> None:
    back = {"group": TRIAL, "kind": "InferencePool", "name": "llama"}
    check_healthy(lambda: served(old_pool(), *server(), *picker(), back=back))
    wrong = scan(served(old_pool(selector={"app": "lama"}), *server(), *picker(), back=back))
    assert wrong.roots[0].draft.field == "spec.selector[app]", told(wrong)
    lost = scan(served(old_pool(extensionRef={"name": "llama-ep"}), *server(), *picker(), back=back))
    assert lost.roots[0].draft.field == "spec.extensionRef.name", told(lost)
    port = scan(served(old_pool(targetPortNumber=8080), *server(), *picker(), back=back))
    assert port.roots[0].draft.field == "spec.targetPortNumber", told(port)


def test_a_refusal_of_an_older_generation_decides_nothing() -> None:
    old = pool(told=[no("Accepted", "NotSupportedByParent", observedGeneration=1)])
    old["metadata"]["generation"] = 2
    check_undecided(lambda: served(old, *server(), *picker()))


HEALTHY: dict[str, Any] = {
    "all of it": lambda: cluster(*inference()),
    "with an objective": lambda: cluster(
        *inference(),
        made("llm-d.ai", "InferenceObjective", "interactive", spec={"priority": 100, "poolRef": {"name": "llama"}}),
    ),
    "an objective of the old group": lambda: cluster(
        *inference(), made(TRIAL, "InferenceObjective", "interactive", spec={"poolRef": {"name": "llama"}})
    ),
    "a pool without a picker where that is allowed": lambda: served(pool(picker={}), *server()),
    "a picker of this pool": lambda: picking("--pool-name", "llama", "--grpc-port=9002"),
    "export was not asked for": lambda: served(
        pool(told=[condition("Accepted"), condition("ResolvedRefs"), no("Exported", "NotRequested")]),
        *server(),
        *picker(),
    ),
    "a pool that was just made": lambda: cluster(
        *inference(), _new(pool("young", silent=True)), *server("young"), *picker("young")
    ),
    "a pool that nobody uses, and nobody asks for": lambda: cluster(
        *inference(), pool("spare", silent=True), *server("spare"), *picker("spare")
    ),
    "several ports, one a server": lambda: served(
        pool(targetPorts=[{"number": 8000}, {"number": 8001}]), *_ranks(), *picker()
    ),
    "a log that only tells of the port for metrics": lambda: served(
        pool(),
        *_measured(),
        *picker(),
        logs={("llama-1-1", "app"): "metrics listening on :9090\n"},
    ),
    "servers that only declare a port for metrics": lambda: served(
        pool(), *_declaring({"name": "metrics", "containerPort": 9090}), *picker()
    ),
    "servers that name the port in an argument": lambda: served(
        pool(), *_declaring({"containerPort": 9400}, args=["--port", "8000"]), *picker()
    ),
    "servers that do not declare a port": lambda: served(
        pool(), deployment("llama", ready=1), pod("llama", ready=True), *picker()
    ),
    "nothing of it is installed": lambda: cluster(
        family(), gateway(), web(), route(), without=(INFERENCE, TRIAL, "llm-d.ai")
    ),
}


def _ranks() -> list[Any]:
    box = container(ports=[{"containerPort": 8000}, {"containerPort": 8001}])
    return [deployment("llama", box, ready=1), pod("llama", containers=[box], ready=True)]


def _measured() -> list[Any]:
    box = container(ports=[{"containerPort": 8000}, {"containerPort": 9090}])
    return [deployment("llama", box, ready=1), pod("llama", containers=[box], ready=True)]


def _declaring(port: Raw, **fields: Any) -> list[Any]:
    box = container(ports=[port], **fields)
    return [deployment("llama", box, ready=1), pod("llama", containers=[box], ready=True)]


def _new(raw: Raw) -> Raw:
    raw["metadata"]["creationTimestamp"] = NOW
    return raw


@pytest.mark.parametrize("name", sorted(HEALTHY))
def test_what_is_well_is_called_well(name: str) -> None:
    check_healthy(HEALTHY[name])


def test_pods_that_were_not_read_say_nothing_of_a_pool() -> None:
    built = served(pool(), *picker())
    from assistant.domain.view import Knowledge

    built.know("pods", "", Knowledge.FORBIDDEN, "no")
    built.know("pods", "shop", Knowledge.FORBIDDEN, "no")
    result = scan(built)
    assert result.verdict is Verdict.UNDETERMINED
    assert not [c for c in result.claims if c.draft.target.kind == "InferencePool"], told(result)


def test_objects_without_any_field_break_nothing() -> None:
    bare = [made(INFERENCE, "InferencePool", "bare"), made("llm-d.ai", "InferenceObjective", "bare")]
    for raw in bare:
        raw["spec"] = raw["status"] = None
    assert not scan(cluster(*bare, web())).gaps


def test_several_faults_of_one_namespace_are_told_apart_and_the_healthy_pool_is_not_named() -> None:
    def to(name: str) -> Raw:
        return {"group": INFERENCE, "kind": "InferencePool", "name": name}

    canary = pool("canary", told=BAD_PICKER)
    empty = pool("empty", selector={"app": "empti"})
    orphan = pool("orphan", {"app": "vllm-mistral"}, silent=True)
    lost = [condition("Accepted"), no("ResolvedRefs", "BackendNotFound", "InferencePool shop/mistral not found")]
    stray = route("stray", parents=[{"name": "front", "namespace": "shop"}], namespace="team")
    stray["spec"]["rules"] = []
    old = no("Accepted", "NotAllowedByListeners", "no listener allows this namespace", observedGeneration=3)
    stray["metadata"]["generation"], stray["status"]["parents"][0]["conditions"] = 4, [old]
    built = cluster(
        *inference(),
        canary,
        *server("canary"),
        route("canary", to("canary")),
        empty,
        *server("empty"),
        *picker("empty"),
        route("empty", to("empty")),
        orphan,
        *server("vllm-mistral"),
        *picker("orphan"),
        route("mistral", to("mistral"), told=lost),
        stray,
        namespace="",
    )
    result = scan(built, "the models do not answer")
    found = {(f"{c.draft.target.kind}/{c.draft.target.name}", c.draft.field) for c in result.roots}
    wanted = {
        ("InferencePool/canary", "spec.endpointPickerRef.name"),
        ("InferencePool/empty", "spec.selector.matchLabels[app]"),
        ("HTTPRoute/mistral", "spec.rules[0].backendRefs[0].name"),
        ("Gateway/front", "spec.listeners[0].allowedRoutes.namespaces"),
    }
    assert found == wanted, told(result)
    follows = {f"{c.draft.target.kind}/{c.draft.target.name}" for c in result.claims if c.role is Role.CONSEQUENCE}
    assert "InferencePool/orphan" in follows, told(result)


def test_a_healthy_answer_says_what_was_seen_of_gateways_and_pools() -> None:
    result = scan(cluster(*inference()), "is everything in order?")
    assert result.verdict is Verdict.HEALTHY, told(result)
    wanted = {
        "1 of 1 Gateways are programmed",
        "1 of 1 routes are accepted",
        "1 of 1 InferencePools have a ready endpoint",
    }
    assert wanted <= set(result.checked)
