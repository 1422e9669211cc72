// What a cumulative operation accumulates: an accumulator, how it takes an element or another accumulator, and the result
// that it stands for. `start` is the accumulator of nothing, and `empty` the result of an exclusive scan there.
#pragma once
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>

namespace bridge::scanning {

template <class T>
struct Pair {  // a complex number
  T real, imag;
};
template <class T>
inline constexpr bool kComplex = false;
template <class T>
inline constexpr bool kComplex<Pair<T>> = true;

// Real floats are accumulated in float64, complex numbers in complex128, integers in their own width.
template <class T>
struct WideOf {
  using type = T;
};
template <>
struct WideOf<float> {
  using type = double;
};
template <>
struct WideOf<Pair<float>> {
  using type = Pair<double>;
};
template <class T>
using Wide = typename WideOf<T>::type;

template <class To, class From>
To convert(From x) {
  if constexpr (kComplex<To>)
    return {static_cast<decltype(To::real)>(x.real), static_cast<decltype(To::imag)>(x.imag)};
  else
    return static_cast<To>(x);
}

template <class T>
struct Sum {
  using Element = T;
  using Accumulator = Wide<T>;
  using A = Accumulator;
  static A start() {  // -0 keeps the sign of a sum of negative zeros
    if constexpr (kComplex<T>)
      return {-0.0, -0.0};
    else
      return std::is_floating_point_v<T> ? static_cast<A>(-0.0) : A{0};
  }
  static T empty() { return T{}; }
  static A combine(A a, A b) {
    if constexpr (kComplex<T>)
      return {a.real + b.real, a.imag + b.imag};
    else
      return static_cast<A>(a + b);
  }
  static A step(A a, T x) { return combine(a, convert<A>(x)); }
  static T result(A a) { return convert<T>(a); }
};

template <class T>
struct Product {
  using Element = T;
  using Accumulator = Wide<T>;
  using A = Accumulator;
  static A start() {
    if constexpr (kComplex<T>)
      return {1, 0};
    else
      return A{1};
  }
  static T empty() { return convert<T>(start()); }
  static A combine(A a, A b) {
    if constexpr (kComplex<T>)
      return {a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real};
    else if constexpr (sizeof(T) == 2)
      return static_cast<A>(static_cast<uint32_t>(a) * b);  // as int it could overflow
    else
      return static_cast<A>(a * b);
  }
  static A step(A a, T x) { return combine(a, convert<A>(x)); }
  static T result(A a) { return convert<T>(a); }
};

template <class T>
bool is_nan(T x) {
  if constexpr (kComplex<T>)
    return x.real != x.real || x.imag != x.imag;
  else
    return x != x;
}

// Largest (kSign 1) or smallest (-1) so far; the first NaN wins and stays. Complex numbers compare by real part, then by
// imaginary part.
template <class T, int kSign>
struct Extreme {
  using Element = T;
  using Accumulator = T;
  static bool beyond(auto a, auto b) { return kSign > 0 ? a > b : a < b; }
  static T start() {
    if constexpr (kComplex<T>) {
      using Part = decltype(T::real);
      const Part worst = Extreme<Part, kSign>::start();
      return {worst, worst};
    } else {
      using Limits = std::numeric_limits<T>;
      if constexpr (Limits::has_infinity) return kSign > 0 ? -Limits::infinity() : Limits::infinity();
      return kSign > 0 ? Limits::lowest() : Limits::max();
    }
  }
  static T empty() { return start(); }
  static T combine(T a, T b) {
    if constexpr (kComplex<T>) {
      if (is_nan(a)) return a;
      return is_nan(b) || beyond(b.real, a.real) || (b.real == a.real && beyond(b.imag, a.imag)) ? b : a;
    } else if constexpr (std::is_floating_point_v<T>) {
      return beyond(b, a) | ((b != b) & (a == a)) ? b : a;
    } else {
      return beyond(b, a) ? b : a;
    }
  }
  static T step(T a, T x) { return combine(a, x); }
  static T result(T a) { return a; }
};
template <class T>
using Maximum = Extreme<T, 1>;
template <class T>
using Minimum = Extreme<T, -1>;

// log(sum(exp(x))): the largest real part so far, and the sum of what is left of each power. A new maximum scales the sum.
template <class T>
struct LogSumExp {
  using Element = T;
  using Power = std::conditional_t<kComplex<T>, std::complex<double>, double>;
  struct Accumulator {
    double most;
    Power sum;
  };
  using A = Accumulator;
  static A start() { return {-std::numeric_limits<double>::infinity(), Power(0)}; }
  static T empty() { return result(start()); }
  static A combine(A a, A b) {
    if (a.most == b.most) return {a.most, a.sum + b.sum};  // also of two infinities
    if (b.most < a.most) return {a.most, a.sum + b.sum * std::exp(b.most - a.most)};
    return {b.most, a.sum * std::exp(a.most - b.most) + b.sum};  // also of a NaN, which is in the difference
  }
  static A step(A a, T x) {
    if constexpr (kComplex<T>)
      return combine(a, {static_cast<double>(x.real), std::polar(1.0, static_cast<double>(x.imag))});
    else
      return combine(a, {static_cast<double>(x), 1.0});
  }
  static T result(A a) {
    if constexpr (kComplex<T>) {
      using Part = decltype(T::real);
      if (a.sum == 0.0) return {-std::numeric_limits<Part>::infinity(), Part(0)};
      const Power power = std::log(a.sum);
      return {static_cast<Part>(a.most + power.real()), static_cast<Part>(power.imag())};
    } else {
      return static_cast<T>(a.most + std::log(a.sum));
    }
  }
};

}  // namespace bridge::scanning
