"""What of a question the expert has understood, so that it can say what it has not: it reads words, not sentences."""

from __future__ import annotations

import re
from typing import Final

from assistant.domain.view import ClusterView

_RESOURCES: Final = {
    "pod": "pods",
    "deployment": "deployments.apps",
    "deploy": "deployments.apps",
    "statefulset": "statefulsets.apps",
    "sts": "statefulsets.apps",
    "daemonset": "daemonsets.apps",
    "ds": "daemonsets.apps",
    "replicaset": "replicasets.apps",
    "job": "jobs.batch",
    "cronjob": "cronjobs.batch",
    "service": "services",
    "svc": "services",
    "ingress": "ingresses.networking.k8s.io",
    "configmap": "configmaps",
    "cm": "configmaps",
    "secret": "secrets",
    "pvc": "persistentvolumeclaims",
    "node": "nodes",
    "hpa": "horizontalpodautoscalers.autoscaling",
    "httproute": "httproutes.gateway.networking.k8s.io",
    "grpcroute": "grpcroutes.gateway.networking.k8s.io",
    "inferencepool": "inferencepools.inference.networking.k8s.io",
    "aigatewayroute": "aigatewayroutes.aigateway.envoyproxy.io",
}
_WORKLOADS: Final = (
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
    "services",
    "ingresses.networking.k8s.io",
    "persistentvolumeclaims",
)
_WHOLE: Final = (
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "inferencepools.inference.networking.k8s.io",
    "aigatewayroutes.aigateway.envoyproxy.io",
)
"""Kinds that a question names by the whole name only: their names share words with the workloads behind them."""
_OTHER: Final = re.compile(
    r"\b(?:an)?other (?:ones?|two|faults?|causes?|problems?|issues?|errors?)\b|\bthe "
    r"others?\b(?= *(?:[?.!,]|$|fail|is\b|"
    r"are\b|do(?:es)?\b|not\b|down\b))|\bthe (?:second|next)\b|\b(?:something|anything|what) else\b",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(
    rf"\b({'|'.join(_RESOURCES)})s?(/|\s+)([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)(?![\w-])", re.IGNORECASE
)
# Words that people use for trouble, and for what trouble is about. Beginnings of words: "restart" is "restarting" too.
_KNOWN: Final = re.compile(
    r"\b(?:(?:re)?start|crash|loop|kill|oom|die[sd]?\b|dying|dead|down\b|fail|error|exception|broke|break|wrong|bad\b|"
    r"problem|issue|trouble|fault|healthy?|unhealthy|sick|ok(?:ay)?\b|fine\b|order\b|check|look at|inspect|slow|laten|"
    r"hang|hung|stuck|freez|block|wait|pending|terminat|delet|drain|evict|schedul|unavailab|availab|reach|refus|deny|"
    r"denied|forbid|permission|unauthor|access|rights|timeout|time out|timed|connect|network|dns|resolv|host|port\b|"
    r"traffic|gateway|route|ingress|load|scal|replica|memory|cpu|gpu|disk|storage|volume|mount|quota|limit|image|pull|"
    r"registry|tag\b|probe|ready|readiness|liveness|config|setting|secret|password|credential|certificate|tls\b|x509|"
    r"cert\b|webhook|admission|polic|rollout|roll ?back|release|deploy|upgrad|updat|migrat|version|change|happen|"
    r"missing|lost|gone|empty|nothing|never|no longer|not\b|cannot|can't|won't|doesn't|isn't|don't|without|log\b|"
    r"logs\b|event|pod|container|node|namespace|cluster|service|job|cron|batch|queue|operator|crd|resource|finalizer|"
    r"[45]\d\d\b|works?\b|working|running|runs?\b|stop|why|cause)",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[a-z0-9]{3,}")


def remark(view: ClusterView, question: str) -> str:
    """Return what to say about the question before the answer, "" where it was understood.

    A question of which no word is a name, a kind or a symptom gets the look at everything, and is told so. An object
    that is named with its kind and is not there is named, where all objects of that kind could be read.
    """
    if not question.strip():
        return ""
    place = f"namespace {view.namespace}" if view.namespace else "the cluster"
    absent = [f"There is no {kind} {name} in {place}." for kind, name in _absent(view, question)]
    if not absent and not _KNOWN.search(question) and not _names(view) & set(_WORD.findall(question.lower())):
        return (
            "I did not understand the question: no word of it names an object, a kind or a symptom that I know. "
            f"This is what a look at everything in {place} shows."
        )
    return " ".join(absent)


def named_in(view: ClusterView, question: str) -> frozenset[str]:
    """Return the keys of the objects that a question names: by their whole name, otherwise by a word only they have.

    A whole name counts alone: "why is billing-db down" does not ask about billing-api. The namespace's own name says
    nothing about which of its objects is meant.
    """
    said = question.lower()
    names = {n.rstrip(".") for n in re.findall(r"[a-z0-9][a-z0-9.-]*", said)}
    whole: set[str] = set()
    by_word: dict[str, set[str]] = {}
    spoken = set(re.findall(r"[a-z0-9]{4,}", said)) - set(re.findall(r"[a-z0-9]{4,}", view.namespace.lower()))
    for resource in _WORKLOADS:
        for thing in view.all(resource):
            name = thing.name.lower()
            if name in names and (len(name) > 5 or "-" in name):
                whole.add(thing.key)
            for word in spoken:
                if word in name and word in _WORD.findall(name):
                    by_word.setdefault(word, set()).add(thing.key)
    whole |= {
        t.key
        for resource in _WHOLE
        for t in view.all(resource)
        if t.name in names and (len(t.name) > 5 or "-" in t.name)
    }
    if whole:
        return frozenset(whole)
    few = [keys for keys in by_word.values() if len({k.split("/", 2)[-1] for k in keys}) == 1]
    return frozenset(k for keys in few for k in keys)


def asks_for_the_other(question: str) -> bool:
    """Say whether a follow-up question is about what the answer before was not."""
    return _OTHER.search(question) is not None


def _names(view: ClusterView) -> set[str]:
    return {
        word
        for resource in view.resources
        if resource != "events"
        for thing in view.all(resource)
        for word in (thing.target.name.lower(), *_WORD.findall(thing.target.name.lower()))
    }


def _absent(view: ClusterView, question: str) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for match in _NAMED.finditer(question):
        kind, joint, name = match[1].lower(), match[2], match[3].lower()
        resource = _RESOURCES[kind]
        # "the pod restarts" names nothing: without a slash only a word in the form of an object's name is one.
        if joint.strip() != "/" and not re.search(r"[a-z]-[a-z0-9]", name):
            continue
        place = "" if resource == "nodes" else view.namespace
        if not view.complete(resource, place):
            continue
        # The beginning of a name is enough: people leave the hash of a pod out.
        if not any(thing.target.name.lower().startswith(name) for thing in view.all(resource)):
            found[(kind, name)] = None
    return list(found)
