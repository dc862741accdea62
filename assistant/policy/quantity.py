"""Kubernetes quantities (apimachinery resource.Quantity) as numbers, and back."""

from __future__ import annotations

import re

_FORM = re.compile(r"^([+-]?\d+(?:\.\d+)?)(?:([eE][+-]?\d+)|([numkMGTPE]i?|Ki))?$")
_SCALE = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}


def quantity(value: object) -> float:
    """Return a quantity as a number in its base unit (cores, bytes, pieces); 0.0 for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _FORM.match(value) if isinstance(value, str) else None
    if match is None:
        return 0.0
    return float(match[1] + (match[2] or "")) * _SCALE.get(match[3] or "", 0.0)


def shown_bytes(number: float) -> str:
    """Return bytes as a quantity in Mi or Gi."""
    mebi = round(number / 2**20)
    return f"{mebi // 1024}Gi" if mebi and mebi % 1024 == 0 else f"{mebi}Mi"


def shown_cpu(cores: float) -> str:
    """Return cores as a quantity in millicores or whole cores."""
    milli = round(cores * 1000)
    return str(milli // 1000) if milli and milli % 1000 == 0 else f"{milli}m"
