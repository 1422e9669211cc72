// Matrix product: the plain version, one loop nest for every dtype.
#include "matmul.h"

#include <cstring>
#include <vector>

namespace bridge {
namespace {

float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, body = h & 0x7fffu;
  uint32_t bits;
  if (body >= 0x7c00u) {
    bits = 0x7f800000u | ((body & 0x3ffu) << 13);
  } else if (body >= 0x400u) {
    bits = (body << 13) + 0x38000000u;
  } else {
    const float f = static_cast<float>(body) * 0x1p-24f;  // subnormal: exact
    std::memcpy(&bits, &f, 4);
  }
  bits |= sign;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

uint16_t float_to_half(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (bits >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (bits < 0x38800000u) {  // subnormal result: adding 0.5 leaves the rounded mantissa in the low bits
    float g;
    std::memcpy(&g, &bits, 4);
    g += 0.5f;
    std::memcpy(&bits, &g, 4);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13));
}

float bfloat_to_float(uint16_t b) {
  const uint32_t bits = static_cast<uint32_t>(b) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

uint16_t float_to_bfloat(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

struct Bool {  // or-of-ands
  uint8_t value;
  Bool operator*(Bool o) const { return {static_cast<uint8_t>(value & o.value)}; }
  Bool operator+(Bool o) const { return {static_cast<uint8_t>(value | o.value)}; }
};
template <class T>
struct Complex {  // four products: no recovery of infinities, as in BLAS
  T re, im;
  Complex operator*(Complex o) const { return {re * o.re - im * o.im, re * o.im + im * o.re}; }
  Complex operator+(Complex o) const { return {re + o.re, im + o.im}; }
};

template <class S, class C>
C widen(S x) { return static_cast<C>(x); }
template <class S, class C>
S narrow(C x) { return static_cast<S>(x); }
Bool truth(uint8_t x) { return {static_cast<uint8_t>(x != 0)}; }
uint8_t byte(Bool x) { return x.value; }

template <class S>
S fetch(const void* data, int64_t at) {
  S x;
  std::memcpy(&x, static_cast<const char*>(data) + at * static_cast<int64_t>(sizeof(S)), sizeof(S));
  return x;
}

template <class S, class C, auto Widen, auto Narrow>
void product(int64_t m, int64_t n, int64_t k, Matrix a, Matrix b, void* out) {
  std::vector<C> row(static_cast<size_t>(n));
  for (int64_t i = 0; i < m; i++) {
    for (auto& x : row) x = C{};
    for (int64_t p = 0; p < k; p++) {
      const C x = Widen(fetch<S>(a.data, i * a.row_stride + p * a.col_stride));
      for (int64_t j = 0; j < n; j++) {
        const C y = Widen(fetch<S>(b.data, p * b.row_stride + j * b.col_stride));
        C& z = row[static_cast<size_t>(j)];
        z = static_cast<C>(z + x * y);
      }
    }
    for (int64_t j = 0; j < n; j++) {
      const S z = Narrow(row[static_cast<size_t>(j)]);
      std::memcpy(static_cast<char*>(out) + (i * n + j) * static_cast<int64_t>(sizeof(S)), &z, sizeof(S));
    }
  }
}

template <class S, class C>
constexpr auto plain = product<S, C, widen<S, C>, narrow<S, C>>;

}  // namespace

void matmul(DType dtype, int64_t m, int64_t n, int64_t k, Matrix a, Matrix b, void* c) {
  switch (dtype) {
    case DType::bool_: return product<uint8_t, Bool, truth, byte>(m, n, k, a, b, c);
    case DType::uint8:
    case DType::int8: return plain<uint8_t, uint32_t>(m, n, k, a, b, c);
    case DType::uint16:
    case DType::int16: return plain<uint16_t, uint32_t>(m, n, k, a, b, c);
    case DType::uint32:
    case DType::int32: return plain<uint32_t, uint32_t>(m, n, k, a, b, c);
    case DType::uint64:
    case DType::int64: return plain<uint64_t, uint64_t>(m, n, k, a, b, c);
    case DType::float16: return product<uint16_t, float, half_to_float, float_to_half>(m, n, k, a, b, c);
    case DType::bfloat16: return product<uint16_t, float, bfloat_to_float, float_to_bfloat>(m, n, k, a, b, c);
    case DType::float32: return plain<float, float>(m, n, k, a, b, c);
    case DType::float64: return plain<double, double>(m, n, k, a, b, c);
    case DType::complex64: return plain<Complex<float>, Complex<float>>(m, n, k, a, b, c);
    case DType::complex128: return plain<Complex<double>, Complex<double>>(m, n, k, a, b, c);
  }
}

}  // namespace bridge
