"""Names as a pod resolves them, and the pods behind a Service."""

from __future__ import annotations

from assistant.domain.view import ClusterView, Thing

CLUSTER_DOMAIN = "cluster.local"


def resolve(view: ClusterView, namespace: str, host: str) -> tuple[Thing | None, str, bool]:
    """Resolve a name as a pod of `namespace` would: (Service, namespace asked, whether it is a name of the cluster).

    Search path of dnsPolicy ClusterFirst: NS.svc.cluster.local, svc.cluster.local, cluster.local.
    """
    bare = host.rstrip(".").removesuffix(f".{CLUSTER_DOMAIN}").removesuffix(".svc")
    inside = host.rstrip(".").endswith((".svc", f".svc.{CLUSTER_DOMAIN}"))
    parts = bare.split(".")
    tries = [(parts[0], namespace)] if len(parts) == 1 else [(parts[0], parts[1])] if len(parts) == 2 else []
    if len(parts) == 3 and inside:
        tries = [(parts[1], parts[2])]
    for name, place in tries:
        service = view.find("Service", place, name)
        if service is not None:
            return service, place, True
    place = tries[0][1] if tries else ""
    # Two labels may be a host on the internet, unless either of them is known here.
    near = len(parts) == 2 and (
        view.find("Service", namespace, parts[0]) is not None or view.find("Namespace", "", parts[1]) is not None
    )
    return None, place, bool(tries) and (len(parts) == 1 or inside or near)


def backends(view: ClusterView, service: Thing) -> list[Thing]:
    """Return the pods that a Service selects."""
    return view.pods_with(service.namespace, service.map("spec.selector"))


def named(host: str) -> str:
    """Return the name of the Service in a host name; names of single pods have one label in front of it."""
    bare = host.rstrip(".").removesuffix(f".{CLUSTER_DOMAIN}")
    parts = bare.removesuffix(".svc").split(".")
    return parts[1] if len(parts) == 3 and bare.endswith(".svc") else parts[0]
