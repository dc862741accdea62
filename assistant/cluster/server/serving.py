"""Starts a recorded cluster on a running event loop and writes the kubeconfig that leads to it."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import web

from assistant import loopback
from assistant.cluster.bundle import Bundle, read_bundle
from assistant.cluster.server.app import Api, RequestLog
from assistant.cluster.server.clock import CapturedClock, Clock
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.healing import Healing, read_conditions
from assistant.errors import UsageError


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve. `heal_seconds` are the delays of the two stages; `after` and `heals_when` go together."""

    bundle: Path
    after: Path | None = None
    heals_when: Path | None = None
    heal_seconds: tuple[float, float] = (1.5, 4.0)
    request_log: Path | None = None
    runtime_dir: Path | None = None


@dataclass(slots=True)
class RecordedCluster:
    """A running server. `cluster` and `healing` are its inside, for tests."""

    url: str
    token: str
    certificate_pem: bytes
    name: str
    namespace: str
    kubeconfig: Path | None
    cluster: Cluster
    healing: Healing | None
    _runner: web.AppRunner
    _log: RequestLog

    async def close(self) -> None:
        """End every open stream and stop; the kubeconfig is removed."""
        await self._runner.cleanup()
        self._log.close()
        if self.kubeconfig is not None:
            self.kubeconfig.unlink(missing_ok=True)


async def start(settings: Settings, clock: Clock | None = None) -> RecordedCluster:
    """Serve a bundle on a free port of 127.0.0.1. Raises BundleError, UsageError or OSError."""
    if (settings.after is None) != (settings.heals_when is None):
        raise UsageError(
            "A second recorded state needs its condition, and the other way round.", "Give both or neither."
        )
    bundle = read_bundle(settings.bundle)
    cluster = Cluster(bundle, clock or CapturedClock(bundle.captured_at))
    healing = None
    if settings.after is not None and settings.heals_when is not None:
        conditions = read_conditions(settings.heals_when)
        healing = Healing(cluster, read_bundle(settings.after), conditions, settings.heal_seconds)
    token = secrets.token_urlsafe(32)
    certificate = loopback.identity("pilothouse-recorded-cluster")
    log = RequestLog(str(settings.request_log) if settings.request_log else None)
    runner = web.AppRunner(Api(cluster, token, log).application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate.context)
    await site.start()
    address: tuple[str, int] = runner.addresses[0]
    url = f"https://127.0.0.1:{address[1]}"
    namespace = bundle.namespaces[0] if len(bundle.namespaces) == 1 else ""
    kubeconfig = None
    if settings.runtime_dir is not None:
        kubeconfig = _write_kubeconfig(settings.runtime_dir, bundle, url, token, certificate.certificate_pem, namespace)
    return RecordedCluster(
        url, token, certificate.certificate_pem, bundle.name, namespace, kubeconfig, cluster, healing, runner, log
    )


def _write_kubeconfig(folder: Path, bundle: Bundle, url: str, token: str, certificate: bytes, namespace: str) -> Path:
    """Write the kubeconfig, readable by its owner only. JSON is YAML, so kubectl takes it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    context = {"cluster": bundle.name, "user": bundle.name} | ({"namespace": namespace} if namespace else {})
    authority = base64.b64encode(certificate).decode()
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": bundle.name, "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": bundle.name, "user": {"token": token}}],
        "contexts": [{"name": bundle.name, "context": context}],
        "current-context": bundle.name,
    }
    path = folder / f"recorded-{bundle.name}-{secrets.token_hex(4)}.kubeconfig"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(value))
    return path
