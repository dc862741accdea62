"""Request bodies: which media types are taken, and what is said about those that cannot be read."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from assistant.cluster.server import protobuf
from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.objects import Object
from assistant.cluster.server.status import ApiError, bad_request, unsupported_media
from assistant.cluster.server.writing import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

OFFERED = "application/json, application/yaml"


def read(data: bytes, content_type: str, kind: str) -> Object:
    """Read an object. Raises ApiError 400 or 415."""
    media = content_type.partition(";")[0].strip().lower() or "application/json"
    if media == "application/json":
        value = _json(data, kind)
    elif media == "application/yaml":
        value = _yaml(data)
    elif media == protobuf.MEDIA_TYPE and (decoded := protobuf.decode(data)) is not None:
        value = decoded
    else:
        raise unsupported_media(OFFERED)
    if not isinstance(value, dict):
        raise _unreadable(kind, "json: cannot unmarshal into Go value of type struct")
    return value


def read_patch(data: bytes, content_type: str, resource: Resource) -> tuple[str, Any]:
    """Read a patch; return its type and content. Raises ApiError 400 or 415."""
    media = content_type.partition(";")[0].strip().lower()
    known = [JSON_PATCH, MERGE_PATCH, *([] if resource.custom else [STRATEGIC_PATCH]), APPLY_PATCH]
    if media not in known:
        raise unsupported_media(", ".join(known))
    if media == APPLY_PATCH:
        return media, _yaml(data)
    try:
        return media, msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise bad_request(f"error decoding patch: {error}") from error


def options(data: bytes, content_type: str) -> Object:
    """Read DeleteOptions; no body means none. Raises ApiError."""
    made = read(data, content_type, "DeleteOptions") if data.strip() else {}
    if not isinstance(made.get("preconditions") or {}, dict) or not isinstance(made.get("dryRun") or [], list):
        raise bad_request(
            'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: a field has the wrong type'
        )
    return made


def dry_run(values: list[str]) -> bool:
    """Say whether a write is a dry run. Raises ApiError 422 for anything but `All`."""
    wanted = [value for value in values if value]
    for value in wanted:
        if value != "All":
            message = f'Unsupported value: "{value}": supported values: "All"'
            causes = [{"reason": "FieldValueNotSupported", "message": message, "field": "dryRun"}]
            text = f'Options.meta.k8s.io "" is invalid: dryRun: {message}'
            raise ApiError(422, "Invalid", text, {"group": "meta.k8s.io", "kind": "Options", "causes": causes})
    return bool(wanted)


def _json(data: bytes, kind: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        why = "unexpected end of JSON input" if "truncated" in str(error) else str(error)
        shown = data[:1024].decode("utf-8", "replace")
        raise _unreadable(kind, f"{why} ({shown})") from error


def _unreadable(kind: str, why: str) -> ApiError:
    head = f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind"
    return bad_request(f"{head}; json parse error: {why}")


def _yaml(data: bytes) -> Any:
    try:
        value = yaml.load(data, Loader=_Loader)  # noqa: S506 (a SafeLoader without time stamps)
        # A YAML document can hold what JSON cannot (dates, keys that are not text); those are errors here.
        return msgspec.json.decode(msgspec.json.encode(value))
    except (yaml.YAMLError, msgspec.DecodeError, TypeError, ValueError, RecursionError) as error:
        raise bad_request(f"error decoding YAML: {str(error)[:200]}") from error


class _Loader(yaml.SafeLoader):
    """YAML as the API reads it: a date is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the base class declares it so)
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
