"""Patterns of secrets in plain text: headers, URLs, connection strings, keys, provider tokens, name=value pairs.

Apart from the structural redaction of Kubernetes objects (`redact.py`), which knows where a value stands and needs no
guess. No stop words: a redactor that spares EXAMPLE or test can be told to spare anything.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

Mark = Callable[[str, str], str]
"""Takes kind and value, returns the placeholder."""

MARKER: Final = "[REDACTED:"

# What may stand between the letters of a token without being part of it: SGR colours, zero-width characters.
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\u200b-\u200f\u2060\ufeff\u00ad]")

_NAME: Final = (
    r"(?:pass(?:wd|word|phrase|code)?|pwd|pw|secret|token|api[-_. ]?key|apikey|access[-_. ]?key|private[-_. ]?key"
    r"|account[-_. ]?key|shared[-_. ]?key|encryption[-_. ]?key|signing[-_. ]?key|master[-_. ]?key|license[-_. ]?key"
    r"|client[-_. ]?key[-_. ]?data|certificate[-_. ]?key|auth[-_. ]?key|session[-_. ]?key|credentials?|creds?"
    r"|sasl|salt|seed|signature|sig|otp|pin[-_. ]?code|webhook[-_. ]?url|mnemonic)"
)
# A word boundary on the left that also accepts DB_PASSWORD, dbPassword, X-Api-Key; a plural or a number on the right.
_SENSITIVE: Final = re.compile(
    rf"(?:^|[^A-Za-z]|(?<=[a-z])(?=[A-Z])){_NAME}s?(?:[^A-Za-z]|(?=[A-Z])|$)|(?:password|passwd|secret|apikey|token)$"
    r"|^pg?password|^pass|pwd$",
    re.IGNORECASE,
)
# Names that carry such a word and hold no secret: references, paths, policies, counts, times.
_HARMLESS: Final = re.compile(
    r"(?:name|names|ref|refs|file|path|dir|mount|url|uri|endpoint|host|type|kind|id|ids|ttl|expiry|expires|expiration"
    r"|seconds|minutes|days|count|limit|length|size|version|enabled|required|policy|mode|algorithm|issuer|audience"
    r"|provider|template|class|rotation|hash|checksum|fingerprint|status|usage|budget|per|max|min|used|total)s?$"
    r"|^(?:image ?pull ?secrets?|automount.*|service ?account ?token|secrets|max_?tokens.*|tokens?_.*)$",
    re.IGNORECASE,
)


@lru_cache(maxsize=8192)  # the same few names come again and again, and the two searches cost more than all others
def sensitive_name(name: str) -> bool:
    """Say whether a field, variable or flag of this name usually holds a secret value."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip().strip("\"'"))
    if _HARMLESS.search(spaced.rsplit(".", 1)[-1]) and not re.search(r"webhook[-_. ]?url$", spaced, re.IGNORECASE):
        return False
    return bool(_SENSITIVE.search(spaced))


_SPARED: Final = re.compile(
    r"\$\(.*\)?$|\$\{.*\}?$|\{\{.*|<.*>$|\*+$|x{3,}$|(?:true|false|null|none|nil|yes|no|~|redacted|\"\"|''|\{|\[|\||>|\|-|>-)$"
    r"|\[REDACTED:|/[A-Za-z0-9_.-]+(?:/|$)|[0-9]{1,5}[smhd]?$|(?:is|was|has|not|for|from|in|and|or|every|expired|invalid"
    r"|missing|required|must|may|can|to|of|the|a|an|with|store[d]?|rotation|found|volume)$",
    re.IGNORECASE,
)

_PREFIXED: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"gh[pousr]_[A-Za-z0-9_]{16,}|github_pat_[A-Za-z0-9_]{16,}|gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|imt|feed)t?-[\w-]{12,}"
    r"|xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}|xoxe\.[\w.-]{10,}|sk-[A-Za-z0-9_-]{16,}|sk_(?:live|test)_\w{12,}|[rp]k_(?:live|test)_\w{12,}"
    r"|whsec_\w{12,}|hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}|gls[a]_[A-Za-z0-9_]{16,}|glc_[A-Za-z0-9+/=]{16,}"
    r"|AIza[\w-]{20,}|ya29\.[\w.-]{12,}|1//0[\w-]{16,}|GOCSPX-[\w-]{12,}|npm_[A-Za-z0-9]{16,}|pypi-[\w-]{16,}"
    r"|dckr_(?:pat|oat)_[\w-]{12,}|dop_v1_\w{16,}|doo_v1_\w{16,}|dor_v1_\w{16,}|hv[sbr]\.[\w-]{12,}|s\.[A-Za-z0-9]{24}(?![A-Za-z0-9.])"
    r"|shp(?:at|ca|pa|ss)_\w{16,}|SG\.[\w-]{12,}\.[\w-]{12,}|key-[0-9a-f]{32}|sq0[a-z]{3}-[\w-]{16,}|EAA[A-Za-z0-9]{24,}"
    r"|lin_api_\w{16,}|ntn_\w{16,}|secret_[A-Za-z0-9]{24,}|PMAK-[\w-]{16,}|dapi[0-9a-f]{32}|r8_\w{16,}|gsk_\w{16,}"
    r"|xai-\w{16,}|tvly-[\w-]{12,}|pplx-\w{16,}|figd_[\w-]{16,}|atlasv1\.[\w-]{16,}|[\w-]{12,}\.atlasv1\.[\w-]{20,}|sntry[su]_[\w+/=-]{16,}"
    r"|NRAK-\w{16,}|NRII-\w{16,}|rubygems_\w{16,}|AGE-SECRET-KEY-1\w{16,}|pul-\w{16,}|tskey-[\w-]{12,}|fo1_[\w-]{16,}|sbp_\w{16,}"
    r"|k8s-aws-v1\.[\w=-]{16,}|v\^1\.[\w#^+/=-]{16,}|ATATT[\w=-]{16,}|ATBB[\w=-]{16,}|CFPAT-[\w-]{16,}|LTAI[A-Za-z0-9]{12,}|AKID[A-Za-z0-9]{12,}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}|eyJ[\w-]{16,}\.{2,3}[\w.-]{8,}"
    r"|\$(?:2[abxy]|apr1|1|5|6|y|argon2(?:id|i|d)|pbkdf2[\w-]*)\$[^\s\"',;]{8,}|[a-z0-9]{6}\.[a-z0-9]{16}(?![a-z0-9.-])"
    r"|https://hooks\.slack\.com/(?:services|workflows|triggers)/[^\s\"'<>]+"
    r"|https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/[^\s\"'<>]+|https://[\w.-]+\.webhook\.office\.com/[^\s\"'<>]+"
    r"|[0-9]{8,10}:AA[\w-]{30,}"
    r")"
)
_PEM: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END)[\s\S])*(?:-----END [A-Z0-9 ]*-----)?"
)
_PEM_BASE64: Final = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]{12,}")
_URL_USER: Final = re.compile(
    r"(?P<a>\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]*:)(?P<v>[^\s\"'<>]+)(?=@[^\s@]*)", re.IGNORECASE
)
_URL_TOKEN: Final = re.compile(r"(?P<a>\bhttps?://)(?P<v>[^\s:/@\"'<>]{8,})(?=@)", re.IGNORECASE)
_HEADER: Final = re.compile(
    r"(?P<a>\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256)\s+)?)"
    r"(?P<v>[^\s\"',;]{4,})",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"(?P<a>\b(?:bearer|basic)\s+)(?P<v>[A-Za-z0-9+/_.~=-]{16,})", re.IGNORECASE)
_COOKIE: Final = re.compile(r"(?P<a>\b(?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)(?P<v>[^\r\n\"']{4,})", re.IGNORECASE)
_COOKIE_PAIR: Final = re.compile(r"(?P<a>[\w.-]+=)(?P<v>[^;\s]{6,})")
_QUERY: Final = re.compile(
    r"(?P<a>[?&](?:key|sig|signature|token|code|password|secret|auth|x-amz-(?:signature|credential|security-token)|sas)=)(?P<v>[^&\s\"'<>]{4,})",
    re.IGNORECASE,
)
_FLAG: Final = re.compile(
    r"(?P<a>(?<![\w-])--?(?P<n>[A-Za-z][\w-]*)(?:[\"']?\s*,\s*[\"']|[\"']?\s+[\"']?|=[\"']?))(?P<v>[^\s\"',;\]-][^\s\"',;\]]{2,})"
)
_MYSQL: Final = re.compile(
    r"(?P<a>\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)\b[^\n|;&]*?\s-p)(?P<v>[^\s\"'-][^\s\"']*)"
)
_CURL_USER: Final = re.compile(r"(?P<a>\bcurl\b[^\n|;&]*?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']+:)(?P<v>[^\s\"']+)")
_SSHPASS: Final = re.compile(r"(?P<a>\b(?:sshpass\s+-p|redis-cli\b[^\n|;&]*?\s-a)\s*[\"']?)(?P<v>[^\s\"']+)")
_PAIR: Final = re.compile(
    r"(?P<a>(?P<q>\\*[\"'])?(?P<n>[A-Za-z_][\w.\-]{0,80})(?(q)\\*[\"'])[ \t]*(?:=>|:=|[:=])[ \t]*)"
    r"(?:(?P<o>\\*[\"'])(?P<qv>(?:(?!(?P=o))[^\r\n])*)(?P=o)|(?P<v>[^\s\"',;&}\])][^\s\"',;&}\]]*))"
)
_ENV_PAIR: Final = re.compile(
    r"(?P<a>name[\"']?:\s*[\"']?(?P<n>[A-Za-z_][\w.\-]*)[\"']?,?\s*[\"']?value[\"']?:\s*)(?:\"(?P<qv>(?:[^\"\\]|\\.)*)\"|(?P<v>[^\s\"'{},]+))"
)
# Names that hold a secret only where the value looks like one (`auth` of a docker configuration, `key` of anything).
_LOOSE_NAME: Final = re.compile(r"(?:^|[_.-])(?:auth|key|pat|code|bearer|jwt|cookie|session)$", re.IGNORECASE)
_LOOSE_VALUE: Final = re.compile(r"(?=[^\s]*[0-9])(?=[^\s]*[A-Za-z])[A-Za-z0-9+/_=.~-]{16,}$")
_BLOCK: Final = re.compile(r"(?m)^(?P<i>[ \t]*)(?:data|stringData):[ \t]*\r?\n(?P<b>(?:(?P=i)[ \t]+[^\n]*\n?)+)")
_BLOCK_LINE: Final = re.compile(r"(?m)^(?P<a>[ \t]+[\w.\-]+:[ \t]*)(?P<v>[^\s|>][^\n]*)")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/=_.:-])[A-Za-z0-9+/]{24,}={0,2}(?![A-Za-z0-9+/=])")
_SECRET_KIND: Final = re.compile(r"\bkind\"?:[ \t]*\"?Secret(?![\w.-])")
_DEPTH: Final = 3


# Each pattern with literals of which a match has at least one: looking for them first costs a tenth of the pattern.
_GATED: Final = (
    ("url-password", _URL_USER, ("://",)),
    ("url-token", _URL_TOKEN, ("://",)),
    ("query", _QUERY, ("?", "&")),
    ("authorization", _HEADER, ("authorization",)),
    ("bearer", _BEARER, ("bearer", "basic")),
    ("password", _MYSQL, ("mysql", "mariadb")),
    ("password", _CURL_USER, ("curl",)),
    ("password", _SSHPASS, ("sshpass", "redis-cli")),
)


def redact_patterns(text: str, mark: Mark, depth: int = 0) -> tuple[str, int]:
    """Replace what looks like a secret by `mark(kind, value)`; returns the text and how many were replaced."""
    if not text:
        return text, 0
    if _CONTROLS.search(text):
        # Only where a token is hidden by controls inside it are they taken out; harmless colours stay.
        plain = _CONTROLS.sub("", text)
        clean, count = redact_patterns(plain, mark, depth)
        return (clean, count) if count else (text, 0)
    work = _Work(mark, depth)
    # Beyond ASCII there are letters that a pattern without case takes for others (long s, Kelvin sign): no short cut.
    lowered = text.lower() if text.isascii() else ""
    if _SECRET_KIND.search(text):
        text = _BLOCK.sub(lambda m: m.group(0).replace(m.group("b"), work.block(m.group("b"))), text)
    text = _PEM.sub(lambda m: work.mark("private-key", m.group(0)), text)
    text = _PEM_BASE64.sub(work.pem, text)
    text = _PREFIXED.sub(work.prefixed, text)
    for kind, pattern, literals in _GATED:
        if not lowered or any(literal in lowered for literal in literals):
            text = pattern.sub(lambda m, kind=kind: work.value(m, kind), text)  # type: ignore[misc]
    if not lowered or "cookie" in lowered:
        text = _COOKIE.sub(
            lambda m: m.group("a") + _COOKIE_PAIR.sub(lambda p: work.value(p, "cookie"), m.group("v")), text
        )
    text = _ENV_PAIR.sub(work.named, text)
    text = _FLAG.sub(work.named, text)
    text = _PAIR.sub(work.named, text)
    if depth < _DEPTH:
        text = _BASE64.sub(work.encoded, text)
    return text, work.count


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
        if MARKER in value or _SPARED.match(value):
            return match.group(0)
        return head + self.mark(kind, value)

    def pem(self, match: re.Match[str]) -> str:
        value = match.group(0)
        head = _decoded(value[:80])
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
        quoted = groups.get("qv")
        value = quoted if quoted is not None else groups.get("v") or ""
        name = match.group("n")
        secret = sensitive_name(name) or bool(_LOOSE_NAME.search(name) and _LOOSE_VALUE.match(value))
        if not value or _SPARED.match(value) or (MARKER in value and secret):
            return match.group(0)
        if not secret:
            return match.group(0) if quoted is None else self._put(match, "qv", self._inside(quoted))
        if match.re is _PAIR and quoted is None and match.group("a").endswith(": ") and not _valuelike(match):
            return match.group(0)
        return self._put(match, "v" if quoted is None else "qv", self.mark(_kind(name), value))

    @staticmethod
    def _put(match: re.Match[str], group: str, text: str) -> str:
        whole, offset = match.group(0), match.start()
        return whole[: match.start(group) - offset] + text + whole[match.end(group) - offset :]

    def _inside(self, quoted: str) -> str:
        """Look into a quoted value: a log line or a document in a JSON string has pairs of its own."""
        if "\\" in quoted and self._depth < _DEPTH:
            try:
                plain = json.loads(f'"{quoted}"')
            except ValueError:
                plain = ""
            if plain and plain != quoted:
                clean, count = redact_patterns(plain, self._mark, self._depth + 1)
                self.count += count
                return json.dumps(clean, ensure_ascii=False)[1:-1] if count else quoted
        return _PAIR.sub(self.named, quoted)

    def block(self, block: str) -> str:
        return _BLOCK_LINE.sub(lambda m: m.group("a") + self.mark("secret-data", m.group("v")), block)

    def encoded(self, match: re.Match[str]) -> str:
        value = match.group(0)
        inner = _decoded(value)
        if not inner or len(inner) < 8:
            return value
        _, count = redact_patterns(inner, self._mark, self._depth + 1)
        return self.mark("encoded", value) if count else value


def _kind(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32] or "value"


def _valuelike(match: re.Match[str]) -> bool:
    """Tell `password: hunter2` from prose such as `token: the one from the vault`."""
    rest = match.string[match.end() : match.end() + 40]
    follows = re.match(r"[ \t]+(?:[a-z]{2,}[ \t]+[a-z]{2,}|[\"'])", rest)
    return not (follows and re.fullmatch(r"[a-z]+", match.group("v")))


def _decoded(value: str) -> str:
    try:
        raw = base64.b64decode(value[: len(value) // 4 * 4], validate=True)
        text = raw.decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
    return text if all(ch.isprintable() or ch in "\r\n\t\x1b" for ch in text) else ""
