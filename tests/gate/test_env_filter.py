"""The filter of env values against a slow reading of the same JSON: same values, whatever the mix and the borders."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import ClusterError
from assistant.gate import wire_redaction
from assistant.gate.wire_redaction import EnvRedactor, Seen
from assistant.policy.redact import Redactor
from assistant.policy.redact_text import sensitive_name

REDACTOR = Redactor(b"k" * 32)
JWT = "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiJhIn0.abcdefghijk"

REFERENCE_VALUE = re.compile(r"\$\([A-Za-z_][A-Za-z0-9_.-]*\)")
NAMES = st.sampled_from(
    ["DB_PASSWORD", "LOG_LEVEL", "API_TOKEN", "1PASSWORD_TOKEN", "DATABASE_URL", "A SECRET", "é_TOKEN", "a}]_TOKEN"]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            'ends in a backslash\\', '"', "}]", '}],"env":[{"name":"X_TOKEN","value":"', '","value":"', "$(OTHER)",
            "$(OTHER)tail-secret", "a" * 3000, "\u2028",
            "postgres://u:hunter2hunter2@db/x", JWT, '{"name":"X_TOKEN","value":"inner"}', "\\\\", '\\"', "[]",
        ]
    ),
)  # fmt: skip
PAIR = st.builds(lambda n, v: {"name": n, "value": v}, NAMES, VALUES)
REFERENCE = st.builds(lambda n: {"name": n, "valueFrom": {"secretKeyRef": {"name": "a", "key": "token"}}}, NAMES)
ENV = st.lists(st.one_of(PAIR, REFERENCE), max_size=4)
CONTAINER = st.builds(
    lambda env, ports: {"name": "web", "env": env, "ports": ports},
    ENV,
    st.lists(st.just({"name": "http", "containerPort": 80}), max_size=2),
)
PROBE = st.builds(lambda pair: {"httpGet": {"httpHeaders": [pair]}}, PAIR)
SPEC = st.builds(lambda a, b: {"containers": a, "probe": b}, st.lists(CONTAINER, max_size=2), PROBE)


def annotated(spec: dict[str, Any], copies: int) -> dict[str, Any]:
    """Return an object with itself in an annotation, and that one with itself again, `copies` deep."""
    value: dict[str, Any] = {"kind": "Deployment", "spec": spec}
    for _ in range(copies):
        inner = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        value = {"kind": "Deployment", "metadata": {"annotations": {"last": inner}}, "spec": spec}
    return value


OBJECT = st.builds(annotated, SPEC, st.integers(0, 2))


def slowly(value: Any) -> Any:
    """The rule by reading: each object that is a name and a value gets its value judged, in copies of copies too."""
    match value:
        case {"name": str(name), "value": str(text)} if len(value) == 2:
            if not text or REFERENCE_VALUE.fullmatch(text):
                return value
            if sensitive_name(name):
                return {"name": name, "value": REDACTOR.mark("env", text)}
            return {"name": name, "value": REDACTOR.text(text)[0] if len(text.encode()) >= 8 else text}
        case dict():
            return {key: slowly(item) for key, item in value.items()}
        case list():
            return [slowly(item) for item in value]
        case _:
            return value


def passed(data: bytes, size: int, seen: Seen | None = None) -> bytes:
    one = EnvRedactor(REDACTOR, seen)
    out = b"".join(one.feed(data[start : start + size]) for start in range(0, len(data), size))
    return out + one.end()


def compact(value: Any, *, ascii_only: bool = False) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only).encode()


def secrets(value: Any) -> list[str]:
    found = []
    match value:
        case {"name": str(name), "value": str(text)} if len(value) == 2:
            secret = len(text) > 12 and sensitive_name(name) and not REFERENCE_VALUE.fullmatch(text)
            found = [text] if secret else []
        case dict():
            found = [text for item in value.values() for text in secrets(item)]
        case list():
            found = [text for item in value for text in secrets(item)]
        case _:
            pass
    return found


class TestAgainstASlowReading:
    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.builds(annotated, SPEC, st.just(0)), max_size=3), st.integers(1, 400))
    def test_objects_come_out_the_same(self, items: list[dict[str, Any]], size: int) -> None:
        quiet = [item for item in items if "\\" not in compact(item).decode()]
        data = compact({"items": quiet})
        assert json.loads(passed(data, size)) == slowly({"items": quiet})

    @settings(max_examples=150, deadline=None)
    @given(st.lists(OBJECT, max_size=3), st.integers(1, 400), st.booleans())
    def test_borders_and_what_was_seen_before_make_no_difference(
        self, items: list[dict[str, Any]], size: int, ascii_only: bool
    ) -> None:
        data = compact({"items": items}, ascii_only=ascii_only)
        whole = passed(data, len(data))
        warm = Seen(REDACTOR)
        assert passed(data, size, warm) == whole
        assert passed(data, size + 7, warm) == whole
        assert json.loads(whole)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(OBJECT, max_size=3), st.integers(64, 4096))
    def test_lists_and_single_pairs_come_out_the_same(self, items: list[dict[str, Any]], size: int) -> None:
        data = compact({"items": items})
        # A space keeps the reading of whole lists from recognising any; then every pair is looked at by itself.
        spaced = data.replace(b'"env":[', b'"env": [')
        assert passed(spaced, size).replace(b'"env": [', b'"env":[') == passed(data, size)

    @settings(max_examples=200, deadline=None)
    @given(OBJECT, st.integers(1, 5000))
    def test_no_sensitive_value_is_left_in_any_copy(self, item: dict[str, Any], size: int) -> None:
        clean = json.loads(passed(compact(item), size))
        gone = set(secrets(item))
        while True:
            assert not gone & set(secrets(clean))
            inner = clean.get("metadata", {}).get("annotations", {}).get("last")
            if inner is None:
                break
            clean = json.loads(inner)


def test_every_border_of_one_object_gives_the_same() -> None:
    pairs = [
        {"name": "A_TOKEN", "value": 'q"\\'},
        {"name": "B", "value": "}]"},
        {"name": "C_SECRET", "value": "plain-value"},
    ]
    data = compact(annotated({"containers": [{"env": pairs}, {"env": []}, {"env": pairs}]}, 1))
    whole = passed(data, len(data))
    assert b"plain-value" not in whole
    for border in range(1, len(data)):
        one = EnvRedactor(REDACTOR)
        assert one.feed(data[:border]) + one.feed(data[border:]) + one.end() == whole, border


def test_bytes_without_secrets_pass_as_they_are() -> None:
    data = compact({"items": [{"env": [{"name": "A", "value": "b"}], "n": 1.50, "e": "\u00e9"}] * 50}, ascii_only=True)
    assert passed(data, 97) == data


def test_a_value_that_never_ends_is_dropped_at_the_end() -> None:
    assert b"half" not in passed(b'{"env":[{"name":"A_TOKEN","value":"half-a-secret', 11)


def test_a_value_that_grows_too_large_stops_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_redaction, "MAX_WATCH_LINE_BYTES", 400_000)
    with pytest.raises(ClusterError):
        passed(b'{"env":[{"name":"A_TOKEN","value":"' + b"x" * 800_000, 65_536)


def test_what_is_remembered_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_redaction, "_KEPT_BYTES", 50_000)
    seen = Seen(REDACTOR)
    for number in range(2000):
        out = passed(compact({"env": [{"name": "A_TOKEN", "value": f"secret-{number}-x"}]}), 4096, seen)
        assert b"secret-" not in out
        assert seen.kept_bytes <= 50_000
