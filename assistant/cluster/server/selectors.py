"""Label and field selectors, with the grammar and the error texts of apimachinery."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.status import bad_request

Object = dict[str, Any]

_TOKEN = re.compile(r"\s*(?:(?P<symbol>==|!=|>=|<=|[=!,()<>])|(?P<word>[^\s=!,()<>]+))")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")


LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label: operator is in, notin, exists, missing, gt or lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Say whether a set of labels satisfies this (apimachinery `Requirement.Matches`)."""
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "missing":
                return value is None
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case _:
                if value is None or not re.fullmatch(r"-?\d+", value):
                    return False
                bound = int(self.values[0])
                return int(value) > bound if self.operator == "gt" else int(value) < bound


class _Labels:
    """A recursive-descent reader of a label selector."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[bool, str]] = []
        position = 0
        text = text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:  # the pattern covers every character
                raise bad_request(f"unable to parse requirement: found {text[position]!r}")
            self.tokens.append((match["word"] is not None, match["word"] or match["symbol"]))
            position = match.end()
        self.at = 0

    def peek(self) -> tuple[bool, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else (False, "")

    def take(self) -> tuple[bool, str]:
        token = self.peek()
        self.at += 1
        return token

    def fail(self, found: str, expected: str) -> Exception:
        return bad_request(f"unable to parse requirement: found '{found}', expected: {expected}")

    def read(self) -> tuple[Requirement, ...]:
        made: list[Requirement] = []
        while self.peek()[1]:
            made.append(self.requirement())
            _, symbol = self.take()
            if not symbol:
                break
            if symbol != ",":
                raise self.fail(symbol, "',' or 'end of string'")
            if not self.peek()[1]:
                raise self.fail("", "identifier after ','")
        return tuple(made)

    def requirement(self) -> Requirement:
        negated = self.peek() == (False, "!")
        if negated:
            self.take()
        word, key = self.take()
        if not word:
            raise self.fail(key, "identifier")
        if not _KEY.fullmatch(key) or len(key.rpartition("/")[2]) > 63:
            raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{key}": name part must consist of '
                              "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
                              "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                              "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')")  # fmt: skip
        word, operator = self.peek()
        if negated or operator in ("", ","):
            return Requirement(key, "missing" if negated else "exists")
        self.take()
        if word and operator in ("in", "notin"):
            return Requirement(key, operator, self.values())
        if operator in ("=", "==", "!="):
            value = ""
            if self.peek()[1] not in ("", ","):
                word, value = self.take()
                if not word:
                    raise self.fail(value, "identifier")
            return Requirement(key, "notin" if operator == "!=" else "in", (self.checked(key, value),))
        if operator in (">", "<"):
            word, value = self.take()
            if not word or not re.fullmatch(r"-?\d+", value):
                raise _bad_value(key, value, "for 'Gt', 'Lt' operators, the value must be an integer")
            return Requirement(key, "gt" if operator == ">" else "lt", (value,))
        raise self.fail(operator, "in, notin, =, ==, !=, gt, lt")

    def values(self) -> tuple[str, ...]:
        _, symbol = self.take()
        if symbol != "(":
            raise self.fail(symbol, "'('")
        found: list[str] = []
        while True:
            word, value = self.take()
            if not word:
                if value == ")" and not found:
                    return ("",)
                raise self.fail(value, "',', ')' or identifier")
            found.append(self.checked("", value))
            _, symbol = self.take()
            if symbol == ")":
                return tuple(found)
            if symbol != ",":
                raise self.fail(symbol, "',', ')' or identifier")

    def checked(self, key: str, value: str) -> str:
        if len(value) > 63 or not _VALUE.fullmatch(value):
            raise _bad_value(key, value, LABEL_VALUE_TEXT)
        return value


def _bad_value(key: str, value: str, why: str) -> Exception:
    return bad_request(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": {why}')


def label_selector(text: str) -> tuple[Requirement, ...]:
    """Parse a `labelSelector`. Raises ApiError 400 with the text of the real parser."""
    return _Labels(text).read()


# Field labels by storage (group, resource) beside metadata.name and metadata.namespace
# (k8s.io/kubernetes pkg/apis/*/conversion.go and pkg/registry/*/strategy.go).
FIELDS: Mapping[tuple[str, str], frozenset[str]] = {
    ("", "pods"): frozenset(
        {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
         "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"}
    ),
    ("", "events"): frozenset(
        {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
         "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
         "reportingComponent", "source", "type"}
    ),
    ("", "namespaces"): frozenset({"status.phase"}),
    ("", "nodes"): frozenset({"spec.unschedulable"}),
    ("", "secrets"): frozenset({"type"}),
    ("", "services"): frozenset({"spec.clusterIP", "spec.type"}),
    ("", "replicationcontrollers"): frozenset({"status.replicas"}),
    ("apps", "replicasets"): frozenset({"status.replicas"}),
    ("batch", "jobs"): frozenset({"status.successful"}),
    ("certificates.k8s.io", "certificatesigningrequests"): frozenset({"spec.signerName"}),
    ("resource.k8s.io", "resourceslices"): frozenset({"spec.nodeName", "spec.driver"}),
}  # fmt: skip
BOOLEANS = frozenset({"spec.hostNetwork", "spec.unschedulable"})


def field_selector(text: str, resource: Resource) -> Callable[[Object], bool]:
    """Parse a `fieldSelector` into a test on objects. Raises ApiError 400 for a label that the kind does not have."""
    terms: list[tuple[str, bool, str]] = []
    for term in filter(None, _split(text)):
        match = re.match(r"((?:[^=!\\]|\\.)*?)(!=|==|=)(.*)", term, re.DOTALL)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        label, operator, value = match.groups()
        terms.append((_known(label, resource), operator != "!=", re.sub(r"\\([\\,=])", r"\1", value)))
    return lambda item: all((_field(item, label) == value) is wanted for label, wanted, value in terms)


def exact_name(text: str) -> str:
    """Return the name that a field selector asks for with `metadata.name=NAME` alone, "" for any other selector."""
    match = re.fullmatch(r"metadata\.name==?([^,\\!=]+)", text)
    return match[1] if match else ""


def _split(text: str) -> list[str]:
    return re.findall(r"(?:\\.|[^,\\])+", text)


def _known(label: str, resource: Resource) -> str:
    if label in ("metadata.name", "metadata.namespace"):
        return label
    if resource.group == "events.k8s.io":
        label = {"regarding": "involvedObject"}.get(label.split(".")[0], label.split(".")[0]) + label[
            len(label.split(".")[0]) :
        ]
        label = "reportingComponent" if label == "reportingController" else label
    if label in FIELDS.get(resource.store, frozenset()):
        return label
    if resource.custom:
        raise bad_request(f"field label not supported: {label}")
    kinds = {("", "events"), ("", "pods"), ("", "nodes"), ("", "namespaces"), ("", "secrets"), ("", "services")}
    if resource.store in kinds:
        raise bad_request(f"field label not supported: {label}")
    raise bad_request(f'field label "{label}" not supported for {resource.kind}')


def _field(item: Object, label: str) -> str:
    if label == "source":
        source = item.get("source") or {}
        return str(source.get("component") or item.get("reportingComponent") or "")
    if label == "status.podIPs":
        label = "status.podIP"
    value: Any = item
    for part in ("status.succeeded" if label == "status.successful" else label).split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if label in BOOLEANS:
        return "true" if value else "false"
    if label in ("status.replicas", "status.successful"):
        return str(value or 0)
    return "" if value is None else str(value)
