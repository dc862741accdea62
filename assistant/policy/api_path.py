"""Reads a raw request target into path segments, query pairs and the API resource it names, or refuses it.

Apart from the classifier because every later step (preview, access check, kubectl line) needs the same reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote


class Refused(Exception):
    """A request that is answered with a Status at once, whoever approves; `rule` names why, `code` is HTTP's."""

    def __init__(self, rule: str, meaning: str, code: int = 400) -> None:
        """Keep the rule, the sentence for the client, and the HTTP status."""
        super().__init__(meaning)
        self.rule = rule
        self.meaning = meaning
        self.code = code


@dataclass(frozen=True, slots=True)
class ApiPath:
    """The resource that a path names; `resource` is "" for paths that are not about resources.

    `shape` is "collection" or "object"; `sub` is the subresource ("" for none), `watch` the deprecated /watch/ form.
    """

    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    sub: str = ""
    watch: bool = False

    @property
    def api_version(self) -> str:
        """Return `group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def collection(self) -> str:
        """Return the path of the collection that the object is in."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{self.namespace}" if self.namespace and self.resource != "namespaces" else ""
        return f"{root}{place}/{self.resource}"

    @property
    def object_path(self) -> str:
        """Return the path of the object without its subresource."""
        return f"{self.collection}/{self.name}"


# Every query parameter of the Kubernetes 1.36 OpenAPI documents, and those of endpoints that these leave out.
QUERY_KEYS: Final = frozenset(
    [
        "allowWatchBookmarks",
        "command",
        "container",
        "continue",
        "dryRun",
        "fieldManager",
        "fieldSelector",
        "fieldValidation",
        "follow",
        "force",
        "gracePeriodSeconds",
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "insecureSkipTLSVerifyBackend",
        "labelSelector",
        "limit",
        "limitBytes",
        "orphanDependents",
        "path",
        "ports",
        "pretty",
        "previous",
        "propagationPolicy",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "shardSelector",
        "sinceSeconds",
        "sinceTime",
        "stderr",
        "stdin",
        "stdout",
        "stream",
        "tailLines",
        "timeoutSeconds",
        "timestamps",
        "tty",
        "watch",
        "timeout",
        "includeObject",
        "verbose",
        "exclude",
        "hash",
    ]
)
# Keys that may stand more than once, each for the end or the beginning of the only paths that read it as a list.
_REPEATED: Final = {"command": "/exec", "ports": "/portforward"}
_HEALTH: Final = ("/healthz", "/livez", "/readyz")
_PROXIED: Final = re.compile(r"/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy(?:/|\Z)")

_TARGET: Final = re.compile(r"[\x21-\x7e]+\Z")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%(?:2[fF5]|5[cC]|2[eE]|[01][0-9A-Fa-f]|7[fF])")
_NAMESPACED_SUBRESOURCES_OF_NAMESPACE: Final = frozenset({"status", "finalize"})
_VERSION: Final = re.compile(r"v[0-9]+(?:(?:alpha|beta)[0-9]+)?\Z")
_GROUP: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\Z")
_RESOURCE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")


def read_target(target: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the decoded path and the query pairs of a raw request target. Raises Refused.

    One reading only: whatever two parsers could read in two ways is refused instead of read.
    """
    if not _TARGET.match(target) or "#" in target:
        raise Refused("target-bytes", "The request target holds characters that do not belong into one.")
    if not target.startswith("/"):
        raise Refused("absolute-form", "Only origin-form request targets are accepted.")
    raw_path, mark, raw_query = target.partition("?")
    if _BAD_ESCAPE.search(raw_path):
        raise Refused("encoded-path", "The path holds an encoded slash, dot, percent or control character.")
    try:
        path = unquote(raw_path, errors="strict") if "%" in raw_path else raw_path
    except UnicodeDecodeError as error:
        raise Refused("encoded-path", "The path is not UTF-8.") from error
    body = path[1:-1] if path.endswith("/") and len(path) > 1 else path[1:]
    if path != "/" and any(part in ("", ".", "..") for part in body.split("/")):
        raise Refused("path-tricks", "The path holds an empty or dotted segment.")
    if "\\" in path or ";" in path:
        raise Refused("path-tricks", "The path holds a backslash or a semicolon.")
    return path, _read_query(path, raw_query) if mark else ()


def _repeatable(path: str, key: str) -> bool:
    if key == "exclude":
        return path.startswith(_HEALTH)
    return key in _REPEATED and path.endswith(_REPEATED[key])


def _read_query(path: str, raw: str) -> tuple[tuple[str, str], ...]:
    # What a proxied program is asked is its own; the request is critical whatever its query says.
    free = _PROXIED.match(path) is not None
    pairs: list[tuple[str, str]] = []
    seen: set[str] = set()
    for part in raw.split("&"):
        if not part:
            continue
        key, _, value = part.partition("=")
        if key not in QUERY_KEYS and not free:
            raise Refused("unknown-query", "The query holds a parameter that this gate does not know.")
        if key in seen and not free and not _repeatable(path, key):
            raise Refused("duplicate-query", f"The query gives {key} more than once.")
        if ";" in part or re.search(r"%(?![0-9A-Fa-f]{2})", part):
            raise Refused("query-bytes", f"The value of {key} cannot be read in one way only.")
        seen.add(key)
        try:
            pairs.append((unquote(key, errors="strict"), unquote(value.replace("+", " "), errors="strict")))
        except UnicodeDecodeError as error:
            raise Refused("query-bytes", f"The value of {key} is not UTF-8.") from error
    if "dryRun" in seen and not free and [value for key, value in pairs if key == "dryRun"] != ["All"]:
        raise Refused("dry-run-value", "dryRun must be exactly All.")
    return tuple(pairs)


def read_path(path: str) -> ApiPath | None:
    """Return the resource that a decoded path names, None when it has no resource's shape."""
    parts = path.strip("/").split("/")
    if path.endswith("/") and not _PROXIED.match(path):
        return None
    match parts:
        case ["api", version, *rest] if _VERSION.match(version):
            group = ""
        case ["apis", group, version, *rest] if _GROUP.match(group) and _VERSION.match(version):
            pass
        case _:
            return None
    watch = bool(rest) and rest[0] == "watch"
    if watch:
        rest = rest[1:]
    if not rest:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in _NAMESPACED_SUBRESOURCES_OF_NAMESPACE:
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) >= 2:
        namespace = rest[1]
    if not _RESOURCE.match(rest[0]):
        return None
    name = rest[1] if len(rest) > 1 else ""
    sub = "/".join(rest[2:])
    return ApiPath(path, group, version, namespace, rest[0], name, sub, watch)
