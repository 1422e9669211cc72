"""Every op that NumPy has too, side by side at 1,000 and 1,000,000 elements: the ten slowest relative to NumPy.

    python -m benchmarks.ops [--dtype float64] [--rounds N] [--all] [--json FILE] [--check]

Each statement is one call, evaluated. NumPy works in one thread; bridge in as many as the machine offers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

import bridge
from benchmarks.harness import Row, finish, medians, parser

SIZES = (1_000, 1_000_000)
SLOWEST = 10
TARGET = 2.0

OF_ONE = """negative abs sign square sqrt reciprocal exp expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan
sinh cosh tanh arcsinh arctanh floor ceil rint trunc isnan isinf isfinite logical_not signbit degrees radians nan_to_num
cumsum cumprod sort argsort unique_values nonzero median diff sum prod mean std var max min argmax argmin all any flip
count_nonzero ravel_copy astype_int32"""
OF_TWO = """add subtract multiply divide floor_divide remainder power maximum minimum arctan2 logaddexp hypot copysign
equal not_equal less greater logical_and logical_or isclose where concatenate stack searchsorted take mask_read
mask_write index_write outer_1000 convolve"""
UNARY, BINARY = OF_ONE.split(), OF_TWO.split()

# What is spelt otherwise than `module.name(x)` or `module.name(x, y)`. `m` is bridge or numpy; the index arrays are
# those of the module.
SPECIAL: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "ravel_copy": lambda m, v: m.reshape(v["square"].T, (-1,)),
    "astype_int32": lambda m, v: v["x"].astype(m.int32),
    "where": lambda m, v: m.where(v["mask"], v["x"], v["y"]),
    "concatenate": lambda m, v: m.concatenate([v["x"], v["y"]]),
    "stack": lambda m, v: m.stack([v["x"], v["y"]]),
    "searchsorted": lambda m, v: m.searchsorted(v["ordered"], v["y"]),
    "take": lambda m, v: m.take(v["x"], v["order"]),
    "mask_read": lambda m, v: v["x"][v["mask"]],
    "mask_write": lambda m, v: _write(v["x"], v["mask"], 2.0),
    "index_write": lambda m, v: _write(v["x"], v["order"], v["y"]),
    "outer_1000": lambda m, v: m.outer(v["x"][:1000], v["y"][:1000]),
    "convolve": lambda m, v: m.convolve(v["x"], v["y"][:31]),
}


def _write(x: Any, key: Any, value: Any) -> Any:
    x[key] = value
    return x


def call(name: str, module: Any, values: dict[str, Any]) -> Any:
    """The op's result, with values."""
    if name in SPECIAL:
        result = SPECIAL[name](module, values)
    elif name in BINARY:
        result = getattr(module, name)(values["x"], values["y"])
    else:
        result = getattr(module, name)(values["x"])
    if module is bridge:
        bridge.eval(result)
    return result


def samples(size: int, dtype: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same operands as bridge arrays and as NumPy's."""
    random = np.random.default_rng(0)
    x, y = (random.uniform(0.1, 0.9, size).astype(dtype) for _ in range(2))
    side = int(size**0.5)
    order = random.permutation(size).astype(np.int32)
    theirs = {"x": x, "y": y, "mask": y > 0.5, "ordered": np.sort(x), "order": order}
    theirs["square"] = x[: side * side].reshape(side, side)
    ours = {name: bridge.array(value, dtype=getattr(bridge, value.dtype.name)) for name, value in theirs.items()}
    bridge.eval(ours)
    return ours, theirs


def measured(name: str, size: int, dtype: str, rounds: int) -> Row:
    ours, theirs = samples(size, dtype)
    statements = {"bridge": "f()", "numpy": "g()"}
    names = {"f": functools.partial(call, name, bridge, ours), "g": functools.partial(call, name, np, theirs)}
    times = medians(statements, names, rounds=rounds)
    return Row(name=f"{name}, {size:,}", ours=times["bridge"], peer_name="numpy", peer=times["numpy"], target=TARGET)


def main() -> None:
    options = parser(__doc__.partition("\n")[0], rounds=5)
    options.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    options.add_argument("--all", action="store_true", help="print every op, not only the slowest")
    given = options.parse_args()
    rows = []
    with np.errstate(all="ignore"):
        for size in SIZES:
            found = [measured(name, size, given.dtype, given.rounds) for name in (*UNARY, *BINARY)]
            rows += sorted(found, key=lambda row: -(row.ratio or 0))[: None if given.all else SLOWEST]
    print(f"{given.dtype}, {os.cpu_count()} processors")
    finish(rows, given)


if __name__ == "__main__":
    main()
