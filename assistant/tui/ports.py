"""What the terminal needs from the rest: a session, a library of sessions, a way to connect.

Apart, because the screens are tested and shown with scripted ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from assistant.domain.asking import Reply
    from assistant.domain.case import Case
    from assistant.domain.event import Event
    from assistant.domain.hypothesis import Mark
    from assistant.domain.proposal import Answer, ProposalState
    from assistant.session.ports import ToolServers

Listener: TypeAlias = "Callable[[Event, Case], None]"


class AskingLike(Protocol):
    """Where a person answers in the middle of a turn (`assistant.session.asking.Asking`)."""

    attended: bool
    """Whether a person is there to be asked; else everything is a no at once."""

    def decide(self, call: str, digest: str, allowed: bool, reason: str = "") -> None:
        """Answer a held call. Raises UsageError where it does not wait, or is not what was shown."""
        ...

    def reply(self, question: str, reply: Reply, values: Mapping[str, str | tuple[str, ...]] | None = None) -> None:
        """Answer a server's question. Raises UsageError where it does not take these values: then it still waits."""
        ...


class SessionLike(Protocol):
    """A running session (`assistant.session.runner.Session`)."""

    @property
    def case(self) -> Case:
        """Return the case as it stands."""
        ...

    @property
    def asking(self) -> AskingLike:
        """Return where a person answers in the middle of a turn."""
        ...

    @property
    def servers(self) -> ToolServers | None:
        """Return the MCP servers, None for a session without them."""
        ...

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called after every event; returns how to end that."""
        ...

    async def ask(self, text: str, namespace: str | None = None) -> object:
        """Start a turn."""
        ...

    def steer(self, text: str) -> object:
        """Give the running turn a direction."""
        ...

    def mark(self, hypothesis_id: str, mark: Mark) -> object:
        """Strike or pin a hypothesis, or take that back."""
        ...

    async def stop(self, reason: str) -> object:
        """Stop the running turn."""
        ...

    async def decide(
        self, proposal_id: str, answer: Answer, reason: str = "", shown: str = "", typed_name: str = "",
        *, looked_seconds: float = -1.0,
    ) -> ProposalState:  # fmt: skip
        """Hand over a person's decision; `looked_seconds` is how long the card was on screen."""
        ...

    async def stop_changes(self, why: str) -> int:
        """Have the gate void all that waits and send nothing more; returns how many that ended."""
        ...

    async def recheck(self, proposal_id: str) -> object:
        """Have the gate examine a proposal again."""
        ...

    async def review(self, remedy_id: str) -> object:
        """Have the gate examine a suggested remedy, so that a person can decide on it."""
        ...

    async def undo(self, proposal_id: str) -> object:
        """Have the gate examine the way back of an applied change; it is a proposal like any other."""
        ...

    async def close(self) -> object:
        """End the session and make everything durable."""
        ...

    async def detach(self) -> object:
        """Let go of the session as it stands, so that it can be resumed there."""
        ...

    def body(self, sha256: str) -> str:
        """Return a stored text. Raises StoreError."""
        ...


class SessionSummary(Protocol):
    """One row of the session list (`assistant.store.index.SessionRow`)."""

    @property
    def id(self) -> str:
        """Return the session's id."""
        ...

    @property
    def opened_at(self) -> datetime:
        """Return when it began."""
        ...

    @property
    def context(self) -> str:
        """Return the context's name."""
        ...

    @property
    def namespace(self) -> str:
        """Return the namespace."""
        ...

    @property
    def title(self) -> str:
        """Return the first question."""
        ...

    @property
    def verdict(self) -> str:
        """Return the verdict of the last turn."""
        ...

    @property
    def status(self) -> str:
        """Return open, running, waiting, done, stopped or closed."""
        ...

    @property
    def result(self) -> str:
        """Return one line on how it ended."""
        ...

    @property
    def events(self) -> int:
        """Return how many events there are."""
        ...

    @property
    def applied(self) -> int:
        """Return how many changes were applied."""
        ...

    @property
    def mind(self) -> str:
        """Return which mind thought."""
        ...


class ListedSession(Protocol):
    """A row, and whether it was at work when its process went away (`assistant.session.library.LibraryRow`)."""

    @property
    def row(self) -> SessionSummary:
        """Return the row."""
        ...

    @property
    def interrupted(self) -> bool:
        """Say whether it was interrupted."""
        ...


class SessionLibrary(Protocol):
    """The stored sessions. The calls may block on a file: the screens make them in a thread."""

    def list(self, limit: int = 200, query: str = "") -> Sequence[ListedSession]:
        """Return the newest sessions, those with the words of `query` anywhere in them."""
        ...

    def load(self, session: str) -> Sequence[Event]:
        """Return the events of a session. Raises StoreError."""
        ...

    def body(self, sha256: str) -> str:
        """Return a stored text. Raises StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class PracticeIncident:
    """A recorded cluster to practise on; `symptom` is what a user of it would report."""

    name: str
    title: str
    symptom: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """A session to be replayed: what it is called, its events, and how to get the texts they cite."""

    title: str
    events: Sequence[Event]
    body: Callable[[str], str]


class Connect(Protocol):
    """How the app gets its session; runs after the first frame. Raises PilothouseError."""

    def __call__(self, incident: str = "", resume: str = "") -> Awaitable[SessionLike]:
        """Open a session: on the current context, on a practice incident, or resuming a stored session."""
        ...
