"""Signed heads: what a person keeps elsewhere, so that a record which is cut off or written anew as a whole shows.

Ed25519 (RFC 8032) over canonical JSON. Whoever has the key file and the record can still write both anew: a head
protects from then on only where its copy is out of their reach.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from assistant.domain.canonical import canonical
from assistant.errors import StoreError, UsageError
from assistant.store.sqlite import store_error

KEY_FILE: Final = "signing.key"
FORMAT: Final = "pilothouse-heads"


@dataclass(frozen=True, slots=True)
class Heads:
    """The last hash of everything at one moment: `NUMBER:HASH` of the journal ("" for none) and of each session."""

    at: str
    journal: str
    sessions: dict[str, str]
    public_key: str = ""


def write_heads(path: Path, state_dir: Path, heads: Heads) -> None:
    """Sign and write heads. The key is made at its first use, mode 0600. Raises StoreError or UsageError."""
    from cryptography.hazmat.primitives import serialization

    key = _key(state_dir)
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()
    value = {
        "format": FORMAT, "version": 1, "at": heads.at, "journal": heads.journal, "sessions": heads.sessions,
        "public_key": public,
    }  # fmt: skip
    signature = key.sign(canonical(value)).hex()
    try:
        path.write_text(json.dumps({**value, "signature": signature}, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written.", "Choose another place.", detail=str(error)) from error


def read_heads(path: Path, state_dir: Path) -> Heads:
    """Read heads and check their signature by the key in the state directory, or by their own where there is none.

    Raises UsageError for a file that is not one, is changed, or is signed by another key than ours.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        value = json.loads(path.read_bytes())
        signature = bytes.fromhex(value.pop("signature"))
        if value.get("format") != FORMAT or value.get("version") != 1:
            raise ValueError("another format")
        heads = Heads(str(value["at"]), str(value["journal"]), dict(value["sessions"]), str(value["public_key"]))
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(heads.public_key)).verify(signature, canonical(value))
    except OSError as error:
        raise UsageError(f"{path} cannot be read.", "Check its name.", detail=str(error)) from error
    except InvalidSignature as error:
        raise UsageError(f"{path} has been changed since it was signed.", "Use another copy.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} holds no signed heads.", "Make some with --export-heads.", detail=str(error)
        ) from error
    if (state_dir / KEY_FILE).exists():
        ours = _key(state_dir).public_key()
        if ours.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex() != heads.public_key:
            raise UsageError(f"{path} is signed by another key than {KEY_FILE} here.", "Use heads of this machine.")
    return heads


def now() -> str:
    """Return the moment as heads carry it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _key(state_dir: Path) -> Any:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = state_dir / KEY_FILE
    try:
        if not path.exists():
            made = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(made)
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise store_error(error, path) from error
    except ValueError as error:
        raise StoreError(f"{path} holds no key.", "Move it away; a new one is made.", detail=str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StoreError(f"{path} holds another kind of key.", "Move it away; a new one is made.")
    return key
