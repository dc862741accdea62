"""Dynamic resource allocation: pods that get no device, at every step of the scheduler's way to one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from agents.expert.causes import scan
from agents.expert.devices.inventory import SLICES
from assistant.domain.finding import Role, Verdict
from assistant.domain.view import ClusterView, Knowledge

from .accelerators import (
    DRIVER,
    IS_GPU,
    NONE_FREE,
    claim,
    cluster,
    device_class,
    gpu,
    request,
    resource_slice,
    running_pod,
    selecting,
    template,
    two_nodes,
    use,
    waiting_pod,
)
from .cases import Table, check, check_healthy, told
from .objects import NOW, OLD, Raw, deployment, event, node, thing, view

case = Table()
C = f'device.capacity["{DRIVER}"]'
A = f'device.attributes["{DRIVER}"]'


def holder(name: str = "other", *held: tuple[str, str], node_name: str = "n1") -> list[Raw]:
    """A workload that runs well with these devices."""
    mine = claim(f"{name}-claim", held=list(held or [("n1", "gpu-0")]), users=(f"{name}-1-1",))
    return [mine, *running_pod(name, f"{name}-claim", node_name)]


def summary(built: ClusterView) -> str:
    return scan(built).roots[0].draft.summary


def fixes(built: ClusterView) -> str:
    return "\n".join(f"{f.title} {f.kubectl}" for f in scan(built).roots[0].draft.fixes)


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0].exactly.deviceClassName")
def class_that_does_not_exist() -> ClusterView:
    return view(
        cluster(),
        template("one-gpu", request(deviceClassName="gpu.acme.tset")),
        waiting_pod("0/2 nodes are available: 2 request gpu: device class gpu.acme.tset does not exist."),
    )


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0]")
def driver_that_publishes_nothing() -> ClusterView:
    return view(two_nodes(), device_class(), template("one-gpu"), waiting_pod())


@case("dra", "DeviceClass/gpu.acme.test", "selectors[0].cel.expression")
def class_that_names_the_wrong_driver() -> ClusterView:
    return view(
        two_nodes(),
        device_class(DRIVER, 'device.driver == "gpu.acme.tets"'),
        resource_slice("n1", gpu()),
        template("one-gpu"),
        waiting_pod(),
    )


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0].exactly.selectors[0].cel.expression")
def selector_that_wants_more_memory_than_any_device_has() -> ClusterView:
    big = selecting(f'{C}.memory.compareTo(quantity("141Gi")) >= 0')
    return view(cluster(gpu(), gpu("gpu-1", "40Gi")), template("one-gpu", big), waiting_pod())


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0].exactly.selectors[1].cel.expression")
def second_selector_that_misspells_a_model() -> ClusterView:
    wrong = selecting(f'{A}.type == "gpu"', f'{A}.model == "A-100"')
    return view(cluster(), template("one-gpu", wrong), waiting_pod())


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0].exactly.selectors[0].cel.expression")
def selector_that_touches_what_some_devices_lack() -> ClusterView:
    odd = selecting(f'{A}.link == "nv"')
    return view(
        cluster(gpu(), gpu("gpu-1", link={"string": "nv"})),
        template("one-gpu", odd),
        waiting_pod(
            "running Filter plugin: claim shop/x, selector #0: CEL runtime error: no such key: link",
            reason="SchedulerError",
        ),
    )


@case("dra", "DeviceClass/gpu.acme.test", "selectors[0].cel.expression")
def class_that_stumbles_over_the_devices_of_another_driver() -> ClusterView:
    other = resource_slice("n2", {"name": "nic-0", "attributes": {"speed": {"int": 100}}}, driver="net.acme.test")
    return view(
        cluster(),
        device_class(DRIVER, f'{A}.type == "gpu"'),
        other,
        template("one-gpu"),
        waiting_pod(f"class {DRIVER}: selector #0: CEL runtime error: no such key: type", reason="SchedulerError"),
    )


@case("dra", "DeviceClass/gpu.acme.test", "selectors[0].cel.expression")
def class_that_is_no_valid_cel() -> ClusterView:
    return view(
        two_nodes(),
        device_class(DRIVER, "device.driver = 'x'"),
        resource_slice("n1", gpu()),
        template("one-gpu"),
        waiting_pod(
            f"class {DRIVER}: selector #0: CEL compile error: token recognition error", reason="SchedulerError"
        ),
    )


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0]")
def every_device_taken() -> ClusterView:
    return view(cluster(), template("one-gpu"), holder(), waiting_pod())


@case("dra", "ResourceSlice/n1-a", "devices[0].taints")
def the_only_device_is_tainted_by_its_driver() -> ClusterView:
    bad = gpu(taints=[{"key": f"{DRIVER}/xid", "value": "79", "effect": "NoSchedule"}])
    return view(cluster(bad), template("one-gpu"), waiting_pod())


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0]")
def one_device_taken_and_the_other_tainted() -> ClusterView:
    bad = gpu("gpu-1", taints=[{"key": f"{DRIVER}/xid", "value": "79", "effect": "NoSchedule"}])
    return view(cluster(gpu(), bad), template("one-gpu"), holder(), waiting_pod())


@case("dra", "DeviceTaintRule/maintenance", "spec.taint")
def a_rule_of_the_administrator_taints_the_pool() -> ClusterView:
    rule = thing(
        "DeviceTaintRule",
        "maintenance",
        "",
        spec={"deviceSelector": {"pool": "n1"}, "taint": {"key": "acme.test/planned", "effect": "NoSchedule"}},
    )
    return view(cluster(), rule, template("one-gpu"), waiting_pod())


@case("dra", "ResourceSlice/n1-a", "pool.resourceSliceCount")
def pool_of_which_a_slice_is_missing() -> ClusterView:
    return view(
        two_nodes(),
        device_class(),
        resource_slice("n1", gpu(), generation=7, count=2),
        template("one-gpu"),
        waiting_pod(),
    )


@case("dra", "ResourceSlice/n1-a", "spec.devices")
def pool_with_the_same_name_twice() -> ClusterView:
    return view(
        cluster(gpu(), gpu()),
        template("one-gpu"),
        waiting_pod("0/2 nodes are available: 2 invalid resource pools were encountered."),
    )


@case("dra", "ResourceClaim/forgotten", "status.reservedFor")
def the_last_device_is_held_for_nobody() -> ClusterView:
    return view(cluster(), template("one-gpu"), claim("forgotten", held=[("n1", "gpu-0")]), waiting_pod())


@case("dra", "ResourceClaim/forgotten", "status.reservedFor")
def the_last_device_is_reserved_for_a_pod_that_is_gone() -> ClusterView:
    return view(
        cluster(), template("one-gpu"), claim("forgotten", held=[("n1", "gpu-0")], users=("old-pod",)), waiting_pod()
    )


@case("dra", "Deployment/train", "nodeSelector")
def free_device_where_the_pod_may_not_go() -> ClusterView:
    nodes = [node("n1"), node("n2", labels={"zone": "b"})]
    said = "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) didn't match Pod's node affinity/selector."
    return view(
        nodes,
        device_class(),
        resource_slice("n1", gpu()),
        template("one-gpu"),
        waiting_pod(said, nodeSelector={"zone": "b"}),
    )


@case("dra", "Deployment/train", "tolerations")
def free_device_on_a_node_with_a_taint() -> ClusterView:
    nodes = [node("n1", taints=[{"key": "gpu", "value": "only", "effect": "NoSchedule"}]), node("n2")]
    said = "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) had untolerated taint(s)."
    return view(nodes, device_class(), resource_slice("n1", gpu()), template("one-gpu"), waiting_pod(said))


@case("node", "Node/n1", "spec.unschedulable")
def free_device_on_a_cordoned_node() -> ClusterView:
    said = "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) were unschedulable."
    return view(
        node("n1", unschedulable=True),
        node("n2"),
        device_class(),
        resource_slice("n1", gpu()),
        template("one-gpu"),
        waiting_pod(said),
    )


@case("node", "Node/n1", "conditions[Ready]")
def free_device_on_a_node_that_is_lost() -> ClusterView:
    lost = node("n1", ready="Unknown", taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}])
    said = "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) had untolerated taint(s)."
    return view(lost, node("n2"), device_class(), resource_slice("n1", gpu()), template("one-gpu"), waiting_pod(said))


@case("dra", "ResourceSlice/n9-a", "spec.nodeName")
def free_device_of_a_node_that_is_gone() -> ClusterView:
    return view(two_nodes(), device_class(), resource_slice("n9", gpu()), template("one-gpu"), waiting_pod())


@case("scheduling", "Deployment/train", "resources.requests.cpu")
def free_device_on_a_node_without_room() -> ClusterView:
    said = "0/2 nodes are available: 1 Insufficient cpu, 1 cannot allocate all claims."
    found = waiting_pod(said)
    for spec in (found[0]["spec"]["template"]["spec"], found[2]["spec"]):
        spec["containers"][0]["resources"]["requests"] = {"cpu": "12"}
    return view(cluster(), template("one-gpu"), found)


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0].exactly.count")
def more_devices_than_a_node_has() -> ClusterView:
    return view(
        cluster(gpu(), gpu("gpu-1")),
        resource_slice("n2", gpu(), gpu("gpu-1")),
        template("one-gpu", request(count=4)),
        waiting_pod(),
    )


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0]")
def devices_enough_on_no_single_node_while_others_use_them() -> ClusterView:
    return view(
        cluster(gpu(), gpu("gpu-1")),
        resource_slice("n2", gpu(), gpu("gpu-1")),
        template("one-gpu", request(count=2)),
        holder("one", ("n1", "gpu-0")),
        holder("two", ("n2", "gpu-0"), node_name="n2"),
        waiting_pod(),
    )


@case("dra", "ResourceClaimTemplate/one-gpu", "constraints[0]")
def constraint_that_no_pair_of_devices_satisfies() -> ClusterView:
    one, two = (gpu(f"gpu-{i}", numa={"int": i}) for i in range(2))
    rule = [{"requests": ["gpu"], "matchAttribute": f"{DRIVER}/numa"}]
    return view(cluster(one, two), template("one-gpu", request(count=2), constraints=rule), waiting_pod())


@case("dra", "ResourceClaimTemplate/one-gpu", "constraints[0]")
def distinct_attribute_that_all_devices_share() -> ClusterView:
    rule = [{"distinctAttribute": f"{DRIVER}/model"}]
    return view(cluster(gpu(), gpu("gpu-1")), template("one-gpu", request(count=2), constraints=rule), waiting_pod())


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[1]")
def two_requests_that_need_the_same_device() -> ClusterView:
    return view(cluster(), template("one-gpu", request(), request("second")), waiting_pod())


@case("dra", "ResourceClaimTemplate/one-gpu", "firstAvailable[1]")
def alternatives_of_which_none_is_free() -> ClusterView:
    big = {
        "name": "big",
        "deviceClassName": DRIVER,
        "selectors": [{"cel": {"expression": f'{C}.memory.compareTo(quantity("141Gi")) >= 0'}}],
    }
    small = {"name": "any", "deviceClassName": DRIVER, "count": 1}
    asked = {"name": "gpu", "firstAvailable": [big, small]}
    return view(cluster(), template("one-gpu", asked), holder(), waiting_pod())


@case("dra", "ResourceClaimTemplate/one-gpu", "requests[0]")
def all_devices_of_a_node_while_one_is_taken() -> ClusterView:
    whole = request(allocationMode="All", count=None)
    return view(cluster(gpu(), gpu("gpu-1")), template("one-gpu", whole), holder(), waiting_pod())


@case("dra", "ResourceSlice/n1-a", "pool.resourceSliceCount")
def all_devices_while_the_pool_is_being_updated() -> ClusterView:
    said = f"claim shop/x asks for all devices, but resource pool {DRIVER}/n1 is currently being updated"
    return view(
        two_nodes(),
        device_class(),
        resource_slice("n1", gpu(), count=2),
        template("one-gpu", request(allocationMode="All")),
        waiting_pod(said),
    )


@case("dra", "Namespace/shop", "labels['resource.kubernetes.io/admin-access']")
def admin_access_without_the_label_of_the_namespace() -> ClusterView:
    return view(
        cluster(),
        thing("Namespace", "shop", "", status={"phase": "Active"}),
        template("one-gpu", request(adminAccess=True)),
        waiting_pod('0/2 nodes are available: pod "shop/train-1-1": ResourceClaim not created yet.'),
        event(
            "Pod",
            "train-1-1",
            "FailedResourceClaimCreation",
            "PodResourceClaim gpu: creating ResourceClaim: admin access to devices requires the "
            "`resource.kubernetes.io/admin-access: true` label on the containing namespace",
        ),
    )


@case("dra", "Deployment/train", "resourceClaims[0].resourceClaimTemplateName")
def template_that_does_not_exist() -> ClusterView:
    return view(
        cluster(),
        template("one-gpus"),
        waiting_pod('0/2 nodes are available: pod "shop/train-1-1": ResourceClaim not created yet.'),
        event(
            "Pod",
            "train-1-1",
            "FailedResourceClaimCreation",
            'PodResourceClaim gpu: resource claim template "one-gpu": resourceclaimtemplate "one-gpu" not found',
        ),
    )


@case("dra", "Deployment/train", "resourceClaims[0].resourceClaimName")
def named_claim_that_does_not_exist() -> ClusterView:
    return view(
        cluster(),
        waiting_pod('resourceclaim.resource.k8s.io "shared" not found', resourceClaims=use(claim_name="shared")),
    )


@case("dra", "ResourceQuota/devices", "spec.hard")
def claim_that_the_quota_refuses() -> ClusterView:
    return view(
        cluster(),
        template("one-gpu"),
        thing("ResourceQuota", "devices", spec={"hard": {"count/resourceclaims.resource.k8s.io": "0"}}),
        waiting_pod('0/2 nodes are available: pod "shop/train-1-1": ResourceClaim not created yet.'),
        event(
            "Pod",
            "train-1-1",
            "FailedResourceClaimCreation",
            "PodResourceClaim gpu: failed to create ResourceClaim: forbidden: exceeded quota: devices, requested: 1",
        ),
    )


@case("dra", "ResourceClaim/shared", "deletionTimestamp")
def claim_that_is_being_deleted() -> ClusterView:
    own = {"deletionTimestamp": OLD, "finalizers": ["resource.kubernetes.io/delete-protection"]}
    return view(
        cluster(),
        claim("shared", held=[("n1", "gpu-0")], users=("web-1-1",), metadata=own),
        running_pod("web", "shared"),
        waiting_pod('resourceclaim "shared" is being deleted', resourceClaims=use(claim_name="shared")),
    )


@case("dra", "ResourceClaim/train-1-1-gpu", "ownerReferences")
def claim_of_somebody_else_with_the_generated_name() -> ClusterView:
    found = waiting_pod("ResourceClaim shop/train-1-1-gpu was not created for Pod shop/train-1-1 (Pod is not owner)")
    found[2]["status"]["resourceClaimStatuses"] = [{"name": "gpu", "resourceClaimName": "train-1-1-gpu"}]
    return view(cluster(), template("one-gpu"), claim("train-1-1-gpu"), found)


@case("dra", "ResourceClaim/shared", "reservedFor")
def claim_with_as_many_users_as_it_may_have() -> ClusterView:
    users = ("web-1-1", *(f"u-{i}" for i in range(255)))
    return view(
        cluster(),
        claim("shared", held=[("n1", "gpu-0")], users=users),
        running_pod("web", "shared"),
        waiting_pod("0/2 nodes are available: 2 resourceclaim in use.", resourceClaims=use(claim_name="shared")),
    )


@case("dra", "ResourceClaim/shared", "allocation.nodeSelector")
def claim_that_is_allocated_on_another_node() -> ClusterView:
    return view(
        node("n1", unschedulable=True),
        node("n2"),
        device_class(),
        resource_slice("n1", gpu()),
        claim("shared", held=[("n1", "gpu-0")], users=("web-1-1",)),
        running_pod("web", "shared"),
        waiting_pod(
            "0/2 nodes are available: 1 node(s) were unschedulable, 1 resourceclaim not available on the node.",
            resourceClaims=use(claim_name="shared"),
        ),
    )


@case("dra", "ResourceClaimTemplate/one-gpu", "requests")
def more_devices_than_a_claim_may_have() -> ClusterView:
    return view(
        cluster(),
        template("one-gpu", request(count=40)),
        waiting_pod("number of requested devices 40 exceeds the claim limit of 32"),
    )


@case("dra", "ResourceClaimTemplate/one-gpu", "requests")
def feature_that_is_switched_off() -> ClusterView:
    asked = {"name": "gpu", "firstAvailable": [{"name": "a", "deviceClassName": DRIVER}]}
    return view(
        cluster(),
        template("one-gpu", asked),
        waiting_pod("request gpu: has subrequests, but the DRAPrioritizedList feature is disabled"),
    )


@case("dra", "ResourceClaimTemplate/one-gpu", "requests")
def search_that_takes_too_long() -> ClusterView:
    return view(
        cluster(),
        template("one-gpu"),
        waiting_pod("node n1: timed out trying to allocate devices", reason="SchedulerError"),
    )


@case("dra", "ResourceClaim/mine", "status.devices")
def fabric_device_that_does_not_get_ready() -> ClusterView:
    return view(
        cluster(),
        claim("mine", held=[("n1", "gpu-0")], users=("train-1-1",)),
        waiting_pod(
            "running PreBind plugin: device binding failed: claim=mine, reason=AttachFailed, message=port is down",
            resourceClaims=use(claim_name="mine"),
            reason="SchedulerError",
        ),
    )


@case("dra", "ResourceClaim/odd", "deviceClassName")
def claim_that_nobody_uses_and_of_a_class_that_does_not_exist() -> ClusterView:
    return view(cluster(), claim("odd", request(deviceClassName="gpu.vendor.test")))


@case("dra", "ResourceClaim/odd", "selectors[0]")
def claim_that_nobody_uses_and_nothing_satisfies() -> ClusterView:
    return view(cluster(), claim("odd", selecting(f'{C}.memory.compareTo(quantity("141Gi")) >= 0')))


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (selector_that_wants_more_memory_than_any_device_has, "matches 2 of 2 devices -> selector leaves 0"),
        (every_device_taken, "matches 1 of 1 device -> 1 allocated (to shop/other-claim) -> 0 left"),
        (the_only_device_is_tainted_by_its_driver, f"1 tainted {DRIVER}/xid=79 -> 0 left"),
        (the_only_device_is_tainted_by_its_driver, "fallen off the bus"),
        (one_device_taken_and_the_other_tainted, "1 allocated (to shop/other-claim) -> 1 tainted"),
        (pool_of_which_a_slice_is_missing, "announces 2 slices for generation 7 and has 1"),
        (more_devices_than_a_node_has, "asks for 4 devices on one node, and no node has more than 2"),
        (alternatives_of_which_none_is_free, "gpu/big: "),
        (devices_enough_on_no_single_node_while_others_use_them, "at most 1 on one node"),
        (selector_that_touches_what_some_devices_lack, "no such key: link"),
        (the_last_device_is_reserved_for_a_pod_that_is_gone, "pod old-pod, which does not exist"),
        (claim_that_is_allocated_on_another_node, "n1, which is cordoned (used by web-1-1)"),
        (feature_that_is_switched_off, "DRAPrioritizedList"),
    ],
)
def test_the_funnel_tells_what_the_event_leaves_out(build: Any, words: str) -> None:
    assert words in summary(build()), summary(build())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (class_that_does_not_exist, f'"deviceClassName": "{DRIVER}"'),
        (class_that_does_not_exist, "resourceClaimTemplateName"),
        (class_that_names_the_wrong_driver, f'device.driver == \\"{DRIVER}\\"'),
        (selector_that_wants_more_memory_than_any_device_has, "Ask for 80Gi instead of 141Gi"),
        (second_selector_that_misspells_a_model, "Ask for A100 instead of A-100"),
        (selector_that_touches_what_some_devices_lack, '\\"link\\" in device.attributes'),
        (class_that_stumbles_over_the_devices_of_another_driver, '\\"type\\" in device.attributes'),
        (more_devices_than_a_node_has, "Ask for 2 instead of 4 devices"),
        (the_last_device_is_held_for_nobody, "Delete ResourceClaim forgotten"),
        (free_device_on_a_cordoned_node, "kubectl uncordon n1"),
        (free_device_on_a_node_with_a_taint, '"key": "gpu"'),
        (template_that_does_not_exist, "Use ResourceClaimTemplate one-gpus"),
        (claim_that_nobody_uses_and_nothing_satisfies, "Ask for 80Gi instead of 141Gi"),
    ],
)
def test_the_fix_is_computed(build: Any, words: str) -> None:
    assert words in fixes(build()), fixes(build())


def test_a_claim_is_never_patched_because_its_spec_cannot_be_changed() -> None:
    for name, row in case.rows.items():
        for claimed in scan(row.build()).roots:
            for fix in claimed.draft.fixes:
                if fix.action is not None and fix.action.method == "PATCH":
                    assert fix.action.target.kind not in ("ResourceClaim", "ResourceClaimTemplate"), name


def older(raw: Raw) -> Raw:
    """The same object as v1beta1 has it."""
    found = copy.deepcopy(raw)
    found["apiVersion"] = "resource.k8s.io/v1beta1"
    if found["kind"] == "ResourceSlice":
        for i, device in enumerate(found["spec"]["devices"]):
            name = device.pop("name")
            found["spec"]["devices"][i] = {"name": name, "basic": device}
    inner = found["spec"].get("spec", found["spec"]) if found["kind"].startswith("ResourceClaim") else {}
    for i, row in enumerate(inner.get("devices", {}).get("requests", [])):
        if "exactly" in row:
            inner["devices"]["requests"][i] = {"name": row["name"], **row["exactly"]}
    return found


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
@pytest.mark.parametrize("name", sorted(case.rows))
def test_older_versions_of_the_api_give_the_same_result(name: str, version: str) -> None:
    built = case.rows[name].build()
    changed = ClusterView("shop")
    for resource in built.resources:
        raws = [dict(t.raw) for t in built.all(resource)]
        dra = resource.endswith(".resource.k8s.io")
        raws = [older(r) if dra and version == "v1beta1" else r for r in raws]
        changed.add(resource, raws, f"GET /{resource}", kind=built.all(resource)[0].kind if raws else "")
    for resource in ("deviceclasses", "resourceslices", "resourceclaims", "resourceclaimtemplates"):
        changed.know(f"{resource}.resource.k8s.io", "", Knowledge.LISTED)
    one, two = scan(built).roots[0].draft, scan(changed).roots[0].draft
    assert (one.target.kind, one.target.name) == (two.target.kind, two.target.name), told(scan(changed))
    assert one.field.replace(".exactly", "") == two.field.replace(".basic", "").replace(".exactly", "")


def test_a_pod_that_fell_back_to_its_second_choice_is_healthy() -> None:
    big = {
        "name": "big",
        "deviceClassName": DRIVER,
        "selectors": [{"cel": {"expression": f'{C}.memory.compareTo(quantity("141Gi")) >= 0'}}],
    }
    asked = {"name": "gpu", "firstAvailable": [big, {"name": "any", "deviceClassName": DRIVER}]}
    mine = claim("mine", asked, held=[("n1", "gpu-0")], users=("web-1-1",))
    mine["status"]["allocation"]["devices"]["results"][0]["request"] = "gpu/any"
    check_healthy(lambda: view(cluster(), mine, running_pod("web", "mine")))


def test_devices_in_use_and_one_to_spare_are_healthy() -> None:
    check_healthy(lambda: view(cluster(gpu(), gpu("gpu-1")), template("one-gpu"), holder()))


def test_a_claim_that_waits_for_its_pod_is_no_fault() -> None:
    check_healthy(lambda: view(cluster(), claim("later"), claim("busy", request(count=1)), holder()))


def test_admin_access_takes_no_device_from_anybody() -> None:
    watcher = claim("watch", request(adminAccess=True), held=[("n1", "gpu-0")], users=("monitor-1-1",))
    watcher["status"]["allocation"]["devices"]["results"][0]["adminAccess"] = True
    labelled = thing("Namespace", "shop", "", metadata={"labels": {"resource.kubernetes.io/admin-access": "true"}})
    built = view(cluster(), labelled, watcher, running_pod("monitor", "watch"), template("one-gpu"), waiting_pod())
    result = scan(built)
    assert result.verdict is Verdict.UNDETERMINED, told(result)
    assert "free devices match" in result.claims[0].draft.summary


def test_two_generations_at_once_count_the_newer_only() -> None:
    old = resource_slice("n1", gpu(), gpu("gpu-9"), generation=1, part="old")
    built = view(
        two_nodes(),
        device_class(),
        old,
        resource_slice("n1", gpu(), generation=2),
        template("one-gpu"),
        holder(),
        waiting_pod(),
    )
    assert "matches 1 of 1 device" in summary(built)


def test_a_claim_of_another_namespace_holds_its_device_too() -> None:
    other = claim("far", held=[("n1", "gpu-0")], users=("far-0",), namespace="lab")
    built = view(cluster(), template("one-gpu"), other, waiting_pod())
    built.know("pods", "", Knowledge.FORBIDDEN, "no")
    built.know("pods", "shop", Knowledge.LISTED)
    assert "to lab/far" in summary(built)


def test_devices_that_others_may_hold_out_of_sight_are_not_called_free() -> None:
    built = view(cluster(), template("one-gpu"), waiting_pod())
    built.know("resourceclaims.resource.k8s.io", "", Knowledge.FORBIDDEN, "no")
    built.know("resourceclaims.resource.k8s.io", "shop", Knowledge.LISTED)
    result = scan(built)
    assert result.verdict is Verdict.UNDETERMINED, told(result)
    assert any("claims of all namespaces" in c.draft.missing for c in result.claims)


def test_a_selector_that_is_not_understood_is_not_judged() -> None:
    odd = selecting(f"{A}.model.reverse() == '001A'")
    result = scan(view(cluster(), template("one-gpu", odd), waiting_pod()))
    assert result.verdict is Verdict.UNDETERMINED, told(result)
    assert "not evaluated" in result.claims[0].draft.summary


def test_a_cluster_without_the_api_has_nothing_to_say_of_devices() -> None:
    built = view(deployment("web", ready=1), node())
    for resource in ("deviceclasses", "resourceslices", "resourceclaims", "resourceclaimtemplates", "devicetaintrules"):
        built.know(f"{resource}.resource.k8s.io", "", Knowledge.ABSENT, "the cluster does not serve this kind")
    assert not [c for c in scan(built).claims if c.draft.category == "dra"]


def test_a_driver_is_not_called_silent_when_slices_could_not_be_listed() -> None:
    built = view(two_nodes(), device_class(), template("one-gpu"), waiting_pod())
    built.know(SLICES, "", Knowledge.FORBIDDEN, "no")
    top = scan(built).claims[0].draft
    assert top.confidence < 0.6, top


def test_a_pod_that_nobody_has_tried_to_place_yet_is_not_judged_by_what_is_taken_now() -> None:
    result = scan(view(cluster(), template("one-gpu"), holder(), waiting_pod("", name="train")))
    assert not [c for c in result.roots if c.draft.category == "dra"], told(result)


def test_a_pool_that_was_just_written_is_still_being_written() -> None:
    young = resource_slice("n1", gpu(), count=2)
    young["metadata"]["creationTimestamp"] = NOW
    check_healthy(lambda: view(two_nodes(), device_class(), young))


def test_an_incomplete_pool_is_one_cause_for_all_that_wait_for_it() -> None:
    built = view(
        two_nodes(),
        device_class(),
        resource_slice("n1", gpu(), count=2),
        template("one-gpu"),
        waiting_pod(name="one"),
        waiting_pod(name="two"),
    )
    result = scan(built)
    assert len(result.roots) == 1, told(result)
    assert {"Deployment/shop/one", "Deployment/shop/two"} <= result.roots[0].draft.explains


def test_shared_counters_that_are_used_up_take_the_sibling_too() -> None:
    uses = [{"counterSet": "gpu-0", "counters": {"slices": {"value": "4"}}}]
    parts = [gpu(f"mig-{i}") | {"consumesCounters": uses} for i in range(2)]
    shared = [{"name": "gpu-0", "counters": {"slices": {"value": "7"}}}]
    built = view(
        two_nodes(),
        device_class(),
        resource_slice("n1", *parts, sharedCounters=shared),
        template("one-gpu"),
        holder("other", ("n1", "mig-0")),
        waiting_pod(),
    )
    assert "2 allocated (to shop/other-claim)" in summary(built)


def test_a_shared_device_is_full_when_its_capacity_is() -> None:
    shared = gpu() | {"allowMultipleAllocations": True}
    first = claim("first", held=[("n1", "gpu-0")], users=("one-1-1",))
    first["status"]["allocation"]["devices"]["results"][0] |= {"shareID": "a", "consumedCapacity": {"memory": "60Gi"}}

    def build(memory: str) -> ClusterView:
        asked = template("one-gpu", request(capacity={"requests": {"memory": memory}}))
        return view(cluster(shared), first, running_pod("one", "first"), asked, waiting_pod())

    assert "1 allocated -> 0 left" in summary(build("40Gi"))
    assert scan(build("20Gi")).verdict is Verdict.UNDETERMINED


def attaching(since: str) -> ClusterView:
    mine = claim("mine", held=[("n1", "gpu-0")], users=("train-1-1",))
    mine["status"]["allocation"]["allocationTimestamp"] = since
    said = event("Pod", "train-1-1", "BindingConditionsPending", "waiting for binding conditions for device on node n1")
    return view(cluster(), mine, waiting_pod("", resourceClaims=use(claim_name="mine")), said)


def test_a_device_that_is_being_attached_is_waited_for_and_then_a_fault() -> None:
    soon = scan(attaching("2026-03-01T11:57:00Z"))
    assert soon.verdict is Verdict.UNDETERMINED, told(soon)
    late = scan(attaching("2026-03-01T11:40:00Z"))
    assert [c.draft.target.name for c in late.roots] == ["mine"], told(late)


def test_a_claim_in_the_process_of_being_allocated_is_no_cause() -> None:
    said = "resource claim shop/mine is in the process of being allocated"
    result = scan(view(cluster(), claim("mine"), waiting_pod(said, resourceClaims=use(claim_name="mine"))))
    assert not result.roots, told(result)


def test_devices_behind_a_node_selector_are_on_every_node_that_it_takes() -> None:
    where = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "rack", "operator": "In", "values": ["r1"]}]}]}
    piece = resource_slice("fabric", gpu(), nodeSelector=where)
    del piece["spec"]["nodeName"]
    nodes = [node("n1", labels={"rack": "r1"}), node("n2")]
    free = scan(view(nodes, device_class(), piece, template("one-gpu"), waiting_pod()))
    assert "free devices match" in free.claims[0].draft.summary, told(free)
    none = scan(view(two_nodes(), device_class(), piece, template("one-gpu"), waiting_pod()))
    assert none.roots[0].draft.target.name == "fabric-a", told(none)


def test_the_class_expression_of_the_samples_is_evaluated() -> None:
    assert "matches 1 of 2 devices" in summary(
        view(
            cluster(gpu(), gpu("mig-0", type={"string": "mig"})),
            device_class(DRIVER, IS_GPU),
            template("one-gpu"),
            holder(),
            waiting_pod(NONE_FREE),
        )
    )


def test_the_cause_of_the_claim_explains_the_service_behind_it() -> None:
    built = view(cluster(), template("one-gpu"), holder(), waiting_pod())
    roles = {c.draft.target.kind: c.role for c in scan(built).claims}
    assert roles["ResourceClaimTemplate"] is Role.ROOT_CAUSE
