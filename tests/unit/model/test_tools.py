"""The reading tools over a recorded cluster: bounded, in pages, without secrets, and only where the question is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.model.quotes import squeezed
from agents.model.tools import RESULT_CHARACTERS, Result, Toolbox
from assistant.cluster.bundle import PodLog
from assistant.cluster.server import RecordedCluster
from assistant.domain.view import Knowledge
from tests.attacks.secret_forms import CORPUS, leaked, secret_of, text_of

from .scene import Scene, calls, thinking
from .server import Says

NS = "shipping"
POD = "label-printer-7d99b9b8f9-zwc2x"
PODS = ("", "pods")
Plant = Callable[[RecordedCluster], None]


@asynccontextmanager
async def tools(tmp: Path, planted: Plant | None = None, question: str = "") -> AsyncIterator[tuple[Toolbox, Scene]]:
    async with thinking(tmp, "misspelt-host", Says(), planted=planted, question=question) as scene:
        scene.reader.begin(scene.turn.thread, scene.turn.namespace)
        yield Toolbox(scene.reader, scene.turn, scene.recorder), scene


async def read(toolbox: Toolbox, tool: str, **given: Any) -> Result:
    return await toolbox.read(tool, given, toolbox._recorder.new_call())


def copied(server: RecordedCluster, store: tuple[str, str], name: str = "") -> dict[str, Any]:
    items = [i for i in server.cluster.objects.items(store) if i["metadata"].get("namespace") in (NS, None)]
    found = next((i for i in items if i["metadata"]["name"] == name), items[0])
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def put_config(
    server: RecordedCluster, name: str, data: dict[str, str], namespace: str = NS, kind: str = "ConfigMap"
) -> None:
    store = ("", "secrets" if kind == "Secret" else "configmaps")
    meta = {"name": name, "namespace": namespace, "uid": f"u-{name}", "creationTimestamp": "2026-11-23T08:00:00Z"}
    server.cluster.objects.put(store, {"apiVersion": "v1", "kind": kind, "metadata": meta, "data": data})


def put_pods(server: RecordedCluster, *named: tuple[str, str, bool]) -> None:
    """Pods by name, the ReplicaSet that owns them, and whether they are ready."""
    for name, owner, ready in named:
        pod = copied(server, PODS)
        pod["metadata"] |= {
            "name": name, "uid": f"u-{name}", "namespace": NS,
            "labels": {"pod-template-hash": owner.rpartition("-")[2]},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "o", "controller": True}
            ],
        }  # fmt: skip
        state: dict[str, Any] = {"running": {}} if ready else {"waiting": {"reason": "CrashLoopBackOff"}}
        container = pod["spec"]["containers"][0]["name"]
        pod["status"] = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": container, "ready": ready, "restartCount": 0, "state": state}],
        }
        server.cluster.objects.put(PODS, pod)


def logging(text: str) -> Plant:
    class Source:
        def log(self, namespace: str, pod: str, container: str, previous: bool) -> PodLog:
            return PodLog(f"this is {pod}\n{text}\n".encode())

    def plant(server: RecordedCluster) -> None:
        server.cluster.log_source = Source()  # type: ignore[assignment]

    return plant


def put_events(server: RecordedCluster, *messages: str) -> None:
    for number, message in enumerate(messages):
        server.cluster.objects.put(("", "events"), {
            "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "BackOff", "message": message, "count": 3,
            "lastTimestamp": "2026-11-23T08:43:00Z",
            "metadata": {"name": f"e{number}", "namespace": NS, "uid": f"e-{number}"},
            "involvedObject": {"kind": "Pod", "namespace": NS, "name": POD},
        })  # fmt: skip


class TestEveryResult:
    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("get", {"kind": "Pod", "name": POD}), ("get", {"kind": "po", "name": f"{NS}/{POD}", "path": "status"}),
            ("list", {"kind": "Deployment"}), ("list", {"kind": "pods", "match": "printer"}),
            ("logs", {"pod": POD}), ("logs", {"pod": "label-printer", "previous": True}),
            ("events", {"kind": "Deployment", "name": "label-printer"}), ("events", {}),
        ],
    )  # fmt: skip
    async def test_is_evidence_whose_quote_stands_in_its_kept_body(
        self, name: str, given: dict[str, Any], tmp_path: Path
    ) -> None:
        async with tools(tmp_path) as (toolbox, scene):
            result = await read(toolbox, name, **given)
            assert result.ok, result.text
            assert result.evidence
            body = squeezed(scene.store.body(result.evidence.body))
            assert all(squeezed(part) in body for part in result.evidence.quote.split(" … "))
            assert len(result.text) < RESULT_CHARACTERS + 100
            assert result.evidence.id in scene.case.calls[-1].evidence or scene.case.fact(result.evidence.id)

    @pytest.mark.parametrize(
        ("name", "given", "told"),
        [
            ("get", {}, "kind is needed"), ("get", {"kind": "Nonsense", "name": "x"}, "serves no kind 'Nonsense'"),
            ("get", {"kind": "Deployment", "name": "web"}, "There are: label-printer"),
            ("get", {"kind": "ConfigMap", "name": "label-printer-env", "path": "data.NOPE"}, "nothing at 'data.NOPE'"),
            ("logs", {"pod": "nope"}, "no pod 'nope'"),
            ("logs", {"pod": POD, "container": "side"}, "containers: printer"),
            ("logs", {"pod": POD, "find": "absent words"}, "No line"),
            ("more", {"id": "E99"}, "nothing that you read"), ("exec", {"command": "sh"}, "no tool 'exec'"),
        ],
    )  # fmt: skip
    async def test_that_cannot_be_had_says_why_in_a_sentence(
        self, name: str, given: dict[str, Any], told: str, tmp_path: Path
    ) -> None:
        async with tools(tmp_path) as (toolbox, _):
            result = await read(toolbox, name, **given)
            assert not result.ok
            assert told in result.text

    async def test_of_a_kind_that_may_not_be_read_says_so(self, tmp_path: Path) -> None:
        async with tools(tmp_path) as (toolbox, scene):
            await scene.reader.kinds(scene.recorder)
            for resource in ("configmaps", "events"):
                scene.reader._done.add(("list", resource, NS))
                scene.reader.view.know(resource, NS, Knowledge.FORBIDDEN, "role viewer may not list")
            for name, given in (
                ("list", {"kind": "ConfigMap"}), ("get", {"kind": "ConfigMap", "name": "x"}), ("events", {}),
            ):  # fmt: skip
                result = await read(toolbox, name, **given)
                assert not result.ok
                assert "forbidden" in result.text, "and not that there is none"


class TestPages:
    @pytest.mark.parametrize(
        "value",
        ["\n".join(f"setting_{n}: {'v' * (n % 300)}" for n in range(200)), "one line " * 2_000, "x" * 3_500 + "\nend"],
        ids=["lines", "one line", "a line and an end"],
    )
    async def test_follow_each_other_without_gap_or_overlap_until_all_was_shown(
        self, value: str, tmp_path: Path
    ) -> None:
        async with tools(tmp_path, lambda server: put_config(server, "app", {"app.yaml": value})) as (toolbox, _):
            result = await read(toolbox, "get", kind="ConfigMap", name="app", path="data['app.yaml']")
            pages = [result.text]
            assert result.evidence
            for _ in range(50):
                more = await read(toolbox, "more", id=result.evidence.id)
                if not more.ok:
                    assert more.text == f"All of {result.evidence.id} was shown."
                    break
                pages.append(more.text)
            shown = "".join("\n".join(page.partition("\n(")[0] for page in pages).partition(":")[2].split())
            assert shown == "".join(value.split())
            assert all(len(page) < RESULT_CHARACTERS + 60 for page in pages)

    async def test_of_a_list_do_so_too(self, tmp_path: Path) -> None:
        def many(server: RecordedCluster) -> None:
            for n in range(300):
                put_config(server, f"config-{n:03}", {"a": "b"})

        async with tools(tmp_path, many) as (toolbox, _):
            result = await read(toolbox, "list", kind="cm")
            text = result.text
            while (result := await read(toolbox, "more", id=result.evidence.id if result.evidence else "")).ok:
                text += "\n" + result.text
            names = [line.split()[0] for line in text.splitlines() if line.startswith("config-")]
            assert sorted(names) == [f"config-{n:03}" for n in range(300)]
            assert len(set(names)) == 300

    async def test_a_search_in_what_was_read_reads_all_of_it(self, tmp_path: Path) -> None:
        lines = "\n".join(f"ok request {n} served" if n != 150 else "the needle is here" for n in range(180))
        async with tools(tmp_path, logging(lines)) as (toolbox, _):
            result = await read(toolbox, "logs", pod=POD)
            assert result.evidence
            found = await read(toolbox, "more", id=result.evidence.id, find="NEEDLE")
            assert found.text == "the needle is here"
            assert found.evidence == result.evidence, "it is the same evidence"


class TestLogs:
    async def test_by_a_workloads_name_are_of_its_own_pods(self, tmp_path: Path) -> None:
        def plant(server: RecordedCluster) -> None:
            put_pods(server, ("web-5d4f-abcde", "web-5d4f", True), ("web-2-77f9-xyzab", "web-2-77f9", False))
            logging("fine")(server)

        async with tools(tmp_path, plant) as (toolbox, _):
            assert "this is web-5d4f-abcde" in (await read(toolbox, "logs", pod="web")).text
            assert "this is web-2-77f9-xyzab" in (await read(toolbox, "logs", pod="Deployment/web-2")).text
            assert "this is web-5d4f-abcde" in (await read(toolbox, "logs", pod="web-5d4f")).text

    async def test_show_what_stands_around_the_complaint_within_the_budget(self, tmp_path: Path) -> None:
        words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
        busy = [
            f"info {words[n % 10]} {words[n // 10 % 10]} {words[n * 7 % 10]} did well{'!' * (n % 60)}"
            for n in range(190)
        ]
        busy[120] = "ERROR cannot open the ledger"
        async with tools(tmp_path, logging("\n".join(busy))) as (toolbox, _):
            result = await read(toolbox, "logs", pod=POD)
            assert f"122| {busy[120]}" in result.text
            assert f"125| {busy[123]}" in result.text, "the lines after it are the last ones, and not cut off"
            assert "more lines: use more" not in result.text


class TestEvents:
    async def test_that_are_alike_are_one_line_with_their_count(self, tmp_path: Path) -> None:
        plant: Plant = lambda server: put_events(server, "pull failed", "pull failed", "probe failed")  # noqa: E731
        async with tools(tmp_path, plant) as (toolbox, _):
            lines = (await read(toolbox, "events", kind="Pod", name=POD)).text.splitlines()
            assert next(line for line in lines if "pull failed" in line).startswith("x6 ")
            assert len([line for line in lines if "failed" in line and "pull" in line]) == 1

    async def test_of_a_workload_are_those_of_its_pods_too(self, tmp_path: Path) -> None:
        async with tools(tmp_path, lambda server: put_events(server, "pull failed")) as (toolbox, _):
            assert "pull failed" in (await read(toolbox, "events", kind="deploy", name="label-printer")).text


class TestOtherNamespaces:
    async def test_are_refused_until_something_refers_to_them(self, tmp_path: Path) -> None:
        plant: Plant = lambda server: put_config(server, "their", {"a": "b"}, "billing")  # noqa: E731
        async with tools(tmp_path, plant) as (toolbox, _):
            refused = await read(toolbox, "list", kind="ConfigMap", namespace="billing")
            assert not refused.ok
            assert "nothing refers to billing" in refused.text
            toolbox.mentioned += "\nhost db.billing.svc.cluster.local"
            assert (await read(toolbox, "list", kind="ConfigMap", namespace="billing")).ok

    async def test_are_read_where_the_question_names_them_and_six_at_most(self, tmp_path: Path) -> None:
        names = [f"team-{n}" for n in range(8)]
        async with tools(tmp_path, question="Compare " + ", ".join(names)) as (toolbox, _):
            told = [(await read(toolbox, "list", kind="ConfigMap", namespace=name)).text for name in names]
            assert ["6 other namespaces were read" in text for text in told] == [False] * 6 + [True] * 2


class TestSecrets:
    async def test_give_the_names_of_their_keys_and_nothing_else(self, tmp_path: Path) -> None:
        plant: Plant = lambda server: put_config(server, "db", {"password": "c2VjcmV0LXZhbHVl"}, kind="Secret")  # noqa: E731
        async with tools(tmp_path, plant) as (toolbox, scene):
            texts = [
                (await read(toolbox, "list", kind="Secret")).text,
                (await read(toolbox, "get", kind="secret", name="db")).text,
                (await read(toolbox, "get", kind="secret", name="db", path="data")).text,
            ]  # fmt: skip
            assert all("password" in text for text in texts)
            kept = "".join(scene.store.body(each.body) for each in scene.case.evidence)
            assert "c2VjcmV0" not in "".join(texts) + kept

    async def test_that_stand_elsewhere_never_reach_the_model(self, tmp_path: Path) -> None:
        entries = [each for each in CORPUS["must_redact"] if "\n" not in text_of(each)][:12]
        texts = [text_of(each) for each in entries]

        def plant(server: RecordedCluster) -> None:
            put_config(server, "leaky", {f"line{n}": text for n, text in enumerate(texts)})
            pod = copied(server, PODS, POD)
            pod["spec"]["containers"][0]["env"] = [{"name": f"N{n}", "value": text} for n, text in enumerate(texts)]
            server.cluster.objects.put(PODS, pod)
            put_events(server, *texts)
            logging("\n".join(texts))(server)

        reads = calls(
            ("get", {"kind": "ConfigMap", "name": "leaky"}), ("get", {"kind": "Pod", "name": POD, "path": "spec"}),
            ("logs", {"pod": POD}), ("events", {"kind": "Pod", "name": POD}), ("list", {"kind": "ConfigMap"}),
            *(("more", {"id": f"E{n}", "find": "e"}) for n in range(1, 12)), said=" ".join(texts[:2]),
        )  # fmt: skip
        async with thinking(tmp_path, "misspelt-host", reads, Says(), planted=plant) as scene:
            await scene.conclude()
            assert len(scene.server.asked) > 1, "nothing that was read or said keeps the next call from being sent"
            sent = json.dumps(scene.server.asked, ensure_ascii=False)
            assert "leaky" in sent
            assert [e["id"] for e in entries if leaked(sent, secret_of(e))] == []


async def test_twenty_thousand_pods_are_a_page_with_the_unwell_first(tmp_path: Path) -> None:
    def plant(server: RecordedCluster) -> None:
        pod = copied(server, PODS)
        pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        for n in range(20_000):
            meta = {"name": f"p-{n:05}", "namespace": NS, "uid": f"p{n}", "creationTimestamp": "2026-11-23T08:00:00Z"}
            server.cluster.objects.put(PODS, pod | {"metadata": meta})
        sick = {"name": "z-sick", "namespace": NS, "uid": "z", "creationTimestamp": "2026-11-23T08:00:00Z"}
        server.cluster.objects.put(PODS, pod | {"metadata": sick, "status": {"phase": "Pending"}})

    async with tools(tmp_path, plant) as (toolbox, scene):
        result = await read(toolbox, "list", kind="Pod")
        assert "z-sick" in result.text.split("p-00000")[0], "however many are well before it"
        assert len(result.text) < RESULT_CHARACTERS + 60
        assert "20003 Pod" in result.text
        found = await read(toolbox, "list", kind="Pod", match="p-19999")
        assert "p-19999" in found.text
        assert found.evidence and result.evidence
        assert "p-19999" in scene.store.body(found.evidence.body)
