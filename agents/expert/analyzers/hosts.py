"""Metal3: bare-metal hosts that are in error, stuck in a state, held back, or off when they should be on.

States and their meaning are those of the baremetal-operator (metal3.io/v1alpha1). What is long for a state is our
default: the API has no deadline, and a host that hangs without an error says nothing at all.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from agents.expert.analyzers.host_errors import HOSTS, Meaning, credentials, meaning
from agents.expert.analyzers.statuses import told, untouched
from agents.expert.conditions import age_of, read, said
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside, set_path
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, text
from assistant.domain.view import ClusterView, Thing, when

IRONIC = "ironics.ironic.metal3.io"
KINDS = (HOSTS, IRONIC)
PAUSED, DETACHED = "baremetalhost.metal3.io/paused", "baremetalhost.metal3.io/detached"
_LONG = {
    "": 10,
    "registering": 5,
    "inspecting": 30,
    "match profile": 10,
    "preparing": 60,
    "provisioning": 60,
    "deprovisioning": 60,
    "powering off before delete": 15,
    "deleting": 15,
}
"""Minutes after which a passing state is looked at; states that are not named here are meant to last."""
_HISTORY = {
    "registering": "register",
    "inspecting": "inspect",
    "provisioning": "provision",
    "deprovisioning": "deprovision",
}
RUNNING = ("provisioned", "externally provisioned")
SETTLING = timedelta(minutes=10)
"""A machine needs this long to power on or off, its firmware's own tests included."""
MANY = 3
"""So many hosts with one symptom have one cause: fewer may be chance."""
HELD = r"paus|detach|host|machine|provision|bare.?metal|node|server|reconcil"


def analyze(view: ClusterView) -> list[Draft]:
    """Return the hosts that are not well, and Ironic where it is what is wrong."""
    found: list[Draft] = []
    for ironic in view.all(IRONIC):
        found += _ironic(view, ironic)
    for host in view.all(HOSTS):
        found += _host(view, host)
    return found + _shared(view, found)


def _shared(view: ClusterView, found: list[Draft]) -> list[Draft]:
    """Return one claim for hosts that share a symptom: several BMCs or ramdisks at once have one network in common."""
    groups = (
        (r"BMC does not answer", "do not answer at their BMCs", "the BMC network and Ironic's way into it"),
        (
            r"never called back",
            "never called back from their ramdisk",
            "DHCP, the image server and Ironic's own address",
        ),
    )
    shared = []
    for pattern, words, look in groups:
        alike = [d for d in found if re.search(pattern, d.summary) and not d.note]
        if len(alike) < MANY:
            continue
        first = alike[0]
        names = ", ".join(d.target.name for d in alike[:5]) + (" …" if len(alike) > 5 else "")
        fix = outside(f"Look at {look} first, not at each of the {len(alike)} hosts", "that is what they share")
        keys = frozenset(k for d in alike for k in d.about)
        shared.append(
            Draft(
                "baremetal",
                first.target,
                "status.operationalStatus",
                f"{len(alike)} BareMetalHosts {words} ({names}).",
                0.85,
                Level.POLICY,
                tuple(d.citations[0] for d in alike[:3]),
                keys,
                keys,
                (fix,),
            )
        )
    return shared


def dark(view: ClusterView) -> frozenset[str]:
    """Return the keys of the nodes whose machine is off by its host's own word; built once a view."""
    memo = view.memo("dark-hosts", logs=False)
    if "all" not in memo:
        off = (h for h in view.all(HOSTS) if h.at("status.poweredOn") is False and _runs(h))
        memo["all"] = frozenset(k for h in off for k in consumers(view, h) if k.startswith("Node/"))
    found: frozenset[str] = memo["all"]
    return found


def consumers(view: ClusterView, host: Thing) -> frozenset[str]:
    """Return the keys of what a host carries: its Metal3Machine, the Machine and its owners, the node.

    The node is the one that the Machine names, or whose provider ID names the host (`metal3://namespace/host/machine`).
    """
    ref = host.map("spec.consumerRef")
    found: set[str] = set()
    current = view.find(text(ref.get("kind")), text(ref.get("namespace")) or host.namespace, text(ref.get("name")))
    while current is not None and current.key not in found:
        found.add(current.key)
        if current.kind == "Machine" and current.text("status.nodeRef.name"):
            found.add(f"Node//{current.text('status.nodeRef.name')}")
        current = view.owner(current)
    node = _nodes(view).get((host.namespace, host.name))
    return frozenset(found | ({node} if node else set()))


def _nodes(view: ClusterView) -> dict[tuple[str, str], str]:
    memo = view.memo("nodes-of-hosts", logs=False)
    if "all" not in memo:
        index = {}
        for node in view.all("nodes"):
            parts = node.text("spec.providerID").removeprefix("metal3://").split("/")
            if node.text("spec.providerID").startswith("metal3://") and len(parts) >= 2:
                index[(parts[0], parts[1])] = node.key
        memo["all"] = index
    found: dict[tuple[str, str], str] = memo["all"]
    return found


def _runs(host: Thing) -> bool:
    return host.text("status.provisioning.state") in RUNNING


def _host(view: ClusterView, host: Thing) -> list[Draft]:
    if host.deleting:
        return []
    if not host.map("status"):
        return [untouched(view, host)] if view.now - host.created > SETTLING and PAUSED not in host.annotations else []
    held = _held(view, host)
    if held is not None:
        return [held]
    if host.text("status.errorMessage") or host.text("status.errorType"):
        return [_error(view, host)]
    if host.text("status.operationalStatus") == "delayed":
        return [_draft(view, host, "status.operationalStatus", DELAYED, 0.9, (), note=True)]
    found = [d for d in (_unmanaged(view, host), _secret(view, host), _stuck(view, host), _off(view, host)) if d]
    return found[:1] or [told(view, host, p, c) for p, c in read(view, host).bad if c.get("type") == "Healthy"][:1]


DELAYED = "waits until Ironic has room for it (as many as PROVISIONING_LIMIT are worked on at once)"


def _draft(
    view: ClusterView,
    host: Thing,
    field: str,
    why: str,
    sure: float,
    fixes: tuple[Fix, ...],
    *paths: str,
    asks: str = "",
    note: bool = False,
) -> Draft:
    """Return a claim of a host; one that takes its node down stands below everything that runs there."""
    down = _runs(host) and host.at("status.poweredOn") is False
    keys = frozenset({host.key})
    carried = consumers(view, host)
    return Draft(
        "baremetal",
        host.target,
        field,
        f"BareMetalHost {host.name} {why}.",
        sure,
        Level.PLATFORM if down else Level.OBJECT,
        (view.cite(host, *(paths or (field, "status.provisioning.state"))),),
        keys,
        keys | (carried if down else {k for k in carried if not k.startswith("Node/")}),
        fixes or (outside("Wait", "it goes on by itself"),),
        asks=asks,
        note=note,
    )


def _error(view: ClusterView, host: Thing) -> Draft:
    found = meaning(view, host)
    kind = host.text("status.errorType") or "fault"
    still = " The machine itself keeps running." if _runs(host) and host.at("status.poweredOn") is not False else ""
    tries = host.number("status.errorCount")
    why = f"has {'an' if kind[0] in 'aeiou' else 'a'} {kind}: {found.why}" + (f" ({tries} times)" if tries > 1 else "")
    draft = _draft(view, host, found.field, f"{why}.{still}".rstrip("."), found.confidence, found.fixes)
    first = view.cite(host, "status.errorType", "status.errorMessage", "spec.bmc")
    own = (view.cite(host, found.field),) if found.thing is host and found.field.startswith("spec.") else ()
    return _at(draft, found, (first, *own))


def _at(draft: Draft, found: Meaning, cited: tuple[Citation, ...]) -> Draft:
    """Return a host's claim as one of the object that its error comes down to, mostly its Secret or itself."""
    key = frozenset({found.thing.key})
    return replace(
        draft,
        target=found.thing.target,
        citations=(*cited, *found.cited),
        about=draft.about | key,
        explains=draft.explains | key,
    )


def _held(view: ClusterView, host: Thing) -> Draft | None:
    """Judge hosts that somebody took out of the operator's hands: that is meant until something waits for it."""
    if DETACHED in host.annotations or host.text("status.operationalStatus") == "detached":
        place = f"metadata.annotations['{DETACHED}']"
        fixes = (outside("Attach the host again where it was detached", "the operator does not touch it meanwhile"),)
        if DETACHED in host.annotations:
            fixes = (_without(host, DETACHED, f"Attach host {host.name} again"),)
        return _draft(view, host, place, "is detached: the operator leaves it alone", 0.85, fixes, asks=HELD)
    if PAUSED not in host.annotations:
        return None
    place = f"metadata.annotations['{PAUSED}']"
    by_cluster = host.annotations.get(PAUSED) == "metal3.io/capm3"
    fix = (
        outside("Resume the Cluster that it belongs to (spec.paused)", "Cluster API paused the host with its cluster")
        if by_cluster
        else _without(host, PAUSED, f"Resume host {host.name}")
    )
    asked = "" if _wants(host) else HELD
    what = f"is paused while {_wants(host)}" if _wants(host) else "is paused: the operator leaves it alone"
    return _draft(view, host, place, what, 0.9, (fix,), place, "status.provisioning.state", asks=asked)


def _without(host: Thing, annotation: str, title: str) -> Fix:
    return set_path(host, f"metadata.annotations['{annotation}']", None, title, "ask first who set it")


def _wants(host: Thing) -> str:
    """Return what a host waits for that its status does not show yet, "" where both agree."""
    state, wanted = host.text("status.provisioning.state"), host.text("spec.image.url")
    if state in _LONG:
        return f"it is {state or 'not registered'}"
    if wanted and state in ("available", "ready"):
        return "an image is to be written to it"
    online = host.at("spec.online")
    if (
        isinstance(online, bool)
        and isinstance(host.at("status.poweredOn"), bool)
        and online != host.at("status.poweredOn")
    ):
        return f"it is to be {'on' if online else 'off'} and is not"
    return ""


def _unmanaged(view: ClusterView, host: Thing) -> Draft | None:
    bmc = host.map("spec.bmc")
    lacking = [f for f in ("address", "credentialsName") if not bmc.get(f)]
    state = host.text("status.provisioning.state")
    if not lacking or (state not in ("unmanaged", "") and host.text("status.operationalStatus") != "discovered"):
        return None
    fix = outside(
        f"Give spec.bmc.{' and spec.bmc.'.join(lacking)}: where its BMC is, and the Secret with its account",
        "only the owner of the machine knows them",
    )
    why = f"cannot be registered: it has no BMC {' and no BMC '.join(_WORDS[f] for f in lacking)}"
    field = "spec.bmc" if len(lacking) == 2 else f"spec.bmc.{lacking[0]}"
    paths = ("spec.bmc", "status.operationalStatus", "status.provisioning.state")
    return _draft(view, host, field, why, 0.9, (fix,), *paths)


_WORDS = {"address": "address", "credentialsName": "credentials"}


def _secret(view: ClusterView, host: Thing) -> Draft | None:
    """Judge the Secret by itself while a host registers; later the operator would have said that it is gone."""
    found = credentials(view, host) if host.text("status.provisioning.state") in ("", "registering") else None
    if found is None:
        return None
    draft = _draft(view, host, found.field, f"will not be managed: {found.why}", 0.85, found.fixes, "spec.bmc")
    return _at(draft, found, draft.citations)


def _since(host: Thing) -> datetime | None:
    """Return when a host came into its state, by its own history, or when its status was last written."""
    state = host.text("status.provisioning.state")
    entry = mapping(host.at(f"status.operationHistory.{_HISTORY.get(state, state)}"))
    began, ended = when(entry.get("start")), when(entry.get("end"))
    if began is not None and (ended is None or ended < began):
        return began
    return when(host.at("status.lastUpdated"))


def _stuck(view: ClusterView, host: Thing) -> Draft | None:
    state, since = host.text("status.provisioning.state"), _since(host)
    if state not in _LONG or since is None or host.text("status.operationalStatus") == "servicing":
        return None
    age = view.now - since
    if age < timedelta(minutes=_LONG[state]):
        return None
    look = outside(
        "Look at the machine's console and at the logs of the baremetal-operator and Ironic",
        "the host reports no error, so its objects do not say where it hangs; do not delete it by force",
    )
    why = f"is {state or 'not registered'} for {_minutes(age)} and reports no error"
    paths = ("status.provisioning.state", "status.operationHistory", "status.lastUpdated")
    return _draft(view, host, "status.provisioning.state", why, 0.72, (look,), *paths)


def _off(view: ClusterView, host: Thing) -> Draft | None:
    wanted, powered = host.at("spec.online"), host.at("status.poweredOn")
    if wanted is not True or powered is not False or not _runs(host) or _rebooting(host):
        return None
    if age_of(view, host.at("status.lastUpdated")) < SETTLING:
        return None
    fix = outside(
        "See on the BMC why the machine is off, and whether Ironic runs",
        "the host is to be online, and nothing in the cluster keeps it off",
    )
    paths = ("spec.online", "status.poweredOn", "status.provisioning.state")
    return _draft(view, host, "status.poweredOn", "is to be online and is powered off", 0.8, (fix,), *paths)


def _rebooting(host: Thing) -> bool:
    return any(k == "reboot.metal3.io" or k.startswith("reboot.metal3.io/") for k in host.annotations)


def _ironic(view: ClusterView, ironic: Thing) -> list[Draft]:
    bad = read(view, ironic).bad
    if not bad:
        return []
    path, condition = bad[0]
    busy = frozenset(
        h.key
        for h in view.all(HOSTS)
        if h.text("status.provisioning.state") in _LONG or h.text("status.errorType") or not h.map("status")
    )
    keys = frozenset({ironic.key, *(p.key for p in view.pods_of(ironic))})
    fix = outside(
        "Mend the deployment of Ironic: its pods, and the provisioning address and interface in its spec.networking",
        "no host can be registered, inspected or provisioned without it; those that run keep running",
    )
    return [
        Draft(
            "baremetal",
            ironic.target,
            path,
            f"Ironic {ironic.name}: {said(condition)}.",
            0.85,
            # Above pods, whose own cause may be behind it, and below hosts only by what it explains.
            Level.POLICY if not view.pods_of(ironic) else Level.TRAFFIC,
            (view.cite(ironic, path),),
            keys,
            keys | busy,
            (fix,),
        )
    ]


def _minutes(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
