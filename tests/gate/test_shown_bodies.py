"""Secret values in the bodies of changes: never in a proposal, whatever form of patch carries them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.gate.shown import shown_body
from assistant.policy.redact import Redactor

SECRET = "hunter2" + "hunter2"
REDACTOR = Redactor(b"k" * 32)
LIVE = {
    "kind": "Deployment",
    "spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "DB_PASSWORD", "value": "x"}]}]}}},
}
ENV = "/spec/template/spec/containers/0/env"


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        ("Secret", {"op": "add", "path": "/data/any", "value": SECRET}),
        ("Secret", {"op": "replace", "path": "/stringData", "value": {"any": SECRET}}),
        ("Secret", {"op": "test", "path": "/data/any", "value": SECRET}),
        ("Secret", {"op": "replace", "path": "", "value": {"kind": "Secret", "data": {"any": SECRET}}}),
        ("ConfigMap", {"op": "add", "path": "/data/DB_PASSWORD", "value": SECRET}),
        ("Deployment", {"op": "replace", "path": f"{ENV}/0/value", "value": SECRET}),
        ("Deployment", {"op": "add", "path": f"{ENV}/-", "value": {"name": "API_TOKEN", "value": SECRET}}),
        ("Deployment", {"op": "add", "path": ENV, "value": [{"name": "API_TOKEN", "value": SECRET}]}),
    ],
)
def test_an_operation_of_a_json_patch_is_judged_by_its_place(kind: str, operation: dict[str, Any]) -> None:
    clean = shown_body(REDACTOR, [operation], kind, LIVE if kind == "Deployment" else None)
    assert SECRET not in json.dumps(clean)
    assert [clean[0]["op"], clean[0]["path"]] == [operation["op"], operation["path"]]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "shop/web:2"},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
        {"op": "add", "path": f"{ENV}/-", "value": {"name": "DB_POOL_SIZE", "value": "20"}},
        {"op": "remove", "path": "/spec/replicas"},
        {"op": "add", "path": "/metadata/labels/a~1b", "value": "c"},
    ],
)
def test_what_is_no_secret_is_shown_as_it_will_be_sent(operation: dict[str, Any]) -> None:
    assert shown_body(REDACTOR, [operation], "Deployment", LIVE) == [operation]


@given(path=st.lists(st.sampled_from(["data", "env", "0", "-", "", "name", "~1"]), max_size=5))
def test_no_path_is_beyond_judging(path: list[str]) -> None:
    operation = {"op": "add", "path": "".join(f"/{part}" for part in path), "value": SECRET}
    assert shown_body(REDACTOR, [operation], "Secret", LIVE)[0]["path"] == operation["path"]
