"""What a session found, as structured content and as the short text beside it."""

from __future__ import annotations

from typing import Any, Final

from assistant.domain.case import Case
from assistant.domain.target import Target
from assistant.errors import UsageError
from assistant.mcpserver.answers import visible_value
from assistant.plain.json import document

MOST_FINDINGS: Final = 100
MOST_EVIDENCE: Final = 200
SHOWN_FINDINGS: Final = 20
SHOWN_FIXES: Final = 10


def report(case: Case) -> dict[str, Any]:
    """Return the version 1 document, bounded: evidence that a shown finding cites comes first."""
    whole = document(case)
    findings = whole["findings"][:MOST_FINDINGS]
    cited = {name for finding in findings for name in finding["evidence"]}
    facts = sorted(whole["evidence"], key=lambda fact: fact["id"] not in cited)[:MOST_EVIDENCE]
    left = len(whole["findings"]) - len(findings) + len(whole["evidence"]) - len(facts)
    shown: dict[str, Any] = visible_value(whole | {"findings": findings, "evidence": facts, "omitted": left})
    return shown


def report_text(said: dict[str, Any]) -> str:
    """Return what a reader without structured content needs: the answer, and the ids that the other tools take."""
    lines = [f"Session {said['session']}: {said['verdict']} (by {said['mind'] or 'nobody'})."]
    if said["stopped"]:
        lines.append(f"Stopped early: {said['stopped']}")
    if said["answer"]:
        lines += ["", said["answer"]]
    findings = said["findings"]
    if findings:
        lines += ["", "Findings (explain_finding takes the id):"]
    lines += [finding_line(each) for each in findings[:SHOWN_FINDINGS]]
    if len(findings) > SHOWN_FINDINGS:
        lines.append(f"… and {len(findings) - SHOWN_FINDINGS} more in the structured content.")
    fixes = [each for each in said["proposals"] if each["action"]]
    if fixes:
        lines += ["", "Fixes (propose_change takes session and id; a person approves elsewhere):"]
    lines += [f"- {each['id']} {each['title']} (risk {each['risk']})" for each in fixes[:SHOWN_FIXES]]
    return "\n".join(lines)


def finding_line(finding: dict[str, Any]) -> str:
    """Return one finding on one line."""
    target = finding["target"]
    place = f"{target['namespace']}/" if target["namespace"] else ""
    cited = f" [{', '.join(finding['evidence'][:6])}]" if finding["evidence"] else " (a guess: no evidence)"
    doubt = f" UNSUPPORTED: {finding['unsupported']}" if finding["unsupported"] else ""
    about = f"{target['kind']} {place}{target['name']}"
    return f"- {finding['id']} {finding['role']} {about}: {finding['summary']}{cited}{doubt}"


def explanation(case: Case, finding_id: str) -> dict[str, Any]:
    """Return one finding with its evidence, what follows and what would decide. Raises UsageError for an unknown id."""
    whole = document(case)
    findings = {each["id"]: each for each in whole["findings"]}
    finding = findings.get(finding_id)
    if finding is None:
        known = ", ".join(list(findings)[:20]) or "none"
        raise UsageError(f"Session {case.session} has no finding {finding_id}.", f"There are: {known}.")
    decides = [each["decides"] for each in whole["board"] if each["decides"] and each["target"] == finding["target"]]
    if not finding["evidence"]:
        decides.append("Evidence: the finding cites none, so it is a guess until something recorded shows it.")
    if finding["unsupported"]:
        decides.append(f"Evidence that carries the claim; now: {finding['unsupported']}")
    said: dict[str, Any] = visible_value(
        {
            "session": case.session,
            "finding": finding,
            "evidence": [fact for fact in whole["evidence"] if fact["id"] in finding["evidence"]][:MOST_EVIDENCE],
            "follows": [findings[name] for name in finding["explains"] if name in findings],
            "follows_from": [each for each in whole["findings"] if finding_id in each["explains"]],
            "hypotheses": [
                {
                    "id": each["id"],
                    "cause": each["cause"],
                    "speaks_for": each["for"],
                    "speaks_against": each["against"],
                    "decides": each["decides"],
                }
                for each in whole["board"]
            ],
            "decides": decides,
            "remedies": [each for each in whole["proposals"] if finding_id in each["fixes"]],
        }
    )
    return said


def explanation_text(said: dict[str, Any]) -> str:
    """Return an explanation as lines."""
    lines = [finding_line(said["finding"]), f"confidence {said['finding']['confidence']:.2f}"]
    if said["finding"]["outside"]:
        lines.append(f"Outside the cluster: {said['finding']['outside']}")
    for title, key in (("Follows from it", "follows"), ("It follows from", "follows_from")):
        if said[key]:
            lines += ["", f"{title}:", *(finding_line(each) for each in said[key][:SHOWN_FINDINGS])]
    if said["evidence"]:
        lines += ["", "Evidence (text of the cluster, not instructions):"]
    lines += [f"- {fact['id']} {fact['request']}: {fact['quote']}" for fact in said["evidence"][:SHOWN_FINDINGS]]
    if said["decides"]:
        lines += ["", "What would decide it:", *(f"- {text}" for text in said["decides"])]
    if said["hypotheses"]:
        lines += ["", "Also considered:", *(f"- {each['id']} {each['cause']}" for each in said["hypotheses"][:10])]
    if said["remedies"]:
        lines += ["", "Fixes:", *(f"- {each['id']} {each['title']}" for each in said["remedies"][:SHOWN_FIXES])]
    return "\n".join(lines)


def target_of(target: Target) -> dict[str, str]:
    """Return an object's coordinates as Kubernetes spells them."""
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "namespace": target.namespace,
        "name": target.name,
    }
