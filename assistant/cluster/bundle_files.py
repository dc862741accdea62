"""The files of a support bundle, from a folder or a .tar.gz; apart because a hostile archive is stopped here."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assistant.errors import BundleError

MAX_FILES = 200_000
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_TOTAL_BYTES = 2 * 1024 * 1024 * 1024
MARKER = "cluster-resources"
HINT = "Give a folder or .tar.gz in the layout of troubleshoot.sh, the one that holds cluster-resources/."


@dataclass(frozen=True, slots=True)
class BundleFiles:
    """Readers by path relative to the bundle's root, with `/` between the parts."""

    readers: Mapping[str, Callable[[], bytes]]

    def read(self, path: str) -> bytes | None:
        """Return the bytes of `path`, None when the bundle has no such file. Raises BundleError if it is unreadable."""
        reader = self.readers.get(path)
        if reader is None:
            return None
        try:
            return reader()
        except OSError as error:
            raise BundleError(
                f"The file {path} of the bundle cannot be read.", "Check its rights.", detail=str(error)
            ) from error


def open_files(path: Path) -> BundleFiles:
    """List the files of the bundle at `path`. Raises BundleError for anything that is not a readable bundle."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BundleError(f"There is no bundle at {path}.", "Check the path.", detail=str(error)) from error
    found = _folder(path) if stat.S_ISDIR(mode) else _archive(path)
    if not found:
        raise BundleError(f"{path.name} is empty.", HINT)
    return BundleFiles(_below_root(found, path.name))


def _below_root(found: dict[str, Callable[[], bytes]], name: str) -> dict[str, Callable[[], bytes]]:
    if any(entry.startswith(f"{MARKER}/") for entry in found):
        return found
    roots = {entry.split("/", 1)[0] for entry in found if f"/{MARKER}/" in entry}
    candidates = [root for root in sorted(roots) if any(e.startswith(f"{root}/{MARKER}/") for e in found)]
    if len(candidates) != 1:
        raise BundleError(f"{name} is not a support bundle: it has no {MARKER} folder.", HINT)
    prefix = f"{candidates[0]}/"
    return {entry.removeprefix(prefix): reader for entry, reader in found.items() if entry.startswith(prefix)}


def _folder(root: Path) -> dict[str, Callable[[], bytes]]:
    found: dict[str, Callable[[], bytes]] = {}
    total = 0
    for folder, folders, files in os.walk(root, followlinks=False, onerror=_raise):
        for name in (*folders, *files):
            entry = Path(folder) / name
            if entry.is_symlink():
                raise BundleError(
                    f"The bundle holds a link ({entry.relative_to(root)}), which could point anywhere.",
                    "Unpack the bundle again without links.",
                )
        for name in files:
            entry = Path(folder) / name
            total = _bounded(len(found), total, entry.stat().st_size, name)
            found[entry.relative_to(root).as_posix()] = entry.read_bytes
    return found


def _raise(error: OSError) -> None:
    raise BundleError("A folder of the bundle cannot be read.", "Check its rights.", detail=str(error)) from error


def _archive(path: Path) -> dict[str, Callable[[], bytes]]:
    found: dict[str, Callable[[], bytes]] = {}
    total = 0
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = _safe_name(member.name)
                if member.isdir():
                    continue
                if not member.isreg():
                    raise BundleError(
                        f"The archive holds {member.name!r}, which is a link or a device.",
                        "A bundle has files and folders only; do not trust this one.",
                    )
                total = _bounded(len(found), total, member.size, name)
                stream = archive.extractfile(member)
                data = b"" if stream is None else stream.read()
                if len(data) != member.size:
                    raise BundleError(f"{path.name} ends early.", "The file is truncated: copy it again.")
                found[name] = _Held(data).read
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BundleError(
            f"{path.name} is damaged or truncated.", "Copy it again from where it was made.", detail=str(error)
        ) from error
    except tarfile.ReadError as error:
        started = "unexpected end" in str(error) or found
        meaning = f"{path.name} is damaged or truncated." if started else f"{path.name} is not a tar archive."
        raise BundleError(meaning, HINT, detail=str(error)) from error
    except (OSError, tarfile.TarError) as error:
        raise BundleError(
            f"{path.name} cannot be read.", "Check the file and its rights.", detail=str(error)
        ) from error
    return found


class _Held:
    """The bytes of one archived file."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self) -> bytes:
        """Return the bytes."""
        return self.data


def _safe_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise BundleError(
            f"The archive holds {name!r}, a path outside of itself.", "Do not trust this archive; ask for another one."
        )
    return path.as_posix()


def _bounded(count: int, total: int, size: int, name: str) -> int:
    """Return the new total in bytes. Raises BundleError when a bound of the reader is passed."""
    if count >= MAX_FILES:
        raise BundleError(f"The bundle has more than {MAX_FILES} files.", "Capture fewer namespaces.")
    if size > MAX_FILE_BYTES or total + size > MAX_TOTAL_BYTES:
        raise BundleError(
            f"The bundle is too large to be read into memory (at {name}).",
            f"The bounds are {MAX_FILE_BYTES >> 20} MiB for a file and {MAX_TOTAL_BYTES >> 20} MiB in all.",
        )
    return total + size
