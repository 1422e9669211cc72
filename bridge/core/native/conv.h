// Convolution of the CPU backend, channels last.
#pragma once
#include <cstdint>

#include "dtypes.h"

namespace bridge {

// One axis of space: out[o] = sum over taps k of padded[o * stride + k * kernel_step] * weight[k], where `padded` is the
// input with input_step - 1 zeros between neighbours and `low` zeros (a negative number cuts) in front.
struct ConvAxis {
  int64_t in = 1, out = 1, kernel = 1;
  int64_t stride = 1, low = 0, kernel_step = 1, input_step = 1;
  int64_t in_stride = 0;  // of the input's memory: elements, any sign
};

struct Convolution {
  DType dtype;
  int64_t batch, batch_stride;  // stride in elements
  int64_t in_channels, out_channels, groups;
  ConvAxis space[3];
  bool flip;  // taps in reverse order
};

// input[batch, space..., in_channels] with channels side by side; weight[out_channels, kernel..., in_channels / groups] and
// out[batch, space..., out_channels] dense row-major. Numbers only (no bool); float16 and bfloat16 accumulate in float32,
// integers wrap. The GIL need not be held. Throws std::bad_alloc only.
void convolve(const Convolution&, const void* input, const void* weight, void* out);

}  // namespace bridge
