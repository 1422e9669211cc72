"""Tapes of any shape: what a kernel computes does not depend on what it is fused with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from native.engine import DTYPE, TO_BOOL, Kernel, apply, stages
from native.oracle import sample, wide

UNARY = ["negative", "abs", "square", "sqrt", "exp", "log", "tanh", "sin", "sigmoid", "floor", "reciprocal", "copy"]
UNARY += ["isnan", "logical_not", "erf", "arctan", "real"]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "less",
    "equal",
    "power",
    "remainder",
    "logical_and",
]
INTEGER_UNARY = ["negative", "abs", "square", "sign", "bitwise_invert", "copy", "logical_not"]
INTEGER_BINARY = ["add", "subtract", "multiply", "maximum", "floor_divide", "remainder", "bitwise_xor", "less"]
BOOL_UNARY = ["logical_not", "copy"]
BOOL_BINARY = ["logical_and", "logical_or", "bitwise_xor", "equal", "not_equal", "less", "add"]


def arrays_for(names: list[str], shape: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    """Inputs of mixed layouts; every fifth is a scalar."""
    arrays = []
    for k, name in enumerate(names):
        if k % 5 == 4:
            arrays.append(sample(name, 1, rng).reshape(()))
        elif k % 5 == 2 and len(shape) > 1:
            arrays.append(np.broadcast_to(sample(name, shape[-1], rng), shape))
        elif k % 5 == 3:
            arrays.append(np.repeat(sample(name, math.prod(shape), rng), 2).reshape(*shape, 2)[..., 1])
        else:
            arrays.append(sample(name, math.prod(shape), rng).reshape(shape))
    return arrays


def random_kernel(rng: np.random.Generator, names: list[str], shape: tuple[int, ...], length: int) -> None:
    """Runs a random tape fused, and stage by stage; asserts that the bits agree."""
    arrays = arrays_for(names, shape, rng)
    kernel = Kernel(shape)
    values = [kernel.input(a, scalar=a.ndim == 0 and shape != ()) for a in arrays]
    results = [np.array(np.broadcast_to(a, shape)) for a in arrays]  # dense
    for _ in range(length):
        family = str(rng.choice([str(r.dtype) for r in results]))
        operands = [v for v in values if str(results[v].dtype) == family]
        recent = operands[-3:] if rng.random() < 0.6 else operands
        a, b = (int(rng.choice(recent)), int(rng.choice(operands)))
        condition = [v for v in values if results[v].dtype == bool]
        choice, to = rng.random(), None
        if choice < 0.15:
            to = DTYPE[str(rng.choice(sorted(set(names) | {"bool"})))]
            stage, chosen = "cast", [a]
        elif choice < 0.25 and condition:
            stage, chosen = "select", [int(rng.choice(condition)), a, b]
        else:
            unary, binary = (BOOL_UNARY, BOOL_BINARY) if family == "bool" else (UNARY, BINARY)
            if results[a].dtype.kind in "iu":
                unary, binary = INTEGER_UNARY, INTEGER_BINARY
            stage = str(rng.choice(unary if choice < 0.55 else binary))
            chosen = [a] if stages()[stage][1] == 1 else [a, b]
        values.append(kernel.op(stage, *chosen, to=to))
        results.append(apply(stage, *[results[v] for v in chosen], to=to))
    kept = sorted({*map(int, rng.choice(values, 5)), values[-1]})
    outputs = {v: kernel.output(v) for v in kept}
    kernel.run()
    for v, out in outputs.items():
        message = f"value {v} of\n{kernel.text()}"
        np.testing.assert_array_equal(wide(out), wide(results[v]), err_msg=message)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize(
    "names",
    [
        ["float32", "float32", "float32"],
        ["float32", "bool", "float32", "float32", "float32"],
        ["float16", "bfloat16", "float32", "float16", "float16", "bool"],
        ["int32", "float32", "uint8", "bool", "float64", "int32"],
    ],
    ids=["float32", "truth", "half", "mixed"],
)
def test_fusion_changes_no_bit(names: list[str], seed: int) -> None:
    """Random graphs of up to 60 stages: fused, and one by one."""
    rng = np.random.default_rng(seed)
    shapes = [(1,), (16,), (17,), (100,), (700,), (5000,), (3, 5), (4, 300), (600, 3), (2, 3, 4)]
    length = int(rng.integers(1, 60))
    random_kernel(rng, names, shapes[seed % len(shapes)], length)


@pytest.mark.parametrize("name", ["float32", "float16", "int64", "complex64"])
def test_the_longest_tape(name: str) -> None:
    """64 stages, each value used again at the very end, so that all are alive at once."""
    a = (np.arange(1, 1001) % 7).astype(DTYPE[name])
    kernel = Kernel(a.shape)
    values = [kernel.input(a)]
    want = [wide(a)]
    for i in range(32):
        values.append(kernel.op("add" if i % 2 else "maximum", values[-1], values[0]))
        step = want[-1] + want[0] if i % 2 else np.maximum(want[-1], want[0])
        want.append(wide(step.astype(DTYPE[name])))
    total, expected = values[1], want[1]
    for i in range(2, 33):
        total = kernel.op("add", values[i], total)
        expected = wide((want[i] + expected).astype(DTYPE[name]))
    kernel.op("negative", total)
    out = kernel.output(total)
    kernel.run()
    np.testing.assert_array_equal(wide(out), expected)


def test_many_inputs_and_outputs() -> None:
    """32 inputs and 16 outputs, some of them the same value."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=1000).astype("f4") for _ in range(32)]
    kernel = Kernel((1000,))
    values = [kernel.input(a) for a in arrays]
    sums = [kernel.op("add", values[i], values[31 - i]) for i in range(8)]
    outputs = [kernel.output(v) for v in sums + sums[:4] + values[:4]]
    kernel.run()
    wanted = [arrays[i] + arrays[31 - i] for i in [*range(8), *range(4)]] + arrays[:4]
    for out, want in zip(outputs, wanted, strict=True):
        np.testing.assert_array_equal(out, want)


def test_what_is_not_needed_is_not_computed() -> None:
    """A stage without a loop is no obstacle while nobody asks for its value."""
    a = np.arange(10.0)
    kernel = Kernel(a.shape)
    x = kernel.input(a)
    kernel.op("bitwise_and", x, x)
    out = kernel.output(kernel.op("add", x, x))
    kernel.run()
    np.testing.assert_array_equal(out, a + a)


def test_half_results_are_rounded_after_each_operation() -> None:
    """(a + b) + c with the intermediate sum in the half type, not in float32."""
    a, b, c = (np.array([v], "f2") for v in (2048, 1, 1))
    kernel = Kernel((1,))
    x, y, z = (kernel.input(v) for v in (a, b, c))
    out = kernel.output(kernel.op("add", kernel.op("add", x, y), z))
    kernel.run()
    assert out[0] == 2048


def test_position_changes_no_bit() -> None:
    """An element gives the same wherever it stands: in the body, in the last vector, alone."""
    rng = np.random.default_rng(5)
    x = (rng.normal(size=300) * 5).astype("f4")
    for stage in ("exp", "log", "tanh", "erf", "sin", "sigmoid", "power", "rsqrt", "arctan2"):
        binary = stages()[stage][1] == 2
        whole = apply(stage, x, x[::-1].copy()) if binary else apply(stage, x)
        for begin, end in ((0, 1), (5, 22), (290, 300), (13, 290)):
            part = apply(stage, x[begin:end], x[::-1][begin:end].copy()) if binary else apply(stage, x[begin:end])
            np.testing.assert_array_equal(part, whole[begin:end])


def test_the_text_of_a_kernel() -> None:
    """Compact, readable, without addresses."""
    a = np.zeros((1024, 3), "f4")
    kernel = Kernel(a.shape)
    x, y, two = kernel.input(a), kernel.input(a[0]), kernel.input(np.array(2.5, "f4"), scalar=True)
    product = kernel.op("multiply", x, y)
    kernel.op("cast", kernel.op("less", product, two), to=DTYPE["int32"])
    kernel.output(product)
    kernel.reduce("sum", 5, [0], DTYPE["int64"])
    assert kernel.text() == (
        "kernel [1024,3] in: a float32 dense, b float32 strides(0,1), c float32 2.5\n"
        "  %0 = multiply(a, b) float32\n"
        "  %1 = less(%0, c) bool\n"
        "  %2 = cast(%1) int32\n"
        "  out0 = %0 float32 dense\n"
        "  sum(%2, axes=(0)) int64\n"
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("bool", True, "true"),
        ("int8", -7, "-7"),
        ("uint64", 2**64 - 1, "18446744073709551615"),
        ("float16", 0.1, "0.099975586"),
        ("bfloat16", -1.5, "-1.5"),
        ("float32", 0.1, "0.1"),
        ("float32", 1.0, "1.0"),
        ("float32", 1e30, "1e+30"),
        ("float64", -np.inf, "-inf"),
        ("float64", np.nan, "nan"),
        ("complex64", 1 - 2j, "1.0-2.0j"),
        ("complex128", 0.5j, "0.0+0.5j"),
    ],
)
def test_the_text_of_a_scalar(name: str, value: object, text: str) -> None:
    """The shortest that reads back as the same value."""
    kernel = Kernel((2,))
    kernel.output(kernel.op("copy", kernel.input(np.array(value, DTYPE[name]), scalar=True)))
    assert f"a {name} {text}\n" in kernel.text()


def test_stage_names() -> None:
    """Names are found, and nothing else is."""
    from native.engine import library

    for name, (number, arity) in stages().items():
        assert library().test_find_stage(name.encode()) == number
        assert 1 <= arity <= 3
    assert library().test_find_stage(b"no such stage") == -1
    assert set(stages()) >= TO_BOOL
