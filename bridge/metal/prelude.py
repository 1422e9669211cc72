"""Functions that Metal's library lacks, as Metal source: what the `bridge_` names in the declarations' texts mean.

FUNCTIONS[name][form] is one definition; the form says for which operands: "integer" (bool too), "float" or "complex".
A form that is missing is refused. Operands of half precision arrive as float. Integers wrap, so they are negated,
multiplied and shifted as unsigned ones. The definitions rely on math_mode(safe): fast maths has no NaN or infinity.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["COMPLEX", "FUNCTIONS", "HEADER", "NEEDS", "Form"]

Form: TypeAlias = Literal["integer", "float", "complex"]

HEADER = """\
#include <metal_stdlib>
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
using namespace metal;
"""

# No float2: its operators work by parts and its alignment is 8, where a complex64 array is only sure of 4.
COMPLEX = """\
struct bridge_complex {
  float re, im;
};
inline bridge_complex operator-(bridge_complex a) { return {-a.re, -a.im}; }
inline bridge_complex operator+(bridge_complex a, bridge_complex b) { return {a.re + b.re, a.im + b.im}; }
inline bridge_complex operator-(bridge_complex a, bridge_complex b) { return {a.re - b.re, a.im - b.im}; }
inline bridge_complex operator*(bridge_complex a, bridge_complex b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
// Smith's algorithm: |b| squared is never formed, so it cannot overflow.
inline bridge_complex operator/(bridge_complex a, bridge_complex b) {
  if (b.re == 0 && b.im == 0) return {a.re / abs(b.re), a.im / abs(b.re)};
  if (abs(b.re) >= abs(b.im)) {
    const float ratio = b.im / b.re, below = b.re + b.im * ratio;
    return {(a.re + a.im * ratio) / below, (a.im - a.re * ratio) / below};
  }
  const float ratio = b.re / b.im, below = b.im + b.re * ratio;
  return {(a.re * ratio + a.im) / below, (a.im * ratio - a.re) / below};
}
inline bridge_complex operator/(float a, bridge_complex b) { return bridge_complex{a, 0} / b; }
inline bool operator==(bridge_complex a, bridge_complex b) { return a.re == b.re && a.im == b.im; }
inline bool operator!=(bridge_complex a, bridge_complex b) { return a.re != b.re || a.im != b.im; }
inline bool isnan(bridge_complex a) { return isnan(a.re) || isnan(a.im); }
inline bool isinf(bridge_complex a) { return isinf(a.re) || isinf(a.im); }
inline bool isfinite(bridge_complex a) { return isfinite(a.re) && isfinite(a.im); }
inline bridge_complex rint(bridge_complex a) { return {rint(a.re), rint(a.im)}; }
// By real part, then by imaginary part; false if a NaN takes part in the decision.
inline bool operator<(bridge_complex a, bridge_complex b) {
  return a.re == b.re ? a.im < b.im : a.re < b.re && !isnan(a.im) && !isnan(b.im);
}
inline bool operator>(bridge_complex a, bridge_complex b) { return b < a; }
inline bool operator<=(bridge_complex a, bridge_complex b) { return a.re == b.re ? a.im <= b.im : a < b; }
inline bool operator>=(bridge_complex a, bridge_complex b) { return b <= a; }
"""

FUNCTIONS: dict[str, dict[Form, str]] = {
    "bridge_abs": {
        "integer": """\
template <typename T>
inline T bridge_abs(T a) { return a < T(0) ? T(0 - ulong(a)) : a; }
""",
        "float": "inline float bridge_abs(float a) { return abs(a); }\n",
        "complex": """\
inline float bridge_abs(bridge_complex a) {
  const float x = abs(a.re), y = abs(a.im), larger = x > y ? x : y, smaller = x > y ? y : x;
  if (isinf(x) || isinf(y)) return INFINITY;
  if (isnan(x) || isnan(y)) return NAN;
  if (larger == 0) return 0;
  const float ratio = smaller / larger;
  return larger * precise::sqrt(1 + ratio * ratio);
}
""",
    },
    "bridge_sign": {
        "integer": """\
template <typename T>
inline T bridge_sign(T a) { return T((a > T(0)) - (a < T(0))); }
""",
        "float": "inline float bridge_sign(float a) { return isnan(a) ? a : float((a > 0) - (a < 0)); }\n",
        "complex": """\
inline bridge_complex bridge_sign(bridge_complex a) {
  const float size = bridge_abs(a);
  if (size == 0) return {0, 0};
  return {a.re / size, a.im / size};
}
""",
    },
    "bridge_real": {
        "integer": "template <typename T>\ninline T bridge_real(T a) { return a; }\n",
        "float": "inline float bridge_real(float a) { return a; }\n",
        "complex": "inline float bridge_real(bridge_complex a) { return a.re; }\n",
    },
    "bridge_imag": {
        "integer": "template <typename T>\ninline T bridge_imag(T) { return T(0); }\n",
        "float": "inline float bridge_imag(float) { return 0; }\n",
        "complex": "inline float bridge_imag(bridge_complex a) { return a.im; }\n",
    },
    "bridge_conjugate": {
        "integer": "template <typename T>\ninline T bridge_conjugate(T a) { return a; }\n",
        "float": "inline float bridge_conjugate(float a) { return a; }\n",
        "complex": "inline bridge_complex bridge_conjugate(bridge_complex a) { return {a.re, -a.im}; }\n",
    },
    "bridge_floor_divide": {
        "integer": """\
template <typename T>
inline T bridge_floor_divide(T a, T b) {
  if (b == T(0)) return T(0);
  if (T(-1) < T(0) && b == T(-1)) return T(0 - ulong(a));  // the quotient of the least integer would overflow
  const T quotient = T(a / b), rest = T(a % b);
  return T(quotient - T(rest != T(0) && (rest < T(0)) != (b < T(0))));
}
""",
        "float": """\
inline float bridge_floor_divide(float a, float b) {
  if (b == 0) return a / b;
  const float rest = bridge_rest(a, b);
  float quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return copysign(0.0f, a / b);
  const float whole = floor(quotient);
  return quotient - whole > 0.5f ? whole + 1 : whole;
}
""",
    },
    "bridge_remainder": {
        "integer": """\
template <typename T>
inline T bridge_remainder(T a, T b) {
  if (b == T(0) || (T(-1) < T(0) && b == T(-1))) return T(0);
  const T rest = T(a % b);
  return rest != T(0) && (rest < T(0)) != (b < T(0)) ? T(rest + b) : rest;
}
""",
        "float": """\
inline float bridge_remainder(float a, float b) {
  const float rest = bridge_rest(a, b);
  if (b == 0) return NAN;
  if (rest == 0) return copysign(0.0f, b);
  return (b < 0) != (rest < 0) ? rest + b : rest;
}
""",
    },
    "bridge_rest": {  # Metal defines fmod by a formula that gives NaN for an infinite divisor
        "float": """\
inline float bridge_rest(float a, float b) { return isinf(b) && isfinite(a) ? a : precise::fmod(a, b); }
""",
    },
    "bridge_power": {
        "integer": """\
template <typename T>
inline T bridge_power(T base, T exponent) {
  if (exponent < T(0)) return base == T(1) ? T(1) : base == T(-1) ? ((exponent & 1) != 0 ? base : T(1)) : T(0);
  ulong result = 1, factor = ulong(base);
  for (ulong e = ulong(exponent); e != 0; e >>= 1) {
    if ((e & 1) != 0) result *= factor;
    factor *= factor;
  }
  return T(result);
}
""",
        "float": "inline float bridge_power(float a, float b) { return precise::pow(a, b); }\n",
    },
    "bridge_maximum": {
        "integer": "template <typename T>\ninline T bridge_maximum(T a, T b) { return a > b ? a : b; }\n",
        "float": "inline float bridge_maximum(float a, float b) { return a > b || isnan(a) ? a : b; }\n",
        "complex": """\
inline bridge_complex bridge_maximum(bridge_complex a, bridge_complex b) { return isnan(a) || a >= b ? a : b; }
""",
    },
    "bridge_minimum": {
        "integer": "template <typename T>\ninline T bridge_minimum(T a, T b) { return a < b ? a : b; }\n",
        "float": "inline float bridge_minimum(float a, float b) { return a < b || isnan(a) ? a : b; }\n",
        "complex": """\
inline bridge_complex bridge_minimum(bridge_complex a, bridge_complex b) { return isnan(a) || a <= b ? a : b; }
""",
    },
    "bridge_invert": {
        "integer": """\
template <typename T>
inline T bridge_invert(T a) { return T(~a); }
inline bool bridge_invert(bool a) { return !a; }
""",
    },
    "bridge_left_shift": {  # a negative count is a huge one
        "integer": """\
template <typename T>
inline T bridge_left_shift(T a, T b) { return ulong(b) < 8 * sizeof(T) ? T(ulong(a) << ulong(b)) : T(0); }
""",
    },
    "bridge_right_shift": {
        "integer": """\
template <typename T>
inline T bridge_right_shift(T a, T b) { return ulong(b) < 8 * sizeof(T) ? T(a >> b) : a < T(0) ? T(-1) : T(0); }
""",
    },
    # Kahan: the error of the rounded e^x, or 1 + x, cancels in the quotient.
    "bridge_expm1": {
        "float": """\
inline float bridge_expm1(float x) {
  const float e = precise::exp(x);
  if (e == 1) return x;
  if (e - 1 == -1 || isinf(e)) return e - 1;
  return abs(x) < 1 ? (e - 1) * x / precise::log(e) : e - 1;
}
""",
    },
    "bridge_log1p": {
        "float": """\
inline float bridge_log1p(float x) {
  const float u = 1 + x;
  if (u == 1) return x;
  return abs(x) < 1 ? precise::log(u) * x / (u - 1) : precise::log(u);
}
""",
    },
    "bridge_erf": {  # the polynomials of the CPU's stage
        "float": """\
inline float bridge_erf(float x) {
  if (isnan(x)) return x;
  if (abs(x) < 1) {
    const float u = x * x;
    float y = -8.67337621e-06f;
    y = fma(y, u, 0.000108905777f);
    y = fma(y, u, -0.000842730224f);
    y = fma(y, u, 0.00521665392f);
    y = fma(y, u, -0.0268636215f);
    y = fma(y, u, 0.112837441f);
    y = fma(y, u, -0.376126349f);
    y = fma(y, u, 0.128379166f);
    return fma(x, y, x);
  }
  const float t = min(abs(x), 4.0f);
  float y = -3.89143054e-07f;
  y = fma(y, t, 2.723941e-05f);
  y = fma(y, t, -0.000475301582f);
  y = fma(y, t, 0.00432094f);
  y = fma(y, t, -0.0254526604f);
  y = fma(y, t, 0.108740874f);
  y = fma(y, t, 0.632959127f);
  y = fma(y, t, 1.12969685f);
  y = fma(y, t, -0.000211165549f);
  return copysign(1 - precise::exp(-y), x);
}
""",
    },
    "bridge_erfinv": {  # after Giles (2010), "Approximating the erfinv function"; the CPU's stage has more digits
        "float": """\
inline float bridge_erfinv(float x) {
  if (!(abs(x) < 1)) return abs(x) == 1 ? copysign(INFINITY, x) : NAN;
  const float w = -precise::log((1 - x) * (1 + x));
  if (w < 5) {
    const float t = w - 2.5f;
    float y = 2.79123977e-08f;
    y = fma(y, t, 3.43111736e-07f);
    y = fma(y, t, -3.52111329e-06f);
    y = fma(y, t, -4.39009409e-06f);
    y = fma(y, t, 0.000218571877f);
    y = fma(y, t, -0.00125372817f);
    y = fma(y, t, -0.0041776686f);
    y = fma(y, t, 0.246640742f);
    y = fma(y, t, 1.50140941f);
    return y * x;
  }
  const float t = precise::sqrt(w) - 3;
  float y = -0.000207410121f;
  y = fma(y, t, 0.000105507919f);
  y = fma(y, t, 0.00136090128f);
  y = fma(y, t, -0.00367873791f);
  y = fma(y, t, 0.00573279988f);
  y = fma(y, t, -0.007620655f);
  y = fma(y, t, 0.0094404174f);
  y = fma(y, t, 1.00167394f);
  y = fma(y, t, 2.83297682f);
  return y * x;
}
""",
    },
    "bridge_sigmoid": {
        "float": """\
inline float bridge_sigmoid(float x) {
  const float e = precise::exp(-abs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}
""",
    },
    "bridge_signbit": {
        "integer": "template <typename T>\ninline bool bridge_signbit(T a) { return a < T(0); }\n",
        "float": "inline bool bridge_signbit(float a) { return signbit(a); }\n",
    },
    "bridge_hypot": {
        "float": """\
inline float bridge_hypot(float a, float b) {
  if (isinf(a) || isinf(b)) return INFINITY;
  const float x = abs(a), y = abs(b);
  if (isnan(x) || isnan(y)) return NAN;
  const float larger = x > y ? x : y, smaller = x > y ? y : x;
  const float ratio = larger == 0 ? 0 : smaller / larger;
  return larger * precise::sqrt(1 + ratio * ratio);
}
""",
    },
    "bridge_logaddexp": {
        "float": """\
inline float bridge_logaddexp(float a, float b) {
  if (a == b) return a + 0.693147181f;  // equal infinities too
  if (isnan(a) || isnan(b)) return a + b;
  return a > b ? a + bridge_log1p(precise::exp(b - a)) : b + bridge_log1p(precise::exp(a - b));
}
""",
    },
    # Conversions. Float to integer truncates towards zero, saturates, and makes 0 of NaN.
    "bridge_saturate": {
        "float": """\
template <typename T>
inline T bridge_saturate(float x) {
  const T most = numeric_limits<T>::max(), least = numeric_limits<T>::min();
  const float limit = float(most / 2 + 1) * 2, low = float(least);
  return x >= limit ? most : x <= low ? least : x > low ? T(x) : T(0);
}
""",
    },
    # float32 of an integer, rounded to odd: rounding it again, to half precision, is then one rounding.
    "bridge_odd": {
        "integer": """\
inline float bridge_odd(ulong x) {
  const int cut = max(40 - int(clz(x)), 0);
  const ulong kept = x >> cut;
  return float((kept | ulong((kept << cut) != x)) << cut);
}
inline float bridge_odd(long x) {
  const float size = bridge_odd(x < 0 ? 0 - ulong(x) : ulong(x));
  return x < 0 ? -size : size;
}
""",
    },
}

# What a definition calls; printed before it.
NEEDS: dict[tuple[str, Form], tuple[str, ...]] = {
    ("bridge_sign", "complex"): ("bridge_abs",),
    ("bridge_floor_divide", "float"): ("bridge_rest",),
    ("bridge_remainder", "float"): ("bridge_rest",),
    ("bridge_logaddexp", "float"): ("bridge_log1p",),
}
