"""What holds in which context: mode, production, a second person, bounds; and which namespaces are protected.

One reader for both sides: the settings are checked with it before a gate is started, and the gate checks them again.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from assistant.policy.classify import PROTECTED_NAMESPACES
from assistant.policy.limits import PROPOSALS_PER_WINDOW, SENT_PER_WINDOW

MODES: Final = ("ask", "observe")
DEFAULT: Final = "default"


class FourEyes(StrEnum):
    """Which changes a second person has to agree to."""

    OFF = "off"
    CRITICAL = "critical"
    ALL = "all"


_EYES: Final = tuple(FourEyes)
_DEFAULTS: Final[Mapping[str, Any]] = {
    "mode": "ask",
    "production": None,
    "four_eyes": FourEyes.OFF,
    "break_glass": False,
    "proposals_per_5_min": PROPOSALS_PER_WINDOW,
    "sent_per_10_min": SENT_PER_WINDOW,
}
NAMES: Final = tuple(_DEFAULTS)
_KEY_TYPE: Final = "ssh-ed25519"
_KEY_HEAD: Final = (11).to_bytes(4, "big") + _KEY_TYPE.encode() + (32).to_bytes(4, "big")
_NAMESPACE_PATTERN: Final = re.compile(r"[a-z0-9*-]+")


class Patterns:
    """Names and patterns in which `*` stands for any characters; `name in patterns` says whether one fits."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Keep them; everything but `*` means itself."""
        self.texts = tuple(dict.fromkeys(patterns))
        self._compiled = [re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL) for text in self.texts]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(pattern.fullmatch(name) for pattern in self._compiled)


@dataclass(frozen=True, slots=True)
class Rule:
    """What one place in the settings says about the contexts whose name fits `pattern`.

    `everywhere` marks a value that was set for all contexts (a flag, the environment, the top of the file): a rule that
    names contexts is more specific.
    """

    pattern: str
    values: Mapping[str, Any]
    source: str
    everywhere: bool = False

    def fits(self, context: str) -> bool:
        """Say whether the rule is about this context."""
        return self.everywhere or context in Patterns((self.pattern,))

    def rank(self, context: str) -> int:
        """Return how specific the rule is: 0 for all contexts, 1 by a pattern, 2 by the very name."""
        return 0 if self.everywhere else 2 if self.pattern == context else 1


@dataclass(frozen=True, slots=True)
class ContextPolicy:
    """What holds in one context. `production` None: nothing was said. `sources` says where each value came from."""

    context: str = ""
    mode: str = "ask"
    production: bool | None = None
    four_eyes: FourEyes = FourEyes.OFF
    break_glass: bool = False
    proposals_per_5_min: int = PROPOSALS_PER_WINDOW
    sent_per_10_min: int = SENT_PER_WINDOW
    protected: Patterns = field(default_factory=lambda: Patterns(PROTECTED_NAMESPACES))
    sources: Mapping[str, str] = field(default_factory=dict)

    def needs_second(self, *, critical: bool) -> bool:
        """Say whether a change needs a second person."""
        return self.four_eyes is FourEyes.ALL or (critical and self.four_eyes is FourEyes.CRITICAL)

    def second_rule(self) -> str:
        """Return the rule that asks for a second person, in words."""
        which = "every change" if self.four_eyes is FourEyes.ALL else "a critical change"
        return f"{which} in context {self.context} needs two people (four_eyes, {self.sources.get('four_eyes', '')})"

    def as_list(self) -> list[Any]:
        """Return what an approval is bound to: an approval given under other rules is void."""
        return [*(getattr(self, name) for name in NAMES), sorted(self.protected.texts)]


def read_rule(pattern: str, values: object, source: str, *, everywhere: bool = False) -> Rule:
    """Check what one place says. Raises ValueError, in words for people, for anything that is not understood."""
    if not pattern or pattern != pattern.strip():
        raise ValueError(f"{pattern!r} is not the name of a context or a pattern of names")
    if not isinstance(values, Mapping):
        raise ValueError(f"{pattern!r} has to be a section with names and values")
    return Rule(pattern, {name: _value(name, value) for name, value in values.items()}, source, everywhere)


def _value(name: object, value: object) -> Any:
    if name not in _DEFAULTS:
        near = difflib.get_close_matches(str(name), NAMES, n=1)
        raise ValueError(f"{name!r} does not exist" + (f"; did you mean {near[0]}?" if near else ""))
    if name in ("production", "break_glass"):
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}, and has to be true or false")
        return value
    if name in ("proposals_per_5_min", "sent_per_10_min"):
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise ValueError(f"{name} is {value!r}, and has to be a whole number above 0")
        return value
    allowed = MODES if name == "mode" else tuple(item.value for item in FourEyes)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} is {value!r}, and has to be one of {', '.join(allowed)}")
    return value if name == "mode" else FourEyes(value)


def read_namespaces(patterns: Iterable[str]) -> tuple[str, ...]:
    """Check patterns of namespaces. Raises ValueError for one that no namespace can fit (RFC 1123 labels)."""
    found = tuple(patterns)
    for text in found:
        if not isinstance(text, str) or not _NAMESPACE_PATTERN.fullmatch(text):
            raise ValueError(f"{text!r} is not the name of a namespace or a pattern of names (a-z, 0-9, -, *)")
    return found


def read_key(text: object) -> str:
    """Return an Ed25519 public key as `ssh-ed25519 BASE64`, without its comment. Raises ValueError for anything else.

    The form is OpenSSH's (RFC 8709 section 4): the type's name and 32 bytes, each after its length.
    """
    words = text.split() if isinstance(text, str) else []
    if len(words) < 2 or words[0] != _KEY_TYPE:
        raise ValueError(f"a public key looks like: {_KEY_TYPE} AAAA…")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{words[1][:16]}… is not a public key") from error
    if len(blob) != len(_KEY_HEAD) + 32 or not blob.startswith(_KEY_HEAD):
        raise ValueError(f"{words[1][:16]}… is not an Ed25519 public key")
    return " ".join(words[:2])


def policy_for(context: str, rules: Iterable[Rule], protected: Iterable[str] = ()) -> ContextPolicy:
    """Return what holds in a context.

    A rule that names the context beats one whose pattern fits it, which beats a value for all contexts. Of two that are
    equally specific, the stricter value holds. `observe` holds whoever says it. The protected namespaces are always
    those of Kubernetes itself and the given ones.
    """
    fitting = [rule for rule in rules if rule.fits(context)]
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, default in _DEFAULTS.items():
        saying = [rule for rule in fitting if name in rule.values]
        if name == "mode" and any(rule.values[name] == "observe" for rule in saying):
            saying = [rule for rule in saying if rule.values[name] == "observe"]
        best = max(saying, key=lambda rule: (rule.rank(context), _strictness(name, rule.values[name])), default=None)
        found[name] = default if best is None else best.values[name]
        sources[name] = DEFAULT if best is None else best.source
    return ContextPolicy(
        context, **found, protected=Patterns((*sorted(PROTECTED_NAMESPACES), *protected)), sources=sources
    )


def _strictness(name: str, value: Any) -> int:
    match name:
        case "mode":
            return MODES.index(value)
        case "four_eyes":
            return _EYES.index(value)
        case "break_glass":
            return int(not value)
        case "production":
            return int(value)
        case _:
            return -int(value)
