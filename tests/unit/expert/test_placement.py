"""Scheduling, nodes, volumes and evictions: why a pod has no place, or loses it."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.domain.view import ClusterView

from .cases import Table, check, check_healthy
from .objects import NOW, OLD, Raw, container, crashed, deployment, event, node, pod, service, thing, view, waiting
from .test_faults import crash, pending

case = Table()
EDGE = node("n3", labels={"pool": "edge"}, taints=[{"key": "acme.io/edge", "value": "true", "effect": "NoSchedule"}])
TAIL = " no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."


@case("scheduling", "Deployment/web", "requests.cpu")
def nodes_that_are_full() -> ClusterView:
    return pending(
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu." + TAIL,
        node("n1", cpu="2"),
        node("n2", cpu="2"),
        EDGE,
        box=container(resources={"requests": {"cpu": "1500m"}}),
    )


@case("scheduling", "Deployment/web", "tolerations")
def node_pool_that_is_tainted() -> ClusterView:
    return pending(
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match "
            "Pod's node affinity/selector."
        )
        + TAIL,
        node("n1"),
        node("n2"),
        EDGE,
        nodeSelector={"pool": "edge"},
    )


@case("node", "Node/n3", "taints")
def taint_that_came_after_the_pods() -> ClusterView:
    spec: Raw = {"nodeSelector": {"pool": "edge"}}
    found = pending(
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match "
            "Pod's node affinity/selector."
        )
        + TAIL,
        node("n1"),
        node("n3", labels={"pool": "edge"}, taints=[{"key": "maintenance", "value": "true", "effect": "NoSchedule"}]),
        pod("web", 2, ready=True, node="n3", **spec),
        **spec,
    )
    return found


@case("scheduling", "Deployment/web", "ports")
def host_port_that_is_taken() -> ClusterView:
    box = container(ports=[{"containerPort": 8080, "hostPort": 8080}])
    return pending(
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't have free "
            "ports for the requested pod ports."
        )
        + TAIL,
        node("n1"),
        node("n2"),
        EDGE,
        box=box,
    )


@case("scheduling", "Deployment/web", "topologySpreadConstraints")
def spread_that_no_node_satisfies() -> ClusterView:
    rule = [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
    return pending(
        "0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints (missing required label)."
        + TAIL,
        node("n1"),
        node("n2"),
        topologySpreadConstraints=rule,
    )


@case("scheduling", "Deployment/web", "podAffinity")
def affinity_to_pods_that_are_not_there() -> ClusterView:
    rule = [{"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "kubernetes.io/hostname"}]
    return pending(
        "0/2 nodes are available: 2 node(s) didn't match pod affinity rules." + TAIL,
        node("n1"),
        node("n2"),
        affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": rule}},
    )


@case("scheduling", "Deployment/web", "nodeName")
def node_name_that_does_not_exist() -> ClusterView:
    return view(
        deployment("web", nodeName="worker-9"),
        pod("web", phase="Pending", statuses=[], conditions=[], nodeName="worker-9", node=""),
        node("n1"),
    )


@case("scheduling", "Deployment/web", "containers")
def nodes_that_have_all_the_pods_they_may() -> ClusterView:
    return pending("0/2 nodes are available: 2 Too many pods." + TAIL, node("n1"), node("n2"))


@case("scheduling", "Deployment/web", "limits")
def device_that_no_node_offers() -> ClusterView:
    box = container(resources={"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}})
    return pending("0/2 nodes are available: 2 Insufficient nvidia.com/gpu." + TAIL, node("n1"), node("n2"), box=box)


@case("scheduling", "DaemonSet/logs", "tolerations", "Why is there no log collector on n3?")
def daemon_set_that_leaves_a_tainted_node_out() -> ClusterView:
    template = {"metadata": {"labels": {"app": "logs"}}, "spec": {"containers": [container()]}}
    head = thing(
        "DaemonSet", "logs", spec={"template": template}, status={"desiredNumberScheduled": 2, "numberReady": 2}
    )
    pods = [pod("logs", i, owner_kind="DaemonSet", ready=True, node=f"n{i}") for i in (1, 2)]
    return view(head, pods, node("n1"), node("n2"), EDGE)


def claimed(claim: Raw, message: str, *objects: Any, question: str = "") -> ClusterView:
    name = claim["metadata"]["name"]
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    return pending(
        message,
        claim,
        node("n1", labels={"kubernetes.io/hostname": "n1"}),
        node("n3", labels={"kubernetes.io/hostname": "n3"}),
        *objects,
        volumes=volumes,
    )


def claim(name: str = "data", phase: str = "Pending", **spec: Any) -> Raw:
    return thing(
        "PersistentVolumeClaim",
        name,
        spec={
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "5Gi"}},
            "volumeMode": "Filesystem",
            **spec,
        },
        status={"phase": phase},
    )


LOCAL = thing(
    "StorageClass",
    "local-path",
    "",
    provisioner="rancher.io/local-path",
    volumeBindingMode="Immediate",
    metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
)
UNBOUND = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"


@case("storage", "PersistentVolumeClaim/data", "volumeMode")
def block_volume_that_the_class_does_not_make() -> ClusterView:
    return claimed(
        claim(storageClassName="local-path", volumeMode="Block"),
        UNBOUND,
        LOCAL,
        event(
            "PersistentVolumeClaim",
            "data",
            "ProvisioningFailed",
            'failed to provision volume with StorageClass "local-path": only support Filesystem volumeMode',
        ),
    )


@case("storage", "PersistentVolumeClaim/data", "accessModes")
def volume_for_many_nodes_that_the_class_does_not_make() -> ClusterView:
    return claimed(
        claim(storageClassName="local-path", accessModes=["ReadWriteMany"]),
        UNBOUND,
        LOCAL,
        event(
            "PersistentVolumeClaim",
            "data",
            "ProvisioningFailed",
            (
                'failed to provision volume with StorageClass "local-path": NodePath only supports '
                "ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
            ),
        ),
    )


def volume(name: str, size: str = "5Gi", phase: str = "Available", **spec: Any) -> Raw:
    return thing(
        "PersistentVolume",
        name,
        "",
        spec={"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "manual", **spec},
        status={"phase": phase},
    )


MANUAL = thing("StorageClass", "manual", "", provisioner="kubernetes.io/no-provisioner", volumeBindingMode="Immediate")


@case("storage", "PersistentVolumeClaim/data", "requests.storage")
def claim_that_is_larger_than_any_volume() -> ClusterView:
    return claimed(
        claim(storageClassName="manual", resources={"requests": {"storage": "50Gi"}}),
        UNBOUND,
        MANUAL,
        volume("pv-1", "10Gi"),
        event(
            "PersistentVolumeClaim",
            "data",
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
            "Normal",
        ),
    )


@case("storage", "PersistentVolumeClaim/data", "accessModes")
def claim_that_asks_for_another_access_mode() -> ClusterView:
    return claimed(
        claim(storageClassName="manual", accessModes=["ReadWriteMany"]), UNBOUND, MANUAL, volume("pv-1", "10Gi")
    )


@case("storage", "PersistentVolume/pv-1", "claimRef")
def volume_that_still_belongs_to_a_claim_that_is_gone() -> ClusterView:
    ref = {"kind": "PersistentVolumeClaim", "name": "data", "namespace": "shop", "uid": "old"}
    return claimed(
        claim(storageClassName="manual", volumeName="pv-1"),
        UNBOUND,
        MANUAL,
        volume("pv-1", "10Gi", "Released", claimRef=ref),
    )


@case("storage", "Deployment/web", "nodeSelector")
def pod_that_was_sent_away_from_its_volume() -> ClusterView:
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    return pending(
        (
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) "
            "didn't match PersistentVolume's node affinity."
        )
        + TAIL,
        node("n1", labels={"kubernetes.io/hostname": "n1"}),
        node("n3", labels={"kubernetes.io/hostname": "n3", "pool": "edge"}),
        claim(phase="Bound", volumeName="pv-1", storageClassName="local-path"),
        volume("pv-1", phase="Bound", nodeAffinity={"required": {"nodeSelectorTerms": terms}}),
        LOCAL,
        volumes=volumes,
        nodeSelector={"pool": "edge"},
    )


@case("storage", "PersistentVolumeClaim/data", "accessModes")
def volume_that_one_pod_keeps_to_itself() -> ClusterView:
    return claimed(
        claim(phase="Bound", volumeName="pv-1", accessModes=["ReadWriteOncePod"], storageClassName="local-path"),
        (
            "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name "
            "and ReadWriteOncePod access mode."
        )
        + TAIL,
        LOCAL,
        volume("pv-1", phase="Bound"),
    )


@case("storage", "StatefulSet/store", "volumeClaimTemplates")
def class_in_a_claim_template_that_does_not_exist() -> ClusterView:
    template = {"metadata": {"name": "data"}, "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"]}}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-store-0"}}]
    head = thing(
        "StatefulSet",
        "store",
        spec={
            "replicas": 2,
            "serviceName": "store",
            "volumeClaimTemplates": [template],
            "template": {"metadata": {"labels": {"app": "store"}}, "spec": {"containers": [container()]}},
        },
    )
    waits = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNBOUND}]
    return view(
        head,
        pod(
            "store",
            0,
            owner_kind="StatefulSet",
            phase="Pending",
            node="",
            statuses=[],
            conditions=waits,
            volumes=volumes,
        ),
        claim("data-store-0", storageClassName="fast"),
        LOCAL,
        service("store", clusterIP="None"),
        node(),
        event(
            "PersistentVolumeClaim",
            "data-store-0",
            "ProvisioningFailed",
            'storageclass.storage.k8s.io "fast" not found',
        ),
    )


def mounting(volumes: list[Raw], message: str, *objects: Any, reason: str = "FailedMount") -> ClusterView:
    return view(
        deployment("web", volumes=volumes),
        pod("web", phase="Pending", statuses=[waiting("ContainerCreating")], volumes=volumes),
        event("Pod", "web-1-1", reason, message),
        node(),
        *objects,
    )


@case("storage", "Deployment/web", "volumes[0]")
def volume_driver_that_the_node_does_not_have() -> ClusterView:
    return mounting(
        [{"name": "data", "csi": {"driver": "secrets-store.csi.k8s.io"}}],
        (
            'MountVolume.SetUp failed for volume "data" : kubernetes.io/csi: mounter.SetUpAt failed '
            "to get CSI client: driver name secrets-store.csi.k8s.io not found in the list of "
            "registered CSI drivers"
        ),
    )


@case("storage", "PersistentVolume/pv-nfs", "nfs")
def file_server_that_does_not_answer() -> ClusterView:
    return mounting(
        [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        (
            'MountVolume.SetUp failed for volume "pv-nfs" : mount failed: exit status 32\nMounting '
            "arguments: -t nfs 10.9.9.9:/export /var/lib/kubelet/pods\nOutput: mount.nfs: Connection "
            "timed out"
        ),
        claim(phase="Bound", volumeName="pv-nfs", storageClassName="nfs"),
        volume("pv-nfs", phase="Bound", nfs={"server": "10.9.9.9", "path": "/export"}),
    )


@case("storage", "PersistentVolumeClaim/data", "storage")
def volume_that_is_full() -> ClusterView:
    box = container(volumeMounts=[{"name": "data", "mountPath": "/data"}])
    return crash(
        "OSError: [Errno 28] No space left on device: '/data/journal/0001.log'",
        claim(phase="Bound", volumeName="pv-1", storageClassName="local-path"),
        box=box,
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    )


@case("storage", "Deployment/web", "readOnly")
def volume_that_is_mounted_read_only() -> ClusterView:
    box = container(volumeMounts=[{"name": "data", "mountPath": "/data", "readOnly": True}])
    return crash(
        "error: open /data/index.db: read-only file system", box=box, volumes=[{"name": "data", "emptyDir": {}}]
    )


@case("security", "Deployment/web", "fsGroup")
def volume_that_belongs_to_another_user() -> ClusterView:
    box = container(volumeMounts=[{"name": "data", "mountPath": "/data"}])
    return crash(
        "PermissionError: [Errno 13] Permission denied: '/data/queue.db'",
        box=box,
        volumes=[{"name": "data", "emptyDir": {}}],
        securityContext={"runAsUser": 1000},
    )


def evicted(message: str, **spec: Any) -> ClusterView:
    box = container(resources={"limits": {"ephemeral-storage": "50Mi", "memory": "128Mi"}})
    gone = [
        pod("web", i, containers=[box], phase="Failed", statuses=[], status={"reason": "Evicted", "message": message})
        for i in (1, 2, 3)
    ]
    return view(
        deployment("web", box, **spec),
        gone,
        pod("web", 4, containers=[box], statuses=[waiting("ContainerCreating")], phase="Pending"),
        node(),
    )


@case("eviction", "Deployment/web", "ephemeral-storage")
def pods_that_write_too_much() -> ClusterView:
    return evicted('Container app exceeded its local ephemeral storage limit "50Mi". ')


@case("eviction", "Deployment/web", "emptyDir.sizeLimit")
def scratch_volume_that_is_too_small() -> ClusterView:
    return evicted(
        'Usage of EmptyDir volume "scratch" exceeds the limit "64Mi". ',
        volumes=[{"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}}],
    )


@case("node", "Node/n1", "MemoryPressure")
def pods_that_are_evicted_because_their_node_is_short() -> ClusterView:
    text = (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. "
        "Container app was using 500Mi, request is 0, has larger consumption of memory. "
    )
    short = node("n1")
    short["status"]["conditions"].append(
        {"type": "MemoryPressure", "status": "True", "message": "kubelet has insufficient memory available"}
    )
    gone = [pod("web", i, phase="Failed", statuses=[], status={"reason": "Evicted", "message": text}) for i in (1, 2)]
    return view(deployment("web"), gone, pod("web", 3, phase="Pending", statuses=[waiting("ContainerCreating")]), short)


@case("node", "Node/n1", "Ready")
def node_that_is_silent() -> ClusterView:
    lost = node("n1", ready="Unknown", message="Kubelet stopped posting node status.")
    lost["spec"]["taints"] = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]
    dying = pod("web", 1, conditions=[{"type": "Ready", "status": "False"}])
    dying["metadata"]["deletionTimestamp"] = OLD
    fresh = pod("web", 2, node="n2", phase="Pending", statuses=[waiting("ContainerCreating")])
    fresh["metadata"]["creationTimestamp"] = NOW
    return view(deployment("web"), dying, fresh, service("web"), lost, node("n2"))


@case("node", "Node/n1", "Ready")
def node_without_a_network_plug_in() -> ClusterView:
    text = (
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
        "message:Network plugin returns error: cni plugin not initialized"
    )
    return view(
        deployment("web"),
        pod("web", phase="Pending", statuses=[waiting("ContainerCreating")]),
        node("n1", ready="False", message=text),
    )


@case("network", "Node/n1", "network")
def network_plug_in_that_cannot_add_a_pod() -> ClusterView:
    text = (
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network "
        'for sandbox "1": plugin type="flannel" failed (add): loadFlannelSubnetEnv failed: open '
        "/run/flannel/subnet.env: no such file or directory"
    )
    return view(
        deployment("web"),
        pod("web", phase="Pending", statuses=[waiting("ContainerCreating")]),
        event("Pod", "web-1-1", "FailedCreatePodSandBox", text),
        node("n1"),
    )


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


def test_a_daemon_set_beside_a_tainted_node_is_as_it_should_be() -> None:
    check_healthy(daemon_set_that_leaves_a_tainted_node_out)


def test_an_eviction_of_the_past_is_history() -> None:
    old = pod(
        "web",
        9,
        phase="Failed",
        statuses=[],
        status={"reason": "Evicted", "message": "The node was low on resource: memory."},
    )
    check_healthy(lambda: view(deployment("web", ready=1), old, pod("web", ready=True), service("web"), node()))


def test_a_bound_claim_whose_first_provisioning_failed_is_history() -> None:
    failed = event("PersistentVolumeClaim", "data", "ProvisioningFailed", "timed out")
    check_healthy(
        lambda: view(
            deployment("web", ready=1), pod("web", ready=True), claim(phase="Bound", volumeName="v"), failed, node()
        )
    )


def test_restarts_of_before_the_node_came_back_are_history() -> None:
    status = {**crashed(255, "Unknown", 3, ready=True), "state": {"running": {"startedAt": OLD}}}
    status["lastState"]["terminated"]["finishedAt"] = "2026-03-01T10:59:00Z"
    check_healthy(
        lambda: view(deployment("web", ready=1), pod("web", ready=True, statuses=[status]), service("web"), node())
    )
