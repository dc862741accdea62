"""The variables that a log says it lacks, told from all the other words that stand in capitals."""

from __future__ import annotations

import re

from agents.expert import logs
from agents.expert.logs import Complaint

LACKS = re.compile(
    r"missing|require|not set|unset|undefined|not defined|must (be|specify|provide|have)|unbound|not (found|specified|"
    r"provided|present|configured)|KeyError|environ|\benv\b|null|placeholder|NotPresent|specify|absent|need|no value|"
    r"empty|fehlt|manquant",
    re.IGNORECASE,
)
"""Words of a line that misses a variable; without one of them a word in capitals is an error code."""
LONG = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
"""A name of several words; hardly anything but a variable is written like that."""
SHORT = re.compile(r"[A-Z][A-Z0-9]{2,}")
ABOUT_VARIABLES = re.compile(
    r"\benv\b|environ|getenv|process\.env|\bvariables?\b|\bsettings?\b|\bconfig(?:uration)?\b|\bKeyError\b|placeholder|"
    r"\bparameter\b",
    re.IGNORECASE,
)
"""Words that say of a line that it speaks of settings and not of data."""
VALUE = re.compile(r"""(?:["'](?P<quoted>[\w.-]+)["']\s*:\s*|(?<!\w)(?P<bare>[\w.-]+)=)["'`«“]?$""")
"""The end of what stands before the value of a field: `"currency": "` or `currency=`; prose has no such field."""
NAMING = re.compile(r"^(name|var|variable|env|env_?var|key|setting|param|parameter|missing|required|field)s?$", re.I)
"""Fields of a structured line whose value is a name; the value of any other field is data."""
_WORDS = """
GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT
AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF IDR ILS INR JPY KRW MXN MYR NOK NZD PHP PLN RON RUB SEK SGD THB TRY UAH USD
ZAR BTC ETH KIB MIB GIB TIB KHZ MHZ GHZ UTC GMT CET CEST EST PST ISO
API CLI CPU DNS DOM GPU GRPC HTML HTTP HTTPS JDBC JSON JVM LDAP MIME MQTT NAN OAUTH PEM PII RAM REST SMTP SQL SSH SSL
TCP TLS TOML UDP URI URL UTF8 UUID VPN XML YAML DEBUG INFO NOTICE WARN WARNING ERROR FATAL CRITICAL PANIC NONE NULL
TRUE FALSE UNKNOWN MISSING REQUIRED SELECT INSERT UPDATE CREATE ALTER DROP TABLE INDEX WHERE BEGIN COMMIT ROLLBACK EOF
"""
DATA = frozenset(_WORDS.split())
"""Verbs, currencies, units, acronyms, levels and keywords: short words in capitals that are no names of settings."""


def lacking(said: Complaint) -> list[str]:
    """Return the variables that a complaint misses, the surest first.

    A name of several words counts as soon as its line or a neighbour says that something is missing. A single word in
    capitals has to be quoted in a line that speaks of settings itself: beside `missing`, `EUR` is a currency as well.
    """
    long: list[str] = []
    short: list[str] = []
    for line, around in said.pairs:
        if LACKS.search(around):
            quoted = [word for word in logs.quoted_in(line) if LONG.fullmatch(word)]
            long += [word for word in [*logs.VARIABLE.findall(line), *quoted] if not word.startswith("ERR_")]
        if LACKS.search(line):
            short += [word for word in logs.quoted_in(line) if SHORT.fullmatch(word) and _names(line, word)]
    given = {match["name"] for match in logs.ASSIGNED.finditer(said.text)}
    # A name that the log gives a value is what it asks for; others may only stand near.
    return list(dict.fromkeys([*(word for word in long if word in given), *long, *short]))


def _names(line: str, word: str) -> bool:
    """Say whether a quoted word in capitals is the name of a setting, and not a value that the line is about."""
    head = line[: line.find(word)]
    field = VALUE.search(head)
    if field is not None:
        return bool(NAMING.match(field["quoted"] or field["bare"])) and word not in DATA
    if word in DATA:
        return re.search(r"environ|getenv|process\.env", line) is not None
    beside = re.search(
        rf"""\b(?:missing|required?s?|needs?|unset|undefined)\b:? (?:\w+ ){{0,2}}["'`«“]{word}["'`»”]|"""
        rf"""["'`«“]{word}["'`»”] (?:\w+ )?(?:missing|required|not (?:set|defined|found|specified|provided)|"""
        rf"""undefined|unset|must be)""",
        line,
    )
    return beside is not None or ABOUT_VARIABLES.search(line) is not None
