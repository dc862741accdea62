"""How each tone looks: dark, light and without colour. Apart, so that a test can measure the contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant.tui.lines import Tone

if TYPE_CHECKING:
    from textual.theme import Theme


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as `#rrggbb`, with the words of a Rich style (`bold`, `underline`, `reverse`) for each tone."""

    name: str
    dark: bool
    background: str
    surface: str
    border: str
    tones: dict[Tone, str]

    def style(self, tone: Tone) -> str:
        """Return the Rich style of a tone on this palette's background."""
        return self.tones[tone]


_DARK = Palette(
    "pilothouse-dark", True, "#101418", "#182028", "#3a4854",
    {
        Tone.PLAIN: "#d5dde4", Tone.MUTED: "#8b9aa7", Tone.STRONG: "bold #f2f6f9", Tone.HEADING: "bold #7cc4f5",
        Tone.ACCENT: "#7cc4f5", Tone.CODE: "#e6c384", Tone.GOOD: "#8fce8b", Tone.WARN: "bold #f0b95a",
        Tone.BAD: "bold #ff8a80", Tone.ADDED: "#8fce8b", Tone.REMOVED: "#ff8a80", Tone.MATCH: "bold #101418 on #f0b95a",
        Tone.ALERT: "bold #101418 on #ff8a80",
    },
)  # fmt: skip
_LIGHT = Palette(
    "pilothouse-light", False, "#fbfbf9", "#eeeeea", "#b4b4ac",
    {
        Tone.PLAIN: "#23282d", Tone.MUTED: "#5c646c", Tone.STRONG: "bold #000000", Tone.HEADING: "bold #0b5394",
        Tone.ACCENT: "#0b5394", Tone.CODE: "#7a4a00", Tone.GOOD: "#1d6b1d", Tone.WARN: "bold #8a5000",
        Tone.BAD: "bold #a8071a", Tone.ADDED: "#1d6b1d", Tone.REMOVED: "#a8071a", Tone.MATCH: "bold #000000 on #ffd666",
        Tone.ALERT: "bold #ffffff on #a8071a",
    },
)  # fmt: skip
_MONO = Palette(
    "pilothouse-mono", True, "#000000", "#000000", "#b0b0b0",
    {
        Tone.PLAIN: "#d8d8d8", Tone.MUTED: "#a8a8a8", Tone.STRONG: "bold #ffffff",
        Tone.HEADING: "bold underline #ffffff",
        Tone.ACCENT: "bold #ffffff", Tone.CODE: "#ffffff", Tone.GOOD: "#d8d8d8", Tone.WARN: "bold #ffffff",
        Tone.BAD: "bold underline #ffffff", Tone.ADDED: "bold #ffffff", Tone.REMOVED: "underline #d8d8d8",
        Tone.MATCH: "bold #000000 on #ffffff", Tone.ALERT: "bold #000000 on #ffffff",
    },
)  # fmt: skip

PALETTES = {palette.name: palette for palette in (_DARK, _LIGHT, _MONO)}
"""By theme name; the first is the default. None of them uses the terminal's own colours (NO_COLOR breaks those)."""

DEFAULT, MONO = "pilothouse-dark", "pilothouse-mono"


def theme_of(palette: Palette) -> Theme:
    """Return the palette as a Textual theme."""
    from textual.theme import Theme

    plain = palette.tones[Tone.PLAIN].split()[-1]
    return Theme(
        name=palette.name, dark=palette.dark, primary=palette.tones[Tone.ACCENT].split()[-1], foreground=plain,
        background=palette.background, surface=palette.surface, panel=palette.surface,
        success=palette.tones[Tone.GOOD].split()[-1], warning=palette.tones[Tone.WARN].split()[-1],
        error=palette.tones[Tone.BAD].split()[-1], accent=palette.tones[Tone.ACCENT].split()[-1],
        variables={"border": palette.border},
    )  # fmt: skip
