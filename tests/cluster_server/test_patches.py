"""The patch types as functions: invariants for any JSON, and the directives of the strategic one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.cluster.server import managed, schema
from assistant.cluster.server.patch import json_patch, merge_patch, same, strategic_merge
from assistant.cluster.server.status import ApiError

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
POD = schema.root("v1", "Pod") or {}
assert POD, "the field table knows pods"


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def difference(old: Any, new: Any) -> Any:
    """Return the merge patch from `old` to `new`, both without nulls in objects."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    made = {key: None for key in old if key not in new}
    return made | {
        key: difference(old.get(key), value)
        for key, value in new.items()
        if key not in old or not same(old[key], value)
    }


@given(OBJECTS, OBJECTS)
def test_merge_patch_leads_from_any_object_to_any_other(old: Any, new: Any) -> None:
    old, new = without_nulls(old), without_nulls(new)
    assert same(merge_patch(old, difference(old, new)), new)


@given(OBJECTS, OBJECTS)
def test_merge_patch_twice_is_merge_patch_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert same(merge_patch(once, patch), once)


@given(OBJECTS, st.text(max_size=4), VALUES)
def test_json_patch_add_then_remove_changes_nothing(target: Any, key: str, value: Any) -> None:
    if key in target:
        return
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    before = copy.deepcopy(target)
    operations = [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value},
                  {"op": "remove", "path": path}]  # fmt: skip
    assert json_patch(target, operations) == before
    assert target == before


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "test", "path": "/a", "value": 2}],
        [{"op": "test", "path": "/a", "value": True}],
        [{"op": "remove", "path": "/none"}],
        [{"op": "replace", "path": "/none", "value": 1}],
        [{"op": "add", "path": "/list/3", "value": 1}],
        [{"op": "add", "path": "/list/01", "value": 1}],
        [{"op": "add", "path": "/a/b", "value": 1}],
        [{"op": "move", "from": "/map", "path": "/map/inner"}],
        [{"op": "nonsense", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": "/x"}],
        [{"op": "replace", "path": "", "value": 1}],
    ],
)
def test_json_patch_that_does_not_fit_is_refused_whole(operations: list[dict[str, Any]]) -> None:
    target = {"a": 1, "list": [1, 2], "map": {}}
    with pytest.raises(ApiError) as caught:
        json_patch(target, [{"op": "add", "path": "/first", "value": 1}, *operations])
    assert caught.value.code == 422
    assert target == {"a": 1, "list": [1, 2], "map": {}}


def test_json_patch_follows_the_examples_of_the_rfc() -> None:
    assert json_patch({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}]) == {
        "foo": ["bar", "qux", "baz"]
    }
    assert json_patch({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}]) == {
        "foo": ["bar", ["abc"]]
    }
    moved = json_patch({"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}])
    assert moved == {"foo": ["all", "cows", "eat", "grass"]}
    assert json_patch({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}]) == {"/": 9, "~1": 10}


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


def test_strategic_merge_finds_containers_by_name_and_keeps_the_sidecar() -> None:
    live = pod({"name": "web", "image": "a:1", "env": [{"name": "A", "value": "1"}]}, {"name": "sidecar", "image": "s"})
    made = strategic_merge(live, pod({"name": "web", "image": "a:2", "env": [{"name": "B", "value": "2"}]}), POD)
    web, sidecar = made["spec"]["containers"]
    assert web == {"name": "web", "image": "a:2", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    assert sidecar == {"name": "sidecar", "image": "s"}


def test_strategic_merge_obeys_its_directives() -> None:
    live = pod({"name": "a"}, {"name": "b"}, {"name": "c"})

    def names(made: dict[str, Any]) -> list[str]:
        return [container["name"] for container in made["spec"]["containers"]]

    assert names(strategic_merge(live, pod({"name": "b", "$patch": "delete"}), POD)) == ["a", "c"]
    assert names(strategic_merge(live, pod({"name": "x"}, {"$patch": "replace"}), POD)) == ["x"]
    ordered = {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": []}}
    assert names(strategic_merge(live, ordered, POD)) == ["c", "a", "b"]
    volumes = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    kept = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]}}
    assert strategic_merge(volumes, kept, POD)["spec"]["volumes"] == [{"name": "v", "secret": {"secretName": "s"}}]
    finalizers = {"metadata": {"finalizers": ["a", "b"]}}
    dropped = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic_merge(finalizers, dropped, POD)["metadata"]["finalizers"] == ["b"]
    whole = {"metadata": {"labels": {"$patch": "replace", "x": "y"}}}
    assert strategic_merge({"metadata": {"labels": {"a": "b"}}}, whole, POD)["metadata"]["labels"] == {"x": "y"}


def writer(name: str) -> managed.Writer:
    return managed.Writer(name, "v1", "2026-11-23T08:00:00Z")


def test_apply_removes_what_only_its_own_manager_had_set() -> None:
    empty: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {}}
    both = {**empty, **pod({"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})}
    first = managed.apply(empty, both, POD, writer("one"), force=False)
    shared = managed.apply(
        first, {**empty, **pod({"name": "c", "env": [{"name": "A", "value": "1"}]})}, POD, writer("two"), force=False
    )
    less = {**empty, **pod({"name": "c"})}
    made = managed.apply(shared, less, POD, writer("one"), force=False)
    assert made["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]
    assert managed.apply(made, less, POD, writer("two"), force=False)["spec"]["containers"][0].get("env") in ([], None)


PATHS = st.sets(
    st.lists(st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"']), min_size=1, max_size=4).map(tuple), max_size=8
)


@given(PATHS)
def test_owned_paths_survive_their_json_form(paths: set[tuple[str, ...]]) -> None:
    assert managed.flatten(managed.nest(paths)) == paths
