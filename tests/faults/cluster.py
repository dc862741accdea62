"""The recorded cluster, with the hash of each request's body in its log: the oracle then compares bytes, not names.

Apart, because only these tests need the hash; everything else is the product's own server.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from datetime import UTC, datetime

from aiohttp import web

from assistant.cluster.server import __main__ as server
from assistant.cluster.server.app import RequestLog
from assistant.wire import encode


def _write(self: RequestLog, request: web.Request, status: int) -> None:
    if self._file is None:
        return
    body: bytes = request._read_bytes or b""
    line = {
        "time": datetime.now(UTC).isoformat(),
        "method": request.method,
        "path": request.path,
        "query": request.query_string,
        "status": status,
        "body": hashlib.sha256(body).hexdigest(),
        # In a DELETE the dry run is asked for in the body.
        "dry": "dryRun" in request.query or b'"dryRun":["All"]' in body,
    }
    self._file.write(encode(line) + b"\n")


if __name__ == "__main__":
    RequestLog.write = _write  # type: ignore[method-assign]
    sys.exit(asyncio.run(server._main()))
