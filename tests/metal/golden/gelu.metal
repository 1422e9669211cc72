#include <metal_stdlib>
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
using namespace metal;

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

struct gelu_arguments {
  uint size;
  float b;
  float c;
  float d;
};
kernel void gelu(constant gelu_arguments& arguments [[buffer(0)]],
    device const float* a_data [[buffer(1)]],
    device float* out0_data [[buffer(2)]],
    uint index [[thread_position_in_grid]]) {
  if (index >= arguments.size) return;
  const float a = a_data[index];
  const float b = arguments.b;
  const float c = arguments.c;
  const float d = arguments.d;
  const float v0 = float(a * b);
  const float v1 = float(a * c);
  const float v2 = float(bridge_erf(v1));
  const float v3 = float(v2 + d);
  const float v4 = float(v0 * v3);
  out0_data[index] = v4;
}
