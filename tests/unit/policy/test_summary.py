"""The one line that says what a change does, and the kubectl command that would do the same."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.domain.action import Action
from assistant.domain.proposal import LineOrigin
from assistant.domain.target import Target
from assistant.policy.diff import Change, changes, leaves, requested
from assistant.policy.kubectl import kubectl_line
from assistant.policy.origin import told_apart
from assistant.policy.summary import summary

WEB = Target("apps/v1", "Deployment", "shop", "web")
WEB_PATH = "/apis/apps/v1/namespaces/shop/deployments/web"
SETTINGS = Target("v1", "ConfigMap", "shop", "settings")
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web", "labels": {"team": "shop"}},
    "spec": {
        "replicas": 2,
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "registry.example:5000/shop/web:5.21.0",
                        "env": [{"name": "DB_POOL_SIZE", "value": "twenty"}],
                        "resources": {"limits": {"memory": "128Mi"}},
                        "readinessProbe": {"httpGet": {"port": 8081}},
                    },
                    {"name": "log", "image": "busybox"},
                ]
            },
        },
    },
}


def changed(before: dict[str, Any], path: str, value: Any) -> list[Change]:
    """Return what a JSON patch of one `replace` changes, as the gate finds it out from a dry run."""
    after = copy.deepcopy(before)
    way: list[Any] = [int(part) if part.isdigit() else part.replace("~1", "/") for part in path.split("/")[1:]]
    last = way.pop()
    here: Any = after
    for part in way:
        here = here[part] if isinstance(here, list) else here.setdefault(part, {})
    if value is None:
        del here[last]
    else:
        here[last] = value
    return told_apart(before, after, after)


INSIDE = "/spec/template/spec/containers/0"
TOLD = [
    (f"{INSIDE}/image", "registry.example:5000/shop/web:5.12.0",
     "set image of container web in Deployment shop/web: 5.21.0 → 5.12.0",
     "set image deployment/web web=registry.example:5000/shop/web:5.12.0"),
    (f"{INSIDE}/image", "other/web:5.12.0",
     "set image of container web in Deployment shop/web: registry.example:5000/shop/web:5.21.0 → other/web:5.12.0",
     "set image deployment/web web=other/web:5.12.0"),
    ("/spec/replicas", 4, "scale Deployment shop/web 2 → 4", "scale deployment/web --replicas=4"),
    (f"{INSIDE}/env/0/value", "20",
     "set env DB_POOL_SIZE of container web in Deployment shop/web: twenty → '20'",
     "set env deployment/web -c web DB_POOL_SIZE=20"),
    (f"{INSIDE}/readinessProbe/httpGet/port", 8080,
     "change readinessProbe port of container web in Deployment shop/web: 8081 → 8080", "patch deployment web"),
    (f"{INSIDE}/resources/limits/memory", "1Gi",
     "change memory limit of container web in Deployment shop/web: 128Mi → 1Gi",
     "set resources deployment/web -c web --limits=memory=1Gi"),
    (f"{INSIDE}/readinessProbe", None,
     "remove readinessProbe from container web in Deployment shop/web", "patch deployment web"),
    ("/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt", "2026-01-01T00:00:00Z",
     "restart Deployment shop/web", "rollout restart deployment/web"),
    ("/metadata/labels/team", "ops", "change label team of Deployment shop/web: shop → ops",
     "label deployment/web team=ops --overwrite"),
    ("/metadata/labels/team", None, "remove label team from Deployment shop/web", "label deployment/web team-"),
    ("/metadata/finalizers", ["a.io/b"], "add finalizer a.io/b to Deployment shop/web", "patch deployment web"),
    ("/spec/paused", True, "pause the rollout of Deployment shop/web", "rollout pause deployment/web"),
    ("/spec/minReadySeconds", 5, "set minReadySeconds of Deployment shop/web: 5", "patch deployment web"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "title", "command"), TOLD)
def test_a_change_is_told_by_what_it_does(path: str, value: Any, title: str, command: str) -> None:
    found = changed(DEPLOYMENT, path, value)
    assert summary(found, WEB) == title
    operations = [{"op": "replace", "path": path, "value": value}]
    action = Action("PATCH", WEB_PATH, WEB, (), "application/json-patch+json", json.dumps(operations))
    line = kubectl_line(action, operations, found)
    assert line.startswith(f"kubectl -n shop {command}")
    if command.startswith("patch"):
        assert line.endswith(f"--type=json -p '{json.dumps(operations, separators=(',', ':'))}'")


def test_list_items_go_by_their_name_also_without_a_dry_run() -> None:
    operations = [{"op": "test", "path": "/metadata/uid", "value": "u"}]
    operations += [{"op": "replace", "path": "/spec/template/spec/containers/1/image", "value": "busybox:2"}]
    found = requested(operations, DEPLOYMENT)
    assert summary(found, WEB) == "set image of container log in Deployment shop/web: busybox → busybox:2"
    merged = requested({"metadata": {"name": "web"}, "spec": {"replicas": 4}}, DEPLOYMENT)
    assert summary(merged, WEB) == "scale Deployment shop/web 2 → 4"


def test_several_changes_are_counted_and_named() -> None:
    after = copy.deepcopy(DEPLOYMENT)
    first, second = after["spec"]["template"]["spec"]["containers"]
    first["image"], second["image"], first["env"] = "registry.example:5000/shop/web:6", "busybox:2", []
    after["spec"]["replicas"] = 3
    told = summary(changes(DEPLOYMENT, after, leaves(after)), WEB)
    assert told.startswith("change Deployment shop/web: replicas 2 → 3; web image 5.21.0 → 6; ")
    assert told.endswith("; and 1 more")


def test_two_containers_at_once_are_no_single_set_image() -> None:
    after = copy.deepcopy(DEPLOYMENT)
    for container in after["spec"]["template"]["spec"]["containers"]:
        container["image"] = "x:1"
    found = changes(DEPLOYMENT, after, leaves(after))
    action = Action("PUT", WEB_PATH, WEB, (), "application/json", json.dumps(after))
    assert kubectl_line(action, after, found) == "kubectl -n shop replace -f -"


def test_an_apply_is_told_as_an_apply_and_not_by_its_bookkeeping() -> None:
    body = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
    body |= {"spec": {"replicas": 3}}  # type: ignore[dict-item]
    after = {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], **body["metadata"]}}
    found = changes(DEPLOYMENT, {**after, "spec": {**DEPLOYMENT["spec"], "replicas": 3}}, leaves(body))
    action = Action("PATCH", WEB_PATH, WEB, (), "application/strategic-merge-patch+json", json.dumps(body))
    assert kubectl_line(action, body, found) == "kubectl -n shop apply -f -"
    assert summary(found, WEB) == "scale Deployment shop/web 2 → 3"


def test_a_title_never_plays_a_change_down() -> None:
    status = requested({"status": {"phase": "Running"}}, {"status": {"phase": "Failed"}})
    assert summary(status, WEB) == "change status.phase of Deployment shop/web: Failed → Running"
    mark = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
    assert "restart Deployment" not in summary(requested(mark, DEPLOYMENT), WEB)
    assert summary(requested({"spec": {"replicas": None}}, DEPLOYMENT), WEB).startswith("remove replicas")


def test_one_line_of_a_long_text_is_shown_alone() -> None:
    before = {"data": {"app.json": '{\n  "pool": twenty,\n  "x": 1\n}'}}
    after = {"data": {"app.json": '{\n  "pool": 20,\n  "x": 1\n}'}}
    told = summary(changes(before, after, leaves(after)), SETTINGS)
    assert told == """set app.json in ConfigMap shop/settings, line 2: '"pool": twenty,' → '"pool": 20,'"""


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_values_that_look_secret_are_never_told(kind: str) -> None:
    value = "hunter2" + "hunter2"
    target = Target("v1", kind, "shop", "db")
    for found in (
        requested({"data": {"DB_PASSWORD": value}}, {"data": {"DB_PASSWORD": "old" + value}}),
        requested([{"op": "add", "path": "/data/DB_PASSWORD", "value": value}], {"data": {}}),
        requested({"data": {"DB_PASSWORD": value, "TOKEN": value}}, None),
    ):
        assert "DB_PASSWORD" in summary(found, target)
        assert value not in summary(found, target)
    env = [{"op": "add", "path": f"{INSIDE}/env/-", "value": {"name": "DB_PASSWORD", "value": value}}]
    assert value not in summary(requested(env, DEPLOYMENT), WEB)


def test_long_values_and_line_breaks_cannot_stretch_the_line() -> None:
    found = requested({"data": {"motd": "a\x0bb " + "x" * 5000}}, {"data": {"motd": "y"}})
    assert len(summary(found, SETTINGS)) < 200
    assert summary(found, SETTINGS).isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["spec", "containers", "env", "name", "data", "image", "labels"]), inner)
    ),
    max_leaves=12,
)


@given(before=json_values, after=json_values, touched=json_values)
def test_no_pair_of_objects_is_beyond_telling(before: Any, after: Any, touched: Any) -> None:
    for found in (changes(before, after, leaves(touched)), requested(after, before)):
        assert summary(found, WEB)
        action = Action("PATCH", WEB_PATH, WEB, (), "application/merge-patch+json", "{}")
        assert kubectl_line(action, after, found).startswith("kubectl ")
    assert all(change.origin in LineOrigin for change in changes(before, after, frozenset()))
