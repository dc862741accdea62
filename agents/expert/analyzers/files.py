"""Configuration files that an application cannot read: joined to the ConfigMap, and parsed where the form is known."""

from __future__ import annotations

import json
import re
import tomllib

import yaml

from agents.expert import logs
from agents.expert.analyzers.names import change
from agents.expert.analyzers.values import before, make
from agents.expert.draft import Draft, Fix
from agents.expert.logs import Complaint
from agents.expert.remedies import outside
from agents.expert.settings import Setting
from agents.expert.workload import Container, Workload
from assistant.domain.evidence import Citation
from assistant.domain.view import ClusterView

SYNTAX = re.compile(
    r"pars|syntax|expecting|unexpected|decod|invalid (json|yaml|toml|config)|malformed|ya?ml|json|toml|section header|"
    r"unmarshal|config(uration)? (file|error)|load(ing)? config|directive|deseriali[sz]",
    re.IGNORECASE,
)


def judge(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft | None:
    """Return the file that the log complains about: by its path, by what it quotes, or because it does not parse."""
    if any(p.search(said.decisive) for p in (logs.DNS, logs.REFUSED, logs.TIMEOUT)):
        return None
    own = [s for s in settings if s.is_file and s.holder.name != "kube-root-ca.crt"]
    setting, sure = _file(said, own)
    if setting is None:
        return None
    error = broken(setting.name, setting.value or "")
    name = setting.name.split("/")[-1]
    fixes: list[Fix] = []
    mended = mend_json(setting.value or "") if name.endswith(".json") else ""
    if mended:
        fixes += change(
            view,
            workload,
            setting,
            mended,
            f"Remove the stray comma from {name}",
            "the file reads as JSON afterwards and nothing else in it changes",
        )
    fixes += before(view, workload)
    holder = f"{setting.holder.kind} {setting.holder.name}"
    if not fixes:
        fixes.append(outside(f"Correct {setting.name} in {holder}", "its content is meant by its owner"))
    why = f"{setting.name} ({holder}) is not accepted: {error or said.shown}"
    where = view.cite(setting.holder, setting.path if setting.value is not None else "metadata.name")
    return make(workload, "app-config", setting, setting.path, why, 0.95 if error else sure, (*cited, where), fixes)


def _file(said: Complaint, own: list[Setting]) -> tuple[Setting | None, float]:
    for paths in (said.files, said.around_files):
        named = [s for s in own if any(s.name == f or s.name.startswith(f + "/") for f in paths)]
        if named:
            return next((s for s in named if broken(s.name, s.value or "")), named[0]), 0.8
    if not SYNTAX.search(said.around):
        return None, 0.0
    sick = [s for s in own if s.value and broken(s.name, s.value)]
    quoted = [s for s in own for q in said.around_quoted if len(q) > 5 and q in (s.value or "")]
    # A log that names the form of a file and not its path means the only file of that form.
    formed = [
        s
        for s in own
        if re.search(rf"\b{s.name.rsplit('.', 1)[-1].replace('yml', 'ya?ml')}\b", said.around, re.IGNORECASE)
    ]
    if sick:
        return sick[0], 0.95
    if quoted:
        return quoted[0], 0.85
    return (formed[0], 0.75) if len(formed) == 1 else (None, 0.0)


def broken(name: str, content: str) -> str:
    """Return the syntax error of a JSON, YAML or TOML file, "" where it is sound or of a form that is not judged."""
    form = name.rsplit(".", 1)[-1].lower()
    try:
        match form if content else "":
            case "json":
                json.loads(content)
            case "yaml" | "yml" if "{{" not in content:
                list(yaml.safe_load_all(content))
            case "toml":
                tomllib.loads(content)
    except (ValueError, yaml.YAMLError) as error:
        return f"not valid {form.upper().replace('YML', 'YAML')}, {' '.join(str(error).split())[:160]}"
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
