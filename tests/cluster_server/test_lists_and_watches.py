"""Chunks, versions, selectors, watches and logs over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.cluster.server.selectors import Requirement, label_selector
from tests.cluster_server.conftest import Client, HandClock

CONFIG = "/api/v1/namespaces/shop-checkout/configmaps"
PODS = "/api/v1/namespaces/shop-checkout/pods"


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer.json["items"]]


async def make(api: Client, name: str, **labels: str) -> Any:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
    answer = await api("POST", CONFIG, body)
    assert answer.status == 201, answer.text
    return answer.json


async def test_chunks_together_are_the_list_even_when_it_changes_in_between(api: Client) -> None:
    whole = await api("GET", "/api/v1/pods")
    found: list[str] = []
    token, rest = "", None
    while True:
        answer = await api("GET", f"/api/v1/pods?limit=3&continue={token}")
        assert answer.status == 200, answer.text
        found += names(answer)
        meta = answer.json["metadata"]
        assert meta["resourceVersion"] == whole.json["metadata"]["resourceVersion"]
        if rest is not None:
            assert meta.get("remainingItemCount", 0) == max(0, rest - 3)
        rest = meta.get("remainingItemCount")
        token = meta.get("continue", "")
        if not token:
            break
        victim = names(whole)[-1]
        namespace = whole.json["items"][-1]["metadata"]["namespace"]
        await api("DELETE", f"/api/v1/namespaces/{namespace}/pods/{victim}?gracePeriodSeconds=0")
    assert found == names(whole)


async def test_list_at_an_exact_version_is_the_list_of_then(api: Client) -> None:
    then = await api("GET", CONFIG)
    version = then.json["metadata"]["resourceVersion"]
    await make(api, "later")
    await api("DELETE", f"{CONFIG}/checkout-settings")
    assert "later" in names(await api("GET", CONFIG))
    exact = await api("GET", f"{CONFIG}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert exact.json["items"] == then.json["items"]
    assert (await api("GET", f"{CONFIG}?resourceVersion=1&resourceVersionMatch=Exact")).status == 410
    assert (await api("GET", f"{CONFIG}?resourceVersionMatch=Exact")).status == 400


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        ("app=a", ["one"]),
        ("app==a,tier=x", ["one"]),
        ("app!=a,tier", ["three", "two"]),
        ("app in (a, b)", ["one", "two"]),
        ("app notin (a,b),tier", ["three"]),
        ("tier,!app", ["three"]),
        ("app=none", []),
    ],
)
async def test_label_selectors(api: Client, selector: str, wanted: list[str]) -> None:
    await make(api, "one", app="a", tier="x")
    await make(api, "two", app="b", tier="y")
    await make(api, "three", tier="z")
    answer = await api("GET", f"{CONFIG}?labelSelector={selector.replace(' ', '%20').replace('!', '%21')}")
    assert names(answer) == sorted(wanted)


@pytest.mark.parametrize(
    "selector", ["a in b", "a in (", "a=b=c", "a,,b", "=b", "a in (b", "a b", "-a", "a=-b", ",a", "a,"]
)
async def test_selector_that_is_not_one_is_refused(api: Client, selector: str) -> None:
    answer = await api("GET", f"{CONFIG}?labelSelector={selector.replace(' ', '%20')}")
    assert answer.status == 400 and answer.json["reason"] == "BadRequest"


WORDS = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True).filter(lambda word: word not in ("in", "notin"))


@given(
    st.lists(
        st.tuples(
            WORDS, st.sampled_from(["in", "notin", "exists", "missing"]), st.lists(WORDS, min_size=1, max_size=3)
        ),
        max_size=4,
    )
)
def test_any_printed_selector_is_read_back(terms: list[tuple[str, str, list[str]]]) -> None:
    wanted = tuple(Requirement(k, o, () if o in ("exists", "missing") else tuple(v)) for k, o, v in terms)
    parts = []
    for requirement in wanted:
        listed = f"{requirement.key} {requirement.operator} ({','.join(requirement.values)})"
        parts.append({"exists": requirement.key, "missing": f"!{requirement.key}"}.get(requirement.operator, listed))
    assert label_selector(",".join(parts)) == wanted


async def test_field_selectors_know_their_kind(api: Client) -> None:
    whole = (await api("GET", "/api/v1/pods")).json["items"]
    node = whole[0]["spec"]["nodeName"]
    chosen = await api("GET", f"/api/v1/pods?fieldSelector=spec.nodeName={node},status.phase!=Failed")
    wanted = [
        p["metadata"]["name"] for p in whole if p["spec"].get("nodeName") == node and p["status"]["phase"] != "Failed"
    ]
    assert names(chosen) == wanted and wanted
    unknown = await api("GET", "/api/v1/pods?fieldSelector=spec.nonsense=1")
    assert unknown.status == 400 and unknown.json["message"] == "field label not supported: spec.nonsense"
    assert (await api("GET", "/apis/apps/v1/deployments?fieldSelector=spec.replicas=1")).status == 400


async def test_watch_with_a_selector_sees_an_object_leave_it(api: Client) -> None:
    made = await make(api, "moving", app="a")
    version = made["metadata"]["resourceVersion"]
    for label in ("b", "a", "a"):
        patch = {"metadata": {"labels": {"app": label}}, "data": {"n": str(label)}}
        await api("PATCH", f"{CONFIG}/moving", patch, media="application/merge-patch+json")
    await api("DELETE", f"{CONFIG}/moving")
    answer = await api("GET", f"{CONFIG}?watch=1&labelSelector=app%3Da&resourceVersion={version}&timeoutSeconds=1")
    assert [json.loads(line)["type"] for line in answer.text.splitlines()] == ["DELETED", "ADDED", "DELETED"]


async def test_live_watch_misses_nothing_and_repeats_nothing(api: Client) -> None:
    version = (await api("GET", CONFIG)).json["metadata"]["resourceVersion"]
    watching = asyncio.create_task(api("GET", f"{CONFIG}?watch=1&resourceVersion={version}&timeoutSeconds=2"))
    made = [await make(api, f"burst-{number:03d}") for number in range(60)]
    events = [json.loads(line) for line in (await watching).text.splitlines()]
    assert [event["object"]["metadata"]["resourceVersion"] for event in events] == [
        item["metadata"]["resourceVersion"] for item in made
    ]


async def test_event_is_the_same_one_in_both_event_apis(api: Client) -> None:
    old = (await api("GET", "/api/v1/namespaces/shop-checkout/events")).json["items"]
    new = (await api("GET", "/apis/events.k8s.io/v1/namespaces/shop-checkout/events")).json["items"]
    assert [(e["metadata"]["uid"], e.get("message"), e["involvedObject"]) for e in old] == [
        (e["metadata"]["uid"], e.get("note"), e["regarding"]) for e in new
    ]


async def test_namespace_that_was_not_captured_is_marked(api: Client) -> None:
    answer = await api("GET", "/api/v1/namespaces/elsewhere/pods")
    assert answer.json["items"] == [] and "does not hold" in answer.warnings[0]
    assert not (await api("GET", PODS)).warnings


async def logs(api: Client, query: str = "") -> Any:
    pod = names(await api("GET", PODS))[0]
    return await api("GET", f"{PODS}/{pod}/log{query}")


async def test_log_options_cut_what_they_say(api: Client, clock: HandClock) -> None:
    whole = (await logs(api)).text
    lines = whole.splitlines(keepends=True)
    assert len(lines) > 3
    assert (await logs(api, "?tailLines=2")).text == "".join(lines[-2:])
    assert (await logs(api, "?tailLines=0")).text == ""
    assert (await logs(api, "?limitBytes=10")).text == whole[:10]
    stamped = (await logs(api, "?timestamps=true")).text.splitlines(keepends=True)
    assert [line.split(" ", 1)[1] for line in stamped] == lines
    assert all(line.startswith("2026-11-23T") for line in stamped)
    assert (await logs(api, "?sinceTime=2030-01-01T00:00:00Z")).text == ""
    assert (await logs(api, "?sinceSeconds=100000")).text == whole
    for bad in ("?tailLines=-1", "?tailLines=x", "?limitBytes=0", "?sinceTime=yesterday",
                "?sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", "?container=none"):  # fmt: skip
        assert (await logs(api, bad)).status == 400, bad


async def test_followed_log_of_a_running_container_ends_with_its_pod(api: Client, clock: HandClock) -> None:
    pods = (await api("GET", "/api/v1/pods")).json["items"]
    running = next(
        pod
        for pod in pods
        if len(pod["spec"]["containers"]) == 1
        and "running" in pod["status"]["containerStatuses"][0]["state"]
        and api.server.cluster.log(
            pod["metadata"]["namespace"], pod["metadata"]["name"], pod["spec"]["containers"][0]["name"], False
        )
    )
    path = f"/api/v1/namespaces/{running['metadata']['namespace']}/pods/{running['metadata']['name']}"
    short = (await api("GET", f"{path}/log")).text
    headers = {"Authorization": f"Bearer {api.server.token}"}
    async with (
        asyncio.timeout(10),
        api.session.get(f"{api.server.url}{path}/log?follow=true", headers=headers) as answer,
    ):
        first = await answer.content.readline()
        await make(api, "unrelated")
        assert not answer.content.at_eof()
        await api("DELETE", f"{path}?gracePeriodSeconds=0")
        assert (first + await answer.content.read()).decode() == short
