"""What must not be called a fault, what must stay undecided, and odd objects that must not break anything."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.expert.causes import scan
from assistant.domain.finding import Role, Verdict
from assistant.domain.view import ClusterView, Knowledge

from .objects import NOW, container, crashed, deployment, event, node, pod, service, thing, view, waiting
from .test_faults import CASES


def healthy() -> list[Any]:
    return [deployment("web", ready=1), pod("web", ready=True), service("web"), node()]


class TestHealthy:
    def test_a_namespace_where_all_is_well_says_what_was_checked(self) -> None:
        result = scan(view(*healthy()), "is everything in order?")
        assert result.verdict is Verdict.HEALTHY
        assert not result.claims
        assert any("1 of 1 pods are ready" in c for c in result.checked)

    def test_probe_failures_of_a_pod_that_is_ready_now_are_history(self) -> None:
        old = event("Pod", "web-1-1", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
        assert scan(view(*healthy(), old)).verdict is Verdict.HEALTHY

    def test_an_error_in_the_log_before_calls_that_work_is_over(self) -> None:
        text = "ERROR cannot connect to web:80: connection refused\n" * 3 + "INFO GET http://web/ -> 200\n" * 8
        assert scan(view(*healthy(), logs={("web-1-1", "app"): text})).verdict is Verdict.HEALTHY

    def test_scary_words_that_break_nothing_are_no_fault(self) -> None:
        text = "WARN deprecated flag\nERROR in error-handling module loaded: 0 errors\npanic button enabled\n"
        assert scan(view(*healthy(), logs={("web-1-1", "app"): text})).verdict is Verdict.HEALTHY

    def test_a_claim_that_waits_for_its_first_consumer_is_as_it_should_be(self) -> None:
        claim = thing("PersistentVolumeClaim", "d", spec={"storageClassName": "late"}, status={"phase": "Pending"})
        late = thing("StorageClass", "late", "", provisioner="x.test/p", volumeBindingMode="WaitForFirstConsumer")
        assert scan(view(*healthy(), claim, late)).verdict is Verdict.HEALTHY

    def test_a_failed_run_of_a_cron_job_is_over_when_a_later_one_completed(self) -> None:
        own = {"ownerReferences": [{"kind": "CronJob", "name": "tidy", "controller": True}]}
        template = {"template": {"spec": {"containers": [container()]}}}
        cron = thing("CronJob", "tidy", spec={"schedule": "* * * * *", "jobTemplate": {"spec": template}})
        bad = thing(
            "Job", "tidy-1", metadata=own, spec=template, status={"conditions": [{"type": "Failed", "status": "True"}]}
        )
        good = thing(
            "Job",
            "tidy-2",
            metadata={**own, "creationTimestamp": NOW},
            spec=template,
            status={"conditions": [{"type": "Complete", "status": "True"}]},
        )
        assert scan(view(*healthy(), cron, bad, good)).verdict is Verdict.HEALTHY

    def test_optional_references_may_be_missing(self) -> None:
        box = container(envFrom=[{"configMapRef": {"name": "gone", "optional": True}}])
        found = view(
            deployment("web", box), pod("web", containers=[box], statuses=[waiting("ContainerCreating")]), node()
        )
        assert all("gone" not in c.draft.summary for c in scan(found).claims)

    def test_trouble_of_another_node_is_not_the_fault_of_this_namespace(self) -> None:
        assert scan(view(*healthy(), node("n2", ready="Unknown"))).verdict is Verdict.HEALTHY


class TestUndecided:
    def test_a_crash_without_a_word_names_what_would_decide(self) -> None:
        result = scan(view(deployment("web"), node(), namespace="shop"))
        assert result.verdict is Verdict.UNDETERMINED
        assert not result.roots
        assert any(c.draft.missing for c in result.claims)

    def test_nothing_wrong_is_not_said_when_pods_may_not_be_read(self) -> None:
        blind = ClusterView("shop")
        blind.know("pods", "shop", Knowledge.FORBIDDEN, "no")
        result = scan(blind)
        assert result.verdict is Verdict.UNDETERMINED
        assert any("pods" in g for g in result.gaps)

    def test_a_complaint_is_not_answered_with_health_when_no_log_could_be_read(self) -> None:
        result = scan(view(*healthy()), "web does not answer since this morning")
        assert result.verdict is Verdict.UNDETERMINED
        assert any("log" in g for g in result.gaps)

    def test_a_log_that_was_read_and_is_empty_was_read(self) -> None:
        seen = view(*healthy(), logs={("web-1-1", "app"): ""})
        assert scan(seen, "web does not answer since this morning").verdict is Verdict.HEALTHY

    def test_a_missing_object_is_not_claimed_when_its_kind_could_not_be_listed(self) -> None:
        box = container(envFrom=[{"configMapRef": {"name": "conf"}}])
        seen = view(deployment("web", box), pod("web", containers=[box], statuses=[crashed()]), node())
        seen.know("configmaps", "", Knowledge.FORBIDDEN, "no")
        seen.know("configmaps", "shop", Knowledge.FORBIDDEN, "no")
        assert all(c.draft.category != "missing-configmap" for c in scan(seen).claims)


class TestGraph:
    def test_what_follows_from_a_cause_is_a_consequence_of_it(self) -> None:
        box = container(image="registry.test/web:9")
        found = view(
            deployment("web", box),
            pod("web", containers=[box], statuses=[waiting("ImagePullBackOff", "not found")], phase="Pending"),
            service("web"),
            node(),
        )
        result = scan(found)
        assert [c.draft.category for c in result.roots] == ["image"]
        follows = [c for c in result.claims if c.role is Role.CONSEQUENCE]
        assert [c.draft.target.kind for c in follows] == ["Service"]
        assert follows[0].rank in result.roots[0].explains

    def test_two_independent_faults_are_two_causes(self) -> None:
        one, two = container(image="registry.test/a:9"), container(image="registry.test/b:9")
        both = [waiting("ImagePullBackOff", "not found")]
        found = view(
            deployment("basket", one),
            pod("basket", containers=[one], statuses=both, phase="Pending"),
            deployment("checkout", two),
            pod("checkout", containers=[two], statuses=both, phase="Pending"),
            node(),
        )
        assert sorted(c.draft.target.name for c in scan(found).roots) == ["basket", "checkout"]
        assert scan(found, "why is checkout down").roots[0].draft.target.name == "checkout"

    def test_the_same_view_always_gives_the_same_answer(self) -> None:
        build = CASES["policy_between_two_workloads"][0]
        first, second = (([(c.draft.identity, c.role, c.explains) for c in scan(build()).claims]) for _ in range(2))
        assert first == second


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.just([None, 3, {"name": 7}]),
)


def spoil(value: Any, draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 24)) == 0:
        return draw(JUNK)
    if isinstance(value, dict):
        return {k: spoil(v, draw) for k, v in value.items() if draw(st.integers(0, 30))}
    if isinstance(value, list):
        return [spoil(v, draw) for v in value]
    return value


@st.composite
def spoiled_views(draw: st.DrawFn) -> ClusterView:
    whole = CASES[draw(st.sampled_from(sorted(CASES)))][0]()
    odd = ClusterView("shop")
    for resource in whole.resources:
        things = whole.all(resource)
        odd.add(
            resource,
            [spoil(copy.deepcopy(dict(t.raw)), draw) for t in things],
            "GET /",
            api_version=things[0].api_version,
            kind=things[0].kind,
        )
    for log in whole.logs:
        odd.add_log(log)
    return odd


@settings(max_examples=150, deadline=None)
@given(spoiled_views())
def test_objects_of_an_odd_form_break_no_analyzer(odd: ClusterView) -> None:
    result = scan(odd, "what is wrong")
    assert not [g for g in result.gaps if "could not judge" in g], result.gaps
