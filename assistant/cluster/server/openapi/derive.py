"""Makes the package data of this folder from the OpenAPI v3 documents of a real API server.

Run as `python -m assistant.cluster.server.openapi.derive DOCUMENTS RESOURCES`, where DOCUMENTS is a folder of
`<group>_<version>.json.gz` files and RESOURCES the `resources.json` of a support bundle. Descriptions are dropped:
they are most of the bytes, and nothing here reads them. The result is byte-for-byte reproducible.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

EXTENSIONS = {
    "x-kubernetes-list-type": "list",
    "x-kubernetes-list-map-keys": "keys",
    "x-kubernetes-map-type": "map",
    "x-kubernetes-patch-strategy": "strategy",
    "x-kubernetes-patch-merge-key": "merge",
    "x-kubernetes-preserve-unknown-fields": "open",
    "x-kubernetes-int-or-string": "either",
}


def without_descriptions(value: Any, *, names: bool = False) -> Any:
    """Drop every `description` text; `names` says that the keys here are names of properties, not keywords."""
    if isinstance(value, list):
        return [without_descriptions(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_descriptions(item, names=key in ("properties", "schemas", "paths") and not names)
        for key, item in value.items()
        if names or key != "description" or not isinstance(item, str)
    }


def field(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what patching and validation need to know about one field."""
    made: dict[str, Any] = {}
    parts = [schema, *schema.get("allOf", [])]
    for part in parts:
        if "$ref" in part:
            made["ref"] = str(part["$ref"]).rsplit("/", 1)[-1]
        if isinstance(part.get("type"), str) and "type" not in made:
            made["type"] = part["type"]
        for long, short in EXTENSIONS.items():
            if part.get(long):
                made[short] = part[long]
        if part.get("format") == "int-or-string" or part.get("oneOf"):
            made["either"] = True
        if isinstance(part.get("items"), dict):
            made["items"] = field(part["items"])
        if isinstance(part.get("additionalProperties"), dict):
            made["values"] = field(part["additionalProperties"])
        if isinstance(part.get("properties"), dict):
            made["fields"] = {name: field(item) for name, item in sorted(part["properties"].items())}
        if part.get("required"):
            made["required"] = part["required"]
    return made


def pack(path: Path, value: Any) -> None:
    """Write `value` as compact gzipped JSON without a time stamp."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    path.write_bytes(gzip.compress(text, 9, mtime=0))


def main(documents: Path, resources: Path) -> None:
    """Write `<document>.json.gz`, `fields.json.gz` and `builtin.json.gz` into this folder."""
    kinds: dict[str, str] = {}
    types: dict[str, Any] = {}
    for source in sorted(documents.glob("*.json.gz")):
        document = json.loads(gzip.decompress(source.read_bytes()))
        pack(HERE / source.name, without_descriptions(document))
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            types.setdefault(name, field(schema))
            group_kinds = schema.get("x-kubernetes-group-version-kind", [])
            if len(group_kinds) == 1:
                g = group_kinds[0]
                kinds["/".join(part for part in (g["group"], g["version"], g["kind"]) if part)] = name
    pack(HERE / "fields.json.gz", {"kinds": dict(sorted(kinds.items())), "types": dict(sorted(types.items()))})
    lists = json.loads(resources.read_text())
    pack(HERE / "builtin.json.gz", [item for item in lists if _builtin(item["groupVersion"])])


def _builtin(group_version: str) -> bool:
    group = group_version.rpartition("/")[0]
    core = "." not in group or (group.endswith(".k8s.io") and group.count(".") <= 3)
    return core and group not in ("gateway.networking.k8s.io", "inference.networking.k8s.io")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
