// The matrix product: which kernel, in which order, on how many threads. The kernels are in matmul_isa.cpp.
//
// Four ways, chosen by dtype, shape and strides alone, so that the result does not depend on the number of threads:
//   lines   a vector times a matrix: b is read once, in the order of its memory
//   small   what must be converted or rearranged fits the stack
//   direct  b fits the second cache as it is: no packing
//   packed  everything else: panels of a and b are packed, then tiles of c are formed from them
// and matrices that are tall and very narrow are multiplied as c^T = b^T a^T.
#include "matmul.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>

#include "isa.h"
#include "matmul_kernels.h"
#include "memory.h"
#include "threads.h"

namespace bridge {

namespace matmul_detail {
Product product(DType dtype) {
  switch (dtype) {
    case DType::bool_: return Product::boolean;
    case DType::uint8:
    case DType::int8: return Product::int8;
    case DType::uint16:
    case DType::int16: return Product::int16;
    case DType::uint32:
    case DType::int32: return Product::int32;
    case DType::uint64:
    case DType::int64: return Product::int64;
    case DType::float16: return Product::float16;
    case DType::bfloat16: return Product::bfloat16;
    case DType::float32: return Product::float32;
    case DType::float64: return Product::float64;
    case DType::complex64: return Product::complex64;
    default: break;  // complex128; held dtypes do not get here
  }
  return Product::complex128;
}

const Kernels& kernels(Product p) {
  const int i = static_cast<int>(p);
  switch (isa()) {
#if defined(__x86_64__)
    case Isa::v2: return isa_v2::matmul_kernels[i];
    case Isa::v3: return isa_v3::matmul_kernels[i];
    case Isa::v4: return isa_v4::matmul_kernels[i];
    default: return isa_v2::matmul_kernels[i];
#elif defined(__aarch64__)
    default: return isa_neon::matmul_kernels[i];
#else
    default: return isa_generic::matmul_kernels[i];
#endif
  }
}
}  // namespace matmul_detail

namespace {

using matmul_detail::Block;
using matmul_detail::Direct;
using matmul_detail::Kernels;
using matmul_detail::kernels;
using matmul_detail::Pack;
using matmul_detail::Product;
using matmul_detail::product;
using matmul_detail::Vector;

constexpr int64_t kWide = 2048;  // rows and columns of c between two packings
constexpr int64_t kColumnBytes = 768 << 10;  // packed b that one task walks over: stays in the second cache
constexpr int64_t kSmall = 96 * 96 * 96;  // multiplications up to which packing into the stack pays
constexpr int64_t kSmallBytes = 16 << 10;  // of the stack for each of a, b and c
constexpr int64_t kDirectBytes = 512 << 10;  // b, unpacked
constexpr int64_t kDirectStride = 2048;  // bytes from row to row; wider ones crowd a few sets of the cache
constexpr int64_t kDirectDepth = 64;  // ... unless rows are this few
constexpr int64_t kDirectColumns =
    1024;  // bytes of a row of b that is narrow: packing a would cost much of the product
constexpr int64_t kDirectRows = 128 << 10;  // a, unpacked, of one task
constexpr int64_t kSerial = 400'000;  // multiplications below which threads do not pay
constexpr int64_t kBatchWork = 64 * 1024 * 1024;  // ... of one product of a batch from which it is cut up itself
constexpr int64_t kTasks = 4;  // for each thread, so that all finish together

// The kernels of packed products: bfloat16 has its own instruction on some processors.
const Kernels& packed_kernels(Product p) {
#if defined(__x86_64__)
  if (p == Product::bfloat16 && isa() == Isa::v4)
    if (const Bfloat16 way = bfloat16_way(); way != Bfloat16::converted)
      return isa_v4_bf16::matmul_kernels[static_cast<int>(way) - 1];
#endif
  return kernels(p);
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

struct Operand {  // a or b: strides in elements, data in bytes
  const char* data;
  int64_t row, col;
};
struct Target {
  char* data;
  int64_t row, col;
};

// Memory of the engine's allocator for the time of one product.
class Workspace {
 public:
  explicit Workspace(int64_t nbytes) : nbytes_(static_cast<size_t>(nbytes)), data_(allocate(nbytes_, &capacity_)) {}
  ~Workspace() { deallocate(data_, nbytes_, capacity_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  char* at(int64_t offset) const { return static_cast<char*>(data_) + offset; }

 private:
  size_t nbytes_, capacity_ = 0;
  void* data_;
};

// Splits [0, n) over the threads when there is work enough.
template <class F>
void parallel(int64_t n, int64_t multiplications, const F& body) {
  const int64_t tasks = multiplications < kSerial ? 1 : kTasks * thread_count();
  parallel_for(
      n, std::max<int64_t>(1, n / tasks),
      [](void* f, int64_t begin, int64_t end) { (*static_cast<const F*>(f))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// ---- lines -------------------------------------------------------------------------------------------------

// c[n] = x[k] @ b[k, n]. False when b is contiguous along neither axis.
bool vector_times_matrix(const Kernels& kern, int64_t n, int64_t k, const char* x, int64_t x_stride, Operand b,
                         char* c) {
  const bool by_rows = b.col == 1 || n == 1, by_columns = b.row == 1 || k == 1;
  if (!by_rows && !by_columns) return false;
  alignas(64) char small[4096];
  const int64_t x_bytes = k * kern.unit_bytes;
  const Workspace large(x_bytes > int64_t{sizeof small} ? x_bytes : 1);
  char* units = x_bytes > int64_t{sizeof small} ? large.at(0) : small;
  kern.pack({x, 1, x_stride, 1, k, units, 1, 1});
  const int64_t grain = 64;  // columns: the lines of c that two threads write never meet in the middle of a vector
  parallel(ceil_div(n, grain), n * k, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * grain, count = std::min(end * grain, n) - first;
    const Vector job{k,
                     count,
                     units,
                     b.data + first * b.col * kern.element_bytes,
                     by_rows ? b.row : b.col,
                     c + first * kern.element_bytes};
    by_rows ? kern.combine_rows(job) : kern.dot_columns(job);
  });
  return true;
}

// ---- small and direct --------------------------------------------------------------------------------------

// A row-major copy of [rows, cols] as units, `pitch` a row; columns up to the pitch are zero.
void to_units(const Kernels& kern, Operand from, int64_t rows, int64_t cols, char* to, int64_t pitch) {
  for (int64_t j = 0; j < pitch; j += kern.nr) {
    const int64_t width = std::min<int64_t>(kern.nr, pitch - j);
    kern.pack({from.data + j * from.col * kern.element_bytes, from.col, from.row, std::min(cols - j, width), rows,
               to + j * kern.unit_bytes, width, pitch});
  }
}

// False when the stack is too small for it.
bool small_product(const Kernels& kern, int64_t m, int64_t n, int64_t k, Operand a, Operand b, char* c) {
  const int64_t pitch = round_up(n, kern.lanes);
  if (m * n * k > kSmall || k * pitch * kern.unit_bytes > kSmallBytes) return false;
  if (kern.converts && m * k * kern.unit_bytes > kSmallBytes) return false;
  if (kern.narrows && m * pitch * kern.sum_bytes > kSmallBytes) return false;
  alignas(64) char a_units[kSmallBytes], b_units[kSmallBytes], sums[kSmallBytes];
  Direct job{m, n, k, a.data, a.row, a.col, b_units, pitch, pitch, c, n, false};
  to_units(kern, b, k, n, b_units, pitch);
  if (kern.converts) {
    to_units(kern, a, m, k, a_units, k);
    job.a = a_units, job.a_row = k, job.a_k = 1;
  }
  if (kern.narrows) job.c = sums, job.c_row = pitch;
  kern.direct(job);
  if (kern.narrows) kern.store(sums, pitch, c, n, 1, m, n);
  return true;
}

// False when the operands cannot be used where they are, or packing them is faster. When b has few columns, it is taken a
// stretch of rows at a time.
bool direct_product(const Kernels& kern, int64_t m, int64_t n, int64_t k, Operand a, Operand b, char* c) {
  const int64_t unit = kern.unit_bytes;
  const bool narrow = n * unit <= kDirectColumns && n % kern.lanes == 0;
  if (kern.converts || b.col != 1 || n < kern.lanes || (!narrow && k * n * unit > kDirectBytes)) return false;
  if (k > kDirectDepth && std::max(std::abs(a.col), std::abs(b.row)) * unit > kDirectStride) return false;
  const int64_t depth = std::min(k, ceil_div(k, ceil_div(k * n * unit, kDirectBytes)));
  const int64_t rows = round_up(std::clamp<int64_t>(kDirectRows / (depth * unit), 1, m), kern.mr), work = m * n * k;
  const int64_t wanted = work < kSerial ? 1 : kTasks * thread_count();
  const int64_t step = std::min(rows, round_up(ceil_div(m, wanted), kern.mr));
  parallel(ceil_div(m, step), work, [&](int64_t begin, int64_t end) {
    for (int64_t p = 0; p < k; p += depth) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t i = t * step;
        kern.direct({std::min(step, m - i), n, std::min(depth, k - p), a.data + (i * a.row + p * a.col) * unit, a.row,
                     a.col, b.data + p * b.row * unit, b.row, n, c + i * n * kern.sum_bytes, n, p > 0});
      }
    }
  });
  return true;
}

// ---- packed ------------------------------------------------------------------------------------------------

// Panels of one operand: `lanes` rows of a, or columns of b, `width` to a panel.
struct Panels {
  const char* source;
  int64_t lane_stride, k_stride;  // bytes
  int64_t lanes, width;
  char* panels;
  void (*pack)(const Pack&);
};

void pack_panels(const Kernels& kern, const Panels& p, int64_t k, int64_t begin, int64_t end) {
  const int64_t units = ceil_div(k, kern.group);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t lane = i * p.width;
    p.pack({p.source + lane * p.lane_stride * kern.element_bytes, p.lane_stride, p.k_stride,
            std::min(p.width, p.lanes - lane), k, p.panels + lane * units * kern.unit_bytes, p.width, p.width});
  }
}

void packed_product(const Kernels& kern, int64_t m, int64_t n, int64_t k, Operand a, Operand b, Target c) {
  const int64_t mr = kern.mr, nr = kern.nr, unit = kern.unit_bytes, element = kern.element_bytes;
  const int64_t depth_limit = int64_t{kern.depth} * kern.group;
  const int64_t depth = round_up(ceil_div(k, ceil_div(k, depth_limit)), kern.group);
  const int64_t units = depth / kern.group;
  const int64_t high = round_up(std::min(m, kWide), mr), wide = round_up(std::min(n, kWide), nr);
  const bool waits = kern.narrows && depth < k;
  const int64_t a_bytes = round_up(high * units * unit, 4096), b_bytes = round_up(wide * units * unit, 4096);
  const Workspace space(a_bytes + b_bytes + (waits ? high * wide * kern.sum_bytes : 0));

  for (int64_t j = 0; j < n; j += wide) {
    const int64_t cols = std::min(wide, n - j), b_panels = ceil_div(cols, nr);
    for (int64_t i = 0; i < m; i += high) {
      const int64_t rows = std::min(high, m - i), a_panels = ceil_div(rows, mr);
      for (int64_t p = 0; p < k; p += depth) {
        const int64_t steps = std::min(depth, k - p), work = rows * cols * steps, deep = ceil_div(steps, kern.group);
        const Panels pa{a.data + (i * a.row + p * a.col) * element, a.row, a.col, rows, mr, space.at(0), kern.pack_a};
        const Panels pb{
            b.data + (p * b.row + j * b.col) * element, b.col, b.row, cols, nr, space.at(a_bytes), kern.pack};
        parallel(b_panels, work, [&](int64_t begin, int64_t end) { pack_panels(kern, pb, steps, begin, end); });
        parallel(a_panels, work, [&](int64_t begin, int64_t end) { pack_panels(kern, pa, steps, begin, end); });

        // Tasks are rectangles of tiles: few columns, so that their part of b stays in the second cache, and as many
        // rows as leave every thread some tasks. Neighbours share the columns.
        const int64_t across = std::clamp<int64_t>(kColumnBytes / (nr * deep * unit), 1, b_panels);
        const int64_t column_tasks = ceil_div(b_panels, across);
        const int64_t wanted = work < kSerial ? 1 : kTasks * thread_count();
        const int64_t down = std::max<int64_t>(1, a_panels / ceil_div(wanted, column_tasks));
        const int64_t row_tasks = ceil_div(a_panels, down);
        parallel(column_tasks * row_tasks, work, [&](int64_t begin, int64_t end) {
          for (int64_t t = begin; t < end; ++t) {
            const int64_t r = t % row_tasks * down * mr, q = t / row_tasks * across * nr;
            Block job{};
            job.k = deep;
            job.a = pa.panels + r * deep * unit;
            job.b = pb.panels + q * deep * unit;
            job.rows = std::min(rows - r, down * mr);
            job.cols = std::min(cols - q, across * nr);
            job.c = c.data + ((i + r) * c.row + (j + q) * c.col) * element;
            job.row_stride = c.row;
            job.col_stride = c.col;
            job.partial_row = wide / nr;
            job.partial =
                waits ? space.at(a_bytes + b_bytes + (r / mr * job.partial_row + q / nr) * mr * nr * kern.sum_bytes)
                      : nullptr;
            job.first = p == 0;
            job.last = p + steps == k;
            kern.block(job);
          }
        });
      }
    }
  }
}

}  // namespace

void matmul(DType dtype, int64_t m, int64_t n, int64_t k, Matrix a, Matrix b, void* c) {
  if (m == 0 || n == 0) return;
  char* out = static_cast<char*>(c);
  if (k == 0) {
    std::memset(out, 0, static_cast<size_t>(m * n * itemsize(dtype)));
    return;
  }
  const Product p = product(dtype);
  const Kernels& kern = kernels(p);
  Operand left{static_cast<const char*>(a.data), a.row_stride, a.col_stride};
  Operand right{static_cast<const char*>(b.data), b.row_stride, b.col_stride};
  Operand left_t{left.data, left.col, left.row}, right_t{right.data, right.col, right.row};
  if (m == 1 && vector_times_matrix(kern, n, k, left.data, left.col, right, out)) return;
  if (n == 1 && vector_times_matrix(kern, m, k, right.data, right.row, left_t, out)) return;
  if (direct_product(kern, m, n, k, left, right, out) || small_product(kern, m, n, k, left, right, out)) return;
  const Kernels& big = packed_kernels(p);
  if (n < kern.lanes && m > n)
    packed_product(big, n, m, k, right_t, left_t, {out, 1, n});
  else
    packed_product(big, m, n, k, left, right, {out, n, 1});
}

void matmul_batch(DType dtype, int64_t count, int64_t m, int64_t n, int64_t k, void* c,
                  void (*operands)(void* context, int64_t i, Matrix* a, Matrix* b), void* context) {
  struct Run {
    void (*operands)(void*, int64_t, Matrix*, Matrix*);
    void* context;
    DType dtype;
    int64_t m, n, k;
    char* c;
    std::mutex lock{};
    std::exception_ptr error{};
    void one(int64_t i) {
      Matrix a, b;
      operands(context, i, &a, &b);
      matmul(dtype, m, n, k, a, b, c + i * m * n * itemsize(dtype));
    }
  } run{operands, context, dtype, m, n, k, static_cast<char*>(c)};
  const int64_t work = m * n * k;
  if (count < 2 || work >= kBatchWork || work * count < kSerial) {
    for (int64_t i = 0; i < count; ++i) run.one(i);
    return;
  }
  parallel_for(
      count, std::max<int64_t>(1, count / (kTasks * thread_count())),
      [](void* context, int64_t begin, int64_t end) {
        auto& r = *static_cast<Run*>(context);
        try {
          for (int64_t i = begin; i < end; ++i) r.one(i);
        } catch (...) {  // no memory, or the caller was told to stop inside of one product
          std::lock_guard guard(r.lock);
          r.error = std::current_exception();
        }
      },
      &run);
  if (run.error) std::rethrow_exception(run.error);
}

}  // namespace bridge
