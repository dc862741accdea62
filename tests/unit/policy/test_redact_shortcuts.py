"""The literal looked for before a pattern must never change what the pattern would have found."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.policy import redact_text
from assistant.policy.redact_text import redact_patterns

# fmt: off
PIECES = st.sampled_from([
    "Authorization", "AUTHORIZATION: Bearer ", "bearer ", "ba\u017fic ", "BASIC ", "cookie: ", "Set-Coo\u212aie: a=",
    "sid=", "mysql ", " -p", "MYSQL", "curl ", "-u ", "me:", "sshpass -p ", "redis-cli ",
    "-a ", "https://", "HTTP://", "user:", "@host",
    "?token=", "&sig=", "hunter2hunter2", "abcdEFGH12345678", " ", "\n", "\"", "=", ":", ";", "\u00e9",
    "\x1b[0m", "/", "name", "value",
    "password",
])
# fmt: on


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_short_cuts_change_nothing(text: str) -> None:
    def mark(kind: str, value: str) -> str:
        return f"[REDACTED:{kind}:{len(value)}]"

    gated = redact_text._GATED
    fast = redact_patterns(text, mark)
    try:
        redact_text._GATED = tuple((kind, pattern, ("",)) for kind, pattern, _ in gated)  # type: ignore[assignment,misc]
        assert redact_patterns(text, mark) == fast
    finally:
        redact_text._GATED = gated  # type: ignore[misc]
