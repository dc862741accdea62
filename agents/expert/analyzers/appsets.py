"""OpenYurt: applications that reach no site, or not all of them, and Services whose topology is none."""

from __future__ import annotations

from dataclasses import replace

from agents.expert.analyzers.nodepools import RAVEN, selected
from agents.expert.analyzers.sites import POOLS
from agents.expert.analyzers.statuses import below, judge, untouched
from agents.expert.conditions import path_of_condition, read, stale
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.raw import mapping, text, texts
from assistant.domain.view import ClusterView, Thing

SETS = "yurtappsets.apps.openyurt.io"
KINDS = (SETS, POOLS, RAVEN)
TOPOLOGY = "openyurt.io/topologyKeys"
KEYS = ("openyurt.io/nodepool", "kubernetes.io/hostname", "kubernetes.io/zone")


def analyze(view: ClusterView) -> list[Draft]:
    """Return what keeps applications from their sites."""
    found = [d for s in view.all(SETS) if not s.deleting for d in _set(view, s)]
    return found + [d for s in view.all("services") if TOPOLOGY in s.annotations for d in _service(view, s)]


def _set(view: ClusterView, app: Thing) -> list[Draft]:
    if "status" not in app.raw:
        return [untouched(view, app)] if (view.now - app.created).total_seconds() > 600 else []
    named = _named(view, app)
    if named:
        return named
    lost = app.condition("PoolFound")
    selector = app.at("spec.nodepoolSelector")
    pools = selected(view, selector) if selector is not None else []
    none = view.complete(POOLS) and selector is not None and not pools and not texts(app.at("spec.pools"))
    if none or (lost.get("status") == "False" and not stale(app, lost) and not pools):
        return [_no_pools(view, app, lost.get("status") == "False")]
    reading = read(view, app)
    if reading.stale or reading.bad:
        return judge(view, app)
    total, ready = app.number("status.totalWorkloads"), app.number("status.readyWorkloads")
    return [_partly(view, app, total, ready)] if ready < total else []


def _named(view: ClusterView, app: Thing) -> list[Draft]:
    """Judge pools that are named and do not exist; another name cannot be meant, so the nearest one is offered."""
    if not view.complete(POOLS):
        return []
    known = [p.name for p in view.all(POOLS)]
    named = [(f"spec.pools[{i}]", n) for i, n in enumerate(texts(app.at("spec.pools")))]
    # v1alpha1 names them in a topology.
    named += [
        (f"spec.topology.pools[{i}].name", text(p.get("name"))) for i, p in enumerate(app.rows("spec.topology.pools"))
    ]
    for i, tweak in enumerate(app.rows("spec.workload.workloadTweaks")):
        named += [(f"spec.workload.workloadTweaks[{i}].pools[{j}]", n) for j, n in enumerate(texts(tweak.get("pools")))]
    found = []
    for field, name in named:
        if name and name not in known:
            near = nearest(name, known)
            fixes = [set_path(app, field, near, f"Name NodePool {near}", "that pool exists")] if near else []
            last = outside(f"Or create NodePool {name}", "right if the site is still to come")
            words = f"YurtAppSet {app.name} names NodePool {name}, which does not exist."
            found.append(_draft(view, app, field, words, 0.9, (*fixes, last)))
    return found


def _no_pools(view: ClusterView, app: Thing, agrees: bool) -> Draft:
    selector = mapping(app.at("spec.nodepoolSelector"))
    wanted = mapping(selector.get("matchLabels"))
    fixes: list[Fix] = []
    for key, value in wanted.items():
        near = nearest(text(value), [text(p.labels.get(key)) for p in view.all(POOLS)])
        if near:
            place = f"spec.nodepoolSelector.matchLabels['{key}']"
            fixes.append(set_path(app, place, near, f"Select pools with {key}={near}", "NodePools have that label"))
    fixes.append(outside("Or label the NodePools that are meant", "the set goes where its selector finds pools"))
    shown = ", ".join(f"{k}={v}" for k, v in wanted.items())
    words = f"YurtAppSet {app.name} reaches no site: its nodepoolSelector {shown} matches no NodePool."
    draft = _draft(view, app, "spec.nodepoolSelector", words, 0.95 if agrees else 0.85, fixes)
    if not agrees:
        return draft
    return replace(draft, citations=(*draft.citations, view.cite(app, path_of_condition(app, "PoolFound"))))


def _partly(view: ClusterView, app: Thing, total: int, ready: int) -> Draft:
    """Say that some sites lack the application: as long as they are offline that is to be expected."""
    fix = outside("Look at the sites whose workloads are not ready", "an offline site is no reason to change the set")
    words = f"YurtAppSet {app.name} is ready on {ready} of {total} sites."
    draft = _draft(view, app, "status.readyWorkloads", words, 0.4, (fix,), "status.totalWorkloads")
    return replace(draft, level=Level.CALLER, missing="the state of the sites that lack it", note=True)


def _draft(
    view: ClusterView, app: Thing, field: str, words: str, sure: float, fixes: list[Fix] | tuple[Fix, ...], *paths: str
) -> Draft:
    keys = below(view, app)
    cited = (view.cite(app, field, *paths),)
    return Draft("edge", app.target, field, words, sure, Level.OBJECT, cited, keys, keys, tuple(fixes))


def _service(view: ClusterView, service: Thing) -> list[Draft]:
    """Judge a Service whose topology YurtHub does not know, or that needs pools where there are none."""
    value, field = text(service.annotations.get(TOPOLOGY)).strip(), f"metadata.annotations['{TOPOLOGY}']"
    keys = frozenset({service.key})
    cited = (view.cite(service, field),)
    if value not in KEYS:
        near = nearest(value, KEYS)
        fixes = (
            [set_path(service, field, near, f"Use topology {near}", "that is one that YurtHub knows")] if near else []
        )
        last = outside(f"Use one of {', '.join(KEYS)}", "another value has no effect: traffic leaves the site")
        words = f"Service {service.name} asks for topology {value}, which does not exist: its traffic leaves the site."
        return [Draft("edge", service.target, field, words, 0.85, Level.OBJECT, cited, keys, keys, (*fixes, last))]
    if value == KEYS[0] and view.complete(POOLS) and not view.all(POOLS):
        fix = outside("Create the NodePools, or take the annotation away", "without any pool YurtHub lists no endpoint")
        words = f"Service {service.name} is to stay within its NodePool, and there is no NodePool at all."
        return [Draft("edge", service.target, field, words, 0.8, Level.OBJECT, cited, keys, keys, (fix,))]
    return []
