"""Equal parts of a list's objects are held once, and nothing that is read changes by it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.cluster.sharing import Shared

JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.sampled_from(["", "a", "1"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(list("abcd")), inner)),
    max_leaves=8,
)
KEYS = st.sampled_from(["metadata", "spec", "containers", "env", "template", "initContainers", "labels", "volumes"])
INNER = st.one_of(JSON, st.lists(st.dictionaries(KEYS, JSON), max_size=3))
OBJECTS = st.lists(st.dictionaries(KEYS, st.one_of(JSON, st.dictionaries(KEYS, INNER))), max_size=6)


@given(OBJECTS)
def test_every_object_reads_as_before(objects: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(objects)
    assert Shared().items(objects) == before


@given(st.lists(JSON))
def test_what_is_no_object_is_left_out(items: list[Any]) -> None:
    assert Shared().items(items) == [item for item in items if isinstance(item, dict)]


def pod(name: str) -> dict[str, Any]:
    env = [{"name": "A", "value": "b"}]
    return {
        "metadata": {"name": name, "labels": {"app": "web"}, "managedFields": [{"manager": "kubelet", "fieldsV1": {}}]},
        "spec": {"containers": [{"name": "web", "env": env}], "tolerations": [{"key": "x"}]},
    }


def test_pods_of_a_workload_share_their_environment_and_have_names_of_their_own() -> None:
    first, second = Shared().items([copy.deepcopy(pod("a")), copy.deepcopy(pod("b"))])
    assert first["spec"]["containers"][0]["env"] is second["spec"]["containers"][0]["env"]
    assert first["spec"]["tolerations"] is second["spec"]["tolerations"]
    assert (first["metadata"]["name"], second["metadata"]["name"]) == ("a", "b")
    assert first["metadata"]["managedFields"] == [{"manager": "kubelet"}]


def test_numbers_and_booleans_are_not_taken_for_each_other() -> None:
    first, second = Shared().items([{"spec": {"a": [1]}}, {"spec": {"a": [True]}}])
    assert first["spec"]["a"][0] is not True
    assert second["spec"]["a"][0] is True


@pytest.mark.parametrize("odd", [None, [], {}, "x", [1, None, "y"], [[]]])
def test_managed_fields_of_another_shape_are_dropped(odd: Any) -> None:
    assert Shared().items([{"metadata": {"name": "a", "managedFields": odd}}]) == [{"metadata": {"name": "a"}}]


def test_of_managed_fields_is_kept_who_wrote_when() -> None:
    entry = {"manager": "kubectl-edit", "operation": "Update", "time": "2026-03-01T11:52:00Z", "subresource": "scale"}
    more = {"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:KEY": {}}}}
    (kept,) = Shared().items([{"metadata": {"managedFields": [entry | more]}}])
    assert kept["metadata"]["managedFields"] == [entry]
