"""Classes, Gateways, listeners, ListenerSets and policies of the Gateway API."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.expert.causes import scan
from assistant.domain.finding import Role, Verdict
from assistant.domain.view import ClusterView

from . import test_ai_gateways, test_inference, test_proxy_logs, test_routes
from .cases import Table, check, check_first_fix, check_healthy, check_undecided, told
from .gateway_objects import (
    CONTROLLER,
    ENVOY,
    GATEWAY,
    INFERENCE,
    cluster,
    condition,
    family,
    gateway,
    inference,
    listener,
    made,
    no,
    pool,
    route,
    web,
)
from .objects import NOW, OLD, Raw, container, deployment, node, pod, service, thing, waiting
from .test_health import spoil

case = Table()
WAITING = condition(
    "Accepted", "Unknown", "Waiting", "Waiting for controller", lastTransitionTime="1970-01-01T00:00:00Z"
)
PENDING = [
    condition(kind, "Unknown", "Pending", "Waiting for controller", lastTransitionTime="1970-01-01T00:00:00Z")
    for kind in ("Accepted", "Programmed")
]


def secret(name: str, *keys: str, kind: str = "Opaque", namespace: str = "shop") -> Raw:
    found = thing("Secret", name, type=kind, data=dict.fromkeys(keys, "(not read)"))
    found["metadata"]["namespace"] = namespace
    return found


def certificate(name: str, namespace: str = "shop") -> Raw:
    return secret(name, "tls.crt", "tls.key", kind="kubernetes.io/tls", namespace=namespace)


def https(*refs: Raw, **fields: Any) -> Raw:
    return listener("https", 443, "HTTPS", tls={"mode": "Terminate", "certificateRefs": list(refs)}, **fields)


@case("gateway-api", "Gateway/front", "gatewayClassName")
def gateway_of_a_class_that_does_not_exist() -> ClusterView:
    door = gateway(conditions=PENDING, gatewayClassName="mehs")
    return cluster(family(), door, web(), route(silent=True))


@case("gateway-api", "GatewayClass/mesh", "conditions")
def class_without_a_controller() -> ClusterView:
    return cluster(family("mesh", WAITING), gateway(conditions=PENDING), web(), route(silent=True))


@case("gateway-api", "GatewayClass/mesh", "status.conditions")
def class_of_which_nobody_speaks() -> ClusterView:
    mute = family()
    mute["status"] = {}
    return cluster(mute, gateway(conditions=[]), web(), route(silent=True))


@case("gateway-api", "GatewayClass/mesh", "parametersRef.name")
def class_whose_parameters_do_not_exist() -> ClusterView:
    ref = {"group": ENVOY, "kind": "EnvoyProxy", "name": "proxy", "namespace": "infra"}
    bad = no("Accepted", "InvalidParameters", "EnvoyProxy infra/proxy not found")
    other = made(ENVOY, "EnvoyProxy", "proxies", "infra")
    return cluster(family("mesh", bad, parametersRef=ref), gateway(conditions=PENDING), web(), route(), other)


@case("gateway-api", "GatewayClass/mesh", "conditions")
def class_of_a_version_that_is_not_supported() -> ClusterView:
    bad = no("Accepted", "Unsupported", "the class is not supported")
    return cluster(family("mesh", bad), gateway(conditions=PENDING), web(), route())


@case("gateway-api", "Gateway/front", "conditions")
def gateway_that_nobody_programs() -> ClusterView:
    return cluster(family(), gateway(conditions=PENDING, told={"http": []}), web(), route(silent=True))


@case("gateway-api", "Gateway/front", "status.conditions")
def gateway_with_an_empty_status() -> ClusterView:
    door = gateway()
    door["status"] = {}
    return cluster(family(), door, web(), route(silent=True))


@case("gateway-api", "Gateway/front", "conditions")
def gateway_that_gets_no_address() -> ClusterView:
    bad = [condition("Accepted"), no("Programmed", "AddressNotAssigned", "no addresses have been assigned")]
    return cluster(family(), gateway(conditions=bad), web(), route())


@case("gateway-api", "Gateway/front", "conditions")
def gateway_of_an_address_that_is_not_supported() -> ClusterView:
    bad = [no("Accepted", "UnsupportedAddress", "NamedAddress is not supported"), no("Programmed", "Invalid")]
    return cluster(family(), gateway(conditions=bad), web(), route())


@case("gateway-api", "Gateway/front", "conditions")
def gateway_whose_client_certificate_is_not_valid() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "InvalidClientCertificateRef", "secret is no certificate")]
    return cluster(family(), gateway(conditions=bad), web(), route())


@case("gateway-api", "Gateway/front", "infrastructure.parametersRef.name")
def gateway_whose_parameters_do_not_exist() -> ClusterView:
    bad = [no("Accepted", "InvalidParameters", "not found"), no("Programmed", "Invalid")]
    ref = {"group": ENVOY, "kind": "EnvoyProxy", "name": "small"}
    return cluster(family(), gateway(conditions=bad, infrastructure={"parametersRef": ref}), web(), route())


@case("gateway-api", "Gateway/front", "clientCertificateRef.name")
def gateway_whose_client_certificate_does_not_exist() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "InvalidClientCertificateRef", "secret not found")]
    tls = {"backend": {"clientCertificateRef": {"name": "client-tsl"}}}
    return cluster(family(), gateway(conditions=bad, tls=tls), web(), route(), certificate("client-tls"))


@case("gateway-api", "Gateway/front", "caCertificateRefs[0].name")
def gateway_whose_authority_for_clients_does_not_exist() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "InvalidCACertificateRef", "ConfigMap not found")]
    tls = {"frontend": {"default": {"validation": {"caCertificateRefs": [{"kind": "ConfigMap", "name": "clients"}]}}}}
    return cluster(family(), gateway(told={"http": bad}, tls=tls), web(), route())


BAD_CERTIFICATE = [
    condition("Accepted"),
    no("ResolvedRefs", "InvalidCertificateRef", "Secret shop/shop-tsl does not exist"),
    no("Programmed", "Invalid"),
]


@case("gateway-api", "Gateway/front", "certificateRefs[0].name")
def listener_whose_certificate_does_not_exist() -> ClusterView:
    door = gateway("front", https({"name": "shop-tsl"}), told={"https": BAD_CERTIFICATE})
    return cluster(family(), door, web(), route(), certificate("shop-tls"))


@case("gateway-api", "Gateway/front", "certificateRefs[0].name")
def listener_whose_secret_is_no_certificate() -> ClusterView:
    door = gateway("front", https({"name": "token"}), told={"https": BAD_CERTIFICATE})
    return cluster(family(), door, web(), route(), secret("token", "token"))


@case("gateway-api", "Gateway/front", "certificateRefs[0].namespace")
def certificate_of_another_namespace_without_a_grant() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "RefNotPermitted", "certificate is not allowed")]
    door = gateway("front", https({"name": "wild", "namespace": "certs"}), told={"https": bad})
    return cluster(family(), door, web(), route(), certificate("wild", "certs"), namespace="")


@case("gateway-api", "Gateway/front", "listeners[0].tls")
def listener_without_a_certificate() -> ClusterView:
    door = gateway("front", listener("https", 443, "HTTPS"), told={"https": BAD_CERTIFICATE})
    return cluster(family(), door, web(), route())


@case("gateway-api", "Gateway/front", "allowedRoutes.kinds")
def listener_for_kinds_that_it_cannot_carry() -> ClusterView:
    bad = [condition("Accepted"), no("ResolvedRefs", "InvalidRouteKinds", "TCPRoute is not supported")]
    kinds = {"kinds": [{"kind": "HTTPRoute"}, {"kind": "TCPRoute"}]}
    return cluster(family(), gateway("front", listener(allowedRoutes=kinds), told={"http": bad}), web(), route())


@case("gateway-api", "Gateway/front", "listeners[1].port")
def listeners_of_other_protocols_on_one_port() -> ClusterView:
    clash = [condition("Conflicted", "True", "ProtocolConflict"), no("Accepted", "PortUnavailable")]
    table = [listener(), listener("plain", 80, "HTTPS", tls={"options": {"a": "b"}})]
    return cluster(family(), gateway("front", *table, told={"http": clash, "plain": clash}), web(), route())


@case("gateway-api", "Gateway/front", "listeners[1].hostname")
def listeners_of_the_same_host() -> ClusterView:
    clash = [condition("Conflicted", "True", "HostnameConflict"), no("Programmed", "Invalid")]
    table = [listener("one", hostname="a.test"), listener("two", hostname="a.test")]
    return cluster(family(), gateway("front", *table, told={"two": clash}), web(), route())


@case("gateway-api", "Gateway/front", "listeners[0].port")
def listener_whose_port_is_taken() -> ClusterView:
    bad = [no("Accepted", "PortUnavailable", "port 80 is used by another Gateway")]
    return cluster(family(), gateway(told={"http": bad}), web(), route())


@case("gateway-api", "Gateway/front", "listeners[0].protocol")
def listener_of_a_protocol_that_is_not_supported() -> ClusterView:
    bad = [no("Accepted", "UnsupportedProtocol", "UDP is not supported")]
    return cluster(family(), gateway("front", listener("dns", 53, "UDP"), told={"dns": bad}), web())


def listener_set(name: str = "extra", *conditions: Raw, **spec: Any) -> Raw:
    parent = {"group": GATEWAY, "kind": "Gateway", "name": "front"}
    return made(
        GATEWAY,
        "ListenerSet",
        name,
        spec={"parentRef": parent, "listeners": [listener("more", 8443)], **spec},
        status={"conditions": list(conditions)},
    )


@case("gateway-api", "Gateway/front", "allowedListeners")
def listeners_that_their_gateway_does_not_take() -> ClusterView:
    return cluster(family(), gateway(), web(), route(), listener_set("extra", no("Accepted", "NotAllowed")))


@case("gateway-api", "ListenerSet/extra", "parentRef.name")
def listeners_of_a_gateway_that_does_not_exist() -> ClusterView:
    lost = listener_set("extra", no("Accepted", "ParentNotAccepted"), parentRef={"name": "frontt"})
    return cluster(family(), gateway(), web(), route(), lost)


def tls_policy(
    name: str = "upstream", *conditions: Raw, ref: Raw | None = None, target: str = "web", **meta: Any
) -> Raw:
    parent = {"group": GATEWAY, "kind": "Gateway", "name": "front"}
    return made(
        GATEWAY,
        "BackendTLSPolicy",
        name,
        metadata=meta,
        spec={
            "targetRefs": [{"group": "", "kind": "Service", "name": target}],
            "validation": {
                "caCertificateRefs": [ref or {"group": "", "kind": "ConfigMap", "name": "roots"}],
                "hostname": "web.test",
            },
        },
        status={"ancestors": [{"ancestorRef": parent, "controllerName": CONTROLLER, "conditions": list(conditions)}]},
    )


ROOTS = thing("ConfigMap", "roots", data={"ca.crt": "PEM"})


@case("gateway-api", "BackendTLSPolicy/upstream", "targetRefs[0].name")
def policy_for_a_service_that_does_not_exist() -> ClusterView:
    bad = no("Accepted", "TargetNotFound", "Service webb not found")
    return cluster(family(), gateway(), web(), route(), ROOTS, tls_policy("upstream", bad, target="webb"))


@case("gateway-api", "BackendTLSPolicy/upstream", "caCertificateRefs[0].name")
def policy_whose_authority_does_not_exist() -> ClusterView:
    bad = [no("Accepted", "NoValidCACertificate"), no("ResolvedRefs", "InvalidCACertificateRef")]
    ref = {"group": "", "kind": "ConfigMap", "name": "root"}
    return cluster(family(), gateway(), web(), route(), ROOTS, tls_policy("upstream", *bad, ref=ref))


@case("gateway-api", "ConfigMap/roots", "data")
def policy_whose_authority_is_empty() -> ClusterView:
    bad = [no("Accepted", "NoValidCACertificate"), no("ResolvedRefs", "InvalidCACertificateRef")]
    empty = thing("ConfigMap", "roots", data={"bundle.pem": "PEM"})
    return cluster(family(), gateway(), web(), route(), empty, tls_policy("upstream", *bad))


@case("gateway-api", "BackendTLSPolicy/second", "targetRefs[0]")
def policy_that_an_older_one_overrules() -> ClusterView:
    first = tls_policy("first", condition("Accepted"))
    second = tls_policy("second", no("Accepted", "Conflicted"), creationTimestamp="2026-03-01T11:30:00Z")
    return cluster(family(), gateway(), web(), route(), ROOTS, first, second)


def traffic_policy(*conditions: Raw, **spec: Any) -> Raw:
    target = {"group": GATEWAY, "kind": "HTTPRoute", "name": "web"}
    ancestors = [{"ancestorRef": {"name": "front"}, "conditions": list(conditions)}]
    return made(
        ENVOY,
        "BackendTrafficPolicy",
        "retries",
        spec={"targetRefs": [target], **spec},
        status={"ancestors": ancestors},
    )


@case("gateway-api", "BackendTrafficPolicy/retries", "targetRefs[0].name")
def policy_for_a_route_that_does_not_exist() -> ClusterView:
    target = {"group": GATEWAY, "kind": "HTTPRoute", "name": "wbe"}
    return cluster(family(), gateway(), web(), route(), traffic_policy(targetRefs=[target]))


@case("gateway-api", "BackendTrafficPolicy/retries", "sectionName")
def policy_for_a_listener_that_does_not_exist() -> ClusterView:
    target = {"group": GATEWAY, "kind": "Gateway", "name": "front", "sectionName": "https"}
    bad = no("Accepted", "TargetNotFound", "no listener https")
    return cluster(family(), gateway(), web(), route(), traffic_policy(bad, targetRefs=[target]))


@case("gateway-api", "BackendTrafficPolicy/retries", "conditions")
def policy_that_is_not_valid() -> ClusterView:
    return cluster(
        family(), gateway(), web(), route(), traffic_policy(no("Accepted", "Invalid", "retryOn: unknown trigger"))
    )


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (gateway_of_a_class_that_does_not_exist, '"value": "mesh"'),
        (class_whose_parameters_do_not_exist, '"value": "proxies"'),
        (listener_whose_certificate_does_not_exist, '"value": "shop-tls"'),
        (certificate_of_another_namespace_without_a_grant, '"kind": "ReferenceGrant"'),
        (listener_for_kinds_that_it_cannot_carry, '"value": [{"kind": "HTTPRoute"}]'),
        (listeners_of_other_protocols_on_one_port, '"value": 443'),
        (policy_for_a_service_that_does_not_exist, '"value": "web"'),
        (policy_whose_authority_does_not_exist, '"value": "roots"'),
        (policy_for_a_listener_that_does_not_exist, '"value": "http"'),
    ],
)
def test_the_first_fix_holds_the_computed_value(build: Any, value: str) -> None:
    check_first_fix(build, value)


def test_the_controller_that_is_missing_is_named() -> None:
    said = scan(class_without_a_controller()).roots[0].draft
    assert CONTROLLER in said.fixes[0].outside
    assert "Waiting" in said.summary


def test_a_broken_gateway_explains_its_routes_and_their_pools() -> None:
    back = {"group": INFERENCE, "kind": "InferencePool", "name": "llama"}
    kept = [x for x in inference() if isinstance(x, list) or x["kind"] not in ("Gateway", "HTTPRoute", "InferencePool")]
    mute = pool("llama", silent=True)
    dead = gateway(conditions=PENDING, gatewayClassName="gone")
    result = scan(cluster(*kept, dead, route("llama-route", back, silent=True), mute))
    assert [f"{c.draft.target.kind}/{c.draft.target.name}" for c in result.roots] == ["Gateway/front"], told(result)


def test_a_load_balancer_that_nobody_makes_explains_the_gateway() -> None:
    plane = service("front-proxy", type="LoadBalancer")
    plane["metadata"]["labels"] = {"gateway.networking.k8s.io/gateway-name": "front"}
    plane["spec"]["selector"] = {"app": "web"}
    bad = [condition("Accepted"), no("Programmed", "AddressNotAssigned", "no address")]
    result = scan(cluster(family(), gateway(conditions=bad), web(), route(), plane))
    assert [c.draft.target.kind for c in result.roots] == ["Service"], told(result)


def test_a_certificate_that_is_not_issued_explains_the_listener() -> None:
    waits = no("Ready", "DoesNotExist", "Issuing certificate as Secret does not exist")
    order = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": "shop", "namespace": "shop", "creationTimestamp": OLD},
        "spec": {"secretName": "shop-tls"},
        "status": {"conditions": [waits]},
    }
    door = gateway("front", https({"name": "shop-tls"}), told={"https": BAD_CERTIFICATE})
    built = cluster(family(), door, web(), route())
    built.add("certificates.cert-manager.io", [order], "GET /", api_version="cert-manager.io/v1", kind="Certificate")
    result = scan(built)
    assert [c.draft.target.kind for c in result.roots] == ["Certificate"], told(result)


def test_a_controller_that_is_down_explains_the_gateways_and_routes_that_wait_for_it() -> None:
    box = container(image="registry.test/envoy-gateway:9")
    back_off = [waiting("ImagePullBackOff", "Back-off pulling image: not found")]
    down = [
        deployment("envoy-gateway", box),
        pod("envoy-gateway", containers=[box], statuses=back_off, phase="Pending"),
    ]
    for told_of_the_class in (condition("Accepted"), WAITING):
        mine = family("mesh", told_of_the_class, controllerName="gateway.envoyproxy.io/gatewayclass-controller")
        result = scan(cluster(mine, gateway(conditions=PENDING), web(), route(silent=True), down))
        causes = [f"{c.draft.target.kind}/{c.draft.target.name}" for c in result.roots]
        assert causes == ["Deployment/envoy-gateway"], told(result)


def test_a_class_that_nobody_uses_is_a_note() -> None:
    result = scan(cluster(family(), family("spare", WAITING), gateway(), web(), route()))
    assert result.verdict is Verdict.HEALTHY, told(result)
    assert [c.role for c in result.claims] == [Role.NOTE]


def test_a_gateway_of_another_namespace_that_nobody_here_uses_is_a_note() -> None:
    far = gateway("edge", conditions=PENDING, namespace="infra")
    result = scan(cluster(family(), gateway(), web(), route(), far))
    assert result.verdict is Verdict.HEALTHY, told(result)


def test_a_refusal_of_an_older_generation_decides_nothing() -> None:
    bad = [no("Accepted", "Invalid", observedGeneration=1), no("Programmed", "Invalid", observedGeneration=1)]
    check_undecided(lambda: cluster(family(), gateway(conditions=bad, metadata={"generation": 2}), web(), route()))


HEALTHY: dict[str, Any] = {
    "all of it": lambda: cluster(family(), gateway(), web(), route()),
    "with a certificate": lambda: cluster(
        family(), gateway("front", https({"name": "shop-tls"})), web(), route(), certificate("shop-tls")
    ),
    "tls that is passed through": lambda: cluster(
        family(), gateway("front", listener("tls", 443, "TLS", tls={"mode": "Passthrough"}), listener()), web(), route()
    ),
    "certificates that the implementation brings": lambda: cluster(
        family(), gateway("front", listener("https", 443, "HTTPS", tls={"options": {"a": "b"}})), web(), route()
    ),
    "secrets that may not be read": lambda: cluster(
        family(), gateway("front", https({"name": "wild", "namespace": "certs"})), web(), route(), _may("certs")
    ),
    "a gateway that was just made": lambda: cluster(
        family(), gateway(conditions=PENDING, metadata={"creationTimestamp": NOW}), web(), node("n2")
    ),
    "a class that was just made": lambda: cluster(_new(family("mesh", WAITING)), web(), gateway()),
    "accepted with some of its listeners": lambda: cluster(
        family(),
        gateway(conditions=[condition("Accepted", "True", "ListenersNotValid"), condition("Programmed")]),
        web(),
        route(),
    ),
    "no conflict": lambda: cluster(
        family(),
        gateway(told={"http": [condition("Accepted"), no("Conflicted", "NoConflicts")]}),
        web(),
        route(),
    ),
    "listeners of other hosts on one port": lambda: cluster(
        family(), gateway("front", listener("a", hostname="a.test"), listener("b", hostname="b.test")), web(), route()
    ),
    "a listener set that is taken": lambda: cluster(
        family(), gateway(), web(), route(), listener_set("extra", condition("Accepted"), condition("Programmed"))
    ),
    "policies that are accepted": lambda: cluster(
        family(),
        gateway(),
        web(),
        route(),
        ROOTS,
        tls_policy("upstream", condition("Accepted"), condition("ResolvedRefs")),
        traffic_policy(condition("Accepted")),
    ),
    "a policy of which nobody has spoken yet": lambda: cluster(family(), gateway(), web(), route(), traffic_policy()),
    "classes may not be read": lambda: cluster(
        gateway(gatewayClassName="other"), web(), route(), unread=(f"gatewayclasses.{GATEWAY}",)
    ),
}


def _may(namespace: str) -> list[Raw]:
    source = {"group": GATEWAY, "kind": "Gateway", "namespace": "shop"}
    rule = {"from": [source], "to": [{"group": "", "kind": "Secret"}]}
    return [made(GATEWAY, "ReferenceGrant", "may", namespace, spec=rule), certificate("wild", namespace)]


def _new(raw: Raw) -> Raw:
    raw["metadata"]["creationTimestamp"] = NOW
    return raw


@pytest.mark.parametrize("name", sorted(HEALTHY))
def test_what_is_well_is_called_well(name: str) -> None:
    check_healthy(HEALTHY[name])


def test_objects_without_any_field_break_nothing() -> None:
    kinds = [(GATEWAY, k) for k in ("Gateway", "GatewayClass", "HTTPRoute", "ListenerSet", "BackendTLSPolicy")]
    bare = [made(group, kind, "bare", "" if kind == "GatewayClass" else "shop") for group, kind in kinds]
    for raw in bare:
        raw["spec"] = raw["status"] = None
        raw["metadata"]["creationTimestamp"] = OLD
    assert not scan(cluster(*bare, web())).gaps


EVERY = {
    name: incident.build
    for module in (test_ai_gateways, test_inference, test_proxy_logs, test_routes)
    for name, incident in module.case.rows.items()
} | {name: incident.build for name, incident in case.rows.items()}


@st.composite
def spoiled(draw: st.DrawFn) -> ClusterView:
    whole = EVERY[draw(st.sampled_from(sorted(EVERY)))]()
    odd = ClusterView("shop")
    for resource in whole.resources:
        things = whole.all(resource)
        items = [spoil(copy.deepcopy(dict(t.raw)), draw) for t in things]
        odd.add(resource, items, "GET /", api_version=things[0].api_version, kind=things[0].kind)
    for log in whole.logs:
        odd.add_log(log)
    return odd


@settings(max_examples=120, deadline=None)
@given(spoiled())
def test_objects_of_an_odd_form_break_no_analyzer(odd: ClusterView) -> None:
    result = scan(odd, "what is wrong")
    assert not [g for g in result.gaps if "could not judge" in g], result.gaps
