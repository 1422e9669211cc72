// What matmul.cpp asks of the code that is compiled once per SIMD level. Plain data and function pointers only:
// this header is read by objects of different instruction sets, so it must not define anything inline.
//
// Words: an *element* is what a, b and c hold; a *unit* is an element as the kernels multiply it (float16 -> float,
// a pair of bfloat16 -> one unit of two k steps); an *accumulator* is an element of the running sum. A *panel* is
// k units of `mr` rows of a (or `nr` columns of b), side by side: unit (lane, p) lies at p * width + lane.
// All strides count elements (or units, or accumulators), of whatever the pointer points to.
#pragma once
#include <cstdint>

namespace bridge {
enum class DType : uint8_t;
}

namespace bridge::matmul_detail {

// Signed and unsigned integers wrap alike, so they share kernels.
enum class Product : uint8_t {
  boolean,
  int8,
  int16,
  int32,
  int64,
  float16,
  bfloat16,
  float32,
  float64,
  complex64,
  complex128,
  count
};

// One panel: `lanes` rows (or columns) of `k` elements become units, unit (lane, p) at p * pitch + lane. Lanes up to
// `width` (at most nr) and the missing half of a last unit are zero.
struct Pack {
  const void* source;
  int64_t lane_stride, k_stride;
  int64_t lanes, k;
  void* panel;
  int64_t width, pitch;
};

// c[rows, cols] = a @ b, or c += a @ b unless `first`, from packed panels; rows and cols may end inside a panel.
// When accumulators are not elements the sum waits in `partial` (one mr x nr tile after another, in the order of
// the panels) and c is written when `last` is set; `partial` may be null if the product is first and last at once.
struct Block {
  int64_t k;                         // units
  const void* a;                     // panels of mr rows, one after another
  const void* b;                     // panels of nr columns
  int64_t rows, cols;
  void* c;                           // elements
  int64_t row_stride, col_stride;    // of c
  void* partial;
  int64_t partial_row;               // tiles from one row of tiles to the next
  bool first, last;
};

// c[m, n] = a @ b, or c += it, straight from unpacked units. b and c have unit column stride. `readable` columns of b may be
// loaded; either readable or n is at least `lanes`.
struct Direct {
  int64_t m, n, k;
  const void* a;
  int64_t a_row, a_k;
  const void* b;
  int64_t b_k, readable;
  void* c;                           // accumulators
  int64_t c_row;
  bool accumulate;                   // n is a multiple of `lanes` then
};

// c[count] = x[k] @ b[k, count] for x in units and b in elements that are contiguous along one axis.
struct Vector {
  int64_t k, count;
  const void* x;
  const void* b;
  int64_t stride;                    // of the other axis of b
  void* c;                           // elements, dense
};

struct Kernels {
  int mr, nr, lanes;                 // rows and columns of a full tile; columns that fill one vector
  int depth;                         // units of k in a panel, at most: a panel of a stays in the first cache
  int group;                         // k steps in a unit
  int element_bytes, unit_bytes, sum_bytes;
  bool converts;                     // units are not elements: operands must go through pack()
  bool narrows;                      // accumulators are not elements: sums must go through store()
  void (*pack)(const Pack&);    // panels of b, and of a
  void (*pack_a)(const Pack&);  // the same function, unless panels of a look different
  void (*block)(const Block&);
  void (*direct)(const Direct&);
  void (*store)(const void* sums, int64_t sum_row, void* c, int64_t row_stride, int64_t col_stride, int64_t rows,
                int64_t cols);
  void (*combine_rows)(const Vector&);  // b contiguous along count
  void (*dot_columns)(const Vector&);   // b contiguous along k
};

// matmul.cpp. Of this processor; no bool_ or held dtype has another product's kernels.
Product product(DType dtype);
const Kernels& kernels(Product p);

}  // namespace bridge::matmul_detail

namespace bridge {

// One table per SIMD level, indexed by Product; the linker sees those that were compiled.
#define BRIDGE_MATMUL_TABLE(level)                      \
  namespace level {                                     \
  extern const matmul_detail::Kernels matmul_kernels[]; \
  }
BRIDGE_MATMUL_TABLE(isa_v2)
BRIDGE_MATMUL_TABLE(isa_v3)
BRIDGE_MATMUL_TABLE(isa_v4)
BRIDGE_MATMUL_TABLE(isa_neon)
BRIDGE_MATMUL_TABLE(isa_generic)
BRIDGE_MATMUL_TABLE(isa_v4_bf16)  // indexed by Bfloat16, less one; small products go through isa_v4
#undef BRIDGE_MATMUL_TABLE

// How bfloat16 is multiplied when panels are packed: converted to float32; by vdpbf16ps; by tiles (AMX).
enum class Bfloat16 { converted, pairs, tiles };
bool bfloat16_works(Bfloat16 way);  // on this processor, in this process
Bfloat16 bfloat16_way();            // the fastest that works
void set_bfloat16_way(Bfloat16 way);  // for tests

}  // namespace bridge
