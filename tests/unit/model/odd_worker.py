"""Stands in for the process that speaks to models and does what the name of its model says."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(value: Any) -> None:
    sys.stdout.write((value if isinstance(value, str) else json.dumps(value)) + "\n")
    sys.stdout.flush()


def main() -> int:
    does = json.loads(sys.stdin.readline())["endpoints"][0]["model"]
    if does == "ends before it is ready":
        return 1
    if does == "says why it cannot":
        say({"ready": False, "meaning": "There is no library.", "hint": "Install it."})
        return 4
    say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if "cancel" in asked:
            continue
        if does == "says nothing":
            sys.stderr.write("asked\n")
            sys.stderr.flush()
        if does == "ends":
            say({"id": asked["call"], "text": "The "})
            return 1
        if does == "answers nobody":
            say({"id": asked["call"] + 1_000, "text": "for another call"})
            say({"id": asked["call"], "error": "ModelBusyError", "meaning": "m", "hint": "h", "detail": "", "said": ""})
        if does == "prints":
            say("Give Feedback / Get Help")
        if does == "never ends a line":
            sys.stdout.write("x" * 9_000_000)
            sys.stdout.flush()
        if does == "says half a reply":
            say({"id": asked["call"], "reply": {"text": "x"}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
