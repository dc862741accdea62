"""Markdown of answers as lines. Apart, because its parser is imported late and its input is hostile.

Raw HTML is text, images are their words, and a link shows where it leads and leads nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from assistant.policy.sanitize import cell_width, safe
from assistant.tui.lines import BLANK, Given, Line, Tone, line

if TYPE_CHECKING:
    from markdown_it.token import Token

CITATION = re.compile(r"(\[[EF]\d+(?:[ ,]+[EF]\d+)*\])")
INDENT = 2


def markdown_lines(source: str, ref: str = "") -> list[Line]:
    """Return the lines of a Markdown text, all with the same `ref`."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").enable("strikethrough").disable("image")
    tokens = parser.parse(safe(source))
    return _Writer(ref).write(tokens)


class _Writer:
    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.out: list[Line] = []
        self.lists: list[int] = []
        self.mark = ""
        self.quotes = 0
        self.heading = False
        self.table: list[list[str]] | None = None

    def write(self, tokens: Iterable[Token]) -> list[Line]:
        """Walk the parser's flat list of block tokens."""
        for token in tokens:
            match token.type:
                case "heading_open":
                    self.heading = True
                case "heading_close":
                    self.heading = False
                    self.out.append(BLANK)
                case "paragraph_close":
                    if not self.lists:
                        self.out.append(BLANK)
                case "bullet_list_open":
                    self.lists.append(0)
                case "ordered_list_open":
                    self.lists.append(int(token.attrs.get("start") or 1))
                case "bullet_list_close" | "ordered_list_close":
                    self.lists.pop()
                    if not self.lists:
                        self.out.append(BLANK)
                case "list_item_open":
                    number = self.lists[-1]
                    self.mark = f"{number}. " if number else "- "
                    if number:
                        self.lists[-1] += 1
                case "blockquote_open":
                    self.quotes += 1
                case "blockquote_close":
                    self.quotes -= 1
                case "fence" | "code_block":
                    self._code(token.content)
                case "hr":
                    self.out += [line(("  ---", Tone.MUTED), ref=self.ref), BLANK]
                case "table_open":
                    self.table = []
                case "tr_open" if self.table is not None:
                    self.table.append([])
                case "table_close":
                    self._table()
                case "inline" if self.table is not None and self.table:
                    self.table[-1].append(_plain(token))
                case "inline":
                    self._inline(token)
                case _:
                    pass
        while self.out and self.out[-1] is BLANK:
            self.out.pop()
        return self.out

    def _lead(self) -> tuple[str, int]:
        depth = INDENT + 2 * max(0, len(self.lists) - 1)
        lead = " " * depth + "| " * self.quotes + self.mark
        hang = cell_width(lead) if self.mark else depth + 2 * self.quotes + (2 if self.lists else 0)
        if not self.mark and self.lists:
            lead += "  "
        self.mark = ""
        return lead, hang

    def _inline(self, token: Token) -> None:
        rows: list[list[Given]] = [[]]
        tones = [Tone.HEADING if self.heading else Tone.PLAIN]
        links: list[str] = []
        for child in token.children or ():
            match child.type:
                case "text":
                    rows[-1] += _cited(child.content, tones[-1])
                case "code_inline":
                    rows[-1].append((child.content, Tone.CODE))
                case "softbreak":
                    rows[-1].append(" ")
                case "hardbreak":
                    rows.append([])
                case "strong_open" | "em_open":
                    tones.append(Tone.STRONG)
                case "strong_close" | "em_close":
                    tones.pop()
                case "link_open":
                    links.append(str(child.attrs.get("href") or ""))
                case "link_close":
                    rows[-1].append((f" <{links.pop()}>", Tone.MUTED))
                case _:
                    rows[-1].append(child.content)
        for row in rows:
            lead, hang = self._lead()
            self.out.append(line((lead, Tone.MUTED), *row, hang=hang, ref=self.ref))

    def _code(self, content: str) -> None:
        for row in content.rstrip("\n").split("\n"):
            self.out.append(line(("    | ", Tone.MUTED), (row, Tone.CODE), hang=6, ref=self.ref))
        self.out.append(BLANK)

    def _table(self) -> None:
        rows, self.table = self.table or [], None
        count = max((len(row) for row in rows), default=0)
        widths = [max(cell_width(row[i]) for row in rows if i < len(row)) for i in range(count)]
        for number, row in enumerate(rows):
            cells = [text + " " * (widths[i] - cell_width(text)) for i, text in enumerate(row)]
            tone = Tone.STRONG if number == 0 else Tone.PLAIN
            self.out.append(line("  ", ("  ".join(cells).rstrip(), tone), hang=4, ref=self.ref))
        self.out.append(BLANK)


def _cited(text: str, tone: Tone) -> list[Given]:
    return [(piece, Tone.ACCENT if CITATION.fullmatch(piece) else tone) for piece in CITATION.split(text) if piece]


def _plain(token: Token) -> str:
    return safe("".join(child.content for child in token.children or ()), multiline=False)
