"""An object in lines: every path leads back to its value, noise is left out, nothing that says something is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.model.projection import VALUE_CHARACTERS, project, within
from agents.model.quotes import squeezed, verbatim
from assistant.domain.quoting import body_of
from assistant.domain.raw import dig

LINE = re.compile(r"^(?P<path>[A-Za-z].*?): (?P<value>.*)$", re.DOTALL)
KEYS = st.sampled_from([
    "image", "a.b", "app.kubernetes.io/name", "nginx.ingress.kubernetes.io/rewrite-target", "8080", "x-y", "key_1",
    "config.yaml", "metadata.name", "name", "protocol", "uid", "priority", "conditions", "scheme", "AGENTS.md",
])  # fmt: skip
NAMES = st.sampled_from(["web", "web", "0", "7", "a.b", "side-car", "name=x", "cert/x"])
VALUES = st.one_of(
    st.sampled_from(["x", "TCP", "HTTP", "", "a: b", "two\nlines", "x" * 900]), st.integers(-5, 70_000), st.booleans()
)
SPECS = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, max_size=4),
        st.lists(st.dictionaries(KEYS, inner, max_size=3), max_size=3),
        st.lists(
            st.builds(lambda name, rest: {"name": name, **rest}, NAMES, st.dictionaries(KEYS, VALUES, max_size=2)),
            max_size=4,
        ),
        st.lists(VALUES, max_size=3),
    ),
    max_leaves=12,
)


def shown(value: object) -> str:
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return squeezed(said)


def leads_back(raw: dict[str, Any], line: str) -> bool:
    """Say whether some split of a line at `: ` is a path with its value behind it."""
    for place in (m.start() for m in re.finditer(r": |:$", line)):
        path, said = line[:place], line[place + 2 :]
        _, value = dig(raw, path)
        whole = shown(value)
        begins = squeezed(said.partition("… (")[0])
        if whole == squeezed(said) or (len(whole) > VALUE_CHARACTERS - 200 and begins and whole.startswith(begins)):
            return True
    return False


@given(st.dictionaries(KEYS, SPECS, max_size=5), st.sampled_from(["spec", "data"]))
@settings(max_examples=300, deadline=None)
def test_every_path_leads_back_to_its_value(spec: dict[str, Any], part: str) -> None:
    raw = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x", "namespace": "shop"}, part: spec}
    for line in project(raw):
        assert leads_back(raw, line), line
    for key, value in spec.items():
        path = f"{part}['{key}']"
        for line in project(raw, path) if value not in ("", {}, []) and isinstance(value, str | int) else ():
            assert shown(value).startswith(squeezed(line.partition(": ")[2].partition("… (")[0])[:100])


def test_two_mounts_of_one_volume_are_two_places() -> None:
    mounts = [{"name": "etc", "mountPath": "/a", "subPath": "a"}, {"name": "etc", "mountPath": "/b", "subPath": "b"}]
    raw = {"spec": {"containers": [{"name": "web", "volumeMounts": mounts}]}}
    paths = [line.partition(": ")[0] for line in project(raw)]
    assert len(set(paths)) == len(paths)
    assert all(leads_back(raw, line) for line in project(raw))


def test_what_a_person_wrote_is_never_noise() -> None:
    data = {"protocol": "TCP", "scheme": "HTTP", "uid": "1000", "hostIP": "10.0.0.1", "dnsPolicy": "ClusterFirst"}
    raw = {
        "kind": "ConfigMap",
        "metadata": {"name": "c", "labels": dict(data), "annotations": dict(data)},
        "data": data,
    }
    lines = project(raw)
    for place in ("data", "metadata.labels", "metadata.annotations"):
        assert {f"{place}.{k}: {v}" for k, v in data.items()} <= set(lines)


def test_what_is_empty_and_means_everything_is_told() -> None:
    raw = {"kind": "NetworkPolicy", "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}}
    assert {"spec.podSelector: {}", "spec.ingress[0]: {}"} <= set(project(raw))
    assert "spec.volumes[tmp].emptyDir: {}" in project({"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}})


def test_conditions_are_a_line_each_and_only_those_of_a_status() -> None:
    raw = {
        "spec": {"conditions": [{"type": "Ready", "expression": "a > 1"}]},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Bad", "message": "x: y"}]},
    }
    assert project(raw) == [
        "spec.conditions[0].type: Ready", "spec.conditions[0].expression: a > 1",
        "status.conditions[Ready]: False | Bad | x: y",
    ]  # fmt: skip
    assert verbatim(project(raw)[-1], body_of(raw)) == "False … Bad … x: y"


def test_noise_is_left_out_and_a_lagging_controller_is_not() -> None:
    raw = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 4,
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": {"replicas": 2, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
        "status": {"observedGeneration": 3},
    }  # fmt: skip
    assert project(raw) == ["metadata.generation: 4", "spec.replicas: 2", "status.observedGeneration: 3"]


@pytest.mark.parametrize(
    "value", ["\n".join(f"key{n}: {'v' * (n % 50)}" for n in range(400)), "x" * 20_000], ids=["lines", "one line"]
)
def test_a_part_is_shown_whole_however_long_it_is(value: str) -> None:
    raw = {"kind": "ConfigMap", "data": {"app.yaml": value}}
    (short,) = project(raw)
    assert len(short) < VALUE_CHARACTERS + 60 and f"({len(value)} characters)" in short
    lines = project(raw, "data['app.yaml']")
    assert squeezed("".join(lines)).replace(" ", "").endswith(value.replace("\n", "").replace(" ", ""))
    assert max(len(line) for line in lines) < 2_000, "so that a page holds it"


@given(st.lists(st.text("ab", max_size=30), max_size=20), st.integers(1, 200))
def test_pages_hold_whole_lines_and_count_the_rest(lines: list[str], room: int) -> None:
    text, left = within(lines, room)
    kept = lines[: len(lines) - left]
    assert text == "\n".join(line[:room] for line in kept)
    assert len(text) <= max(room, 0) or len(kept) == 1
    assert not lines or kept
