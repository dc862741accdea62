"""Objects of a made-up busy cluster, of any size: what the benchmarks read. The same number gives the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

PODS_PER_NAMESPACE = 250
REPLICAS = 10
NODES = 100
AT = "2026-11-24T02:40:00Z"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def uid(text: str) -> str:
    hexed = digest(text)
    return f"{hexed[:8]}-{hexed[8:12]}-4{hexed[12:15]}-a{hexed[15:18]}-{hexed[18:30]}"


def environment(app: str, pod: str) -> list[dict[str, Any]]:
    """What charts set: plain settings, addresses, references, three secrets a workload.

    Pods of a workload come from one template; every 50th had its token set by an admission webhook.
    """
    secret = digest(app)[:24]
    own = digest(pod)[:20] if int(digest(pod)[:4], 16) % 50 == 0 else digest(app)[24:44]
    return [
        {"name": "LOG_LEVEL", "value": "info"},
        {"name": "PORT", "value": "8080"},
        {"name": "JAVA_TOOL_OPTIONS", "value": "-XX:MaxRAMPercentage=75 -Duser.timezone=UTC"},
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel-collector.observability:4317"},
        {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": f"service.name={app},deployment.environment=production"},
        {"name": "DATABASE_URL", "value": f"postgres://{app}:{secret}@db.{app}.svc.cluster.local:5432/{app}"},
        {"name": "DB_PASSWORD", "value": secret},
        {"name": "INSTANCE_TOKEN", "value": own},
        {"name": "CACHE_HOST", "value": "redis-master.cache.svc.cluster.local"},
        {"name": "FEATURE_FLAGS", "value": "checkout-v2,new-search,dark-mode"},
        {"name": "KAFKA_BROKERS", "value": "kafka-0.kafka:9092,kafka-1.kafka:9092,kafka-2.kafka:9092"},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        {"name": "NODE_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}},
        {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": f"{app}-api", "key": "token"}}},
    ]


def at(number: int) -> str:
    """Return when a pod was created: not all at once."""
    return f"2026-11-{10 + number % 14:02}T{number % 23:02}:{number * 7 % 60:02}:{number * 13 % 60:02}Z"


def place(number: int) -> tuple[str, str, str, str]:
    """Return namespace, app, ReplicaSet and pod name of a pod's number."""
    namespace = f"team-{number // PODS_PER_NAMESPACE:03}"
    app = f"svc-{number // REPLICAS:04}"
    owner = f"{app}-{digest(app)[:9]}"
    return namespace, app, owner, f"{owner}-{digest(str(number))[:5]}"


def pod(number: int, *, managed: bool = True) -> dict[str, Any]:
    namespace, app, owner, name = place(number)
    labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": app, "pod-template-hash": digest(app)[:9]}
    image = f"registry.example.com/{namespace}/{app}:1.{number // REPLICAS % 40}.3"
    started = at(number)
    metadata: dict[str, Any] = {
        "name": name, "generateName": f"{owner}-", "namespace": namespace, "uid": uid(name),
        "resourceVersion": str(100_000 + number), "creationTimestamp": started, "labels": labels,
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090",
                        "checksum/config": digest(app + "config")},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": uid(owner),
                             "controller": True, "blockOwnerDeletion": True}],
    }  # fmt: skip
    if managed:
        metadata["managedFields"] = [
            {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": AT,
             "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {f"f:{k}": {} for k in labels}},
             "f:spec": {"f:containers": {f'k:{{"name":"{app}"}}': {"f:env": {
                 f'k:{{"name":"{e["name"]}"}}': {".": {}, "f:name": {}, "f:value": {}}
                 for e in environment(app, name)}, "f:image": {}, "f:resources": {"f:limits": {}}}}}}},
        ]  # fmt: skip
    condition = {"status": "True", "lastProbeTime": None, "lastTransitionTime": started}
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "metadata": metadata,
        "spec": {
            "containers": [
                {"name": app, "image": image, "env": environment(app, name), "imagePullPolicy": "IfNotPresent",
                 "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                 "resources": {"limits": {"cpu": "1", "memory": "512Mi"},
                               "requests": {"cpu": "100m", "memory": "256Mi"}},
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"},
                                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
                                    "failureThreshold": 3},
                 "volumeMounts": [{"name": f"kube-api-access-{digest(name)[:5]}", "readOnly": True,
                                   "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
                 "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"},
            ],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "nodeName": f"worker-{number % NODES:03}",
            "schedulerName": "default-scheduler",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                             "tolerationSeconds": 300}],
            "volumes": [{"name": f"kube-api-access-{digest(name)[:5]}", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]}}],
        },
        "status": {
            "phase": "Running", "conditions": [{"type": kind, **condition} for kind in kinds],
            "hostIP": f"10.0.{number % 100}.7",
            "podIP": f"10.{16 + number // 65536}.{number // 256 % 256}.{number % 256}",
            "startTime": started, "qosClass": "Burstable",
            "containerStatuses": [
                {"name": app, "state": {"running": {"startedAt": started}}, "lastState": {}, "ready": True,
                 "restartCount": 0,
                 "image": image, "imageID": f"registry.example.com/{app}@sha256:{digest(image)}",
                 "containerID": f"containerd://{digest(name)}", "started": True},
            ],
        },
    }  # fmt: skip


def service(number: int) -> dict[str, Any]:
    namespace, app, _, _ = place(number * REPLICAS)
    return {
        "metadata": {"name": app, "namespace": namespace, "uid": uid("service" + app), "creationTimestamp": AT,
                     "resourceVersion": str(number), "labels": {"app.kubernetes.io/name": app}},
        "spec": {"type": "ClusterIP", "clusterIP": f"10.96.{number // 256 % 256}.{number % 256}",
                 "selector": {"app.kubernetes.io/name": app},
                 "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}]},
        "status": {"loadBalancer": {}},
    }  # fmt: skip


def workloads(pods: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield Deployment and ReplicaSet of every app that `pods` pods belong to."""
    for first in range(0, pods, REPLICAS):
        namespace, app, owner, _ = place(first)
        count = min(REPLICAS, pods - first)
        template = {"metadata": {"labels": pod(first)["metadata"]["labels"]}, "spec": pod(first)["spec"]}
        del template["spec"]["nodeName"]
        meta = {"namespace": namespace, "creationTimestamp": AT, "generation": 1, "resourceVersion": str(first)}
        status = {"replicas": count, "readyReplicas": count, "availableReplicas": count, "observedGeneration": 1}
        spec = {"replicas": count, "selector": {"matchLabels": {"app.kubernetes.io/name": app}}, "template": template}
        conditions = [{"type": "Available", "status": "True", "lastTransitionTime": AT}]
        yield (
            {"metadata": {"name": app, "uid": uid("d" + app), **meta}, "spec": spec,
             "status": {**status, "updatedReplicas": count, "conditions": conditions}},
            {"metadata": {"name": owner, "uid": uid(owner), **meta, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": app, "uid": uid("d" + app),
                 "controller": True}]},
             "spec": spec, "status": status},
        )  # fmt: skip


def node(number: int) -> dict[str, Any]:
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "250"}
    kinds = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
    return {
        "metadata": {"name": f"worker-{number:03}", "uid": uid(f"node{number}"), "creationTimestamp": AT,
                     "resourceVersion": "1", "labels": {"kubernetes.io/hostname": f"worker-{number:03}"}},
        "spec": {},
        "status": {"capacity": capacity, "allocatable": capacity,
                   "conditions": [{"type": k, "status": v, "lastHeartbeatTime": AT} for k, v in kinds.items()]},
    }  # fmt: skip


def endpoint_slice(number: int, pods: int) -> dict[str, Any]:
    namespace, app, _, _ = place(number * REPLICAS)
    endpoints = []
    for one in range(number * REPLICAS, min(pods, (number + 1) * REPLICAS)):
        made = pod(one, managed=False)
        reference = {"kind": "Pod", "namespace": namespace, "name": made["metadata"]["name"]}
        conditions = {"ready": True, "serving": True, "terminating": False}
        endpoints.append(
            {"addresses": [made["status"]["podIP"]], "conditions": conditions, "targetRef": reference,
             "nodeName": made["spec"]["nodeName"]}
        )  # fmt: skip
    return {
        "metadata": {"name": f"{app}-1", "namespace": namespace, "uid": uid(f"slice{number}"),
                     "labels": {"kubernetes.io/service-name": app}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }  # fmt: skip
