"""Who a data token belongs to: our own session, and each client that got a guarded kubeconfig of its own.

Apart from the door, because what a request may show, and who is said to have asked, hang on the token and on nothing
that a client says of itself.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from assistant.errors import GateError
from assistant.gate.kubeconfig import is_guarded, write_private

SESSION: Final = "session"
DEFAULT: Final = "default"
NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,30}[a-z0-9])?")
MAX_CLIENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Client:
    """The holder of one data token. `own` is our session, whose answers a model may see."""

    name: str
    own: bool = False


class Clients:
    """The data tokens of one gate."""

    def __init__(self) -> None:
        """Make the session's token; others are added by name."""
        self.session_token = secrets.token_urlsafe(32)
        self._tokens = {self.session_token: Client(SESSION, own=True)}

    def token(self, name: str) -> str:
        """Return the token of a client, made at the first call. Raises GateError for a name that cannot be one."""
        if not NAME.fullmatch(name) or name == SESSION:
            raise GateError(
                f"{name[:40]!r} cannot be the name of a client.",
                f"Use up to 32 small letters, digits and dashes; {SESSION!r} is taken.",
            )
        for token, client in self._tokens.items():
            if client.name == name:
                return token
        if len(self._tokens) > MAX_CLIENTS:
            raise GateError(f"This gate has {MAX_CLIENTS} clients already.", "Use one of their kubeconfigs.")
        made = secrets.token_urlsafe(32)
        self._tokens[made] = Client(name)
        return made

    def of(self, request: web.BaseRequest) -> Client | None:
        """Return whose token a request carries, None for none of ours; every token is compared in full."""
        given, found = bearer(request).encode(), None
        for token, client in self._tokens.items():
            if hmac.compare_digest(given, token.encode()):
                found = client
        return found

    def ours(self, request: web.BaseRequest) -> bool:
        """Say whether a request comes with our own session's token; one of nobody's is treated as if it did."""
        client = self.of(request)
        return client is None or client.own

    def name(self, request: web.BaseRequest) -> str:
        """Return the name of the token that a request carries."""
        client = self.of(request)
        return client.name if client is not None else ""


class Kubeconfigs:
    """Writes a guarded kubeconfig for each client and takes them away again."""

    def __init__(self, clients: Clients, render: Callable[[str], bytes], folder: Path, gate: str) -> None:
        """Keep the parts: `render` makes a kubeconfig for a token, `folder` is where those without a place go."""
        self._clients = clients
        self._render = render
        self._folder = folder
        self._gate = gate
        self._paths: dict[str, Path] = {}

    def issue(self, name: str, path: Path | None = None) -> Path:
        """Write a client's kubeconfig and return where it is; asked again, return the same one.

        Raises GateError for a name that cannot be one and for a file that is no guarded kubeconfig.
        """
        token = self._clients.token(name)
        if name in self._paths:
            return self._paths[name]
        place = path or self._folder / f"{self._gate}{'' if name == DEFAULT else '.' + name}.kubeconfig"
        if place in self._paths.values():
            raise GateError(f"{place} is the kubeconfig of another client already.", "Give each client its own file.")
        if place.exists() and not is_guarded(place):
            # It could hold the only credentials of a cluster, and what the gate writes it also removes.
            raise GateError(f"{place} exists and is no guarded kubeconfig.", "Choose a file that does not exist yet.")
        try:
            write_private(place, self._render(token))
        except OSError as error:
            raise GateError(f"{place} cannot be written.", "Choose another place.", detail=str(error)) from error
        self._paths[name] = place
        return place

    def issue_all(self, wanted: Mapping[str, str]) -> None:
        """Write the kubeconfigs of named clients to the places given."""
        for name, path in wanted.items():
            self.issue(name, Path(path))

    def paths(self) -> dict[str, str]:
        """Return where each client's kubeconfig is."""
        return {name: str(path) for name, path in self._paths.items()}

    def remove(self) -> None:
        """Remove what was written, where it is still ours."""
        for path in self._paths.values():
            if path.exists() and is_guarded(path):
                path.unlink(missing_ok=True)


def bearer(request: web.BaseRequest) -> str:
    """Return the one bearer token of a request, "" where there is none or more than one."""
    given = request.headers.getall("Authorization", [])
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else ""
