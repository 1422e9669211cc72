"""Measure the errors of the elementary functions and write them into docs/ops.md, between the marks of `accuracy`.

    python tools/make_accuracy.py            measure and write
    python tools/make_accuracy.py --check    exit 1 if a function is further off now than the table says

An error is the distance between the result and the exact value (mpmath, 100 bits) in units in the last place of the
exact value. Arguments cover all finite numbers for which the function is defined, and more densely the region where it
bends. Of float32 the worst of a million are found with the float64 results and then compared with mpmath; of
float64 every one is. Needs bridge and mpmath.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp
import numpy as np

import bridge

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ops.md"
SINGLES, WORST, DOUBLES = 1_000_000, 300, 2_500
SLACK = 0.05  # ulp that another machine may be off the written figure
LEVELS = ("v2", "v3", "v4", "neon")
mp.mp.prec = 100


@dataclass(frozen=True)
class Function:
    """A function of one or two real numbers: its exact value, where it bends, and where it is defined at all."""

    name: str
    exact: Callable[..., mp.mpf]
    near: tuple[float, float]
    low: float = -math.inf
    high: float = math.inf
    operands: int = 1

    @property
    def range(self) -> str:
        if self.operands == 2:
            return "all numbers"
        if math.isinf(self.low):
            return "all numbers" if math.isinf(self.high) else f"x <= {self.high:g}"
        return f"x >= {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"


def _power(x: mp.mpf, y: mp.mpf) -> mp.mpf:
    return mp.power(x, y) if x > 0 or y == mp.floor(y) else mp.nan


FUNCTIONS = (
    Function("exp", mp.exp, (-110, 90)),
    Function("expm1", mp.expm1, (-20, 90)),
    Function("log", mp.log, (0.5, 2), low=0),
    Function("log2", lambda x: mp.log(x, 2), (0.5, 2), low=0),
    Function("log10", mp.log10, (0.5, 2), low=0),
    Function("log1p", mp.log1p, (-0.9, 2), low=-1),
    Function("sin", mp.sin, (-100, 100)),
    Function("cos", mp.cos, (-100, 100)),
    Function("tan", mp.tan, (-100, 100)),
    Function("arcsin", mp.asin, (-1, 1), low=-1, high=1),
    Function("arccos", mp.acos, (-1, 1), low=-1, high=1),
    Function("arctan", mp.atan, (-5, 5)),
    Function("arctan2", mp.atan2, (-5, 5), operands=2),
    Function("sinh", mp.sinh, (-20, 20)),
    Function("cosh", mp.cosh, (-20, 20)),
    Function("tanh", mp.tanh, (-10, 10)),
    Function("arcsinh", mp.asinh, (-5, 5)),
    Function("arccosh", mp.acosh, (1, 3), low=1),
    Function("arctanh", mp.atanh, (-1, 1), low=-1, high=1),
    Function("erf", mp.erf, (-6, 6)),
    Function("erfinv", mp.erfinv, (-1, 1), low=-1, high=1),
    Function("sigmoid", lambda x: 1 / (1 + mp.exp(-x)), (-20, 20)),
    Function("power", _power, (0, 20), operands=2),
    Function("sqrt", mp.sqrt, (0, 4), low=0),
    Function("rsqrt", lambda x: 1 / mp.sqrt(x), (0, 4), low=0),
    Function("reciprocal", lambda x: 1 / x, (-4, 4)),
    # Near 0 the result is a difference: relative to the larger operand.
    Function("logaddexp", lambda x, y: max(x, y) + mp.log1p(mp.exp(-abs(x - y))), (-20, 20), operands=2),
)


def arguments(function: Function, dtype: np.dtype, count: int, seed: int) -> np.ndarray:
    """Half of them any finite number, by its bits; a quarter by magnitude; a quarter where the function bends."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 1 << 8 * dtype.itemsize, count // 2, dtype=f"u{dtype.itemsize}")
    small = 10.0 ** random.uniform(-12, 2, count // 4) * random.choice([-1, 1], count // 4)
    parts = [bits.view(dtype), small, random.uniform(*function.near, count // 4)]
    with np.errstate(invalid="ignore"):
        x = random.permutation(np.concatenate([one.astype(dtype) for one in parts]))
    x = np.where(np.isfinite(x), x, dtype.type(0.5))
    return np.clip(x, max(function.low, np.finfo(dtype).min), min(function.high, np.finfo(dtype).max)).astype(dtype)


def error_of(function: Function, operands: tuple[float, ...], got: float, dtype: np.dtype) -> float:
    """Distance from the exact value in units in its last place; 0 where that is out of range and the result says so."""
    try:
        exact = function.exact(*(mp.mpf(float(x)) for x in operands))
    except (ZeroDivisionError, ValueError, mp.libmp.libhyper.NoConvergence):
        exact = mp.nan
    info = np.finfo(dtype)
    if mp.isnan(exact) or isinstance(exact, mp.mpc):
        return 0.0 if math.isnan(got) or math.isinf(got) else math.inf
    if mp.isinf(exact) or abs(exact) >= mp.mpf(float(info.max)) * (1 + mp.mpf(2) ** -(info.nmant + 2)):
        return 0.0 if math.isinf(got) and (got > 0) == (exact > 0) else math.inf
    if math.isnan(got) or math.isinf(got):
        return math.inf
    scale = max(abs(exact), *map(abs, operands)) if function.name == "logaddexp" else exact
    exponent = max(mp.frexp(scale)[1] - 1, info.minexp) if scale else info.minexp
    return float(abs(mp.mpf(got) - exact) / mp.mpf(2) ** (exponent - info.nmant))


def evaluate(function: Function, operands: tuple[np.ndarray, ...]) -> np.ndarray:
    dtype = getattr(bridge, operands[0].dtype.name)
    return np.asarray(getattr(bridge, function.name)(*(bridge.array(x, dtype=dtype) for x in operands)))


def worst_single(function: Function) -> float:
    """Largest error in float32: found among many with float64, then measured exactly."""
    dtype = np.dtype(np.float32)
    operands = tuple(arguments(function, dtype, SINGLES, seed) for seed in range(function.operands))
    got = evaluate(function, operands).astype(np.float64)
    want = evaluate(function, tuple(x.astype(np.float64) for x in operands))
    with np.errstate(all="ignore"):
        unit = np.exp2(np.maximum(np.floor(np.log2(np.abs(want))), -126) - 23)
        off = np.abs(got - want) / unit
        off = np.where(
            np.isfinite(got) & np.isfinite(want), off, np.where(got.astype("f4") == want.astype("f4"), 0, np.inf)
        )
        off = np.where(np.isnan(got) & np.isnan(want), 0, off)
    chosen = np.argsort(off)[-WORST:]
    return max(error_of(function, tuple(x[i] for x in operands), float(got[i]), dtype) for i in chosen)


def worst_double(function: Function) -> float:
    dtype = np.dtype(np.float64)
    operands = tuple(arguments(function, dtype, DOUBLES, seed + 10) for seed in range(function.operands))
    got = evaluate(function, operands)
    return max(
        error_of(function, values[:-1], values[-1], dtype)
        for values in zip(*map(np.ndarray.tolist, (*operands, got)), strict=True)
    )


def measure() -> dict[str, tuple[float, float]]:
    """Function -> largest errors in float32 and float64, on the SIMD level that this process uses."""
    return {one.name: (worst_single(one), worst_double(one)) for one in FUNCTIONS}


def measure_levels() -> dict[str, tuple[float, float]]:
    """The same over all SIMD levels of this machine, each in a process of its own."""
    levels = [{**os.environ, "BRIDGE_ISA": level} for level in LEVELS]
    runs = [
        subprocess.run([sys.executable, __file__, "--json"], env=env, capture_output=True, text=True) for env in levels
    ]
    figures = [json.loads(run.stdout) for run in runs if run.returncode == 0]
    if not figures:
        sys.exit(runs[0].stderr)
    return {name: tuple(max(one[name][k] for one in figures) for k in range(2)) for name in figures[0]}


def check(text: str) -> None:
    pattern = r"^\| `(\w+)` \| [^|]+ \| ([\d.]+) \| ([\d.]+) \|$"
    written = {name: (float(single), float(double)) for name, single, double in re.findall(pattern, text, re.M)}
    worse = [
        f"{name}: {now} ulp, the table says {written.get(name)}"
        for name, now in measure().items()
        if name not in written or any(a > b + SLACK for a, b in zip(now, written[name], strict=True))
    ]
    if worse:
        sys.exit("docs/ops.md promises smaller errors than were measured:\n" + "\n".join(worse))


def write(text: str) -> None:
    rows = ["| function | arguments | float32 | float64 |", "| --- | --- | --- | --- |"]
    figures = measure_levels()
    for one in FUNCTIONS:
        single, double = (math.ceil(figure * 100) / 100 for figure in figures[one.name])
        rows.append(f"| `{one.name}` | {one.range} | {single:.2f} | {double:.2f} |")
    begin, end = "<!-- begin accuracy -->", "<!-- end accuracy -->"
    head, _, rest = text.partition(begin)
    PAGE.write_text(head + begin + "\n" + "\n".join(rows) + "\n" + end + rest.partition(end)[2])


def main() -> None:
    if "--json" in sys.argv:
        print(json.dumps(measure()))
    elif "--check" in sys.argv:
        check(PAGE.read_text())
    else:
        write(PAGE.read_text())


if __name__ == "__main__":
    main()
