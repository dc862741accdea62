"""The process that speaks to models among the real others: who holds a key, who goes out, and who outlives whom."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from assistant.backend import practice_place
from assistant.config import Settings, load
from assistant.models import PROVIDERS
from assistant.practice import incident
from assistant.wiring import open_work
from tests.integration.terminal import private_environment
from tests.unit.model import competent
from tests.unit.model.scene import calls
from tests.unit.model.server import Server, serving

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")
RECORDING = Path(__file__).parents[2] / "recordings" / "sessions" / "bad-setting.jsonl.gz"
GATE, CLUSTER, WORKER = "assistant.gate", "assistant.cluster.server", "assistant.model_worker"
KEY = "key-of-" + "nobody-in-particular"


def children(parent: int) -> dict[str, int]:
    """Return the children of a process by the module that they run."""
    found = {}
    for line in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        words = command_line(int(line)).split("\0")
        if "-m" in words:
            found[words[words.index("-m") + 1]] = int(line)
    return found


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def logged(folder: Path) -> str:
    return "".join(path.read_text() for path in (folder / "state" / "logs").iterdir())


def loaded(folder: Path, **more: str) -> Settings:
    places = {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run")}
    return load({**places, "model": "openai/scripted", **more}, {}, folder / "none")


def wait_for_its_end(pid: int) -> bool:
    handle = os.pidfd_open(pid)
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


def asks(server: Server) -> None:
    server.think = lambda request: calls(*competent.reply(request))


async def test_only_the_process_that_asks_the_model_has_a_key_and_none_is_on_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate runs programs that fetch a cluster's credentials; they see its environment, and need the rest of it."""
    names = {name for each in PROVIDERS.values() for name in each.keys} | {"GATEWAY_KEY"}
    for name in names:
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("AWS_PROFILE", "a-plugin-lives-on-it")
    async with serving() as server:
        asks(server)
        settings = loaded(tmp_path, model_key_env="GATEWAY_KEY", base_url=server.url)
        work = await open_work(settings, practice_place(incident("missing-image")))
        try:
            running = await asyncio.to_thread(children, os.getpid())
            assert set(running) == {GATE, CLUSTER, WORKER}
            for module in (GATE, CLUSTER):
                environment = environment_of(running[module])
                assert KEY not in environment.values(), module
                assert not names & set(environment), module
                assert environment["AWS_PROFILE"] == "a-plugin-lives-on-it"
            assert KEY in environment_of(running[WORKER]).values(), "LiteLLM looks for its providers' keys there"
            for pid in running.values():
                assert KEY not in command_line(pid)
            await work.session.ask("why is the shop down?")
            await work.session.settled()
            answer = work.session.case.answer
            assert answer is not None and answer.mind == "openai/scripted"
            assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        finally:
            await work.close()
        assert not [pid for pid in running.values() if exists(pid)], "all of them are ended"
    assert KEY not in logged(tmp_path)


async def test_its_death_leaves_the_expert_s_answer_and_the_next_question_has_another_one(
    tmp_path: Path,
) -> None:
    async with serving() as server:
        place = practice_place(incident("missing-image"))
        work = await open_work(loaded(tmp_path, base_url=server.url), place, propose=False)
        try:
            first = (await asyncio.to_thread(children, os.getpid()))[WORKER]

            def kills(request: Mapping[str, object]) -> None:
                os.kill(first, signal.SIGKILL)
                raise ConnectionResetError

            server.think = kills  # type: ignore[assignment]
            await work.session.ask("why is the shop down?")
            await work.session.settled()
            case = work.session.case
            assert case.answer is not None and case.answer.mind == "expert" and case.root_causes
            assert [error.code for error in case.errors] == ["model-worker"]
            assert "The process that speaks to the model ended" in case.errors[0].meaning
            assert len(server.asked) == 1, "nothing is asked twice"
            asks(server)
            await work.session.ask("and why is the shop down?")
            await work.session.settled()
            assert work.session.case.answer is not None
            assert work.session.case.answer.mind == "openai/scripted"
        finally:
            await work.close()


def test_it_ends_with_its_parent_whatever_it_does_at_that_moment(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from agents.model.types import Bounds, Endpoint\nfrom assistant.model_worker.link import ModelWorker\n"
        "from assistant.session.clock import SystemClock\n"
        "async def main():\n"
        "    worker = ModelWorker([Endpoint('openai/m')], Bounds(), Path(sys.argv[1]), SystemClock())\n"
        "    worker.start_ahead()\n"
        "    while not worker.pid:\n        await asyncio.sleep(0)\n"
        "    print(worker.pid, flush=True)\n    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    environment = private_environment(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert wait_for_its_end(pid)


# Loaded by every Python that starts with it on its path: notes whatever makes a connection, asks for a name or starts a
# program, and lets only the worker out, and only to one port.
SEALED = """
import os, sys
OUT = (
    "socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
    "subprocess.Popen", "os.posix_spawn", "os.exec", "os.fork", "os.system",
)
log = os.open(os.environ["SEAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def refuse(name, arguments):
    if name not in OUT:
        return
    me = "worker" if "assistant.model_worker" in sys.orig_argv else "session"
    os.write(log, f"{me} {name} {arguments[1]!r}\\n".encode())
    to_the_model = me == "worker" and f"'127.0.0.1', {os.environ['SEAL_PORT']}" in repr(arguments)
    starts_it = name == "subprocess.Popen" and arguments[1][1:] == ["-m", "assistant.model_worker"]
    if not to_the_model and not starts_it:
        raise PermissionError(name)
sys.addaudithook(refuse)
"""


async def test_a_rerun_with_a_model_starts_that_process_alone_and_goes_to_the_model_s_address_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "seal").mkdir()
    (tmp_path / "seal" / "sitecustomize.py").write_text(SEALED)
    seal = tmp_path / "seal.log"
    async with serving() as server:
        asks(server)
        port = server.url.rpartition(":")[2].partition("/")[0]
        environment = private_environment(tmp_path)
        environment |= {
            "SEAL": str(seal), "SEAL_PORT": port, "PYTHONPATH": f"{tmp_path / 'seal'}:{environment['PYTHONPATH']}",
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "assistant", "rerun", str(RECORDING), "--model", "openai/scripted", "--base-url",
            server.url, "--format", "json", env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        out, told = await asyncio.wait_for(process.communicate(), 60)
        assert (process.returncode, told) == (0, b"")
        assert json.loads(out)["rerun"]["mind"] == "openai/scripted"
        assert server.asked
    went = [line.split(" ", 2) for line in seal.read_text().splitlines()]
    assert [what for who, what, _ in went if who == "session"] == ["subprocess.Popen"]
    # OpenAI's client wants to name its platform in a header; here it may not even do that.
    programs = [told for who, what, told in went if who == "worker" and what == "subprocess.Popen"]
    assert set(programs) <= {"['uname', '-p']"}
    goes = [told for who, what, told in went if who == "worker" and what != "subprocess.Popen"]
    assert goes and set(goes) <= {f"('127.0.0.1', {port})", port}
