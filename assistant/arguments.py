"""The arguments of every command, and which handler each is for. Standard library only: it is read at every start."""

from __future__ import annotations

import argparse
import difflib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from assistant import __version__
from assistant.errors import UsageError

SPEEDS: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
EXIT_CODES: Final = """\
exit codes:
  0  fine
  1  something is wrong with the cluster (scan), or the answer names a fault (ask --exit-code), or one is wrong (eval)
  2  the command line or the settings cannot be understood
  3  a change waits for approval (ask --propose)
  4  the cluster, the bundle, the gate or the session store cannot be used
  5  stopped by a bound before there was an answer
  6  the language model failed and there is no answer
  70 a fault in Pilothouse
"""

Handler = Callable[[argparse.Namespace], int]

COMMANDS: Final = (
    "practice",
    "ask",
    "scan",
    "sessions",
    "replay",
    "rerun",
    "gate",
    "approvals",
    "eval",
    "doctor",
    "mcp",
    "servers",
)
FLAGS_WITH_VALUE: Final = (
    "--context", "--kubeconfig", "-n", "--namespace", "--mode", "--bundle", "--format", "--theme", "--model",
    "--base-url",
)  # fmt: skip


def with_command(arguments: list[str]) -> list[str]:
    """Put the command in front, as in `pilothouse -n shop ask why`; without one it is `open`.

    Raises UsageError for a first word that is nearly a command: it is a slip of the fingers, not a question.
    """
    place = 0
    while place < len(arguments) and arguments[place].startswith("-"):
        if arguments[place] in ("-h", "--help", "--version"):
            return arguments
        place += 2 if arguments[place] in FLAGS_WITH_VALUE else 1
    word = arguments[place] if place < len(arguments) else ""
    if word in (*COMMANDS, "open"):
        return [word, *arguments[:place], *arguments[place + 1 :]]
    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.8)
    if near and " " not in word:
        raise UsageError(f"There is no command {word!r}.", f"Did you mean {near[0]}? A question goes in quotes.")
    return ["open", *arguments]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # It repeats what was typed, and an address may hold credentials.
        from assistant.policy.redact import redact_text

        super().error(redact_text(message)[0])


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line; `handler` of what it returns runs the command."""
    made = _Parser(
        prog="pilothouse",
        description="Investigates Kubernetes clusters, shows its evidence, and changes nothing without your yes.\n"
        "Without a command it opens the terminal on the current context: pilothouse [-n NS] [QUESTION]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"pilothouse {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    unnamed = _open(commands)
    _practice(commands)
    _ask(commands)
    _sessions(commands)
    _replay(commands)
    _rerun(commands)
    _gate(commands)
    _approvals(commands)
    _eval(commands)
    _mcp(commands)
    _servers(commands)
    _command(commands, "doctor", "what is set up, what is missing, what to do", _later("doctor"), cluster=True)
    # The command without a name has no help page of its own that people would find.
    options = unnamed.format_help().partition("options:\n")[2]
    made.epilog = f"options without a command:\n{options}\n{EXIT_CODES}"
    return made


def _command(
    commands: Any, name: str, text: str, handler: Handler, *, cluster: bool = False, shown: bool = True
) -> argparse.ArgumentParser:
    # A help of None would still list the name; only leaving it out hides the unnamed command.
    told = {"help": text} if shown else {}
    parser: argparse.ArgumentParser = commands.add_parser(name, description=text, **told)
    parser.set_defaults(handler=handler)
    parser.add_argument("-v", "--verbose", action="store_true", help="show the raw detail of errors")
    if cluster:
        parser.add_argument("--context", help="context of the kubeconfig; default: the current one")
        parser.add_argument("--kubeconfig", help="kubeconfig file; default: $KUBECONFIG, then ~/.kube/config")
        parser.add_argument("-n", "--namespace", help="namespace; default: the context's")
        parser.add_argument("--mode", help="ask (default) or observe: no way to change anything exists")
    return parser


def _open(commands: Any) -> argparse.ArgumentParser:
    parser = _command(commands, "open", "open the terminal on a cluster", _run_open, cluster=True, shown=False)
    parser.add_argument("question", nargs="*", help="asked as soon as the cluster answers")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="look at all namespaces")
    parser.add_argument("--bundle", type=Path, help="a support bundle (folder or .tar.gz) instead of a cluster")
    parser.add_argument("--resume", metavar="SESSION", help="take a stored session over")
    parser.add_argument("--plain", action="store_true", help="lines instead of a screen")
    parser.add_argument("--theme", help="a theme of the terminal")
    _mind(parser)
    return parser


def _mind(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--model", metavar="M", help="a language model by LiteLLM's name (openai/NAME); default: the settings', or none"
    )
    choice.add_argument("--no-model", action="store_true", help="the built-in expert alone, whatever the settings say")
    parser.add_argument("--base-url", metavar="URL", help="where the model is asked; default: its provider")


def _practice(commands: Any) -> None:
    parser = _command(commands, "practice", "practise on a recorded cluster with a real fault", _run_practice)
    parser.add_argument("incident", nargs="?", help="its name; none: a list to choose from")
    parser.add_argument("--plain", action="store_true", help="lines instead of a screen")
    parser.add_argument("--theme", help="a theme of the terminal")
    _mind(parser)


def _ask(commands: Any) -> None:
    for name, text, handler in (
        ("ask", "ask one question and print the answer", _run_ask),
        ("scan", "look for faults; exit 1 if something is wrong", _run_scan),
    ):
        parser = _command(commands, name, text, handler, cluster=True)
        if name == "ask":
            parser.add_argument("question", nargs="+", help="what is wrong, in your words")
            parser.add_argument("--propose", action="store_true", help="have the change examined; exit 3 if one waits")
            parser.add_argument("--exit-code", action="store_true", help="exit 1 when the answer names a fault")
            _mind(parser)
        else:
            # A scan's exit code is relied upon, so nothing but the expert's rules may decide it.
            parser.set_defaults(no_model=True)
        parser.add_argument("-A", "--all-namespaces", action="store_true", help="look at all namespaces")
        parser.add_argument("--bundle", type=Path, help="a support bundle (folder or .tar.gz) instead of a cluster")
        parser.add_argument("--format", choices=("text", "json", "markdown"), default="text")


def _sessions(commands: Any) -> None:
    parser = _command(commands, "sessions", "list, show, search, export, verify, delete sessions", _run_sessions)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the newest first")
    listing.add_argument("--limit", type=int, default=30)
    listing.add_argument("--format", choices=("text", "json"), default="text")
    search = actions.add_parser("search", help="sessions that hold these words anywhere")
    search.add_argument("text", nargs="+")
    search.add_argument("--format", choices=("text", "json"), default="text")
    show = actions.add_parser("show", help="one session as a report")
    show.add_argument("session", help="id, the beginning of one, or `last`")
    show.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    export = actions.add_parser("export", help="write a session to a file or to standard output")
    export.add_argument("session")
    export.add_argument("--format", choices=("jsonl", "markdown"), default="jsonl")
    export.add_argument("-o", "--output", type=Path)
    verify = actions.add_parser("verify", help="check the hash chains of sessions and journal; exit 1 where one breaks")
    verify.add_argument("session", nargs="?", help="default: all")
    verify.add_argument("--export-heads", type=Path, metavar="FILE", help="write signed heads, to be kept elsewhere")
    verify.add_argument("--against", type=Path, metavar="FILE", help="compare with signed heads kept earlier")
    delete = actions.add_parser("delete", help="remove a session and its texts")
    delete.add_argument("session")
    delete.add_argument("--yes", action="store_true", help="do not ask")


def _replay(commands: Any) -> None:
    parser = _command(commands, "replay", "play a recorded session; nothing is sent anywhere", _run_replay)
    parser.add_argument("what", metavar="FILE|SESSION", help="a .jsonl file, a session's id, or `last`")
    parser.add_argument("--speed", type=float, default=None, help="1 is as it happened, 0 at once (plain only)")
    parser.add_argument("--plain", action="store_true", help="lines instead of a screen")
    parser.add_argument("--theme", help="a theme of the terminal")


def _rerun(commands: Any) -> None:
    text = "answer a recorded question anew, on its recorded evidence alone, and compare"
    parser = _command(commands, "rerun", text, _later("rerun"))
    parser.add_argument("what", metavar="FILE|SESSION", help="a .jsonl file, a session's id, or `last`")
    parser.add_argument("--turn", type=_positive, metavar="N", help="which question; default: the last")
    _minds(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _minds(parser: argparse.ArgumentParser) -> None:
    mind = parser.add_mutually_exclusive_group()
    mind.add_argument("--model", metavar="M", help="a language model by LiteLLM's name; default: none")
    mind.add_argument(
        "--no-model", action="store_true", help="without a language model (the default here, whatever the settings say)"
    )
    parser.add_argument("--base-url", metavar="URL", help="where the model is asked; default: its provider")


def _gate(commands: Any) -> None:
    text = "a guarded kubeconfig for any tool: nothing changes without your approval"
    parser = _command(commands, "gate", text, _later("gate"), cluster=True)
    parser.add_argument("--bundle", type=Path, help="a support bundle (folder or .tar.gz) instead of a cluster")
    parser.add_argument("--kubeconfig-out", type=Path, metavar="FILE", help="where to write the guarded kubeconfig")
    parser.add_argument(
        "--client", action="append", default=[], metavar="NAME=FILE",
        help="a guarded kubeconfig of its own for one client, by whose name its changes are shown; repeatable",
    )  # fmt: skip
    parser.add_argument("--request-log", type=Path, metavar="FILE", help="what a recorded cluster was asked (--bundle)")


def _approvals(commands: Any) -> None:
    parser = _command(commands, "approvals", "decide on held changes from any terminal", _later("approvals"))
    parser.add_argument("--gate", help="id of the gate, where several run")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what waits")
    listing.add_argument("--format", choices=("text", "json"), default="text")
    show = actions.add_parser("show", help="one change in full")
    show.add_argument("id")
    approve = actions.add_parser("approve", help="approve a change that you have read")
    approve.add_argument("id")
    approve.add_argument("digest", help="the first six characters or more of its digest")
    approve.add_argument("--name", default="", help="the object's name, where the change is critical")
    approve.add_argument("--second", type=Path, metavar="FILE", help="what a second person signed (`approvals sign`)")
    approve.add_argument(
        "--break-glass", action="store_true", help="go on alone where two have to agree; kept for good"
    )
    approve.add_argument("--reason", default="", help="why, with --break-glass")
    deny = actions.add_parser("deny", help="deny a change")
    deny.add_argument("id")
    deny.add_argument("--reason", default="", help="told to whoever asked")
    stop = actions.add_parser(
        "stop", help="void all that waits; the gates send nothing more until they are started anew"
    )
    stop.add_argument("--reason", default="", help="told to whoever waits")
    export = actions.add_parser("export", help="write a change to a file, for a second person to read and sign")
    export.add_argument("id")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    sign = actions.add_parser("sign", help="read a colleague's change, and agree to it with the digest")
    sign.add_argument("file", type=Path)
    sign.add_argument(
        "digest", nargs="?", default="", help="the first six characters or more; without it, only the card"
    )
    sign.add_argument("--name", default="", help="the object's name, where the change is critical")
    sign.add_argument("--key", type=Path, metavar="FILE", help="your private key; default: the one of `approvals key`")
    sign.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    actions.add_parser(
        "key", help="your public key for signing, made at the first use; colleagues list it in [approvers]"
    )


def _eval(commands: Any) -> None:
    parser = _command(commands, "eval", "score the answers about a folder of recorded incidents", _run_eval)
    parser.add_argument("folder", metavar="DIR", type=Path, help="one folder an incident: truth.yaml and bundle/")
    parser.add_argument("--only", default="", metavar="ID,...", help="these incidents only")
    parser.add_argument("--repeat", type=_positive, default=1, metavar="K", help="ask about each K times")
    parser.add_argument("--jobs", type=_positive, default=2, metavar="N", help="ask about N at once; default: 2")
    parser.add_argument("--timeout", type=_positive, default=120, metavar="SECONDS", help="for one answer")
    _minds(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _mcp(commands: Any) -> None:
    text = "serve as an MCP server: other agents ask and propose, a person approves elsewhere"
    parser = _command(commands, "mcp", text, _later("mcp"), cluster=True)
    parser.add_argument("--bundle", type=Path, help="a support bundle (folder or .tar.gz) instead of a cluster")
    parser.add_argument(
        "--http", nargs="?", type=int, const=0, metavar="PORT", help="serve HTTP on 127.0.0.1 instead of stdio"
    )
    _mind(parser)


def _servers(commands: Any) -> None:
    text = "the MCP servers whose tools a language model may use: list, import, approve"
    made = _command(commands, "servers", text, _later("servers"), cluster=True)
    made.add_argument("--bundle", type=Path, help="a support bundle (folder or .tar.gz) instead of a cluster")
    actions = made.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="how each stands; starts none")
    listing.add_argument("--format", choices=("text", "json"), default="text")
    show = actions.add_parser("show", help="what starts a server; once that is approved, its tools, or one of them")
    show.add_argument("name", metavar="NAME[/TOOL]")
    approve = actions.add_parser("approve", help="approve what you have read: a server, or one of its tools")
    approve.add_argument("name", metavar="NAME[/TOOL]")
    approve.add_argument("digest", help="the first twelve characters or more of its digest, as `show` tells it")
    forget = actions.add_parser("forget", help="take back every approval of a server")
    forget.add_argument("name")
    taking = actions.add_parser("import", help="take servers over from another client's file")
    taking.add_argument("file", type=Path)
    taking.add_argument("--only", default="", metavar="NAME,...", help="these alone")
    taking.add_argument(
        "--allow-env", default="", metavar="NAME,...", help="variables of your environment that they may see"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _run_open(given: argparse.Namespace) -> int:
    from assistant.commands.terminal import open_terminal

    return open_terminal(given)


def _run_practice(given: argparse.Namespace) -> int:
    from assistant.commands.terminal import practise

    return practise(given)


def _run_ask(given: argparse.Namespace) -> int:
    from assistant.commands.ask import ask

    return ask(given)


def _run_scan(given: argparse.Namespace) -> int:
    from assistant.commands.ask import scan

    return scan(given)


def _run_sessions(given: argparse.Namespace) -> int:
    from assistant.commands.sessions import sessions

    return sessions(given)


def _run_replay(given: argparse.Namespace) -> int:
    from assistant.commands.sessions import replay

    return replay(given)


def _run_eval(given: argparse.Namespace) -> int:
    from assistant.commands.eval import evaluate

    return evaluate(given)


def _later(module: str) -> Handler:
    def run(given: argparse.Namespace) -> int:
        handler: Handler = getattr(importlib.import_module(f"assistant.commands.{module}"), module)
        return handler(given)

    return run
