"""Pods that are never created: quota, limit ranges, webhooks, Pod Security, policies."""

from __future__ import annotations

import re

from agents.expert.analyzers import webhooks
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import json_patch, merge_patch, nearest, outside, set_path
from agents.expert.workload import Workload, sets_of, workloads
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity, shown_bytes, shown_cpu

QUOTA = re.compile(
    r"exceeded quota: (?P<name>[\w.-]+), requested: (?P<asked>[^ ]+), used: (?P<used>[^ ]+), limited: (?P<limit>[^ ]+)"
)
QUOTA_MUST = re.compile(r"failed quota: (?P<name>[\w.-]+): must specify (?P<what>[\w.,-]+)")
WEBHOOK = re.compile(r'failed calling webhook \\?"(?P<name>[^"\\]+)')
REFUSED_BY = re.compile(r'admission webhook \\?"(?P<name>[^"\\]+)\\?" denied the request: ?(?P<why>.*)', re.DOTALL)
SECURITY = re.compile(r'violates PodSecurity \\?"(?P<level>[^"\\]+)\\?": (?P<why>.*)', re.DOTALL)
POLICY = re.compile(
    r"ValidatingAdmissionPolicy '(?P<name>[^']+)' with binding '(?P<binding>[^']+)' denied request: (?P<why>.*)",
    re.DOTALL,
)
RANGE = re.compile(
    r"(maximum|minimum) (?P<what>[\w.-]+) usage per (?P<per>\w+) is (?P<limit>[\w.]+), but (?:limit|"
    r"request) is (?P<is>[\w.]+)"
)
ACCOUNT = re.compile(
    r'serviceaccount \\?"(?P<name>[^"\\]+)\\?" not found|error looking up service account [^/]+/(?P<other>[^:]+)'
)
PRIORITY = re.compile(r"no PriorityClass with name (?P<name>\S+) was found")


def analyze(view: ClusterView) -> list[Draft]:
    """Return why controllers cannot create the pods that are wanted."""
    found = []
    for workload in workloads(view):
        refusal = _refusal(view, workload)
        if refusal is not None:
            found.append(_judge(view, workload, *refusal))
    return found


def _refusal(view: ClusterView, workload: Workload) -> tuple[str, Citation] | None:
    """Return what was said last when pods of a workload were to be made, None where none is lacking.

    Events are kept for an hour; the condition ReplicaFailure stays as long as the refusal.
    """
    thing = workload.thing
    live = [p for p in workload.pods if not p.deleting and p.text("status.phase") not in ("Failed", "Succeeded")]
    short = [r for r in sets_of(view, thing) if r.number("spec.replicas") > len(view.pods_of(r))]
    if workload.wanted <= len(live) and not short and thing.kind not in ("Job", "ReplicaSet"):
        return None
    if thing.kind == "Job" and (workload.pods or thing.rows("status.conditions")):
        return None
    owners = [thing, *short]
    events = [e for o in owners for e in view.events_of(o) if e.text("reason") in ("FailedCreate", "FailedToCreate")]
    if events:
        return events[0].text("message"), view.cite(events[0], "message")
    for owner in owners:
        for i, condition in enumerate(owner.rows("status.conditions")):
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                return text(condition.get("message")), view.cite(owner, f"status.conditions[{i}]")
    return None


def _judge(view: ClusterView, workload: Workload, message: str, told: Citation) -> Draft:
    thing = workload.thing
    cited = [told]

    def draft(
        category: str, target: Thing, field: str, why: str, sure: float, fixes: list[Fix], level: Level = Level.POLICY
    ) -> Draft:
        return Draft(
            category,
            target.target,
            field,
            f"{workload.name()} lacks pods: {why}.",
            sure,
            level,
            tuple(cited),
            workload.keys | {target.key},
            workload.keys,
            tuple(fixes),
        )

    if match := QUOTA.search(message):
        quota = view.find("ResourceQuota", thing.namespace, match["name"])
        asked, limits = _pairs(match["asked"]), _pairs(match["limit"])
        resource = next(iter(limits), "pods")
        if quota is None:
            return draft(
                "quota",
                thing,
                f"{workload.template}.containers[0].resources",
                f"quota {match['name']} is used up ({resource})",
                0.85,
                [],
            )
        cited.append(view.cite(quota, "spec.hard", "status.used"))
        need = quantity(_pairs(match["used"]).get(resource)) + quantity(asked.get(resource)) * max(
            1, workload.wanted - len(workload.pods)
        )
        show = (
            shown_cpu
            if "cpu" in resource
            else shown_bytes
            if re.search("memory|storage", resource)
            else lambda n: str(round(n))
        )
        new = show(need)
        return draft(
            "quota",
            quota,
            f"spec.hard[{resource}]",
            f"ResourceQuota {quota.name} allows {resource}={limits.get(resource)}, "
            f"{_pairs(match['used']).get(resource)} is used and each pod needs {asked.get(resource)}",
            0.95,
            [
                merge_patch(
                    quota,
                    {"spec": {"hard": {resource: new}}},
                    f"Raise {resource} of quota {quota.name} to {new}",
                    "just enough for the replicas that are wanted",
                    f"set {resource} back to {limits.get(resource)}",
                ),
                outside("Or request less for each pod, or want fewer replicas", "right if the quota must hold"),
            ],
        )
    if match := QUOTA_MUST.search(message):
        quota = view.find("ResourceQuota", thing.namespace, match["name"])
        if quota is not None:
            cited.append(view.cite(quota, "spec.hard"))
        return draft(
            "quota",
            thing,
            f"{workload.template}.containers[0].resources",
            f"quota {match['name']} wants every container to set {match['what']}",
            0.93,
            [
                outside(
                    f"Set {match['what']} in the pod template, or give the namespace a LimitRange with defaults",
                    "the values depend on what it uses",
                )
            ],
            Level.WORKLOAD,
        )
    if match := WEBHOOK.search(message):
        return webhooks.uncallable(view, workload, match["name"], message, cited)
    if match := REFUSED_BY.search(message):
        return draft(
            "admission",
            thing,
            workload.template,
            f'admission webhook "{match["name"]}" refuses them: {match["why"][:140]}',
            0.85,
            [outside("Change the pod template so that it meets the policy", "the policy is enforced on purpose")],
            Level.WORKLOAD,
        )
    if match := SECURITY.search(message):
        home = view.find("Namespace", "", thing.namespace)
        if home is not None:
            cited.append(view.cite(home, "metadata.labels"))
        return draft(
            "security",
            thing,
            f"{workload.template}.securityContext",
            f'Pod Security "{match["level"]}" refuses them: {match["why"][:200]}',
            0.93,
            _secure(workload, message),
            Level.WORKLOAD,
        )
    if match := POLICY.search(message):
        return draft(
            "admission",
            thing,
            workload.template,
            f"ValidatingAdmissionPolicy {match['name']} refuses them: {match['why'][:140]}",
            0.88,
            [outside("Change the pod template so that it meets the policy", "the policy is enforced on purpose")],
            Level.WORKLOAD,
        )
    if match := RANGE.search(message):
        limit = next(iter(view.all("limitranges", thing.namespace)), None)
        if limit is not None:
            cited.append(view.cite(limit, "spec.limits"))
        field = f"{workload.template}.containers[0].resources.limits.{match['what']}"
        return draft(
            "quota",
            thing,
            field,
            f"LimitRange allows {match[1]} {match['what']} {match['limit']}, and the template says {match['is']}",
            0.93,
            [
                set_path(
                    thing,
                    field,
                    match["limit"],
                    f"Set {match['what']} to {match['limit']}",
                    "the bound that the namespace sets",
                )
            ],
            Level.WORKLOAD,
        )
    if match := ACCOUNT.search(message):
        name = match["name"] or match["other"]
        near = nearest(name, [a.name for a in view.all("serviceaccounts", thing.namespace) if a.name != "default"])
        field = f"{workload.template}.serviceAccountName"
        cited.append(view.cite(thing, field))
        fixes = [set_path(thing, field, near, f"Use service account {near}", "that account exists")] if near else []
        return draft(
            "rbac",
            thing,
            field,
            f"service account {name} does not exist" + (f" ({near} does)" if near else ""),
            0.95,
            [*fixes, outside(f"Or create service account {name}", "right if other objects name it too")],
            Level.WORKLOAD,
        )
    if match := PRIORITY.search(message):
        field = f"{workload.template}.priorityClassName"
        classes = [c.name for c in view.all("priorityclasses.scheduling.k8s.io")]
        near = nearest(match["name"], classes)
        return draft(
            "scheduling",
            thing,
            field,
            f"PriorityClass {match['name']} does not exist",
            0.95,
            [
                set_path(
                    thing,
                    field,
                    near or None,
                    f"Use {near}" if near else "Drop the priority class",
                    "no such class exists",
                )
            ],
            Level.WORKLOAD,
        )
    return draft("other", thing, workload.template, message[:200], 0.6, [], Level.WORKLOAD)


def _pairs(words: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in words.split(",") if "=" in pair)


def _secure(workload: Workload, message: str) -> list[Fix]:
    if re.search(r"privileged|host(Network|PID|IPC|Path| namespaces)", message):
        return [
            outside(
                "Remove the host access from the pod template, or run it in a namespace meant for it",
                "the namespace forbids it on purpose",
            )
        ]
    steps = []
    for i, container in enumerate(rows(workload.spec.get("containers"))):
        own = {
            **mapping(container.get("securityContext")),
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        steps.append(
            {
                "op": "add",
                "path": "/" + workload.template.replace(".", "/") + f"/containers/{i}/securityContext",
                "value": own,
            }
        )
    return [
        json_patch(
            workload.thing,
            steps,
            "Give the containers the security context that the namespace asks for",
            "meets the restricted profile; the image must be able to run as non-root",
            "put the old securityContext back",
        )
    ]
