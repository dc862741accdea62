"""A second person's agreement: an Ed25519 signature over the digest and over the proposal as that person read it.

Signed, because that is what one machine can really know of somebody who is not at it: another terminal of the same user
proves nothing, and a name that somebody types proves nothing either.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from assistant.config import PUBLIC_SUFFIX
from assistant.domain.canonical import canonical, sha256
from assistant.domain.proposal import Consent, Proposal
from assistant.errors import GateError, UsageError
from assistant.gate.kubeconfig import write_private
from assistant.policy.contexts import read_key
from assistant.wire import to_builtins

# Said first in what is signed, so that a signature made for anything else is none of these.
_PURPOSE: Final = b"pilothouse approval v1\n"


class ConsentError(GateError):
    """The signed agreement does not count, and why."""

    code = "consent"


def shown_hash(proposal: Mapping[str, Any]) -> str:
    """Return the hash of a proposal in its JSON form, without what changes when somebody agrees to it."""
    return sha256({key: value for key, value in proposal.items() if key != "second"})


def make_key(path: Path, passphrase: str) -> str:
    """Write a new key pair and return its public half. Raises UsageError where there is one already."""
    if path.exists():
        raise UsageError(f"There is a key at {path} already.", "Use that one, or move it away first.")
    key = Ed25519PrivateKey.generate()
    hidden: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        hidden = serialization.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    public = _public(key)
    # The public half first: a private key whose owner cannot be told from a colleague must not exist.
    write_private(path.with_name(path.name + PUBLIC_SUFFIX), public.encode() + b"\n")
    write_private(path, private)
    return public


def load_key(path: Path, passphrase: str) -> Ed25519PrivateKey:
    """Read a private key (PKCS 8 or OpenSSH). Raises UsageError; TypeError when a passphrase is needed and missing."""
    try:
        if path.stat().st_mode & 0o077:
            raise UsageError(f"Others on this machine may read {path}.", f"chmod 600 {path}")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"There is no key at {path}.", "Make one: pilothouse approvals key") from error
    except OSError as error:
        raise UsageError(f"The key {path} cannot be read.", "Check who owns it.", detail=str(error)) from error
    secret = passphrase.encode() if passphrase else None
    try:
        if b"OPENSSH" in data[:64]:
            key: object = serialization.load_ssh_private_key(data, secret)
        else:
            key = serialization.load_pem_private_key(data, secret)
    except TypeError:
        raise
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"The key {path} cannot be opened.", "Check the passphrase.", detail=str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is not an Ed25519 key.", "Make one: pilothouse approvals key")
    return key


def sign(key: Ed25519PrivateKey, proposal: Mapping[str, Any], at: datetime) -> Consent:
    """Return the agreement to a proposal in its JSON form, as it was read."""
    unsigned = Consent(str(proposal["id"]), str(proposal["digest"]), shown_hash(proposal), _public(key), at, "")
    return replace(unsigned, signature=base64.b64encode(key.sign(_signed(unsigned))).decode())


def checked(consent: Consent, proposal: Proposal, people: Mapping[str, str], own: str) -> Consent:
    """Return the agreement with the name of who gave it. Raises ConsentError where it does not count.

    Args:
        consent: as handed in.
        proposal: the one that the gate holds; the agreement has to be about exactly this.
        people: whose keys count, public key by name.
        own: the public key of the user who runs the gate, "" for none: one person is not two.
    """
    if consent.proposal != proposal.id or consent.digest != proposal.digest:
        raise ConsentError("The signature is for another change.", "Ask for one over this digest.")
    if consent.shown != shown_hash(to_builtins(proposal)):
        raise ConsentError("What was signed is not this change as the gate shows it.", "Export it again and ask anew.")
    try:
        key = read_key(consent.key)
    except ValueError as error:
        raise ConsentError(
            "The signature names no key that can be read.", "Sign it anew.", detail=str(error)
        ) from error
    names = sorted(name for name, known in people.items() if read_key(known) == key)
    if not names:
        raise ConsentError("The key of the signature is nobody's that the settings know.", "Add it to [approvers].")
    if own and read_key(own) == key:
        raise ConsentError("The signature is your own.", "It takes a second person.")
    try:
        public = serialization.load_ssh_public_key(key.encode())
        if not isinstance(public, Ed25519PublicKey):
            raise ConsentError("The signature is not by an Ed25519 key.", "Sign it anew.")
        public.verify(base64.b64decode(consent.signature, validate=True), _signed(consent))
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise ConsentError("The signature does not hold.", "Sign it anew.") from error
    return replace(consent, by=names[0])


def _signed(consent: Consent) -> bytes:
    said = {
        "proposal": consent.proposal,
        "digest": consent.digest,
        "shown": consent.shown,
        "at": consent.at.isoformat(),
    }
    return _PURPOSE + canonical(said)


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
