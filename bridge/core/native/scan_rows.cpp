// Cumulative operations (scan_rows.h). A block of a row is gone through piece by piece, each small enough for the cache;
// the first pass over long rows finds what each block adds up to, the second one starts every block with what stands
// before it. With inner axes the lanes of a tile go through the row side by side.
#include "scan_rows.h"

#include <cstring>
#include <memory>
#include <type_traits>

#include "pipeline.h"
#include "scan_ops.h"
#include "sort_radix.h"

namespace bridge::scanning {
namespace {

constexpr int64_t kPiece = 512;  // elements
constexpr int64_t kTile = 256;  // lanes
constexpr int64_t kBlock = 32 * 1024;  // elements of a block, about
constexpr int64_t kEnoughTasks = 32;  // with so many rows and tiles no row is cut
constexpr double kThreadsAbove = 60e3;  // nanoseconds on one thread
constexpr double kTaskNs = 10e3;

struct Job {
  const Rows& rows;
  int64_t n_blocks = 1, block = 0;  // of a row; block: positions
  int64_t tiles = 1;
  unsigned char* carries = nullptr;  // accumulators [outer][block][inner], if n_blocks > 1
};

struct
    Task {  // a tile of a block: element (i, l) stands at `first + i * step + l`, counted from the beginning of the array
  int64_t first, step, n, lanes;
  int64_t carry;  // index of its first accumulator
};

Task make_task(const Job& job, int64_t index) {
  const Rows& r = job.rows;
  const int64_t tile = index % job.tiles, block = index / job.tiles % job.n_blocks,
                o = index / job.tiles / job.n_blocks;
  Task t;
  const int64_t lane = tile * kTile, begin = block * job.block;
  t.lanes = r.inner - lane < kTile ? r.inner - lane : kTile;
  t.n = r.length - begin < job.block ? r.length - begin : job.block;
  const int64_t position = r.reverse ? r.length - 1 - begin : begin;
  t.first = (o * r.length + position) * r.inner + lane;
  t.step = r.reverse ? -r.inner : r.inner;
  t.carry = (o * job.n_blocks + block) * r.inner + lane;
  return t;
}

// Elements of memory as values to compute with: float16 and bfloat16 as float32.
template <class T>
struct Direct {
  const T* from;
  T* to;
  explicit Direct(const Rows& r) : from(reinterpret_cast<const T*>(r.from)), to(reinterpret_cast<T*>(r.to)) {}
  const T* read(int64_t at, int64_t) { return from + at; }
  T* write(int64_t at, int64_t) { return to + at; }
  void flush(int64_t, int64_t) {}
};
struct Halves {
  const unsigned char* from;
  unsigned char* to;
  bool brain;  // bfloat16
  alignas(64) float in[kPiece];
  alignas(64) float out[kPiece];
  explicit Halves(const Rows& r) : from(r.from), to(r.to), brain(r.dtype == DType::bfloat16) {}
  const float* read(int64_t at, int64_t n) {
    pipeline::strips().widen[brain](in, from + 2 * at, nullptr, nullptr, n);
    return in;
  }
  float* write(int64_t, int64_t) { return out; }
  void flush(int64_t at, int64_t n) { pipeline::strips().narrow[brain](to + 2 * at, out, nullptr, nullptr, n); }
};

// Calls body(i, n, at): positions i to i + n of the task in a piece that begins in memory at `at`.
template <class F>
void over_pieces(const Task& t, F&& body) {
  for (int64_t i = 0; i < t.n; i += kPiece) {
    const int64_t n = t.n - i < kPiece ? t.n - i : kPiece;
    body(n, t.step > 0 ? t.first + i : t.first - i - (n - 1));
  }
}

// ---- what a block adds up to
constexpr int kChains = 8;  // of additions that need not wait for each other

template <class Op, class Memory>
void total_of_row(const Task& t, Memory& memory, typename Op::Accumulator* to) {
  using A = typename Op::Accumulator;
  A chains[kChains];
  for (A& chain : chains) chain = Op::start();
  over_pieces(t, [&](int64_t n, int64_t at) {
    const auto* x = memory.read(at, n);
    int64_t i = 0;
    for (; i + kChains <= n; i += kChains)
      for (int k = 0; k < kChains; ++k) chains[k] = Op::step(chains[k], x[i + k]);
    for (; i < n; ++i) chains[0] = Op::step(chains[0], x[i]);
  });
  for (int width = kChains / 2; width > 0; width /= 2)
    for (int k = 0; k < width; ++k) chains[k] = Op::combine(chains[k], chains[k + width]);
  *to = chains[0];
}

template <class Op, class Memory>
void total_of_lanes(const Task& t, Memory& memory, typename Op::Accumulator* to) {
  for (int64_t l = 0; l < t.lanes; ++l) to[l] = Op::start();
  for (int64_t i = 0; i < t.n; ++i) {
    const auto* x = memory.read(t.first + i * t.step, t.lanes);
    for (int64_t l = 0; l < t.lanes; ++l) to[l] = Op::step(to[l], x[l]);
  }
}

// ---- the results of a block
template <class Op, bool kInclusive>
struct Walk {
  using A = typename Op::Accumulator;
  using T = typename Op::Element;
  static void one(A& a, const T& x, T& y) {
    const T value = x;
    if constexpr (!kInclusive) y = Op::result(a);
    a = Op::step(a, value);
    if constexpr (kInclusive) y = Op::result(a);
  }

  template <class Memory>
  static void row(const Task& t, Memory& memory, A a) {
    over_pieces(t, [&](int64_t n, int64_t at) {
      const T* x = memory.read(at, n);
      T* y = memory.write(at, n);
      if (t.step > 0)
        for (int64_t i = 0; i < n; ++i) one(a, x[i], y[i]);
      else
        for (int64_t i = n; i-- > 0;) one(a, x[i], y[i]);
      memory.flush(at, n);
    });
  }

  template <class Memory>
  static void lanes(const Task& t, Memory& memory, A* __restrict a) {
    for (int64_t i = 0; i < t.n; ++i) {
      const int64_t at = t.first + i * t.step;
      const T* __restrict x = memory.read(at, t.lanes);
      T* __restrict y = memory.write(at, t.lanes);
      for (int64_t l = 0; l < t.lanes; ++l) one(a[l], x[l], y[l]);
      memory.flush(at, t.lanes);
    }
  }
};

template <class Op, class Memory>
struct Runner {
  using A = typename Op::Accumulator;
  using T = typename Op::Element;

  static A* carries(const Job& job) { return reinterpret_cast<A*>(job.carries); }

  static void totals(const Job& job, int64_t begin, int64_t end) {
    Memory memory(job.rows);
    for (int64_t index = begin; index < end; ++index) {
      const Task t = make_task(job, index);
      if (index / job.tiles % job.n_blocks == job.n_blocks - 1) continue;  // nothing comes after it
      if (job.rows.inner == 1)
        total_of_row<Op>(t, memory, carries(job) + t.carry);
      else
        total_of_lanes<Op>(t, memory, carries(job) + t.carry);
    }
  }

  // Totals of the blocks become what stands before each block.
  static void carry(const Job& job) {
    const int64_t inner = job.rows.inner;
    for (int64_t o = 0; o < job.rows.outer; ++o)
      for (int64_t l = 0; l < inner; ++l) {
        A before = Op::start();
        for (int64_t b = 0; b < job.n_blocks; ++b) {
          A& at = carries(job)[(o * job.n_blocks + b) * inner + l];
          const A after = b + 1 < job.n_blocks ? Op::combine(before, at) : before;  // the last block has no total
          at = before;
          before = after;
        }
      }
  }

  template <bool kInclusive>
  static void results(const Job& job, int64_t begin, int64_t end) {
    Memory memory(job.rows);
    A accumulators[kTile];
    for (int64_t index = begin; index < end; ++index) {
      const Task t = make_task(job, index);
      for (int64_t l = 0; l < t.lanes; ++l)
        accumulators[l] = job.n_blocks > 1 ? carries(job)[t.carry + l] : Op::start();
      if (job.rows.inner == 1)
        Walk<Op, kInclusive>::row(t, memory, accumulators[0]);
      else
        Walk<Op, kInclusive>::lanes(t, memory, accumulators);
      if (!kInclusive && index / job.tiles % job.n_blocks == 0) put_empty(t, memory);
    }
  }
  static void put_empty(const Task& t, Memory& memory) {
    T* y = memory.write(t.first, t.lanes);
    for (int64_t l = 0; l < t.lanes; ++l) y[l] = Op::empty();
    memory.flush(t.first, t.lanes);
  }
};

// ---- all tasks
using TaskFn = void (*)(const Job&, int64_t begin, int64_t end);

struct Functions {
  TaskFn totals, inclusive, exclusive;
  void (*carry)(const Job&);
  size_t accumulator;  // bytes
};

template <class Op, class Memory>
Functions functions_of() {
  using R = Runner<Op, Memory>;
  return {R::totals, R::template results<true>, R::template results<false>, R::carry, sizeof(typename Op::Accumulator)};
}

template <template <class> class Op>
Functions of_inexact(DType t) {
  switch (t) {
    case DType::float16:
    case DType::bfloat16: return functions_of<Op<float>, Halves>();
    case DType::float32: return functions_of<Op<float>, Direct<float>>();
    case DType::float64: return functions_of<Op<double>, Direct<double>>();
    case DType::complex64: return functions_of<Op<Pair<float>>, Direct<Pair<float>>>();
    default: return functions_of<Op<Pair<double>>, Direct<Pair<double>>>();
  }
}
// Signed integers as unsigned ones: sums and products wrap.
template <template <class> class Op>
Functions of_wrapping(DType t) {
  if (kind(t) == Kind::floating || kind(t) == Kind::complex) return of_inexact<Op>(t);
  switch (itemsize(t)) {
    case 1: return functions_of<Op<uint8_t>, Direct<uint8_t>>();
    case 2: return functions_of<Op<uint16_t>, Direct<uint16_t>>();
    case 4: return functions_of<Op<uint32_t>, Direct<uint32_t>>();
    default: return functions_of<Op<uint64_t>, Direct<uint64_t>>();
  }
}
template <template <class> class Op>
Functions of_ordered(DType t) {
  switch (t) {
    case DType::bool_: return functions_of<Op<bool>, Direct<bool>>();
    case DType::uint8: return functions_of<Op<uint8_t>, Direct<uint8_t>>();
    case DType::uint16: return functions_of<Op<uint16_t>, Direct<uint16_t>>();
    case DType::uint32: return functions_of<Op<uint32_t>, Direct<uint32_t>>();
    case DType::uint64: return functions_of<Op<uint64_t>, Direct<uint64_t>>();
    case DType::int8: return functions_of<Op<int8_t>, Direct<int8_t>>();
    case DType::int16: return functions_of<Op<int16_t>, Direct<int16_t>>();
    case DType::int32: return functions_of<Op<int32_t>, Direct<int32_t>>();
    case DType::int64: return functions_of<Op<int64_t>, Direct<int64_t>>();
    default: return of_inexact<Op>(t);
  }
}

Functions find_functions(const Rows& r) {
  switch (r.scan) {
    case Scan::sum: return of_wrapping<Sum>(r.dtype);
    case Scan::prod: return of_wrapping<Product>(r.dtype);
    case Scan::max: return of_ordered<Maximum>(r.dtype);
    case Scan::min: return of_ordered<Minimum>(r.dtype);
    default: return of_inexact<LogSumExp>(r.dtype);
  }
}

double element_ns(const Rows& r) {
  const double each = r.scan == Scan::logsumexp ? 20 : r.inner > 4 ? 0.4 : 1;
  return kind(r.dtype) == Kind::complex ? 2 * each : each;
}

void run_tasks(const Job& job, TaskFn fn) {
  const Rows& r = job.rows;
  const int64_t n = r.outer * job.n_blocks * job.tiles;
  const double total = estimate_ns(r);
  if (total < kThreadsAbove) return fn(job, 0, n);
  const auto least = static_cast<int64_t>(kTaskNs * static_cast<double>(n) / total) + 1;
  const int64_t grain = n / (8 * thread_count());
  auto body = [&](int64_t begin, int64_t end) { fn(job, begin, end); };
  sorting::in_parallel(n, grain > least ? grain : least, body);
}

}  // namespace

double estimate_ns(const Rows& r) { return element_ns(r) * static_cast<double>(r.outer * r.length * r.inner); }

void run(const Rows& r) {
  if (r.outer * r.length * r.inner == 0) return;
  const Functions functions = find_functions(r);
  Job job{r};
  job.tiles = (r.inner + kTile - 1) / kTile;
  job.block = r.length;
  const int64_t width = r.inner < kTile ? r.inner : kTile, tasks = r.outer * job.tiles;
  std::unique_ptr<unsigned char[]> carries;
  if (tasks < kEnoughTasks && r.length * width >= 2 * kBlock) {
    job.block = kBlock / width;
    job.n_blocks = (r.length + job.block - 1) / job.block;
    const auto bytes = static_cast<size_t>(r.outer * job.n_blocks * r.inner) * functions.accumulator;
    carries = std::make_unique_for_overwrite<unsigned char[]>(bytes);
    job.carries = carries.get();
    run_tasks(job, functions.totals);
    functions.carry(job);
  }
  run_tasks(job, r.inclusive ? functions.inclusive : functions.exclusive);
}

}  // namespace bridge::scanning
