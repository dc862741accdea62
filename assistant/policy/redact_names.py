"""Which names hold secrets and which values look like one. Apart, because structure and text ask the same questions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_NAME: Final = (
    r"(?:pass(?:wd|word|wort|phrase|code)?|pwd|pw|secret|token|(?:api|access|private|preshared|account|shared"
    r"|encryption|signing|master|license|auth|session|hmac|certificate|client|unseal|recovery)[-_. ]?key"
    r"|client[-_. ]?key[-_. ]?data|saml[-_. ]?(?:response|assertion)|credentials?|creds?|requirepass|masterauth"
    r"|sasl|salt|seed|signature|sig|otp|pin[-_. ]?code|webhook[-_. ]?url|mnemonic)"
)
# A whole word, or the end of one that is written together: dbpassword, mysqlpwd, accesstoken.
_SENSITIVE: Final = re.compile(
    rf"(?:^|[^a-z]){_NAME}s?(?:[^a-z]|$)"
    r"|(?:password|passwd|passwort|passphrase|secret|apikey|privatekey|accesskey|token|pwd|credentials?)s?$"
    r"|(?:db|user|admin|root|sql|smtp|pg|ldap|bind|ch|re)(?:pass|pw)(?:wd)?$"
)
# Names that carry such a word and hold no secret: references, paths, policies, counts, times.
_HARMLESS: Final = re.compile(
    r"(?:name|names|ref|refs|file|path|dir|mount|url|uri|endpoint|host|type|kind|id|ids|ttl|expiry|expires|expiration"
    r"|seconds|minutes|days|count|limit|length|size|version|enabled|required|policy|mode|algorithm|issuer|audience"
    r"|provider|template|class|rotation|hash|checksum|fingerprint|status|usage|budget|per|max|min|used|total"
    r"|namespace|region|zone|manager|lookup|affinity|domain|process|method|phase|node|store|[^a-z]expired"
    r"|[^a-z](?:sh|py|js|rb|lua|sql|md|html|css|tmpl|tpl|crt))s?$"
    r"|^(?:image_?pull_?secrets?|automount.*|service_?account_?token|secrets|seeds|max_?tokens.*|tokens?_.*"
    r"|pass|passed)$"
)
_BORDER: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WEBHOOK: Final = re.compile(r"webhook[-_. ]?url$")


@lru_cache(maxsize=8192)  # the same few names come again and again, and the two searches cost more than all others
def sensitive_name(name: str) -> bool:
    """Say whether a field, variable or flag of this name usually holds a secret value."""
    bare = name.strip().strip("\"'\\")
    if bare in ("pass", "PASS", "Pass"):
        # Alone it is as often the result of a test as a password; the value decides (`loose_name`).
        return False
    words = _BORDER.sub("_", bare).lower()
    if _HARMLESS.search(words.rsplit(".", 1)[-1]) and not _WEBHOOK.search(words):
        return False
    return bool(_SENSITIVE.search(words))


# Names that hold a secret only where the value looks like one (`auth` of a docker configuration, `key` of anything).
_LOOSE_NAME: Final = re.compile(
    r"(?:^|[_.-])(?:auth|key|pat|code|bearer|jwt|cookie|session|pass|seeds)$", re.IGNORECASE
)
_LOOSE_VALUE: Final = re.compile(
    r"(?![a-z0-9.-]+\.[a-z]{2,}/)(?=[^\s]*[0-9])(?=[^\s]*[A-Za-z])(?:base64:)?[A-Za-z0-9+/_=.~-]{16,}$"
)


def loosely(name: str, value: str) -> bool:
    """Say whether the two together look like a secret although the name alone does not."""
    if name.lower() == "pass":
        return not value.isdigit() and not value.isalpha()
    return bool(_LOOSE_NAME.search(name) and _LOOSE_VALUE.match(value))


_SPARED: Final = re.compile(
    r"\$\(.*\)?$|\$\{.*\}?$|\{\{.*|<.*>$|<(?:set|unset|your|the|none|nil|redacted)\b|\*+$|x{3,}$"
    r"|(?:true|false|null|none|nil|yes|no|~|redacted|\"\"|''|\{|\[|\||>|\|-|>-)\)?$"
    r"|\[REDACTED:|/[A-Za-z0-9_.-]+(?:/|$)|[0-9]{1,5}[smhd]?$"
    r"|(?:is|was|has|not|for|from|in|and|or|every|expired|invalid"
    r"|missing|required|must|may|can|to|of|the|a|an|with|store[d]?|rotation|found|volume)$",
    re.IGNORECASE,
)


_LONGEST_PART: Final = 40


def spared(value: str) -> bool:
    """Say whether a value stands for a secret without being one: a reference, a placeholder, a word of prose."""
    if value.startswith("/") and (set(value) & {"+", "="} or max(map(len, value.split("/"))) > _LONGEST_PART):
        return False  # base64 may begin like a path, but no path has names like that
    return bool(_SPARED.match(value))


_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}:\d\d")
_PLAIN_NAME: Final = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)+$")


def shaped(value: str) -> bool:
    """Say whether a word can hardly be anything but a credential: for places where only a guess is possible.

    At least eight characters with letters and digits, and neither a time, a path, an address nor a name of the kind
    that Kubernetes makes.
    """
    return (
        len(value) >= 8
        and any(ch.isdigit() for ch in value)
        and any(ch.isalpha() for ch in value)
        and not any(ch in value for ch in "/:\\(){}[]<>")
        and not _TIME.match(value)
        and not _PLAIN_NAME.match(value)
    )


_FUNCTION_WORDS: Final = re.compile(
    r"\b(?:an?|and|are|at|be|been|by|can|expired|failed|for|found|from|ha[sv]e?|in|invalid|is|its?|may|missing|must|not|of"
    r"|on|one|or|refreshed|required|rotated|so|such|that|the|this|to|was|were|will|with)\b"
)


def prose(value: str) -> bool:
    """Tell `token: the one from the vault` from a passphrase of words: sentences hold words of grammar."""
    words = value.split()
    return len(words) > 2 and words[0].isalpha() and words[0].islower() and bool(_FUNCTION_WORDS.search(value))
