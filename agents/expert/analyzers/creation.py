"""Pods that are never created: quota, limit ranges, webhooks, Pod Security, policies; paused rollouts."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import delete, json_patch, merge_patch, nearest, outside, set_path
from agents.expert.workload import Workload, sets_of, workloads
from assistant.domain.action import RiskLevel
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
WEBHOOKS = (
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
)


def analyze(view: ClusterView) -> list[Draft]:
    """Return why controllers cannot create the pods that are wanted, and rollouts that are paused."""
    found = []
    for workload in workloads(view):
        if workload.wanted > len([p for p in workload.pods if not p.deleting]) or workload.thing.kind in (
            "Job",
            "ReplicaSet",
        ):
            event = _refusal(view, workload)
            draft = _judge(view, workload, event) if event is not None else None
            if draft is not None:
                found.append(draft)
        found += _paused(view, workload)
    return found


def _refusal(view: ClusterView, workload: Workload) -> Thing | None:
    """Return the newest FailedCreate event of a workload or of its current ReplicaSet."""
    short = [r for r in sets_of(view, workload.thing) if r.number("spec.replicas") > len(view.pods_of(r))]
    owners = [workload.thing, *short]
    if workload.thing.kind == "Job" and (workload.pods or workload.thing.rows("status.conditions")):
        return None
    events = [e for o in owners for e in view.events_of(o) if e.text("reason") in ("FailedCreate", "FailedToCreate")]
    return events[0] if events else None


def _judge(view: ClusterView, workload: Workload, event: Thing) -> Draft:
    message, thing = event.text("message"), workload.thing
    cited = [view.cite(event, "message")]

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
        return _webhook(view, workload, match["name"], message, cited)
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


def _webhook(view: ClusterView, workload: Workload, name: str, message: str, cited: list[Citation]) -> Draft:
    config, index = next(
        (
            (c, i)
            for r in WEBHOOKS
            for c in view.all(r)
            for i, w in enumerate(c.rows("webhooks"))
            if w.get("name") == name
        ),
        (None, 0),
    )
    if config is None:
        return Draft(
            "admission",
            workload.thing.target,
            workload.template,
            f"{workload.name()} lacks pods: webhook {name} cannot be called.",
            0.7,
            Level.WORKLOAD,
            tuple(cited),
            workload.keys,
            workload.keys,
        )
    place = f"webhooks[{index}]"
    service = mapping(config.at(f"{place}.clientConfig.service"))
    where = f"{text(service.get('namespace'))}/{text(service.get('name'))}"
    cited.append(view.cite(config, f"{place}.clientConfig.service", f"{place}.failurePolicy"))
    gone = "not found" in message
    why = (
        "does not exist"
        if gone
        else "does not answer"
        if "x509" not in message
        else "shows a certificate that is not trusted"
    )
    reopen = json_patch(
        config,
        [{"op": "replace", "path": f"/webhooks/{index}/failurePolicy", "value": "Ignore"}],
        "Let requests pass while the webhook is down",
        "opens the door that the webhook was to guard: only until it answers again",
        "set failurePolicy back to Fail",
    )
    note = outside(
        f"Bring the back end of the webhook back (Service {where})", "the policy stays in force; the least invasive way"
    )
    drop = delete(
        config,
        f"Delete the stale {config.kind} {config.name}",
        "only if nobody is meant to run it any more",
        RiskLevel.CRITICAL,
    )
    return Draft(
        "webhook" if not gone else "admission",
        config.target,
        f"{place}.clientConfig.service",
        f"{workload.name()} lacks pods: webhook {name} refuses every one, because its Service {where} "
        f"{why} (failurePolicy Fail).",
        0.95,
        Level.POLICY,
        tuple(cited),
        workload.keys | {config.key},
        workload.keys,
        (note, reopen, drop),
    )


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


def _paused(view: ClusterView, workload: Workload) -> list[Draft]:
    thing = workload.thing
    if thing.at("spec.paused") is not True or thing.number("status.updatedReplicas") >= thing.number(
        "spec.replicas", 1
    ):
        return []
    fix = set_path(
        thing, "spec.paused", None, f"Resume the rollout of {thing.name}", "the new template waits for nothing else"
    )
    return [
        Draft(
            "rollout",
            thing.target,
            "spec.paused",
            f"The rollout of {workload.name()} is paused, so its new template does not reach the pods.",
            0.9,
            Level.WORKLOAD,
            (view.cite(thing, "spec.paused", "status.updatedReplicas"),),
            frozenset({thing.key}),
            frozenset({thing.key}),
            (fix,),
        )
    ]
