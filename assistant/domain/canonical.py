"""One byte form for a value, so that a digest means the same thing in every process."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> bytes:
    """Return the canonical JSON of `value`: sorted keys, no blanks, UTF-8, no NaN.

    Follows RFC 8785 for the values that we digest (text, whole numbers, booleans, null, lists, objects).
    Raises ValueError for NaN and infinities, TypeError for anything that is not JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of `value` as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()
