"""The printed Metal source means what the CPU does: compiled over the stand-in and compared with the engine and NumPy.

What this cannot show: that Apple's compiler takes the text, and how exact a GPU's functions are.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from core.values import draw, to_bridge, to_numpy
from metal.compiled import EXPRESSIONS, Library, numpy_dtype

import bridge
from bridge.core._native import DTYPES, set_kernel_log
from bridge.core.dtypes import COMPLEX, FLOATING, INEXACT, INTEGER, ROWS, bool_
from bridge.core.errors import DTypeError
from bridge.core.ops.declare import PRIMITIVES
from bridge.metal import msl
from bridge.metal.spec import Access, Instr, KernelSpec, Output, parse

COUNT = 48
HERE = [DTYPES[name] for name in msl.TYPES]  # the dtypes that Metal has
MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "complex64": 23}  # bits


def operand_dtypes(name: str) -> list[bridge.Dtype]:
    """Dtypes in which the stage computes, of those that Metal has: after promotion, so `exp` never sees an integer."""
    one = PRIMITIVES[name]
    accepted = one.accepts & {"float": INEXACT, "logical": frozenset({bool_})}.get(one.result, one.accepts)
    return [dtype for dtype in HERE if dtype in accepted]


def result_dtype(name: str, dtype: bridge.Dtype) -> bridge.Dtype:
    rule = PRIMITIVES[name].result
    if rule in ("bool", "logical"):
        return bool_
    return DTYPES["float32"] if rule == "abs" and dtype in COMPLEX else dtype


def single(name: str, dtype: bridge.Dtype) -> KernelSpec:
    """One stage over dense operands."""
    arity = len(PRIMITIVES[name].sample)
    inputs = [Access(dtype)] * arity
    if name == "select":
        inputs[0] = Access(bool_)
    out = result_dtype(name, dtype)
    tape = (Instr(name, dtype, out, tuple(range(arity))),)
    return KernelSpec((COUNT,), tuple(inputs), tape, (Output(arity, out),))


def has_text(name: str, dtype: bridge.Dtype) -> bool:
    try:
        msl.print_kernel("k", single(name, dtype), EXPRESSIONS)
    except DTypeError:
        return False
    return True


PAIRS = [(name, dtype) for name in EXPRESSIONS for dtype in operand_dtypes(name)]
TEXTS = [(name, dtype) for name, dtype in PAIRS if has_text(name, dtype)]
CASTS = list(itertools.product(HERE, HERE))


def cast_spec(source: bridge.Dtype, target: bridge.Dtype) -> KernelSpec:
    return KernelSpec((COUNT,), (Access(source),), (Instr("cast", source, target, (0,)),), (Output(1, target),))


def edges(dtype: bridge.Dtype) -> list[float]:
    """Values at which definitions differ."""
    if dtype is bool_ or dtype in COMPLEX:
        return []
    if dtype in INTEGER:
        info = np.iinfo(dtype.name)
        return [info.min, info.max, 0, 1, info.max - 1, 7]
    return [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 3.0, 0.5]


def operands(name: str, dtype: bridge.Dtype) -> list[np.ndarray]:
    """Values from the declaration's intervals, headed by all pairs of a few edges."""
    found = []
    for k, (low, high) in enumerate(PRIMITIVES[name].sample):
        kind = bool_ if name == "select" and k == 0 else dtype
        values = draw(kind.name, (COUNT,), low, min(high, 6e4), seed=k)  # float16 ends at 65504
        special = edges(kind)[:6]
        for at, pair in enumerate(itertools.product(special, special)):
            values[at] = pair[k % 2]
        found.append(values)
    return found


def widened(a: np.ndarray) -> np.ndarray:
    """The same values in a dtype whose NaN NumPy's assertions know."""
    return a.astype(np.float64) if a.dtype == numpy_dtype("bfloat16") else a


def assert_near(got: np.ndarray, want: np.ndarray, dtype: bridge.Dtype, ulp: float | None) -> None:
    """Equal; where functions are approximate, within `ulp` of the CPU and as much again, a neighbour of a half.

    `dtype` is that of the operands: complex functions are computed in float64 on the CPU.
    """
    exact = ulp is None or ulp <= 0.5
    got, want = widened(got), widened(want)
    if got.dtype.kind in "biu" or (exact and dtype not in COMPLEX):
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]), "sign of zero")
        return
    places = 1 if dtype.size == 2 else 2 * max(ulp or 0, 1) + 2
    np.testing.assert_allclose(got, want, rtol=places * 2.0 ** -MANTISSA[dtype.name], atol=1e-45)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Every declaration in every dtype that has a text, and every cast: one compilation."""
    kernels = {f"{name}_{dtype.name}": single(name, dtype) for name, dtype in TEXTS}
    kernels |= {f"cast_{source.name}_{target.name}": cast_spec(source, target) for source, target in CASTS}
    return Library(tmp_path_factory.mktemp("stages"), kernels)


@pytest.mark.parametrize(("name", "dtype"), TEXTS, ids=lambda one: getattr(one, "name", one))
def test_stage(library: Library, name: str, dtype: bridge.Dtype):
    """A stage gives the CPU's values, edges included."""
    values = operands(name, dtype)
    want = to_numpy(PRIMITIVES[name].call(*map(to_bridge, values)))
    (got,) = library.run(f"{name}_{dtype.name}", *values)
    assert got.dtype == want.dtype
    assert_near(got, want, dtype, PRIMITIVES[name].ulp)


@pytest.mark.parametrize(("source", "target"), CASTS, ids=lambda one: one.name)
def test_cast(library: Library, source: bridge.Dtype, target: bridge.Dtype):
    """A conversion wraps, saturates and rounds once, as the CPU's does."""
    values = draw(source.name, (COUNT,), -300, 300, seed=3)
    special = edges(source)
    values[: len(special)] = special
    if source in INTEGER and source.size >= 4:  # two roundings would differ from one here
        values[8:14] = [2**24 + 1, 2**24 + 3, 257, 259, 2049, 257 * 2**18 + 1]
    if source in FLOATING and source.size == 4:
        values[8:14] = [1e10, -1e10, 2147483648.0, 4294967296.0, 65519.99, 1e30]
    want = to_numpy(to_bridge(values).astype(target))
    (got,) = library.run(f"cast_{source.name}_{target.name}", values)
    np.testing.assert_array_equal(widened(got), widened(want))


def test_complex_functions_without_a_text_are_refused():
    """What has no text for complex numbers is refused by name; everything else compiles (the fixture above)."""
    missing = [(name, dtype) for name, dtype in PAIRS if (name, dtype) not in TEXTS]
    assert {dtype.name for _, dtype in missing} == {"complex64"}
    for name, dtype in missing:
        with pytest.raises(DTypeError, match=f"no Metal text of {name} for complex"):
            msl.print_kernel("k", single(name, dtype), EXPRESSIONS)


def test_every_stage_has_a_text():
    """Every elementwise declaration carries a Metal expression."""
    assert [name for name, one in PRIMITIVES.items() if one.kind == "elementwise" and one.metal is None] == []


LAYOUTS = {
    "dense": lambda a: a,
    "transposed": lambda a: np.ascontiguousarray(a.transpose(2, 1, 0)).transpose(2, 1, 0),
    "reversed": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
    "stepped": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=2)[::2, :, ::3],
    "broadcast": lambda a: np.broadcast_to(a[:, :1], a.shape),
}
SHAPE = (3, 4, 5)


def strides(a: np.ndarray) -> tuple[int, ...] | None:
    return None if a.flags.c_contiguous else tuple(step // a.itemsize for step in a.strides)


@pytest.mark.parametrize("name", ["int16", "bfloat16", "float32", "complex64"])
def test_layouts(tmp_path, name: str):
    """Two operands and a result in every combination of layouts: NumPy's product and sum, at the right places."""
    dtype = DTYPES[name]
    arrays = {layout: view(draw(name, SHAPE, seed=7)) for layout, view in LAYOUTS.items()}
    tape = (Instr("multiply", dtype, dtype, (0, 1)), Instr("add", dtype, dtype, (3, 2)))
    kernels = {}
    for left, right, out in itertools.product(arrays, arrays, ("dense", "transposed", "reversed")):
        inputs = (Access(dtype, strides(arrays[left])), Access(dtype, strides(arrays[right])), Access(dtype, scalar=3))
        outputs = (Output(4, dtype, strides(arrays[out])), Output(3, dtype))
        kernels[f"{left}_{right}_{out}"] = KernelSpec(SHAPE, inputs, tape, outputs)
    library = Library(tmp_path, kernels)
    for kernel in kernels:
        left, right, out = kernel.split("_")
        result = LAYOUTS[out](np.zeros(SHAPE, numpy_dtype(name)))
        _, product = library.run(
            kernel, arrays[left], arrays[right], outputs=[result, np.zeros(SHAPE, numpy_dtype(name))]
        )
        want = arrays[left] * arrays[right]
        np.testing.assert_allclose(product.astype(complex), want.astype(complex), rtol=1e-6)
        np.testing.assert_allclose(
            result.astype(complex), (want + np.asarray(3, want.dtype)).astype(complex), rtol=1e-6
        )


def test_scalars(tmp_path):
    """A scalar of every dtype reaches the kernel through the argument block."""
    values = {"bool": True, "bfloat16": -1.5, "float16": 0.25, "float32": 0.1, "complex64": 1 - 2j}
    accesses = tuple(Access(dtype, scalar=values.get(dtype.name, 100 + ROWS[dtype].size)) for dtype in HERE)
    outputs = tuple(Output(k, dtype) for k, dtype in enumerate(HERE))
    results = Library(tmp_path, {"k": KernelSpec((2,), accesses, (), outputs)}).run("k")
    for access, result in zip(accesses, results, strict=True):
        np.testing.assert_array_equal(result, np.full(2, access.scalar, numpy_dtype(access.dtype.name)))


PROGRAMS = {
    "gelu": lambda x, y: x * 0.5 * (1 + bridge.erf(x * 0.70710678)),
    "silu": lambda x, y: x * bridge.sigmoid(x) + y[0],
    "choice": lambda x, y: bridge.where(x > y, x - y, bridge.abs(y)),
    "mixed": lambda x, y: (x.T.astype(bridge.float16) * y.T + 1).astype(bridge.int32) // 3,
    "clipped": lambda x, y: bridge.clip(x[::-1] / y, -1, 1).astype(bridge.bfloat16) * 2,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_kernel_of_the_engine(tmp_path, name: str):
    """A kernel that the engine built, read from its printed text, gives what the engine gave."""
    x, y = draw("float32", (4, 5), seed=1), draw("float32", (4, 5), seed=2)
    arrays = [to_bridge(x), to_bridge(y)]
    bridge.eval(*arrays)
    printed: list[str] = []
    set_kernel_log(printed.append)
    try:
        result = PROGRAMS[name](*arrays)
        bridge.eval(result)
    finally:
        set_kernel_log(None)
    (text,) = printed
    spec = parse(text)
    views = PROGRAM_VIEWS.get(name, lambda x, y: [x, y])(x, y)
    (got,) = Library(tmp_path, {"k": spec}).run("k", *views)
    want = to_numpy(result)
    assert got.size == want.size
    np.testing.assert_allclose(got.reshape(want.shape).astype(float), want.astype(float), rtol=1e-6, atol=1e-7)


# What the programs' kernels read, at element 0: in the order in which the tape first uses it.
PROGRAM_VIEWS = {
    "gelu": lambda x, y: [x],
    "silu": lambda x, y: [x, y],
    "mixed": lambda x, y: [x.T, y.T],
    "clipped": lambda x, y: [x[::-1], y],
}
