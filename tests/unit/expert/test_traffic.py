"""Names, Services, Ingresses, policies and certificates between a caller and what it calls."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.domain.view import ClusterView

from .cases import Table, check, check_healthy
from .objects import Raw, container, deployment, node, pod, service, thing, view, waiting
from .test_faults import crash

case = Table()
DB = [deployment("db", ready=1), pod("db", ready=True), service("db", port=5432, target=5432)]


def calls(line: str, *objects: Any, box: Raw | None = None, question: str = "", **spec: Any) -> ClusterView:
    """A caller that runs and complains with every call."""
    one = box or container(env=[{"name": "UPSTREAM", "value": "http://db:5432/x"}])
    log = "INFO serving on 0.0.0.0:8080\n" + f"{line}\n" * 6
    return view(
        deployment("web", one, ready=1, **spec),
        pod("web", containers=[one], ready=True, **spec),
        service("web"),
        node(),
        *objects,
        logs={("web-1-1", "app"): log},
    )


REFUSED = "ERROR [web] upstream GET http://db:5432/x failed after 2ms: <urlopen error [Errno 111] Connection refused>"
SLOW = "ERROR [web] upstream GET http://db:5432/x failed after 3001ms: <urlopen error timed out>"
UNKNOWN = (
    "ERROR [web] upstream GET http://db:5432/x failed after 9ms: <urlopen error [Errno -2] Name or service not known>"
)


@case("service", "Service/db", "targetPort")
def service_port_that_leads_nowhere() -> ClusterView:
    box = container(ports=[{"name": "pg", "containerPort": 5432}], readinessProbe={"tcpSocket": {"port": "pg"}})
    return calls(
        REFUSED,
        deployment("db", box, ready=1),
        pod("db", containers=[box], ready=True),
        service("db", port=5432, target=5423),
    )


@case("service", "Service/db", "targetPort")
def service_port_name_that_no_container_has() -> ClusterView:
    box = container(ports=[{"name": "postgres", "containerPort": 5432}])
    return calls(
        REFUSED,
        deployment("db", box, ready=1),
        pod("db", containers=[box], ready=True),
        service("db", port=5432, target="postgresql"),
    )


@case("service", "Service/db", "protocol")
def service_of_the_wrong_protocol() -> ClusterView:
    box = container(ports=[{"name": "pg", "containerPort": 5432, "protocol": "TCP"}])
    one = service("db", port=5432, target=5432)
    one["spec"]["ports"][0]["protocol"] = "UDP"
    return calls(REFUSED, deployment("db", box, ready=1), pod("db", containers=[box], ready=True), one)


@case("service", "Service/db", "spec.selector")
def service_that_selects_two_applications() -> ClusterView:
    one = service("db", {"tier": "back"}, port=5432, target=5432)
    base = container(image="r.test/postgres:16", ports=[{"name": "pg", "containerPort": 5432}])
    other = container(image="r.test/metrics-agent:2", ports=[{"name": "metrics", "containerPort": 9100}])
    found: list[Any] = []
    for name, box in (("db", base), ("agent", other)):
        made, run = deployment(name, box, ready=1), pod(name, containers=[box], ready=True)
        run["metadata"]["labels"]["tier"] = "back"
        made[0]["spec"]["template"]["metadata"]["labels"]["tier"] = "back"
        found += [made, run]
    return calls(REFUSED, *found, one)


@case("service", "Service/db", "spec.selector")
def service_without_a_selector_and_without_endpoints() -> ClusterView:
    one = service("db", port=5432, target=5432)
    one["spec"].pop("selector")
    return calls(REFUSED, deployment("db", ready=1), pod("db", ready=True), one)


@case("dns", "Service/db", "externalName")
def external_name_that_nobody_has() -> ClusterView:
    one = thing("Service", "db", spec={"type": "ExternalName", "externalName": "pg-main.dta.example.com"})
    return calls(UNKNOWN, one)


@case("dns", "Deployment/web", "env")
def name_in_a_namespace_that_is_misspelt_without_its_ending() -> ClusterView:
    box = container(env=[{"name": "UPSTREAM", "value": "http://db.shpo:5432/x"}])
    return calls(UNKNOWN.replace("//db:", "//db.shpo:"), *DB, box=box)


@case("dns", "ConfigMap/conf", "data.UPSTREAM_URL")
def name_of_a_service_that_is_called_otherwise() -> ClusterView:
    box = container(envFrom=[{"configMapRef": {"name": "conf"}}])
    config = thing("ConfigMap", "conf", data={"UPSTREAM_URL": "http://pricing-svc/api"})
    line = "java.net.UnknownHostException: pricing-svc: Name or service not known"
    return calls(line, config, deployment("pricing", ready=1), pod("pricing", ready=True), service("pricing"), box=box)


@case("dns", "ConfigMap/conf", "default.conf")
def upstream_in_a_proxy_file_that_nobody_has() -> ClusterView:
    box = container(volumeMounts=[{"name": "c", "mountPath": "/etc/nginx/conf.d"}])
    config = thing("ConfigMap", "conf", data={"default.conf": "server { location / { proxy_pass http://apii:8080; } }"})
    return crash(
        'nginx: [emerg] host not found in upstream "apii" in /etc/nginx/conf.d/default.conf:1',
        config,
        deployment("api", ready=1),
        pod("api", ready=True),
        service("api"),
        box=box,
        volumes=[{"name": "c", "configMap": {"name": "conf"}}],
    )


@case("dns", "Deployment/web", "dnsPolicy")
def dns_policy_that_asks_the_node() -> ClusterView:
    return calls(UNKNOWN, *DB, dnsPolicy="Default")


@case("dns", "StatefulSet/raft", "env")
def peer_of_a_stateful_set_under_the_wrong_service() -> ClusterView:
    peers = ",".join(f"raft-{i}.rafts.shop.svc.cluster.local" for i in range(2))
    box = container(env=[{"name": "PEERS", "value": peers}])
    head = thing(
        "StatefulSet",
        "raft",
        spec={
            "replicas": 2,
            "serviceName": "raft",
            "podManagementPolicy": "Parallel",
            "template": {"metadata": {"labels": {"app": "raft"}}, "spec": {"containers": [box]}},
        },
        status={"replicas": 2},
    )
    line = (
        "08:12:01 [raft-0] quorum NOT reached: 1/2 voters reachable "
        "(raft-1.rafts.shop.svc.cluster.local: [Errno -2] Name or service not known)"
    )
    pods = [pod("raft", i, owner_kind="StatefulSet", containers=[box]) for i in range(2)]
    headless = service("raft", {"app": "raft"}, port=7000, target=7000, clusterIP="None")
    return view(
        head, pods, headless, node(), logs={("raft-0", "app"): f"{line}\n" * 6, ("raft-1", "app"): f"{line}\n" * 6}
    )


def policy(name: str, pods: Raw, **rules: Any) -> Raw:
    return thing("NetworkPolicy", name, spec={"podSelector": pods, "policyTypes": [k.title() for k in rules], **rules})


HOME = thing("Namespace", "shop", "", metadata={"labels": {"kubernetes.io/metadata.name": "shop"}})


@case("network", "NetworkPolicy/db", "spec.ingress")
def policy_that_lets_another_label_in() -> ClusterView:
    closed = policy("default-deny", {}, ingress=[])
    allow = policy(
        "db",
        {"matchLabels": {"app": "db"}},
        ingress=[
            {"from": [{"podSelector": {"matchLabels": {"app": "wbe"}}}], "ports": [{"port": 5432, "protocol": "TCP"}]}
        ],
    )
    return calls(SLOW, *DB, closed, allow, HOME)


@case("network", "NetworkPolicy/db", "port")
def policy_that_opens_another_port() -> ClusterView:
    allow = policy(
        "db",
        {"matchLabels": {"app": "db"}},
        ingress=[
            {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5433, "protocol": "TCP"}]}
        ],
    )
    return calls(SLOW, *DB, allow, HOME)


@case("network", "NetworkPolicy/db", "namespaceSelector")
def policy_that_wants_a_label_of_the_namespace() -> ClusterView:
    peer = {"namespaceSelector": {"matchLabels": {"team": "shop"}}, "podSelector": {"matchLabels": {"app": "web"}}}
    allow = policy("db", {"matchLabels": {"app": "db"}}, ingress=[{"from": [peer]}])
    return calls(SLOW, *DB, allow, HOME)


@case("network", "NetworkPolicy/default-deny", "spec.ingress")
def policy_that_closes_everything() -> ClusterView:
    return calls(SLOW, *DB, policy("default-deny", {}, ingress=[]), HOME)


@case("network", "NetworkPolicy/default-deny", "spec.ingress")
def policy_whose_effect_is_a_refusal() -> ClusterView:
    return calls(REFUSED, *DB, policy("default-deny", {}, ingress=[]), HOME)


@case("network", "NetworkPolicy/out", "spec.egress")
def policy_that_keeps_the_caller_in() -> ClusterView:
    dns = {"ports": [{"port": 53, "protocol": "UDP"}]}
    return calls(SLOW, *DB, policy("out", {"matchLabels": {"app": "web"}}, egress=[dns]), HOME)


@case("network", "NetworkPolicy/out", "spec.egress")
def policy_that_forgets_names() -> ClusterView:
    rule = {"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]}
    line = UNKNOWN.replace("[Errno -2] Name or service not known", "[Errno -3] Temporary failure in name resolution")
    return calls(line, *DB, policy("out", {"matchLabels": {"app": "web"}}, egress=[rule]), HOME)


@case("image", "Deployment/db", "image")
def calls_that_fail_because_the_back_end_cannot_start() -> ClusterView:
    box = container(image="r.test/db:9")
    return calls(
        REFUSED,
        deployment("db", box),
        pod("db", containers=[box], statuses=[waiting("ImagePullBackOff", "not found")], phase="Pending"),
        service("db", port=5432),
    )


@case("service", "Deployment/db", "spec.replicas")
def calls_that_fail_because_nothing_runs_behind_the_service() -> ClusterView:
    return calls(REFUSED, deployment("db", replicas=0), service("db", port=5432))


@case("service", "Deployment/web", "env")
def call_of_a_port_that_the_service_does_not_have() -> ClusterView:
    return calls(REFUSED, deployment("db", ready=1), pod("db", ready=True), service("db", port=80))


@case("app-config", "Deployment/web", "env")
def path_that_the_other_side_does_not_have() -> ClusterView:
    box = container(env=[{"name": "UPSTREAM", "value": "http://db:5432/v2/items"}])
    return calls("ERROR [web] upstream GET http://db:5432/v2/items -> 404 in 3ms", *DB, box=box)


def front(**fields: Any) -> Raw:
    rule = {
        "host": "shop.acme.example",
        "http": {
            "paths": [
                {
                    "path": "/",
                    "pathType": "Prefix",
                    "backend": {"service": {"name": "web", "port": fields.pop("port", {"number": 80})}},
                }
            ]
        },
    }
    return thing("Ingress", "front", spec={"rules": [rule], **fields})


NGINX = thing("IngressClass", "nginx", "", spec={"controller": "k8s.io/ingress-nginx"})


@case("network", "Ingress/front", "ingressClassName")
def ingress_of_a_class_that_does_not_exist() -> ClusterView:
    return view(*well(), front(ingressClassName="ngnix"), NGINX)


@case("network", "Ingress/front", "ingressClassName")
def ingress_without_a_class_where_none_is_the_default() -> ClusterView:
    return view(*well(), front(), NGINX)


@case("network", "Ingress/front", "port")
def ingress_to_a_port_name_that_is_not_served() -> ClusterView:
    return view(*well(), front(ingressClassName="nginx", port={"name": "web"}), NGINX)


@case("tls", "Ingress/front", "secretName")
def ingress_whose_certificate_is_missing() -> ClusterView:
    return view(
        *well(),
        front(ingressClassName="nginx", tls=[{"hosts": ["shop.acme.example"], "secretName": "shop-tls"}]),
        NGINX,
        thing("Secret", "web-tls", data={"tls.crt": "(not read)", "tls.key": "(not read)"}),
    )


def well() -> list[Any]:
    return [deployment("web", ready=1), pod("web", ready=True), service("web"), node()]


CERTIFICATES = {
    "expired": (
        "x509: certificate has expired or is not yet valid: current time 2026-11-23T08:00:00Z is "
        "after 2026-11-01T00:00:00Z"
    ),
    "not yet valid": (
        "x509: certificate has expired or is not yet valid: current time 2026-11-23T08:00:00Z is "
        "before 2027-01-01T00:00:00Z"
    ),
    "wrong host": "x509: certificate is valid for api.shop.svc, not db",
    "unknown authority": "x509: certificate signed by unknown authority",
    "python": (
        "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate "
        "has expired (_ssl.c:1000)>"
    ),
    "node": "Error: self-signed certificate in certificate chain",
    "java": (
        "javax.net.ssl.SSLHandshakeException: PKIX path building failed: unable to find valid "
        "certification path to requested target"
    ),
    "openssl": "SSL routines::certificate verify failed",
}


@pytest.mark.parametrize("name", sorted(CERTIFICATES))
def test_a_certificate_that_callers_refuse_is_the_servers(name: str) -> None:
    server = container(volumeMounts=[{"name": "tls", "mountPath": "/tls"}])
    volumes = [{"name": "tls", "secret": {"secretName": "db-cert"}}]

    def build() -> ClusterView:
        return calls(
            f"ERROR [web] GET https://db:5432/x failed: {CERTIFICATES[name]}",
            deployment("db", server, ready=1, volumes=volumes),
            pod("db", containers=[server], ready=True, volumes=volumes),
            service("db", port=5432, target=5432),
            thing("Secret", "db-cert", data={"tls.crt": "(not read)", "tls.key": "(not read)"}),
        )

    from .cases import Incident

    check(Incident(build, "tls", "Secret/db-cert", "tls.crt"))


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


GOOD = "INFO [web] upstream GET http://db:5432/x -> 200 in 3ms"


def test_policies_that_allow_what_is_called_are_no_fault() -> None:
    allow = policy(
        "db", {"matchLabels": {"app": "db"}}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]
    )
    check_healthy(lambda: calls(GOOD, *DB, policy("default-deny", {}, ingress=[]), allow, HOME))


def test_a_canary_behind_the_same_service_is_no_fault() -> None:
    old, new = container(image="r.test/db:1"), container(image="r.test/db:2")
    pods: list[Any] = []
    for name, box in (("db", old), ("db-canary", new)):
        made, run = deployment(name, box, ready=1), pod(name, containers=[box], ready=True)
        run["metadata"]["labels"]["tier"] = "back"
        made[0]["spec"]["template"]["metadata"]["labels"]["tier"] = "back"
        pods += [made, run]
    check_healthy(lambda: calls(GOOD, *pods, service("db", {"tier": "back"}, port=5432)))


def test_an_ingress_of_the_default_class_needs_no_name() -> None:
    usual = thing(
        "IngressClass", "nginx", "", metadata={"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
    )
    check_healthy(lambda: view(*well(), front(), usual))


def test_a_call_that_is_answered_not_found_among_others_is_no_fault() -> None:
    lines = f"{GOOD}\nWARN [web] upstream GET http://db:5432/x -> 404 in 3ms"
    check_healthy(lambda: calls(lines, *DB))


def test_an_external_name_that_answers_is_no_fault() -> None:
    one = thing("Service", "db", spec={"type": "ExternalName", "externalName": "pg.data.example.com"})
    check_healthy(lambda: calls(GOOD, one))


def test_a_service_with_hand_made_endpoints_is_no_fault() -> None:
    one = service("db", port=5432)
    one["spec"].pop("selector")
    ends = thing(
        "EndpointSlice",
        "db-1",
        metadata={"labels": {"kubernetes.io/service-name": "db"}},
        endpoints=[{"addresses": ["10.9.9.9"]}],
    )
    check_healthy(lambda: calls(GOOD, one, ends))


def test_an_address_outside_the_cluster_that_does_not_answer_is_said_with_care() -> None:
    from agents.expert.causes import scan

    line = "ERROR call https://api.partner.example.com/v1 failed: connection timed out"
    result = scan(calls(line), "")
    assert all(c.draft.confidence < 0.75 for c in result.roots)
