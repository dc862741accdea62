"""Variants of captured incidents: renamed, renumbered, later, reworded, crowded, combined, healed, with less to see.

    python -m tests.unit.expert.variants FOLDER [--seed 1] [--rounds 2] [-v]

FOLDER holds incidents as bundle/ and truth.yaml (and after/). What is rewritten in the objects and logs is rewritten in
the truth alike. Prints one row a kind of variant, and how often the expert was right by how sure it was.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import fnmatch
import random
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from agents.expert.causes import Scan, scan
from assistant.domain.finding import Verdict
from assistant.domain.view import ClusterView, Log

from .bundles import load

Raw = dict[str, Any]
CLUSTER_WIDE = ("clusterroles", "clusterrolebindings", "apiservices", "customresourcedefinitions", "leases")
STAMP = re.compile(r"\b(20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d)")


@dataclass(frozen=True)
class Culprit:
    """What must be named: kind, name (`*` at its end for any), and words of the field."""

    kind: str
    name: str
    field: str = ""


@dataclass(frozen=True)
class Snapshot:
    """Everything that was read, as plain data, with what is true of it."""

    namespace: str
    symptom: str
    lists: dict[tuple[str, str, str], list[Raw]]
    logs: tuple[tuple[str, str, str, bool, str], ...]
    groups: frozenset[str]
    culprits: tuple[Culprit, ...]
    accept: tuple[Culprit, ...] = ()
    known: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def view(self) -> ClusterView:
        built = ClusterView(self.namespace)
        for resource, place in sorted(self.known):
            built.add(resource, [], f"GET /{resource}", namespace=place)
        for (resource, version, kind), items in self.lists.items():
            built.add(resource, items, f"GET /{resource}", api_version=version, kind=kind, namespace=self.namespace)
        built.groups = self.groups
        for where, pod, container, previous, text in self.logs:
            built.add_log(Log(where, pod, container, previous, text, f"GET /api/v1/namespaces/{where}/pods/{pod}/log"))
        return built


def taken(view: ClusterView, symptom: str, culprits: list[Culprit], accept: list[Culprit]) -> Snapshot:
    """Return a view as a snapshot."""
    lists: dict[tuple[str, str, str], list[Raw]] = defaultdict(list)
    for resource in view.resources:
        for thing in view.all(resource):
            lists[(resource, thing.api_version, thing.kind)].append(copy.deepcopy(dict(thing.raw)))
    logs = tuple((x.namespace, x.pod, x.container, x.previous, x.text) for x in view.logs)
    known = frozenset(key for key in view._knowledge if view.complete(*key))
    return Snapshot(view.namespace, symptom, dict(lists), logs, view.groups, tuple(culprits), tuple(accept), known)


def rewritten(snapshot: Snapshot, change: Callable[[str], str], *, wide: bool = True) -> Snapshot:
    """Return a snapshot with every text changed: values of objects, logs, symptom and truth."""

    def inside(value: Any) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, dict):
            return {k: inside(v) for k, v in value.items()}
        return [inside(v) for v in value] if isinstance(value, list) else value

    lists = {
        key: items if not wide and key[0].startswith(CLUSTER_WIDE) else [inside(i) for i in items]
        for key, items in snapshot.lists.items()
    }
    logs = tuple((change(ns), change(pod), change(box), old, change(text)) for ns, pod, box, old, text in snapshot.logs)
    known = frozenset((r, change(ns) if ns else "") for r, ns in snapshot.known)

    def told(found: tuple[Culprit, ...]) -> tuple[Culprit, ...]:
        return tuple(Culprit(c.kind, change(c.name), c.field) for c in found)

    return replace(
        snapshot,
        namespace=change(snapshot.namespace),
        symptom=change(snapshot.symptom),
        lists=lists,
        logs=logs,
        culprits=told(snapshot.culprits),
        accept=told(snapshot.accept),
        known=known,
    )


VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnprstvwz"
KEPT = frozenset(
    [
        "http",
        "https",
        "redis",
        "nginx",
        "api",
        "app",
        "web",
        "main",
        "data",
        "config",
        "settings",
        "env",
        "local",
        "path",
        "default",
        "worker",
        "node",
        "pool",
        "svc",
        "cluster",
        "docker",
        "library",
        "acme",
        "image",
        "key",
        "name",
        "value",
        "true",
        "false",
        "null",
        "kubernetes",
        "io",
        "k8s",
        "admin",
        "root",
        "edge",
        "high",
        "low",
        "fast",
        "ssd",
        "gpu",
        "deployment",
        "service",
        "pod",
        "pods",
        "secret",
        "configmap",
        "namespace",
        "job",
        "cronjob",
        "statefulset",
    ]
)


def renamed(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Give everything another name, letter by letter, so that what looks alike still does and typos stay typos."""
    own = {
        t["metadata"]["name"]
        for (r, _, _), items in snapshot.lists.items()
        for t in items
        if t["metadata"].get("namespace") == snapshot.namespace and r not in ("events", "pods", "replicasets.apps")
    }
    words = {w for n in (*own, snapshot.namespace) for w in re.findall(r"[a-z]{4,}", n)} - KEPT
    keys = {k for items in snapshot.lists.values() for t in items for k in _keys(t)}
    words -= {w.lower() for k in keys for w in (k, *re.findall(r"[a-z]+", k))}
    every = {
        w
        for items in snapshot.lists.values()
        for t in items
        for w in re.findall(r"[a-z]{4,}", str(t.get("data", "")) + str(t.get("spec", "")))
    }
    typos = {w for w in every - words - KEPT if difflib.get_close_matches(w, words, 1, 0.85)}
    cipher: dict[str, str] = {}
    for letters in (VOWELS, CONSONANTS):
        moved = letters[1:] + letters[:1] if rng.random() < 0.5 else letters[2:] + letters[:2]
        cipher |= dict(zip(letters, moved, strict=True))
    pattern = re.compile(
        r"(?<![A-Za-z])(" + "|".join(sorted(words | typos, key=len, reverse=True) or ["\0"]) + r")(?![A-Za-z])"
    )
    return rewritten(
        snapshot, lambda text: pattern.sub(lambda m: "".join(cipher.get(c, c) for c in m[1]), text), wide=False
    )


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def renumbered(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Give every port another number."""
    seen = {v for items in snapshot.lists.values() for t in items for v in _ports(t) if 1024 < v < 65000}
    moved = {p: p + 1100 + 7 * rng.randint(1, 40) for p in seen}
    pattern = re.compile(r"(?<![\d.])(" + "|".join(map(str, sorted(moved))) + r")(?![\d])") if moved else None

    def ints(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: moved.get(v, v) if k in PORT_KEYS and isinstance(v, int) else ints(v) for k, v in value.items()}
        return [ints(v) for v in value] if isinstance(value, list) else value

    if pattern is None:
        return snapshot
    changed = rewritten(snapshot, lambda text: pattern.sub(lambda m: str(moved[int(m[1])]), text), wide=False)
    return replace(changed, lists={k: [ints(t) for t in items] for k, items in changed.lists.items()})


PORT_KEYS = frozenset({"port", "targetPort", "containerPort", "hostPort", "number", "nodePort"})


def _ports(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in PORT_KEYS and isinstance(inner, int):
                yield inner
            yield from _ports(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _ports(inner)


def later(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Move everything by some hours and days."""
    by = timedelta(hours=rng.randint(1, 300), minutes=rng.randint(0, 59))

    def moved(match: re.Match[str]) -> str:
        joint = match[1][10]
        return (datetime.fromisoformat(match[1].replace(" ", "T")) + by).strftime(f"%Y-%m-%d{joint}%H:%M:%S")

    return rewritten(snapshot, lambda text: STAMP.sub(moved, text))


def eventless(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Forget the events: they are kept for an hour only."""
    return replace(snapshot, lists={k: v for k, v in snapshot.lists.items() if k[0] != "events"})


def logless(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Forget the logs."""
    return replace(snapshot, logs=())


WORDINGS = (
    (r"ValueError: invalid literal for int\(\) with base 10: '([^']+)'", (
        'panic: strconv.Atoi: parsing "{0}": invalid syntax',
        'Exception in thread "main" java.lang.NumberFormatException: For input string: "{0}"',
        "Unhandled exception. System.FormatException: The input string '{0}' was not in a correct format.",
        "thread 'main' panicked at src/main.rs:9:5: cannot parse \"{0}\": invalid digit found in string",
        "TypeError: expected a number, got '{0}'",
    )),
    (r"cannot connect to ([\w.-]+):(\d+): \[Errno -2\] Name or service not known", (
        "dial tcp: lookup {0} on 10.96.0.10:53: no such host",
        "Error: getaddrinfo ENOTFOUND {0}",
        "java.net.UnknownHostException: {0}: Name or service not known",
        "System.Net.Sockets.SocketException (0xFFFDFFFF): Name or service not known ({0}:{1})",
        "failed to connect to {0}:{1}: failed to lookup address information: Name or service not known",
    )),
    (r"upstream GET (http://([\w.-]+)\S*) failed after (\d+)ms: <urlopen error \[Errno 111\] Connection refused>", (
        'Get "{0}": dial tcp 10.96.7.7:80: connect: connection refused',
        "Error: connect ECONNREFUSED 10.96.7.7:80 calling {0}",
        "java.net.ConnectException: Connection refused calling {0}",
        "error sending request for url ({0}): tcp connect error: Connection refused (os error 111)",
    )),
    (r"list failed: 403 Forbidden: ", ("Failed to watch: failed to list: ", "request failed (403): ")),
    (r"cannot parse (\S+): Expecting value: line (\d+) column (\d+) \(char (\d+)\)", (
        "{0}: invalid character ']' looking for beginning of value",
        "SyntaxError: Unexpected token ] in JSON at position {3} in {0}",
        "com.fasterxml.jackson.core.JsonParseException: Unexpected character (']') at [Source: {0}; line: {1}]",
    )),
    (r"RuntimeError: (\S+ \S+) requires (\w+)=(\w+)", (
        "panic: {0} requires {1}={2}",
        "Error: {0} requires {1}={2} at Object.<anonymous> (/app/index.js:4:9)",
        "java.lang.IllegalStateException: {0} requires {1}={2}",
    )),
)  # fmt: skip


def _said(form: str, match: re.Match[str]) -> str:
    return form.format(*match.groups())


def reworded(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Let the log speak as another language runtime does."""
    chosen = [(re.compile(p), rng.choice(forms)) for p, forms in WORDINGS]

    def change(text: str) -> str:
        for pattern, form in chosen:
            text = pattern.sub(partial(_said, form), text)
        return text

    return replace(snapshot, logs=tuple((*log[:4], change(log[4])) for log in snapshot.logs))


SCARY = (
    "ERROR [audit] error-handler registered, 0 errors so far",
    "WARN  deprecated: fatal-on-warning is ignored",
    "ERROR retrying: connection refused (attempt 1/5)",
    "INFO  recovered from panic in plugin loader",
    "INFO  GET /healthz -> 200",
    "ERROR cache miss for key session:timeout",
    "INFO  request done status=200",
)


def crowded(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Put fifty healthy neighbours beside, whose logs are full of words that frighten."""
    now = max(STAMP.findall(str(snapshot.lists.get(("pods", "v1", "Pod"), ""))) or ["2026-11-23T08:00:00"]) + "Z"
    lists = {k: list(v) for k, v in snapshot.lists.items()}
    logs = list(snapshot.logs)
    for i in range(50):
        name = f"{rng.choice(('blue', 'green', 'north', 'south'))}-{rng.choice(('mail', 'feed', 'sync', 'view'))}-{i}"
        for key, raw in _healthy(name, snapshot.namespace, now):
            lists.setdefault(key, []).append(raw)
        text = "\n".join([*(rng.choice(SCARY) for _ in range(9)), *SCARY[-3:-2], SCARY[4], SCARY[6], SCARY[4]])
        if i < 12:
            logs.append((snapshot.namespace, f"{name}-6f-{i}", "app", False, text))
    return replace(snapshot, lists=lists, logs=tuple(logs))


def _healthy(name: str, namespace: str, now: str) -> Iterator[tuple[tuple[str, str, str], Raw]]:
    labels = {"app.kubernetes.io/name": name}
    spec = {
        "containers": [
            {"name": "app", "image": f"docker.io/acme/{name}:1.0", "ports": [{"name": "http", "containerPort": 8080}]}
        ]
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    number = name.rsplit("-", 1)[-1]

    def meta(own: str, owner: tuple[str, str] | None = None) -> Raw:
        refs = [{"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "controller": True}] if owner else []
        return {
            "name": own,
            "namespace": namespace,
            "labels": labels,
            "creationTimestamp": now,
            "ownerReferences": refs,
        }

    state = {
        "name": "app",
        "ready": True,
        "restartCount": 1,
        "image": f"docker.io/acme/{name}:1.0",
        "imageID": "x",
        "state": {"running": {"startedAt": now}},
    }
    status = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    selector = {"matchLabels": labels}
    yield (
        ("deployments.apps", "apps/v1", "Deployment"),
        {"metadata": meta(name), "spec": {"replicas": 1, "selector": selector, "template": template}, "status": status},
    )
    yield (
        ("replicasets.apps", "apps/v1", "ReplicaSet"),
        {
            "metadata": meta(f"{name}-6f", ("Deployment", name)),
            "spec": {"replicas": 1, "selector": selector, "template": template},
            "status": status,
        },
    )
    yield (
        ("pods", "v1", "Pod"),
        {
            "metadata": meta(f"{name}-6f-{number}", ("ReplicaSet", f"{name}-6f")),
            "spec": {**spec, "nodeName": "worker-1"},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
                "containerStatuses": [state],
            },
        },
    )
    yield (
        ("services", "v1", "Service"),
        {
            "metadata": meta(name),
            "spec": {
                "selector": labels,
                "clusterIP": "10.96.1.1",
                "type": "ClusterIP",
                "ports": [{"port": 80, "targetPort": "http"}],
            },
        },
    )
    old = {
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "count": 3,
        "lastTimestamp": now,
        "involvedObject": {"kind": "Pod", "name": f"{name}-6f-{number}", "namespace": namespace},
    }
    yield (
        ("events", "v1", "Event"),
        {"metadata": {"name": f"{name}.1", "namespace": namespace, "creationTimestamp": now}, **old},
    )


ALONE = frozenset({"Namespace", "Lease", "Node", "APIService", "DataImage"})
"""Culprits that are not of one namespace, so that another incident cannot be put beside them."""


def combined(one: Snapshot, two: Snapshot) -> Snapshot:
    """Put two incidents into one namespace; the second one's namespace is renamed."""
    moved = rewritten(
        two, lambda text: re.sub(rf"(?<![\w-]){re.escape(two.namespace)}(?![\w-])", one.namespace, text), wide=False
    )
    shift = _newest(one) - _newest(moved)

    def at(match: re.Match[str]) -> str:
        joint = match[1][10]
        return (datetime.fromisoformat(match[1].replace(" ", "T")) + shift).strftime(f"%Y-%m-%d{joint}%H:%M:%S")

    moved = rewritten(moved, lambda text: STAMP.sub(at, text), wide=False)
    lists = {k: list(v) for k, v in one.lists.items()}
    for key, items in moved.lists.items():
        have = {(t["metadata"].get("namespace"), t["metadata"]["name"]) for t in lists.get(key, [])}
        lists.setdefault(key, []).extend(
            t for t in items if (t["metadata"].get("namespace"), t["metadata"]["name"]) not in have
        )
    return replace(
        one,
        symptom=f"{one.symptom} {moved.symptom}",
        lists=lists,
        logs=one.logs + moved.logs,
        culprits=one.culprits + moved.culprits,
        accept=one.accept + moved.accept,
        known=one.known | moved.known,
    )


def _newest(snapshot: Snapshot) -> datetime:
    return snapshot.view().now.replace(tzinfo=None)


def captured(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Change nothing."""
    return snapshot


def strange(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Change names, ports and words at once."""
    return reworded(renumbered(renamed(snapshot, rng), rng), rng)


def hidden(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """Put the incident into a crowd, and forget the events."""
    return eventless(crowded(snapshot, rng), rng)


ONE: dict[str, Callable[[Snapshot, random.Random], Snapshot]] = {
    "as captured": captured,
    "renamed": renamed,
    "renumbered": renumbered,
    "later": later,
    "reworded": reworded,
    "crowded": crowded,
    "without events": eventless,
    "without logs": logless,
    "renamed, renumbered, reworded": strange,
    "crowded, without events": hidden,
}
"""Variants of one incident. Those that take evidence away may end undecided, and may not end in a wrong claim."""
BLINDED = frozenset({"without events", "without logs", "crowded, without events"})


@dataclass(frozen=True)
class Score:
    """How a variant was judged; `decided` is whether a fault or health was claimed at all."""

    top: bool
    every: bool
    extra: int
    field: bool
    decided: bool
    sure: tuple[tuple[float, bool], ...]
    said: str


def words(text: object) -> set[str]:
    spelt = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(text)).lower()
    return set(re.findall(r"[a-z]{3,}", spelt)) - {
        "spec",
        "template",
        "metadata",
        "containers",
        "data",
        "status",
        "absent",
        "the",
        "and",
        "missing",
    }


def score(snapshot: Snapshot) -> Score:
    """Judge a snapshot and compare with what is true of it; the rules are those of the incidents' own scorer."""
    result: Scan = scan(snapshot.view(), snapshot.symptom)
    roots = [c.draft for c in result.roots]
    accept = snapshot.culprits + snapshot.accept

    def hit(draft: Any, culprit: Culprit) -> bool:
        return bool(draft.target.kind == culprit.kind and fnmatch.fnmatch(draft.target.name, culprit.name))

    said = "; ".join(f"{d.target.kind}/{d.target.name}:{d.field} {d.confidence}" for d in roots) or str(result.verdict)
    sure = tuple((d.confidence, any(hit(d, c) for c in accept)) for d in roots)
    if not snapshot.culprits:
        fine = result.verdict is Verdict.HEALTHY
        return Score(fine, fine, len(roots), fine, result.verdict is not Verdict.UNDETERMINED, sure, said)
    top = bool(roots) and any(hit(roots[0], c) for c in accept)
    every = all(any(hit(d, c) for d in roots) for c in snapshot.culprits) or (len(snapshot.culprits) == 1 and top)
    named = top and any(
        not words(c.field) or words(c.field) & words(f"{roots[0].field} {roots[0].summary}")
        for c in accept
        if hit(roots[0], c)
    )
    extra = sum(not right for _, right in sure)
    return Score(top, every, extra, named, result.verdict is not Verdict.UNDETERMINED, sure, said)


def incidents(folder: Path) -> dict[str, tuple[Snapshot, Snapshot | None]]:
    """Return the incidents of a folder by id, each with the same namespace after the fix where that was captured."""
    found = {}
    for path in sorted(p for p in folder.iterdir() if (p / "truth.yaml").exists()):
        truth = yaml.safe_load((path / "truth.yaml").read_text())
        own = [c for c in truth.get("culprit") or [] if c.get("kind") not in (None, "None")]
        culprits, accept = (
            [Culprit(c["kind"], str(c.get("name") or "*"), str(c.get("field") or "")) for c in table]
            for table in (own, truth.get("accept") or [])
        )
        space = truth.get("namespace") or ""
        after = path / "after"
        healed = taken(load(after, space), truth["symptom"], [], []) if after.exists() else None
        found[path.name] = (taken(load(path / "bundle", space), truth["symptom"], culprits, accept), healed)
    return found


def sweep(
    found: dict[str, tuple[Snapshot, Snapshot | None]], seed: int, rounds: int
) -> Iterator[tuple[str, str, Score]]:
    """Yield (kind of variant, incidents, score): every variant of every incident, pairs of them, and healed ones."""
    rng = random.Random(seed)  # noqa: S311 - variants, not secrets
    for name, (snapshot, healed) in found.items():
        for kind, vary in ONE.items():
            yield kind, name, score(vary(snapshot, rng))
        if healed is not None:
            yield "healed", name, score(healed)
            yield "healed, crowded", name, score(crowded(healed, rng))
    single = [n for n, (s, _) in found.items() if not {c.kind for c in s.culprits} & ALONE]
    faulty = [n for n in single if found[n][0].culprits]
    for _ in range(rounds):
        for one in faulty:
            two = rng.choice([n for n in single if found[n][0].namespace != found[one][0].namespace])
            yield "combined", f"{one} + {two}", score(combined(found[one][0], found[two][0]))
            well = rng.choice([n for n in single if found[n][1] is not None and n != one])
            healed = found[well][1]
            if healed is not None and healed.namespace != found[one][0].namespace:
                yield "beside a healed one", f"{one} + {well}", score(combined(found[one][0], healed))


def table(rows: list[tuple[str, str, Score]]) -> str:
    """Return the result as text: a row a kind of variant, then the calibration."""
    kinds: dict[str, list[Score]] = defaultdict(list)
    for kind, _, result in rows:
        kinds[kind].append(result)
    lines = [f"{'variant':32} {'n':>4} {'top1':>5} {'all':>5} {'extra':>6} {'field':>6} {'undecided':>10}"]
    for kind, results in kinds.items():
        lines.append(
            f"{kind:32} {len(results):4} {sum(r.top for r in results):5} {sum(r.every for r in results):5} "
            f"{sum(r.extra for r in results):6} {sum(r.field for r in results):6} "
            f"{sum(not r.decided for r in results):10}"
        )
    lines.append(f"{'said to be':32} {'n':>4} {'right':>6}")
    bounds = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.0)
    for low, high in zip(bounds, (1.01, *bounds), strict=False):
        own = [right for _, _, r in rows for sure, right in r.sure if low <= sure < high]
        if own:
            lines.append(f"{low:<32} {len(own):4} {sum(own) / len(own):6.2f}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Score variants of captured incidents.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("-v", action="store_true")
    given = parser.parse_args()
    found = {k: v for k, v in incidents(given.folder).items() if given.only in k}
    rows = list(sweep(found, given.seed, given.rounds))
    for kind, name, result in rows:
        good = result.top and result.every and not result.extra and result.field
        if not good and (given.v or result.decided or kind not in BLINDED):
            sys.stdout.write(
                f"{kind:30} {name:40} top {result.top:d} all {result.every:d} extra {result.extra} "
                f"{result.said[:230]}\n"
            )
    sys.stdout.write(table(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
