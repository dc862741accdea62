"""In which form an answer is wanted: the object itself, a Table, metadata only, aggregated discovery, JSON or YAML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.columns import COLUMNS
from assistant.cluster.server.objects import Object
from assistant.cluster.server.status import not_acceptable
from assistant.cluster.server.table import AGE, NAME, Column, printer_columns

encode = msgspec.json.Encoder().encode
OFFERED = "application/json, application/yaml, application/json;stream=watch"


class Form(StrEnum):
    """How objects are shown."""

    WHOLE = "whole"
    TABLE = "table"
    METADATA = "metadata"
    AGGREGATED = "aggregated"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The negotiated answer; `version` is the one of the Table or PartialObjectMetadata."""

    form: Form = Form.WHOLE
    version: str = "v1"
    yaml: bool = False


def negotiate(accept: str, *, discovery: bool = False) -> Wanted:
    """Return the first form of an Accept header that is served. Raises ApiError 406 when none is."""
    for clause in accept.split(",") if accept.strip() else ["*/*"]:
        kind, *rest = (part.strip() for part in clause.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        shape, group, version = parameters.get("as", ""), parameters.get("g"), parameters.get("v", "v1")
        if kind == "application/yaml" and not shape:
            return Wanted(yaml=True)
        if kind not in ("application/json", "application/*", "*/*"):
            continue
        if not shape:
            return Wanted()
        if discovery and shape == "APIGroupDiscoveryList" and (group, version) == ("apidiscovery.k8s.io", "v2"):
            return Wanted(Form.AGGREGATED, version)
        if discovery or group != "meta.k8s.io" or version not in ("v1", "v1beta1"):
            continue
        if shape == "Table":
            return Wanted(Form.TABLE, version)
        if shape in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Wanted(Form.METADATA, version)
    raise not_acceptable(OFFERED)


def columns(cluster: Cluster, resource: Resource) -> list[Column]:
    """Return the columns of a resource: built in, from its definition, or Name and Age."""
    known = COLUMNS.get(resource.store)
    if known:
        return known
    store = ("apiextensions.k8s.io", "customresourcedefinitions")
    definition = cluster.objects.get(store, "", f"{resource.name}.{resource.group}")
    return printer_columns(definition, resource.version) if definition else [NAME, AGE]


def metadata_only(item: Object, version: str) -> Object:
    """Return the PartialObjectMetadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": item["metadata"]}


def table(
    cluster: Cluster,
    resource: Resource,
    items: Iterable[Object],
    meta: Object,
    version: str,
    include: str = "Metadata",
    *,
    head: bool = True,
) -> Object:
    """Return a Table of the objects (in their stored version); `head` False leaves the columns away, as in a watch."""
    shown = columns(cluster, resource)
    now: datetime = cluster.clock.now()
    rows: list[Object] = []
    for item in items:
        row: Object = {"cells": [column.cell(item, now) for column in shown]}
        if include == "Object":
            row["object"] = cluster.in_version(item, resource)
        elif include != "None":
            row["object"] = metadata_only(item, version)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "columnDefinitions": [column.definition() for column in shown] if head else None,
        "rows": rows,
    }


def one(cluster: Cluster, resource: Resource, item: Object, wanted: Wanted, include: str = "Metadata") -> Any:
    """Return one object in the negotiated form."""
    if wanted.form is Form.TABLE:
        meta = {"resourceVersion": item["metadata"].get("resourceVersion", "")}
        return table(cluster, resource, [item], meta, wanted.version, include)
    if wanted.form is Form.METADATA:
        return metadata_only(item, wanted.version)
    return cluster.in_version(item, resource)
