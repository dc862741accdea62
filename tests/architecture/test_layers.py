"""The boundaries hold: import contracts, module sizes and names, what starting imports, what tracked files may say."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
HEAVY = (
    "textual",
    "langgraph",
    "langchain_core",
    "litellm",
    "kubernetes",
    "aiohttp",
    "msgspec",
    "sqlite_utils",
    "yaml",
    "mcp",
    "pydantic",
)
PRINTING = ("assistant/plain/", "assistant/cli.py", "assistant/commands/", "assistant/doctor.py")
BINARY = {".gz", ".svg", ".png", ".db", ".zip"}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what is tracked cannot be told")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_stay_short() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in sources("assistant", "agents")}
    long = {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > MAX_LINES}
    assert len(lengths) > 50
    assert not long


def test_no_module_is_a_drawer_for_anything() -> None:
    drawers = {"utils", "helpers", "common", "manager", "util", "misc"}
    found = [str(path) for path in sources("assistant", "agents", "tests") if path.stem in drawers]
    assert not found


def test_every_module_says_what_it_is() -> None:
    silent = [str(p) for p in sources("assistant", "agents") if not ast.get_docstring(ast.parse(p.read_text("utf-8")))]
    assert not silent


def test_only_the_linear_face_and_the_command_line_print() -> None:
    found = []
    for path in sources("assistant", "agents"):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(PRINTING):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(f"{name}:{node.lineno}")
    assert not found


def imported_by(*arguments: str) -> set[str]:
    code = (
        "import sys\n"
        "from assistant.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("ask", "--help"), ("sessions", "--help"), ("mcp", "--help")]
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    modules = imported_by(*arguments)
    assert "argparse" in modules
    assert not modules & set(HEAVY)


async def test_the_process_of_the_face_never_imports_the_models_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.model import competent
    from tests.unit.model.scene import calls
    from tests.unit.model.server import serving

    for name in ("PILOTHOUSE_STATE_DIR", "PILOTHOUSE_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    async with serving() as server:
        server.think = lambda request: calls(*competent.reply(request))
        bundle = ROOT / "recordings" / "practice" / "missing-image" / "bundle.tar.gz"
        modules = await asyncio.to_thread(
            imported_by, "ask", "what is wrong?", "-A", "--bundle", str(bundle), "--model", "openai/scripted",
            "--base-url", server.url,
        )  # fmt: skip
        assert server.asked, "the model was asked"
    assert "agents" in modules and not modules & {"litellm", "openai", "tiktoken", "tokenizers"}


def test_reading_the_settings_imports_nothing_heavy() -> None:
    code = "import sys, assistant.config, assistant.errors; print(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(HEAVY)


def test_checkpoints_and_tracing_are_locked_before_langgraph_loads() -> None:
    code = (
        "import os\nos.environ['LANGSMITH_TRACING'] = 'true'\nos.environ['LANGGRAPH_STRICT_MSGPACK'] = 'false'\n"
        "import agents.graph\nfrom langgraph.checkpoint.serde import _msgpack\n"
        "print(os.environ['LANGSMITH_TRACING'], os.environ['LANGGRAPH_STRICT_MSGPACK'], _msgpack.STRICT_MSGPACK_ENABLED)\n"  # noqa: E501
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["false", "true", "True"]


def test_tracked_files_name_no_machine_and_no_registry() -> None:
    # Split, so that this file does not hold what it looks for.
    banned = [
        re.compile(part)
        for part in (
            "/work/" + r"(?:main|shared)\b",
            "/tmp/" + "venv",
            r"--(?:extra-)?index" + "-url",
            "AKIA" + "[0-9A-Z]{16}",
        )
    ]
    found = []
    for path in tracked():
        if path.suffix in BINARY:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {pattern.pattern}" for pattern in banned if pattern.search(text)]
    assert not found


def test_our_dependencies_run_no_code_at_interpreter_start() -> None:
    import sysconfig

    known = re.compile(
        r"^(?:distutils-precedence|_?pilothouse|__editable__.*|_editable_impl_pilothouse|a1_coverage|_virtualenv)$"
    )
    folder = Path(sysconfig.get_path("purelib"))
    unknown = [path.name for path in folder.glob("*.pth") if not known.match(path.stem)]
    assert not unknown


def test_the_models_library_is_loaded_in_one_place_only() -> None:
    """It changes the process (environment, price list, event hooks), so that only `load` may import it."""
    loads = re.compile(r"""^\s*(?:import|from) litellm\b|import_module\(["']litellm""", re.MULTILINE)
    found = [
        path.relative_to(ROOT).as_posix() for path in sources("assistant", "agents") if loads.search(path.read_text())
    ]
    assert found == ["agents/model/library.py"]
