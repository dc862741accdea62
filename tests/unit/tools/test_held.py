"""Objects that are kept as bytes read like the dictionaries that they came from, whatever stands in them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.expert.workload import containers, in_trouble, workload_of
from assistant.cluster.held import HeldPod
from assistant.cluster.pages import Keeping, Page, Reading
from assistant.cluster.status import Reply
from assistant.domain.thing import KeptThing, Recent, Thing
from assistant.domain.view import ClusterView
from assistant.errors import ClusterError
from benchmarks import objects

AT = "2026-11-24T02:40:00Z"
PATHS = (
    "metadata", "metadata.name", "metadata.namespace", "metadata.labels", "metadata.labels.app", "metadata.uid",
    "metadata.ownerReferences", "metadata.annotations", "metadata.creationTimestamp", "metadata.deletionTimestamp",
    "metadata.finalizers", "spec", "spec.nodeName", "spec.containers", "spec.containers[0].env", "spec.volumes",
    "spec.hostname", "spec.resourceClaims", "status", "status.phase", "status.reason", "status.conditions",
    "status.containerStatuses", "status.containerStatuses[0].state", "apiVersion", "kind", "nowhere", "spec.replicas",
    "status.readyReplicas",
)  # fmt: skip


def page(*items: Any, kind: str = "PodList") -> bytes:
    return msgspec.json.encode({"kind": kind, "apiVersion": "v1", "metadata": {}, "items": list(items)})


def kept(*items: Any, keeping: Keeping = Keeping.PODS) -> list[Any]:
    reading = Reading(keeping)
    for texts in Page(Reply(200, {}, page(*items)), keeping).batches():
        reading.add(texts)
    return reading.items


def pair(item: dict[str, Any], held: Any, recent: Recent | None = None) -> tuple[Thing, KeptThing]:
    plain = copy.deepcopy(item)
    plain["metadata"].pop("managedFields", None)
    return (
        Thing("pods", "v1", "Pod", plain, "GET"),
        KeptThing("pods", "v1", "Pod", held, "GET", recent or Recent()),
    )


def same(item: dict[str, Any], held: Any) -> None:
    plain, thing = pair(item, held)
    for path in PATHS:
        assert thing.at(path) == plain.at(path), path
    assert (thing.ready, thing.newest, thing.images) == (plain.ready, plain.newest, plain.images)
    assert (thing.name, thing.namespace, thing.key, thing.labels) == (
        plain.name,
        plain.namespace,
        plain.key,
        plain.labels,
    )
    assert thing.raw == plain.raw
    assert list(thing.raw) == list(plain.raw)
    for key in ("persistentVolumeClaim", "resourceClaims", "hostNetwork"):
        assert thing.may_hold(key) or f'"{key}"' not in msgspec.json.encode(plain.raw["spec"]).decode()


def stateful(name: str) -> dict[str, Any]:
    pod = objects.pod(7)
    pod["metadata"] |= {"name": name, "labels": {"statefulset.kubernetes.io/pod-name": name}}
    pod["spec"]["hostname"] = name
    pod["spec"]["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}})
    return pod


@pytest.mark.parametrize(
    "pod",
    [
        objects.pod(1),
        objects.pod(2, managed=False),
        stateful("web-0"),
        stateful("persistentVolumeClaim"),
        stateful("a"),
        {"metadata": {"name": "bare"}},
        {"metadata": {"name": "x-1", "managedFields": [], "labels": None}, "spec": {"nodeName": "x-1"}, "status": {}},
        {"metadata": {"name": "w-1"}, "spec": {"nodeName": "w-1-a", "a": "kube-api-access-w-1xy w-1"}, "status": {}},
    ],
)
def test_a_pod_reads_as_it_came(pod: dict[str, Any]) -> None:
    [held] = kept(pod)
    assert isinstance(held, HeldPod)
    # A section that is not there at all is one that nothing stands in.
    full = {"metadata": pod["metadata"], "spec": pod.get("spec", {}), "status": pod.get("status", {})}
    same(full, kept(full)[0])


TEXT = st.text(st.sampled_from('ab-"\\/\n\x01ü€{}:,'), max_size=12)
VALUE: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
NAMES = st.one_of(st.sampled_from(["web-0", "a", "kube-api-access-abcde", "x"]), TEXT)


@settings(max_examples=300)
@given(NAMES, NAMES, st.dictionaries(NAMES, VALUE, max_size=4), VALUE, st.booleans())
def test_any_pod_reads_as_it_came(name: str, node: str, spec: dict[str, Any], note: Any, last: bool) -> None:
    fields = {"name": name, "annotations": {"n": note}}
    managed = {"managedFields": [{"manager": name, "fieldsV1": {"f:managedFields": note}}]}
    spec = {"nodeName": node, "volumes": [{"name": "kube-api-access-abcde"}], "more": [name, node], **spec}
    if not isinstance(spec["nodeName"], str):
        return
    meta = {**fields, **managed} if last else {**managed, **fields}
    pod = {"metadata": meta, "spec": spec, "status": {"message": note}}
    [held] = kept(pod)
    assert isinstance(held, HeldPod)
    same(pod, held)


STATE = st.sampled_from(
    [
        {},
        {"running": {"startedAt": AT}},
        {"waiting": {"reason": "CrashLoopBackOff"}},
        {"waiting": {"reason": "PodInitializing"}},
        {"terminated": {"exitCode": 0}},
        {"terminated": {"exitCode": 3, "finishedAt": AT}},
    ]
)
STATUS = st.fixed_dictionaries(
    {
        "name": st.just("c"),
        "ready": st.booleans(),
        "restartCount": st.integers(0, 4),
        "state": STATE,
        "lastState": STATE,
    }
)


@settings(max_examples=300)
@given(
    st.lists(STATUS, min_size=1, max_size=2),
    st.lists(STATUS, max_size=2),
    st.sampled_from(["Running", "Pending", "Succeeded", "Failed", None]),
    st.sampled_from(["True", "False", "Unknown", None]),
    st.booleans(),
)
def test_a_pod_that_needs_no_look_has_no_container_in_trouble(
    mains: list[dict[str, Any]], inits: list[dict[str, Any]], phase: str | None, ready: str | None, leaving: bool
) -> None:
    named = [{**row, "name": f"c{i}"} for i, row in enumerate(mains)]
    first = [{**row, "name": f"i{i}"} for i, row in enumerate(inits)]
    pod = {
        "metadata": {"name": "p-1", "namespace": "n", "creationTimestamp": AT}
        | ({"deletionTimestamp": AT} if leaving else {}),
        "spec": {"containers": [{"name": c["name"]} for c in named],
                 "initContainers": [{"name": c["name"]} for c in first]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": AT}],
                   "containerStatuses": named, "initContainerStatuses": first},
    }  # fmt: skip
    view = ClusterView()
    view.add("pods", kept(pod), "GET /api/v1/pods", api_version="v1", kind="Pod")
    [thing] = view.all("pods")
    assert isinstance(thing, KeptThing)
    if thing.quiet:
        assert thing.ready and not thing.deleting
        rows = list(containers(workload_of(view, thing), thing))
        assert len(rows) == len(named) + len(first)
        assert not any(in_trouble(view, thing, row) for row in rows)


def test_what_a_workloads_pods_have_in_common_is_kept_once() -> None:
    first, second, other = kept(objects.pod(1), objects.pod(2), objects.pod(11))
    assert first._template is second._template
    assert first.facts["metadata.labels"] is second.facts["metadata.labels"]
    assert first._template is not other._template
    names = {objects.pod(number)["spec"]["volumes"][0]["name"] for number in (1, 2)}
    assert {held.section("spec")["volumes"][0]["name"] for held in (first, second)} == names


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": {"name": "a", "labels": {}}, "spec": {"nodeName": 3}},
        {"metadata": {"name": 3}},
        {"metadata": {"name": "a"}, "status": {"conditions": {}}},
        {"metadata": {"name": "a"}, "status": {"containerStatuses": [{"restartCount": "x"}]}},
        {"metadata": {"name": "a"}, "extra": 1},
        {"metadata": "none"},
    ],
)
def test_an_odd_object_among_pods_is_a_dictionary_and_the_others_are_read(odd: dict[str, Any]) -> None:
    items = kept(odd, objects.pod(1))
    assert items[0] == odd
    assert len(items) == 2


@pytest.mark.parametrize("data", [b"", b"[1]", b'"x"', b'{"items": [', b"\xff{}"])
def test_what_is_no_list_is_an_error(data: bytes) -> None:
    for keeping in Keeping:
        with pytest.raises(ClusterError):
            Page(Reply(200, {}, data), keeping)


@pytest.mark.parametrize("items", [b"null", b"3", b"{}", b"[]"])
def test_a_list_without_items_is_empty(items: bytes) -> None:
    for keeping in Keeping:
        assert list(Page(Reply(200, {}, b'{"kind":"PodList","items":%b}' % items), keeping).batches()) == []


def test_any_kind_may_be_kept_as_bytes() -> None:
    owned = next(objects.workloads(10))[1]
    owned["metadata"]["managedFields"] = [{"manager": "kube-controller-manager"}]
    [held] = kept(owned, keeping=Keeping.OBJECTS)
    plain, thing = pair(owned, held)
    for path in PATHS:
        assert thing.at(path) == plain.at(path), path
    assert thing.raw == plain.raw
    assert thing.newest == plain.newest != datetime(1970, 1, 1, tzinfo=UTC)


def test_only_so_many_objects_stay_decoded_and_they_read_the_same_again() -> None:
    recent = Recent(2)
    things = [pair(objects.pod(i), held, recent)[1] for i, held in enumerate(kept(*map(objects.pod, range(5))))]
    before = [thing.raw for thing in things]
    assert recent.decoded == 5
    assert [thing._sections is None for thing in things] == [True, True, True, False, False]
    assert [thing.raw for thing in things] == before
