"""The command line from its first word to its exit code. Imports little: commands import what they need."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

from assistant.arguments import Handler, parser, with_command
from assistant.errors import PilothouseError

INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are printed as what they mean and what to do."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        given = parser().parse_args(with_command(arguments))
    except PilothouseError as error:
        _print_error(error, verbose=False)
        return error.exit_code
    handler: Handler = given.handler
    try:
        return handler(given)
    except PilothouseError as error:
        _print_error(error, verbose=given.verbose)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; that is their right. Nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # a person gets two sentences, not a traceback; -v shows it
        if given.verbose:
            raise
        text = "There is a fault in Pilothouse; nothing was changed by it."
        fault = PilothouseError(text, "Run it again with --verbose for the detail.", detail=repr(error))
        _print_error(fault, verbose=False)
        return fault.exit_code


def run() -> None:
    """Entry point of the installed command."""
    code = main()
    # The process ends now: looking through all that was imported for garbage would cost 0.3 s of it (measured).
    gc.freeze()
    sys.exit(code)


def _print_error(error: PilothouseError, *, verbose: bool) -> None:
    from assistant.policy.redact import redact_text
    from assistant.policy.sanitize import safe

    lines = [f"error: {error.meaning}"]
    if error.hint:
        lines.append(f"  {error.hint}")
    if error.detail and verbose:
        lines.append(f"  ({error.detail})")
    for line in lines:
        print(safe(redact_text(line)[0]), file=sys.stderr)
