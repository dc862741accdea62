"""Conditions in the form of meta/v1, wherever custom resources keep them, and what may be concluded from them.

A condition is True, False or Unknown, and which of these is good depends on its type. It counts only where the
controller has seen the newest version of the object (`observedGeneration`), and what has just begun is no fault yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from assistant.domain.raw import rows, text
from assistant.domain.view import LONG_AGO, ClusterView, Thing, when

GOOD_WHEN_TRUE = frozenset(
    {
        "Ready",
        "Available",
        "Accepted",
        "Programmed",
        "ResolvedRefs",
        "Active",
        "Established",
        "Healthy",
        "Synced",
        "Valid",
        "Reconciled",
        "PredictorReady",
        "IngressReady",
        "HeadPodReady",
        "PoolFound",
        "AppDispatched",
        "AppReady",
        "Succeeded",
        "PresetsCombined",
        "Associated",
        "Synchronized",
        # Envoy AI Gateway writes a rejection as type NotAccepted with status False.
        "NotAccepted",
    }
)
BAD_WHEN_TRUE = frozenset(
    {
        "Failed",
        "Degraded",
        "Stalled",
        "Conflicted",
        "Error",
        "ReplicaFailure",
        "PartiallyInvalid",
        "Denied",
        "Rejected",
        "Evicted",
        "InvalidRequest",
    }
)
WARNINGS = frozenset({"OverlappingTLSConfig", "EvictionInProgress"})
"""Bad when True, and nothing stops working by it."""
_NEUTRAL = frozenset({"Progressing", "Reconciling", "Provisioned", "Exported", "Issuing", "Complete", "Completed"})
_GOOD_ENDS = ("Ready", "Available", "Healthy", "Valid", "Synced", "Accepted", "Reachable", "Resolved", "Connected")
_BAD_ENDS = ("Failed", "Failure", "Error", "Degraded", "Stalled", "Conflict", "Unhealthy", "Unavailable", "Pressure")
_SUMMARIES = ("Ready", "Available", "Succeeded")
"""Types that stand for the whole object: with one of them True, a part of an unknown type was optional."""
_UNDER_WAY = re.compile(
    r"progress|pending|wait|creating|provisioning|initiali[sz]|starting|updating|reconciling|installing|deploying|"
    r"scheduling|rolling|scaling|loading|pulling|queued|issuing|syncing|not(?:yet)?(?:ready|available)$|unavailable$|minimumreplicas",
    re.IGNORECASE,
)
HELD = re.compile(r"suspend|paused|stopped|hibernat|disabled", re.IGNORECASE)
"""Reasons that say that somebody wanted it so."""
PATIENCE = timedelta(minutes=10)
"""What is under way for less is no fault: the progress deadline of a Deployment, the only one that the API has."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the conditions of one object say: the bad ones with their paths, and why they may not count.

    `stale` says that the controller has not seen the newest version, `absent` that there is no status at all.
    """

    bad: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    stale: bool = False
    absent: bool = False


def _conditions(thing: Thing) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every condition with its path: of the object, of route parents, of gateway listeners."""
    for i, condition in enumerate(thing.rows("status.conditions")):
        yield f"status.conditions[{i}]", condition
    for group in ("parents", "ancestors", "listeners"):
        for i, part in enumerate(thing.rows(f"status.{group}")):
            for j, condition in enumerate(rows(part.get("conditions"))):
                yield f"status.{group}[{i}].conditions[{j}]", condition


def good_when(kind: str) -> str:
    """Return which status of a condition type is good, "" where its name does not tell."""
    if kind in GOOD_WHEN_TRUE:
        return "True"
    if kind in BAD_WHEN_TRUE or kind in WARNINGS:
        return "False"
    if kind in _NEUTRAL:
        return ""
    if kind.endswith(_BAD_ENDS) or (kind.startswith("Not") and kind.endswith(_GOOD_ENDS)):
        return "False"
    return "True" if kind.endswith(_GOOD_ENDS) else ""


def path_of_condition(thing: Thing, kind: str) -> str:
    """Return where the condition of a type stands, `status.conditions` where there is none."""
    table = thing.rows("status.conditions")
    place = next((i for i, c in enumerate(table) if c.get("type") == kind), None)
    return "status.conditions" if place is None else f"status.conditions[{place}]"


def said(condition: Mapping[str, Any], width: int = 160) -> str:
    """Return a condition in words, its reason and message verbatim; the message is cut at `width` characters."""
    kind, status, reason = (text(condition.get(name)) for name in ("type", "status", "reason"))
    message = " ".join(text(condition.get("message")).split())[:width].rstrip(" .")
    return f"{kind} is {status}" + (f" ({reason})" if reason else "") + (f": {message}" if message else "")


def because(condition: Mapping[str, Any], width: int = 160) -> str:
    """Return a condition's reason and message verbatim, to follow words that say what it means."""
    message = " ".join(text(condition.get("message")).split())[:width].rstrip(" .")
    return ": ".join(part for part in (text(condition.get("reason")), message) if part) or "no reason is given"


def stale(thing: Thing, condition: Mapping[str, Any] | None = None) -> bool:
    """Say whether a status, or one condition of it, was written for an older version of the object."""
    now = thing.number("metadata.generation")
    seen = (condition or {}).get("observedGeneration")
    if isinstance(seen, int) and not isinstance(seen, bool) and seen > 0:
        return seen < now
    return 0 < thing.number("status.observedGeneration") < now


def age_of(view: ClusterView, moment: object) -> timedelta:
    """Return how long ago a time was at the snapshot; very long where either of both is not known."""
    at = when(moment)
    return timedelta.max if at is None or view.now == LONG_AGO else view.now - at


def under_way(view: ClusterView, condition: Mapping[str, Any], patience: timedelta = PATIENCE) -> bool:
    """Say whether a condition is that of something that goes on, and for less than `patience`."""
    going = condition.get("status") == "Unknown" or bool(_UNDER_WAY.search(text(condition.get("reason"))))
    return going and age_of(view, condition.get("lastTransitionTime")) < patience


def read(view: ClusterView, thing: Thing, patience: timedelta = PATIENCE) -> Reading:
    """Read an object's conditions; those of an older version, and what is under way for a short time, are left out."""
    found = [(p, c) for p, c in _conditions(thing) if c.get("severity") not in ("Info", "None")]
    if not found and "status" not in thing.raw:
        return Reading(absent=True)
    bad = [(p, c) for p, c in found if _is_bad(c)]
    fresh = [(p, c) for p, c in bad if not stale(thing, c)]
    well = any(c.get("type") in _SUMMARIES and c.get("status") == "True" and not stale(thing, c) for _, c in found)
    known = GOOD_WHEN_TRUE | BAD_WHEN_TRUE | WARNINGS
    fresh = [(p, c) for p, c in fresh if not well or text(c.get("type")) in known]
    # The part that fails says more than the summary that follows from it.
    fresh.sort(key=lambda pair: (pair[1].get("type") in _SUMMARIES, pair[1].get("status") == "Unknown"))
    behind = all(stale(thing, c) for _, c in found) if found else stale(thing)
    # With a summary that is of now and good, what another condition said of an older version is of no matter.
    old = not fresh and (behind or (bool(bad) and not well and any(stale(thing, c) for _, c in bad)))
    return Reading(tuple((p, c) for p, c in fresh if not under_way(view, c, patience)), old)


def _is_bad(condition: Mapping[str, Any]) -> bool:
    kind, status = text(condition.get("type")), condition.get("status")
    if kind == "Progressing":  # for operators it is True while they work; a Deployment's tells of its deadline
        return status == "False" and condition.get("reason") == "ProgressDeadlineExceeded"
    good = good_when(kind)
    if status == "Unknown":
        return kind in ("Ready", "Available", "Accepted")  # what is to succeed may run for days
    return bool(good) and status in ("True", "False") and status != good
