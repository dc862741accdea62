"""The bounded conversation of one turn: ask, carry out what is asked for, check the answer, have it mended once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents.model import answer, definitions, prompts
from agents.model.board import supposed
from agents.model.budget import Allowance, price_unknown, reached
from agents.model.casefile import RESULTS_CHARACTERS, CaseFile
from agents.model.change import written
from agents.model.citations import Checked, check
from agents.model.reading import Reader
from agents.model.tools import RESULT_CHARACTERS, Result, Toolbox, UnansweredError, titled
from agents.model.toolsets import FIND, Toolsets
from agents.model.types import ChatClient, Message, ModelCallError, ModelContextError, Reply, ToolCall
from assistant.domain.action import Remedy
from assistant.domain.case import Spent
from assistant.domain.event import BoardMade, BudgetReached, ModelCalled, Noted, ToolEnded, ToolStarted, ToolWaiting
from assistant.domain.ports import Clock, Recorder
from assistant.policy.redact import redact_text

CHARACTERS_A_TOKEN: Final = 3.2
"""For planning the next call only; what is counted is what the server says."""
SAME_CALL: Final = 3
LAST_SHARE: Final = 0.75
"""Of the time: whoever has not answered by then is asked to."""
CALLS_FOR_ANSWERING: Final = 2
"""Calls that are kept for the answer and for mending it."""
LEAST_CHARACTERS: Final = 900
"""Of a result, however many come at once."""
ANSWER_CHARACTERS: Final = 4_000
"""An answer that has to be mended is shown again up to this length."""
SILENT: Final = 2
"""Replies without an answer and without a call that are put up with."""


@dataclass(slots=True)
class Outcome:
    """What came of it. Without `checked` there is no answer, and `failure` says why; `error` is the client's own."""

    checked: Checked | None = None
    remedies: list[Remedy] = field(default_factory=list)
    failure: str = ""
    error: ModelCallError | None = None


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What is sent in one call; `last` says that only an answer is taken."""

    messages: list[Message]
    tools: list[dict[str, Any]]
    last: bool

    @property
    def tokens(self) -> int:
        """Return about how many there are, for planning."""
        return int(len(json.dumps([self.messages, self.tools], ensure_ascii=False)) / CHARACTERS_A_TOKEN)


@dataclass(slots=True)
class Loop:
    """One turn with a model. `day` returns what all sessions of the day have used; asked once, when the turn begins."""

    client: ChatClient
    model: str
    case: CaseFile
    toolbox: Toolbox
    reader: Reader
    recorder: Recorder
    clock: Clock
    allowance: Allowance
    day: Callable[[], Spent]
    purpose: str = "diagnose"
    prompts: Sequence[str] = prompts.THINKING
    tools: Sequence[str] = definitions.ALL
    remedies_before: int = 0
    toolsets: Toolsets | None = None
    _outcome: Outcome = field(default_factory=Outcome)
    _began: float = 0.0
    _before: Spent = field(default_factory=Spent)
    _asked: dict[str, int] = field(default_factory=dict)
    _carried: float = 0.0
    _silent: int = 0
    _repaired: bool = False
    _extended: bool = False
    _over: str = ""
    """Why nothing more may be read; then only an answer is taken."""

    async def run(self) -> Outcome:
        """Return what the model makes of the case. Raises BudgetError where the session forbids more tool calls."""
        self._began, self._before = self.clock.monotonic(), self.day()
        if self.toolsets is not None:
            await self.toolsets.begin()
        while True:
            self.case.directions += self.recorder.steering()
            prompt = self._prompt(last=False)
            last = self._is_last(prompt.tokens)
            reply = await self._ask(self._prompt(last=True) if last else prompt)
            if reply is None:
                return self._outcome
            # What has to be mended stays said while the model only reads.
            if not reply.calls or any(each.name == answer.NAME for each in reply.calls):
                self.case.complaint = ""
            if await self._take(reply):
                return self._outcome
            if last and not self.case.complaint:
                if any(each.name == definitions.CHANGE for each in reply.calls) and not self._extended:
                    self._extended, self.case.complaint = True, f"Now end with `{answer.NAME}`."
                    continue
                self._outcome.failure = f"{self.model} did not answer when it had to: {self._over}."
                return self._outcome

    # What may still be done ------------------------------------------------------------------------------------

    def _is_last(self, next_tokens: int) -> bool:
        spent, bound = self.recorder.case.spent_turn, self.allowance.turn
        if bound.calls and bound.calls - spent.calls <= CALLS_FOR_ANSWERING:
            self._over = self._over or "no more calls are allowed"
        if self.clock.monotonic() - self._began > self.allowance.seconds * LAST_SHARE:
            self._over = self._over or "the time is nearly up"
        if self._carried >= self.allowance.tool_calls:
            self._over = self._over or "no more may be read"
        if bound.tokens and spent.tokens + 2 * next_tokens > bound.tokens:
            self._over = self._over or "the tokens are nearly used up"
        return bool(self._over)

    def _prompt(self, *, last: bool) -> _Prompt:
        names = (*(n for n in self.tools if n in (answer.NAME, definitions.CHANGE)),) if last else self.tools
        calls = self.allowance.turn.calls - self.recorder.case.spent_turn.calls
        if last:
            ends = " or ".join(f"`{name}`" for name in names if self.purpose == "change" or name == answer.NAME)
            left = f"(Now end with {ends}: {self._over}.)"
        elif self.allowance.turn.calls:
            left = f"(Replies left for reading: {calls - CALLS_FOR_ANSWERING}; then you have to answer.)"
        else:
            left = ""
        told = self.case.render(self.recorder.case.board, left)
        messages: list[Message] = [
            {"role": "system", "content": prompts.system(self.prompts)},
            {"role": "user", "content": told},
        ]
        borrowed = self.toolsets.definitions() if self.toolsets is not None and not last else []
        return _Prompt(messages, [*definitions.definitions(names), *borrowed], last)

    # Asking ----------------------------------------------------------------------------------------------------

    async def _ask(self, prompt: _Prompt) -> Reply | None:
        """Return a reply; None where there is none, and then the outcome says why."""
        case = self.recorder.case
        today = self._before.and_also(case.spent_turn)
        bound = reached(self.allowance, case.spent_turn, case.spent, today, prompt.tokens)
        if bound is not None:
            self.recorder.emit(BudgetReached(bound.bound, bound.limit, bound.text))
            self._outcome.failure = bound.text
            return None
        call = self.recorder.new_call()
        purpose = f"{self.purpose}, mend" if self._repaired else self.purpose
        self.recorder.emit(ToolStarted(call, "model", f"ask {self.model}  {purpose}"))
        sent = json.dumps({"messages": prompt.messages, "tools": prompt.tools}, ensure_ascii=False, indent=1)
        digest, began = self.recorder.keep(sent), self.clock.monotonic()
        left = self.allowance.seconds - (began - self._began)
        try:
            reply = await self.client.call(
                prompt.messages, prompt.tools, tell=self._tell, seconds=left,
                on_wait=lambda why, seconds: self.recorder.emit(ToolWaiting(call, why, seconds)),
            )  # fmt: skip
        except ModelCallError as error:
            self._failed(call, digest, purpose, len(sent) if error.said else 0, error.meaning, error.said, began)
            if isinstance(error, ModelContextError) and not self.case.tight:
                self.case.tight = True
                self._tell("The case does not fit the model's context; asking again with half of it.")
                return await self._ask(self._prompt(last=prompt.last))
            self._outcome.failure, self._outcome.error = error.meaning, error
            if self.clock.monotonic() - began >= left:
                most = self.allowance.seconds
                text = f"{self.model} may think for {most:.0f} s in a turn, and they are over (turn_model_seconds)."
                self.recorder.emit(BudgetReached("seconds", most, text))
            return None
        self._record(reply, call, purpose, digest)
        return reply

    def _failed(
        self, call: str, digest: str, purpose: str, paid_characters: int, why: str, said: str, began: float
    ) -> None:
        seconds = self.clock.monotonic() - began
        self.recorder.emit(ToolEnded(call, False, why, seconds))
        # What had come of an answer was paid for, though nobody told how much it was.
        paid, came = int(paid_characters / CHARACTERS_A_TOKEN), int(len(said) / CHARACTERS_A_TOKEN)
        self.recorder.emit(ModelCalled(
            self.model, purpose, digest, paid, came, -1.0 if paid else 0.0, seconds, self.model,
            prompts=prompts.told(self.prompts), estimated=True, failed=why,
            reply_digest=self.recorder.keep(said) if said else "",
        ))  # fmt: skip

    def _record(self, reply: Reply, call: str, purpose: str, digest: str) -> None:
        calls = [{"name": c.name, "arguments": dict(c.arguments), "fault": c.fault} for c in reply.calls]
        came = json.dumps({"model": reply.model, "text": reply.text, "calls": calls}, ensure_ascii=False, indent=1)
        names = ", ".join(c.name or "?" for c in reply.calls[:6]) or ("text" if reply.text else "nothing")
        self.recorder.emit(ToolEnded(
            call, True, f"{names}; {reply.prompt_tokens} + {reply.completion_tokens} tokens", reply.seconds, len(came)
        ))  # fmt: skip
        self.recorder.emit(ModelCalled(
            reply.model, purpose, digest, reply.prompt_tokens, reply.completion_tokens, reply.cost_usd, reply.seconds,
            reply.asked, reply.endpoint, self.recorder.keep(came), prompts.told(self.prompts), reply.estimated,
            reply.cut,
        ))  # fmt: skip
        first = reply.cost_usd < 0 and self.recorder.case.spent.unpriced == 1
        if first and (text := price_unknown(self.allowance, reply.model)):
            self.recorder.emit(Noted(text))
        if reply.cut:
            self._tell(f"{reply.model} was broken off: its answer was {reply.cut}.")

    def _tell(self, sentence: str) -> None:
        self.recorder.emit(Noted(redact_text(sentence)[0], "warning"))

    # Taking what came ------------------------------------------------------------------------------------------

    async def _take(self, reply: Reply) -> bool:
        """Carry out what was asked for; returns whether there is an answer that is final."""
        self.case.note(reply.text)
        reads = sum(each.name not in (answer.NAME, definitions.CHANGE, "suppose") for each in reply.calls)
        self.toolbox.room = max(LEAST_CHARACTERS, min(RESULT_CHARACTERS, RESULTS_CHARACTERS // max(1, reads)))
        final: ToolCall | None = None
        for call in reply.calls:
            if call.name == answer.NAME and not call.fault:
                final = call
            elif call.name == definitions.CHANGE:
                await self._change(call)
            elif call.name == "suppose":
                self._suppose(call)
            elif not any(each.name == answer.NAME for each in reply.calls):
                await self._read(call)
        if final is not None:
            return self._answered(final)
        if self.purpose == "change" and self._outcome.remedies:
            return True
        if not reply.calls:
            self._silent += 1
            self.case.complaint = (
                "You said nothing." if reply.empty else f"That was no call of a tool. End with `{answer.NAME}`."
            )
            if self._silent >= SILENT:
                what = "said nothing" if reply.empty else "answered in words and not with evidence"
                self._outcome.failure = f"{reply.model} {what}, {self._silent} times."
                return True
        elif any(each.name == answer.NAME and each.fault for each in reply.calls):
            return self._mend("Your answer could not be read: its arguments are not a JSON object.")
        return False

    def _answered(self, call: ToolCall) -> bool:
        try:
            given = answer.read(call.arguments)
        except ValueError as error:
            return self._mend(str(error))
        checked = check(given, self.case.shown())
        self._outcome.checked = checked
        if checked.whole or self._repaired:
            return True
        said = json.dumps(dict(call.arguments), ensure_ascii=False)
        # It does not remember what it said, and would write all of it anew.
        mine = f"\nYour answer was: {said}" if len(said) <= ANSWER_CHARACTERS else ""
        return self._mend(checked.repair + mine)

    def _mend(self, what: str) -> bool:
        """Ask for the answer once more, once; returns whether that was so already."""
        if self._repaired:
            if self._outcome.checked is None:
                self._outcome.failure = f"The answer could not be read: {what}"
            return True
        self._repaired = True
        self.case.complaint = what
        return False

    async def _change(self, call: ToolCall) -> None:
        number = self.recorder.new_call()
        title = " ".join(str(call.arguments.get("title") or "a change").split())[:100]
        began = self.clock.monotonic()
        self.recorder.emit(ToolStarted(number, "try", f"try a change: {title}"))
        try:
            if call.fault:
                raise UnansweredError(call.fault)
            if self._carried >= self.allowance.tool_calls:
                raise UnansweredError(f"not tried, {self.allowance.tool_calls} calls are all that a turn may")
            self._carried += 1
            name = f"A{self.remedies_before + len(self._outcome.remedies) + 1}"
            remedy = await written(call.arguments, self.toolbox, self.reader, name, self.model)
        except UnansweredError as error:
            said = str(error)
            self.case.failures.append(f"{definitions.CHANGE} {title}: {said}")
            self.recorder.emit(ToolEnded(number, False, said[:300], self.clock.monotonic() - began))
            return
        if not any(same.action == remedy.action for same in self._outcome.remedies):
            self._outcome.remedies.append(remedy)
        self.case.written = list(self._outcome.remedies)
        self.recorder.emit(ToolEnded(number, True, "the server would take it", self.clock.monotonic() - began))

    def _suppose(self, call: ToolCall) -> None:
        known = set(self.case.shown())
        board = supposed(self.recorder.case.board, call.arguments, known, self.model)
        if board != self.recorder.case.board:
            self.recorder.emit(BoardMade(board))

    async def _read(self, call: ToolCall) -> None:
        if call.fault:
            self.case.failures.append(f"{call.name[:40] or 'a call'}: {call.fault}")
            return
        if self.toolsets is not None and (why := self.toolsets.missing(call.name)):
            # Not a call yet: once it is found, it may be made just so.
            self.case.failures.append(why)
            return
        key = json.dumps([call.name, dict(call.arguments)], sort_keys=True, default=str)
        self._asked[key] = self._asked.get(key, 0) + 1
        if self._asked[key] >= SAME_CALL and call.name != "more":
            self._over = self._over or f"`{call.name}` was called {SAME_CALL} times with the same arguments"
        # What a search found may have made room for another one's meanwhile.
        if self._asked[key] > 1 and call.name not in ("more", FIND):
            self.case.failures.append(f"{call.name}: you called it so already; its text stands above")
            return
        if self._carried >= self.allowance.tool_calls:
            most = self.allowance.tool_calls
            self.case.failures.append(f"{call.name}: not carried out, {most} are all that a turn may")
            return
        number, began = self.recorder.new_call(), self.clock.monotonic()
        if self.toolsets is None or not self.toolsets.knows(call.name):
            self.recorder.emit(ToolStarted(number, "look", f"model: {titled(call.name, call.arguments)}"[:140]))
            result = await self.toolbox.read(call.name, call.arguments, number)
        elif call.name == FIND:
            await self._find(self.toolsets, call, number)
            return
        else:
            title, request = self.toolsets.titled(call)
            self.recorder.emit(ToolStarted(number, "mcp", f"model: {title}"[:140], request))
            result = await self.toolsets.call(call, number)
        self.case.add(result)
        # A call that failed tells little; it counts half, so that a name that was guessed costs no look.
        self._carried += 1 if result.ok else 0.5
        said = _said(result)
        self.recorder.emit(ToolEnded(number, result.ok, said, self.clock.monotonic() - began, len(result.body)))

    async def _find(self, toolsets: Toolsets, call: ToolCall, number: str) -> None:
        began = self.clock.monotonic()
        self.recorder.emit(ToolStarted(number, "find", f"model: {titled(call.name, call.arguments)}"[:140]))
        try:
            said, ok = await toolsets.find(call.arguments), True
        except UnansweredError as error:
            said, ok = str(error), False
            self.case.failures.append(f"{call.name}: {said}")
        self.case.offered = toolsets.offered
        self._carried += 0.5
        self.recorder.emit(ToolEnded(number, ok, said[:300], self.clock.monotonic() - began))


def _said(result: Result) -> str:
    if result.evidence is None:
        return result.text[:300]
    return f"{result.evidence.id}, {len(result.text.splitlines())} lines for the model"
