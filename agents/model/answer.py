"""The model's answer as data: the one tool that ends a turn, its schema, and the reading of what came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from assistant.domain.finding import CATEGORIES, Verdict

NAME: Final = "answer"
MAX_CAUSES: Final = 5
Text = Annotated[str, msgspec.Meta(max_length=4_000)]
Word = Annotated[str, msgspec.Meta(max_length=400)]


class Quoted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place in the evidence: its id (`E7`) and words that stand there."""

    id: Word
    quote: Word


class Cause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One root cause: the object that has to change, the field of it, and what shows that."""

    kind: Word
    name: Word
    summary: Text
    evidence: list[Quoted]
    namespace: Word = ""
    field: Word = ""
    category: Word = "other"
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


class Ruled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that it might have been, and what speaks against it."""

    what: Text
    evidence: list[Quoted] = []


class ModelAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model makes of it. `fixes` are ids of remedies that it was shown (`A1`), the best first."""

    verdict: Verdict
    text: Annotated[str, msgspec.Meta(max_length=12_000)]
    causes: Annotated[list[Cause], msgspec.Meta(max_length=MAX_CAUSES)] = []
    ruled_out: Annotated[list[Ruled], msgspec.Meta(max_length=10)] = []
    fixes: Annotated[list[Word], msgspec.Meta(max_length=10)] = []
    informs: bool = False
    """The question asks for information and not for a fault: the text is all of the answer."""


def tool() -> dict[str, Any]:
    """Return the definition that the model is given."""
    quoted = {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "quote": {"type": "string"}},
            "required": ["id", "quote"],
        },
    }
    word = {"type": "string"}
    cause = {
        "kind": word, "namespace": word, "name": word, "field": word, "summary": word, "evidence": quoted,
        "category": {"type": "string", "enum": list(CATEGORIES)}, "confidence": {"type": "number"},
    }  # fmt: skip
    properties = {
        "verdict": {"type": "string", "enum": [str(each) for each in Verdict]},
        "text": {"type": "string", "description": "Markdown for the person, every claim with its [E1]"},
        "causes": {
            "type": "array",
            "items": {
                "type": "object", "properties": cause, "required": ["kind", "name", "summary", "evidence", "category"],
            },
        },
        "ruled_out": {
            "type": "array",
            "items": {"type": "object", "properties": {"what": word, "evidence": quoted}, "required": ["what"]},
        },
        "informs": {"type": "boolean", "description": "true where no fault was asked about"},
        "fixes": {"type": "array", "items": word, "description": "ids of remedies, the best first"},
    }  # fmt: skip
    parameters = {"type": "object", "properties": properties, "required": ["verdict", "text", "causes"]}
    about = "End with this. The object that has to change, with verbatim quotes from the evidence."
    return {"type": "function", "function": {"name": NAME, "description": about, "parameters": parameters}}


def read(arguments: Mapping[str, Any]) -> ModelAnswer:
    """Return the answer. Raises ValueError with a sentence for the model where it has another shape."""
    try:
        answer = msgspec.convert(dict(arguments), ModelAnswer)
    except msgspec.ValidationError as error:
        raise ValueError(f"The answer has the wrong shape: {error}") from None
    unknown = [cause.category for cause in answer.causes if cause.category not in CATEGORIES]
    if unknown:
        raise ValueError(f"There is no category {unknown[0]!r}; use one of the list, or other.")
    if answer.verdict is Verdict.FAULT and not answer.causes and not answer.informs:
        raise ValueError("The verdict is fault and no cause is given: give one, or say undetermined.")
    if answer.verdict is Verdict.HEALTHY and answer.causes:
        raise ValueError("The verdict is healthy and there are causes: one of the two is wrong.")
    return answer
