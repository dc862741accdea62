"""The second person's part of `approvals`: a key of one's own, a change to read as a file, and the signed agreement."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from assistant.config import key_path, own_key
from assistant.domain.proposal import Consent, Proposal, ProposalState
from assistant.errors import UsageError
from assistant.policy.sanitize import safe

REQUEST: Final = "pilothouse-change"
SIGNED: Final = "pilothouse-agreement"
# A proposal holds a change of at most 3 MiB and its diff; anything larger is none.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024


def make_key() -> int:
    """Print this user's public key, making the pair at the first use."""
    public = own_key()
    if not public:
        from assistant.gate import consent

        public = consent.make_key(key_path(), _new_passphrase())
        print(safe(f"Made {key_path()}; it is yours alone."), file=sys.stderr)
    print(f"{public} {safe(getpass.getuser(), multiline=False)}")
    print('Colleagues add it under [approvers] in their settings: your-name = "that line"', file=sys.stderr)
    return 0


def _new_passphrase() -> str:
    if not sys.stdin.isatty():
        return ""
    first = getpass.getpass("Passphrase for the new key (empty for none): ")
    if first and getpass.getpass("Once more: ") != first:
        raise UsageError("The two are not the same.", "Try again; no key was made.")
    return first


def export(proposal: Proposal, state: ProposalState, output: Path | None) -> int:
    """Write a change for somebody else to read and sign."""
    from assistant.wire import to_builtins

    if state is not ProposalState.OPEN:
        raise UsageError(f"{proposal.id} is {state.value} already.", "Only an open change can be agreed to.")
    _write({"kind": REQUEST, "version": 1, "proposal": to_builtins(proposal)}, output)
    if output is not None:
        print(safe(f"Send {output} to a colleague, who answers with: pilothouse approvals sign {output}"))
    return 0


def sign(given: argparse.Namespace) -> int:
    """Show a colleague's change; with its digest typed, write the signed agreement."""
    import msgspec

    from assistant.plain.card import DIGEST_CHARACTERS, card_lines
    from assistant.wire import convert, to_builtins

    raw: dict[str, Any] = _read(given.file, REQUEST).get("proposal") or {}
    try:
        proposal = convert(Proposal, raw)
    except msgspec.ValidationError as error:
        raise UsageError(f"{given.file} holds no change.", "Ask for it anew.", detail=str(error)[:200]) from error
    now = datetime.now(UTC)
    print("\n".join(card_lines(proposal, now, answering=False)), file=sys.stderr)
    name = f" --name {safe(proposal.typed_name, multiline=False)}" if proposal.typed_name else ""
    how = f"To agree: pilothouse approvals sign {given.file} {proposal.digest[:DIGEST_CHARACTERS]}{name} -o SIGNED"
    if not given.digest:
        print(safe(how, multiline=False), file=sys.stderr)
        return 0
    prefix = given.digest.lower()
    if len(prefix) < DIGEST_CHARACTERS or not proposal.digest.startswith(prefix):
        raise UsageError("The digest typed is not the one of this change.", how)
    if given.name != proposal.typed_name:
        raise UsageError("The name typed is not the one that this change needs.", how)
    if not proposal.approvable:
        raise UsageError(f"This cannot be approved: {proposal.not_approvable}", "Ask for another change.")
    if now >= proposal.expires:
        raise UsageError("This change has expired.", "Ask for it anew.")
    # As it came, not as it was understood: fields of a newer version are signed too, and the gate has them.
    consent = _signed(given.key, raw, now)
    _write({"kind": SIGNED, "version": 1, "consent": to_builtins(consent)}, given.output)
    return 0


def _signed(key: Path | None, proposal: dict[str, Any], now: datetime) -> Consent:
    from assistant.gate import consent

    path = key.expanduser() if key is not None else key_path()
    try:
        private = consent.load_key(path, "")
    except TypeError:
        if not sys.stdin.isatty():
            raise UsageError(f"The key {path} has a passphrase.", "Sign in a terminal.") from None
        private = consent.load_key(path, getpass.getpass(f"Passphrase of {path}: "))
    return consent.sign(private, proposal, now)


def read_consent(path: Path) -> Consent:
    """Read what a second person signed. Raises UsageError."""
    import msgspec

    from assistant.wire import convert

    try:
        return convert(Consent, _read(path, SIGNED).get("consent"))
    except msgspec.ValidationError as error:
        raise UsageError(f"{path} holds no agreement.", "Ask for it anew.", detail=str(error)[:200]) from error


def _read(path: Path, kind: str) -> dict[str, Any]:
    try:
        with path.expanduser().open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        value = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read.", "Ask for it anew.", detail=str(error)[:200]) from error
    if not isinstance(value, dict) or value.get("kind") != kind or value.get("version") != 1:
        raise UsageError(
            f"{path} is no {kind.removeprefix('pilothouse-')} that this version reads.", "Update both sides."
        )
    return value


def _write(value: dict[str, Any], output: Path | None) -> None:
    text = json.dumps(value, ensure_ascii=True, indent=1) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    try:
        handle = os.open(output.expanduser(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{output} cannot be written.", "Name another file.", detail=str(error)) from error
