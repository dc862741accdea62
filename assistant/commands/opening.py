"""From arguments to settings and a place: what every command that needs a cluster does first."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.backend import Place, bundle_place
from assistant.config import Settings, load

if TYPE_CHECKING:
    from assistant.wiring import Work

FLAGS = ("context", "kubeconfig", "namespace", "mode", "theme", "model", "no_model", "base_url")


def settings_of(given: argparse.Namespace) -> Settings:
    """Return the settings with this command line's flags on top. Raises UsageError."""
    return load({name: getattr(given, name, None) for name in FLAGS})


def place_for(given: argparse.Namespace) -> Place:
    """Return the place that the flags name."""
    bundle: Path | None = getattr(given, "bundle", None)
    place = bundle_place(bundle) if bundle is not None else Place()
    return replace(place, all_namespaces=bool(getattr(given, "all_namespaces", False)))


@asynccontextmanager
async def working(settings: Settings, place: Place, *, propose: bool, resume: str = "") -> AsyncIterator[Work]:
    """Open a session and end everything under it afterwards."""
    from assistant.wiring import open_work

    work = await open_work(settings, place, propose=propose, resume=resume)
    try:
        yield work
    finally:
        await work.close()
