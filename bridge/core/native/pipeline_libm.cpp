// Strip loops that call the C library per element: the functions of float64 for which the SIMD level has no vector form
// (pipeline_math64.inc). Compiled for the baseline only: the calls dominate.
#include <cmath>

#include "pipeline.h"

namespace bridge::pipeline {
namespace {

template <class T, T (*F)(T)>
void loop(void* d, const void* a, const void*, const void*, int64_t n) {
  for (int64_t i = 0; i < n; i++) static_cast<T*>(d)[i] = F(static_cast<const T*>(a)[i]);
}
template <class T, T (*F)(T, T)>
void loop(void* d, const void* a, const void* b, const void*, int64_t n) {
  for (int64_t i = 0; i < n; i++) static_cast<T*>(d)[i] = F(static_cast<const T*>(a)[i], static_cast<const T*>(b)[i]);
}

// e^-x overflows to infinity for very negative x, which gives the right 0; of the other form only subnormal results lose digits.
template <class T>
T sigmoid(T x) {
  const T e = std::exp(-std::fabs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}

// NumPy's rules: the sign of the divisor, also for a zero rest; x % 0 is NaN.
template <class T>
T remainder(T a, T b) {
  const T rest = std::fmod(a, b);
  if (b == 0) return rest;
  if (rest == 0) return std::copysign(T(0), b);
  return (b < 0) != (rest < 0) ? rest + b : rest;
}
template <class T>
T floor_divide(T a, T b) {
  if (b == 0) return a / b;
  const T rest = std::fmod(a, b);
  T quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(T(0), a / b);
  const T whole = std::floor(quotient);
  return quotient - whole > T(0.5) ? whole + 1 : whole;
}
template <class T>
T logaddexp(T a, T b) {
  if (a == b) return a + static_cast<T>(0.693147180559945309417232121458);  // equal infinities too
  const T difference = a - b;
  if (difference > 0) return a + std::log1p(std::exp(-difference));
  if (difference <= 0) return b + std::log1p(std::exp(difference));
  return difference;  // NaN
}

template <class T>
void fill(StripTable& table, DType dtype) {
  const auto set = [&](StageId stage, StripFn fn) {
    StripFn& entry = table.stage[stage][static_cast<int>(dtype)];
    if (entry == nullptr) entry = fn;
  };
  set(kStage_exp, loop<T, std::exp>);
  set(kStage_expm1, loop<T, std::expm1>);
  set(kStage_log, loop<T, std::log>);
  set(kStage_log2, loop<T, std::log2>);
  set(kStage_log10, loop<T, std::log10>);
  set(kStage_log1p, loop<T, std::log1p>);
  set(kStage_sin, loop<T, std::sin>);
  set(kStage_cos, loop<T, std::cos>);
  set(kStage_tan, loop<T, std::tan>);
  set(kStage_arcsin, loop<T, std::asin>);
  set(kStage_arccos, loop<T, std::acos>);
  set(kStage_arctan, loop<T, std::atan>);
  set(kStage_sinh, loop<T, std::sinh>);
  set(kStage_cosh, loop<T, std::cosh>);
  set(kStage_tanh, loop<T, std::tanh>);
  set(kStage_arcsinh, loop<T, std::asinh>);
  set(kStage_arccosh, loop<T, std::acosh>);
  set(kStage_arctanh, loop<T, std::atanh>);
  set(kStage_erf, loop<T, std::erf>);
  set(kStage_sigmoid, loop<T, sigmoid<T>>);
  set(kStage_floor_divide, loop<T, floor_divide<T>>);
  set(kStage_remainder, loop<T, remainder<T>>);
  set(kStage_power, loop<T, std::pow>);
  set(kStage_arctan2, loop<T, std::atan2>);
  set(kStage_logaddexp, loop<T, logaddexp<T>>);
  set(kStage_hypot, loop<T, std::hypot>);
}

}  // namespace

double distant_sine(double x) { return std::sin(x); }
double distant_cosine(double x) { return std::cos(x); }
double distant_tangent(double x) { return std::tan(x); }

void fill_libm(StripTable& table) { fill<double>(table, DType::float64); }

}  // namespace bridge::pipeline
