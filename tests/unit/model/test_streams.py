"""A recorded answer cut anywhere ends in its own conclusion or in the expert's, and never in a third one."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from agents.mind import Conclusion

from .scene import MODEL, Scene, thinking
from .server import DONE, Says, call, event, usage
from .test_long_sessions import HUGE

GIVEN = {
    "verdict": "fault", "text": "Der Name ist falsch geschrieben: „shiping“ [E3].",
    "causes": [{
        "kind": "Service", "namespace": "shipping", "name": "shipping-queue", "category": "dns", "confidence": 0.7,
        "summary": "größer \U0001f600", "field": "metadata.name",
        "evidence": [{"id": "E4", "quote": '"name": "shipping-queue"'}],
    }],
}  # fmt: skip
WHOLE = b"".join([
    event({"role": "assistant", "content": "I see: "}), event({"content": "größer. "}),
    *call("answer", *[json.dumps(GIVEN)[a:b] for a, b in pairwise(range(0, 720, 48))]),
    event({}, "tool_calls"), usage(), DONE,
])  # fmt: skip


def outline(done: Conclusion) -> tuple[object, ...]:
    found = tuple((f.role, str(f.target), f.summary, f.by, f.unsupported) for f in done.findings)
    return done.verdict, done.by, found, done.markdown, tuple(each.id for each in done.remedies)


async def again(scene: Scene, says: Says) -> tuple[object, ...]:
    """Conclude once more over what was read already, in a turn of its own."""
    scene.server.answers[:] = [says]
    done = await scene.mind.conclude(scene.turn, tuple(scene.found), scene.recorder)
    return outline(done)


async def test_cut_at_every_chunk_it_is_the_answer_or_the_experts(tmp_path: Path) -> None:
    chunks = [chunk + b"\n\n" for chunk in WHOLE.split(b"\n\n") if chunk]
    async with thinking(tmp_path, "misspelt-host", Says([WHOLE]), allowance=HUGE) as scene:
        answered = outline(await scene.conclude())
        assert answered[1] == MODEL
        expert = outline(await scene.expert.conclude(scene.turn, tuple(scene.found), scene.recorder))
        seen = []
        for length in range(len(chunks)):
            before = len(scene.case.errors)
            came = await again(scene, Says(chunks[:length]))
            assert came in (answered, (expert[0], "expert", *expert[2:]))
            assert (came == answered) or len(scene.case.errors) == before + 1, "a cut answer is an error of the log"
            seen.append(came == answered)
        assert seen == sorted(seen), "whole from some chunk on"
        assert not any(seen[:-3]), "and that is the one which says that it is whole"


async def test_split_at_every_byte_it_is_the_same(tmp_path: Path) -> None:
    async with thinking(tmp_path, "misspelt-host", Says([WHOLE]), allowance=HUGE) as scene:
        answered = outline(await scene.conclude())
        one_by_one = [WHOLE[n : n + 1] for n in range(len(WHOLE))]
        assert await again(scene, Says(one_by_one)) == answered


async def test_arguments_split_at_every_character_are_the_same(tmp_path: Path) -> None:
    text = json.dumps(GIVEN)
    parts = [
        event({"role": "assistant", "content": ""}),
        *call("answer", *text),
        event({}, "tool_calls"),
        usage(),
        DONE,
    ]
    async with thinking(tmp_path, "misspelt-host", Says(parts), allowance=HUGE) as scene:
        answered = outline(await scene.conclude())
        assert answered[1] == MODEL
        for place in range(0, len(text), 41):
            halves = [*call("answer", text[:place], text[place:]), event({}, "tool_calls"), usage(), DONE]
            assert await again(scene, Says(halves)) == answered


async def test_arguments_cut_at_any_character_and_called_whole_are_no_other_answer(tmp_path: Path) -> None:
    text = json.dumps(GIVEN)
    async with thinking(tmp_path, "misspelt-host", Says([WHOLE]), allowance=HUGE) as scene:
        answered = outline(await scene.conclude())
        expert = outline(await scene.expert.conclude(scene.turn, tuple(scene.found), scene.recorder))
        for place in range(0, len(text), 41):
            cut = Says([*call("answer", text[:place]), event({}, "tool_calls"), usage(), DONE])
            came = await again(scene, cut)
            assert came in (answered, (expert[0], "expert", *expert[2:])), text[:place]
