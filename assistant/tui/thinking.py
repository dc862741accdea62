"""What a language model adds to a case, as lines: the board, opinions, its calls, claims that nothing carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from assistant.domain import event as ev
from assistant.domain.case import Case, Spent
from assistant.domain.finding import Finding
from assistant.domain.hypothesis import Hypothesis, Mark
from assistant.domain.thinking import MODEL_TOOL
from assistant.policy.sanitize import clip
from assistant.tui.lines import BLANK, Given, Line, Tone, columns, line
from assistant.tui.quotes import readable

VERDICTS = {"fault": Tone.BAD, "healthy": Tone.GOOD}
BOARD_HINT = "s strikes, m pins; again takes it back"
_MARKS: dict[Mark, tuple[str, Tone]] = {
    Mark.OPEN: ("", Tone.PLAIN), Mark.PINNED: ("PINNED ", Tone.WARN), Mark.STRUCK: ("STRUCK ", Tone.MUTED),
}  # fmt: skip


def tokens(count: int) -> str:
    """Return a number of tokens as people read it: `480 tok`, `12.4k tok`."""
    return f"{count} tok" if count < 1000 else f"{count / 1000:.1f}k tok"


def spent_parts(case: Case, *, wide: bool) -> list[Given]:
    """Return model, tokens and price of the session for the identity row; nothing before a model was called."""
    if not case.spent.calls:
        return []
    last = next((e.payload for e in reversed(case.transcript) if isinstance(e.payload, ev.ModelCalled)), None)
    known, count = case.spent.price, tokens(case.spent.tokens)
    if wide:
        return [(f"model {clip(last.model if last else '', 24)}  ", Tone.MUTED), f"{count}  {known}  "]
    more = "+" if case.spent.unpriced else ""
    short = "$?" if case.spent.unpriced == case.spent.calls else known.partition(" ")[0] + more
    return [f"{count.removesuffix(' tok')} {short} "]


# The board ---------------------------------------------------------------------------------------------------------


def board_ref(hypothesis: Hypothesis) -> str:
    """Return the item that a hypothesis is in a list."""
    return f"hypothesis:{hypothesis.id}"


def hypothesis_at(case: Case, ref: str) -> Hypothesis | None:
    """Return the hypothesis that an item stands for."""
    return case.hypothesis(ref.removeprefix("hypothesis:")) if ref.startswith("hypothesis:") else None


def board_items(case: Case, *, hint: bool = True) -> list[Line]:
    """Return the hypotheses with what speaks for and against each."""
    out = [each for hypothesis in case.board for each in hypothesis_item(hypothesis)]
    return [line((BOARD_HINT, Tone.MUTED), hang=2), *out] if out and hint else out


def board_words(case: Case) -> str:
    """Return the hypotheses by id with what a person said of them."""
    return " ".join(each.id + ("" if each.mark is Mark.OPEN else f" {each.mark.value}") for each in case.board)


def hypothesis_item(hypothesis: Hypothesis) -> list[Line]:
    """Return one hypothesis; a struck one is quiet, and its mark is a word."""
    ref, struck = board_ref(hypothesis), hypothesis.mark is Mark.STRUCK
    tone = Tone.MUTED if struck else Tone.PLAIN
    ids = Tone.MUTED if struck else Tone.ACCENT
    head: list[Given] = [(f"{hypothesis.id} ", ids), _MARKS[hypothesis.mark], (hypothesis.cause, tone)]
    out = [line(*head, hang=4, ref=ref)]
    if hypothesis.target is not None:
        out.append(line((f"   {hypothesis.target}", Tone.MUTED), hang=3, ref=ref))
    speaks_for, against = " ".join(hypothesis.speaks_for), " ".join(hypothesis.speaks_against)
    out.append(
        line(
            ("   for ", Tone.MUTED), (speaks_for or "-", ids), ("  against ", Tone.MUTED), (against or "-", ids),
            hang=7, right=[(f"by {clip(hypothesis.by, 16)}", Tone.MUTED)], ref=ref,
        )
    )  # fmt: skip
    if hypothesis.decides:
        out.append(line(("   decides: ", Tone.MUTED), (hypothesis.decides, tone), hang=5, ref=ref))
    return out


def hypothesis_detail(case: Case, hypothesis: Hypothesis) -> list[Line]:
    """Return the quotes that speak for and against a hypothesis."""
    out = []
    for word, ids in (("for", hypothesis.speaks_for), ("against", hypothesis.speaks_against)):
        for fact in filter(None, map(case.fact, ids)):
            quote = clip(readable(fact.quote), 240)
            out.append(line((f"{word} ", Tone.MUTED), (f"{fact.id} ", Tone.ACCENT), (quote, Tone.CODE), hang=4))
    return out or [line(("No evidence speaks for or against it yet.", Tone.MUTED))]


def marked(payload: ev.HypothesisMarked) -> str:
    """Return what a person said of a hypothesis and what that means."""
    means = {Mark.STRUCK: "struck: not looked into any more", Mark.PINNED: "pinned: decided first"}
    return f"{payload.hypothesis} {means.get(payload.mark, 'open again')}"


# Claims -----------------------------------------------------------------------------------------------------------


def unsupported(findings: Sequence[Finding], ref: str) -> list[Line]:
    """Return the claims that the evidence does not carry, each with why."""
    return [
        line(
            (f"{each.id} ", Tone.ACCENT), each.summary, (f"  by {each.by}", Tone.MUTED),
            (f"  unsupported: {each.unsupported}", Tone.WARN), hang=4, ref=ref,
        )
        for each in findings if each.unsupported
    ]  # fmt: skip


# The transcript -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Course:
    """What stands later in a transcript and decides how an earlier block is shown."""

    told: set[str] = field(default_factory=set)
    """Calls of a model about which a line of their own says more."""
    answers: dict[int, ev.Answered] = field(default_factory=dict)
    """The answers that followed opinions, by the opinion's number."""


def course(case: Case) -> Course:
    """Return what followed in a transcript."""
    found = Course()
    asking, opinions = "", list[int]()
    for entry in case.transcript:
        match entry.payload:
            case ev.Asked():
                opinions.clear()
            case ev.ToolStarted(tool=tool) if tool == MODEL_TOOL:
                asking = entry.ref
            case ev.ModelCalled():
                found.told.add(asking)
            case ev.OpinionGiven():
                opinions.append(entry.seq)
            case ev.Answered() as answered:
                found.answers |= dict.fromkeys(opinions, answered)
            case _:
                pass
    return found


def opinion_lines(
    payload: ev.OpinionGiven, at: str, ref: str, *, answer: ev.Answered | None, thinking: bool, is_open: bool,
    board: bool, markdown: Callable[[str, str], list[Line]],
) -> list[Line]:  # fmt: skip
    """Return an opinion: whole while it is all there is, one line once an answer repeats it."""
    verdict = (payload.verdict.value, VERDICTS.get(payload.verdict.value, Tone.WARN))
    if answer is not None:
        head: list[Given] = [("v " if is_open else "> ", Tone.MUTED), f"{payload.who} said  ", verdict]
        if answer.verdict is not payload.verdict:
            head.append((f"  the answer differs: {answer.verdict.value}", Tone.WARN))
        folds = line(*head, hang=4, right=[("space folds" if is_open else "space opens", Tone.MUTED)], ref=ref)
        return [folds, *markdown(payload.markdown, ref)] if is_open else [folds]
    still = (" (the model still thinks)", Tone.WARN) if thinking else ""
    says = line((f"{payload.who} says", Tone.HEADING), still, (f"  {at}  ", Tone.MUTED), verdict, hang=2, ref=ref)
    words = ("  tab, 5: what it might be; strike or pin a hypothesis there", Tone.MUTED)
    hint = [BLANK, line(words, ref=ref)] if thinking and board else []
    return [BLANK, says, *(markdown(payload.markdown, ref) if is_open else []), *hint, BLANK]


def call_lines(payload: ev.ModelCalled, ref: str, *, seconds: str, is_open: bool) -> list[Line]:
    """Return a call of a model as one line: who answered, where, what it took; then what went wrong."""
    asked = f" (asked {payload.instead_of})" if payload.instead_of else ""
    about = f"  at {payload.endpoint}" if payload.endpoint else ""
    used = payload.prompt_tokens + payload.completion_tokens
    right: list[Given] = [("FAILED  ", Tone.WARN)] if payload.failed else []
    right.append(f"{tokens(used)}  {Spent().plus(payload).price}  {seconds}")
    head: list[Given] = [("v " if is_open else "> ", Tone.MUTED), f"model {payload.model}{asked}  {payload.purpose}"]
    out = [line(*head, (about, Tone.MUTED), hang=4, right=right, ref=ref)]
    for word, why in (("cut", payload.cut), ("failed", payload.failed)):
        if why:
            out.append(line((f"    {word}: {why}", Tone.WARN), hang=6, ref=ref))
    if is_open:
        detail = [*call_facts(payload), line(("  enter opens what was sent and what came", Tone.MUTED))]
        out += [Line(each.parts, each.hang, each.right, ref) for each in detail]
    return out


def call_facts(payload: ev.ModelCalled) -> list[Line]:
    """Return all that is known of a call of a model."""
    counted = " (counted here: the server told none)" if payload.estimated else ""
    price = f"${payload.cost_usd:.4f}" if payload.cost_usd >= 0 else "not known"
    rows = [
        ("for", payload.purpose), ("asked for", payload.asked), ("answered by", payload.model),
        ("endpoint", payload.endpoint),
        ("tokens", f"{payload.prompt_tokens:,} sent, {payload.completion_tokens:,} received{counted}"),
        ("price", price), ("prompts", ", ".join(payload.prompts)), ("sent", payload.prompt_digest[:12]),
        ("came", payload.reply_digest[:12]), ("cut", payload.cut), ("failed", payload.failed),
    ]  # fmt: skip
    return columns([(name, value) for name, value in rows if value], indent=4)
