"""Make the practice incidents from captured ones: python recordings/practice/make.py INCIDENTS_DIR.

Packs bundle/ and after/ of the chosen incidents as reproducible archives (sorted, no times, no owners): the same input
gives the same bytes. What is told to the person (title, symptom, what it teaches) is written by hand below.
"""

from __future__ import annotations

import argparse
import gzip
import io
import shutil
import tarfile
from pathlib import Path

import yaml

CHOSEN = {
    "bad-setting": (
        "01-shop-checkout",
        "Checkout answers 503 after a settings change",
        "read the crash from the log, join it to the ConfigMap that holds the value",
    ),
    "missing-image": (
        "07-storefront-web",
        "The shop front page is gone since the release",
        "an image that cannot be pulled; a change that is verified",
    ),
    "restless-search": (
        "10-search-api",
        "Search drops out every half minute",
        "a probe that kills a healthy container",
    ),
    "never-ready": (
        "12-profile-api",
        "Profiles refuse connections, pods are Running",
        "readiness, and why a Service has no endpoints",
    ),
    "lost-points": (
        "13-loyalty",
        "Loyalty points are not shown, all pods are green",
        "a Service that selects nothing",
    ),
    "half-scaled": (
        "22-team-blue",
        "Scaled to four, got two",
        "a quota that refuses pods",
    ),
    "stuck-release": (
        "31-order-history",
        "A release that never finishes",
        "rollout history, and rolling back",
    ),
    "label-sync": (
        "33-platform-sync",
        "Labels are no longer synchronised",
        "RBAC denials read from a log",
    ),
    "no-pods": (
        "34-tenant-onboarding",
        "A Deployment without a single pod",
        "an admission webhook without a backend",
    ),
    "two-faults": (
        "47-returns-portal",
        "Neither the returns worker nor the archive works",
        "two independent causes in one namespace",
    ),
    "misspelt-host": (
        "54-shipping",
        "The label printer restarts every few seconds",
        "a host name that does not resolve",
    ),
    "broken-json": (
        "61-warehouse",
        "Inventory went down after a config edit",
        "a file in a ConfigMap that cannot be parsed",
    ),
}

HEALS_TOO = {
    # The container takes every key of the ConfigMap as environment, so the variable may be set there as well.
    "stuck-release": (
        {
            "kind": "ConfigMap",
            "namespace": "order-history",
            "name": "history-settings",
            "path": "data.PRICING_SCHEMA",
            "matches": "^v3$",
        },
    ),
}
"""Conditions under which an incident heals beside those that it was captured with; any of them is enough."""


def pack(folder: Path, archive: Path, root: str) -> None:
    """Write `folder` as a reproducible tar.gz whose members stand under `root`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            member = tarfile.TarInfo(f"{root}/{path.relative_to(folder).as_posix()}")
            data = path.read_bytes()
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    archive.write_bytes(gzip.compress(buffer.getvalue(), compresslevel=9, mtime=0))


def main() -> None:
    """Make every chosen incident anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("incidents", type=Path)
    source: Path = parser.parse_args().incidents
    here = Path(__file__).parent
    for name, (incident, title, teaches) in CHOSEN.items():
        folder, into = source / incident, here / name
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        truth = yaml.safe_load((folder / "truth.yaml").read_text())
        pack(folder / "bundle", into / "bundle.tar.gz", truth["namespace"])
        pack(folder / "after", into / "after.tar.gz", truth["namespace"])
        heals = yaml.safe_load((folder / "heals_when.yaml").read_text())
        heals["any"] += [[condition] for condition in HEALS_TOO.get(name, ())]
        (into / "heals_when.yaml").write_text(yaml.safe_dump(heals, sort_keys=False))
        about = {"title": title, "symptom": truth["symptom"], "namespace": truth["namespace"], "teaches": teaches}
        # What `pilothouse eval` scores by; the person who practises is not told.
        about |= {name: truth[name] for name in ("category", "culprit", "accept") if name in truth}
        (into / "incident.yaml").write_text(yaml.safe_dump(about, sort_keys=False, width=110, allow_unicode=True))


if __name__ == "__main__":
    main()
