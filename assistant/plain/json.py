"""The `--format json` document of `ask` and `scan`, version 1: fields may be added, never changed or removed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from assistant.domain.case import Case, ProposalCase
from assistant.domain.finding import Verdict
from assistant.domain.target import Target
from assistant.plain.thinking import opinions
from assistant.wire import to_builtins

VERSION: Final = 1


def document(case: Case) -> dict[str, Any]:
    """Return the document for a case, as plain JSON types."""
    answer = case.answer
    return {
        "version": VERSION,
        "session": case.session,
        "question": case.question,
        "namespace": case.namespace,
        "mind": answer.mind if answer else case.opened.mind if case.opened else "",
        "verdict": (answer.verdict if answer else Verdict.UNDETERMINED).value,
        "plan": [{"id": step.id, "title": step.title, "status": step.status.value} for step in case.plan],
        "findings": [
            {
                "id": finding.id,
                "rank": finding.rank,
                "role": finding.role.value,
                "category": finding.category,
                "target": _target(finding.target),
                "field": finding.field,
                "summary": finding.summary,
                "confidence": finding.confidence,
                "evidence": list(finding.evidence),
                "explains": list(finding.explains),
                "outside": finding.outside,
                "by": finding.by,
                "unsupported": finding.unsupported,
            }
            for finding in sorted(case.findings, key=lambda item: item.rank)
        ],
        "board": [
            {
                "id": each.id,
                "cause": each.cause,
                "by": each.by,
                "target": _target(each.target) if each.target else None,
                "for": list(each.speaks_for),
                "against": list(each.speaks_against),
                "decides": each.decides,
                "mark": each.mark.value,
            }
            for each in case.board
        ],
        "opinions": [
            {"mind": each.mind, "verdict": each.verdict.value, "markdown": each.markdown} for each in opinions(case)
        ],
        "evidence": [
            {
                "id": fact.id,
                "request": fact.request,
                "quote": fact.quote,
                "at": to_builtins(fact.at),
                "target": _target(fact.target) if fact.target else None,
                "source": fact.source,
                "redactions": fact.redactions,
            }
            for fact in case.evidence
        ],
        "proposals": [_remedy(case, item.id) for item in case.remedies],
        "answer": answer.markdown if answer else "",
        "checked": list(answer.checked) if answer else [],
        "stopped": case.stopped,
        "errors": [to_builtins(error) for error in case.errors],
        "usage": {
            "seconds": round(case.used.seconds, 3),
            "api_requests": case.used.api_requests,
            "model_calls": case.spent.calls,
            "prompt_tokens": case.spent.prompt_tokens,
            "completion_tokens": case.spent.completion_tokens,
            # The sum of what is known: a reader that adds up must not meet a null.
            "cost_usd": round(case.spent.cost_usd, 6),
            "unpriced_calls": case.spent.unpriced,
        },
    }


def dumps(case: Case) -> str:
    """Return the document as indented JSON; control characters are escaped, so it is safe in a terminal too."""
    text = msgspec.json.format(msgspec.json.encode(document(case)), indent=2).decode()
    return "".join(char if char.isprintable() or char == "\n" else _escape(char) for char in text)


def _escape(char: str) -> str:
    # Inside JSON strings only: msgspec has escaped what JSON requires, this is for C1, bidi and zero-width ones.
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _target(target: Target) -> dict[str, str]:
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "namespace": target.namespace,
        "name": target.name,
    }


def _remedy(case: Case, remedy_id: str) -> dict[str, Any]:
    remedy = next(item for item in case.remedies if item.id == remedy_id)
    submitted = [item for item in case.proposals if item.proposal.origin.remedy == remedy_id]
    value: dict[str, Any] = {
        "id": remedy.id,
        "title": remedy.title,
        "risk": remedy.risk.value,
        "kubectl": remedy.kubectl,
        "action": to_builtins(remedy.action) if remedy.action else None,
        "undo": remedy.undo,
        "fixes": list(remedy.fixes),
        "reason": remedy.reason,
        "outside": remedy.outside,
        "after": remedy.after,
    }
    return value | {"change": _change(submitted[-1]) if submitted else None}


def _change(item: ProposalCase) -> dict[str, Any]:
    return {
        "id": item.proposal.id,
        "state": item.state.value,
        "digest": item.proposal.digest,
        "risk": item.proposal.risk.level.value,
        "expires": to_builtins(item.proposal.expires),
        "verified": item.verified.healing.value if item.verified else None,
    }
