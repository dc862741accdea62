"""Two opinions made one: nothing certain is displaced, nothing unsupported leads, nothing of the expert's is lost."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agents.mind import Conclusion
from agents.model.answer import Cause, ModelAnswer, Quoted, Ruled
from agents.model.citations import Checked, Judged
from agents.model.opinion import CERTAIN, Said, joined
from assistant.domain.action import Action, Remedy, RiskLevel
from assistant.domain.finding import Finding, Role, Verdict
from assistant.domain.target import Target
from assistant.policy.sanitize import safe

NAMES = ("web", "db", "queue", "cache")
KINDS = ("Deployment", "Service", "ConfigMap")
TARGETS = st.builds(
    Target, st.just("v1"), st.sampled_from(KINDS), st.sampled_from(["", "shop"]), st.sampled_from(NAMES)
)
WORDS = st.sampled_from(["It is broken.", "the [E1] host", "a\nb", "x" * 300, "", "<b>", "![x](http://a)", "\x1b[2J"])
SURE = st.sampled_from([0.0, 0.3, 0.6, 0.89, 0.9, 0.95, 1.0])


@st.composite
def conclusions(draw: st.DrawFn) -> Conclusion:
    verdict = draw(st.sampled_from(Verdict))
    roles = draw(st.lists(st.sampled_from(Role), min_size=draw(st.integers(0, 2)), max_size=5))
    roles = [Role.ROOT_CAUSE, *roles] if verdict is Verdict.FAULT else [Role.NOTE for _ in roles]
    order = {Role.ROOT_CAUSE: 0, Role.CONSEQUENCE: 1, Role.NOTE: 2}
    findings = tuple(
        Finding(f"F{n}", n, role, "other", draw(TARGETS), "spec", f"claim {n}", draw(SURE), (f"E{n}",))
        for n, role in enumerate(sorted(roles, key=lambda each: order[each]), 1)
    )
    remedies: list[Remedy] = []
    for n in range(1, 1 + draw(st.sampled_from([0, 1, 3, 5]))) if findings else ():
        after = draw(st.sampled_from(["", "A1", *(each.id for each in remedies)])) if remedies else ""
        fixes = (draw(st.sampled_from(findings)).id,)
        action = Action("PATCH", f"/x/{n}", draw(TARGETS), (), "application/merge-patch+json", "{}")
        remedies.append(Remedy(f"A{n}", f"fix {n}", fixes, RiskLevel.LOW, action, "", "", "because", after=after))
    text = "**The cause** (likely)\n\n- the expert's words [E1]"
    return Conclusion(verdict, findings, tuple(remedies), text, by="expert")


@st.composite
def answers(draw: st.DrawFn, expert: Conclusion) -> Said:
    verdict = draw(st.sampled_from(Verdict))
    causes = []
    for n in range(draw(st.integers(0, 4)) if verdict is not Verdict.HEALTHY else 0):
        target = draw(TARGETS)
        cause = Cause(
            target.kind, target.name, draw(WORDS), [Quoted("E1", "x")], target.namespace, "spec", "other", draw(SURE)
        )
        faults = draw(st.sampled_from([(), ("'x' does not stand in E1",)]))
        causes.append(Judged(cause, faults, () if faults and n % 2 else ("E1",)))
    fixes = draw(st.lists(st.sampled_from(["A1", "A2", "A3", "A9", "nonsense"]), max_size=4))
    ruled = [Ruled(draw(WORDS), [Quoted("E1", "x")])] if draw(st.booleans()) else []
    said = ModelAnswer(verdict, draw(WORDS), [each.cause for each in causes], ruled, fixes)
    first = len(expert.remedies) + 1
    written = [
        Remedy(f"A{n}", "mine", (), RiskLevel.LOW, Action("PATCH", f"/m/{n}", draw(TARGETS), (), "", "{}"), "", "")
        for n in range(first, first + draw(st.integers(0, 2)))
    ]
    return Said("openai/m", Checked(said, tuple(causes), ()), written)


@st.composite
def both(draw: st.DrawFn) -> tuple[Conclusion, Said]:
    expert = draw(conclusions())
    return expert, draw(answers(expert))


def told(expert: Conclusion, said: Said) -> Conclusion:
    return joined(expert, said, lambda kind, namespace, name: None, lambda judged: judged.evidence)


@given(both())
@settings(max_examples=150, deadline=None)
def test_a_certain_cause_stays_a_cause_and_the_first_stays_first(pair: tuple[Conclusion, Said]) -> None:
    expert, said = pair
    done = told(expert, said)
    roots = [each for each in expert.findings if each.role is Role.ROOT_CAUSE]
    after = {each.id: each for each in done.findings}
    if expert.verdict is Verdict.FAULT:
        assert done.verdict is Verdict.FAULT
        if roots[0].confidence >= CERTAIN:
            assert done.findings[0].id == roots[0].id
        assert all(after[each.id].role is Role.ROOT_CAUSE for each in roots if each.confidence >= CERTAIN)


@given(both())
@settings(max_examples=150, deadline=None)
def test_nothing_unsupported_leads_and_nothing_of_the_experts_is_lost(pair: tuple[Conclusion, Said]) -> None:
    expert, said = pair
    done = told(expert, said)
    assert all(each.role is Role.NOTE for each in done.findings if each.unsupported)
    assert all(each.confidence <= 0.2 and not each.evidence for each in done.findings if each.unsupported)
    kept = {each.id: each for each in done.findings}
    for each in expert.findings:
        now = kept[each.id]
        assert now.evidence[: len(each.evidence)] == each.evidence, "where both agree, the model's evidence comes after"
        assert replace(now, rank=each.rank, role=each.role, by=each.by, evidence=each.evidence) == each
        assert kept[each.id].by in ("expert", "expert and openai/m")
    assert {each.id for each in expert.remedies} <= {each.id for each in done.remedies}
    assert {each.id for each in said.remedies} <= {each.id for each in done.remedies}
    supported = [each for each in said.checked.causes if each.supported]
    agreeing = "agree on the cause" in done.markdown
    assert agreeing or all(
        any(
            (f.target.kind, f.target.name) == (j.cause.kind, j.cause.name) and f.by == "openai/m" for f in done.findings
        )
        for j in supported
    ), "nor is a supported cause of the model's"
    assert agreeing or expert.markdown in done.markdown


@given(both())
@settings(max_examples=150, deadline=None)
def test_ranks_ids_fixes_and_chains_are_in_order(pair: tuple[Conclusion, Said]) -> None:
    expert, said = pair
    done = told(expert, said)
    assert [each.rank for each in done.findings] == list(range(1, len(done.findings) + 1))
    order = [each.role for each in done.findings]
    assert order == sorted(order, key=[Role.ROOT_CAUSE, Role.CONSEQUENCE, Role.NOTE].index)
    ids = [each.id for each in done.findings]
    assert len(set(ids)) == len(ids)
    names = [each.id for each in done.remedies]
    assert len(set(names)) == len(names)
    assert all(set(each.fixes) <= set(ids) for each in done.remedies)
    for place, each in enumerate(done.remedies):
        assert not each.after or each.after in names[:place], f"{each.id} comes before {each.after}"


# Markdown -----------------------------------------------------------------------------------------------------------

DANGEROUS = {"link_open", "image", "html_inline", "html_block"}
READER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
PIECES = st.sampled_from([
    "[", "]", "(", ")", "!", "<", ">", "\\", "`", "```", "~~~", "\n", "\n\n", " ", ":", '"', "a", "[E1]", "[E1]: ",
    "http://e.test", "<http://e.test>", "<img src=x>", "<!--", "](http://e.test)", "][E1]", "[a](b)", "![a](b)", "&lt;",
    "&#60;", "    ", "> ", "- ", "1. ", "# ", "\t", "|", "[a\nb](c)", "[x]: http://e.test", "<a@b.test>", "*", "\x1b",
    "\u202e", "\x00", "\r",
])  # fmt: skip


def rendered(markdown: str) -> set[str]:
    found: set[str] = set()
    for token in READER.parse(markdown):
        found |= {token.type, *(child.type for child in token.children or ())}
    return found


def heard(markdown: str) -> bool:
    """Say whether the expert's words are a paragraph of their own and not code, a heading or part of a list."""
    tokens = READER.parse(markdown)
    return any(
        before.type == "paragraph_open" and before.level == 0 and "**The expert** says" in token.content
        for before, token in pairwise(tokens)
    )


def with_text(text: str, **cause: Any) -> Conclusion:
    finding = Finding("F1", 1, Role.ROOT_CAUSE, "other", Target("v1", "Pod", "shop", "a"), "", "s", 0.7, ("E1",))
    expert = Conclusion(Verdict.FAULT, (finding,), (), "**The expert** says [E1] so.", by="expert")
    judged = Judged(Cause("Pod", "b", text, [], "shop"), ("it cites nothing",), ())
    answer = ModelAnswer(Verdict.UNDETERMINED, text, [judged.cause], [Ruled(text)], [])
    return told(expert, Said("openai/m", Checked(answer, (judged,), ()), ()))


@given(st.lists(PIECES, max_size=14).map("".join))
@settings(max_examples=400, deadline=None)
def test_the_models_markdown_makes_no_link_no_image_and_no_html(text: str) -> None:
    done = with_text(text)
    assert not rendered(done.markdown) & DANGEROUS, done.markdown
    assert done.markdown == safe(done.markdown), "and no control characters come through"
    assert heard(done.markdown), "nor does it swallow what the expert says"


@pytest.mark.parametrize(
    "text",
    [
        "[click](http://e.test)", "[a [b](c) d](http://e.test)", "[a\nb](http://e.test)", "[E1]: http://e.test",
        "> [E1]: http://e.test", "![x](http://e.test/p.png)", "[x][y]\n\n[y]: http://e.test", "<http://e.test>",
        "\\<img src=x>", "\\\\<img src=x>", "<!-- hidden", "<script>x</script>", "[x](<http://e.test/a b>)",
        "[x\\](http://e.test)", "\\[a\\](http://e.test)", '[x](http://e.test "t")', "[E1]:\n  http://e.test 'x'",
        "- [E1]: http://e.test", "[x](http://e.test/(a))", "[x\\]]: http://e.test\n\n[x\\]]",
    ],
)  # fmt: skip
def test_known_ways_to_a_link_end_as_text(text: str) -> None:
    markdown = with_text(text).markdown
    assert not rendered(markdown) & DANGEROUS, markdown


@pytest.mark.parametrize(
    "fence",
    [
        "```",
        "~~~~",
        "  ```yaml",
        "> ```",
        "- ```",
        "- a\n  ```",
        "> ```\n\n```",
        "- ```\nx\n  ```",
        "```a`b\n```",
        "1. - ```",
    ],
)
def test_a_fence_that_is_left_open_does_not_swallow_what_the_expert_says(fence: str) -> None:
    markdown = with_text(f"Look:\n\n{fence}\nkubectl get pods").markdown
    assert heard(markdown), markdown


def test_code_and_citations_in_the_models_text_stay_as_they_are() -> None:
    text = "Change `spec.containers[web].image` as [E1] says: the *name* is wrong [E2]."
    assert text in with_text(text).markdown
    assert re.search(r"^\*\*The expert\*\* says \[E1\] so\.", with_text("x").markdown, re.MULTILINE)


def test_two_changes_after_the_same_one_are_both_kept_behind_it() -> None:
    finding = Finding("F1", 1, Role.ROOT_CAUSE, "other", Target("v1", "Pod", "shop", "a"), "", "s", 0.7, ("E1",))
    action = Action("PATCH", "/x", finding.target, (), "", "{}")
    after = {"A1": "", "A2": "A1", "A3": "A1", "A4": "A3", "A5": "A9"}
    remedies = tuple(Remedy(n, n, ("F1",), RiskLevel.LOW, action, "", "", after=a) for n, a in after.items())
    expert = Conclusion(Verdict.FAULT, (finding,), remedies, "x", by="expert")
    answer = ModelAnswer(Verdict.UNDETERMINED, "x", [], [], ["A5", "A3"])
    done = told(expert, Said("openai/m", Checked(answer, (), ()), ()))
    assert [each.id for each in done.remedies] == ["A5", "A1", "A2", "A3", "A4"]
