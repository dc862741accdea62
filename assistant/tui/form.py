"""The fields of a server's question, what was typed into them, and how they stand on screen. Free of Textual."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from assistant.domain.asking import Choice, Field, FieldKind
from assistant.policy.redact import redact_text
from assistant.tui.lines import Given, Line, Tone, line
from assistant.tui.words import said, short

YES, NO = "yes", "no"
TYPED = frozenset({FieldKind.TEXT, FieldKind.NUMBER, FieldKind.INTEGER})
ABOUT_ROWS = 3
"""Rows of what a server says of one field; all of it is in the event."""
_YES_NO = (Choice(YES, "yes"), Choice(NO, "no"))
_PRESETS = {"true": YES, "yes": YES, "1": YES, "false": NO, "no": NO, "0": NO}

Value = str | tuple[str, ...]


def options(given: Field) -> tuple[Choice, ...]:
    """Return what can be chosen in a field that is not typed into."""
    return _YES_NO if given.kind is FieldKind.YES_NO else given.choices


def preset_of(given: Field) -> Value:
    """Return what the server put into a field beforehand; what it does not take itself is left out."""
    text = given.preset
    if given.kind in TYPED:
        return text
    if given.kind is FieldKind.YES_NO:
        return _PRESETS.get(text.strip().lower(), "")
    known = [each.value for each in given.choices]
    if given.kind is FieldKind.CHOICE:
        return text if text in known else ""
    wanted = {text} | {part.strip() for part in text.replace("\n", ",").split(",")}
    return tuple(value for value in known if value in wanted)


@dataclass(slots=True)
class Form:
    """What was filled in. Items are `field:N` for what is typed, `option:N:M` for what is chosen."""

    fields: Sequence[Field]
    values: list[Value] = field(default_factory=list)
    touched: bool = False

    def __post_init__(self) -> None:
        """Begin with the presets."""
        self.values = [preset_of(each) for each in self.fields]

    def typed_field(self, ref: str) -> int:
        """Return which field an item is typed into, -1 for none."""
        kind, _, rest = ref.partition(":")
        return int(rest) if kind == "field" else -1

    def put(self, place: int, value: str) -> None:
        """Keep what was typed."""
        self.touched = self.touched or value != self.values[place]
        self.values[place] = value

    def turn(self, ref: str) -> None:
        """Choose an option, or take that back."""
        kind, _, rest = ref.partition(":")
        if kind != "option":
            return
        place, number = (int(each) for each in rest.split(":"))
        given = self.fields[place]
        value, now = options(given)[number].value, self.values[place]
        self.touched = True
        if given.kind is FieldKind.CHOICES:
            chosen = set(now) ^ {value} if isinstance(now, tuple) else {value}
            self.values[place] = tuple(each.value for each in given.choices if each.value in chosen)
        else:
            self.values[place] = "" if now == value else value

    def trouble(self) -> str:
        """Return what is still wrong, as one sentence; the server's own rules are checked when it is sent."""
        for given, value in zip(self.fields, self.values, strict=True):
            name = f"“{title(given)}”"
            if not value:
                if given.required:
                    return f"{name} is needed."
                continue
            if given.kind is FieldKind.INTEGER and not _whole_number(str(value)):
                return f"{name} takes a whole number."
            if given.kind is FieldKind.NUMBER and not _number(str(value)):
                return f"{name} takes a number."
        return ""

    def secrets(self) -> list[str]:
        """Return the titles of fields whose text looks like a password, a token or a key."""
        pairs = zip(self.fields, self.values, strict=True)
        return [title(given) for given, value in pairs if isinstance(value, str) and redact_text(value)[1]]

    def answers(self) -> dict[str, Value]:
        """Return what is sent: fields that were left empty are left out."""
        return {given.name: value for given, value in zip(self.fields, self.values, strict=True) if value}

    def told(self) -> str:
        """Return what is sent, in a few words."""
        pairs = zip(self.fields, self.values, strict=True)
        return ", ".join(f"{title(given)} = {_shown(value)}" for given, value in pairs if value) or "no value"

    def lines(self, width: int) -> list[Line]:
        """Return the fields as items; titles and texts are the server's words."""
        out: list[Line] = []
        for place, given in enumerate(self.fields):
            ref = f"field:{place}" if given.kind in TYPED else ""
            need: list[Given] = [("  needed", Tone.WARN)] if given.required else []
            kind = "choose any" if given.kind is FieldKind.CHOICES else given.kind.value
            head: list[Given] = [("“", Tone.MUTED), (title(given), Tone.CODE), ("”", Tone.MUTED), *need]
            out.append(line(*head, hang=2, right=[(kind, Tone.MUTED)], ref=ref))
            out += said(given.about, width, indent=2, ref=ref, most=ABOUT_ROWS) if given.about else []
            if given.hint:
                out.append(line((f"  {short(given.hint, 120)}", Tone.MUTED), hang=4, ref=ref))
            out += self._value_lines(place, given, ref)
            out.append(line(""))
        return out[:-1]

    def _value_lines(self, place: int, given: Field, ref: str) -> list[Line]:
        value = self.values[place]
        if given.kind in TYPED:
            shown: Given = (_shown(value), Tone.STRONG) if value else ("(empty)", Tone.MUTED)
            return [line(("  = ", Tone.MUTED), shown, hang=4, ref=ref)]
        chosen = set(value) if isinstance(value, tuple) else {value}
        left, right = ("[", "]") if given.kind is FieldKind.CHOICES else ("(", ")")
        out = []
        for number, each in enumerate(options(given)):
            is_it = each.value in chosen
            words: list[Given] = [
                (f"  {left}{'x' if is_it else ' '}{right} ", Tone.STRONG if is_it else Tone.PLAIN),
                (short(each.title or each.value, 60), Tone.STRONG if is_it else Tone.CODE),
            ]
            if each.title and each.title != each.value:
                words.append((f"  {short(each.value, 30)}", Tone.MUTED))
            out.append(line(*words, hang=6, ref=f"option:{place}:{number}"))
        return out


def title(given: Field) -> str:
    """Return what a field is called, in the server's words, cut."""
    return short(given.title or given.name)


def _shown(value: Value) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else value
    return short(text, 60)


def _whole_number(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
