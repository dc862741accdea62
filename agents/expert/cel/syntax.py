"""The grammar of CEL as trees, with the place of every literal so that it can be replaced.

Source: the language definition of cel-spec (langdef), with the optional syntax `.?field` and `[?key]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

MOST: Final = 10_000
"""Characters of an expression at most: the limit of the field in the API (CELSelectorExpressionMaxLength)."""
DEEP: Final = 60
"""Nested levels at most, so that text from a cluster cannot exhaust the stack."""


class NotEvaluatedError(Exception):
    """The expression, or a part that decides it, is outside of what is evaluated here."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; `start` and `end` are its place in the expression, quotes included."""

    value: bool | int | float | str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`of.field`, or `of.?field` where it is optional."""

    of: Node
    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """`of[key]`, or `of[?key]` where it is optional."""

    of: Node
    key: Node
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator; `of` is what a method is called on, None for a function."""

    name: str
    of: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]


Node: TypeAlias = "Literal | Name | Select | Index | Call | Items"

_TOKENS = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
    |(?P<int>0[xX][0-9a-fA-F]+|\d+)(?P<unsigned>[uU])?
    |(?P<raw>[rR](?:"[^"\n]*"|'[^'\n]*'))
    |(?P<text>"(?!"")(?:[^"\\\n]|\\.)*"|'(?!'')(?:[^'\\\n]|\\.)*')
    |(?P<word>[_a-zA-Z][_a-zA-Z0-9]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "`": "`", "?": "?"}
_RELATIONS = ("==", "!=", "<", "<=", ">", ">=", "in")
_RESERVED = frozenset(
    (
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    )
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def parse(expression: str) -> Node:
    """Return the tree of an expression. Raises NotEvaluatedError for what is no CEL, or CEL that is not read here."""
    if len(expression) > MOST:
        raise NotEvaluatedError("the expression is longer than the API allows")
    reader = _Reader(_tokens(expression))
    tree = reader.choice(0)
    if reader.kind != "end":
        raise NotEvaluatedError(f"'{reader.text}' was not expected at position {reader.start}")
    return tree


def _tokens(expression: str) -> list[_Token]:
    found = []
    place = 0
    while place < len(expression):
        match = _TOKENS.match(expression, place)
        if match is None or match["unsigned"]:
            raise NotEvaluatedError(f"position {place} is not read")
        kind = next(k for k in ("space", "float", "int", "raw", "text", "word", "sign") if match[k] is not None)
        if kind != "space":
            found.append(_Token(kind, match[0], place, match.end()))
        place = match.end()
    return [*found, _Token("end", "", place, place)]


class _Reader:
    """A recursive descent over the tokens; one method a level of precedence."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def kind(self) -> str:
        return self._tokens[self._at].kind

    @property
    def text(self) -> str:
        return self._tokens[self._at].text

    @property
    def start(self) -> int:
        return self._tokens[self._at].start

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _takes(self, *words: str) -> str:
        token = self._tokens[self._at]
        if token.kind in ("sign", "word") and token.text in words:
            self._at += 1
            return token.text
        return ""

    def _must(self, word: str) -> None:
        if not self._takes(word):
            raise NotEvaluatedError(f"'{word}' is missing at position {self.start}")

    def choice(self, depth: int) -> Node:
        if depth > DEEP:
            raise NotEvaluatedError("the expression is nested too deeply")
        tree = self._either(depth)
        if self._takes("?"):
            then = self._either(depth)
            self._must(":")
            return Call("?:", None, (tree, then, self.choice(depth + 1)))
        return tree

    def _either(self, depth: int) -> Node:
        tree = self._both(depth)
        while self._takes("||"):
            tree = Call("||", None, (tree, self._both(depth)))
        return tree

    def _both(self, depth: int) -> Node:
        tree = self._relation(depth)
        while self._takes("&&"):
            tree = Call("&&", None, (tree, self._relation(depth)))
        return tree

    def _relation(self, depth: int) -> Node:
        tree = self._sum(depth)
        while word := self._takes(*_RELATIONS):
            tree = Call(word, None, (tree, self._sum(depth)))
        return tree

    def _sum(self, depth: int) -> Node:
        tree = self._product(depth)
        while word := self._takes("+", "-"):
            tree = Call(word, None, (tree, self._product(depth)))
        return tree

    def _product(self, depth: int) -> Node:
        tree = self._unary(depth)
        while word := self._takes("*", "/", "%"):
            tree = Call(word, None, (tree, self._unary(depth)))
        return tree

    def _unary(self, depth: int) -> Node:
        signs = []
        while word := self._takes("!", "-"):
            signs.append(word)
        tree = self._member(depth)
        for word in reversed(signs):
            tree = Call("-x" if word == "-" else word, None, (tree,))
        return tree

    def _member(self, depth: int) -> Node:
        tree = self._primary(depth)
        while True:
            if self._takes("."):
                optional = bool(self._takes("?"))
                if self.kind != "word":
                    raise NotEvaluatedError(f"a field is missing at position {self.start}")
                field = self._next().text
                if not optional and self._takes("("):
                    tree = Call(field, tree, self._arguments(")", depth))
                else:
                    tree = Select(tree, field, optional)
            elif self._takes("["):
                optional = bool(self._takes("?"))
                key = self.choice(depth + 1)
                self._must("]")
                tree = Index(tree, key, optional)
            else:
                return tree

    def _arguments(self, end: str, depth: int) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._takes(end):
            if found:
                self._must(",")
                if self._takes(end):
                    break
            found.append(self.choice(depth + 1))
        return tuple(found)

    def _primary(self, depth: int) -> Node:
        token = self._next()
        match token.kind:
            case "int":
                value = int(token.text, 0 if token.text[:2] in ("0x", "0X") else 10)
                return Literal(value, token.start, token.end)
            case "float":
                return Literal(float(token.text), token.start, token.end)
            case "text":
                return Literal(_unescaped(token.text[1:-1]), token.start, token.end)
            case "raw":
                return Literal(token.text[2:-1], token.start, token.end)
            case "word" if token.text in ("true", "false", "null"):
                return Literal({"true": True, "false": False, "null": None}[token.text], token.start, token.end)
            case "word" if token.text not in _RESERVED and token.text != "in":
                if self._takes("("):
                    return Call(token.text, None, self._arguments(")", depth))
                return Name(token.text)
        if token.text == "(":
            tree = self.choice(depth + 1)
            self._must(")")
            return tree
        if token.text == "[":
            return Items(self._arguments("]", depth))
        raise NotEvaluatedError(f"'{token.text}' was not expected at position {token.start}")


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise NotEvaluatedError(f"the escape \\{match[1]} is not read")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", one, text)


def literals(tree: Node) -> list[Literal]:
    """Return the constants of an expression in the order in which they stand there."""
    match tree:
        case Literal():
            return [tree]
        case Select(of=of):
            return literals(of)
        case Index(of=of, key=key):
            return literals(of) + literals(key)
        case Call(of=of, arguments=arguments):
            return (literals(of) if of is not None else []) + [x for a in arguments for x in literals(a)]
        case Items(items=items):
            return [x for item in items for x in literals(item)]
        case _:
            return []


def touched(tree: Node) -> frozenset[str] | None:
    """Return the names by which an expression can reach a device's values; None where it may reach any of them.

    Devices with the same values by these names give the same result, so that one of them needs to be evaluated.
    """
    match tree:
        case Literal(value=value):
            return frozenset({value}) if isinstance(value, str) else frozenset()
        case Name():
            return frozenset()
        case Select(of=of, field=key):
            below = touched(of)
            return None if below is None else below | {key}
        case Index(of=of, key=Literal() as key):
            parts = [touched(of), touched(key)]
        case Items(items=items):
            parts = [touched(i) for i in items]
        case Call(name=name, of=of, arguments=arguments):
            if name in ("exists", "all", "bind"):
                return None
            parts = [*([touched(of)] if of is not None else []), *(touched(a) for a in arguments)]
        case _:
            return None
    return None if any(p is None for p in parts) else frozenset().union(*(p for p in parts if p is not None))
