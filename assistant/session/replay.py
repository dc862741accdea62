"""Steps through a recorded session: a fold up to any event, and the times for playing it. Reads nothing but events.

There is no way from here to a gate, a workflow or a socket; live and replayed cases are the same type.
"""

from __future__ import annotations

import bisect
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from assistant.domain import event as ev
from assistant.domain.case import Case
from assistant.domain.ports import Clock
from assistant.wire import to_builtins

SNAPSHOT_EVERY: Final = 200
IDLE_SECONDS: Final = 3.0
SPEEDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 0.0)
"""Times the recorded pace; 0.0 means: at once."""


class MarkerKind(StrEnum):
    """What a marker on the timeline stands for."""

    QUESTION = "question"
    PLAN = "plan"
    FAILURE = "failure"
    FINDING = "finding"
    PROPOSAL = "proposal"
    DECISION = "decision"
    WRITE = "write"
    END = "end"


@dataclass(frozen=True, slots=True)
class Marker:
    """A step worth jumping to; `seconds` is its real time since the first event."""

    step: int
    kind: MarkerKind
    seconds: float


def marker_kind(payload: ev.Payload) -> MarkerKind | None:
    """Return the kind of marker that an event sets, None for the many that set none."""
    match payload:
        case ev.Asked():
            return MarkerKind.QUESTION
        case ev.PlanMade():
            return MarkerKind.PLAN
        case ev.ErrorRaised() | ev.ClusterLost() | ev.BudgetReached():
            return MarkerKind.FAILURE
        case ev.ToolEnded(ok=False):
            return MarkerKind.FAILURE
        case ev.Answered() | ev.FindingsRanked():
            return MarkerKind.FINDING
        case ev.Proposed():
            return MarkerKind.PROPOSAL
        case ev.Decided() | ev.CallDecided() | ev.QuestionAnswered():
            return MarkerKind.DECISION
        case ev.Sending() | ev.Concluded():
            return MarkerKind.WRITE
        case ev.SessionClosed() | ev.Stopped():
            return MarkerKind.END
        case _:
            return None


class Player:
    """A position in a list of events. Step 0 is before the first event, step n after event n."""

    def __init__(self, events: tuple[ev.Event, ...]) -> None:
        self.events = events
        self.speed = 1.0
        self.playing = False
        self._snapshots: list[Case] = []
        self._seconds = [0.0]
        self._played = [0.0]
        self._position = 0
        case = Case()
        start = events[0].at if events else None
        for place, event in enumerate(events):
            if place % SNAPSHOT_EVERY == 0:
                self._snapshots.append(case)
            case = case.apply(event)
            # A clock that was set back while recording must not make time run backwards.
            seconds = max((event.at - start).total_seconds() if start else 0.0, self._seconds[-1])
            self._played.append(self._played[-1] + min(seconds - self._seconds[-1], IDLE_SECONDS))
            self._seconds.append(seconds)
        self._end = case
        self._case = self._snapshots[0] if self._snapshots else case
        self.markers = tuple(
            Marker(step, kind, self._seconds[step])
            for step, event in enumerate(events, start=1)
            if (kind := marker_kind(event.payload)) is not None
        )

    @property
    def length(self) -> int:
        """Return the number of steps."""
        return len(self.events)

    @property
    def position(self) -> int:
        """Return the step at which the case stands."""
        return self._position

    @property
    def case(self) -> Case:
        """Return the case as it was at this position."""
        return self._case

    @property
    def event(self) -> ev.Event | None:
        """Return the event of this step, None before the first."""
        return self.events[self._position - 1] if self._position else None

    @property
    def at_end(self) -> bool:
        """Say whether there is no later step."""
        return self._position == len(self.events)

    @property
    def seconds(self) -> float:
        """Return the real time of this step since the first event."""
        return self._seconds[self._position]

    @property
    def total_seconds(self) -> float:
        """Return the real length of the recording."""
        return self._seconds[-1]

    def case_at(self, step: int) -> Case:
        """Return the case after `step` events without moving; folds at most 200 events."""
        step = min(max(step, 0), len(self.events))
        if step == len(self.events):
            return self._end
        base = step // SNAPSHOT_EVERY
        case = self._snapshots[base]
        for event in self.events[base * SNAPSHOT_EVERY : step]:
            case = case.apply(event)
        return case

    def jump(self, step: int) -> Case:
        """Go to a step; beyond either end means that end."""
        step = min(max(step, 0), len(self.events))
        if step == self._position + 1:
            self._case = self._case.apply(self.events[step - 1])
        elif step != self._position:
            self._case = self.case_at(step)
        self._position = step
        return self._case

    def forward(self) -> Case:
        """Go one step on."""
        return self.jump(self._position + 1)

    def back(self) -> Case:
        """Go one step back."""
        return self.jump(self._position - 1)

    def jump_seconds(self, seconds: float) -> Case:
        """Go to the last step at or before a real time since the first event."""
        return self.jump(bisect.bisect_right(self._seconds, seconds) - 1 if seconds >= 0 else 0)

    def jump_time(self, at: datetime) -> Case:
        """Go to the last step at or before a clock time."""
        if not self.events:
            return self._case
        return self.jump_seconds((at - self.events[0].at).total_seconds())

    def jump_tenth(self, tenth: int) -> Case:
        """Go to a tenth of the recording by steps, 0 the beginning and 10 the end."""
        return self.jump(round(len(self.events) * min(max(tenth, 0), 10) / 10))

    def next_marker(self) -> Case:
        """Go to the next marker, or the end."""
        later = [marker.step for marker in self.markers if marker.step > self._position]
        return self.jump(later[0] if later else len(self.events))

    def previous_marker(self) -> Case:
        """Go to the marker before, or the beginning."""
        earlier = [marker.step for marker in self.markers if marker.step < self._position]
        return self.jump(earlier[-1] if earlier else 0)

    def find(self, text: str) -> bool:
        """Go to the next step whose event holds `text` (letter case aside), starting over at the end; say if found."""
        wanted = text.casefold()
        order = [*range(self._position + 1, self.length + 1), *range(1, self._position + 1)]
        for step in order:
            if wanted and any(wanted in part.casefold() for part in _texts(to_builtins(self.events[step - 1].payload))):
                self.jump(step)
                return True
        return False

    def faster(self) -> float:
        """Go to the next higher speed and return it."""
        return self._shift(1)

    def slower(self) -> float:
        """Go to the next lower speed and return it."""
        return self._shift(-1)

    def delay_seconds(self) -> float:
        """Return how long to wait before the next step at this speed; idle times over 3 s count as 3 s."""
        if self.at_end or self.speed <= 0:
            return 0.0
        return (self._played[self._position + 1] - self._played[self._position]) / self.speed

    def gap_shortened(self, step: int) -> bool:
        """Say whether the time before a step is longer than what playing shows of it."""
        return 0 < step <= self.length and self._seconds[step] - self._seconds[step - 1] > IDLE_SECONDS

    async def play(self, clock: Clock) -> AsyncIterator[Case]:
        """Step on at the recorded pace until the end, or until `playing` is set to false."""
        self.playing = True
        while self.playing and not self.at_end:
            await clock.sleep(self.delay_seconds())
            if self.playing:
                yield self.forward()
        self.playing = False

    def _shift(self, by: int) -> float:
        place = SPEEDS.index(self.speed) if self.speed in SPEEDS else 1
        self.speed = SPEEDS[min(max(place + by, 0), len(SPEEDS) - 1)]
        return self.speed


def _texts(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case list() | tuple():
            return [text for item in value for text in _texts(item)]
        case dict():
            return [text for item in value.values() for text in _texts(item)]
        case _:
            return []
