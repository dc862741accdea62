"""Which object in a cluster is meant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """An object by its coordinates; with a uid once it is known, so that a recreated object is another target.

    `namespace` is empty for objects of the whole cluster. `api_version` is the API's own `group/version`.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""

    def __str__(self) -> str:
        """Return the form that people type: `Deployment shop/web`, `Node worker-3`."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"
