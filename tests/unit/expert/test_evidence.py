"""What a remedy offers is cited: the image that exists, the path that answers, the endpoints that are missing."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from agents.expert.draft import Draft
from assistant.domain.view import ClusterView

from .objects import Raw, container, deployment, event, node, pod, service, thing, view, waiting
from .test_faults import crash

IMAGE = "registry.test/web:5.21.0"
GOOD = "registry.test/web:5.12.0"
ABSENT = f'Failed to pull image "{IMAGE}": rpc error: code = NotFound desc = not found'


def quotes_of(draft: Draft) -> list[str]:
    for citation in draft.citations:
        body = " ".join(citation.body.split())
        assert all(part in body for part in " ".join(citation.quote.split()).split(" … ")), citation.quote
    return [citation.quote for citation in draft.citations]


def top_of(built: ClusterView) -> Draft:
    return scan(built).roots[0].draft


def unpulled(*objects: Raw | list[Raw]) -> ClusterView:
    box = container(image=IMAGE)
    ill = pod("web", containers=[box], statuses=[waiting("ImagePullBackOff", "back-off")], phase="Pending")
    return view(deployment("web", box), ill, event("Pod", "web-1-1", "Failed", ABSENT), *objects)


def test_a_tag_that_a_node_holds_is_cited_from_its_list() -> None:
    holder = node()
    holder["status"]["images"] = [{"names": ["registry.test/db:1"]}, {"names": ["registry.test/web@sha256:1", GOOD]}]
    top = top_of(unpulled(holder))
    assert f'"{GOOD}" … "name": "n1"' in quotes_of(top)
    assert "a node holds" in top.fixes[0].title


def test_a_tag_that_another_pod_runs_is_cited_from_that_pod() -> None:
    state = {"name": "app", "ready": True, "restartCount": 0, "image": GOOD, "imageID": "x", "state": {"running": {}}}
    other = pod("old", containers=[container(image=GOOD)], statuses=[state], ready=True)
    top = top_of(unpulled(node(), deployment("old", container(image=GOOD), ready=1), other))
    assert f'"image": "{GOOD}" … "name": "old-1-1"' in quotes_of(top)
    assert "runs in this cluster" in top.fixes[0].title


def test_an_image_of_the_revision_before_is_cited_from_its_replica_set() -> None:
    box = container(image=IMAGE)
    head, now = deployment("web", box, revision="2")
    _, before = deployment("web", container(image=GOOD), revision="1", ready=1)
    ill = pod("web", containers=[box], statuses=[waiting("ImagePullBackOff")], phase="Pending", revision="2")
    top = top_of(view(head, now, before, ill, event("Pod", "web-2-1", "Failed", ABSENT), node()))
    assert any(f'"image": "{GOOD}"' in quote and '"name": "web-1"' in quote for quote in quotes_of(top))


def probed(log: str, **probes: Any) -> ClusterView:
    box = container(livenessProbe={"httpGet": {"path": "/health", "port": 8080}}, **probes)
    told = event("Pod", "web-1-1", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404")
    return crash(log, told, box=box, code=137)


def test_a_path_that_the_log_shows_to_work_is_cited() -> None:
    line = '10.0.0.7 "GET /healthz HTTP/1.1" 200'
    top = top_of(probed(f'10.0.0.1 "GET /health HTTP/1.1" 404\n{line}\nlistening on :8080'))
    assert top.fixes[0].title == "Probe /healthz"
    assert line in quotes_of(top)


def test_a_path_in_the_form_of_the_other_probe_cites_that_probe() -> None:
    top = top_of(probed("listening on :8080", readinessProbe={"httpGet": {"path": "/readyz", "port": 8080}}))
    assert top.fixes[0].title == "Probe /healthz"
    assert any(quote.startswith('"readinessProbe"') and "/readyz" in quote for quote in quotes_of(top))


@pytest.mark.parametrize(("empty", "word"), [(None, "null"), ([], "[]")])
def test_a_service_that_selects_nobody_cites_its_empty_endpoints(empty: object, word: str) -> None:
    labels = {"kubernetes.io/service-name": "web"}
    slice_ = thing("EndpointSlice", "web-x7", metadata={"labels": labels}, endpoints=empty)
    wrong = service("web", {"app": "wbe"})
    built = view(wrong, slice_, deployment("web", ready=1), pod("web", ready=True), node())
    assert f'"endpoints": {word} … "kubernetes.io/service-name": "web"' in quotes_of(top_of(built))


def test_a_service_that_exists_under_another_name_is_cited_with_its_namespace() -> None:
    box = container(env=[{"name": "QUEUE", "value": "queu"}])
    log = "redis: lookup queu: no such host"
    top = top_of(crash(log, service("queue"), deployment("queue", ready=1), pod("queue", ready=True), box=box))
    assert top.category == "dns"
    assert '"name": "queue" … "namespace": "shop"' in quotes_of(top)


def test_what_stands_beside_a_name_is_cited_without_the_namespace() -> None:
    built = view(thing("ConfigMap", "settings", data={"A": "b"}), thing("Node", "n9", "", status={}))
    config, machine = built.find("ConfigMap", "shop", "settings"), built.find("Node", "", "n9")
    assert config is not None and machine is not None
    assert built.cite(config, "data.A", "metadata.name").quote == '"A": "b" … "name": "settings"'
    assert built.cite(config, "data.missing").quote == '"name": "settings" … "namespace": "shop"'
    assert built.cite(machine, "metadata.name").quote == '"name": "n9"'
