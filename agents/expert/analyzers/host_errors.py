"""What the errorType and errorMessage of a BareMetalHost mean, and which field or whose work mends it.

Error types are those of the baremetal-operator's API (metal3.io/v1alpha1); messages quote Ironic, sushy and the BMC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.expert.analyzers.host_disks import disks_of, no_disk
from agents.expert.draft import Fix
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.evidence import Citation
from assistant.domain.raw import text
from assistant.domain.view import ClusterView, Thing

HOSTS = "baremetalhosts.metal3.io"
SETTINGS = "hostfirmwaresettings.metal3.io"
SCHEMES = (
    "ipmi",
    "libvirt",
    "redfish",
    "redfish+http",
    "redfish+https",
    "redfish-virtualmedia",
    "redfish-virtualmedia+http",
    "redfish-virtualmedia+https",
    "redfish-uefihttp",
    "redfish-uefihttp+http",
    "redfish-uefihttp+https",
    "idrac-redfish",
    "idrac-redfish+http",
    "idrac-redfish+https",
    "idrac-virtualmedia",
    "idrac-virtualmedia+http",
    "idrac-virtualmedia+https",
)
GONE = ("ilo4", "ilo4-virtualmedia", "ilo5", "idrac", "irmc")
"""Drivers that the operator had once; a host that names one fails to register after the upgrade."""
_REFUSED = re.compile(
    r"\b40[13]\b|unauthori[sz]ed|authenticat|invalid (?:user ?name|user|password|credentials?)|"
    r"(?:access|permission|login) (?:was )?(?:denied|refused)|wrong password|bad credentials|RAKP|HMAC is invalid",
    re.IGNORECASE,
)
_UNTRUSTED = re.compile(r"certificate.verify|verif(?:y|ication) fail|x509|self.signed|SSLError|hostname mismatch", re.I)
_UNREACHED = re.compile(
    r"time[d ]*-?out|refused|no route|unreachable|name or service not known|getaddrinfo|resolve|max retries|"
    r"connection (?:error|aborted|reset)|ConnectionError|unable to establish|could not connect|ECONN",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"\b404\b|not found|ResourceNotFound|does not exist", re.IGNORECASE)
_SECRET = re.compile(r"secret|missing bmc connection detail|credentials? (?:name|secret)", re.IGNORECASE)
_SCHEME = re.compile(
    r"unknown bmc type|unsupported|not supported|failed to parse bmc|invalid (?:bmc )?address|scheme", re.I
)
_MAC = re.compile(r"mac address (?P<mac>\S+) conflicts with existing node (?P<node>\S+)", re.IGNORECASE)
_DOWNLOAD = re.compile(
    r"\b404\b|unable to download|download.*fail|ImageDownloadFailed|no space left|larger than|image.*not found|"
    r"(?:fetch|head|get).*(?:image|http)|ImageRefValidation|refused|time[d ]*-?out",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error comes to: the object and field to change, in words, with evidence and ways to mend it."""

    thing: Thing
    field: str
    why: str
    fixes: tuple[Fix, ...]
    confidence: float = 0.93
    cited: tuple[Citation, ...] = ()


def meaning(view: ClusterView, host: Thing) -> Meaning:
    """Return what a host's error means; one of an unknown kind is shown verbatim."""
    kind, message = host.text("status.errorType"), " ".join(host.text("status.errorMessage").split())
    for judge in _BY_TYPE.get(kind.removeprefix("provisioned "), (_bmc,)):
        found = judge(view, host, message)
        if found is not None:
            return found
    patience = outside(
        f"Mend at the machine what its error names, then let it be tried again: {message[:120] or kind}",
        "it is tried again with growing pauses; deleting the host by force leaves its record in Ironic behind",
    )
    return Meaning(host, "status.errorMessage", message[:200] or "it gives no message", (patience,), 0.85)


def _bmc(view: ClusterView, host: Thing, message: str) -> Meaning | None:
    """Judge errors of the way to the baseboard controller: secret, credentials, TLS, address, network."""
    conflict = _MAC.search(message)
    if conflict is not None:
        return _conflict(view, host, conflict["mac"], conflict["node"])
    lacking = credentials(view, host) if _SECRET.search(message) or not message else None
    if lacking is not None:
        return lacking
    if _REFUSED.search(message):
        return _refused(view, host)
    if _UNTRUSTED.search(message):
        trust = outside("Give Ironic the CA that signed the BMC's certificate", "the BMC is then still verified")
        blind = set_path(
            host,
            "spec.bmc.disableCertificateVerification",
            True,
            "Do not verify the BMC's certificate",
            "the last choice: whoever stands between can read the BMC's password",
        )
        return Meaning(
            host,
            "spec.bmc.disableCertificateVerification",
            f"the certificate of its BMC is not trusted: {message[:140]}",
            (trust, blind),
        )
    address = host.text("spec.bmc.address")
    scheme = address.partition("://")[0] if "://" in address else "ipmi"
    unknown = scheme in GONE or _SCHEME.search(message) or not message
    if "unknown bmc type" in message.lower() or (scheme not in SCHEMES and unknown):
        return _unknown_scheme(host, address, scheme)
    if _ABSENT.search(message) and not _UNREACHED.search(message):
        check = outside(
            "Correct the system's path in the BMC address: list /redfish/v1/Systems on the BMC",
            "the BMC answers, and has no system of that path",
        )
        return Meaning(host, "spec.bmc.address", f"its BMC knows no system at {address}: {message[:140]}", (check,))
    if _UNREACHED.search(message):
        reach = outside(
            f"From Ironic's network, reach the BMC at {address}: check cable, VLAN, firewall, and that the address is "
            "the machine's",
            "only somebody with access to that network can tell which of them it is",
        )
        return Meaning(host, "spec.bmc.address", f"its BMC does not answer at {address}: {message[:140]}", (reach,))
    return None


def credentials(view: ClusterView, host: Thing) -> Meaning | None:
    """Return what the Secret with a host's BMC credentials lacks, None where nothing does or it cannot be known.

    The operator wants the keys `username` and `password`, in the host's own namespace.
    """
    name = host.text("spec.bmc.credentialsName")
    if not name or not view.complete("secrets", host.namespace):
        return None
    secret = view.find("Secret", host.namespace, name)
    if secret is None:
        fit = [
            s.name
            for s in view.all("secrets", host.namespace)
            if {"username", "password"} <= set(s.map("data")) and s.name
        ]
        taken = {h.text("spec.bmc.credentialsName") for h in view.all(HOSTS, host.namespace) if h is not host}
        near = nearest(name, [n for n in fit if n not in taken])
        fixes = [
            outside(f"Create Secret {name} with the BMC's username and password", "only the machine's owner knows them")
        ]
        if near:
            reason = "that Secret has both keys, and no other host uses it"
            fixes.insert(0, set_path(host, "spec.bmc.credentialsName", near, f"Use Secret {near}", reason))
        return Meaning(
            host, "spec.bmc.credentialsName", f"Secret {name} with its BMC credentials does not exist", tuple(fixes)
        )
    lacking = [k for k in ("username", "password") if k not in secret.map("data")]
    if not lacking:
        return None
    return Meaning(
        secret,
        f"data.{lacking[0]}",
        f"Secret {name} with its BMC credentials has no key {' and no key '.join(lacking)}",
        (outside(f"Put {' and '.join(lacking)} into Secret {name}", "only the machine's owner knows them"),),
        0.93,
        (view.cite(secret, "metadata.name", "data"),),
    )


def _refused(view: ClusterView, host: Thing) -> Meaning:
    name = host.text("spec.bmc.credentialsName")
    secret = view.find("Secret", host.namespace, name)
    tried, good = host.map("status.triedCredentials"), host.map("status.goodCredentials")
    cited = []
    why = f"its BMC refuses the credentials of Secret {name or '(none is named)'}"
    if tried and tried != good:
        cited.append(view.cite(host, "status.triedCredentials", "status.goodCredentials"))
        why += "; the ones tried last differ from the last good ones" if good else "; none were ever good"
    fix = outside(
        "Put the BMC's valid user and password into that Secret (or reset the account on the BMC)",
        "only the owner of the machine knows them; the host is tried again by itself",
    )
    if secret is None:
        return Meaning(host, "spec.bmc.credentialsName", why, (fix,), 0.93, tuple(cited))
    return Meaning(secret, "data.username/password", why, (fix,), 0.93, tuple(cited))


def _conflict(view: ClusterView, host: Thing, mac: str, node: str) -> Meaning:
    mac = mac.strip("'\"").lower()
    twin = next((h for h in view.all(HOSTS) if h is not host and h.text("spec.bootMACAddress").lower() == mac), None)
    if twin is not None:
        fix = outside(
            f"Give each host the MAC address of its own boot interface: {twin.name} has {mac} as well",
            "look at the label of the machine or in its BMC for the right one",
        )
        cited = (view.cite(twin, "metadata.name", "spec.bootMACAddress"),)
        why = f"its boot MAC address {mac} is that of BareMetalHost {twin.name} too"
        return Meaning(host, "spec.bootMACAddress", why, (fix,), 0.95, cited)
    fix = outside(
        "Clear Ironic's old record of that machine (with SQLite: restart the Ironic pod), then wait",
        "a host that was deleted by force leaves its record behind",
    )
    why = f"Ironic still knows its MAC address {mac} as node {node.rstrip(' .;')}, of a host that is gone"
    return Meaning(host, "spec.bootMACAddress", why, (fix,), 0.9)


def _unknown_scheme(host: Thing, address: str, scheme: str) -> Meaning:
    near = "" if scheme in GONE else nearest(scheme, SCHEMES)
    fixes = [
        outside(
            "Write the address with a driver that the operator has, mostly redfish or ipmi", "ask what the BMC speaks"
        )
    ]
    if near:
        wanted = f"{near}{address[len(scheme) :]}"
        fixes.insert(0, set_path(host, "spec.bmc.address", wanted, f"Use {wanted}", "that driver exists"))
    told = "the operator no longer has" if scheme in GONE else "the operator does not know"
    return Meaning(host, "spec.bmc.address", f"its BMC address asks for driver {scheme}, which {told}", tuple(fixes))


def _inspection(view: ClusterView, host: Thing, message: str) -> Meaning | None:
    facts = view.find("HardwareData", host.namespace, host.name)
    ports = facts.rows("spec.hardware.nics") if facts is not None else host.rows("status.hardware.nics")
    mine = host.text("spec.bootMACAddress").lower()
    seen = [text(n.get("mac")).lower() for n in ports if n.get("mac")]
    if re.search(r"boot.?mode|secure.?boot", message, re.IGNORECASE):
        fix = outside("Set spec.bootMode to what the machine's firmware supports", "it refuses the one asked for")
        mode = host.text("spec.bootMode") or "UEFI"
        return Meaning(host, "spec.bootMode", f"its firmware refuses boot mode {mode}: {message[:140]}", (fix,))
    if re.search(r"no interface|interface with mac|\bmac\b|\bport\b.*not found", message, re.IGNORECASE) or (
        seen and mine and mine not in seen
    ):
        boots = [text(n.get("mac")) for n in ports if n.get("pxe") is True]
        fixes = [
            outside("Set spec.bootMACAddress to an interface of this machine", f"it has {', '.join(seen) or 'another'}")
        ]
        if len(boots) == 1 and boots[0].lower() != mine:
            reason = "it is the only interface that booted by the network"
            fixes.insert(0, set_path(host, "spec.bootMACAddress", boots[0], f"Use MAC address {boots[0]}", reason))
        cited = (view.cite(facts, "spec.hardware.nics"),) if facts is not None else ()
        return Meaning(
            host, "spec.bootMACAddress", f"it has no interface with MAC address {mine}", tuple(fixes), 0.93, cited
        )
    if re.search(r"time[d ]*-?out", message, re.IGNORECASE):
        media = "virtualmedia" in host.text("spec.bmc.address")
        way = (
            "virtual media: the BMC must reach the image server"
            if media
            else "DHCP and PXE on the provisioning network"
        )
        fix = outside(
            f"Watch the machine's console while it boots; check boot order, {way}, and that {mine or 'the boot MAC'} "
            "is its boot interface",
            "the ramdisk never called back to Ironic; nothing in the cluster tells where it stopped",
        )
        why = f"the inspection ramdisk never called back to Ironic ({message[:100]})"
        return Meaning(host, "status.errorMessage", why, (fix,), 0.9)
    return None


def _preparation(view: ClusterView, host: Thing, message: str) -> Meaning | None:
    firmware = view.find("HostFirmwareSettings", host.namespace, host.name)
    valid = firmware.condition("Valid") if firmware is not None else {}
    if firmware is not None and valid.get("status") == "False":
        fix = outside("Correct the setting that HostFirmwareSettings refuses", text(valid.get("message"))[:140])
        why = f"its firmware settings are not valid: {text(valid.get('message'))[:140]}"
        return Meaning(firmware, "spec.settings", why, (fix,), 0.93, (view.cite(firmware, "status.conditions"),))
    raid = bool(re.search(r"raid", message, re.IGNORECASE))
    if raid or re.search(r"bios|firmware", message, re.IGNORECASE):
        fix = outside(
            f"Compare spec.{'raid' if raid else 'firmware'} with what the machine's controller supports",
            "the step that applies it failed on the machine",
        )
        why = f"the machine refuses its {'RAID' if raid else 'firmware'} settings: {message[:140]}"
        return Meaning(host, "spec.raid" if raid else "spec.firmware", why, (fix,), 0.9)
    return None


def _provisioning(view: ClusterView, host: Thing, message: str) -> Meaning | None:
    if host.text("status.provisioning.state") == "deprovisioning" or re.search(r"clean.?(?:step|wait)", message, re.I):
        fix = outside(
            "See on the machine's console why its disks cannot be erased",
            "it is given up after three tries; automatedCleaningMode disabled leaves the old data on them",
        )
        return Meaning(host, "spec.automatedCleaningMode", f"cleaning its disks failed: {message[:140]}", (fix,), 0.9)
    if re.search(r"checksum", message, re.IGNORECASE):
        return _checksum(view, host, message)
    if re.search(r"these hints|root device|no suitable device", message, re.IGNORECASE):
        found = no_disk(view, host)
        cited = (view.cite(found.facts, "spec.hardware.storage"),) if found.facts is not None else ()
        return Meaning(host, found.field, found.why, found.fixes, 0.95 if disks_of(view, host)[0] else 0.9, cited)
    if _DOWNLOAD.search(message):
        return _image(view, host, message)
    return None


def _checksum(view: ClusterView, host: Thing, message: str) -> Meaning:
    stated, kind = host.text("spec.image.checksum"), host.text("spec.image.checksumType") or "md5"
    by_length = (
        {32: "md5", 64: "sha256", 128: "sha512"}.get(len(stated)) if re.fullmatch(r"[0-9a-fA-F]+", stated) else None
    )
    if by_length is not None and kind not in ("auto", by_length):
        fix = set_path(
            host, "spec.image.checksumType", by_length, f"Say that the checksum is {by_length}", "its length tells"
        )
        return Meaning(
            host,
            "spec.image.checksumType",
            f"the image's checksum is a {by_length} and is read as {kind}",
            (fix,),
            0.95,
        )
    twin = _twin(view, host)
    fixes = [
        outside("Take the checksum again from the image that is served now, and check its type", "one of both changed")
    ]
    if twin is not None and twin.text("spec.image.checksum") not in ("", stated):
        good = twin.text("spec.image.checksum")
        title = f"Use the checksum that BareMetalHost {twin.name} was provisioned with"
        fixes.insert(0, set_path(host, "spec.image.checksum", good, title, "it is of the same image"))
    why = f"the image it downloaded does not have the checksum that it states: {message[:140]}"
    return Meaning(host, "spec.image.checksum", why, tuple(fixes))


def _image(view: ClusterView, host: Thing, message: str) -> Meaning:
    url = host.text("spec.image.url")
    served = [h.text("spec.image.url") for h in view.all(HOSTS) if h.text("status.provisioning.state") == "provisioned"]
    near = nearest(url, served) if url not in served else ""
    fixes = [outside("Put the image where its URL says, and see that Ironic can read it there", f"it is {url}")]
    if re.search(r"no space|larger than", message, re.IGNORECASE):
        fixes = [
            outside(
                "Use a raw image, which is streamed to the disk, or a smaller one", "the ramdisk holds it in memory"
            )
        ]
    elif near:
        fixes.insert(
            0, set_path(host, "spec.image.url", near, f"Use image {near}", "another host was provisioned with it")
        )
    return Meaning(host, "spec.image.url", f"its image cannot be written: {message[:160]}", tuple(fixes), 0.9)


def _twin(view: ClusterView, host: Thing) -> Thing | None:
    """Return a host that was provisioned with the same image."""
    return next(
        (
            h
            for h in view.all(HOSTS)
            if h is not host
            and h.text("status.provisioning.state") == "provisioned"
            and h.text("spec.image.url") == host.text("spec.image.url")
        ),
        None,
    )


def _power(view: ClusterView, host: Thing, message: str) -> Meaning | None:
    found = _bmc(view, host, message)
    if found is not None:
        return found
    wanted = "on" if host.at("spec.online") is not False else "off"
    fix = outside("Reset the BMC, and switch the machine by hand if need be", "the BMC takes orders and does not obey")
    return Meaning(host, "spec.online", f"its BMC does not switch it {wanted}: {message[:140]}", (fix,), 0.9)


def _detach(view: ClusterView, host: Thing, message: str) -> Meaning | None:
    fix = outside("See why Ironic does not let the host go", "the annotation asks for it; the host runs on meanwhile")
    place = "metadata.annotations['baremetalhost.metal3.io/detached']"
    return Meaning(host, place, f"it cannot be detached: {message[:160]}", (fix,), 0.9)


_BY_TYPE = {
    "registration error": (_bmc,),
    "inspection error": (_inspection, _bmc),
    "preparation error": (_preparation,),
    "provisioning error": (_provisioning,),
    "power management error": (_power,),
    "servicing error": (_preparation,),
    "detach error": (_detach,),
}
