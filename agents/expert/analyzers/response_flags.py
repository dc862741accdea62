"""What the response flags of Envoy's access log mean, and what to look at; and the status codes of gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Flag:
    """A response flag: in words, what to do, and a pattern of questions where it may well be meant."""

    means: str
    act: str
    asks: str = ""


FLAGS: Final[Mapping[str, Flag]] = {
    "NR": Flag(
        "no route matches the request",
        "Compare host, path and headers of the request with the routes of the Gateway",
        r"404|not found|route|host|path|reach",
    ),
    "UH": Flag("the back end has no healthy endpoint", "Mend the pods behind it, or correct what selects them"),
    "UF": Flag("no connection to the back end could be made", "Check that the pods listen on the port that is called"),
    "UO": Flag(
        "the circuit breaker is open: too many connections or requests are under way",
        "Raise the limits of the circuit breaker, or let the back end scale",
    ),
    "UT": Flag(
        "the back end did not answer before the timeout of the route",
        "Raise the timeout of the route, or make the back end faster; whole answers of a model take minutes",
    ),
    "URX": Flag(
        "every attempt failed, and no more retries are allowed",
        "Mend what makes the attempts fail; more retries only hide it",
    ),
    "UC": Flag(
        "the back end closed the connection",
        "See that it lives longer than the proxy keeps connections (keep-alive), and that it does not restart",
    ),
    "UR": Flag("the back end reset the stream", "Read the log of the back end at that time"),
    "UPE": Flag(
        "the back end speaks another protocol than the proxy expects",
        "Say with appProtocol at the Service's port what it speaks (kubernetes.io/h2c for gRPC without TLS)",
    ),
    "NC": Flag("the route leads to a back end that the proxy does not know", "Correct the back ends of the route"),
    "LR": Flag("the proxy reset the connection itself", "Read the log of the proxy"),
    "RLSE": Flag("the rate limit service did not answer", "Mend the rate limit service and what it stores limits in"),
    "UAEX": Flag(
        "the external authorisation refused the request",
        "Look at the policy or service that authorises",
        r"40[13]|denied|forbidden|auth",
    ),
    "SI": Flag("the stream was idle for longer than allowed", "Raise the idle timeout of streams"),
    "DT": Flag("the connection or stream reached its longest duration", "Raise the longest duration"),
    "DF": Flag("the name of the back end does not resolve", "Correct the host name of the back end"),
    "NFCF": Flag("the configuration of an extension is missing", "See that the controller of the proxy runs"),
    "OM": Flag("the proxy is short of memory and sheds load", "Give the proxy more memory"),
    "RL": Flag(
        "a rate limit was reached",
        "Raise the limit, or send less; a limit of tokens is charged after the answer",
        r"429|limit|throttl|quota|too many|reject",
    ),
    "FI": Flag("a fault was injected on purpose", "Remove the fault injection from the route", r"fault|inject|test"),
    "DI": Flag("a delay was injected on purpose", "Remove the fault injection from the route", r"delay|slow|inject"),
}
"""Flags that tell of something to act on. DC (the client went away) and DPE are the client's own affair."""
LONG_NAMES: Final[Mapping[str, str]] = {
    "NoRouteFound": "NR",
    "NoHealthyUpstream": "UH",
    "UpstreamConnectionFailure": "UF",
    "UpstreamOverflow": "UO",
    "UpstreamRequestTimeout": "UT",
    "UpstreamRetryLimitExceeded": "URX",
    "UpstreamConnectionTermination": "UC",
    "UpstreamRemoteReset": "UR",
    "UpstreamProtocolError": "UPE",
    "NoClusterFound": "NC",
    "LocalReset": "LR",
    "RateLimited": "RL",
    "RateLimitServiceError": "RLSE",
    "UnauthorizedExternalService": "UAEX",
    "StreamIdleTimeout": "SI",
    "DurationTimeout": "DT",
    "DnsResolutionFailed": "DF",
    "FaultInjected": "FI",
    "DelayInjected": "DI",
}
"""The long form of the flags (%RESPONSE_FLAGS_LONG%)."""
TRANSPORT: Final[tuple[tuple[str, str, str], ...]] = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted", "Name the authority (CA) that signed it"),
    ("WRONG_VERSION_NUMBER", "it is called with TLS and does not speak it", "Call it without TLS, or let it serve TLS"),
    ("CONNECTION_REFUSED", "nobody listens on the port that is called", "Correct the port"),
    ("delayed_connect_error:_111", "nobody listens on the port that is called", "Correct the port"),
    ("delayed_connect_error:_113", "its host cannot be reached", "Check network policies and nodes"),
)
"""Parts of a transport failure, what they mean, and what to do."""
GRPC: Final[Mapping[int, str]] = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
}
GRPC_MEANS: Final[Mapping[str, tuple[str, str]]] = {
    "DEADLINE_EXCEEDED": ("it was not answered in time", "Raise the deadline, or make the server faster"),
    "RESOURCE_EXHAUSTED": (
        "a limit was reached: of requests, or of the size of a message",
        "Raise the limit that the message names",
    ),
    "UNIMPLEMENTED": (
        "the server has no such service or method, or is no gRPC server at all",
        "Compare the versions of client and server, and check that the address leads to the gRPC port",
    ),
    "INTERNAL": ("the server or the protocol broke", "Read the log of the server; check that both sides speak HTTP/2"),
    "UNAVAILABLE": ("the server cannot be reached, or goes away", "See that its pods are ready and its port is right"),
    "UNAUTHENTICATED": ("the credential is missing or not valid", "Renew the credential"),
    "PERMISSION_DENIED": ("the caller may not do that", "Give the caller the right that the message names"),
    "DATA_LOSS": ("data was lost or is damaged", "Read the log of the server"),
}
"""Codes that tell of trouble between caller and server; the others are answers of an application."""
