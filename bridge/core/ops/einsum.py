"""Sums of products in index notation, two operands at a time.

A call is planned from its subscripts and shapes alone, and plans are kept. Each step of a plan takes one pair of
operands and becomes one product of matrices, with the axes that both keep as its batch, or one product element by
element where nothing is summed.
"""

from __future__ import annotations

import functools
import itertools
import math
import string
from collections.abc import Sequence
from typing import NamedTuple

from bridge.core._native import array, result_type
from bridge.core.dtypes import bfloat16, bool_, float16
from bridge.core.errors import message
from bridge.core.ops.arithmetic import multiply
from bridge.core.ops.contract import matmul
from bridge.core.ops.reduce import any as any_of
from bridge.core.ops.reduce import sum as sum_of
from bridge.core.ops.shape import as_array, diagonal, reshape, squeeze, transpose
from bridge.core.ops.types import Operand, Stream

Shapes = tuple[tuple[int, ...], ...]
Labels = tuple[
    str, ...
]  # one a axis: a letter, or "...0" for the last of the axes behind an ellipsis, "...1" before it


class Plan(NamedTuple):
    """What a call means: labels of operands and result, their extents, and which pairs are taken in turn."""

    subscripts: str
    operands: tuple[Labels, ...]
    output: Labels
    extents: dict[str, int]
    path: list[tuple[int, ...]]


def einsum(subscripts: str, *operands: Operand, stream: Stream = None) -> array:
    """Sum of products over the indices that the result does not have.

    The dtype is the promoted one of the operands. Of more than two operands those are taken first that leave the least
    behind; `einsum_path` shows the order.

    Args:
        subscripts: a letter for each axis of each operand, as "ij,jk->ik". A letter that stands twice in one operand
            takes a diagonal; "..." stands for any further axes, which broadcast. Without "->" the result has, behind
            the axes of an ellipsis, the letters that stand once, in alphabetical order.

    Raises:
        ValueError: the subscripts are malformed or do not fit the operands.
    """
    arrays = [as_array(one) for one in operands]
    plan = _plan("einsum", subscripts, tuple(one.shape for one in arrays))
    terms = [_prepared(one, labels, plan.extents) for one, labels in zip(arrays, plan.operands, strict=True)]
    for pair in plan.path:
        if len(pair) == 2:
            second, first = terms.pop(pair[1]), terms.pop(pair[0])
            kept = set(plan.output).union(*(labels for _, labels in terms))
            terms.append(_contracted(first, second, kept, stream))
    result, labels = _summed(terms[0], set(plan.output), stream)
    return transpose(result, [labels.index(label) for label in plan.output], stream=stream)


def einsum_path(subscripts: str, *operands: Operand) -> tuple[list[tuple[int, ...]], str]:
    """The order in which `einsum` takes its operands, and a text about it.

    Returns:
        Pairs of positions: both operands are taken out of the list and their product is put at its end; a single
        operand gives ``[(0,)]``. The text compares the number of operations with that of one loop over all indices.
    """
    plan = _plan("einsum_path", subscripts, tuple(as_array(one).shape for one in operands))
    naive = _operations(set().union(*plan.operands), set(plan.output), plan, len(plan.operands))
    scaling, count = 0, 0
    terms = [set(labels) for labels in plan.operands]
    for pair in plan.path:
        taken = [terms.pop(k) for k in reversed(pair)]
        together = set().union(*taken)
        kept = together & set(plan.output).union(*terms)
        terms.append(kept)
        scaling = max(scaling, len(together))
        count += _operations(together, kept, plan, len(taken))
    text = (
        f"  Complete contraction:  {plan.subscripts}\n"
        f"         Naive scaling:  {len(set().union(*plan.operands))}\n"
        f"     Optimized scaling:  {scaling}\n"
        f"      Naive FLOP count:  {naive}\n"
        f"  Optimized FLOP count:  {count}\n"
    )
    return list(plan.path), text


# Reading


@functools.lru_cache(maxsize=512)
def _plan(op: str, subscripts: str, shapes: Shapes) -> Plan:
    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    parts = inputs.split(",")
    if not shapes:
        raise ValueError(message(f"bridge.{op}", "at least one operand is wanted", got=repr(subscripts)))
    for part in (*parts, output):
        _check_letters(op, subscripts, part)
    if len(parts) != len(shapes):
        raise ValueError(
            message(
                f"bridge.{op}",
                f"the subscripts speak of {len(parts)} operands, and there are {len(shapes)}",
                got=repr(subscripts),
            )
        )
    operands = tuple(_labels(op, subscripts, *one) for one in zip(parts, shapes, strict=True))
    extents = _extents(op, subscripts, operands, shapes)
    result = _output(op, subscripts, operands, output) if arrow else _implied(operands)
    return Plan(subscripts, operands, result, extents, _path(operands, result, extents))


def _check_letters(op: str, subscripts: str, part: str) -> None:
    rest = part.replace("...", "", 1)
    for character in rest:
        if character not in string.ascii_letters:
            raise ValueError(
                message(
                    f"bridge.{op}",
                    f"{character!r} is no subscript",
                    got=repr(subscripts),
                    want='letters, or "..." once',
                )
            )


def _labels(op: str, subscripts: str, part: str, shape: tuple[int, ...]) -> Labels:
    before, dots, after = part.partition("...")
    further = len(shape) - len(before) - len(after)
    if further < 0 or (further > 0 and not dots):
        raise ValueError(
            message(
                f"bridge.{op}",
                f"the subscripts {part!r} do not fit an operand with {len(shape)} axes",
                got=f"{subscripts!r}, shape {shape}",
            )
        )
    return (*before, *(f"...{k}" for k in reversed(range(further))), *after)


def _extents(op: str, subscripts: str, operands: Sequence[Labels], shapes: Shapes) -> dict[str, int]:
    """Extent of every label; size 1 broadcasts, but not along the diagonal of one operand."""
    extents: dict[str, int] = {}
    for labels, shape in zip(operands, shapes, strict=True):
        for k, (label, extent) in enumerate(zip(labels, shape, strict=True)):
            known = extents.get(label, 1)
            twice = label in labels[:k] and shape[labels.index(label)] != extent
            if known == 1 and not twice:
                extents[label] = extent
            elif twice or extent not in (1, known):
                raise ValueError(
                    message(
                        f"bridge.{op}",
                        f"the subscript {label[:3]!r} has more than one extent",
                        got=f"{subscripts!r}, shapes {', '.join(map(str, shapes))}",
                    )
                )
    return extents


def _dots(operands: Sequence[Labels]) -> Labels:
    """Labels of the axes behind ellipses, outermost first."""
    count = max(sum(label.startswith(".") for label in labels) for labels in operands)
    return tuple(f"...{k}" for k in reversed(range(count)))


def _implied(operands: Sequence[Labels]) -> Labels:
    letters = [label for labels in operands for label in labels if not label.startswith(".")]
    return (*_dots(operands), *sorted(letter for letter in set(letters) if letters.count(letter) == 1))


def _output(op: str, subscripts: str, operands: Sequence[Labels], output: str) -> Labels:
    before, dots, after = output.partition("...")
    known = set().union(*operands)
    for letter in before + after:
        if letter not in known or (before + after).count(letter) > 1:
            problem = "stands twice in the result" if letter in known else "of the result stands in no operand"
            raise ValueError(message(f"bridge.{op}", f"the subscript {letter!r} {problem}", got=repr(subscripts)))
    if _dots(operands) and not dots:
        raise ValueError(
            message(f"bridge.{op}", 'the result has no place for the axes behind "..."', got=repr(subscripts))
        )
    return (*before, *_dots(operands), *after)


# Planning


def _size(labels: set[str], extents: dict[str, int]) -> int:
    return math.prod(extents[label] for label in labels)


def _path(operands: Sequence[Labels], output: Labels, extents: dict[str, int]) -> list[tuple[int, ...]]:
    """Greedy: the pair whose product leaves the least behind, then the cheapest; pairs that share nothing last."""
    if len(operands) == 1:
        return [(0,)]
    terms, path = [set(labels) for labels in operands], []
    while len(terms) > 2:

        def rank(pair: tuple[int, int]) -> tuple[bool, int, int]:
            a, b = (terms[k] for k in pair)
            others = (term for k, term in enumerate(terms) if k not in pair)
            kept = (a | b) & set(output).union(*others)
            growth = _size(kept, extents) - _size(a, extents) - _size(b, extents)
            return not a & b, growth, _size(a | b, extents)

        i, j = min(itertools.combinations(range(len(terms)), 2), key=rank)
        second, first = terms.pop(j), terms.pop(i)
        terms.append((first | second) & set(output).union(*terms))
        path.append((i, j))
    return [*path, (0, 1)]


def _operations(together: set[str], kept: set[str], plan: Plan, terms: int) -> int:
    """A multiplication for each further operand and an addition where something is summed, at every index."""
    return _size(together, plan.extents) * (max(1, terms - 1) + bool(together - kept))


# Doing

Term = tuple[array, Labels]  # the labels are distinct


def _prepared(a: array, labels: Labels, extents: dict[str, int]) -> Term:
    """Diagonals of repeated labels, and without axes of size 1 that broadcast."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            a = diagonal(a, 0, first, second)
            labels = (*(one for k, one in enumerate(labels) if k not in (first, second)), label)
    gone = [k for k, label in enumerate(labels) if a.shape[k] == 1 != extents[label]]
    if gone:
        a, labels = squeeze(a, gone), tuple(label for k, label in enumerate(labels) if k not in gone)
    return a, labels


def _summed(term: Term, kept: set[str], stream: Stream) -> Term:
    a, labels = term
    axes = [k for k, label in enumerate(labels) if label not in kept]
    if not axes:
        return term
    dtype = a.dtype
    total = any_of(a, axes, stream=stream) if dtype is bool_ else sum_of(a, axes, stream=stream).astype(dtype)
    return total, tuple(label for label in labels if label in kept)


def _contracted(first: Term, second: Term, kept: set[str], stream: Stream) -> Term:
    """The product of two operands, summed over what nobody needs any more."""
    first = _summed(first, kept.union(second[1]), stream)
    second = _summed(second, kept.union(first[1]), stream)
    (a, of_a), (b, of_b) = first, second
    both = [label for label in of_a if label in of_b]
    batch, common = [label for label in both if label in kept], [label for label in both if label not in kept]
    rows, columns = [label for label in of_a if label not in both], [label for label in of_b if label not in both]
    if not common:
        left = _arranged(a, of_a, [batch, rows, [None] * len(columns)])
        right = _arranged(b, of_b, [batch, [None] * len(rows), columns])
        return multiply(left, right, stream=stream), (*batch, *rows, *columns)
    if batch and not rows and not columns and result_type(a, b) not in (float16, bfloat16):
        return _summed((multiply(*_aligned(first, second, batch + common)), (*batch, *common)), kept, stream)
    left = _arranged(a, of_a, [batch, rows, common])
    right = _arranged(b, of_b, [batch, common, columns])
    outer, n = left.shape[: len(batch)], len(batch)
    extents = [left.shape[n : n + len(rows)], left.shape[n + len(rows) :], right.shape[n + len(common) :]]
    m, k, p = map(math.prod, extents)
    product = matmul(_as(left, (*outer, m, k)), _as(right, (*outer, k, p)), stream=stream)
    return _as(product, (*outer, *extents[0], *extents[2])), (*batch, *rows, *columns)


def _aligned(first: Term, second: Term, order: list[str]) -> tuple[array, array]:
    return _arranged(*first, [order]), _arranged(*second, [order])


def _arranged(a: array, labels: Labels, groups: Sequence[Sequence[str | None]]) -> array:
    """Axes in the order of the groups; None is a new axis of size 1."""
    order = [label for group in groups for label in group]
    present = [labels.index(label) for label in order if label is not None]
    if present != sorted(present):
        a = transpose(a, present)
    if len(present) == len(order):
        return a
    extents = iter(a.shape)
    return reshape(a, [1 if label is None else next(extents) for label in order])


def _as(a: array, shape: tuple[int, ...]) -> array:
    return a if a.shape == shape else reshape(a, shape)
