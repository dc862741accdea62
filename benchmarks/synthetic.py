"""A made-up cluster of any size with planted faults of several kinds, and what a scan must find in it.

Everything else in it is healthy. The same size gives the same bytes. Each kind of fault is planted once for every
`PODS_PER_ROUND` pods and at least once; no two share a workload, and healthy ones stand in the same namespaces.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks import objects
from benchmarks.objects import PODS_PER_NAMESPACE, REPLICAS, place, uid

Raw = dict[str, Any]
PODS_PER_ROUND = 5000
NOW = "2026-11-25T03:10:00Z"
BEFORE = "2026-11-25T03:08:30Z"
OLD_REVISIONS = 2


@dataclass(frozen=True, order=True)
class Planted:
    """Where a fault is: the object that has to be named as a root cause."""

    kind: str
    namespace: str
    name: str


@dataclass
class Cluster:
    """The lists by "plural.group", the logs by (namespace, pod, container, previous), and the faults."""

    lists: dict[str, list[Raw]] = field(default_factory=lambda: defaultdict(list))
    logs: dict[tuple[str, str, str, bool], str] = field(default_factory=dict)
    planted: list[Planted] = field(default_factory=list)


@dataclass
class App:
    """One workload of the cluster, to be broken."""

    deployment: Raw
    replica_set: Raw
    pods: list[Raw]
    service: Raw
    cluster: Cluster

    @property
    def namespace(self) -> str:
        return str(self.deployment["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.deployment["metadata"]["name"])

    def templates(self) -> list[Raw]:
        owned = [self.deployment, self.replica_set]
        return [o["spec"]["template"]["spec"] for o in owned] + [p["spec"] for p in self.pods]

    def each(self, change: Callable[[Raw], None]) -> None:
        """Change the container in the templates and in all pods."""
        for spec in self.templates():
            change(spec["containers"][0])

    def unready(self, state: Raw, *, last: Raw | None = None, restarts: int = 0, phase: str = "Pending") -> None:
        """Let the container of every pod be in this state."""
        for pod in self.pods:
            status = pod["status"]
            status["phase"] = phase
            row = status["containerStatuses"][0]
            row.update(ready=False, started=False, restartCount=restarts, state=state, lastState=last or {})
            for condition in status["conditions"]:
                if condition["type"] in ("Ready", "ContainersReady"):
                    condition.update(status="False", reason="ContainersNotReady", lastTransitionTime=BEFORE)
        for thing in (self.deployment, self.replica_set):
            thing["status"].update(readyReplicas=0, availableReplicas=0)
        self.deployment["status"]["conditions"][0].update(status="False", reason="MinimumReplicasUnavailable")

    def event(self, about: Raw, kind: str, reason: str, message: str) -> None:
        meta = about["metadata"]
        name = f"{meta['name']}.{objects.digest(reason + meta['name'])[:16]}"
        self.cluster.lists["events"].append({
            "metadata": {"name": name, "namespace": self.namespace, "uid": uid(name), "creationTimestamp": BEFORE},
            "involvedObject": {"kind": kind, "namespace": self.namespace, "name": meta["name"], "uid": meta["uid"]},
            "reason": reason, "message": message, "type": "Warning", "count": 9, "firstTimestamp": BEFORE,
            "lastTimestamp": NOW, "source": {"component": "kubelet"},
        })  # fmt: skip

    def is_fault(self, kind: str, name: str) -> None:
        self.cluster.planted.append(Planted(kind, self.namespace, name))


def wrong_image(app: App) -> None:
    image = f"registry.example.com/{app.namespace}/{app.name}:1.9.x-does-not-exist"
    app.each(lambda container: container.update(image=image))
    app.unready({"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}})
    for pod in app.pods:
        app.event(
            pod,
            "Pod",
            "Failed",
            f'Failed to pull image "{image}": rpc error: code = NotFound desc = {image}: not found',
        )
    app.is_fault("Deployment", app.name)


def missing_secret(app: App) -> None:
    name = f"{app.name}-vault"
    variable = {"name": "VAULT_TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}
    app.each(lambda container: container["env"].append(copy.deepcopy(variable)))
    app.unready({"waiting": {"reason": "CreateContainerConfigError", "message": f'secret "{name}" not found'}})
    app.is_fault("Deployment", app.name)


def too_little_memory(app: App) -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "startedAt": BEFORE, "finishedAt": BEFORE}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
    app.unready({"waiting": waiting}, last={"terminated": ended}, restarts=7, phase="Running")
    app.is_fault("Deployment", app.name)


def bad_setting(app: App) -> None:
    name = f"{app.name}-settings"
    made = {"metadata": {"name": name, "namespace": app.namespace, "uid": uid(name), "creationTimestamp": objects.AT}}
    app.cluster.lists["configmaps"].append({**made, "data": {"WORKER_THREADS": "eight"}})
    variable = {"name": "WORKER_THREADS", "valueFrom": {"configMapKeyRef": {"name": name, "key": "WORKER_THREADS"}}}
    app.each(lambda container: container["env"].append(copy.deepcopy(variable)))
    ended = {"exitCode": 1, "reason": "Error", "startedAt": BEFORE, "finishedAt": BEFORE}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
    app.unready({"waiting": waiting}, last={"terminated": ended}, restarts=6, phase="Running")
    text = "starting\nValueError: invalid literal for int() with base 10: 'eight' (WORKER_THREADS)\n"
    for pod in app.pods:
        for previous in (False, True):
            app.cluster.logs[(app.namespace, pod["metadata"]["name"], app.name, previous)] = text
    app.is_fault("ConfigMap", name)


def no_such_node(app: App) -> None:
    for spec in app.templates():
        spec["nodeSelector"] = {"disk": "nvme"}
    total = objects.NODES
    said = f"0/{total} nodes are available: {total} node(s) didn't match Pod's node affinity/selector."
    for pod in app.pods:
        del pod["spec"]["nodeName"]
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
        pod["status"] = {
            "phase": "Pending",
            "qosClass": "Burstable",
            "conditions": [{**condition, "lastTransitionTime": BEFORE}],
        }
        app.event(pod, "Pod", "FailedScheduling", said)
    for thing in (app.deployment, app.replica_set):
        thing["status"].update(readyReplicas=0, availableReplicas=0)
    app.is_fault("Deployment", app.name)


def selects_nobody(app: App) -> None:
    app.service["spec"]["selector"] = {"app.kubernetes.io/name": f"{app.name}-old"}
    app.is_fault("Service", app.name)


def wrong_target_port(app: App) -> None:
    app.service["spec"]["ports"][0]["targetPort"] = "web"
    app.is_fault("Service", app.name)


def no_such_class(app: App) -> None:
    name = f"{app.name}-data"
    claim = {
        "metadata": {"name": name, "namespace": app.namespace, "uid": uid(name), "creationTimestamp": BEFORE},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "ultra", "volumeMode": "Filesystem",
                 "resources": {"requests": {"storage": "10Gi"}}},
        "status": {"phase": "Pending"},
    }  # fmt: skip
    app.cluster.lists["persistentvolumeclaims"].append(claim)
    app.event(claim, "PersistentVolumeClaim", "ProvisioningFailed", 'storageclass.storage.k8s.io "ultra" not found')
    for spec in app.templates():
        spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": name}})
    said = "0/100 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    for pod in app.pods:
        del pod["spec"]["nodeName"]
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
        pod["status"] = {"phase": "Pending", "conditions": [{**condition, "lastTransitionTime": BEFORE}]}
        app.event(pod, "Pod", "FailedScheduling", said)
    for thing in (app.deployment, app.replica_set):
        thing["status"].update(readyReplicas=0, availableReplicas=0)
    app.is_fault("PersistentVolumeClaim", name)


FAULTS = (
    wrong_image, missing_secret, too_little_memory, bad_setting, no_such_node, selects_nobody, wrong_target_port,
    no_such_class,
)  # fmt: skip


def apps(pods: int, cluster: Cluster) -> Iterator[App]:
    for number, (deployment, replica_set) in enumerate(objects.workloads(pods)):
        first = number * REPLICAS
        members = [objects.pod(one) for one in range(first, min(pods, first + REPLICAS))]
        yield App(deployment, copy.deepcopy(replica_set), members, objects.service(number), cluster)


def build(pods: int, *, faults: bool = True) -> Cluster:
    """Return the cluster of that many pods; the fault kinds are spread over its namespaces."""
    cluster = Cluster()
    lists = cluster.lists
    total = -(-pods // REPLICAS)
    rounds = max(1, pods // PODS_PER_ROUND)
    step = max(1, total // (rounds * len(FAULTS)))
    broken = {(i * step + step // 2): FAULTS[i % len(FAULTS)] for i in range(rounds * len(FAULTS))} if faults else {}
    for number, app in enumerate(apps(pods, cluster)):
        if number in broken:
            broken[number](app)
        lists["deployments.apps"].append(app.deployment)
        lists["replicasets.apps"] += [app.replica_set, *old_sets(app.replica_set)]
        lists["services"].append(app.service)
        lists["pods"] += app.pods
        lists["endpointslices.discovery.k8s.io"].append(slice_of(app, number))
        keys = {"url": "", "token": ""}
        name = f"{app.name}-api"
        meta = {"name": name, "namespace": app.namespace, "uid": uid(name), "creationTimestamp": objects.AT}
        lists["secrets"].append({"metadata": meta, "type": "Opaque", "data": dict.fromkeys(keys, "eA==")})
    lists["nodes"] = [objects.node(number) for number in range(objects.NODES)]
    for number in range(0, pods, PODS_PER_NAMESPACE):
        name = place(number)[0]
        meta = {"name": name, "uid": uid(name), "creationTimestamp": objects.AT}
        lists["namespaces"].append({"metadata": meta, "status": {"phase": "Active"}})
        account = {"name": "default", "namespace": name, "uid": uid(f"sa{name}"), "creationTimestamp": objects.AT}
        lists["serviceaccounts"].append({"metadata": account})
        root = {"name": "kube-root-ca.crt", "namespace": name, "uid": uid(f"ca{name}"), "creationTimestamp": objects.AT}
        lists["configmaps"].append({"metadata": root, "data": {"ca.crt": "-----BEGIN CERTIFICATE-----"}})
    return cluster


def old_sets(current: Raw) -> list[Raw]:
    """Return the ReplicaSets of revisions before this one, scaled to nothing."""
    found = []
    for revision in range(1, OLD_REVISIONS + 1):
        old = copy.deepcopy(current)
        name = f"{current['metadata']['name'][:-9]}{objects.digest(str(revision) + current['metadata']['name'])[:9]}"
        old["metadata"].update(
            name=name, uid=uid(name), annotations={"deployment.kubernetes.io/revision": str(revision)}
        )
        old["spec"]["replicas"] = 0
        old["status"] = {"replicas": 0, "observedGeneration": 2}
        found.append(old)
    current["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": str(OLD_REVISIONS + 1)}
    return found


def slice_of(app: App, number: int) -> Raw:
    """Return the EndpointSlice that the controller would have made."""
    selects = app.service["spec"]["selector"]["app.kubernetes.io/name"] == app.name
    endpoints = []
    for pod in app.pods if selects else ():
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
        reference = {"kind": "Pod", "namespace": app.namespace, "name": pod["metadata"]["name"]}
        conditions = {"ready": ready, "serving": ready, "terminating": False}
        address = pod["status"].get("podIP", "10.0.0.1")
        endpoints.append({"addresses": [address], "conditions": conditions, "targetRef": reference})
    return {
        "metadata": {"name": f"{app.name}-1", "namespace": app.namespace, "uid": uid(f"slice{number}"),
                     "creationTimestamp": objects.AT, "labels": {"kubernetes.io/service-name": app.name}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }  # fmt: skip
