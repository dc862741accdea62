"""Builds one gate from its settings and takes it down again."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assistant.domain.ports import GateInfo
from assistant.gate.broker import Broker
from assistant.gate.clients import DEFAULT, Clients, Kubeconfigs
from assistant.gate.connecting import ConnectExaminer
from assistant.gate.context import load
from assistant.gate.control_api import ControlApi
from assistant.gate.governor import Governor
from assistant.gate.identity import identify
from assistant.gate.kubeconfig import control_file, guarded_kubeconfig, remove_stale, write_private
from assistant.gate.proxy import Proxy
from assistant.gate.sender import Sender
from assistant.gate.server import Door
from assistant.gate.settings import Settings, check, in_force, policy_of
from assistant.gate.tunnel import Tunnels
from assistant.gate.upstream import Upstream
from assistant.loopback import identity
from assistant.policy.limits import POLICY_VERSION
from assistant.policy.redact import Redactor
from assistant.store.journal import Journal, open_journal


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go backwards, also through a suspended laptop where the system can tell."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class Running:
    """A gate that answers, and what its parent is told."""

    ready: dict[str, Any]
    door: Door
    broker: Broker
    upstream: Upstream
    journal: Journal
    kubeconfigs: Kubeconfigs
    info_file: Path
    tunnels: Tunnels

    async def stop(self) -> None:
        """Void what waits, drop the connections, remove the files that hold tokens."""
        self.broker.close()
        await self.tunnels.close()
        await self.door.close()
        await self.upstream.close()
        self.journal.close()
        self.kubeconfigs.remove()
        self.info_file.unlink(missing_ok=True)


async def start(settings: Settings) -> Running:
    """Start a gate. Raises ClusterError, GateError or StoreError, each with meaning and hint."""
    # Before anything else: where the rules cannot be read, there is no gate, rather than one with rules of its own.
    check(settings)
    gate = secrets.token_hex(6)
    clock = SystemClock()
    upstream = await asyncio.to_thread(load, settings.kubeconfig, settings.context, settings.exec_allow)
    upstream.looks_at_clock = not settings.recorded
    try:
        cluster = await identify(upstream)
    except BaseException:
        await upstream.close()
        raise
    journal = open_journal(Path(settings.state_dir), gate, cluster.fingerprint)
    redactor = Redactor(os.urandom(32))
    policy = policy_of(settings, upstream.context)
    production = bool(policy.production)
    examiner = ConnectExaminer(
        upstream, cluster, redactor, clock, production=production, open_seconds=settings.open_seconds,
        policy=[POLICY_VERSION, *policy.as_list()],
    )  # fmt: skip
    sender = None if policy.mode == "observe" else Sender(upstream, redactor)
    lock = Path(settings.state_dir, f"sending-{cluster.fingerprint[:16]}.lock")
    governor = Governor(policy, clock, people=settings.approvers, own=settings.own_key, lock=lock)
    broker = Broker(examiner, sender, journal, clock, governor, open_seconds=settings.open_seconds)
    upstream.distrusted = broker.distrust
    tls = identity("pilothouse-gate")
    # Our session and the clients of guarded kubeconfigs are told apart: what a model may see is not the same.
    clients, control_token = Clients(), secrets.token_urlsafe(32)
    door = Door(tls, clients, control_token)
    url = await door.listen()
    namespace = settings.namespace or upstream.namespace
    runtime = Path(settings.runtime_dir)
    remove_stale(runtime / "gates")
    info_file = runtime / "gates" / f"{gate}.json"

    def render(token: str) -> bytes:
        return guarded_kubeconfig(url, tls.certificate_pem, token, upstream.context, namespace)

    kubeconfigs = Kubeconfigs(clients, render, runtime / "gates", gate)
    try:
        kubeconfig = kubeconfigs.issue(DEFAULT, Path(settings.kubeconfig_out) if settings.kubeconfig_out else None)
        kubeconfigs.issue_all(settings.clients)
    except BaseException:
        kubeconfigs.remove()
        await door.close()
        await upstream.close()
        journal.close()
        raise
    ca_pem = tls.certificate_pem.decode()
    write_private(info_file, control_file(url, control_token, ca_pem, os.getpid(), upstream.context))
    info = GateInfo(
        gate, upstream.context, upstream.server, cluster.server_version, namespace, cluster.user, policy.mode,
        production, url, str(kubeconfig), in_force(settings, policy), notes=upstream.notes,
    )  # fmt: skip
    tunnels = Tunnels(journal)
    broker.end_sessions = tunnels.stop
    proxy = Proxy(
        upstream, broker, redactor, journal, tunnels, hold_seconds=settings.hold_seconds, protected=policy.protected,
        clients=clients,
    )  # fmt: skip
    door.open(proxy, ControlApi(broker, info, policy.protected, journal, kubeconfigs))
    ready = {
        "ready": True, "gate": gate, "control_url": url, "control_token": control_token, "ca_pem": ca_pem,
        "kubeconfig": str(kubeconfig), "data_url": url, "data_token": clients.session_token,
        "clients": kubeconfigs.paths(),
    }  # fmt: skip
    return Running(ready, door, broker, upstream, journal, kubeconfigs, info_file, tunnels)
