"""Asynchronous reader of the gate's data side: JSON, lists in chunks, logs and raw bytes, with typed errors.

It speaks plain HTTP: the models of the official client cost 60 to 85 times the decoding time (measured).
It cannot write: the one method that sends a body asks for a dry run, and the gate holds what does not. What fails is
tried again as `assistant/policy/retry.py` says, and whoever asked is told of every wait.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from assistant.cluster.listing import Get, KeptListing, Listing, Told, read_list, request_line
from assistant.cluster.pages import Keeping, without_collection
from assistant.cluster.status import (
    PASSING,
    BrokenOffError,
    GateLostError,
    Reply,
    TooLargeError,
    error_of,
    not_json,
)
from assistant.errors import ClusterError
from assistant.policy import limits
from assistant.policy.retry import GiveUp, Wait, asked_seconds, next_try

ACCEPT: Final = "application/json"


@dataclass(frozen=True, slots=True)
class LogText:
    """The end of a container's log. `cut` says that its newest lines did not fit and are missing."""

    text: str
    request: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one request may take, in seconds: to the first byte of the answer, and from there to its last."""

    first_byte: float = limits.READ_FIRST_BYTE_SECONDS
    body: float = limits.READ_BODY_SECONDS


class ClusterClient:
    """Reads through the gate. Use as an asynchronous context manager, or call `close`.

    `sleep` and `dice` (a random number from 0 to 1) are what waiting between tries is made of.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        ca_pem: str = "",
        *,
        concurrency: int = 8,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """Keep the settings; no connection is made before the first request."""
        self._base = URL(base_url)
        self._token = token
        self._ca_pem = ca_pem
        self._slots = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._patience = patience or Patience()
        self._sleep = sleep
        self._dice = dice
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
                timeout=aiohttp.ClientTimeout(total=None, connect=10),
                headers={"Authorization": f"Bearer {self._token}", "User-Agent": "pilothouse"},
                trust_env=False,
            )
            # Tries are counted and shown; one that the library makes by itself would be neither.
            self._session._retry_connection = False
        return self._session

    async def get_bytes(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        accept: str = ACCEPT,
        *,
        told: Told | None = None,
        most: int = 0,
    ) -> bytes:
        """Return the body of a GET, at most `most` bytes (0: a page's); `told` hears of every wait before another try.

        Raises NotFoundError, ForbiddenError, TooLargeError, GateLostError, or ClusterError for any other status, a
        time-out or a lost connection.
        """
        return (await self._get(path, query, accept, told, most, cut=False)).data

    async def _get(
        self, path: str, query: Mapping[str, str] | None, accept: str, told: Told | None, most: int, *, cut: bool
    ) -> Reply:
        url = self._base.with_path(path).with_query(dict(query or {}))
        most = most or limits.READ_PAGE_BYTES
        tries, waited = 0, 0.0
        while True:
            tries += 1
            try:
                reply = await self._once(url, accept, most, cut=cut)
            except BrokenOffError as broken:
                failure: ClusterError = broken
                plan = next_try(0, "the connection broke", None, tries, waited, self._dice())
            else:
                if reply.status == 200:
                    return reply
                failure = error_of(reply)
                plan = self._plan(reply, failure, tries, waited)
            if isinstance(plan, GiveUp):
                # Why nothing more is tried stands in front: what is shown of a failure is often cut at its end.
                failure.detail = f"{plan.why} {failure.detail}".strip()
                raise failure
            if told is not None:
                told(plan)
            await self._sleep(plan.seconds)
            waited += plan.seconds

    def _plan(self, reply: Reply, failure: ClusterError, tries: int, waited: float) -> Wait | GiveUp:
        cause = reply.cause
        if cause and cause not in PASSING:
            return GiveUp()
        what = failure.meaning.rstrip(".") if cause else f"HTTP {reply.status}"
        headers = reply.headers
        asked = asked_seconds(headers.get("Retry-After", ""), headers.get("Date", ""), datetime.now(UTC))
        return next_try(reply.status, what, asked, tries, waited, self._dice())

    async def _once(self, url: URL, accept: str, most: int, *, cut: bool) -> Reply:
        seconds, doing = self._patience.first_byte, "waiting for its first byte"
        data = bytearray()
        async with self._slots:
            self.requests += 1
            try:
                async with asyncio.timeout(seconds) as limit:
                    async with self._open().get(url, headers={"Accept": accept}, allow_redirects=False) as answer:
                        seconds, doing = self._patience.body, "reading it"
                        limit.reschedule(asyncio.get_running_loop().time() + seconds)
                        # `most` counts what was unpacked: a small answer can hold a very large one.
                        async for chunk in answer.content.iter_any():
                            data += chunk
                            if len(data) > most:
                                break
                        if len(data) > most and not cut:
                            raise _too_large(most)
                        self.received_bytes += min(len(data), most)
                        return Reply(answer.status, answer.headers, bytes(data[:most]), len(data) > most)
            except TimeoutError as error:
                text = f"The cluster did not answer in time: {seconds:g} s went by {doing}."
                detail = f"{len(data)} bytes came. {url.path}"
                raise ClusterError(text, "Check the network to the API server.", detail=detail) from error
            except aiohttp.ClientConnectorError as error:
                text = "The gate is gone: nobody listens at its address."
                detail = f"{type(error).__name__}: {error}"
                raise GateLostError(text, "Pilothouse starts a new one; ask again.", detail=detail) from error
            except aiohttp.ClientError as error:
                if isinstance(error.__cause__, aiohttp.http_exceptions.ContentEncodingError):
                    text = "The answer cannot be unpacked: it is not what it says."
                    raise ClusterError(text, "Something in between may have changed it.") from error
                text = "The connection to the gate or the cluster broke."
                detail = f"{type(error).__name__}: {error}"[:300]
                raise BrokenOffError(text, "Try again.", detail=detail) from error

    async def get_json(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        accept: str = ACCEPT,
        *,
        told: Told | None = None,
        most: int = 0,
    ) -> dict[str, Any]:
        """Return the JSON object of a GET. Raises like `get_bytes`, and ClusterError for a body that is none."""
        reply = await self._get(path, query, accept, told, most, cut=False)
        try:
            with without_collection():
                value = msgspec.json.decode(reply.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise not_json(reply) from error
        if not isinstance(value, dict):
            raise not_json(reply, "The answer is not a JSON object.")
        return value

    async def try_patch(self, path: str, patch: str, content_type: str) -> None:
        """Have the server try a patch without keeping it. Raises ClusterError with the reason where it refuses.

        Asked once: what a webhook does in a dry run is its own business, so it is not asked again by itself.
        """
        url = self._base.with_path(path).with_query({"dryRun": "All"})
        await self._put_to("PATCH", url, patch.encode(), content_type, "the dry run")

    async def own_rules(self, namespace: str) -> dict[str, Any]:
        """Return the `status` of a SelfSubjectRulesReview: what our identity may do there. Raises ClusterError.

        A POST that creates nothing; the gate lets self-reviews through.
        """
        url = self._base.with_path("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews")
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
        data = msgspec.json.encode({**body, "spec": {"namespace": namespace}})
        reply = await self._put_to("POST", url, data, "application/json", "what we may do")
        try:
            status = msgspec.json.decode(reply.data)["status"]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise not_json(reply) from error
        if not isinstance(status, dict):
            raise not_json(reply, "The answer has no status.")
        return status

    async def _put_to(self, method: str, url: URL, data: bytes, content_type: str, what: str) -> Reply:
        """Ask what changes nothing but is no GET, once."""
        headers = {"Accept": ACCEPT, "Content-Type": content_type}
        try:
            async with self._slots, asyncio.timeout(self._patience.first_byte):
                self.requests += 1
                async with self._open().request(
                    method, url, data=data, headers=headers, allow_redirects=False
                ) as answer:
                    reply = Reply(answer.status, answer.headers, await answer.read(), False)
        except TimeoutError as error:
            raise ClusterError(f"The cluster did not answer {what} in time.", "Try again.") from error
        except aiohttp.ClientError as error:
            text = "The connection to the gate or the cluster broke."
            raise ClusterError(text, "Try again.", detail=f"{type(error).__name__}: {error}"[:300]) from error
        if reply.status not in (200, 201):
            raise error_of(reply)
        return reply

    async def list(self, path: str, query: Mapping[str, str] | None = None, *, told: Told | None = None) -> Listing:
        """Read a whole list in chunks, see `read_list`."""
        wanted = query or {}
        read = await read_list(self._getter(path, told), wanted, Keeping.DICTIONARIES, told)
        items = tuple(item for item in read.items if isinstance(item, dict))
        line = request_line(path, wanted)
        return Listing(items, read.last.api_version, read.last.kind, line, read.size_bytes, read.cut)

    async def list_kept(self, path: str, keeping: Keeping, *, told: Told | None = None) -> KeptListing:
        """Read a whole list like `list`, and decode no more than the few fields that are asked of every object."""
        read = await read_list(self._getter(path, told), {}, keeping, told)
        return KeptListing(tuple(read.items), request_line(path, {}), read.size_bytes, read.cut)

    def _getter(self, path: str, told: Told | None) -> Get:
        return lambda query: self._get(path, query, ACCEPT, told, 0, cut=False)

    async def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail_lines: int = 200,
        limit_bytes: int = 256 * 1024,
        told: Told | None = None,
    ) -> LogText:
        """Return the end of a container's log, at most `limit_bytes` of it. Raises like `get_bytes`."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = {"container": container, "tailLines": str(tail_lines), "limitBytes": str(limit_bytes)}
        if previous:
            query["previous"] = "true"
        reply = await self._get(path, query, "*/*", told, limit_bytes, cut=True)
        # The API server keeps the beginning of the lines that were asked for, so a full answer lacks the newest ones.
        full = reply.cut or len(reply.data) >= limit_bytes
        return LogText(reply.data.decode("utf-8", "replace"), request_line(path, query), full)


def _too_large(most: int) -> TooLargeError:
    text = f"The answer is larger than {most // 1048576} MiB, more than is read at once."
    return TooLargeError(text, "Ask for one namespace.")
