// Strip loops of complex numbers that go beyond arithmetic: division, functions, order. complex64 functions are computed in complex128
// and rounded once. Compiled for the baseline only: the library calls dominate.
#include <cmath>
#include <complex>

#include "pipeline.h"

namespace bridge::pipeline {
namespace {

using Z = std::complex<double>;

template <class T, Z (*F)(const Z&)>
void loop1(void* d, const void* a, const void*, const void*, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const std::complex<T> x = static_cast<const std::complex<T>*>(a)[i];
    const Z y = F(Z(x.real(), x.imag()));
    static_cast<std::complex<T>*>(d)[i] = {static_cast<T>(y.real()), static_cast<T>(y.imag())};
  }
}
template <class T, Z (*F)(const Z&, const Z&)>
void loop2(void* d, const void* a, const void* b, const void*, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const std::complex<T> x = static_cast<const std::complex<T>*>(a)[i], y = static_cast<const std::complex<T>*>(b)[i];
    const Z z = F(Z(x.real(), x.imag()), Z(y.real(), y.imag()));
    static_cast<std::complex<T>*>(d)[i] = {static_cast<T>(z.real()), static_cast<T>(z.imag())};
  }
}
template <class T>
void loop_abs(void* d, const void* a, const void*, const void*, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const std::complex<T> x = static_cast<const std::complex<T>*>(a)[i];
    static_cast<T*>(d)[i] = std::hypot(x.real(), x.imag());
  }
}
template <class T, bool (*F)(const Z&, const Z&)>
void loop_compare(void* d, const void* a, const void* b, const void*, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const std::complex<T> x = static_cast<const std::complex<T>*>(a)[i], y = static_cast<const std::complex<T>*>(b)[i];
    static_cast<uint8_t*>(d)[i] = F(Z(x.real(), x.imag()), Z(y.real(), y.imag()));
  }
}

bool has_nan(const Z& z) { return z.real() != z.real() || z.imag() != z.imag(); }

// Lexicographic, as NumPy orders complex numbers: false when a NaN takes part in the decision.
bool less(const Z& a, const Z& b) {
  if (a.real() == b.real()) return a.imag() < b.imag();
  return a.real() < b.real() && a.imag() == a.imag() && b.imag() == b.imag();
}
bool less_equal(const Z& a, const Z& b) { return a.real() == b.real() ? a.imag() <= b.imag() : less(a, b); }
bool greater(const Z& a, const Z& b) { return less(b, a); }
bool greater_equal(const Z& a, const Z& b) { return less_equal(b, a); }
Z maximum(const Z& a, const Z& b) { return has_nan(a) || greater_equal(a, b) ? a : b; }
Z minimum(const Z& a, const Z& b) { return has_nan(a) || less_equal(a, b) ? a : b; }

// Smith's algorithm: no overflow of |b|^2.
Z divide(const Z& a, const Z& b) {
  const double br = std::fabs(b.real()), bi = std::fabs(b.imag());
  if (br >= bi) {
    if (br == 0 && bi == 0) return {a.real() / br, a.imag() / br};
    const double ratio = b.imag() / b.real(), scale = 1 / (b.real() + b.imag() * ratio);
    return {(a.real() + a.imag() * ratio) * scale, (a.imag() - a.real() * ratio) * scale};
  }
  const double ratio = b.real() / b.imag(), scale = 1 / (b.imag() + b.real() * ratio);
  return {(a.real() * ratio + a.imag()) * scale, (a.imag() * ratio - a.real()) * scale};
}
Z reciprocal(const Z& a) { return divide(Z(1), a); }
Z rsqrt(const Z& a) { return reciprocal(std::sqrt(a)); }
Z sign(const Z& a) {
  if (a == Z(0)) return Z(0);
  const double magnitude = std::hypot(a.real(), a.imag());
  return {a.real() / magnitude, a.imag() / magnitude};
}
Z scaled_log(const Z& a, double scale) {
  const Z y = std::log(a);
  return {y.real() * scale, y.imag() * scale};
}
Z log2(const Z& a) { return scaled_log(a, 1.44269504088896340735992468100189); }
Z log10(const Z& a) { return scaled_log(a, 0.434294481903251827651128918916605); }
// log|1+z| = log1p(2 re + |z|^2) / 2 keeps the digits of a small z.
Z log1p(const Z& a) {
  const double x = a.real(), y = a.imag();
  if (std::fabs(x) < 0.5 && std::fabs(y) < 0.5) return {0.5 * std::log1p(x * (2 + x) + y * y), std::atan2(y, 1 + x)};
  return std::log(Z(1 + x, y));
}
// e^z - 1 = expm1(x) cos y - 2 sin^2(y/2) + i e^x sin y
Z expm1(const Z& a) {
  if (!std::isfinite(a.real()) || !std::isfinite(a.imag())) return std::exp(a) - Z(1);
  const double half = std::sin(a.imag() / 2);
  const double im = a.imag() == 0 ? a.imag() : std::exp(a.real()) * std::sin(a.imag());
  return {std::expm1(a.real()) * std::cos(a.imag()) - 2 * half * half, im};
}
Z sigmoid(const Z& a) {
  if (a.real() < 0) {
    const Z e = std::exp(a);
    return divide(e, Z(1) + e);
  }
  return reciprocal(Z(1) + std::exp(-a));
}
Z rint(const Z& a) { return {std::rint(a.real()), std::rint(a.imag())}; }

// Small whole exponents by repeated multiplication (exact where the products are), others as exp(b log a).
Z power(const Z& a, const Z& b) {
  if (b == Z(0)) return Z(1);
  if (a == Z(0)) return b.real() > 0 ? Z(0) : Z(__builtin_nan(""), __builtin_nan(""));
  if (b.imag() == 0 && std::fabs(b.real()) <= 100 && std::rint(b.real()) == b.real()) {
    Z result = 1, factor = a;
    const auto times = [](const Z& x, const Z& y) {
      return Z(x.real() * y.real() - x.imag() * y.imag(), x.real() * y.imag() + x.imag() * y.real());
    };
    for (int e = static_cast<int>(std::fabs(b.real()));;) {
      if (e & 1) result = times(result, factor);
      if ((e >>= 1) == 0) break;
      factor = times(factor, factor);
    }
    return b.real() < 0 ? reciprocal(result) : result;
  }
  return std::pow(a, b);
}

#define BRIDGE_STD(name) \
  Z std_##name(const Z& a) { return std::name(a); }
BRIDGE_STD(sqrt)
BRIDGE_STD(exp)
BRIDGE_STD(log)
BRIDGE_STD(sin)
BRIDGE_STD(cos)
BRIDGE_STD(tan)
BRIDGE_STD(asin)
BRIDGE_STD(acos)
BRIDGE_STD(atan)
BRIDGE_STD(sinh)
BRIDGE_STD(cosh)
BRIDGE_STD(tanh)
BRIDGE_STD(asinh)
BRIDGE_STD(acosh)
BRIDGE_STD(atanh)
#undef BRIDGE_STD

template <class T>
void fill(StripTable& table, DType dtype) {
  const auto set = [&](StageId stage, StripFn fn) { table.stage[stage][static_cast<int>(dtype)] = fn; };
  set(kStage_abs, loop_abs<T>);
  set(kStage_sign, loop1<T, sign>);
  set(kStage_sqrt, loop1<T, std_sqrt>);
  set(kStage_rsqrt, loop1<T, rsqrt>);
  set(kStage_reciprocal, loop1<T, reciprocal>);
  set(kStage_exp, loop1<T, std_exp>);
  set(kStage_expm1, loop1<T, expm1>);
  set(kStage_log, loop1<T, std_log>);
  set(kStage_log2, loop1<T, log2>);
  set(kStage_log10, loop1<T, log10>);
  set(kStage_log1p, loop1<T, log1p>);
  set(kStage_sin, loop1<T, std_sin>);
  set(kStage_cos, loop1<T, std_cos>);
  set(kStage_tan, loop1<T, std_tan>);
  set(kStage_arcsin, loop1<T, std_asin>);
  set(kStage_arccos, loop1<T, std_acos>);
  set(kStage_arctan, loop1<T, std_atan>);
  set(kStage_sinh, loop1<T, std_sinh>);
  set(kStage_cosh, loop1<T, std_cosh>);
  set(kStage_tanh, loop1<T, std_tanh>);
  set(kStage_arcsinh, loop1<T, std_asinh>);
  set(kStage_arccosh, loop1<T, std_acosh>);
  set(kStage_arctanh, loop1<T, std_atanh>);
  set(kStage_sigmoid, loop1<T, sigmoid>);
  set(kStage_rint, loop1<T, rint>);
  set(kStage_divide, loop2<T, divide>);
  set(kStage_power, loop2<T, power>);
  set(kStage_maximum, loop2<T, maximum>);
  set(kStage_minimum, loop2<T, minimum>);
  set(kStage_less, loop_compare<T, less>);
  set(kStage_less_equal, loop_compare<T, less_equal>);
  set(kStage_greater, loop_compare<T, greater>);
  set(kStage_greater_equal, loop_compare<T, greater_equal>);
}

}  // namespace

void fill_complex(StripTable& table) {
  fill<float>(table, DType::complex64);
  fill<double>(table, DType::complex128);
}

}  // namespace bridge::pipeline
