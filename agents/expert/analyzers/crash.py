"""Containers that exit by themselves: the log's own reason, joined to the setting, file or name that it is about."""

from __future__ import annotations

import re

from agents.expert import logs
from agents.expert.analyzers import arguments, files, names, permissions, values
from agents.expert.analyzers.values import before, make
from agents.expert.draft import Draft, Fix
from agents.expert.lacking import lacking
from agents.expert.logs import Complaint, complaint, last_words
from agents.expert.remedies import json_patch, nearest, outside, pointer, restart, set_data
from agents.expert.settings import Setting, settings_of
from agents.expert.workload import Container, Workload, log_lines
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView

LOUD = re.compile(
    r"\b(error|fatal|panic|exception|fail(ed|ure)?|traceback|denied|refused|timed? ?out)\b", re.IGNORECASE
)
"""Words of a log that ended with code 0 and still has something to complain about."""


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return why a container exits, joined as far as the evidence allows; None where it does not exit."""
    if container.running and container.ready and container.restarts < 3:
        return None
    if not container.ended and container.reason != "CrashLoopBackOff":
        return None
    lines = log_lines(view, container)
    said = complaint(lines)
    state = view.cite(container.pod, f"{container.status_path}.state.waiting", container.ended_path)
    if said is None or (_done(container) and not LOUD.search(said.text)):
        words = None if _done(container) else last_words(lines)
        joined = None
        if words is not None and container.exit_code and not container.running:
            cited = (view.cite_log(words.log, words.decisive), state)
            joined = values.judge(view, workload, container, words, settings_of(view, workload, container), cited)
        return joined or _silent(view, workload, container, state)
    cited = (view.cite_log(said.log, said.decisive), state)
    settings = settings_of(view, workload, container)
    for judge in (permissions.judge, arguments.judge, values.judge, files.judge, names.judge, _required):
        draft = judge(view, workload, container, said, settings, cited)
        if draft is not None:
            return draft
    return _generic(view, workload, container, said, cited)


def _required(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft | None:
    """Name the variable that the log misses and that nothing sets; a near miss in a ConfigMap is the likelier fault."""
    have = {s.name for s in settings}
    declared = {text(e.get("name")) for e in rows(container.spec.get("env"))}
    name = next((word for word in lacking(said) if word not in have | declared), "")
    if not name:
        return None
    value = {m["name"]: m["value"] for m in logs.ASSIGNED.finditer(said.text)}.get(name, "")
    thing, fixes = workload.thing, list[Fix]()
    undo = before(view, workload)
    near = next((s for s in settings if s.name == nearest(name, [x.name for x in settings if not x.is_file])), None)
    if near is not None and near.holder.kind == "ConfigMap" and not undo and _alike(name, near.name):
        return make(
            workload,
            "app-config",
            near,
            near.path,
            f"it needs {name}, which nothing sets ({near.holder.kind} {near.holder.name} has {near.name})",
            0.8,
            (*cited, view.cite(near.holder, near.path)),
            change_name(view, workload, near, name),
        )
    field = f"{container.path}.env[{name}]"
    category = "init-container" if container.init else "app-config"
    if undo:
        field, category = f"{container.path}.image", "rollout"
        cited = (*cited, view.cite(thing, field))
    fixes += undo
    if value and container.path:
        fixes.append(add_env(workload, container, name, value, "the log names the value"))
    if not fixes:
        fixes.append(outside(f"Set {name} for container {container.name}", "its value must come from its owner"))
    release = " since this release" if undo else ""
    return make(
        workload,
        category,
        None,
        field,
        f"it needs the variable {name}{'=' + value if value else ''} (env), which is not set{release}",
        0.9,
        cited,
        fixes,
    )


def change_name(view: ClusterView, workload: Workload, near: Setting, name: str) -> list[Fix]:
    """Return the fix that adds a key under the name that the application reads, with the value of the near miss."""
    again = restart(view, workload)
    fix = set_data(
        near.holder,
        name,
        near.value,
        f"Add {name} to ConfigMap {near.holder.name}",
        f"with the value of {near.name}, which looks like the same setting misspelt",
    )
    return [fix, *([again] if again is not None else [])]


def _alike(one: str, two: str) -> bool:
    return one.replace("_", "") == two.replace("_", "") or (
        bool(nearest(one, [two])) and one.split("_")[0] == two.split("_")[0]
    )


def add_env(workload: Workload, container: Container, name: str, value: str, reason: str) -> Fix:
    """Return the fix that adds one environment variable to a container."""
    own = mapping(workload.thing.at(container.path))
    step = {"name": name, "value": value}
    where = pointer(f"{container.path}.env")
    patch = (
        {"op": "add", "path": f"{where}/-", "value": step}
        if own.get("env")
        else {"op": "add", "path": where, "value": [step]}
    )
    return json_patch(workload.thing, [patch], f"Set {name}={value}", reason, f"remove {name} again")


def _generic(
    view: ClusterView, workload: Workload, container: Container, said: Complaint, cited: tuple[Citation, ...]
) -> Draft:
    undo = before(view, workload)
    field = container.path or "spec"
    category = (
        "init-container" if container.init else "job" if workload.thing.kind in ("Job", "CronJob") else "app-config"
    )
    if undo:
        category, field = "rollout", f"{container.path}.image"
        cited = (*cited, view.cite(workload.thing, field))
    note = outside(f"Act on what {container.name} says: {said.shown}", "no field of the cluster holds this reason")
    what = "init container" if container.init else "container"
    return make(
        workload,
        category,
        None,
        field,
        f"{what} {container.name} exits with code {container.exit_code}: {said.shown}",
        0.8 if undo or container.init else 0.6,
        cited,
        [*undo, note],
    )


def _done(container: Container) -> bool:
    return bool(container.ended) and container.exit_code == 0 and container.ended.get("reason") == "Completed"


def _silent(view: ClusterView, workload: Workload, container: Container, state: Citation) -> Draft:
    undo = before(view, workload)
    done = _done(container)
    why = (
        f"container {container.name} ends at once with code 0: its command has nothing to keep running"
        if done
        else f"container {container.name} exits with code {container.exit_code} and its log gives no reason"
    )
    field = f"{container.path}.command" if done else container.path
    draft = make(
        workload,
        "bad-command" if done else "rollout" if undo else "other",
        None,
        field,
        why,
        0.75 if done else 0.55 if undo else 0.4,
        (state, view.cite(workload.thing, f"{container.path}.image")),
        [*undo, outside("Look at the application with its owner", "the cluster holds no further reason")],
    )
    return draft
