"""Facts from the world. Made by tools only; a mind may cite them and never makes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from assistant.domain.target import Target


@dataclass(frozen=True, slots=True)
class Citation:
    """A place in an answer that a claim rests on, before it has an evidence id.

    `request` is the request line (`GET /api/v1/namespaces/shop/pods`), `quote` stands verbatim in `body`
    after blanks are squeezed; lines of a quote that are not neighbours are joined by " … ".
    """

    request: str
    quote: str
    body: str
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A recorded fact. `body` is the SHA-256 under which the store keeps the text; `size_bytes` is its length."""

    id: str
    request: str
    quote: str
    at: datetime
    body: str
    size_bytes: int
    target: Target | None = None
    source: str = "cluster"
    redactions: int = 0
