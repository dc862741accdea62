"""A cluster with every one of these projects at work is called healthy, and one fault among them is found alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from agents.expert.causes import scan
from assistant.domain.finding import Verdict

from .cases import told
from .objects import OLD, Raw, deployment, node, pod, service
from .platforms import condition, made, owned, world
from .test_bare_metal import BOOTED, IMAGE, bmh, disks, registering
from .test_edge_sites import DURATION, app_set, edge_node, pool, site
from .test_kueue import cluster_queue, flavor, job, local_queue, runs, waits, workload
from .test_training import group, isvc, jobset, llm, lws, queue, ray_cluster, ray_job, runtime, states, volcano_job

GOOD = condition("Ready", "True", "Ready")


def everything() -> list[Raw]:
    """One of each, well: hosts, machines, sites, queues, training, serving, and an ordinary application."""
    parts: list[Raw | list[Raw]] = [
        bmh("h-1", "provisioned", image=IMAGE),
        bmh("h-2", "available", bootMACAddress="52:54:00:aa:00:02", status={"conditions": [GOOD]}),
        disks("/dev/sda", name="h-1"),
        BOOTED,
        node("r3-n7", providerID="metal3://lab/r3-n7/mm"),
        made("Cluster", "edge", status={"conditions": [GOOD, condition("Paused", "False", "NotPaused")]}),
        pool("s17", labels={"region": "north"}),
        edge_node("s17-a", notes={DURATION: "24h"}),
        edge_node("s17-b", notes={DURATION: "0"}),
        app_set(
            "menu", condition("PoolFound", "True", "FindPools"), nodepoolSelector={"matchLabels": {"region": "north"}}
        ),
        [flavor(), cluster_queue(), local_queue(), runs("job-train-a", "4")],
        jobset(status=states(driver=1, workers=1)),
        lws(condition("Available", "True"), condition("Progressing", "False"), ready=2),
        [queue(), group("Running"), volcano_job()],
        ray_cluster(condition("HeadPodReady", "True"), condition("RayClusterProvisioned", "True")),
        ray_job("Running", jobStatus="RUNNING"),
        [
            isvc(GOOD, condition("PredictorReady", "True")),
            runtime(),
            llm(GOOD, condition("ScalingReady", "False", "Off")),
        ],
        [*deployment("web", ready=1), pod("web", ready=True), service("web")],
    ]
    return [raw for part in parts for raw in (part if isinstance(part, list) else [part])]


@pytest.mark.parametrize("namespace", ["", "lab", "shop"])
@pytest.mark.parametrize("question", ["", "is everything in order?", "why is it slow?"])
def test_a_cluster_with_all_of_them_is_healthy(namespace: str, question: str) -> None:
    result = scan(world(*everything(), namespace=namespace, logs={("web-1-1", "app"): "serving"}), question)
    assert result.verdict is Verdict.HEALTHY, told(result)


@pytest.mark.parametrize(
    ("fault", "target"),
    [
        (registering("HTTP 401 Unauthorized"), "Secret/r3-n7-bmc"),
        (site("s42", OLD, OLD), "NodePool/s42"),
        ([cluster_queue("vision", "a100")], "ClusterQueue/vision"),
        (
            [
                owned(workload("w", waits("LocalQueue mll doesn't exist"), queue="mll"), "Job", "train-b"),
                job(queue="mll"),
            ],
            "Job/train-b",
        ),
        ([made("PyTorchJob", "p", status={"conditions": [condition("Failed", "True", "X", "y")]})], "PyTorchJob/p"),
    ],
)
def test_one_fault_among_them_is_found_alone(fault: list[Raw], target: str) -> None:
    there = [o for o in everything() if o["metadata"]["name"] not in {f["metadata"]["name"] for f in fault}]
    result = scan(world(*there, *fault), "what is wrong?")
    assert [f"{c.draft.target.kind}/{c.draft.target.name}" for c in result.roots] == [target], told(result)


def broken(raw: Raw) -> Iterator[Raw]:
    """The object with each of its sections, and each field of them, of a type that no API server would send."""
    for section in [k for k in raw if k not in ("apiVersion", "kind", "_kind", "metadata")]:
        yield {**raw, section: "odd"}
        inner = raw[section] if isinstance(raw[section], dict) else {}
        oddities: tuple[object, ...] = ("odd", 7, None, [[]])
        for field, odd in product(inner, oddities):
            yield {**raw, section: {**inner, field: odd}}


@pytest.mark.parametrize("place", range(len(everything())))
def test_odd_objects_break_no_analyzer(place: int) -> None:
    others = everything()
    for odd in broken(others[place]):
        result = scan(world(*others[:place], odd, *others[place + 1 :]), "why?")
        assert not [g for g in result.gaps if "could not judge" in g], (odd, result.gaps)
