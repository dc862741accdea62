"""What a service account may not do, read from its own log, and the role that would have to say so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agents.expert import logs
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import Complaint
from agents.expert.remedies import create, json_patch, nearest, outside, set_path
from agents.expert.workload import Workload, containers, log_lines, workloads
from assistant.domain.action import RiskLevel
from assistant.domain.raw import rows, text, texts
from assistant.domain.view import ClusterView, Thing

ALWAYS_TOGETHER = ("get", "list", "watch")
LAST = 12
"""Lines from the end of a log in which a denial still counts: one that was followed by good work is over."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return the denials that running workloads log at the end."""
    found = []
    for workload in workloads(view):
        for pod in filter(view.logged, workload.pods[:3]):
            for container in containers(workload, pod):
                lines = log_lines(view, container)[-LAST:]
                said = [(log, line) for log, line in lines if logs.RBAC.search(line)]
                if said:
                    found.append(denial(view, workload, Complaint(said[-1][0], tuple(line for _, line in said))))
                    break
            else:
                continue
            break
    return found


def denial(view: ClusterView, workload: Workload, said: Complaint) -> Draft:
    """Return the draft for one denial: the role bound to the account that nearly grants it, or what is missing."""
    line, match = next((row, found) for row in reversed(said.lines) if (found := logs.RBAC.search(row)))
    namespace, account = match["ns"], match["sa"]
    verb, resource, group, place = match["verb"], match["resource"], match["group"], match["in"] or ""
    cluster = not place
    bound = _bound(view, namespace, account, place)
    cited = [view.cite_log(said.log, line)]
    broad = (verb,) if verb not in ALWAYS_TOGETHER else tuple(ALWAYS_TOGETHER)
    rule = {"apiGroups": [group], "resources": [resource], "verbs": list(broad)}
    fixes: list[Fix] = []
    need = (
        f"{verb} {resource}" + (f".{group}" if group else "") + (f" in {place}" if place else " in the whole cluster")
    )
    fitting = [(b, r) for b, r in bound if not cluster or b.kind == "ClusterRoleBinding"]
    if fitting:
        binding, role = fitting[0]
        field, index = _near_rule(role, group, resource, verb)
        cited.append(view.cite(role, "rules"))
        cited.append(view.cite(binding, "subjects"))
        if index is not None and field.endswith("apiGroups"):
            step = {"op": "add", "path": f"/rules/{index}/apiGroups/-", "value": group}
            fixes.append(
                json_patch(
                    role,
                    [step],
                    f"Let that rule of {role.kind} {role.name} count for API group {group or 'core'} too",
                    "the rule has the resource and the verb, under another group",
                    "remove the group again",
                )
            )
        elif index is not None and field.endswith("resourceNames"):
            fixes.append(
                set_path(
                    role, field, None, f"Let that rule count for all {resource}", f"{verb} cannot be limited to names"
                )
                if verb in ("list", "watch", "create", "deletecollection")
                else outside(
                    f"Add the name to resourceNames of {role.kind} {role.name}", "the rule counts for some only"
                )
            )
        elif index is not None and field.endswith("resources"):
            step = {"op": "add", "path": f"/rules/{index}/resources/-", "value": resource}
            fixes.append(
                json_patch(
                    role,
                    [step],
                    f"Let {role.kind} {role.name} also name {resource}",
                    "adds one word to the rule that already has the verbs",
                    f"remove {resource} again",
                )
            )
        elif index is not None:
            step = {"op": "add", "path": f"/rules/{index}/verbs/-", "value": verb}
            fixes.append(
                json_patch(
                    role,
                    [step],
                    f"Let {role.kind} {role.name} also {verb}",
                    "adds one verb to the rule that already names the resource",
                    f"remove {verb} again",
                )
            )
        else:
            step2 = {"op": "add", "path": "/rules/-", "value": rule}
            fixes.append(
                json_patch(
                    role,
                    [step2],
                    f"Add a rule for {resource} to {role.kind} {role.name}",
                    "grants this and nothing more",
                    "remove the rule again",
                )
            )
        target, key = role.target, role.key
        why = f"{role.kind} {role.name} does not grant it"
    else:
        broken = _dangling(view, namespace, account, place)
        missed = _missed(view, namespace, account, place, (verb, resource, group))
        narrow = next((b for b, r in bound if cluster and b.kind == "RoleBinding" and r.kind == "ClusterRole"), None)
        if missed is not None:
            binding, index, field = missed
            target, key = binding.target, binding.key
            other = binding.rows("subjects")[index]
            cited.append(view.cite(binding, "subjects"))
            why = (
                f"{binding.kind} {binding.name} gives the role to "
                f"{text(other.get('namespace')) or binding.namespace}/{text(other.get('name'))}"
            )
            subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
            fixes.append(
                json_patch(
                    binding,
                    [{"op": "replace", "path": f"/subjects/{index}", "value": subject}],
                    f"Name service account {namespace}/{account} in {binding.kind} {binding.name}",
                    "the role that it gives already has this right",
                    "put the old subject back",
                )
            )
        elif (better := _better_account(view, namespace, account, place, (verb, resource, group))) is not None:
            target, key, field = workload.thing.target, workload.thing.key, f"{workload.template}.serviceAccountName"
            cited.append(view.cite(workload.thing, f"{workload.template}.containers[0].name"))
            why = f"it runs as {account}, while service account {better} has this right"
            fixes.append(
                set_path(workload.thing, field, better, f"Run as service account {better}", "it has the right already")
            )
        elif narrow is not None:
            target, key, field = narrow.target, narrow.key, "roleRef (kind RoleBinding)"
            cited.append(view.cite(narrow, "roleRef", "metadata.namespace"))
            why = f"RoleBinding {narrow.name} gives {narrow.text('roleRef.name')} in its own namespace only"
        elif broken is not None:
            binding, lacking = broken
            target, key, field = binding.target, binding.key, "roleRef.name"
            cited.append(view.cite(binding, "roleRef"))
            why = f"{binding.kind} {binding.name} names {lacking}, which does not exist"
        else:
            target, key, field = workload.thing.target, workload.thing.key, f"{workload.template}.serviceAccountName"
            why = "no binding gives it any role" + ("" if place else " in the whole cluster")
        if not fixes:
            fixes += _grant(namespace, account, place, rule)
    return Draft(
        "rbac",
        target,
        field,
        f"{workload.name()} may not {need}: service account {account} is refused, and {why}.",
        0.93,
        Level.POLICY,
        tuple(cited),
        workload.keys | {key},
        workload.keys,
        tuple(fixes),
    )


def _bound(view: ClusterView, namespace: str, account: str, place: str) -> list[tuple[Thing, Thing]]:
    """Return (binding, role) of every binding of the account that counts in `place`, own namespace first."""
    found = []
    for binding in _bindings(view, place or namespace):
        if _binds(binding, namespace, account):
            kind, name = binding.text("roleRef.kind"), binding.text("roleRef.name")
            role = view.find(kind, binding.namespace if kind == "Role" else "", name)
            if role is not None:
                found.append((binding, role))
    return sorted(found, key=lambda pair: pair[1].kind != "Role")


def _bindings(view: ClusterView, place: str) -> list[Thing]:
    own = view.all("rolebindings.rbac.authorization.k8s.io", place) if place else []
    return [*own, *view.all("clusterrolebindings.rbac.authorization.k8s.io")]


def _binds(binding: Thing, namespace: str, account: str) -> bool:
    return any(
        s.get("kind") == "ServiceAccount"
        and s.get("name") == account
        and s.get("namespace", binding.namespace) == namespace
        for s in binding.rows("subjects")
    )


def _dangling(view: ClusterView, namespace: str, account: str, place: str) -> tuple[Thing, str] | None:
    for binding in _bindings(view, place or namespace):
        kind, name = binding.text("roleRef.kind"), binding.text("roleRef.name")
        if (
            _binds(binding, namespace, account)
            and view.find(kind, binding.namespace if kind == "Role" else "", name) is None
        ):
            return binding, f"{kind} {name}"
    return None


def grants(role: Thing, verb: str, resource: str, group: str) -> bool:
    """Say whether a role has a rule for a verb on a resource of a group; `*` counts for all."""
    return any(
        {verb, "*"} & set(texts(r.get("verbs")))
        and {resource, "*"} & set(texts(r.get("resources")))
        and {group, "*"} & set(texts(r.get("apiGroups")))
        for r in role.rows("rules")
    )


def _granting(view: ClusterView, place: str, want: tuple[str, str, str]) -> list[Thing]:
    """Return the bindings that count in a place and whose role has the right, those of the system left out."""
    found = []
    for binding in _bindings(view, place):
        kind, name = binding.text("roleRef.kind"), binding.text("roleRef.name")
        role = view.find(kind, binding.namespace if kind == "Role" else "", name)
        if role is not None and grants(role, *want) and not binding.name.startswith("system:"):
            found.append(binding)
    return found


def _missed(
    view: ClusterView, namespace: str, account: str, place: str, want: tuple[str, str, str]
) -> tuple[Thing, int, str] | None:
    """Return the binding that gives the right to a subject that nearly is the account: binding, index, field."""
    for binding in _granting(view, place, want):
        for i, subject in enumerate(binding.rows("subjects")):
            if subject.get("kind") != "ServiceAccount":
                continue
            name, home = text(subject.get("name")), text(subject.get("namespace")) or binding.namespace
            if name == account and home != namespace:
                return binding, i, f"subjects[{i}].namespace"
            unknown = view.complete("serviceaccounts", home) and view.find("ServiceAccount", home, name) is None
            if home == namespace and unknown and account != "default" and nearest(account, [name]):
                return binding, i, f"subjects[{i}].name"
    return None


def _better_account(
    view: ClusterView, namespace: str, account: str, place: str, want: tuple[str, str, str]
) -> str | None:
    """Return the account of the namespace that has the right, where the pods run as the default one; None otherwise."""
    if account != "default":
        return None
    names = [
        text(s.get("name"))
        for b in _granting(view, place, want)
        for s in b.rows("subjects")
        if s.get("kind") == "ServiceAccount" and (text(s.get("namespace")) or b.namespace) == namespace
    ]
    return names[0] if len(set(names)) == 1 and view.find("ServiceAccount", namespace, names[0]) else None


def _near_rule(role: Thing, group: str, resource: str, verb: str) -> tuple[str, int | None]:
    """Return the field of the rule that lacks one word only: the verb, or the resource; otherwise the rules."""
    table = rows(role.at("rules"))
    for i, rule in enumerate(table):
        full = verb in texts(rule.get("verbs")) and resource in texts(rule.get("resources"))
        if full and group in texts(rule.get("apiGroups")) and rule.get("resourceNames"):
            return f"rules[{i}].resourceNames", i
        if full and group not in texts(rule.get("apiGroups")):
            return f"rules[{i}].apiGroups", i
    for i, rule in enumerate(table):
        if (
            group in texts(rule.get("apiGroups"))
            and resource in texts(rule.get("resources"))
            and not rule.get("resourceNames")
        ):
            return f"rules[{i}].verbs", i
    for i, rule in enumerate(table):
        if group in texts(rule.get("apiGroups")) and verb in texts(rule.get("verbs")) and not rule.get("resourceNames"):
            return f"rules[{i}].resources", i
    return "rules", None


def _grant(namespace: str, account: str, place: str, rule: Mapping[str, Any]) -> list[Fix]:
    resource = text(rule["resources"][0])
    name = re.sub(r"[^a-z0-9-]", "-", f"{account}-{resource}")
    kind, prefix = ("Role", "") if place else ("ClusterRole", "cluster")
    api = "rbac.authorization.k8s.io/v1"
    meta = {"name": name, **({"namespace": place} if place else {})}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    role = create(
        f"{prefix}roles.rbac.authorization.k8s.io",
        {"apiVersion": api, "kind": kind, "metadata": meta, "rules": [rule]},
        f"Create {kind} {name}",
        "grants this and nothing more",
        RiskLevel.CRITICAL,
    )
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    binding = create(
        f"{prefix}rolebindings.rbac.authorization.k8s.io",
        {"apiVersion": api, "kind": f"{kind}Binding", "metadata": meta, "roleRef": ref, "subjects": [subject]},
        f"Bind it to service account {account}",
        "the account needs the binding too",
        RiskLevel.CRITICAL,
    )
    return [
        role,
        Fix(binding.title, binding.risk, binding.reason, binding.action, binding.kubectl, binding.undo, then=True),
    ]
