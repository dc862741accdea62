"""Which analyzers there are, what each needs to be read, and the steps that people see them in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.expert.analyzers import (
    accelerators,
    access,
    admissions,
    agentgateways,
    ai_gateways,
    appsets,
    containers,
    creation,
    custom,
    daemons,
    device_claims,
    device_plugins,
    device_pools,
    device_refusals,
    device_starts,
    devices,
    evictions,
    finalizers,
    gateway_policies,
    gateways,
    gpu_operator,
    hosts,
    inference,
    ingresses,
    jobs,
    jobsets,
    machines,
    model_calls,
    names,
    nodepools,
    nodes,
    proxy_logs,
    queues,
    ray,
    references,
    rollouts,
    routes,
    scaling,
    scheduling,
    services,
    serving,
    stateful,
    storage,
    volcano,
)
from agents.expert.analyzers.gateway_kinds import NEEDED as GATEWAY_KINDS
from agents.expert.draft import Draft
from assistant.domain.view import ClusterView

PODS = (
    "pods",
    "events",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
)
CONFIG = ("configmaps", "secrets", "serviceaccounts", "limitranges")
TRAFFIC = (
    "services",
    "endpointslices.discovery.k8s.io",
    "ingresses.networking.k8s.io",
    "ingressclasses.networking.k8s.io",
    "networkpolicies.networking.k8s.io",
    "namespaces",
)
STORAGE = ("persistentvolumeclaims", "persistentvolumes", "storageclasses.storage.k8s.io")
NODES = ("nodes", "priorityclasses.scheduling.k8s.io")
DEVICES = (
    "deviceclasses.resource.k8s.io",
    "resourceslices.resource.k8s.io",
    "resourceclaims.resource.k8s.io",
    "resourceclaimtemplates.resource.k8s.io",
    "devicetaintrules.resource.k8s.io",
)
GPU_OPERATOR = ("clusterpolicies.nvidia.com", "nvidiadrivers.nvidia.com")
GANGS = ("podgroups.scheduling.k8s.io", "workloads.scheduling.k8s.io")
SCALING = ("horizontalpodautoscalers.autoscaling", "poddisruptionbudgets.policy")
ACCESS = (
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
)
ADMISSION = (
    "resourcequotas",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One step of the plan: its title, its analyzers, the kinds they need, and whether they read logs.

    `elsewhere` are (kind, namespace) pairs that are read whatever the question's namespace is. `custom` asks for every
    kind that is no part of Kubernetes itself.
    """

    id: str
    title: str
    analyzers: tuple[tuple[str, Callable[[ClusterView], list[Draft]]], ...]
    needs: tuple[str, ...]
    logs: bool = False
    elsewhere: tuple[tuple[str, str], ...] = ()
    custom: bool = False


SUBJECTS = (
    Subject(
        "S1",
        "Workloads, their pods and logs",
        (("containers", containers.analyze), ("jobs", jobs.analyze), ("rollouts", rollouts.analyze)),
        (*PODS, *CONFIG, "services", "networkpolicies.networking.k8s.io", *ACCESS, "persistentvolumeclaims", "nodes"),
        logs=True,
    ),
    Subject(
        "S2",
        "Configuration: what pods refer to",
        (("references", references.analyze),),
        (*PODS, *CONFIG, "persistentvolumeclaims"),
    ),
    Subject(
        "S3",
        "Traffic: services, endpoints, policies, calls",
        (
            ("services", services.analyze),
            ("ingresses", ingresses.analyze),
            ("names", names.analyze),
            ("proxy logs", proxy_logs.analyze),
            ("model calls", model_calls.analyze),
        ),
        (*PODS, *CONFIG, *TRAFFIC, *GATEWAY_KINDS),
        logs=True,
    ),
    Subject("S4", "Storage: claims and volumes", (("storage", storage.analyze),), (*PODS, *STORAGE)),
    Subject(
        "S5",
        "Scheduling, nodes and the control plane",
        (
            ("scheduling", scheduling.analyze),
            ("nodes", nodes.analyze),
            ("scaling", scaling.analyze),
            ("stateful", stateful.analyze),
            ("evictions", evictions.analyze),
            ("daemons", daemons.analyze),
            ("devices", devices.analyze),
            ("device-pools", device_pools.analyze),
            ("device-claims", device_claims.analyze),
            ("device-starts", device_starts.analyze),
            ("device-plugins", device_plugins.analyze),
            ("device-refusals", device_refusals.analyze),
            ("accelerators", accelerators.analyze),
            ("gpu-operator", gpu_operator.analyze),
        ),
        (*PODS, *NODES, *SCALING, *DEVICES, *GPU_OPERATOR, *GANGS, "services", "namespaces", "resourcequotas"),
        logs=True,
        elsewhere=(
            ("leases.coordination.k8s.io", "kube-system"),
            ("events", "default"),
            # A device may be held by a claim of any namespace.
            ("resourceclaims.resource.k8s.io", ""),
        ),
    ),
    Subject(
        "S6",
        "Access, quota and admission",
        (("access", access.analyze), ("creation", creation.analyze)),
        (
            *PODS,
            *ACCESS,
            *ADMISSION,
            "serviceaccounts",
            "limitranges",
            "priorityclasses.scheduling.k8s.io",
            "namespaces",
        ),
        logs=True,
    ),
    Subject(
        "S7",
        "Custom resources and deletions",
        (
            ("custom", custom.analyze),
            ("hosts", hosts.analyze),
            ("machines", machines.analyze),
            ("nodepools", nodepools.analyze),
            ("appsets", appsets.analyze),
            ("queues", queues.analyze),
            ("admissions", admissions.analyze),
            ("jobsets", jobsets.analyze),
            ("volcano", volcano.analyze),
            ("ray", ray.analyze),
            ("serving", serving.analyze),
            ("finalizers", finalizers.analyze),
            ("gateways", gateways.analyze),
            ("routes", routes.analyze),
            ("gateway policies", gateway_policies.analyze),
            ("inference", inference.analyze),
            ("AI gateways", ai_gateways.analyze),
            ("agentgateways", agentgateways.analyze),
        ),
        (
            *PODS,
            *DEVICES,
            *GATEWAY_KINDS,
            "namespaces",
            "nodes",
            "services",
            "secrets",
            "configmaps",
            "persistentvolumeclaims",
            "apiservices.apiregistration.k8s.io",
        ),
        custom=True,
    ),
)
"""In the order in which they are shown; they run in parallel and share every read."""
