"""Objects kept as the bytes they came in: read once for the few facts that every analysis asks, decoded on demand.

Apart because it is about speed and memory and nothing else. A decoded pod takes five to ten times the room of its text,
and nearly all pods of a large cluster are healthy, so nobody looks at more of them than the facts (measured: 17 µs
and 2.5 kB a pod, against 70 µs and 10 kB for dictionaries with their common parts shared).

The spec is kept once for all pods of a workload: what is a pod's own in it is replaced by marks, and put back when the
spec is decoded. The marks are control characters, which the decoder refuses in JSON, so nothing else is put back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from assistant.domain.thing import LONG_AGO, Kept, when

MANY_RESTARTS: Final = 3
"""From here on a container that runs is looked at all the same."""
_NAME, _NODE, _TOKEN = b"\x01", b"\x02", b"\x03"
# The volume that the ServiceAccount admission plugin adds to every pod, with five random characters (its source,
# plugin/pkg/admission/serviceaccount/admission.go, ServiceAccountVolumeName and GenerateName).
_TOKEN_PREFIX: Final = b'"kube-api-access-'
_TOKEN_LENGTH: Final = len(_TOKEN_PREFIX) + 5
_NOTHING: Final = b"null"
_NULL: Final = msgspec.Raw(_NOTHING)
# A key could be spelt with it in another way; no API server does.
_ESCAPE: Final = b"\\u"
_MANAGED: Final = b',"managedFields":'


class _Meta(msgspec.Struct):
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    labels: msgspec.Raw = _NULL
    ownerReferences: msgspec.Raw = _NULL
    managedFields: msgspec.Raw = _NULL


class _Condition(msgspec.Struct):
    type: Any = None
    status: Any = None
    lastHeartbeatTime: Any = None
    lastTransitionTime: Any = None


class _Ended(msgspec.Struct):
    exitCode: int = 0


class _State(msgspec.Struct):
    waiting: msgspec.Raw = _NULL
    terminated: _Ended | None = None


class _Container(msgspec.Struct):
    ready: bool = False
    restartCount: int = 0
    state: _State | None = None
    image: str | None = None
    imageID: str | None = None


class _Spec(msgspec.Struct):
    nodeName: str | None = None


class _Status(msgspec.Struct):
    phase: str | None = None
    reason: str | None = None
    conditions: list[_Condition] | None = None
    containerStatuses: list[_Container] | None = None
    initContainerStatuses: list[_Container] | None = None


class PodText(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The parts of a pod in a list, undecoded."""

    metadata: msgspec.Raw
    spec: msgspec.Raw = _NULL
    status: msgspec.Raw = _NULL
    apiVersion: str = ""
    kind: str = ""


class _Wanted(msgspec.Struct):
    replicas: int | None = None
    readyReplicas: int | None = None


_META = msgspec.json.Decoder(_Meta)
_WANTED = msgspec.json.Decoder(_Wanted)
_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STATUS = msgspec.json.Decoder(_Status)
_SPEC = msgspec.json.Decoder(_Spec)
_ANY = msgspec.json.Decoder()


class Template:
    """A spec without what is a pod's own in it."""

    __slots__ = ("_held", "text")

    def __init__(self, text: bytes) -> None:
        """Keep the text."""
        self.text = text
        self._held: dict[str, bool] = {}

    def may_hold(self, key: str) -> bool:
        """Say whether a field of this name may stand in it; looked for once."""
        if key not in self._held:
            self._held[key] = f'"{key}"'.encode() in self.text or _ESCAPE in self.text
        return self._held[key]


class HeldPod(Kept):
    """One pod, as `Pods.keep` makes it."""

    __slots__ = ("_metadata", "_status", "_template", "_token", "_type")

    def __init__(self, metadata: bytes, template: Template, token: bytes, status: bytes, kind: tuple[str, str]) -> None:
        """Take the bytes of the parts; the caller sets the members of `Kept`."""
        self._metadata = metadata
        self._template = template
        self._token = token
        self._status = status
        self._type = kind

    def may_hold(self, key: str) -> bool:
        """Say whether a field of this name may stand anywhere in the spec; False is certain."""
        return self._template.may_hold(key)

    def sections(self) -> tuple[str, ...]:
        """Return the names of the fields, the type first where the server gave it."""
        spec, status = self._template.text != _NOTHING, self._status != _NOTHING
        given = [("apiVersion", self._type[0]), ("kind", self._type[1]), ("metadata", True)]
        return tuple(name for name, there in [*given, ("spec", spec), ("status", status)] if there)

    def section(self, name: str) -> Any:
        """Decode one part."""
        match name:
            case "metadata":
                meta = _ANY.decode(self._metadata)
                meta.pop("managedFields", None)
                return meta
            case "spec":
                return _ANY.decode(self._spec())
            case "status":
                return _ANY.decode(self._status)
            case "apiVersion":
                return self._type[0] or None
            case "kind":
                return self._type[1] or None
            case _:
                return None

    def _spec(self) -> bytes:
        text, facts = self._template.text, self.facts
        if self._token:
            text = text.replace(_TOKEN, self._token)
        if _NODE in text:
            text = text.replace(_NODE, str(facts["spec.nodeName"]).encode())
        if _NAME in text:
            text = text.replace(_NAME, str(facts["metadata.name"]).encode())
        return text


class HeldObject(Kept):
    """One object of any other kind, as `Objects.keep` makes it: its fields as they came in."""

    __slots__ = ("_parts",)

    def __init__(self, parts: dict[str, bytes]) -> None:
        """Take the fields; the caller sets the members of `Kept`."""
        self._parts = parts

    def may_hold(self, key: str) -> bool:
        """Say whether a field of this name may stand anywhere in the spec; False is certain."""
        return True

    def sections(self) -> tuple[str, ...]:
        """Return the names of the fields."""
        return tuple(self._parts)

    def section(self, name: str) -> Any:
        """Decode one of them."""
        value = _ANY.decode(self._parts.get(name, _NOTHING))
        if name == "metadata":
            value.pop("managedFields", None)
        return value


class Objects:
    """Keeps the objects of one list of a kind that is large and seldom looked at; equal specs are kept once."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._values: dict[bytes, Any] = {}
        self._texts: dict[bytes, bytes] = {}

    def keep(self, text: msgspec.Raw) -> HeldObject:
        """Return an object as it is kept. Raises msgspec.ValidationError for one with a field of another type."""
        raw = _PARTS.decode(text)
        meta = _META.decode(raw.get("metadata", _NULL))
        parts = {name: bytes(value) for name, value in raw.items()}
        parts["metadata"] = _without(raw["metadata"], meta.managedFields)
        held = HeldObject(parts)
        held.facts = _facts(meta, self._values)
        if "spec" in parts:
            parts["spec"] = self._texts.setdefault(parts["spec"], parts["spec"])
            held.facts["spec.replicas"] = _WANTED.decode(parts["spec"]).replicas
            held.facts["status.readyReplicas"] = _WANTED.decode(parts.get("status", b"{}")).readyReplicas
        held.ready = held.quiet = False
        held.newest, held.images = None, ()
        return held


def _facts(meta: _Meta, values: dict[bytes, Any]) -> dict[str, Any]:
    return {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _value(meta.labels, values),
        "metadata.ownerReferences": _value(meta.ownerReferences, values),
        "metadata.creationTimestamp": meta.creationTimestamp,
        "metadata.deletionTimestamp": meta.deletionTimestamp,
    }


def _value(text: msgspec.Raw, values: dict[bytes, Any]) -> Any:
    key = bytes(text)
    if key not in values:
        values[key] = _ANY.decode(key)
    return values[key]


class Pods:
    """Keeps the pods of one list; what they have in common is kept once."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._templates: dict[bytes, Template] = {}
        self._values: dict[bytes, Any] = {}
        self._words: dict[str, str] = {}
        self._images: dict[tuple[str, ...], tuple[str, ...]] = {}

    def keep(self, pod: PodText) -> HeldPod:
        """Return a pod as it is kept. Raises msgspec.ValidationError for one with a field of another type."""
        meta = _META.decode(pod.metadata)
        status = _STATUS.decode(pod.status) if pod.status != _NULL else _Status()
        node, template, token = self._spec(pod.spec, meta.name)
        kind = (pod.apiVersion, pod.kind)
        held = HeldPod(_without(pod.metadata, meta.managedFields), template, token, bytes(pod.status), kind)
        held.facts = _facts(meta, self._values) | {
            "metadata.namespace": self._word(meta.namespace),
            "spec.nodeName": node,
            "status.phase": self._word(status.phase),
            "status.reason": status.reason,
        }
        held.ready, held.quiet = _health(meta, status)
        held.newest = _newest(meta, status)
        names = tuple([c.image or "" for c in status.containerStatuses or () if c.imageID])
        held.images = self._images.setdefault(names, names)
        return held

    def _word(self, word: str | None) -> str | None:
        return None if word is None else self._words.setdefault(word, word)

    def _spec(self, text: msgspec.Raw, name: str | None) -> tuple[str | None, Template, bytes]:
        spec, node, token = bytes(text), None, b""
        if spec != _NOTHING:
            node = _SPEC.decode(spec).nodeName
        # No field of a spec has a hyphen in its name, so none is taken for the pod's name (`may_hold` needs them).
        own = name.encode() if name and "-" in name else b""
        if own and own in spec:
            spec = spec.replace(own, _NAME)
        if node:
            spec = spec.replace(b'"nodeName":"%b"' % node.encode(), b'"nodeName":"%b"' % _NODE)
        start = spec.find(_TOKEN_PREFIX)
        if start >= 0:
            token = spec[start + 1 : start + _TOKEN_LENGTH]
            spec = spec.replace(token, _TOKEN)
        template = self._templates.get(spec)
        if template is None:
            template = self._templates[spec] = Template(spec)
        return self._word(node), template, token


def _without(metadata: msgspec.Raw, managed: msgspec.Raw) -> bytes:
    """Return the metadata without managedFields, which say nothing to people and are half of it.

    They are the last field of ObjectMeta, and so of its JSON; elsewhere they stay, until it is decoded.
    """
    text, last = memoryview(metadata), memoryview(managed)
    end = len(text) - len(last) - 1
    start = end - len(_MANAGED)
    if start > 0 and text[end:-1] == last and bytes(text[start:end]) == _MANAGED:
        return bytes(text[:start]) + b"}"
    return bytes(text)


def _health(meta: _Meta, status: _Status) -> tuple[bool, bool]:
    """Return whether a pod is ready, and whether no container of it needs a look (`Thing.quiet`)."""
    done = status.phase == "Succeeded"
    ready = done or next((c.status for c in status.conditions or () if c.type == "Ready"), None) == "True"
    if not ready or meta.deletionTimestamp is not None or (not done and status.phase != "Running"):
        return ready, False
    for container in status.containerStatuses or ():
        if container.restartCount >= MANY_RESTARTS or not (done or container.ready):
            return ready, False
    for container in status.initContainerStatuses or ():
        state = container.state or _State()
        ended = state.terminated is not None and state.terminated.exitCode == 0
        if container.restartCount >= MANY_RESTARTS or state.waiting != _NULL or not (ended or container.ready):
            return ready, False
    return ready, True


def _newest(meta: _Meta, status: _Status) -> datetime:
    times = {meta.creationTimestamp}
    for condition in status.conditions or ():
        times.add(condition.lastTransitionTime)
        times.add(condition.lastHeartbeatTime)
    return max((when(time) or LONG_AGO for time in times), default=LONG_AGO)
