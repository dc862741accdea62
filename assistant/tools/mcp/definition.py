"""What a server says about a tool, bounded and digested: what a person approves is exactly this and nothing else."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from assistant.domain.canonical import sha256
from assistant.policy.sanitize import safe

SEPARATOR: Final = "__"
LONGEST_EXPOSED: Final = 64
"""What model providers take as a function's name."""
LONGEST_NAME: Final = 128
LONGEST_DESCRIPTION: Final = 8_000
LARGEST_SCHEMA: Final = 32_000
LARGEST_META: Final = 16_000
DEEPEST_SCHEMA: Final = 24
TOLD_DESCRIPTION: Final = 600
"""Of a description as a model sees it; a person sees all of it."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")
_LOOKS_MADE: Final = re.compile(r"_[0-9a-f]{16}$")
_PROSE: Final = frozenset({"title", "description", "$comment"})
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords of JSON Schema whose keys are names that somebody chose."""
_HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


@dataclass(frozen=True, slots=True)
class Definition:
    """One tool as its server defines it. `refused` says why it cannot be used, whatever anybody approves."""

    server: str
    name: str
    description: str
    schema: str
    annotations: str
    refused: str = ""
    meta: str = ""

    @property
    def exposed(self) -> str:
        """Return the name that a model calls it by: `server__tool`, unique over all servers."""
        return exposed_name(self.server, self.name)

    @property
    def digest(self) -> str:
        """Return the hash that an approval is bound to."""
        return _digest(self)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the input schema."""
        made = json.loads(self.schema)
        return made if isinstance(made, dict) else {}

    @property
    def told_parameters(self) -> dict[str, Any]:
        """Return the input schema for a model: its prose made safe like the description, names and values untouched."""
        made = _prose_made_safe(self.parameters)
        return made if isinstance(made, dict) else {}

    @property
    def hints(self) -> dict[str, bool]:
        """Return what the server says of itself. Claims: they may raise a class and never lower it."""
        said = json.loads(self.annotations)
        return {key: said[key] for key in _HINTS if isinstance(said, dict) and isinstance(said.get(key), bool)}

    @property
    def told(self) -> str:
        """Return the description for a model: one safe paragraph, cut."""
        text = str(safe(" ".join(self.description.split())))
        return text if len(text) <= TOLD_DESCRIPTION else text[:TOLD_DESCRIPTION] + " …"

    @property
    def lines(self) -> tuple[str, ...]:
        """Return everything that an approval covers, one fact a line, safe to show."""
        return _lines(self)


@lru_cache(maxsize=2048)  # asked for each tool of a list, before each call
def _digest(each: Definition) -> str:
    return sha256([each.server, each.name, each.description, each.schema, each.annotations, each.meta])


@lru_cache(maxsize=2048)
def _lines(each: Definition) -> tuple[str, ...]:
    said = json.dumps(json.loads(each.annotations), ensure_ascii=False, sort_keys=True)
    return (
        f"tool: {safe(each.name)}",
        *(f"says: {line}" for line in safe(each.description).split("\n")),
        f"hints: {safe(said)}",
        *(f"takes: {safe(line)}" for line in _pretty(each.schema)),
        *(f"meta: {safe(line)}" for line in (_pretty(each.meta) if each.meta else ())),
    )


def _pretty(text: str) -> list[str]:
    return json.dumps(json.loads(text), indent=1, ensure_ascii=False, sort_keys=True).split("\n")


def define(
    server: str, name: str, description: str, schema: Any, annotations: Mapping[str, Any], more: Sequence[Any] = (),
    meta: Mapping[str, Any] | None = None,
) -> Definition:  # fmt: skip
    """Return a definition within bounds. What exceeds one is refused, and cut so that it can still be named.

    `more` is what else stands in the definition (title, output schema): part of the digest, by hash. `meta` is its
    `_meta`, which may say what the tool needs.
    """
    refused, said, name, description = "", dict(annotations), _whole(name), _whole(description)
    if _depth(list(more)) > DEEPEST_SCHEMA:
        refused = f"its output schema is nested deeper than {DEEPEST_SCHEMA}"
    elif any(more):
        said["also"] = hashlib.sha256(_json(list(more)).encode()).hexdigest()
    if not _NAME.fullmatch(name):
        refused = "its name is not of the letters, digits, '_', '-' and '.' that a tool's may have"
    if len(description) > LONGEST_DESCRIPTION:
        refused = refused or f"its description is longer than {LONGEST_DESCRIPTION} characters"
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        refused, schema = refused or "its schema is not that of an object", {}
    shown = "{}"
    if _depth(schema) > DEEPEST_SCHEMA:
        refused = refused or f"its schema is nested deeper than {DEEPEST_SCHEMA}"
    else:
        shown = _json(schema)
        if len(shown) > LARGEST_SCHEMA:
            refused, shown = refused or f"its schema is larger than {LARGEST_SCHEMA // 1000} kB", "{}"
        elif _far_reference(schema):
            refused = refused or "its schema refers to an address, which is not followed"
    hints = _json(said) if _depth(said) <= DEEPEST_SCHEMA else "{}"
    if len(hints) > LARGEST_SCHEMA:
        refused, hints = refused or "its annotations are too large", "{}"
    about = "" if not meta else _json(dict(meta)) if _depth(dict(meta)) <= DEEPEST_SCHEMA else "{" * LARGEST_META
    if len(about) >= LARGEST_META:
        refused, about = refused or f"its _meta is larger than {LARGEST_META // 1000} kB, or nested too deep", ""
    return Definition(server, name[:LONGEST_NAME], description[:LONGEST_DESCRIPTION], shown, hints, refused, about)


def exposed_name(server: str, tool: str) -> str:
    """Return `server__tool`; a name that a model cannot be given, or that looks like a made one, ends in its hash.

    Server names hold no underscore, so no two servers can meet; and no plain name ends as a made one does.
    """
    plain = f"{server}{SEPARATOR}{tool}"
    if len(plain) <= LONGEST_EXPOSED and _PLAIN.fullmatch(tool) and not _LOOKS_MADE.search(tool):
        return plain
    mark = "_" + hashlib.sha256(tool.encode(errors="surrogatepass")).hexdigest()[:16]
    clean = re.sub(r"[^A-Za-z0-9_-]", "-", plain)
    return clean[: LONGEST_EXPOSED - len(mark)] + mark


def compared(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """Return what changed between two lists of lines: ` ` the same, `-` gone, `+` new, with one line around it."""
    found = list(difflib.unified_diff(list(before), list(after), lineterm="", n=1))[2:]
    return tuple(line for line in found if not line.startswith("@@"))


def _prose_made_safe(value: Any, *, names: bool = False) -> Any:
    """Return a schema with safe prose. `names`: the keys are names of properties, and none of them means prose."""
    if isinstance(value, dict):
        made = {}
        for key, item in value.items():
            prose = key in _PROSE and isinstance(item, str) and not names
            made[key] = str(safe(item)) if prose else _prose_made_safe(item, names=key in _NAMED and not names)
        return made
    return [_prose_made_safe(item) for item in value] if isinstance(value, list) else value


def _json(value: Any) -> str:
    return _whole(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def _whole(text: str) -> str:
    """Return a text without halves of surrogate pairs, which JSON may hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def _depth(value: Any) -> int:
    """Return how deep a value is nested; stops counting past the bound. Iterative: depth is the attacker's choice."""
    level, depth = [value], 0
    while level and depth <= DEEPEST_SCHEMA:
        following: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                following.extend(item.values())
            elif isinstance(item, list):
                following.extend(item)
        level, depth = following, depth + 1
    return depth


def _far_reference(value: Any) -> bool:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            return True
        return any(_far_reference(item) for item in value.values())
    return isinstance(value, list) and any(_far_reference(item) for item in value)
