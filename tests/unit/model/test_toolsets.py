"""Tools of MCP servers as the model meets them: few, only when looked for, and what they say is evidence like any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.model.definitions import ALL
from agents.model.toolsets import FIND, OFFERED_CHARACTERS
from assistant.domain import event as ev
from assistant.domain.evidence import Citation
from assistant.errors import PilothouseError
from assistant.session.recorder import TurnRecorder

from .scene import calls, thinking

ANSWER = calls(("answer", {"verdict": "healthy", "text": "All is well.", "causes": []}))
POD = "label-printer-7d99b9b8f9-zwc2x"
FINDING = ("find_tools", {"words": "cpu use of pods"})


@dataclass(frozen=True)
class Said:
    ok: bool
    citation: Citation
    notes: tuple[str, ...] = ()


def definition(name: str, about: str = "Shows the use of cpu.") -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"namespace": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


@dataclass
class Scripted:
    """Servers that offer these tools and say this."""

    offers: Sequence[Mapping[str, Any]] = (definition("kube__pods_top"),)
    says: str = f"NAME CPU\n{POD} 1900m"
    ok: bool = True
    notes: tuple[str, ...] = ()
    fails: PilothouseError | None = None
    names: tuple[str, ...] = ("kube",)
    progress: Sequence[tuple[str, float]] = ()
    called: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def approved(self) -> tuple[str, ...]:
        return self.names

    async def search(self, words: str, most: int) -> Sequence[Mapping[str, Any]]:
        return self.offers[:most]

    async def call(
        self, name: str, arguments: Mapping[str, Any], call: str, watch: Callable[[str, float], None]
    ) -> Said:
        self.called.append((name, arguments))
        for text, left in self.progress:
            watch(text, left)
        if self.fails is not None:
            raise self.fails
        return Said(
            self.ok, Citation(f"mcp kube {name.partition('__')[2]} {{}}", self.says[:20], self.says), self.notes
        )


def told(asked: Mapping[str, Any]) -> list[str]:
    return [each["function"]["name"] for each in asked["tools"]]


async def test_a_tool_is_told_of_only_once_it_was_looked_for(tmp_path: Path) -> None:
    servers = Scripted()
    answers = (calls(FINDING), calls(("kube__pods_top", {"namespace": "shipping"})), ANSWER)
    async with thinking(tmp_path, "misspelt-host", *answers, servers=servers) as scene:
        await scene.conclude()
        first, second, third = scene.server.asked
        assert told(first) == [*ALL, FIND]
        assert told(second) == [*ALL, FIND, "kube__pods_top"]
        assert "kube__pods_top" in scene.prompt(1)
        assert servers.called == [("kube__pods_top", {"namespace": "shipping"})]
        assert "1900m" in scene.prompt(2)
        assert told(third) == told(second)
        fact = next(each for each in scene.case.evidence if each.request.startswith("mcp kube "))
        assert f"<<{fact.id}." in scene.prompt(2), "what a server says stands between marks like the cluster's words"
        (call,) = (each for each in scene.case.calls if each.tool == "mcp")
        assert (call.ok, call.request, call.evidence) == (True, "mcp kube pods_top", (fact.id,))


async def test_what_a_tool_said_carries_a_cause(tmp_path: Path) -> None:
    cause: dict[str, Any] = {}
    said: list[tuple[str, dict[str, Any]]] = [("answer", cause), ("kube__pods_top", {}), FINDING]
    async with thinking(tmp_path, "misspelt-host", ANSWER, servers=Scripted()) as scene:

        def think(request: Mapping[str, Any]) -> Any:
            facts = [each.id for each in scene.case.evidence if each.request.startswith("mcp ")]
            evidence = [{"id": name, "quote": f"{POD} 1900m"} for name in facts]
            cause.update(verdict="fault", text="It uses all cpu.", causes=[{
                "kind": "Pod", "name": POD, "summary": "uses all cpu", "confidence": 0.6, "category": "other",
                "evidence": evidence,
            }])  # fmt: skip
            return calls(said.pop())

        scene.server.think = think
        done = await scene.conclude()
        (mine,) = (each for each in done.findings if each.target.name == POD and "cpu" in each.summary)
        assert not mine.unsupported


async def test_without_an_approved_server_the_model_never_hears_of_them(tmp_path: Path) -> None:
    async with thinking(tmp_path, "misspelt-host", calls(FINDING), ANSWER, servers=Scripted(names=())) as scene:
        await scene.conclude()
        assert told(scene.server.asked[0]) == list(ALL)
        assert any("no tool 'find_tools'" in scene.prompt(1) for _ in [0])


async def test_a_tool_that_was_not_found_first_is_not_called_and_may_be_called_so_later(tmp_path: Path) -> None:
    servers, top = Scripted(), calls(("kube__pods_top", {}))
    async with thinking(tmp_path, "misspelt-host", top, calls(FINDING), top, ANSWER, servers=servers) as scene:
        await scene.conclude()
        assert "kube__pods_top was not found yet: look for it with `find_tools` first" in scene.prompt(1)
        assert servers.called == [("kube__pods_top", {})]
        assert "1900m" in scene.prompt(3)


async def test_a_namespace_that_nothing_refers_to_is_not_sent_to_a_server(tmp_path: Path) -> None:
    servers = Scripted()
    orders = calls(
        ("kube__pods_top", {"namespace": "kube-system"}),
        ("kube__pods_top", {"namespaces": ["shipping", "payments"]}),
        ("kube__pods_top", {"query": [{"namespace": "kube-public"}]}),
    )
    async with thinking(tmp_path, "misspelt-host", calls(FINDING), orders, ANSWER, servers=servers) as scene:
        await scene.conclude()
        assert servers.called == []
        assert "nothing refers to kube-system" in scene.prompt(2)


async def test_what_a_server_calls_a_failure_is_evidence_and_said_to_be_one(tmp_path: Path) -> None:
    servers = Scripted(ok=False, says="metrics are not available", notes=("cut after 500 kB of 900",))
    answers = (calls(FINDING), calls(("kube__pods_top", {})), ANSWER)
    async with thinking(tmp_path, "misspelt-host", *answers, servers=servers) as scene:
        await scene.conclude()
        assert "the tool says that it failed" in scene.prompt(2)
        assert "metrics are not available" in scene.prompt(2)
        assert "cut after 500 kB" in scene.prompt(2)


async def test_a_call_that_failed_or_was_not_allowed_is_told_and_not_made_again(tmp_path: Path) -> None:
    servers = Scripted(fails=PilothouseError("The call was not allowed: not now.", "Look for another way."))
    again = calls(("kube__pods_top", {}))
    async with thinking(tmp_path, "misspelt-host", calls(FINDING), again, again, ANSWER, servers=servers) as scene:
        await scene.conclude()
        assert len(servers.called) == 1
        assert "was not allowed: not now" in scene.prompt(2)
        assert "you called it so already" in scene.prompt(3)
        (call,) = (each for each in scene.case.calls if each.tool == "mcp")
        assert not call.ok


async def test_definitions_stay_in_their_room_and_the_latest_search_wins(tmp_path: Path) -> None:
    large = [definition(f"kube__t{n}", "x" * (OFFERED_CHARACTERS // 3)) for n in range(8)]
    servers = Scripted(offers=large)
    async with thinking(tmp_path, "misspelt-host", calls(FINDING), ANSWER, servers=servers) as scene:
        await scene.conclude()
        offered = told(scene.server.asked[1])[len(ALL) + 1 :]
        assert offered == ["kube__t1", "kube__t0"], "what fits best stays"


async def test_a_tool_that_made_room_for_others_can_be_found_again_by_the_same_words(tmp_path: Path) -> None:
    class Rotating(Scripted):
        async def search(self, words: str, most: int) -> Sequence[Mapping[str, Any]]:
            return [definition(f"kube__{words}", "x" * (OFFERED_CHARACTERS * 2 // 3))]

    searches = [calls(("find_tools", {"words": words})) for words in ("pods", "nodes", "pods")]
    servers = Rotating()
    async with thinking(tmp_path, "misspelt-host", *searches, ANSWER, servers=servers) as scene:
        await scene.conclude()
        assert [told(asked)[len(ALL) + 1 :] for asked in scene.server.asked[1:]] == [
            ["kube__pods"], ["kube__nodes"], ["kube__pods"],
        ]  # fmt: skip


async def test_a_server_that_speaks_after_the_turn_was_stopped_is_not_told_of_it(tmp_path: Path) -> None:
    """The watch runs in a task of the connection, which other calls need."""
    watches: list[Callable[[str, float], None]] = []

    class Late(Scripted):
        async def call(
            self, name: str, arguments: Mapping[str, Any], call: str, watch: Callable[[str, float], None]
        ) -> Said:
            watches.append(watch)
            return await super().call(name, arguments, call, watch)

    answers = (calls(FINDING), calls(("kube__pods_top", {})), ANSWER)
    async with thinking(tmp_path, "misspelt-host", *answers, servers=Late()) as scene:
        turn = TurnRecorder(scene.recorder, 100)
        await scene.conclude(turn)
        turn.end()
        watches[0]("still working", 3.0)
        assert not any(isinstance(each.payload, ev.ToolProgressed) for each in scene.recorder.events)


async def test_a_storm_of_progress_is_a_line_a_second(tmp_path: Path) -> None:
    servers = Scripted(progress=[(f"{n} of 1000", 30.0) for n in range(1000)])
    answers = (calls(FINDING), calls(("kube__pods_top", {})), ANSWER)
    async with thinking(tmp_path, "misspelt-host", *answers, servers=servers) as scene:
        await scene.conclude()
        progress = [each.payload for each in scene.recorder.events if isinstance(each.payload, ev.ToolProgressed)]
        assert len(progress) <= 3
        assert progress[0] == ev.ToolProgressed(progress[0].call, "0 of 1000", 30.0)
