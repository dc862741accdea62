"""What changed before a fault, told from the history that objects carry: revisions, creation times, who wrote last."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.expert.draft import Draft
from agents.expert.workload import revision, sets_of
from assistant.domain.raw import text
from assistant.domain.thing import when
from assistant.domain.view import LONG_AGO, ClusterView, Thing

NEWS = timedelta(hours=1)
"""A change within this time before the snapshot makes its object the likelier cause."""
AFTER = timedelta(minutes=1)
"""What was made this much later than what it disturbs was made on top of it, and not together with it."""

# Parts of the control plane write into objects all day; none of it is somebody's change.
CONTROL_PLANE = re.compile(r"kube-(controller-manager|scheduler|apiserver)|kubelet|k3s|cloud-controller-manager")
MANAGER = re.compile(r"[\w.:/@ -]{1,60}")


@dataclass(frozen=True, slots=True)
class Change:
    """What changed and when; `news` says that it did so shortly before the snapshot."""

    text: str
    at: datetime
    news: bool


def change_of(view: ClusterView, draft: Draft) -> Change | None:
    """Return the change that a claim came with, None where the objects tell of none.

    A Deployment's revisions are its ReplicaSets; the newest one counts where an older one is left and was made before.
    Any other object counts where it is younger than the workload that it disturbs, or where somebody wrote into it
    after it was made (metadata.managedFields: time and manager; a recorded cluster may have dropped them).
    """
    target = view.find(draft.target.kind, draft.target.namespace, draft.target.name)
    heads = [
        t for k in sorted(draft.about | draft.explains) if (t := view.by_key(k)) is not None and t.kind == "Deployment"
    ]
    for head in [target] if target is not None and target.kind == "Deployment" else []:
        found = _revision(view, head)
        if found is not None:
            return found
    if target is None or target.created == LONG_AGO:
        return None
    if (written := _written(view, target)) is not None:
        return written
    if target.kind == "Deployment":
        return None
    older = [h for h in heads if h.created != LONG_AGO and h.created + AFTER < target.created]
    if not older:
        return None
    text = (
        f"{target.kind} {target.name} was made {ago(view.now - target.created)}, after {older[0].kind} {older[0].name}"
    )
    return Change(text, target.created, view.now - target.created <= NEWS)


def _revision(view: ClusterView, head: Thing) -> Change | None:
    sets = sorted(sets_of(view, head), key=revision)
    if len(sets) < 2 or revision(sets[-1]) != revision(head) or sets[-1].created == LONG_AGO:
        return None
    newest = sets[-1]
    # Going back to an old template makes its ReplicaSet current again: it is the newest revision and not the youngest.
    if any(s.created > newest.created for s in sets[:-1]):
        return Change(f"since revision {revision(head)}, which went back to an older template", newest.created, False)
    age = view.now - newest.created
    return Change(f"since revision {revision(head)}, {ago(age)}", newest.created, age <= NEWS)


def _written(view: ClusterView, target: Thing) -> Change | None:
    # ManagedFieldsEntry: the time of a manager's entry moves when that manager changes any field of it; `status` is
    # written by controllers.
    edits = [
        (at, text(each.get("manager")))
        for each in target.rows("metadata.managedFields")
        if not text(each.get("subresource")) and (at := when(each.get("time"))) and at > target.created + AFTER
    ]
    edits = [(at, by) for at, by in edits if MANAGER.fullmatch(by) and not CONTROL_PLANE.match(by)]
    if not edits:
        return None
    at, by = max(edits)
    age = view.now - at
    return Change(f"{target.kind} {target.name} was last changed {ago(age)} by {by}", at, age <= NEWS)


def ago(age: timedelta) -> str:
    """Return an age as people say it: `12 min ago`, `3 h ago`, `4 days ago`."""
    minutes = max(0, round(age.total_seconds() / 60))
    if minutes < 100:
        return f"{minutes} min ago"
    return f"{round(minutes / 60)} h ago" if minutes < 48 * 60 else f"{round(minutes / 1440)} days ago"
