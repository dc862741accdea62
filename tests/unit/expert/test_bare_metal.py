"""Metal3: each error and state of a host, machines without a host, and hosts that only look as if in trouble."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from assistant.domain.finding import Role

from .objects import NOW, OLD, SOON, Raw, event, node, pod, thing
from .platforms import Row, condition, made, owned, summaries, undecided, verify, well, world

IMAGE: Raw = {
    "url": "http://10.9.0.2/os.qcow2",
    "checksum": "http://10.9.0.2/os.qcow2.sha256",
    "checksumType": "sha256",
}


def bmh(
    name: str = "r3-n7",
    state: str = "registering",
    error: tuple[str, str] | None = None,
    *,
    labels: Raw | None = None,
    notes: Raw | None = None,
    status: Raw | None = None,
    secret: bool = True,
    **spec: Any,
) -> list[Raw]:
    """A host (with its BMC's Secret) in a state, with (errorType, errorMessage) where it is in error."""
    bmc = {"address": f"redfish://10.9.1.7/redfish/v1/Systems/{name}", "credentialsName": f"{name}-bmc"}
    told: Raw = {"operationalStatus": "OK", "errorMessage": "", "errorCount": 0}
    if error is not None:
        told = {"operationalStatus": "error", "errorType": error[0], "errorMessage": error[1], "errorCount": 4}
    host = made(
        "BareMetalHost",
        name,
        metadata={"labels": labels or {}, "annotations": notes or {}},
        spec={"online": True, "bootMACAddress": "52:54:00:aa:00:07", "bmc": bmc, **spec},
        status={"poweredOn": True, "provisioning": {"state": state}, "lastUpdated": NOW, **told, **(status or {})},
    )
    keys = thing("Secret", f"{name}-bmc", "lab", data={"username": "(not read)", "password": "(not read)"})
    return [host, keys] if secret else [host]


def disks(*names: str, name: str = "r3-n7") -> Raw:
    found = [{"name": n, "sizeBytes": 480 * 2**30, "model": "SSD"} for n in names]
    return made("HardwareData", name, spec={"hardware": {"storage": found}})


def registering(message: str, **more: Any) -> list[Raw]:
    return bmh(error=("registration error", message), **more)


def writing(message: str, **more: Any) -> list[Raw]:
    return bmh(state="provisioning", error=("provisioning error", message), **{"image": IMAGE, **more})


NO_DISK = "Image provisioning failed: Deploy step deploy.write_image failed. No suitable device was found for deployment using these hints {'name': 's== /dev/vdb'}"  # noqa: E501
POWER = "Failed to get power state for node 7f0c. Error: "
HOST = "BareMetalHost/r3-n7"
ERRORS: dict[str, Row] = {
    "bmc password": Row(
        lambda: registering(
            POWER
            + "Redfish exception occurred. Error: HTTP GET https://10.9.1.7/redfish/v1/Systems/1 returned code 401.",
            status={"triedCredentials": {"credentialsVersion": "5"}, "goodCredentials": {"credentialsVersion": "2"}},
        ),
        "baremetal",
        "Secret/r3-n7-bmc",
        "data.username/password",
        ("registration error", "refuses the credentials", "differ from the last good ones"),
        "valid user and password",
    ),
    "bmc does not answer": Row(
        lambda: registering(POWER + "HTTPSConnectionPool(host='10.9.1.7', port=443): Max retries exceeded: timed out"),
        "baremetal",
        HOST,
        "spec.bmc.address",
        ("does not answer", "10.9.1.7"),
        "VLAN",
    ),
    "bmc certificate": Row(
        lambda: registering(
            POWER + "SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed"
        ),
        "baremetal",
        HOST,
        "disableCertificateVerification",
        ("certificate", "not trusted"),
        "Give Ironic the CA",
    ),
    "record left by a forced deletion": Row(
        lambda: registering("MAC address 52:54:00:aa:00:07 conflicts with existing node lab~r3-n7-old"),
        "baremetal",
        HOST,
        "spec.bootMACAddress",
        ("Ironic still knows", "lab~r3-n7-old"),
        "old record",
    ),
    "two hosts of one mac": Row(
        lambda: [
            *registering("MAC address 52:54:00:aa:00:07 conflicts with existing node lab~r3-n8"),
            *bmh("r3-n8", "available"),
        ],
        "baremetal",
        HOST,
        "spec.bootMACAddress",
        ("r3-n8",),
        "own boot interface",
    ),
    "wrong system path": Row(
        lambda: registering("HTTP GET https://10.9.1.7/redfish/v1/Systems/9 returned code 404. ResourceNotFound"),
        "baremetal",
        HOST,
        "spec.bmc.address",
        ("knows no system",),
        "/redfish/v1/Systems",
    ),
    "misspelt driver": Row(
        lambda: registering(
            "Unknown BMC type 'redfsh' for address",
            bmc={"address": "redfsh://10.9.1.7/x", "credentialsName": "r3-n7-bmc"},
        ),
        "baremetal",
        HOST,
        "spec.bmc.address",
        ("redfsh",),
        "redfish://10.9.1.7/x",
    ),
    "driver that is gone": Row(
        lambda: registering("unsupported", bmc={"address": "irmc://10.9.1.7", "credentialsName": "r3-n7-bmc"}),
        "baremetal",
        HOST,
        "spec.bmc.address",
        ("irmc", "no longer has"),
        "redfish or ipmi",
    ),
    "secret missing": Row(
        lambda: [
            *registering("The BMC secret lab/r3-n7-bmc does not exist", secret=False),
            event("BareMetalHost", "r3-n7", "BMCCredentialError", "secret does not exist", "Normal", "lab"),
        ],
        "baremetal",
        HOST,
        "spec.bmc.credentialsName",
        ("r3-n7-bmc", "does not exist"),
        "Create Secret r3-n7-bmc",
    ),
    "secret misspelt": Row(
        lambda: [
            *registering(
                "The BMC secret lab/r3-n7-bnc does not exist",
                bmc={"address": "ipmi://x", "credentialsName": "r3-n7-bnc"},
            )
        ],
        "baremetal",
        HOST,
        "spec.bmc.credentialsName",
        ("r3-n7-bnc",),
        "Use Secret r3-n7-bmc",
    ),
    "secret missing and nothing said yet": Row(
        lambda: bmh(secret=False),
        "baremetal",
        HOST,
        "spec.bmc.credentialsName",
        ("will not be managed", "does not exist"),
        "Create Secret",
    ),
    "secret without password": Row(
        lambda: [
            *registering("Missing BMC connection detail 'password' in credentials", secret=False),
            thing("Secret", "r3-n7-bmc", "lab", data={"username": "(not read)", "pass": "(not read)"}),
        ],
        "baremetal",
        "Secret/r3-n7-bmc",
        "data.password",
        ("no key password",),
        "password",
    ),
    "no bmc at all": Row(
        lambda: bmh(state="unmanaged", bmc={}, status={"operationalStatus": "discovered"}, online=False),
        "baremetal",
        HOST,
        "spec.bmc",
        ("cannot be registered", "no BMC address"),
        "spec.bmc.address",
    ),
    "inspection timeout": Row(
        lambda: bmh(state="inspecting", error=("inspection error", "timeout reached while inspecting the node")),
        "baremetal",
        HOST,
        "status.errorMessage",
        ("never called back",),
        "boot order",
    ),
    "boot mode": Row(
        lambda: bmh(
            state="inspecting",
            error=("inspection error", "Setting boot mode to bios failed: HTTP PATCH returned code 400"),
            bootMode="legacy",
        ),
        "baremetal",
        HOST,
        "spec.bootMode",
        ("legacy",),
        "spec.bootMode",
    ),
    "mac that the host does not have": Row(
        lambda: [
            *bmh(state="inspecting", error=("inspection error", "no interface with MAC 52:54:00:aa:00:07 was found")),
            made(
                "HardwareData",
                "r3-n7",
                spec={"hardware": {"nics": [{"mac": "52:54:00:aa:00:17", "pxe": True}, {"mac": "52:54:00:aa:00:18"}]}},
            ),
        ],
        "baremetal",
        HOST,
        "spec.bootMACAddress",
        ("52:54:00:aa:00:07",),
        "52:54:00:aa:00:17",
    ),
    "raid step": Row(
        lambda: bmh(state="preparing", error=("preparation error", "clean step raid.create_configuration failed")),
        "baremetal",
        HOST,
        "spec.raid",
        ("RAID",),
        "controller supports",
    ),
    "firmware setting": Row(
        lambda: [
            *bmh(state="preparing", error=("preparation error", "applying BIOS settings failed")),
            made(
                "HostFirmwareSettings",
                "r3-n7",
                spec={"settings": {"ProcVirt": "Enbled"}},
                status={
                    "conditions": [condition("Valid", "False", "ConfigurationError", "ProcVirt is invalid: Enbled")]
                },
            ),
        ],
        "baremetal",
        "HostFirmwareSettings/r3-n7",
        "spec.settings",
        ("ProcVirt",),
        "Correct the setting",
    ),
    "checksum": Row(
        lambda: writing("Image provisioning failed: image failed to verify against checksum"),
        "baremetal",
        HOST,
        "spec.image.checksum",
        ("checksum",),
        "Take the checksum again",
    ),
    "checksum of another type": Row(
        lambda: writing(
            "image failed to verify against checksum", image={**IMAGE, "checksum": "ab" * 32, "checksumType": "md5"}
        ),
        "baremetal",
        HOST,
        "spec.image.checksumType",
        ("sha256", "md5"),
        "sha256",
    ),
    "no such disk": Row(
        lambda: [*writing(NO_DISK, rootDeviceHints={"deviceName": "/dev/vdb"}), disks("/dev/sda")],
        "baremetal",
        HOST,
        "spec.rootDeviceHints.deviceName",
        ("/dev/vdb", "/dev/sda 480 GiB"),
        "/dev/sda",
    ),
    "no such disk of many": Row(
        lambda: [*writing(NO_DISK, rootDeviceHints={"deviceName": "/dev/vdb"}), disks("/dev/sda", "/dev/sdb")],
        "baremetal",
        HOST,
        "spec.rootDeviceHints.deviceName",
        ("/dev/sda", "/dev/sdb"),
        "the disk that is meant",
    ),
    "no disk large enough": Row(
        lambda: [*writing(NO_DISK, rootDeviceHints={"minSizeGigabytes": 900}), disks("/dev/sda")],
        "baremetal",
        HOST,
        "spec.rootDeviceHints.minSizeGigabytes",
        ("900",),
        "the disk that is meant",
    ),
    "image not there": Row(
        lambda: [
            *writing("Unable to download image: 404 Not Found", image={**IMAGE, "url": "http://10.9.0.2/oss.qcow2"}),
            *bmh("r3-n9", "provisioned", image=IMAGE, bootMACAddress="52:54:00:aa:00:09"),
        ],
        "baremetal",
        HOST,
        "spec.image.url",
        ("404",),
        "http://10.9.0.2/os.qcow2",
    ),
    "image too large": Row(
        lambda: writing("Deploy step failed: No space left on device"),
        "baremetal",
        HOST,
        "spec.image.url",
        ("No space left",),
        "raw image",
    ),
    "cleaning": Row(
        lambda: bmh(state="deprovisioning", error=("provisioning error", "clean step deploy.erase_devices failed")),
        "baremetal",
        HOST,
        "spec.automatedCleaningMode",
        ("cleaning",),
        "console",
    ),
    "power": Row(
        lambda: bmh(state="available", error=("power management error", "the BMC rejected the power state change")),
        "baremetal",
        HOST,
        "spec.online",
        ("does not switch it on",),
        "Reset the BMC",
    ),
    "registration of a running host": Row(
        lambda: bmh(state="provisioned", error=("provisioned registration error", "connection refused"), image=IMAGE),
        "baremetal",
        HOST,
        "spec.bmc.address",
        ("keeps running",),
        "VLAN",
    ),
    "detach": Row(
        lambda: bmh(state="provisioned", error=("detach error", "could not delete node from Ironic")),
        "baremetal",
        HOST,
        "detached",
        ("cannot be detached",),
        "Ironic",
    ),
    "unknown error is shown verbatim": Row(
        lambda: bmh(state="preparing", error=("frobnication error", "the frob of slot 4 is bent")),
        "baremetal",
        HOST,
        "status.errorMessage",
        ("frobnication error", "the frob of slot 4 is bent"),
        "slot 4",
    ),
    "old state without an error": Row(
        lambda: bmh(
            state="inspecting",
            status={"operationHistory": {"inspect": {"start": OLD, "end": None}}, "lastUpdated": OLD},
        ),
        "baremetal",
        HOST,
        "status.provisioning.state",
        ("inspecting for 60 min", "no error"),
        "console",
    ),
    "off though it is to be on": Row(
        lambda: bmh(state="provisioned", status={"poweredOn": False, "lastUpdated": OLD}, image=IMAGE),
        "baremetal",
        HOST,
        "status.poweredOn",
        ("powered off",),
        "Ironic",
    ),
    "paused while it works": Row(
        lambda: bmh(state="provisioning", notes={"baremetalhost.metal3.io/paused": ""}),
        "baremetal",
        HOST,
        "paused",
        ("is paused while it is provisioning",),
        "Resume host",
    ),
    "detached and asked for": Row(
        lambda: bmh(state="provisioned", notes={"baremetalhost.metal3.io/detached": ""}),
        "baremetal",
        HOST,
        "detached",
        ("detached",),
        "Attach host",
        question="why is host r3-n7 not reconciled any more?",
    ),
    "ironic": Row(
        lambda: [
            made(
                "Ironic",
                "ironic",
                status={"conditions": [condition("Ready", "False", "DeploymentFailed", "no address")]},
            ),
            *bmh(status={"lastUpdated": OLD}),
        ],
        "baremetal",
        "Ironic/ironic",
        "conditions",
        ("DeploymentFailed",),
        "spec.networking",
    ),
}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_the_cause_of_a_hosts_trouble_is_found(name: str) -> None:
    verify(ERRORS[name])


def waiting_machine(**labels: str) -> Raw:
    no = "No available host found. Requeuing."
    return made(
        "Metal3Machine",
        "md-0-x",
        spec={"hostSelector": {"matchLabels": labels}},
        status={
            "conditions": [
                condition("Ready", "False", "NotReady", "AssociateBareMetalHost: " + no),
                condition("AssociateBareMetalHost", "False", "AssociateBareMetalHostFailed", no),
            ]
        },
    )


def chain(metal: Raw) -> list[Raw]:
    """A machine's Machine, MachineSet, MachineDeployment and Cluster, each not ready because of the one below."""
    not_ready = {
        "conditions": [condition("Ready", "False", "WaitingForInfrastructure", "not yet", "2026-03-01T09:00:00Z")]
    }
    infra = {"kind": "Metal3Machine", "name": metal["metadata"]["name"]}
    return [
        owned(metal, "Machine", "m-0"),
        owned(made("Machine", "m-0", spec={"infrastructureRef": infra}, status=not_ready), "MachineSet", "ms"),
        owned(made("MachineSet", "ms", status=not_ready), "MachineDeployment", "md"),
        owned(made("MachineDeployment", "md", status=not_ready), "Cluster", "edge"),
        made("Cluster", "edge", status=not_ready),
    ]


FREE = {"site": "s17"}
BOOTED = [
    made(
        "Machine",
        "m-0",
        spec={"infrastructureRef": {"kind": "Metal3Machine", "name": "mm"}},
        status={"phase": "Provisioned"},
    ),
    made(
        "Metal3Machine",
        "mm",
        metadata={"annotations": {"metal3.io/BareMetalHost": "lab/r3-n7"}},
        spec={"providerID": "metal3://lab/r3-n7/mm"},
        status={"ready": True},
    ),
    *bmh(state="provisioned", image=IMAGE, status={"operationHistory": {"provision": {"start": OLD, "end": OLD}}}),
]
MACHINES: dict[str, Row] = {
    "no host has the label": Row(
        lambda: [waiting_machine(site="s71"), *bmh("a", "available", labels=FREE), *bmh("b", "available", labels=FREE)],
        "baremetal",
        "Metal3Machine/md-0-x",
        "spec.hostSelector",
        ("none of 2 hosts (2 free)", "site=s71"),
        "site=s17",
    ),
    "all that fit are in use": Row(
        lambda: [
            waiting_machine(site="s17"),
            *bmh("a", "provisioned", labels=FREE, consumerRef={"kind": "Metal3Machine", "name": "other"}, image=IMAGE),
        ],
        "baremetal",
        "Metal3Machine/md-0-x",
        "spec.hostSelector",
        ("1 match", "used by other"),
        "another host",
    ),
    "there is no host at all": Row(
        lambda: [waiting_machine(site="s17")],
        "baremetal",
        "Metal3Machine/md-0-x",
        "spec.hostSelector",
        ("no BareMetalHost in namespace lab",),
        "another host",
    ),
    "the whole chain is one trouble": Row(
        lambda: [*chain(waiting_machine(site="s71")), *bmh("a", "available", labels=FREE)],
        "baremetal",
        "Metal3Machine/md-0-x",
        "spec.hostSelector",
        ("none of 1 hosts",),
        "site=s17",
    ),
    "the host that fits is in error": Row(
        lambda: [
            *chain(waiting_machine(site="s17")),
            *bmh(error=("registration error", "HTTP 401 Unauthorized"), labels=FREE),
        ],
        "baremetal",
        "Secret/r3-n7-bmc",
        "data",
        ("refuses",),
        "valid user",
    ),
    "addresses are used up": Row(
        lambda: [
            made(
                "IPPool",
                "prov",
                spec={"pools": [{"start": "10.9.2.10", "end": "10.9.2.11"}]},
                status={"indexes": {"a": "10.9.2.10", "b": "10.9.2.11"}},
            ),
            made("IPClaim", "c-3", spec={"pool": {"name": "prov"}}),
        ],
        "baremetal",
        "IPPool/prov",
        "spec.pools",
        ("all 2 are given out",),
        "range",
    ),
    "booted and never joined": Row(
        lambda: BOOTED,
        "baremetal",
        "Machine/m-0",
        "status.nodeRef",
        ("no node", "r3-n7"),
        "cloud-init",
    ),
    "joined under another provider id": Row(
        lambda: [*BOOTED, node("r3-n7", providerID="aws:///x")],
        "baremetal",
        "Machine/m-0",
        "status.nodeRef",
        ("provider ID aws:///x",),
        "metal3://lab/r3-n7/mm",
    ),
    "no cloud provider sets the provider id": Row(
        lambda: [*BOOTED, node("r3-n7"), made("Metal3Cluster", "edge", spec={"cloudProviderEnabled": True})],
        "baremetal",
        "Metal3Cluster/edge",
        "spec.cloudProviderEnabled",
        ("no cloud provider",),
        "has no cloud provider",
    ),
    "remediation that failed": Row(
        lambda: [made("Metal3Remediation", "m-0", status={"phase": "Failed", "retryCount": 3})],
        "baremetal",
        "Metal3Remediation/m-0",
        "status.phase",
        ("failed",),
        "replace it",
    ),
}


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_the_cause_of_a_machines_trouble_is_found(name: str) -> None:
    verify(MACHINES[name])


def test_a_host_that_is_off_explains_its_node_and_the_pods_there() -> None:
    lost = node(
        "edge-1", ready="Unknown", message="Kubelet stopped posting node status.", providerID="metal3://lab/r3-n7/mm"
    )
    off = bmh(state="provisioned", image=IMAGE, status={"poweredOn": False, "lastUpdated": OLD})
    result = scan(world(*off, lost, pod("web", node="edge-1")), "web is down")
    assert [c.draft.target.kind for c in result.roots] == ["BareMetalHost"]
    assert {c.draft.target.kind for c in result.claims if c.role is Role.CONSEQUENCE} >= {"Node"}


def test_a_host_in_error_that_still_runs_is_not_why_its_node_is_lost() -> None:
    lost = node(
        "edge-1", ready="Unknown", message="Kubelet stopped posting node status.", providerID="metal3://lab/r3-n7/mm"
    )
    host = bmh(state="provisioned", image=IMAGE, error=("provisioned registration error", "HTTP 401 Unauthorized"))
    assert {c.draft.target.kind for c in scan(world(*host, lost)).roots} == {"Secret", "Node"}


@pytest.mark.parametrize(
    "objects",
    [
        bmh(state="provisioned", image=IMAGE),
        bmh(state="available"),
        bmh(state="provisioned", image=IMAGE, secret=False),
        bmh(state="externally provisioned", externallyProvisioned=True),
        bmh(state="available", online=False, status={"poweredOn": False}),
        bmh(state="inspecting", status={"operationHistory": {"inspect": {"start": SOON}}}),
        bmh(state="provisioning", image=IMAGE, status={"operationHistory": {"provision": {"start": SOON}}}),
        bmh(state="available", status={"operationalStatus": "delayed"}),
        bmh(state="provisioned", image=IMAGE, notes={"baremetalhost.metal3.io/detached": ""}),
        bmh(state="available", notes={"baremetalhost.metal3.io/paused": ""}),
        bmh(
            state="provisioned",
            image=IMAGE,
            notes={"reboot.metal3.io": ""},
            status={"poweredOn": False, "lastUpdated": OLD},
        ),
        bmh(state="provisioned", image=IMAGE, status={"poweredOn": False, "lastUpdated": SOON}),
        bmh(
            state="available",
            status={
                "conditions": [
                    condition("Progressing", "False", "NotProgressing"),
                    condition("Provisioned", "False", "NotProvisioned"),
                    condition("Healthy", "Unknown", "Unknown"),
                ]
            },
        ),
        [disks("/dev/sda")],
        [*BOOTED, node("r3-n7", providerID="metal3://lab/r3-n7/mm")],
        [
            made(
                "Cluster", "edge", spec={"paused": True}, status={"conditions": [condition("Ready", "False", "Paused")]}
            )
        ],
        [
            made(
                "Machine",
                "m",
                status={"conditions": [condition("Ready", "False", "WaitingForInfrastructure", since=SOON)]},
            )
        ],
        [
            made(
                "IPPool",
                "p",
                spec={"pools": [{"start": "10.9.2.10", "end": "10.9.2.10"}]},
                status={"indexes": {"a": "10.9.2.10"}},
            )
        ],
    ],
)
def test_a_host_that_is_well_held_or_at_work_is_no_fault(objects: list[Raw]) -> None:
    well(*objects)


def test_many_hosts_with_one_symptom_are_one_cause() -> None:
    hosts = [h for n in "abcd" for h in bmh(n, error=("registration error", "connection timed out"))]
    result = scan(world(*hosts))
    [root] = result.roots
    assert "4 BareMetalHosts do not answer at their BMCs (a, b, c, d)" in root.draft.summary
    assert sum(c.role is Role.CONSEQUENCE for c in result.claims) == 4
    assert len(scan(world(*hosts[:4])).roots) == 2


def test_machines_of_another_provider_are_no_bare_metal() -> None:
    bad = made("Machine", "m", status={"conditions": [condition("Ready", "False", "InstanceTerminated", "gone")]})
    [root] = scan(world(bad)).roots
    assert (root.draft.category, root.draft.target.kind) == ("other", "Machine")


def test_a_driver_is_unknown_when_the_operator_says_so_whatever_we_know() -> None:
    row = Row(
        lambda: registering("Unknown BMC type 'redfish' for address redfish://10.9.1.7"),
        "baremetal",
        HOST,
        "spec.bmc.address",
        ("asks for driver redfish",),
        "driver",
    )
    verify(row)


def test_a_host_that_no_operator_has_looked_at_is_undecided() -> None:
    [host] = bmh(secret=False)
    del host["status"]
    undecided(host, word="no controller has taken it up")


def test_hosts_are_not_asked_about_where_metal3_is_not_installed() -> None:
    well(absent=("BareMetalHost", "Metal3Machine", "Machine"))


def test_several_broken_hosts_are_told_each_and_healthy_ones_are_not() -> None:
    text = summaries(
        *bmh("a", error=("registration error", "HTTP 401")),
        *bmh("b", "inspecting", error=("inspection error", "timeout reached while inspecting the node")),
        *bmh("c", "available", bootMACAddress="52:54:00:aa:00:0c"),
    )
    assert "Secret lab/a-bmc" in text and "BareMetalHost lab/b" in text and "lab/c" not in text
