"""Containers that the runtime or the kubelet cannot start: command, working directory, user, mounts, hooks."""

from __future__ import annotations

import re

from agents.expert.analyzers import subpaths
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import json_patch, outside, pointer, set_path
from agents.expert.workload import Container, Workload, previous_good
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, text
from assistant.domain.view import ClusterView, Thing

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
NO_FOLDER = re.compile(r'chdir to cwd \(\\?"([^"\\]+)')
FORMAT = re.compile(r"exec format error")
ROOT = re.compile(r"runAsNonRoot and image will run as root|non-numeric user|runAsNonRoot.*root", re.IGNORECASE)
USER = re.compile(r"unable to find (user|group)|no matching entries in (passwd|group)", re.IGNORECASE)
PROFILE = re.compile(r"seccomp|apparmor", re.IGNORECASE)


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return why a container cannot be started although its image is there."""
    message = text(container.waiting.get("message"))
    ended = text(container.ended.get("message"))
    starting = container.reason in REASONS or text(container.ended.get("reason")) in REASONS
    hook = _hook(view, container)
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
        field = f"{container.path}.lifecycle.postStart"
        return _draft(
            workload,
            "bad-command",
            field,
            "its postStart hook fails, so the kubelet kills it",
            0.9,
            [view.cite(hook, "message"), view.cite(container.pod, state), view.cite(workload.thing, field)],
            [
                *before(view, workload, container, "lifecycle"),
                outside(
                    "Correct the command of the hook, or move it into the image", "a failing hook kills its container"
                ),
            ],
        )
    if ROOT.search(said):
        return _root(view, workload, container, cited)
    if FORMAT.search(said):
        note = outside("Build the image for the nodes' platform", "no other change helps")
        return _draft(
            workload, "image", f"{container.path}.image", "its image is built for another processor", 0.9, cited, [note]
        )
    return (
        subpaths.judge(view, workload, container, said, cited)
        or _setting(view, workload, container, said, cited)
        or _command(view, workload, container, said, shell, cited)
        or _other(workload, container, said, starting, cited)
    )


def _hook(view: ClusterView, container: Container) -> Thing | None:
    """Return the event of a postStart hook that failed, or None; which container it was stands in its fieldPath."""
    if not mapping(mapping(container.spec.get("lifecycle")).get("postStart")):
        return None
    for event in view.events_of(container.pod):
        about = event.text("involvedObject.fieldPath")
        own = f"{{{container.name}}}" in about or (not about and container.name in event.text("message"))
        if event.text("reason") == "FailedPostStartHook" and (own or len(container.pod.rows("spec.containers")) == 1):
            return event
    return None


def _setting(
    view: ClusterView, workload: Workload, container: Container, said: str, cited: list[Citation]
) -> Draft | None:
    """Judge what the runtime refuses by a field of its own: working directory, user, profile."""
    if folder := NO_FOLDER.search(said):
        field = f"{container.path}.workingDir"
        fixes = before(view, workload, container, "workingDir")
        if mapping(workload.thing.at(container.path)).get("workingDir"):
            fixes.append(
                set_path(
                    workload.thing, field, None, "Use the working directory of the image", "the image knows its own"
                )
            )
        why = f"its working directory {folder[1]} is not in the image"
        return _draft(
            workload,
            "bad-command",
            field,
            why,
            0.95,
            [*cited, view.cite(workload.thing, field)],
            fixes or [outside(f"Create {folder[1]} in the image", "the image sets it")],
        )
    base = f"{container.path}.securityContext"
    if not mapping(workload.thing.at(base)):
        base = f"{workload.template}.securityContext"
    if USER.search(said):
        note = outside(
            "Run as a numeric user that needs no entry in the image's passwd file", "the image has no such user"
        )
        return _draft(
            workload,
            "security",
            base,
            "the user that it is to run as is not in the image (securityContext)",
            0.9,
            [*cited, view.cite(workload.thing, base)],
            [*before(view, workload, container, "securityContext"), note],
        )
    if PROFILE.search(said):
        kind = "appArmorProfile" if "apparmor" in said.lower() else "seccompProfile"
        fix = set_path(
            workload.thing,
            f"{base}.{kind}",
            {"type": "RuntimeDefault"},
            "Use the runtime's default profile",
            "keeps a profile in force; every node has this one",
        )
        note = outside("Or put the profile on every node that may run it", "right if this profile is demanded")
        return _draft(
            workload,
            "security",
            f"{base}.{kind}",
            f"the node does not have its {kind}",
            0.9,
            [*cited, view.cite(workload.thing, base)],
            [fix, note],
        )
    return None


def _command(
    view: ClusterView, workload: Workload, container: Container, said: str, shell: bool, cited: list[Citation]
) -> Draft | None:
    found = NO_FILE.search(said)
    if not found and not shell:
        return None
    what = found[1] if found else text((mapping(workload.thing.at(container.path)).get("command") or [""])[0])
    own = mapping(workload.thing.at(container.path))
    given = own.get("command") is None and own.get("args") is not None
    field = f"{container.path}.{'args' if given else 'command'}"
    cited.append(view.cite(workload.thing, f"{container.path}.command", f"{container.path}.args"))
    why = f'its command "{what}" cannot be executed in the image' if what else "its command is not in the image"
    return _draft(
        workload,
        "bad-command",
        field,
        why,
        0.95 if found else 0.75,
        cited,
        [*before(view, workload, container, "command"), *without(workload, container)],
    )


def _other(workload: Workload, container: Container, said: str, starting: bool, cited: list[Citation]) -> Draft | None:
    if not starting or "not found" in said or not said:
        return None
    return _draft(
        workload,
        "security" if "denied" in said or "permitted" in said else "other",
        f"{container.path}",
        f"the kubelet cannot create it: {said.strip()[:160]}",
        0.7,
        cited,
        [outside("Act on what the runtime says", "no field of the template is plainly wrong")],
    )


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


def before(view: ClusterView, workload: Workload, container: Container, field: str) -> list[Fix]:
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


def without(workload: Workload, container: Container) -> list[Fix]:
    """Return the fix that drops command and args, so that the image's own entry point runs."""
    own = mapping(workload.thing.at(container.path))
    steps = [{"op": "remove", "path": pointer(f"{container.path}.{f}")} for f in ("command", "args") if f in own]
    if not steps:
        return [outside("Build the image so that its entry point exists", "the template overrides nothing")]
    return [
        json_patch(
            workload.thing,
            steps,
            "Remove the override, so that the image's own entry point runs",
            "the image knows how to start itself; the override names what it does not have",
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
