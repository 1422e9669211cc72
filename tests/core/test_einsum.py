"""einsum and einsum_path against NumPy and MLX."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from core.values import EVERY, draw, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st

import bridge

SUBSCRIPTS = [
    "i->i",
    "ij",
    "ji",
    "ij->",
    "ij->j",
    "ii",
    "ii->i",
    "iij->ji",
    "ij,jk",
    "ij,kj->ik",
    "ij,ij->ij",
    "ij,ij->i",
    "ij,ij->",
    "i,j->ji",
    "bij,bjk->bik",
    "bij,bkj->bki",
    "abij,abjk->abik",
    "abij,bjk->baik",
    "aibj,jbk->kia",
    "ij,jk,kl",
    "ij,jk,kl,lm->mi",
    "ijk,jkl->il",
    "iij,jkk->ik",
    "...ij,...jk",
    "...ij->...ji",
    "i...,i->...",
    "...,...->...",
    "a...b,b...c->...ac",
    ",ij,->ij",
    "i j , j k -> i k",
    "iJ,Jk",
    "ij,ik->jk",
    "i,ij,j->",
]
EXTENTS = {"i": 2, "j": 3, "k": 4, "l": 5, "m": 2, "a": 3, "b": 2, "c": 4, "J": 3}


def shapes(subscripts: str) -> list[tuple[int, ...]]:
    operands = subscripts.replace(" ", "").partition("->")[0].split(",")
    return [
        tuple(
            extent
            for letter in part.replace("...", ".")
            for extent in ((2, 3) if letter == "." else (EXTENTS[letter],))
        )
        for part in operands
    ]


@pytest.mark.parametrize("name", ["float64", "complex128", "int32", "bool", "int8", "float32"])
@pytest.mark.parametrize("subscripts", SUBSCRIPTS)
def test_einsum(subscripts: str, name: str):
    """NumPy's shape, dtype and values."""
    operands = [draw(name, shape, -2, 2, seed=k) for k, shape in enumerate(shapes(subscripts))]
    got = bridge.einsum(subscripts, *map(to_bridge, operands))
    want = np.einsum(subscripts, *operands)
    assert got.dtype.name == name
    assert got.shape == want.shape
    if name in ("int32", "bool", "int8"):
        np.testing.assert_array_equal(to_numpy(got), want)
    else:
        np.testing.assert_allclose(to_numpy(got), want, rtol=1e-5 if name == "float32" else 1e-12, atol=1e-5)


@st.composite
def calls(draw_):
    letters = "abcdE"
    extents = {letter: draw_(st.sampled_from([1, 2, 3, 0])) for letter in letters}
    parts, operands = [], []
    for k in range(draw_(st.integers(1, 4))):
        part = draw_(st.lists(st.sampled_from(letters), max_size=4))
        shape = [extents[letter] for letter in part]
        if draw_(st.booleans()):
            at, further = draw_(st.integers(0, len(part))), [2, 3][draw_(st.integers(0, 2)) :]
            shape[at:at] = [draw_(st.sampled_from([extent, 1])) for extent in further]
            part[at:at] = ["..."]
        elif len(set(part)) == len(part) and draw_(st.booleans()):
            shape = [draw_(st.sampled_from([extent, 1])) for extent in shape]
        parts.append("".join(part))
        operands.append(np.random.default_rng([k, len(shape)]).normal(size=shape))
    text = ",".join(parts)
    if draw_(st.booleans()):
        known = sorted(set(text) - {",", "."})
        output = draw_(st.permutations(known))[: draw_(st.integers(0, len(known)))]
        text += "->" + "".join([*output, "..."] if "..." in text else output)
    return text, operands


@given(calls())
def test_any_call(call):
    """Any subscripts, with diagonals, ellipses, empty and broadcast axes, agree with NumPy, or both refuse."""
    subscripts, operands = call
    try:
        want = np.einsum(subscripts, *operands)
    except ValueError:
        with pytest.raises(ValueError, match="einsum"):
            bridge.einsum(subscripts, *map(to_bridge, operands))
        return
    got = bridge.einsum(subscripts, *map(to_bridge, operands))
    assert got.shape == want.shape
    np.testing.assert_allclose(to_numpy(got), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", EVERY)
def test_every_dtype(name: str):
    """Every dtype is contracted in its own dtype; two dtypes are promoted."""
    x, y = draw(name, (3, 4), -2, 2, seed=1), draw(name, (4, 5), -2, 2, seed=2)
    a, b = to_bridge(x), to_bridge(y)
    assert bridge.array_equal(bridge.einsum("ij,jk", a, b), a @ b)
    assert bridge.einsum("ij->j", a).dtype.name == name
    assert bridge.einsum("ij,jk", a, bridge.ones((4, 5), bridge.float32)).dtype is bridge.result_type(a, bridge.float32)


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk,kl->il", [(3, 4), (4, 5), (5, 6)]),
        ("ij,jk->ik", [(3, 4), (4, 5)]),
        ("ii", [(3, 3)]),
        ("ab,bc,cd,de", [(2, 9), (9, 3), (3, 8), (8, 4)]),
        ("i j, jk", [(2, 9), (9, 3)]),
    ],
)
def test_path(subscripts: str, shapes: list[tuple[int, ...]]):
    """The path and the text are MLX's."""
    path, text = bridge.einsum_path(subscripts, *map(bridge.ones, shapes))
    want, about = mx.einsum_path(subscripts, *map(mx.ones, shapes))
    assert path == [tuple(pair) for pair in want]
    assert text == about


def test_numbers_are_operands():
    """Python numbers count as 0-d operands."""
    assert bridge.einsum(",i->i", 3.0, bridge.ones(2)).tolist() == [3, 3]


REFUSED = [
    ("ij,jk", [], "at least one operand"),
    ("ij", [(2, 3), (3, 4)], "1 operands, and there are 2"),
    ("ij,jk", [(2, 3)], "2 operands, and there are 1"),
    ("ijk", [(2, 3)], "do not fit an operand with 2 axes"),
    ("i", [(2, 3)], "do not fit an operand with 2 axes"),
    ("ij...k", [(2, 3)], "do not fit an operand with 2 axes"),
    ("ij->ii", [(2, 3)], "'i' stands twice in the result"),
    ("ij->im", [(2, 3)], "'m' of the result stands in no operand"),
    ("i..j", [(2, 3)], "'.' is no subscript"),
    ("...i...", [(2, 3)], "'.' is no subscript"),
    ("i1", [(2, 3)], "'1' is no subscript"),
    ("ij->i->j", [(2, 3)], "'-' is no subscript"),
    ("ij;jk", [(2, 3), (3, 4)], "';' is no subscript"),
    ("ij,jk", [(2, 3), (4, 5)], "'j' has more than one extent"),
    ("ii", [(2, 3)], "'i' has more than one extent"),
    ("ii", [(1, 3)], "'i' has more than one extent"),
    ("...,...", [(2,), (3,)], r"'\.\.\.' has more than one extent"),
    ("i...->i", [(2, 3)], "no place for the axes"),
]


@pytest.mark.parametrize(("subscripts", "shapes", "text"), REFUSED)
@pytest.mark.parametrize("op", [bridge.einsum, bridge.einsum_path], ids=["einsum", "einsum_path"])
def test_refusals(op, subscripts: str, shapes: list[tuple[int, ...]], text: str):
    """Malformed subscripts raise ValueError that says what is wrong with them."""
    with pytest.raises(ValueError, match=rf"bridge\.{op.__name__}\b.*{text}"):
        op(subscripts, *map(bridge.ones, shapes))
