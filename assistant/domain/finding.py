"""A claim about what is wrong, with the evidence it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from assistant.domain.target import Target


class Role(StrEnum):
    """What a finding is in the chain of causes."""

    ROOT_CAUSE = "root_cause"
    CONSEQUENCE = "consequence"
    NOTE = "note"


class Verdict(StrEnum):
    """What an investigation came to. UNDETERMINED is an honest answer and says what would decide it."""

    FAULT = "fault"
    HEALTHY = "healthy"
    UNDETERMINED = "undetermined"


CATEGORIES = (
    "app-config", "missing-secret", "missing-configmap", "credentials", "oom", "image", "bad-command", "probe",
    "service", "network", "dns", "storage", "scheduling", "quota", "disruption", "autoscaling", "job",
    "init-container", "rollout", "rbac", "admission", "finalizer", "statefulset", "eviction", "security", "tls",
    "node", "dra", "gateway-api", "baremetal", "edge", "kueue", "webhook", "other",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim. `target` is the object that must change, `field` the path in it.

    `confidence` is between 0 and 1. `evidence` holds evidence ids; a finding without any is shown as a guess.
    `explains` holds ids of the findings that follow from this one. `outside` says who must do what when no
    change to the cluster mends it. `by` is who claims it: "expert", a model's name, or both joined by " and ".
    `unsupported` says why the evidence does not carry a model's claim, "" where it does.
    """

    id: str
    rank: int
    role: Role
    category: str
    target: Target
    field: str
    summary: str
    confidence: float
    evidence: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    outside: str = ""
    by: str = "expert"
    unsupported: str = ""
