"""Devices outside of an allocation: pools, leaks, rules, drivers that do not answer, and unhealthy devices."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from assistant.domain.finding import Role, Verdict
from assistant.domain.view import ClusterView

from .accelerators import (
    DRIVER,
    bound_pod,
    claim,
    cluster,
    device_class,
    gpu,
    resource_slice,
    running_pod,
    template,
    two_nodes,
    use,
    waiting_pod,
)
from .cases import Table, check, check_healthy, told
from .objects import NOW, OLD, Raw, container, crashed, event, node, pod, thing, view, waiting

case = Table()
UNREGISTERED = f"Failed to prepare dynamic resources: prepare dynamic resources: DRA driver {DRIVER} is not registered"


def mine(**fields: Any) -> Raw:
    return claim("mine", held=[("n1", "gpu-0")], users=("train-1-1",), **fields)


def served() -> Raw:
    return claim("mine", held=[("n1", "gpu-0")], users=("web-1-1",))


def failed(cause: str) -> list[Raw]:
    return bound_pod(f"Failed to prepare dynamic resources: prepare dynamic resources: {cause}")


@case("dra", "ResourceSlice/n1-a", "resourceSliceCount")
def pool_that_announces_more_slices_than_there_are() -> ClusterView:
    return view(two_nodes(), device_class(), resource_slice("n1", gpu(), generation=7, count=2))


@case("dra", "ResourceSlice/n1-b", "resourceSliceCount")
def pool_of_which_one_slice_lags_a_generation_behind() -> ClusterView:
    return view(
        two_nodes(),
        device_class(),
        resource_slice("n1", gpu(), generation=6, count=2),
        resource_slice("n1", gpu("gpu-1"), generation=7, count=2, part="b"),
    )


@case("dra", "ResourceSlice/n9-a", "nodeName")
def slice_of_a_node_that_is_gone() -> ClusterView:
    return view(cluster(), resource_slice("n9", gpu()))


@case("dra", "Node/n2", "nvidia.com/gpu.present")
def node_that_the_driver_leaves_out() -> ClusterView:
    label = {"nvidia.com/gpu.present": "true"}
    whole = view(
        node("n1", labels=label),
        node("n2", labels=label),
        device_class("gpu.nvidia.com", 'device.driver == "gpu.nvidia.com"'),
        resource_slice("n1", gpu(), driver="gpu.nvidia.com"),
        namespace="",
    )
    return whole


@case("dra", "ResourceClaim/forgotten", "reservedFor")
def claim_that_is_allocated_and_nobody_uses() -> ClusterView:
    return view(cluster(), claim("forgotten", held=[("n1", "gpu-0")]))


@case("dra", "ResourceClaim/mine", "reservedFor")
def claim_that_a_running_pod_uses_without_a_reservation() -> ClusterView:
    return view(cluster(), claim("mine", held=[("n1", "gpu-0")]), running_pod("web", "mine"))


@case("dra", "ResourceClaim/mine", "results[0].driver")
def claim_whose_driver_is_gone() -> ClusterView:
    other = resource_slice("n2", gpu(), driver="net.acme.test")
    return view(
        two_nodes(), device_class(), other, mine(), failed("NodePrepareResources failed for ResourceClaim mine: x")
    )


@case("dra", "ResourceClaim/mine", "results[0].device")
def claim_whose_device_is_not_published_any_more() -> ClusterView:
    return view(cluster(gpu("gpu-7")), served(), running_pod("web", "mine"))


@case("dra", "ResourceClaim/mine", "status.devices[0].conditions[0]")
def device_of_which_the_driver_reports_a_fault() -> ClusterView:
    report = {"type": "Ready", "status": "False", "reason": "LinkLost", "message": "port 3 has no light"}
    status = {"devices": [{"driver": DRIVER, "pool": "n1", "device": "gpu-0", "conditions": [report]}]}
    held = claim("mine", held=[("n1", "gpu-0")], users=("web-1-1",), status=status)
    return view(cluster(), held, running_pod("web", "mine"))


@case("dra", "ResourceClaim/mine", "deletionTimestamp")
def claim_that_is_deleted_while_a_pod_uses_it() -> ClusterView:
    own = {"deletionTimestamp": OLD, "finalizers": ["resource.kubernetes.io/delete-protection"]}
    held = claim("mine", held=[("n1", "gpu-0")], users=("web-1-1",), metadata=own)
    return view(cluster(), held, running_pod("web", "mine"))


def rule(effect: str, reason: str, state: str = "True", **fields: Any) -> Raw:
    said = {"type": "EvictionInProgress", "status": state, "reason": reason, "message": "2 pods need to be evicted."}
    return thing(
        "DeviceTaintRule",
        "maintenance",
        "",
        spec={
            "deviceSelector": {"driver": DRIVER, "pool": "n3"},
            "taint": {"key": "acme.test/planned", "effect": effect},
        },
        status={"conditions": [{**said, **fields}]},
        metadata={"generation": 2},
    )


@case("dra", "DeviceTaintRule/maintenance", "spec.taint")
def rule_of_an_administrator_that_evicts_pods() -> ClusterView:
    return view(cluster(), rule("NoExecute", "PodsPendingEviction"))


@case("dra", "Node/n1", "DRA driver gpu.acme.test")
def driver_that_is_not_registered_with_the_kubelet() -> ClusterView:
    return view(cluster(), mine(), bound_pod(UNREGISTERED))


def plugin(ready: int = 1, taint: Raw | None = None, **status: Any) -> list[Raw]:
    mount = {"name": "plugins", "hostPath": {"path": f"/var/lib/kubelet/plugins/{DRIVER}"}}
    template_spec = {"containers": [container()], "volumes": [mount]}
    head = thing(
        "DaemonSet",
        "acme-kubelet-plugin",
        spec={"selector": {"matchLabels": {"app": "acme"}}, "template": {"metadata": {}, "spec": template_spec}},
        status={"desiredNumberScheduled": 1, "numberReady": ready, **status},
    )
    return [head]


@case("dra", "DaemonSet/acme-kubelet-plugin", "tolerations")
def driver_whose_plugin_does_not_tolerate_the_taint_of_the_node() -> ClusterView:
    tainted = node("n1", taints=[{"key": "gpu", "value": "only", "effect": "NoSchedule"}])
    return view(
        tainted, node("n2"), device_class(), resource_slice("n1", gpu()), mine(), bound_pod(UNREGISTERED), plugin()
    )


@case("image", "DaemonSet/acme-kubelet-plugin", "image")
def driver_whose_plugin_has_no_image() -> ClusterView:
    own = pod(
        "acme-kubelet-plugin",
        1,
        owner_kind="DaemonSet",
        phase="Pending",
        statuses=[waiting("ImagePullBackOff", 'Back-off pulling image "registry.test/web:1.0": not found')],
    )
    return view(cluster(), mine(), bound_pod(UNREGISTERED), plugin(0), own)


@case("image", "DaemonSet/acme-kubelet-plugin", "image")
def driver_that_publishes_nothing_because_its_plugin_has_no_image() -> ClusterView:
    own = pod(
        "acme-kubelet-plugin",
        1,
        owner_kind="DaemonSet",
        phase="Pending",
        statuses=[waiting("ImagePullBackOff", "not found")],
    )
    return view(two_nodes(), device_class(), template("one-gpu"), waiting_pod(), plugin(0), own)


@case("image", "DaemonSet/acme-kubelet-plugin", "image")
def pool_that_is_incomplete_because_the_plugin_has_no_image() -> ClusterView:
    own = pod(
        "acme-kubelet-plugin",
        1,
        owner_kind="DaemonSet",
        phase="Pending",
        statuses=[waiting("ImagePullBackOff", "not found")],
    )
    half = resource_slice("n1", gpu(), count=2)
    return view(two_nodes(), device_class(), half, template("one-gpu"), waiting_pod(), plugin(0), own)


@case("dra", "DaemonSet/acme-kubelet-plugin", "nodeSelector")
def driver_that_publishes_nothing_because_its_plugin_selects_no_node() -> ClusterView:
    head = plugin(0, desiredNumberScheduled=0)
    head[0]["spec"]["template"]["spec"]["nodeSelector"] = {"acme.test/gpu": "true"}
    return view(two_nodes(), device_class(), template("one-gpu"), waiting_pod(), head)


@case("dra", "Node/n1", "DRA driver gpu.acme.test")
def driver_that_hangs() -> ClusterView:
    return view(cluster(), mine(), failed("NodePrepareResources: rpc error: code = DeadlineExceeded desc = context"))


@case("dra", "ResourceClaim/mine", "status.allocation")
def driver_that_cannot_prepare_the_device() -> ClusterView:
    return view(
        cluster(),
        mine(),
        failed("NodePrepareResources failed for ResourceClaim mine: create MIG: Insufficient Resources"),
    )


@case("dra", "Deployment/train", "spec.template.spec.nodeName")
def pod_that_came_to_its_node_past_the_scheduler() -> ClusterView:
    found = failed('pod train-1-1 (uid-1) is not allowed to use ResourceClaim "mine"')
    found[0]["spec"]["template"]["spec"]["nodeName"] = "n1"
    return view(cluster(), served(), running_pod("web", "mine"), found)


@case("dra", "Node/n1", "kubeletVersion")
def kubelet_that_asks_for_a_version_that_is_not_served() -> ClusterView:
    return view(
        cluster(), mine(), failed("fetch ResourceClaim shop/mine: the server could not find the requested resource")
    )


@case("dra", "ResourceClaim/mine", "metadata.uid")
def claim_that_is_still_prepared_for_a_pod_that_was_deleted_by_force() -> ClusterView:
    said = "old ResourceClaim with same name mine and different UID abc still exists (previous pod force-deleted?!)"
    return view(cluster(), mine(), failed(said))


@case("dra", "Pod/train-1-1", "deletionTimestamp")
def pod_that_cannot_end_because_its_driver_is_gone() -> ClusterView:
    found = running_pod("train", "mine")
    found[-1]["metadata"] |= {"deletionTimestamp": OLD, "deletionGracePeriodSeconds": 30}
    said = event(
        "Pod",
        "train-1-1",
        "FailedUnprepareDynamicResources",
        f"NodeUnprepareResources failed: DRA driver {DRIVER} is not registered",
    )
    return view(cluster(), mine(), found, said)


def evicted() -> list[Raw]:
    found = running_pod("train", "mine")
    found[-1]["status"]["conditions"].append(
        {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByDeviceTaintManager", "message": "x"}
    )
    return [mine(), *found]


@case("dra", "ResourceSlice/n1-a", "devices[0].taints")
def pod_that_is_put_out_by_the_taint_of_its_device() -> ClusterView:
    lost = gpu(taints=[{"key": f"{DRIVER}/xid", "value": "48", "effect": "NoExecute"}])
    return view(
        cluster(lost),
        evicted(),
        event("Pod", "train-1-1", "DeviceTaintManagerEviction", "Marking for deletion", "Normal"),
    )


@case("dra", "DeviceTaintRule/maintenance", "spec.taint")
def pod_that_is_put_out_by_a_rule() -> ClusterView:
    drain = rule("NoExecute", "PodsPendingEviction")
    drain["spec"]["deviceSelector"] = {"pool": "n1"}
    return view(cluster(), evicted(), drain)


def sick(name: str = "claim:gpu", identity: str = f"{DRIVER}/n1/gpu-0", **fields: Any) -> list[Raw]:
    found = running_pod("train", "mine", **fields)
    state = crashed(restarts=12)
    state["allocatedResourcesStatus"] = [
        {"name": name, "resources": [{"resourceID": identity, "health": "Unhealthy", "message": "XID 79"}]}
    ]
    found[-1]["status"] |= {"containerStatuses": [state], "conditions": [{"type": "Ready", "status": "False"}]}
    return found


@case("dra", "Pod/train-1-1", "allocatedResourcesStatus")
def crashing_pod_whose_device_is_unhealthy() -> ClusterView:
    return view(cluster(), mine(), sick())


@case("scheduling", "PodGroup/gang", "minCount")
def gang_that_is_larger_than_its_workload() -> ClusterView:
    built = view(
        cluster(),
        template("one-gpu"),
        waiting_pod("waiting for minCount pods from a gang to be scheduled", schedulingGroup={"podGroupName": "gang"}),
    )
    group = {
        "apiVersion": "scheduling.k8s.io/v1beta1",
        "kind": "PodGroup",
        "metadata": {"name": "gang", "namespace": "shop"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": 4}}},
    }
    built.add("podgroups.scheduling.k8s.io", [group], "GET /podgroups")
    return built


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (crashing_pod_whose_device_is_unhealthy, "fallen off the bus"),
        (pod_that_is_put_out_by_the_taint_of_its_device, "double-bit"),
        (driver_that_cannot_prepare_the_device, "Insufficient Resources"),
        (device_of_which_the_driver_reports_a_fault, "LinkLost): port 3 has no light"),
        (pool_of_which_one_slice_lags_a_generation_behind, "1 still of generation 6"),
        (gang_that_is_larger_than_its_workload, "needs 4 pods, and 1 exist"),
        (driver_that_hangs, "DeadlineExceeded"),
    ],
)
def test_the_summary_says_what_matters(build: Any, words: str) -> None:
    assert words in scan(build()).roots[0].draft.summary


def test_a_pod_that_waits_for_a_driver_follows_from_the_drivers_own_trouble() -> None:
    result = scan(driver_whose_plugin_has_no_image())
    follows = [c for c in result.claims if c.role is Role.CONSEQUENCE and c.draft.category == "dra"]
    assert follows, told(result)
    assert "its pod acme-kubelet-plugin-1 is not ready" in follows[0].draft.summary


@pytest.mark.parametrize(
    ("effect", "reason", "state", "more"),
    [
        ("NoExecute", "Completed", "False", {}),
        ("NoExecute", "NotStarted", "False", {}),
        ("None", "NoEffect", "False", {}),
        ("NoSchedule", "OtherEffect", "False", {}),
        ("NoExecute", "PodsPendingEviction", "True", {"observedGeneration": 1}),
    ],
)
def test_a_rule_that_evicts_nobody_is_no_fault(effect: str, reason: str, state: str, more: Raw) -> None:
    check_healthy(lambda: view(cluster(), rule(effect, reason, state, **more)))


def test_a_rule_without_a_status_is_no_fault() -> None:
    bare = rule("NoSchedule", "x")
    del bare["status"]
    check_healthy(lambda: view(cluster(), bare))


def test_a_fresh_allocation_is_on_its_way() -> None:
    new = claim("fresh", held=[("n1", "gpu-0")])
    new["status"]["allocation"]["allocationTimestamp"] = NOW
    check_healthy(lambda: view(cluster(), new))


def test_a_report_of_an_older_claim_is_not_believed() -> None:
    report = {"type": "Ready", "status": "False", "reason": "LinkLost", "observedGeneration": 1}
    status = {"devices": [{"driver": DRIVER, "pool": "n1", "device": "gpu-0", "conditions": [report]}]}
    held = claim("mine", held=[("n1", "gpu-0")], users=("web-1-1",), status=status, metadata={"generation": 2})
    check_healthy(lambda: view(cluster(), held, running_pod("web", "mine")))


def test_a_healthy_or_unknown_device_under_a_pod_is_no_fault() -> None:
    def build(health: str) -> ClusterView:
        found = running_pod("web", "mine")
        found[-1]["status"]["containerStatuses"][0]["allocatedResourcesStatus"] = [
            {"name": "claim:gpu", "resources": [{"resourceID": f"{DRIVER}/n1/gpu-0", "health": health}]}
        ]
        return view(cluster(), served(), found)

    for health in ("Healthy", "Unknown"):
        check_healthy(lambda health=health: build(health))  # type: ignore[misc]


def test_an_unhealthy_device_under_a_ready_pod_is_told() -> None:
    found = running_pod("web", "mine")
    found[-1]["status"]["containerStatuses"][0]["allocatedResourcesStatus"] = [
        {"name": "claim:gpu", "resources": [{"resourceID": f"{DRIVER}/n1/gpu-0", "health": "Unhealthy"}]}
    ]
    result = scan(view(cluster(), served(), found))
    assert result.roots[0].draft.target.name == "web-1-1", told(result)


def test_another_device_is_only_promised_when_the_bad_one_is_closed_and_the_claim_is_the_pods_own() -> None:
    closed = gpu(taints=[{"key": "x", "effect": "NoSchedule"}])
    shared = scan(view(cluster(closed), mine(), sick())).roots[0].draft
    assert all(f.action is None for f in shared.fixes)
    own = claim("train-1-1-gpu", held=[("n1", "gpu-0")], users=("train-1-1",))
    found = sick(resourceClaims=use("one-gpu"))
    found[-1]["status"]["resourceClaimStatuses"] = [{"name": "gpu", "resourceClaimName": "train-1-1-gpu"}]
    fixes = scan(view(cluster(closed), template("one-gpu"), own, found)).roots[0].draft.fixes
    assert fixes[0].action is not None and fixes[0].action.target.kind == "Pod"


def test_a_preparation_that_failed_before_the_pod_ran_is_history() -> None:
    old = event("Pod", "web-1-1", "FailedPrepareDynamicResources", UNREGISTERED)
    check_healthy(lambda: view(cluster(), served(), running_pod("web", "mine"), old))


def test_a_class_and_a_plugin_for_the_same_hardware_are_a_note() -> None:
    both = node("n1")
    both["status"]["allocatable"]["acme.test/gpu"] = both["status"]["capacity"] = {"acme.test/gpu": "1"}[
        "acme.test/gpu"
    ]
    both["status"]["capacity"] = {"acme.test/gpu": "1"}
    built = view(both, node("n2"), device_class(extendedResourceName="acme.test/gpu"), resource_slice("n1", gpu()))
    result = scan(built)
    assert result.verdict is Verdict.HEALTHY, told(result)
    assert any("given away twice" in c.draft.summary for c in result.claims)


def test_an_old_slice_beside_a_complete_pool_is_a_note() -> None:
    built = view(
        two_nodes(),
        device_class(),
        resource_slice("n1", gpu(), generation=1, part="old"),
        resource_slice("n1", gpu(), generation=2),
    )
    result = scan(built)
    assert result.verdict is Verdict.HEALTHY, told(result)
    assert any("count no more" in c.draft.summary for c in result.claims)


def test_a_reservation_of_an_older_pod_of_the_same_name_is_a_note() -> None:
    old = claim("forgotten", held=[("n1", "gpu-0")], users=("web-1-1",))
    old["status"]["reservedFor"][0]["uid"] = "another"
    other = running_pod("web", "in-use")
    result = scan(
        view(cluster(gpu(), gpu("gpu-1")), old, claim("in-use", held=[("n1", "gpu-1")], users=("web-1-1",)), other)
    )
    assert result.verdict is Verdict.HEALTHY, told(result)
    assert any("does not exist any more" in c.draft.summary for c in result.claims)


def test_an_allocation_that_the_scheduler_did_not_protect_is_a_note() -> None:
    odd = claim("odd", held=[("n1", "gpu-0")], metadata={"finalizers": []})
    assert scan(view(cluster(), odd)).verdict is Verdict.HEALTHY


def test_a_gang_whose_group_cannot_be_seen_is_undecided() -> None:
    built = view(
        cluster(),
        template("one-gpu"),
        waiting_pod("waiting for minCount pods from a gang to be scheduled", schedulingGroup={"podGroupName": "gang"}),
    )
    assert scan(built).verdict is Verdict.UNDETERMINED


def test_a_claim_that_was_just_asked_for_is_on_its_way() -> None:
    found = waiting_pod('0/2 nodes are available: pod "shop/train-1-1": ResourceClaim not created yet.')
    found[2]["metadata"]["creationTimestamp"] = NOW
    result = scan(view(cluster(), template("one-gpu"), found))
    assert not result.roots, told(result)


def test_an_unknown_word_of_the_kubelet_is_shown_as_it_is() -> None:
    summary = scan(view(cluster(), mine(), failed("the moon is in the way"))).roots[0].draft.summary
    assert "the moon is in the way" in summary


def test_events_in_the_newer_form_are_read_too() -> None:
    found = bound_pod(UNREGISTERED)
    old = found.pop()
    old["regarding"] = old.pop("involvedObject")
    built = view(cluster(), mine(), found, old)
    assert "is not registered" in scan(built).roots[0].draft.summary
