"""Runs a credential plugin (client.authentication.k8s.io, `ExecCredential`) with a time limit and no way to leak.

The official client's runner waits without end, hands its own standard input to the plugin and logs what it prints.
Nothing that a plugin prints gets into a text here: it may be the token.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from assistant.policy.limits import PLUGIN_SECONDS
from assistant.policy.sanitize import safe

_EARLY: Final = timedelta(seconds=30)
_STATUS: Final = ("token", "clientCertificateData", "clientKeyData")


class PluginError(Exception):
    """The plugin gave no credentials; the text says why, without a word of what it printed."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a plugin gave: a token, a client certificate with its key, or both; `expires` is None for never."""

    token: str = ""
    certificate_pem: str = ""
    key_pem: str = ""
    expires: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """Say whether it has run out, or is about to."""
        return self.expires is not None and now >= self.expires - _EARLY


def run_plugin(spec: Mapping[str, Any], cluster: Mapping[str, Any], seconds: float = PLUGIN_SECONDS) -> Credential:
    """Run a kubeconfig's `exec` entry and return what it gave. Raises PluginError. Blocks: call it in a thread."""
    name = str(safe(Path(str(spec.get("command") or "")).name))
    if str(spec.get("interactiveMode") or "") == "Always":
        raise PluginError(f"{name} wants a terminal, which the gate has none of")
    version = str(spec.get("apiVersion") or "")
    info: dict[str, Any] = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    if spec.get("provideClusterInfo"):
        info["spec"]["cluster"] = _cluster_info(cluster)
    extra = {str(item["name"]): str(item["value"]) for item in spec.get("env") or () if isinstance(item, Mapping)}
    environment = {**os.environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    command = [str(spec.get("command") or ""), *(str(argument) for argument in spec.get("args") or ())]
    return _credential(name, version, _output(name, command, environment, seconds))


def _output(name: str, command: list[str], environment: dict[str, str], seconds: float) -> bytes:
    try:
        process = subprocess.Popen(  # noqa: S603 - allowed by its absolute path in the settings
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise PluginError(f"{name} cannot be started ({error.strerror})") from error
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        # Its children hold the pipe open: the whole group has to go, or reading its end would take as long again.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise PluginError(f"{name} did not end within {seconds:.3g} s") from error
    if process.returncode:
        raise PluginError(f"{name} failed (exit {process.returncode})")
    return out


def _credential(name: str, version: str, out: bytes) -> Credential:
    try:
        value = json.loads(out)
    except ValueError:
        # Not chained: the error holds the text that could not be read.
        raise PluginError(f"{name} printed something that is no credential") from None
    status = value.get("status") if isinstance(value, dict) and value.get("kind") == "ExecCredential" else None
    if not isinstance(status, dict):
        raise PluginError(f"{name} printed something that is no credential")
    if value.get("apiVersion") != version:
        raise PluginError(f"{name} speaks another version of the credential API than the kubeconfig asks for")
    token, certificate, key = (status.get(field) or "" for field in _STATUS)
    whole = all(isinstance(text, str) for text in (token, certificate, key)) and bool(certificate) == bool(key)
    if not whole or not (token or certificate) or any(ch in token for ch in "\r\n"):
        raise PluginError(f"{name} printed a credential that cannot be used")
    return Credential(token, certificate, key, _moment(name, status.get("expirationTimestamp")))


def _moment(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        raise PluginError(f"{name} printed a credential that cannot be used") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _cluster_info(cluster: Mapping[str, Any]) -> dict[str, Any]:
    names = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
    info = {name: cluster[name] for name in names if name in cluster}
    for extension in cluster.get("extensions") or ():
        if isinstance(extension, Mapping) and extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info
