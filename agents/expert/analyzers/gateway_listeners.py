"""Listeners of a Gateway or ListenerSet: certificates that cannot be used, conflicts, and what their status says."""

from __future__ import annotations

from dataclasses import replace

from agents.expert.analyzers.attachment import KINDS, Listener, listeners
from agents.expert.analyzers.certificates import is_certificate
from agents.expert.analyzers.gateway_status import Said, claim, conditions, from_status, outdated, wrong, young
from agents.expert.analyzers.grants import refused
from agents.expert.analyzers.referents import Answer, Reference, look_up, reference
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing

ISSUED = "certificates.cert-manager.io"
"""Orders for certificates, which name the Secret that they are issued into (cert-manager)."""


def judge(view: ClusterView, owner: Thing) -> list[Draft]:
    """Return what is wrong with the listeners of a Gateway or ListenerSet."""
    said = [s for s in conditions(owner, "status.listeners") if s.part]
    every = listeners(owner)
    found, names = _conflicts(view, every, said)
    for listener in every:
        own = [s for s in said if s.part.get("name") == listener.name]
        drafts = _certificates(view, listener, own) or _kinds(view, listener, own)
        if not drafts and listener.name not in names:
            drafts = _told(view, listener, own)
        found += drafts
    return found


def _certificates(view: ClusterView, listener: Listener, said: list[Said]) -> list[Draft]:
    """Judge the certificates of a listener that ends TLS: the Secret, its type and the namespace that it stands in."""
    tls, protocol = mapping(listener.spec.get("tls")), text(listener.spec.get("protocol"))
    if protocol not in ("HTTPS", "TLS") or tls.get("mode") == "Passthrough":
        return []
    table = rows(tls.get("certificateRefs"))
    if not table:
        return _uncertified(view, listener, said) if not tls.get("options") else []
    found = []
    for k, raw in enumerate(table):
        ref = reference(listener.owner, f"{listener.path}.tls.certificateRefs[{k}]", raw, "Secret")
        if (ref.group, ref.kind) != ("", "Secret"):
            continue
        draft = refused(view, ref, said) or _secret(view, ref, listener, said)
        if draft is not None:
            found.append(draft)
    return found


def _secret(view: ClusterView, ref: Reference, listener: Listener, said: list[Said]) -> Draft | None:
    answer, secret = look_up(view, ref)
    if answer is Answer.UNKNOWN or (secret is not None and is_certificate(secret)):
        return None
    owner = listener.owner
    told = [s for s in wrong(said) if s.type in ("ResolvedRefs", "Programmed")][:1]
    field = f"{ref.path}.name"
    issued = [c for c in view.all(ISSUED, ref.namespace) if c.text("spec.secretName") == ref.name]
    if secret is None and issued:
        return _unissued(view, ref, listener, issued[0])
    usable = [s.name for s in view.all("secrets", ref.namespace) if is_certificate(s) and s.name != ref.name]
    near = nearest(ref.name, usable)
    fixes: list[Fix] = [set_path(owner, field, near, f"Use Secret {near}", "it holds a certificate")] if near else []
    fixes.append(
        outside(
            f"{'Or issue' if near else 'Issue'} a certificate into Secret {ref.namespace}/{ref.name}",
            "a certificate is issued, not edited",
        )
    )
    why = "which does not exist" if secret is None else "which holds no certificate (tls.crt and tls.key)"
    cited = [view.cite(owner, ref.path, *(s.path for s in told))]
    if secret is not None:
        cited.append(view.cite(secret, "type", "metadata.name"))
    return claim(
        owner,
        field,
        f"Listener {listener.name} of {owner.kind} {owner.name} takes its certificate from {ref.label}, {why}"
        + (f" ({near} does)." if near and secret is None else "."),
        0.95 if told else 0.9,
        Level.OBJECT,
        cited,
        fixes,
    )


def _unissued(view: ClusterView, ref: Reference, listener: Listener, order: Thing) -> Draft:
    """Return the draft for a certificate that cert-manager has not issued: what holds it up is told of that."""
    owner = listener.owner
    return claim(
        owner,
        f"{ref.path}.name",
        f"Listener {listener.name} of {owner.kind} {owner.name} waits for its certificate: Certificate "
        f"{order.name} has not "
        f"been issued into Secret {ref.name}.",
        0.72,
        Level.CALLER,
        (view.cite(owner, ref.path), view.cite(order, "spec.secretName", "status.conditions")),
        (
            outside(
                f"See what holds Certificate {order.name} up: its CertificateRequest, Order and Challenge",
                "it issues it",
            ),
        ),
        about=(order.key,),
    )


def _uncertified(view: ClusterView, listener: Listener, said: list[Said]) -> list[Draft]:
    told = [s for s in wrong(said) if s.type in ("ResolvedRefs", "Programmed", "Accepted")][:1]
    if not told:
        return []  # where a certificate comes from may be the implementation's own affair
    owner, field = listener.owner, f"{listener.path}.tls"
    return [
        claim(
            owner,
            field,
            f"Listener {listener.name} of {owner.kind} {owner.name} ends TLS and names no certificate: "
            f"{told[0].quoted}.",
            0.93,
            Level.OBJECT,
            (view.cite(owner, listener.path, told[0].path),),
            (
                outside(
                    "Name a Secret with the certificate in tls.certificateRefs", "a certificate is issued, not edited"
                ),
            ),
        )
    ]


def _kinds(view: ClusterView, listener: Listener, said: list[Said]) -> list[Draft]:
    """Judge `allowedRoutes.kinds` that the protocol of the listener cannot carry."""
    told = [s for s in wrong(said) if s.reason == "InvalidRouteKinds"]
    protocol = text(listener.spec.get("protocol"))
    if not told or protocol not in KINDS:
        return []
    field = f"{listener.path}.allowedRoutes.kinds"
    table = rows(mapping(listener.spec.get("allowedRoutes")).get("kinds"))
    right = [k for k in table if k.get("kind") in KINDS[protocol]]
    odd = ", ".join(text(k.get("kind")) for k in table if k not in right)
    if not odd:
        return []
    owner = listener.owner
    title = "Keep the kinds that it can carry" if right else "Take every kind that it can carry"
    fix = set_path(owner, field, right or None, title, f"{protocol} carries {', '.join(sorted(KINDS[protocol]))}")
    return [
        claim(
            owner,
            field,
            f"Listener {listener.name} of {owner.kind} {owner.name} is meant for {odd}, which {protocol} does "
            "not carry.",
            0.95,
            Level.OBJECT,
            (view.cite(owner, field, told[0].path),),
            (fix,),
        )
    ]


def _conflicts(view: ClusterView, every: list[Listener], said: list[Said]) -> tuple[list[Draft], set[str]]:
    """Judge listeners that collide within one object: a draft a pair, and the names of all that collide."""
    told = {text(s.part.get("name")): s for s in wrong(said) if s.type == "Conflicted"}
    found, names = [], set[str]()
    for i, listener in enumerate(every):
        rival = next((x for x in every[:i] if _collides(listener, x)), None)
        word = told.get(listener.name) or (told.get(rival.name) if rival is not None else None)
        if rival is not None and word is not None:
            found.append(_pair(view, listener, rival, every, word))
            names |= {listener.name, rival.name}
    return found, names


def _pair(view: ClusterView, listener: Listener, rival: Listener, every: list[Listener], word: Said) -> Draft:
    owner = listener.owner
    protocol, other = text(listener.spec.get("protocol")), text(rival.spec.get("protocol"))
    same = protocol == other
    what = f"host name {listener.host or '(all)'} on port {listener.port}" if same else f"port {listener.port}"
    usual = {"HTTP": 80, "HTTPS": 443}.get(protocol, 0)
    field = f"{listener.path}.{'hostname' if same else 'port'}"
    fixes: list[Fix] = []
    if not same and usual and all(x.port != usual for x in every):
        fixes.append(set_path(owner, field, usual, f"Use port {usual}", f"the usual port of {protocol}"))
    fixes.append(
        outside(f"Give listener {listener.name} or {rival.name} another port or host name", "both cannot stand")
    )
    return claim(
        owner,
        field,
        f"Listeners {rival.name} and {listener.name} of {owner.kind} {owner.name} collide: both take {what}"
        + ("." if same else f" with other protocols ({other} and {protocol})."),
        0.95,
        Level.OBJECT,
        (view.cite(owner, listener.path, rival.path, word.path),),
        fixes,
    )


def _collides(one: Listener, two: Listener) -> bool:
    first, second = text(one.spec.get("protocol")), text(two.spec.get("protocol"))
    if one.port != two.port:
        return False
    if {first, second} <= {"HTTPS", "TLS"}:
        return one.host.lower() == two.host.lower()
    if "UDP" in (first, second) and first != second:
        return False
    return first != second or one.host.lower() == two.host.lower()


def _told(view: ClusterView, listener: Listener, said: list[Said]) -> list[Draft]:
    """Return what the status of a listener says and nothing in the objects explains."""
    owner = listener.owner
    bad = [s for s in wrong(said) if s.reason not in ("Pending", "NoConflicts")]
    if bad:
        return [from_status(view, bad[0], Level.TRAFFIC, sure=0.78, place=_field(listener, bad[0]))]
    overlaps = [s for s in said if s.type == "OverlappingTLSConfig" and s.status == "True" and not s.stale]
    if overlaps:
        return [replace(from_status(view, overlaps[0], Level.TRAFFIC, sure=0.6), note=True)]
    stale = [s for s in said if s.bad and s.stale]
    waiting = [s for s in wrong(said) if s.reason == "Pending"]
    if stale:
        return [outdated(view, stale[0])]
    if waiting and not young(view, owner, *waiting):
        return [from_status(view, waiting[0], Level.TRAFFIC, sure=0.6)]
    return []


def _field(listener: Listener, said: Said) -> str:
    """Return the path of the field of a listener that a reason speaks of, "" where it is not one field."""
    name = {
        "PortUnavailable": "port",
        "UnsupportedProtocol": "protocol",
        "HostnameConflict": "hostname",
        "ProtocolConflict": "port",
        "InvalidCertificateRef": "tls.certificateRefs",
        "RefNotPermitted": "tls.certificateRefs",
        "InvalidRouteKinds": "allowedRoutes.kinds",
    }.get(said.reason, "")
    return f"{listener.path}.{name}" if name else ""
