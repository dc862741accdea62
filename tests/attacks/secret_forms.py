"""Secrets and what they are wrapped in: the set of 80, the lookalikes, and generated ones; and how a leak is found."""

from __future__ import annotations

import base64
import gzip
import json
import random
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

CORPUS: Final[dict[str, Any]] = yaml.safe_load(
    gzip.decompress((Path(__file__).parents[1] / "unit" / "policy" / "data" / "secrets.yaml.gz").read_bytes())
)
WINDOW: Final = 12
LARGE_TEXT: Final = 100_000


def secret_of(entry: dict[str, Any]) -> str:
    return "".join(entry["parts"])


def text_of(entry: dict[str, Any]) -> str:
    return str(entry["text"]).replace("{S}", secret_of(entry))


def leaked(out: str, secret: str) -> bool:
    """Say whether a text still tells the secret: whole, any 12 characters of it, encoded once, or over a line break."""
    joined = out.replace("\r", "").replace("\n", "")
    return any(form in out or form in joined for form in _forms(out, secret))


def trace(out: str, secret: str) -> str:
    """Return what stands around the first trace of a secret, for people who look for the hole."""
    joined = out.replace("\r", "").replace("\n", "")
    for text in (out, joined):
        for form in _forms(out, secret):
            if (at := text.find(form)) >= 0:
                return text[max(0, at - 60) : at + 60]
    return ""


def _forms(out: str, secret: str) -> set[str]:
    # In a large text a leak of a few characters more than the window is enough to look for.
    step = 4 if len(out) > LARGE_TEXT else 1
    windows = {secret[i : i + WINDOW] for i in range(0, len(secret) - WINDOW + 1, step)} or {secret}
    raw = secret.encode()
    # Base64 of a part depends on where the part stands in its group of three bytes.
    encoded = {base64.b64encode(raw[n:]).decode().rstrip("=")[:-2] for n in range(3) if len(raw) > n + 6}
    return windows | {quote(secret, safe=""), raw.hex()} | {form for form in encoded if len(form) >= WINDOW}


# Wrappers ------------------------------------------------------------------------------------------------------


def _lines(text: str, put: Callable[[str], str]) -> str:
    return "\n".join(put(line) for line in text.split("\n"))


def _folded(text: str, width: int = 80) -> str:
    """Break lines at `width`, pushed so far right that the break goes through the longest one."""
    lines = text.split("\n")
    room = width - max(1, min(max(map(len, lines)), width) * 2 // 3)
    head = "2026-11-23T08:02:08Z stderr F ".ljust(room, ".") + " "
    whole = [head + line for line in lines]
    return "\n".join(line[n : n + width] for line in whole for n in range(0, len(line), width))


WRAPPERS: Final[dict[str, Callable[[str], str]]] = {
    "plain": lambda t: t,
    "json string": lambda t: json.dumps({"a": 1, "log": t}),
    "json string twice": lambda t: json.dumps({"log": json.dumps({"msg": t})}),
    "yaml block": lambda t: "x:\n  log: |\n" + _lines(t, lambda line: f"    {line}"),
    "yaml quoted": lambda t: "annotations:\n  note: " + json.dumps(t),
    "env line": lambda t: "APP_CONFIG=" + json.dumps(t),
    "url": lambda t: "GET https://log.example.test/put?msg=" + quote(t, safe="") + "&n=1 200",
    "base64": lambda t: "  payload: " + base64.b64encode(t.encode()).decode(),
    "base64 in lines": lambda t: base64.encodebytes(t.encode()).decode(),
    "log line in colours": lambda t: _lines(t, lambda line: f"\x1b[2m08:02:08\x1b[0m \x1b[31m{line}\x1b[0m"),
    "wrapped line": _folded,
    "header": lambda t: "X-Debug-Info: " + json.dumps(t),
    "command argument": lambda t: "app --message '" + t.replace("'", "'\\''") + "' --retries=3",
    "crlf": lambda t: t.replace("\n", "\r\n"),
    "middle of a megabyte": lambda t: "info: all is well\n" * 30_000 + t + "\ninfo: all is well" * 30_000,
    "exception": lambda t: f'Traceback (most recent call last):\n  File "a.py", line 3, in f\nValueError: {t}',
}
LARGE: Final = "middle of a megabyte"

# Generated secrets ---------------------------------------------------------------------------------------------

_ALNUM: Final = string.ascii_letters + string.digits
CHARSETS: Final = {
    "letters and digits": _ALNUM,
    "hexadecimal": "0123456789abcdef",
    "base64": _ALNUM + "+/",
    "url-safe": _ALNUM + "-_",
    "symbols": _ALNUM + "!@#%^*_+-=.?~",
    "base32": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
}
_WORDS: Final = [
    "password", "passwd", "pwd", "secret", "token", "apiKey", "accessKey", "privateKey", "clientSecret", "authToken",
    "accessToken", "refreshToken", "secretKey", "signingKey", "encryptionKey", "masterKey", "passphrase", "credentials",
    "webhookSecret", "sessionKey", "licenseKey",
]  # fmt: skip
_FRONT: Final = ("", "db", "redis", "smtp", "app", "my", "prod", "keycloak", "s3", "github")
# Tokens that need no name: the shape alone tells. Split, so that no scanner takes this file for a leak.
SHAPES: Final[dict[str, tuple[str, str, int]]] = {
    "github": ("gh" + "p_", _ALNUM, 36),
    "gitlab": ("glp" + "at-", _ALNUM, 20),
    "slack": ("xo" + "xb-", _ALNUM, 40),
    "stripe": ("sk" + "_live_", _ALNUM, 24),
    "hugging face": ("hf" + "_", _ALNUM, 34),
    "aws": ("AK" + "IA", CHARSETS["base32"], 16),
    "google": ("AI" + "za", CHARSETS["url-safe"], 35),
    "vault": ("hv" + "s.", _ALNUM, 24),
    "npm": ("np" + "m_", _ALNUM, 36),
    "openai": ("sk" + "-proj-", _ALNUM, 48),
    "digital ocean": ("dop" + "_v1_", "0123456789abcdef", 64),
    "age": ("AGE-SEC" + "RET-KEY-1", CHARSETS["base32"], 58),
    "jwt": ("ey" + "JhbGciOiJIUzI1NiJ9.eyJ", _ALNUM, 60),
    "bcrypt": ("$2" + "y$10$", _ALNUM + "./", 53),
}


def _key(rng: random.Random) -> str:
    words = [word for word in (rng.choice(_FRONT), rng.choice(_WORDS)) if word]
    parts = [piece for word in words for piece in _camel(word)]
    match rng.randrange(5):
        case 0:
            return "_".join(parts).upper()
        case 1:
            return "_".join(parts)
        case 2:
            return "-".join(parts)
        case 3:
            return parts[0] + "".join(part.capitalize() for part in parts[1:])
        case _:
            return ".".join(["spring", *parts])


def _camel(word: str) -> list[str]:
    out = [""]
    for ch in word:
        if ch.isupper():
            out.append("")
        out[-1] += ch.lower()
    return out


def _value(rng: random.Random) -> str:
    charset = CHARSETS[rng.choice(list(CHARSETS))]
    while True:
        value = "".join(rng.choice(charset) for _ in range(rng.choice((8, 10, 12, 16, 20, 24, 32, 40, 64, 128))))
        # What looks like nothing, like a number or like an option is somebody's password too, but no redactor's.
        if any(ch.isdigit() for ch in value) and any(ch.isalpha() for ch in value) and value[0].isalnum():
            return value


NOTATIONS: Final[dict[str, str]] = {
    "env": "{K}={S}",
    "yaml": "  {K}: {S}",
    "yaml in quotes": "  {K}: '{S}'",
    "json": '{"user": "app", "{K}": "{S}", "n": 1}',
    "properties": "{K} = {S}",
    "flag": "app --{K} {S} --port 80",
    "flag with =": "app --{K}={S} --port=80",
    "arguments": '["--{K}", "{S}"]',
    "variable": "- name: {K}\n  value: {S}",
    "url password": "postgres://app:{U}@db.example.test/orders",
    "query": "GET /x?{K}={U}&n=1",
    "header": "Authorization: Bearer {S}",
    "cookie": "Set-Cookie: session={S}; HttpOnly",
    "logfmt": 'level=info msg="login" {K}={S} user=app',
    "xml": "<{K}>{S}</{K}>",
    "alone": "got {S} from the store",
}


def generated(seed: int, count: int) -> Iterator[tuple[str, str, str]]:
    """Yield (what it is, text with the secret, secret): `count` variants of name, length, characters and wrapper."""
    rng = random.Random(seed)  # noqa: S311 - test data
    names = [name for name in WRAPPERS if name != LARGE]
    for _ in range(count):
        notation = rng.choice(list(NOTATIONS))
        if notation == "alone" or rng.random() < 0.2:
            shape = rng.choice(list(SHAPES))
            head, charset, size = SHAPES[shape]
            secret = head + "".join(rng.choice(charset) for _ in range(size))
        else:
            shape, secret = "", _value(rng)
        if notation in ("url password", "query"):
            secret = quote(secret, safe="")
        text = NOTATIONS[notation].replace("{K}", _key(rng)).replace("{S}", secret).replace("{U}", secret)
        wrapper = rng.choice(names)
        yield f"{notation} {shape or 'value'} in {wrapper}", WRAPPERS[wrapper](text), secret
