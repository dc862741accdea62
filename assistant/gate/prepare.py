"""Turns a client's change into the bytes that will really be sent: parsed, with preconditions, in one form.

Apart because the digest, the dry run and the sending all work on exactly this form.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, urlencode

import yaml

from assistant.domain.proposal import Proposal
from assistant.policy.api_path import ApiPath, Refused
from assistant.policy.patch import APPLY, JSON_PATCH, MERGE, STRATEGIC
from assistant.policy.surroundings import at

_READABLE: Final = frozenset({"application/json", MERGE, STRATEGIC, JSON_PATCH, APPLY, "application/yaml"})
_DELETE_OPTIONS: Final = ("gracePeriodSeconds", "propagationPolicy", "orphanDependents")
_SAFE: Final = "/:@!$&'()*+,=-._~"


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request, complete: what the digest covers and what is sent.

    `raw` and `carried` are set where a request is sent in the client's own bytes: its undecoded target and its headers.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    content_type: str
    body: str
    raw: str = ""
    carried: tuple[tuple[str, str], ...] = ()

    @property
    def raw_target(self) -> str:
        """Return the encoded request target."""
        if self.raw:
            return self.raw
        path = quote(self.path, safe=_SAFE)
        return f"{path}?{urlencode(self.query)}" if self.query else path

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that go with the body."""
        headers = {"Accept": "application/json", "User-Agent": "pilothouse-gate"}
        return {**headers, "Content-Type": self.content_type} if self.body else headers

    @property
    def payload(self) -> bytes | None:
        """Return the body's bytes."""
        return self.body.encode() if self.body else None

    def dry(self) -> Prepared:
        """Return the same request as a dry run; in a DELETE the body's options count, so it is set there too."""
        if self.raw:
            # Its bytes are the client's and go out once: a second copy of them would be the thing itself.
            raise ValueError("a request in the client's own bytes has no dry run")
        query = (*((k, v) for k, v in self.query if k != "dryRun"), ("dryRun", "All"))
        body = self.body
        if self.method == "DELETE":
            body = _dump({**(json.loads(body) if body else _options()), "dryRun": ["All"]})
        return replace(self, query=query, body=body, content_type=self.content_type or "application/json")

    def as_list(self) -> list[object]:
        """Return the parts that the digest covers."""
        query = [list(pair) for pair in self.query]
        parts: list[object] = [self.method, self.path, query, self.content_type, self.body]
        return [*parts, self.raw, [list(pair) for pair in self.carried]] if self.raw else parts


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _options() -> dict[str, Any]:
    return {"kind": "DeleteOptions", "apiVersion": "v1"}


def media_type(content_type: str) -> str:
    """Return the media type without parameters, in lower case."""
    return content_type.split(";")[0].strip().lower()


def parse_body(content_type: str, body: bytes) -> Any:
    """Return the parsed body, None for an empty one. Raises Refused for what cannot be read in one way only."""
    if not body:
        return None
    kind = media_type(content_type) or "application/json"
    if kind not in _READABLE:
        raise Refused("body-type", f"A change in the form {kind[:80]} cannot be examined; send JSON.", 415)
    try:
        text = body.decode()
        if kind in (APPLY, "application/yaml") and text.lstrip()[:1] not in ("{", "["):
            return _yaml(text)
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except Refused:
        raise
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise Refused("body-syntax", "The body of the change cannot be parsed.", 400) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("duplicate-field", "The body of the change gives a field twice.", 400)
    return found


def _no_constant(name: str) -> Any:
    raise Refused("body-syntax", f"The body of the change holds {name}, which is not JSON.", 400)


def _yaml(text: str) -> Any:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise Refused("yaml-alias", "The body of the change uses YAML aliases.", 400)
    _check_keys(yaml.compose(text, Loader=yaml.SafeLoader))
    found = json.loads(json.dumps(yaml.safe_load(text), default=str))
    return found


def _check_keys(node: Any) -> None:
    # PyYAML takes the last of two equal keys; another reader may take the first.
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) != len(names):
            raise Refused("duplicate-field", "The body of the change gives a field twice.", 400)
        for _, value in node.value:
            _check_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value)


def prepare(
    method: str,
    api: ApiPath,
    query: tuple[tuple[str, str], ...],
    content_type: str,
    parsed: Any,
    live: dict[str, Any] | None,
) -> Prepared:
    """Return the request with the preconditions that the server will check: uid and resourceVersion of `live`."""
    uid = str(at(live, "metadata", "uid", default=""))
    version = str(at(live, "metadata", "resourceVersion", default=""))
    kind = media_type(content_type) or "application/json"
    if method == "DELETE":
        return _delete(api, query, parsed, uid, version)
    if method == "POST":
        if api.sub == "eviction" and isinstance(parsed, dict):
            conditions = {"uid": uid, "resourceVersion": version} if version else {}
            options = {**at(parsed, "deleteOptions", default={}), "preconditions": conditions}
            parsed = {**parsed, "deleteOptions": options} if conditions else parsed
        return Prepared(method, api.path, query, "application/json", "" if parsed is None else _dump(parsed))
    if kind == JSON_PATCH and isinstance(parsed, list):
        tests = [{"op": "test", "path": "/metadata/uid", "value": uid}] if uid else []
        tests += [{"op": "test", "path": "/metadata/resourceVersion", "value": version}] if version else []
        return Prepared(method, api.path, query, kind, _dump([*tests, *parsed]))
    if not isinstance(parsed, dict):
        raise Refused("body-shape", "The body of the change is not an object.", 400)
    metadata = dict(at(parsed, "metadata", default={}))
    if version:
        # A version that the client gives is its own condition and stays; the server then checks that one.
        metadata.setdefault("resourceVersion", version)
    if uid and kind != APPLY:
        metadata.setdefault("uid", uid)
    body = {**parsed, "metadata": metadata} if metadata else parsed
    return Prepared(method, api.path, query, kind, _dump(body))


def _delete(
    api: ApiPath, query: tuple[tuple[str, str], ...], parsed: Any, uid: str, version: str
) -> Prepared:  # fmt: skip
    options: dict[str, Any] = dict(parsed) if isinstance(parsed, dict) else _options()
    for key, value in query:
        # A body replaces the query's options, so what the client put there moves into the body.
        if key in _DELETE_OPTIONS and parsed is None:
            options[key] = int(value) if key == "gracePeriodSeconds" and value.isdigit() else value
            if key == "orphanDependents":
                options[key] = value == "true"
    rest = tuple((key, value) for key, value in query if key not in _DELETE_OPTIONS)
    given = options.get("preconditions")
    conditions = dict(given) if isinstance(given, dict) else {}
    if uid:
        conditions.setdefault("uid", uid)
    if version:
        conditions.setdefault("resourceVersion", version)
    if conditions:
        options["preconditions"] = conditions
    return Prepared("DELETE", api.path, rest, "application/json", _dump(options))


def bound_version(proposal: Proposal, live: dict[str, Any] | None) -> bool:
    """Say whether the live object is still the one that the proposal was made for.

    A proposal with a uid and no resourceVersion is about the object whatever its state is (exec in a pod, say).
    """
    if proposal.action.target.uid != str(at(live, "metadata", "uid", default="")):
        return False
    if proposal.action.target.uid and not proposal.resource_version:
        return True
    return proposal.resource_version == str(at(live, "metadata", "resourceVersion", default=""))
