"""Hosts and Secrets that gateways reach their providers with: names inside the cluster, keys of Secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agents.expert.analyzers.dangling import dangling
from agents.expert.analyzers.gateway_status import Said, claim, wrong
from agents.expert.analyzers.grants import refused
from agents.expert.analyzers.referents import look_up, reference
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.raw import fold_int, text
from assistant.domain.view import ClusterView, Thing

KEYS: Final[Mapping[str, str]] = {
    "spec.apiKey.secretRef": "apiKey",
    "spec.azureAPIKey.secretRef": "apiKey",
    "spec.anthropicAPIKey.secretRef": "apiKey",
    "spec.awsCredentials.credentialsFile.secretRef": "credentials",
    "spec.azureCredentials.clientSecretRef": "client-secret",
}
"""The key that Envoy AI Gateway reads from the Secret of each kind of BackendSecurityPolicy."""
DEEPEST = 8
"""Levels of an object that are searched for references to Secrets."""


def host(view: ClusterView, holder: Thing, field: str, name: str, port: int, port_field: str) -> Draft | None:
    """Judge a host of a back end that lies in this cluster (NAME.NAMESPACE.svc…): its Service and port."""
    parts = name.rstrip(".").removesuffix(".cluster.local").split(".")
    if len(parts) != 3 or parts[2] != "svc" or not view.complete("services", parts[1]):
        return None
    service = next((s for s in view.all("services", parts[1]) if s.name == parts[0]), None)
    if service is None:
        near = nearest(parts[0], [s.name for s in view.all("services", parts[1])])
        new = name.replace(parts[0], near, 1)
        fixes: list[Fix] = [set_path(holder, field, new, f"Use {new}", "that Service exists")] if near else []
        fixes.append(outside(f"Or create Service {parts[0]} in namespace {parts[1]}", "right if the name is meant"))
        return claim(
            holder,
            field,
            f"{holder.kind} {holder.name} stands for {name}, and no Service has that name"
            + (f" ({near} does)." if near else "."),
            0.88,
            Level.OBJECT,
            (view.cite(holder, field),),
            fixes,
        )
    ports = [fold_int(p.get("port")) for p in service.rows("spec.ports")]
    if not ports or not port or port in ports or service.text("spec.clusterIP") == "None":
        return None
    return claim(
        holder,
        port_field,
        f"{holder.kind} {holder.name} calls port {port} of Service {service.name}, which serves "
        f"{', '.join(map(str, ports))}.",
        0.9,
        Level.OBJECT,
        (view.cite(holder, port_field, field), view.cite(service, "spec.ports")),
        (set_path(holder, port_field, ports[0], f"Use port {ports[0]}", "the Service serves that port"),),
    )


def secret_refs(thing: Thing) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the references to Secrets in a spec with their paths: fields named secretRef, clientSecretRef and so on."""
    todo: list[tuple[str, Any, int]] = [("spec", thing.at("spec"), 0)]
    while todo:
        path, value, depth = todo.pop()
        if depth > DEEPEST:
            continue
        if isinstance(value, dict):
            for key, inner in value.items():
                place = f"{path}.{key}"
                named = isinstance(inner, dict) and isinstance(inner.get("name"), str)
                if named and str(key).lower().endswith("secretref"):
                    yield place, inner
                elif isinstance(inner, dict | list):
                    todo.append((place, inner, depth + 1))
        elif isinstance(value, list):
            todo += [(f"{path}[{i}]", inner, depth + 1) for i, inner in enumerate(value)]


def secrets(view: ClusterView, holder: Thing, said: list[Said]) -> list[Draft]:
    """Judge the Secrets that an object names: that they exist, may be used, and have the key that is read."""
    found = []
    for path, raw in secret_refs(holder):
        ref = reference(holder, path, raw, "Secret")
        if (ref.group, ref.kind) != ("", "Secret"):
            continue
        draft = dangling(view, ref, "takes its credential from", said) or refused(view, ref, said)
        _, secret = look_up(view, ref)
        if draft is None and secret is not None:
            draft = _key(view, holder, path, text(raw.get("key")) or KEYS.get(path, ""), secret, said)
        if draft is not None:
            found.append(draft)
    return found


def _key(view: ClusterView, holder: Thing, path: str, key: str, secret: Thing, said: list[Said]) -> Draft | None:
    held = secret.map("data")
    if not key or key in held or not held:
        return None
    told = [s for s in wrong(said) if key in s.message or secret.name in s.message][:1]
    near = nearest(key, [str(k) for k in held])
    fixes: list[Fix] = []
    if text(holder.at(f"{path}.key")) and near:
        fixes.append(set_path(holder, f"{path}.key", near, f"Read key {near}", "the Secret has that key"))
    fixes.append(
        outside(f"Put the credential under {key} into Secret {secret.name}", "a credential is for its owner to handle")
    )
    chosen = bool(text(holder.at(f"{path}.key")))
    return claim(
        holder if chosen else secret,
        f"{path}.key" if chosen else f"data[{key}]",
        f"{holder.kind} {holder.name} reads {key} from Secret {secret.name}, which does not have it (it has "
        f"{', '.join(sorted(map(str, held)))}).",
        0.95 if told else 0.9,
        Level.OBJECT,
        (view.cite(holder, path, *(s.path for s in told)), view.cite(secret, "data", "metadata.name")),
        fixes,
        about=(holder.key,),
        explains=(holder.key,),
    )
