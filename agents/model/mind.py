"""A language model as a mind: it starts from the expert's conclusion, may read on, and has to show its evidence.

Planning, reading and verifying are the expert's; where the model fails, is over its budget or shows no evidence, the
expert's answer stands and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from agents.mind import Conclusion, Mind
from agents.model import board, definitions, prompts
from agents.model.budget import Allowance
from agents.model.casefile import CaseFile
from agents.model.citations import Judged
from agents.model.loop import Loop
from agents.model.opinion import Said, joined
from agents.model.quotes import verbatim
from agents.model.reading import Reader
from agents.model.tools import Toolbox
from agents.model.toolsets import Servers, Toolsets
from agents.model.types import ChatClient
from assistant.domain.action import Remedy
from assistant.domain.case import Spent
from assistant.domain.event import (
    BoardMade,
    ErrorRaised,
    FindingsRanked,
    Noted,
    OpinionGiven,
    ToolEnded,
    ToolStarted,
    Verified,
)
from assistant.domain.evidence import Citation
from assistant.domain.finding import Finding
from assistant.domain.plan import Step
from assistant.domain.ports import Clock, Recorder, Turn
from assistant.domain.raw import text
from assistant.domain.target import Target
from assistant.errors import ModelError, PilothouseError

REASON_CHARACTERS: Final = 600
"""Of the model's own words for why no other change would be right."""


_LOG: Final = logging.getLogger(__name__)


class ModelMind:
    """Implements `agents.mind.Mind` over another mind, the expert or a recording of it."""

    def __init__(
        self, expert: Mind, reader: Reader, client: ChatClient, model: str, allowance: Allowance, clock: Clock,
        day: Callable[[], Spent] = Spent, servers: Servers | None = None,
    ) -> None:  # fmt: skip
        """Keep the parts. `model` is the name that people know; `day` what the sessions of today have used.

        `servers` are the MCP servers whose tools it may look for.
        """
        self._expert = expert
        self._reader = reader
        self._client = client
        self._model = model
        self._allowance = allowance
        self._clock = clock
        self._day = day
        self._servers = servers
        self._standing: tuple[str, Conclusion] | None = None

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self._model

    async def plan(self, turn: Turn, recorder: Recorder) -> tuple[Step, ...]:
        """Return the expert's steps: they cost nothing and run while nobody waits for a model."""
        self._standing = None
        return await self._expert.plan(turn, recorder)

    async def investigate(self, turn: Turn, step: Step, recorder: Recorder) -> tuple[Finding, ...]:
        """Have the expert carry a step out."""
        return await self._expert.investigate(turn, step, recorder)

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        """Tell the expert's opinion at once, then let the model think about it."""
        expert = replace(await self._expert.conclude(turn, found, recorder), by=self._expert.name)
        if expert.more:
            return expert
        self._standing = (turn.thread, expert)
        self._tell(expert, recorder)
        try:
            return await self._thought(turn, expert, recorder)
        except PilothouseError as error:
            return self._stands(expert, f"{error.meaning} {error.hint}".strip(), recorder)
        except Exception as error:
            # Whatever is wrong on the model's side, in a library of it or in ours, must not take the answer away.
            _LOG.exception("the model mind failed")
            detail = f"{type(error).__name__}: {error}"[:300]
            text = "There is a fault on the side of the language model."
            recorder.emit(ErrorRaised(ModelError.code, text, "The log file has the detail.", detail))
            return self._stands(expert, "", recorder)

    async def _thought(self, turn: Turn, expert: Conclusion, recorder: Recorder) -> Conclusion:
        """Return what the model and the expert come to together. Raises PilothouseError."""
        case = self._casefile(turn, expert, recorder)
        toolbox = Toolbox(self._reader, turn, recorder)
        toolbox.mentioned += expert.markdown
        loop = self._loop(case, toolbox, recorder, expert)
        outcome = await loop.run()
        if outcome.error is not None:
            failed = outcome.error
            recorder.emit(ErrorRaised(failed.code, failed.meaning, failed.hint, failed.detail))
        if outcome.checked is None:
            return self._stands(expert, "" if outcome.error else outcome.failure, recorder)
        said = Said(self._model, outcome.checked, outcome.remedies)
        return joined(expert, said, self._seen, lambda judged: self._recorded(judged, toolbox, recorder))

    def standing(self, turn: Turn) -> Conclusion | None:
        """Return the expert's conclusion, where the model could not come to its end."""
        known = self._standing
        return known[1] if known is not None and known[0] == turn.thread else None

    async def revise(
        self, turn: Turn, conclusion: Conclusion, denied: str, feedback: str, recorder: Recorder
    ) -> tuple[Remedy, ...]:
        """Ask for another change, now that a person has said why the one proposed is not wanted."""
        case = self._casefile(turn, conclusion, recorder)
        title = next((each.title for each in conclusion.remedies if each.id == denied), denied)
        case.directions.append(f"{denied} ({title}) was denied. The person says: {feedback}")
        toolbox = Toolbox(self._reader, turn, recorder)
        toolbox.mentioned += conclusion.markdown + feedback
        loop = self._loop(case, toolbox, recorder, conclusion)
        loop.purpose, loop.prompts = "change", prompts.CHANGING
        loop.tools, loop.toolsets = ("get", "list", "logs", "more", definitions.CHANGE, "answer"), None
        try:
            await self._look_at(conclusion, denied, case, toolbox, recorder)
            outcome = await loop.run()
        except PilothouseError as error:
            recorder.emit(Noted(f"There is no other suggestion of {self._model}: {error.meaning}", "warning"))
            return ()
        except Exception:
            _LOG.exception("the model mind failed")
            recorder.emit(Noted(f"There is no other suggestion of {self._model}: it failed.", "warning"))
            return ()
        why = outcome.failure or (outcome.checked.answer.text[:REASON_CHARACTERS] if outcome.checked else "")
        if not outcome.remedies and why:
            recorder.emit(Noted(f"There is no other suggestion of {self._model}: {why}", "warning"))
        fixes = next((each.fixes for each in conclusion.remedies if each.id == denied), ())
        return tuple(replace(each, fixes=fixes) for each in outcome.remedies)

    async def _look_at(
        self, conclusion: Conclusion, denied: str, case: CaseFile, toolbox: Toolbox, recorder: Recorder
    ) -> None:
        """Show the object that the denied change is about: whoever writes another one needs its lists whole."""
        action = next((each.action for each in conclusion.remedies if each.id == denied), None)
        if action is None:
            return
        target, number, began = action.target, recorder.new_call(), self._clock.monotonic()
        given = {"kind": target.kind, "name": target.name, "namespace": target.namespace}
        recorder.emit(ToolStarted(number, "look", f"model: get {target}"))
        result = await toolbox.read("get", given, number)
        case.add(result)
        said = result.evidence.id if result.evidence else result.text
        recorder.emit(ToolEnded(number, result.ok, said, self._clock.monotonic() - began, len(result.body)))

    def next_link(self, conclusion: Conclusion, remedy: Remedy, proposal: str) -> Remedy | None:
        """Return the expert's: it has looked."""
        return self._expert.next_link(conclusion, remedy, proposal)

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = 60.0
    ) -> Verified:
        """Have the expert look again: rules say the same thing twice."""
        return await self._expert.verify(turn, finding, proposal, recorder, patience_seconds)

    def _tell(self, expert: Conclusion, recorder: Recorder) -> None:
        case = recorder.case
        if case.opinion is None:
            recorder.emit(FindingsRanked(expert.findings))
            recorder.emit(BoardMade(board.first(expert)))
            recorder.emit(OpinionGiven(expert.by, expert.verdict, expert.markdown))

    def _stands(self, expert: Conclusion, why: str, recorder: Recorder) -> Conclusion:
        recorder.emit(Noted(f"{self._model} gave no answer; the {expert.by}'s stands. {why}".strip(), "warning"))
        return expert

    def _casefile(self, turn: Turn, conclusion: Conclusion, recorder: Recorder) -> CaseFile:
        opened, view = recorder.case.opened, self._reader.view
        parts = [f"namespace {turn.namespace}" if turn.namespace else "all namespaces"]
        if opened is not None:
            parts += [f"Kubernetes {opened.server_version}" if opened.server_version else "", f"as {opened.identity}"]
        parts.append(f"now {view.now:%Y-%m-%d %H:%M} UTC")
        gaps = [f"{resource} {ns}: {known}".strip() for resource, ns, known, _ in view.gaps()]
        place = ", ".join(part for part in parts if part)
        return CaseFile(turn.session, turn.question, place, conclusion, recorder.case.evidence, gaps, self._kin)

    def _kin(self, target: Target) -> tuple[Target, ...]:
        """Return what owns an object, the nearest first; of an event, what it is about and what owns that."""
        view = self._reader.view
        thing = view.find(target.kind, target.namespace, target.name)
        found: list[Target] = []
        if thing is not None and thing.kind == "Event":
            about = thing.map("involvedObject") or thing.map("regarding")
            place = text(about.get("namespace")), text(about.get("name"))
            thing = view.find(text(about.get("kind")), *place)
            found += [thing.target] if thing is not None else []
        while thing is not None and (above := view.owner(thing)) is not None and above.target not in found:
            thing = above
            found.append(above.target)
        return tuple(found)

    def _loop(self, case: CaseFile, toolbox: Toolbox, recorder: Recorder, conclusion: Conclusion) -> Loop:
        return Loop(
            self._client, self._model, case, toolbox, self._reader, recorder, self._clock, self._allowance, self._day,
            remedies_before=len(conclusion.remedies),
            toolsets=Toolsets(self._servers, toolbox, recorder, self._clock) if self._servers is not None else None,
        )  # fmt: skip

    def _seen(self, kind: str, namespace: str, name: str) -> Target | None:
        thing = self._reader.view.find(kind, namespace, name)
        return thing.target if thing is not None else None

    def _recorded(self, judged: Judged, toolbox: Toolbox, recorder: Recorder) -> tuple[str, ...]:
        """Return the evidence of a cause; what was quoted of a text that the model read becomes evidence of its own."""
        names: list[str] = []
        for each in judged.cause.evidence:
            if each.id not in judged.evidence:
                continue
            known = toolbox.known.get(each.id)
            fact = known.evidence if known is not None else None
            quote = verbatim(each.quote, known.body) if known is not None else ""
            if known is None or fact is None or not quote or quote == fact.quote:
                names.append(each.id)
                continue
            names.append(recorder.cite(Citation(fact.request, quote, known.body, fact.target)).id)
        return tuple(dict.fromkeys(names))
