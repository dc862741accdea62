"""Routes that their Gateway does not take, with the change that lets it: on the route, the Gateway or the namespace."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from agents.expert.analyzers.attachment import Listener, Refusal, listeners, refusal
from agents.expert.analyzers.gateway_status import Said, claim
from agents.expert.analyzers.referents import ROUTES, Reference
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import json_patch, merge_patch, nearest, outside, pointer, set_path
from assistant.domain.evidence import Citation
from assistant.domain.raw import rows, text, texts
from assistant.domain.view import ClusterView, Thing, selects

HOME = "kubernetes.io/metadata.name"
"""The label with its own name that the API server gives every namespace."""


def misattached(
    view: ClusterView, ref: Reference, raw: Mapping[str, Any], parent: Thing, said: list[Said]
) -> Draft | None:
    """Return the draft for a route that a Gateway or ListenerSet does not take; None where it does.

    The objects are compared; the status only makes surer. Where the controller has accepted the route as it is now, its
    word counts: implementations may take more than the API asks of them.
    """
    accepted = [s for s in said if s.type == "Accepted" and not s.stale]
    if any(s.status == "True" for s in accepted):
        return None
    why = refusal(view, ref.holder, raw, parent)
    if why is None:
        return None
    cited = [view.cite(ref.holder, ref.path, *(s.path for s in accepted[:1]))]
    sure = 0.95 if accepted else 0.82
    match why.reason:
        case "NoMatchingParent":
            return _section(view, ref, raw, why, sure, cited)
        case "kind":
            return _kind(view, ref, parent, why, sure, cited)
        case "NoMatchingListenerHostname":
            return _host(view, ref, parent, why, sure, cited)
        case _:
            return _namespace(view, ref, parent, why, sure, cited)


def _section(
    view: ClusterView, ref: Reference, raw: Mapping[str, Any], why: Refusal, sure: float, cited: list[Citation]
) -> Draft:
    route, owner = ref.holder, why.near[0].owner
    usable = [x for x in why.near if x.takes(route.kind)] or list(why.near)
    section = ref.section
    known = [x.name for x in why.near]
    if section and section not in known:
        field, what = f"{ref.path}.sectionName", f"a listener named {section}"
        new = nearest(section, [x.name for x in usable]) or (usable[0].name if len(usable) == 1 else "")
        offers = ", ".join(known)
        fixes = [set_path(route, field, new, f"Attach it to listener {new}", "that listener exists")] if new else []
    else:
        ports = list(dict.fromkeys(x.port for x in usable))
        named = [x for x in why.near if section and x.name == section]
        field, what = f"{ref.path}.port", f"a listener on port {ref.port}"
        port = named[0].port if named else ports[0] if len(ports) == 1 else 0
        offers = ", ".join(f"{x.name} on {x.port}" for x in why.near)
        fixes = [set_path(route, field, port, f"Attach it to port {port}", "a listener has that port")] if port else []
    fixes.append(outside(f"Or add {what} to {owner.kind} {owner.name}", "right if the reference is meant"))
    return claim(
        route,
        field,
        f"{route.kind} {route.name} asks {owner.kind} {owner.name} for {what}, which it does not have (it has "
        f"{offers}).",
        sure,
        Level.OBJECT,
        (*cited, view.cite(owner, "spec.listeners")),
        fixes,
    )


def _kind(view: ClusterView, ref: Reference, parent: Thing, why: Refusal, sure: float, cited: list[Citation]) -> Draft:
    route, one = ref.holder, why.near[0]
    others = [x for x in listeners(parent) if x.takes(route.kind) and x.admits(view, route.namespace)]
    cited.append(view.cite(parent, one.path))
    kinds = (
        rows(one.spec.get("allowedRoutes", {}).get("kinds")) if isinstance(one.spec.get("allowedRoutes"), dict) else []
    )
    because = (
        f"which only takes {', '.join(text(k.get('kind')) for k in kinds)}"
        if kinds
        else f"whose protocol {text(one.spec.get('protocol'))} does not carry it"
    )
    summary = f"{route.kind} {route.name} is attached to listener {one.name} of {parent.kind} {parent.name}, {because}."
    if ref.section and others:
        field = f"{ref.path}.sectionName"
        fixes = [
            set_path(route, field, others[0].name, f"Attach it to listener {others[0].name}", "that one takes its kind")
        ]
        return claim(route, field, summary, sure, Level.OBJECT, cited, fixes)
    if kinds:
        field = f"{one.path}.allowedRoutes.kinds"
        entry = {"group": route.api_version.partition("/")[0], "kind": route.kind}
        fix = set_path(
            parent, field, [*kinds, entry], f"Let listener {one.name} take {route.kind}s", "its protocol can carry them"
        )
        return claim(parent, field, summary, sure, Level.OBJECT, cited, (fix,), about=(route.key,))
    note = outside(
        f"Add a listener that carries {route.kind}s to {parent.kind} {parent.name}", "none of its listeners does"
    )
    return claim(route, ref.path, summary, sure, Level.OBJECT, cited, (note,))


def _host(view: ClusterView, ref: Reference, parent: Thing, why: Refusal, sure: float, cited: list[Citation]) -> Draft:
    route = ref.holder
    hosts = texts(route.at("spec.hostnames"))
    offers = list(dict.fromkeys(x.host for x in why.near))
    cited[0:1] = [view.cite(route, "spec.hostnames"), cited[0], view.cite(parent, "spec.listeners")]
    summary = (
        f"No listener of {parent.kind} {parent.name} serves {', '.join(hosts)} of {route.kind} {route.name}: it serves "
        f"{', '.join(offers)}."
    )
    fixes: list[Fix] = []
    all_hosts = _hosts_on(view, parent)
    refused = [hosts[0] for hosts in all_hosts if hosts]
    if len(why.near) == 1 and len(refused) > 1 and not any(why.near[0].serves(hosts) for hosts in all_hosts):
        # Not one route of the Gateway falls to its listener, so that it is the listener that is wrong.
        suffix = _common(refused)
        field = f"{why.near[0].path}.hostname"
        if suffix:
            fixes = [set_path(parent, field, suffix, f"Serve {suffix}", "all its routes are of that domain")]
        note = outside("Or correct the host names of the routes", "right if the listener's is meant")
        return claim(parent, field, summary, sure, Level.OBJECT, cited, (*fixes, note), about=(route.key,))
    new = _meant(hosts[0], offers)
    field = "spec.hostnames[0]" if len(hosts) == 1 else "spec.hostnames"
    if new and len(hosts) == 1:
        fixes = [set_path(route, field, new, f"Use host name {new}", "a listener serves that name")]
    fixes.append(
        outside(f"Or add a listener for {hosts[0]} to {parent.kind} {parent.name}", "right if clients use that name")
    )
    return claim(route, field, summary, sure, Level.OBJECT, cited, fixes)


def _meant(host: str, offers: list[str]) -> str:
    """Return the host name of a listener that is most like this one; the part under a "*." is taken from the route."""
    options = {o if not o.startswith("*.") else f"{host.split('.')[0]}{o[1:]}" for o in offers if o}
    close = difflib.get_close_matches(host, sorted(options), n=1, cutoff=0.7)
    return close[0] if close and close[0] != host else ""


def _hosts_on(view: ClusterView, parent: Thing) -> list[list[str]]:
    """Return the host names of each route that names a Gateway or ListenerSet as parent."""
    index = view.memo("hosts on", logs=False)
    if "all" not in index:
        index["all"] = {}
        for route in (r for kind in ROUTES for r in view.all(kind)):
            for raw in route.rows("spec.parentRefs"):
                key = (text(raw.get("namespace")) or route.namespace, text(raw.get("name")))
                index["all"].setdefault(key, []).append(texts(route.at("spec.hostnames")))
    found: list[list[str]] = index["all"].get((parent.namespace, parent.name), [])
    return found


def _common(hosts: list[str]) -> str:
    """Return "*." and the domain that all these names are directly under, "" where they differ in it."""
    domains = {h.partition(".")[2] for h in hosts}
    only = next(iter(domains)) if len(domains) == 1 else ""
    return f"*.{only}" if "." in only else ""


def _namespace(
    view: ClusterView, ref: Reference, parent: Thing, why: Refusal, sure: float, cited: list[Citation]
) -> Draft:
    route, one = ref.holder, why.near[0]
    place = f"{one.path}.allowedRoutes.namespaces"
    cited.append(view.cite(parent, place if one.spec.get("allowedRoutes") else one.path))
    home = view.find("Namespace", "", route.namespace)
    summary = f"{parent.kind} {parent.name} does not take {route.kind} {route.name} of namespace {route.namespace}: "
    summary += {
        "Same": f"its listener {one.name} only takes routes of its own namespace {parent.namespace}.",
        "None": f"its listener {one.name} takes no routes.",
    }.get(one.origin, f"its listener {one.name} asks for labels that the namespace does not carry.")
    move = outside("Or attach the route to a Gateway that takes it", "right if that Gateway is not meant for it")
    if one.origin == "Selector":
        wanted = {str(k): str(v) for k, v in _labels(one).items()}
        any_fits = any(selects(one.selector, n.labels) for n in view.all("namespaces"))
        if home is not None and wanted and any_fits:
            fix = merge_patch(
                home,
                {"metadata": {"labels": wanted}},
                f"Label namespace {home.name} as the Gateway asks",
                "other namespaces carry these labels",
                "remove the labels again",
            )
            cited.append(view.cite(home, "metadata.labels", "metadata.name"))
            return claim(
                home, "metadata.labels", summary, sure, Level.OBJECT, cited, (fix, move), explains=(route.key,)
            )
        if any_fits:
            note = outside(
                f"Label namespace {route.namespace} as the Gateway's selector asks", "others carry the labels"
            )
            return claim(parent, place, summary, sure, Level.OBJECT, cited, (note, move), about=(route.key,))
    names = [parent.namespace, route.namespace] if one.origin == "Same" else [route.namespace]
    value: dict[str, Any] = {
        "from": "Selector",
        "selector": {"matchExpressions": [{"key": HOME, "operator": "In", "values": names}]},
    }
    holds = isinstance(one.spec.get("allowedRoutes"), dict)
    step = {"op": "add", "path": pointer(place), "value": value}
    if not holds:
        step = {"op": "add", "path": pointer(f"{one.path}.allowedRoutes"), "value": {"namespaces": value}}
    fix = json_patch(
        parent,
        [step],
        f"Let listener {one.name} take routes of namespace {route.namespace}",
        "allows this namespace beside the Gateway's own, and no other",
        "put allowedRoutes back as it was",
    )
    about = frozenset({route.key})
    return claim(parent, place, summary, sure, Level.OBJECT, cited, (fix, move), about=about, explains=about)


def _labels(listener: Listener) -> Mapping[str, Any]:
    found = listener.selector.get("matchLabels")
    return found if isinstance(found, dict) else {}
