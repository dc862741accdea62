"""Containers that the runtime or the kubelet cannot start: command, user, mounts, lifecycle hooks."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import json_patch, outside, pointer, set_path
from agents.expert.workload import Container, Workload, previous_good
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, text
from assistant.domain.view import ClusterView

REASONS = frozenset(
    {
        "RunContainerError",
        "CreateContainerError",
        "CreateContainerConfigError",
        "StartError",
        "ContainerCannotRun",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
NO_FILE = re.compile(
    r'exec: \\?"([^"\\]+)\\?".*?(no such file|not found in \$PATH|permission denied|is a directory)', re.DOTALL
)
ROOT = re.compile(r"runAsNonRoot and image will run as root|non-numeric user|runAsNonRoot.*root", re.IGNORECASE)


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return why a container cannot be started although its image is there."""
    message = text(container.waiting.get("message"))
    ended = text(container.ended.get("message"))
    starting = container.reason in REASONS or text(container.ended.get("reason")) in REASONS
    hook = next(
        (
            e
            for e in view.events_of(container.pod)
            if e.text("reason") == "FailedPostStartHook" and container.name in e.text("message")
        ),
        None,
    )
    shell = container.exit_code in (126, 127) and not container.running
    if not (starting or hook or shell):
        return None
    state = f"{container.status_path}.state.waiting" if message else container.ended_path
    event = next(
        (
            e
            for e in view.events_of(container.pod)
            if e.text("reason") == "Failed" and not e.text("message").endswith(container.reason)
        ),
        None,
    )
    cited = [view.cite(container.pod, state)] + ([view.cite(event, "message")] if event is not None else [])
    said = " ".join(filter(None, (message, ended, event.text("message") if event is not None else "")))
    if hook is not None:
        cited, field = [view.cite(hook, "message")], f"{container.path}.lifecycle.postStart"
        return _draft(
            workload,
            "bad-command",
            field,
            "its postStart hook fails, so the kubelet kills it",
            0.9,
            cited,
            _before(view, workload, container, "lifecycle"),
        )
    if ROOT.search(said):
        return _root(view, workload, container, cited)
    found = NO_FILE.search(said)
    if found or shell:
        what = found[1] if found else text((mapping(workload.thing.at(container.path)).get("command") or [""])[0])
        field = f"{container.path}.command"
        own = mapping(workload.thing.at(container.path))
        if own.get("command") is None and own.get("args") is not None:
            field = f"{container.path}.args"
        cited.append(view.cite(workload.thing, f"{container.path}.command", f"{container.path}.args"))
        why = f'its command "{what}" cannot be executed in the image' if what else "its command is not in the image"
        return _draft(
            workload,
            "bad-command",
            field,
            why,
            0.95 if found else 0.7,
            cited,
            [*_before(view, workload, container, "command"), *_without(workload, container)],
        )
    if starting and "not found" not in said and said:
        field = f"{container.path}"
        return _draft(
            workload,
            "security" if "denied" in said or "permitted" in said else "other",
            field,
            f"the kubelet cannot create it: {said.strip()[:160]}",
            0.7,
            cited,
            [],
        )
    return None


def _draft(
    workload: Workload,
    category: str,
    field: str,
    why: str,
    sure: float,
    cited: list[Citation],
    fixes: list[Fix],
) -> Draft:
    return Draft(
        category,
        workload.thing.target,
        field,
        f"{workload.name()} cannot start: {why}.",
        sure,
        Level.WORKLOAD,
        tuple(cited),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )


def _before(view: ClusterView, workload: Workload, container: Container, field: str) -> list[Fix]:
    """Return the fix that takes a field from the revision before, where that differs."""
    thing = workload.thing
    good = previous_good(view, thing) if thing.kind == "Deployment" else None
    if good is None or not container.path:
        return []
    own = mapping(thing.at(container.path))
    old = next((c for c in good.rows("spec.template.spec.containers") if c.get("name") == container.name), {})
    if old.get(field) == own.get(field):
        return []
    return [
        set_path(
            thing,
            f"{container.path}.{field}",
            old.get(field),
            f"Put the {field} of the revision before back",
            "that revision ran",
        )
    ]


def _without(workload: Workload, container: Container) -> list[Fix]:
    own = mapping(workload.thing.at(container.path))
    steps = [{"op": "remove", "path": pointer(f"{container.path}.{f}")} for f in ("command", "args") if f in own]
    if not steps:
        return [outside("Build the image so that its entry point exists", "the template overrides nothing")]
    return [
        json_patch(
            workload.thing,
            steps,
            "Remove the override, so that the image's own entry point runs",
            "the image knows how to start itself; the override names a file that it lacks",
            "put command and args back",
        )
    ]


def _root(view: ClusterView, workload: Workload, container: Container, cited: list[Citation]) -> Draft:
    thing = workload.thing
    inner = mapping(mapping(thing.at(container.path)).get("securityContext"))
    base = f"{container.path}.securityContext" if "runAsNonRoot" in inner else f"{workload.template}.securityContext"
    context = {**mapping(thing.at(base)), "runAsUser": _uid(view, thing.namespace)}
    cited.append(view.cite(thing, f"{base}.runAsNonRoot"))
    fix = json_patch(
        thing,
        [{"op": "add", "path": pointer(base), "value": context}],
        f"Run as user {context['runAsUser']}",
        "keeps the hardening; the image must be able to run as that user",
        "remove runAsUser again",
    )
    note = outside("Or build the image with a numeric non-root USER", "then no template has to say it")
    return Draft(
        "security",
        thing.target,
        base,
        f"{workload.name()} cannot start: runAsNonRoot is set, but the image runs as root and no runAsUser is given.",
        0.95,
        Level.WORKLOAD,
        tuple(cited),
        workload.keys,
        workload.keys,
        (fix, note),
    )


def _uid(view: ClusterView, namespace: str) -> int:
    """Return a user id that other pods of the namespace run as, 10001 where none says (above 10000 by convention)."""
    for pod in view.all("pods", namespace):
        for place in (
            pod.map("spec.securityContext"),
            *(mapping(c.get("securityContext")) for c in pod.rows("spec.containers")),
        ):
            user = place.get("runAsUser")
            if isinstance(user, int) and not isinstance(user, bool) and user > 0:
                return user
    return 10001
