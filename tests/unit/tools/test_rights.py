"""What our identity may do: asked once, over the gate's kind of API, and only what is certain is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assistant.cluster.client import ClusterClient
from assistant.cluster.rights import Rights
from assistant.cluster.server import Settings, start
from tests.unit.expert.test_practice import PRACTICE, unpack


def rights(*rules: dict[str, Any], incomplete: bool = False) -> Rights:
    return Rights("shop", {"resourceRules": list(rules), "incomplete": incomplete})


def rule(verbs: str, resources: str, groups: str = "", **more: Any) -> dict[str, Any]:
    return {"verbs": verbs.split(), "apiGroups": groups.split(","), "resources": resources.split(), **more}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (("get", "", "pods", "shop"), True),
        (("delete", "", "pods", "shop"), False),
        (("get", "", "pods/log", "shop"), True),
        (("get", "", "pods/exec", "shop"), False),
        (("get", "apps", "deployments", "shop"), True),
        (("patch", "apps", "deployments", "shop"), False),
        (("get", "", "secrets", "shop"), None),
        (("get", "", "pods", ""), None),
        (("get", "", "nodes", ""), False),
        (("get", "", "pods", "other"), None),
        (("patch", "", "configmaps/scale", "shop"), True),
    ],
)
def test_what_no_rule_allows_is_not_allowed_and_what_is_uncertain_is_not_said(
    asked: tuple[str, str, str, str], answer: bool | None
) -> None:
    known = rights(
        rule("get list", "pods pods/log"), rule("get", "*", "apps"), rule("get", "secrets", resourceNames=["one"]),
        rule("patch", "*/scale"),
    )  # fmt: skip
    assert known.may(*asked) is answer


def test_where_an_authorizer_kept_its_rules_to_itself_nothing_is_refused() -> None:
    known = rights(rule("get", "pods"), incomplete=True)
    assert known.may("delete", "", "pods", "shop") is None
    assert known.may("get", "", "pods", "shop") is True


async def test_the_review_is_asked_for_like_any_client_would(tmp_path: Path) -> None:
    root, _ = unpack(PRACTICE / "lost-points" / "bundle.tar.gz", tmp_path / "bundle")
    log = tmp_path / "requests"
    cluster = await start(Settings(bundle=root, runtime_dir=tmp_path, request_log=log))
    try:
        async with ClusterClient(cluster.url, cluster.token, cluster.certificate_pem.decode()) as client:
            namespace = str((await client.list("/api/v1/pods")).items[0]["metadata"]["namespace"])
            known = Rights(namespace, await client.own_rules(namespace))
    finally:
        await cluster.close()
    assert known.may("get", "", "pods", namespace) is True
    assert "selfsubjectrulesreviews" in log.read_text()
