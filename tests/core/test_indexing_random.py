"""Indexing against NumPy on random cases: keys with arrays, lists and masks in any mix, for reading and for writing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

import numpy as np
import pytest

import bridge

CASES = 20_000
PARTS = 20
DTYPES = ["int32", "float32", "uint8", "float64", "int64", "complex64", "bool", "int16"]
Push: TypeAlias = Callable[[object, object], None]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


class Case:
    """A random array, a key for NumPy and the same for bridge, and a value for writing."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.draw()
        while not any(isinstance(one, bool | list | np.ndarray) for one in self.items):
            self.draw()  # basic keys have tests of their own
        self.dtype = self.random.choice(DTYPES)
        self.x = self.numbers(0, 100, self.shape).astype(self.dtype)
        self.order = self.random.random()

    def draw(self) -> None:
        self.shape = self.draw_shape([0, 1, 2, 3, 4, 5], [3, 12, 20, 30, 20, 15], self.random.randrange(5))
        self.common = self.draw_shape([0, 1, 2, 3, 4], [4, 20, 36, 30, 10], self.pick([1, 2, 3, 0], [60, 25, 5, 10]))
        self.wrong = self.chance(0.05)  # an index out of bounds, a mask of another shape
        self.masks = 0
        self.draw_key()

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, options: list[Any], weights: list[int]) -> Any:
        return self.random.choices(options, weights)[0]

    def draw_shape(self, extents: list[int], weights: list[int], ndim: int) -> tuple[int, ...]:
        return tuple(self.random.choices(extents, weights, k=ndim))

    def numbers(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        count = math.prod(shape)
        return np.array([self.random.randrange(low, high) for _ in range(count)], dtype=np.int64).reshape(shape)

    def draw_key(self) -> None:
        theirs: list[object] = []
        ours: list[object] = []

        def push(one: object, other: object) -> None:
            theirs.append(one)
            ours.append(other)

        left, ellipsis = len(self.shape), False
        kinds = ["int", "slice", "none", "ellipsis", "array", "mask", "bool", "stop"]
        while left > 0 or self.chance(0.15):
            kind = self.pick(kinds, [13, 22, 5, 8, 33, 9, 3, 7])
            axis = len(self.shape) - left
            if kind == "stop" or len(theirs) > 6:
                break
            if kind == "none":
                push(None, None)
            elif kind == "bool":
                self.masks += 1
                truth = self.chance(0.7)
                push(truth, self.random.choice([truth, np.bool_(truth), bridge.array(truth)]))
            elif kind == "ellipsis" and not ellipsis:
                ellipsis = True
                push(Ellipsis, Ellipsis)
                left -= self.random.randrange(left + 1)
            elif left > 0 and kind in ("int", "slice", "array", "mask"):
                left -= getattr(self, kind)(push, axis, left)
        # Behind an ellipsis items count from the end: drawn for another axis, they may be out of bounds, too.
        self.items = theirs
        alone = len(theirs) == 1 and self.chance(0.8)
        self.theirs, self.ours = (theirs[0], ours[0]) if alone else (tuple(theirs), tuple(ours))

    def positions(self, axis: int, shape: tuple[int, ...]) -> np.ndarray:
        extent = self.shape[axis]
        if extent == 0 and 0 not in shape:
            self.wrong = True
        found = self.numbers(-extent if self.chance(0.4) else 0, max(extent, 1), shape)
        if self.wrong and found.size:
            found.reshape(-1)[self.random.randrange(found.size)] = self.random.choice([extent, -extent - 1])
        return found

    def int(self, push: Push, axis: int, left: int) -> int:
        at = int(self.positions(axis, ()))
        push(at, self.random.choice([at, np.int64(at), bridge.array(at), bridge.array(at) + 0]))
        return 1

    def slice(self, push: Push, axis: int, left: int) -> int:
        bounds = [None if self.chance(0.3) else self.random.randrange(-6, 7) for _ in range(2)]
        one = slice(*bounds, self.random.choice([None, None, None, 1, 2, -1, -2, 3]))
        push(one, one)
        return 1

    def array(self, push: Push, axis: int, left: int) -> int:
        shape = self.common[self.random.randrange(len(self.common) + 1) :] if self.chance(0.3) else self.common
        shape = tuple(1 if self.chance(0.1) else n for n in shape)
        found = self.positions(axis, shape)
        name = self.random.choice(INTEGERS)
        if name.startswith("u"):
            found = np.where(found < 0, found + self.shape[axis], found)
            if (found < 0).any():
                name = "int32"
        found = found.astype(name)
        how = self.random.randrange(7)
        if how == 0:
            push(found.tolist(), found.tolist())  # of a 0-d array a number
        elif how == 1:
            push(found, found)
        elif how == 2:
            push(found, bridge.array(found) * 1 if self.chance(0.5) else bridge.array(found))
        elif how == 3 and found.ndim == 1 and self.shape[axis] > 1:
            one = range(0, self.shape[axis], 2)
            push(list(one), one)
        elif how == 4 and found.ndim == 2:
            push(found, bridge.array(np.ascontiguousarray(found.T)).T)
        elif how == 5 and found.ndim == 1:
            push(found, bridge.array(np.repeat(found, 2))[::2])
        else:
            a = bridge.array(found)
            bridge.eval(a)
            push(found, a)
        return 1

    def mask(self, push: Push, axis: int, left: int) -> int:
        self.masks += 1
        ndim = self.random.randrange(1, left + 1)
        shape = tuple(n + self.wrong for n in self.shape[axis : axis + ndim])
        mask = self.numbers(0, 10, shape) < self.random.choice([0, 3, 5, 10])
        how = self.random.randrange(4)
        if how == 3 and mask.size == 0:
            how = 0
        push(mask, [mask, bridge.array(mask), bridge.array(mask) | False, mask.tolist()][how])
        return ndim

    def make(self) -> bridge.array:
        """The array: pending, evaluated, or in another layout."""
        a = bridge.array(self.x, dtype=getattr(bridge, self.dtype if self.dtype != "bool" else "bool_"))
        if self.order < 0.2:
            return a
        if self.order < 0.4 and self.x.ndim > 1:
            a = bridge.array(np.ascontiguousarray(self.x.T), dtype=a.dtype).T
        bridge.eval(a)
        return a

    def value(self, shape: tuple[int, ...]) -> np.ndarray:
        how = self.random.random()
        if how < 0.25:
            shape = ()
        elif how < 0.5:
            shape = tuple(1 if self.chance(0.5) else n for n in shape)[self.random.randrange(len(shape) + 1) :]
        elif how < 0.6 and shape and not self.masks:  # NumPy drops axes of the value only there
            shape = (1, *shape)
        elif how < 0.65:
            shape = tuple(n + 1 for n in shape)
        return self.numbers(0, 100, shape).astype(self.random.choice(["int32", "float32", self.dtype]))

    def __str__(self) -> str:
        def text(one: object) -> str:
            if isinstance(one, tuple):
                return f"({', '.join(map(text, one))})"
            return f"array({one.tolist()})" if isinstance(one, np.ndarray | bridge.array) else repr(one)

        return f"{self.dtype}{self.shape}[{text(self.theirs)}]"


def attempt(f) -> object:
    try:
        return f()
    except (IndexError, ValueError, TypeError) as error:
        return error


def same(got: object, want: object) -> bool:
    if isinstance(got, Exception) or isinstance(want, Exception):
        return (
            isinstance(got, Exception)
            and isinstance(want, Exception)
            and (isinstance(got, type(want)) or isinstance(want, TypeError))
        )
    found, expected = np.asarray(got), np.asarray(want)
    return found.shape == expected.shape and found.dtype == expected.dtype and np.array_equal(found, expected)


def read_differs(case: Case) -> str | None:
    want = attempt(lambda: case.x[case.theirs])
    got = attempt(lambda: np.asarray(case.make()[case.ours]))
    return None if same(got, want) else f"{case}: {got!r}, NumPy has {want!r}"


def write_differs(case: Case) -> str | None:
    part = attempt(lambda: case.x[case.theirs])
    value = case.value(() if isinstance(part, Exception) else part.shape)
    y = case.x.copy()
    a = case.make()
    alias = a

    def theirs() -> np.ndarray:
        y[case.theirs] = value
        return y

    def ours() -> np.ndarray:
        if case.order < 0.1 and value.ndim:
            a[case.ours] = value
        else:
            a[case.ours] = value.item() if value.ndim == 0 and value.dtype == case.dtype else bridge.array(value)
        return np.asarray(a)

    want, got = attempt(theirs), attempt(ours)
    if same(got, want) and (isinstance(got, Exception) or alias is a):
        return None
    return f"{case} = {value.dtype}{value.shape}: {got!r}, NumPy has {want!r}"


@pytest.mark.parametrize("part", range(PARTS))
def test_random_cases(part: int):
    """20,000 random keys with arrays or masks read or write what NumPy does, or are refused where NumPy refuses."""
    differences = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        for k in range(CASES // PARTS):
            case = Case(part * CASES + k)
            found = read_differs(case) if k % 2 else write_differs(case)
            if found:
                differences.append(f"case {part * CASES + k}: {found}")
    assert not differences, f"{len(differences)} differences\n" + "\n".join(differences[:10])


@pytest.mark.parametrize("update", ["add", "subtract", "multiply", "maximum", "minimum"])
def test_random_updates(update: str):
    """a.at[key].op(value) is NumPy's op.at for random keys: equal places each count."""
    differences = []
    for seed in range(400):
        case = Case(seed + 1_000_000)
        if case.dtype == "bool" and update == "subtract":
            continue
        part = attempt(lambda case=case: case.x[case.theirs])
        if isinstance(part, Exception):
            continue
        value = case.value(part.shape).astype(case.dtype)
        value = value[0] if value.ndim > part.ndim else value
        y = case.x.copy()
        want = attempt(lambda case=case, y=y, value=value: getattr(np, update).at(y, case.theirs, value))
        got = attempt(lambda case=case, value=value: getattr(case.make().at[case.ours], update)(bridge.array(value)))
        if not same(got, y if want is None else want):
            differences.append(f"case {seed}: {case}.{update}({value.shape}): {got!r}, NumPy has {y!r} {want!r}")
    assert not differences, f"{len(differences)} differences\n" + "\n".join(differences[:10])
