"""Breaks the product on purpose, one promise at a time; the suite must notice: `python -m tests.faults.mutants`.

Each mutant is one replacement in a copy of the source tree; the tests named with it must then fail. `--only WORD` takes
those whose name or file holds a word, `--list` only says whether each still fits the source.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from tests.faults.broken_rules import MUTANTS as RULES
from tests.faults.broken_walls import MUTANTS as WALLS
from tests.faults.mutant import Mutant, Tree, fits

BROKER: Final = "assistant/gate/broker.py"
JOURNAL: Final = "assistant/store/journal.py"
LAST_LOOK: Final = "assistant/gate/lastlook.py"
GOVERNOR: Final = "assistant/gate/governor.py"
CONSENT: Final = "assistant/gate/consent.py"
CRASH: Final = "tests/gate/test_crash.py"
LIVES: Final = "tests/gate/test_life_of_a_change.py"
TWO: Final = "tests/gate/test_two_people.py"
BOUNDS: Final = "tests/gate/test_bounds.py"
GATE: Final = (
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
    Mutant(
        "a stopped gate keeps its way to write",
        BROKER,
        "self._sender = None\n        self.end_sessions()",
        "self.end_sessions()",
        BOUNDS,
    ),
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

MUTANTS: Final = (*GATE, *RULES, *WALLS)


def main() -> int:
    """Try every mutant, print one line each; exit 1 when one was not caught or no longer fits the source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    chosen = [each for each in MUTANTS if given.only in each.name or given.only in each.path]
    counts = {"caught": 0, "NOT CAUGHT": 0, "DOES NOT FIT": 0}
    say = sys.stdout.write
    # All looked at before the first is tried: the source may go on changing while this runs.
    misfits = {each.name: why for each in chosen if (why := fits(each))}
    with Tree() as tree:
        wanted = sorted({each.tests for each in chosen if each.name not in misfits})
        if not given.list and (failing := tree.failing(wanted)):
            # A test that fails on the whole build would "catch" everything.
            say(f"These fail without any mutant, so nothing was tried: {failing}\n")
            return 2
        for mutant in chosen:
            why = misfits.get(mutant.name, "")
            if why:
                word = "DOES NOT FIT"
            elif given.list:
                continue
            else:
                word = "caught" if tree.caught(mutant) else "NOT CAUGHT"
            counts[word] += 1
            say(f"{word:12} {mutant.name}{f': {why}' if why else ''} ({mutant.tests})\n")
            sys.stdout.flush()
    say(
        f"{counts['caught']} of {len(chosen)} caught, {counts['NOT CAUGHT']} not, {counts['DOES NOT FIT']} do not fit\n"
    )
    return int(counts["NOT CAUGHT"] + counts["DOES NOT FIT"] > 0)


if __name__ == "__main__":
    sys.exit(main())
