"""Samples of devices as an API server sends them: each broken one is found, each healthy one is not."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.expert.causes import Scan, scan
from assistant.domain.finding import Verdict

from .cases import told
from .objects import Raw, node, view

SAMPLES = Path(__file__).parent / "samples" / "dra.yaml"
EXPECTED = {
    "pool-without-one-of-its-slices": (
        "ResourceSlice/worker-2-gpu-acme-test-x2",
        "spec.pool.resourceSliceCount",
        "announces 3 slices for generation 9",
    ),
    "class-that-is-not-there": ("ResourceClaim/class-typo", "deviceClassName", "tpu.vendor.test does not exist"),
    "selector-that-nothing-passes": (
        "ResourceClaim/wants-96",
        "selectors[0].cel.expression",
        "matches 2 of 2 devices -> selector leaves 0",
    ),
    "claim-that-holds-a-device-for-nobody": (
        "ResourceClaim/left-over",
        "status.reservedFor",
        "its reservedFor is empty and no pod refers to it",
    ),
    "rule-that-evicts": ("DeviceTaintRule/empty-rack-7", "spec.taint", "3 pods need to be evicted"),
    "pod-without-a-device": (
        "ResourceClaimTemplate/single",
        "requests[0]",
        "1 tainted gpu.acme.test/xid=79 -> 0 left",
    ),
    "pod-whose-driver-is-not-registered": (
        "Node/worker-1",
        "DRA driver gpu.acme.test",
        "DRA driver gpu.acme.test is not registered",
    ),
    "pod-whose-device-is-unhealthy": ("Pod/serve-0", "allocatedResourcesStatus", "is unhealthy (XID 79"),
    "pod-of-a-plugin-that-does-not-run": ("Pod/plain-0", "limits['nvidia.com/gpu']", "no node offers nvidia.com/gpu"),
}


@cache
def samples() -> tuple[tuple[str, Any], ...]:
    """Return each object with the finding that it is a sample of or belongs to."""
    found = []
    for raw in yaml.safe_load_all(SAMPLES.read_text()):
        notes = raw["metadata"]["annotations"]
        found.append((notes.get("finding") or notes["belongs"], json.loads(json.dumps(raw))))
    return tuple(found)


def cluster(*findings: str) -> Scan:
    raws: list[Raw] = [raw for finding, raw in samples() if finding == "none" or finding in findings]
    return scan(view(node("worker-1"), node("worker-2"), *raws), "is everything in order?")


def test_the_healthy_samples_are_healthy_together() -> None:
    result = cluster()
    assert result.verdict is Verdict.HEALTHY, told(result)
    assert not result.claims, told(result)


@pytest.mark.parametrize("finding", sorted(EXPECTED))
def test_a_broken_sample_is_found_alone(finding: str) -> None:
    result = cluster(finding)
    target, field, words = EXPECTED[finding]
    assert [f"{c.draft.target.kind}/{c.draft.target.name}" for c in result.roots] == [target], told(result)
    top = result.roots[0].draft
    assert field in top.field and words in top.summary, told(result)
    assert top.citations and top.fixes


def test_every_sample_has_an_expectation() -> None:
    assert {finding for finding, _ in samples()} == {*EXPECTED, "none"}


def test_all_samples_at_once_are_told_each_once() -> None:
    result = cluster(*EXPECTED)
    targets = [f"{c.draft.target.kind}/{c.draft.target.name}" for c in result.claims]
    for finding, (target, _, _) in EXPECTED.items():
        # The pod without a device follows from the incomplete pool here, which its claim says.
        if finding != "pod-without-a-device":
            assert target in targets, (finding, told(result))
    assert len(result.roots) <= len(EXPECTED), told(result)
    assert any("batch-1 gets no device" in c.draft.summary for c in result.claims), told(result)
