# ruff: noqa: E501 - a table of edits
"""Builds with a wall taken down: the door, sending once, durability, redaction, the terminal, the approval keys."""

from __future__ import annotations

from typing import Final

from tests.faults.mutant import Mutant

BROKER: Final = "assistant/gate/broker.py"
LAST_LOOK: Final = "assistant/gate/lastlook.py"
UPSTREAM: Final = "assistant/gate/upstream.py"
SERVER: Final = "assistant/gate/server.py"
JOURNAL: Final = "assistant/store/journal.py"
CHAIN: Final = "assistant/store/chain.py"
REDACT: Final = "assistant/policy/redact_text.py"
ARMING: Final = "assistant/tui/arming.py"
WIRE: Final = "tests/gate/test_wire.py"
LIVES: Final = "tests/gate/test_life_of_a_change.py"
RAW: Final = "tests/attacks/test_raw_requests.py"
ONCE: Final = "tests/unit/store/test_journal.py"
AUDIT: Final = "tests/unit/store/test_audit.py"
TEXTS: Final = "tests/attacks/test_secrets.py"
SINKS: Final = "tests/attacks/test_secret_sinks.py"
KEYS: Final = "tests/tui/test_approval_keys.py"
HOSTILE: Final = "tests/tui/test_hostile_text.py"
RECORDINGS: Final = "tests/replay/test_recording_files.py"

MUTANTS: Final = (
    # The life of a change.
    Mutant("an open proposal outlives the wall clock", BROKER, " or self._clock.now() >= held.proposal.expires", ""),
    Mutant("an open proposal outlives the other clock", BROKER, "self._clock.monotonic() >= held.open_until or ", ""),
    Mutant("what cannot be approved is approved", BROKER, "        if not proposal.approvable:\n", "        if False:\n"),
    Mutant("sent without anybody's yes", BROKER, "if held.sending is None and held.state is not State.APPROVED:", "if False:"),
    Mutant(
        "a journal that fails before sending is ignored", BROKER,
        "        self._journal.intent(proposal.id, proposal.digest, held.mac)\n",
        "        with contextlib.suppress(StoreError):\n            self._journal.intent(proposal.id, proposal.digest, held.mac)\n",
    ),
    Mutant(
        "a journal that fails at the decision is ignored", BROKER,
        "        self._journal.decided(decision, mac, until.isoformat())\n",
        "        with contextlib.suppress(StoreError):\n            self._journal.decided(decision, mac, until.isoformat())\n",
    ),
    Mutant(
        "a journal that fails at the proposal is ignored", BROKER,
        "        self._journal.proposed(held.proposal)\n",
        "        with contextlib.suppress(StoreError):\n            self._journal.proposed(held.proposal)\n",
    ),
    Mutant("a client that went away still wants its change", "assistant/gate/proxy.py", "self._broker.withdraw(last.proposal.id)", "pass"),
    Mutant("an observing gate sends", "assistant/gate/process.py", 'None if policy.mode == "observe" else Sender(', "Sender("),
    Mutant("a broken connection is tried again", UPSTREAM, "session._retry_connection = False", "session._retry_connection = True"),
    Mutant("redirections are followed", UPSTREAM, '"allow_redirects": False', '"allow_redirects": True'),
    Mutant("a plugin that is not allowed runs", "assistant/gate/context.py", "or command not in allowed:", "or False:", "tests/gate/test_wire.py tests/attacks/test_injections.py -k plugin"),
    # The door.
    Mutant("browsers may come in", SERVER, "if self._from_browser(request):", "if False:", WIRE),
    Mutant("any Host will do", SERVER, 'if request.headers.getall("Host", []) not in', "if False and request.headers not in", WIRE),
    Mutant("an empty token opens", "assistant/gate/clients.py", "if hmac.compare_digest(given, token.encode()):", "if not given or hmac.compare_digest(given, token.encode()):", WIRE),
    Mutant("the data token opens the control side", SERVER, "            known = hmac.compare_digest(", "            known = self._clients.of(request) is not None or hmac.compare_digest(", WIRE),
    # The journal and the chains.
    Mutant("an approval is used twice", JOURNAL, " AND consumed IS NULL", "", ONCE),
    Mutant("an approval is good for any bytes", JOURNAL, "AND digest = ? AND mac = ?", "AND ? IS NOT NULL AND mac = ?", ONCE),
    Mutant("an approval needs no code", JOURNAL, "AND digest = ? AND mac = ?", "AND digest = ? AND ? IS NOT NULL", ONCE),
    Mutant("the file takes a second intent", JOURNAL, "CREATE UNIQUE INDEX one_intent", "CREATE INDEX one_intent", ONCE, 2),
    Mutant("the journal can be rewritten", JOURNAL, "RAISE(ABORT, 'the journal is append-only')", "1", ONCE, 2),
    Mutant("the journal is not synced", JOURNAL, 'synchronous="FULL"', 'synchronous="NORMAL"', ONCE),
    Mutant("nothing is synced", "assistant/store/sqlite.py", "PRAGMA synchronous={synchronous}", "PRAGMA synchronous=OFF", ONCE),
    Mutant("a changed entry is not seen", CHAIN, "if not _is_whole(item, item.seq):\n        return f", "if False:\n        return f", AUDIT),
    Mutant("a cut tail is not seen", CHAIN, "if written < count:", "if False:", "tests/unit/store"),
    Mutant("what was added behind the end is not seen", CHAIN, "if written > count:", "if False:", AUDIT),
    Mutant("another end is not seen", CHAIN, "    if prev != head:\n", "    if False:\n", "tests/unit/store"),
    Mutant("a changed recording is not seen", "assistant/store/recording.py", 'if own != value.get("hash"):', "if False:", RECORDINGS),
    Mutant("a recording unpacks without bounds", "assistant/store/bodies.py", "stream.decompress(packed, size_bytes + 1)", "stream.decompress(packed)", RECORDINGS),
    Mutant(
        "replay opens a socket", "assistant/session/replay.py", "        self.playing = False\n        self._snap", "        self.playing = bool(__import__('socket').socket()) and False\n        self._snap",
        "tests/replay/test_player.py tests/attacks/test_hostile_files.py -k socket",
    ),
    Mutant("checkpoints rebuild any object", "agents/__init__.py", '"LANGGRAPH_STRICT_MSGPACK"] = "true"', '"LANGGRAPH_STRICT_MSGPACK"] = "false"', "tests/architecture/test_layers.py -k checkpoints"),
    Mutant("checkpoints allow any module", "agents/checkpoint.py", "allowed_msgpack_modules=[]", "allowed_msgpack_modules=True", "tests/attacks/test_hostile_checkpoint.py"),
    Mutant("somebody else's checkpoint file is opened", "agents/checkpoint.py", "    if foreign or (head", "    if False and (head", "tests/session/test_workflow.py"),
    # After a crash.
    Mutant("what was sent before a crash is sent again", "assistant/session/door.py", "if known and known.outcome:", "if False:", "tests/session tests/faults/test_settling.py"),
    Mutant("a session approves without its log", "assistant/session/approvals.py", "            await self._recorder.flush()\n", "            pass\n", "tests/session/test_runner.py"),
    # Secrets.
    Mutant("Secrets pass as they are", "assistant/gate/wire_redaction.py", '"secrets": "Secret", ', "", WIRE),
    Mutant("ConfigMaps pass as they are", "assistant/gate/wire_redaction.py", ', "configmaps": "ConfigMap"', "", SINKS + " -k gate"),
    Mutant("values of variables pass as they are", "assistant/gate/wire_redaction.py", "return api is not None and api.resource in _TEMPLATED", "return False and api is not None and api.resource in _TEMPLATED", SINKS + " -k gate"),
    Mutant("base64 is not looked into", REDACT, "text = layers.BASE64.sub(", "layers.BASE64.sub(", TEXTS),
    Mutant("percent encoding is not looked into", REDACT, "text = layers.PERCENT.sub(", "layers.PERCENT.sub(", TEXTS),
    Mutant("colours hide a token", REDACT, "if layers.CONTROLS.search(text):", "if False:", TEXTS),
    Mutant("a line wrap hides a token", REDACT, "_pass(_rejoined(text, mark, depth), mark, depth)", "_pass(text, mark, depth)", TEXTS),
    Mutant("strings in strings are not looked into", REDACT, "text = _QUOTED.sub(work.inside, text)", "pass", TEXTS),
    Mutant("provider tokens pass", REDACT, "text = tokens.PREFIXED.sub(work.prefixed, text)", "pass", TEXTS),
    Mutant("private keys pass", REDACT, 'text = tokens.PEM.sub(lambda m: work.mark("private-key", m.group(0)), text)', "pass", TEXTS),
    Mutant("events keep their secrets", "assistant/session/recorder.py", "clean = self._scrub.payload(payload)", "clean = payload", SINKS + " -k exports_none"),
    Mutant("evidence keeps its secrets", "assistant/session/recorder.py", "body, quote, redactions = self._scrub.citation(citation)", "body, quote, redactions = citation.body, citation.quote, 0", SINKS + " -k exports_none"),
    Mutant("checkpoints keep their secrets", "agents/checkpoint.py", "serde=Scrubbing(", "serde=JsonPlusSerializer(", SINKS + " -k exports_none"),
    Mutant("log files keep their secrets", "assistant/policy/redact.py", "return redact_text(super().format(record))[0]", "return super().format(record)", SINKS + " -k logs"),
    Mutant("errors keep their secrets", "assistant/cli.py", "print(safe(redact_text(line)[0]), file=sys.stderr)", "print(safe(line), file=sys.stderr)", SINKS + " -k logs"),
    # The terminal.
    Mutant("text is not made safe", "assistant/policy/sanitize.py", "    if _PLAIN.match(text):\n", "    if True:\n", "tests/tui/test_safe_text.py"),
    Mutant("a line takes any text", "assistant/tui/lines.py", "(safe(text, multiline=False), tone) for text", "(text, tone) for text", HOSTILE),
    Mutant("the driver is not filtered", "assistant/tui/guard.py", "super().write(filtered(data))", "super().write(data)", HOSTILE + " -k wall"),
    Mutant("the app uses the bare driver", "assistant/tui/app.py", "return guarded(super().get_driver_class())", "return super().get_driver_class()", HOSTILE + " -k wall"),
    Mutant("markup is read in a widget", "assistant/tui/view.py", "Segment(str(text), base", "Segment(__import__('rich.text').text.Text.from_markup(text).plain, base", HOSTILE),
    Mutant("what was typed before counts", ARMING, "        if self.quiet:\n", "        if False:\n", KEYS),
    Mutant("one key approves", ARMING, "            if not armed:\n", "            if False:\n", KEYS),
    Mutant("arming lasts for ever", ARMING, "ARMED_SECONDS = 10.0", "ARMED_SECONDS = 1e9", KEYS + " -k ten_seconds"),
    Mutant("any key keeps it armed", ARMING, "        self.disarm()\n        if key == \"a\":", "        if key == \"a\":", KEYS),
    Mutant("the name need not be typed on the screen", ARMING, "        if self.name_missing:\n", "        if False:\n", KEYS),
    Mutant("a high risk need not be read", ARMING, "if self.unread else", "if False else", KEYS),
)  # fmt: skip
