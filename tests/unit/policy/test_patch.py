"""What each content type makes of an object, checked against a second implementation, the recorded cluster's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.cluster.server.patch import json_patch, merge_patch
from assistant.cluster.server.status import ApiError
from assistant.policy.patch import APPLY, JSON_PATCH, MERGE, STRATEGIC, meant, merged, stepped

values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0", "~/"]), inner),
    max_leaves=10,
)
objects = st.dictionaries(st.sampled_from(["a", "b", "0", "~/"]), values)
pointers = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "~0~1"]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "copy", "move"]), "path": pointers, "value": values},
    optional={"from": pointers},
)


@given(target=objects, patch=values)
def test_a_merge_patch_is_merged_by_its_rfc(target: Any, patch: Any) -> None:
    assert merged(target, patch) == merge_patch(target, patch)


@given(target=objects, steps=st.lists(operations, max_size=3))
def test_a_json_patch_is_applied_as_a_server_applies_it(target: Any, steps: Any) -> None:
    try:
        expected: Any = json_patch(target, steps)
    except ApiError:
        return
    assert stepped(target, steps) == expected


@pytest.mark.parametrize(
    "steps",
    [
        [{"op": "remove", "path": "/missing"}],
        [{"op": "replace", "path": "/list/3", "value": 1}],
        [{"op": "add", "path": "/list/01", "value": 1}],
        [{"op": "add", "path": "list", "value": 1}],
        [{"op": "bend", "path": "/list"}],
        [{"path": "/list"}],
        ["remove"],
    ],
)
def test_a_json_patch_that_does_not_fit_has_no_effect_to_tell(steps: Any) -> None:
    assert meant("PATCH", JSON_PATCH, steps, {"list": [1]}) is None


@pytest.mark.parametrize("kind", [STRATEGIC, APPLY, ""])
def test_what_the_server_merges_is_not_guessed(kind: str) -> None:
    assert meant("PATCH", kind, {"spec": {"containers": []}}, {"spec": {}}) is None


def test_the_text_of_a_secret_is_its_data() -> None:
    live = {"kind": "Secret", "data": {"a": "eA==", "b": "eQ=="}}
    assert meant("PATCH", MERGE, {"stringData": {"a": "y"}}, live) == {
        "kind": "Secret",
        "data": {"a": "eQ==", "b": "eQ=="},
    }
    plain = {"kind": "ConfigMap", "stringData": {"a": "y"}}
    assert meant("PUT", "application/json", plain, live) == plain
