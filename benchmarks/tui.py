"""What the terminal costs, beside an empty Textual app: `python -m benchmarks.tui [--repeats N] [--paint]`.

First paint is wall time on a pty up to the first full frame; the rest is CPU time of this process (`process_time`),
because a shared machine's wall clock says little. Ratios and absolute numbers are printed; nothing passes or fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pty
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
EMPTY = """
from textual.app import App
from textual.widgets import Static
class A(App):
    ENABLE_COMMAND_PALETTE = False
    def compose(self): yield Static("PAINTED")
A().run()
"""
OURS = """
from assistant.tui.app import PilothouseApp
import asyncio
async def connect(incident="", resume=""):
    await asyncio.sleep(60)
PilothouseApp(connect).run()
"""


def first_paint(script: str, mark: bytes) -> float:
    """Seconds from start to the frame that holds `mark`; the child is ended after it."""
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "36"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    master, slave = pty.openpty()
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=env, close_fds=True
    )
    os.close(slave)
    seen = b""
    took = float("nan")
    while time.perf_counter() - start < 30:
        if not select.select([master], [], [], 0.5)[0]:
            continue
        seen += os.read(master, 65536)
        if mark in seen:
            took = time.perf_counter() - start
            break
    child.kill()
    child.wait()
    os.close(master)
    return took


def heavy_modules() -> list[str]:
    """Libraries that must not be loaded with the app's module."""
    script = "import sys, assistant.tui.app; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"langgraph", "litellm", "kubernetes", "mcp", "aiohttp", "sqlite_utils", "msgspec", "markdown_it", "yaml"}
    return sorted(heavy & set(done.stdout.split()))


async def live() -> None:
    """Keys and appends while events stream into a long session."""
    from assistant.domain import event as ev
    from assistant.domain.finding import Verdict
    from assistant.tui.lines import line
    from assistant.tui.view import LinesView
    from tests.tui import fixture
    from tests.tui.screens import built, settled
    from tests.tui.scripted import StillClock

    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        answer = ("Some words about a pod and its `events` [E1].\n\n- a point\n- another\n\n" * 900)[:65_536]
        session.emit(ev.Answered(answer, Verdict.FAULT, "m"))
        session.emit(*(ev.Noted(f"note {n}") for n in range(1000)))
        await settled(pilot, clock)
        widgets = len(list(app.screen.query("*")))
        print(f"on screen: 64 kB answer and 1,000 notes in {widgets} widgets")

        async def measured(label: str, work: Callable[[], object], repeats: int = 30) -> None:
            costs = []
            for _ in range(repeats):
                start = time.process_time()
                work()
                app.draw()
                await pilot.pause()
                costs.append((time.process_time() - start) * 1000)
            print(f"{label:<42} median {statistics.median(costs):6.1f} ms CPU   worst {max(costs):6.1f}")

        await measured("append one event and draw", lambda: session.emit(ev.Noted("one more")))
        await pilot.press("escape")
        screen = app.screen
        await measured("scroll one line, drawing the case too", lambda: screen.run_worker(run(screen, "up")))
        view = screen.query_one("#transcript", LinesView)
        rows = [line(f"ns-{n % 40}  web-{n}  Running") for n in range(100_000)]
        start = time.process_time()
        view.show(rows, reset=True)
        await pilot.pause()
        print(f"{'100,000 rows until usable':<42} {(time.process_time() - start) * 1000:13.1f} ms CPU")
        costs = []
        for place in range(20):
            start = time.process_time()
            view.scroll_to(y=place * 4_999, animate=False)
            await pilot.pause()
            costs.append((time.process_time() - start) * 1000)
        middle = statistics.median(costs)
        print(f"{'repaint after a random jump':<42} median {middle:6.1f} ms CPU   worst {max(costs):6.1f}")


async def run(screen: object, action: str) -> None:
    """Run a screen's action."""
    getattr(screen, f"action_{action}")()


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--paint", action="store_true", help="the first paint only")
    given = parser.parse_args()
    first_paint(OURS, b"connecting")
    empty, ours = [], []
    for _ in range(given.repeats):
        empty.append(first_paint(EMPTY, b"PAINTED"))
        ours.append(first_paint(OURS, b"connecting"))
    a, b = statistics.median(empty), statistics.median(ours)
    print(f"first paint: empty app {a * 1000:.0f} ms, ours {b * 1000:.0f} ms")
    print(f"             ratio {b / a:.2f} of medians, {min(ours) / min(empty):.2f} of the best")
    print(f"heavy libraries loaded with the app: {' '.join(heavy_modules()) or 'none'}")
    if not given.paint:
        asyncio.run(live())


if __name__ == "__main__":
    main()
