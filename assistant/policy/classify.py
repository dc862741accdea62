"""Decides what a request may do from its bytes: method, target and headers. Pure and table-driven; unknown is critical.

The classes are DESIGN section 3's. A label, a tool's name or a client's claim has no part in the decision.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from assistant.domain.action import RequestClass
from assistant.policy.api_path import ApiPath, Refused, read_path, read_target

READ, SENSITIVE, VIRTUAL = RequestClass.READ, RequestClass.SENSITIVE, RequestClass.VIRTUAL
DRY_RUN, WRITE, CRITICAL = RequestClass.DRY_RUN, RequestClass.WRITE, RequestClass.CRITICAL


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a request is treated, and the rule that says so. `api` is None for paths that name no resource."""

    request_class: RequestClass
    rule: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    api: ApiPath | None = None

    @property
    def verb(self) -> str:
        """Return the verb that RBAC would check."""
        return verb_of(self.method, self.api, self.query)


PROTECTED_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
CONNECT: Final = frozenset({"exec", "attach", "portforward", "proxy"})

# (group, resource): namespaced resources of Kubernetes 1.36 whose change is an ordinary write.
_ORDINARY: Final = frozenset(
    (group, resource)
    for group, names in {
        "": "pods configmaps secrets services endpoints events replicationcontrollers podtemplates limitranges"
        " resourcequotas serviceaccounts",
        "apps": "deployments statefulsets daemonsets replicasets controllerrevisions",
        "batch": "jobs cronjobs",
        "autoscaling": "horizontalpodautoscalers",
        "policy": "poddisruptionbudgets",
        "networking.k8s.io": "ingresses networkpolicies",
        "discovery.k8s.io": "endpointslices",
        "events.k8s.io": "events",
        "coordination.k8s.io": "leases leasecandidates",
        "resource.k8s.io": "resourceclaims resourceclaimtemplates",
        "storage.k8s.io": "csistoragecapacities",
        "scheduling.k8s.io": "workloads podgroups",
    }.items()
    for resource in names.split()
)
BUILT_IN_GROUPS: Final = frozenset(
    [
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "networking.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "coordination.k8s.io",
        "resource.k8s.io",
        "storage.k8s.io",
        "scheduling.k8s.io",
        "rbac.authorization.k8s.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "certificates.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "node.k8s.io",
        "internal.apiserver.k8s.io",
        "storagemigration.k8s.io",
    ]
) | {""}
# Groups in which every write is critical, namespaced or not.
_CRITICAL_GROUPS: Final = frozenset(
    [
        "rbac.authorization.k8s.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "certificates.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "node.k8s.io",
        "internal.apiserver.k8s.io",
        "storagemigration.k8s.io",
    ]
)
_CRITICAL_CORE: Final = frozenset(
    ["namespaces", "nodes", "persistentvolumes", "persistentvolumeclaims", "componentstatuses"]
)
_WRITABLE_SUBRESOURCES: Final = {
    "status": WRITE,
    "scale": WRITE,
    "eviction": WRITE,
    "binding": WRITE,
    "resize": WRITE,
    "ephemeralcontainers": CRITICAL,
    "finalize": CRITICAL,
    "approval": CRITICAL,
    "token": CRITICAL,
}
_READABLE_SUBRESOURCES: Final = frozenset({"", "status", "scale", "log", "ephemeralcontainers", "resize", "approval"})
# Aggregated or foreign groups whose GET may act or hand out what RBAC guards: read nothing there without a look.
_ACTING_GROUPS: Final = frozenset({"subresources.kubevirt.io"})
_REVIEWS: Final = {
    ("authorization.k8s.io", "selfsubjectaccessreviews"): (VIRTUAL, "self-review"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"): (VIRTUAL, "self-review"),
    ("authentication.k8s.io", "selfsubjectreviews"): (VIRTUAL, "self-review"),
    ("authorization.k8s.io", "subjectaccessreviews"): (SENSITIVE, "review-of-others"),
    ("authorization.k8s.io", "localsubjectaccessreviews"): (SENSITIVE, "review-of-others"),
    ("authentication.k8s.io", "tokenreviews"): (SENSITIVE, "token-review"),
}
_HEALTH: Final = frozenset({"healthz", "livez", "readyz"})
_REFUSED_HEADERS: Final = frozenset(
    {"x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"}
)


def classify(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    protected: Container[str] = PROTECTED_NAMESPACES,
) -> Verdict:
    """Return the class of a request and the rule that gave it.

    Args:
        method: as on the wire; methods are case-sensitive (RFC 9110 section 9.1).
        target: the raw request target, undecoded.
        headers: name and value as on the wire, repeats kept.
        protected: namespaces in which every write is critical.

    Raises:
        Refused: for a request that no approval can make acceptable.
    """
    path, query = read_target(target)
    api = read_path(path)
    upgrade = _check_headers(headers)
    connecting = api is not None and bool(api.sub) and api.sub.split("/")[0] in CONNECT
    if upgrade and not connecting:
        raise Refused("upgrade", "Upgrades are accepted for exec, attach and port-forward only.", 403)
    verdict = Verdict(CRITICAL, "unknown-method", method, path, query, api)
    if method not in METHODS:
        return verdict
    if api is None:
        request_class, rule = _plain_path(method, path)
        return replace(verdict, request_class=request_class, rule=rule)
    request_class, rule = _resource(method, api, protected)
    dry = any(key == "dryRun" for key, _ in query)
    # In a DELETE the body's options replace the query's (apiserver handlers/delete.go), so `with_body` decides there.
    if dry and method != "DELETE" and request_class in (WRITE, CRITICAL) and _honours_dry_run(api):
        return replace(verdict, request_class=DRY_RUN, rule="dry-run")
    return replace(verdict, request_class=request_class, rule=rule)


def _check_headers(headers: Iterable[tuple[str, str]]) -> bool:
    upgrade = False
    for name, value in headers:
        lower = name.lower().strip()
        if lower.startswith("impersonate-") or lower.startswith("x-remote-"):
            raise Refused("impersonation", "Acting as somebody else does not go through the gate.", 403)
        if lower in _REFUSED_HEADERS:
            raise Refused("method-override", "Method and path overrides do not go through the gate.", 403)
        if lower == "content-encoding" and value.strip().lower() not in ("", "identity"):
            raise Refused("content-encoding", "An encoded request body cannot be examined.", 415)
        if lower == "upgrade" or (lower == "connection" and "upgrade" in value.lower()):
            upgrade = True
    return upgrade


def _plain_path(method: str, path: str) -> tuple[RequestClass, str]:
    parts = path.strip("/").split("/")
    if method not in ("GET", "HEAD"):
        return CRITICAL, "unknown-path-write"
    match parts:
        case [""] | ["api"] | ["apis"] | ["api", _] | ["apis", _] | ["apis", _, _]:
            return READ, "discovery"
        case ["version"]:
            return READ, "version"
        case ["openapi", "v2"] | ["openapi", "v3"] | ["openapi", "v3", "api" | "apis" | "version" | "logs", *_]:
            return READ, "openapi"
        case ["openapi", "v3", ".well-known", *_] | ["openapi", "v3", "openid", *_]:
            return READ, "openapi"
        case [head, *rest] if head in _HEALTH and len(rest) <= 2:
            return READ, "health"
        case [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"]:
            return READ, "openid"
        case ["metrics", *_] | ["configz"] | ["flagz"] | ["statusz"]:
            return SENSITIVE, "server-internals"
        case _:
            return CRITICAL, "unknown-path"


def _resource(method: str, api: ApiPath, protected: Container[str]) -> tuple[RequestClass, str]:
    top = api.sub.split("/")[0]
    if top in CONNECT or (api.resource == "proxy" and not api.group):
        return CRITICAL, f"connect-{top or 'proxy'}"
    if not api.group and api.version != "v1":
        return CRITICAL, "unknown-core-version"
    if "/" in api.sub:
        return CRITICAL, "unknown-subresource"
    if method in ("GET", "HEAD"):
        return _reading(api)
    if api.watch:
        return CRITICAL, "unknown-shape"
    review = _REVIEWS.get((api.group, api.resource))
    if review:
        ok = method == "POST" and not api.name and not api.sub
        return review if ok else (CRITICAL, "unknown-shape")
    if not _shape_fits(method, api):
        return CRITICAL, "unknown-shape"
    return _writing(method, api, protected)


def _reading(api: ApiPath) -> tuple[RequestClass, str]:
    if api.watch and api.sub:
        return CRITICAL, "unknown-shape"
    if api.group in _ACTING_GROUPS or api.sub not in _READABLE_SUBRESOURCES:
        return CRITICAL, "unknown-subresource"
    if (api.sub == "log" or api.sub in ("ephemeralcontainers", "resize")) and (api.group, api.resource) != ("", "pods"):
        return CRITICAL, "unknown-subresource"
    if api.group not in BUILT_IN_GROUPS and "." not in api.group:
        return CRITICAL, "unknown-group"
    if (api.group, api.resource) in _REVIEWS:
        return CRITICAL, "unknown-shape"
    if api.sub == "log":
        return READ, "pod-log"
    if (api.group, api.resource) == ("", "secrets"):
        return READ, "secret-redacted"
    return READ, "read" if api.group in BUILT_IN_GROUPS else "read-custom"


def _shape_fits(method: str, api: ApiPath) -> bool:
    match method:
        case "POST":
            return bool(api.sub) == bool(api.name)
        case "PUT" | "PATCH":
            return bool(api.name)
        case "DELETE":
            return not api.sub
        case _:
            return False


def _writing(method: str, api: ApiPath, protected: Container[str]) -> tuple[RequestClass, str]:
    if method == "DELETE" and not api.name:
        return CRITICAL, "delete-collection"
    if api.sub:
        known = _WRITABLE_SUBRESOURCES.get(api.sub)
        if known is None:
            return CRITICAL, "unknown-subresource"
        if known is CRITICAL:
            return CRITICAL, f"sub-{api.sub}"
    if api.group in _CRITICAL_GROUPS or (not api.group and api.resource in _CRITICAL_CORE):
        return CRITICAL, "critical-kind"
    if not api.namespace:
        return CRITICAL, "cluster-scoped"
    if api.namespace in protected:
        return CRITICAL, "protected-namespace"
    if (api.group, api.resource) in _ORDINARY or (not api.group and api.resource == "bindings"):
        return WRITE, f"write-{api.sub}" if api.sub else "write"
    if api.group in BUILT_IN_GROUPS or "." not in api.group:
        return CRITICAL, "unknown-kind"
    if api.sub not in ("", "status", "scale"):
        return CRITICAL, "unknown-subresource"
    return WRITE, "write-custom"


def _honours_dry_run(api: ApiPath) -> bool:
    # An aggregated API server may ignore dryRun and really write, and a token request answers with a real token.
    return api.group in BUILT_IN_GROUPS and api.sub not in ("token",) and api.sub.split("/")[0] not in CONNECT


def with_body(verdict: Verdict, body: Any) -> Verdict:
    """Return the verdict once the parsed body is known: it can raise the class, and for a DELETE find the dry run.

    `body` is None for no body. A DELETE is a dry run only if the options that the server will read say so.
    """
    if verdict.request_class not in (WRITE, CRITICAL):
        return verdict
    api, method = verdict.api, verdict.method
    query_dry = any(key == "dryRun" for key, _ in verdict.query)
    if method == "DELETE" and api is not None and _honours_dry_run(api):
        body_dry = isinstance(body, dict) and body.get("dryRun") == ["All"]
        if (body is None and query_dry) or body_dry:
            return replace(verdict, request_class=DRY_RUN, rule="dry-run")
    if verdict.request_class is CRITICAL:
        return verdict
    if ("force", "true") in verdict.query:
        return replace(verdict, request_class=CRITICAL, rule="force-apply")
    if _touches_finalizers(body):
        return replace(verdict, request_class=CRITICAL, rule="finalizers")
    if _powerful_pod(body):
        return replace(verdict, request_class=CRITICAL, rule="powerful-pod")
    return verdict


def _touches_finalizers(body: Any) -> bool:
    if isinstance(body, list):
        paths = [str(op.get("path", "")) for op in body if isinstance(op, dict)]
        return any("/metadata/finalizers" in path or path in ("", "/", "/metadata") for path in paths)
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return isinstance(metadata, dict) and any("finalizers" in str(key) for key in metadata)


def _powerful_pod(body: Any) -> bool:
    match body:
        case dict():
            for key, value in body.items():
                if key == "hostPath" and value is not None:
                    return True
                if key in ("privileged", "hostNetwork", "hostPID", "hostIPC") and value is True:
                    return True
                if _powerful_pod(value):
                    return True
            return False
        case list():
            return any(_powerful_pod(item) or _powerful_operation(item) for item in body)
        case _:
            return False


def _powerful_operation(item: Any) -> bool:
    path = str(item.get("path", "")) if isinstance(item, dict) and "op" in item else ""
    last = path.rsplit("/", 1)[-1]
    return "/hostPath" in path or last in ("privileged", "hostNetwork", "hostPID", "hostIPC")


def verb_of(method: str, api: ApiPath | None, query: tuple[tuple[str, str], ...] = ()) -> str:
    """Return the RBAC verb of a request (https://kubernetes.io/docs/reference/access-authn-authz/authorization/)."""
    if method in ("GET", "HEAD"):
        if api is None or api.name:
            return "get"
        watching = api.watch or any(key == "watch" and value in ("true", "1") for key, value in query)
        return "watch" if watching else "list"
    if method == "DELETE":
        return "delete" if api is None or api.name else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, method.lower())
