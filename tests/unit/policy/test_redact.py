"""Secret values go, everything that people need stays; by text and by structure."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from assistant.gate.wire_redaction import EnvRedactor, WatchRedactor, json_accept, redact_body
from assistant.policy.redact import Redactor, has_placeholder

CORPUS = yaml.safe_load(gzip.decompress((Path(__file__).parent / "data" / "secrets.yaml.gz").read_bytes()))
REDACTOR = Redactor(b"k" * 32)


def fill(entry: dict[str, Any]) -> tuple[str, str]:
    secret = "".join(entry["parts"])
    return entry["text"].replace("{S}", secret), secret


def leaks(out: str, secret: str) -> bool:
    windows = {secret[i : i + 12] for i in range(len(secret) - 11)} or {secret}
    forms = {secret, base64.b64encode(secret.encode()).decode(), quote(secret, safe="")}
    return any(form in out for form in forms | windows)


WRAPPERS: dict[str, Callable[[str], str]] = {
    "plain": lambda t: t,
    "json": lambda t: json.dumps({"a": 1, "log": t}),
    "yaml": lambda t: "x:\n  log: |\n" + "".join(f"    {line}\n" for line in t.split("\n")),
    "ansi": lambda t: "\n".join(f"\x1b[31m{line}\x1b[0m" for line in t.split("\n")),
    "crlf": lambda t: t.replace("\n", "\r\n"),
    "base64": lambda t: "  payload: " + base64.b64encode(t.encode()).decode(),
    "in_the_middle": lambda t: "info: all is well\n" * 300 + t + "\ninfo: all is well\n" * 300,
    "exception": lambda t: f'Traceback (most recent call last):\n  File "a.py", line 3\nValueError: {t}',
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_no_secret_of_the_corpus_survives(wrapper: str) -> None:
    missed = []
    for entry in CORPUS["must_redact"]:
        text, secret = fill(entry)
        out, count = REDACTOR.text(WRAPPERS[wrapper](text))
        if leaks(out, secret) or not count:
            missed.append(entry["id"])
    assert not missed


def test_at_most_one_lookalike_is_damaged() -> None:
    damaged = [e["id"] for e in CORPUS["must_keep"] if e["keep"] not in REDACTOR.text(e["text"])[0]]
    assert len(damaged) <= 1, damaged


def test_redacting_twice_is_redacting_once() -> None:
    for entry in CORPUS["must_redact"]:
        once, _ = REDACTOR.text(fill(entry)[0])
        assert REDACTOR.text(once) == (once, 0), entry["id"]


def test_what_was_redacted_can_be_written_as_json_and_looked_through_again() -> None:
    """A placeholder that is taken for a secret would keep all that stands around it from being sent."""
    again = []
    for entry in CORPUS["must_redact"]:
        text, _ = REDACTOR.text(fill(entry)[0])
        for level in (1, 2):
            text = json.dumps({"content": text})
            if REDACTOR.text(text)[1]:
                again.append(f"{entry['id']} in {level} levels of JSON")
    assert not again


@given(st.text(max_size=300))
def test_any_text_can_be_redacted(text: str) -> None:
    once, _ = REDACTOR.text(text)
    assert REDACTOR.text(once)[0] == once


VALUE = "pa55" + "word-of-nobody"
ENCODED = base64.b64encode(VALUE.encode()).decode()
SECRET = {
    "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
    "metadata": {
        "name": "db", "uid": "10b24cab-b927-4dad-8a27-a1b349464745",
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration":
                json.dumps({"apiVersion": "v1", "kind": "Secret", "stringData": {"pw": VALUE}, "metadata": {}})
        },
    },
    "data": {"pw": ENCODED, "empty": ""},
}  # fmt: skip


def safe(text: str) -> bool:
    return VALUE not in text and ENCODED not in text and ENCODED[:16] not in text


class TestSecretObjects:
    def test_keep_keys_length_and_equality_and_nothing_else(self) -> None:
        clean, count = REDACTOR.object(SECRET)
        assert count == 2
        assert safe(json.dumps(clean))
        note = base64.b64decode(clean["data"]["pw"], validate=True).decode()
        assert f"length={len(VALUE)}" in note
        assert clean["data"]["empty"] == ""
        assert clean["metadata"]["uid"] == SECRET["metadata"]["uid"]  # type: ignore[index]
        assert REDACTOR.object(SECRET)[0] == clean
        assert REDACTOR.object(clean) == (clean, 0)
        inner = json.loads(clean["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
        assert set(inner["stringData"]) == {"pw"}

    @pytest.mark.parametrize(
        "form",
        [
            {"kind": "SecretList", "apiVersion": "v1", "items": [{k: v for k, v in SECRET.items() if k != "kind"}]},
            {"kind": "List", "apiVersion": "v1", "items": [SECRET]},
            {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "rows": [{"cells": ["db"], "object": SECRET}]},
            {"type": "ADDED", "object": SECRET},
            {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": SECRET["metadata"]},
            {k: v for k, v in SECRET.items() if k not in ("kind", "apiVersion")},
            {**SECRET, "kind": "Sekret"},
        ],
    )
    def test_are_found_in_every_form_of_answer(self, form: dict[str, Any]) -> None:
        assert safe(redact_body(REDACTOR, json.dumps(form).encode(), "Secret").decode())

    @pytest.mark.parametrize("body", [b"k8s\x00\n\x0c", b"{", b"[]", b"<html>", b'"text"'])
    def test_that_cannot_be_read_are_withheld(self, body: bytes) -> None:
        from assistant.errors import ClusterError

        with pytest.raises(ClusterError):
            redact_body(REDACTOR, body, "Secret")

    @given(st.integers(1, 60))
    def test_in_a_watch_are_found_whatever_the_chunks(self, size: int) -> None:
        line = json.dumps({"type": "MODIFIED", "object": SECRET}).encode() + b"\n"
        filtered, out = WatchRedactor(REDACTOR, "Secret"), b""
        data = line * 2
        for start in range(0, len(data), size):
            out += filtered.feed(data[start : start + size])
        out += filtered.end()
        assert safe(out.decode())
        assert len(out.splitlines()) == 2

    def test_accept_is_cut_down_to_what_can_be_read(self) -> None:
        assert json_accept("application/vnd.kubernetes.protobuf, application/yaml") == "application/json"
        assert json_accept("application/json;as=Table;v=v1;g=meta.k8s.io,*/*").startswith("application/json;as=Table")


class TestPlaceholders:
    def test_are_recognised_in_every_form_that_comes_back(self) -> None:
        clean, _ = REDACTOR.object(SECRET)
        assert has_placeholder(json.dumps(clean))
        assert has_placeholder(yaml.safe_dump(clean))
        assert has_placeholder(json.dumps({"data": {"x": REDACTOR.text("password=" + VALUE)[0]}}))
        escaped = "".join(f"\\u{ord(ch):04x}" for ch in "[REDACTED:")
        assert has_placeholder('{"data":{"x":"' + escaped + 'a:b]"}}')

    def test_are_not_seen_where_there_are_none(self) -> None:
        assert not has_placeholder(json.dumps(SECRET))


class TestEnvironmentValues:
    @given(st.integers(1, 80))
    def test_are_replaced_in_passing_whatever_the_chunks(self, size: int) -> None:
        pod = {
            "spec": {"containers": [{"env": [
                {"name": "DB_PASSWORD", "value": VALUE + '"\\ quoted'},
                {"name": "LOG_LEVEL", "value": "debug"},
                {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "a", "key": "token"}}},
            ]}]},
        }  # fmt: skip
        nested = {"metadata": {"annotations": {"last": json.dumps(pod, separators=(",", ":"))}}, **pod}
        data = json.dumps(nested, separators=(",", ":")).encode()
        filtered, out = EnvRedactor(REDACTOR), b""
        for start in range(0, len(data), size):
            out += filtered.feed(data[start : start + size])
        out += filtered.end()
        value = json.loads(out)
        assert VALUE not in out.decode()
        env = value["spec"]["containers"][0]["env"]
        assert env[1:] == pod["spec"]["containers"][0]["env"][1:]
        assert (
            json.loads(value["metadata"]["annotations"]["last"])["spec"]["containers"][0]["env"][1]["value"] == "debug"
        )

    def test_nothing_else_changes(self) -> None:
        data = json.dumps(
            {"items": [{"name": "web", "value": "x"}, {"name": "token-path", "value": "y"}] * 500}
        ).encode()
        filtered = EnvRedactor(REDACTOR)
        assert filtered.feed(data) + filtered.end() == data


def test_config_maps_lose_what_looks_secret_and_keep_the_rest() -> None:
    clean, count = REDACTOR.object(
        {
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"},
            "data": {
                "app.properties": "db.password=" + VALUE + "\nlevel=debug\n",
                "URL": "http://web:8080", "API_KEY": VALUE,
            },
        }
    )  # fmt: skip
    assert count == 2
    assert VALUE not in json.dumps(clean)
    assert "level=debug" in clean["data"]["app.properties"]
    assert clean["data"]["URL"] == "http://web:8080"
