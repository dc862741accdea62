"""A large cluster with planted faults: each is found, nothing else is, and healthy pods are not looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.expert.causes import Scan, scan
from agents.expert.reading import QUIET_LOGS, logs_of
from assistant.cluster.pages import Keeping, Page, Reading
from assistant.cluster.read import KEPT
from assistant.cluster.status import Reply
from assistant.domain.finding import Verdict
from assistant.domain.thing import KeptThing
from assistant.domain.view import ClusterView, Log
from benchmarks import synthetic
from benchmarks.serving import CORE, NAMED

from .bundles import load
from .test_practice import CAUSES, PRACTICE, unpack

KINDS = {(plural, ""): ("v1", kind) for plural, kind in CORE.items()} | {
    (plural, version.rpartition("/")[0]): (version, kind)
    for version, kinds in NAMED.items()
    for plural, kind in kinds.items()
}


def add(view: ClusterView, resource: str, items: list[Any], keeping: Keeping, namespace: str = "") -> None:
    plural, _, group = resource.partition(".")
    version, kind = KINDS[(plural, group)]
    reading = Reading(keeping)
    data = msgspec.json.encode({"kind": f"{kind}List", "metadata": {}, "items": items})
    for texts in Page(Reply(200, {}, data), keeping).batches():
        reading.add(texts)
    view.add(resource, reading.items, f"GET {resource}", api_version=version, kind=kind, namespace=namespace)


def read(cluster: synthetic.Cluster, *, kept: bool) -> ClusterView:
    view = ClusterView()
    for plural, group in KINDS:
        resource = f"{plural}.{group}" if group else plural
        keeping = KEPT.get(resource, Keeping.DICTIONARIES) if kept else Keeping.DICTIONARIES
        add(view, resource, cluster.lists.get(resource, []), keeping)
    for namespace, pod, container, previous in logs_of(view):
        text = cluster.logs.get((namespace, pod, container, previous), "serving on :8080\n")
        view.add_log(Log(namespace, pod, container, previous, text, "GET log"))
    return view


def roots(result: Scan) -> list[tuple[str, str, str]]:
    return sorted((c.draft.target.kind, c.draft.target.namespace, c.draft.target.name) for c in result.roots)


def test_planted_faults_are_found_and_nothing_else() -> None:
    cluster = synthetic.build(1000)
    result = scan(read(cluster, kept=True))
    assert roots(result) == sorted((p.kind, p.namespace, p.name) for p in cluster.planted)
    assert len(cluster.planted) == len(synthetic.FAULTS)
    assert result.verdict is Verdict.FAULT
    assert not result.gaps


def test_the_same_cluster_without_faults_is_healthy() -> None:
    result = scan(read(synthetic.build(1000, faults=False), kept=True))
    assert (result.verdict, result.roots, result.gaps) == (Verdict.HEALTHY, [], ())


def test_healthy_pods_are_not_decoded() -> None:
    cluster = synthetic.build(1000, faults=False)
    view = read(cluster, kept=True)
    assert all(isinstance(pod, KeptThing) for pod in view.all("pods"))
    scan(view)
    # One pod for each Service, to see whether its port is served, and those whose logs were read.
    assert view.decoded <= len(view.all("services")) + QUIET_LOGS


def test_how_objects_are_kept_changes_nothing_that_is_found() -> None:
    cluster = synthetic.build(1000)
    assert scan(read(cluster, kept=True)).claims == scan(read(cluster, kept=False)).claims


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_a_recorded_cluster_reads_the_same_from_bytes(name: str, tmp_path: Path) -> None:
    root, namespace = unpack(PRACTICE / name / "bundle.tar.gz", tmp_path)
    plain, bytewise = load(root, namespace), load(root, namespace)
    for resource, keeping in KEPT.items():
        bytewise._lists.pop(resource, None)
        for thing in plain.all(resource):
            del bytewise._things[thing.key]
        add(bytewise, resource, [_untyped(thing.raw) for thing in plain.all(resource)], keeping)
    for thing in (t for resource in KEPT for t in bytewise.all(resource)):
        original = plain.by_key(thing.key)
        assert original is not None
        thing.request = original.request
        thing.api_version = original.api_version
    expected, found = scan(plain, "why"), scan(bytewise, "why")
    assert [(c.draft.identity, c.role, c.explains) for c in found.claims] == [
        (c.draft.identity, c.role, c.explains) for c in expected.claims
    ]
    assert found.checked == expected.checked
    assert logs_of(plain) == logs_of(bytewise)


def _untyped(raw: Any) -> dict[str, Any]:
    """Return an object as it stands in a list."""
    return {name: value for name, value in raw.items() if name not in ("apiVersion", "kind")}
