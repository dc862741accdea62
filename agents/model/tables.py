"""Lists and events in one line an object: what a person looks at first, the unwell ones in front."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from agents.expert.workload import is_ready
from agents.model.logtext import pattern_of
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import ClusterView, Thing, event_count, event_time

MESSAGE_CHARACTERS: Final = 260
AT_ONCE: Final = 500


def age(span: timedelta) -> str:
    """Return a time span as kubectl writes it: 42s, 17m, 5h, 12d."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


async def rows_of(view: ClusterView, things: Sequence[Thing]) -> list[str]:
    """Return one line an object, the unwell ones first; lets others work now and then, for there may be 20,000."""
    told: list[tuple[bool, str]] = []
    for start in range(0, len(things), AT_ONCE):
        told += [_row(view, thing) for thing in things[start : start + AT_ONCE]]
        await asyncio.sleep(0)
    return [line for _, line in sorted(told, key=lambda each: each[0])]


def _row(view: ClusterView, thing: Thing) -> tuple[bool, str]:
    name = f"{thing.namespace}/{thing.name}" if thing.namespace and thing.namespace != view.namespace else thing.name
    well, facts = _facts(view, thing)
    if thing.deleting:
        well, facts = False, [*facts, "deletion asked for"]
    parts = [name, *facts, f"age {age(view.now - thing.created)}"]
    return well, "  ".join(part for part in parts if part)


def _facts(view: ClusterView, thing: Thing) -> tuple[bool, list[str]]:
    match thing.kind:
        case "Pod":
            return _pod(thing)
        case "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet":
            wanted = thing.number("status.desiredNumberScheduled", thing.number("spec.replicas", 1))
            ready = thing.number("status.numberReady", thing.number("status.readyReplicas"))
            images = [text(c.get("image")) for c in thing.rows("spec.template.spec.containers")]
            return ready >= wanted, [f"ready {ready}/{wanted}", *images[:3]]
        case "Service":
            ports = [f"{p.get('port')}>{p.get('targetPort', '')}" for p in thing.rows("spec.ports")]
            chosen = ",".join(f"{k}={v}" for k, v in thing.map("spec.selector").items())
            return True, [thing.text("spec.type"), " ".join(ports), f"selects {chosen}" if chosen else "no selector"]
        case "ConfigMap" | "Secret":
            return True, ["keys " + ", ".join([*thing.map("data"), *thing.map("binaryData")][:20])]
        case "Role" | "ClusterRole":
            rules = [(texts(r.get("verbs")), texts(r.get("resources"))) for r in thing.rows("rules")[:6]]
            return True, [f"{'/'.join(verbs)} {'/'.join(kinds)}" for verbs, kinds in rules]
        case "RoleBinding" | "ClusterRoleBinding":
            to = [f"{text(s.get('kind'))} {text(s.get('name'))}" for s in thing.rows("subjects")]
            return True, [f"gives {thing.text('roleRef.name')} to", *to[:4]]
        case "PersistentVolumeClaim" | "PersistentVolume" | "Namespace":
            phase = thing.text("status.phase")
            return phase in ("Bound", "Active", "Available"), [phase, thing.text("spec.storageClassName")]
        case "EndpointSlice":
            ends = thing.rows("endpoints")
            ready = sum(mapping(e.get("conditions")).get("ready") is not False for e in ends)
            ports = [f"{p.get('name') or ''}:{p.get('port')}" for p in thing.rows("ports")]
            return bool(ready), [f"ready {ready}/{len(ends)}", *ports]
        case _:
            return _conditions(thing)


def _pod(pod: Thing) -> tuple[bool, list[str]]:
    statuses = [*pod.rows("status.initContainerStatuses"), *pod.rows("status.containerStatuses")]
    ready = sum(bool(s.get("ready")) for s in pod.rows("status.containerStatuses"))
    words: list[str] = []
    for status in statuses:
        state = mapping(status.get("state"))
        waiting, ended = mapping(state.get("waiting")), mapping(state.get("terminated"))
        before = mapping(mapping(status.get("lastState")).get("terminated"))
        word = text(waiting.get("reason")) or ("" if ended.get("exitCode") == 0 else text(ended.get("reason")))
        if word:
            last = f" last {text(before.get('reason'))} exit {before.get('exitCode')}" if before else ""
            words.append(f"{text(status.get('name'))} {word}{last}")
    restarts = sum(s.get("restartCount") or 0 for s in statuses if isinstance(s.get("restartCount"), int))
    phase = pod.text("status.reason") or pod.text("status.phase")
    unbound = [
        text(c.get("message")) for c in pod.rows("status.conditions")
        if c.get("type") == "PodScheduled" and c.get("status") == "False"
    ]  # fmt: skip
    facts = [
        f"{ready}/{len(pod.rows('spec.containers'))}",
        phase,
        *words[:3],
        *[m[:MESSAGE_CHARACTERS] for m in unbound],
    ]
    facts += [f"restarts {restarts}"] if restarts else []
    return (is_ready(pod) or phase == "Succeeded") and not words, [*facts, pod.text("spec.nodeName")]


def _conditions(thing: Thing) -> tuple[bool, list[str]]:
    conditions = thing.rows("status.conditions")
    # Which way a condition is good differs from kind to kind; these are the ones on which all agree.
    bad = [
        c for c in conditions
        if c.get("status") == "False" and c.get("type") in ("Ready", "Available", "Accepted", "Programmed", "Synced",
                                                            "ResolvedRefs", "Admitted", "Established", "Healthy")
    ]  # fmt: skip
    facts = [f"{c.get('type')}=False {text(c.get('reason'))}" for c in bad[:3]]
    if not facts and conditions:
        facts = [f"{c.get('type')}={c.get('status')}" for c in conditions[:4]]
    phase = thing.text("status.phase") or thing.text("status.state")
    return not bad, [phase, *facts]


def events_in(view: ClusterView, about: Iterable[Thing] | None, namespace: str) -> list[str]:
    """Return the events, of these objects or of a namespace, alike ones as one: warnings first, then the latest.

    Alike are those that differ in addresses, numbers and ids only; the message of the latest is shown.
    """
    found = view.all("events", namespace) if about is None else [e for t in about for e in view.events_of(t)]
    groups: dict[tuple[str, str, str, str], list[Thing]] = defaultdict(list)
    for event in found:
        who = event.map("involvedObject") or event.map("regarding")
        about_what = f"{text(who.get('kind'))}/{text(who.get('name'))}"
        message = event.text("message") or event.text("note")
        groups[(event.text("type"), event.text("reason"), about_what, pattern_of(message))].append(event)
    lines = []
    for (level, reason, who_name, _), same in groups.items():
        latest, count = max(same, key=event_time), sum(event_count(e) for e in same)
        last = event_time(latest)
        said = " ".join((latest.text("message") or latest.text("note")).split())[:MESSAGE_CHARACTERS]
        lines.append(
            (
                level != "Warning",
                -last.timestamp(),
                f"x{count} {age(view.now - last)} ago {level} {reason} {who_name}: {said}",
            )
        )
    return [line for _, _, line in sorted(lines)]


def owners_of(view: ClusterView, thing: Thing) -> list[Thing]:
    """Return an object and everything below it whose events tell of it: its sets and pods."""
    below = [pod for pod in view.pods_of(thing) if pod is not thing]
    sets = [t for r in ("replicasets.apps", "jobs.batch") for t in view.all(r, thing.namespace)
            if any(text(o.get("name")) == thing.name and text(o.get("kind")) == thing.kind
                   for o in rows(t.at("metadata.ownerReferences")))]  # fmt: skip
    return [thing, *sets, *below]
