"""Takes secrets out of plain text: tokens known by their shape, and values that stand under a sensitive name.

Apart from the structural redaction of Kubernetes objects (`redact.py`), which knows where a value stands and needs no
guess. `redact_names` says which names, `redact_tokens` which shapes, `redact_layers` takes off disguises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from assistant.policy import redact_layers as layers
from assistant.policy import redact_tokens as tokens
from assistant.policy.redact_names import loosely, prose, sensitive_name, shaped, spared

__all__ = ["MARKER", "redact_patterns", "sensitive_name"]

Mark = Callable[[str, str], str]
"""Takes kind and value, returns the placeholder."""

MARKER: Final = "[REDACTED:"
_HASH: Final = re.compile(r"[0-9a-f]{8}\]")
_OWN: Final = re.compile(r"\[REDACTED:[\w.\-]{1,60}:\Z")
_DEPTH: Final = 3
# A line that ends so is rather whole than broken in the middle of a name or a value.
_CLOSING: Final = ",;{}[]()>\"'"

# A line without one of these letters holds no sensitive name; looking for them costs a tenth of the patterns.
_HINTS: Final = (
    r"pass|pwd|pw|secret|token|key|cred|auth|sasl|salt|seed|sig|otp|pin|webhook|mnemonic|pat\b|code|bearer|jwt|cookie"
    r"|session|saml"
)
_HINT: Final = re.compile(_HINTS + r"|\\u|[^\x00-\x7f]")
_FLAG: Final = re.compile(
    r"(?P<a>(?<![\w-])--?(?P<n>[A-Za-z][\w.-]*)(?:[\"']?\s*,\s*[\"']|[\"']?\s+(?:-\s+)?[\"']?|=[\"']?))"
    r"(?P<v>[^\s\"',;\]-][^\s\"',;\]]{2,})"
)
# A quoted value ends at its own quotes; quotes with more backslashes belong to what is quoted inside it.
_PAIR: Final = re.compile(
    rf"(?P<a>(?P<q>\\*[\"'])?(?:(?<![\w.\-])|(?<=--)|(?<=\s-))(?<!\[REDACTED:)(?P<n>(?=[\w.\-]{{0,80}}?(?:{_HINTS}))[A-Za-z_][\w.\-]{{0,80}})(?(q)\\*[\"'])"
    r"[ \t]*(?:=>|:=|[:=])[ \t]*)"
    r"(?:(?P<o>[\"'])(?P<qv>(?:\\.|(?!(?P=o))[^\\\r\n])*)(?P=o)"
    r"|(?P<eo>\\+[\"'])(?P<eqv>(?:(?!(?<!\\)(?P=eo))[^\r\n])*)(?<!\\)(?P=eo)"
    r"|\\*[\"']?(?P<v>[^\s\"',;&}\])\\][^\s\"',;&}\]]*))",
    re.IGNORECASE,
)
# A string in a string: a log line or a document that has pairs and lines of its own.
_QUOTED: Final = re.compile(r"\"(?P<v>[^\"\\\r\n]*\\(?:\\.|[^\\\"\r\n]|(?<=\\).)*)\"")
_ENV_PAIR: Final = re.compile(
    r"(?P<a>\b(?:name|key)\\*[\"']?\s?[:=]\s*\\*[\"']?(?P<n>[A-Za-z_][\w.\-]*)\\*[\"']?,?(?:\s*|\r?\n[^\n]{1,120}?)\\*[\"']?\bvalue\\*[\"']?\s?[:=]\s*)"
    r"(?:\"(?P<qv>(?:[^\"\\]|\\.)*)\"|\\*[\"']?(?P<v>[^\s\"'{},\\]+))",
    re.IGNORECASE,
)
_ELEMENT: Final = re.compile(r"(?P<a><(?P<n>[A-Za-z_][\w.:-]*)(?:\s[^<>]*)?>\s*)(?P<v>[^<>\s][^<>]*)(?=</)")
_COLUMN: Final = re.compile(
    r"(?m)^(?P<a>[ \t|]*(?P<n>[A-Za-z_][\w.-]*)(?:[ \t]{2,}|\t|[ \t]*\|)[ \t]*)(?P<v>[^\s|]+)(?=[ \t]*(?:\||$))"
)
_PROSE: Final = re.compile(
    r"(?P<a>\b(?P<n>pass(?:word|wd|phrase|code)|pwd|secret|token|(?:api|unseal|recovery|license|private)[ _-]key)"
    r"(?: \d{1,2})?(?:[ \t]+(?:is|was)\b|:)?[ \t]+[\"'`]?)(?P<v>[^\s\"'`|,]+)",
    re.IGNORECASE,
)
# The whole rest of a line of YAML, properties or environment: such a value needs no quotes for its blanks and commas.
_REST: Final = re.compile(
    r"^(?P<a>[ \t]*(?:- |export |set )?(?P<n>[A-Za-z_][\w.\-]*)(?:[ \t]*[:=][ \t]+|=))"
    r"(?P<v>[^\s\"'\[{|>&*#]\S*(?: (?!#)\S+)*)(?=[ \t]*\r?$)"
)
_MORE_PAIRS: Final = re.compile(r"[,;& ][ ]?[\w.-]+\s?[:=]")
_BLOCK_SCALAR: Final = re.compile(
    r"(?m)^(?P<a>(?P<i>[ \t]*)(?:- )?[\"']?(?P<n>[A-Za-z_][\w.\-]*)[\"']?:[ \t]*[|>][-+0-9]*[ \t]*\r?\n)"
    r"(?P<b>(?:(?P=i)[ \t]+[^\n]*(?:\n|\Z)|[ \t]*\n)+)"
)
_LIST_BELOW: Final = re.compile(
    r"(?m)^(?P<a>(?P<i>[ \t]*)[\"']?(?P<n>[A-Za-z_][\w.\-]*)[\"']?:[ \t]*\r?\n)"
    r"(?P<b>(?:(?P=i)[ \t]*- [^\n]*(?:\n|\Z))+)"
)
_LIST_ITEM: Final = re.compile(r"(?m)^(?P<a>[ \t]*- [\"']?)(?P<v>[^\s\"':]{6,})(?=[\"']?[ \t]*\r?$)")
_BRACKET: Final = re.compile(
    r"(?<![\w.\-])(?P<a>(?P<n>[A-Za-z_][\w.\-]*)\\*[\"']?[ \t]*[:=][ \t]*\[)(?P<b>[^\[\]{}]{6,8000})(?=\])"
)
_BRACKET_ITEM: Final = re.compile(r"(?P<a>)(?P<v>[^\s\"',\\]{6,})")
_NESTED: Final = re.compile(
    r"(?<![\w.\-])(?P<a>(?P<n>[A-Za-z_][\w.\-]*)\\*[\"']?[ \t]*:[ \t]*(?:\{\s*|\r?\n[ \t]+)\\*[\"']?"
    r"(?:value|plain|plaintext|raw|literal|string|stringvalue|data|content)\\*[\"']?[ \t]*:[ \t]*\\*[\"']?)"
    r"(?P<v>[^\s\"',{}\[\]\\]+)",
    re.IGNORECASE,
)
_DATA: Final = re.compile(r"(?:^|.*[ \t])(?=(?:data|stringData):[ \t]*\r?$)")
_DATA_LINE: Final = re.compile(r"(?P<a>[ \t]+[\w.\-]+:[ \t]*)(?P<v>[^\s|>].*)")
_SECRET_KIND: Final = re.compile(r"\bkind\"?:[ \t]*\"?Secret(?![\w.-])")
_BASIC: Final = re.compile(r"[\w.@+-]{1,64}:(?P<v>[^\s:/]{6,})$")

_GATED: Final = tokens.GATED


def redact_patterns(text: str, mark: Mark, depth: int = 0) -> tuple[str, int]:
    """Replace what looks like a secret by `mark(kind, value)`; returns the text and how many were replaced."""
    if not text:
        return text, 0
    if layers.CONTROLS.search(text):
        # Only where a token is hidden by controls inside it are they taken out; harmless colours stay.
        plain = layers.CONTROLS.sub("", text)
        clean, count = redact_patterns(plain, mark, depth)
        return (clean, count) if count else (text, 0)
    if "'\\''" in text and (found := redact_patterns(layers.unquoted(text), mark, depth))[1]:
        return found
    clean, count = _pass(_rejoined(text, mark, depth), mark, depth)
    if not clean.isascii() and (plain := layers.folded(clean)) != clean:
        again, more = _pass(plain, mark, depth)
        return (again, count + more) if more else (clean, count)
    return clean, count


def _rejoined(text: str, mark: Mark, depth: int) -> str:
    """Return the text with those line wraps taken out that go through the middle of a secret or of its name."""
    if "\n" not in text:
        return text
    out: list[str] = []
    last = 0
    for start, end, joined, sure in layers.wrapped(text):
        if not sure and text[start:end].partition("\n")[0][-1] in _CLOSING:
            continue
        # The line before may hold the name that makes the broken value a secret, the line after the value of a name.
        before = (
            text[text.rfind("\n", 0, max(0, start - 1)) + 1 : start] if not out or start != last + 1 else out[-1] + "\n"
        )
        after = text[end : (text.find("\n", end + 1) + 1 or len(text) + 1) - 1]
        whole, many = _pass(before + joined + after, mark, depth)
        if not many:
            continue
        broken, few = _pass(before + text[start:end] + after, mark, depth)
        if many > few or (sure and many == few and whole.replace("\n", "") != broken.replace("\n", "")):
            out += [text[last:start], joined]
            last = end
    return "".join(out) + text[last:] if out else text


def _pass(text: str, mark: Mark, depth: int) -> tuple[str, int]:
    work = _Work(mark, depth)
    # Beyond ASCII there are letters that a pattern without case takes for others (long s, Kelvin sign): no short cut.
    lowered = text.lower() if text.isascii() else ""
    if _SECRET_KIND.search(text):
        text = _data_below(text, work)
    text = tokens.PEM.sub(lambda m: work.mark("private-key", m.group(0)), text)
    text = tokens.PEM_BASE64.sub(work.pem, text)
    text = tokens.DER_KEY.sub(lambda m: work.mark("private-key", m.group(0)), text)
    text = tokens.PREFIXED.sub(work.prefixed, text)
    for kind, pattern, literals in _GATED:
        if not lowered or any(literal in lowered for literal in literals):
            text = pattern.sub(lambda m, kind=kind: work.value(m, kind), text)  # type: ignore[misc]
    if not lowered or "://" in lowered:
        text = tokens.URL_OTHER_TOKEN.sub(lambda m: work.guess(m, "url-token"), text)
    if not lowered or "cookie" in lowered:
        text = tokens.COOKIE.sub(
            lambda m: m.group("a") + tokens.COOKIE_PAIR.sub(lambda p: work.value(p, "cookie"), m.group("v")), text
        )
    text = tokens.PGPASS.sub(lambda m: work.value(m, "password"), text)
    if "chpasswd" in text:
        text = tokens.CHPASSWD.sub(work.chpasswd, text)
    if "--from-literal" in text:
        text = tokens.LITERAL.sub(work.literal, text)
    if not lowered or _HINT.search(lowered):
        if "\\" in text and depth < _DEPTH:
            text = _QUOTED.sub(work.inside, text)
        text = _below_names(text, work)
        text = _FLAG.sub(work.named, text)
        text = _by_line(text, work)
    if depth < _DEPTH:
        text = layers.BASE64.sub(lambda m: work.encoded(m, layers.decoded), text)
        text = layers.HEX.sub(lambda m: work.encoded(m, layers.from_hex), text)
        if "%" in text:
            text = layers.PERCENT.sub(lambda m: work.encoded(m, layers.from_percent), text)
    return text, work.count


def _data_below(text: str, work: _Work) -> str:
    """Replace every value below `data:` of a Secret's YAML; by columns, since a log may have put its time before it."""
    lines = text.split("\n")
    column = -1
    for index, line in enumerate(lines):
        if column >= 0 and (found := _DATA_LINE.match(line, column)):
            lines[index] = line[: found.start("v")] + work.mark("secret-data", found.group("v"))
        elif column < 0 or not line[column : column + 1].isspace():
            start = _DATA.match(line)
            column = start.end() if start else -1
    return "\n".join(lines)


def _below_names(text: str, work: _Work) -> str:
    """Replace values that stand on other lines than their names, or in brackets behind them."""
    text = _ENV_PAIR.sub(work.named, text)
    text = _NESTED.sub(work.named, text)
    if "\n" in text:
        text = _BLOCK_SCALAR.sub(work.scalar, text)
        text = _LIST_BELOW.sub(lambda m: work.items(m, _LIST_ITEM), text)
    if "[" in text:
        text = _BRACKET.sub(lambda m: work.items(m, _BRACKET_ITEM), text)
    if "</" in text:
        text = _ELEMENT.sub(work.named, text)
    return text


def _by_line(text: str, work: _Work) -> str:
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if _HINT.search(line.lower()):
            line = _REST.sub(work.rest, line)
            line = _PAIR.sub(work.named, line)
            line = _COLUMN.sub(work.column, line)
            lines[index] = _PROSE.sub(lambda m: work.guess(m, _kind(m.group("n"))), line)
    return "\n".join(lines)


def _is_own(match: re.Match[str]) -> bool:
    """Say whether a value is the hash in a placeholder of ours, whose kind was taken for the name of a header."""
    start = match.start("v")
    return bool(_OWN.search(match.string, max(0, start - 80), start)) and bool(_HASH.match(match.string, start))


class _Work:
    """The replacements of one text, counted."""

    def __init__(self, mark: Mark, depth: int) -> None:
        self._mark = mark
        self._depth = depth
        self.count = 0

    def mark(self, kind: str, value: str) -> str:
        if value.startswith(MARKER):
            return value
        self.count += 1
        return self._mark(kind, value)

    def value(self, match: re.Match[str], kind: str) -> str:
        head, value = match.group("a"), match.group("v")
        if MARKER in value or head.endswith(MARKER) or spared(value) or _is_own(match):
            return match.group(0)
        return head + self.mark(kind, value)

    def guess(self, match: re.Match[str], kind: str) -> str:
        """Replace only what can hardly be anything but a credential."""
        value = match.group("v").rstrip(".;:!?)")
        return match.group(0) if MARKER in value or not shaped(value) else _put(match, "v", self.mark(kind, value))

    def pem(self, match: re.Match[str]) -> str:
        value = match.group(0)
        head = layers.decoded(value[:80])
        return value if head and "PRIVATE" not in head else self.mark("private-key", value)

    def prefixed(self, match: re.Match[str]) -> str:
        value = match.group(0)
        # A bootstrap token has the shape of `word.word`: it needs a digit on both sides to be told from a host name.
        if re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", value) and not (
            re.search(r"\d", value[:6]) and re.search(r"\d", value[7:])
        ):
            return value
        return self.mark("token", value)

    def named(self, match: re.Match[str]) -> str:
        groups = match.groupdict()
        group = next((name for name in ("qv", "eqv") if groups.get(name) is not None), "v")
        value = groups.get(group) or ""
        name = match.group("n")
        secret = sensitive_name(name) or loosely(name, value)
        if not value or spared(value) or (MARKER in value and secret):
            return match.group(0)
        if not secret:
            return match.group(0)
        if match.re is _PAIR and group == "v" and match.group("a").endswith(": ") and _sentence(match):
            return match.group(0)
        return _put(match, group, self.mark(_kind(name), value))

    def rest(self, match: re.Match[str]) -> str:
        name, value = match.group("n"), match.group("v")
        first = value.split(" ", 1)[0]
        if not sensitive_name(name) or spared(first) or MARKER in value or prose(value) or _MORE_PAIRS.search(value):
            return match.group(0)
        return _put(match, "v", self.mark(_kind(name), value))

    def column(self, match: re.Match[str]) -> str:
        return self.guess(match, _kind(match.group("n"))) if sensitive_name(match.group("n")) else match.group(0)

    def literal(self, match: re.Match[str]) -> str:
        line = match.string[match.string.rfind("\n", 0, match.start()) + 1 : match.start()]
        return self.value(match, "secret-data") if re.search(r"\bcreate\s+secret\b", line) else match.group(0)

    def chpasswd(self, match: re.Match[str]) -> str:
        group = "v" if match.group("v") is not None else "w"
        return _put(match, group, self.mark("password", match.group(group)))

    def scalar(self, match: re.Match[str]) -> str:
        if not sensitive_name(match.group("n")) or MARKER in match.group("b"):
            return match.group(0)
        body = match.group("b")
        indent = body[: len(body) - len(body.lstrip(" \t"))]
        end = "\n" if body.endswith("\n") else ""
        return match.group("a") + indent + self.mark(_kind(match.group("n")), body.strip()) + end

    def items(self, match: re.Match[str], item: re.Pattern[str]) -> str:
        name = match.group("n")
        if not sensitive_name(name) or match.group("b").startswith(MARKER[1:]):
            return match.group(0)
        return match.group("a") + item.sub(lambda m: self.value(m, _kind(name)), match.group("b"))

    def inside(self, match: re.Match[str]) -> str:
        quoted = match.group("v")
        try:
            plain = json.loads(f'"{quoted}"')
        except ValueError:
            return match.group(0)
        clean, count = redact_patterns(plain, self._mark, self._depth + 1)
        self.count += count
        return json.dumps(clean, ensure_ascii=False) if count else match.group(0)

    def encoded(self, match: re.Match[str], decode: Callable[[str], str]) -> str:
        value = match.group(0)
        inner = decode(value)
        if len(inner) < 8:
            return value
        basic = _BASIC.match(inner)
        if basic and decode is layers.decoded and shaped(basic.group("v")):
            return self.mark("encoded", value)
        _, count = redact_patterns(inner, self._mark, self._depth + 1)
        return self.mark("encoded", value) if count else value


def _put(match: re.Match[str], group: str, text: str) -> str:
    whole, offset = match.group(0), match.start()
    return whole[: match.start(group) - offset] + text + whole[match.end(group) - offset :]


def _kind(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32] or "value"


def _sentence(match: re.Match[str]) -> bool:
    """Tell `password: hunter2` from prose such as `token: the one from the vault`."""
    end = match.string.find("\n", match.end())
    rest = match.string[match.start("v") : end if end >= 0 else len(match.string)][:120]
    return rest[:1].islower() and prose(rest)
