"""People with keys of their own, made at run time."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assistant.domain.proposal import Consent, Proposal
from assistant.gate.consent import sign
from assistant.wire import to_builtins


class Person:
    """Somebody who can sign."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.public = sign(self.key, {"id": "", "digest": ""}, datetime.now(UTC)).key

    def signs(self, proposal: Proposal) -> Consent:
        return sign(self.key, to_builtins(proposal), datetime.now(UTC))
