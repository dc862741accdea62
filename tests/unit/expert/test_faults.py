"""One imaginary fault a row: the object that must change, and the field, are found and nothing else is blamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agents.expert.causes import Scan, scan
from assistant.domain.finding import Verdict
from assistant.domain.view import ClusterView

from .objects import SOON, Raw, container, crashed, deployment, event, node, pod, service, thing, view, waiting

Case = Callable[[], ClusterView]
CASES: dict[str, tuple[Case, str, str, str]] = {}


def case(category: str, target: str, field: str) -> Callable[[Case], Case]:
    def keep(build: Case) -> Case:
        CASES[build.__name__] = (build, category, target, field)
        return build

    return keep


def crash(log: str, *objects: Any, box: Raw | None = None, code: int = 1, **spec: Any) -> ClusterView:
    one = box or container()
    return view(
        deployment("web", one, **spec),
        pod("web", containers=[one], statuses=[crashed(code)], **spec),
        node(),
        *objects,
        logs={("web-1-1", "app"): log},
    )


@case("app-config", "ConfigMap/settings", "data.TIMEOUT")
def value_of_the_wrong_type_in_another_language_runtime() -> ClusterView:
    box = container(envFrom=[{"configMapRef": {"name": "settings"}}])
    return crash(
        'panic: strconv.ParseInt: parsing "30s": invalid syntax',
        thing("ConfigMap", "settings", data={"TIMEOUT": "30s"}),
        box=box,
    )


@case("app-config", "Deployment/web", "env")
def value_given_in_the_template_itself() -> ClusterView:
    return crash(
        'java.lang.NumberFormatException: For input string: "many"',
        box=container(env=[{"name": "WORKERS", "value": "many"}]),
    )


@case("app-config", "Deployment/web", "env[LICENSE_KEY]")
def variable_that_nothing_sets() -> ClusterView:
    return crash("KeyError: 'LICENSE_KEY'")


@case("credentials", "Secret/db", "data.password")
def password_that_the_database_refuses() -> ClusterView:
    box = container(env=[{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}])
    return crash(
        'FATAL: password authentication failed for user "app"',
        thing("Secret", "db", data={"password": "(not read)"}),
        box=box,
    )


@case("missing-secret", "Deployment/web", "secretKeyRef.key")
def secret_without_the_key() -> ClusterView:
    box = container(env=[{"name": "T", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}])
    text = "couldn't find key token in Secret shop/api"
    return view(
        deployment("web", box),
        pod("web", containers=[box], statuses=[waiting("CreateContainerConfigError", text)], phase="Pending"),
        thing("Secret", "api", data={"tokens": "(not read)"}),
        node(),
    )


@case("missing-configmap", "Deployment/web", "configMapKeyRef.key")
def configmap_without_the_key() -> ClusterView:
    box = container(env=[{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "mode"}}}])
    text = "couldn't find key mode in ConfigMap shop/conf"
    return view(
        deployment("web", box),
        pod("web", containers=[box], statuses=[waiting("CreateContainerConfigError", text)], phase="Pending"),
        thing("ConfigMap", "conf", data={"modus": "x"}),
        node(),
    )


@case("image", "Deployment/web", "imagePullSecrets")
def registry_that_wants_a_login() -> ClusterView:
    text = "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized"
    box = container(image="private.test/team/web:1.0")
    return view(
        deployment("web", box),
        pod("web", containers=[box], statuses=[waiting("ErrImagePull", text)], phase="Pending"),
        node(),
    )


@case("image", "Deployment/web", "image")
def registry_host_that_does_not_exist() -> ClusterView:
    box = container(image="regisrty.test/web:1.0")
    text = "dial tcp: lookup regisrty.test: no such host"
    return view(
        deployment("web", box),
        pod("web", containers=[box], statuses=[waiting("ImagePullBackOff", text)], phase="Pending"),
        node(),
    )


@case("oom", "Deployment/web", "limits.memory")
def memory_limit_that_is_too_low() -> ClusterView:
    box = container(resources={"limits": {"memory": "64Mi"}})
    return view(deployment("web", box), pod("web", containers=[box], statuses=[crashed(137, "OOMKilled")]), node())


@case("oom", "LimitRange/defaults", "default.memory")
def memory_limit_that_the_namespace_gives() -> ClusterView:
    given = container(resources={"limits": {"memory": "32Mi"}})
    limits = thing("LimitRange", "defaults", spec={"limits": [{"type": "Container", "default": {"memory": "32Mi"}}]})
    return view(
        deployment("web", container()),
        pod("web", containers=[given], statuses=[crashed(137, "OOMKilled")]),
        limits,
        node(),
    )


@case("probe", "Deployment/web", "livenessProbe")
def liveness_that_kills_a_slow_starter() -> ClusterView:
    box = container(livenessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 5, "failureThreshold": 1})
    return view(
        deployment("web", box),
        pod("web", containers=[box], statuses=[crashed(137)]),
        node(),
        event(
            "Pod",
            "web-1-1",
            "Unhealthy",
            'Liveness probe failed: Get "http://10.1.1.1:8080/": dial tcp 10.1.1.1:8080: connect: connection refused',
        ),
        event("Pod", "web-1-1", "Killing", "Container app failed liveness probe, will be restarted", "Normal"),
        logs={("web-1-1", "app"): "loading model 1/9\nloading model 2/9"},
    )


@case("probe", "Deployment/web", "readinessProbe.httpGet.path")
def readiness_that_asks_for_a_page_that_is_not_there() -> ClusterView:
    box = container(readinessProbe={"httpGet": {"path": "/redy", "port": 8080}})
    return view(
        deployment("web", box),
        pod("web", containers=[box]),
        node(),
        service("web"),
        event("Pod", "web-1-1", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404"),
    )


@case("service", "Service/web", "targetPort")
def service_that_sends_to_the_wrong_port() -> ClusterView:
    box = container(ports=[{"name": "http", "containerPort": 8080}])
    return view(
        deployment("web", box, ready=1),
        pod("web", containers=[box], ready=True),
        node(),
        service("web", target=9090),
        logs={("web-1-1", "app"): "server listening on 0.0.0.0:8080"},
    )


@case("service", "Service/web", "targetPort")
def service_that_names_a_port_nobody_has() -> ClusterView:
    box = container(ports=[{"name": "web", "containerPort": 8080}])
    return view(
        deployment("web", box, ready=1), pod("web", containers=[box], ready=True), node(), service("web", target="http")
    )


@case("service", "Deployment/web", "spec.replicas")
def workload_scaled_to_nothing() -> ClusterView:
    return view(deployment("web", replicas=0), service("web"), node())


@case("network", "NetworkPolicy/deny", "spec.ingress")
def policy_between_two_workloads() -> ClusterView:
    policy = thing(
        "NetworkPolicy",
        "deny",
        spec={
            "podSelector": {"matchLabels": {"app": "db"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "admin"}}}]}],
        },
    )
    line = "ERROR cannot connect to db:80: connection timed out"
    return view(
        deployment("db", ready=1),
        pod("db", ready=True),
        service("db"),
        deployment("web", ready=1),
        pod("web", ready=True),
        policy,
        node(),
        logs={("web-1-1", "app"): f"{line}\n{line}\n{line}"},
    )


@case("network", "NetworkPolicy/lock", "spec.egress")
def policy_that_cuts_off_dns() -> ClusterView:
    rule: Raw = {"to": [{"podSelector": {}}]}
    policy = thing("NetworkPolicy", "lock", spec={"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]})
    line = "ERROR call http://db:80/x failed: lookup db on 10.96.0.10:53: i/o timeout\n"
    objects = [deployment("web", ready=1), deployment("db", ready=1), [pod("web", ready=True), pod("db", ready=True)]]
    return view(*objects, service("db"), policy, node(), logs={("web-1-1", "app"): line * 4})


@case("node", "Node/n1", "DiskPressure")
def node_under_disk_pressure() -> ClusterView:
    taint = {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}
    pressed = node(taints=[taint])
    pressed["status"]["conditions"].append({"type": "DiskPressure", "status": "True", "message": "disk is short"})
    message = "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }."
    return pending(message, pressed)


@case("network", "Ingress/front", "service.name")
def ingress_without_a_back_end() -> ClusterView:
    rule = {"http": {"paths": [{"path": "/", "backend": {"service": {"name": "wbe", "port": {"number": 80}}}}]}}
    return view(
        deployment("web", ready=1),
        pod("web", ready=True),
        service("web"),
        thing("Ingress", "front", spec={"rules": [rule]}),
        node(),
    )


@case("storage", "PersistentVolumeClaim/data", "accessModes")
def access_mode_that_the_class_does_not_offer() -> ClusterView:
    claim = thing(
        "PersistentVolumeClaim",
        "data",
        spec={"accessModes": ["ReadWriteMany"], "storageClassName": "local"},
        status={"phase": "Pending"},
    )
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    waits = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        }
    ]
    return view(
        deployment("web", volumes=volumes),
        pod("web", phase="Pending", node="", statuses=[], conditions=waits, volumes=volumes),
        claim,
        node(),
        thing("StorageClass", "local", "", provisioner="x.test/local", volumeBindingMode="Immediate"),
        event(
            "PersistentVolumeClaim",
            "data",
            "ProvisioningFailed",
            "failed to provision volume: only support ReadWriteOnce access mode",
        ),
    )


def pending(message: str, *objects: Any, box: Raw | None = None, **spec: Any) -> ClusterView:
    waits = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    one = box or container()
    return view(
        deployment("web", one, **spec),
        pod("web", containers=[one], phase="Pending", node="", statuses=[], conditions=waits, **spec),
        *objects,
    )


@case("scheduling", "Deployment/web", "requests.memory")
def memory_that_no_node_has() -> ClusterView:
    return pending(
        "0/1 nodes are available: 1 Insufficient memory.",
        node(),
        box=container(resources={"requests": {"memory": "64Gi"}}),
    )


@case("scheduling", "Deployment/web", "tolerations")
def taint_that_is_not_tolerated() -> ClusterView:
    return pending(
        "0/1 nodes are available: 1 node(s) had untolerated taint {team: blue}.",
        node(taints=[{"key": "team", "value": "blue", "effect": "NoSchedule"}]),
    )


@case("scheduling", "Deployment/web", "podAntiAffinity")
def replicas_that_may_not_share_a_node() -> ClusterView:
    term = [{"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]
    return pending(
        "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.",
        node(),
        affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}},
    )


@case("scheduling", "Deployment/web", "nodeAffinity")
def affinity_that_no_node_meets() -> ClusterView:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]}
    return pending(
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
        node(labels={"disk": "hdd"}),
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
    )


def refused(message: str, *objects: Any) -> ClusterView:
    return view(deployment("web", replicas=2), event("ReplicaSet", "web-1", "FailedCreate", message), node(), *objects)


@case("quota", "Deployment/web", "resources")
def quota_that_wants_requests_to_be_set() -> ClusterView:
    return refused(
        'Error creating: pods "web-1-x" is forbidden: failed quota: q: must specify requests.cpu',
        thing("ResourceQuota", "q", spec={"hard": {"requests.cpu": "1"}}),
    )


@case("quota", "Deployment/web", "limits.memory")
def limit_above_what_the_range_allows() -> ClusterView:
    return refused(
        'Error creating: pods "w" is forbidden: maximum memory usage per Container is 256Mi, but limit is 1Gi'
    )


@case("security", "Deployment/web", "securityContext")
def pod_security_that_refuses() -> ClusterView:
    return refused(
        'Error creating: pods "w" is forbidden: violates PodSecurity "restricted:latest": '
        "allowPrivilegeEscalation != false"
    )


@case("rbac", "Deployment/web", "serviceAccountName")
def service_account_that_does_not_exist() -> ClusterView:
    return view(
        deployment("web", replicas=1, serviceAccountName="wbe"),
        thing("ServiceAccount", "web"),
        node(),
        event(
            "ReplicaSet",
            "web-1",
            "FailedCreate",
            'Error creating: pods "w" is forbidden: error looking up service account shop/wbe: '
            'serviceaccount "wbe" not found',
        ),
    )


@case("security", "Deployment/web", "readOnlyRootFilesystem")
def root_file_system_that_is_read_only() -> ClusterView:
    box = container(securityContext={"readOnlyRootFilesystem": True})
    return crash("OSError: [Errno 30] Read-only file system: '/var/cache/app/index'", box=box)


@case("rollout", "Deployment/web", "spec.paused")
def rollout_that_is_paused() -> ClusterView:
    found = deployment("web", replicas=2, ready=2)
    found[0]["spec"]["paused"] = True
    return view(found, pod("web", 1, ready=True), pod("web", 2, ready=True), node())


@case("autoscaling", "Deployment/web", "requests.cpu")
def autoscaler_without_requests() -> ClusterView:
    said = {
        "type": "ScalingActive",
        "status": "False",
        "reason": "FailedGetResourceMetric",
        "message": "the HPA was unable to compute the replica count: failed to get cpu utilization: "
        "missing request for cpu in container app of Pod web-1-1",
    }
    scaler = thing(
        "HorizontalPodAutoscaler",
        "web",
        spec={"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5},
        status={"conditions": [said]},
    )
    return view(deployment("web", ready=1), pod("web", ready=True), scaler, node())


@case("job", "Job/nightly", "activeDeadlineSeconds")
def job_stopped_by_its_deadline() -> ClusterView:
    return view(
        thing(
            "Job",
            "nightly",
            spec={"activeDeadlineSeconds": 60, "template": {"spec": {"containers": [container()]}}},
            status={
                "conditions": [
                    {
                        "type": "Failed",
                        "status": "True",
                        "reason": "DeadlineExceeded",
                        "message": "Job was active longer than specified deadline",
                        "lastTransitionTime": SOON,
                    }
                ]
            },
        ),
        node(),
    )


@case("dns", "Deployment/web", "env")
def service_name_that_nobody_has() -> ClusterView:
    box = container(env=[{"name": "CACHE", "value": "cahce:6379"}])
    return crash(
        "Error: getaddrinfo ENOTFOUND cahce",
        deployment("cache", ready=1),
        pod("cache", ready=True),
        service("cache", port=6379),
        box=box,
    )


@case("service", "Deployment/web", "env")
def port_that_the_service_does_not_serve() -> ClusterView:
    box = container(env=[{"name": "CACHE_URL", "value": "redis://cache:6380"}])
    return crash(
        "Error: connect to cache:6380: connection refused",
        deployment("cache", ready=1),
        pod("cache", ready=True),
        service("cache", port=6379),
        box=box,
    )


@case("tls", "Secret/cert", "tls.crt")
def certificate_that_has_expired() -> ClusterView:
    box = container(volumeMounts=[{"name": "c", "mountPath": "/tls"}])
    secret = thing("Secret", "cert", type="kubernetes.io/tls", data={"tls.crt": "(not read)", "tls.key": "(not read)"})
    return crash(
        "fatal: x509: certificate has expired or is not yet valid: /tls/tls.crt",
        secret,
        box=box,
        volumes=[{"name": "c", "secret": {"secretName": "cert"}}],
    )


@case("gateway-api", "HTTPRoute/front", "port")
def route_to_a_port_that_is_not_served() -> ClusterView:
    route = thing("HTTPRoute", "front", spec={"rules": [{"backendRefs": [{"name": "web", "port": 8081}]}]})
    return view(deployment("web", ready=1), pod("web", ready=True), service("web"), route, node())


@case("eviction", "Deployment/web", "ephemeral-storage")
def pod_that_fills_its_disk() -> ClusterView:
    text = "Pod ephemeral local storage usage exceeds the total limit of containers 50Mi."
    return view(
        deployment("web"),
        pod("web", 1, phase="Failed", statuses=[], status={"reason": "Evicted", "message": text}),
        node(),
    )


@case("other", "Widget/w", "conditions")
def custom_resource_whose_controller_complains() -> ClusterView:
    return view(
        thing(
            "Widget",
            "w",
            status={"conditions": [{"type": "Ready", "status": "False", "reason": "Broken", "message": "no licence"}]},
        ),
        deployment("web", ready=1),
        pod("web", ready=True),
        node(),
    )


def said(result: Scan) -> str:
    return "\n".join(
        f"{c.role} {c.draft.category} {c.draft.target} {c.draft.field}: {c.draft.summary}" for c in result.claims
    )


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    build, category, target, field = CASES[name]
    result = scan(build())
    assert result.verdict is Verdict.FAULT, said(result)
    assert not result.gaps
    top = result.roots[0].draft
    assert (top.category, f"{top.target.kind}/{top.target.name}") == (category, target), said(result)
    assert field in top.field, top.field
    assert len(result.roots) == 1, said(result)


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_quote_stands_in_its_body_and_every_action_is_json(name: str) -> None:
    for claim in scan(CASES[name][0]()).roots:
        assert claim.draft.citations
        for citation in claim.draft.citations:
            body = " ".join(citation.body.split())
            assert all(part in body for part in " ".join(citation.quote.split()).split(" … ")), citation.quote
        assert claim.draft.fixes or claim.draft.outside
        for fix in claim.draft.fixes:
            assert (fix.action is None) == bool(fix.outside)
            if fix.action is not None and fix.action.body:
                json.loads(fix.action.body)
            assert "None" not in fix.title and "<" not in fix.kubectl.replace("<<'EOF'", "")
