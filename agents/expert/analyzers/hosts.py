"""Metal3: bare-metal hosts in error, with what the baseboard controller or the image says."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Level
from agents.expert.remedies import outside
from assistant.domain.view import ClusterView

GATEWAY, KUEUE, METAL = "gateway.networking.k8s.io", "kueue.x-k8s.io", "metal3.io"


def analyze(view: ClusterView) -> list[Draft]:
    """Return the hosts that report an error."""
    found = []
    for host in view.all(f"baremetalhosts.{METAL}"):
        message, kind = host.text("status.errorMessage"), host.text("status.errorType")
        key = frozenset({host.key})
        if not message and not kind:
            continue
        cited = (view.cite(host, "status.errorType", "status.errorMessage", "spec.bmc"),)
        secret = view.find("Secret", host.namespace, host.text("spec.bmc.credentialsName"))
        if re.search(r"401|403|invalid user|password|unauthori[sz]ed|credential", message, re.IGNORECASE):
            target = secret.target if secret is not None else host.target
            field = "data.username/password" if secret is not None else "spec.bmc.credentialsName"
            found.append(
                Draft(
                    "baremetal",
                    target,
                    field,
                    f"BareMetalHost {host.name} has a {kind}: its BMC refuses the credentials "
                    f"of Secret {host.text('spec.bmc.credentialsName')}.",
                    0.93,
                    Level.OBJECT,
                    cited,
                    key,
                    key,
                    (
                        outside(
                            "Put the BMC's valid user and password into that Secret (or reset the account on the BMC)",
                            "only the owner of the machine knows them",
                        ),
                    ),
                )
            )
        else:
            field = (
                "spec.bmc.address"
                if re.search(r"timeout|refused|resolve|unreachable|certificate|address", message, re.IGNORECASE)
                and "registration" in kind
                else (
                    "spec.rootDeviceHints"
                    if "hints" in message
                    else "spec.image"
                    if "provisioning" in kind
                    else "status.errorMessage"
                )
            )
            found.append(
                Draft(
                    "baremetal",
                    host.target,
                    field,
                    f"BareMetalHost {host.name} has a {kind or 'fault'}: {message[:160]}.",
                    0.85,
                    Level.OBJECT,
                    cited,
                    key,
                    key,
                    (
                        outside(
                            "Mend what the message names at the machine or in the host's spec, and be "
                            "patient: it is tried again",
                            "deleting the host by force leaves a stale record",
                        ),
                    ),
                )
            )
    return found
