"""A reviewed class for every path and verb that the official client and the CRDs of real clusters name."""

from __future__ import annotations

import importlib.util
import json
import re
from functools import lru_cache
from pathlib import Path

import pytest

from assistant.domain.action import RequestClass
from assistant.policy.api_path import read_path
from assistant.policy.classify import classify
from tests.unit.policy.test_classify import CRITICAL_KINDS, C, M, R, concrete, expected, operations

DATA = Path(__file__).parent / "data"
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# What the official client may do with the groups of Kubernetes that are not on by default.
EXTRA_CRITICAL = {
    "storageversions", "storageversionmigrations", "clustertrustbundles", "podcertificaterequests", "devicetaintrules",
    "resourcepoolstatusrequests", "compositepodgroups", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
}  # fmt: skip
EXTRA_ORDINARY = {
    "leasecandidates", "workloads", "podgroups", "resourceclaims", "bindings",
    # lifecycle.k8s.io asks for what pods/eviction does, so it is what that is.
    "evictions", "evictionrequests",
}  # fmt: skip


_CALL = re.compile(r"method='([A-Z]+)',\s+resource_path='([^']+)'")


@lru_cache
def client_operations() -> frozenset[tuple[str, str]]:
    """Read method and path of every call out of the source of `kubernetes.client.api`, without importing it."""
    spec = importlib.util.find_spec("kubernetes")
    assert spec
    assert spec.origin
    files = (Path(spec.origin).parent / "client" / "api").glob("*_api.py")
    return frozenset(call for path in files for call in _CALL.findall(path.read_text()))


@lru_cache
def kinds() -> dict[tuple[str, str], str]:
    """Kind by group and resource, from the recorded documents."""
    out = {}
    for _, path, _, group, _, kind, _ in operations():
        api = read_path(concrete(path))
        if api is not None and not api.sub and kind not in ("Scale", "Eviction", "Binding"):
            out[(group, api.resource)] = kind
    return out


def reviewed(method: str, path: str) -> RequestClass | None:
    """Return the reviewer's class; None for a resource that no reviewer has seen."""
    if not path.startswith(("/api/v", "/apis/")) or "{plural}" in path:
        return None
    api = read_path(concrete(path))
    if api is None:
        return None
    kind = kinds().get((api.group, api.resource), "")
    if not kind and not (api.resource in EXTRA_CRITICAL | EXTRA_ORDINARY or method in ("GET", "HEAD")):
        return None
    if api.sub.startswith(("exec", "attach", "portforward", "proxy")):
        return C
    if method == "DELETE" and not api.name:
        return C
    if kind:
        return expected(method, path, "", kind)
    if method in ("GET", "HEAD"):
        return R
    return M if api.resource in EXTRA_ORDINARY else C


def test_every_call_of_the_official_client_has_the_class_that_a_reviewer_gave_it() -> None:
    rows = client_operations()
    assert len(rows) > 900, len(rows)
    seen, wrong, unseen = 0, [], set()
    for method, path in sorted(rows):
        want = reviewed(method, path)
        verdict = classify(method, concrete(path))
        if want is None:
            unseen.add(path)
            if verdict.request_class is R and method != "GET":
                wrong.append((method, path, verdict.rule, "a read that is none"))
            continue
        seen += 1
        if verdict.request_class is not want:
            wrong.append((method, path, verdict.rule, want.value))
    assert not wrong
    assert seen > 850, seen
    # Named one by one: a new path of a new client has to be looked at by a person.
    assert {path for path in unseen if not re.fullmatch(r"/apis/[a-z0-9.]+/(?:v[a-z0-9]+/)?", path)} <= KNOWN_OTHERS


KNOWN_OTHERS = {
    "/api/", "/api/v1/", "/apis/", "/version/", "/openid/v1/jwks/", "/.well-known/openid-configuration/", "/logs/",
    "/.well-known/openid-configuration", "/openid/v1/jwks",
    "/logs/{logpath}",
    "/apis/{group}/{version}", "/apis/{group}/{version}/{plural}", "/apis/{group}/{version}/{plural}/{name}",
    "/apis/{group}/{version}/{plural}/{name}/scale", "/apis/{group}/{version}/{plural}/{name}/status",
    "/apis/{group}/{version}/namespaces/{namespace}/{plural}",
    "/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}",
    "/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}/scale",
    "/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}/status",
    "/apis/{group}/{version}/{resource_plural}",
}  # fmt: skip


def crds() -> list[tuple[str, str, str, str, list[str]]]:
    return [tuple(row) for row in json.loads((DATA / "crds.json").read_text())]


@pytest.mark.parametrize("method", VERBS)
def test_every_path_of_the_custom_resources_of_real_clusters_has_a_reviewed_class(method: str) -> None:
    rows = crds()
    assert len(rows) >= 55
    for group, version, plural, scope, subs in rows:
        place = "/namespaces/shop" if scope == "Namespaced" else ""
        root = f"/apis/{group}/{version}{place}/{plural}"
        for path, one, sub in [(root, False, ""), (f"{root}/x", True, "")] + [(f"{root}/x/{s}", True, s) for s in subs]:
            got = classify(method, path)
            if method in ("GET", "HEAD"):
                want = R
            elif method == "OPTIONS" or scope != "Namespaced" or (method == "DELETE" and (not one or sub)):
                want = C
            elif method == "POST" and one:
                # A POST to one object, or to its subresource, is nothing that a CRD offers.
                want = C if not sub else M
            else:
                want = M if one or method == "POST" else C
            assert got.request_class is want, (method, path, got)
            assert "unknown" not in got.rule or got.request_class is C


def test_the_tables_of_both_reviews_name_each_kind_once() -> None:
    assert "Secret" not in CRITICAL_KINDS
    assert {"Namespace", "Node", "ClusterRole"} <= CRITICAL_KINDS
