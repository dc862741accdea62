"""A patch that the model writes: how it is sent, and what it may not take away without saying so."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agents.model.change import written
from agents.model.reading import Reader
from agents.model.tools import Toolbox, UnansweredError
from assistant.domain.view import Thing

RULES = [{"name": "a", "port": 80, "weight": 1}, {"name": "b", "port": 81}]


class Found:
    """Stands for the toolbox and for the server that tries a patch."""

    def __init__(self, resource: str, kind: str, spec: dict[str, Any]) -> None:
        raw = {"kind": kind, "metadata": {"name": "x", "namespace": "shop"}, "spec": spec}
        self.thing = Thing(resource, "v1", kind, raw, "GET /x")
        self.tried: list[tuple[str, str]] = []

    async def find(self, given: object) -> tuple[None, Thing]:
        return None, self.thing

    async def try_patch(self, path: str, patch: str, content_type: str) -> None:
        self.tried.append((content_type, patch))


async def written_of(found: Found, patch: dict[str, Any]) -> str:
    made = await written({"patch": patch, "title": "t"}, cast("Toolbox", found), cast("Reader", found), "A1", "m")
    assert made.action is not None
    return made.action.content_type


async def test_a_kind_of_kubernetes_takes_a_patch_that_keeps_what_it_does_not_name() -> None:
    found = Found(
        "deployments.apps", "Deployment", {"template": {"spec": {"containers": [{"name": "w", "image": "1"}]}}}
    )
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "w", "image": "2"}]}}}}
    assert await written_of(found, patch) == "application/strategic-merge-patch+json"
    assert len(found.tried) == 1


@pytest.mark.parametrize("rules", [[{"name": "a", "port": 90}, RULES[1]], [RULES[0]], []])
async def test_a_list_of_another_kind_may_not_lose_what_the_patch_does_not_name(rules: list[dict[str, Any]]) -> None:
    found = Found("routes.example.com", "Route", {"rules": RULES})
    with pytest.raises(UnansweredError, match="would also remove"):
        await written_of(found, {"spec": {"rules": rules}})
    assert found.tried == [], "nobody was asked"


async def test_a_list_that_is_written_whole_is_tried() -> None:
    found = Found("routes.example.com", "Route", {"rules": RULES})
    whole = [{**RULES[0], "port": 90}, RULES[1]]
    assert await written_of(found, {"spec": {"rules": whole}}) == "application/merge-patch+json"
