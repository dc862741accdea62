"""Admission webhooks that cannot be called, so that everything they guard is refused."""

from __future__ import annotations

import re
from dataclasses import replace

from agents.expert.analyzers.resolving import backends
from agents.expert.draft import Draft, Level
from agents.expert.remedies import delete, json_patch, outside, set_path
from agents.expert.workload import Workload, is_ready, workloads
from assistant.domain.action import RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, text
from assistant.domain.view import ClusterView, Thing

WEBHOOKS = (
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
)
REASONS = (
    (
        re.compile(r"certificate has expired|not yet valid"),
        "clientConfig.service",
        "shows a certificate that is not valid now",
    ),
    (re.compile(r"x509|certificate"), "clientConfig.caBundle", "shows a certificate that its caBundle does not trust"),
    (
        re.compile(r"deadline exceeded|Client\.Timeout|timed? ?out"),
        "timeoutSeconds",
        "does not answer within its timeoutSeconds",
    ),
    (
        re.compile(r"could not find the requested resource|404"),
        "clientConfig.service.path",
        "does not know the path that is asked",
    ),
    (re.compile(r"connection refused|no endpoints|no route"), "clientConfig.service", "does not answer"),
)


def uncallable(view: ClusterView, workload: Workload, name: str, message: str, cited: list[Citation]) -> Draft:
    """Return the draft for a webhook that refuses pods because it cannot be called (failurePolicy Fail)."""
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
            (outside(f"Bring the back end of webhook {name} back", "its configuration could not be read"),),
        )
    place = f"webhooks[{index}]"
    service = mapping(config.at(f"{place}.clientConfig.service"))
    home, called = text(service.get("namespace")), text(service.get("name"))
    gone = f'service "{called}" not found' in message
    field, why = ("clientConfig.service", "does not exist") if gone else _why(message)
    cited.append(view.cite(config, f"{place}.clientConfig.service", f"{place}.failurePolicy"))
    note = outside(
        f"Bring the back end of the webhook back (Service {home}/{called})",
        "the policy stays in force; the least invasive way",
    )
    reopen = json_patch(
        config,
        [{"op": "replace", "path": f"/webhooks/{index}/failurePolicy", "value": "Ignore"}],
        "Let requests pass while the webhook is down",
        "opens the door that the webhook was to guard: only until it answers again",
        "set failurePolicy back to Fail",
    )
    drop = delete(
        config,
        f"Delete the stale {config.kind} {config.name}",
        "only if nobody is meant to run it any more",
        RiskLevel.CRITICAL,
    )
    draft = Draft(
        "admission" if gone else "webhook",
        config.target,
        f"{place}.{field}",
        f"{workload.name()} lacks pods: webhook {name} refuses every one, because its Service {home}/{called} {why} "
        "(failurePolicy Fail).",
        0.95,
        Level.POLICY,
        tuple(cited),
        workload.keys | {config.key},
        workload.keys,
        (note, replace(reopen, risk=RiskLevel.CRITICAL), drop),
    )
    behind = view.find("Service", home, called)
    return draft if behind is None or gone else _behind(view, draft, behind)


def _why(message: str) -> tuple[str, str]:
    return next(
        ((f, w) for pattern, f, w in REASONS if pattern.search(message)), ("clientConfig.service", "does not answer")
    )


def _behind(view: ClusterView, draft: Draft, service: Thing) -> Draft:
    """Let what is wrong with the pods behind a webhook explain it: the webhook then follows from that."""
    pods = backends(view, service)
    if any(is_ready(p) for p in pods):
        return draft
    wanted = service.map("spec.selector")
    keys = {service.key, *(p.key for p in pods)}
    for workload in workloads(view):
        labels = workload.thing.map(f"{workload.template.removesuffix('.spec')}.metadata.labels")
        if wanted and all(labels.get(k) == v for k, v in wanted.items()):
            keys.add(workload.thing.key)
            if workload.thing.at("spec.replicas") == 0:
                up = set_path(
                    workload.thing, "spec.replicas", 1, f"Scale {workload.thing.name} up", "it answers the webhook"
                )
                draft = replace(draft, fixes=(up, *draft.fixes))
    return replace(draft, about=draft.about | keys, level=Level.TRAFFIC)
