"""JobSet, TrainJob, LeaderWorkerSet, Volcano, KubeRay, KServe: what keeps them from running, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.causes import scan
from assistant.domain.finding import Role
from assistant.domain.view import Log

from .cases import told
from .objects import NOW, OLD, SOON, Raw, crashed, deployment, event, pod, thing, waiting
from .platforms import Row, condition, made, owned, undecided, verify, well, world

EARLY = "2026-03-01T09:00:00Z"


def pod_of(kind: str, owner: str, name: str, ready: bool = False, labels: Raw | None = None, **status: Any) -> Raw:
    """A pod of a custom object, not ready by default."""
    found = thing(
        "Pod",
        name,
        "lab",
        metadata={"labels": labels or {}},
        spec={"nodeName": "n0", "containers": [{"name": "app", "image": "r/train:1"}]},
        status={
            "phase": "Running" if ready else "Pending",
            "conditions": [condition("Ready", "True" if ready else "False")],
            "containerStatuses": [
                {"name": "app", "ready": ready, "restartCount": 0, "state": {"running": {"startedAt": OLD}}}
            ],
            **status,
        },
    )
    return owned(found, kind, name=owner)


def bad_image(kind: str, owner: str, name: str, labels: Raw | None = None) -> Raw:
    said = 'Failed to pull image "r/train:1": not found'
    return pod_of(kind, owner, name, labels=labels, containerStatuses=[waiting("ErrImagePull", said)])


def jobset(
    *conditions: Raw, jobs: tuple[str, ...] = ("driver", "workers"), status: Raw | None = None, **spec: Any
) -> Raw:
    parts = [{"name": n, "replicas": 1, **spec.pop(f"_{n}", {})} for n in jobs]
    return made(
        "JobSet",
        "pretrain",
        spec={"replicatedJobs": parts, **spec},
        status={"conditions": list(conditions), **(status or {})},
    )


def states(**ready: int) -> Raw:
    return {"replicatedJobsStatus": [{"name": n, "ready": r, "active": 1, "succeeded": 0} for n, r in ready.items()]}


def child(name: str, failed: str = "") -> Raw:
    found = thing("Job", name, "lab", spec={"template": {"spec": {"containers": [{"name": "app"}]}}})
    if failed:
        found["status"] = {"conditions": [condition("Failed", "True", "BackoffLimitExceeded", "limit", failed)]}
    return owned(found, "JobSet", "pretrain")


def lws(*conditions: Raw, ready: int = 0, updated: int = 2, **spec: Any) -> Raw:
    return made(
        "LeaderWorkerSet",
        "vllm",
        spec={"replicas": 2, "leaderWorkerTemplate": {"size": 4}, **spec},
        status={"conditions": list(conditions), "readyReplicas": ready, "updatedReplicas": updated, "replicas": 2},
    )


def group(phase: str, *conditions: Raw, queue: str = "default", **spec: Any) -> Raw:
    return made(
        "PodGroup",
        "pg",
        spec={"minMember": 4, "queue": queue, **spec},
        status={"phase": phase, "conditions": list(conditions)},
    )


def queue(
    name: str = "default", state: str = "Open", capability: Raw | None = None, allocated: Raw | None = None
) -> Raw:
    return made(
        "Queue", name, "", spec={"capability": capability or {}}, status={"state": state, "allocated": allocated or {}}
    )


def volcano_job(phase: str = "Running", **more: Any) -> Raw:
    state = {"phase": phase, **more.pop("state", {})}
    return made("VolcanoJob", "mpi", spec={"queue": "default", **more.pop("spec", {})}, status={"state": state, **more})


def ray_cluster(
    *conditions: Raw, head: str = "ray:2.40.0-gpu", worker: str = "ray:2.40.0-gpu", status: Raw | None = None
) -> Raw:
    def template(image: str) -> Raw:
        return {"template": {"spec": {"containers": [{"name": "ray", "image": f"rayproject/{image}"}]}}}

    return made(
        "RayCluster",
        "rc",
        spec={"headGroupSpec": template(head), "workerGroupSpecs": [{"groupName": "gpu", **template(worker)}]},
        status={"conditions": list(conditions), **(status or {})},
    )


def ray_job(phase: str, reason: str = "", message: str = "", **status: Any) -> Raw:
    told = {"jobDeploymentStatus": phase, "reason": reason, "message": message, "startTime": OLD, **status}
    return made("RayJob", "rj", spec={"entrypoint": "python t.py"}, status=told)


def isvc(*conditions: Raw, failure: tuple[str, str] | None = None, notes: Raw | None = None, **model: Any) -> Raw:
    status: Raw = {"conditions": list(conditions) or [condition("Ready", "False", "PredictorNotReady")]}
    if failure is not None:
        status["modelStatus"] = {
            "transitionStatus": "BlockedByFailedLoad",
            "lastFailureInfo": {"reason": failure[0], "message": failure[1]},
        }
    spec = {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, **model}}}
    return made("InferenceService", "iris", metadata={"annotations": notes or {}}, spec=spec, status=status)


def runtime(name: str = "kserve-sklearn", *formats: str, **spec: Any) -> Raw:
    found = [{"name": f} for f in formats or ("sklearn", "xgboost")]
    return made("ClusterServingRuntime", name, "", spec={"supportedModelFormats": found, **spec})


def llm(*conditions: Raw) -> Raw:
    return made(
        "LLMInferenceService", "chat", spec={"baseRefs": [{"name": "preset"}]}, status={"conditions": list(conditions)}
    )


HEADLESS = "services is forbidden: exceeded quota"
ASK = "why does nothing start or run?"
ROWS: dict[str, Row] = {
    "jobset failed": Row(
        lambda: [
            jobset(condition("Failed", "True", "ReachedMaxRestarts", "reached max restarts"), status={"restarts": 3}),
        ],
        "job",
        "JobSet/pretrain",
        "status.conditions",
        ("ReachedMaxRestarts",),
        "submit it again",
    ),
    "jobset restarts": Row(
        lambda: [
            jobset(status={"restarts": 4, **states(driver=0, workers=0)}, failurePolicy={"maxRestarts": 10}),
        ],
        "job",
        "JobSet/pretrain",
        "status.restarts",
        ("restarted 4 times of 10",),
        "first job",
    ),
    "jobset suspended by hand": Row(
        lambda: [jobset(condition("Suspended", "True", "SuspendedJobs"), suspend=True)],
        "job",
        "JobSet/pretrain",
        "spec.suspend",
        ("suspended",),
        "Resume",
        ASK,
    ),
    "jobset waits in order": Row(
        lambda: [
            jobset(
                condition("StartupPolicyInProgress", "True", "InOrder"),
                status=states(driver=0),
                startupPolicy={"startupPolicyOrder": "InOrder"},
            )
        ],
        "job",
        "JobSet/pretrain",
        "spec.replicatedJobs[0]",
        ("waits in order", "driver"),
        "pods of driver",
    ),
    "jobset waits for what it depends on": Row(
        lambda: [jobset(status=states(driver=0), _workers={"dependsOn": [{"name": "driver", "status": "Ready"}]})],
        "job",
        "JobSet/pretrain",
        "spec.replicatedJobs[0]",
        ("driver is not ready",),
        "pods of driver",
    ),
    "jobset that cannot be made": Row(
        lambda: [jobset(), event("JobSet", "pretrain", "HeadlessServiceCreationFailed", HEADLESS, namespace="lab")],
        "job",
        "JobSet/pretrain",
        "spec.replicatedJobs",
        ("HeadlessServiceCreationFailed", "exceeded quota"),
        "event",
    ),
    "trainjob without a runtime": Row(
        lambda: [
            made(
                "TrainJob",
                "t",
                spec={"runtimeRef": {"name": "torch-distribted", "kind": "ClusterTrainingRuntime"}},
                status={},
            ),
            made("ClusterTrainingRuntime", "torch-distributed", ""),
        ],
        "job",
        "TrainJob/t",
        "spec.runtimeRef.name",
        ("torch-distribted does not exist",),
        "runtimeRef torch-distributed",
    ),
    "trainjob failed": Row(
        lambda: [
            made("TrainJob", "t", status={"conditions": [condition("Failed", "True", "JobsFailed", "jobset failed")]})
        ],
        "job",
        "TrainJob/t",
        "status.conditions",
        ("JobsFailed",),
        "submit it again",
    ),
    "legacy training job, by its condition": Row(
        lambda: [
            made(
                "PyTorchJob", "p", status={"conditions": [condition("Failed", "True", "PyTorchJobFailed", "worker 2")]}
            )
        ],
        "other",
        "PyTorchJob/p",
        "status.conditions[0]",
        ("PyTorchJobFailed", "worker 2"),
        "controller says",
    ),
    "leader is not ready": Row(
        lambda: [
            lws(condition("Available", "False", "GroupsProgressing"), startupPolicy="LeaderReady"),
            pod_of("LeaderWorkerSet", "vllm", "vllm-0", labels={"leaderworkerset.sigs.k8s.io/worker-index": "0"}),
        ],
        "other",
        "LeaderWorkerSet/vllm",
        "spec.startupPolicy",
        ("0 of 2 groups ready", "leader vllm-0 is not ready"),
        "leader vllm-0",
    ),
    "group is made again and again": Row(
        lambda: [
            lws(
                condition("Available", "False", "GroupsProgressing"),
                leaderWorkerTemplate={"size": 4, "restartPolicy": "RecreateGroupOnPodRestart"},
            )
        ],
        "other",
        "LeaderWorkerSet/vllm",
        "status.conditions",
        ("whole group is made again",),
        "a pod of the group",
    ),
    "update held by its partition": Row(
        lambda: [
            lws(
                condition("UpdateInProgress", "True", "GroupsUpdating"),
                condition("Available", "True"),
                ready=2,
                updated=0,
                rolloutStrategy={"rollingUpdateConfiguration": {"partition": 2}},
            )
        ],
        "rollout",
        "LeaderWorkerSet/vllm",
        "partition",
        ("partition is 2",),
        "reach all groups",
        "why is the old version still running in vllm?",
    ),
    "gang does not fit": Row(
        lambda: [
            queue(),
            group(
                "Inqueue", condition("Unschedulable", "True", "NotEnoughResources", "3/4 tasks in gang unschedulable")
            ),
        ],
        "scheduling",
        "PodGroup/pg",
        "spec.minMember",
        ("4 pods at once", "NotEnoughResources", "3/4 tasks"),
        "ask for less",
    ),
    "gang of more than there are": Row(
        lambda: [
            queue(),
            volcano_job("Pending", spec={"minAvailable": 4, "tasks": [{"name": "w", "replicas": 3}]}),
            owned(group("Inqueue", condition("Unschedulable", "True", "NotEnoughTasks", "need 4")), "Job", "mpi"),
        ],
        "scheduling",
        "PodGroup/pg",
        "spec.minMember",
        ("NotEnoughTasks",),
        "start with its 3 pods",
    ),
    "queue can never give as much": Row(
        lambda: [
            queue(capability={"nvidia.com/gpu": "8"}),
            group("Pending", minResources={"nvidia.com/gpu": "16"}),
        ],
        "scheduling",
        "PodGroup/pg",
        "spec.minResources",
        ("never starts", "16 nvidia.com/gpu", "may have 8"),
        "at most 8",
    ),
    "queue is full": Row(
        lambda: [
            queue(capability={"nvidia.com/gpu": "8"}, allocated={"nvidia.com/gpu": "6"}),
            group("Pending", minResources={"nvidia.com/gpu": "4"}),
        ],
        "scheduling",
        "PodGroup/pg",
        "spec.minResources",
        ("of which 6 are given away", "starts when they are free"),
        "Wait",
        ASK,
    ),
    "queue is closed": Row(
        lambda: [queue("research", "Closed"), group("Pending", queue="research")],
        "scheduling",
        "Queue/research",
        "status.state",
        ("Closed",),
        "Open queue research",
    ),
    "queue that is none": Row(
        lambda: [queue("research"), group("Pending", queue="reserch")],
        "scheduling",
        "PodGroup/pg",
        "spec.queue",
        ("reserch, which does not exist",),
        "queue research",
    ),
    "volcano job failed": Row(
        lambda: [volcano_job("Failed", state={"reason": "TaskFailed", "message": "exit 137"}, retryCount=3)],
        "job",
        "Job/mpi",
        "status.state.phase",
        ("Failed after 3 of 3 retries", "TaskFailed"),
        "pods failed",
    ),
    "volcano job aborted": Row(
        lambda: [volcano_job("Aborted")], "job", "Job/mpi", "status.state.phase", ("Aborted",), "resume", ASK
    ),
    "ray head is not ready": Row(
        lambda: [ray_cluster(condition("HeadPodReady", "False", "HeadPodNotFound", "head pod not found"))],
        "other",
        "RayCluster/rc",
        "status.conditions",
        ("no ready head", "HeadPodNotFound"),
        "head pod",
    ),
    "ray pods are refused": Row(
        lambda: [ray_cluster(condition("ReplicaFailure", "True", "FailedCreateHeadPod", "exceeded quota"))],
        "other",
        "RayCluster/rc",
        "status.conditions",
        ("exceeded quota",),
        "refuses its pods",
    ),
    "ray workers of another version": Row(
        lambda: [
            ray_cluster(
                condition("HeadPodReady", "True"),
                condition("RayClusterProvisioned", "False", "RayClusterPodsProvisioning"),
                worker="ray:2.9.3-gpu",
                status={"desiredWorkerReplicas": 2, "readyWorkerReplicas": 0},
            )
        ],
        "other",
        "RayCluster/rc",
        "workerGroupSpecs[0].template.spec.containers[0].image",
        ("Ray 2.9.3", "2.40.0"),
        "rayproject/ray:2.40.0-gpu",
    ),
    "ray workers do not join": Row(
        lambda: [
            ray_cluster(
                condition("HeadPodReady", "True"),
                condition("RayClusterProvisioned", "False", "RayClusterPodsProvisioning"),
                status={"desiredWorkerReplicas": 2, "readyWorkerReplicas": 1},
            )
        ],
        "other",
        "RayCluster/rc",
        "readyWorkerReplicas",
        ("1 of 2 workers",),
        "GCS",
    ),
    "ray job's program failed": Row(
        lambda: [ray_job("Failed", "AppFailed", "ModuleNotFoundError: No module named 'torch'", jobStatus="FAILED")],
        "job",
        "RayJob/rj",
        "spec.entrypoint",
        ("AppFailed", "No module named 'torch'"),
        "submit it again",
    ),
    "ray job ran out of time": Row(
        lambda: [ray_job("Failed", "DeadlineExceeded", "exceeded activeDeadlineSeconds")],
        "job",
        "RayJob/rj",
        "spec.activeDeadlineSeconds",
        ("DeadlineExceeded",),
        "submit it again",
    ),
    "ray job is not valid": Row(
        lambda: [ray_job("ValidationFailed", "ValidationFailed", "shutdownAfterJobFinishes must be set")],
        "job",
        "RayJob/rj",
        "spec",
        ("not valid", "shutdownAfterJobFinishes"),
        "Correct the spec",
    ),
    "ray job hangs at its start": Row(
        lambda: [ray_job("Initializing")],
        "job",
        "RayJob/rj",
        "jobDeploymentStatus",
        ("Initializing for long",),
        "dashboard (8265)",
    ),
    "ray serve application": Row(
        lambda: [
            made(
                "RayService",
                "rs",
                status={
                    "conditions": [condition("Ready", "True")],
                    "pendingServiceStatus": {
                        "applicationStatuses": {"llm": {"status": "DEPLOY_FAILED", "message": "no module"}}
                    },
                },
            )
        ],
        "other",
        "RayService/rs",
        "spec.serveConfigV2",
        ("llm", "DEPLOY_FAILED", "cluster before it keeps serving"),
        "serveConfigV2",
    ),
    "ray service without endpoints": Row(
        lambda: [made("RayService", "rs", status={"conditions": [condition("Ready", "False", "ZeroServeEndpoints")]})],
        "other",
        "RayService/rs",
        "status.conditions",
        ("ZeroServeEndpoints",),
        "RayCluster",
    ),
    "no runtime for the format": Row(
        lambda: [
            isvc(failure=("NoSupportingRuntime", "no runtime found"), modelFormat={"name": "sklern"}),
            runtime(),
        ],
        "other",
        "InferenceService/iris",
        "modelFormat.name",
        ("no runtime for model format sklern", "xgboost"),
        "format sklearn",
    ),
    "runtime that is none": Row(
        lambda: [isvc(failure=("RuntimeNotRecognized", "x"), runtime="kserve-sklern"), runtime()],
        "other",
        "InferenceService/iris",
        "predictor.model.runtime",
        ("kserve-sklern",),
        "Use runtime kserve-sklearn",
    ),
    "runtime that is disabled": Row(
        lambda: [isvc(failure=("RuntimeDisabled", "x"), runtime="kserve-sklearn"), runtime(disabled=True)],
        "other",
        "ClusterServingRuntime/kserve-sklearn",
        "spec.disabled",
        ("disabled",),
        "Enable",
    ),
    "model that is not there": Row(
        lambda: [
            isvc(failure=("ModelLoadFailed", "storage initializer: 404 NoSuchKey"), storageUri="s3://models/iris"),
            bad_image("InferenceService", "iris", "iris-predictor-1"),
        ],
        "other",
        "InferenceService/iris",
        "storageUri",
        ("404 NoSuchKey",),
        "s3://models/iris",
    ),
    "model server is unwell": Row(
        lambda: [isvc(failure=("RuntimeUnhealthy", "CUDA out of memory"))],
        "other",
        "InferenceService/iris",
        "modelStatus",
        ("CUDA out of memory",),
        "its log",
    ),
    "no ingress": Row(
        lambda: [
            isvc(
                condition("PredictorReady", "True"),
                condition("IngressReady", "False", "IngressFailed", "no gateway"),
                condition("Ready", "False", "IngressNotReady"),
            )
        ],
        "other",
        "InferenceService/iris",
        "status.conditions[1]",
        ("IngressReady is False", "no gateway"),
        "controller says",
    ),
    "presets do not combine": Row(
        lambda: [
            llm(
                condition("PresetsCombined", "False", "CombineBaseError", "preset not found"),
                condition("Ready", "False"),
            )
        ],
        "other",
        "LLMInferenceService/chat",
        "spec.baseRefs",
        ("preset not found",),
        "baseRefs",
    ),
    "router's part is told before its sum": Row(
        lambda: [
            llm(
                condition("PresetsCombined", "True"),
                condition("RouterReady", "False", "HTTPRoutesNotReady"),
                condition("HTTPRoutesReady", "False", "NoGateway", "gateway kserve-ingress not found"),
                condition("Ready", "False", "HTTPRoutesNotReady"),
            )
        ],
        "other",
        "LLMInferenceService/chat",
        "status.conditions[2]",
        ("HTTPRoutesReady", "kserve-ingress not found"),
        "controller says",
    ),
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_cause_of_what_does_not_run_is_found(name: str) -> None:
    verify(ROWS[name])


@pytest.mark.parametrize(
    "objects",
    [
        [jobset(condition("Completed", "True", "AllJobsCompleted"))],
        [jobset(status=states(driver=1, workers=1))],
        [jobset(status={"restarts": 3, **states(driver=1, workers=1)})],
        [jobset(condition("Suspended", "True", "SuspendedJobs"), suspend=True)],
        [made("TrainJob", "t", status={"conditions": [condition("Complete", "True", "JobsCompleted")]})],
        [lws(condition("Available", "True"), condition("Progressing", "False"), ready=2)],
        [lws(condition("Available", "False", "GroupsProgressing", since=SOON))],
        [queue(), group("Running", condition("Unschedulable", "True", "NotEnoughResources"))],
        [queue("idle", "Closed")],
        [queue(), group("Inqueue", condition("Unschedulable", "True", "NotEnoughResources", since=NOW))],
        [volcano_job("Running"), queue()],
        [volcano_job("Completed")],
        [ray_cluster(condition("HeadPodReady", "True"), condition("RayClusterProvisioned", "True"))],
        [ray_cluster(condition("HeadPodReady", "False", "ContainersNotReady", since=SOON))],
        [ray_job("Running", jobStatus="RUNNING")],
        [ray_job("Complete", jobStatus="SUCCEEDED")],
        [ray_job("Initializing", startTime=SOON)],
        [made("RayService", "rs", status={"conditions": [condition("Ready", "True")]})],
        [isvc(condition("Ready", "True"), condition("PredictorReady", "True"))],
        [isvc(condition("Ready", "Unknown", "Deploying", since=SOON))],
        [isvc(condition("Ready", "False", "Stopped"), notes={"serving.kserve.io/stop": "true"})],
        [llm(condition("Ready", "True"), condition("ScalingReady", "False", "NotConfigured"))],
        [
            made(
                "PyTorchJob",
                "p",
                status={"conditions": [condition("Succeeded", "True"), condition("Running", "False")]},
            )
        ],
    ],
)
def test_what_runs_has_ended_well_or_is_starting_is_no_fault(objects: list[Raw]) -> None:
    well(*objects)


def test_a_pods_own_cause_explains_what_waits_for_it() -> None:
    for head, kind, name in (
        (ray_cluster(condition("HeadPodReady", "False", "ContainersNotReady")), "RayCluster", "rc"),
        (lws(condition("Available", "False", "GroupsProgressing")), "LeaderWorkerSet", "vllm"),
        (isvc(condition("Ready", "False", "PredictorNotReady")), "InferenceService", "iris"),
    ):
        result = scan(world(head, bad_image(kind, name, f"{name}-0")), "why is it not ready?")
        assert [c.draft.category for c in result.roots] == ["image"], kind
        assert kind in {c.draft.target.kind for c in result.claims if c.role is Role.CONSEQUENCE}


TEMPLATE: Raw = {"spec": {"containers": [{"name": "app", "image": "r/train:1"}]}}
HEADS: list[tuple[Raw, Raw, str]] = [
    (
        made(
            "JobSet",
            "h",
            spec={"replicatedJobs": [{"name": "a"}, {"name": "w", "template": {"spec": {"template": TEMPLATE}}}]},
        ),
        {"jobset.sigs.k8s.io/replicatedjob-name": "w"},
        "spec.replicatedJobs[1].template.spec.template.spec",
    ),
    (
        made("RayCluster", "h", spec={"headGroupSpec": {"template": TEMPLATE}}, status={}),
        {"ray.io/node-type": "head"},
        "spec.headGroupSpec.template.spec",
    ),
    (
        made(
            "RayJob",
            "h",
            spec={"rayClusterSpec": {"workerGroupSpecs": [{"groupName": "g", "template": TEMPLATE}]}},
            status={},
        ),
        {"ray.io/group": "g"},
        "spec.rayClusterSpec.workerGroupSpecs[0].template.spec",
    ),
    (
        made("LeaderWorkerSet", "h", spec={"leaderWorkerTemplate": {"workerTemplate": TEMPLATE}}, status={}),
        {"leaderworkerset.sigs.k8s.io/worker-index": "0"},
        "spec.leaderWorkerTemplate.workerTemplate.spec",
    ),
    (
        made("VolcanoJob", "h", spec={"tasks": [{"name": "t", "template": TEMPLATE}]}),
        {"volcano.sh/task-spec": "t"},
        "spec.tasks[0].template.spec",
    ),
    (
        made("PyTorchJob", "h", spec={"pytorchReplicaSpecs": {"Worker": {"template": TEMPLATE}}}),
        {"training.kubeflow.org/replica-type": "worker"},
        "spec.pytorchReplicaSpecs.Worker.template.spec",
    ),
]


@pytest.mark.parametrize(("head", "labels", "path"), HEADS, ids=[h["_kind"] for h, _, _ in HEADS])
def test_what_is_wrong_in_a_pod_is_mended_in_the_template_it_was_made_from(head: Raw, labels: Raw, path: str) -> None:
    result = scan(world(head, bad_image(head["kind"], "h", "h-0-x", labels)), "why does it not run?")
    [root] = result.roots
    assert (root.draft.category, root.draft.target.kind) == ("image", head["kind"])
    assert root.draft.field.startswith(f"{path}.containers[0]")


def test_a_deployment_that_an_operator_made_is_named_and_its_owner_too() -> None:
    owner = isvc(condition("Ready", "False", "PredictorNotReady"))
    head, owned_set = deployment("iris-predictor", {"name": "app", "image": "r/train:1"})
    box = {"name": "app", "image": "r/train:1", "env": [{"name": "WORKERS", "value": "many"}]}
    head["spec"]["template"]["spec"]["containers"] = [box]
    failing = pod("iris-predictor", containers=[box], statuses=[crashed()])
    owner["metadata"]["namespace"] = "shop"
    log = {("iris-predictor-1-1", "app"): 'ValueError: invalid literal for int() with base 10: "many"'}
    found = world(owner, owned(head, "InferenceService", "iris"), owned_set, failing, logs=log, namespace="shop")
    [root] = scan(found, "why is it not ready?").roots
    assert str(root.draft.target.name) == "iris-predictor" and root.draft.target.kind == "Deployment"
    assert any("InferenceService iris owns it" in f.reason for f in root.draft.fixes if f.action is not None) or all(
        f.action is None for f in root.draft.fixes
    )


def test_the_job_that_failed_first_is_named() -> None:
    head = jobset(condition("Failed", "True", "FailedJobs", "jobset failed due to one or more job failures"))
    result = scan(world(head, child("pretrain-workers-1", SOON), child("pretrain-workers-0", OLD)))
    words = [c.draft.summary for c in result.claims if c.draft.target.kind == "JobSet"]
    assert words and "Job pretrain-workers-0 failed first" in words[0]


def test_a_job_set_in_a_kueue_queue_is_not_called_suspended() -> None:
    held = jobset(condition("Suspended", "True", "SuspendedJobs"), suspend=True)
    held["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "ml"}
    claims = scan(world(held), ASK).claims
    assert [c.draft.category for c in claims] == ["kueue"]
    # Without Kueue nobody but a person has suspended it.
    claims = scan(world(held, absent=("Workload", "LocalQueue", "ClusterQueue")), ASK).claims
    assert [(c.draft.category, c.draft.field) for c in claims] == [("job", "spec.suspend")]


@pytest.mark.parametrize(
    ("line", "word", "fix"),
    [
        ("botocore.exceptions.ClientError: (403) when calling HeadObject: Forbidden", "may not read", "account"),
        ("RuntimeError: Failed to fetch model. No model found in s3://models/iris: NoSuchKey", "does not get", "says"),
    ],
)
def test_a_model_that_is_not_fetched_is_told_by_the_initializers_log(line: str, word: str, fix: str) -> None:
    failed = {
        "name": "storage-initializer",
        "ready": False,
        "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    }
    fetching = pod_of("InferenceService", "iris", "iris-0", initContainerStatuses=[failed], containerStatuses=[])
    fetching["spec"]["initContainers"] = [{"name": "storage-initializer", "image": "kserve/storage"}]
    service = isvc(condition("Ready", "False", "PredictorNotReady"), storageUri="s3://models/iris")
    built = world(service, fetching)
    built.add_log(Log("lab", "iris-0", "storage-initializer", False, f"INFO start\n{line}\n", "GET /log"))
    [root] = scan(built, "why is iris not ready?").roots
    assert (root.draft.target.kind, root.draft.field) == ("InferenceService", "spec.predictor.model.storageUri")
    assert word in root.draft.summary and fix in root.draft.fixes[0].title
    assert line in root.draft.citations[1].quote


def test_pods_of_a_gang_are_told_by_their_group() -> None:
    why = "pod group is not ready, 3 Pending, 4 minAvailable"
    held = [condition("PodScheduled", "False", "Unschedulable", why)]
    waiting_pods = [pod_of("Job", "mpi", f"mpi-w-{i}", conditions=held, containerStatuses=[]) for i in range(3)]
    for one in waiting_pods:
        del one["spec"]["nodeName"]
    unfit = condition("Unschedulable", "True", "NotEnoughResources", "3/3 tasks in gang unschedulable: " + why)
    gang = owned(group("Inqueue", unfit), "Job", "mpi")
    result = scan(world(queue(), volcano_job("Pending"), gang, waiting_pods), ASK)
    assert [c.draft.target.kind for c in result.roots] == ["PodGroup"], told(result)


def test_the_kubectl_line_names_the_api_where_another_one_has_the_kind_too() -> None:
    row = ROWS["gang of more than there are"]
    [root] = scan(world(*row.objects())).roots
    assert "patch jobs.batch.volcano.sh mpi" in root.draft.fixes[0].kubectl


def test_a_ray_cluster_explains_the_job_that_made_it() -> None:
    cluster = owned(ray_cluster(condition("ReplicaFailure", "True", "FailedCreateHeadPod", "quota")), "RayJob", "rj")
    result = scan(world(cluster, ray_job("Initializing")))
    assert [c.draft.target.kind for c in result.roots] == ["RayCluster"]


def test_an_old_status_is_not_diagnosed_from() -> None:
    old = isvc(condition("Ready", "False", "X"), failure=("ModelLoadFailed", "404"))
    old["metadata"]["generation"], old["status"]["observedGeneration"] = 3, 2
    undecided(old, word="has not seen the last change")


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_what_no_operator_has_looked_at_is_undecided(kind: str) -> None:
    undecided(made(kind, "r", spec={}), word="no controller has taken it up")


def test_nothing_is_said_where_none_of_it_is_installed() -> None:
    well(absent=("JobSet", "LeaderWorkerSet", "PodGroup", "Queue", "RayJob", "InferenceService", "TrainJob"))


def test_things_of_long_ago_are_told_alike() -> None:
    head = jobset(condition("Failed", "True", "FailedJobs", "x", EARLY))
    assert len(scan(world(head)).roots) == 1
