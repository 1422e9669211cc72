"""The array API's special cases of elementwise functions, as a table: operands -> result.

A line is `operand [, operand] -> result`. An operand is a number or the name of a class of numbers (CLASSES); a result
is a number, an operand (x1, x2, -x1, |x1| ...), or several that the standard allows, parted by `|`. Signs of zeros
count. Rows of complex functions give real and imaginary part as `re:im`; `±` before a part leaves its sign open, and
`cis(k)` is k * (cos, sin) of the operand's imaginary part.

Source: Python array API standard 2025.12, "Special cases" of each function; written down anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

inf, nan = math.inf, math.nan

NUMBERS = (0.0, -0.0, 0.25, -0.25, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.0, 2.5, -2.5, 3.0, -3.0, inf, -inf, nan)

CLASSES: dict[str, Callable[[float], bool]] = {
    "any": lambda x: True,
    "number": lambda x: not math.isnan(x),
    "finite": math.isfinite,
    "nonzero": lambda x: math.isfinite(x) and x != 0,
    "whole": lambda x: math.isfinite(x) and x == int(x),
    "positive": lambda x: x > 0,
    "negative": lambda x: x < 0,
    ">0": lambda x: 0 < x < inf,
    "<0": lambda x: -inf < x < 0,
    ">1": lambda x: x > 1,
    "<1": lambda x: x < 1,
    "<-1": lambda x: x < -1,
    "|x|>1": lambda x: abs(x) > 1,
    "|x|<1": lambda x: abs(x) < 1,
    "odd>0": lambda x: 0 < x < inf and x % 2 == 1,
    "odd<0": lambda x: -inf < x < 0 and x % 2 == 1,
    "even>0": lambda x: x > 0 and (math.isinf(x) or x % 2 != 1),
    "even<0": lambda x: x < 0 and (math.isinf(x) or x % 2 != 1),
    "broken": lambda x: math.isfinite(x) and x != int(x),
    "not 0": lambda x: x != 0,
    "not 1": lambda x: x != 1,
    "zero": lambda x: x == 0,
    "infinite": math.isinf,
}

EVEN = "nan -> nan; 0 -> 0; -0 -> -0"  # what goes through zero with its sign
WHOLE = "whole -> x1; inf -> inf; -inf -> -inf; nan -> nan; 0 -> 0; -0 -> -0"
LOGARITHM = "nan -> nan; negative -> nan; 0 -> -inf; -0 -> -inf; 1 -> 0; inf -> inf"
NAN = "nan, any -> nan; any, nan -> nan"
# By the signs of the operands.
QUOTIENT = f"""{NAN}; infinite, infinite -> nan; zero, zero -> nan
    0, positive -> 0; -0, positive -> -0; 0, negative -> -0; -0, negative -> 0
    >0, 0 -> inf; >0, -0 -> -inf; <0, 0 -> -inf; <0, -0 -> inf"""

REAL: dict[str, str] = {
    "abs": "nan -> nan; -0 -> 0; inf -> inf; -inf -> inf",
    "acos": "nan -> nan; >1 -> nan; <-1 -> nan; 1 -> 0",
    "acosh": "nan -> nan; <1 -> nan; 1 -> 0; inf -> inf",
    "asin": f"{EVEN}; >1 -> nan; <-1 -> nan",
    "asinh": f"{EVEN}; inf -> inf; -inf -> -inf",
    "atan": f"{EVEN}; inf -> pi/2; -inf -> -pi/2",
    "atanh": f"{EVEN}; <-1 -> nan; >1 -> nan; -1 -> -inf; 1 -> inf",
    "ceil": WHOLE + "; -0.5 -> -0; -0.25 -> -0",
    "cos": "nan -> nan; zero -> 1; infinite -> nan",
    "cosh": "nan -> nan; zero -> 1; infinite -> inf",
    "exp": "nan -> nan; zero -> 1; inf -> inf; -inf -> 0",
    "expm1": f"{EVEN}; inf -> inf; -inf -> -1",
    "floor": WHOLE,
    "isfinite": "infinite -> False; nan -> False; finite -> True",
    "isinf": "infinite -> True; finite -> False; nan -> False",
    "isnan": "nan -> True; number -> False",
    "log": LOGARITHM,
    "log10": LOGARITHM,
    "log1p": f"{EVEN}; <-1 -> nan; -1 -> -inf; inf -> inf",
    "log2": LOGARITHM,
    "reciprocal": "nan -> nan; inf -> 0; -inf -> -0; 0 -> inf; -0 -> -inf",
    "round": WHOLE + "; 0.5 -> 0; -0.5 -> -0; 1.5 -> 2; 2.5 -> 2; -2.5 -> -2",
    "sign": "negative -> -1; zero -> 0 | -0; positive -> 1; nan -> nan",
    "signbit": "0 -> False; -0 -> True; inf -> False; -inf -> True; positive -> False; negative -> True",
    "sin": f"{EVEN}; infinite -> nan",
    "sinh": f"{EVEN}; inf -> inf; -inf -> -inf",
    "sqrt": f"{EVEN}; negative -> nan; inf -> inf",
    "square": "nan -> nan; infinite -> inf; zero -> 0",
    "tan": f"{EVEN}; infinite -> nan",
    "tanh": f"{EVEN}; inf -> 1; -inf -> -1",
    "trunc": WHOLE + "; -0.5 -> -0; 0.5 -> 0",
    "add": f"""{NAN}; inf, -inf -> nan; -inf, inf -> nan; inf, inf -> inf; -inf, -inf -> -inf
        infinite, finite -> x1; finite, infinite -> x2
        -0, -0 -> -0; -0, 0 -> 0; 0, -0 -> 0; 0, 0 -> 0; zero, nonzero -> x2; nonzero, zero -> x1
        2, -2 -> 0; -1.5, 1.5 -> 0""",
    "atan2": f"""{NAN}
        >0, 0 -> pi/2; >0, -0 -> pi/2; 0, positive -> 0; 0, 0 -> 0; 0, -0 -> pi; 0, negative -> pi
        -0, positive -> -0; -0, 0 -> -0; -0, -0 -> -pi; -0, negative -> -pi; <0, 0 -> -pi/2; <0, -0 -> -pi/2
        >0, inf -> 0; >0, -inf -> pi; <0, inf -> -0; <0, -inf -> -pi; inf, finite -> pi/2; -inf, finite -> -pi/2
        inf, inf -> pi/4; inf, -inf -> 3*pi/4; -inf, inf -> -pi/4; -inf, -inf -> -3*pi/4""",
    "copysign": "any, 0 -> |x1|; any, -0 -> -|x1|; any, positive -> |x1|; any, negative -> -|x1|; nan, number -> nan",
    "divide": f"""{QUOTIENT}; inf, >0 -> inf; inf, <0 -> -inf; -inf, >0 -> -inf; -inf, <0 -> inf
        >0, inf -> 0; >0, -inf -> -0; <0, inf -> -0; <0, -inf -> 0""",
    "equal": """nan, any -> False; any, nan -> False; inf, inf -> True; -inf, -inf -> True; zero, zero -> True
        2, 2 -> True; 2, 3 -> False; inf, -inf -> False; inf, finite -> False""",
    "floor_divide": f"""{QUOTIENT}; inf, >0 -> inf | nan; inf, <0 -> -inf | nan; -inf, >0 -> -inf | nan
        -inf, <0 -> inf | nan; >0, inf -> 0; >0, -inf -> -0 | -1; <0, inf -> -0 | -1; <0, -inf -> 0
        2.5, 2 -> 1; -2.5, 2 -> -2""",
    "greater": "nan, any -> False; any, nan -> False; 0, -0 -> False; inf, finite -> True; -inf, finite -> False",
    "hypot": "infinite, any -> inf; any, infinite -> inf; finite, nan -> nan; nan, finite -> nan; nan, nan -> nan",
    "less_equal": "nan, any -> False; any, nan -> False; 0, -0 -> True; -0, 0 -> True; inf, inf -> True",
    "logaddexp": "nan, any -> nan; any, nan -> nan; inf, number -> inf; number, inf -> inf; -inf, -inf -> -inf",
    "logical_and": "nan, nonzero -> True; zero, any -> False; any, zero -> False",
    "maximum": f"{NAN}; inf, number -> inf; -inf, number -> x2; 2, 3 -> 3",
    "minimum": f"{NAN}; -inf, number -> -inf; inf, number -> x2; 2, 3 -> 2",
    "multiply": f"""{NAN}; infinite, zero -> nan; zero, infinite -> nan; inf, positive -> inf; inf, negative -> -inf
        -inf, positive -> -inf; -inf, negative -> inf; positive, inf -> inf; negative, inf -> -inf
        0, >0 -> 0; 0, <0 -> -0; -0, >0 -> -0; -0, <0 -> 0; -0, -0 -> 0; 0, -0 -> -0""",
    "nextafter": f"{NAN}; 0, -0 -> -0; -0, 0 -> 0; 2, 2 -> 2; inf, inf -> inf; -inf, -inf -> -inf",
    "not_equal": "nan, any -> True; any, nan -> True; inf, -inf -> True; 2, 3 -> True; zero, zero -> False",
    "pow": """not 1, nan -> nan; any, zero -> 1; nan, not 0 -> nan; |x|>1, inf -> inf; |x|>1, -inf -> 0
        1, infinite -> 1; -1, infinite -> 1; 1, number -> 1; |x|<1, inf -> 0; |x|<1, -inf -> inf
        inf, positive -> inf; inf, negative -> 0; -inf, odd>0 -> -inf; -inf, even>0 -> inf; -inf, odd<0 -> -0
        -inf, even<0 -> 0; 0, positive -> 0; 0, negative -> inf; -0, odd>0 -> -0; -0, even>0 -> 0
        -0, odd<0 -> -inf; -0, even<0 -> inf; <0, broken -> nan""",
    "remainder": f"""{NAN}; infinite, infinite -> nan; zero, zero -> nan; zero, positive -> 0; zero, negative -> -0
        nonzero, zero -> nan; infinite, nonzero -> nan; >0, inf -> x1; >0, -inf -> x2; <0, inf -> x2; <0, -inf -> x1
        2.5, 2 -> 0.5; -2.5, 2 -> 1.5; 2, -2 -> -0; -2, 2 -> 0""",
    "subtract": f"""{NAN}; inf, inf -> nan; -inf, -inf -> nan; inf, -inf -> inf; infinite, finite -> x1
        0, -0 -> 0; -0, 0 -> -0; 0, 0 -> 0; -0, -0 -> 0; 2, 2 -> 0""",
}

# What the sine of an infinity times zero leaves open has `±`.
COMPLEX: dict[str, str] = {
    "abs": "infinite:any -> inf; any:infinite -> inf; nan:finite -> nan; finite:nan -> nan; nan:nan -> nan; 0:-0 -> 0",
    "acos": """0:0 -> pi/2:-0; -0:0 -> pi/2:-0; 0:nan -> pi/2:nan; -0:nan -> pi/2:nan; finite:inf -> pi/2:-inf
        nonzero:nan -> nan:nan; -inf:>0 -> pi:-inf; inf:>0 -> 0:-inf; -inf:inf -> 3*pi/4:-inf; inf:inf -> pi/4:-inf
        infinite:nan -> nan:±inf; nan:finite -> nan:nan; nan:inf -> nan:-inf; nan:nan -> nan:nan""",
    "acosh": """0:0 -> 0:pi/2; -0:0 -> 0:pi/2; finite:inf -> inf:pi/2; nonzero:nan -> nan:nan
        0:nan -> nan:±pi/2 | nan:nan; -inf:>0 -> inf:pi; inf:>0 -> inf:0; -inf:inf -> inf:3*pi/4; inf:inf -> inf:pi/4
        infinite:nan -> inf:nan; nan:finite -> nan:nan; nan:inf -> inf:nan; nan:nan -> nan:nan""",
    "asinh": """0:0 -> 0:0; >0:inf -> inf:pi/2; finite:nan -> nan:nan; inf:>0 -> inf:0; inf:inf -> inf:pi/4
        inf:nan -> inf:nan; nan:0 -> nan:0; nan:nonzero -> nan:nan; nan:inf -> ±inf:nan; nan:nan -> nan:nan""",
    "atanh": """0:0 -> 0:0; 0:nan -> 0:nan; 1:0 -> inf:0; >0:inf -> 0:pi/2; nonzero:nan -> nan:nan; inf:>0 -> 0:pi/2
        inf:inf -> 0:pi/2; inf:nan -> 0:nan; nan:finite -> nan:nan; nan:inf -> ±0:pi/2; nan:nan -> nan:nan""",
    "conj": "number:0 -> x:-0; number:-0 -> x:0; nan:inf -> nan:-inf",
    "cosh": """0:0 -> 1:0; 0:inf -> nan:±0; 0:nan -> nan:±0; nonzero:inf -> nan:nan; nonzero:nan -> nan:nan
        inf:0 -> inf:0; inf:nonzero -> cis(inf); inf:inf -> ±inf:nan; inf:nan -> inf:nan; nan:0 -> nan:±0
        nan:nonzero -> nan:nan; nan:nan -> nan:nan""",
    "exp": """zero:0 -> 1:0; finite:inf -> nan:nan; finite:nan -> nan:nan; inf:0 -> inf:0; -inf:finite -> cis(0)
        inf:nonzero -> cis(inf); -inf:inf -> ±0:±0; inf:inf -> ±inf:nan; -inf:nan -> ±0:±0; inf:nan -> ±inf:nan
        nan:0 -> nan:0; nan:not 0 -> nan:nan; nan:nan -> nan:nan""",
    "expm1": """zero:0 -> ±0:0; finite:inf -> nan:nan; finite:nan -> nan:nan; inf:0 -> inf:0; -inf:0 -> -1:0
        inf:nonzero -> cis(inf); -inf:inf -> -1:±0; inf:inf -> ±inf:nan; -inf:nan -> -1:±0; inf:nan -> ±inf:nan
        nan:0 -> nan:0; nan:not 0 -> nan:nan; nan:nan -> nan:nan""",
    "isfinite": "nan:any -> False; any:nan -> False; infinite:any -> False; any:inf -> False; finite:finite -> True",
    "isinf": "infinite:any -> True; any:infinite -> True; finite:finite -> False; nan:nan -> False",
    "isnan": "nan:any -> True; any:nan -> True; number:number -> False",
    "log": """-0:0 -> -inf:pi; 0:0 -> -inf:0; finite:inf -> inf:pi/2; finite:nan -> nan:nan; -inf:>0 -> inf:pi
        inf:>0 -> inf:0; -inf:inf -> inf:3*pi/4; inf:inf -> inf:pi/4; infinite:nan -> inf:nan; nan:finite -> nan:nan
        nan:inf -> inf:nan; nan:nan -> nan:nan""",
    "log1p": """-1:0 -> -inf:0; finite:inf -> inf:pi/2; finite:nan -> nan:nan; -inf:>0 -> inf:pi; inf:>0 -> inf:0
        -inf:inf -> inf:3*pi/4; inf:inf -> inf:pi/4; infinite:nan -> inf:nan; nan:finite -> nan:nan
        nan:inf -> inf:nan; nan:nan -> nan:nan""",
    "round": "0.5:1.5 -> 0:2; -0.5:2.5 -> -0:2; inf:0.5 -> inf:0; nan:2 -> nan:2; 3:-0 -> 3:-0",
    "sign": "nan:any -> nan:nan; any:nan -> nan:nan; zero:zero -> ±0:±0; 3:0 -> 1:±0; -0.5:0 -> -1:±0; 0:2 -> ±0:1",
    "sinh": """0:0 -> 0:0; 0:inf -> ±0:nan; 0:nan -> ±0:nan; >0:inf -> nan:nan; >0:nan -> nan:nan; inf:0 -> inf:0
        inf:>0 -> cis(inf); inf:inf -> ±inf:nan; inf:nan -> ±inf:nan; nan:0 -> nan:0; nan:nonzero -> nan:nan
        nan:nan -> nan:nan""",
    "sqrt": """zero:0 -> 0:0; any:inf -> inf:inf; finite:nan -> nan:nan; -inf:>0 -> 0:inf; inf:>0 -> inf:0
        -inf:nan -> nan:±inf; inf:nan -> inf:nan; nan:finite -> nan:nan; nan:nan -> nan:nan""",
    "tanh": """0:0 -> 0:0; nonzero:inf -> nan:nan; 0:inf -> 0:nan | nan:nan; nonzero:nan -> nan:nan
        0:nan -> 0:nan | nan:nan; inf:>0 -> 1:±0; inf:inf -> 1:±0; inf:nan -> 1:±0; nan:0 -> nan:0
        nan:nonzero -> nan:nan; nan:nan -> nan:nan""",
}


def lines(table: str) -> Iterator[tuple[list[str], list[str]]]:
    """(operands, allowed results) of every line of a table."""
    for line in table.replace("\n", ";").split(";"):
        if line.strip():
            operands, _, results = line.partition("->")
            parts = [one.strip() for one in operands.split("," if ":" not in operands else ":")]
            yield parts, [one.strip() for one in results.split(" | ")]


def members(name: str) -> list[float]:
    """The numbers that an operand of the table stands for; -0 is not 0."""
    if name in CLASSES:
        return [x for x in NUMBERS if CLASSES[name](x)]
    return [number(name)]


def number(text: str) -> float:
    """A number of the table: -0, 3*pi/4, inf, False."""
    return -0.0 if text == "-0" else float(eval(text, {"inf": inf, "nan": nan, "pi": math.pi}))


def same(got: float, want: float, *, sign: bool = True, near: float = 1e-6) -> bool:
    """Equal, NaN as NaN, zeros with their sign; anything else to rounding."""
    if math.isnan(want):
        return math.isnan(got)
    if not sign:
        got, want = abs(got), abs(want)
    if want == 0 or math.isinf(want):
        return got == want and math.copysign(1, got) == math.copysign(1, want)
    return math.isclose(got, want, rel_tol=near)
