"""The numbers that the gate keeps to, in one place so that a reviewer sees them side by side."""

from __future__ import annotations

from typing import Final

# Part of every digest: an approval given under other rules is void.
POLICY_VERSION: Final = "3"

OPEN_SECONDS: Final = 600.0
APPROVED_SECONDS: Final = 120.0
APPROVED_CRITICAL_SECONDS: Final = 60.0

# The API server refuses request bodies above 3 MiB (apiserver MaxRequestBodyBytes), so nothing larger is worth holding.
MAX_REQUEST_BODY_BYTES: Final = 3 * 1024 * 1024
# An answer that has to be read whole (Secrets, ConfigMaps, previews); larger ones are withheld, not passed.
MAX_PARSED_ANSWER_BYTES: Final = 128 * 1024 * 1024
MAX_PREVIEW_BYTES: Final = 16 * 1024 * 1024
MAX_WATCH_LINE_BYTES: Final = 16 * 1024 * 1024
MAX_DIFF_LINES: Final = 400
MAX_OPEN_PROPOSALS: Final = 50
# What a preview reads around an object: so many of a kind, so many requests side by side, within PREVIEW_SECONDS.
MAX_PREVIEW_OBJECTS: Final = 1000
MAX_PREVIEW_REQUESTS: Final = 8
# A deletecollection becomes a list of single deletes; a longer list than this nobody can review.
MAX_PARTS: Final = 200

# Attention is what a flood of requests uses up. A person cannot judge more than this in good conscience, and applying
# the files of an ordinary application (a dozen objects) still fits.
PROPOSAL_WINDOW_SECONDS: Final = 300.0
PROPOSALS_PER_WINDOW: Final = 30
# What goes wrong goes wrong slowly: security-reliability 2.3 asks for ten in ten minutes.
SENT_WINDOW_SECONDS: Final = 600.0
SENT_PER_WINDOW: Final = 10
# An approval that comes sooner after the card could be seen was not read.
QUICK_SECONDS: Final = 1.0
MIN_REASON_LETTERS: Final = 8

CONNECT_SECONDS: Final = 10.0
PREVIEW_SECONDS: Final = 15.0
SEND_SECONDS: Final = 60.0
# How long a read may stay silent before its first byte; a watch or a followed log may be silent for longer after it.
FIRST_BYTE_SECONDS: Final = 60.0
# A credential plugin may have to ask a server of its own; one that waits for a person who cannot see it never ends.
PLUGIN_SECONDS: Final = 20.0
# After credentials were refused although they were new, they are not fetched again for so long.
LOGIN_PAUSE_SECONDS: Final = 15.0
# A dead network is noticed on a silent watch after 15 + 3 * 10 s (client-go's HTTP/2 pings need 45 s as well).
KEEPALIVE_IDLE_SECONDS: Final = 15
KEEPALIVE_EVERY_SECONDS: Final = 10
KEEPALIVE_PROBES: Final = 3
# Tokens and certificates are judged by the server's clock; less than this is drift that nobody needs to hear of.
CLOCK_SKEW_SECONDS: Final = 120.0

# Our own reads (assistant/policy/retry.py): tries of one request, and how long it may wait in all for a busy server.
READ_TRIES: Final = 3
READ_WAITS: Final = 10
READ_WAIT_SECONDS: Final = 60.0
READ_FIRST_BYTE_SECONDS: Final = 30.0
READ_BODY_SECONDS: Final = 60.0
# One page of a list or one object; a larger page is asked for again with fewer objects.
READ_PAGE_BYTES: Final = 64 * 1024 * 1024
# What one list may bring in all; more is cut, and the cut is a gap of the answer.
READ_LIST_OBJECTS: Final = 25_000
READ_LIST_BYTES: Final = 256 * 1024 * 1024
# The same for kinds that are kept as bytes with their common parts once: 3 kB a pod.
READ_KEPT_OBJECTS: Final = 60_000
READ_KEPT_BYTES: Final = 1024 * 1024 * 1024
# How much of an answer that makes no sense is quoted.
QUOTED_CHARACTERS: Final = 200
