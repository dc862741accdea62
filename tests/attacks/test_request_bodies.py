"""Bodies that two readers could read in two ways are refused; what is approved is what the server reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.gate.prepare import parse_body
from assistant.policy.api_path import Refused
from tests.gate.conftest import Lab, here  # noqa: F401 - a fixture
from tests.gate.scripted import DEPLOYMENT

JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

REFUSED = [
    (MERGE, b'{"spec":{"replicas":1},"spec":{"replicas":0}}'),
    (MERGE, b'{"spec":{"replicas":1,"replicas":0}}'),
    (MERGE, b'{"spec":{"replicas":1,"\\u0072eplicas":0}}'),
    ("application/json-patch+json", b'[{"op":"test","op":"remove","path":"/spec"}]'),
    (MERGE, b'{"a":NaN}'), (MERGE, b'{"a":Infinity}'), (MERGE, b'{"a":-Infinity}'),
    (MERGE, b"{"), (MERGE, b'{"a":1}{"b":2}'), (MERGE, b"\xff\xfe{}"), (MERGE, b'{"a":"\xff"}'), (MERGE, b"{'a':1}"),
    (MERGE, b'{"a":1,}'), (MERGE, b"[" * 100_000), (MERGE, b'{"a":' * 50_000),
    (APPLY, b"a: &x [1]\nb: *x\n"), (APPLY, b"<<: &d {a: 1}\nb: *d\n"), (APPLY, b"a: 1\n---\nb: 2\n"),
    (APPLY, b"a: !!python/object/apply:os.system [id]\n"), (APPLY, b"a: [\n"), (APPLY, b"a: 1\na: 2\n"),
    (APPLY, b"spec:\n  replicas: 1\n  replicas: 0\n"),
    ("application/vnd.kubernetes.protobuf", b"k8s\x00"), ("application/cbor", b"\xa0"), ("text/plain", b"{}"),
    ("multipart/form-data; boundary=x", b"--x\r\n"), ("application/x-www-form-urlencoded", b"a=b"),
]  # fmt: skip


@pytest.mark.parametrize(("media", "body"), REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(media: str, body: bytes) -> None:
    with pytest.raises(Refused):
        parse_body(media, body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=5), each, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_a_body_of_json_is_read_as_it_is(value: Any) -> None:
    assert parse_body(JSON, json.dumps(value).encode()) == value


@given(st.binary(max_size=80), st.sampled_from([JSON, MERGE, APPLY, "", "application/yaml"]))
def test_any_bytes_are_read_or_refused(body: bytes, media: str) -> None:
    try:
        parse_body(media, body)
    except Refused as refused:
        assert refused.meaning


@pytest.mark.parametrize(("media", "body"), [each for each in REFUSED if len(each[1]) < 1000])
async def test_none_of_them_passes_the_gate(here: Lab, media: str, body: bytes) -> None:  # noqa: F811
    async with here.client() as client:
        for query in ("", "?dryRun=All"):
            answer = await client.patch(DEPLOYMENT + query, data=body, headers={"Content-Type": media})
            assert answer.status in (400, 415), await answer.text()
    assert here.server.writes == []
    assert not here.gate.broker.listed()


async def test_what_is_held_is_what_will_be_sent(here: Lab) -> None:  # noqa: F811
    """The body is written anew from the form that was judged: no second reading of the client's bytes is possible."""
    import asyncio

    from tests.gate.conftest import says
    from tests.gate.test_holding import held

    body = b'{"spec" :  {"replicas":\t7}, "metadata": {"labels": {"a": "\\u0062"}}}'
    async with here.client() as client:
        asked = asyncio.create_task(client.patch(DEPLOYMENT, data=body, headers={"Content-Type": MERGE}))
        made = await held(here.control)
        await here.control.decide(says(made))
        assert (await asked).status == 200
    [sent] = here.server.writes
    assert sent.body == json.loads(made.action.body)
    assert sent.body["spec"] == {"replicas": 7}
    assert sent.body["metadata"]["labels"] == {"a": "b"}
