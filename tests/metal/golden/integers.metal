#include <metal_stdlib>
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
using namespace metal;

template <typename T>
inline T bridge_floor_divide(T a, T b) {
  if (b == T(0)) return T(0);
  if (T(-1) < T(0) && b == T(-1)) return T(0 - ulong(a));  // the quotient of the least integer would overflow
  const T quotient = T(a / b), rest = T(a % b);
  return T(quotient - T(rest != T(0) && (rest < T(0)) != (b < T(0))));
}

template <typename T>
inline T bridge_right_shift(T a, T b) { return ulong(b) < 8 * sizeof(T) ? T(a >> b) : a < T(0) ? T(-1) : T(0); }

inline float bridge_odd(ulong x) {
  const int cut = max(40 - int(clz(x)), 0);
  const ulong kept = x >> cut;
  return float((kept | ulong((kept << cut) != x)) << cut);
}
inline float bridge_odd(long x) {
  const float size = bridge_odd(x < 0 ? 0 - ulong(x) : ulong(x));
  return x < 0 ? -size : size;
}

struct integers_arguments {
  long b_strides[1];
  long out1_strides[1];
  ulong c;
  uint size;
  uint shape[1];
};
kernel void integers(constant integers_arguments& arguments [[buffer(0)]],
    device const int* a_data [[buffer(1)]],
    device const int* b_data [[buffer(2)]],
    device bfloat* out0_data [[buffer(3)]],
    device uchar* out1_data [[buffer(4)]],
    uint index [[thread_position_in_grid]]) {
  if (index >= arguments.size) return;
  long b_at = 0, out1_at = 0;
  uint rest = index;
  const long at0 = rest;
  b_at += at0 * arguments.b_strides[0];
  out1_at += at0 * arguments.out1_strides[0];
  const int a = a_data[index];
  const int b = b_data[b_at];
  const ulong c = arguments.c;
  const int v0 = int(uint(a) * uint(b));
  const int v1 = int(bridge_floor_divide(v0, b));
  const ulong v2 = ulong(v1);
  const ulong v3 = ulong(bridge_right_shift(v2, c));
  const bfloat v4 = bfloat(bridge_odd(ulong(v3)));
  const bool v5 = bool(a < b);
  out0_data[index] = v4;
  out1_data[out1_at] = uchar(v5);
}
