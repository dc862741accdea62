"""Evaluation of a selector for one device: true, false, a run-time error of CEL, or not evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NoReturn

from agents.expert.cel.syntax import Call, Index, Items, Literal, Name, Node, NotEvaluatedError, Select, parse, touched
from agents.expert.cel.values import (
    STRANGE,
    DeviceValue,
    Domains,
    Given,
    Quantity,
    SelectorError,
    Version,
    quantity_of,
    version_of,
)

_LARGEST: Final = 2**63
_QUANTIFIERS: Final = 4
"""Repetitions in a pattern at most: Python's matcher goes back, RE2's does not, and the text is of strangers."""

__all__ = ["NotEvaluatedError", "SelectorError", "holds"]


@lru_cache(maxsize=512)
def _tree(expression: str) -> Node | NotEvaluatedError:
    try:
        return parse(expression)
    except NotEvaluatedError as error:
        return error


def holds(expression: str, device: DeviceValue) -> bool:
    """Say whether a selector is true of a device.

    Raises SelectorError where the scheduler would see a run-time error, and NotEvaluatedError where the expression
    uses something that is not understood here and that decides the result.
    """
    tree = _tree(expression)
    if isinstance(tree, NotEvaluatedError):
        raise NotEvaluatedError(str(tree))
    result = _value(tree, {"device": device})
    if not isinstance(result, bool):
        raise SelectorError("the expression is not a condition")
    return result


@lru_cache(maxsize=512)
def reaches(expression: str) -> frozenset[str] | None:
    """Return the names by which a selector reaches a device's values, None where it may reach any of them."""
    tree = _tree(expression)
    return None if isinstance(tree, NotEvaluatedError) else touched(tree)


def _no_overload(what: str) -> NoReturn:
    raise SelectorError(f"no such overload: {what}")


def _value(node: Node, names: Mapping[str, Any]) -> Any:
    match node:
        case Literal(value=value):
            return value
        case Name(name=name):
            if name not in names:
                raise NotEvaluatedError(f"the name {name}")
            return names[name]
        case Select(of=of, field=key, optional=optional):
            return _looked_up(_value(of, names), key, optional)
        case Index(of=of, key=key_node, optional=optional):
            return _looked_up(_value(of, names), _value(key_node, names), optional)
        case Items(items=items):
            return [_value(item, names) for item in items]
        case Call(name="has", of=None, arguments=(Select(of=of, field=key, optional=False),)):
            return _present(_value(of, names), key)
        case Call(name="&&" | "||" as word, arguments=(left, right)):
            return _logic(word, left, right, names)
        case Call(name="?:", arguments=(test, then, other)):
            chosen = _value(test, names)
            return _value(then if chosen else other, names) if isinstance(chosen, bool) else _no_overload("?:")
        case Call(name="bind", of=Name(name="cel"), arguments=(Name(name=name), bound, body)) if "cel" not in names:
            return _value(body, {**names, name: _value(bound, names)})
        case Call(name="exists" | "all" as word, of=of, arguments=(Name(name=name), test)) if of is not None:
            return _fold(word, _value(of, names), name, test, names)
        case Call(name="none", of=Name(name="optional"), arguments=()) if "optional" not in names:
            return Given(False)
        case Call(name="of", of=Name(name="optional"), arguments=(of_node,)) if "optional" not in names:
            return Given(True, _value(of_node, names))
        case Call(name=word, of=of, arguments=arguments):
            values = [_value(a, names) for a in arguments]
            if of is None:
                return _function(word, values)
            return _method(word, _value(of, names), values)
    raise NotEvaluatedError("the expression")


def _known(value: Any) -> Any:
    if value is STRANGE:
        raise NotEvaluatedError("an attribute of this type")
    return value


def _looked_up(of: Any, key: Any, optional: bool) -> Any:
    if isinstance(of, Given):
        if not of.present:
            return of
        of, optional = of.value, True
    if isinstance(of, DeviceValue) and isinstance(key, str):
        return Given(True, of.get(key)) if optional else of.get(key)
    if isinstance(of, Domains) and isinstance(key, str):
        # The API server's map answers every domain, with an empty map where the device has nothing of it.
        return Given(True, of[key]) if optional else of[key]
    if isinstance(of, dict):
        if key in of:
            return Given(True, _known(of[key])) if optional else _known(of[key])
        if optional:
            return Given(False)
        raise SelectorError(f"no such key: {key}")
    if isinstance(of, list) and isinstance(key, int) and not isinstance(key, bool):
        if 0 <= key < len(of):
            return Given(True, of[key]) if optional else of[key]
        if optional:
            return Given(False)
        raise SelectorError(f"index out of bounds: {key}")
    _no_overload("_[_]")


def _present(of: Any, key: str) -> bool:
    if isinstance(of, Given):
        return of.present and _present(of.value, key)
    if isinstance(of, DeviceValue):
        raise NotEvaluatedError(f"has(device.{key})")
    if isinstance(of, Domains):
        raise NotEvaluatedError("has() of a domain")
    if isinstance(of, dict):
        return key in of
    _no_overload("has()")


def _logic(word: str, left: Node, right: Node, names: Mapping[str, Any]) -> bool:
    return _decided(word == "||", word, ((side, names) for side in (left, right)))


def _fold(word: str, of: Any, name: str, test: Node, names: Mapping[str, Any]) -> bool:
    if not isinstance(of, list | dict):
        _no_overload(word)
    return _decided(word == "exists", word, ((test, {**names, name: item}) for item in of))


def _decided(decides: bool, word: str, tests: Iterable[tuple[Node, Mapping[str, Any]]]) -> bool:
    """Return whether any test is `decides`, else its opposite: one that decides makes errors of the others harmless."""
    trouble: Exception | None = None
    for test, names in tests:
        try:
            value = _value(test, names)
        except (SelectorError, NotEvaluatedError) as error:
            # What is not evaluated may be an error or not, so it is the stronger of the two.
            trouble = error if trouble is None or isinstance(error, NotEvaluatedError) else trouble
            continue
        if isinstance(value, bool) and value is decides:
            return decides
        if not isinstance(value, bool):
            trouble = trouble or SelectorError(f"no such overload: {word}")
    if trouble is not None:
        raise trouble
    return not decides


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(left: Any, right: Any) -> bool:
    if _number(left) and _number(right):
        return bool(left == right)
    for kind in (bool, str, Quantity, Version):
        if isinstance(left, kind) or isinstance(right, kind):
            return isinstance(left, kind) and isinstance(right, kind) and bool(left == right)
    if left is None or right is None:
        return left is None and right is None
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    raise NotEvaluatedError("an equality of these types")


def _ordered(word: str, left: Any, right: Any) -> bool:
    alike = (
        (_number(left) and _number(right))
        or (isinstance(left, str) and isinstance(right, str))
        or (isinstance(left, bool) and isinstance(right, bool))
    )
    if not alike:
        _no_overload(f"_{word}_")
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[word])


def _arithmetic(word: str, left: Any, right: Any) -> Any:
    if word == "+" and type(left) is type(right) and isinstance(left, str | list):
        return left + right
    if not (_number(left) and _number(right)) or type(left) is not type(right):
        _no_overload(f"_{word}_")
    if isinstance(left, float):
        raise NotEvaluatedError("arithmetic of fractions")
    if word in "/%" and right == 0:
        raise SelectorError("division by zero")
    quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1) if word in "/%" else 0
    match word:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case "/":
            result = quotient
        case _:
            result = left - quotient * right
    if not -_LARGEST <= result < _LARGEST:
        raise SelectorError("integer overflow")
    return result


def _function(word: str, values: list[Any]) -> Any:
    match word, values:
        case "==", [left, right]:
            return _equal(left, right)
        case "!=", [left, right]:
            return not _equal(left, right)
        case (("<" | "<=" | ">" | ">="), [left, right]):
            return _ordered(word, left, right)
        case (("+" | "-" | "*" | "/" | "%"), [left, right]):
            return _arithmetic(word, left, right)
        case "!", [value]:
            return not value if isinstance(value, bool) else _no_overload("!_")
        case "-x", [value]:
            return -value if _number(value) else _no_overload("-_")
        case "in", [value, list(items)]:
            return any(_equal(value, item) for item in items)
        case "in", [value, dict(items)]:
            return isinstance(value, str) and value in items
        case "quantity", [str(value)]:
            return quantity_of(value)
        case "isQuantity", [str(value)]:
            return _reads(quantity_of, value)
        case "semver", [str(value)]:
            return version_of(value)
        case "semver", [str(value), bool(lenient)]:
            return version_of(value, lenient=lenient)
        case "isSemver", [str(value)]:
            return _reads(version_of, value)
        case "size", [str() | list() as value]:
            return len(value)
        case "dyn", [value]:
            return value
        case "string", [str(value)]:
            return value
        case "string", [int(value)] if not isinstance(value, bool):
            return str(value)
    raise NotEvaluatedError(f"the function {word}()")


def _reads(reader: Callable[[str], object], value: str) -> bool:
    try:
        reader(value)
    except SelectorError:
        return False
    return True


def _method(word: str, of: Any, values: list[Any]) -> Any:
    match word, of, values:
        case "compareTo", Quantity() | Version(), [other] if type(other) is type(of):
            return (of > other) - (of < other)
        case "isGreaterThan", Quantity() | Version(), [other] if type(other) is type(of):
            return of > other
        case "isLessThan", Quantity() | Version(), [other] if type(other) is type(of):
            return of < other
        case (("major" | "minor" | "patch"), Version(), []):
            return of.numbers[("major", "minor", "patch").index(word)]
        case "sign", Quantity(), []:
            return (of.amount > 0) - (of.amount < 0)
        case "isInteger", Quantity(), []:
            return _whole(of.amount)
        case "asInteger", Quantity(), []:
            return int(of.amount) if _whole(of.amount) else _no_overload("asInteger() of a fraction")
        case "add", Quantity(), [Quantity() as other]:
            return Quantity(of.amount + other.amount)
        case "sub", Quantity(), [Quantity() as other]:
            return Quantity(of.amount - other.amount)
        case "startsWith", str(), [str(part)]:
            return of.startswith(part)
        case "endsWith", str(), [str(part)]:
            return of.endswith(part)
        case "contains", str(), [str(part)]:
            return part in of
        case "matches", str(), [str(pattern)]:
            return _matches(pattern, of)
        case "lowerAscii", str(), []:
            return "".join(c.lower() if c.isascii() else c for c in of)
        case "upperAscii", str(), []:
            return "".join(c.upper() if c.isascii() else c for c in of)
        case "size", str() | list(), []:
            return len(of)
        case "hasValue", Given(), []:
            return of.present
        case "orValue", Given(), [other]:
            return of.value if of.present else other
        case "value", Given(), []:
            return of.value if of.present else _no_overload("value() of nothing")
    known = {"compareTo", "isGreaterThan", "isLessThan", "startsWith", "endsWith", "contains", "matches", "lowerAscii"}
    if word in known and isinstance(of, bool | int | str | Version | Quantity):
        _no_overload(f"{word}()")
    raise NotEvaluatedError(f"the method {word}()")


def _whole(amount: Fraction) -> bool:
    return amount.denominator == 1 and -_LARGEST <= amount < _LARGEST


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str] | None:
    """Return a pattern that means the same in RE2 and here, None for any other and for one that could take long."""
    odd = re.search(
        r"\(\?(?!:|i\)|P<\w+>)|(?<=.)\(\?i\)|\[\[:|\\[^dDwWsSbB.^$*+?()\[\]{}|/\\-]|[*+?}][+*{]|\)[*+{]|&&|\|\||~~|--|\n",
        pattern,
        re.DOTALL,
    )
    quantifiers = len(re.findall(r"(?<!\\)(?:[*+{]|(?<!\()\?)", pattern))
    if odd or quantifiers > _QUANTIFIERS:
        return None
    try:
        return re.compile(pattern, re.ASCII)
    except re.error:
        return None


def _matches(pattern: str, value: str) -> bool:
    compiled = _pattern(pattern)
    if compiled is None or "\n" in value:
        raise NotEvaluatedError("this regular expression")
    return compiled.search(value) is not None
