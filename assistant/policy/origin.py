"""Who changes a line, from three objects: as it is, as the request by itself makes it, and as the server would keep it.

Apart from the diff of two objects: where the request's own effect can be computed, a list that it replaces takes away
what it does not repeat, and that is ours although the request names none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from assistant.domain.proposal import LineOrigin
from assistant.policy.diff import MISSING, Change, Path, booked, merge_key, walk
from assistant.policy.patch import MERGED_LISTS
from assistant.policy.quantity import quantity

_OURS, _SERVER, _HIDDEN = LineOrigin.OURS, LineOrigin.SERVER, LineOrigin.HIDDEN
_NONE: Final[frozenset[Path]] = frozenset()


def told_apart(before: Any, meant: Any, after: Any, named: frozenset[Path] = _NONE) -> list[Change]:
    """Return what differs between `before` and `after`, and what of `meant` the server does not keep.

    Ours is the way from `before` to `meant`, the server's that from `meant` to `after`. What the request takes away
    and the server puts back as it was (a default) is no change. Bookkeeping is hidden unless it is among the places
    that the request has `named`.
    """
    return list(_apart((), before, meant, after, named))


def merged_by_server(found: Sequence[Change], body: Any, *, declared: bool) -> list[Change]:
    """Return the changes of a patch that the server merges, with what it takes away by its meaning as ours.

    A list that has no merge key is replaced by a strategic merge, so what is no longer in it went by our request. What
    is `declared` (server-side apply) loses the fields that its last configuration had and this one has not.
    """
    whole = set(_replaced_lists((), body))
    out = []
    for change in found:
        gone = change.origin is _SERVER and change.after is MISSING and change.before is not MISSING
        dropped = any(other.path == change.path and other.origin is _OURS for other in found) if gone else False
        inside = any(change.path[: len(path)] == path for path in whole)
        out.append(replace(change, origin=_OURS) if gone and not dropped and (declared or inside) else change)
    return out


def in_effect(ours: Sequence[Change], found: Sequence[Change]) -> list[Change]:
    """Return our changes as they come out: where a removed field gets another value by default, with that value."""
    back = {c.path: c.after for c in found if c.origin is _SERVER and c.before is MISSING}
    return [replace(c, after=back[c.path]) if c.after is MISSING and c.path in back else c for c in ours]


def _apart(path: Path, old: Any, mine: Any, new: Any, named: frozenset[Path]) -> Iterator[Change]:
    if booked(path) and not _is_named(path, named):
        if not _same(old, new):
            yield Change(path, old, new, _HIDDEN)
    elif _same(mine, new):
        yield from _walked(path, old, new, _OURS, named)
    elif _same(mine, old):
        yield from _walked(path, old, new, _SERVER, named)
    elif inner := _inner(old, mine, new):
        for part, was, asked, then in inner:
            yield from _apart((*path, part), was, asked, then, named)
    elif _same(old, new) and (mine is MISSING or _means(mine, new)):
        return
    elif new is MISSING and not isinstance(mine, bool) and not mine:
        # What is empty the server may leave away.
        yield from _walked(path, old, MISSING, _OURS, named)
    else:
        yield from _walked(path, old, mine, _OURS, named)
        yield from _walked(path, mine, new, _SERVER, named)


def _inner(old: Any, mine: Any, new: Any) -> list[tuple[str, Any, Any, Any]]:
    """Return the parts that the sides have in common, none where they have to be told as a whole."""
    sides = [side for side in (old, mine, new) if side is not MISSING]
    if len(sides) < 2 or old is MISSING or new is MISSING:
        return []
    if all(isinstance(side, dict) for side in sides):
        keys = dict.fromkeys(key for side in sides for key in side)
        return [(str(key), _get(old, key), _get(mine, key), _get(new, key)) for key in keys]
    if not all(isinstance(side, list) for side in sides):
        return []
    key = merge_key(*sides)
    if not key and len({len(side) for side in sides}) != 1:
        return []
    was, asked, then = (_items(side, key) for side in (old, mine, new))
    for one, two in ((was, asked), (asked, then), (was, then)):
        if [name for name in one if name in two] != [name for name in two if name in one]:
            return []  # Another order is a change of the list, and of no item.
    names = dict.fromkeys((*was, *asked, *then))
    return [(n, was.get(n, MISSING), asked.get(n, MISSING), then.get(n, MISSING)) for n in names]


def _items(side: Any, key: str) -> dict[str, Any]:
    if not isinstance(side, list):
        return {}
    return {f"[{key}={item[key]}]" if key else f"[{n}]": item for n, item in enumerate(side)}


def _walked(path: Path, before: Any, after: Any, origin: LineOrigin, named: frozenset[Path]) -> Iterator[Change]:
    for place, old, new in walk(path, before, after):
        hidden = booked(place) and not _is_named(place, named)
        yield Change(place, old, new, _HIDDEN if hidden else origin)


def _is_named(path: Path, named: frozenset[Path]) -> bool:
    return any(len(place) > 1 and path[: len(place)] == place for place in named)


def _get(side: Any, key: Any) -> Any:
    return side.get(key, MISSING) if isinstance(side, dict) else MISSING


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _means(one: Any, other: Any) -> bool:
    # The server writes a quantity in its own form: 1024Mi comes back as 1Gi.
    return isinstance(one, str | int) and bool(quantity(one)) and quantity(one) == quantity(other)


def _replaced_lists(path: Path, body: Any) -> Iterator[Path]:
    """Yield the lists that a strategic merge patch gives and that the server replaces as a whole."""
    if isinstance(body, dict):
        for key, value in body.items():
            if isinstance(value, list) and key not in MERGED_LISTS and not str(key).startswith("$"):
                yield (*path, str(key))
            elif not str(key).startswith("$"):
                yield from _replaced_lists((*path, str(key)), value)
    elif isinstance(body, list):
        for item in body:
            name = item.get("name") if isinstance(item, dict) else None
            if name is not None:
                yield from _replaced_lists((*path, f"[name={name}]"), item)
