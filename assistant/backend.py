"""The processes behind a session, started and ended here: gate, recorded cluster, and the one that asks models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.config import Settings, own_key
from assistant.errors import GateError, UsageError
from assistant.processes import ChildProcess

if TYPE_CHECKING:
    from assistant.cluster.client import ClusterClient
    from assistant.domain.ports import GateInfo
    from assistant.gate.control import ControlClient
    from assistant.model_worker.link import ModelWorker
    from assistant.practice import Incident


@dataclass(frozen=True, slots=True)
class Place:
    """Which cluster: a context of the user's kubeconfig, or a recorded one.

    `namespace` is empty for the context's own; `all_namespaces` looks at all of them. `source` is kept in the session,
    so that `place_of` finds the place again.
    """

    source: str = "live"
    namespace: str = ""
    all_namespaces: bool = False
    bundle: Path | None = None
    after: Path | None = None
    heals_when: Path | None = None
    request_log: Path | None = None


def practice_place(incident: Incident) -> Place:
    """Return the place of a practice incident."""
    return Place(
        f"practice:{incident.name}",
        incident.namespace,
        bundle=incident.bundle,
        after=incident.after,
        heals_when=incident.heals_when,
    )


def bundle_place(path: Path) -> Place:
    """Return the place of a support bundle. An `after` and a `heals_when.yaml` beside it let it heal."""
    path = path.expanduser().absolute()
    place = Place(f"bundle:{path}", bundle=path)
    heals = path.parent / "heals_when.yaml"
    for after in (path.parent / "after", path.parent / "after.tar.gz"):
        if after.exists() and heals.exists() and after != path:
            return replace(place, after=after, heals_when=heals)
    return place


def place_of(source: str) -> Place:
    """Return the place that a stored session was opened on. Raises UsageError for one that cannot be opened again."""
    kind, _, name = source.partition(":")
    if kind == "live":
        return Place()
    if kind == "bundle":
        return bundle_place(Path(name))
    if kind == "practice":
        from assistant.practice import incident

        return practice_place(incident(name))
    raise UsageError(f"The session was opened on {source!r}, which cannot be opened again.", "Replay it instead.")


class Backend:
    """Runs the children for one place. Use `open`, then `control` and `client`; `restart_gate` after its death."""

    def __init__(
        self, settings: Settings, place: Place, kubeconfig_out: Path | None = None,
        clients: Mapping[str, Path] | None = None,
    ) -> None:  # fmt: skip
        """Keep the settings; nothing is started yet. `clients` get kubeconfigs of their own, by name."""
        self._clients = clients or {}
        self._settings = settings
        self.place = place
        self._out = kubeconfig_out
        self._recorded: ChildProcess | None = None
        self._gate: ChildProcess | None = None
        self._worker: ModelWorker | None = None
        self._control: ControlClient | None = None
        self._client: ClusterClient | None = None
        self._restarting = asyncio.Lock()
        self.info: GateInfo | None = None

    @property
    def control(self) -> ControlClient:
        """Return the control side of the gate. Raises GateError before `open`."""
        if self._control is None:
            raise GateError("The gate is not running.", "Start the session again.")
        return self._control

    @property
    def client(self) -> ClusterClient:
        """Return the reader of the gate's data side. Raises GateError before `open`."""
        if self._client is None:
            raise GateError("The gate is not running.", "Start the session again.")
        return self._client

    @property
    def ready(self) -> dict[str, object]:
        """Return what the gate said when it was ready, without its tokens."""
        said = self._gate.ready if self._gate else {}
        return {name: value for name, value in said.items() if "token" not in name}

    def model_worker(self) -> ModelWorker:
        """Return the process that asks the language models of the settings, started at the first look.

        Raises UsageError where their key is missing.
        """
        from assistant.models import model_worker
        from assistant.session.clock import SystemClock

        if self._worker is None:
            self._worker = model_worker(self._settings, SystemClock())
        self._worker.start_ahead()
        return self._worker

    async def open(self) -> GateInfo:
        """Start what is needed and return what is behind the gate. Raises PilothouseError; nothing is left running."""
        try:
            if self.place.bundle is not None and self._recorded is None:
                # The gate needs what the recorded cluster says when it is ready, but can load its code meanwhile.
                self._recorded = await self._spawn("assistant.cluster.server", "recorded-cluster")
                self._gate = await self._spawn("assistant.gate", "gate")
                await self._recorded.begin(self._recorded_settings())
            return await self._start_gate()
        except BaseException:
            await self.close()
            raise

    async def restart_gate(self, dead: ControlClient) -> GateInfo:
        """Start a new gate in place of the one that `dead` spoke to; whatever that one held is void.

        Several sessions may follow one gate: where another of them has started a new one already, that is the one.
        """
        async with self._restarting:
            if self.info is not None and self._control is not None and self._control is not dead:
                return self.info
            await self._stop_gate()
            return await self._start_gate()

    async def revive(self) -> GateInfo:
        """Start a new gate where the old one does not answer any more; return what is behind the gate."""
        from assistant.gate.control import GateGoneError

        async with self._restarting:
            if self._control is not None and self._gate is not None and self._gate.alive:
                # A process that was killed a moment ago still counts as running; only an answer says that it does.
                with suppress(GateGoneError):
                    self.info = await self._control.info()
                    return self.info
            await self._stop_gate()
            return await self._start_gate()

    async def close(self) -> None:
        """End the children, the gate first; the others do not wait for the gate's last word."""
        recorded, self._recorded = self._recorded, None
        worker, self._worker = self._worker, None
        stops = [self._stop_gate()] + ([recorded.stop()] if recorded is not None else [])
        stops += [worker.close()] if worker is not None else []
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    async def _start_gate(self) -> GateInfo:
        if self._gate is None:
            self._gate = await self._spawn("assistant.gate", "gate")
        await self._gate.begin(self._gate_settings())
        from assistant.cluster.client import ClusterClient
        from assistant.gate.control import ControlClient

        said = self._gate.ready
        ca_pem = str(said["ca_pem"])
        self._control = ControlClient(str(said["control_url"]), str(said["control_token"]), ca_pem)
        self._client = ClusterClient(str(said["data_url"]), str(said["data_token"]), ca_pem)
        self.info = await self._control.info()
        return self.info

    async def _stop_gate(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._control is not None:
            await self._control.close()
        if self._gate is not None:
            await self._gate.stop()
        self._client = self._control = self._gate = None

    def _recorded_settings(self) -> dict[str, object]:
        place = self.place
        return {
            "bundle": str(place.bundle),
            "after": _text(place.after),
            "heals_when": _text(place.heals_when),
            "request_log": _text(place.request_log),
            "runtime_dir": str(self._settings.runtime),
        }

    def _gate_settings(self) -> dict[str, object]:
        settings = self._settings
        recorded = self._recorded.ready if self._recorded else {}
        return {
            "kubeconfig": str(recorded["kubeconfig"]) if recorded else settings.kubeconfig or None,
            "context": None if recorded else settings.context or None,
            "namespace": settings.namespace or self.place.namespace or None,
            "rules": [
                {"pattern": rule.pattern, "values": rule.values, "source": rule.source, "everywhere": rule.everywhere}
                for rule in settings.rules
            ],
            "protected_namespaces": list(settings.protected_namespaces),
            "approvers": dict(settings.approvers),
            "own_key": own_key(),
            "sources": {name: settings.sources.get(name, "default") for name in ("protected_namespaces", "approvers")},
            "state_dir": str(settings.state),
            "runtime_dir": str(settings.runtime),
            "kubeconfig_out": _text(self._out),
            "clients": {name: str(path) for name, path in self._clients.items()},
            "production": False if recorded else None,
            "recorded": bool(recorded),
            "hold_seconds": settings.hold_seconds,
            "open_seconds": settings.open_seconds,
            "exec_allow": list(settings.exec_allow),
        }

    async def _spawn(self, module: str, name: str) -> ChildProcess:
        from assistant.models import key_variables

        # Everything else of the environment stays: plugins that fetch a cluster's credentials live on it.
        without = key_variables(self._settings)
        return await ChildProcess.spawn(module, self._settings.state / "logs" / f"{name}.log", without=without)


def _text(path: Path | None) -> str | None:
    return str(path) if path else None
