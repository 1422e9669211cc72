"""Random programs: chains of ops, views, reductions, joins, casts and updates, compared with NumPy bit by bit.

Only operations whose result IEEE 754 and C fix exactly take part, so that fused, threaded and reordered execution must
give the very same bits as NumPy's one operation after another. A failure prints its seed and the program.
"""

from __future__ import annotations

import numpy as np
import pytest
from core.values import draw, to_bridge, to_numpy

import bridge
from bridge.core import dtypes

NAMES = ["bool", "uint8", "int8", "int32", "int64", "uint32", "float16", "bfloat16", "float32", "float64"]
INTEGERS = ["uint8", "int8", "int32", "int64", "uint32"]
LARGEST = 200_000  # elements
UNARY = ["negative", "abs", "square", "sign", "floor", "logical_not", "isnan", "sqrt"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "less", "equal", "logical_and", "divide"]


def convert(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x.astype(dtype), rounded once. ml_dtypes goes from wide types to bfloat16 by way of float32 and rounds twice."""
    if dtype.kind != "V" or x.dtype.itemsize < 4 or x.dtype == np.float32:
        return x.astype(dtype)
    fraction, exponent = np.frexp(x.astype(np.longdouble))
    return np.ldexp(np.rint(np.ldexp(fraction, 8)), exponent - 8).astype(np.float32).astype(dtype)


class Program:
    """A list of values, each kept twice: as NumPy computes it and as bridge does."""

    def __init__(self, seed: int, size: int) -> None:
        self.random = np.random.default_rng(seed)
        self.values: list[tuple[np.ndarray, bridge.array]] = []
        self.steps: list[str] = []
        self.size = size
        for _ in range(3):
            self.new()

    def new(self) -> None:
        name = str(self.random.choice(NAMES))
        shape = [int(n) for n in self.random.choice([1, 2, 3, 5], self.random.integers(0, 3))]
        shape.insert(int(self.random.integers(len(shape) + 1)), self.size)
        shape = tuple(shape[: int(self.random.integers(len(shape) + 1))] if self.random.random() < 0.2 else shape)
        x = draw(name, shape, seed=int(self.random.integers(1 << 30)))
        self.add(f"new {name}{shape}", x, to_bridge(x))

    def pick(self) -> tuple[int, np.ndarray, bridge.array]:
        k = int(self.random.integers(max(len(self.values) - 8, 0), len(self.values)))
        return k, *self.values[k]

    def add(self, text: str, x: np.ndarray, a: bridge.array) -> None:
        self.steps.append(f"v{len(self.values)} = {text}")
        self.values.append((np.asarray(x), a))

    def fit(self, *arrays: np.ndarray) -> bool:
        try:
            return np.prod(np.broadcast_shapes(*(x.shape for x in arrays))) < LARGEST
        except ValueError:
            return False

    # Every step is one method; a step that makes no sense for what was picked does nothing.

    def unary(self) -> None:
        k, x, a = self.pick()
        op = str(self.random.choice(UNARY))
        if x.dtype == bool and op in ("negative", "abs", "sign", "square", "floor"):
            return
        if op == "sqrt":
            if x.dtype.kind != "f" or x.dtype.itemsize < 4:
                return
            self.add(f"sqrt(abs(v{k}))", np.sqrt(np.abs(x)), bridge.sqrt(bridge.abs(a)))
            return
        if op == "floor" and x.dtype.kind in "iu":
            return
        self.add(
            f"{op}(v{k})",
            getattr(np, op)(x).astype(bool if op in ("logical_not", "isnan") else x.dtype),
            getattr(bridge, op)(a),
        )

    def binary(self) -> None:
        j, x, a = self.pick()
        k, y, b = self.pick()
        if not self.fit(x, y):
            return
        op = str(self.random.choice(BINARY))
        common = dtypes.to_numpy(dtypes.promote(a.dtype, b.dtype))
        if op == "divide" and common.itemsize < 4:
            return  # a half is computed in float32 and rounded once: NumPy's own loops differ here and there
        if op == "divide" and common.kind in "iub":
            common = np.dtype(np.float32)
        if op == "subtract" and common.kind == "b":
            op = "logical_xor"
        x, y = convert(x, common), convert(y, common)
        self.add(f"{op}(v{j}, v{k})", getattr(np, op)(x, y), getattr(bridge, op)(a, b))

    def scalar(self) -> None:
        k, x, a = self.pick()
        if x.dtype == bool:
            return
        value = int(self.random.integers(0, 4))
        self.add(f"v{k} * {value} + 1", (x * x.dtype.type(value) + x.dtype.type(1)).astype(x.dtype), a * value + 1)

    def where(self) -> None:
        i, x, a = self.pick()
        j, y, b = self.pick()
        k, z, c = self.pick()
        if not self.fit(x, y, z):
            return
        common = dtypes.to_numpy(dtypes.promote(b.dtype, c.dtype))
        self.add(
            f"where(v{i}, v{j}, v{k})", np.where(x != 0, convert(y, common), convert(z, common)), bridge.where(a, b, c)
        )

    def cast(self) -> None:
        k, x, a = self.pick()
        name = str(self.random.choice(NAMES))
        wanted = dtypes.from_numpy(np.dtype(name) if name != "bfloat16" else dtypes.to_numpy(bridge.bfloat16))
        if x.dtype.kind in "fV" and name in INTEGERS:
            return  # out of range, NumPy leaves the value open
        via = x.astype(np.float32) if x.dtype.kind == "V" and name == "float16" else x
        self.add(f"v{k}.astype({name})", convert(via, dtypes.to_numpy(wanted)), a.astype(wanted))

    def slice(self) -> None:
        k, x, a = self.pick()
        key: list = []
        for extent in x.shape:
            if self.random.random() < 0.2 and extent > 0:
                key.append(int(self.random.integers(-extent, extent)))
            else:
                low, high = (int(n) for n in self.random.integers(-extent - 1, extent + 2, 2))
                key.append(slice(low, high, int(self.random.choice([-2, -1, 1, 1, 1, 3]))))
        if self.random.random() < 0.2:
            key.insert(int(self.random.integers(0, len(key) + 1)), None)
        self.add(f"v{k}[{key}]", x[tuple(key)], a[tuple(key)])

    def transpose(self) -> None:
        k, x, a = self.pick()
        order = [int(axis) for axis in self.random.permutation(x.ndim)]
        self.add(f"v{k}.transpose({order})", x.transpose(order), a.transpose(order))

    def reshape(self) -> None:
        k, x, a = self.pick()
        shape = [(-1,), (x.size, 1), (1, x.size)][int(self.random.integers(3))]
        if x.size % 2 == 0 and self.random.random() < 0.5:
            shape = (2, x.size // 2)
        if x.size == 0 and -1 in shape:
            return
        self.add(f"v{k}.reshape({shape})", x.reshape(shape), a.reshape(shape))

    def broadcast(self) -> None:
        k, x, a = self.pick()
        if x.ndim > 3:
            return
        shape = (2, *x.shape)
        self.add(f"broadcast_to(v{k}, {shape})", np.broadcast_to(x, shape), bridge.broadcast_to(a, shape))

    def join(self) -> None:
        j, x, a = self.pick()
        if x.ndim == 0:
            return
        axis = int(self.random.integers(x.ndim))
        self.add(
            f"concatenate([v{j}, v{j}[::-1]], {axis})",
            np.concatenate([x, x[::-1]], axis),
            bridge.concatenate([a, a[::-1]], axis),
        )

    def reduce(self) -> None:
        k, x, a = self.pick()
        op = str(self.random.choice(["sum", "max", "min", "any", "all", "argmax"]))
        if x.size == 0 or x.dtype.kind == "V" or (op == "sum" and x.dtype.kind not in "iub"):
            return
        axis = None if x.ndim == 0 else int(self.random.integers(x.ndim))
        keep = bool(self.random.integers(2))
        got = getattr(bridge, op)(a, axis, keep)
        with np.errstate(all="ignore"):
            want = getattr(np, op)(x, axis=axis, keepdims=keep)
        self.add(f"{op}(v{k}, {axis}, {keep})", np.asarray(want).astype(dtypes.to_numpy(got.dtype)), got)

    def update(self) -> None:
        k, x, a = self.pick()
        if x.ndim == 0 or x.shape[0] == 0:
            return
        y, b = x.copy(), bridge.array(a)
        at = int(self.random.integers(x.shape[0]))
        y[::2] = x[at]
        b[::2] = a[at]
        if x.dtype != np.bool_ and x.dtype.kind != "V":
            y[1::2] += y[:1]
            b[1::2] += b[:1]
        self.add(f"copy of v{k}, [::2] = v{k}[{at}], [1::2] += [:1]", y, b)

    def evaluate(self) -> None:
        k, _, a = self.pick()
        self.steps.append(f"eval(v{k})")
        bridge.eval(a)

    def drop(self) -> None:
        if len(self.values) > 12:
            self.values[int(self.random.integers(len(self.values) - 9))] = self.values[-1]

    STEPS = (unary, unary, binary, binary, binary, scalar, where, cast, slice, slice, transpose, reshape, broadcast)
    STEPS += (join, reduce, reduce, update, update, evaluate, drop, new)

    def run(self, count: int) -> None:
        for _ in range(count):
            step = self.STEPS[int(self.random.integers(len(self.STEPS)))]
            with np.errstate(all="ignore"):
                step(self)
            if self.values[-1][0].size > LARGEST:
                self.values.pop()

    def check(self) -> None:
        for k in self.random.permutation(len(self.values)):
            x, a = self.values[k]
            got = to_numpy(a)
            text = "\n".join(self.steps)
            assert got.shape == x.shape, f"v{k}: {got.shape}, want {x.shape}\n{text}"
            assert got.dtype == x.dtype, f"v{k}: {got.dtype}, want {x.dtype}\n{text}"
            exact = np.float32 if x.dtype.kind == "V" else x.dtype  # NumPy's comparison knows no NaN of bfloat16
            np.testing.assert_array_equal(got.astype(exact), x.astype(exact), err_msg=f"v{k}\n{text}")


@pytest.mark.parametrize("seed", range(150))
def test_small(seed: int):
    """Programs on small arrays, evaluated here and there."""
    program = Program(seed, 7)
    program.run(60)
    program.check()


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_large(seed: int):
    """Programs on arrays that are split between threads."""
    program = Program(seed, 12_001)
    program.run(30)
    program.check()
