"""What logs say of models and of gRPC calls: names that a server does not have, calls that fail, blind pickers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.expert import logs
from agents.expert.analyzers.gateway_status import claim
from agents.expert.analyzers.inference import OBJECTIVES, picker_of
from agents.expert.analyzers.referents import POOLS, selector_of
from agents.expert.analyzers.response_flags import GRPC, GRPC_MEANS
from agents.expert.analyzers.senders import AI_ROUTES
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Workload, workload_of
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import ClusterView, Log, Thing

LAST = 12
"""Lines from the end of a log in which a failure still counts."""
UNKNOWN_MODEL = re.compile(
    r"\bmodel [`'\"]+(?P<model>[^`'\"\s]{1,120})[`'\"]+ (?:does not exist|not found)", re.IGNORECASE
)
UNROUTED = re.compile(r"No matching route found\. It is likely (?:that|because) the model specified", re.IGNORECASE)
BLIND = re.compile(
    r"(?:fail\w*|error|unable|cannot|could not)\b.{0,60}\b(?:fetch\w*|scrap\w*|refresh\w*|collect\w*|get\w*)\b.{0,30}"
    r"\bmetrics?\b",
    re.IGNORECASE,
)
CODES = re.compile(
    r"rpc error: code = (?P<go>\w+)|StatusCode\.(?P<python>[A-Z_]+)|StatusRuntimeException: (?P<java>[A-Z_]+)|"
    r"grpc-status[\"']?[:=] ?[\"']?(?P<number>\d{1,2})\b|\bError: (?P<node>\d{1,2}) [A-Z_]+:"
)
MODEL_KEY = "x-ai-eg-model"
"""The header that Envoy AI Gateway fills from the model of a request's body."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return what logs say of models that are not served and of gRPC calls that fail."""
    found = _blind(view)
    for workload, log in _heard(view):
        tail = [line for line in log.lines if line.strip()][-LAST:]
        draft = (
            _model(view, workload, log, tail)
            or _unrouted(view, workload, log, tail)
            or _grpc(view, workload, log, tail)
        )
        if draft is not None:
            found.append(draft)
    return found


def _heard(view: ClusterView) -> Iterator[tuple[Workload, Log]]:
    """Yield the logs that were read of containers that run, with their workloads."""
    for log in view.logs:
        pod = view.find("Pod", log.namespace, log.pod) if not log.previous else None
        if pod is not None and not any(c.get("name") == log.container for c in pod.rows("spec.initContainers")):
            yield workload_of(view, pod), log


def served_names(workload: Workload) -> list[str]:
    """Return the names under which a model server serves, from its arguments: --served-model-name, else --model."""
    words = [w for c in rows(workload.spec.get("containers")) for k in ("command", "args") for w in texts(c.get(k))]
    words = [part for w in words for part in w.split()]
    found: dict[str, list[str]] = {"--served-model-name": [], "--model": [], "serve": []}
    for i, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag not in found:
            continue
        if value:
            found[flag].append(value)
            continue
        for after in words[i + 1 :]:
            if after.startswith("-"):
                break
            found[flag].append(after)
            if flag != "--served-model-name":
                break
    return found["--served-model-name"] or found["--model"] or found["serve"]


def _model(view: ClusterView, workload: Workload, log: Log, tail: list[str]) -> Draft | None:
    """Judge requests for a model that a server does not have: who renames to it, and what is served."""
    lines = [line for line in tail if UNKNOWN_MODEL.search(line)]
    if len(lines) < 2:
        return None
    match = UNKNOWN_MODEL.search(lines[-1])
    model = match["model"] if match is not None else ""
    served = served_names(workload)
    near = nearest(model, served) or (served[0] if len(served) == 1 else "")
    offers = f"; it serves {', '.join(served)}" if served else ""
    cited = view.cite_log(log, *lines[-2:])
    calls = frozenset({f"{workload.thing.key}#models"})
    holder = _renamer(view, model)
    if holder is not None:
        thing, field = holder
        fixes: list[Fix] = []
        if near:
            fixes.append(set_path(thing, field, near, f"Ask for model {near}", "the server serves it under that name"))
        fixes.append(outside(f"Or serve the model as {model} too", "a server may have several names for its model"))
        return claim(
            thing,
            field,
            f"{thing.kind} {thing.name} asks {workload.name()} for model {model}, which it does not serve{offers}.",
            0.85,
            Level.OBJECT,
            (cited, view.cite(thing, field)),
            fixes,
            about=calls,
            explains=calls,
        )
    path = f"{workload.template}.containers[0].args"
    return claim(
        workload.thing,
        path,
        f"{workload.name()} is asked for model {model}, which it does not serve{offers}. It answers 404.",
        0.62,
        Level.CALLER,
        (cited, view.cite(workload.thing, path)),
        (
            outside(
                f"Let callers ask for {near}"
                if near
                else f"Serve the model as {model}, or let callers ask for another",
                "the name in a request has to be one that the server was started with",
            ),
        ),
        about=calls,
        asks=r"404|model|not found|inference|llm",
    )


def _renamer(view: ClusterView, model: str) -> tuple[Thing, str] | None:
    """Return the object and field that give requests this model name on their way."""
    for route in view.all(AI_ROUTES):
        for i, rule in enumerate(route.rows("spec.rules")):
            for j, back in enumerate(rows(rule.get("backendRefs"))):
                if back.get("modelNameOverride") == model:
                    return route, f"spec.rules[{i}].backendRefs[{j}].modelNameOverride"
    for kind in OBJECTIVES:
        for rewrite in view.all(kind):
            for i, rule in enumerate(rewrite.rows("spec.rules")):
                for j, target in enumerate(rows(rule.get("targets"))):
                    if target.get("modelRewrite") == model:
                        return rewrite, f"spec.rules[{i}].targets[{j}].modelRewrite"
    return None


def _unrouted(view: ClusterView, workload: Workload, log: Log, tail: list[str]) -> Draft | None:
    """Judge a caller whose model no AIGatewayRoute knows."""
    lines = [line for line in tail if UNROUTED.search(line)]
    if not lines or not UNROUTED.search(tail[-1] + tail[-2] if len(tail) > 1 else tail[-1]):
        return None
    known = sorted(
        {
            text(head.get("value"))
            for route in view.all(AI_ROUTES)
            for rule in route.rows("spec.rules")
            for match in rows(rule.get("matches"))
            for head in rows(match.get("headers"))
            if text(head.get("name")).lower() == MODEL_KEY
        }
    )
    offers = f": it has routes for {', '.join(known)}" if known else ""
    return claim(
        workload.thing,
        workload.template,
        f"{workload.name()} asks the AI gateway for a model that no AIGatewayRoute names{offers}.",
        0.7,
        Level.CALLER,
        (view.cite_log(log, *lines[-2:]),),
        (
            outside(
                "Ask for one of these models, or add a rule for the model to an AIGatewayRoute",
                f"requests are matched by the header {MODEL_KEY}, which holds the model of the request",
            ),
        ),
        about=(f"{workload.thing.key}#calls",),
    )


def _grpc(view: ClusterView, workload: Workload, log: Log, tail: list[str]) -> Draft | None:
    """Judge gRPC calls that fail up to the end of a log, in words that no other analyzer knows."""
    end = tail[-4:]
    bad = [(line, code) for line in end if (code := _code(line)) in GRPC_MEANS]
    if len(bad) < 2 or not any(_code(line) for line in tail[-2:]):
        return None
    known = (logs.DNS, logs.REFUSED, logs.TIMEOUT, logs.CREDENTIALS, logs.TLS, logs.RBAC)
    if any(p.search(line) for p in known for line, _ in bad):
        return None
    line, code = bad[-1]
    means, act = GRPC_MEANS[code]
    if re.search(r"larger than max|message (?:is )?too large", line, re.IGNORECASE):
        means, act = (
            "a message is larger than the receiver takes",
            "Raise the largest message size on the receiving side",
        )
    if re.search(r"server preface|frame too large|content-type|unexpected HTTP status", line, re.IGNORECASE):
        means = "what answers is no gRPC server, or is reached over HTTP/1.1"
        act = "Check that the address leads to the gRPC port, and that proxies between speak HTTP/2 (appProtocol)"
    return claim(
        workload.thing,
        workload.template,
        f"gRPC calls of {workload.name()} fail with {code}: {means}.",
        0.58,
        Level.CALLER,
        (view.cite_log(log, *(x for x, _ in bad[-2:])),),
        (outside(act, "a log says so, and no object confirms it"),),
        about=(f"{workload.thing.key}#calls",),
    )


def _code(line: str) -> str:
    """Return the name of the gRPC status in a line, "" where there is none."""
    match = CODES.search(line[: logs.SHOWN])
    if match is None:
        return ""
    number = match["number"] or match["node"]
    if number:
        return GRPC.get(int(number), "")
    name = match["go"] or match["python"] or match["java"]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def _blind(view: ClusterView) -> list[Draft]:
    """Judge endpoint pickers that cannot read the metrics of their servers: they spread requests evenly."""
    found = []
    for pool in (p for kind in POOLS for p in view.all(kind)):
        ref = picker_of(pool)
        service = view.find("Service", pool.namespace, ref.name) if ref is not None else None
        if service is None:
            continue
        for pod in view.pods_with(service.namespace, service.map("spec.selector")):
            said = [
                (log, line)
                for c in rows(pod.at("spec.containers"))
                if (log := view.log(pod.namespace, pod.name, text(mapping(c).get("name")))) is not None
                for line in log.lines[-LAST:]
                if BLIND.search(line[: logs.SHOWN])
            ]
            if len(said) < 2:
                continue
            found.append(
                claim(
                    pool,
                    ref.path if ref is not None else "spec",
                    f"The endpoint picker of InferencePool {pool.name} cannot read the metrics of its servers, so that "
                    "requests are spread without regard to queues and caches.",
                    0.7,
                    Level.CALLER,
                    (view.cite_log(said[-1][0], *(line for _, line in said[-2:])),),
                    (
                        outside(
                            "Check that the pods of "
                            f"{', '.join(f'{k}={v}' for k, v in selector_of(pool).items())} serve "
                            "/metrics on the port and path that the endpoint picker is set to",
                            "the picker decides by queue length and cache use",
                        ),
                    ),
                    asks=r"slow|laten|cache|metric|even|balanc|queue|spread",
                )
            )
            break
    return found
