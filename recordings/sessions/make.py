"""Record a session on every practice incident: python recordings/sessions/make.py [NAME …] [--model M --base-url URL].

Really runs each: asks what its users reported, approves every change that is proposed, waits for the check, exports. A
person's part is played by this script, and the decisions say so.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from assistant import __version__
from assistant.backend import practice_place
from assistant.config import load
from assistant.domain.case import Case
from assistant.domain.proposal import Answer
from assistant.plain.card import card_lines
from assistant.practice import Incident, incidents
from assistant.store.recording import export_file
from assistant.wiring import open_store, open_work

HERE = Path(__file__).parent
PATIENCE_SECONDS = 180.0


async def record(incident: Incident, home: Path, given: argparse.Namespace) -> Case:
    """Run one incident to its end and write its recording."""
    flags = {
        "state_dir": str(home / "state"), "runtime_dir": str(home / "run"), "model": given.model,
        "base_url": given.base_url, "model_wait_seconds": given.wait, "turn_model_seconds": given.wait,
    }  # fmt: skip
    settings = load(flags, {}, home / "no-settings")
    left = [given.deny] if given.deny else []
    work = await open_work(settings, practice_place(incident))
    session = work.session
    try:
        async with asyncio.timeout(PATIENCE_SECONDS + 4 * (given.wait or 0.0)):
            await session.ask(incident.symptom)
            await session.settled()
            while session.case.waiting:
                proposal = session.case.waiting[0].proposal
                if left:
                    await session.decide(proposal.id, Answer.DENY, reason=left.pop())
                elif not proposal.approvable:
                    await session.decide(proposal.id, Answer.DENY, reason=proposal.not_approvable)
                else:
                    reason = "recorded by recordings/sessions/make.py"
                    card = "\n".join(card_lines(proposal, proposal.created))
                    shown = hashlib.sha256(card.encode()).hexdigest()
                    await session.decide(
                        proposal.id, Answer.APPROVE, reason=reason, shown=shown, typed_name=proposal.typed_name
                    )
                await asyncio.sleep(0)
                await session.settled()
    finally:
        await work.close()
    with open_store(settings, read_only=True) as store:
        events = store.load(session.id).events
        path = HERE / f"{incident.name}{'.model' if given.model else ''}{'.denied' if given.deny else ''}.jsonl.gz"
        export_file(path, events, store.body, app_version=__version__, exported_at=datetime.now(UTC))
    return session.case


async def main(given: argparse.Namespace) -> int:
    """Record the named incidents, or all; returns 1 when one of them did not end in "fixed"."""
    names = given.names
    os.environ["LOGNAME"] = "practice"
    failed = 0
    for incident in incidents():
        if names and incident.name not in names:
            continue
        with tempfile.TemporaryDirectory() as home:
            case = await record(incident, Path(home), given)
        said = "; ".join(
            f"{item.proposal.title}: {item.verified.healing.value if item.verified else item.state.value}"
            for item in case.proposals
        )
        fixed = case.closed == "fixed"
        failed += not fixed
        sys.stdout.write(f"{incident.name:16} {case.seq:5} events  {case.closed:10} {said}\n")
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--model", help="have a language model think too")
    parser.add_argument("--base-url", help="where it is asked")
    parser.add_argument("--wait", type=float, help="seconds that it may take, for one that is answered by hand")
    parser.add_argument("--deny", default="", metavar="TEXT", help="deny the first proposal and say this")
    sys.exit(asyncio.run(main(parser.parse_args())))
