"""Certificates that one side refuses: the server's own, or the authority that the client trusts."""

from __future__ import annotations

import re

from agents.expert.analyzers.filesystem import of_workload
from agents.expert.analyzers.resolving import backends, resolve
from agents.expert.draft import Draft, Level
from agents.expert.logs import Complaint
from agents.expert.remedies import outside
from agents.expert.settings import Setting
from agents.expert.workload import Container, Workload
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, text
from assistant.domain.view import ClusterView, Thing

AUTHORITY = re.compile(r"(^|/)(ca|ca-bundle|root|trust\w*)[\w.-]*$|\bca\b", re.IGNORECASE)
UNTRUSTED = re.compile(r"unknown authority|self[- ]signed|pkix|unable to get|issuer", re.IGNORECASE)
OTHER_HOST = re.compile(r"valid for|hostname mismatch|doesn't match|not valid for|IP SAN", re.IGNORECASE)


def certificate(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft:
    """Return the draft for a refused certificate: the Secret that holds it, on this side or the other."""
    line = said.decisive
    trusted = [s.holder for s in settings if s.is_file and AUTHORITY.search(s.name.split("/")[-1])]
    trusted = [h for h in trusted if h.name != "kube-root-ca.crt"]
    own = [s.holder for s in settings if is_certificate(s.holder)]
    own += [
        s.holder
        for s in settings
        if s.is_file and re.search(r"\.(crt|pem|cer|key)$", s.name) and s.holder.name != "kube-root-ca.crt"
    ]
    named = [s.holder for s in settings if s.is_file and s.name in said.files]
    served = _served(view, workload, said)
    held = named or (trusted if UNTRUSTED.search(line) else []) or served or own or trusted
    what = (
        "has expired or is not valid yet"
        if re.search("expired|not yet valid", line, re.IGNORECASE)
        else "does not name the host that is called"
        if OTHER_HOST.search(line)
        else "is not trusted"
        if UNTRUSTED.search(line)
        else "is not trusted or not valid"
    )
    note = outside(
        "Renew the certificate (or mount the authority that signed it), then restart the pods",
        "a certificate is issued, not edited",
    )
    if not held:
        return of_workload(workload, "tls", container.path, f"a certificate {what}: {said.shown}", 0.6, cited, [note])
    holder = held[0]
    place = "data['tls.crt']" if "tls.crt" in holder.map("data") else "data"
    calls = frozenset({f"{workload.thing.key}#calls"})
    return Draft(
        "tls",
        holder.target,
        place,
        f"{workload.name()} keeps failing: the certificate in {holder.kind} {holder.name} {what}: {said.shown}.",
        0.85,
        Level.OBJECT,
        (*cited, view.cite(holder, "metadata.name")),
        workload.keys | {holder.key},
        workload.keys | calls,
        (note,),
    )


def is_certificate(secret: Thing) -> bool:
    """Say whether a Secret holds a certificate, by its type or, where the type was not kept, by its key."""
    return secret.text("type") == "kubernetes.io/tls" or (secret.kind == "Secret" and "tls.crt" in secret.map("data"))


def _served(view: ClusterView, workload: Workload, said: Complaint) -> list[Thing]:
    """Return the certificates that the pods behind the Services in a complaint mount."""
    found = []
    for host, _ in said.addresses:
        service, _, _ = resolve(view, workload.thing.namespace, host)
        for pod in backends(view, service)[:1] if service is not None else ():
            for volume in pod.rows("spec.volumes"):
                secret = view.find("Secret", pod.namespace, text(mapping(volume.get("secret")).get("secretName")))
                if secret is not None and is_certificate(secret):
                    found.append(secret)
    return found
