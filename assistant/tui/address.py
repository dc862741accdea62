"""A web address that somebody else wants looked at: shown in full, its host apart, and what may deceive about it."""

from __future__ import annotations

import ipaddress
import unicodedata
from urllib.parse import urlsplit

from assistant.policy.sanitize import safe
from assistant.tui.lines import BLANK, Given, Line, Tone, columns, line
from assistant.tui.words import said


def host_of(url: str) -> str:
    """Return the host that a browser would ask, "" where that cannot be told for sure."""
    if any(char in "\\" or char.isspace() or ord(char) < 0x20 for char in url):
        # Browsers read these in their own ways, so whatever is shown could be another host than theirs.
        return ""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def in_letters(host: str) -> str:
    """Return how a browser may write a host: `xn--` labels as the letters they stand for."""
    out = []
    for label in host.split("."):
        try:
            out.append(label[4:].encode().decode("punycode") if label.lower().startswith("xn--") else label)
        except ValueError:
            out.append(label)
    return ".".join(out)


def in_ascii(host: str) -> str:
    """Return the ASCII form of a host, "" where it has none."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""


def warnings(url: str) -> list[str]:
    """Return what may deceive about an address, a sentence each."""
    host, found = host_of(url), []
    if not host:
        return ["The host cannot be told for sure: do not open it."]
    parts = urlsplit(url)
    if parts.scheme != "https":
        found.append(f"It is not https but {parts.scheme or 'no scheme'}.")
    if "@" in parts.netloc:
        found.append("What stands before the @ is not the host.")
    letters = in_letters(host)
    if not letters.isascii():
        scripts = sorted({_script(char) for char in letters if char.isalpha()})
        found.append(f"The host is not written in plain letters ({', '.join(scripts)}): it may look like another one.")
    try:
        ipaddress.ip_address(host)
        found.append("The host is a number, not a name.")
    except ValueError:
        pass
    return found


def _script(char: str) -> str:
    """Return a letter's script, which Unicode puts first in its name (`CYRILLIC SMALL LETTER A`)."""
    return unicodedata.name(char, "UNKNOWN").split()[0].capitalize()


def address_lines(url: str, width: int) -> list[Line]:
    """Return the host, what may deceive about the address, and all of it."""
    host = host_of(url)
    rows: list[tuple[str, Given]] = [("host", (host or "cannot be told", Tone.ALERT if not host else Tone.STRONG))]
    letters = in_letters(host)
    if letters != host:
        rows.append(("looks like", (letters, Tone.WARN)))
    elif not host.isascii():
        rows.append(("really", (in_ascii(host) or "no valid name", Tone.WARN)))
    out = [*columns(rows), *(line((f" ! {each}", Tone.WARN), hang=3) for each in warnings(url))]
    return [
        *out,
        BLANK,
        line((" all of the address; nothing opens it, y copies it", Tone.MUTED)),
        *said(safe(url), width),
    ]
