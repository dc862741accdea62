"""What stands where there is no transcript yet: nothing open, connecting, a failure and what to do, or what to ask."""

from __future__ import annotations

from assistant.errors import PilothouseError
from assistant.tui.lines import BLANK, Line, Tone, line


def welcome_lines(
    failure: PilothouseError | None, *, practice: int, connected: bool, connecting: bool, place: str, typing: bool
) -> list[Line]:
    """Return the lines; `practice` is how many recorded clusters there are, `typing` whether letters are text."""
    first = "esc, then " if typing else ""
    if failure is not None:
        return _failed(failure, practice, first)
    if not connected and not connecting:
        return [
            BLANK,
            line(("Nothing is open.", Tone.STRONG), hang=2),
            BLANK,
            line("  ", (f"{first}c", Tone.STRONG), f" lists {practice} practice incidents", hang=4),
            line("  ", ("ctrl+q", Tone.STRONG), " quits; the plain command pilothouse opens your own cluster", hang=4),
        ]
    if not connected:
        then = "  you can type already; it is sent when the cluster answers"
        return [BLANK, line(("connecting ..", Tone.MUTED), then, hang=2)]
    return [
        BLANK,
        line(("Ask what is wrong.", Tone.STRONG), " Nothing is changed before you approve it.", hang=2),
        BLANK,
        *(line("  - ", text, hang=4) for text in suggestions(place or "this cluster")),
        BLANK,
        line(("? shows the keys (esc first: the prompt takes letters as text)", Tone.MUTED), hang=2),
    ]


def _failed(failure: PilothouseError, practice: int, first: str) -> list[Line]:
    out = [BLANK, line(("not connected: ", Tone.BAD), failure.meaning, hang=2)]
    if failure.hint:
        out.append(line(("do: ", Tone.STRONG), failure.hint, hang=4))
    out.append(BLANK)
    if practice:
        text = f" lists {practice} recorded clusters that need no network."
        out += [line("Or practise: ", (f"{first}c", Tone.STRONG), text, hang=4)]
    return [*out, line((f"{first}r tries again, ! shows the raw text, ctrl+q quits", Tone.MUTED), hang=2)]


def suggestions(place: str) -> list[str]:
    """Return questions that always make sense."""
    return [
        f"Is anything wrong in {place}?",
        "What changed shortly before it broke?",
        "Why does this pod not become ready?",
    ]
