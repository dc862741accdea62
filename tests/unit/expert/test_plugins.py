"""Extended resources of device plugins, the GPU operator's chain, and containers whose GPU is the trouble."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from agents.expert.devices.xid import number_in
from assistant.domain.finding import Role, Verdict
from assistant.domain.view import ClusterView

from .accelerators import claim, device_class, gpu, resource_slice, running_pod
from .cases import Table, check, check_healthy, told
from .objects import NOW, OLD, Raw, container, crashed, deployment, event, node, pod, thing, view, waiting

case = Table()
GPU = "nvidia.com/gpu"
NO_GPU = (
    "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are available: 2 No preemption "
    "victims found for incoming pod."
)
PRESENT = {"nvidia.com/gpu.present": "true"}


def gpus(name: str = "n1", have: int = 1, free: int | None = None, resource: str = GPU, **fields: Any) -> Raw:
    made = node(name, **fields)
    made["status"]["capacity"] = {resource: str(have)}
    made["status"]["allocatable"][resource] = str(have if free is None else free)
    return made


def asking(count: int = 1, resource: str = GPU, **fields: Any) -> Raw:
    return container(resources={"limits": {resource: str(count)}}, **fields)


def pending(message: str = NO_GPU, count: int = 1, resource: str = GPU, name: str = "train", **spec: Any) -> list[Raw]:
    """A Deployment whose pod asks for an extended resource and gets no node."""
    box = asking(count, resource)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    found = pod(name, containers=[box], phase="Pending", node="", statuses=[], conditions=[condition], **spec)
    return [*deployment(name, box, **spec), found]


def running(name: str, count: int = 1, on: str = "n1", resource: str = GPU) -> list[Raw]:
    box = asking(count, resource)
    return [*deployment(name, box, ready=1), pod(name, containers=[box], ready=True, node=on)]


def daemons(name: str, wanted: int = 1, ready: int = 1, selector: Raw | None = None, **status: Any) -> Raw:
    spec: Raw = {"containers": [container(image=f"registry.test/nvidia/{name}:1")]}
    if selector:
        spec["nodeSelector"] = selector
    return thing(
        "DaemonSet",
        name,
        spec={
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": spec | ({"nodeSelector": selector} if selector else {}),
            },
        },
        status={"desiredNumberScheduled": wanted, "numberReady": ready, **status},
    )


def daemon_pod(name: str, *, ready: bool = False, waits: str = "", made: str = OLD) -> Raw:
    init = [container("wait", image="registry.test/nvidia/wait:1")] if waits else None
    state = {"name": "wait", "ready": False, "restartCount": 0, "state": {"running": {"startedAt": made}}}
    found = pod(
        name,
        1,
        owner_kind="DaemonSet",
        ready=ready,
        phase="Pending" if waits else "Running",
        init=init,
        statuses=[waiting("PodInitializing")] if waits else None,
        status={"initContainerStatuses": [state]} if waits else None,
    )
    found["metadata"]["creationTimestamp"] = made
    return found


@case("scheduling", "Deployment/train", "limits['nvidia.com/gpu']")
def no_node_has_ever_offered_a_gpu() -> ClusterView:
    return view(node("n1"), node("n2"), pending())


@case("scheduling", "Deployment/train", "limits['nvidia.com/gpu']")
def node_with_the_hardware_and_without_a_plugin() -> ClusterView:
    return view(node("n1", labels={"feature.node.kubernetes.io/pci-10de.present": "true"}), node("n2"), pending())


@case("scheduling", "DaemonSet/nvidia-device-plugin-ds", "nodeSelector")
def plugin_that_selects_no_node() -> ClusterView:
    return view(node("n1"), node("n2"), daemons("nvidia-device-plugin-ds", 0, 0, PRESENT), pending())


@case("image", "DaemonSet/nvidia-device-plugin-ds", "image")
def plugin_that_has_no_image() -> ClusterView:
    own = pod(
        "nvidia-device-plugin-ds",
        1,
        owner_kind="DaemonSet",
        phase="Pending",
        statuses=[waiting("ImagePullBackOff", "not found")],
    )
    return view(node("n1"), node("n2"), daemons("nvidia-device-plugin-ds", 1, 0), own, pending())


@case("scheduling", "Deployment/train", "limits['nvidia.com/gpu']")
def every_gpu_in_use() -> ClusterView:
    return view(gpus(have=2), node("n2"), running("one"), running("two"), pending())


@case("scheduling", "Deployment/train", "limits['nvidia.com/gpu']")
def more_gpus_than_a_node_has() -> ClusterView:
    return view(gpus(have=2), gpus("n2", have=4), pending(count=8))


@case("scheduling", "Deployment/train", "tolerations")
def gpu_nodes_that_are_tainted() -> ClusterView:
    tainted = gpus(taints=[{"key": GPU, "value": "present", "effect": "NoSchedule"}])
    taint = "1 node(s) had untolerated taint {nvidia.com/gpu: present}"
    said = f"0/2 nodes are available: 1 Insufficient nvidia.com/gpu, {taint}."
    return view(tainted, node("n2"), pending(said))


@case("scheduling", "Deployment/train", "nodeSelector")
def gpu_nodes_that_the_selector_leaves_out() -> ClusterView:
    said = (
        "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't match Pod's node affinity/selector."
    )
    return view(gpus(), node("n2", labels={"zone": "b"}), pending(said, nodeSelector={"zone": "b"}))


@case("scheduling", "Deployment/train", "limits['nvidia.com/gpu']")
def gpus_that_are_offered_as_shared() -> ClusterView:
    return view(gpus(resource="nvidia.com/gpu.shared", have=4), node("n2"), pending())


@case("scheduling", "Deployment/train", "limits['nvidia.com/mig-1g.5gb']")
def mig_profile_that_no_node_has() -> ClusterView:
    said = NO_GPU.replace("nvidia.com/gpu", "nvidia.com/mig-1g.5gb")
    return view(
        gpus(resource="nvidia.com/mig-1g.10gb", have=7), node("n2"), pending(said, resource="nvidia.com/mig-1g.5gb")
    )


@case("scheduling", "Node/n1", "status.allocatable['nvidia.com/gpu']")
def node_that_has_gpus_and_offers_none() -> ClusterView:
    return view(gpus(have=8, free=0, labels=PRESENT), node("n2"), pending())


@case("image", "DaemonSet/nvidia-device-plugin-ds", "image")
def node_whose_plugin_went_away_with_its_image() -> ClusterView:
    own = pod(
        "nvidia-device-plugin-ds",
        1,
        owner_kind="DaemonSet",
        phase="Pending",
        statuses=[waiting("ImagePullBackOff", "not found")],
    )
    return view(gpus(have=8, free=0), node("n2"), daemons("nvidia-device-plugin-ds", 1, 0), own, pending())


@case("scheduling", "Node/n1", "status.allocatable['nvidia.com/gpu']")
def node_of_which_a_gpu_is_unhealthy() -> ClusterView:
    said = event("Node", "n1", "XidError", "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus", namespace="")
    return view(gpus(have=2, free=1), node("n2"), running("one"), pending(), said)


@case("scheduling", "Deployment/train", "limits['acme.test/gpu']")
def class_with_the_name_of_an_extended_resource() -> ClusterView:
    said = NO_GPU.replace("nvidia.com/gpu", "acme.test/gpu")
    return view(
        node("n1"),
        node("n2"),
        device_class(extendedResourceName="acme.test/gpu"),
        pending(said, resource="acme.test/gpu"),
    )


@case("scheduling", "Deployment/train", "limits['acme.test/gpu']")
def class_that_has_no_device_left_for_an_extended_resource() -> ClusterView:
    busy = [claim("other-claim", held=[("n1", "gpu-0")], users=("other-1-1",)), *running_pod("other", "other-claim")]
    return view(
        node("n1"),
        node("n2"),
        device_class(extendedResourceName="acme.test/gpu"),
        resource_slice("n1", gpu()),
        busy,
        pending("0/2 nodes are available: 2 cannot allocate all claims.", resource="acme.test/gpu"),
    )


def refused(reason: str, message: str, count: int = 1, **spec: Any) -> list[Raw]:
    box = asking(count)
    found = pod(
        "train",
        containers=[box],
        phase="Failed",
        statuses=[],
        conditions=[],
        status={"reason": reason, "message": message},
    )
    return [*deployment("train", box, **spec), found]


@case("scheduling", "Deployment/train", "status.reason")
def pod_that_the_kubelet_refused() -> ClusterView:
    said = (
        "Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
        "Requested: 1, Available: 0, which is unexpected"
    )
    return view(gpus(), node("n2"), refused("UnexpectedAdmissionError", said))


@case("scheduling", "Deployment/train", "limits['nvidia.com/gpu']")
def two_shares_where_one_is_allowed() -> ClusterView:
    said = (
        "Pod was rejected: Allocate failed due to rpc error: code = Unknown desc = invalid request: "
        "maximum request size for shared resources is 1; found 2, which is unexpected"
    )
    return view(gpus(have=4), refused("UnexpectedAdmissionError", said, 2))


@case("scheduling", "Deployment/train", "nodeName")
def pod_that_was_put_on_a_full_node() -> ClusterView:
    said = "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, requested: 1, used: 1, capacity: 1"
    return view(gpus(), running("one"), refused("OutOfnvidia.com/gpu", said, nodeName="n1"))


@case("node", "Node/n1", "container runtime")
def runtime_without_the_handler() -> ClusterView:
    box = asking()
    found = pod(
        "train", containers=[box], phase="Pending", statuses=[waiting("ContainerCreating")], runtimeClassName="nvidia"
    )
    said = event(
        "Pod",
        "train-1-1",
        "FailedCreatePodSandBox",
        'Failed to create pod sandbox: rpc error: code = Unknown desc = no runtime for "nvidia" is configured',
    )
    return view(gpus(), deployment("train", box, runtimeClassName="nvidia"), found, said)


@case("node", "Node/n1", "container runtime")
def toolkit_that_fails() -> ClusterView:
    box = asking()
    state = waiting(
        "RunContainerError",
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: error running "
        "prestart hook #0: nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
    )
    return view(gpus(), deployment("train", box), pod("train", containers=[box], statuses=[state]))


@case("node", "Node/n1", "container runtime")
def device_that_the_runtime_does_not_know() -> ClusterView:
    box = asking()
    state = waiting("CreateContainerError", "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0")
    return view(gpus(), deployment("train", box), pod("train", containers=[box], statuses=[state]))


def crashing(line: str, box: Raw, *nodes: Raw) -> ClusterView:
    return view(
        *nodes,
        deployment("train", box),
        pod("train", containers=[box], statuses=[crashed()]),
        logs={("train-1-1", "app"): f"starting\n{line}\n"},
    )


@case("node", "Node/n1", "GPU driver")
def driver_that_was_updated_without_a_reboot() -> ClusterView:
    return crashing("Failed to initialize NVML: Driver/library version mismatch", asking(), gpus())


@case("node", "Node/n1", "GPU driver")
def image_with_a_newer_cuda_than_the_driver() -> ClusterView:
    return crashing("CUDA error: CUDA driver version is insufficient for CUDA runtime version", asking(), gpus())


@case("scheduling", "Deployment/train", "resources.limits")
def program_that_looks_for_a_gpu_and_asks_for_none() -> ClusterView:
    return crashing("RuntimeError: No CUDA GPUs are available", container(), gpus())


@case("node", "Node/n1", "GPU driver")
def program_that_does_not_see_its_gpu() -> ClusterView:
    return crashing("RuntimeError: CUDA error: no CUDA-capable device is detected", asking(), gpus())


@case("scheduling", "Pod/train-1-1", "allocatedResourcesStatus")
def gpu_that_is_unhealthy_under_its_pod() -> ClusterView:
    box = asking()
    state = crashed()
    state["allocatedResourcesStatus"] = [{"name": GPU, "resources": [{"resourceID": "GPU-1", "health": "Unhealthy"}]}]
    return view(gpus(), deployment("train", box), pod("train", containers=[box], statuses=[state]))


NAMES = (
    "nvidia-driver-daemonset",
    "nvidia-container-toolkit-daemonset",
    "nvidia-operator-validator",
    "nvidia-device-plugin-daemonset",
    "gpu-feature-discovery",
    "nvidia-dcgm-exporter",
)


def chain(broken: int, *more: Any, made: str = OLD, first: Raw | None = None) -> ClusterView:
    """The operator on one node, with every part from this one on not ready."""
    objects: list[Any] = []
    for i, name in enumerate(NAMES):
        if i < broken:
            objects += [daemons(name), daemon_pod(name, ready=True)]
        elif i == broken:
            objects += [daemons(name, 1, 0), first or daemon_pod(name, made=made)]
        elif broken < 3:
            objects += [daemons(name, 1, 0), daemon_pod(name, waits="yes", made=made)]
        else:
            objects += [daemons(name), daemon_pod(name, ready=True)]
    return view(node("n1", labels=PRESENT), *objects, *more)


def policy(state: str = "notReady", *conditions: Raw, generation: int = 1) -> Raw:
    return thing(
        "ClusterPolicy",
        "cluster-policy",
        "",
        status={"state": state, "conditions": list(conditions)},
        metadata={"generation": generation},
    )


@pytest.mark.parametrize("broken", range(len(NAMES)))
def test_the_first_link_that_is_not_ready_is_the_cause(broken: int) -> None:
    bad = {"type": "Ready", "status": "False", "reason": "OperandNotReady", "message": "states not ready"}
    result = scan(chain(broken, policy("notReady", bad), pending()))
    assert [c.draft.target.name for c in result.roots] == [NAMES[broken]], told(result)
    assert result.roots[0].draft.citations


def test_what_keeps_the_first_link_is_the_cause_where_it_is_known() -> None:
    own = daemon_pod(NAMES[0])
    own["status"]["containerStatuses"] = [waiting("ImagePullBackOff", "manifest unknown: not found")]
    result = scan(chain(0, first=own))
    assert [(c.draft.category, c.draft.target.name) for c in result.roots] == [("image", NAMES[0])], told(result)
    assert any(c.role is Role.CONSEQUENCE for c in result.claims)


def test_a_driver_that_is_being_installed_is_no_fault_yet() -> None:
    result = scan(chain(0, made=NOW))
    assert not result.roots, told(result)


def test_a_chain_that_is_ready_is_healthy() -> None:
    check_healthy(
        lambda: chain(len(NAMES), policy("ready", {"type": "Ready", "status": "True", "reason": "Reconciled"}))
    )


def test_a_daemon_set_whose_status_is_of_an_older_spec_is_not_judged() -> None:
    late = daemons(NAMES[0], 1, 0, observedGeneration=1)
    late["metadata"]["generation"] = 2
    assert not scan(view(node("n1"), late)).roots


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("NFDLabelsMissing", "node feature discovery"),
        ("NoGPUNodes", "no node has a GPU"),
        ("ConflictingNodeSelector", "two NVIDIADriver"),
        ("SomethingNew", "the reason SomethingNew"),
    ],
)
def test_the_policy_says_why_nothing_is_deployed(reason: str, words: str) -> None:
    said = {"type": "Error", "status": "True", "reason": reason, "message": "more words"}
    result = scan(view(node("n1"), policy("notReady", said), pending()))
    assert [c.draft.target.kind for c in result.roots] == ["ClusterPolicy"], told(result)
    assert words in result.roots[0].draft.summary and "more words" in result.roots[0].draft.summary
    assert result.roots[0].draft.fixes[0].outside


@pytest.mark.parametrize("state", ["ready", "ignored", "disabled", ""])
def test_a_policy_that_is_ready_or_off_or_silent_is_no_fault(state: str) -> None:
    check_healthy(lambda: view(node("n1"), policy(state)))


def test_a_policy_whose_condition_is_of_an_older_generation_is_not_believed() -> None:
    old = {"type": "Ready", "status": "False", "reason": "OperandNotReady", "observedGeneration": 1}
    result = scan(view(node("n1"), policy("", old, generation=2)))
    assert all(c.draft.confidence <= 0.5 for c in result.roots), told(result)


def test_mig_that_failed_is_told_and_mig_under_way_is_not() -> None:
    def build(state: str) -> ClusterView:
        labels = {"nvidia.com/mig.config.state": state, "nvidia.com/mig.config": "all-1g.5gb"}
        return view(node("n1", labels=labels), namespace="")

    result = scan(build("failed"))
    assert result.roots[0].draft.target.name == "n1", told(result)
    assert "all-1g.5gb" in result.roots[0].draft.summary
    for state in ("success", "pending", "rebooting"):
        assert not scan(build(state)).roots


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (no_node_has_ever_offered_a_gpu, "no node offers nvidia.com/gpu"),
        (node_with_the_hardware_and_without_a_plugin, "n1 has the hardware by its label"),
        (every_gpu_in_use, "2 of 2 are held (shop/one-1-1 1, shop/two-1-1 1)"),
        (more_gpus_than_a_node_has, "asks for 8 nvidia.com/gpu, and no node has more than 4"),
        (gpus_that_are_offered_as_shared, "time-slicing"),
        (mig_profile_that_no_node_has, "MIG"),
        (node_that_has_gpus_and_offers_none, "has 8 nvidia.com/gpu and offers none"),
        (node_of_which_a_gpu_is_unhealthy, "1 of its 2 nvidia.com/gpu are unhealthy; Xid 79"),
        (class_with_the_name_of_an_extended_resource, "DeviceClass gpu.acme.test"),
        (class_that_has_no_device_left_for_an_extended_resource, "1 allocated (to shop/other-claim) -> 0 left"),
        (plugin_that_selects_no_node, "none carries nvidia.com/gpu.present=true"),
        (toolkit_that_fails, "nvml error: driver not loaded"),
    ],
)
def test_the_summary_says_what_matters(build: Any, words: str) -> None:
    assert words in scan(build()).roots[0].draft.summary, scan(build()).roots[0].draft.summary


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (more_gpus_than_a_node_has, '"value": "4"'),
        (gpu_nodes_that_are_tainted, '"key": "nvidia.com/gpu"'),
        (gpus_that_are_offered_as_shared, "nvidia.com~1gpu.shared"),
        (two_shares_where_one_is_allowed, '"value": "1"'),
        (program_that_looks_for_a_gpu_and_asks_for_none, '"nvidia.com/gpu": "1"'),
        (gpu_that_is_unhealthy_under_its_pod, "delete pod train-1-1"),
    ],
)
def test_the_fix_is_computed(build: Any, words: str) -> None:
    told_ = "\n".join(f.kubectl for f in scan(build()).roots[0].draft.fixes)
    assert words in told_, told_


def test_a_class_with_free_devices_points_at_the_feature() -> None:
    said = NO_GPU.replace("nvidia.com/gpu", "acme.test/gpu")
    made = device_class(extendedResourceName="acme.test/gpu")
    built = view(node("n1"), node("n2"), made, resource_slice("n1", gpu()), pending(said, resource="acme.test/gpu"))
    top = scan(built).roots[0].draft
    assert "DRAExtendedResource" in top.fixes[0].title and "1 left" in top.summary


def test_a_cluster_with_free_and_used_gpus_is_healthy() -> None:
    check_healthy(lambda: view(gpus(have=4), node("n2"), running("one"), running("two", 2)))


def test_a_node_that_lost_its_gpus_is_a_note_for_a_namespace_that_wants_none() -> None:
    result = scan(view(gpus(have=8, free=0), deployment("web", ready=1), pod("web", ready=True)))
    assert result.verdict is Verdict.HEALTHY, told(result)
    assert any("offers none" in c.draft.summary for c in result.claims)


def test_a_refused_pod_that_was_replaced_is_history() -> None:
    said = "Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate, which is unexpected"
    found = refused("UnexpectedAdmissionError", said)
    again = pod("train", 2, containers=[asking()], ready=True)
    found[0]["status"]["readyReplicas"] = 1
    result = scan(view(gpus(), found, again))
    assert not result.roots, told(result)


def test_a_node_that_just_joined_is_still_being_set_up() -> None:
    young = gpus(have=8, free=0)
    young["metadata"]["creationTimestamp"] = NOW
    assert not scan(view(young, namespace="")).roots


def test_a_cuda_word_in_the_log_of_a_healthy_pod_is_history() -> None:
    built = view(
        gpus(), running("train"), logs={("train-1-1", "app"): "no CUDA-capable device is detected, using the CPU\n"}
    )
    assert scan(built).verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    ("words", "number"),
    [("NVRM: Xid (PCI:0000:3b:00): 79, pid=1", 79), ("XID 48", 48), ("xid=94", 94), ("no errors", 0), ("Xid abc", 0)],
)
def test_the_number_of_an_xid_is_read_from_the_words_of_drivers(words: str, number: int) -> None:
    assert number_in(words) == number
