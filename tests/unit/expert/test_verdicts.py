"""What a change is judged by: container runs that began before it say nothing about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agents.expert.causes import Scan, scan
from agents.expert.healing import Judgement, judge, touched_by
from agents.expert.runs import Since, reads_at_start, since
from agents.expert.workload import workloads
from assistant.domain.event import Healing
from assistant.domain.finding import Finding, Role
from assistant.domain.target import Target
from assistant.domain.view import ClusterView

from .objects import Raw, container, crashed, deployment, event, node, pod, service, thing, view
from .test_mind import Log

CHANGED = "2026-03-01T11:59:00Z"
EARLIER, LATER = "2026-03-01T11:57:00Z", "2026-03-01T11:59:30Z"
SETTINGS = Target("v1", "ConfigMap", "shop", "settings")
WEB = Target("apps/v1", "Deployment", "shop", "web")
LACKS = "RuntimeError: web 2.4 requires PRICING_SCHEMA=v3"
BOX = container(envFrom=[{"configMapRef": {"name": "settings"}}])


def run(started: str, code: int = 1) -> Raw:
    return {"exitCode": code, "reason": "Error", "startedAt": started, "finishedAt": started}


def backing_off(started: str) -> Raw:
    return {**crashed(), "lastState": {"terminated": run(started)}}


def running(started: str, last: str = "", *, ready: bool = True, restarts: int = 0) -> Raw:
    ended = {"lastState": {"terminated": run(last)}} if last else {}
    state = {"running": {"startedAt": started}}
    return {"name": "app", "ready": ready, "restartCount": restarts, "state": state, "started": True, **ended}


def settings(changed: str = CHANGED, **data: str) -> Raw:
    fields = [
        {"manager": "kubectl-create", "operation": "Update", "time": "2026-03-01T11:00:00Z"},
        *([{"manager": "pilothouse", "operation": "Update", "time": changed}] if changed else []),
    ]
    return thing("ConfigMap", "settings", data=data, metadata={"managedFields": fields, "resourceVersion": "43"})


def shop(state: Raw, log: str, config: Raw, *objects: Any, box: Raw = BOX) -> ClusterView:
    ready = state["ready"]
    return view(
        deployment("web", box, ready=int(ready)),
        pod("web", containers=[box], statuses=[state], ready=ready),
        node(),
        config,
        *objects,
        logs={("web-1-1", "app"): log},
    )


def finding_of(result: Scan) -> Finding:
    draft = result.roots[0].draft
    return Finding("F1", 1, Role.ROOT_CAUSE, draft.category, draft.target, draft.field, draft.summary, 0.9, ())


def verdict(before: ClusterView, after: ClusterView, change: Since) -> Judgement:
    found = scan(before)
    finding = finding_of(found)
    touched = touched_by(found)[(finding.category, f"{finding.target.kind}/shop/{finding.target.name}")]
    return judge(after, scan(after), finding, touched, change, Log())


def before_it() -> ClusterView:
    return shop(backing_off(EARLIER), LACKS, settings("", OTHER="x"))


def test_a_run_that_began_before_the_change_is_no_verdict_and_the_next_start_decides() -> None:
    after = shop(backing_off(EARLIER), LACKS, settings(PRICING_SCHEMA="v3"))
    said = verdict(before_it(), after, since(after, SETTINGS, "43"))
    assert said.healing is Healing.CANNOT_TELL
    assert "have not started since the change (11:59:00 UTC by the cluster's clock)" in said.text
    assert "5 minutes" in said.text and "as environment" in said.text
    assert said.behind is not None and said.behind.thing.name == "web"
    assert said.evidence


def test_a_run_of_after_the_change_that_still_complains_is_a_verdict() -> None:
    after = shop(backing_off(LATER), "RuntimeError: web 2.4 requires PRICING_SCHEMA=v4", settings(PRICING_SCHEMA="v3"))
    said = verdict(before_it(), after, since(after, SETTINGS, "43"))
    assert said.healing is Healing.NOT_FIXED
    assert said.behind is None


def test_a_run_that_began_in_the_very_second_of_the_change_may_not_have_seen_it() -> None:
    after = shop(backing_off(CHANGED), LACKS, settings(PRICING_SCHEMA="v3"))
    assert verdict(before_it(), after, since(after, SETTINGS, "43")).healing is Healing.CANNOT_TELL


def test_the_crashes_of_before_do_not_count_against_a_container_that_runs_since() -> None:
    state = running(LATER, EARLIER, restarts=6)
    after = shop(state, "listening on :8080", settings(PRICING_SCHEMA="v3"))
    said = verdict(before_it(), after, since(after, SETTINGS, "43"))
    assert said.healing is Healing.FIXED


def test_a_container_that_runs_since_and_is_not_ready_yet_is_not_judged_by_its_crashes() -> None:
    state = running(LATER, EARLIER, ready=False, restarts=6)
    after = shop(state, "starting", settings(PRICING_SCHEMA="v3"))
    said = verdict(before_it(), after, since(after, SETTINGS, "43"))
    assert said.healing is not Healing.FIXED
    assert "PRICING_SCHEMA" not in said.text


def test_a_service_behind_pods_of_before_is_not_held_against_the_change() -> None:
    empty = thing("EndpointSlice", "web-x", metadata={"labels": {"kubernetes.io/service-name": "web"}}, endpoints=[])
    after = shop(backing_off(EARLIER), LACKS, settings(PRICING_SCHEMA="v3"), service("web"), empty)
    assert verdict(before_it(), after, since(after, SETTINGS, "43")).healing is Healing.CANNOT_TELL


def test_objects_that_still_contradict_each_other_are_a_verdict_without_any_run() -> None:
    box = container(envFrom=[{"configMapRef": {"name": "settngs"}}])
    state = {**crashed(), "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "x"}}}
    ill = shop({**state, "lastState": {}}, "", settings(""), box=box)
    after = shop({**state, "lastState": {}}, "", settings(A="b"), box=box)
    assert verdict(ill, after, since(after, SETTINGS, "43")).healing is Healing.NOT_FIXED


def test_pods_of_the_old_template_do_not_judge_the_new_one() -> None:
    after = shop(backing_off(EARLIER), LACKS, settings("", OTHER="x"))
    said = verdict(before_it(), after, Since(WEB, datetime(2026, 3, 1, 11, 59, tzinfo=UTC)))
    assert said.healing is Healing.CANNOT_TELL
    assert "new template" in said.text


def test_a_change_that_no_controller_has_taken_up_is_told_as_that() -> None:
    head, owned = deployment("web", BOX)
    head["metadata"]["generation"], head["status"]["observedGeneration"] = 5, 4
    ill = pod("web", containers=[BOX], statuses=[backing_off(EARLIER)])
    after = view(head, owned, ill, node(), settings(""), logs={("web-1-1", "app"): LACKS})
    said = verdict(before_it(), after, Since(WEB, datetime(2026, 3, 1, 11, 59, tzinfo=UTC)))
    assert said.healing is Healing.CANNOT_TELL
    assert "generation 5, observed 4" in said.text


REFUSED = "ERROR cannot reach http://db:5432: connection refused"


@pytest.mark.parametrize(
    ("added", "healing"), [("", Healing.CANNOT_TELL), (f"\n{REFUSED}\n{REFUSED}", Healing.NOT_FIXED)]
)
def test_a_run_that_goes_on_is_judged_by_what_it_says_after_a_change_around_it(added: str, healing: Healing) -> None:
    def cluster(log: str) -> ClusterView:
        box = container(env=[{"name": "DB", "value": "http://db:5432"}])
        odd = [service("db", {"app": "db"}, port=5433), deployment("db", ready=1), pod("db", ready=True)]
        return shop(running(EARLIER, ready=False), log, settings(""), *odd, box=box)

    before = cluster(f"{REFUSED}\n{REFUSED}")
    change = since(before, Target("v1", "Service", "shop", "db"), "")
    after = cluster(f"{REFUSED}\n{REFUSED}{added}")
    found = scan(before)
    names = {f"{c.draft.target.kind}/{c.draft.target.name}" for c in found.claims}
    assert names & {"Deployment/web", "Service/db"}, names
    finding = finding_of(found)
    assert judge(after, scan(after), finding, frozenset(), change, Log()).healing is healing


def test_a_back_off_that_is_told_again_is_no_new_run() -> None:
    told = event("Pod", "web-1-1", "BackOff", "Back-off restarting failed container app in pod web-1-1")
    after = shop(backing_off(EARLIER), LACKS, settings(PRICING_SCHEMA="v3"), told)
    assert verdict(before_it(), after, since(after, SETTINGS, "43")).healing is Healing.CANNOT_TELL


def test_the_time_of_a_change_is_the_changed_objects_own() -> None:
    after = shop(backing_off(EARLIER), LACKS, settings(PRICING_SCHEMA="v3"))
    assert since(after, SETTINGS, "43").at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)


def test_what_a_controller_writes_into_an_object_later_is_not_the_change() -> None:
    head, owned = deployment("web", BOX)
    fields = [
        {"manager": "pilothouse", "time": CHANGED},
        {"manager": "kube-controller-manager", "time": LATER},
        {"manager": "kube-controller-manager", "subresource": "status", "time": LATER},
    ]
    head["metadata"] |= {"managedFields": fields, "resourceVersion": "44"}
    assert since(view(head, owned), WEB, "43").at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)


def test_without_recorded_writers_the_look_after_the_change_is_its_time() -> None:
    after = shop(backing_off(EARLIER), LACKS, thing("ConfigMap", "settings", data={"PRICING_SCHEMA": "v3"}))
    assert since(after, SETTINGS, "43").at == after.now


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ({"envFrom": [{"configMapRef": {"name": "settings"}}]}, True),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "A"}}}]}, True),
        ({"envFrom": [{"secretRef": {"name": "settings"}}]}, False),
        ({"envFrom": [{"configMapRef": {"name": "other"}}]}, False),
        ({"volumeMounts": [{"name": "settings", "mountPath": "/etc/web"}]}, False),
    ],
)
def test_environment_is_what_a_container_reads_when_it_starts(box: Raw, expected: bool) -> None:
    built = view(deployment("web", container(**box)))
    assert reads_at_start(workloads(built)[0], SETTINGS) is expected
