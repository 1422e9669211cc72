#include <metal_stdlib>
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
using namespace metal;

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

inline float bridge_abs(bridge_complex a) {
  const float x = abs(a.re), y = abs(a.im), larger = x > y ? x : y, smaller = x > y ? y : x;
  if (isinf(x) || isinf(y)) return INFINITY;
  if (isnan(x) || isnan(y)) return NAN;
  if (larger == 0) return 0;
  const float ratio = smaller / larger;
  return larger * precise::sqrt(1 + ratio * ratio);
}

inline bridge_complex bridge_sign(bridge_complex a) {
  const float size = bridge_abs(a);
  if (size == 0) return {0, 0};
  return {a.re / size, a.im / size};
}

template <typename T>
inline T bridge_saturate(float x) {
  const T most = numeric_limits<T>::max(), least = numeric_limits<T>::min();
  const float limit = float(most / 2 + 1) * 2, low = float(least);
  return x >= limit ? most : x <= low ? least : x > low ? T(x) : T(0);
}

struct complex_arguments {
  uint size;
  bridge_complex b;
};
kernel void complex(constant complex_arguments& arguments [[buffer(0)]],
    device const bridge_complex* a_data [[buffer(1)]],
    device bridge_complex* out0_data [[buffer(2)]],
    device short* out1_data [[buffer(3)]],
    uint index [[thread_position_in_grid]]) {
  if (index >= arguments.size) return;
  const bridge_complex a = a_data[index];
  const bridge_complex b = arguments.b;
  const bridge_complex v0 = a / b;
  const float v1 = float(bridge_abs(v0));
  const bridge_complex v2 = bridge_sign(v0);
  const short v3 = short(bridge_saturate<short>(v1));
  out0_data[index] = v2;
  out1_data[index] = v3;
}
