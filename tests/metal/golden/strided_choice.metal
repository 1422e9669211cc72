#include <metal_stdlib>
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
using namespace metal;

struct strided_choice_arguments {
  long a_strides[2];
  long b_strides[2];
  uint size;
  uint shape[2];
  half c;
};
kernel void strided_choice(constant strided_choice_arguments& arguments [[buffer(0)]],
    device const uchar* a_data [[buffer(1)]],
    device const half* b_data [[buffer(2)]],
    device half* out0_data [[buffer(3)]],
    uint index [[thread_position_in_grid]]) {
  if (index >= arguments.size) return;
  long a_at = 0, b_at = 0;
  uint rest = index;
  const long at1 = rest % arguments.shape[1];
  rest /= arguments.shape[1];
  b_at += at1 * arguments.b_strides[1];
  const long at0 = rest;
  a_at += at0 * arguments.a_strides[0];
  b_at += at0 * arguments.b_strides[0];
  const bool a = a_data[a_at] != 0;
  const half b = b_data[b_at];
  const half c = arguments.c;
  const half v0 = half(a ? b : c);
  const half v1 = half(float(v0) * float(b));
  out0_data[index] = v1;
}
