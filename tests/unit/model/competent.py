"""A model that reads the case file and answers well: what a careful one would send, so that the rest can be measured.

It knows nothing but what it is sent. It reads the object to blame and, where it may, a log, and then answers with the
expert's first cause, quoting the evidence that it was shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_FINDING = re.compile(
    r"^(F\d+) (?P<category>[a-z-]+) (?P<sure>[\d.]+): (?P<kind>\w+) (?P<place>\S+?)(?: at (?P<field>.+?))?:"
    r" (?P<said>.*) \[(?P<ids>[E\d ]*)\]", re.MULTILINE,
)  # fmt: skip
_FENCE = re.compile(r"<<(?P<id>E\d+)\.(?P<mark>\w+)\n(?P<text>.*?)\n(?P=id)\.(?P=mark)>>", re.DOTALL)


def reply(request: Mapping[str, Any], *, looks: bool = True) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls that answer a request: reading ones first, where `looks` and nothing was read yet."""
    told = str(request["messages"][-1]["content"])
    tools = {each["function"]["name"] for each in request["tools"]}
    found = _FINDING.search(told.partition("# Evidence")[0])
    if found is None:
        verdict = re.search(r"# The expert says: (\w+)", told)
        said = verdict[1] if verdict else "undetermined"
        end: dict[str, Any] = {
            "verdict": said if said != "fault" else "undetermined",
            "text": "Nothing more is known.",
            "causes": [],
        }
        return [("answer", end)]
    namespace, _, name = found["place"].rpartition("/")
    if looks and "get" in tools and "# What you read" not in told:
        target = {"kind": found["kind"], "name": name, "namespace": namespace}
        return [("get", target), ("events", {"kind": found["kind"], "name": name})]
    return [("answer", _answer(told, found, namespace, name))]


def _answer(told: str, found: re.Match[str], namespace: str, name: str) -> dict[str, Any]:
    quotes = {m["id"]: m["text"].partition("\n")[2] for m in _FENCE.finditer(told)}
    ids = [each for each in found["ids"].split() if each in quotes]
    # The object has to stand in what is quoted; what was read of it does so.
    own = [each for each, text in quotes.items() if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text)]
    chosen = list(dict.fromkeys([*own[:1], *ids]))[:3] or list(quotes)[:1]
    cause = {
        "kind": found["kind"], "namespace": namespace, "name": name, "field": (found["field"] or "").strip(),
        "category": found["category"], "summary": found["said"][:400], "confidence": float(found["sure"]),
        "evidence": [{"id": each, "quote": _quote(quotes[each])} for each in chosen],
    }  # fmt: skip
    fixes = re.findall(r"^(A\d+) \(", told, re.MULTILINE)
    text = f"{found['said'][:400]} " + "".join(f"[{each}]" for each in chosen)
    return {"verdict": "fault", "text": text, "causes": [cause], "fixes": fixes[:2]}


def _quote(text: str) -> str:
    first = next((line for line in text.splitlines() if len(line.strip()) > 6), text)
    return first.strip()[:120]


def as_calls(calls: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return calls as the chat completions protocol has them."""
    return [
        {"index": n, "id": f"c{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for n, (name, given) in enumerate(calls)
    ]
