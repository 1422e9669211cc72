"""Nests of arrays (dict, list, tuple, namedtuple, dataclass) walked without recursion, and made anew.

What comes back is the same nest of new leaves: the same types and keys, and whatever else a container carries (a
default factory, attributes). `None` stays `None`. A container or an array that stands in the nest twice is converted
once and stands twice in the result. A nest that contains itself has no end and is refused.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy

from bridge.core.errors import BridgeError, message

__all__ = ["is_nest", "mapped"]


class Structure(NamedTuple):
    """How containers of one type come apart and together."""

    place: str  # how an item's place is written, with {} for its key
    keys: Callable[[Any], Iterable[Any]]
    values: Callable[[Any], list[Any]]
    rebuild: Callable[[Any, list[Any], list[Any]], Any]  # (old container, keys, new values) -> new container


class Open:
    """A container that is being walked: what is left of its values, and the new ones so far."""

    __slots__ = ("keys", "new", "old", "structure", "values")

    def __init__(self, old: Any, structure: Structure) -> None:
        self.old = old
        self.structure = structure
        self.keys = list(structure.keys(old))
        self.values = iter(structure.values(old))
        self.new: list[Any] = []

    def place(self) -> str:
        """The place of the item at hand, as code."""
        return self.structure.place.format(self.keys[len(self.new)])


def is_nest(kind: type, is_array: Callable[[type], bool]) -> bool:
    """Whether values of this type are containers of arrays, and not arrays themselves."""
    return _structure(kind) is not None and not is_array(kind)


def mapped(
    nest: Any,
    leaf: Callable[[Any], Any],
    *,
    shortcuts: dict[type, Callable[[Any], Any]],
    is_array: Callable[[type], bool],
    tag: str,
) -> Any:
    """The same nest, each leaf replaced by `leaf(it)`, or by its type's shortcut where that gives an answer.

    Each type is looked at once. A BridgeError from a leaf gets a note that says where in the nest it happened.
    """
    structures: dict[type, Structure | None] = {}
    done: dict[int, tuple[Any, Any]] = {}  # by identity: old (kept, so that the identity stays its own), new
    path = [Open(nest, _need(_structure(type(nest))))]
    inside = {id(nest)}
    try:
        while True:
            level = path[-1]
            append = level.new.append
            for value in level.values:
                kind = type(value)
                shortcut = shortcuts.get(kind)
                if shortcut is not None:
                    new = _attempt(shortcut, value)
                    if new is not None:
                        append(new)
                        continue
                if value is None:
                    append(None)
                    continue
                if kind not in structures:
                    structures[kind] = None if is_array(kind) else _structure(kind)
                structure = structures[kind]
                known = done.get(id(value))
                if known is not None:
                    append(known[1])
                elif structure is None:
                    new = leaf(value)
                    if not isinstance(value, _NUMBERS):
                        done[id(value)] = (value, new)
                    append(new)
                elif id(value) in inside:
                    raise BridgeError(message(tag, "the nest contains itself", fix="leave that item out"))
                else:
                    path.append(Open(value, structure))
                    inside.add(id(value))
                    break
            else:
                path.pop()
                inside.discard(id(level.old))
                new = _rebuilt(level, tag)
                if not path:
                    return new
                done[id(level.old)] = (level.old, new)
                path[-1].new.append(new)
    except BridgeError as error:
        if path:
            error.add_note("  at:   x" + "".join(level.place() for level in path))
        raise


#: Each of these becomes an array of its own: equal numbers are often the same object.
_NUMBERS = (int, float, complex, numpy.generic)


def _attempt(shortcut: Callable[[Any], Any], value: Any) -> Any:
    try:
        return shortcut(value)
    except Exception:  # the readable path finds the words
        return None


def _need(structure: Structure | None) -> Structure:
    assert structure is not None
    return structure


def _rebuilt(level: Open, tag: str) -> Any:
    try:
        return level.structure.rebuild(level.old, level.keys, level.new)
    except Exception as error:
        kind = type(level.old).__qualname__
        problem = f"a {kind} cannot be made anew: {type(error).__name__}: {error}"
        raise BridgeError(message(tag, problem, fix="convert its items one by one")) from error


# ---------------------------------------------------------------------------------------------------------- structures


def _structure(kind: type) -> Structure | None:
    """How values of this type come apart; None: they do not."""
    if issubclass(kind, dict):
        return _DICT if kind is dict else _DICT_LIKE
    if issubclass(kind, tuple):
        return _NAMEDTUPLE if hasattr(kind, "_fields") and hasattr(kind, "_make") else _TUPLE
    if issubclass(kind, list):
        return _LIST
    return _DATACLASS if dataclasses.is_dataclass(kind) else None


def _dict_like(old: Any, keys: list[Any], values: list[Any]) -> Any:
    new = copy.copy(old)
    if getattr(old, "__dict__", None) is old:  # its keys are its attributes
        new.__dict__ = new
    for key, value in zip(keys, values, strict=True):
        new[key] = value
    return new


def _tuple(old: Any, keys: list[Any], values: list[Any]) -> Any:
    kind = type(old)
    # What a Python class wants in its __new__ is not known; types made in C (torch.return_types) want the items.
    return tuple.__new__(kind, values) if hasattr(kind.__new__, "__code__") else kind(values)


def _list(old: Any, keys: list[Any], values: list[Any]) -> Any:
    if type(old) is list:
        return values
    new = copy.copy(old)
    new[:] = values
    return new


def _fields(old: Any) -> list[str]:
    """The fields that have a value: one with init=False may have none yet."""
    return [field.name for field in dataclasses.fields(old) if hasattr(old, field.name)]


def _dataclass(old: Any, keys: list[Any], values: list[Any]) -> Any:
    new = copy.copy(old)
    for name, value in zip(keys, values, strict=True):
        object.__setattr__(new, name, value)  # also where it is frozen
    return new


def _indices(old: Any) -> range:
    return range(len(old))


_DICT = Structure(
    "[{!r}]", list, lambda old: list(old.values()), lambda old, keys, new: dict(zip(keys, new, strict=True))
)
_DICT_LIKE = Structure("[{!r}]", list, lambda old: [old[key] for key in old], _dict_like)
_LIST = Structure("[{}]", _indices, list, _list)
_TUPLE = Structure("[{}]", _indices, list, _tuple)
_NAMEDTUPLE = Structure(".{}", lambda old: old._fields, list, lambda old, keys, new: type(old)._make(new))
_DATACLASS = Structure(".{}", _fields, lambda old: [getattr(old, name) for name in _fields(old)], _dataclass)
