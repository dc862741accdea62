"""Takes secret values out of Kubernetes objects and texts: by structure where the place is known, by pattern elsewhere.

A placeholder keeps a keyed hash, so that "is it the same value in both places?" can still be answered, and for Secrets
the key and the length. A write that carries a placeholder back must be refused (`has_placeholder`).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import logging
import os
from typing import Any, Final

from assistant.policy.redact_names import sensitive_name, spared
from assistant.policy.redact_text import MARKER, redact_patterns

# 21 bytes, so its base64 form is one fixed text whatever follows.
_SECRET_MARK: Final = "pilothouse-redacted::"  # noqa: S105 - marks where a secret was
_SECRET_MARK_BASE64: Final = base64.b64encode(_SECRET_MARK.encode()).decode()
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_DEPTH: Final = 64
# Fields of metadata that are names, ids and times; a pattern must not eat a uid.
_PLAIN_METADATA: Final = frozenset(
    [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "generateName",
        "labels",
        "ownerReferences",
        "managedFields",
        "finalizers",
        "selfLink",
        "continue",
        "remainingItemCount",
    ]
)

# How a pair of name and value is spelt: environment variables, tags of cloud providers, parameters of custom resources.
_NAMED_PAIRS: Final = (("name", "value"), ("key", "value"), ("Name", "Value"), ("Key", "Value"))
_WRAPPING: Final = frozenset({"value", "plain", "plaintext", "plainText", "raw", "literal", "stringValue", "inline"})


class Redactor:
    """Redacts with one key: equal values give equal placeholders as long as the key is the same."""

    def __init__(self, key: bytes) -> None:
        """Keep the key; it must be random and stay in this process."""
        self._key = key

    def _hash(self, value: str) -> str:
        return hmac.new(self._key, value.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:8]

    def mark(self, kind: str, value: str) -> str:
        """Return the placeholder for a value in text."""
        return f"{MARKER}{kind}:{self._hash(value)}]"

    def text(self, text: str) -> tuple[str, int]:
        """Return `text` without what looks like secrets, and how many values were taken out."""
        return redact_patterns(text, self.mark)

    def object(self, value: Any, kind: str = "") -> tuple[Any, int]:
        """Return a copy of an API object (also a list, Table or watch event) without secret values, and the count.

        `kind` is what the items of a Table or an untyped list are; an object's own kind goes before it.
        """
        walk = _Walk(self)
        return walk.any(value, kind, 0), walk.count

    def secret_value(self, encoded: str, *, plain: bool = False) -> str:
        """Return the placeholder for one value of a Secret: base64 for `data`, plain text for `stringData`.

        Its text tells the length of the value in bytes and the keyed hash of the decoded value.
        """
        raw = encoded.encode(errors="surrogatepass")
        if not plain:
            with contextlib.suppress(binascii.Error, ValueError):
                raw = base64.b64decode(encoded, validate=True)
        if raw.startswith(_SECRET_MARK.encode()):
            return encoded
        digest = hmac.new(self._key, raw, hashlib.sha256).hexdigest()[:8]
        note = f"{_SECRET_MARK}length={len(raw)},hash={digest}"
        return note if plain else base64.b64encode(note.encode()).decode()


class _Walk:
    """One pass over one object."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.count = 0

    def any(self, value: Any, kind: str, depth: int) -> Any:
        if depth > _DEPTH:
            self.count += 1
            return f"{MARKER}too-deep:00000000]"
        match value:
            case dict():
                return self._dict(value, kind, depth)
            case list():
                return self._list(value, kind, depth)
            case str():
                return self._text(value)
            case _:
                return value

    def _dict(self, value: dict[str, Any], kind: str, depth: int) -> dict[str, Any]:
        own = str(value.get("kind") or "")
        if own == "Table":
            return {k: self._rows(v, kind, depth) if k == "rows" else v for k, v in value.items()}
        if own.endswith("List") and isinstance(value.get("items"), list):
            item_kind = "" if own == "List" else own[:-4]
            if own.startswith("PartialObjectMetadata"):
                item_kind = kind
            items = [self.any(item, item_kind or kind, depth + 1) for item in value["items"]]
            return {**value, "items": items}
        if own and own != "PartialObjectMetadata" and ("metadata" in value or "apiVersion" in value):
            kind = own
        if set(value) == {"type", "object"}:
            return {"type": value["type"], "object": self.any(value["object"], kind, depth + 1)}
        clean = {key: self._field(str(key), item, kind, depth) for key, item in value.items()}
        for name, held in _NAMED_PAIRS:
            if isinstance(value.get(name), str) and isinstance(value.get(held), str):
                clean[held] = self._named(value[name], value[held])
        return clean

    def _field(self, key: str, item: Any, kind: str, depth: int) -> Any:
        if kind == "Secret" and key in ("data", "stringData"):
            if isinstance(item, dict):
                return {name: self._secret(inner, key) for name, inner in item.items()}
            return self._secret(item, key)
        if key == "metadata" and isinstance(item, dict):
            return self._metadata(item, kind, depth)
        if kind == "ConfigMap" and key == "data" and isinstance(item, dict):
            return {name: self._named(str(name), inner) for name, inner in item.items()}
        if isinstance(item, str):
            return self._named(key, item)
        if isinstance(item, list | dict) and item and sensitive_name(key):
            return self._below(key, item, kind, depth)
        return self.any(item, kind, depth + 1)

    def _below(self, name: str, item: Any, kind: str, depth: int) -> Any:
        """Redact what stands right below a sensitive name: a list of values, or a wrapper such as `{"value": ...}`."""
        if isinstance(item, list):
            clean: Any = [self._named(name, each) if isinstance(each, str) else each for each in item]
        else:
            clean = {key: self._named(name, each) if key in _WRAPPING else each for key, each in item.items()}
        return self.any(clean, kind, depth + 1)

    def _metadata(self, metadata: dict[str, Any], kind: str, depth: int) -> dict[str, Any]:
        clean: dict[str, Any] = {}
        for key, item in metadata.items():
            if key == "annotations" and isinstance(item, dict):
                clean[key] = {name: self._annotation(str(name), text, kind, depth) for name, text in item.items()}
            elif key in _PLAIN_METADATA:
                clean[key] = item
            else:
                clean[key] = self.any(item, kind, depth + 1)
        return clean

    def _annotation(self, name: str, text: Any, kind: str, depth: int) -> Any:
        if not isinstance(text, str):
            return self.any(text, kind, depth + 1)
        if text[:1] in ("{", "[") or name == LAST_APPLIED:
            try:
                inner = json.loads(text)
            except ValueError:
                # A copy of the object that cannot be read cannot be cleaned: for a Secret all of it is withheld.
                return self._secret(text, "stringData") if kind == "Secret" else self._text(text)
            before = self.count
            clean = self.any(inner, kind, depth + 1)
            return json.dumps(clean, separators=(",", ":"), ensure_ascii=False) + "\n" if self.count > before else text
        return self._named(name.rsplit("/", 1)[-1], text) if "checksum" not in name else text

    def _rows(self, rows: Any, kind: str, depth: int) -> Any:
        if not isinstance(rows, list):
            return rows
        return [
            {key: self.any(item, kind if key == "object" else "", depth + 1) for key, item in row.items()}
            if isinstance(row, dict)
            else row
            for row in rows
        ]

    def _list(self, items: list[Any], kind: str, depth: int) -> list[Any]:
        clean: list[Any] = []
        flag = ""
        for item in items:
            if isinstance(item, str):
                clean.append(self._named(flag, item) if flag and not item.startswith("-") else self._text(item))
                flag = item.lstrip("-") if item.startswith("-") and "=" not in item else ""
            else:
                clean.append(self.any(item, kind, depth + 1))
        return clean

    def _secret(self, value: Any, field: str) -> Any:
        if value is None or value == "":
            return value
        text = value if isinstance(value, str) else json.dumps(value)
        placeholder = self._redactor.secret_value(text, plain=field == "stringData")
        self.count += placeholder != text
        return placeholder

    def _named(self, name: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value and "\n" not in value and sensitive_name(name) and not spared(value):
            self.count += 1
            return self._redactor.mark("field", value)
        return self._text(value)

    def _text(self, value: str) -> str:
        if len(value) < 8:
            return value
        clean, count = self._redactor.text(value)
        self.count += count
        return clean


_PROCESS: Final = Redactor(os.urandom(32))


def redact_text(text: str) -> tuple[str, int]:
    """Return `text` without what looks like secrets, and how many; the key is this process's own."""
    return _PROCESS.text(text)


def redact_object(value: Any, kind: str = "") -> tuple[Any, int]:
    """Return an API object without secret values, and how many; the key is this process's own."""
    return _PROCESS.object(value, kind)


def has_placeholder(body: str) -> bool:
    """Say whether a request body carries a value that we took out: writing it would destroy the real one."""
    if MARKER in body or _SECRET_MARK in body or _SECRET_MARK_BASE64 in body:
        return True
    # A placeholder that was encoded once more, or spelt with JSON escapes.
    return _SECRET_MARK_BASE64 in _shifted(body) or ("\\u" in body and _unescaped_has(body))


def _shifted(body: str) -> str:
    twice = base64.b64encode(_SECRET_MARK_BASE64.encode()).decode().rstrip("=")
    return _SECRET_MARK_BASE64 if twice[:24] in body else ""


def _unescaped_has(body: str) -> bool:
    try:
        plain = json.dumps(json.loads(body), ensure_ascii=False)
    except ValueError:
        return False
    return MARKER in plain or _SECRET_MARK in plain or _SECRET_MARK_BASE64 in plain


class RedactingFormatter(logging.Formatter):
    """Writes log records without what looks like secrets, tracebacks and their messages included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; a record that cannot be cleaned is replaced by a sentence that says so."""
        try:
            return redact_text(super().format(record))[0]
        except Exception as error:
            return f"{record.levelname}:{record.name}:a record was withheld ({type(error).__name__})"
