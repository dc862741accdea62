"""The shipped practice incidents, captured from a real cluster: the cause before, nothing wrong after."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from agents.expert.causes import scan
from assistant.domain.finding import Verdict

from .bundles import load

PRACTICE = Path(__file__).resolve().parents[3] / "recordings" / "practice"
CAUSES = {
    "bad-setting": {"ConfigMap checkout-settings"},
    "broken-json": {"ConfigMap inventory-config"},
    "half-scaled": {"ResourceQuota compute"},
    "label-sync": {"Role label-sync"},
    "lost-points": {"Service loyalty-api"},
    "missing-image": {"Deployment storefront"},
    "misspelt-host": {"ConfigMap label-printer-env"},
    "never-ready": {"Deployment profile"},
    "no-pods": {"ValidatingWebhookConfiguration image-policy.security.acme.io"},
    "restless-search": {"Deployment search"},
    "stuck-release": {"Deployment history-api"},
    "two-faults": {"Deployment returns-worker", "Deployment returns-archive"},
}


def unpack(archive: Path, to: Path) -> tuple[Path, str]:
    with tarfile.open(archive) as packed:
        packed.extractall(to, filter="data")
    root = next(p.parent for p in sorted(to.rglob("cluster-resources")) if p.is_dir())
    return root, next((root / "cluster-resources" / "pods").glob("*.json")).stem


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_the_cause_of_a_practice_incident_is_found(name: str, tmp_path: Path) -> None:
    root, namespace = unpack(PRACTICE / name / "bundle.tar.gz", tmp_path)
    result = scan(load(root, namespace))
    assert {f"{c.draft.target.kind} {c.draft.target.name}" for c in result.roots} == CAUSES[name]
    assert not result.gaps


def test_the_stuck_release_names_the_variable_and_not_the_currency_beside_it(tmp_path: Path) -> None:
    root, namespace = unpack(PRACTICE / "stuck-release" / "bundle.tar.gz", tmp_path)
    top = scan(load(root, namespace)).roots[0].draft
    assert "PRICING_SCHEMA=v3" in top.summary and "EUR" not in top.summary
    assert any("Set PRICING_SCHEMA=v3" in fix.title for fix in top.fixes)


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_after_its_fix_a_practice_incident_is_healthy(name: str, tmp_path: Path) -> None:
    root, namespace = unpack(PRACTICE / name / "after.tar.gz", tmp_path)
    result = scan(load(root, namespace))
    assert result.verdict is Verdict.HEALTHY, [c.draft.summary for c in result.claims]
