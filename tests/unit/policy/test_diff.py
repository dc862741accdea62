"""Who changes a line: the request, the server (defaults, admission), or bookkeeping."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from assistant.domain.proposal import LineOrigin
from assistant.policy.diff import MISSING, Change, asked, changes, diff_lines, named
from assistant.policy.origin import told_apart
from assistant.policy.patch import stepped

OURS, SERVER, HIDDEN = LineOrigin.OURS, LineOrigin.SERVER, LineOrigin.HIDDEN
CONTAINERS = ("spec", "template", "spec", "containers")
WEB = (*CONTAINERS, "[name=web]")
SIDECAR = {"name": "istio-proxy", "image": "istio/proxyv2:1.24"}


def live() -> dict[str, Any]:
    container = {"name": "web", "image": "web:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]}
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "generation": 1, "resourceVersion": "10", "managedFields": [{"manager": "a"}]},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
        "status": {"observedGeneration": 1},
    }


def told(body: Any, before: Any, after: Any) -> dict[tuple[str, ...], list[tuple[LineOrigin, Any, Any]]]:
    wanted = {} if isinstance(body, list) else asked(body, before, after)
    found: dict[tuple[str, ...], list[tuple[LineOrigin, Any, Any]]] = {}
    parts = changes(before, after, frozenset(wanted), wanted)
    if isinstance(body, list):
        parts = told_apart(before, stepped(before, body), after, named(body, before))
    for change in parts:
        found.setdefault(change.path, []).append((change.origin, change.before, change.after))
    return found


def test_our_line_a_sidecar_and_bookkeeping_are_told_apart() -> None:
    after = live()
    after["metadata"] |= {"generation": 2, "managedFields": [{"manager": "b"}]}
    after["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    after["spec"]["template"]["spec"]["containers"].append(SIDECAR)
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
    found = told(body, live(), after)
    assert found == {
        (*WEB, "image"): [(OURS, "web:1", "web:2")],
        (*CONTAINERS, "[name=istio-proxy]"): [(SERVER, MISSING, SIDECAR)],
        ("metadata", "generation"): [(HIDDEN, 1, 2)],
        ("metadata", "managedFields", "[0]", "manager"): [(HIDDEN, "a", "b")],
    }


def test_what_kubectl_apply_says_of_the_order_makes_nothing_ours() -> None:
    after = live()
    after["spec"]["template"]["spec"]["containers"].append(SIDECAR)
    spec = {"$setElementOrder/containers": [{"name": "web"}], "containers": [{"name": "web", "image": "web:1"}]}
    found = told({"spec": {"template": {"spec": spec}}}, live(), after)
    assert found == {(*CONTAINERS, "[name=istio-proxy]"): [(SERVER, MISSING, SIDECAR)]}


def test_a_directive_that_replaces_makes_all_below_ours() -> None:
    after = live()
    after["spec"]["template"]["spec"] = {"containers": [SIDECAR]}
    body = {"spec": {"template": {"spec": {"$patch": "replace", "containers": [SIDECAR]}}}}
    assert {origin for lines in told(body, live(), after).values() for origin, *_ in lines} == {OURS}


def test_of_a_new_object_only_what_was_asked_for_is_ours() -> None:
    body = {
        "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}},
    }  # fmt: skip
    after = live()
    after["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    after["spec"]["template"]["spec"]["containers"].append(SIDECAR)
    found = told(body, {}, after)
    assert found[("spec",)] == [(OURS, MISSING, body["spec"])]
    assert found[("metadata",)] == [(OURS, MISSING, {"name": "web"})]
    assert found[("spec", "replicas")] == [(SERVER, MISSING, 2)]
    assert found[(*WEB, "imagePullPolicy")] == [(SERVER, MISSING, "IfNotPresent")]
    assert found[(*CONTAINERS, "[name=istio-proxy]")] == [(SERVER, MISSING, SIDECAR)]
    assert found[("metadata", "managedFields")][0][0] is HIDDEN
    assert found[("status",)][0][0] is HIDDEN


@pytest.mark.parametrize("new", [True, False])
def test_a_value_that_admission_writes_over_is_shown_twice(new: bool) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
    before, after = live(), live()
    after["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/web:2"
    found = told(body, {} if new else before, after)
    assert (SERVER, "web:2", "mirror.example/web:2") in found[(*WEB, "image")]
    ours = [line for lines in found.values() for line in lines if line[0] is OURS]
    assert "mirror.example" not in str([value for _, _, value in ours])
    assert "web:2" in str(ours)


def test_a_field_that_the_server_drops_is_said() -> None:
    found = told({"spec": {"replicsa": 3, "paused": False}}, live(), live())
    assert found == {("spec", "replicsa"): [(OURS, MISSING, 3), (SERVER, 3, MISSING)]}


@pytest.mark.parametrize("index", ["-", "0"])
def test_an_item_that_a_json_patch_adds_is_ours_and_its_neighbours_are_not(index: str) -> None:
    new = {"name": "log", "image": "busybox"}
    after = live()
    after["spec"]["template"]["spec"]["containers"] += [{**new, "imagePullPolicy": "Always"}, SIDECAR]
    found = told([{"op": "add", "path": f"/spec/template/spec/containers/{index}", "value": new}], live(), after)
    assert found == {
        (*CONTAINERS, "[name=log]"): [(OURS, MISSING, new)],
        (*CONTAINERS, "[name=log]", "imagePullPolicy"): [(SERVER, MISSING, "Always")],
        (*CONTAINERS, "[name=istio-proxy]"): [(SERVER, MISSING, SIDECAR)],
    }


def test_ports_are_ours_by_whichever_key_the_request_names_them() -> None:
    before = live()
    before["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"] = "http"
    after = copy.deepcopy(before)
    after["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = 81
    port = [{"containerPort": 81}]
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "ports": port}]}}}}
    assert {origin for lines in told(body, before, after).values() for origin, *_ in lines} == {OURS}


def test_a_secret_given_as_text_is_ours_where_the_server_keeps_it() -> None:
    found = told({"stringData": {"a": "x"}}, {"kind": "Secret"}, {"kind": "Secret", "data": {"a": "eA=="}})
    assert found == {("data",): [(OURS, MISSING, {"a": "eA=="})]}


def test_ours_come_first_and_what_does_not_fit_is_counted() -> None:
    found = [Change((f"k{n}",), MISSING, n, SERVER) for n in range(300)] + [Change(("ours",), MISSING, 1, OURS)]
    lines, cut = diff_lines(found)
    assert (lines[0].text, cut) == ("ours", 2 * 301 - len(lines))
    assert cut > 0
