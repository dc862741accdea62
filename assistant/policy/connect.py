"""What an exec, attach, port-forward or proxied request will do, read the way the API server reads it.

Apart from the classifier because these have no body and no dry run: the query is all that a person can be shown.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from assistant.domain.proposal import DiffLine, Impact
from assistant.domain.target import Target
from assistant.policy.api_path import ApiPath, Refused
from assistant.policy.classify import CRITICAL, Verdict
from assistant.policy.surroundings import Obj, at

UPGRADES: Final = {"websocket": "websocket", "spdy/3.1": "SPDY/3.1"}
# The parameters of each request (kubernetes/pkg/apis/core/types.go: PodExecOptions and its kin).
_KEYS: Final = {
    "exec": frozenset({"command", "container", "stdin", "stdout", "stderr", "tty"}),
    "attach": frozenset({"container", "stdin", "stdout", "stderr", "tty"}),
    "portforward": frozenset({"ports"}),
}
_PROXIED: Final = {"pods": "Pod", "services": "Service", "nodes": "Node"}
# A second identity: the API server takes a bearer token from here (apiserver pkg/authentication/request/websocket).
_TOKEN_PROTOCOL: Final = "base64url.bearer.authorization.k8s.io"  # noqa: S105 - the name of a protocol
# Port-forward inside a WebSocket: the ports are named in the SPDY streams, and the query's are not looked at.
_TUNNELLED_SPDY: Final = "SPDY/3.1+portforward.k8s.io"
_TITLE_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Connect:
    """One such request. `kind` and `name` are of the object that it reaches; `upgrade` is "" for a proxied request."""

    sub: str
    kind: str
    namespace: str
    name: str
    upgrade: str = ""
    container: str = ""
    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    ports: tuple[str, ...] = ()
    method: str = "GET"
    proxied: str = ""

    @property
    def streams(self) -> str:
        """Return which streams are open, in words."""
        named = (("stdin", self.stdin), ("stdout", self.stdout), ("stderr", self.stderr), ("a terminal", self.tty))
        return ", ".join(f"{name} {'yes' if on else 'no'}" for name, on in named)


def connects(verdict: Verdict) -> bool:
    """Say whether the request opens a way into something that runs in the cluster."""
    return verdict.request_class is CRITICAL and verdict.rule.startswith("connect-")


def read_upgrade(headers: Iterable[tuple[str, str]]) -> str:
    """Return the protocol to switch to, "" for none. Raises Refused for another one and for half of a wish."""
    asked, switching = [], False
    for name, value in headers:
        match name.lower().strip():
            case "upgrade":
                asked.append(value.strip().lower())
            case "connection":
                switching = switching or "upgrade" in [part.strip().lower() for part in value.split(",")]
            case "sec-websocket-protocol" if _TOKEN_PROTOCOL in value.lower():
                raise Refused("impersonation", "Acting as somebody else does not go through the gate.", 403)
    if not asked and not switching:
        return ""
    if len(asked) != 1 or not switching or asked[0] not in UPGRADES:
        raise Refused("upgrade", "Only upgrades to websocket and to SPDY/3.1 go through the gate.", 403)
    return UPGRADES[asked[0]]


def read_connect(verdict: Verdict, headers: Iterable[tuple[str, str]]) -> Connect:
    """Return what the request will do. Raises Refused for what the API server would read in another way than we."""
    api, given = verdict.api, list(headers)
    if api is None or api.group or api.version != "v1" or api.watch or not api.name:
        raise Refused(verdict.rule, "The gate does not know what this request does, so it is not passed on.", 403)
    upgrade = read_upgrade(given)
    top, _, rest = api.sub.partition("/")
    if top == "proxy":
        return _read_proxy(verdict, api, upgrade, rest)
    if api.resource != "pods" or rest or not api.namespace or top not in _KEYS:
        raise Refused(verdict.rule, "The gate does not know what this request does, so it is not passed on.", 403)
    if verdict.method not in ("GET", "POST") or not upgrade:
        raise Refused("no-upgrade", f"{top} needs GET or POST with an upgrade to websocket or SPDY/3.1.", 400)
    values: dict[str, list[str]] = {}
    for key, value in verdict.query:
        if key not in _KEYS[top]:
            raise Refused("connect-query", f"{top} has no parameter {key}.", 400)
        values.setdefault(key, []).append(value)
    if top == "exec" and not any(values.get("command", [])):
        raise Refused("connect-query", "exec names no command.", 400)
    tunnelled = any(name.lower() == "sec-websocket-protocol" and _TUNNELLED_SPDY in value for name, value in given)
    fixed = upgrade == "websocket" and not tunnelled
    return Connect(
        top, "Pod", api.namespace, api.name, upgrade,
        container=values.get("container", [""])[0],
        command=tuple(values.get("command", [])),
        stdin=_true(values, "stdin"), stdout=_true(values, "stdout"), stderr=_true(values, "stderr"),
        tty=_true(values, "tty"),
        ports=tuple(part for value in values.get("ports", []) for part in value.split(",")) if fixed else (),
        method=verdict.method,
    )  # fmt: skip


def _true(values: dict[str, list[str]], key: str) -> bool:
    # Convert_Slice_string_To_bool of apimachinery: anything but these two is true, the empty value too.
    return key in values and values[key][0].lower() not in ("0", "false")


def _read_proxy(verdict: Verdict, api: ApiPath, upgrade: str, rest: str) -> Connect:
    kind = _PROXIED.get(api.resource)
    if kind is None or bool(api.namespace) is (kind == "Node"):
        raise Refused(verdict.rule, "The gate does not know what this request does, so it is not passed on.", 403)
    parts = api.name.split(":")
    # `name`, `name:port` or `scheme:name:port` (apimachinery net.SplitSchemeNamePort).
    name = parts[1] if len(parts) == 3 else parts[0]
    if len(parts) > 3 or not name:
        raise Refused("connect-name", "The name of what to reach cannot be read.", 400)
    slash = "/" if rest and verdict.path.endswith("/") else ""
    query = "&".join(f"{key}={value}" for key, value in verdict.query)
    return Connect(
        "proxy", kind, api.namespace, name, upgrade, ports=(api.name,) if len(parts) > 1 else (),
        method=verdict.method, proxied=f"/{rest}{slash}{'?' + query if query else ''}",
    )  # fmt: skip


def title_of_connect(asked: Connect, target: Target) -> str:
    """Return the one line for lists; the whole command is on the card."""
    inside = f"container {asked.container} of {target}" if asked.container else str(target)
    match asked.sub:
        case "exec":
            return f"run in {inside}: {_short(shlex.join(asked.command))}"
        case "attach":
            return f"attach to {inside}" + (", with its input" if asked.stdin else "")
        case "portforward":
            return f"forward {ports_of(asked)} to {target}"
        case _:
            return f"{asked.method} {_short(asked.proxied)} through the proxy to {target}"


def ports_of(asked: Connect) -> str:
    """Return the ports in words: those of the request, or that they are not in it."""
    if not asked.ports:
        return "any port of the pod"
    return f"port{'s' if len(asked.ports) > 1 else ''} {', '.join(asked.ports)}"


def _short(text: str) -> str:
    return text if len(text) <= _TITLE_CHARACTERS else text[: _TITLE_CHARACTERS - 1] + "…"


def lines_of_connect(asked: Connect, target: Target, body: str) -> tuple[DiffLine, ...]:
    """Return what will be done, one argument a line, as the body of the card."""
    out: list[tuple[str, str]] = []
    match asked.sub:
        case "exec":
            out.append(("@", f"runs in {_container(asked)} of {target}, one argument a line"))
            # JSON-like quoting would be read as part of the command, so line breaks are made visible instead.
            out += [("+", word.replace("\\", "\\\\").replace("\n", "\\n") or "''") for word in asked.command]
        case "attach":
            out.append(("@", "joins the running program"))
            out.append(("+", f"{_container(asked)} of {target}"))
        case "portforward":
            out.append(("@", "opens connections from the client"))
            out.append(("+", f"to {ports_of(asked)} ({target})"))
        case _:
            out.append(("@", f"is sent to {target}"))
            out.append(("+", f"{asked.method} {asked.proxied}"))
            out += [("+", f"at {asked.ports[0]}")] if asked.ports else []
            out += [("+", line) for line in body.splitlines()]
    if asked.sub in ("exec", "attach"):
        out.append(("@", "streams"))
        out.append((" ", asked.streams))
    out.append(("@", "cannot be known"))
    out.append((" ", unknowable(asked)))
    return tuple(DiffLine(sign, text) for sign, text in out)


def _container(asked: Connect) -> str:
    return f"container {asked.container}" if asked.container else "the only container"


def unknowable(asked: Connect) -> str:
    """Return what no card can show about this request."""
    if not asked.upgrade:
        return "What the program behind it does with the request; its answer goes to the client unredacted."
    what = "What is sent through it" if asked.sub in ("portforward", "proxy") else "What is typed in the session"
    return f"{what} cannot be inspected or undone; what comes back goes to the client unredacted."


def kubectl_of_connect(asked: Connect, raw_target: str) -> str:
    """Return the kubectl command for it, "" where there is none."""
    words = ["kubectl", *(["-n", asked.namespace] if asked.namespace else [])]
    inside = ["-c", asked.container] if asked.container else []
    flags = [flag for flag, on in (("-i", asked.stdin), ("-t", asked.tty)) if on]
    match asked.sub:
        case "exec":
            return shlex.join([*words, "exec", *flags, asked.name, *inside, "--", *asked.command])
        case "attach":
            return shlex.join([*words, "attach", *flags, asked.name, *inside])
        case "portforward":
            return shlex.join([*words, "port-forward", f"pod/{asked.name}", *asked.ports]) if asked.ports else ""
        case _:
            return shlex.join(["kubectl", "get", "--raw", raw_target]) if asked.method == "GET" else ""


def impact_of_connect(asked: Connect, live: Obj) -> tuple[Impact, ...]:
    """Return what the session can reach, from the live object."""
    lines: list[Impact] = []
    match asked.sub, asked.kind:
        case "exec" | "attach", _:
            lines.append(Impact("direct", "It acts with the container's rights, files and network."))
            account = at(live, "spec", "serviceAccountName", default="default")
            if at(live, "spec", "automountServiceAccountToken") is not False:
                lines.append(Impact("follows", f"It may use the API as service account {account}."))
        case "portforward", _:
            lines.append(
                Impact("direct", "The client reaches the pod by way of its node, where NetworkPolicies seldom hold.")
            )
        case _, "Node":
            text = "The kubelet answers to it: that can run a command in every pod of the node."
            lines.append(Impact("direct", text))
        case _:
            lines.append(Impact("direct", "The program behind it may act on the request, a GET too."))
    if asked.kind == "Pod" and powerful(live):
        lines.append(Impact("follows", "The pod can act on its node: it is privileged or shares the host."))
    return tuple(lines)


def powerful(live: Obj) -> bool:
    """Say whether a pod is privileged or shares its node's namespaces or files."""
    spec = at(live, "spec", default={})
    if any(spec.get(key) is True for key in ("hostPID", "hostNetwork", "hostIPC")):
        return True
    if any("hostPath" in volume for volume in spec.get("volumes") or [] if isinstance(volume, dict)):
        return True
    return any(at(item, "securityContext", "privileged") is True for item in spec.get("containers") or [])


def container_problem(asked: Connect, live: Obj) -> str:
    """Return why the API server will not find the container, "" when it will."""
    lists = ("containers", "initContainers", "ephemeralContainers")
    names = [str(item.get("name")) for key in lists for item in at(live, "spec", key, default=[])]
    if asked.sub not in ("exec", "attach"):
        return ""
    if asked.container:
        return "" if asked.container in names else f"The pod has no container {asked.container}."
    own = len(at(live, "spec", "containers", default=[]))
    return "" if own == 1 else f"The request names no container and the pod has {own}; the API server refuses that."
