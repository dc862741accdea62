"""Small objects of dynamic resource allocation: classes, slices, claims and the pods that wait for them."""

from __future__ import annotations

from typing import Any

from .objects import NOW, OLD, Raw, container, deployment, event, node, pod, thing

DRIVER = "gpu.acme.test"
IS_GPU = f'device.driver == "{DRIVER}" && device.attributes["{DRIVER}"].type == "gpu"'
TAIL = " still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
NONE_FREE = "0/2 nodes are available: 2 cannot allocate all claims." + TAIL


def device_class(name: str = DRIVER, *expressions: str, **spec: Any) -> Raw:
    selectors = [{"cel": {"expression": e}} for e in expressions or (IS_GPU,)]
    return thing("DeviceClass", name, "", spec={"selectors": selectors, **spec})


def gpu(name: str = "gpu-0", memory: str = "80Gi", *, taints: list[Raw] | None = None, **attributes: Raw) -> Raw:
    found: Raw = {
        "name": name,
        "attributes": {"type": {"string": "gpu"}, "model": {"string": "A100"}, **attributes},
        "capacity": {"memory": {"value": memory}},
    }
    return found | ({"taints": taints} if taints else {})


def resource_slice(
    node_name: str, *devices: Raw, generation: int = 1, count: int = 1, part: str = "a", **spec: Any
) -> Raw:
    pool = {"name": node_name, "generation": generation, "resourceSliceCount": count}
    return thing(
        "ResourceSlice",
        f"{node_name}-{part}",
        "",
        spec={"driver": DRIVER, "nodeName": node_name, "pool": pool, "devices": list(devices), **spec},
    )


def request(name: str = "gpu", **exactly: Any) -> Raw:
    return {"name": name, "exactly": {"deviceClassName": DRIVER, "allocationMode": "ExactCount", "count": 1, **exactly}}


def selecting(*expressions: str, **fields: Any) -> Raw:
    return request(selectors=[{"cel": {"expression": e}} for e in expressions], **fields)


def template(name: str, *requests: Raw, **devices: Any) -> Raw:
    spec = {"devices": {"requests": list(requests) or [request()], **devices}}
    return thing("ResourceClaimTemplate", name, spec={"spec": spec})


def claim(
    name: str,
    *requests: Raw,
    held: list[tuple[str, str]] | None = None,
    users: tuple[str, ...] = (),
    namespace: str = "shop",
    status: Raw | None = None,
    metadata: Raw | None = None,
    **devices: Any,
) -> Raw:
    """`held` are the (pool, device) pairs that it is allocated."""
    found: Raw = {}
    if held:
        results = [{"request": "gpu", "driver": DRIVER, "pool": p, "device": d} for p, d in held]
        on = {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [held[0][0]]}]}]
        }
        found["allocation"] = {"devices": {"results": results}, "nodeSelector": on, "allocationTimestamp": OLD}
    if users:
        found["reservedFor"] = [{"resource": "pods", "name": u, "uid": f"uid-{u}"} for u in users]
    return thing(
        "ResourceClaim",
        name,
        namespace,
        spec={"devices": {"requests": list(requests) or [request()], **devices}},
        status={**found, **(status or {})},
        metadata={"finalizers": ["resource.kubernetes.io/delete-protection"] * bool(held), **(metadata or {})},
    )


def use(template_name: str = "", claim_name: str = "") -> list[Raw]:
    row: Raw = {"name": "gpu"}
    row |= {"resourceClaimTemplateName": template_name} if template_name else {"resourceClaimName": claim_name}
    return [row]


def box() -> Raw:
    return container(resources={"claims": [{"name": "gpu"}]})


def waiting_pod(
    message: str = NONE_FREE, *, name: str = "train", reason: str = "Unschedulable", **spec: Any
) -> list[Raw]:
    """A Deployment with a pod that the scheduler has no place for."""
    spec.setdefault("resourceClaims", use("one-gpu"))
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": NOW,
    }
    found = pod(
        name,
        containers=[box()],
        phase="Pending",
        node="",
        statuses=[],
        conditions=[condition] if message else [],
        **spec,
    )
    says = [event("Pod", f"{name}-1-1", "FailedScheduling", message)] if message else []
    return [*deployment(name, box(), **spec), found, *says]


def running_pod(name: str, claim_name: str, node_name: str = "n1", **spec: Any) -> list[Raw]:
    """A Deployment with a ready pod that uses a claim."""
    spec.setdefault("resourceClaims", use(claim_name=claim_name))
    found = pod(name, containers=[box()], ready=True, node=node_name, **spec)
    found["metadata"]["uid"] = f"uid-{found['metadata']['name']}"
    return [*deployment(name, box(), ready=1, **spec), found]


def bound_pod(message: str, *, name: str = "train", claim_name: str = "mine", node_name: str = "n1") -> list[Raw]:
    """A Deployment with a pod that has a node and does not start."""
    creating = {"name": "app", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}
    spec: Raw = {"resourceClaims": use(claim_name=claim_name)}
    found = pod(name, containers=[box()], phase="Pending", node=node_name, statuses=[creating], **spec)
    says = event("Pod", f"{name}-1-1", "FailedPrepareDynamicResources", message)
    return [*deployment(name, box(), **spec), found, says]


def two_nodes() -> list[Raw]:
    return [node("n1"), node("n2")]


def cluster(*devices: Raw) -> list[Raw]:
    """Two nodes; the devices, or a whole one, are on the first."""
    return [*two_nodes(), device_class(), resource_slice("n1", *(devices or (gpu(),)))]
