"""Controllers, admission, access and deletion: rollouts, jobs, autoscaling, quotas, webhooks, roles, finalizers."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.domain.view import ClusterView

from .cases import Table, check, check_healthy
from .objects import (
    NOW,
    OLD,
    SOON,
    Raw,
    container,
    deployment,
    event,
    node,
    pod,
    service,
    thing,
    view,
    waiting,
)

case = Table()


def well(name: str = "web", **spec: Any) -> list[Any]:
    return [deployment(name, ready=1, **spec), pod(name, ready=True, **spec), service(name), node()]


def refused(message: str, *objects: Any, **spec: Any) -> ClusterView:
    return view(
        deployment("web", replicas=2, **spec),
        event("ReplicaSet", "web-1", "FailedCreate", f"Error creating: {message}"),
        node(),
        *objects,
    )


QUOTA = thing(
    "ResourceQuota", "compute", spec={"hard": {"pods": "3", "requests.cpu": "1"}}, status={"used": {"pods": "3"}}
)


@case("quota", "ResourceQuota/compute", "pods")
def surge_pod_that_the_quota_refuses() -> ClusterView:
    old, new = (
        deployment("web", replicas=3, ready=3, revision="1"),
        deployment("web", replicas=3, ready=3, revision="2"),
    )
    head = new[0]
    head["status"] |= {"updatedReplicas": 0, "observedGeneration": 2}
    old[1]["status"] = {"readyReplicas": 3, "replicas": 3}
    new[1]["spec"]["replicas"], new[1]["status"] = 1, {"replicas": 0}
    text = (
        'Error creating: pods "web-2-x" is forbidden: exceeded quota: compute, requested: '
        "pods=1, used: pods=3, limited: pods=3"
    )
    return view(
        head,
        old[1],
        new[1],
        [pod("web", i, ready=True) for i in (1, 2, 3)],
        service("web"),
        QUOTA,
        node(),
        event("ReplicaSet", "web-2", "FailedCreate", text),
    )


@case("quota", "ResourceQuota/compute", "requests.cpu")
def quota_that_only_the_condition_tells_of() -> ClusterView:
    found = deployment("web", replicas=2)
    found[0]["status"]["conditions"] = [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": (
                'pods "web-1-x" is forbidden: exceeded quota: compute, requested: requests.cpu=500m, '
                "used: requests.cpu=800m, limited: requests.cpu=1"
            ),
        }
    ]
    return view(found, QUOTA, node())


@case("admission", "Deployment/web", "template")
def policy_that_refuses_the_pods() -> ClusterView:
    return refused(
        "pods \"web-1-x\" is forbidden: ValidatingAdmissionPolicy 'owner.acme.io' with binding "
        "'owner' denied request: pods need the label acme.io/owner"
    )


HOOK = thing("Namespace", "shop", "")


def hooked(message: str, *objects: Any, bundle: str = "") -> ClusterView:
    from assistant.domain.view import Knowledge

    found = refused(
        f'Internal error occurred: failed calling webhook "pods.policy.acme.io": failed to call webhook: {message}',
        *objects,
    )
    config = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "policy", "creationTimestamp": OLD},
        "webhooks": [
            {
                "name": "pods.policy.acme.io",
                "failurePolicy": "Fail",
                "timeoutSeconds": 5,
                "clientConfig": {
                    "caBundle": "x",
                    "service": {"namespace": "shop", "name": "policy", "path": "/validate"},
                },
            }
        ],
    }
    found.add(
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        [config],
        "GET /",
        api_version="admissionregistration.k8s.io/v1",
        kind="ValidatingWebhookConfiguration",
    )
    assert found.knowledge("validatingwebhookconfigurations.admissionregistration.k8s.io") is Knowledge.LISTED
    return found


POST = 'Post "https://policy.shop.svc:443/validate?timeout=5s": '


@case("webhook", "ValidatingWebhookConfiguration/policy", "caBundle")
def webhook_whose_authority_is_not_the_one_that_is_trusted() -> ClusterView:
    return hooked(
        POST + "tls: failed to verify certificate: x509: certificate signed by unknown authority", *well("policy")
    )


@case("webhook", "ValidatingWebhookConfiguration/policy", "timeoutSeconds")
def webhook_that_answers_too_late() -> ClusterView:
    return hooked(POST + "context deadline exceeded", *well("policy"))


@case("service", "Deployment/policy", "spec.replicas")
def webhook_whose_back_end_is_scaled_to_nothing() -> ClusterView:
    return hooked('no endpoints available for service "policy"', deployment("policy", replicas=0), service("policy"))


@case("image", "Deployment/policy", "image")
def webhook_whose_back_end_cannot_start() -> ClusterView:
    box = container(image="r.test/policy:9")
    return hooked(
        'no endpoints available for service "policy"',
        deployment("policy", box),
        pod(
            "policy",
            containers=[box],
            statuses=[waiting("ImagePullBackOff", "r.test/policy:9: not found")],
            phase="Pending",
        ),
        service("policy"),
    )


@case("rollout", "StatefulSet/store", "updateStrategy")
def stateful_set_that_waits_for_its_pods_to_be_deleted() -> ClusterView:
    template = {"metadata": {"labels": {"app": "store"}}, "spec": {"containers": [container()]}}
    head = thing(
        "StatefulSet",
        "store",
        spec={"replicas": 1, "serviceName": "store", "updateStrategy": {"type": "OnDelete"}, "template": template},
        status={"currentRevision": "store-1", "updateRevision": "store-2", "replicas": 1, "readyReplicas": 1},
    )
    return view(head, pod("store", 0, owner_kind="StatefulSet", ready=True), service("store", clusterIP="None"), node())


@case("rollout", "StatefulSet/store", "partition")
def stateful_set_whose_partition_holds_the_release_back() -> ClusterView:
    template = {"metadata": {"labels": {"app": "store"}}, "spec": {"containers": [container()]}}
    head = thing(
        "StatefulSet",
        "store",
        spec={
            "replicas": 2,
            "serviceName": "store",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
            "template": template,
        },
        status={"currentRevision": "store-1", "updateRevision": "store-2", "replicas": 2, "readyReplicas": 2},
    )
    return view(
        head,
        [pod("store", i, owner_kind="StatefulSet", ready=True) for i in (0, 1)],
        service("store", clusterIP="None"),
        node(),
    )


@case("rollout", "Deployment/web", "minReadySeconds")
def rollout_that_waits_an_hour_for_every_pod() -> ClusterView:
    found = deployment("web", replicas=2, ready=2, minReadySeconds=0)
    found[0]["spec"]["minReadySeconds"] = 3600
    found[0]["spec"]["template"]["spec"].pop("minReadySeconds")
    found[0]["status"] |= {"updatedReplicas": 1, "availableReplicas": 1, "unavailableReplicas": 1}
    return view(found, pod("web", 1, ready=True), pod("web", 2, ready=True), service("web"), node())


@case("rollout", "Deployment/exporter", "spec.replicas", "The order exporter has not sent anything since Friday")
def worker_that_is_scaled_to_nothing() -> ClusterView:
    return view(*well(), deployment("exporter", replicas=0))


def job(name: str, *containers: Raw, failed: Raw | None = None, owner: list[Raw] | None = None, **spec: Any) -> Raw:
    return thing(
        "Job",
        name,
        metadata={"ownerReferences": owner or []},
        spec={
            "backoffLimit": 2,
            "template": {"spec": {"containers": list(containers) or [container()], "restartPolicy": "Never"}},
            **spec,
        },
        status={"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": SOON, **failed}]}
        if failed
        else {},
    )


LIMIT: Raw = {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}


def ended(code: int, reason: str = "Error", name: str = "app") -> Raw:
    return {
        "name": name,
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "reason": reason, "finishedAt": SOON}},
    }


@case("oom", "Job/close", "limits.memory")
def job_that_is_killed_for_memory() -> ClusterView:
    box = container(resources={"limits": {"memory": "64Mi"}})
    run = pod("close", 1, owner_kind="Job", containers=[box], phase="Failed", statuses=[ended(137, "OOMKilled")])
    return view(job("close", box, failed=LIMIT), run, node())


@case("missing-secret", "Job/close", "secretKeyRef")
def job_that_waits_for_a_secret() -> ClusterView:
    box = container(env=[{"name": "T", "valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}}])
    run = pod(
        "close",
        1,
        owner_kind="Job",
        containers=[box],
        phase="Pending",
        statuses=[waiting("CreateContainerConfigError", 'secret "token" not found')],
    )
    return view(job("close", box), run, node())


@case("dns", "Job/close", "env")
def job_that_calls_a_name_nobody_has() -> ClusterView:
    box = container(env=[{"name": "API", "value": "http://ledgr/x"}])
    run = pod("close", 1, owner_kind="Job", containers=[box], phase="Failed", statuses=[ended(1)])
    return view(
        job("close", box, failed=LIMIT),
        run,
        *well("ledger"),
        logs={
            (
                "close-1",
                "app",
            ): (
                "requests.exceptions.ConnectionError: HTTPConnectionPool(host='ledgr', port=80): Max "
                "retries exceeded (Caused by NameResolutionError(\"Failed to resolve 'ledgr' ([Errno -2] "
                'Name or service not known)"))'
            )
        },
    )


CRON = [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "controller": True}]


def cron(*containers: Raw, **spec: Any) -> Raw:
    template = {
        "spec": {"template": {"spec": {"containers": list(containers) or [container()], "restartPolicy": "Never"}}}
    }
    return thing("CronJob", "nightly", spec={"schedule": "0 2 * * *", "jobTemplate": template, **spec})


@case("job", "CronJob/nightly", "env[MODE]")
def cron_job_whose_runs_refuse_a_setting() -> ClusterView:
    box = container(env=[{"name": "MODE", "value": "nihgtly"}])
    run = pod("nightly-1", 1, owner_kind="Job", containers=[box], phase="Failed", statuses=[ended(2)])
    return view(
        cron(box),
        job("nightly-1", box, failed=LIMIT, owner=CRON),
        run,
        node(),
        logs={("nightly-1-1", "app"): "FATAL unknown MODE=nihgtly (need MODE=nightly)"},
    )


@case("job", "CronJob/nightly", "schedule")
def cron_job_of_a_day_that_never_comes() -> ClusterView:
    return view(*well(), cron(schedule="0 2 31 2 *"))


@case("job", "CronJob/nightly", "startingDeadlineSeconds")
def cron_job_that_has_no_time_to_start() -> ClusterView:
    return view(*well(), cron(schedule="*/5 * * * *", startingDeadlineSeconds=5))


@case("job", "CronJob/nightly", "concurrencyPolicy")
def cron_job_that_waits_for_a_run_that_hangs() -> ClusterView:
    made = cron(concurrencyPolicy="Forbid")
    made["status"] = {"active": [{"kind": "Job", "name": "nightly-1"}]}
    running = job("nightly-1", owner=CRON)
    running["status"] = {"active": 1, "startTime": OLD}
    return view(
        made,
        running,
        pod("nightly-1", 1, owner_kind="Job", ready=True),
        node(),
        event(
            "CronJob",
            "nightly",
            "JobAlreadyActive",
            "Not starting job because prior execution is running and concurrency policy is Forbid",
            "Normal",
        ),
    )


@case("job", "Job/close", "parallelism")
def job_that_may_run_no_pod() -> ClusterView:
    return view(*well(), job("close", parallelism=0))


def scaler(conditions: list[Raw], **spec: Any) -> Raw:
    return thing(
        "HorizontalPodAutoscaler",
        "web",
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 4,
            **spec,
        },
        status={"currentReplicas": 4, "conditions": conditions},
    )


@case(
    "autoscaling", "HorizontalPodAutoscaler/web", "maxReplicas", "the web shop is slow and does not scale any further"
)
def autoscaler_at_its_limit() -> ClusterView:
    return view(
        *well(),
        scaler(
            [
                {"type": "ScalingActive", "status": "True"},
                {
                    "type": "ScalingLimited",
                    "status": "True",
                    "reason": "TooManyReplicas",
                    "message": "the desired replica count is more than the maximum replica count",
                },
            ]
        ),
    )


@case("autoscaling", "HorizontalPodAutoscaler/web", "scaleTargetRef")
def autoscaler_of_something_that_does_not_exist() -> ClusterView:
    bad = {
        "type": "AbleToScale",
        "status": "False",
        "reason": "FailedGetScale",
        "message": 'the HPA controller was unable to get the target\'s current scale: deployments.apps "wbe" not found',
    }
    return view(*well(), scaler([bad], scaleTargetRef={"kind": "Deployment", "name": "wbe"}))


@case("autoscaling", "HorizontalPodAutoscaler/web", "maxReplicas", "web does not scale under load")
def autoscaler_that_may_not_move() -> ClusterView:
    return view(
        *well(),
        scaler(
            [
                {"type": "ScalingActive", "status": "True"},
                {"type": "ScalingLimited", "status": "True", "reason": "TooFewReplicas"},
            ],
            minReplicas=4,
        ),
    )


@case("disruption", "PodDisruptionBudget/web", "maxUnavailable", "the drain hangs")
def budget_that_lets_nobody_go() -> ClusterView:
    return view(
        *well(),
        thing(
            "PodDisruptionBudget",
            "web",
            spec={"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}},
            status={"disruptionsAllowed": 0, "expectedPods": 1, "currentHealthy": 1, "desiredHealthy": 1},
        ),
    )


@case("disruption", "PodDisruptionBudget/web-b", "selector", "evicting the web pods is refused during the drain")
def two_budgets_for_the_same_pods() -> ClusterView:
    def budget(name: str) -> Raw:
        return thing(
            "PodDisruptionBudget",
            name,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
            status={"disruptionsAllowed": 1, "expectedPods": 2, "currentHealthy": 2, "desiredHealthy": 1},
        )

    return view(*well(), budget("web-a"), budget("web-b"))


def denied(line: str, *objects: Any, account: str = "robot") -> ClusterView:
    return view(
        deployment("sync", ready=1, serviceAccountName=account),
        pod("sync", ready=True, serviceAccountName=account),
        thing("ServiceAccount", "robot"),
        node(),
        *objects,
        logs={("sync-1-1", "app"): f"{line}\n" * 6},
    )


def no(
    verb: str, resource: str, group: str = "", account: str = "robot", where: str = 'in the namespace "shop"'
) -> str:
    return (
        f'E0101 sync] {resource} is forbidden: User "system:serviceaccount:shop:{account}" cannot '
        f'{verb} resource "{resource}" in API group "{group}" {where}'
    )


def role(*rules: Raw) -> Raw:
    return thing("Role", "reader", rules=list(rules))


def binding(subject: Raw, name: str = "reader", kind: str = "Role") -> Raw:
    return thing(
        "RoleBinding", "reader", roleRef={"kind": kind, "name": name}, subjects=[{"kind": "ServiceAccount", **subject}]
    )


PODS: Raw = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
ROBOT: Raw = {"name": "robot", "namespace": "shop"}


@case("rbac", "RoleBinding/reader", "subjects")
def binding_whose_subject_is_misspelt() -> ClusterView:
    return denied(no("list", "pods"), role(PODS), binding({"name": "robbot", "namespace": "shop"}))


@case("rbac", "RoleBinding/reader", "subjects")
def binding_whose_subject_is_in_another_namespace() -> ClusterView:
    return denied(no("list", "pods"), role(PODS), binding({"name": "robot", "namespace": "default"}))


@case("rbac", "RoleBinding/reader", "roleRef")
def binding_of_a_role_that_does_not_exist() -> ClusterView:
    return denied(no("list", "pods"), role(PODS), binding(ROBOT, "raeder"))


@case("rbac", "Role/reader", "verbs")
def role_without_the_verb() -> ClusterView:
    return denied(no("patch", "pods"), role(PODS), binding(ROBOT))


@case("rbac", "Role/reader", "apiGroups")
def role_that_names_the_wrong_api_group() -> ClusterView:
    return denied(
        no("list", "deployments", "apps"), role({**PODS, "resources": ["pods", "deployments"]}), binding(ROBOT)
    )


@case("rbac", "Role/reader", "resourceNames")
def role_that_is_limited_to_names() -> ClusterView:
    return denied(no("list", "pods"), role({**PODS, "resourceNames": ["a"]}), binding(ROBOT))


@case("rbac", "Deployment/sync", "serviceAccountName")
def pods_that_use_the_default_account() -> ClusterView:
    return denied(no("list", "pods", account="default"), role(PODS), binding(ROBOT), account="default")


@case("rbac", "RoleBinding/reader", "roleRef")
def binding_that_counts_in_one_namespace_only() -> ClusterView:
    wide = thing("ClusterRole", "reader", "", rules=[PODS])
    return denied(no("list", "pods", where="at the cluster scope"), wide, binding(ROBOT, kind="ClusterRole"))


def dying(raw: Raw, *finalizers: str) -> Raw:
    raw["metadata"] |= {"deletionTimestamp": OLD, "finalizers": list(finalizers), "deletionGracePeriodSeconds": 30}
    return raw


@case("finalizer", "Pod/web-1-1", "finalizers")
def pod_that_a_finalizer_keeps() -> ClusterView:
    return view(*well("api"), deployment("web", replicas=0), dying(pod("web", ready=True), "example.com/cleanup"))


@case("finalizer", "APIService/v1beta1.metrics.k8s.io", "conditions")
def namespace_that_an_api_keeps_from_ending() -> ClusterView:
    text = (
        "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of "
        "server APIs: metrics.k8s.io/v1beta1: stale GroupVersion discovery: "
        "metrics.k8s.io/v1beta1"
    )
    home = thing(
        "Namespace",
        "shop",
        "",
        status={
            "phase": "Terminating",
            "conditions": [
                {
                    "type": "NamespaceDeletionDiscoveryFailure",
                    "status": "True",
                    "reason": "DiscoveryFailed",
                    "message": text,
                }
            ],
        },
    )
    home["metadata"]["deletionTimestamp"] = OLD
    found = view(home, node())
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "status": {
            "conditions": [
                {
                    "type": "Available",
                    "status": "False",
                    "reason": "MissingEndpoints",
                    "message": "endpoints for service/metrics-server in kube-system have no addresses",
                }
            ]
        },
    }
    found.add(
        "apiservices.apiregistration.k8s.io", [api], "GET /", api_version="apiregistration.k8s.io/v1", kind="APIService"
    )
    return found


@case("statefulset", "StatefulSet/store", "serviceName")
def stateful_set_whose_service_does_not_exist() -> ClusterView:
    template = {"metadata": {"labels": {"app": "store"}}, "spec": {"containers": [container()]}}
    head = thing(
        "StatefulSet",
        "store",
        spec={"replicas": 2, "serviceName": "store-headless", "podManagementPolicy": "Parallel", "template": template},
    )
    log = "ERROR lookup store-1.store-headless.shop.svc.cluster.local: no such host\n" * 5
    pods = [pod("store", i, owner_kind="StatefulSet") for i in (0, 1)]
    return view(
        head, pods, service("store", clusterIP="None"), node(), logs={("store-0", "app"): log, ("store-1", "app"): log}
    )


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


@pytest.mark.parametrize(
    "build", [worker_that_is_scaled_to_nothing, autoscaler_that_may_not_move, two_budgets_for_the_same_pods]
)
def test_what_may_be_meant_is_no_fault_for_those_who_do_not_ask(build: Any) -> None:
    check_healthy(build)


def test_a_denial_before_good_work_is_history() -> None:
    log = no("list", "pods") + "\n" + "I0101 synced 4 pods\n" * 30
    check_healthy(
        lambda: view(deployment("sync", ready=1), pod("sync", ready=True), node(), logs={("sync-1-1", "app"): log})
    )


def test_a_refusal_of_before_the_quota_was_raised_is_history() -> None:
    old = event(
        "ReplicaSet",
        "web-1",
        "FailedCreate",
        "Error creating: pods is forbidden: exceeded quota: compute, requested: pods=1, used: pods=3, limited: pods=3",
    )
    check_healthy(lambda: view(*well(), old, thing("ResourceQuota", "compute", spec={"hard": {"pods": "9"}})))


def test_a_cron_job_of_the_leap_day_is_rare_and_right() -> None:
    made = cron(schedule="0 2 29 2 *")
    made["metadata"]["creationTimestamp"] = NOW
    check_healthy(lambda: view(*well(), made))


def test_a_cron_job_whose_last_run_is_under_way_is_no_fault() -> None:
    made = cron(concurrencyPolicy="Forbid")
    made["status"] = {"active": [{"kind": "Job", "name": "nightly-1"}]}
    running = job("nightly-1", owner=CRON)
    running["status"] = {"active": 1, "startTime": NOW}
    check_healthy(lambda: view(made, running, pod("nightly-1", 1, owner_kind="Job", ready=True), node()))
