// What conv.cpp asks of the code that is compiled once per SIMD level. Plain data and function pointers only, as in
// matmul_kernels.h, whose words (element, unit, accumulator, panel) are used here, too.
//
// A *line* is a run of output positions whose inputs lie at one distance from each other. Its sums go over *segments*:
// stretches of contiguous units of the input, each with as many rows of the weights. Offsets count units.
#pragma once
#include <cstdint>

namespace bridge::conv_detail {

struct Segment {
  int64_t a;  // from the first position's input
  int64_t b;  // row of the weights
  int64_t k;  // units; of `lanes` one row
};

struct Line {
  int64_t count;            // positions
  const void* a;            // units
  int64_t a_row;            // units from one position's input to the next one's
  const int32_t* blocks;    // segments of block p of the weights: [blocks[p], blocks[p + 1])
  const Segment* segments;
  void* out;                // elements
  int64_t out_row;          // elements from one position's result to the next one's
};

// out[position, 0..n) = segments of a @ b. b: panels of nr columns, `panel` units each.
struct Tiles {
  const Line* lines;
  int64_t n_lines, n_blocks, n;
  const void* b;
  int64_t panel;
  void* sums;               // room for nr accumulators a position of all lines
  int64_t a_shift, out_shift;  // of every line: units, elements
};

// out[position, j] = sum over segments of a[position, segment, j] * b[segment, j] for j < n: every channel by itself.
// Rows of a and b are `pitch` units, a multiple of a vector; what lies past n is read and not used.
struct Lanes {
  Line line;
  int64_t n_segments, n;
  const void* b;
  int64_t pitch;
};

struct Kernels {
  void (*tiles)(const Tiles&);
  void (*lanes)(const Lanes&);  // nullptr for complex numbers
  void (*widen)(const void* elements, void* units, int64_t n);
};

}  // namespace bridge::conv_detail

namespace bridge {

#define BRIDGE_CONV_TABLE(level)                    \
  namespace level {                                 \
  extern const conv_detail::Kernels conv_kernels[]; \
  }
BRIDGE_CONV_TABLE(isa_v2)
BRIDGE_CONV_TABLE(isa_v3)
BRIDGE_CONV_TABLE(isa_v4)
BRIDGE_CONV_TABLE(isa_neon)
BRIDGE_CONV_TABLE(isa_generic)
#undef BRIDGE_CONV_TABLE

}  // namespace bridge
