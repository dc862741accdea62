"""What controllers of the Gateway API say: conditions of an object, of its parents, ancestors and listeners.

Conditions have three values, and a status may be older than the object: then nothing is concluded from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from agents.expert.analyzers.gateway_reasons import meaning, remedy
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside
from assistant.domain.evidence import Citation
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import LONG_AGO, ClusterView, Thing, when

PATIENCE = timedelta(minutes=2)
"""A controller that has said nothing for longer is not just starting."""
BAD_WHEN_TRUE = frozenset({"Conflicted", "PartiallyInvalid"})
"""Conditions that say something is wrong when they are True."""
SILENT = frozenset({"OverlappingTLSConfig", "InsecureFrontendValidationMode", "Exported", "SupportedVersion", "Ready"})
"""Conditions that break nothing: warnings, what was not asked for, and reserved names."""
PARTLY = "PartiallyValid"
"""The reason that agentgateway gives, with status True, where it has dropped a part of an object."""
REJECTED = "NotAccepted"
"""Envoy AI Gateway says a refusal as type NotAccepted with status False; True would be one as well."""


@dataclass(frozen=True, slots=True)
class Said:
    """One condition with its path; `part` is the parent, ancestor or listener that it stands in, empty for none."""

    thing: Thing
    path: str
    type: str
    status: str
    reason: str
    message: str
    since: datetime
    stale: bool
    part: Mapping[str, Any]

    @property
    def bad(self) -> bool:
        """Say whether it tells of something wrong; Unknown is neither good nor bad."""
        if self.type in SILENT:
            return False
        if self.reason == PARTLY:
            return True
        if self.type == REJECTED:
            return self.status != "Unknown"
        return self.status == ("True" if self.type in BAD_WHEN_TRUE else "False")

    @property
    def quoted(self) -> str:
        """Return the condition in one line; an unknown reason is shown as it is."""
        words = " ".join(self.message.split())[:160].rstrip(".")
        if self.type == REJECTED:
            return f"it was rejected ({self.reason or self.type})" + (f": {words}" if words else "")
        return f"{self.type} is {self.status} ({self.reason or 'no reason'})" + (f": {words}" if words else "")


def conditions(thing: Thing, *lists: str) -> list[Said]:
    """Return the conditions of an object and of the entries of these lists of its status ("status.parents")."""
    own = thing.number("metadata.generation")
    places: list[tuple[str, Mapping[str, Any], list[Mapping[str, Any]]]] = [
        ("status", {}, thing.rows("status.conditions"))
    ]
    for name in lists:
        places += [(f"{name}[{i}]", part, rows(part.get("conditions"))) for i, part in enumerate(thing.rows(name))]
    return [
        Said(
            thing,
            f"{place}.conditions[{j}]",
            text(c.get("type")),
            text(c.get("status")),
            text(c.get("reason")),
            text(c.get("message")),
            when(c.get("lastTransitionTime")) or LONG_AGO,
            0 < fold_int(c.get("observedGeneration")) < own,
            part,
        )
        for place, part, table in places
        for j, c in enumerate(table)
    ]


def wrong(said: Iterable[Said]) -> list[Said]:
    """Return the conditions that say something is wrong with the object as it is now."""
    return [s for s in said if s.bad and not s.stale]


def young(view: ClusterView, thing: Thing, *said: Said) -> bool:
    """Say whether an object, or the last change of these conditions, is so new that waiting is normal."""
    newest = max([thing.created, *(s.since for s in said)])
    return view.now - newest < PATIENCE


def undecided(said: Iterable[Said], kind: str) -> list[Said]:
    """Return the conditions of a type that are Unknown, or False only because the controller is not done."""
    return [s for s in said if s.type == kind and (s.status == "Unknown" or (s.bad and s.reason == "Pending"))]


def same_parent(route: Thing, ref: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Say whether an entry of `status.parents` is about this entry of `spec.parentRefs`."""
    told = mapping(part.get("parentRef"))
    return (
        ref.get("name") == told.get("name")
        and (text(ref.get("namespace")) or route.namespace) == (text(told.get("namespace")) or route.namespace)
        and (text(ref.get("kind")) or "Gateway") == (text(told.get("kind")) or "Gateway")
        and ref.get("sectionName") == told.get("sectionName")
        and ref.get("port") == told.get("port")
    )


def claim(
    thing: Thing,
    field: str,
    summary: str,
    confidence: float,
    level: Level,
    cited: Iterable[Citation],
    fixes: Iterable[Fix] = (),
    *,
    about: Iterable[str] = (),
    explains: Iterable[str] = (),
    category: str = "gateway-api",
    missing: str = "",
    note: bool = False,
    asks: str = "",
) -> Draft:
    """Return a draft about an object; it is about the object itself, and explains what hangs on it."""
    key = frozenset({thing.key})
    return Draft(
        category,
        thing.target,
        field,
        summary,
        confidence,
        level,
        tuple(cited),
        key | frozenset(about),
        key | frozenset(explains),
        _alone(tuple(fixes)),
        missing=missing,
        note=note,
        asks=asks,
    )


def from_status(
    view: ClusterView,
    said: Said,
    level: Level,
    *,
    sure: float = 0.75,
    place: str = "",
    about: Iterable[str] = (),
    explains: Iterable[str] = (),
) -> Draft:
    """Return the draft for a condition that no object explains: what it says, what that means, who acts."""
    thing = said.thing
    means = meaning(said.type, said.reason)
    return claim(
        thing,
        place or said.path,
        f"{thing.kind} {thing.name}: {said.quoted}" + (f"; {means}." if means else "."),
        sure,
        level,
        (view.cite(thing, said.path, *([place] if place else [])),),
        (outside(remedy(said.type, said.reason), f"the controller says {said.reason or said.type}"),),
        about=about,
        explains=explains,
    )


def outdated(view: ClusterView, said: Said) -> Draft:
    """Return the draft for a status that is older than its object: nothing can be concluded from it."""
    thing = said.thing
    return claim(
        thing,
        said.path,
        f"{thing.kind} {thing.name}: the controller has not seen its last change; of the version before it said "
        f"{said.quoted}.",
        0.4,
        Level.CALLER,
        (view.cite(thing, said.path, "metadata.generation"),),
        (outside("Wait a moment, or see that the controller runs", "its status is of an older generation"),),
        missing="what the controller says of the object as it is now",
    )


def _alone(fixes: tuple[Fix, ...]) -> tuple[Fix, ...]:
    """Let the first fix stand by itself: "Or create …" is said of one that follows another."""
    if not fixes or not fixes[0].title.startswith("Or "):
        return fixes
    title = fixes[0].title.removeprefix("Or ")
    title = title[:1].upper() + title[1:]
    return (replace(fixes[0], title=title, outside=title if fixes[0].outside else ""), *fixes[1:])
