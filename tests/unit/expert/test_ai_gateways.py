"""Envoy AI Gateway and agentgateway: routes for models and tools, back ends, credentials, and their odd status."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from assistant.domain.finding import Role
from assistant.domain.view import ClusterView

from .cases import Table, check, check_first_fix, check_healthy, check_undecided, told
from .gateway_objects import (
    AGENT,
    AI,
    CONTROLLER,
    ENVOY,
    GATEWAY,
    INFERENCE,
    cluster,
    condition,
    family,
    gateway,
    inference,
    made,
    no,
    route,
    web,
)
from .objects import NOW, OLD, Raw, event, thing

case = Table()
DONE = condition("Accepted", "True", "ReconciliationSucceeded")


def rejected(message: str, **fields: Any) -> Raw:
    return no("NotAccepted", "ReconciliationFailed", message, **fields)


def ai_route(name: str = "llm", *backends: Raw, said: Raw | None = None, **spec: Any) -> list[Raw]:
    """An AIGatewayRoute with the HTTPRoute that its controller makes of it."""
    refs = list(backends) or [{"name": "local"}, {"name": "hosted", "priority": 1}]
    head = {"type": "Exact", "name": "x-ai-eg-model", "value": name}
    own = [{"apiVersion": f"{AI}/v1beta1", "kind": "AIGatewayRoute", "name": name, "controller": True}]
    told = made(
        AI,
        "AIGatewayRoute",
        name,
        spec={
            "parentRefs": [{"name": "front", "kind": "Gateway", "group": GATEWAY}],
            "rules": [{"matches": [{"headers": [head]}], "backendRefs": refs}],
            **spec,
        },
        status={"conditions": [said or DONE]},
    )
    inner = route(name, {"group": ENVOY, "kind": "Backend", "name": "local"}, metadata={"ownerReferences": own})
    return [told] if said else [told, inner]


def backend(name: str, said: Raw | None = None, /, **ref: Any) -> Raw:
    return made(
        AI,
        "AIServiceBackend",
        name,
        spec={
            "schema": {"name": "OpenAI"},
            "backendRef": {"group": ENVOY, "kind": "Backend", "name": name, **ref},
        },
        status={"conditions": [said or DONE]},
    )


def host(name: str, hostname: str = "web.shop.svc.cluster.local", port: int = 80) -> Raw:
    spec = {"endpoints": [{"fqdn": {"hostname": hostname, "port": port}}]}
    return made(ENVOY, "Backend", name, spec=spec, status={"conditions": [condition("Accepted")]})


def credential(name: str = "hosted-key", said: Raw | None = None, *, key: str = "hosted-key", **meta: Any) -> Raw:
    target = {"group": AI, "kind": "AIServiceBackend", "name": "hosted"}
    return made(
        AI,
        "BackendSecurityPolicy",
        name,
        metadata=meta,
        spec={"targetRefs": [target], "type": "APIKey", "apiKey": {"secretRef": {"name": key}}},
        status={"conditions": [said or DONE]},
    )


KEY = thing("Secret", "hosted-key", type="Opaque", data={"apiKey": "(not read)"})


def whole(*extra: Any, drop: tuple[str, ...] = (), **known: Any) -> ClusterView:
    """A gateway for models that is well, without what is in `drop` ("Kind/name")."""
    parts = [
        *ai_route(),
        backend("local"),
        backend("hosted"),
        host("local"),
        host("hosted", "api.provider.test", 443),
        credential(),
        KEY,
    ]
    kept = [p for p in parts if f"{p['kind']}/{p['metadata']['name']}" not in drop]
    return cluster(family(), gateway(), web(), *kept, *extra, **known)


@case("gateway-api", "AIGatewayRoute/broken", "backendRefs[0].name", "requests for the model gone-model fail")
def route_to_a_back_end_that_does_not_exist() -> ClusterView:
    return whole(*ai_route("broken", {"name": "gone"}, said=rejected("AIServiceBackend gone.shop not found")))


@case("gateway-api", "AIGatewayRoute/broken", "backendRefs[0].name")
def ai_route_to_a_pool_that_does_not_exist() -> ClusterView:
    ref = {"group": INFERENCE, "kind": "InferencePool", "name": "lama"}
    return cluster(*inference(), *ai_route("broken", ref, said=rejected("InferencePool lama not found")))


@case("gateway-api", "AIGatewayRoute/llm", "parentRefs[0].name")
def route_on_a_gateway_that_does_not_exist() -> ClusterView:
    lost = ai_route(parentRefs=[{"name": "frnt", "kind": "Gateway", "group": GATEWAY}], said=rejected("no gateway"))
    return whole(*lost, drop=("AIGatewayRoute/llm", "HTTPRoute/llm"))


@case("gateway-api", "AIGatewayRoute/costs", "conditions")
def route_that_is_rejected_for_an_expression() -> ClusterView:
    bad = rejected("invalid CEL expression: undeclared reference to 'tokens'")
    return whole(*ai_route("costs", {"name": "local"}, said=bad))


@case("gateway-api", "AIGatewayRoute/llm", "status.conditions")
def route_that_nobody_has_seen() -> ClusterView:
    mute = ai_route()[0]
    mute["status"] = {}
    return whole(mute, drop=("AIGatewayRoute/llm", "HTTPRoute/llm"))


@case("gateway-api", "AIServiceBackend/local", "backendRef.name")
def back_end_without_a_host() -> ClusterView:
    bad = rejected("Backend locl not found")
    return whole(backend("local", bad, name="locl"), drop=("AIServiceBackend/local",))


@case("gateway-api", "Backend/local", "fqdn.hostname")
def host_of_a_service_that_does_not_exist() -> ClusterView:
    return whole(host("local", "wbe.shop.svc.cluster.local"), drop=("Backend/local",))


@case("gateway-api", "Backend/local", "fqdn.port")
def host_on_a_port_that_is_not_served() -> ClusterView:
    return whole(host("local", port=8000), drop=("Backend/local",))


@case("gateway-api", "BackendSecurityPolicy/hosted-key", "secretRef.name")
def credential_without_a_secret() -> ClusterView:
    bad = rejected("secret hosted-keys not found")
    return whole(credential("hosted-key", bad, key="hosted-keys"), drop=("BackendSecurityPolicy/hosted-key",))


@case("gateway-api", "Secret/hosted-key", "apiKey")
def credential_under_another_key() -> ClusterView:
    odd = thing("Secret", "hosted-key", type="Opaque", data={"api-key": "(not read)"})
    bad = rejected("secret hosted-key.shop does not contain key apiKey")
    return whole(credential("hosted-key", bad), odd, drop=("Secret/hosted-key", "BackendSecurityPolicy/hosted-key"))


@case("gateway-api", "BackendSecurityPolicy/spare", "targetRefs[0]")
def two_credentials_for_one_back_end() -> ClusterView:
    bad = rejected("multiple BackendSecurityPolicies found for AIServiceBackend hosted: [hosted-key spare]")
    second = credential("spare", creationTimestamp="2026-03-01T11:40:00Z")
    return whole(backend("hosted", bad), second, drop=("AIServiceBackend/hosted",))


@case("gateway-api", "BackendSecurityPolicy/lost", "targetRefs[0].name")
def credential_for_nobody() -> ClusterView:
    stray = credential("lost", rejected("AIServiceBackend hosts not found"))
    stray["spec"]["targetRefs"][0]["name"] = "hosts"
    return whole(stray)


@case("gateway-api", "AIGatewayRoute/far", "backendRefs[0].namespace")
def back_end_of_another_namespace_without_a_grant() -> ClusterView:
    other, inner = backend("shared"), host("shared", "api.provider.test", 443)
    other["metadata"]["namespace"] = inner["metadata"]["namespace"] = "core"
    bad = rejected("missing ReferenceGrant")
    return whole(other, inner, *ai_route("far", {"name": "shared", "namespace": "core"}, said=bad))


def tools(*backends: Raw, said: Raw | None = None) -> Raw:
    refs = list(backends) or [{"group": ENVOY, "kind": "Backend", "name": "local", "path": "/mcp"}]
    spec = {"parentRefs": [{"name": "front"}], "path": "/mcp", "backendRefs": refs}
    return made(AI, "MCPRoute", "tools", spec=spec, status={"conditions": [said or DONE]})


@case("gateway-api", "MCPRoute/tools", "backendRefs[0].name")
def tools_of_a_server_that_does_not_exist() -> ClusterView:
    return whole(tools({"group": ENVOY, "kind": "Backend", "name": "locl"}, said=rejected("backend not found")))


@case("gateway-api", "MCPRoute/tools", "apiKey.secretRef.name")
def tools_whose_credential_does_not_exist() -> ClusterView:
    guarded = {"apiKey": {"secretRef": {"name": "hosted-kye"}}}
    return whole(tools({"group": ENVOY, "kind": "Backend", "name": "local", "securityPolicy": guarded}))


@case("gateway-api", "QuotaPolicy/budget", "targetRefs[0].name")
def quota_for_nobody() -> ClusterView:
    target = {"group": AI, "kind": "AIServiceBackend", "name": "hostd"}
    return whole(made(AI, "QuotaPolicy", "budget", spec={"targetRefs": [target]}))


@case("gateway-api", "Gateway/front", "aigateway.envoyproxy.io/gateway-config")
def settings_that_do_not_exist() -> ClusterView:
    door = gateway(metadata={"annotations": {"aigateway.envoyproxy.io/gateway-config": "larg"}})
    config = made(AI, "GatewayConfig", "large", status={"conditions": [condition("Accepted")]})
    return cluster(family(), door, web(), route(), config)


def agent_backend(name: str = "models", *conditions: Raw, **spec: Any) -> Raw:
    return made(AGENT, "AgentgatewayBackend", name, spec=spec, status={"conditions": list(conditions)})


def agent(*extra: Any, name: str = "models") -> ClusterView:
    back = {"group": AGENT, "kind": "AgentgatewayBackend", "name": name}
    return cluster(family(), gateway(), web(), route("llm", back), *extra)


@case("gateway-api", "AgentgatewayBackend/models", "secretRef.name")
def agent_whose_credential_does_not_exist() -> ClusterView:
    policies = {"auth": {"secretRef": {"name": "hosted-kye"}}}
    bad = no("Accepted", "Invalid", "secret not found")
    return agent(agent_backend("models", bad, ai={"provider": {"openai": {}}}, policies=policies), KEY)


@case("gateway-api", "AgentgatewayBackend/models", "static.host")
def agent_whose_tools_are_nowhere() -> ClusterView:
    static = {"host": "wbe.shop.svc.cluster.local", "port": 80}
    return agent(agent_backend("models", condition("Accepted"), mcp={"targets": [{"name": "a", "static": static}]}))


@case("gateway-api", "AgentgatewayBackend/models", "backendRef.name")
def agent_whose_own_server_is_nowhere() -> ClusterView:
    custom = {"backendRef": {"name": "wbe", "port": 80}, "formats": [{"type": "Completions"}]}
    return agent(agent_backend("models", condition("Accepted"), ai={"provider": {"custom": custom}}))


@case("gateway-api", "HTTPRoute/llm", "backendRefs[0].name")
def route_to_an_agent_back_end_that_does_not_exist() -> ClusterView:
    return agent(agent_backend("models", condition("Accepted")), name="model")


@case("gateway-api", "AgentgatewayBackend/models", "conditions")
def agent_back_end_that_is_not_valid() -> ClusterView:
    return agent(agent_backend("models", no("Accepted", "Invalid", "region is required")))


@case("gateway-api", "AgentgatewayPolicy/limits", "targetRefs[0].name")
def agent_policy_for_nobody() -> ClusterView:
    target = {"group": AGENT, "kind": "AgentgatewayBackend", "name": "model"}
    policy = made(AGENT, "AgentgatewayPolicy", "limits", spec={"targetRefs": [target]}, status={"ancestors": []})
    return agent(agent_backend("models", condition("Accepted")), policy)


@case("gateway-api", "AgentgatewayPolicy/limits", "conditions")
def agent_policy_that_is_partly_valid() -> ClusterView:
    target = {"group": GATEWAY, "kind": "Gateway", "name": "front"}
    partly = [condition("Accepted", "True", "PartiallyValid", "CEL: bad expression"), condition("Attached")]
    policy = made(
        AGENT,
        "AgentgatewayPolicy",
        "limits",
        spec={"targetRefs": [target]},
        status={"ancestors": [{"ancestorRef": {"name": "front"}, "conditions": partly}]},
    )
    return agent(agent_backend("models", condition("Accepted")), policy)


def model(name: str, **spec: Any) -> Raw:
    parents = [{"name": "front"}]
    told = [{"parentRef": p, "controllerName": CONTROLLER, "conditions": [condition("Accepted")]} for p in parents]
    return made(AGENT, "AgentgatewayModel", name, spec={"parentRefs": parents, **spec}, status={"parents": told})


@case("gateway-api", "AgentgatewayModel/best", "modelRef.name")
def virtual_model_of_nobody() -> ClusterView:
    targets = [{"modelRef": {"name": "small"}, "weight": 1}, {"modelRef": {"name": "smal"}, "weight": 1}]
    best = model("best", virtualModel={"weighted": {"targets": targets}})
    return agent(agent_backend("models", condition("Accepted")), best, model("small", provider="OpenAI"))


@case("gateway-api", "Gateway/front", "spec")
def proxy_that_refuses_its_configuration() -> ClusterView:
    refusal = event("Gateway", "front", "AgentGatewayNackError", "failed to parse policy limits: unknown field")
    return agent(agent_backend("models", condition("Accepted")), refusal)


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (ai_route_to_a_pool_that_does_not_exist, '"value": "llama"'),
        (route_on_a_gateway_that_does_not_exist, '"value": "front"'),
        (back_end_without_a_host, '"value": "local"'),
        (host_of_a_service_that_does_not_exist, '"value": "web.shop.svc.cluster.local"'),
        (host_on_a_port_that_is_not_served, '"value": 80'),
        (credential_without_a_secret, '"value": "hosted-key"'),
        (credential_for_nobody, '"value": "hosted"'),
        (tools_of_a_server_that_does_not_exist, '"value": "local"'),
        (settings_that_do_not_exist, '"aigateway.envoyproxy.io/gateway-config": "large"'),
        (agent_whose_tools_are_nowhere, '"value": "web.shop.svc.cluster.local"'),
        (virtual_model_of_nobody, '"value": "small"'),
    ],
)
def test_the_first_fix_holds_the_computed_value(build: Any, value: str) -> None:
    check_first_fix(build, value)


def test_not_accepted_with_status_false_is_a_rejection() -> None:
    said = scan(route_that_is_rejected_for_an_expression()).roots[0].draft
    assert "rejected" in said.summary
    assert "undeclared reference" in said.summary


def test_a_lost_host_explains_the_back_end_and_its_routes() -> None:
    bad = rejected("Backend locl not found")
    twice = ai_route("llm", {"name": "local"}, said=rejected("failed to reconcile AIServiceBackend local"))
    dropped = ("AIServiceBackend/local", "AIGatewayRoute/llm", "HTTPRoute/llm")
    result = scan(whole(backend("local", bad, name="locl"), *twice, drop=dropped))
    assert [c.draft.target.name for c in result.roots] == ["local"], told(result)
    assert [c.role for c in result.claims if c.draft.target.kind == "AIGatewayRoute"] == [Role.CONSEQUENCE]


def test_a_back_end_that_is_rejected_for_its_own_reason_explains_its_routes() -> None:
    bad = rejected("schema is not supported")
    twice = ai_route("llm", {"name": "local"}, said=rejected("AIServiceBackend local is not ready"))
    dropped = ("AIServiceBackend/local", "AIGatewayRoute/llm", "HTTPRoute/llm")
    result = scan(whole(backend("local", bad), *twice, drop=dropped))
    assert [c.draft.target.kind for c in result.roots] == ["AIServiceBackend"], told(result)


def test_a_rejection_of_an_older_generation_decides_nothing() -> None:
    old = ai_route("llm", said=rejected("old", observedGeneration=1))
    old[0]["metadata"]["generation"] = 2
    check_undecided(lambda: whole(*old, drop=("AIGatewayRoute/llm", "HTTPRoute/llm")))


def test_an_old_refusal_of_the_proxy_is_history() -> None:
    refusal = event("Gateway", "front", "AgentGatewayNackError", "failed to parse policy limits: unknown field")
    refusal["lastTimestamp"] = OLD
    later = event("Pod", "web-1-1", "Pulled", "image is there", "Normal")
    check_healthy(lambda: agent(agent_backend("models", condition("Accepted")), refusal, later))


def _early() -> list[Raw]:
    mute = ai_route()[0]
    mute["status"], mute["metadata"]["creationTimestamp"] = {}, NOW
    return [mute]


HEALTHY: dict[str, Any] = {
    "a gateway for models": lambda: whole(),
    "tools": lambda: whole(tools()),
    "a Service as back end": lambda: whole(
        backend("local", group="", kind="Service", name="web", port=80), drop=("AIServiceBackend/local",)
    ),
    "a route that was just made": lambda: whole(*_early(), drop=("AIGatewayRoute/llm", "HTTPRoute/llm")),
    "an agent gateway": lambda: agent(
        agent_backend("models", condition("Accepted"), ai={"provider": {"openai": {}}}), model("small")
    ),
    "a gateway for models in a namespace of its own": lambda: cluster(*inference(), *ai_route("llm", _pool())),
    "nothing of it is installed": lambda: cluster(family(), gateway(), web(), route(), without=(AI, AGENT, ENVOY)),
}


def _pool() -> Raw:
    return {"group": INFERENCE, "kind": "InferencePool", "name": "llama"}


@pytest.mark.parametrize("name", sorted(HEALTHY))
def test_what_is_well_is_called_well(name: str) -> None:
    check_healthy(HEALTHY[name])


def test_objects_without_any_field_break_nothing() -> None:
    kinds = [(AI, "AIGatewayRoute"), (AI, "AIServiceBackend"), (AI, "BackendSecurityPolicy"), (AI, "MCPRoute")]
    bare = [made(g, k, "bare") for g, k in [*kinds, (ENVOY, "Backend"), (AGENT, "AgentgatewayBackend")]]
    for raw in bare:
        raw["spec"] = raw["status"] = None
    assert not scan(cluster(*bare, web())).gaps
