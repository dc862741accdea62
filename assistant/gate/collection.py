"""A deletecollection as a finite list: what matches now, one delete for each, bound to its uid and resourceVersion.

The server would delete whatever matches by the time the request arrives. What a person approves is a list of names.
"""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, urlencode

from assistant.domain.proposal import Check, CheckResult, DiffLine, Impact, LineOrigin
from assistant.errors import ClusterError
from assistant.gate.dryrun import NAME as DRY_RUN
from assistant.gate.dryrun import dry_run
from assistant.gate.facts import METADATA, SAFE, ask
from assistant.gate.prepare import Prepared, prepare
from assistant.gate.upstream import Upstream
from assistant.policy.api_path import ApiPath
from assistant.policy.limits import MAX_PARTS, MAX_PREVIEW_REQUESTS, PREVIEW_SECONDS
from assistant.policy.owners import owner_check
from assistant.policy.redact import Redactor
from assistant.policy.removal import propagation
from assistant.policy.surroundings import Obj, Surroundings, at, controller_of, counted, listed, name_of

_SELECTORS: Final = ("labelSelector", "fieldSelector")
# They ask for a part of the collection that only the server can tell.
_INEXACT: Final = frozenset({"limit", "continue", "resourceVersion", "resourceVersionMatch", "sendInitialEvents"})
_KIND_OF_LIST: Final = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Collection:
    """What a deletecollection matches now. `why_not` says why it cannot be taken apart, "" where it can."""

    api: ApiPath
    query: tuple[tuple[str, str], ...]
    items: tuple[Obj, ...]
    kind: str
    total: str
    why_not: str
    instead: str = ""

    @property
    def objects(self) -> list[tuple[str, str, str, str]]:
        """Return namespace, name, uid and resourceVersion of each object."""
        space = self.api.namespace
        found = [(item, at(item, "metadata", default={})) for item in self.items]
        return [(space, name_of(item), str(m.get("uid", "")), str(m.get("resourceVersion", ""))) for item, m in found]

    @property
    def marks(self) -> list[tuple[str, str, str]]:
        """Return name, uid and resourceVersion of each object, to see whether anything moved."""
        return [(name, uid, version) for _, name, uid, version in self.objects]

    @property
    def selector(self) -> str:
        """Return the selectors as people read them, "" for none."""
        return ", ".join(value for key, value in self.query if key in _SELECTORS and value)

    def title(self) -> str:
        """Return what is deleted in one line."""
        place = self.api.namespace or "the cluster"
        which = f" that match {self.selector}" if self.selector else ""
        return f"delete {self.total} {self.api.resource} in {place}{which}: {listed(self.items, 3)}"

    def requests(self, asked: Prepared, parsed: Any) -> tuple[Prepared, ...]:
        """Return the requests that are sent instead, in the order of the list."""
        rest = tuple((key, value) for key, value in asked.query if key not in (*_SELECTORS, "timeoutSeconds"))
        return tuple(prepare("DELETE", self._one(item), rest, asked.content_type, parsed, item) for item in self.items)

    def _one(self, item: Obj) -> ApiPath:
        name = name_of(item)
        return replace(self.api, name=name, path=f"{self.api.collection}/{name}")

    async def dry_run(self, upstream: Upstream, redactor: Redactor, parts: tuple[Prepared, ...]) -> Check:
        """Return what the server says to each of the deletes, in one check."""
        if not parts:
            return Check(DRY_RUN, CheckResult.UNKNOWN, "Not made: there is no list of single deletes to make it of.")
        slots = asyncio.Semaphore(MAX_PREVIEW_REQUESTS)

        async def one(part: Prepared) -> Check:
            async with slots:
                return (await dry_run(upstream, redactor, self.api, part)).check

        tasks = [asyncio.ensure_future(one(part)) for part in parts]
        done, late = await asyncio.wait(tasks, timeout=PREVIEW_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        answers = [(name_of(item), task.result()) for item, task in zip(self.items, tasks, strict=True) if task in done]
        for result, head in ((CheckResult.FAIL, "The server would refuse"), (CheckResult.UNKNOWN, "Not known for")):
            found = [f"{name}: {check.text}" for name, check in answers if check.result is result]
            if result is CheckResult.UNKNOWN:
                found += ["The server did not answer in time."] * len(late)
            if found:
                return Check(DRY_RUN, result, f"{head} {len(found)} of {len(parts)}. {found[0]}")
        return Check(DRY_RUN, CheckResult.PASS, f"The server would accept each of the {len(parts)} deletes.")

    def lines(self) -> tuple[DiffLine, ...]:
        """Return every object of the list."""
        head = DiffLine("@", f"{self.total} {self.api.resource} in {self.api.namespace or 'the cluster'}")
        rows = [DiffLine("-", f"{name}  uid {uid}", LineOrigin.OURS) for _, name, uid, _ in self.objects]
        return (head, *rows)

    def impact(self) -> tuple[Impact, ...]:
        """Return what follows, as far as the objects themselves tell."""
        text = f"{self.total} {self.api.resource} are deleted one by one, each only if it is still as listed."
        lines = [Impact("direct", text)]
        kept = [item for item in self.items if controller_of(item)]
        if kept:
            owners = dict.fromkeys(f"{ref.get('kind')} {ref.get('name')}" for ref in map(controller_of, kept) if ref)
            again = f"{len(kept)} of them have a controller that makes them again: {listed(owners)}."
            lines.append(Impact("follows", again, at_least=bool(self.why_not)))
            if len(kept) < len(self.items):
                alone = [item for item in self.items if not controller_of(item)]
                text = f"{counted(len(alone), 'object')} without a controller do not come back: {listed(alone)}."
                lines.append(Impact("follows", text, at_least=bool(self.why_not)))
        stuck = [item for item in self.items if at(item, "metadata", "finalizers")]
        if stuck:
            lines.append(Impact("follows", f"{len(stuck)} of them have finalizers and stay until these are done."))
        return tuple(lines)

    def owner_check(self) -> Check:
        """Return who keeps the objects: the first that somebody keeps, and how many there are."""
        found = []
        for item in self.items:
            check = owner_check(Surroundings("DELETE", "", self.kind, item, None, api_version=self.api.api_version))
            if check.result is CheckResult.WARN:
                found.append((name_of(item), check.text))
        if not found:
            return Check("owner", CheckResult.PASS, "No GitOps tool, Helm release or controller is marked as an owner.")
        text = f"{len(found)} of {self.total} are kept by something else. {found[0][0]}: {found[0][1]}"
        return Check("owner", CheckResult.WARN, text)

    def rest_check(self) -> Check:
        """Return that nothing beyond the list was looked at."""
        text = "What depends on each of these objects was not looked up: what follows may be more."
        return Check("surroundings", CheckResult.UNKNOWN, text)

    def kubectl(self, parsed: Any) -> str:
        """Return the command that deletes exactly the list."""
        place = ["-n", self.api.namespace] if self.api.namespace else []
        words = ["kubectl", *place, "delete", self.api.resource, *(name_of(item) for item in self.items)]
        policy = propagation(self.kind, self.api.api_version, parsed, None)
        words += [f"--cascade={policy.lower()}"] if policy != "Background" else []
        return " ".join(shlex.quote(word) for word in words) if self.items and not self.why_not else ""


async def expand(upstream: Upstream, api: ApiPath, query: tuple[tuple[str, str], ...]) -> Collection:
    """Return what the request matches now. Raises ClusterError where that cannot be read."""
    chosen = [(key, value) for key, value in query if key in _SELECTORS]
    target = f"{quote(api.collection, safe=SAFE)}?{urlencode([*chosen, ('limit', str(MAX_PARTS + 1))])}"
    status, value = await ask(upstream, "GET", target, accept=METADATA)
    found = value.get("items")
    if status != 200 or not isinstance(found, list):
        meaning = "What this would delete cannot be listed, so it cannot be shown."
        raise ClusterError(meaning, "Ask for the right to list it.", detail=str(value.get("message", ""))[:300])
    items = tuple(sorted((item for item in found if isinstance(item, dict)), key=name_of))
    left = at(value, "metadata", "remainingItemCount", default=0)
    more = bool(at(value, "metadata", "continue")) and not left
    number = len(items) + (left if isinstance(left, int) else 0)
    total = f"more than {len(items) - 1}" if more else str(number)
    why, instead = "", ""
    if any(key in _INEXACT for key, _ in query):
        why = "It asks for a part of a collection that only the server could tell."
        instead = "Ask with selectors only, without limit, continue and resourceVersion."
    elif number > MAX_PARTS:
        why = f"It deletes {total} objects; at most {MAX_PARTS} can be looked at in one change."
        instead = f"Narrow the selector to {MAX_PARTS} objects or less, or delete the objects one by one."
    elif not items:
        why = "Nothing matches it now, and what comes later would be deleted unseen."
        instead = "Ask again when there is something to delete."
    elif not all(all(mark) for mark in _marks(items)):
        why = "The server does not say which objects exactly these are (uid, resourceVersion)."
        instead = "Delete the objects one by one."
    listed_kind = str(value.get("kind") or "")
    kind = "" if listed_kind == _KIND_OF_LIST else listed_kind.removesuffix("List")
    return Collection(api, query, items, kind, total, why, instead)


def _marks(items: tuple[Obj, ...]) -> list[tuple[str, str, str]]:
    found = [(item, at(item, "metadata", default={})) for item in items]
    return [(name_of(item), str(m.get("uid", "")), str(m.get("resourceVersion", ""))) for item, m in found]
