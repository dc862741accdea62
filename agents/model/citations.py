"""Checks what a model claims against the evidence that it was shown. Pure: no claim passes because it sounds right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents.model.answer import Cause, ModelAnswer, Quoted
from agents.model.quotes import squeezed, stands
from assistant.domain.target import Target

MIN_QUOTE_CHARACTERS: Final = 4
"""A shorter quote stands nearly everywhere and shows nothing."""
MOST_FAULTS: Final = 16
"""Told in one repair: whoever makes up more than these has to begin anew anyway."""
_CITED: Final = re.compile(r"\[(E\d+)\]")


@dataclass(frozen=True, slots=True)
class Shown:
    """One piece of evidence as the model saw it, or more of the same text."""

    id: str
    text: str
    target: Target | None = None
    about: frozenset[tuple[str, str]] = frozenset()
    """Kind and name of the objects that it speaks of besides: what owns its target, what the expert shows with it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A cause with what is wrong with its evidence; without faults it is supported."""

    cause: Cause
    faults: tuple[str, ...]
    evidence: tuple[str, ...]

    @property
    def supported(self) -> bool:
        """Say whether evidence that was checked stands behind it."""
        return not self.faults and bool(self.evidence)


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer after the check. `faults` are those of its text and of what it ruled out; `unknown` ids in the text."""

    answer: ModelAnswer
    causes: tuple[Judged, ...]
    faults: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Say whether every claim is supported."""
        return not self.faults and all(each.supported for each in self.causes)

    @property
    def repair(self) -> str:
        """Return what the model is told to mend."""
        named = [
            (f"cause {n}, {each.cause.kind[:40]} {each.cause.name[:80]}", each.faults)
            for n, each in enumerate(self.causes, 1)
        ]
        lines = [f"- {name}: {fault}" for name, faults in named for fault in faults]
        lines += [f"- {fault}" for fault in self.faults]
        more = [f"and {len(lines) - MOST_FAULTS} more"] if len(lines) > MOST_FAULTS else []
        head = "These claims do not stand on the evidence. Mend or drop them, and answer once more:"
        return "\n".join([head, *lines[:MOST_FAULTS], *more])


def check(answer: ModelAnswer, shown: Mapping[str, Shown]) -> Checked:
    """Judge every cause, every thing ruled out and every id in the text."""
    causes = tuple(_judged(cause, shown) for cause in answer.causes)
    unknown = tuple(name for name in dict.fromkeys(_CITED.findall(answer.text)) if name not in shown)
    faults = [f"[{name}] in the text is no evidence" for name in unknown]
    for ruled in answer.ruled_out:
        faults += [
            f"ruled out {ruled.what[:60]!r}: {fault}" for each in ruled.evidence if (fault := _fault(each, shown))
        ]
    return Checked(answer, causes, tuple(faults), unknown)


def _judged(cause: Cause, shown: Mapping[str, Shown]) -> Judged:
    faults, good = [], []
    for each in cause.evidence:
        fault = _fault(each, shown)
        if fault:
            faults.append(fault)
        else:
            good.append(each.id)
    if not cause.evidence:
        faults.append("it cites nothing")
    elif good and not any(_is_in(cause, shown[name]) for name in good):
        faults.append(f"none of {', '.join(good)} says anything of {cause.kind} {cause.name}")
    return Judged(cause, tuple(faults), tuple(dict.fromkeys(good)))


def _fault(quoted: Quoted, shown: Mapping[str, Shown]) -> str:
    found = shown.get(quoted.id)
    if found is None:
        return f"there is no evidence {quoted.id[:20]!r}"
    quote = squeezed(quoted.quote)
    if len(quote) < MIN_QUOTE_CHARACTERS:
        return f"the quote {quote!r} from {quoted.id} is too short to show anything"
    if not stands(quote, found.text):
        return f"{quote[:80]!r} does not stand in {quoted.id}"
    return ""


def _is_in(cause: Cause, found: Shown) -> bool:
    target = found.target
    if target is not None and (target.kind, target.name) == (cause.kind, cause.name):
        return not cause.namespace or target.namespace in ("", cause.namespace)
    if (cause.kind, cause.name) in found.about:
        return True
    # A name is a whole word of its kind: `web` is not in `web-2`, and it is in `deployment/web` and `"web"`. As a host
    # name it goes on with its namespace.
    end = r"(?![\w-]|\.\w)" + (rf"|(?=\.{re.escape(cause.namespace)}(?![\w-]))" if cause.namespace else "")
    return bool(cause.name) and re.search(rf"(?<![\w.-]){re.escape(cause.name)}(?:{end})", found.text) is not None
