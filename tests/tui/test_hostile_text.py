"""Text from a cluster has no effect on the terminal or the app: no escape, no markup, no link, no invisible order."""

from __future__ import annotations

import ast
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assistant.domain import event as ev
from assistant.domain.finding import Finding, Role, Verdict
from assistant.policy.sanitize import SafeText, safe
from assistant.tui.app import PilothouseApp
from assistant.tui.guard import filtered, guarded
from assistant.tui.lines import Line, Tone, as_text, line, wrap
from assistant.tui.markdown import markdown_lines
from assistant.tui.overlays import quoted_lines
from tests.tui import fixture
from tests.tui.screens import built, settled
from tests.tui.scripted import StillClock

ROOT = Path(__file__).parents[2]
ESC = chr(27)
HOSTILE = (
    f"{ESC}]52;c;QUJD{chr(7)}{ESC}[2J[@click=app.leave]approve[/] [/x] \u202egnissim {chr(0x9B)}31m [link=x]y[/link]"
)


def hostile_payloads() -> list[ev.Payload]:
    """The investigation with hostile text wherever a cluster, a client or a model can put some."""
    made = fixture.proposal(title=HOSTILE, kubectl=HOSTILE)
    finding = Finding("F1", 1, Role.ROOT_CAUSE, "other", fixture.POD, HOSTILE, HOSTILE, 0.5)
    fact = fixture.evidence(9, HOSTILE, HOSTILE, fixture.LOG)
    return [
        ev.ToolStarted("h1", "logs", HOSTILE, HOSTILE, HOSTILE),
        ev.ToolEnded("h1", False, HOSTILE, 1.0, 10, HOSTILE + "\n" + HOSTILE),
        ev.EvidenceAdded(fact, "h1"),
        ev.FindingsRanked((finding,)),
        ev.ErrorRaised("x", HOSTILE, HOSTILE, HOSTILE),
        ev.Noted(HOSTILE, "warning"),
        ev.Answered(
            f"# {HOSTILE}\n\n[click]({HOSTILE})\n\n<b onclick=x>{HOSTILE}</b>\n\n```\n{HOSTILE}\n```",
            Verdict.FAULT,
            "m",
        ),
        ev.Proposed(made),
        ev.ClusterLost(HOSTILE),
    ]


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_hostile_text_is_shown_and_does_nothing(size: tuple[int, int]) -> None:
    clock = StillClock()
    app, session = built(clock)
    session.answers = hostile_payloads()
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await session.ask(HOSTILE)
        await settled(pilot, clock)
        for keys in (
            ("escape",),
            ("2",),
            ("3",),
            ("1", "enter"),
            ("escape",),
            ("exclamation_mark",),
            ("escape",),
            ("f2",),
        ):
            await pilot.press(*keys)
            await settled(pilot, clock)
            for strip in app.screen._compositor.render_strips():
                for segment in strip:
                    assert not set(segment.text) & {ESC, chr(7), chr(0x9B), "\u202e"}
                    assert segment.style is None or segment.style.link is None
                    assert segment.style is None or not (segment.style.meta or {}).get("@click")
        for x in range(0, size[0], 7):
            for y in range(4, size[1] - 5, 3):
                await pilot.click(offset=(x, y))
        assert app.is_running
        assert session.decisions == []


def test_a_line_refuses_text_that_was_not_made_safe() -> None:
    with pytest.raises(TypeError):
        Line((("plain text", Tone.PLAIN),))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Line(((SafeText("two\nlines"), Tone.PLAIN),))


def test_only_two_modules_use_widgets_that_draw_text_of_the_framework() -> None:
    allowed = {"overlays.py": {"Input"}, "prompt.py": {"TextArea"}, "sessions.py": {"Input"}}
    for path in (ROOT / "assistant" / "tui").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in ("textual.widgets", "textual.content"):
                assert {a.name for a in node.names} <= allowed.get(path.name, set()), path.name
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("notify", "from_markup"), path.name


def test_markdown_links_and_html_are_words() -> None:
    text = as_text(
        markdown_lines("[here](https://evil.example) <script>x</script> ![pic](javascript:x) `a` **b** [E1]")
    )
    assert "here <https://evil.example>" in text
    assert "<script>x</script>" in text


def test_markdown_keeps_lists_tables_and_fences() -> None:
    text = as_text(
        markdown_lines("# T\n\n1. a\n2. b\n   - c\n\n| x | yy |\n|---|---|\n| 1 | 2 |\n\n```\nk: v\n```\n\n> q")
    )
    for words in ("T", "1. a", "2. b", "- c", "x  yy", "| k: v", "| q"):
        assert words in text


def test_wrapping_loses_no_word_and_keeps_the_width() -> None:
    text = "one two " + "x" * 50 + " 日本語のポッド three"
    for width in range(8, 60):
        rows = wrap(line(text, hang=2), width)
        assert "".join("".join(t for t, _ in row) for row in rows).replace(" ", "") == text.replace(" ", "")
        for row in rows:
            assert sum(fixture_width(t) for t, _ in row) <= width


def fixture_width(text: str) -> int:
    from assistant.policy.sanitize import cell_width

    return cell_width(text)


def test_the_second_wall_lets_only_our_own_sequences_through() -> None:
    ours = f"{ESC}[1;31mred{ESC}[0m{ESC}[?2026h{ESC}]52;c;QUJD{chr(7)}ok\n\r\b"
    assert filtered(ours) == ours
    assert filtered(f"a{ESC}]0;title{chr(7)}b{ESC}P1$r{ESC}\\c\u202ed{chr(0x9B)}e") == "abcde"


def test_quotes_are_found_across_squeezed_blanks() -> None:
    body = '{\n  "image":   "a:1",\n  "x": 2\n}'
    assert quoted_lines(body, '"image": "a:1"') == {1}
    assert quoted_lines(body, '"image": "a:1" … "x": 2') == {1, 2}
    assert quoted_lines(body, "absent") == set()


def test_no_control_sequence_of_a_pod_log_reaches_a_real_terminal() -> None:
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.tui import test_hostile_text as t, screens, scripted\n"
        "clock = scripted.StillClock(); app, session = screens.built(clock)\n"
        "session.answers = t.hostile_payloads()\n"
        "async def go():\n    await session.ask(t.HOSTILE)\n"
        "app.call_later(lambda: app.set_timer(0.5, go))\n"
        "app.call_later(lambda: app.set_timer(1.5, lambda: app.exit(0)))\n"
        "app.run()\n"
    )
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "36"}
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=env, close_fds=True
    )
    os.close(slave)
    seen = b""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([master], [], [], 0.2)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
        elif child.poll() is not None:
            break
    child.wait(timeout=10)
    os.close(master)
    text = seen.decode(errors="replace")
    assert safe(HOSTILE)[:1] in text, text[-2000:]
    for bad in (f"{ESC}]52;", f"{ESC}]0;", "\u202e", chr(0x9B)):
        assert bad not in text
    assert text.count(f"{ESC}[2J") <= 1


def test_the_second_wall_stands_in_front_of_the_driver_that_the_app_uses() -> None:
    """Whatever a widget draws, also one that forgot the first wall."""
    written: list[str] = []

    class Loud:
        def write(self, data: str) -> None:
            written.append(data)

    made: Any = guarded(Loud)  # type: ignore[arg-type]
    made().write(f"a{ESC}]0;title{chr(7)}b\u202ec")
    assert written == ["abc"]
    used: Any = PilothouseApp(clock=StillClock()).get_driver_class()
    assert used.write.__module__ == "assistant.tui.guard"
