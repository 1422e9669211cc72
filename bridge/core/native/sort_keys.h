// Elements as unsigned keys: the order of the keys is the order of the elements. Equal elements (-0 and 0, all NaN) have
// equal keys, and NaN has the largest there is. Complex numbers go by real part, then by imaginary part; behind all
// others stand those with NaN as imaginary part, then those with NaN as real part, then those with both, as in NumPy.
#pragma once
#include <cstdint>
#include <type_traits>

#include "dtypes.h"

namespace bridge::sorting {

template <class U>
inline constexpr U kTop = static_cast<U>(U{1} << (8 * sizeof(U) - 1));

template <class U>
struct Unsigned {
  using Raw = U;  // an element's bits
  using Key = U;
  static constexpr bool kExact = true;  // every element has a key of its own
  static Key key(Raw x) { return x; }
  static bool is_last(Key) { return false; }
};

template <class U>
struct Signed {
  using Raw = U;
  using Key = U;
  static constexpr bool kExact = true;
  static Key key(Raw x) { return x ^ kTop<U>; }
  static bool is_last(Key) { return false; }
};

template <class U, U kInfinity>
struct Floating {
  using Raw = U;
  using Key = U;
  static constexpr bool kExact = false;
  static constexpr Key kNan = static_cast<Key>(~U{0});
  static bool is_last(Key k) { return k == kNan; }
  static bool is_nan(Raw x) { return static_cast<U>(x & ~kTop<U>) > kInfinity; }
  static Key key(Raw x) {
    const U magnitude = static_cast<U>(x & ~kTop<U>);
    const U negative = static_cast<U>(x >> (8 * sizeof(U) - 1));
    const U flip = static_cast<U>(static_cast<U>(-negative) | kTop<U>);
    const U key = magnitude == 0 ? kTop<U> : static_cast<U>(x ^ flip);
    return magnitude > kInfinity ? kNan : key;
  }
};
using Float16 = Floating<uint16_t, 0x7c00>;
using BFloat16 = Floating<uint16_t, 0x7f80>;
using Float32 = Floating<uint32_t, 0x7f800000>;
using Float64 = Floating<uint64_t, 0x7ff0000000000000>;

struct Wide {  // a key of 128 bits
  uint64_t high, low;
  friend bool operator<(Wide a, Wide b) { return a.high < b.high || (a.high == b.high && a.low < b.low); }
  friend bool operator==(Wide a, Wide b) { return a.high == b.high && a.low == b.low; }
};

template <class Part, class K>
struct Complex {
  struct Raw { typename Part::Raw real, imag; };
  using Key = K;
  using Half = typename Part::Key;
  static constexpr bool kExact = false;
  static Key join(Half high, Half low) {
    if constexpr (std::is_same_v<Key, Wide>)
      return {high, low};
    else
      return static_cast<Key>(high) << (8 * sizeof(Half)) | low;
  }
  static bool is_last(Key k) {
    if constexpr (std::is_same_v<Key, Wide>)
      return k.high >= Part::kNan - 2;
    else
      return k >> (8 * sizeof(Half)) >= Part::kNan - 2;
  }
  static Key key(Raw x) {
    const Half real = Part::key(x.real), imag = Part::key(x.imag);
    // Keys of numbers end well below that of NaN, so there is room for the three kinds with NaN.
    if (real == Part::kNan) return imag == Part::kNan ? join(Part::kNan, Part::kNan) : join(Part::kNan - 1, imag);
    return imag == Part::kNan ? join(Part::kNan - 2, real) : join(real, imag);
  }
};
using Complex64 = Complex<Float32, uint64_t>;
using Complex128 = Complex<Float64, Wide>;

inline Wide operator~(Wide k) { return {~k.high, ~k.low}; }

// The key of an element where the largest comes first; NaN stays behind all others.
template <class T>
typename T::Key key_of(typename T::Raw x, bool descending) {
  const typename T::Key key = T::key(x);
  return descending && !T::is_last(key) ? static_cast<typename T::Key>(~key) : key;
}

// f(Traits{}) for the element type. Held dtypes never come here.
template <class F>
auto with_traits(DType t, F&& f) {
  switch (t) {
    case DType::uint16: return f(Unsigned<uint16_t>{});
    case DType::uint32: return f(Unsigned<uint32_t>{});
    case DType::uint64: return f(Unsigned<uint64_t>{});
    case DType::int8: return f(Signed<uint8_t>{});
    case DType::int16: return f(Signed<uint16_t>{});
    case DType::int32: return f(Signed<uint32_t>{});
    case DType::int64: return f(Signed<uint64_t>{});
    case DType::float16: return f(Float16{});
    case DType::bfloat16: return f(BFloat16{});
    case DType::float32: return f(Float32{});
    case DType::float64: return f(Float64{});
    case DType::complex64: return f(Complex64{});
    case DType::complex128: return f(Complex128{});
    default: return f(Unsigned<uint8_t>{});  // bool, uint8
  }
}

}  // namespace bridge::sorting
