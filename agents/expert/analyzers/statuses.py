"""Any custom object by its conditions: what its controller says of it, where no analyzer knows its kind better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from agents.expert.conditions import HELD, WARNINGS, age_of, read, said
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside
from assistant.domain.raw import text
from assistant.domain.view import ClusterView, Thing

CATEGORIES = (
    ("gateway.networking", "gateway-api"),
    ("inference.networking", "gateway-api"),
    ("kueue.x-k8s.io", "kueue"),
    ("metal3.io", "baremetal"),
    ("openyurt", "edge"),
    ("cert-manager", "tls"),
)
HANDING_OUT = frozenset({"certificates.cert-manager.io", "externalsecrets.external-secrets.io"})
UNTOUCHED = timedelta(minutes=10)
"""A controller writes the first status within seconds; after this long none has looked at the object."""
MEANT = r"suspend|paus|stop|start|run|wait|pending|stuck"
"""Questions that ask for what somebody held back."""


def category_of(thing: Thing) -> str:
    """Return the category of an object by its API group."""
    return next((c for words, c in CATEGORIES if words in thing.api_version), "other")


def judge(view: ClusterView, thing: Thing) -> list[Draft]:
    """Return what is wrong with an object by its conditions: nothing, a fault, or what keeps one from knowing.

    A status of an older version is never diagnosed from, and neither is the lack of one: both leave it undecided.
    """
    reading = read(view, thing)
    if reading.stale:
        return [_stale(view, thing)]
    if reading.absent:
        return [untouched(view, thing)] if _left_alone(view, thing) else []
    if not reading.bad:
        return []
    path, condition = reading.bad[0]
    return [told(view, thing, path, condition)]


def told(view: ClusterView, thing: Thing, path: str, condition: Mapping[str, Any], fixes: Iterable[Fix] = ()) -> Draft:
    """Return a bad condition as a claim: reason and message verbatim, because both are words of its controller.

    The claim is also about the pods below the object, so that a pod's own cause explains it.
    """
    held = bool(HELD.search(text(condition.get("reason")))) or any(
        thing.at(f"spec.{name}") is True for name in ("suspend", "suspended", "paused")
    )
    last = outside("Act on what its controller says", "the object itself says what is wrong")
    return Draft(
        category_of(thing),
        thing.target,
        path,
        f"{thing.kind} {thing.name}: {said(condition, 140)}.",
        0.75,
        level_of(thing),
        (view.cite(thing, path),),
        below(view, thing),
        frozenset({thing.key, *owners(view, thing)}),
        (*fixes, last),
        note=(bool(view.namespace) and not thing.namespace) or condition.get("type") in WARNINGS,
        asks=MEANT if held else "",
    )


def claim(
    view: ClusterView,
    thing: Thing,
    category: str,
    field: str,
    words: str,
    sure: float,
    fixes: Iterable[Fix],
    paths: Iterable[str] = (),
    *,
    level: Level | None = None,
    more: Iterable[str] = (),
    asks: str = "",
) -> Draft:
    """Return a claim of an object that runs pods: about it, its pods and `more` keys; it explains its owners too.

    `words` follow kind and name. `paths` are quoted; without any the field is.
    """
    keys = below(view, thing) | frozenset(more)
    place = level_of(thing) if level is None else level
    return Draft(
        category,
        thing.target,
        field,
        f"{thing.kind} {thing.name} {words}.",
        sure,
        place,
        (view.cite(thing, *(paths or (field,))),),
        keys,
        (keys if place < Level.POD else frozenset({thing.key})) | owners(view, thing),
        tuple(fixes),
        asks=asks,
    )


def level_of(thing: Thing) -> Level:
    """Return the level of an object's status: one that is owned stands below its owner, so that it may explain it.

    So does one that hands out what others name without owning it: a listener waits for its Certificate.
    """
    hands_out = thing.resource in HANDING_OUT
    return Level.TRAFFIC if hands_out or thing.rows("metadata.ownerReferences") else Level.CALLER


def below(view: ClusterView, thing: Thing) -> frozenset[str]:
    """Return the keys of an object and of the pods that it owns, through whatever stands between."""
    return frozenset({thing.key, *(p.key for p in view.pods_of(thing))})


def owners(view: ClusterView, thing: Thing) -> frozenset[str]:
    """Return the keys of the objects above, the nearest owner first."""
    found: list[str] = []
    current = view.owner(thing)
    while current is not None and current.key not in found and current is not thing:
        found.append(current.key)
        current = view.owner(current)
    return frozenset(found)


def untouched(view: ClusterView, thing: Thing) -> Draft:
    """Return that no controller has written a status: it does not run, or the object is none of its own."""
    group = thing.api_version.partition("/")[0]
    return Draft(
        category_of(thing),
        thing.target,
        "status",
        f"{thing.kind} {thing.name} has no status: no controller has taken it up.",
        0.5,
        Level.CALLER,
        (view.cite(thing, "metadata.name", "metadata.creationTimestamp"),),
        below(view, thing),
        frozenset({thing.key}),
        (outside(f"See whether the controller of {group} runs and serves this object", "it writes the status"),),
        missing=f"whether the controller of {group} runs",
        note=bool(view.namespace) and not thing.namespace,
    )


def _left_alone(view: ClusterView, thing: Thing) -> bool:
    """Say whether others of its kind have a status and this one, though old enough, has none."""
    if view.now - thing.created < UNTOUCHED:
        return False
    memo = view.memo("kinds-with-status", logs=False)
    if thing.resource not in memo:
        memo[thing.resource] = any(t.rows("status.conditions") for t in view.all(thing.resource))
    return bool(memo[thing.resource])


def _stale(view: ClusterView, thing: Thing) -> Draft:
    well = all(c.get("status") != "False" for c in thing.rows("status.conditions"))
    observed = next(
        (f"status.conditions[{i}]" for i, c in enumerate(thing.rows("status.conditions")) if "observedGeneration" in c),
        "status",
    )
    return Draft(
        category_of(thing),
        thing.target,
        "status.observedGeneration",
        f"{thing.kind} {thing.name}: its controller has not seen the last change (generation "
        f"{thing.number('metadata.generation')}), so what its status says is of an older version.",
        0.5,
        Level.CALLER,
        (view.cite(thing, "metadata.generation", f"{observed}.observedGeneration"),),
        below(view, thing),
        frozenset({thing.key}),
        (outside("Look again in a minute; if it stays so, see whether its controller runs", "it may be about to act"),),
        missing="whether its controller takes up the last change",
        note=well or (bool(view.namespace) and not thing.namespace),
    )


def lasts(view: ClusterView, condition: Mapping[str, Any], minutes: int) -> bool:
    """Say whether a condition stands for at least so many minutes, or nobody knows since when."""
    return age_of(view, condition.get("lastTransitionTime")) >= timedelta(minutes=minutes)
