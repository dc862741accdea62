"""Values that an application does not accept: joined from the log's words to the setting that holds them."""

from __future__ import annotations

import re

from agents.expert import logs
from agents.expert.analyzers.names import change
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import Complaint
from agents.expert.remedies import outside, restart, roll_back
from agents.expert.settings import Setting
from agents.expert.workload import Container, Workload, previous_good
from assistant.domain.evidence import Citation
from assistant.domain.view import ClusterView

NUMBER_NEEDED = re.compile(
    r"int\(\)|parseint|atoi|numberformat|invalid syntax|integer|int32|numeric|a number|float|digit|int_parsing",
    re.IGNORECASE,
)
NEEDED = re.compile(r"\bneed\w*\b|\brequire\w*\b|\bexpected\b|\bmust be\b|\bshould be\b", re.IGNORECASE)
UNIT_NEEDED = re.compile(r"missing unit in duration", re.IGNORECASE)
COMMON = frozenset(
    [
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "none",
        "null",
        "error",
        "info",
        "warn",
        "debug",
        "fatal",
        "http",
        "https",
        "tcp",
        "udp",
        "default",
        "local",
        "localhost",
        "main",
        "prod",
        "production",
        "dev",
        "test",
        "staging",
        "app",
        "api",
        "web",
        "server",
        "service",
        "master",
        "primary",
        "postgres",
        "redis",
        "mysql",
        "admin",
        "root",
        "user",
    ]
)
"""Values that stand in many lines without being what the line is about."""


def judge(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft | None:
    """Join a value that the log quotes, or a variable that it names, to the setting that holds it."""
    if any(p.search(said.decisive) for p in (logs.DNS, logs.REFUSED, logs.TIMEOUT, logs.CREDENTIALS)):
        return None
    plain = [s for s in settings if not s.is_file]
    own = {workload.thing.name, workload.thing.namespace, container.name, container.pod.name}
    best, sure = _best(said, [s for s in plain if s.value is not None and s.value not in own])
    if best is None:
        best, sure = _in_code(said, plain), 0.75
    if best is None:
        return None
    if best.value and _asked_for(said, best.name) == best.value:
        return _unseen(view, workload, best, cited)
    shown = (best.value or "(secret)")[:60]
    fixes = [*_computed(view, workload, best, said, shown), *before(view, workload)]
    if not fixes:
        fixes.append(outside(f"Set {best.name} to a value that the application accepts", "the log refuses this one"))
    where = view.cite(best.holder, best.path if best.value is not None else "metadata.name")
    return make(
        workload,
        "app-config",
        best,
        best.path,
        f'{best.name}="{shown}" ({best.holder.kind} {best.holder.name}) is not accepted: {said.shown}',
        sure,
        (*cited, where),
        fixes,
    )


def _asked_for(said: Complaint, name: str) -> str:
    """Return the value that a log asks a variable to have (`requires MODE=nightly`), "" where it asks for none."""
    asked = rf"""(?:need|requir|expect)\w* (?:\w+ ){{0,3}}["'`]?{re.escape(name)} ?[=:] ?["'`]?([\w./:-]+)"""
    return next((match[1].rstrip(".:") for match in re.finditer(asked, said.text)), "")


def _unseen(view: ClusterView, workload: Workload, setting: Setting, cited: tuple[Citation, ...]) -> Draft:
    """Return that a setting has the value that the log asks for: it was given after the container had started."""
    holder = f"{setting.holder.kind} {setting.holder.name}"
    again = restart(view, workload) if setting.holder is not workload.thing else None
    fixes = [again] if again is not None else []
    fixes.append(
        outside(f"Or wait for the next start of {workload.name()}", "the kubelet tries again within 5 minutes")
    )
    why = f"it asks for {setting.name}={setting.value}, which {holder} has by now: its containers started before that"
    where = view.cite(setting.holder, setting.path)
    return make(workload, "app-config", setting, setting.path, why, 0.8, (*cited, where), fixes)


def _best(said: Complaint, plain: list[Setting]) -> tuple[Setting | None, float]:
    quoted = [q for q in said.quoted if q.strip()]
    hits = [s for s in plain if s.value in quoted and s.value and (len(s.value) > 1 or s.name in said.text)]
    named = [s for s in plain if mentions(s.name, said.text)]
    both = [s for s in hits if s in named]
    if both or named or hits:
        best = (both or [s for s in named if not hits] or hits)[0]
        return best, 0.92 if best in hits else 0.8
    for words, text in ((quoted, said.text), ([q for q in said.around_quoted if q.strip()], said.around)):
        hits = [s for s in plain if s.value in words and s.value and len(s.value) > 1]
        bare = [s for s in plain if _stands_in(s.value or "", text)]
        parts = [s for s in plain for q in words if len(q) > 3 and _stands_in(q, s.value or "") and q != s.name]
        found = hits or bare or parts
        if found:
            return found[0], 0.9 if hits else 0.8
    return None, 0.0


def mentions(name: str, text: str) -> bool:
    """Say whether a text names a setting, also in another spelling: SERVER_PORT, server.port, Server:Port."""
    if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text):
        return True
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    spelt = re.findall(r"[a-z0-9]+(?:[._:-]+[a-z0-9]+)+|[a-z]+(?:[A-Z][a-z0-9]+)+", text, re.IGNORECASE)
    return len(bare) > 5 and any(re.sub(r"[^a-z0-9]", "", w.lower()) == bare for w in spelt)


def _stands_in(value: str, text: str) -> bool:
    """Say whether a value that is worth looking for stands in a text as a word of its own."""
    short = len(value) < 3 or (value.isdigit() and len(value) < 4)
    if short or value.lower() in COMMON:
        return False
    return re.search(rf"(?<![\w./-]){re.escape(value)}(?![\w/-])|(?<=/){re.escape(value)}$", text) is not None


def _in_code(said: Complaint, plain: list[Setting]) -> Setting | None:
    """Return the setting that the source line above an error reads, where it reads exactly one."""
    read = [
        s
        for s in plain
        if re.search(rf"""(environ|getenv|env)\\b[^\n]{{0,20}}["'.\[]{re.escape(s.name)}\b""", said.code)
    ]
    return read[0] if len({s.name for s in read}) == 1 else None


def _computed(view: ClusterView, workload: Workload, setting: Setting, said: Complaint, shown: str) -> list[Fix]:
    wanted = logs.wanted_value(said.text, setting.name, setting.value)
    if wanted and NEEDED.search(said.text):
        return change(view, workload, setting, wanted, f"Set {setting.name} to {wanted}", "the log asks for this value")
    if UNIT_NEEDED.search(said.around) and re.fullmatch(r"\d+", shown):
        value = f"{shown}s"
        return change(
            view,
            workload,
            setting,
            value,
            f"Set {setting.name} to {value}",
            "a duration needs a unit; check that seconds are meant",
        )
    number = number_in(shown) if NUMBER_NEEDED.search(said.around) and not re.fullmatch(r"-?\d+", shown) else ""
    if number:
        why = f'the application wants a number; "{shown}" means {number}'
        return change(view, workload, setting, number, f"Set {setting.name} to {number}", why)
    return []


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


def before(view: ClusterView, workload: Workload) -> list[Fix]:
    """Return the way back to a revision that serves now while the new one does not."""
    thing = workload.thing
    good = previous_good(view, thing) if thing.kind == "Deployment" else None
    return [roll_back(view, thing, good)] if good is not None and good.number("status.readyReplicas") else []


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
