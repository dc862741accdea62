"""Breaks the product on purpose, one promise at a time; the suite must notice: `python -m tests.faults.mutants`.

Each mutant is one replacement in a copy of the source tree; the tests named with it must then fail.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("assistant", "agents", "tests", "recordings", "pyproject.toml")
TEST_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken build: what is broken, where, and which tests must fail."""

    name: str
    path: str
    old: str
    new: str
    tests: str = "tests/gate/test_holding.py"


BROKER: Final = "assistant/gate/broker.py"
JOURNAL: Final = "assistant/store/journal.py"
LAST_LOOK: Final = "assistant/gate/lastlook.py"
GOVERNOR: Final = "assistant/gate/governor.py"
CONSENT: Final = "assistant/gate/consent.py"
CRASH: Final = "tests/gate/test_crash.py"
LIVES: Final = "tests/gate/test_life_of_a_change.py"
TWO: Final = "tests/gate/test_two_people.py"
BOUNDS: Final = "tests/gate/test_bounds.py"
MUTANTS: Final = (
    Mutant(
        "a decision about other bytes counts",
        BROKER,
        "if not hmac.compare_digest(decision.digest.encode(), held.proposal.digest.encode()):",
        "if False:",
    ),
    Mutant("an open proposal never expires", BROKER, "if held.state is State.OPEN and over:", "if False:"),
    Mutant(
        "a moved object is not noticed when approving",
        BROKER,
        "if moved := await self._examiner.moved(held.examined):",
        'if moved := "":',
    ),
    Mutant(
        "a name need not be typed", BROKER, "if proposal.typed_name and decision.typed_name", "if False and decision"
    ),
    Mutant(
        "sent without the intent on disk",
        BROKER,
        "self._journal.intent(proposal.id, proposal.digest, held.mac)",
        "pass",
        CRASH,
    ),
    Mutant(
        "a lost change is not marked unknown", JOURNAL, 'if row["gate"] != self.gate and not', "if False and not", CRASH
    ),
    Mutant(
        "a placeholder may be written back",
        "assistant/gate/proxy.py",
        'if has_placeholder(body.decode(errors="replace")):',
        "if False:",
        "tests/faults/test_placeholder.py",
    ),
    Mutant(
        "an open foreign change is void after a crash without asking the journal",
        "assistant/session/follow.py",
        "outcome = await gate.outcome(item.proposal.id)",
        "outcome = None",
        "tests/faults/test_settling.py",
    ),
    Mutant("an approval never runs out by the wall clock", LAST_LOOK, " or self._clock.now() >= until", "", LIVES),
    Mutant(
        "an approval never runs out by the other clock",
        LAST_LOOK,
        "self._clock.monotonic() >= held.approved_until or ",
        "",
    ),
    Mutant(
        "an approval without this gate's code counts",
        LAST_LOOK,
        "if not hmac.compare_digest(held.mac, self.mac(decision, until)):",
        "if False:",
    ),
    Mutant(
        "other bytes than the approved ones are sent",
        LAST_LOOK,
        "if not hmac.compare_digest(self._examiner.digest(held.examined), proposal.digest):",
        "if False:",
    ),
    Mutant("one person is enough", GOVERNOR, "if decision.second is None:", "if False:", TWO),
    Mutant(
        "a signature that came with the decision counts",
        BROKER,
        "second=held.second, quick",
        "second=decision.second or held.second, quick",
        TWO,
    ),
    Mutant(
        "a signature is not verified",
        CONSENT,
        "public.verify(base64.b64decode(consent.signature, validate=True), _signed(consent))",
        "pass",
        TWO,
    ),
    Mutant("a signature for another digest counts", CONSENT, "or consent.digest != proposal.digest", "", TWO),
    Mutant(
        "a signature under a nicer text counts",
        CONSENT,
        "if consent.shown != shown_hash(to_builtins(proposal)):",
        "if False:",
        TWO,
    ),
    Mutant("one person signs twice", CONSENT, "if own and read_key(own) == key:", "if False:", TWO),
    Mutant(
        "the second person is not looked at before sending",
        LAST_LOOK,
        "self._governor.objection(proposal, decision) or ",
        "",
        TWO,
    ),
    Mutant("anybody may break the glass", GOVERNOR, "if not self.policy.break_glass:", "if False:", TWO),
    Mutant("the glass breaks without a reason", GOVERNOR, "< MIN_REASON_LETTERS:", "< 0:", TWO),
    Mutant("any number of changes is sent", GOVERNOR, "if room > waiting:", "if True:", BOUNDS),
    Mutant(
        "a client's new name is a new allowance",
        GOVERNOR,
        "origin.session if ours else origin.token",
        "origin.session or origin.client",
        BOUNDS,
    ),
    Mutant(
        "gates on one cluster send at once",
        GOVERNOR,
        "except BlockingIOError:",
        "except BlockingIOError:\n                return True",
        BOUNDS,
    ),
    Mutant("a stopped gate keeps its way to write", BROKER, "self._sender = None\n        waiting", "waiting", BOUNDS),
    Mutant(
        "what was being examined escapes the stop",
        BROKER,
        "        self._check_writes()\n        examined = replace",
        "        examined = replace",
        BOUNDS,
    ),
    Mutant(
        "clients write into protected namespaces",
        "assistant/gate/proxy.py",
        "request.headers.items(), self._protected)",
        "request.headers.items())",
        BOUNDS,
    ),
    Mutant(
        "we write into protected namespaces",
        "assistant/gate/control_api.py",
        ", protected=self._protected)",
        ")",
        BOUNDS,
    ),
    Mutant(
        "an approval outlives a change of the rules",
        "assistant/gate/preview.py",
        '"policy": self._policy',
        '"policy": 1',
        TWO,
    ),
    Mutant(
        "a rule that is not understood is left out",
        "assistant/policy/contexts.py",
        "if name not in _DEFAULTS:\n        near",
        "if False:\n        near",
        "tests/unit/settings",
    ),
)


def caught(mutant: Mutant) -> bool:
    """Say whether the tests fail on this broken build. Raises ValueError for a mutant that fits the source no more."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            source, target = ROOT / name, Path(folder, name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        path = Path(folder, mutant.path)
        text = path.read_text()
        if text.count(mutant.old) != 1:
            raise ValueError(f"{mutant.name}: the text to break stands {text.count(mutant.old)} times in {mutant.path}")
        path.write_text(text.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", mutant.tests]
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=TEST_SECONDS, check=False)
    # 1: tests ran and failed. Anything else (usage, nothing collected) is not a catch.
    return done.returncode == 1


def main() -> int:
    """Try every mutant, print one line each; the exit code is 1 when one was not caught."""
    escaped = 0
    for mutant in MUTANTS:
        found = caught(mutant)
        escaped += not found
        sys.stdout.write(f"{'caught' if found else 'NOT CAUGHT':11} {mutant.name} ({mutant.tests})\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(MUTANTS) - escaped} of {len(MUTANTS)} caught\n")
    return int(escaped > 0)


if __name__ == "__main__":
    sys.exit(main())
