"""A comparison of two answers as lines of text and as JSON. What was not measured is "not known", never 0."""

from __future__ import annotations

import json
from typing import Any, Final

from assistant.domain.finding import Finding
from assistant.plain.lines import WIDTH, one_line, wrapped
from assistant.policy.sanitize import SafeText
from assistant.session.compare import Agreement, Cause, Comparison, Effort, Side

VERSION: Final = 1
NOT_KNOWN: Final = "not known"
NO_ANSWER: Final = "no answer"
SAID: Final = {
    Agreement.SAME: "the same",
    Agreement.SAME_OBJECT: "the same object, with another category or field",
    Agreement.PARTLY: "partly the same",
    Agreement.OTHER: "another one",
    Agreement.NONE: "none in the rerun",
}


def comparison_lines(found: Comparison, width: int = WIDTH) -> list[SafeText]:
    """Return a comparison for people: the causes first, then what each answer took."""
    before, after = found.before, found.after
    lines = wrapped(
        one_line(f"Rerun of {before.session}, turn {before.turn}: {found.question}"), rest="  ", width=width
    )
    said = SAID[found.agreement] if found.causes else "none in either answer"
    lines += [SafeText(), SafeText(f"cause: {said}")]
    for cause in found.causes:
        lines += _cause_lines(cause, width)
    for finding in found.beside:
        lines += _named("beside", finding, width)
    rows = [("", "recorded", "rerun"), *_rows(before, after, found)]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines.append(SafeText())
    return lines + [SafeText(f"{name:{first}}  {one:{second}}  {two}".rstrip()) for name, one, two in rows]


def comparison_json(found: Comparison) -> str:
    """Return a comparison as an indented JSON document of ASCII alone, so that it is safe in a terminal."""
    document = {
        "version": VERSION,
        "question": found.question,
        "cause": found.agreement.value,
        "same_verdict": found.same_verdict,
        "causes": [
            {"exact": cause.exact, "recorded": _finding(cause.before), "rerun": _finding(cause.after)}
            for cause in found.causes
        ],
        "beside": [_finding(each) for each in found.beside],
        "cited_by_both": found.cited_by_both,
        "recorded": _side(found.before),
        "rerun": _side(found.after),
    }
    return json.dumps(document, indent=2)


def _cause_lines(cause: Cause, width: int) -> list[SafeText]:
    if cause.exact and cause.before and cause.after and cause.before.unsupported == cause.after.unsupported:
        return _named("both", cause.before, width)
    lines = _named("recorded", cause.before, width) if cause.before else []
    return lines + (_named("rerun", cause.after, width) if cause.after else [])


def _named(who: str, finding: Finding, width: int) -> list[SafeText]:
    doubt = ", not supported by its evidence" if finding.unsupported else ""
    text = f"{finding.target} {finding.field} ({finding.category}, {finding.confidence:.0%} sure{doubt})"
    return wrapped(one_line(text), first=f"  {who:8}  ", rest=" " * 12, width=width)


def _rows(before: Side, after: Side, found: Comparison) -> list[tuple[str, str, str]]:
    one, two = before.effort, after.effort
    return [
        ("mind", one_line(before.mind) or NO_ANSWER, one_line(after.mind) or NO_ANSWER),
        ("verdict", _verdict(before), _verdict(after)),
        ("seconds to the answer", _seconds(one), _seconds(two)),
        ("steps", str(one.steps), str(two.steps)),
        ("tool calls", str(one.tool_calls), str(two.tool_calls)),
        ("model calls", _number(one.model_calls), _number(two.model_calls)),
        ("prompt tokens", _tokens(one.prompt_tokens, one), _tokens(two.prompt_tokens, two)),
        ("completion tokens", _tokens(one.completion_tokens, one), _tokens(two.completion_tokens, two)),
        ("cost", _cost(one), _cost(two)),
        ("texts cited", str(len(before.cited)), f"{len(after.cited)}, {found.cited_by_both} of them in both"),
    ]  # fmt: skip


def _verdict(side: Side) -> str:
    return side.verdict.value if side.verdict else NO_ANSWER


def _number(value: int | None) -> str:
    return NOT_KNOWN if value is None else str(value)


def _tokens(value: int | None, effort: Effort) -> str:
    return f"{_number(value)}{' (estimated)' if effort.estimated and value else ''}"


def _seconds(effort: Effort) -> str:
    return NOT_KNOWN if effort.seconds is None else f"{effort.seconds:.1f}"


def _cost(effort: Effort) -> str:
    if effort.cost_usd is not None:
        return f"${effort.cost_usd:.4f}" if effort.cost_usd else "$0"
    calls = "1 call has" if effort.unpriced == 1 else f"{effort.unpriced} calls have"
    return f"{NOT_KNOWN}: {calls} no price" if effort.unpriced else NOT_KNOWN


def _side(side: Side) -> dict[str, Any]:
    effort = side.effort
    return {
        "session": side.session,
        "turn": side.turn,
        "mind": side.mind,
        "verdict": side.verdict.value if side.verdict else None,
        "seconds": None if effort.seconds is None else round(effort.seconds, 3),
        "steps": effort.steps,
        "tool_calls": effort.tool_calls,
        "model_calls": effort.model_calls,
        "prompt_tokens": effort.prompt_tokens,
        "completion_tokens": effort.completion_tokens,
        "tokens_estimated": effort.estimated,
        "cost_usd": effort.cost_usd,
        "unpriced_calls": effort.unpriced,
        "texts_cited": len(side.cited),
    }


def _finding(finding: Finding | None) -> dict[str, Any] | None:
    if finding is None:
        return None
    target = finding.target
    return {
        "id": finding.id,
        "category": finding.category,
        "target": {"kind": target.kind, "namespace": target.namespace, "name": target.name},
        "field": finding.field,
        "confidence": finding.confidence,
        "by": finding.by,
        "supported": not finding.unsupported,
    }
