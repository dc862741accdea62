"""Serves the competent scripted model until it is ended: `python -m tests.unit.model.serve`; prints its address.

For trying `ask`, `eval` and `rerun` with a model on a machine that reaches none.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

from agents.model.library import load
from tests.unit.model import competent
from tests.unit.model.scene import calls
from tests.unit.model.server import Says, serving

COUNTED_AS: Final = "gpt-4o"


async def main() -> None:
    library = await load()

    def think(request: dict[str, Any]) -> Says:
        wanted = competent.reply(request)
        sent = library.token_counter(model=COUNTED_AS, messages=request["messages"], tools=request["tools"])
        return calls(*wanted, tokens=(int(sent), int(library.token_counter(model=COUNTED_AS, text=json.dumps(wanted)))))

    async with serving() as server:
        server.think = think
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
