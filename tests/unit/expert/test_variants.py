"""Variants of the practice incidents, and imaginary faults put into captured namespaces, give the same answer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random as Dice
from tempfile import TemporaryDirectory

import pytest
import yaml

from agents.expert.causes import scan
from assistant.domain.finding import Verdict

from . import (
    test_ai_gateways,
    test_bare_metal,
    test_configuration,
    test_containers,
    test_control,
    test_device_states,
    test_devices,
    test_edge_sites,
    test_faults,
    test_gateways,
    test_inference,
    test_kueue,
    test_placement,
    test_plugins,
    test_proxy_logs,
    test_routes,
    test_traffic,
    test_training,
)
from .bundles import load
from .cases import Incident, told
from .platforms import Row, world
from .test_practice import PRACTICE, unpack
from .variants import BLINDED, ONE, Culprit, Snapshot, combined, crowded, score, taken

SEED = 20
TRUTH = {
    "bad-setting": ("ConfigMap checkout-settings DB_POOL_SIZE",),
    "broken-json": ("ConfigMap inventory-config config.json",),
    "half-scaled": ("ResourceQuota compute requests.cpu",),
    "label-sync": ("Role label-sync resources",),
    "lost-points": ("Service loyalty-api selector",),
    "missing-image": ("Deployment storefront image",),
    "misspelt-host": ("ConfigMap label-printer-env QUEUE_HOST",),
    "never-ready": ("Deployment profile readinessProbe.port",),
    "no-pods": ("ValidatingWebhookConfiguration image-policy.security.acme.io clientConfig.service",),
    "restless-search": ("Deployment search livenessProbe.path",),
    "stuck-release": ("Deployment history-api image",),
    "two-faults": ("Deployment returns-worker env", "Deployment returns-archive volumes.claimName"),
}
CASES: dict[str, Incident] = {
    name: incident
    for module in (
        test_containers,
        test_traffic,
        test_placement,
        test_control,
        test_configuration,
        test_routes,
        test_gateways,
        test_inference,
        test_ai_gateways,
        test_proxy_logs,
        test_devices,
        test_device_states,
        test_plugins,
    )
    for name, incident in module.case.rows.items()
} | {name: Incident(*row) for name, row in test_faults.CASES.items()}

SHARED = ("Node", "NodePool", "Gateway", "ClusterQueue/vision")
"""What no namespace owns is a note in one that does not use it."""


def incident(row: Row) -> Incident:
    return Incident(lambda: world(*row.objects(), namespace="lab"), row.category, row.target, row.field, row.question)


CASES |= {
    f"{module.__name__.rpartition('.')[2]}: {name}": incident(row)
    for module, rows in (
        (test_bare_metal, test_bare_metal.ERRORS | test_bare_metal.MACHINES),
        (test_edge_sites, test_edge_sites.ROWS),
        (test_kueue, test_kueue.ROWS),
        (test_training, test_training.ROWS),
    )
    for name, row in rows.items()
    if not row.target.startswith(SHARED)
}


def dice(seed: int | str) -> Dice:
    return Dice(seed)  # noqa: S311 - variants, not secrets


@cache
def captured(name: str) -> tuple[Snapshot, Snapshot]:
    """Return a practice incident and the same namespace after its fix."""
    folder = PRACTICE / name
    told_of = yaml.safe_load((folder / "incident.yaml").read_text())
    culprits = [Culprit(*words.split()) for words in TRUTH[name]]
    with TemporaryDirectory() as place:
        root, namespace = unpack(folder / "bundle.tar.gz", Path(place) / "before")
        after, _ = unpack(folder / "after.tar.gz", Path(place) / "after")
        return (
            taken(load(root, namespace), told_of["symptom"], culprits, []),
            taken(load(after, namespace), told_of["symptom"], [], []),
        )


@pytest.mark.parametrize("name", sorted(TRUTH))
@pytest.mark.parametrize("kind", sorted(ONE))
def test_a_variant_has_the_same_cause(kind: str, name: str) -> None:
    snapshot = ONE[kind](captured(name)[0], dice(SEED))
    result = score(snapshot)
    if kind in BLINDED:
        assert not [s for s, right in result.sure if s >= 0.7 and not right], result.said
        assert result.top or not result.decided or all(s < 0.7 for s, _ in result.sure), result.said
        assert result.decided or snapshot.culprits
    else:
        assert result.top and result.every and not result.extra and result.field, result.said


@pytest.mark.parametrize("name", sorted(TRUTH))
@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_logs_break_no_analyzer(name: str, text: str) -> None:
    snapshot = captured(name)[0]
    silent = replace(snapshot, logs=tuple((*log[:4], text) for log in snapshot.logs))
    result = scan(silent.view(), snapshot.symptom)
    assert not [g for g in result.gaps if "could not judge" in g], result.gaps


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_what_is_mended_is_well_even_in_a_crowd(name: str) -> None:
    result = score(crowded(captured(name)[1], dice(SEED)))
    assert result.top and not result.extra, result.said


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_two_incidents_in_one_namespace_are_both_found(name: str) -> None:
    other = dice(name).choice([n for n in sorted(TRUTH) if n != name])
    result = score(combined(captured(name)[0], captured(other)[0]))
    assert result.top and result.every and not result.extra, (other, result.said)


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_an_incident_beside_one_that_healed_is_found_alone(name: str) -> None:
    other = dice(name).choice([n for n in sorted(TRUTH) if n != name])
    result = score(combined(captured(name)[0], captured(other)[1]))
    assert result.top and result.every and not result.extra, (other, result.said)


NOT_MOVED = {
    "namespace_that_an_api_keeps_from_ending",
    "admin_access_without_the_label_of_the_namespace",
    "node_that_the_driver_leaves_out",
}
"""Faults of a namespace itself, and one that only a question about the whole cluster is told of."""


@pytest.mark.parametrize("name", sorted(set(CASES) - NOT_MOVED))
def test_an_imaginary_fault_in_a_captured_namespace_is_found_alone(name: str) -> None:
    # A namespace that is going away cannot be put into another one.
    incident = CASES[name]
    home = captured(dice(name).choice(sorted(TRUTH)))[1]
    kind, culprit = incident.target.split("/", 1)
    fault = taken(incident.build(), incident.question, [Culprit(kind, culprit)], [])
    snapshot = combined(home, fault)
    result = scan(snapshot.view(), incident.question)
    assert result.verdict is Verdict.FAULT, told(result)
    assert {f"{c.draft.target.kind}/{c.draft.target.name}" for c in result.roots} == {incident.target}, told(result)
