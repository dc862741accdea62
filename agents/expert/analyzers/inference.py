"""Gateway API Inference Extension: pools, their endpoint pickers (EPP), selectors and ports, objectives.

A pool may have every condition True and still answer 503, because conditions say nothing of the pods.
"""

from __future__ import annotations

import re
from dataclasses import replace

from agents.expert.analyzers.dangling import dangling
from agents.expert.analyzers.gateway_status import (
    Said,
    claim,
    conditions,
    from_status,
    outdated,
    undecided,
    wrong,
    young,
)
from agents.expert.analyzers.pool_pods import judge as judge_pods
from agents.expert.analyzers.referents import (
    INFERENCE,
    INFERENCE_TRIAL,
    LLM_D,
    POOLS,
    Answer,
    Reference,
    look_up,
    named,
    reference,
    selector_of,
)
from agents.expert.analyzers.senders import users
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside, set_path
from agents.expert.workload import is_ready, workload_of
from assistant.domain.raw import fold_int, rows, text, texts
from assistant.domain.view import ClusterView, Thing

DOUBTED = 0.65
"""What a missing endpoint picker is worth while the gateway says that it has found it."""
POOL_NAME = re.compile(r"--?pool-?[nN]ame(?:=(?P<value>.*))?")
PICKER_PORT = 9002
"""The port on which an endpoint picker usually serves ext_proc."""
OBJECTIVES = tuple(
    f"{kind}.{group}"
    for group in (LLM_D, INFERENCE_TRIAL)
    for kind in ("inferenceobjectives", "inferencemodelrewrites", "inferencemodels")
)


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with the pools of the view and with what refers to them."""
    found = [d for kind in POOLS for pool in view.all(kind) if not pool.deleting for d in _pool(view, pool)]
    for kind in OBJECTIVES:
        for objective in view.all(kind):
            group = INFERENCE if view.all(POOLS[0], objective.namespace) or kind.endswith(LLM_D) else INFERENCE_TRIAL
            raw = objective.map("spec.poolRef")
            ref = reference(objective, "spec.poolRef", raw, "InferencePool", group)
            said = conditions(objective)
            lost = dangling(view, ref, "belongs to", said) if raw else None
            bad = [s for s in wrong(said) if s.reason != "Pending"]
            if lost is not None:
                found.append(lost)
            elif bad:
                found.append(from_status(view, bad[0], Level.TRAFFIC))
    return found


def picker_of(pool: Thing) -> Reference | None:
    """Return the reference to a pool's endpoint picker, None where it has none (`extensionRef` in v1alpha2)."""
    for path in ("spec.endpointPickerRef", "spec.extensionRef"):
        raw = pool.map(path)
        if raw:
            ref = reference(pool, path, raw)
            return replace(ref, port=ref.port or fold_int(raw.get("portNumber")))
    return None


def consequence(pool: Thing) -> str:
    """Return what clients see while the endpoint picker of a pool does not answer (`failureMode`)."""
    mode = text(pool.at("spec.endpointPickerRef.failureMode")) or text(pool.at("spec.extensionRef.failureMode"))
    if mode == "FailOpen":
        return "with FailOpen requests go to any endpoint, so that cache affinity is lost silently"
    return "with FailClose every request to the pool gets a 5xx"


def _pool(view: ClusterView, pool: Thing) -> list[Draft]:
    said = [s for s in conditions(pool, "status.parents", "status.parent") if not _default(s)]
    reach = users(view, pool.key)
    found = _picker(view, pool, said)
    ref = picker_of(pool)
    service = look_up(view, ref)[1] if ref is not None else None
    aside = service.map("spec.selector") if service is not None else {}
    found += judge_pods(view, pool, selector_of(pool), aside)
    if not any(not d.missing for d in found):
        found += _told(view, pool, said, reach)
    return [replace(d, explains=d.explains | reach) for d in found]


def _default(said: Said) -> bool:
    """Say whether a condition is the placeholder that v1alpha2 had in every new pool (parentRef of kind Status)."""
    parent = said.part.get("parentRef")
    return isinstance(parent, dict) and parent.get("kind") == "Status"


def _picker(view: ClusterView, pool: Thing, said: list[Said]) -> list[Draft]:
    ref = picker_of(pool)
    if ref is None or ref.kind != "Service" or ref.group:
        return []
    lost = dangling(view, ref, "takes its endpoint picker from", said)
    if lost is not None:
        # Where the gateway still calls the reference resolved, a fault that is plain to see comes first.
        doubted = any(s.type == "ResolvedRefs" and s.status == "True" and not s.stale for s in said)
        sure = DOUBTED if doubted else lost.confidence
        return [replace(lost, summary=f"{lost.summary.rstrip('.')}; {consequence(pool)}.", confidence=sure)]
    answer, service = look_up(view, ref)
    if answer is not Answer.FOUND or service is None:
        return []
    told = [s for s in wrong(said) if s.reason == "InvalidExtensionRef"][:1]
    if service.text("spec.type") == "ExternalName":
        return [
            claim(
                pool,
                f"{ref.path}.name",
                f"InferencePool {pool.name} takes its endpoint picker from Service {service.name} of type "
                "ExternalName, "
                f"which gateways must not use; {consequence(pool)}.",
                0.95 if told else 0.85,
                Level.OBJECT,
                (view.cite(pool, ref.path, *(s.path for s in told)), view.cite(service, "spec.type")),
                (
                    outside(
                        "Name a Service that selects the pods of the endpoint picker", "the API rules ExternalName out"
                    ),
                ),
            )
        ]
    return _picker_port(view, ref, service, told) or _other_pool(view, ref, service) or _picker_pods(view, ref, service)


def _other_pool(view: ClusterView, ref: Reference, service: Thing) -> list[Draft]:
    """Judge an endpoint picker that is started for another pool (--pool-name, or --poolName in older versions)."""
    pool = ref.holder
    pods = view.pods_with(service.namespace, service.map("spec.selector"))
    if not pods:
        return []
    workload = workload_of(view, pods[0])
    for i, container in enumerate(rows(workload.spec.get("containers"))):
        args = texts(container.get("args"))
        for j, word in enumerate(args):
            match = POOL_NAME.fullmatch(word)
            if match is None or (match["value"] is None and j + 1 >= len(args)):
                continue
            own = match["value"] is not None
            name = match["value"] if own else args[j + 1]
            if name == pool.name or named(view, pool.resource, pool.namespace, name) is not None:
                return []
            field = f"{workload.template}.containers[{i}].args[{j if own else j + 1}]"
            value = word.replace(name, pool.name) if own else pool.name
            thing = workload.thing
            return [
                claim(
                    thing,
                    field,
                    f"{workload.name()} picks endpoints for InferencePool {name}, which does not exist, and not for "
                    f"{pool.name}, which sends its requests there; {consequence(pool)}.",
                    0.9,
                    Level.WORKLOAD,
                    (view.cite(thing, field), view.cite(pool, ref.path)),
                    (set_path(thing, field, value, f"Pick for pool {pool.name}", "that pool names it as its picker"),),
                    about=workload.keys,
                    explains=(*workload.keys, pool.key),
                )
            ]
    return []


def _picker_port(view: ClusterView, ref: Reference, service: Thing, told: list[Said]) -> list[Draft]:
    ports = [fold_int(p.get("port")) for p in service.rows("spec.ports")]
    if not ports or not ref.port or ref.port in ports:
        return []
    pool = ref.holder
    fitting = [
        fold_int(p.get("port"))
        for p in service.rows("spec.ports")
        if p.get("targetPort") == ref.port or "grpc" in text(p.get("name")) or "ext-proc" in text(p.get("name"))
    ]
    best = PICKER_PORT if PICKER_PORT in ports else (fitting or ports)[0] if len(fitting or ports) == 1 else 0
    field = f"{ref.path}.port.number" if ref.path.endswith("endpointPickerRef") else f"{ref.path}.portNumber"
    fixes: list[Fix] = [set_path(pool, field, best, f"Ask port {best}", "the Service serves that port")] if best else []
    fixes.append(outside(f"Or let Service {service.name} serve port {ref.port}", "right if the picker listens there"))
    return [
        claim(
            pool,
            field,
            f"InferencePool {pool.name} asks for its endpoint picker on port {ref.port} of Service "
            f"{service.name}, which "
            f"serves {', '.join(map(str, ports))}; {consequence(pool)}.",
            0.93 if told else 0.88,
            Level.OBJECT,
            (view.cite(pool, ref.path, *(s.path for s in told)), view.cite(service, "spec.ports")),
            fixes,
        )
    ]


def _picker_pods(view: ClusterView, ref: Reference, service: Thing) -> list[Draft]:
    """Return the draft for an endpoint picker that is down; the root cause is whatever keeps its pods from ready."""
    pool, selector = ref.holder, service.map("spec.selector")
    if not selector or not view.complete("pods", service.namespace):
        return []
    pods = view.pods_with(service.namespace, selector)
    if any(is_ready(p) for p in pods):
        return []
    return [
        claim(
            pool,
            ref.path,
            f"The endpoint picker of InferencePool {pool.name} is down: Service {service.name} has no ready "
            "endpoint, and "
            f"{consequence(pool)}.",
            0.5,
            Level.TRAFFIC,
            (view.cite(pool, ref.path), view.cite(service, "spec.selector")),
            about=(service.key, *(p.key for p in pods)),
            missing=f"why Service {service.name} has no ready endpoint",
        )
    ]


def _told(view: ClusterView, pool: Thing, said: list[Said], reach: frozenset[str]) -> list[Draft]:
    bad = [s for s in wrong(said) if s.reason not in ("Pending", "HTTPRouteNotAccepted")]
    routed = [s for s in wrong(said) if s.reason == "HTTPRouteNotAccepted"]
    if bad:
        ref = picker_of(pool)
        blamed = ref is not None and bad[0].reason in ("InvalidExtensionRef", "EndpointPickerRefMissing")
        return [
            from_status(view, bad[0], Level.TRAFFIC, sure=0.8, place=ref.path if ref is not None and blamed else "")
        ]
    if routed and not reach:
        return [from_status(view, routed[0], Level.TRAFFIC)]
    stale = [s for s in said if s.bad and s.stale]
    if stale:
        return [outdated(view, stale[0])]
    waiting = undecided(said, "Accepted")
    if young(view, pool, *waiting):
        return []
    if waiting:
        return [from_status(view, waiting[0], Level.TRAFFIC, sure=0.6)]
    return [] if said else [_orphan(view, pool, reach)]


def _orphan(view: ClusterView, pool: Thing, reach: frozenset[str]) -> Draft:
    """Return the draft for a pool that no gateway has taken; without any route that may well be meant."""
    routes = sorted(k.split("/")[-1] for k in reach)
    if routes:
        why = f"although route {', '.join(routes)} sends traffic to it"
        note = outside(
            "Switch the Inference Extension on in the gateway's controller and restart it, or attach the route to a "
            "Gateway that supports InferencePool",
            "a gateway that supports pools writes itself into status.parents",
        )
    else:
        why = "and no route sends traffic to it"
        note = outside(
            f"Attach an HTTPRoute with InferencePool {pool.name} as its back end to a Gateway",
            "a pool is only served through a route",
        )
    return claim(
        pool,
        "status.parents",
        f"No gateway has taken InferencePool {pool.name}: its status names no parent, {why}.",
        0.8,
        Level.CALLER if routes else Level.TRAFFIC,
        (view.cite(pool, "metadata.name", "spec.selector", "status"),),
        (note,),
        asks="" if routes else r"inference|model|pool|llm|gateway|route",
    )
