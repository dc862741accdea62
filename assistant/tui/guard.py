"""The second wall: what leaves for the terminal is looked at once more, whoever drew it.

The first wall is `SafeText`. This one costs one regular expression a frame and catches what a widget of the
framework, or a later mistake of ours, would let through: OSC, DCS and C1 sequences and invisible characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from textual.driver import Driver

_STRAY = re.compile(
    "\x1b\\](?!52;)[^\x07\x1b]{0,4096}(?:\x07|\x1b\\\\)?"  # operating system commands, save our clipboard
    "|\x1b[PX^_][^\x1b]{0,4096}(?:\x1b\\\\)?"  # device control, private, application strings
    "|[\x80-\x9f]"  # eight-bit controls
    "|[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"  # bidirectional, zero width, tags
    "|[\x00-\x06\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"  # other controls
)


def filtered(data: str) -> str:
    """Return terminal output without the sequences that this program never sends."""
    return _STRAY.sub("", data) if _STRAY.search(data) else data


def guarded(driver: type[Driver]) -> type[Driver]:
    """Return the driver class with a filter in front of its `write`."""

    class Guarded(driver):  # type: ignore[misc,valid-type]
        def write(self, data: str) -> None:
            super().write(filtered(data))

    Guarded.__name__ = driver.__name__
    return cast("type[Driver]", cast("Any", Guarded))
