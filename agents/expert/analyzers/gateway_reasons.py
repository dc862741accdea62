"""What the reasons of Gateway API conditions mean, and who has to act, where no field of an object can be blamed.

Source: the reason constants of Gateway API 1.6, of its Inference Extension and of agentgateway. A reason that is not
here is shown as the controller gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REASONS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("Accepted", "NotAllowedByListeners"): (
        "no listener takes routes of this kind from this namespace",
        "Let the owner of the Gateway widen allowedRoutes, or attach the route to a Gateway that takes it",
    ),
    ("Accepted", "NoMatchingListenerHostname"): (
        "none of its host names falls to a listener",
        "Correct the host names of the route, or add a listener for them to the Gateway",
    ),
    ("Accepted", "NoMatchingParent"): (
        "the parent has no listener of that name or port",
        "Correct sectionName and port of the parent reference",
    ),
    ("Accepted", "UnsupportedValue"): (
        "it uses a value that this controller does not support",
        "Change the value that the message names, or use a controller that supports it",
    ),
    ("PartiallyInvalid", "UnsupportedValue"): (
        "some of its rules were dropped or are served as they were before",
        "Correct the rules that the message names",
    ),
    ("Accepted", "IncompatibleFilters"): (
        "its filters cannot be used together",
        "Remove one of the filters, most often URLRewrite beside RequestRedirect",
    ),
    ("Accepted", "InvalidParameters"): (
        "its parameters are not valid",
        "Correct the object that parametersRef (or infrastructure.parametersRef) names",
    ),
    ("Accepted", "Unsupported"): ("the controller does not support it", "Use a class that the controller supports"),
    ("Accepted", "Invalid"): ("it is not valid", "Correct what the message names"),
    ("Accepted", "NotReconciled"): ("no controller has looked at it", "Look at the controller of its class"),
    ("Accepted", "UnsupportedAddress"): (
        "it asks for an address of a kind that is not supported",
        "Remove or change spec.addresses",
    ),
    ("Accepted", "ListenersNotValid"): ("some of its listeners are not valid", "Correct the listeners"),
    ("Accepted", "PortUnavailable"): ("the port is taken or not allowed", "Give the listener another port"),
    ("Accepted", "UnsupportedProtocol"): (
        "the controller does not support the protocol",
        "Use a protocol that the controller supports",
    ),
    ("Accepted", "NoValidCACertificate"): (
        "none of its authorities (CA) can be used",
        "Put a PEM bundle under ca.crt into the ConfigMap that it names",
    ),
    ("Accepted", "TargetNotFound"): ("what it is meant for does not exist", "Correct its targetRefs"),
    ("Accepted", "Conflicted"): (
        "an older policy for the same target wins",
        "Merge the two policies into one, or let them name different targets",
    ),
    ("Accepted", "NotAllowed"): (
        "the Gateway does not take listeners from there",
        "Let the owner of the Gateway set spec.allowedListeners",
    ),
    ("Accepted", "ParentNotAccepted"): ("its Gateway is not accepted", "Mend the Gateway"),
    ("Accepted", "NotSupportedByParent"): (
        "this gateway cannot use an InferencePool as back end",
        "Switch the Inference Extension on in the gateway's controller, or attach to one that has it",
    ),
    ("Accepted", "HTTPRouteNotAccepted"): ("the route that uses it is not accepted", "Mend the HTTPRoute"),
    ("Accepted", "EndpointPickerRefMissing"): (
        "this gateway needs an endpoint picker, and none is named",
        "Deploy an endpoint picker and name its Service in spec.endpointPickerRef",
    ),
    ("Programmed", "NoResources"): ("there is nothing to run it on", "Give the data plane more room"),
    ("Programmed", "AddressNotAssigned"): (
        "no address was given to it",
        "Install or mend what hands out addresses (a cloud controller, or a load balancer for bare metal)",
    ),
    ("Programmed", "AddressNotUsable"): (
        "the address that it asks for cannot be used",
        "Remove or change spec.addresses",
    ),
    ("Programmed", "Invalid"): ("its configuration is not valid", "Correct what the message names"),
    ("ResolvedRefs", "BackendNotFound"): ("a back end does not exist", "Correct backendRefs"),
    ("ResolvedRefs", "InvalidKind"): (
        "it names a kind of object that the controller does not take there",
        "Correct group and kind of the reference, or use a controller that supports the kind",
    ),
    ("ResolvedRefs", "RefNotPermitted"): (
        "it refers into another namespace, which does not allow it",
        "Let the owner of that namespace make a ReferenceGrant",
    ),
    ("ResolvedRefs", "UnsupportedProtocol"): (
        "the controller does not speak the appProtocol of its back end",
        "Correct appProtocol of the Service's port",
    ),
    ("ResolvedRefs", "InvalidCertificateRef"): (
        "its certificate cannot be used",
        "Issue a certificate into a Secret of type kubernetes.io/tls and name it in certificateRefs",
    ),
    ("ResolvedRefs", "InvalidRouteKinds"): (
        "it lists kinds of routes that its protocol does not have",
        "Correct allowedRoutes.kinds",
    ),
    ("ResolvedRefs", "InvalidClientCertificateRef"): (
        "the client certificate for its back ends cannot be used",
        "Name a Secret of type kubernetes.io/tls in spec.tls.backend.clientCertificateRef",
    ),
    ("ResolvedRefs", "InvalidCACertificateRef"): (
        "an authority (CA) that it names does not exist or holds no ca.crt",
        "Put a PEM bundle under ca.crt into the ConfigMap that it names",
    ),
    ("ResolvedRefs", "InvalidCACertificateKind"): (
        "it names an authority (CA) of a kind that is not supported",
        "Use a ConfigMap",
    ),
    ("ResolvedRefs", "ListenersNotResolved"): ("references of its listeners lead to nothing", "Correct the listeners"),
    ("ResolvedRefs", "InvalidExtensionRef"): (
        "its endpoint picker cannot be used",
        "Correct spec.endpointPickerRef, or deploy the endpoint picker",
    ),
    ("Conflicted", "HostnameConflict"): (
        "another listener has the same port, protocol and host name",
        "Give one of the two another host name or port",
    ),
    ("Conflicted", "ProtocolConflict"): (
        "another listener has the same port with another protocol",
        "Give one of the two another port",
    ),
    ("SupportedVersion", "UnsupportedVersion"): (
        "the installed version of the Gateway API is not the one that the controller was made for",
        "Install the version of the Gateway API that the controller supports",
    ),
    ("OverlappingTLSConfig", "OverlappingHostnames"): (
        "host names of its listeners overlap, so that clients may reuse a connection that is not meant for them",
        "Let clients be answered with 421, or separate the host names",
    ),
    ("OverlappingTLSConfig", "OverlappingCertificates"): (
        "a certificate covers host names of several listeners, so that clients may reuse a connection",
        "Use certificates that cover one listener each",
    ),
    ("Attached", "Pending"): ("it is attached to nothing yet", "Correct its targetRefs"),
    ("Attached", "Overridden"): ("another policy wins over it", "Merge the two policies into one"),
    ("Accepted", "PartiallyValid"): ("a part of it is not valid", "Correct what the message names"),
}
"""(condition type, reason): what it means, and what somebody has to do."""


def meaning(kind: str, reason: str) -> str:
    """Return in words what a reason means, "" for one that is not known."""
    return REASONS.get((kind, reason), ("", ""))[0]


def remedy(kind: str, reason: str) -> str:
    """Return what somebody has to do about a reason."""
    return REASONS.get((kind, reason), ("", "Act on what the controller says"))[1]
