"""The way to the real API server: credentials by the official client's loader, bytes by aiohttp, no retries.

Apart because it is the only module that ever holds a credential of the cluster.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yarl
from kubernetes import client
from kubernetes.config import kube_config

from assistant.errors import ClusterError
from assistant.policy.limits import CONNECT_SECONDS, FIRST_BYTE_SECONDS, SEND_SECONDS

_ABSENT: Final = "Check the path, or set KUBECONFIG or --context."
_SHOWN_NAMES: Final = 12

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
    """A loaded context: where the API server is and how to be let in."""

    server: str
    context: str
    namespace: str
    tls: ssl.SSLContext | None
    tls_server_name: str | None
    proxy: str | None
    authority: str
    token: Callable[[], str]
    refreshes: bool
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def authorization(self) -> dict[str, str]:
        """Return the credential header; plugins and rotating tokens are asked again when they have run out."""
        token = await asyncio.to_thread(self.token) if self.refreshes else self.token()
        return {"Authorization": token} if token else {}

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
            self._session = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=30))
        return self._session

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        raw_target: str,
        headers: Mapping[str, str] | list[tuple[str, str]],
        body: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and yield the answer unread; for reads, reviews and dry runs."""
        sent = [*(headers.items() if isinstance(headers, Mapping) else headers), *(await self.authorization()).items()]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=None)
        request = self.session().request(
            method, self.url(raw_target), headers=sent, data=body, timeout=timeout, **self._options()
        )
        response = await asyncio.wait_for(request, FIRST_BYTE_SECONDS)
        try:
            yield response
        finally:
            response.close() if not response.content.at_eof() else response.release()

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
        seconds: float | None = SEND_SECONDS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a change once: a fresh connection, nothing that could send it again.

        `seconds` is for the whole exchange; None leaves it to the caller (a session may last).

        aiohttp sends PUT and DELETE again when a connection breaks before the answer, whatever the connection's age;
        `_retry_connection` is its only switch, and a test against a breaking server holds it in place.
        """
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        async with _session(aiohttp.TCPConnector(force_close=True, limit=1)) as session:
            session._retry_connection = False
            given = headers.items() if isinstance(headers, Mapping) else headers
            sent = [*given, *(await self.authorization()).items()]
            async with session.request(
                method, self.url(raw_target), headers=sent, data=body, timeout=timeout, **self._options()
            ) as response:
                yield response

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        trust_env=False,
        read_bufsize=_READ_BYTES,
        max_line_size=65536,
        max_field_size=65536,
    )


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


def named(error: BaseException) -> ClusterError:
    """Return a transport failure as what it means."""
    detail = f"{type(error).__name__}: {error}"[:300]
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return ClusterError(
                "The API server's certificate is not trusted.", "Check the certificate authority of this context.",
                detail=detail,
            )  # fmt: skip
        case aiohttp.ClientConnectorDNSError():
            return ClusterError("The API server's name cannot be resolved.", "Check the network or VPN.", detail=detail)
        case aiohttp.ClientConnectorError():
            return ClusterError(
                "The API server cannot be reached.", "Check the network, VPN and address.", detail=detail
            )
        case TimeoutError():
            return ClusterError(
                "The API server did not answer in time.", "Try again, or check the network.", detail=detail
            )
        case aiohttp.ClientPayloadError():
            return ClusterError("The API server's answer was cut off.", "Try again.", detail=detail)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            return ClusterError("The API server closed the connection.", "Try again.", detail=detail)
        case _:
            return ClusterError(
                "The API server's answer is not proper HTTP.", "Check what listens there.", detail=detail
            )


def load(kubeconfig: str | None, context: str | None, exec_allow: tuple[str, ...]) -> Upstream:
    """Load a context. Raises ClusterError for a missing or broken file, an unknown context or a plugin not allowed."""
    source = kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if not any(Path(part).expanduser().is_file() for part in source.split(os.pathsep) if part):
        raise ClusterError(f"There is no kubeconfig at {source}.", _ABSENT)
    try:
        merged = kube_config.KubeConfigMerger(source)  # type: ignore[no-untyped-call]
        _check_context(merged, context)
        loader = kube_config.KubeConfigLoader(  # type: ignore[no-untyped-call]
            config_dict=merged.config, active_context=context, config_base_path=None
        )
        active = loader.current_context
        _check_exec(merged, active["context"].get("user", ""), exec_allow)
        settings = client.Configuration()
        loader.load_and_set(settings)  # type: ignore[no-untyped-call]
        names = active["context"]
        return _upstream(settings, str(active["name"]), str(names.get("namespace") or "default"), merged, active)
    except ClusterError:
        raise
    except Exception as error:  # the loader raises whatever YAML, base64 and its own checks raise
        detail = f"{type(error).__name__}: {error}"[:300]
        raise ClusterError(
            f"The kubeconfig {source} cannot be used.", "Check it with: kubectl config view", detail=detail
        ) from error


def _check_context(merged: Any, context: str | None) -> None:
    if context is None:
        return
    names = [str(item["name"]) for item in merged.config.safe_get("contexts") or []]
    if context not in names:
        near = difflib.get_close_matches(context, names, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(names[:_SHOWN_NAMES]) or 'none'}."
        raise ClusterError(f"The kubeconfig has no context {context!r}.", hint)


def _check_exec(merged: Any, user_name: str, allowed: tuple[str, ...]) -> None:
    users = merged.config.safe_get("users") or []
    user = next((item["user"] for item in users if item["name"] == user_name), None)
    if user is None:
        return
    plugin = user.safe_get("exec")
    if plugin is not None:
        command = str(plugin.get("command") or "")
        if not Path(command).is_absolute() or command not in allowed:
            raise ClusterError(
                "This context runs a program to get its credentials, and that program is not allowed.",
                "Allow it by its absolute path in the setting exec_allow, or use a context without a plugin.",
                detail=command[:200],
            )
    provider = user.safe_get("auth-provider")
    if provider is not None and str(provider.get("name")) != "oidc":
        raise ClusterError("This context uses an auth-provider that Kubernetes has removed.", "Use an exec plugin.")


def _upstream(settings: Any, context: str, namespace: str, merged: Any, active: Any) -> Upstream:
    tls = None
    if str(settings.host).startswith("https"):
        tls = ssl.create_default_context(cafile=settings.ssl_ca_cert or None)
        # Cluster certificates made by older tools lack what Python 3.13 asks for beyond RFC 5280's musts.
        tls.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if not settings.verify_ssl:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        if settings.cert_file:
            tls.load_cert_chain(settings.cert_file, settings.key_file)
    user = next(
        (item["user"] for item in merged.config["users"] if item["name"] == active["context"]["user"]),
        None,
    ) if active["context"].get("user") else None  # fmt: skip
    refreshes = user is not None and any(user.safe_get(key) for key in ("exec", "auth-provider", "tokenFile"))
    authority = Path(settings.ssl_ca_cert).read_bytes() if settings.ssl_ca_cert else b""

    def token() -> str:
        return str(settings.get_api_key_with_prefix("BearerToken") or "")

    return Upstream(
        str(settings.host), context, namespace, tls, settings.tls_server_name or None, settings.proxy or None,
        hashlib.sha256(authority).hexdigest(), token, refreshes,
    )  # fmt: skip
