"""Carries out what the model asks to read. Nothing here writes; every result is evidence with an id, in a budget."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agents.expert.workload import is_ready
from agents.model.logtext import digest
from agents.model.projection import project, within
from agents.model.quotes import verbatim
from agents.model.reading import Kind, Reader, kind_named
from agents.model.tables import events_in, owners_of, rows_of
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.ports import Recorder, Turn
from assistant.domain.quoting import body_of
from assistant.domain.raw import mapping, rows, text
from assistant.domain.target import Target
from assistant.domain.view import Knowledge, Log, Thing
from assistant.errors import PilothouseError
from assistant.policy.redact import redact_text

RESULT_CHARACTERS: Final = 3_000
"""Of one result as the model first sees it; `more` shows the rest."""
DIGEST_OWN_CHARACTERS: Final = 160
"""Of the sentences that a log's digest puts between its lines."""
TITLE_CHARACTERS: Final = 240
QUOTED: Final = 3
"""Lines of a result that its evidence quotes."""
LARGEST_LIST: Final = 3_000
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A label of RFC 1123, as the API server wants it."""
NAMESPACES: Final = 6
"""Other namespaces at most that a turn's tools read."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one call came to. Without `evidence` it failed, and `text` says why."""

    tool: str
    title: str
    text: str
    evidence: Evidence | None = None
    body: str = ""

    @property
    def ok(self) -> bool:
        """Say whether anything was read."""
        return self.evidence is not None


class UnansweredError(Exception):
    """A call that cannot be carried out; its text is a sentence for the model."""


class Toolbox:
    """The reading tools of one turn."""

    def __init__(self, reader: Reader, turn: Turn, recorder: Recorder) -> None:
        """Keep what the tools read with; `known` holds what was shown, by evidence id."""
        self._reader = reader
        self._turn = turn
        self._recorder = recorder
        self._lines: dict[str, list[str]] = {}
        self._shown: dict[str, int] = {}
        self._elsewhere: set[str] = set()
        self.room = RESULT_CHARACTERS
        """Of each result; less where several come at once, so that all of them are seen."""
        self.known: dict[str, Result] = {}
        self.mentioned = turn.question

    async def read(self, name: str, given: Mapping[str, Any], call: str) -> Result:
        """Carry out one reading call. Never raises for what the cluster or the model did; that is in the result."""
        title = titled(name, given)
        try:
            match name:
                case "get":
                    return await self._get(given, call, title)
                case "list":
                    return await self._list(given, call, title)
                case "logs":
                    return await self._logs(given, call, title)
                case "events":
                    return await self._events(given, call, title)
                case "more":
                    return self._more(given, title)
                case _:
                    raise UnansweredError(f"There is no tool {name[:60]!r}.")
        except UnansweredError as error:
            return Result(name, title, str(error))
        except PilothouseError as error:
            return Result(name, title, f"{error.meaning} {error.detail}".strip()[:400])

    async def find(self, given: Mapping[str, Any]) -> tuple[Kind, Thing]:
        """Return the object that `kind`, `name` and `namespace` mean. Raises UnansweredError, ClusterError."""
        kind = await self._kind(_word(given, "kind"))
        name, namespace = _word(given, "name"), self._place(kind, _word(given, "namespace"))
        name = name.rpartition("/")[2]
        await self._reader.read([(kind.resource, namespace)], self._recorder)
        view = self._reader.view
        thing = next((t for t in view.all(kind.resource, namespace) if t.name == name), None)
        if thing is None and kind.namespaced and not namespace:
            thing = next((t for t in view.all(kind.resource) if t.name == name), None)
        if thing is not None:
            return kind, thing
        raise UnansweredError(self._missing(kind, namespace, name))

    def _missing(self, kind: Kind, namespace: str, name: str) -> str:
        view, where = self._reader.view, f" in namespace {namespace}" if namespace else ""
        if not view.complete(kind.resource, namespace):
            why = self._why(kind, namespace)
            return f"{kind.kind} {name} was not found{where}, and the list could not be read whole: {why}"
        names = sorted(t.name for t in view.all(kind.resource, namespace))
        some = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
        return f"There is no {kind.kind} {name}{where}. There are: {some or 'none'}."

    def _why(self, kind: Kind, namespace: str) -> str:
        gaps = {(r, ns): f"{known}: {why}" for r, ns, known, why in self._reader.view.gaps()}
        known = self._reader.view.knowledge(kind.resource, namespace)
        return gaps.get((kind.resource, namespace)) or gaps.get((kind.resource, "")) or str(known)

    async def _kind(self, name: str) -> Kind:
        if not name:
            raise UnansweredError("A kind is needed, for example Deployment.")
        kinds = await self._reader.kinds(self._recorder)
        kind = kind_named(kinds, name)
        if kind is None:
            raise UnansweredError(f"The cluster serves no kind {name[:60]!r}, or none is recorded.")
        return kind

    def _place(self, kind: Kind | None, namespace: str) -> str:
        """Return where to read. Other namespaces than the question's only where something refers to them."""
        own = self._turn.namespace
        if kind is not None and not kind.namespaced:
            return ""
        if namespace and not _NAMESPACE.fullmatch(namespace):
            raise UnansweredError(f"{namespace[:60]!r} is no name of a namespace; leave it out for {own or 'all'}.")
        if not namespace or namespace == own or not own:
            return namespace or own
        if namespace not in self._elsewhere:
            if not re.search(rf"(?<![\w-]){re.escape(namespace)}(?![\w-])", self.mentioned):
                raise UnansweredError(f"The question is about namespace {own}, and nothing refers to {namespace}.")
            if len(self._elsewhere) >= NAMESPACES:
                raise UnansweredError(f"{NAMESPACES} other namespaces were read, which is all that a question may.")
            self._elsewhere.add(namespace)
        return namespace

    async def _get(self, given: Mapping[str, Any], call: str, title: str) -> Result:
        _, thing = await self.find(given)
        lines = project(thing.raw, _word(given, "path"))
        if not lines:
            raise UnansweredError(f"{thing.target} has nothing at {_word(given, 'path')!r}; {_there(thing, given)}.")
        request = f"{thing.request}/{thing.name}" if "?" not in thing.request else thing.request
        return self._kept("get", title, lines, body_of(thing.raw), request, thing.target, call)

    async def _list(self, given: Mapping[str, Any], call: str, title: str) -> Result:
        kind = await self._kind(_word(given, "kind"))
        namespace = self._place(kind, _word(given, "namespace"))
        await self._reader.read([(kind.resource, namespace)], self._recorder)
        view = self._reader.view
        request = f"GET {kind.path(namespace)}"
        if (table := self._reader.recorded(request)) is not None:
            return self._kept("list", title, table.splitlines(), table, request, None, call)
        things = view.all(kind.resource, namespace)
        # All are looked at and the well ones cut off: a list says first what is unwell, however long it is.
        lines = await rows_of(view, things)
        wanted = _word(given, "match")
        found = [line for line in lines if wanted.lower() in line.lower()] if wanted else lines
        whole = view.complete(kind.resource, namespace)
        if not found and not things and not whole:
            raise UnansweredError(f"{kind.kind} could not be read: {self._why(kind, namespace)}")
        where = f" in namespace {namespace}" if namespace else " in all namespaces" if kind.namespaced else ""
        head = f"{len(things)} {kind.kind}{where}" + (f", {len(found)} with {wanted!r}" if wanted else "")
        if not whole:
            head += f"; there may be more: {self._why(kind, namespace)}"
        if len(found) > LARGEST_LIST:
            head += f"; only the first {LARGEST_LIST} are told"
        found = found[:LARGEST_LIST]
        body = "\n".join([head, *dict.fromkeys([*found, *lines[:LARGEST_LIST]])])
        return self._kept("list", title, [head, *found], body, request, None, call)

    async def _logs(self, given: Mapping[str, Any], call: str, title: str) -> Result:
        log = await self._log(given)
        found = _word(given, "find")
        text_ = log.text
        if found:
            kept = [line for line in log.lines if found.lower() in line.lower()]
            if not kept:
                raise UnansweredError(f"No line of the log of {log.pod}/{log.container} holds {found[:60]!r}.")
            text_ = "\n".join(kept)
        pod = Target("v1", "Pod", log.namespace, log.pod)
        head = f"container {log.container} of pod {log.pod}" + (" (the run before)" if log.previous else "")
        # What stands around the complaint comes last and is worth most: it has to be on the first page.
        shown = digest(text_, self.room - len(head) - DIGEST_OWN_CHARACTERS).splitlines()
        return self._kept("logs", title, [head, *shown], f"{head}\n{log.text}", log.request, pod, call)

    async def _log(self, given: Mapping[str, Any]) -> Log:
        namespace = self._place(None, _word(given, "namespace"))
        name = _word(given, "pod").rpartition("/")[2]
        await self._reader.read([("pods", namespace)], self._recorder)
        view = self._reader.view
        known = view.all("pods", namespace)
        pods = [p for p in known if p.name == name] or [p for p in known if name in _owners_of(p)]
        pods = pods or [p for p in known if p.name.startswith(f"{name}-")]
        if not pods:
            raise UnansweredError(f"There is no pod {name!r}, nor one of a workload of that name.")
        pod = min(pods, key=is_ready)
        container = _word(given, "container") or _troubled(pod)
        previous = given.get("previous") is True
        await self._reader.logs([(pod.namespace, pod.name, container, previous)], self._recorder)
        log = view.log(pod.namespace, pod.name, container, previous)
        if log is None:
            names = [text(c.get("name")) for c in (*pod.rows("spec.initContainers"), *pod.rows("spec.containers"))]
            run = "the run before of " if previous else ""
            raise UnansweredError(
                f"There is no log of {run}{pod.name}/{container}. Its containers: {', '.join(names)}."
            )
        return log

    async def _events(self, given: Mapping[str, Any], call: str, title: str) -> Result:
        about: list[Thing] | None = None
        target: Target | None = None
        namespace = self._turn.namespace
        if _word(given, "kind") and _word(given, "name"):
            _, thing = await self.find(given)
            namespace, target = thing.namespace, thing.target
            # Without the sets between them nobody knows which pods belong to a workload.
            between = ("pods", "replicasets.apps", "jobs.batch", "events")
            await self._reader.read([(resource, namespace) for resource in between], self._recorder)
            about = owners_of(self._reader.view, thing)
        else:
            namespace = self._place(None, _word(given, "namespace"))
            await self._reader.read([("events", namespace)], self._recorder)
        place = f"/namespaces/{namespace}" if namespace else ""
        request = f"GET /api/v1{place}/events"
        lines = events_in(self._reader.view, about, namespace)
        if not lines and (table := self._reader.recorded(request)) is not None:
            lines = table.splitlines()
        if not lines:
            known = self._reader.view.knowledge("events", namespace)
            if known is not Knowledge.LISTED:
                gaps = {(r, ns): f"{known}: {why}" for r, ns, known, why in self._reader.view.gaps()}
                why = gaps.get(("events", namespace)) or gaps.get(("events", "")) or str(known)
                raise UnansweredError(f"Events could not be read: {why}.")
            lines = ["no events (the API server forgets them after an hour)"]
        return self._kept("events", title, lines, "\n".join(lines), request, target, call)

    def _more(self, given: Mapping[str, Any], title: str) -> Result:
        name = _word(given, "id")
        known = self.known.get(name)
        if known is None or known.evidence is None:
            if self._recorder.case.fact(name) is None:
                raise UnansweredError(f"{name[:20]!r} is nothing that you read.")
            raise UnansweredError(f"{name} is the expert's, its quote is all of it. Read the object or the log itself.")
        lines = self._lines[name]
        if wanted := _word(given, "find"):
            # The lines of an object say where something stands, those of a log are better as they were written.
            bodies = known.body.splitlines()
            for source in (lines, bodies) if known.body.startswith("{") else (bodies, lines):
                found = [line for line in source if wanted.lower() in line.lower()]
                if found:
                    break
            else:
                raise UnansweredError(f"{name} has no line with {wanted[:60]!r}.")
            shown, left = within(found, self.room)
        else:
            lines = lines[self._shown[name] :]
            if not lines:
                raise UnansweredError(f"All of {name} was shown.")
            shown, left = within(lines, self.room)
            self._shown[name] += len(lines) - left
        return replace(known, tool="more", title=title, text=_cut(shown, left))

    def take(self, tool: str, title: str, citation: Citation, call: str) -> Result:
        """Keep what somebody else read as if it had been read here."""
        # A text that is marked as safe is not one that the log can write.
        body, request = str(citation.body), str(citation.request)
        return self._kept(tool, title, body.splitlines(), body, request, None, call)

    def place(self, namespace: str) -> str:
        """Return a namespace that may be read. Raises UnansweredError for one that nothing refers to."""
        return self._place(None, namespace)

    def _kept(
        self, tool: str, title: str, lines: Sequence[str], body: str, request: str, target: Target | None, call: str
    ) -> Result:
        # Before it is cut into pages: half of a secret is not known for one.
        lines = redact_text("\n".join(lines))[0].split("\n")
        clean, left = within(lines, self.room)
        clean_body = redact_text(body)[0]
        told = [verbatim(line, clean_body) for line in _telling(clean.splitlines())]
        quote = " … ".join(dict.fromkeys(each for each in told if each)) or " ".join(clean_body.split()[:12])
        fact = self._recorder.cite(Citation(request, quote, body, target), call)
        result = Result(tool, title, _cut(clean, left), fact, clean_body)
        self._lines[fact.id], self._shown[fact.id] = lines, len(lines) - left
        self.known[fact.id] = result
        self.mentioned += "\n" + clean_body
        return result


def _cut(shown: str, left: int) -> str:
    return f"{shown}\n({left} more lines: use more)" if left else shown


def _telling(lines: Iterable[str]) -> list[str]:
    """Return the lines that say most of an object's state, for the evidence list that people read."""
    kept = list(lines)
    bad = [line for line in kept if re.search(r"False|fail|error|reason|message|Warning|CrashLoop|refused", line)]
    return (bad or kept)[:QUOTED]


def _owners_of(pod: Thing) -> set[str]:
    """Return the names of what runs a pod, without reading it: a ReplicaSet's ends in the hash that its pods carry."""
    names = {text(owner.get("name")) for owner in pod.rows("metadata.ownerReferences")}
    made = text(pod.labels.get("pod-template-hash"))
    return names | {name.removesuffix(f"-{made}") for name in names if made}


def _troubled(pod: Thing) -> str:
    statuses = [*pod.rows("status.initContainerStatuses"), *pod.rows("status.containerStatuses")]
    for status in statuses:
        ended = mapping(mapping(status.get("state")).get("terminated"))
        if not status.get("ready") and ended.get("exitCode") != 0:
            return text(status.get("name"))
    names = [text(c.get("name")) for c in rows(pod.at("spec.containers"))]
    return names[0] if names else ""


def _there(thing: Thing, given: Mapping[str, Any]) -> str:
    """Say what stands at the part of a path that leads somewhere."""
    steps = re.findall(r"\[[^\]]*\]|[^.\[\]]+", _word(given, "path"))
    for length in range(len(steps) - 1, -1, -1):
        path = "".join(step if step.startswith("[") else f".{step}" for step in steps[:length]).lstrip(".")
        value = thing.at(path) if path else thing.raw
        if isinstance(value, dict) and value:
            return f"{path or 'the object'} has {', '.join(list(map(str, value))[:16])}"
        if isinstance(value, list) and value:
            names = [text(item.get("name")) for item in rows(value)]
            return f"{path} has {len(value)} entries: {', '.join(filter(None, names)) or '0 to ' + str(len(value) - 1)}"
    return "nothing of the path is there"


def _word(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    return value.strip()[:400] if isinstance(value, str) else ""


def titled(name: str, given: Mapping[str, Any]) -> str:
    """Return a call in a few words, for the model and for people: `logs web previous with 'refused'`."""
    said = [str(value)[:80] if value is not True else key for key, value in given.items() if _told(key, value)]
    found = f" with {str(given['find'])[:40]!r}" if given.get("find") else ""
    return " ".join([name[:40], *said])[:TITLE_CHARACTERS] + found


def _told(key: str, value: object) -> bool:
    return key != "find" and (value is True or (isinstance(value, str) and bool(value)))
