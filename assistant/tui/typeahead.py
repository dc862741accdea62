"""Keys one after the other: what one of them opens or focuses gets the next, also when both come in one packet.

Textual hands keys on as they arrive and lets widgets act on them later, so `g` and `m` of one read both reach the
widget that had the focus before: over a slow line a second key was lost, or did something else there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from textual import events
from textual.message_pump import MessagePump

if TYPE_CHECKING:
    from textual.app import App

    from assistant.domain.ports import Clock

Typed = events.Key | events.Paste

STUCK_SECONDS: Final = 1.0
"""After which the next key no longer waits for one whose effect takes that long."""
STALE_SECONDS: Final = 0.5
"""After which a key that waited no longer counts where something can be approved: that may not have been in sight."""
AT_ONCE: Final = ("ctrl+q", "ctrl+c", "ctrl+l")
"""Keys that must work however busy the app is."""


class TypeAhead:
    """Holds the keys that came while another one takes effect."""

    def __init__(self, app: App[int], clock: Clock) -> None:
        """Keep the app; nothing is typed yet."""
        self._app = app
        self._clock = clock
        self._waiting: deque[tuple[Typed, float]] = deque()
        self._released: Typed | None = None
        self._number = 0
        self._since: float | None = None

    def admit(self, event: Typed) -> bool:
        """Say whether this one may go on now; else it comes again when those before it have had their effect."""
        now = self._clock.monotonic()
        if event is self._released:
            self._released = None
            self._since = now
            return True
        if isinstance(event, events.Key) and event.key in AT_ONCE:
            return True
        busy = self._since is not None and now - self._since < STUCK_SECONDS
        # One that was let go stands in the app's queue, maybe behind this one, which was typed after it.
        if busy or self._waiting or self._released is not None:
            self._waiting.append((event, now))
            if not busy:
                self._release()
            return False
        self._since = now
        return True

    def sent(self) -> None:
        """Note that a key was handed on: when every widget that it may rise to has had it, the next one follows."""
        self._number += 1
        number, app = self._number, self._app
        path: list[MessagePump] = []
        node: MessagePump | None = app.focused or app.screen
        while node is not None:
            path.append(node)
            node = node._parent

        def next_hop() -> None:
            # A message that nobody took rises to the parent behind what the parent has to do already, and so does this.
            if path:
                pump = path.pop(0)
                if not pump.call_later(next_hop):
                    next_hop()
            else:
                self._arrived(number)

        next_hop()

    def _arrived(self, number: int) -> None:
        if number != self._number:
            return
        screen = self._app.screen
        # A screen that was just opened takes no key before it is furnished and something in it has the focus.
        if not screen.call_later(self._app.call_later, self._done, number):
            self._done(number)

    def _done(self, number: int) -> None:
        if number == self._number:
            self._since = None
            self._release()

    def _release(self) -> None:
        while self._waiting and self._released is None:
            event, came = self._waiting.popleft()
            stale = self._clock.monotonic() - came > STALE_SECONDS
            if not (stale and hasattr(self._app.screen, "guard")):
                self._released = event
                self._app.post_message(event)
