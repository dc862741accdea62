"""What a request may do, decided from its bytes: every operation of a real API server, and every trick we know."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.domain.action import RequestClass
from assistant.policy.api_path import Refused
from assistant.policy.classify import classify, with_body

DATA = Path(__file__).parent / "data"
R, S, V, D, M, C = (
    RequestClass.READ,
    RequestClass.SENSITIVE,
    RequestClass.VIRTUAL,
    RequestClass.DRY_RUN,
    RequestClass.WRITE,
    RequestClass.CRITICAL,
)
ORDER = [R, V, D, S, M, C]

CRITICAL_KINDS = {
    "Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim", "CustomResourceDefinition", "APIService",
    "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "StorageClass",
    "CSIDriver", "CSINode", "VolumeAttachment", "VolumeAttributesClass", "ClusterRole", "ClusterRoleBinding", "Role",
    "RoleBinding", "CertificateSigningRequest", "PriorityClass", "RuntimeClass", "FlowSchema",
    "PriorityLevelConfiguration", "IngressClass", "IPAddress", "ServiceCIDR", "DeviceClass", "ResourceSlice",
}  # fmt: skip
REVIEWS = {
    "SelfSubjectAccessReview": V, "SelfSubjectRulesReview": V, "SelfSubjectReview": V, "SubjectAccessReview": S,
    "LocalSubjectAccessReview": S, "TokenReview": S,
}  # fmt: skip


def operations() -> list[list[Any]]:
    rows: list[list[Any]] = json.loads(gzip.decompress((DATA / "operations.json.gz").read_bytes()))
    return rows


def concrete(path: str) -> str:
    for name, value in (("{namespace}", "shop"), ("{name}", "web"), ("{path}", "a"), ("{logpath}", "a")):
        path = path.replace(name, value)
    return path


def expected(method: str, path: str, action: str, kind: str) -> RequestClass:
    """The reviewer's own table, written from DESIGN section 3 and not from the classifier's."""
    if action == "connect" or "/proxy" in path:
        return C
    if method in ("GET", "HEAD"):
        return R
    if kind in REVIEWS:
        return REVIEWS[kind]
    if action == "deletecollection":
        return C
    last = path.rsplit("/", 1)[-1]
    if last in ("ephemeralcontainers", "finalize", "approval", "token"):
        return C
    if "{namespace}" not in path:
        return C
    return C if kind in CRITICAL_KINDS else M


def test_every_operation_of_a_real_api_server_has_the_class_that_a_reviewer_gave_it() -> None:
    rows = operations()
    assert len(rows) > 1300
    wrong = []
    for method, path, action, _group, _version, kind, keys in rows:
        query = "&".join(f"{key}=1" for key in keys if key != "dryRun")
        verdict = classify(method, concrete(path) + (f"?{query}" if query else ""))
        want = expected(method, path, action, kind)
        unknown = verdict.rule.startswith("unknown") and action != "connect"
        if verdict.request_class is not want or unknown:
            wrong.append((method, path, kind, verdict.request_class.value, verdict.rule, want.value))
    assert not wrong


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/v1/namespaces/a/pods/b/exec?command=ls&command=-l"),
        ("POST", "/api/v1/namespaces/a/pods/b/attach"),
        ("GET", "/api/v1/namespaces/a/pods/b/portforward?ports=80"),
        ("GET", "/api/v1/nodes/n/proxy/run/a/b"),
        ("HEAD", "/api/v1/namespaces/a/services/s:80/proxy/shutdown"),
        ("GET", "/api/v1/proxy/namespaces/a/pods/b"),
        ("GET", "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/v/console"),
        ("GET", "/logs/kube-apiserver.log"),
        ("GET", "/debug/pprof/heap"),
        ("get", "/api/v1/pods"),
        ("OPTIONS", "/api/v1/pods"),
        ("MKCOL", "/api/v1/pods"),
        ("POST", "/version"),
        ("PUT", "/api/v1/namespaces/a/pods"),
        ("DELETE", "/api/v1/namespaces/kube-system/pods/etcd"),
        ("PATCH", "/api/v1/namespaces/a/pods/b/ephemeralcontainers"),
        ("POST", "/api/v1/namespaces/a/serviceaccounts/b/token?dryRun=All"),
        ("POST", "/api/v1/namespaces/a/pods/b/exec?dryRun=All"),
        ("GET", "/api/v2/pods"),
        ("GET", "/apis/nodots/v1/things"),
    ],
)
def test_what_acts_or_is_not_known_is_critical(method: str, target: str) -> None:
    assert classify(method, target).request_class is C


@pytest.mark.parametrize("holder", ["namespaces/a/pods/b", "namespaces/a/services/b", "nodes/b"])
@pytest.mark.parametrize("end", ["exec", "attach", "portforward", "proxy", "proxy/", "proxy/metrics?x=1"])
def test_a_connection_is_known_as_one_by_its_rule(holder: str, end: str) -> None:
    verdict = classify("GET", f"/api/v1/{holder}/{end}")
    assert (verdict.request_class, verdict.rule) == (C, f"connect-{end.split('/')[0]}")


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces/a%2Fb/pods", "/api/v1/../v1/pods", "/api/v1/./pods", "//api/v1/pods", "/api//v1/pods",
        "/api/v1/%2e%2e/pods", "/api/v1/pods%00", "/api/v1/pods%25", "https://evil/api/v1/pods", "api/v1/pods", "",
        "/api/v1/pods#x", "/api/v1/pods;a=b", "/api/v1/pods\\x", "/api/v1/pods?limit=1&limit=2",
        "/api/v1/pods?unknown=1", "/api/v1/pods?dryrun=All", "/api/v1/pods?dryRun=all", "/api/v1/pods?dryRun=",
        "/api/v1/pods?dryRun=All&dryRun=", "/api/v1/pods?dryRun=All&dryRun=All", "/api/v1/pods?dry%52un=All",
        "/api/v1/pods?limit=%zz", "/api/v1/pods?limit=1;watch=1", "/api/v1/pods x", "/api/v1/pöds",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_target_that_can_be_read_in_two_ways_is_refused(method: str, target: str) -> None:
    with pytest.raises(Refused):
        classify(method, target)


@pytest.mark.parametrize(
    "header",
    [
        ("Impersonate-User", "admin"), ("impersonate-group", "x"), ("X-HTTP-Method-Override", "DELETE"),
        ("X-Remote-User", "admin"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Content-Encoding", "gzip"),
    ],
)  # fmt: skip
def test_headers_that_change_who_asks_or_what_is_asked_are_refused(header: tuple[str, str]) -> None:
    with pytest.raises(Refused):
        classify("GET", "/api/v1/pods", [header])


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/api/v1/namespaces/a/pods/b/exec?command=sh&command=-c&command=a+b%26", ("sh", "-c", "a b&")),
        ("/api/v1/namespaces/a/pods/b/portforward?ports=80&ports=443", ("80", "443")),
        ("/readyz?exclude=etcd&exclude=ping", ("etcd", "ping")),
        ("/api/v1/namespaces/a/services/https:b:web/proxy/q?x=1&x=2&match%5B%5D=3", ("1", "2", "3")),
        ("/api/v1/nodes/n/proxy/?x=1&x=2", ("1", "2")),
    ],
)
def test_a_key_is_repeated_only_where_all_its_values_are_read(target: str, kept: tuple[str, ...]) -> None:
    verdict = classify("GET", target)
    assert tuple(value for _, value in verdict.query) == kept
    assert verdict.request_class is (R if "readyz" in target else C)


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces/a/pods?command=a&command=b", "/api/v1/namespaces/a/pods/b/attach?command=a&command=b",
        "/api/v1/namespaces/a/pods/b/exec?ports=1&ports=2", "/api/v1/namespaces/a/pods/b/exec?container=a&container=b",
        "/api/v1/namespaces/a/pods/b/exec?other=1", "/api/v1/pods?exclude=a&exclude=b",
        "/api/v1/namespaces/a/pods/proxy?x=1", "/apis/apps/v1/namespaces/a/pods/b/proxy/?x=1",
        "/api/v1/namespaces/a/services/b/proxy/q?x=1;y=2", "/api/v1/namespaces/a/services/b/proxy/q?%zz=1",
    ],
)  # fmt: skip
def test_elsewhere_a_key_that_is_repeated_or_unknown_is_refused(target: str) -> None:
    with pytest.raises(Refused):
        classify("GET", target)


class TestDryRun:
    def test_is_seen_in_the_query_of_a_patch(self) -> None:
        assert classify("PATCH", "/api/v1/namespaces/a/pods/b?dryRun=All").request_class is D

    def test_in_a_delete_counts_only_where_the_server_reads_it(self) -> None:
        bare = classify("DELETE", "/api/v1/namespaces/a/pods/b?dryRun=All")
        assert with_body(bare, None).request_class is D
        # A body replaces the query's options: this would really delete.
        assert with_body(bare, {"kind": "DeleteOptions"}).request_class is M
        assert with_body(bare, {"dryRun": []}).request_class is M
        plain = classify("DELETE", "/api/v1/namespaces/a/pods/b")
        assert with_body(plain, {"dryRun": ["All"]}).request_class is D
        assert with_body(plain, {"dryRun": ["All", "x"]}).request_class is M

    def test_of_a_group_that_may_not_honour_it_is_a_write(self) -> None:
        assert classify("PATCH", "/apis/x.example.com/v1/namespaces/a/things/b?dryRun=All").request_class is M


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"metadata": {"finalizers": []}}, "finalizers"),
        ([{"op": "remove", "path": "/metadata/finalizers"}], "finalizers"),
        ([{"op": "replace", "path": "/metadata", "value": {}}], "finalizers"),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}, "finalizers"),
        ({"spec": {"containers": [{"securityContext": {"privileged": True}}]}}, "powerful-pod"),
        ({"spec": {"volumes": [{"hostPath": {"path": "/"}}]}}, "powerful-pod"),
        ([{"op": "add", "path": "/spec/template/spec/hostNetwork", "value": True}], "powerful-pod"),
    ],
)
def test_a_body_can_make_a_write_critical(body: Any, rule: str) -> None:
    verdict = with_body(classify("PATCH", "/apis/apps/v1/namespaces/a/deployments/b"), body)
    assert (verdict.request_class, verdict.rule) == (C, rule)


METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "get", "TRACE", "X"])
WORDS = "api apis v1 apps namespaces a pods b exec proxy watch secrets status nodes metrics . .. %2f x.y.z".split()  # noqa: SIM905
SEGMENTS = st.lists(
    st.sampled_from(WORDS),
    max_size=9,
)


@given(METHODS, SEGMENTS, st.sampled_from(["", "?dryRun=All", "?watch=true", "?dryRun=All&watch=1"]))
def test_nothing_that_writes_is_ever_a_read(method: str, segments: list[str], query: str) -> None:
    try:
        verdict = classify(method, "/" + "/".join(segments) + query)
    except Refused:
        return
    if verdict.request_class is R:
        assert method in ("GET", "HEAD")
        assert not {"exec", "attach", "portforward", "proxy"} & set(verdict.path.split("/")[5:])
    if verdict.request_class is D:
        assert "dryRun=All" in query
        assert method in ("POST", "PUT", "PATCH")
    if verdict.rule.startswith("unknown"):
        assert verdict.request_class is C


@given(METHODS, st.text(max_size=40))
def test_any_bytes_get_a_class_or_a_refusal(method: str, target: str) -> None:
    try:
        verdict = classify(method, target)
    except Refused as refused:
        assert refused.meaning
    else:
        assert verdict.request_class in ORDER
