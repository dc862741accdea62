"""Kueue: queues that admit nothing, workloads that wait, and for how long: a while, or for ever."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from assistant.domain.finding import Role

from .objects import NOW, OLD, SOON, Raw, pod, thing
from .platforms import Row, condition, made, owned, summaries, undecided, verify, well, world

GPU = "nvidia.com/gpu"
LABEL = "kueue.x-k8s.io/queue-name"
WHY = "why has train-b not started?"


def cluster_queue(name: str = "team", flavor: str = "h100", gpus: str = "8", *conditions: Raw, **more: Any) -> Raw:
    status = {"conditions": list(conditions) or [condition("Active", "True", "Ready")], **more.pop("status", {})}
    quota = [{"name": "cpu", "nominalQuota": "64"}, {"name": GPU, "nominalQuota": gpus}]
    group = {"coveredResources": ["cpu", GPU], "flavors": [{"name": flavor, "resources": quota}]}
    return made(
        "ClusterQueue", name, "", spec={"namespaceSelector": {}, "resourceGroups": [group], **more}, status=status
    )


def local_queue(name: str = "ml", queue: str = "team", **spec: Any) -> Raw:
    return made("LocalQueue", name, spec={"clusterQueue": queue, **spec}, status={"conditions": []})


def flavor(name: str = "h100", **spec: Any) -> Raw:
    return made("ResourceFlavor", name, "", spec=spec)


def workload(
    name: str, *conditions: Raw, gpus: str = "4", queue: str = "ml", status: Raw | None = None, **spec: Any
) -> Raw:
    box = {"name": "c", "image": "r/train:1", "resources": {"requests": {GPU: gpus}}}
    sets = [{"name": "main", "count": 1, "template": {"spec": {"containers": [box]}}}]
    return made(
        "Workload",
        name,
        spec={"queueName": queue, "active": True, "podSets": sets, **spec},
        status={"conditions": list(conditions), **(status or {})},
    )


def waits(message: str, reason: str = "Pending", since: str = OLD) -> Raw:
    return condition("QuotaReserved", "False", reason, message, since)


def runs(name: str, gpus: str) -> Raw:
    use = [{"name": "main", "count": 1, "flavors": {GPU: "h100"}, "resourceUsage": {GPU: gpus}}]
    good = [condition(k, "True", k) for k in ("QuotaReserved", "Admitted", "PodsReady")]
    return workload(name, *good, gpus=gpus, status={"admission": {"clusterQueue": "team", "podSetAssignments": use}})


def job(name: str = "train-b", queue: str = "ml", gpus: str = "4") -> Raw:
    box = {"name": "c", "image": "r/train:1", "resources": {"requests": {GPU: gpus}}}
    found = thing("Job", name, "lab", spec={"suspend": True, "template": {"spec": {"containers": [box]}}})
    found["metadata"]["labels"] = {LABEL: queue}
    return found


def queued(*conditions: Raw, **more: Any) -> list[Raw]:
    """A Job, the Workload that Kueue made of it with these conditions, and queues that are well."""
    gpus = more.get("gpus", "4")
    work = owned(workload("job-train-b", *conditions, **more), "Job", "train-b")
    return [flavor(), cluster_queue(), local_queue(), job(gpus=gpus, queue=more.get("queue", "ml")), work]


SET = "couldn't assign flavors to pod set main: "
LATER = SET + "insufficient unused quota for nvidia.com/gpu in flavor h100, 4 more needed"
NEVER = (
    SET + "insufficient quota for nvidia.com/gpu in flavor h100, previously considered podsets requests (0) + current "
    "podset request (16) > maximum capacity (8)"
)
OLDER = (
    "couldn't assign flavors: insufficient quota for nvidia.com/gpu in flavor h100, request > maximum capacity (16 > 8)"
)
MISSING = condition(
    "Active", "False", "FlavorNotFound", "Can't admit new workloads: references missing ResourceFlavor(s)"
)
ROWS: dict[str, Row] = {
    "flavor missing, nobody uses the queue": Row(
        lambda: [flavor("h100"), cluster_queue("vision", "a100", "4", MISSING)],
        "kueue",
        "ClusterQueue/vision",
        "flavors[0].name",
        ("inactive", "a100 does not exist"),
        "h100",
    ),
    "flavor missing, and a job waits": Row(
        lambda: [
            flavor("h100"),
            cluster_queue("team", "h10", "8", MISSING),
            local_queue(),
            job(),
            owned(workload("w", waits("ClusterQueue team is inactive", "Suspended")), "Job", "train-b"),
        ],
        "kueue",
        "ClusterQueue/team",
        "flavors[0].name",
        ("h10 does not exist",),
        "Use flavor h100",
        WHY,
        "lab",
    ),
    "waits for quota": Row(
        lambda: [*queued(waits(LATER, "WaitingForQuota")), runs("job-train-a", "8")],
        "kueue",
        "ClusterQueue/team",
        "resources[1].nominalQuota",
        ("4 more nvidia.com/gpu", "8 of 8 are given away", "job-train-a (8)", "starts by itself"),
        "Wait",
        WHY,
    ),
    "waits for quota, reason of before 0.19": Row(
        lambda: [*queued(waits(LATER)), runs("job-train-a", "8")],
        "kueue",
        "ClusterQueue/team",
        "nominalQuota",
        ("4 more", "starts by itself"),
        "",
        WHY,
    ),
    "asks for more than there will ever be": Row(
        lambda: queued(waits(NEVER, "ExceedsMaxQuota"), gpus="16"),
        "kueue",
        "Job/train-b",
        "requests['nvidia.com/gpu']",
        ("never starts", "16 nvidia.com/gpu", "more than 8"),
        "at most 8",
    ),
    "asks for too much, in the older words": Row(
        lambda: queued(waits(OLDER), gpus="16"),
        "kueue",
        "Job/train-b",
        "requests",
        ("never starts", "16 nvidia.com/gpu", "more than 8"),
        "Raise the quota of ClusterQueue team to 16",
    ),
    "asks for too much, and the job was not read": Row(
        lambda: [
            flavor(),
            cluster_queue(),
            local_queue(),
            workload("train-c", waits(NEVER, "ExceedsMaxQuota"), gpus="16"),
        ],
        "kueue",
        "Workload/train-c",
        "requests",
        ("never starts",),
        "at most 8",
    ),
    "evicted until it was given up": Row(
        lambda: queued(
            condition("Evicted", "True", "Deactivated", "The workload is deactivated"),
            waits("The workload is deactivated"),
            status={"requeueState": {"count": 3}},
            active=False,
        ),
        "kueue",
        "Workload/job-train-b",
        "spec.active",
        ("admitted 3 times", "never became ready", "deactivated"),
        "do not become ready",
    ),
    "deactivated by somebody": Row(
        lambda: queued(condition("Evicted", "True", "Deactivated", "by hand"), active=False),
        "kueue",
        "Workload/job-train-b",
        "spec.active",
        ("deactivated",),
        "Activate",
        WHY,
    ),
    "queue is stopped": Row(
        lambda: [
            flavor(),
            cluster_queue(
                "team", "h100", "8", condition("Active", "False", "Stopped", "stopped"), stopPolicy="HoldAndDrain"
            ),
            local_queue(),
            workload("w", waits("ClusterQueue team is inactive")),
        ],
        "kueue",
        "ClusterQueue/team",
        "spec.stopPolicy",
        ("HoldAndDrain", "evicted"),
        "admit work again",
    ),
    "local queue is stopped": Row(
        lambda: [
            flavor(),
            cluster_queue(),
            local_queue(stopPolicy="Hold"),
            workload("w", waits("LocalQueue ml is inactive")),
        ],
        "kueue",
        "LocalQueue/ml",
        "spec.stopPolicy",
        ("stopped (Hold)",),
        "admit work again",
    ),
    "local queue of a cluster queue that is none": Row(
        lambda: [
            flavor(),
            cluster_queue(),
            local_queue(queue="taem"),
            workload("w", waits("ClusterQueue taem doesn't exist")),
        ],
        "kueue",
        "LocalQueue/ml",
        "spec.clusterQueue",
        ("taem", "does not exist"),
        "clusterQueue team",
    ),
    "job names a queue that is none": Row(
        lambda: queued(waits("LocalQueue mll doesn't exist", "Inadmissible"), queue="mll"),
        "kueue",
        "Job/train-b",
        LABEL,
        ("mll", "does not exist"),
        "queue ml",
    ),
    "no workload was made for a queue that is none": Row(
        lambda: [flavor(), cluster_queue(), local_queue(), job(queue="mll")],
        "kueue",
        "Job/train-b",
        LABEL,
        ("mll", "does not exist"),
        "queue ml",
    ),
    "admission check missing": Row(
        lambda: [
            flavor(),
            cluster_queue(
                "team", "h100", "8", condition("Active", "False", "AdmissionCheckNotFound"), admissionChecks=["prov"]
            ),
            local_queue(),
            made(
                "AdmissionCheck",
                "prov2",
                "",
                spec={"controllerName": "x"},
                status={"conditions": [condition("Active", "True")]},
            ),
        ],
        "kueue",
        "ClusterQueue/team",
        "spec.admissionChecks[0]",
        ("prov does not exist",),
        "prov2",
    ),
    "admission check inactive": Row(
        lambda: [
            flavor(),
            cluster_queue(
                "team", "h100", "8", condition("Active", "False", "AdmissionCheckInactive"), admissionChecks=["prov"]
            ),
            local_queue(),
            workload("w", waits("ClusterQueue team is inactive")),
            made(
                "AdmissionCheck",
                "prov",
                "",
                spec={"controllerName": "kueue.x-k8s.io/provisioning-request"},
                status={"conditions": [condition("Active", "False", "BadParametersRef", "config not found")]},
            ),
        ],
        "kueue",
        "AdmissionCheck/prov",
        "conditions",
        ("BadParametersRef", "config not found"),
        "provisioning-request",
    ),
    "topology missing": Row(
        lambda: [
            flavor(topologyName="racks"),
            cluster_queue("team", "h100", "8", condition("Active", "False", "TopologyNotFound")),
            local_queue(),
        ],
        "kueue",
        "ResourceFlavor/h100",
        "spec.topologyName",
        ("racks",),
        "Topology racks",
    ),
    "another reason is shown verbatim": Row(
        lambda: [
            flavor(),
            cluster_queue("team", "h100", "8", condition("Active", "False", "MoonPhase", "wrong moon")),
            local_queue(),
        ],
        "kueue",
        "ClusterQueue/team",
        "status.conditions",
        ("MoonPhase", "wrong moon"),
        "Mend what the condition names",
    ),
    "namespace not taken": Row(
        lambda: [
            flavor(),
            cluster_queue(namespaceSelector={"matchLabels": {"team": "ml"}}),
            local_queue(),
            workload("w", waits("Workload namespace doesn't match ClusterQueue selector")),
            thing("Namespace", "lab", "", metadata={"labels": {"kubernetes.io/metadata.name": "lab"}}),
        ],
        "kueue",
        "ClusterQueue/team",
        "spec.namespaceSelector",
        ("does not take work of namespace lab",),
        "Label namespace lab with team=ml",
    ),
    "no selector takes no namespace": Row(
        lambda: [
            flavor(),
            cluster_queue(namespaceSelector=None),
            local_queue(),
            workload("w", waits("Workload namespace doesn't match ClusterQueue selector")),
            thing("Namespace", "lab", ""),
        ],
        "kueue",
        "ClusterQueue/team",
        "spec.namespaceSelector",
        ("lab",),
        "every namespace",
    ),
    "resource that the queue does not cover": Row(
        lambda: queued(waits("couldn't assign flavors to pod set main: resource memory unavailable in ClusterQueue")),
        "kueue",
        "ClusterQueue/team",
        "spec.resourceGroups",
        ("memory", "does not cover"),
        "quota of memory",
    ),
    "taint that no pod tolerates": Row(
        lambda: queued(
            waits("couldn't assign flavors to pod set main: untolerated taint {gpu h100 NoSchedule} in flavor h100")
        ),
        "kueue",
        "Job/train-b",
        "tolerations",
        ("fits no flavor", "untolerated taint"),
        "tolerations",
    ),
    "affinity of another kind of node": Row(
        lambda: queued(waits("couldn't assign flavors to pod set main: flavor h100 doesn't match node affinity")),
        "kueue",
        "Job/train-b",
        "nodeSelector",
        ("fits no flavor",),
        "nodeSelector",
    ),
    "topology has no room": Row(
        lambda: queued(
            waits('topology "racks" doesn\'t allow to fit any of 4 pod(s). Total nodes: 8; excluded: resource: 8', "X")
        ),
        "kueue",
        "Job/train-b",
        "podSets",
        ("topology", "Total nodes: 8"),
        "flavor",
    ),
    "check rejects it": Row(
        lambda: queued(
            condition("QuotaReserved", "True", "QuotaReserved"),
            status={
                "admissionChecks": [
                    {"name": "prov", "state": "Rejected", "message": "no capacity", "lastTransitionTime": SOON}
                ]
            },
        ),
        "kueue",
        "Workload/job-train-b",
        "status.admissionChecks[0]",
        ("prov is Rejected", "no capacity"),
        "refuses it",
    ),
    "check does not answer": Row(
        lambda: queued(
            condition("QuotaReserved", "True", "QuotaReserved"),
            status={
                "admissionChecks": [{"name": "prov", "state": "Pending", "message": "", "lastTransitionTime": OLD}]
            },
        ),
        "kueue",
        "Workload/job-train-b",
        "status.admissionChecks[0]",
        ("prov is Pending",),
        "does not answer",
    ),
    "preempted": Row(
        lambda: queued(
            waits("Preempted to accommodate a workload (UID: 7)"),
            condition("Preempted", "True", "InClusterQueue", "Preempted to accommodate a workload (UID: 7)"),
        ),
        "kueue",
        "Workload/job-train-b",
        "status.conditions",
        ("preempted", "InClusterQueue"),
        "Wait",
        WHY,
    ),
    "evicted and to be tried again": Row(
        lambda: queued(
            waits("Exceeded the PodsReady timeout lab/job-train-b"),
            condition("Evicted", "True", "PodsReadyTimeout", "Exceeded the PodsReady timeout"),
        ),
        "kueue",
        "Workload/job-train-b",
        "status.conditions",
        ("PodsReadyTimeout",),
        "did not become ready",
    ),
    "unknown reason is shown verbatim": Row(
        lambda: queued(waits("the astrologer has not answered", "StarsUnaligned")),
        "kueue",
        "Workload/job-train-b",
        "status.conditions",
        ("StarsUnaligned", "the astrologer has not answered"),
        "Wait",
        WHY,
    ),
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_reason_why_work_waits_is_found(name: str) -> None:
    verify(ROWS[name])


@pytest.mark.parametrize(
    "objects",
    [
        [flavor(), cluster_queue(), local_queue(), runs("job-train-a", "8")],
        queued(waits(LATER, "WaitingForQuota")),
        queued(waits(LATER, "WaitingForQuota", NOW)),
        queued(waits("pending the preemption of 1 workload(s)", "WaitingForPreemptedWorkloads", SOON)),
        queued(
            condition("QuotaReserved", "True", "QuotaReserved"),
            status={"admissionChecks": [{"name": "prov", "state": "Pending", "lastTransitionTime": SOON}]},
        ),
        [flavor(), cluster_queue(stopPolicy="Hold"), local_queue()],
        [
            flavor(),
            cluster_queue(),
            local_queue(),
            workload("w", condition("Finished", "True", "Succeeded"), waits(LATER)),
        ],
        [flavor(), cluster_queue(), local_queue(), workload("w", {**waits(NEVER), "observedGeneration": 1})],
        [flavor(), made("Topology", "racks", "", spec={"levels": []})],
    ],
)
def test_a_queue_that_works_or_holds_work_back_for_a_while_is_no_fault(objects: list[Raw]) -> None:
    for raw in objects:
        raw["metadata"]["generation"] = 2
    well(*objects)


def test_an_old_word_of_a_missing_flavor_is_not_believed() -> None:
    queue = cluster_queue("team", "h100", "8", {**MISSING, "observedGeneration": 1})
    queue["metadata"]["generation"] = 2
    well(flavor("h100"), queue, local_queue())


def test_a_queue_of_others_is_not_this_namespaces_trouble() -> None:
    others = cluster_queue("vision", "a100", "4", MISSING)
    well(flavor(), cluster_queue(), local_queue(), others, namespace="lab")


def test_what_waits_in_a_queue_that_is_down_is_told_once() -> None:
    works = [workload(f"w{i}", waits("ClusterQueue team is inactive")) for i in range(5)]
    result = scan(world(flavor("h100"), cluster_queue("team", "h10", "8", MISSING), local_queue(), *works))
    assert [c.draft.target.name for c in result.roots] == ["team"]
    assert sum(c.role is Role.CONSEQUENCE for c in result.claims) == 5


def test_a_provisioning_request_that_failed_explains_the_check_that_waits_for_it() -> None:
    pending = {"admissionChecks": [{"name": "prov", "state": "Pending", "lastTransitionTime": OLD}]}
    work = queued(condition("QuotaReserved", "True", "QuotaReserved"), status=pending)
    request = made(
        "ProvisioningRequest", "r", status={"conditions": [condition("Failed", "True", "NoCapacity", "stockout")]}
    )
    result = scan(world(*work, owned(request, "Workload", "job-train-b")), WHY)
    assert [c.draft.target.kind for c in result.roots] == ["ProvisioningRequest"]


def test_quota_is_counted_from_the_queues_own_reservations() -> None:
    used = {"flavorsReservation": [{"name": "h100", "resources": [{"name": GPU, "total": "6"}]}]}
    objects = [flavor(), cluster_queue(status=used), local_queue(), workload("w", waits(LATER))]
    assert "6 of 8 are given away" in summaries(*objects, question=WHY)
    # The other namespaces' workloads were not read, so they cannot be counted.
    alone = summaries(
        flavor(), cluster_queue(), local_queue(), workload("w", waits(LATER)), question=WHY, namespace="lab"
    )
    assert "given away" not in alone and "4 more" in alone


def test_a_gated_pod_is_told_by_the_queue_that_holds_it() -> None:
    gated = pod(
        "web",
        owner_kind="StatefulSet",
        phase="Pending",
        node="",
        schedulingGates=[{"name": "kueue.x-k8s.io/admission"}],
    )
    work = owned(workload("pod-web", waits(NEVER, "ExceedsMaxQuota"), gpus="16"), "Pod", gated["metadata"]["name"])
    gated["metadata"]["namespace"] = "lab"
    del gated["metadata"]["ownerReferences"]
    result = scan(world(flavor(), cluster_queue(), local_queue(), gated, work), WHY)
    assert [c.draft.category for c in result.roots] == ["kueue"]


@pytest.mark.parametrize("kind", ["JobSet", "RayJob", "TrainJob"])
def test_other_kinds_that_name_a_queue_that_is_none(kind: str) -> None:
    held = made(kind, "big", metadata={"labels": {LABEL: "mll"}}, spec={"suspend": True}, status={"conditions": []})
    result = scan(world(flavor(), cluster_queue(), local_queue(), held), WHY)
    assert [(c.draft.target.kind, c.draft.category) for c in result.roots] == [(kind, "kueue")]


def test_a_job_that_kueue_made_nothing_of_is_undecided() -> None:
    undecided(flavor(), cluster_queue(), local_queue(), job(), word="Kueue has made no Workload", question=WHY)


def test_nothing_is_said_of_kueue_where_it_is_not_installed() -> None:
    kinds = ("ClusterQueue", "LocalQueue", "Workload", "ResourceFlavor", "AdmissionCheck", "Topology")
    well(job(), absent=kinds)
