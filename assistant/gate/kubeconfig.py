"""Writes the guarded kubeconfig: the context's own name and namespace, the gate's address, a data token."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Final

import yaml

USER: Final = "pilothouse-gate"


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_stale(folder: Path) -> None:
    """Remove the files of gates whose process is gone (kill -9): their tokens open nothing any more."""
    for path in folder.glob("*.json"):
        try:
            pid = int(json.loads(path.read_bytes())["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            # Written by nobody we know; not ours to remove.
            continue
        if not is_running(pid):
            path.unlink(missing_ok=True)
            for left in (path.with_suffix(".kubeconfig"), *folder.glob(f"{path.stem}.*.kubeconfig")):
                left.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Say whether a process of this number exists, whoever it belongs to."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return pid > 0


def is_guarded(path: Path) -> bool:
    """Say whether a file is a kubeconfig that a gate wrote; one that cannot be read is none."""
    try:
        value = yaml.safe_load(path.read_bytes())
        return bool([item["name"] for item in value["users"]] == [USER])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return False


def guarded_kubeconfig(url: str, ca_pem: bytes, token: str, context: str, namespace: str) -> bytes:
    """Return a kubeconfig with one context that points at the gate."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(ca_pem).decode()}
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": USER, "user": {"token": token}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": USER, "namespace": namespace}}],
        "current-context": context,
    }
    return yaml.safe_dump(value, sort_keys=False).encode()


def control_file(control_url: str, token: str, ca_pem: str, pid: int, context: str) -> bytes:
    """Return what `pilothouse approvals` needs to speak to a running gate."""
    value = {"control_url": control_url, "control_token": token, "ca_pem": ca_pem, "pid": pid, "context": context}
    return json.dumps(value).encode()
