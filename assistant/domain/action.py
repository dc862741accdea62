"""An exact request that would change something: the thing that a person says yes or no to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from assistant.domain.canonical import sha256
from assistant.domain.target import Target


class RequestClass(StrEnum):
    """How a request to the API server is treated; unknown requests are CRITICAL."""

    READ = "R"
    SENSITIVE = "S"
    VIRTUAL = "V"
    DRY_RUN = "D"
    WRITE = "M"
    CRITICAL = "C"


class RiskLevel(StrEnum):
    """Computed by rules, never by a model. CRITICAL asks for the object's name to be typed."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Action:
    """One HTTP request to a Kubernetes API server, as it will be sent.

    `path` is decoded and absolute (`/apis/apps/v1/namespaces/shop/deployments/web`), `query` keeps order and
    repeats, `body` is the exact text sent ("" for none). `target` names the object as people know it.
    """

    method: str
    path: str
    target: Target
    query: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    body: str = ""

    def digest(self) -> str:
        """Return the SHA-256 over what goes on the wire; equal digests mean the same bytes."""
        return sha256([self.method, self.path, [list(pair) for pair in self.query], self.content_type, self.body])


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that would mend a finding, as a mind suggests it; nothing has been sent to the gate yet.

    Either `action` is there, or `outside` says who must do what (no cluster change is right).
    `after` names the remedy that has to be applied first. `reason` says why this one stands at this place:
    remedies for one finding are ordered, the least invasive first.
    """

    id: str
    title: str
    fixes: tuple[str, ...]
    risk: RiskLevel
    action: Action | None = None
    kubectl: str = ""
    undo: str = "none"
    reason: str = ""
    outside: str = ""
    after: str = ""
