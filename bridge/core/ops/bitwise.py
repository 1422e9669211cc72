"""Bits of integers. bool arrays take part in and, or, xor and invert."""

from __future__ import annotations

from bridge.core.dtypes import BOOL, INTEGER
from bridge.core.ops.declare import FLAT, elementwise
from bridge.core.ops.types import Binary, Unary

bitwise_and: Binary = elementwise(
    "bitwise_and", "Bits set in both.", operands="a, b", accepts=BOOL | INTEGER, derivative=FLAT, metal="{0} & {1}"
)
bitwise_or: Binary = elementwise(
    "bitwise_or",
    "Bits set in at least one.",
    operands="a, b",
    accepts=BOOL | INTEGER,
    derivative=FLAT,
    metal="{0} | {1}",
)
bitwise_xor: Binary = elementwise(
    "bitwise_xor",
    "Bits set in exactly one.",
    operands="a, b",
    accepts=BOOL | INTEGER,
    derivative=FLAT,
    metal="{0} ^ {1}",
)
bitwise_invert: Unary = elementwise(
    "bitwise_invert",
    "Every bit turned; of a bool array: not.",
    accepts=BOOL | INTEGER,
    derivative=FLAT,
    metal="bridge_invert({0})",
)
left_shift: Binary = elementwise(
    "left_shift",
    "Bits moved up; a count that is negative or not less than the width gives 0.",
    operands="a, b",
    accepts=INTEGER,
    derivative=FLAT,
    metal="bridge_left_shift({0}, {1})",
    sample=((-100, 100), (0, 7)),
)
right_shift: Binary = elementwise(
    "right_shift",
    "Bits moved down, the sign kept; a count that is negative or not less than the width moves all of them.",
    operands="a, b",
    accepts=INTEGER,
    derivative=FLAT,
    metal="bridge_right_shift({0}, {1})",
    sample=((-100, 100), (0, 7)),
)
bitwise_left_shift = left_shift
bitwise_right_shift = right_shift
