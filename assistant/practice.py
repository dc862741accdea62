"""The practice incidents that ship with Pilothouse: recorded clusters with a fault, and what their users say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assistant.errors import BundleError, UsageError

INCIDENT_KEYS = ("title", "symptom", "namespace", "teaches")


@dataclass(frozen=True, slots=True)
class Incident:
    """One practice incident. `after` and `heals_when` let the recorded cluster heal once the right change is made."""

    name: str
    title: str
    symptom: str
    namespace: str
    teaches: str
    bundle: Path
    after: Path | None
    heals_when: Path | None


def recordings_folder() -> Path:
    """Return where the recordings are: beside the packages in a source tree, inside the package in a wheel."""
    package = Path(__file__).parent
    inside = package / "_data" / "recordings"
    return inside if inside.is_dir() else package.parent / "recordings"


def incidents() -> tuple[Incident, ...]:
    """Return every practice incident, by name. Raises BundleError when one of them is not whole."""
    folder = recordings_folder() / "practice"
    return tuple(_read(path) for path in sorted(folder.glob("*/incident.yaml")))


def incident(name: str) -> Incident:
    """Return one practice incident. Raises UsageError when there is none of that name."""
    known = incidents()
    for item in known:
        if item.name == name:
            return item
    import difflib

    near = difflib.get_close_matches(name, [item.name for item in known], n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(item.name for item in known)}."
    raise UsageError(f"There is no practice incident {name!r}.", hint)


def _read(path: Path) -> Incident:
    import yaml

    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
        title, symptom, namespace, teaches = (str(about[key]) for key in INCIDENT_KEYS)
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BundleError(f"{path} cannot be read.", "Install Pilothouse anew.", detail=str(error)) from error
    folder = path.parent
    bundle = _either(folder, "bundle")
    if bundle is None:
        raise BundleError(f"{folder} has no bundle.", "Install Pilothouse anew.")
    heals = folder / "heals_when.yaml"
    after = _either(folder, "after")
    return Incident(folder.name, title, symptom, namespace, teaches, bundle, after, heals if heals.exists() else None)


def _either(folder: Path, name: str) -> Path | None:
    for candidate in (folder / f"{name}.tar.gz", folder / name):
        if candidate.exists():
            return candidate
    return None
