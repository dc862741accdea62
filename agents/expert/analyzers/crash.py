"""Containers that exit by themselves: the log's own reason, joined to the setting, file or name that it is about."""

from __future__ import annotations

import json
import re

from agents.expert import logs
from agents.expert.analyzers import arguments, names, permissions
from agents.expert.analyzers.names import change
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import Complaint, complaint
from agents.expert.remedies import json_patch, nearest, outside, pointer, restart, roll_back, set_data
from agents.expert.settings import Setting, settings_of
from agents.expert.workload import Container, Workload, log_lines, previous_good
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView

LOUD = re.compile(r"\b(error|fatal|panic|exception|fail(ed|ure)?|traceback|denied|refused|timed? ?out)\b", re.IGNORECASE)
"""Words of a log that ended with code 0 and still has something to complain about."""
NUMBER_NEEDED = re.compile(
    r"int\(\)|parseint|atoi|numberformat|invalid syntax|integer|numeric|a number|float|digit", re.IGNORECASE
)
SYNTAX = re.compile(
    r"pars|syntax|expecting|unexpected|decode|invalid (json|yaml|toml)|malformed|yaml:|json", re.IGNORECASE
)
NEEDED = re.compile(r"\bneed\w*\b|\brequire\w*\b|\bexpected\b|\bmust be\b|\bshould be\b", re.IGNORECASE)


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
        return _silent(view, workload, container, state)
    cited = (view.cite_log(said.log, said.decisive), state)
    settings = settings_of(view, workload, container)
    for judge in (permissions.judge, arguments.judge, _bad_value, _bad_file, names.judge, _required):
        draft = judge(view, workload, container, said, settings, cited)
        if draft is not None:
            return draft
    return _generic(view, workload, container, said, cited)


def make(
    workload: Workload,
    category: str,
    setting: Setting | None,
    field: str,
    why: str,
    sure: float,
    cited: tuple[Citation, ...],
    fixes: list[Fix],
) -> Draft:
    """Return a draft whose target is the holder of a setting, or the workload itself."""
    target = setting.holder.target if setting is not None else workload.thing.target
    keys = workload.keys | ({setting.holder.key} if setting is not None else frozenset())
    return Draft(
        category,
        target,
        field,
        f"{workload.name()} keeps failing: {why}.",
        sure,
        Level.OBJECT if setting is not None and setting.holder is not workload.thing else Level.WORKLOAD,
        cited,
        keys,
        workload.keys,
        tuple(fixes),
    )


def _bad_value(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft | None:
    """Join a value that the log quotes, or a variable that it assigns, to the setting that holds it."""
    if any(p.search(said.decisive) for p in (logs.DNS, logs.REFUSED, logs.TIMEOUT, logs.CREDENTIALS)):
        return None
    plain = [s for s in settings if s.value is not None and not s.is_file]
    quoted = [q for q in said.quoted if q.strip()]
    assigned = {m["name"]: m["value"] for m in logs.ASSIGNED.finditer(said.text)}
    hits = [s for s in plain if s.value in quoted and s.value and (len(s.value) > 1 or s.name in said.text)]
    named = [s for s in plain if re.search(rf"\b{re.escape(s.name)}\b", said.text)]
    best = [s for s in hits if s in named] or named or hits
    if not best:
        return None
    setting = best[0]
    shown = (setting.value or "")[:60]
    fixes = []
    wanted = assigned.get(setting.name)
    if wanted and wanted != setting.value and NEEDED.search(said.text):
        fixes += change(
            view, workload, setting, wanted, f"Set {setting.name} to {wanted}", "the log asks for this value"
        )
    elif NUMBER_NEEDED.search(said.text) and not re.fullmatch(r"-?\d+", shown):
        number = number_in(shown)
        if number:
            fixes += change(
                view,
                workload,
                setting,
                number,
                f"Set {setting.name} to {number}",
                f'the application wants a number; "{shown}" means {number}',
            )
    fixes += _before(view, workload)
    if not fixes:
        fixes.append(outside(f"Set {setting.name} to a value that the application accepts", "the log refuses this one"))
    where = view.cite(setting.holder, setting.path)
    return make(
        workload,
        "app-config",
        setting,
        setting.path,
        f'{setting.name}="{shown}" ({setting.holder.kind} {setting.holder.name}) is not accepted: {said.shown}',
        0.92 if setting in hits else 0.8,
        (*cited, where),
        fixes,
    )


WORDS = {
    "zero": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "fifteen": 15,
    "sixteen": 16,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "hundred": 100,
    "thousand": 1000,
}


def number_in(value: str) -> str:
    """Return the whole number that a text plainly means (`twenty`, `30s`, `1,000`), "" where it is open."""
    tidy = value.strip().strip("\"'").lower()
    if tidy in WORDS:
        return str(WORDS[tidy])
    match = re.fullmatch(r"(\d+)(?:[.,](?:0+)|\s*(?:s|sec|secs|seconds?|ms|m|min|mb|mib|k|%|px))?", tidy)
    if match:
        return match[1]
    return tidy.replace(",", "").replace("_", "") if re.fullmatch(r"\d{1,3}([,_]\d{3})+", tidy) else ""


def _bad_file(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft | None:
    files = [s for s in settings if s.is_file and any(s.name == f or s.name.startswith(f + "/") for f in said.files)]
    if not files and SYNTAX.search(said.text):
        files = [s for s in settings if s.is_file and s.value and broken(s.name, s.value)]
    if not files:
        return None
    setting = next((s for s in files if s.value and broken(s.name, s.value)), files[0])
    error = broken(setting.name, setting.value or "")
    fixes: list[Fix] = []
    mended = mend_json(setting.value or "") if setting.name.endswith(".json") else ""
    if mended:
        fixes += change(
            view,
            workload,
            setting,
            mended,
            f"Remove the stray comma from {setting.name.split('/')[-1]}",
            "the file reads as JSON afterwards and nothing else in it changes",
        )
    fixes += _before(view, workload)
    if not fixes:
        fixes.append(
            outside(
                f"Correct {setting.name} in {setting.holder.kind} {setting.holder.name}",
                "its content is meant by its owner",
            )
        )
    why = f"{setting.name} ({setting.holder.kind} {setting.holder.name}) is not accepted" + (
        f": {error}" if error else ""
    )
    return make(
        workload,
        "app-config",
        setting,
        setting.path,
        why,
        0.95 if error else 0.75,
        (*cited, view.cite(setting.holder, setting.path)),
        fixes,
    )


def broken(name: str, content: str) -> str:
    """Return the syntax error of a JSON file, "" where it is sound or of a form that we do not judge."""
    if not name.endswith(".json") or not content:
        return ""
    try:
        json.loads(content)
    except ValueError as error:
        return f"not valid JSON, {error}"
    return ""


def mend_json(content: str) -> str:
    """Return JSON without trailing commas if that alone makes it readable, otherwise ""."""
    out, inside, i = [], False, 0
    while i < len(content):
        char = content[i]
        if inside and char == "\\":
            out.append(content[i : i + 2])
            i += 2
            continue
        if char == '"':
            inside = not inside
        if char == "," and not inside and re.match(r"\s*[\]}]", content[i + 1 :]):
            i += 1
            continue
        out.append(char)
        i += 1
    mended = "".join(out)
    try:
        json.loads(mended)
    except ValueError:
        return ""
    return mended if mended != content else ""


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
    lacking = [
        v
        for v in [*said.variables, *said.quoted]
        if v not in have | declared and re.fullmatch(r"[A-Z][A-Z0-9_]{2,}", v)
    ]
    if not lacking:
        return None
    name = lacking[0]
    value = {m["name"]: m["value"] for m in logs.ASSIGNED.finditer(said.text)}.get(name, "")
    thing, fixes = workload.thing, list[Fix]()
    undo = _before(view, workload)
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


def _before(view: ClusterView, workload: Workload) -> list[Fix]:
    """Return the way back to a revision that serves now while the new one does not."""
    thing = workload.thing
    good = previous_good(view, thing) if thing.kind == "Deployment" else None
    return [roll_back(view, thing, good)] if good is not None and good.number("status.readyReplicas") else []


def _generic(
    view: ClusterView, workload: Workload, container: Container, said: Complaint, cited: tuple[Citation, ...]
) -> Draft:
    undo = _before(view, workload)
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
    undo = _before(view, workload)
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
