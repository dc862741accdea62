"""Routes of the Gateway API: parents, back ends, ports, grants, and a status that is stale, silent or strange."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from agents.expert.reading import abroad_of
from assistant.domain.finding import Verdict
from assistant.domain.view import ClusterView

from .cases import Table, check, check_healthy, check_undecided, told
from .gateway_objects import (
    AI,
    CONTROLLER,
    ENVOY,
    GATEWAY,
    INFERENCE,
    TRIAL,
    cluster,
    condition,
    family,
    gateway,
    inference,
    listener,
    made,
    no,
    picker,
    pool,
    route,
    server,
    web,
)
from .objects import NOW, Raw, deployment, node, pod, service, thing

case = Table()
LOST = [condition("Accepted"), no("ResolvedRefs", "BackendNotFound", "Service shop/webb not found")]


def gated(*items: Any, **known: Any) -> ClusterView:
    return cluster(family(), gateway(), web(), *items, **known)


@case("gateway-api", "HTTPRoute/web", "backendRefs[0].name", "the shop answers 500")
def route_to_a_misspelt_service() -> ClusterView:
    return gated(route("web", {"name": "webb", "port": 80}, told=LOST))


@case("gateway-api", "GRPCRoute/web", "backendRefs[0].name")
def grpc_route_to_a_misspelt_service() -> ClusterView:
    return gated(route("web", {"name": "wbe", "port": 80}, kind="GRPCRoute", told=LOST))


@case("gateway-api", "HTTPRoute/web", "backendRefs[0].port")
def route_to_the_port_of_the_container() -> ClusterView:
    return gated(route("web", {"name": "web", "port": 8080}))


@case("gateway-api", "HTTPRoute/web", "backendRefs[0].kind")
def route_that_takes_a_pool_for_a_service() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "BackendNotFound", "Service shop/llama not found")]
    whole = [x for x in inference() if not (isinstance(x, dict) and x["kind"] == "HTTPRoute")]
    return cluster(*whole, route("web", {"name": "llama"}, told=bad))


@case("gateway-api", "HTTPRoute/web", "backendRefs[0].group")
def route_to_a_pool_of_the_old_group() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "InvalidKind", "unsupported back end")]
    back = {"group": TRIAL, "kind": "InferencePool", "name": "llama"}
    whole = [x for x in inference() if not (isinstance(x, dict) and x["kind"] == "HTTPRoute")]
    return cluster(*whole, route("web", back, told=bad), without=(TRIAL,))


@case("gateway-api", "HTTPRoute/mistral", "backendRefs[0].name")
def route_to_a_pool_that_does_not_exist() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "BackendNotFound", "InferencePool shop/mistral not found")]
    back = {"group": INFERENCE, "kind": "InferencePool", "name": "mistral"}
    other = pool("spare", {"app": "vllm-mistral"}, silent=True)
    return cluster(*inference(), route("mistral", back, told=bad), other, *server("vllm-mistral"), *picker("spare"))


@case("gateway-api", "HTTPRoute/web", "backendRefs[0]")
def route_to_a_kind_that_the_cluster_does_not_have() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "InvalidKind", "unsupported back end")]
    back = {"group": INFERENCE, "kind": "InferencePool", "name": "llama"}
    return gated(route("web", back, told=bad), without=(INFERENCE, TRIAL))


@case("gateway-api", "HTTPRoute/web", "requestMirror.backendRef.name")
def route_that_mirrors_to_nobody() -> ClusterView:
    found = route("web")
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}}
    found["spec"]["rules"][0]["filters"] = [mirror]
    return gated(found)


@case("gateway-api", "HTTPRoute/web", "extensionRef.name")
def route_whose_filter_does_not_exist() -> ClusterView:
    found = route("web", told=[condition("Accepted"), no("ResolvedRefs", "BackendNotFound")])
    reference = {"group": ENVOY, "kind": "HTTPRouteFilter", "name": "rewrite"}
    found["spec"]["rules"][0]["filters"] = [{"type": "ExtensionRef", "extensionRef": reference}]
    return gated(found, made(ENVOY, "HTTPRouteFilter", "rewrites"))


@case("gateway-api", "Service/web", "appProtocol")
def grpc_route_to_a_port_that_speaks_http_1() -> ClusterView:
    front = service("web")
    front["spec"]["ports"][0]["appProtocol"] = "http"
    back = [deployment("web", ready=1), pod("web", ready=True), front, node()]
    return cluster(family(), gateway(), back, route(kind="GRPCRoute"))


@case("gateway-api", "Service/web", "appProtocol", "gRPC calls fail with 502")
def http_route_to_a_grpc_port_without_a_protocol() -> ClusterView:
    front = service("web")
    front["spec"]["ports"][0]["name"] = "grpc"
    back = [deployment("web", ready=1), pod("web", ready=True), front, node()]
    return cluster(family(), gateway(), back, route())


@case("gateway-api", "Service/web", "appProtocol")
def route_to_a_protocol_that_the_gateway_does_not_speak() -> ClusterView:
    front = service("web")
    front["spec"]["ports"][0]["appProtocol"] = "example.org/odd"
    back = [deployment("web", ready=1), pod("web", ready=True), front, node()]
    bad = [condition("Accepted"), no("ResolvedRefs", "UnsupportedProtocol", "appProtocol is not supported")]
    return cluster(family(), gateway(), back, route(told=bad))


@case("gateway-api", "HTTPRoute/web", "weight")
def route_that_weighs_nothing() -> ClusterView:
    return gated(route("web", {"name": "web", "port": 80, "weight": 0}))


def abroad(**known: Any) -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "RefNotPermitted", "not allowed by any ReferenceGrant")]
    other, run = service("api"), pod("api", ready=True)
    other["metadata"]["namespace"] = run["metadata"]["namespace"] = "core"
    return gated(route("web", {"name": "api", "namespace": "core", "port": 80}, told=bad), other, run, **known)


@case("gateway-api", "HTTPRoute/web", "backendRefs[0].namespace")
def route_into_another_namespace_without_a_grant() -> ClusterView:
    return abroad()


@case("gateway-api", "HTTPRoute/web", "backendRefs[0].namespace")
def route_into_a_namespace_whose_grants_cannot_be_seen() -> ClusterView:
    return abroad(unread=(f"referencegrants.{GATEWAY}",))


@case("gateway-api", "HTTPRoute/web", "parentRefs[0].name")
def route_on_a_misspelt_gateway() -> ClusterView:
    return gated(route("web", parents=[{"name": "frnt"}], silent=True))


@case("gateway-api", "HTTPRoute/web", "parentRefs[0].namespace")
def route_that_forgets_the_namespace_of_its_gateway() -> ClusterView:
    far = gateway("edge", listener(allowedRoutes={"namespaces": {"from": "All"}}), namespace="infra")
    return cluster(family(), far, web(), route("web", parents=[{"name": "edge"}], silent=True), namespace="")


@case("gateway-api", "HTTPRoute/web", "sectionName")
def route_on_a_listener_that_does_not_exist() -> ClusterView:
    refs = [{"name": "front", "sectionName": "htps"}]
    doors = gateway(
        "front", listener(), listener("https", 443, "HTTPS", tls={"mode": "Terminate", "options": {"a": "b"}})
    )
    return cluster(family(), doors, web(), route(parents=refs, told=[no("Accepted", "NoMatchingParent")]))


@case("gateway-api", "HTTPRoute/web", "parentRefs[0].port")
def route_on_a_port_that_no_listener_has() -> ClusterView:
    return gated(route(parents=[{"name": "front", "port": 8080}], told=[no("Accepted", "NoMatchingParent")]))


@case("gateway-api", "Gateway/front", "allowedRoutes.namespaces")
def route_of_another_namespace() -> ClusterView:
    # The status is of an older generation, so that the objects alone decide.
    bad = [no("Accepted", "NotAllowedByListeners", "no listener allows this namespace", observedGeneration=3)]
    stray = route("stray", parents=[{"name": "front", "namespace": "shop"}], told=bad, namespace="team")
    stray["metadata"]["generation"] = 4
    stray["spec"]["rules"] = []
    return gated(stray, namespace="")


@case("gateway-api", "Namespace/team", "labels")
def route_of_a_namespace_without_the_label() -> ClusterView:
    chosen = {"from": "Selector", "selector": {"matchLabels": {"routes": "public"}}}
    door = gateway("front", listener(allowedRoutes={"namespaces": chosen}))
    stray = route("stray", parents=[{"name": "front", "namespace": "shop"}], namespace="team")
    stray["spec"]["rules"] = []
    stray["status"]["parents"][0]["conditions"] = [no("Accepted", "NotAllowedByListeners")]
    homes = [
        thing("Namespace", n, "", metadata={"labels": x}) for n, x in (("shop", {"routes": "public"}), ("team", {}))
    ]
    return cluster(family(), door, web(), *homes, stray, namespace="")


@case("gateway-api", "Gateway/front", "allowedRoutes.kinds")
def route_of_a_kind_that_the_listener_leaves_out() -> ClusterView:
    door = gateway("front", listener(allowedRoutes={"kinds": [{"kind": "GRPCRoute"}]}))
    return cluster(family(), door, web(), route(told=[no("Accepted", "NotAllowedByListeners")]))


@case("gateway-api", "HTTPRoute/web", "sectionName")
def route_on_the_listener_of_another_protocol() -> ClusterView:
    refs = [{"name": "front", "sectionName": "db"}]
    door = gateway("front", listener("db", 5432, "TCP"), listener())
    return cluster(family(), door, web(), route(parents=refs, told=[no("Accepted", "NotAllowedByListeners")]))


@case("gateway-api", "HTTPRoute/web", "hostnames")
def route_of_a_misspelt_host() -> ClusterView:
    door = gateway("front", listener(hostname="*.acme.test"))
    return cluster(
        family(),
        door,
        web(),
        route(hostnames=["shop.acme.tset"], told=[no("Accepted", "NoMatchingListenerHostname")]),
    )


@case("gateway-api", "Gateway/front", "listeners[0].hostname")
def gateway_whose_host_fits_none_of_its_routes() -> ClusterView:
    door = gateway("front", listener(hostname="shop.old.test"))
    bad = [no("Accepted", "NoMatchingListenerHostname")]
    routes = [route(n, hostnames=[f"{n}.acme.test"], told=bad) for n in ("web", "api")]
    return cluster(family(), door, web(), *routes)


@case("gateway-api", "HTTPRoute/web", "status.parents")
def route_that_no_controller_takes() -> ClusterView:
    return gated(route(silent=True))


@case("gateway-api", "HTTPRoute/web", "conditions")
def route_with_a_reason_that_nobody_knows() -> ClusterView:
    return gated(route(told=[no("Accepted", "QuotaOfPlanExceeded", "plan allows 5 routes"), condition("ResolvedRefs")]))


@case("gateway-api", "HTTPRoute/web", "conditions")
def route_with_a_value_that_is_not_supported() -> ClusterView:
    return gated(route(told=[no("Accepted", "UnsupportedValue", "regular expressions are not supported")]))


@case("gateway-api", "HTTPRoute/web", "conditions")
def route_of_which_a_part_is_dropped() -> ClusterView:
    partly = condition("PartiallyInvalid", "True", "UnsupportedValue", "Dropped Rule 2")
    return gated(route(told=[condition("Accepted"), condition("ResolvedRefs"), partly]))


@case("gateway-api", "HTTPRoute/web", "conditions")
def route_that_its_controller_never_finishes() -> ClusterView:
    return gated(route(told=[condition("Accepted", "Unknown", "Pending")]))


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


def first_fix(built: ClusterView) -> str:
    result = scan(built)
    action = result.roots[0].draft.fixes[0].action
    assert action is not None, told(result)
    return action.body


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (route_to_a_misspelt_service, '"value": "web"'),
        (route_to_the_port_of_the_container, '"value": 80'),
        (route_that_takes_a_pool_for_a_service, '"value": "InferencePool"'),
        (route_to_a_pool_of_the_old_group, f'"value": "{INFERENCE}"'),
        (route_to_a_pool_that_does_not_exist, '"value": "spare"'),
        (route_that_forgets_the_namespace_of_its_gateway, '"value": "infra"'),
        (route_on_a_listener_that_does_not_exist, '"value": "https"'),
        (route_on_a_port_that_no_listener_has, '"value": 80'),
        (route_of_another_namespace, '"values": ["shop", "team"]'),
        (route_of_a_namespace_without_the_label, '"routes": "public"'),
        (route_on_the_listener_of_another_protocol, '"value": "http"'),
        (route_of_a_misspelt_host, '"value": "shop.acme.test"'),
        (gateway_whose_host_fits_none_of_its_routes, '"value": "*.acme.test"'),
        (route_into_another_namespace_without_a_grant, '"kind": "ReferenceGrant"'),
    ],
)
def test_the_first_fix_holds_the_computed_value(build: Any, value: str) -> None:
    assert value in first_fix(build())


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    said = scan(route_with_a_reason_that_nobody_knows()).roots[0].draft
    assert "QuotaOfPlanExceeded" in said.summary
    assert "plan allows 5 routes" in said.summary


def grant(**to: Any) -> Raw:
    source = {"group": GATEWAY, "kind": "HTTPRoute", "namespace": "shop"}
    rule = {"from": [source], "to": [{"group": "", "kind": "Service", **to}]}
    return made(GATEWAY, "ReferenceGrant", "shop-may", "core", spec=rule)


def far(*items: Any, **to: Any) -> ClusterView:
    other, run = service("api"), pod("api", ready=True)
    other["metadata"]["namespace"] = run["metadata"]["namespace"] = "core"
    return gated(route("web", {"name": "api", "namespace": "core", "port": 80}), other, run, *items, grant(**to))


def test_a_grant_for_another_object_is_no_grant_and_gets_an_entry() -> None:
    other, run = service("billing"), pod("billing", ready=True)
    other["metadata"]["namespace"] = run["metadata"]["namespace"] = "core"
    result = scan(far(other, run, name="billing"))
    said = result.roots[0].draft
    assert (said.target.kind, said.field) == ("ReferenceGrant", "spec.to[0].name"), told(result)
    assert said.fixes[0].action is not None
    assert '"path": "/spec/to/-"' in said.fixes[0].action.body
    assert len(result.roots) == 1


def test_a_grant_with_a_slip_is_corrected_where_it_is() -> None:
    for slip, field, value in (({"kind": "service"}, "kind", "Service"), ({"name": "apis"}, "name", "api")):
        result = scan(far(**slip))
        said = result.roots[0].draft
        assert (said.target.kind, said.field) == ("ReferenceGrant", f"spec.to[0].{field}"), told(result)
        assert said.fixes[0].action is not None
        assert f'"op": "replace", "path": "/spec/to/0/{field}", "value": "{value}"' in said.fixes[0].action.body


HEALTHY: dict[str, Any] = {
    "a route whose back end is ready": lambda: gated(route()),
    "a route in another namespace with a grant": lambda: far(),
    "a grant for this one object": lambda: far(name="api"),
    "a route of the gateway's own host": lambda: cluster(
        family(), gateway("front", listener(hostname="*.acme.test")), web(), route(hostnames=["a.b.acme.test"])
    ),
    "one of several back ends has weight 0": lambda: gated(
        route("web", {"name": "web", "port": 80}, {"name": "web", "port": 80, "weight": 0})
    ),
    "a route that was just made": lambda: gated(route(silent=True, metadata={"creationTimestamp": NOW})),
    "a status that is pending for a moment": lambda: gated(
        route(told=[condition("Accepted", "Unknown", "Pending", lastTransitionTime=NOW)])
    ),
    "a controller that takes more than the API asks": lambda: cluster(
        family(), gateway("front", listener("raw", 81, "TCP")), web(), route()
    ),
    "a back end of a kind that is not known here": lambda: gated(
        route("web", {"group": "cloud.test", "kind": "Function", "name": "f"})
    ),
    "a gateway in a namespace that was not read": lambda: cluster(
        family(),
        web(),
        route(parents=[{"name": "edge", "namespace": "infra"}]),
        apart=(f"gateways.{GATEWAY}",),
    ),
    "a route for the mesh": lambda: gated(route(parents=[{"kind": "Service", "group": "", "name": "web", "port": 80}])),
    "overlapping certificates are a warning": lambda: cluster(
        family(),
        gateway(
            "front",
            told={"http": [condition("Accepted"), condition("OverlappingTLSConfig", "True", "OverlappingHostnames")]},
        ),
        web(),
        route(),
    ),
    "a gRPC port that says what it speaks": lambda: _speaking("kubernetes.io/h2c"),
    "a port named grpc, and nobody complains": lambda: _speaking(""),
    "a redirect without back ends": lambda: gated(
        route("web")
        | {"spec": {"parentRefs": [{"name": "front"}], "rules": [{"filters": [{"type": "RequestRedirect"}]}]}}
    ),
    "nothing of it is installed": lambda: cluster(web(), without=(GATEWAY, INFERENCE, TRIAL, AI, ENVOY)),
}


def _speaking(protocol: str) -> ClusterView:
    front = service("web")
    front["spec"]["ports"][0] |= {"name": "grpc"} | ({"appProtocol": protocol} if protocol else {})
    back = [deployment("web", ready=1), pod("web", ready=True), front, node()]
    return cluster(family(), gateway(), back, route(), route("calls", kind="GRPCRoute"))


@pytest.mark.parametrize("name", sorted(HEALTHY))
def test_what_is_well_is_called_well(name: str) -> None:
    check_healthy(HEALTHY[name])


def test_a_refusal_of_an_older_generation_decides_nothing() -> None:
    old = route(told=[no("Accepted", "UnsupportedValue", "old", observedGeneration=1)], metadata={"generation": 2})
    check_undecided(lambda: gated(old))
    said = scan(gated(old), "what is wrong?").claims[0].draft
    assert "has not seen its last change" in said.summary


def test_pods_that_are_not_ready_explain_the_route() -> None:
    broken = cluster(
        family(),
        gateway(),
        deployment("web"),
        pod("web", statuses=[]),
        service("web", selector={"app": "wbe"}),
        node(),
        route(),
    )
    result = scan(broken, "the route web answers 503")
    assert [c.draft.target.kind for c in result.roots] == ["Service"], told(result)
    follows = {c.draft.target.kind for c in result.claims if c.rank in result.roots[0].explains}
    assert "HTTPRoute" in follows, told(result)


def test_two_faults_of_a_route_are_both_told() -> None:
    door = gateway("front", listener(hostname="*.acme.test"))
    bad = [no("Accepted", "NoMatchingListenerHostname"), no("ResolvedRefs", "BackendNotFound")]
    found = route("web", {"name": "webb", "port": 80}, hostnames=["shop.other.test"], told=bad)
    result = scan(cluster(family(), door, web(), found))
    assert {c.draft.field for c in result.roots} == {"spec.hostnames[0]", "spec.rules[0].backendRefs[0].name"}
    assert result.verdict is Verdict.FAULT


def test_the_controller_that_has_to_act_is_named() -> None:
    said = scan(route_that_no_controller_takes()).roots[0].draft
    assert CONTROLLER in said.fixes[0].title


def test_other_namespaces_are_read_where_a_route_refers_there() -> None:
    gateways, grants = f"gateways.{GATEWAY}", f"referencegrants.{GATEWAY}"
    far_off = route(
        "web", {"name": "api", "namespace": "core", "port": 80}, parents=[{"name": "e", "namespace": "infra"}]
    )
    wanted = abroad_of(cluster(family(), web(), far_off))
    assert {(gateways, "infra"), (grants, "core")} <= set(wanted)
    assert not [place for _, place in wanted if place == "shop"]
    assert not abroad_of(cluster(family(), web(), route()))
    assert not abroad_of(cluster(family(), web(), far_off, namespace=""))
    guarded = {"certificateRefs": [{"name": "wild", "namespace": "certs"}]}
    secure = gateway("front", listener("https", 443, "HTTPS", tls=guarded))
    assert (grants, "certs") in abroad_of(cluster(family(), secure, web()))


def test_a_broken_gateway_of_another_namespace_explains_the_route_on_it() -> None:
    pending = [condition("Accepted", "Unknown", "Pending"), condition("Programmed", "Unknown", "Pending")]
    door = listener(allowedRoutes={"namespaces": {"from": "All"}})
    edge = gateway("edge", door, namespace="infra", conditions=pending, gatewayClassName="gone")
    result = scan(cluster(family(), edge, web(), route(parents=[{"name": "edge", "namespace": "infra"}], silent=True)))
    assert [f"{c.draft.target.kind}/{c.draft.target.namespace}" for c in result.roots] == ["Gateway/infra"], told(
        result
    )


def test_a_question_names_a_route_by_its_whole_name() -> None:
    two = [route(n, {"name": f"{n}-gone", "port": 80}) for n in ("shop-front", "shop-back")]
    result = scan(gated(*two), "why does shop-back not answer")
    assert result.roots[0].draft.target.name == "shop-back", told(result)
    assert result.roots[1].beside


@pytest.mark.parametrize(("weight", "told_of"), [(0, False), (1, True)])
def test_a_back_end_without_pods_matters_to_a_route_that_sends_it_traffic(weight: int, told_of: bool) -> None:
    spare = service("spare", selector={"app": "nobody"})
    found = route("web", {"name": "web", "port": 80}, {"name": "spare", "port": 80, "weight": weight})
    result = scan(gated(found, spare))
    assert any(c.draft.target.kind == "HTTPRoute" for c in result.claims) is told_of, told(result)
