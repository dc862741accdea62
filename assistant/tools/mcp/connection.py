"""One MCP server's connection, owned by one task: the SDK's contexts must be entered and left in the same one.

Started when first needed, started again within bounds after it ended, and no call is ever made twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext
from mcp_types import CONNECTION_CLOSED
from pydantic import TypeAdapter, ValidationError

from assistant import __version__
from assistant.domain.ports import Clock
from assistant.domain.toolserver import ServerState
from assistant.tools.mcp.deadline import OutOfTimeError, within
from assistant.tools.mcp.faults import McpCallError, McpError, McpServerError, McpUnknownOutcomeError
from assistant.tools.mcp.listing import Listing, changed_by, listed
from assistant.tools.mcp.questions import MOST_ROUNDS, Elicit, Exchange, Questions
from assistant.tools.mcp.texts import line

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

START_SECONDS: Final = 30.0
MOST_STARTS: Final = 4
STARTS_WINDOW_SECONDS: Final = 120.0
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PROGRESS: Final = 300
_SESSION_GONE: Final = "Session terminated"
T = TypeVar("T")

Ended = Callable[[str], None]
Transport = Callable[[Ended], "AbstractAsyncContextManager[TransportStreams]"]

for _name in ("mcp", "httpx2", "httpcore2"):
    # Without a handler their warnings would go to the terminal, with whatever a server wrote in them.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class CallNews:
    """What is to be seen of a call under way: seconds until it is given up, and what the server says meanwhile.

    `asking`: the server waits for the person's answer to a question, and the time stands still.
    """

    seconds_left: float
    progress: float | None = None
    total: float | None = None
    message: str = ""
    asking: bool = False


_Params = types.CallToolRequestParams | types.ReadResourceRequestParams | types.GetPromptRequestParams
_Answer = types.CallToolResult | types.ReadResourceResult | types.GetPromptResult
_TOOL: Final[TypeAdapter[Any]] = TypeAdapter(types.CallToolResult | types.InputRequiredResult)
_RESOURCE: Final[TypeAdapter[Any]] = TypeAdapter(types.ReadResourceResult | types.InputRequiredResult)
_PROMPT: Final[TypeAdapter[Any]] = TypeAdapter(types.GetPromptResult | types.InputRequiredResult)


class _Life:
    """One start of a server until its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Client] = loop.create_future()
        self.over = asyncio.Event()
        self.why = ""
        self.task: asyncio.Task[None] | None = None

    def end(self, why: str) -> None:
        """Have the owner leave; the first reason counts."""
        self.why = self.why or why
        self.over.set()

    @property
    def ended(self) -> bool:
        return self.over.is_set() or (self.task is not None and self.task.done())


class Connection:
    """What the hub talks to a server through."""

    def __init__(self, name: str, transport: Transport, clock: Clock, elicit: Elicit) -> None:
        """Keep how to connect; nothing is started before the first call."""
        self.name = name
        self.state = ServerState.OFF
        self.error = ""
        self.protocol = ""
        self.stale = set(Listing)
        """The lists of which the server said that they changed, or which another process of it made."""
        self._transport = transport
        self._clock = clock
        self._questions = Questions(name, clock, elicit)
        self._life: _Life | None = None
        self._lock = asyncio.Lock()
        self._starts: deque[float] = deque(maxlen=MOST_STARTS)
        self._failed = 0
        self._closed = False

    @property
    def ended(self) -> bool:
        """Say whether there is no server, or it is about to go."""
        return self._life is None or self._life.ended

    async def listed(self, what: Listing, most: int) -> tuple[list[Any], bool]:
        """Return what the server lists, at most so many, and whether that is all. Raises McpServerError."""
        for again in (True, False):
            life, client = await self._alive()
            self.stale.discard(what)
            try:
                return await self._bounded(life, START_SECONDS, listed(client, what, most))
            except McpError as error:
                self.stale.add(what)
                if again and life.ended and not self._closed:
                    # It had died unseen, perhaps an hour ago. Asking what there is does nothing: it may be done twice.
                    continue
                raise McpServerError(
                    f"MCP server {self.name} does not list its {what.words}.", error.hint, detail=error.detail
                ) from error
        raise AssertionError("unreachable")

    async def call(
        self, tool: str, arguments: dict[str, Any], seconds: float, watch: Callable[[CallNews], None] | None = None
    ) -> types.CallToolResult:
        """Make one call, once. `watch` sees each second what is left, and the progress.

        Cancelling the caller, and the end of the time, tell the server to stop. Raises McpCallError where the server
        refused it, McpUnknownOutcomeError where nobody knows what came of it, McpServerError where it was not made.
        """
        params = types.CallToolRequestParams(name=tool, arguments=arguments)
        result: types.CallToolResult = await self._exchanged(types.CallToolRequest, params, _TOOL, seconds, watch)
        return result

    async def read(
        self, uri: str, seconds: float, watch: Callable[[CallNews], None] | None = None
    ) -> types.ReadResourceResult:
        """Read one resource, as `call` does with a tool."""
        params = types.ReadResourceRequestParams(uri=uri)
        result: types.ReadResourceResult = await self._exchanged(
            types.ReadResourceRequest, params, _RESOURCE, seconds, watch
        )
        return result

    async def prompt(
        self, name: str, values: dict[str, str], seconds: float, watch: Callable[[CallNews], None] | None = None
    ) -> types.GetPromptResult:
        """Get one prompt with its values filled in, as `call` does with a tool."""
        params = types.GetPromptRequestParams(name=name, arguments=values or None)
        result: types.GetPromptResult = await self._exchanged(types.GetPromptRequest, params, _PROMPT, seconds, watch)
        return result

    async def _exchanged(
        self, kind: Callable[..., Any], params: _Params, adapter: TypeAdapter[Any], seconds: float,
        watch: Callable[[CallNews], None] | None,
    ) -> Any:  # fmt: skip
        life, client = await self._alive()
        news = CallNews(seconds)

        def show(**changed: Any) -> None:
            nonlocal news
            news = replace(news, **changed)
            if watch is not None:
                watch(news)

        async def progress(done: float, total: float | None, message: str | None) -> None:
            show(progress=done, total=total, message=line(message, LONGEST_PROGRESS))

        with self._questions.during(lambda: show(asking=exchange.hold.active)) as exchange:
            work = self._rounds(client, kind, params, adapter, progress, exchange)
            return await self._bounded(life, seconds, work, lambda left: show(seconds_left=left), exchange)

    async def _rounds(
        self, client: Client, kind: Callable[..., Any], params: _Params, adapter: TypeAdapter[Any], progress: Any,
        exchange: Exchange,
    ) -> _Answer:  # fmt: skip
        # Not the client's own methods: they repeat a call on some errors, and run a server's patterns over its results.
        session = client.session
        for _ in range(MOST_ROUNDS):
            result: _Answer | types.InputRequiredResult
            result = await session.send_request(kind(params=params), adapter, progress_callback=progress)
            if not isinstance(result, types.InputRequiredResult):
                return result
            answers: dict[str, types.InputResponse] = {}
            for key, question in (result.input_requests or {}).items():
                if isinstance(question, types.ElicitRequest):
                    answers[key] = await self._questions.put(question.params, exchange)
                    continue
                context = ClientRequestContext(session=session, request_id=key)
                answer = await session.dispatch_input_request(context, question)
                if isinstance(answer, types.ErrorData):
                    raise MCPError.from_error_data(answer)
                answers[key] = answer
            again = {"input_responses": answers or None, "request_state": result.request_state}
            params = params.model_copy(update=again)
        raise McpCallError(f"MCP server {self.name} asks again and again instead of answering.", "Try something else.")

    async def _bounded(
        self, life: _Life, seconds: float, work: Coroutine[Any, Any, T], left: Callable[[float], None] | None = None,
        exchange: Exchange | None = None,
    ) -> T:  # fmt: skip
        try:
            return await within(self._clock, seconds, work, left, exchange.hold if exchange else None)
        except OutOfTimeError as error:
            raise McpUnknownOutcomeError(
                f"MCP server {self.name} did not answer within {seconds:g} seconds.",
                "It was told to stop; whether it did what was asked is not known. Look before you ask again.",
            ) from error
        except MCPError as error:
            raise self._refused(life, error) from error
        except ValidationError as error:
            raise McpUnknownOutcomeError(
                f"MCP server {self.name} gave an answer that is none.", "Its call was made; report this to its maker.",
                detail=f"{error.error_count()} faults in the result",
            ) from error  # fmt: skip
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, RuntimeError) as error:
            life.end("the connection was lost")
            raise self._lost(life) from error

    def _refused(self, life: _Life, error: MCPError) -> McpError:
        if error.code == CONNECTION_CLOSED:
            life.end("it ended")
            return self._lost(life)
        detail = line(error.message)
        if error.message == _SESSION_GONE:
            # Said by HTTP servers of the older protocol after a restart; the next call opens a new session.
            life.end("it no longer knows the session")
        return McpCallError(
            f"MCP server {self.name} refused the call ({error.code}).", "Correct the arguments, or ask another way.",
            detail=detail,
        )  # fmt: skip

    def _lost(self, life: _Life) -> McpUnknownOutcomeError:
        return McpUnknownOutcomeError(
            f"MCP server {self.name} went away during a call: {life.why}.",
            "Whether the call was carried out is not known; it was not made again. Look before you ask again.",
        )

    async def _alive(self) -> tuple[_Life, Client]:
        async with self._lock:
            self._check_open()
            life = self._life
            if life is None or life.ended:
                if life is not None and life.task is not None:
                    await asyncio.wait({life.task})
                await self._pause()
                self._check_open()
                life = self._start()
        try:
            # A caller that is cancelled does not take the server away from the others.
            return life, await asyncio.shield(life.ready)
        except McpError as error:
            raise McpServerError(error.meaning, error.hint, detail=error.detail) from error

    def _check_open(self) -> None:
        # Before the pause, and after it: `close` does not wait for a server that was not started yet.
        if self._closed:
            raise McpServerError(f"MCP server {self.name} is closed.", "Start Pilothouse anew.")

    async def _pause(self) -> None:
        now = self._clock.monotonic()
        if len(self._starts) == MOST_STARTS and now - self._starts[0] < STARTS_WINDOW_SECONDS:
            raise McpServerError(
                f"MCP server {self.name} was started {MOST_STARTS} times within {STARTS_WINDOW_SECONDS:.0f} seconds.",
                "It is left alone until that time is over; look into its log.", detail=self.error,
            )  # fmt: skip
        if self._failed:
            await self._clock.sleep(FIRST_PAUSE_SECONDS * 2 ** min(self._failed - 1, 4))

    def _start(self) -> _Life:
        self._starts.append(self._clock.monotonic())
        self.state, self.stale = ServerState.STARTING, set(Listing)
        life = self._life = _Life()
        life.ready.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        life.task = asyncio.create_task(self._own(life), name=f"mcp {self.name}")
        return life

    async def _own(self, life: _Life) -> None:
        """Enter the SDK's contexts, stay until the end, leave them: all in this task."""
        try:
            with anyio.CancelScope() as scope:
                late = asyncio.create_task(self._too_late(life, scope), name=f"mcp start {self.name}")
                try:
                    async with self._client(life) as client:
                        late.cancel()
                        self.state, self.error, self.protocol = ServerState.READY, "", client.protocol_version
                        life.ready.set_result(client)
                        await life.over.wait()
                finally:
                    late.cancel()
        except Exception as error:
            life.end(_reason(error))
        finally:
            life.end("it was stopped")
            self._questions.end()
            self._ended(life)

    def _client(self, life: _Life) -> Client:
        async def notified(message: object) -> None:
            # Only noted: a server that says it a thousand times a second causes no work.
            self.stale |= changed_by(message)

        async def elicited(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
            return await self._questions.put(params)

        return Client(
            self._transport(life.end), message_handler=notified, elicitation_callback=elicited, cache=None,
            client_info=types.Implementation(name="pilothouse", version=__version__),
        )  # fmt: skip

    async def _too_late(self, life: _Life, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(START_SECONDS)
        if not life.ready.done():
            life.end(f"it was not ready after {START_SECONDS:.0f} seconds")
            scope.cancel()

    def _ended(self, life: _Life) -> None:
        if self._closed:
            self.state = ServerState.OFF
        else:
            self.state, self.error = ServerState.FAILED, life.why
        # A server that worked for a while before it ended is started again without a long pause.
        self._failed = 1 if life.ready.done() else self._failed + 1
        if not life.ready.done():
            life.ready.set_exception(
                McpServerError(
                    f"MCP server {self.name} cannot be started: {life.why}.", "Look into its log and its configuration."
                )
            )

    def renew(self, why: str) -> None:
        """End the server, should it run; the next call starts it anew."""
        if self._life is not None and not self._life.ended:
            self._life.end(why)

    async def close(self) -> None:
        """End the server and wait until it is gone."""
        self._closed = True
        life = self._life
        if life is not None and life.task is not None:
            life.end("it was closed")
            if not life.ready.done():
                life.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({life.task})
        self.state = ServerState.OFF


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError | PermissionError | OSError) and error.strerror:
        return f"it could not be started or reached ({error.strerror})"
    if isinstance(error, MCPError):
        return f"it does not speak the protocol ({line(error.message)})"
    if isinstance(error, McpError):
        return f"{error.meaning} {error.hint}"
    if isinstance(error, ValidationError):
        return "what it says at the start is no MCP"
    return f"{type(error).__name__}: {line(str(error))}"
