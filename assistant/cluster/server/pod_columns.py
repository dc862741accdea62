"""The columns of pods, apart because the status column is a decision table of its own (printPod in pkg/printers)."""

from __future__ import annotations

from datetime import datetime

from assistant.cluster.bundle import parse_time
from assistant.cluster.server.table import AGE, NAME, Column, Object, ago, at


def _restartable(spec: Object, name: str) -> bool:
    starters = spec.get("initContainers") or []
    return any(c.get("name") == name and c.get("restartPolicy") == "Always" for c in starters)


def _starting(pod: Object) -> str:
    """Return the status while init containers run, "" once they are through."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    total = len(spec.get("initContainers") or [])
    for index, container in enumerate(status.get("initContainerStatuses") or []):
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if _restartable(spec, container["name"]) and container.get("started"):
            continue
        if ended is not None:
            return f"Init:{ended.get('reason') or _signal(ended)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""


def _signal(ended: Object) -> str:
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def status(pod: Object, now: datetime) -> str:
    """Return what kubectl shows as the status of a pod."""
    spec, reported, meta = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    reason = str(reported.get("reason") or reported.get("phase") or "")
    for condition in reported.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    starting = _starting(pod)
    running = False
    if not starting:
        for container in reversed(reported.get("containerStatuses") or []):
            state = container.get("state") or {}
            waiting, ended = state.get("waiting") or {}, state.get("terminated")
            if waiting.get("reason"):
                reason = waiting["reason"]
            elif ended is not None:
                reason = ended.get("reason") or _signal(ended)
            elif container.get("ready") and "running" in state:
                running = True
        if reason == "Completed" and running:
            ready = any(
                c.get("type") == "Ready" and c.get("status") == "True" for c in reported.get("conditions") or []
            )
            reason = "Running" if ready else "NotReady"
    if meta.get("deletionTimestamp"):
        return "Unknown" if reported.get("reason") == "NodeLost" else "Terminating"
    return starting or reason or ("Pending" if spec else "Unknown")


def _ready(pod: Object, now: datetime) -> str:
    spec, reported = pod.get("spec") or {}, pod.get("status") or {}
    side = [s for s in reported.get("initContainerStatuses") or [] if _restartable(spec, s["name"])]
    total = len(spec.get("containers") or []) + sum(
        c.get("restartPolicy") == "Always" for c in spec.get("initContainers") or []
    )
    ready = [s for s in (*(reported.get("containerStatuses") or []), *side) if s.get("ready")]
    return f"{len(ready)}/{total}"


def _restarts(pod: Object, now: datetime) -> str:
    spec, reported = pod.get("spec") or {}, pod.get("status") or {}
    starting = bool(_starting(pod))
    found = [s for s in reported.get("initContainerStatuses") or [] if starting or _restartable(spec, s["name"])]
    found += [] if starting else reported.get("containerStatuses") or []
    total = sum(int(s.get("restartCount") or 0) for s in found)
    ends = [parse_time(((s.get("lastState") or {}).get("terminated") or {}).get("finishedAt")) for s in found]
    last = max((end for end in ends if end), default=None)
    return f"{total} ({ago(last.isoformat(), now)} ago)" if total and last else str(total)


def _gates(pod: Object, now: datetime) -> str:
    gates = [gate.get("conditionType") for gate in (pod.get("spec") or {}).get("readinessGates") or []]
    held = {c.get("type") for c in (pod.get("status") or {}).get("conditions") or [] if c.get("status") == "True"}
    return f"{sum(gate in held for gate in gates)}/{len(gates)}" if gates else "<none>"


COLUMNS = [
    NAME,
    Column("Ready", _ready),
    Column("Status", status),
    Column("Restarts", _restarts),
    AGE,
    Column("IP", at("status", "podIP", default="<none>"), wide=True),
    Column("Node", at("spec", "nodeName", default="<none>"), wide=True),
    Column("Nominated Node", at("status", "nominatedNodeName", default="<none>"), wide=True),
    Column("Readiness Gates", _gates, wide=True),
]
