"""Asynchronous reader of the gate's data side: JSON, lists in chunks, logs and raw bytes, with typed errors.

It speaks plain HTTP: the models of the official client cost 60 to 85 times the decoding time (measured).
It cannot write: there is no method for it.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from assistant.cluster.sharing import Shared
from assistant.errors import ClusterError, ForbiddenError, NotFoundError

CHUNK = 500
"""Objects a list request; what kubectl uses, so that no answer makes the API server hold a large list in memory."""

LARGEST_ANSWER_BYTES = 256 * 1024 * 1024
MEANINGS = {
    400: ("The API server did not understand the request.", "This is a fault of ours or of a proxy in between."),
    401: ("The cluster does not accept these credentials.", "Log in to the cluster again, then retry."),
    403: ("This identity may not read that.", "Ask for read access, or continue without that kind."),
    404: ("The object or kind does not exist.", "Check the name and the namespace."),
    410: ("The list changed while it was being read.", "Read it again."),
    429: ("The API server is overloaded and asked us to wait.", "Wait a moment, then retry."),
    500: ("The API server failed inside.", "Look at the API server's own log."),
    503: ("The API server or an aggregated API behind it is not available.", "Check the APIService or wait."),
    504: ("The API server did not answer in time.", "Wait a moment, then retry."),
}
ACCEPT = "application/json"


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of a list, all chunks joined; `request` is the line of the first request."""

    items: tuple[dict[str, Any], ...]
    api_version: str
    kind: str
    request: str
    size_bytes: int


def request_line(path: str, query: Mapping[str, str]) -> str:
    """Return `GET /path?query` as evidence names it, without the paging parameters."""
    shown = "&".join(f"{k}={v}" for k, v in query.items() if k not in ("limit", "continue"))
    return f"GET {path}?{shown}" if shown else f"GET {path}"


class ClusterClient:
    """Reads through the gate. Use as an asynchronous context manager, or call `close`."""

    def __init__(
        self, base_url: str, token: str, ca_pem: str = "", *, concurrency: int = 8, timeout_seconds: float = 30.0
    ) -> None:
        """Keep the settings; no connection is made before the first request."""
        self._base = URL(base_url)
        self._token = token
        self._ca_pem = ca_pem
        self._slots = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=10)
        self._session: aiohttp.ClientSession | None = None
        self.requests = 0
        self.received_bytes = 0

    async def __aenter__(self) -> ClusterClient:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections; the client may be used again."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            context = ssl.create_default_context(cadata=self._ca_pem) if self._ca_pem else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=self._concurrency),
                timeout=self._timeout,
                headers={"Authorization": f"Bearer {self._token}", "User-Agent": "pilothouse"},
                trust_env=False,
            )
        return self._session

    async def get_bytes(self, path: str, query: Mapping[str, str] | None = None, accept: str = ACCEPT) -> bytes:
        """Return the body of a GET.

        Raises NotFoundError, ForbiddenError, or ClusterError for any other status, a time-out or a lost connection.
        """
        url = self._base.with_path(path).with_query(dict(query or {}))
        async with self._slots:
            self.requests += 1
            try:
                async with self._open().get(url, headers={"Accept": accept}, allow_redirects=False) as answer:
                    if (answer.content_length or 0) > LARGEST_ANSWER_BYTES:
                        raise ClusterError("The answer is larger than can be read.", "Ask for one namespace.")
                    data = await answer.read()
            except TimeoutError as error:
                raise ClusterError(
                    "The cluster did not answer in time.", "Check the network to the API server.", detail=path
                ) from error
            except aiohttp.ClientError as error:
                raise ClusterError(
                    "The connection to the gate or the cluster was lost.",
                    "Start the session again.",
                    detail=f"{type(error).__name__}: {error}",
                ) from error
        self.received_bytes += len(data)
        if answer.status != 200:
            raise _error(answer.status, data)
        return data

    async def get_json(self, path: str, query: Mapping[str, str] | None = None, accept: str = ACCEPT) -> dict[str, Any]:
        """Return the JSON object of a GET. Raises like `get_bytes`, and ClusterError for a body that is none."""
        data = await self.get_bytes(path, query, accept)
        try:
            value = _decoded(data)
        except msgspec.DecodeError as error:
            raise ClusterError("The answer is not JSON.", "Something in between may have changed it.") from error
        if not isinstance(value, dict):
            raise ClusterError("The answer is not a JSON object.", "Something in between may have changed it.")
        return value

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Listing:
        """Read a whole list in chunks. A list that expires under way (410) is read once more from the start."""
        for attempt in (1, 2):
            try:
                return await self._list(path, dict(query or {}))
            except ExpiredError:
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    async def _list(self, path: str, query: dict[str, str]) -> Listing:
        items: list[dict[str, Any]] = []
        shared = Shared()
        page, before = "", self.received_bytes
        while True:
            asked = {**query, "limit": str(CHUNK)} | ({"continue": page} if page else {})
            answer = await self.get_json(path, asked)
            found = answer.get("items")
            items += shared.items(found) if isinstance(found, list) else []
            meta = answer.get("metadata")
            page = str(meta.get("continue") or "") if isinstance(meta, dict) else ""
            if not page:
                kind = str(answer.get("kind") or "").removesuffix("List")
                size = self.received_bytes - before
                return Listing(tuple(items), str(answer.get("apiVersion") or ""), kind, request_line(path, query), size)

    async def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail_lines: int = 200,
        limit_bytes: int = 256 * 1024,
    ) -> tuple[str, str]:
        """Return the end of a container's log and the request line. Raises like `get_bytes`."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = {"container": container, "tailLines": str(tail_lines), "limitBytes": str(limit_bytes)}
        if previous:
            query["previous"] = "true"
        data = await self.get_bytes(path, query, "*/*")
        return data.decode("utf-8", "replace"), request_line(path, query)


class ExpiredError(ClusterError):
    """The list's continue token has expired (410); the list has to be read again."""

    code = "expired"


def _decoded(data: bytes) -> Any:
    # JSON has no cycles: looking for some while it is built finds none and takes most of the time (measured: 4 to 1).
    collects = gc.isenabled()
    gc.disable()
    try:
        return msgspec.json.decode(data)
    finally:
        if collects:
            gc.enable()


def _error(status: int, data: bytes) -> ClusterError:
    """Return the typed error for a status that is not 200, with the server's own message as detail."""
    try:
        body = msgspec.json.decode(data[:65536])
    except msgspec.DecodeError:
        body = None
    said = str(body.get("message") or "") if isinstance(body, dict) else data[:500].decode("utf-8", "replace")
    meaning, hint = MEANINGS.get(status, (f"The API server answered with status {status}.", "See the detail."))
    kind = {403: ForbiddenError, 404: NotFoundError, 410: ExpiredError}.get(status, ClusterError)
    return kind(meaning, hint, detail=said[:2000])
