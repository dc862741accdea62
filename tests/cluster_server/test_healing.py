"""A right fix visibly heals the practice incidents, a wrong one does not, and taking it back makes them ill again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.cluster.server import RecordedCluster
from assistant.cluster.server.healing import lookup, read_conditions
from assistant.errors import BundleError, UsageError
from tests.cluster_server.conftest import PRACTICE, Client, HandClock, Start

IMAGE = "/apis/apps/v1/namespaces/storefront-web/deployments/storefront"
PODS = "/api/v1/namespaces/storefront-web/pods"


def image(tag: str) -> dict[str, Any]:
    container = {"name": "web", "image": f"docker.io/acme/web-frontend:{tag}"}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


@pytest.fixture
async def shop(serve: Start, connect: Callable[[RecordedCluster], Client]) -> Client:
    folder = PRACTICE / "missing-image"
    settings = {"after": folder / "after.tar.gz", "heals_when": folder / "heals_when.yaml", "heal_seconds": (1.0, 3.0)}
    return connect(await serve(bundle=folder / "bundle.tar.gz", **settings))


async def patch(shop: Client, body: Any) -> Any:
    answer = await shop("PATCH", IMAGE, body, media="application/strategic-merge-patch+json")
    assert answer.status == 200, answer.text
    return answer.json


def ready(pods: list[Any]) -> list[bool]:
    return [all(s["ready"] for s in pod["status"]["containerStatuses"]) for pod in pods]


async def test_right_fix_heals_in_two_stages(shop: Client, clock: HandClock) -> None:
    before = {pod["metadata"]["name"] for pod in (await shop("GET", PODS)).json["items"]}
    written = await patch(shop, image("5.12.1"))
    clock.pass_seconds(0.9)
    assert {pod["metadata"]["name"] for pod in (await shop("GET", PODS)).json["items"]} == before
    clock.pass_seconds(0.2)
    during = (await shop("GET", PODS)).json["items"]
    new = [pod for pod in during if pod["metadata"]["name"] not in before]
    assert len(new) == 2 and ready(new) == [False, False] and before < {pod["metadata"]["name"] for pod in during}
    seen = (await shop("GET", IMAGE)).json["status"]
    assert seen["observedGeneration"] == written["metadata"]["generation"]
    assert "ProgressDeadlineExceeded" not in json.dumps(seen)
    clock.pass_seconds(2.0)
    after = (await shop("GET", PODS)).json["items"]
    assert {pod["metadata"]["name"] for pod in after} == {pod["metadata"]["name"] for pod in new}
    assert ready(after) == [True, True]
    deployment = (await shop("GET", IMAGE)).json
    assert deployment["spec"] == written["spec"]
    assert deployment["status"]["readyReplicas"] == 2
    assert deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]


async def test_wrong_fix_does_not_heal(shop: Client, clock: HandClock) -> None:
    before = (await shop("GET", PODS)).json["items"]
    await patch(shop, image("5.22.0"))
    clock.pass_seconds(60)
    assert (await shop("GET", PODS)).json["items"] == before
    assert shop.server.healing is not None and not shop.server.healing.healed


@pytest.mark.parametrize(("value", "healed"), [("v3", True), ("v2", False)])
async def test_a_variable_may_be_set_where_the_container_takes_its_environment_from(
    serve: Start, connect: Callable[[RecordedCluster], Client], clock: HandClock, value: str, healed: bool
) -> None:
    folder = PRACTICE / "stuck-release"
    settings = {"after": folder / "after.tar.gz", "heals_when": folder / "heals_when.yaml", "heal_seconds": (1.0, 3.0)}
    client = connect(await serve(bundle=folder / "bundle.tar.gz", **settings))
    place = "/api/v1/namespaces/order-history"
    body = {"data": {"PRICING_SCHEMA": value}}
    media = "application/merge-patch+json"
    assert (await client("PATCH", f"{place}/configmaps/history-settings", body, media=media)).status == 200
    clock.pass_seconds(3.1)
    assert all(ready((await client("GET", f"{place}/pods")).json["items"])) is healed


async def test_dry_run_of_the_right_fix_does_not_heal(shop: Client, clock: HandClock) -> None:
    answer = await shop("PATCH", f"{IMAGE}?dryRun=All", image("5.12.1"), media="application/strategic-merge-patch+json")
    assert answer.status == 200
    clock.pass_seconds(60)
    assert shop.server.healing is not None and not shop.server.healing.healed
    assert not any(ready((await shop("GET", PODS)).json["items"]))


async def test_fix_taken_back_in_time_never_happens_and_later_makes_ill_again(shop: Client, clock: HandClock) -> None:
    await patch(shop, image("5.12.1"))
    await patch(shop, image("5.21.0"))
    clock.pass_seconds(60)
    assert not any(ready((await shop("GET", PODS)).json["items"]))
    await patch(shop, image("5.12.0"))
    clock.pass_seconds(60)
    assert all(ready((await shop("GET", PODS)).json["items"]))
    await patch(shop, image("5.21.0"))
    clock.pass_seconds(60)
    ill = (await shop("GET", PODS)).json["items"]
    assert len(ill) == 2 and not any(ready(ill))


async def test_restart_after_the_healing_is_observed_too(shop: Client, clock: HandClock) -> None:
    await patch(shop, image("5.12.1"))
    clock.pass_seconds(60)
    annotation = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-23T09:00:00Z"}}}
    written = await patch(shop, {"spec": {"template": annotation}})
    clock.pass_seconds(60)
    assert (await shop("GET", IMAGE)).json["status"]["observedGeneration"] == written["metadata"]["generation"]


async def test_watcher_sees_old_pods_go_and_new_ones_come(shop: Client, clock: HandClock) -> None:
    listed = (await shop("GET", PODS)).json
    version = listed["metadata"]["resourceVersion"]
    await patch(shop, image("5.12.1"))
    clock.pass_seconds(60)
    target = f"{PODS}?watch=true&resourceVersion={version}&timeoutSeconds=1"
    events = [json.loads(line) for line in (await shop("GET", target)).text.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds.count("ADDED") == 2 and kinds.count("DELETED") == 2 and kinds.count("MODIFIED") >= 2
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions)) and versions[0] > int(version)


async def test_only_the_incident_changes(shop: Client, clock: HandClock) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    before = (await shop("GET", path)).json["items"]
    assert before, "another incident's webhook stands in the first bundle and is missing from the second"
    await patch(shop, image("5.12.1"))
    clock.pass_seconds(60)
    assert (await shop("GET", path)).json["items"] == before


@pytest.mark.parametrize("folder", sorted(PRACTICE.glob("*/heals_when.yaml")), ids=lambda path: path.parent.name)
async def test_no_practice_incident_is_healed_before_anything_is_written(
    serve: Start, clock: HandClock, folder: Path
) -> None:
    root = folder.parent
    server = await serve(bundle=root / "bundle.tar.gz", after=root / "after.tar.gz", heals_when=folder)
    assert server.healing is not None
    server.healing.consider()
    assert not server.healing.healed and not clock.waiting


@pytest.mark.parametrize(
    "text",
    [
        "",
        "any: []",
        "any: [[]]",
        "any: [[{kind: Pod}]]",
        "any: [[{kind: P, name: x}]]",
        "[",
        "any: [[{kind: P, name: x, path: a, matches: '('}]]",
        "any: 3",
    ],
)
def test_condition_that_would_heal_everything_or_nothing_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "heals_when.yaml"
    path.write_text(text)
    with pytest.raises(BundleError):
        read_conditions(path)


async def test_second_state_without_condition_is_refused(serve: Start) -> None:
    folder = PRACTICE / "missing-image"
    with pytest.raises(UsageError):
        await serve(bundle=folder / "bundle.tar.gz", after=folder / "after.tar.gz")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("spec.list[1].name", ["two"]),
        ("spec.list[name=one].value", [1]),
        ("spec['a.b']", ["dotted"]),
        ("spec.list[7]", []),
        ("spec.none.deeper", []),
        ("spec.list[name=none].value", []),
    ],
)
def test_path_of_a_condition(path: str, found: list[Any]) -> None:
    item = {"spec": {"list": [{"name": "one", "value": 1}, {"name": "two"}], "a.b": "dotted"}}
    assert list(lookup(item, path)) == found
