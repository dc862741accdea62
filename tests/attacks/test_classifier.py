"""Parsing tricks never lower a class, and nothing that is let through changes the state of a real API."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from assistant.cluster.server import RecordedCluster
from assistant.domain.action import RequestClass
from assistant.gate.prepare import parse_body
from assistant.policy.api_path import Refused, read_path
from assistant.policy.classify import METHODS, classify, with_body
from tests.cluster_server.conftest import Client, api, clock, connect, serve  # noqa: F401 - fixtures
from tests.unit.policy.test_classify import ORDER, C, D, R, V, concrete, operations

ROWS = [(row[0], concrete(row[1])) for row in operations()]
VERB = st.sampled_from(
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "get", "Delete", "OPTIONS", "TRACE", "CONNECT"]
)


def level(method: str, target: str, headers: list[tuple[str, str]] | None = None) -> int:
    """Return how high a request is classed; one that is refused stands above all."""
    try:
        return ORDER.index(classify(method, target, headers or []).request_class)
    except Refused:
        return len(ORDER)


TRICKS: dict[str, Callable[[str, int], str]] = {
    "encoded slash": lambda path, n: _at(path, "/", "%2F", n),
    "encoded slash, small": lambda path, n: _at(path, "/", "%2f", n),
    "double slash": lambda path, n: _at(path, "/", "//", n),
    "dot segment": lambda path, n: _at(path, "/", "/./", n),
    "dot dot segment": lambda path, n: _at(path, "/", "/x/../", n),
    "encoded dots": lambda path, n: _at(path, "/", "/%2e%2e/", n),
    "trailing slash": lambda path, n: path + "/",
    "encoded letter": lambda path, n: _encoded(path, n % len(path)),
    "encoded twice": lambda path, n: _at(path, "/", "%252f", n),
    "upper case": lambda path, n: path.upper(),
    "one capital": lambda path, n: path[:n % len(path)] + path[n % len(path) :].capitalize(),
    "absolute form": lambda path, n: "https://kubernetes.default.svc" + path,
    "scheme-relative": lambda path, n: "//kubernetes.default.svc" + path,
    "fragment": lambda path, n: path + "#/version",
    "parameters": lambda path, n: path + ";v=/version",
    "backslash": lambda path, n: _at(path, "/", "\\", n),
    "nul": lambda path, n: path + "%00",
    "line feed": lambda path, n: path + "%0aGET%20/version",
    "blank": lambda path, n: path + " HTTP/1.1",
    "unicode slash": lambda path, n: _at(path, "/", "\u2215", n),
    "overlong slash": lambda path, n: _at(path, "/", "%c0%af", n),
    "dry run of small letters": lambda path, n: path + "?dryRun=all",
    "dry run and none": lambda path, n: path + "?dryRun=All&dryRun=",
    "two dry runs": lambda path, n: path + "?dryRun=All&dryRun=All",
    "dry run by another name": lambda path, n: path + "?dryrun=All",
    "dry run, encoded": lambda path, n: path + "?%64ryRun=All",
    "dry run after a semicolon": lambda path, n: path + "?pretty=1;dryRun=All",
    "dry run in the fragment": lambda path, n: path + "#?dryRun=All",
    "dry run in brackets": lambda path, n: path + "?dryRun[]=All",
    "second question mark": lambda path, n: path + "??dryRun=All",
    "method in the query": lambda path, n: path + "?_method=GET",
    "watch prefix": lambda path, n: path.replace("/v1/", "/v1/watch/", 1),
    "proxy prefix": lambda path, n: path.replace("/v1/", "/v1/proxy/", 1),
}  # fmt: skip


def _encoded(path: str, n: int) -> str:
    return f"{path[:n]}%{ord(path[n]):02x}{path[n + 1 :]}"


def _at(path: str, old: str, new: str, n: int) -> str:
    places = [i for i, ch in enumerate(path) if ch == old]
    place = places[n % len(places)]
    return path[:place] + new + path[place + 1 :]


@given(st.sampled_from(ROWS), st.sampled_from(list(TRICKS)), st.integers(0, 60))
def test_no_trick_with_the_target_lowers_a_class(row: tuple[str, str], trick: str, n: int) -> None:
    method, path = row
    assert level(method, TRICKS[trick](path, n)) >= level(method, path), trick


HEADERS = st.lists(
    st.sampled_from([
        ("X-HTTP-Method-Override", "GET"), ("X-HTTP-Method", "GET"), ("X-Method-Override", "GET"),
        ("X-Original-URL", "/version"), ("X-Rewrite-URL", "/version"), ("Upgrade", "websocket"), ("Upgrade", "h2c"),
        ("Connection", "Upgrade"), ("Connection", "keep-alive, UPGRADE"), ("Content-Encoding", "gzip"),
        ("Content-Encoding", "br, identity"), ("Impersonate-User", "system:admin"), ("impersonate-extra-x", "y"),
        ("X-Remote-User", "system:admin"), ("Accept", "application/json"), ("X-Forwarded-For", "127.0.0.1"),
        ("Kubectl-Command", "kubectl get"), ("Warning", "dry run"), ("X-Dry-Run", "All"), ("User-Agent", "kubectl get"),
    ]),
    max_size=4,
)  # fmt: skip


@given(st.sampled_from(ROWS), HEADERS)
def test_no_header_lowers_a_class(row: tuple[str, str], headers: list[tuple[str, str]]) -> None:
    method, path = row
    assert level(method, path, headers) >= level(method, path)


WORDS = [
    "api", "apis", "v1", "v2", "v1beta1", "apps", "batch", "namespaces", "shop", "pods", "web", "exec", "attach",
    "portforward", "proxy", "log", "watch", "secrets", "status", "scale", "nodes", "metrics", "logs", "debug",
    "pprof", "version", "openapi", "v3", "healthz", "kubelet", "x.example.com", "things", "sub", "clusterroles",
    "token", "eviction", "binding", "finalize", "approval", "run", "console", "vnc", "configz", "readyz", "livez",
    "ui", "swagger.json",
]  # fmt: skip


@given(VERB, st.lists(st.sampled_from(WORDS) | st.text("abcdefgh-.", min_size=1, max_size=8), max_size=9))
def test_what_is_not_known_is_never_a_read(method: str, segments: list[str]) -> None:
    try:
        verdict = classify(method, "/" + "/".join(segments))
    except Refused:
        return
    if verdict.rule.startswith("unknown"):
        assert verdict.request_class is C
    if verdict.request_class is R:
        assert method in ("GET", "HEAD")
        # Whatever connects somewhere is none, whichever resource it is a subresource of.
        api = verdict.api
        assert api is None or api.sub in ("", "status", "scale", "log", "ephemeralcontainers", "resize", "approval")
        if api is None:
            first = verdict.path.strip("/").split("/")[0]
            assert first in (
                "",
                "api",
                "apis",
                "version",
                "openapi",
                "healthz",
                "livez",
                "readyz",
                ".well-known",
                "openid",
            )
    if verdict.request_class in (V, D):
        assert method in ("POST", "PUT", "PATCH")


# What is let through, on a real API --------------------------------------------------------------------------------


def state_of(server: RecordedCluster) -> str:
    """Return everything that the recorded API server holds."""
    objects = server.cluster.objects
    return json.dumps(
        [objects.version, [[store, [item for item in objects.items(store)]] for store in sorted(objects.stores())]]  # noqa: C416
    )


class Requests:
    """Makes requests at random, most of them about objects that are there."""

    def __init__(self, server: RecordedCluster, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - test data
        self.places: list[tuple[str, str, dict[str, Any]]] = []
        catalog = server.cluster.catalog
        for store in server.cluster.objects.stores():
            for item in list(server.cluster.objects.items(store))[:4]:
                resource = catalog.of_kind(item["apiVersion"], item["kind"])
                assert resource
                group, version = (
                    ("", item["apiVersion"]) if "/" not in item["apiVersion"] else item["apiVersion"].split("/")
                )
                root = f"/apis/{group}/{version}" if group else f"/api/{version}"
                space = item["metadata"].get("namespace")
                place = f"{root}/namespaces/{space}" if space else root
                self.places.append((f"{place}/{store[1]}", item["metadata"]["name"], item))

    def next(self) -> tuple[str, str, bytes | None, str]:
        rng = self.rng
        collection, name, item = rng.choice(self.places)
        subs = ["", "", "", "", "/status", "/scale", "/eviction", "/log", "/binding", "/exec", "/proxy", "/token", "/x"]
        path = rng.choice([collection, f"{collection}/{name}", f"{collection}/{name}", f"{collection}/new"])
        path += rng.choice(subs) if path != collection else ""
        path = rng.choice([path, path, path, path.replace("/v1/", "/v1/watch/", 1), path.replace("v1", "v1beta1", 1)])
        if rng.random() < 0.15:
            _, path = rng.choice(ROWS)
        method = rng.choice([*sorted(METHODS), "POST", "PATCH", "PATCH", "DELETE", "get", "delete", "OPTIONS"])
        options = ["", "", "", "?dryRun=All", "?dryRun=All", "?dryRun=All&fieldManager=x", "?pretty=true",
                   "?dryRun=All&force=true&fieldManager=x", "?watch=false", "?timeoutSeconds=1",
                   "?gracePeriodSeconds=0", "?dryRun=All&propagationPolicy=Foreground",
                   "?resourceVersion=0&limit=1"]  # fmt: skip
        body, media = self.body(item)
        return method, path + rng.choice(options), None if method in ("GET", "HEAD", "get") else body, media

    def body(self, item: dict[str, Any]) -> tuple[bytes | None, str]:
        rng = self.rng
        merge = {"metadata": {"labels": {"a": str(rng.random())}}}
        whole = {**item, "metadata": {**item["metadata"], "labels": {"a": "b"}}}
        new = {**whole, "metadata": {k: v for k, v in whole["metadata"].items() if k not in ("uid", "resourceVersion")}}
        new = {**new, "metadata": {**new["metadata"], "name": f"n{rng.randrange(10**9)}"}}
        attributes = {"verb": "get", "resource": "pods", "namespace": "shop"}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                  "spec": {"resourceAttributes": attributes}}  # fmt: skip
        delete = {"kind": "DeleteOptions", "apiVersion": "v1"}
        bodies: list[tuple[Any, str]] = [
            (None, ""), (merge, "application/merge-patch+json"), (merge, "application/strategic-merge-patch+json"),
            ([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}], "application/json-patch+json"),
            (whole, "application/json"), (new, "application/json"), (review, "application/json"),
            (delete, "application/json"), ({**delete, "dryRun": ["All"]}, "application/json"),
            ({**delete, "dryRun": []}, "application/json"),
            ({**merge, "dryRun": ["All"]}, "application/merge-patch+json"),
            (whole, "application/apply-patch+yaml"), ({**new, "dryRun": ["All"]}, "application/json"),
        ]  # fmt: skip
        value, media = rng.choice(bodies)
        return (None if value is None else json.dumps(value).encode()), media


def let_through(method: str, target: str, body: bytes | None, media: str) -> bool | None:
    """Say whether the gate would pass this on without asking; None where it refuses it."""
    try:
        verdict = classify(method, target, [("Content-Type", media)])
        if verdict.request_class in (RequestClass.WRITE, RequestClass.CRITICAL) and method in METHODS:
            verdict = with_body(verdict, parse_body(media, body or b""))
    except Refused:
        return None
    return verdict.request_class in (R, V, D)


async def test_nothing_that_is_let_through_changes_the_state_of_a_recorded_cluster(api: Client) -> None:  # noqa: F811
    made = Requests(api.server, 11)
    before, passed, kinds = state_of(api.server), 0, set()
    while passed < 500:
        method, target, body, media = made.next()
        if not let_through(method, target, body, media) or "watch" in target:
            continue
        passed += 1
        answer = await api(method, target, body, media=media or "application/json")
        kinds.add((method, answer.status // 100, "dryRun" in target or b"dryRun" in (body or b"")))
        if passed % 50 == 0:
            assert state_of(api.server) == before, (method, target, body)
    assert state_of(api.server) == before
    # It must have been something: dry runs that the server accepted, in each of the methods.
    assert {(m, 2, True) for m in ("POST", "PUT", "PATCH", "DELETE")} <= kinds, kinds


async def test_the_state_shows_what_was_not_let_through(api: Client) -> None:  # noqa: F811
    """The comparison would see a change: the same requests, those that are held carried out."""
    made = Requests(api.server, 12)
    before, held = state_of(api.server), 0
    for _ in range(600):
        method, target, body, media = made.next()
        if let_through(method, target, body, media) is False and "watch" not in target:
            held += (await api(method, target, body, media=media or "application/json")).status < 300
    assert held >= 20
    assert state_of(api.server) != before


def test_watches_are_reads_of_paths_that_are_read() -> None:
    for method, path in ROWS:
        api_path = read_path(path)
        if method == "GET" and api_path is not None and api_path.watch:
            assert classify(method, path).request_class is R
