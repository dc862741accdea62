"""Who we are to the cluster and which cluster it is, as far as it says."""

from __future__ import annotations

from dataclasses import dataclass

from assistant.domain.canonical import sha256
from assistant.errors import ClusterError
from assistant.gate.facts import ask
from assistant.gate.upstream import Upstream
from assistant.policy.surroundings import at

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """What an approval is bound to. `fingerprint` is the hash of CA, server address and kube-system's uid."""

    name: str
    fingerprint: str
    user: str
    server_version: str


async def identify(upstream: Upstream) -> ClusterIdentity:
    """Ask the cluster who we are and what it is. Raises ClusterError when it cannot be reached or refuses us."""
    status, version = await ask(upstream, "GET", "/version")
    if status >= 500:
        raise ClusterError("The API server answers with an error.", "Try again later.", detail=f"HTTP {status}")
    user, uid = "unknown", ""
    try:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        status, review = await ask(upstream, "POST", REVIEW, body)
        if status in (200, 201):
            user = str(at(review, "status", "userInfo", "username", default="unknown"))
        status, system = await ask(upstream, "GET", "/api/v1/namespaces/kube-system")
        if status == 200:
            uid = str(at(system, "metadata", "uid", default=""))
    except ClusterError as error:
        if error.code in ("login-needed", "upstream-certificate"):
            raise
    fingerprint = sha256([upstream.authority, upstream.server, uid])
    return ClusterIdentity(upstream.context, fingerprint, user, str(version.get("gitVersion", "unknown")))
