#include <metal_stdlib>
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
using namespace metal;

inline float bridge_log1p(float x) {
  const float u = 1 + x;
  if (u == 1) return x;
  return abs(x) < 1 ? precise::log(u) * x / (u - 1) : precise::log(u);
}

inline float bridge_logaddexp(float a, float b) {
  if (a == b) return a + 0.693147181f;  // equal infinities too
  if (isnan(a) || isnan(b)) return a + b;
  return a > b ? a + bridge_log1p(precise::exp(b - a)) : b + bridge_log1p(precise::exp(a - b));
}

struct scalar_space_arguments {
  uint size;
  float b;
};
kernel void scalar_space(constant scalar_space_arguments& arguments [[buffer(0)]],
    device const float* a_data [[buffer(1)]],
    device float* out0_data [[buffer(2)]],
    uint index [[thread_position_in_grid]]) {
  if (index >= arguments.size) return;
  long a_at = 0;
  const float a = a_data[a_at];
  const float b = arguments.b;
  const float v0 = float(bridge_logaddexp(a, b));
  out0_data[index] = v0;
}
