"""The answers of a real 1.36 API server, held against ours for the same requests over the same objects."""

from __future__ import annotations

import gzip
import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.cluster_server.conftest import DATA, Client, HandClock

EXCHANGES: list[dict[str, Any]] = json.loads(gzip.decompress((DATA / "exchanges.json.gz").read_bytes()))
BY_NAME = {item["name"]: item for item in EXCHANGES}

# Never comparable: versions of another store, the time of a write, tokens that hold a version.
EVERYWHERE = {"resourceVersion", "time", "continue"}
# What is not compared in single exchanges, with the reason.
NOT_COMPARED: dict[str, set[str]] = {
    "api": {"serverAddress"},  # the address of the server itself
    "dryrun-ssa-create": {"uid", "creationTimestamp"},  # made anew for every object
    "warning-unknown-field": {"uid", "creationTimestamp"},
    "list-table": {
        "description",
        "managedFields",
    },  # texts of the API reference; the bundle of these pods is a minute younger
    "watch-table": {"description", "managedFields"},
    "list-partial-metadata": {"managedFields"},
    "ssar-allowed": {"managedFields"},  # ownership of an object that is never stored
    "ssar-denied": {"managedFields"},
    "dryrun-strategic-patch": set(),
    "status-400-continue": {"message"},  # the text of another JSON parser
    "status-406": {"message"},  # the real server also offers protobuf
    "status-415": {"message"},
    "watch-410": {"message"},  # holds the oldest version that is kept
    "status-504-rv-too-large": {"message"},  # holds the current version
}


def shown(value: Any, ignored: set[str]) -> Any:
    """Return a JSON value without the fields that are not compared, lists of owners in a stable order."""
    if isinstance(value, dict):
        made = {key: shown(item, ignored) for key, item in value.items() if key not in ignored}
        if isinstance(made.get("managedFields"), list):
            made["managedFields"].sort(key=lambda entry: json.dumps(entry, sort_keys=True))
        if made.get("kind") == "APIGroupDiscoveryList":  # custom groups come in the order in which they were installed
            made["items"].sort(key=lambda group: str(group["metadata"].get("name")))
        return made
    if isinstance(value, list):
        return [shown(item, ignored) for item in value]
    return value


async def replay(api: Client, clock: HandClock, exchange: dict[str, Any]) -> Any:
    clock.moment = parsedate_to_datetime(exchange["answer_headers"]["date"])
    headers = dict(exchange["headers"])
    token: str | None = ""
    match exchange["auth"]:
        case "none":
            token = None
        case "bad":
            token = "no" + "body"
        case "":
            pass
        case user:
            headers["Impersonate-User"] = user
    body = exchange["body"] or None
    return await api(exchange["method"], exchange["target"].split(" ")[0], body, headers, token)


DOCUMENTS = [item["name"] for item in EXCHANGES if not item["name"].startswith(("watch-", "openapi-"))]


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_answer_is_the_one_that_the_real_server_gave(api: Client, clock: HandClock, name: str) -> None:
    exchange = BY_NAME[name]
    answer = await replay(api, clock, exchange)
    ignored = EVERYWHERE | NOT_COMPARED.get(name, set())
    assert answer.status == exchange["status"], answer.text
    wanted_type = exchange["answer_headers"]["content-type"].split(";")[0]
    assert answer.headers["Content-Type"].split(";")[0] == wanted_type
    if wanted_type == "text/plain":
        assert answer.text.strip() == exchange["answer"].strip()
    else:
        assert shown(answer.json, ignored) == shown(json.loads(exchange["answer"]), ignored)
    if "warning" in exchange["answer_headers"]:
        assert answer.headers["Warning"] == exchange["answer_headers"]["warning"]
    if "retry-after" in exchange["answer_headers"]:
        assert answer.headers["Retry-After"] == exchange["answer_headers"]["retry-after"]


async def test_watch_with_initial_events_ends_them_with_a_marked_bookmark(api: Client, clock: HandClock) -> None:
    exchange = {**BY_NAME["watch-sendinitialevents"]}
    exchange["target"] = exchange["target"].replace("timeoutSeconds=8", "timeoutSeconds=1")
    ours = [json.loads(line) for line in (await replay(api, clock, exchange)).text.splitlines()]
    theirs = [json.loads(line) for line in exchange["answer"].splitlines()]
    ended = next(i for i, event in enumerate(theirs) if event["type"] == "BOOKMARK")
    assert shown(ours[: ended + 1], EVERYWHERE) == shown(theirs[: ended + 1], EVERYWHERE)
    assert ours[-1]["type"] == "BOOKMARK" and "annotations" not in ours[-1]["object"]["metadata"]


async def test_watch_from_before_the_record_says_gone_in_the_stream(api: Client, clock: HandClock) -> None:
    exchange = BY_NAME["watch-410"]
    answer = await replay(api, clock, exchange)
    ignored = EVERYWHERE | NOT_COMPARED["watch-410"]
    assert shown(answer.json, ignored) == shown(json.loads(exchange["answer"]), ignored)


async def test_watch_of_a_table_names_the_columns_once(api: Client, clock: HandClock) -> None:
    exchange = {**BY_NAME["watch-table"]}
    exchange["target"] = exchange["target"].replace("timeoutSeconds=6", "timeoutSeconds=1")
    ours = [json.loads(line)["object"] for line in (await replay(api, clock, exchange)).text.splitlines()]
    theirs = [json.loads(line)["object"] for line in exchange["answer"].splitlines()]

    def names(shown_table: Any) -> list[Any]:
        return [(c["name"], c["type"], c["priority"]) for c in shown_table["columnDefinitions"]]

    assert names(ours[0]) == names(theirs[0])
    assert all(table["columnDefinitions"] is None for table in ours[1:])
    assert {table["rows"][0]["cells"][0] for table in ours} <= {table["rows"][0]["cells"][0] for table in theirs}


async def test_outdated_openapi_hash_is_redirected_and_a_known_one_is_not_sent_again(api: Client) -> None:
    stale = await api("GET", "/openapi/v3/api/v1?hash=0000")
    assert stale.status == 301
    fresh = await api("GET", stale.headers["Location"])
    assert fresh.status == 200 and fresh.json["openapi"] == "3.0.0"
    assert (await api("GET", "/openapi/v3/api/v1", headers={"If-None-Match": fresh.headers["ETag"]})).status == 304
    index = (await api("GET", "/openapi/v3")).json["paths"]
    recorded = json.loads(BY_NAME["apis"]["answer"])["groups"]
    for version in (version["groupVersion"] for group in recorded for version in group["versions"]):
        assert f"apis/{version}" in index
