"""Arguments that a program does not know: joined from its usage message to the word of command or args."""

from __future__ import annotations

import re

from agents.expert.analyzers.command import before, without
from agents.expert.draft import Draft, Level
from agents.expert.logs import Complaint
from agents.expert.remedies import outside
from agents.expert.settings import Setting
from agents.expert.workload import Container, Workload
from assistant.domain.evidence import Citation
from assistant.domain.view import ClusterView

UNKNOWN = re.compile(
    r"(?:unknown|unrecogni[sz]ed|invalid|illegal|undefined|unexpected|bad|no such|ambiguous)\s+"
    r"(?:long |short |shorthand |command[- ]line )?(?:flags?|options?|arguments?|commands?|subcommands?|parameters?|"
    r"switch|directive)\b(?P<rest>.*)|"
    r"flag provided but not defined(?P<go>.*)|flag needs an argument(?P<needs>.*)|"
    r"unexpected argument(?P<rust>.*)found|the following arguments are required(?P<lacking>.*)|"
    r"requires an argument(?P<gnu>.*)|no such command(?P<click>.*)",
    re.IGNORECASE,
)
WORD = re.compile(r"-{0,2}[A-Za-z][\w.-]*")


def judge(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft | None:
    """Return the draft for an argument that the program refuses, None where its log says nothing of the kind."""
    match = next((m for line in said.lines if (m := UNKNOWN.search(line))), None)
    words = [s for s in settings if re.match(r"(command|args)\[", s.name)]
    if match is None or not words:
        return None
    rest = next((g for g in match.groups() if g), "")
    named = [w.lstrip("-") for w in WORD.findall(rest)]
    hit = next(
        (s for w in named for s in reversed(words) if re.search(rf"(?<!\w)-{{0,2}}{re.escape(w)}\b", s.value or "")),
        None,
    )
    wrong = hit or next((s for s in reversed(words) if s.name.startswith("args")), words[-1])
    base = container.path or wrong.path.rsplit(".", 1)[0]
    field = wrong.path
    shown = f'"{wrong.value}"' if hit is not None else "one of its arguments"
    fixes = [*before(view, workload, container, wrong.name.split("[")[0]), *without(workload, container)]
    fixes.append(
        outside(f"Or correct {wrong.name} to what the program's usage message allows", "the log shows the usage")
    )
    return Draft(
        "bad-command",
        wrong.holder.target,
        field,
        f"{workload.name()} keeps failing: the program does not accept {shown} ({wrong.name}): {said.shown}.",
        0.9 if hit is not None else 0.75,
        Level.WORKLOAD,
        (*cited, view.cite(wrong.holder, f"{base}.command", f"{base}.args")),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )
