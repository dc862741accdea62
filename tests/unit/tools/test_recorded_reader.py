"""The reading tools over a recording: what is in it can be read, what is not is "not recorded" and never "none"."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.domain.event import ToolEnded, ToolStarted
from assistant.domain.evidence import Evidence
from assistant.domain.recorded import RecordedFact
from assistant.domain.target import Target
from assistant.domain.view import Knowledge
from assistant.errors import ClusterError
from assistant.policy.api_path import read_path
from assistant.session.rerun import recorded_turn
from assistant.store.recording import read_file
from assistant.tools.recorded import NOT_RECORDED, RecordedReader
from tests.unit.tools.test_kube_reader import Notes, Still

RECORDINGS = Path(__file__).parents[3] / "recordings" / "sessions"
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def fact(request: str, body: Any, target: Target | None = None, number: int = 1) -> RecordedFact:
    text = body if isinstance(body, str) or body is None else json.dumps(body, indent=2)
    return RecordedFact(Evidence(f"E{number}", request, "quote", NOW, "0" * 64, 1, target), text)


def reader(*facts: RecordedFact, requests: tuple[str, ...] = ()) -> RecordedReader:
    made = RecordedReader(facts, requests, Still())
    made.begin("s1.1", "shop")
    return made


def ends(notes: Notes) -> list[tuple[bool, str]]:
    return [(event.ok, event.result) for event in notes.events if isinstance(event, ToolEnded)]


def titles(notes: Notes) -> list[str]:
    return [event.title for event in notes.events if isinstance(event, ToolStarted)]


def recorded(name: str) -> RecordedReader:
    recording = read_file(RECORDINGS / f"{name}.jsonl.gz")
    turn = recorded_turn(recording.events, recording.body, 1)
    made = RecordedReader(turn.facts, turn.requests, Still())
    made.begin("s1.1", turn.namespace)
    return made


async def test_objects_and_logs_of_a_real_recording_are_in_the_view() -> None:
    found, notes = recorded("bad-setting"), Notes()
    await found.read([("configmaps", "shop-checkout"), ("pods", "shop-checkout")], notes)
    await found.logs([("shop-checkout", "checkout-api-6b558669b6-nr5k4", "api", False)], notes)
    settings = found.view.find("ConfigMap", "shop-checkout", "checkout-settings")
    assert settings is not None and settings.at("data.DB_POOL_SIZE") == "twenty"
    assert settings.target.api_version == "v1"
    log = found.view.log("shop-checkout", "checkout-api-6b558669b6-nr5k4", "api")
    assert log is not None and "invalid literal" in log.text
    assert [ok for ok, _ in ends(notes)] == [True, True, True]
    assert ends(notes)[0][1].startswith("1 configmap recorded")
    assert ends(notes)[1][1].startswith("1 pod, 1 not ready recorded")
    assert found.requests == 0


async def test_the_cluster_after_the_change_is_not_part_of_what_can_be_read() -> None:
    """The recording goes on with a change and a look at its effect: that would tell the answer."""
    found = recorded("bad-setting")
    assert [thing.at("data.DB_POOL_SIZE") for thing in found.view.all("configmaps")] == ["twenty"]


async def test_what_is_not_recorded_is_said_and_nothing_follows_from_its_absence() -> None:
    found, notes = recorded("bad-setting"), Notes()
    await found.read([("secrets", "shop-checkout"), ("nosuchthings.example.com", "")], notes, "S1")
    await found.logs([("shop-checkout", "checkout-api-6b558669b6-nr5k4", "api", True)], notes, "S1")
    assert ends(notes) == [(False, NOT_RECORDED)] * 3
    assert found.view.knowledge("secrets", "shop-checkout") is Knowledge.FAILED
    assert found.view.knowledge("nosuchthings.example.com") is Knowledge.FAILED
    assert ("secrets", "shop-checkout", Knowledge.FAILED, NOT_RECORDED) in found.view.gaps()
    assert all(event.step == "S1" and not event.request for event in notes.events if isinstance(event, ToolStarted))


def read_by_model(request: str) -> bool:
    path = read_path(request.partition(" ")[2].partition("?")[0])
    return (path is not None and bool(path.name) and not path.sub) or request.endswith("/events")


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.gz")), ids=lambda path: path.name.removesuffix(".jsonl.gz"))
async def test_no_list_of_a_recording_is_complete(path: Path) -> None:
    found, notes = recorded(path.name.removesuffix(".jsonl.gz")), Notes()
    kinds = await found.kinds(notes)
    namespaces = {thing.namespace for name in found.view.resources for thing in found.view.all(name)}
    for asked in (False, True):
        for resource in kinds:
            for namespace in ("", *namespaces):
                if asked:
                    await found.read([(resource, namespace)], notes)
                assert not found.view.complete(resource, namespace)


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.gz")), ids=lambda path: path.name.removesuffix(".jsonl.gz"))
async def test_what_is_cited_anew_is_the_text_that_was_recorded(path: Path) -> None:
    """Otherwise nothing could be said of which evidence two answers share."""
    recording = read_file(path)
    turn = recorded_turn(recording.events, recording.body, 1)
    view = recorded(path.name.removesuffix(".jsonl.gz")).view
    cited = [view.cite(thing, "metadata.name") for name in view.resources for thing in view.all(name)]
    cited += [view.cite_log(log, *log.lines[:1]) for log in view.logs]
    kept = {(fact.evidence.request, fact.text, fact.evidence.target) for fact in turn.facts if fact.evidence.target}
    new = {(citation.request, citation.body, citation.target) for citation in cited}
    # What a model has read has requests of its own: that of the object alone, and tables.
    model = ".model" in path.name
    own = {each for each in kept if model and (read_by_model(each[0]) or (each[1] or "").startswith("container "))}
    told, anew = ({(request, text) for request, text, _ in found} for found in (kept - own, new))
    assert told <= anew if model else told == anew
    assert {target for _, _, target in kept if target.kind != "Pod"} <= {target for _, _, target in new}


async def test_kinds_are_those_that_were_read_and_those_that_were_cited() -> None:
    found, notes = recorded("bad-setting"), Notes()
    kinds = await found.kinds(notes)
    assert await found.kinds(notes) is kinds and titles(notes) == ["list kinds"]
    slices = kinds["endpointslices.discovery.k8s.io"]
    assert (slices.kind, slices.namespaced, slices.api_version) == ("EndpointSlice", True, "discovery.k8s.io/v1")
    assert kinds["secrets"].kind == "secret", "never cited: only its plural is known"
    assert kinds["networkpolicies.networking.k8s.io"].kind == "networkpolicy"
    assert not kinds["nodes"].namespaced and kinds["pods"].path("shop") == "/api/v1/namespaces/shop/pods"


async def test_the_view_is_there_before_anybody_begins_a_turn() -> None:
    at = Target("v1", "Pod", "shop", "web-1")
    found = RecordedReader(
        [fact("GET /api/v1/namespaces/shop/pods", {"metadata": {"name": "web-1"}}, at)], (), Still(), "x"
    )
    assert found.view.namespace == "x" and found.view.resources == ["pods"]


async def test_a_read_is_told_once_a_turn_and_again_in_the_next() -> None:
    found, notes = reader(), Notes()
    await found.read([("pods", "shop"), ("pods", "shop")], notes)
    await found.read([("pods", "shop")], notes)
    view = found.view
    assert found.begin("s1.1", "shop") is view and len(titles(notes)) == 1
    assert found.begin("s1.2", "shop") is not view
    await found.read([("pods", "shop")], notes)
    assert titles(notes) == ["list pods  shop"] * 2


async def test_an_object_cited_twice_is_there_once_as_it_was_last() -> None:
    request, target = "GET /api/v1/namespaces/shop/configmaps", Target("v1", "ConfigMap", "shop", "settings")
    facts = [
        fact(
            request, {"metadata": {"name": "settings", "namespace": "shop"}, "data": {"A": str(number)}}, target, number
        )
        for number in (1, 2)
    ]
    assert [thing.at("data.A") for thing in reader(*facts).view.all("configmaps", "shop")] == ["2"]


async def test_a_whole_list_as_evidence_gives_its_objects_and_is_not_complete() -> None:
    items = [{"metadata": {"name": name, "namespace": "shop"}} for name in ("a", "b")]
    found = reader(fact("GET /apis/apps/v1/deployments", {"kind": "DeploymentList", "items": items}))
    notes = Notes()
    assert {thing.key for thing in found.view.all("deployments.apps")} == {"Deployment/shop/a", "Deployment/shop/b"}
    assert (await found.kinds(notes))["deployments.apps"].namespaced
    assert not found.view.complete("deployments.apps", "shop")


async def test_a_cluster_kind_is_found_whatever_namespace_is_asked_for() -> None:
    target = Target("v1", "Node", "", "n1")
    found, notes = reader(fact("GET /api/v1/nodes", {"metadata": {"name": "n1"}}, target)), Notes()
    await found.read([("nodes", "shop")], notes)
    assert ends(notes)[0][0]


async def test_logs_are_told_apart_by_container_and_by_run() -> None:
    at = "GET /api/v1/namespaces/shop/pods/web-1/log?container=web&tailLines=200"
    found = reader(fact(at, "now\n"), fact(f"{at}&previous=true", "before\n", number=2))
    texts = [getattr(found.view.log("shop", "web-1", "web", previous), "text", "") for previous in (False, True)]
    assert texts == ["now\n", "before\n"]


async def test_the_line_in_front_of_a_log_that_a_model_read_is_no_line_of_it() -> None:
    at = "GET /api/v1/namespaces/shop/pods/web-1/log?container=web&previous=true"
    found = reader(fact(at, "container web of pod web-1 (the run before)\ncontainer web of pod web-1\nboom\n"))
    log = found.view.log("shop", "web-1", "web", previous=True)
    assert log is not None and log.lines == ["container web of pod web-1", "boom"]


async def test_an_object_read_alone_is_cited_like_one_of_a_list() -> None:
    request, target = (
        "GET /apis/apps/v1/namespaces/shop/deployments/web",
        Target("apps/v1", "Deployment", "shop", "web"),
    )
    found = reader(fact(request, {"metadata": {"name": "web", "namespace": "shop"}}, target))
    (thing,) = found.view.all("deployments.apps", "shop")
    assert thing.request == "GET /apis/apps/v1/namespaces/shop/deployments" and thing.target == target


async def test_no_change_can_be_tried_on_a_recording() -> None:
    with pytest.raises(ClusterError, match="not recorded"):
        await reader().try_patch("/api/v1/namespaces/shop/configmaps/a", "{}", "application/merge-patch+json")


@pytest.mark.parametrize(
    "body", ["not JSON", "[1, 2]", '{"no": "metadata"}', '{"metadata": {"name": "another"}}', "[" * 5000]
)
async def test_a_text_that_is_no_object_is_kept_by_its_request(body: str) -> None:
    request = "GET /api/v1/namespaces/shop/pods"
    found = reader(fact(request, body, Target("v1", "Pod", "shop", "web-1")), fact("promql up", "1", number=2))
    assert found.view.resources == []
    assert found.texts == {request: body, "promql up": "1"}


async def test_a_fact_without_its_text_is_not_recorded() -> None:
    found, notes = reader(fact("GET /api/v1/namespaces/shop/pods", None)), Notes()
    await found.read([("pods", "shop")], notes)
    assert ends(notes) == [(False, NOT_RECORDED)]


async def test_values_of_a_secret_in_a_foreign_recording_do_not_get_into_the_view() -> None:
    secret = {
        "metadata": {"name": "db", "namespace": "shop", "annotations": {"a": "hunter2"}},
        "data": {"k": "aHVudGVyMg=="},
    }
    found = reader(fact("GET /api/v1/namespaces/shop/secrets", secret, Target("v1", "Secret", "shop", "db")))
    raw = str(found.view.all("secrets", "shop")[0].raw)
    assert "'k'" in raw and "aHVudGVyMg" not in raw and "hunter2" not in raw


WORDS = st.sampled_from(["metadata", "name", "namespace", "items", "kind", "apiVersion", "data", "annotations", "a"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["shop", "web", "PodList"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
REQUESTS = st.sampled_from(
    [
        "GET /api/v1/namespaces/shop/pods", "GET /api/v1/secrets", "GET /apis/apps/v1/namespaces/shop/deployments/web",
        "GET /api/v1/namespaces/shop/pods/web/log?container=a&container=%ff",
        "GET /api/v1/namespaces/shop/pods/web/exec",
        "GET /apis", "POST /api/v1/pods", "GET", "",
    ]
)  # fmt: skip


@given(st.lists(st.tuples(REQUESTS | st.text(max_size=30), VALUES), max_size=5))
@settings(max_examples=150, deadline=None)
async def test_whatever_stands_in_a_foreign_recording_can_be_read_or_is_not_recorded(
    bodies: list[tuple[str, object]],
) -> None:
    facts = [fact(request, json.dumps(value), number=number) for number, (request, value) in enumerate(bodies, 1)]
    found, notes = reader(*facts), Notes()
    kinds = await found.kinds(notes)
    await found.read([(name, place) for name in kinds for place in ("", "shop")], notes)
    await found.logs([("shop", "web", "a", False)], notes)
    for thing in [thing for name in found.view.resources for thing in found.view.all(name)]:
        found.view.cite(thing, "metadata.name", "data")
    assert not any(found.view.complete(name, place) for name in kinds for place in ("", "shop"))
