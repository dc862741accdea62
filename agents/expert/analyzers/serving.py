"""KServe: models that find no runtime, do not load, or are not reached (serving.kserve.io v1beta1 and v1alpha1/2)."""

from __future__ import annotations

import re
from dataclasses import replace

from agents.expert.analyzers.statuses import MEANT, claim, judge, told
from agents.expert.conditions import because, read, stale
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.raw import text
from assistant.domain.view import ClusterView, Thing

SERVICES = "inferenceservices.serving.kserve.io"
LLM = "llminferenceservices.serving.kserve.io"
RUNTIMES = ("servingruntimes.serving.kserve.io", "clusterservingruntimes.serving.kserve.io")
KINDS = (SERVICES, LLM)
STOP = "serving.kserve.io/stop"
_WHOLE = (
    "Ready",
    "WorkloadsReady",
    "RouterReady",
    "RoutesReady",
    "LatestDeploymentReady",
    "PredictorConfigurationReady",
)
"""Conditions that sum others up: the part that fails is told before them."""
INITIALIZER = "storage-initializer"
_MODEL_URIS = ("spec.predictor.model.storageUri", "spec.predictor.storageUri", "spec.model.uri")
_REFUSED = re.compile(r"\b40[13]\b|denied|forbidden|unauthori[sz]ed|credential|gated", re.IGNORECASE)
_NOT_GOT = re.compile(
    rf"{_REFUSED.pattern}|\b404\b|NoSuch|not found|does not exist|no such|failed to (?:fetch|download)|no space left",
    re.IGNORECASE,
)
_FAILED = ("BlockedByFailedLoad", "InvalidSpec")


def analyze(view: ClusterView) -> list[Draft]:
    """Return why models are not served."""
    found = [d for s in view.all(SERVICES) if not s.deleting for d in _service(view, s)]
    return found + [d for s in view.all(LLM) if not s.deleting for d in _llm(view, s)]


def _service(view: ClusterView, service: Thing) -> list[Draft]:
    stopped = service.annotations.get(STOP) == "true"
    if stopped or service.condition("Stopped").get("status") == "True":
        field = f"metadata.annotations['{STOP}']"
        fix: Fix = outside("Take the annotation that stops it away", "ask first who stopped it")
        if stopped:
            fix = set_path(
                service, field, None, f"Start InferenceService {service.name} again", "ask first who stopped it"
            )
        paths = (field, "status.conditions")
        return [claim(view, service, "other", field, "is stopped", 0.85, (fix,), paths, asks=MEANT)]
    seen = service.number("status.observedGeneration")
    if 0 < seen < service.number("metadata.generation"):
        return judge(view, service)
    failure = service.map("status.modelStatus.lastFailureInfo")
    failing = service.text("status.modelStatus.transitionStatus") in _FAILED
    failing = failing or service.text("status.modelStatus.states.targetModelState") == "FailedToLoad"
    if failing and service.condition("Ready").get("status") != "True":
        return [_model(view, service, text(failure.get("reason")), " ".join(text(failure.get("message")).split()))]
    return _storage(view, service) or _parts(view, service)


def _storage(view: ClusterView, service: Thing) -> list[Draft]:
    """Judge a model that the storage initializer does not get, by its log; the pods that wait for it follow."""
    field = next((f for f in _MODEL_URIS if service.text(f)), "")
    if not field or service.condition("Ready").get("status") == "True":
        return []
    for pod in view.pods_of(service):
        states = [s for s in pod.rows("status.initContainerStatuses") if s.get("name") == INITIALIZER]
        if not states or states[0].get("ready") is True:
            continue
        logs = [view.log(pod.namespace, pod.name, INITIALIZER, previous) for previous in (False, True)]
        found = (
            (log, line) for log in logs if log is not None for line in reversed(log.lines) if _NOT_GOT.search(line)
        )
        log, line = next(found, (None, ""))
        if log is None:
            continue
        refused, uri = _REFUSED.search(line), service.text(field)
        fix = outside(
            f"Let the account of {service.kind} {service.name} read {uri} (its Secret, its rights there)"
            if refused
            else f"Put the model where {uri} says, or correct that",
            "it is fetched by the storage initializer before the server starts",
        )
        words = (
            f"{'may not read' if refused else 'does not get'} its model: {' '.join(line.split())[:180].rstrip(' .')}"
        )
        draft = claim(view, service, "other", field, words, 0.9, (fix,), level=Level.OBJECT)
        return [replace(draft, citations=(*draft.citations, view.cite_log(log, line)))]
    return []


def _parts(view: ClusterView, service: Thing) -> list[Draft]:
    reading = read(view, service)
    if reading.stale or reading.absent:
        return judge(view, service)
    bad = sorted(reading.bad, key=lambda pair: pair[1].get("type") in _WHOLE)
    return [told(view, service, *bad[0])] if bad else []


def _model(view: ClusterView, service: Thing, reason: str, message: str) -> Draft:
    shown = f"{reason}: {message[:180]}".strip(": ").rstrip(" .") or "its model does not load"
    paths = ("status.modelStatus",)
    match reason:
        case "NoSupportingRuntime":
            return _format(view, service, shown)
        case "RuntimeNotRecognized" | "RuntimeDisabled":
            return _runtime(view, service, reason, shown)
        case "ModelLoadFailed":
            field = "spec.predictor.model.storageUri"
            uri = service.text(field)
            fix = outside(
                f"Check that {uri or 'the model'} exists and that the account of its Secret may read it",
                "it is fetched by the storage initializer before the server starts",
            )
            # The pod that fails in its storage initializer follows from it.
            return claim(
                view,
                service,
                "other",
                field,
                f"cannot load its model: {shown}",
                0.88,
                (fix,),
                (*paths, field),
                level=Level.OBJECT,
            )
        case "InvalidPredictorSpec" | "InvalidGPUAllocation":
            fix = outside("Correct spec.predictor as the message says", "KServe makes nothing of it as it is")
            return claim(
                view,
                service,
                "other",
                "spec.predictor",
                f"is not valid: {shown}",
                0.9,
                (fix,),
                paths,
                level=Level.OBJECT,
            )
        case _:
            fix = outside("Look at the predictor's pod and its log", "the model server is what fails")
            return claim(
                view, service, "other", "status.modelStatus", f"does not serve its model: {shown}", 0.78, (fix,), paths
            )


def _format(view: ClusterView, service: Thing, shown: str) -> Draft:
    field = "spec.predictor.model.modelFormat.name"
    asked = service.text(field)
    known = {text(f.get("name")) for r in _runtimes(view, service) for f in r.rows("spec.supportedModelFormats")}
    near = nearest(asked, sorted(known)) if asked not in known else ""
    fixes: list[Fix] = [
        outside(f"Install a ServingRuntime that supports {asked or 'its format'}", "no runtime here does")
    ]
    if near:
        fixes.insert(
            0, set_path(service, field, near, f"Say that the model is of format {near}", "a runtime supports that")
        )
    listed = f" (there are runtimes for {', '.join(sorted(known)[:8])})" if known else ""
    words = f"has no runtime for model format {asked}: {shown}{listed}"
    return claim(view, service, "other", field, words, 0.93, fixes, (field, "status.modelStatus"), level=Level.OBJECT)


def _runtime(view: ClusterView, service: Thing, reason: str, shown: str) -> Draft:
    field = "spec.predictor.model.runtime"
    name = service.text(field)
    runtimes = {r.name: r for r in _runtimes(view, service)}
    runtime = runtimes.get(name)
    if reason == "RuntimeDisabled" and runtime is not None:
        fix = set_path(runtime, "spec.disabled", False, f"Enable {runtime.kind} {name}", "ask first who disabled it")
        words = f"asks for runtime {name}, which is disabled"
        draft = claim(
            view, service, "other", field, words, 0.93, (fix,), (field, "status.modelStatus"), level=Level.OBJECT
        )
        return replace(
            draft,
            target=runtime.target,
            field="spec.disabled",
            citations=(view.cite(runtime, "spec.disabled"), *draft.citations),
            about=draft.about | {runtime.key},
        )
    near = nearest(name, [n for n in runtimes if n != name])
    fixes = [set_path(service, field, near, f"Use runtime {near}", "that runtime exists")] if near else []
    fixes.append(outside(f"Or install ServingRuntime {name}", "right if the name is meant"))
    words = f"asks for runtime {name}, which does not exist: {shown}"
    return claim(view, service, "other", field, words, 0.93, fixes, (field, "status.modelStatus"), level=Level.OBJECT)


def _runtimes(view: ClusterView, service: Thing) -> list[Thing]:
    return [*view.all(RUNTIMES[0], service.namespace), *view.all(RUNTIMES[1])]


def _llm(view: ClusterView, service: Thing) -> list[Draft]:
    """Judge an LLMInferenceService by the part that fails first: presets, then workloads, then the router's parts."""
    presets = service.condition("PresetsCombined")
    if presets.get("status") == "False" and not stale(service, presets):
        fix = outside(
            "Correct spec.baseRefs and the templates that it is made of", "nothing is made before they combine"
        )
        words = f"cannot be put together: {because(presets)}"
        return [
            claim(
                view,
                service,
                "other",
                "spec.baseRefs",
                words,
                0.9,
                (fix,),
                ("status.conditions", "spec.baseRefs"),
                level=Level.OBJECT,
            )
        ]
    return _storage(view, service) or _parts(view, service)
