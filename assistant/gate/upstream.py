"""The way to the real API server: bytes by aiohttp, credentials fetched anew when they are refused, no other retries.

Apart because, with `context`, it is the only module that ever holds a credential of the cluster.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import yarl

from assistant.errors import ClusterError
from assistant.gate.failures import (
    PROGRESS,
    NotSentError,
    Progress,
    UpstreamError,
    login_needed,
    named,
    redirected,
    skew_note,
    tracing,
)
from assistant.policy.limits import (
    CONNECT_SECONDS,
    FIRST_BYTE_SECONDS,
    KEEPALIVE_EVERY_SECONDS,
    KEEPALIVE_IDLE_SECONDS,
    KEEPALIVE_PROBES,
    LOGIN_PAUSE_SECONDS,
    SEND_SECONDS,
)

# What may lie between reading and passing on; with aiohttp's 64 KiB a large list is one long stop and go (measured).
_READ_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the API server."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool = True

    def header(self, name: str) -> str:
        """Return the first value of a header, "" for none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@dataclass(slots=True)
class Upstream:
    """A loaded context: where the API server is and how to be let in.

    `authority` and `certificate` are hashes of the CA and of our own client certificate; `rotates` says that reading
    the token takes time. `reload` loads the context anew, for credentials that have run out or are refused.
    `distrusted` is called with a sentence when somebody else answers than before: a certificate that is not to be
    trusted, or another address in the kubeconfig.
    """

    server: str
    context: str
    namespace: str
    tls: ssl.SSLContext | None
    tls_server_name: str | None
    proxy: str | None
    authority: str
    certificate: str
    token: Callable[[], str]
    rotates: bool
    expired: Callable[[datetime], bool]
    reload: Callable[[], Upstream]
    notes: tuple[str, ...] = ()
    distrusted: Callable[[str], None] = lambda why: None
    generation: int = 0
    looks_at_clock: bool = True
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _no_login_until: float = 0.0

    async def authorization(self) -> dict[str, str]:
        """Return the credential header; what has run out is fetched anew. Raises ClusterError where it cannot be."""
        if self.expired(datetime.now(UTC)):
            await self.renew(self.generation)
        token = await self._token_now()
        return {"Authorization": token} if token else {}

    async def renew(self, generation: int) -> bool:
        """Load the credentials of `generation` anew, once for all who ask. Returns whether they are other ones now.

        Raises ClusterError when there are none to be had, or when the context names another cluster by now.
        """
        async with self._renewing:
            if self.generation != generation:
                return True
            if time.monotonic() < self._no_login_until:
                raise login_needed(self.context, "the API server does not accept the credentials of this context")
            before = await self._token_now()
            try:
                fresh = await asyncio.to_thread(self.reload)
            except ClusterError:
                self._refuse_logins()
                raise
            if (fresh.server, fresh.authority) != (self.server, self.authority):
                text = "The kubeconfig names another address or certificate authority than when this gate started."
                self.distrusted(text)
                raise UpstreamError("identity-changed", text, "Start the session again, if you expected that.")
            # Connections in use stay: the pool keeps them apart by their TLS context.
            other = fresh.certificate != self.certificate
            self.tls, self.certificate, self.token = fresh.tls, fresh.certificate, fresh.token
            self.rotates, self.expired = fresh.rotates, fresh.expired
            self.generation += 1
            return other or await self._token_now() != before

    async def _token_now(self) -> str:
        return await asyncio.to_thread(self.token) if self.rotates else self.token()

    def _refuse_logins(self) -> None:
        self._no_login_until = time.monotonic() + LOGIN_PAUSE_SECONDS

    def url(self, raw_target: str) -> yarl.URL:
        """Return the URL for a raw target, whose bytes stay as they are."""
        return yarl.URL(self.server.rstrip("/") + raw_target, encoded=True)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"ssl": self.tls if self.tls is not None else True, "allow_redirects": False}
        if self.tls_server_name:
            options["server_hostname"] = self.tls_server_name
        if self.proxy:
            options["proxy"] = self.proxy
        return options

    def session(self) -> aiohttp.ClientSession:
        """Return the pooled session that reads use."""
        if self._session is None:
            self._session = _session(limit=0, keepalive_timeout=30)
        return self._session

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        raw_target: str,
        headers: Mapping[str, str] | list[tuple[str, str]],
        body: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and yield the answer unread; for reads, reviews and dry runs.

        Credentials that are refused are fetched anew once. Raises ClusterError for those refused then too, and for a
        redirection: whoever it names must not get the credentials.
        """
        sent = list(headers.items() if isinstance(headers, Mapping) else headers)
        response = await self._begin(method, raw_target, sent, body)
        try:
            if 300 <= response.status < 400 and response.status != 304:
                raise redirected(response.headers.get("Location", ""), self.server)
            yield response
        finally:
            response.close() if not response.content.at_eof() else response.release()

    async def _begin(
        self, method: str, raw_target: str, headers: list[tuple[str, str]], body: bytes | None
    ) -> aiohttp.ClientResponse:
        response, generation = await self._ask(method, raw_target, headers, body)
        if response.status == 401 and await self.renew(generation):
            response.close()
            response, _ = await self._ask(method, raw_target, headers, body)
        if response.status == 401:
            response.close()
            self._refuse_logins()
            raise login_needed(self.context, "the API server does not accept the credentials of this context")
        return response

    async def _ask(
        self, method: str, raw_target: str, headers: list[tuple[str, str]], body: bytes | None
    ) -> tuple[aiohttp.ClientResponse, int]:
        sent = [*headers, *(await self.authorization()).items()]
        generation = self.generation
        PROGRESS.set(Progress())
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=None)
        request = self.session().request(
            method, self.url(raw_target), headers=sent, data=body, timeout=timeout, **self._options()
        )
        try:
            response = await asyncio.wait_for(request, FIRST_BYTE_SECONDS)
        except aiohttp.ClientConnectorCertificateError as error:
            self.distrusted(named(error).meaning)
            raise
        if self.looks_at_clock:
            self.looks_at_clock = False
            note = skew_note(response.headers.get("Date", ""), time.time())
            self.notes = (*self.notes, note) if note else self.notes
        return response, generation

    async def fetch(
        self, method: str, raw_target: str, headers: Mapping[str, str], body: bytes | None, seconds: float, limit: int
    ) -> Answer:
        """Send one request and read the answer whole, at most `limit` bytes. Raises ClusterError."""
        try:
            async with asyncio.timeout(seconds), self.stream(method, raw_target, headers, body) as response:
                data = await read_limited(response, limit)
                return Answer(response.status, tuple(response.headers.items()), data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise named(error) from error

    @asynccontextmanager
    async def write(
        self,
        method: str,
        raw_target: str,
        headers: Mapping[str, str] | tuple[tuple[str, str], ...],
        body: bytes | None,
        lasting: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a change once: a fresh connection, nothing that could send it again.

        The whole exchange has `SEND_SECONDS`; with `lasting` its time is the caller's to bound (a session may last).

        aiohttp sends PUT and DELETE again when a connection breaks before the answer, whatever the connection's age;
        `_retry_connection` is its only switch, and a test against a breaking server holds it in place. Raises
        NotSentError when there are no credentials to send it with.
        """
        try:
            given = headers.items() if isinstance(headers, Mapping) else headers
            sent = [*given, *(await self.authorization()).items()]
        except ClusterError as error:
            raise NotSentError(error.code, error.meaning, error.hint, detail=error.detail) from error
        PROGRESS.set(Progress())
        timeout = aiohttp.ClientTimeout(total=None if lasting else SEND_SECONDS, sock_connect=CONNECT_SECONDS)
        async with _session(force_close=True, limit=1) as session:
            session._retry_connection = False
            try:
                response = await session.request(
                    method, self.url(raw_target), headers=sent, data=body, timeout=timeout, **self._options()
                )
            except aiohttp.ClientConnectorCertificateError as error:
                self.distrusted(named(error).meaning)
                raise
            async with response:
                yield response

    async def close(self) -> None:
        """Close the pooled connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _session(**options: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=_socket, **options),
        trace_configs=[tracing()],
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        trust_env=False,
        read_bufsize=_READ_BYTES,
        max_line_size=65536,
        max_field_size=65536,
    )


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """Return a socket that notices a dead network, without which a silent watch would wait for ever."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPALIVE", KEEPALIVE_IDLE_SECONDS),  # macOS calls it so
        ("TCP_KEEPINTVL", KEEPALIVE_EVERY_SECONDS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


async def read_limited(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body whole. Raises ClusterError above `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise ClusterError(
                f"The answer is larger than {limit // 1048576} MiB and has to be read whole.", "Ask for less at once."
            )
        parts.append(chunk)
    return b"".join(parts)
