"""Fits the polynomials of bridge/core/native/pipeline_math.inc and prints them with their largest error.

Run it by hand after changing a range or a degree: `python tools/fit_polynomials.py` (needs mpmath). Each polynomial
interpolates at Chebyshev nodes, weighted for relative error; those evaluated in float32 are then rounded coefficient by
coefficient, from the lowest up, and the rest is fitted again each time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np

mp.mp.dps = 50


@dataclass(frozen=True)
class Fit:
    name: str
    target: Callable  # the polynomial approximates this ...
    weight: (
        Callable  # ... with an error that is multiplied by this before it is compared (relative error of the function)
    )
    low: float
    high: float
    degree: int
    single: bool = False


def series(f: Callable, x: mp.mpf, terms: Callable) -> mp.mpf:
    """f(x), or near zero, where f cancels, the sum of terms(x)."""
    return terms(x) if abs(x) < mp.mpf("1e-6") else f(x)


def exp_tail(r):
    return series(lambda x: (mp.exp(x) - 1 - x) / x**2, r, lambda x: sum(x**k / mp.factorial(k + 2) for k in range(12)))


def log_tail(f):
    return series(
        lambda x: (mp.log(1 + x) - x + x**2 / 2) / x**3, f, lambda x: sum((-x) ** k / (k + 3) for k in range(12))
    )


def atanh_tail(u):
    def f(x):
        s = mp.sqrt(x)
        return (mp.log((1 + s) / (1 - s)) - 2 * s) / (s * x)

    return series(f, u, lambda x: sum(2 * x**k / (2 * k + 3) for k in range(12)))


def odd_tail(function: Callable, coefficient: Callable) -> Callable:
    """(function(t) - t) / t^3 as a function of u = t^2."""

    def f(u):
        t = mp.sqrt(u)
        return (function(t) - t) / (t * u)

    return lambda u: series(f, u, lambda x: sum(coefficient(k) * x**k for k in range(8)))


sin_tail = odd_tail(mp.sin, lambda k: (-1) ** (k + 1) / mp.factorial(2 * k + 3))
atan_tail = odd_tail(mp.atan, lambda k: mp.mpf((-1) ** (k + 1)) / (2 * k + 3))
tanh_tail = odd_tail(mp.tanh, lambda k: mp.taylor(mp.tanh, 0, 2 * k + 3)[2 * k + 3])
asin_tail = odd_tail(mp.asin, lambda k: mp.taylor(mp.asin, 0, 2 * k + 3)[2 * k + 3])


def cos_tail(u):
    return series(
        lambda x: (mp.cos(mp.sqrt(x)) - 1 + x / 2) / x**2,
        u,
        lambda x: sum((-x) ** k / mp.factorial(2 * k + 4) for k in range(12)),
    )


sinh_tail = odd_tail(mp.sinh, lambda k: 1 / mp.factorial(2 * k + 3))


def cosh_tail(u):
    """(cosh(t) - 1) / u as a function of u = t^2."""
    return series(
        lambda x: (mp.cosh(mp.sqrt(x)) - 1) / x, u, lambda x: sum(x**k / mp.factorial(2 * k + 2) for k in range(12))
    )


def atanh_rest(u):
    """What atanh_tail has beyond its first term, over u."""
    return series(
        lambda x: (atanh_tail(x) - mp.mpf(2) / 3) / x, u, lambda x: sum(2 * x**k / (2 * k + 5) for k in range(12))
    )


def erf_ratio(u):
    """erf(t) / t - 1 as a function of u = t^2."""
    t = mp.sqrt(u)
    return mp.erf(t) / t - 1


def erfinv_ratio(w):
    """erfinv(x) / x as a function of w = -log(1 - x^2)."""
    x = mp.sqrt(-mp.expm1(-w))
    return mp.erfinv(x) / x


HALF_LN2 = float(mp.log(2) / 2) * 1.001
QUARTER_PI = float(mp.pi / 4) * 1.0001

FITS = [
    Fit("exp, float32", exp_tail, lambda r: r**2 / mp.exp(r), -HALF_LN2, HALF_LN2, 4, single=True),
    Fit("log, float32", log_tail, lambda f: f**3 / mp.log(1 + f), -0.2930, 0.4143, 8, single=True),
    Fit("tanh, float32", tanh_tail, lambda u: u * mp.sqrt(u) / mp.tanh(mp.sqrt(u)), 1e-12, 0.3907, 4, single=True),
    Fit("erf below 1, float32", erf_ratio, lambda u: 1 / (1 + erf_ratio(u)), 1e-12, 1.0, 7, single=True),
    Fit("-log(1 - erf) from 1, float32", lambda x: -mp.log(mp.erfc(x)), mp.erfc, 1.0, 4.0, 8, single=True),
    Fit("exp", exp_tail, lambda r: r / mp.exp(r), -HALF_LN2, HALF_LN2, 7),
    Fit("exp for power", exp_tail, lambda r: r**2 / mp.exp(r), -HALF_LN2, HALF_LN2, 5),
    Fit("sinh", sinh_tail, lambda u: u, 1e-12, HALF_LN2**2, 2),
    Fit("cosh", cosh_tail, lambda u: u, 1e-12, HALF_LN2**2, 2),
    Fit("log, s^2", atanh_tail, lambda u: u, 1e-12, 0.02945, 5),
    Fit("sin", sin_tail, lambda u: u, 1e-12, QUARTER_PI**2, 4),
    Fit("cos", cos_tail, lambda u: u**2, 1e-12, QUARTER_PI**2, 4),
    Fit("atan", atan_tail, lambda u: u, 1e-12, 1.0, 12),
    Fit("exp, float64", exp_tail, lambda r: r, -HALF_LN2, HALF_LN2, 10),
    Fit("log, float64, s^2", atanh_tail, lambda u: u, 1e-12, 0.02945, 7),
    Fit("log for power, float64, s^2", atanh_rest, lambda u: u**2, 1e-12, 0.02945, 7),
    Fit("sin, float64", sin_tail, lambda u: u, 1e-12, QUARTER_PI**2, 6),
    Fit("cos, float64", cos_tail, lambda u: u**2, 1e-12, QUARTER_PI**2, 5),
    Fit("atan, float64", atan_tail, lambda u: u, 1e-12, 0.17158, 10),
    Fit("asin, float64", asin_tail, lambda u: u, 1e-12, 0.2501, 12),
    Fit("sinh, float64", sinh_tail, lambda u: u, 1e-12, HALF_LN2**2, 4),
    Fit("cosh, float64", cosh_tail, lambda u: u, 1e-12, HALF_LN2**2, 5),
    Fit("asin", asin_tail, lambda u: u, 1e-12, 0.2501, 8),
    Fit("erfinv below w = 5", erfinv_ratio, lambda w: 1 / erfinv_ratio(w), 1e-12, 5.0, 12),
    Fit(
        "erfinv of Metal, float32, w - 2.5",
        lambda t: erfinv_ratio(t + 2.5),
        lambda t: 1 / erfinv_ratio(t + 2.5),
        -2.4999999,
        2.5,
        8,
        single=True,
    ),
    Fit(
        "erfinv of Metal from there, sqrt(w) - 3",
        lambda s: erfinv_ratio((s + 3) ** 2),
        lambda s: 1 / erfinv_ratio((s + 3) ** 2),
        -0.765,
        1.0,
        8,
        single=True,
    ),
    Fit("erfinv from there, sqrt(w)", lambda s: erfinv_ratio(s * s), lambda s: 1 / erfinv_ratio(s * s), 2.236, 4.0, 12),
]


def nodes(fit: Fit, n: int) -> list[mp.mpf]:
    middle, half = (mp.mpf(fit.low) + fit.high) / 2, (mp.mpf(fit.high) - fit.low) / 2
    return [middle + half * mp.cos(mp.pi * (2 * k + 1) / (2 * n)) for k in range(n)]


def solve(fit: Fit, fixed: list[mp.mpf]) -> list[mp.mpf]:
    """Least squares over many weighted Chebyshev nodes, with the lowest coefficients given."""
    free = fit.degree + 1 - len(fixed)
    if free == 0:
        return fixed
    points = nodes(fit, 6 * (fit.degree + 1))
    rows, right = [], []
    for x in points:
        w = fit.weight(x)
        known = sum(c * x**k for k, c in enumerate(fixed))
        rows.append([w * x ** (len(fixed) + k) for k in range(free)])
        right.append(w * (fit.target(x) - known))
    solution = mp.lu_solve(mp.matrix(rows), mp.matrix(right))
    return fixed + list(solution)


def fit_one(fit: Fit) -> list[mp.mpf]:
    if not fit.single:
        return [mp.mpf(float(c)) for c in solve(fit, [])]
    fixed: list[mp.mpf] = []
    while len(fixed) <= fit.degree:
        fixed.append(mp.mpf(float(np.float32(float(solve(fit, fixed)[len(fixed)])))))
    return fixed


def error(fit: Fit, coefficients: list[mp.mpf]) -> mp.mpf:
    points = nodes(fit, 997)
    return max(abs(fit.weight(x) * (sum(c * x**k for k, c in enumerate(coefficients)) - fit.target(x))) for x in points)


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for fit in FITS:
        if wanted not in fit.name:
            continue
        coefficients = fit_one(fit)
        largest = error(fit, coefficients)
        print(f"// {fit.name}: [{fit.low:.6g}, {fit.high:.6g}], error 2^{float(mp.log(largest, 2)):.1f}")
        suffix = "f" if fit.single else ""
        print(
            ", ".join(f"{float(c):.9g}{suffix}" if fit.single else f"{float(c):.17g}" for c in reversed(coefficients))
        )


if __name__ == "__main__":
    main()
