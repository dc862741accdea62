"""What a change takes away: who is said to do it, how it is told, which command does the same, how risky it is."""

from __future__ import annotations

import copy
import json
import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.domain.action import Action
from assistant.domain.proposal import LineOrigin
from assistant.domain.target import Target
from assistant.gate.title import title_of
from assistant.policy.api_path import read_path
from assistant.policy.diff import MISSING, Change, booked, walk
from assistant.policy.kubectl import kubectl_line
from assistant.policy.loss import list_losses, template_losses
from assistant.policy.origin import in_effect, merged_by_server, told_apart
from assistant.policy.patch import MERGE, merged
from assistant.policy.summary import each, place_of, summary

OURS, SERVER = LineOrigin.OURS, LineOrigin.SERVER
WEB = Target("apps/v1", "Deployment", "shop", "web")
WEB_PATH = "/apis/apps/v1/namespaces/shop/deployments/web"
INSIDE = ("spec", "template", "spec", "containers", "[name=web]")

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "image": st.sampled_from(["web:1", "web:2", "other/web:2"]),
    "env": st.lists(st.sampled_from("ABC"), unique=True, max_size=3).flatmap(
        lambda names: st.tuples(*[st.sampled_from("12") for _ in names]).map(
            lambda values: [{"name": n, "value": v} for n, v in zip(names, values, strict=True)]
        )
    ),
    "ports": st.lists(st.sampled_from([80, 81]), unique=True, max_size=2).map(
        lambda ports: [{"containerPort": port} for port in ports]
    ),
    "resources": st.fixed_dictionaries(
        {},
        optional={
            "limits": st.fixed_dictionaries({}, optional={"memory": st.sampled_from(["1Gi", "2Gi"])}),
            "requests": st.fixed_dictionaries({}, optional={"cpu": st.sampled_from(["1", "2"])}),
        },
    ),
    "readinessProbe": st.sampled_from([{"exec": {"command": ["a"]}}, {"tcpSocket": {"port": 80}}]),
    "args": st.lists(st.sampled_from(["-a", "-b"]), max_size=2),
    "imagePullPolicy": st.sampled_from(["Always", "Never"]),
}
containers = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["web", "log"])}, optional=FIELDS),
    unique_by=lambda item: item["name"],
    min_size=1,
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "paused": st.booleans(),
        "template": st.fixed_dictionaries({"spec": st.fixed_dictionaries({"containers": containers})}),
    },
)
labels = st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["a", "b"]))
deployments = st.builds(
    lambda spec, marks: {"kind": "Deployment", "metadata": {"name": "web", "labels": marks}, "spec": spec},
    specs,
    labels,
)
patches = st.fixed_dictionaries(
    {},
    optional={
        "spec": specs | st.just({"replicas": None}),
        "metadata": st.fixed_dictionaries(
            {"labels": st.dictionaries(st.sampled_from(["team"]), st.sampled_from("ab"))}
        ),
    },
)


def said_away(title: str) -> int:
    """How many things a title counts without naming them."""
    return sum(int(number) for number in re.findall(r"(\d+) (?:more|fields? changed)", title))


class TestOrigin:
    @given(before=deployments, patch=patches)
    def test_a_server_that_adds_nothing_leaves_every_difference_to_us(self, before: Any, patch: Any) -> None:
        after = merged(before, patch)
        found = told_apart(before, after, after)
        assert [(c.path, c.before, c.after) for c in found] == list(walk((), before, after))
        assert {c.origin for c in found} <= {OURS}

    @given(before=deployments, after=deployments)
    def test_a_request_that_asks_for_nothing_has_no_line(self, before: Any, after: Any) -> None:
        assert {c.origin for c in told_apart(before, before, after)} <= {SERVER}

    @given(before=deployments, asked=deployments, after=deployments)
    def test_no_difference_goes_unsaid_and_none_is_made_up(self, before: Any, asked: Any, after: Any) -> None:
        found = told_apart(before, asked, after)
        for path, *_ in walk((), before, after):
            near = [c.path for c in found if c.path[: len(path)] == path or path[: len(c.path)] == c.path]
            assert near or booked(path)
        mine = [c.path for c in found if c.origin is OURS]
        wanted = [path for path, *_ in walk((), before, asked)]
        for path in mine:
            assert any(path[: len(other)] == other or other[: len(path)] == path for other in wanted)

    def test_a_default_that_comes_back_as_it_was_is_no_change(self) -> None:
        before = {"spec": {"containers": [{"name": "web", "image": "web:1", "imagePullPolicy": "Always"}]}}
        asked = {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}
        after = copy.deepcopy(before)
        after["spec"]["containers"][0]["image"] = "web:2"
        found = told_apart(before, asked, after)
        assert found == [Change(("spec", "containers", "[name=web]", "image"), "web:1", "web:2", OURS)]

    def test_a_default_in_the_place_of_our_value_is_both(self) -> None:
        found = told_apart({"spec": {"replicas": 3}}, {"spec": {}}, {"spec": {"replicas": 1}})
        place = ("spec", "replicas")
        assert found == [Change(place, 3, MISSING, OURS), Change(place, MISSING, 1, SERVER)]
        assert summary(in_effect(found[:1], found), WEB) == "scale Deployment shop/web 3 → 1"

    def test_what_admission_takes_away_is_the_servers(self) -> None:
        before = {"spec": {"containers": [{"name": "web", "image": "a", "env": [{"name": "A", "value": "1"}]}]}}
        asked = copy.deepcopy(before)
        asked["spec"]["containers"][0]["image"] = "b"
        after = {"spec": {"containers": [{"name": "web", "image": "b"}]}}
        told = {c.path[-1]: c.origin for c in told_apart(before, asked, after)}
        assert told == {"image": OURS, "env": SERVER}

    def test_a_quantity_in_the_servers_own_form_is_no_change(self) -> None:
        assert told_apart({"memory": "1Gi"}, {"memory": "1024Mi"}, {"memory": "1Gi"}) == []

    def test_another_order_of_a_list_is_said(self) -> None:
        first, second = [{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}]
        assert told_apart({"env": first}, {"env": second}, {"env": second}) == [Change(("env",), first, second, OURS)]


class TestWhatTheServerMerges:
    def test_a_field_that_a_configuration_no_longer_has_is_taken_away_by_it(self) -> None:
        found = [Change((*INSIDE, "env"), [], MISSING, SERVER), Change((*INSIDE, "tty"), MISSING, False, SERVER)]
        assert [c.origin for c in merged_by_server(found, {}, declared=True)] == [OURS, SERVER]
        assert [c.origin for c in merged_by_server(found, {}, declared=False)] == [SERVER, SERVER]

    def test_a_list_with_a_merge_key_keeps_what_is_not_named_and_one_without_does_not(self) -> None:
        pod = {"containers": [{"name": "web", "envFrom": [{"prefix": "a"}]}], "tolerations": [{"key": "a"}]}
        body = {"spec": {"template": {"spec": pod}}}
        kept = Change((*INSIDE, "ports"), [], MISSING, SERVER)
        gone = [
            Change((*INSIDE, "envFrom", "[1]"), {}, MISSING, SERVER),
            Change(("spec", "template", "spec", "tolerations", "[key=b]"), {}, MISSING, SERVER),
        ]
        assert [c.origin for c in merged_by_server([kept, *gone], body, declared=False)] == [SERVER, OURS, OURS]

    def test_a_field_that_the_server_drops_stays_the_servers(self) -> None:
        place = ("spec", "replicsa")
        found = [Change(place, MISSING, 3, OURS), Change(place, 3, MISSING, SERVER)]
        assert merged_by_server(found, {"spec": {"replicsa": 3}}, declared=True) == found


class TestTheTitle:
    @given(before=deployments, patch=patches)
    def test_names_or_counts_everything(self, before: Any, patch: Any) -> None:
        after = merged(before, patch)
        found = told_apart(before, after, after)
        title = summary(found, WEB)
        unsaid = [change for change in each(found) if not mentioned(change, title)]
        assert len(unsaid) <= said_away(title), (title, unsaid)

    @given(before=deployments, after=deployments)
    def test_of_a_whole_object_does_so_too(self, before: Any, after: Any) -> None:
        found = told_apart(before, after, after)
        api = read_path(WEB_PATH)
        assert api is not None
        title = title_of("PUT", api, WEB, found, exists=True)
        unsaid = [change for change in each(found) if not mentioned(change, title)]
        assert len(unsaid) <= said_away(title), (title, unsaid)

    def test_is_not_about_annotations_that_are_bookkeeping(self) -> None:
        notes = {"deployment.kubernetes.io/revision": "3", "team": "shop"}
        before = {"metadata": {"annotations": notes}, "spec": {"replicas": 2}}
        after = {"metadata": {}, "spec": {"replicas": 3}}
        assert summary(told_apart(before, after, after), WEB) == (
            "scale Deployment shop/web 2 → 3, and removes annotation team"
        )

    @given(before=deployments, patch=patches)
    def test_says_that_something_goes_where_something_goes(self, before: Any, patch: Any) -> None:
        after = merged(before, patch)
        found = told_apart(before, after, after)
        # An empty map or list that goes is nothing.
        if any(change.after is MISSING and each([change]) for change in found):
            assert re.search("remove|uncordon|resume", summary(found, WEB))


def mentioned(change: Change, title: str) -> bool:
    place = place_of(change.path)
    words = {
        "replicas": ("replicas", "scale"),
        "paused": ("paused", "pause", "resume"),
        "args": ("arg ", "args"),
        "limits": ("resources", "limit"),
        "requests": ("resources", "request"),
    }
    # A map, list or container that is named whole stands for what is in it.
    names = [part.strip("[]").partition("=")[2] or part for part in change.path]
    inside = names[names.index(place.container) :] if place.container in names else names[-1:]
    if change.path[-1:] == ("template",) or change.path == ("spec",):
        inside = names
    return any(word in title for name in inside for word in words.get(name, (name,)))


class TestTheCommand:
    @given(before=deployments, patch=patches)
    def test_that_is_claimed_has_the_effect_of_the_request(self, before: Any, patch: Any) -> None:
        after = merged(before, patch)
        action = Action("PATCH", WEB_PATH, WEB, (), MERGE, json.dumps(patch))
        line = kubectl_line(action, patch, told_apart(before, after, after))
        words = shlex.split(line)[3:]
        if words[0] == "patch":
            assert words == [
                "patch",
                "deployment",
                "web",
                "--type=merge",
                "-p",
                json.dumps(patch, separators=(",", ":")),
            ]
        else:
            assert settled(run(before, words)) == settled(after), line

    @given(before=deployments, after=deployments)
    def test_of_a_whole_object_is_a_replacement_where_none_does_the_same(self, before: Any, after: Any) -> None:
        action = Action("PUT", WEB_PATH, WEB, (), "application/json", json.dumps(after))
        words = shlex.split(kubectl_line(action, after, told_apart(before, after, after)))[3:]
        if words[0] != "replace":
            assert settled(run(before, words)) == settled(after), words

    def test_for_a_list_that_drops_a_field_is_the_patch(self) -> None:
        before = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:1", "ports": [1]}]}}}}
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
        after = merged(before, patch)
        action = Action("PATCH", WEB_PATH, WEB, (), MERGE, json.dumps(patch))
        line = kubectl_line(action, patch, told_apart(before, after, after))
        body = json.dumps(patch, separators=(",", ":"))
        assert line == f"kubectl -n shop patch deployment web --type=merge -p '{body}'"

    def test_of_a_server_side_apply_takes_its_fields_as_the_request_does(self) -> None:
        query = (("fieldManager", "ops"), ("force", "true"))
        action = Action("PATCH", WEB_PATH, WEB, query, "application/apply-patch+yaml", "{}")
        line = "kubectl -n shop apply --server-side --field-manager=ops --force-conflicts -f -"
        assert kubectl_line(action, {}) == line

    def test_of_an_apply_is_said_only_of_what_an_apply_sends(self) -> None:
        note = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
        patch = {**note, "spec": {"template": {"spec": {"containers": [{"name": "web"}]}}}}
        live: dict[str, Any] = {"metadata": {"annotations": {}}}
        found = told_apart(live, patch, patch, frozenset({("metadata", "annotations")}))
        for kind, verb in ((MERGE, "patch"), ("application/strategic-merge-patch+json", "apply")):
            action = Action("PATCH", WEB_PATH, WEB, (), kind, json.dumps(patch))
            assert kubectl_line(action, patch, found).split()[3] == verb


def run(live: Any, words: list[str]) -> Any:
    """Do what a kubectl command does to an object, for the commands that stand for a change of ours."""
    made = copy.deepcopy(live)
    spec = made.setdefault("spec", {})
    pods = spec.get("template", {}).get("spec", {}).get("containers", [])
    match words:
        case ["scale", _, count]:
            spec["replicas"] = int(count.partition("=")[2])
        case ["rollout", "pause" | "resume" as word, _]:
            spec["paused"] = word == "pause"
        case ["label", _, *pairs]:
            for pair in (p for p in pairs if not p.startswith("--")):
                marks = made["metadata"].setdefault("labels", {})
                marks.pop(pair[:-1], None) if pair.endswith("-") else marks.update([pair.split("=", 1)])
        case ["set", "image", _, pair]:
            name, _, image = pair.partition("=")
            next(c for c in pods if c["name"] == name)["image"] = image
        case ["set", "env", _, "-c", name, *pairs]:
            inside = next(c for c in pods if c["name"] == name)
            env = inside.setdefault("env", [])
            for pair in pairs:
                key, _, value = pair.partition("=")
                key = key.removesuffix("-") if "=" not in pair else key
                old = next((item for item in env if item["name"] == key), None)
                if "=" not in pair:
                    env.remove(old)
                elif old is None:
                    env.append({"name": key, "value": value})
                else:
                    old["value"] = value
        case ["set", "resources", _, "-c", name, *flags]:
            inside = next(c for c in pods if c["name"] == name)
            for flag in flags:
                kind, _, rest = flag[2:].partition("=")
                inside.setdefault("resources", {}).setdefault(kind, {}).update(p.split("=") for p in rest.split(","))
        case _:
            pytest.fail(f"a command that the test does not know: {words}")
    return made


def settled(value: Any) -> Any:
    """An object without what is empty or false: the API server keeps neither apart from nothing."""
    if isinstance(value, dict):
        inner = {key: settled(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in ({}, [], "", None, False)}
    return [settled(item) for item in value] if isinstance(value, list) else value


class TestTheRisk:
    @staticmethod
    def deployment(**fields: Any) -> dict[str, Any]:
        spec = {"containers": [{"name": "web", "image": "web:1", **fields}]}
        return {"kind": "Deployment", "spec": {"template": {"spec": spec}}}

    @pytest.mark.parametrize(
        ("before", "after", "said"),
        [
            ({"ports": [{"containerPort": 80}]}, {}, "web ports"),
            ({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]}, {"env": []}, "web env A, env B"),
            ({"livenessProbe": {"exec": {}}}, {"image": "web:2"}, "web livenessProbe"),
            ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {}}, "web resources.limits"),
            ({"securityContext": {"runAsNonRoot": True}}, {"securityContext": {}}, "web securityContext.runAsNonRoot"),
            ({"volumeMounts": [{"name": "a", "mountPath": "/a"}]}, {}, "web volumeMounts"),
            ({"command": ["sh"]}, {"image": "web:2"}, "web command"),
        ],
    )
    def test_names_what_a_container_loses(self, before: Any, after: Any, said: str) -> None:
        assert template_losses("Deployment", self.deployment(**before), self.deployment(**after)) == said

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({}, {"image": "web:2"}),
            ({"ports": [{"containerPort": 80}]}, {"ports": [{"containerPort": 81}]}),
            ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]}),
            ({"readinessProbe": {"exec": {}}}, {"readinessProbe": {"tcpSocket": {"port": 1}}}),
            ({"resources": {}, "ports": []}, {}),
        ],
    )
    def test_an_exchange_is_no_loss(self, before: Any, after: Any) -> None:
        sides = (self.deployment(**before), self.deployment(**after))
        assert template_losses("Deployment", *sides) == list_losses("Deployment", *sides) == ""

    def test_a_volume_a_container_and_a_pods_security_count(self) -> None:
        whole = self.deployment()
        whole["spec"]["template"]["spec"] |= {"volumes": [{"name": "v"}], "securityContext": {"runAsUser": 1}}
        whole["spec"]["template"]["spec"]["containers"].append({"name": "log"})
        said = template_losses("Deployment", whole, self.deployment())
        assert said == "container log, volumes, securityContext"

    def test_a_custom_resource_with_a_pod_template_counts(self) -> None:
        before, after = self.deployment(env=[{"name": "A"}]), self.deployment()
        assert template_losses("Rollout", before, after) == "web env"

    @pytest.mark.parametrize(
        ("before", "after", "said"),
        [
            ([{"name": "a", "port": 1}, {"name": "b", "port": 2}], [{"name": "a", "port": 1}], "listeners[name=b]"),
            ([{"name": "a", "port": 1, "tls": {"x": 1}}], [{"name": "a", "port": 1}], "listeners[name=a].tls"),
            ([{"match": {}}, {"match": {"a": 1}}], [{"match": {}}], "listeners"),
            ([{"name": "a", "port": 1}], [{"name": "b", "port": 1}], ""),
            (["a", "b"], ["a"], ""),
        ],
    )
    def test_other_lists_with_fewer_entries_or_fields_count(self, before: Any, after: Any, said: str) -> None:
        sides = ({"spec": {"listeners": before}}, {"spec": {"listeners": after}})
        assert list_losses("Gateway", *sides) == said
        assert template_losses("Gateway", *sides) == ""
