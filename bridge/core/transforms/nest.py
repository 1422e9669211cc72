"""Nests of list, tuple and dict, as transforms take and give them: taken apart into leaves and made anew.

Everything that is none of the three is a leaf. The structure is kept: dicts keep their keys and order, namedtuples
their type. Nests are as deep as people write them, so the walks are recursive.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from bridge.core._native import array
from bridge.core.errors import BridgeError, message


def leaves(nest: Any) -> list[Any]:
    """What stands in the containers, in order."""
    found: list[Any] = []
    _collect(nest, found)
    return found


def rebuilt(nest: Any, new: Iterable[Any]) -> Any:
    """The same containers around other leaves, taken from `new` in order."""
    return _rebuild(nest, iter(new))


def arrays_of(nest: Any, tag: str, what: str) -> list[array]:
    """The leaves, all of which must be arrays.

    Raises:
        TypeError: one is something else; the text says where.
    """
    found = leaves(nest)
    for k, leaf in enumerate(found):
        if not isinstance(leaf, array):
            raise NotAnArray(
                message(
                    tag,
                    f"{what} must be an array or a nest (list, tuple, dict) of arrays.",
                    got=f"{type(leaf).__name__} at {what}{place(nest, k)}",
                    fix="bridge.array(value)" if isinstance(leaf, (int, float, complex)) else None,
                )
            )
    return found


class NotAnArray(BridgeError, TypeError, ValueError):
    """A leaf is no array. A TypeError by its nature, and a ValueError because MLX raises that."""


def place(nest: Any, index: int) -> str:
    """Where a leaf stands, as code behind the nest's name: "['layers'][0]"."""
    paths: list[str] = []
    _paths(nest, "", paths)
    return paths[index]


def spread(prefix: Any, nest: Any, tag: str, what: str) -> list[Any]:
    """The leaves of `prefix`, each repeated for every leaf of `nest` that stands at or below its place.

    A tuple in the one matches a list in the other.

    Raises:
        ValueError: `prefix` has containers where `nest` has none, or others.
    """
    found: list[Any] = []
    _spread(prefix, nest, found, tag, what)
    return found


def _collect(nest: Any, found: list[Any]) -> None:
    if isinstance(nest, dict):
        for one in nest.values():
            _collect(one, found)
    elif isinstance(nest, (list, tuple)):
        for one in nest:
            _collect(one, found)
    else:
        found.append(nest)


def _rebuild(nest: Any, new: Iterator[Any]) -> Any:
    kind = type(nest)
    if kind is dict:
        return {key: _rebuild(value, new) for key, value in nest.items()}
    if kind is list:
        return [_rebuild(value, new) for value in nest]
    if kind is tuple:
        return tuple([_rebuild(value, new) for value in nest])
    if isinstance(nest, dict):
        same = copy.copy(nest)
        for key, value in nest.items():
            same[key] = _rebuild(value, new)
        return same
    if isinstance(nest, (list, tuple)):
        values = [_rebuild(value, new) for value in nest]
        return nest._make(values) if hasattr(nest, "_make") else kind(values)
    return next(new)


def _items(nest: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(nest, dict):
        return list(nest.items())
    if isinstance(nest, (list, tuple)):
        return list(enumerate(nest))
    return None


def _paths(nest: Any, path: str, found: list[str]) -> None:
    items = _items(nest)
    if items is None:
        found.append(path)
        return
    for key, value in items:
        _paths(value, f"{path}[{key!r}]", found)


def _spread(prefix: Any, nest: Any, found: list[Any], tag: str, what: str) -> None:
    inner, outer = _items(nest), _items(prefix)
    if outer is None:
        found.extend([prefix] * len(leaves(nest)))
        return
    same = inner is not None and isinstance(prefix, dict) == isinstance(nest, dict) and len(inner) == len(outer)
    if not same or (isinstance(prefix, dict) and prefix.keys() != nest.keys()):
        raise ValueError(
            message(
                tag,
                f"{what} is not a prefix of the nest that it describes.",
                got=f"{_outline(prefix)} for {_outline(nest)}",
                want="one entry for all, or containers with the same keys and lengths",
            )
        )
    for key, value in outer:
        _spread(value, nest[key], found, tag, what)


def _outline(nest: Any) -> str:
    if isinstance(nest, dict):
        return f"a dict with the keys {list(nest)}"
    if isinstance(nest, (list, tuple)):
        return f"a {type(nest).__name__} of {len(nest)}"
    return "an array" if isinstance(nest, array) else repr(nest)
