"""Record a session on every practice incident: python recordings/sessions/make.py [NAME …].

Really runs each: asks what its users reported, approves every change that is proposed, waits for the check, exports. A
person's part is played by this script, and the decisions say so.
"""

from __future__ import annotations

import asyncio
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
from assistant.practice import Incident, incidents
from assistant.store.recording import export_file
from assistant.wiring import open_store, open_work

HERE = Path(__file__).parent
PATIENCE_SECONDS = 180.0


async def record(incident: Incident, home: Path) -> Case:
    """Run one incident to its end and write its recording."""
    flags = {"state_dir": str(home / "state"), "runtime_dir": str(home / "run")}
    settings = load(flags, {}, home / "no-settings")
    work = await open_work(settings, practice_place(incident))
    session = work.session
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await session.ask(incident.symptom)
            await session.settled()
            while session.case.waiting:
                proposal = session.case.waiting[0].proposal
                if not proposal.approvable:
                    await session.decide(proposal.id, Answer.DENY, reason=proposal.not_approvable)
                else:
                    reason = "recorded by recordings/sessions/make.py"
                    await session.decide(proposal.id, Answer.APPROVE, reason=reason, typed_name=proposal.typed_name)
                await asyncio.sleep(0)
                await session.settled()
    finally:
        await work.close()
    with open_store(settings, read_only=True) as store:
        events = store.load(session.id).events
        path = HERE / f"{incident.name}.jsonl.gz"
        export_file(path, events, store.body, app_version=__version__, exported_at=datetime.now(UTC))
    return session.case


async def main(names: list[str]) -> int:
    """Record the named incidents, or all; returns 1 when one of them did not end in "fixed"."""
    os.environ["LOGNAME"] = "practice"
    failed = 0
    for incident in incidents():
        if names and incident.name not in names:
            continue
        with tempfile.TemporaryDirectory() as home:
            case = await record(incident, Path(home))
        said = "; ".join(
            f"{item.proposal.title}: {item.verified.healing.value if item.verified else item.state.value}"
            for item in case.proposals
        )
        fixed = case.closed == "fixed"
        failed += not fixed
        sys.stdout.write(f"{incident.name:16} {case.seq:5} events  {case.closed:10} {said}\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
