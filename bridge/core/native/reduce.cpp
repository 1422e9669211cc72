// Reductions with a fused prologue. The axes are ordered (outer kept..., reduced..., inner kept...), so that the value of
// flat index (o * R + r) * I + i goes to result o * I + i. Two shapes remain:
//   rows   (I == 1): the reduced axes are innermost; rows of R values are reduced strip by strip
//   folds  (I > 1):  strips along the inner kept axes are accumulated elementwise
// Blocks and strips are cut by the shape alone and combined in order, so the result does not depend on the number of
// threads; real sums run in float64 (float32 and the half types round once, at the end).
#include <cstring>
#include <memory>

#include "isa.h"
#include "pipeline.h"
#include "reduce_table.h"
#include "threads.h"

namespace bridge::pipeline {

#define BRIDGE_ISA_TABLE(name)           \
  namespace name {                       \
  extern const ReduceTable reduce_table; \
  }
#if defined(__x86_64__)
BRIDGE_ISA_TABLE(isa_v2)
BRIDGE_ISA_TABLE(isa_v3)
BRIDGE_ISA_TABLE(isa_v4)
#elif defined(__aarch64__)
BRIDGE_ISA_TABLE(isa_neon)
#else
BRIDGE_ISA_TABLE(isa_generic)
#endif

namespace {

const ReduceTable& table() {
#if defined(__x86_64__)
  switch (isa()) {
    case Isa::v4: return isa_v4::reduce_table;
    case Isa::v3: return isa_v3::reduce_table;
    default: return isa_v2::reduce_table;
  }
#elif defined(__aarch64__)
  return isa_neon::reduce_table;
#else
  return isa_generic::reduce_table;
#endif
}

constexpr int64_t kBlock = 64 * 1024;  // values that one partial result covers, about
constexpr int64_t kMaxBlocks = 4096;  // of one result
constexpr double kThreadsAbove = 60e3;  // nanoseconds on one thread
constexpr double kTaskNs = 10e3;  // of the work between two looks at the queue

DType accumulator_dtype(Reduce reduce, DType strip) {
  switch (reduce) {
    case Reduce::sum:
    case Reduce::prod:
      switch (kind(strip)) {
        case Kind::floating: return DType::float64;
        case Kind::complex: return DType::complex128;
        case Kind::signed_integer: return DType::int64;
        default: return DType::uint64;
      }
    case Reduce::all:
    case Reduce::any: return DType::bool_;
    default: return strip;
  }
}

struct Reduction {
  const KernelSpec& spec;
  Plan plan;
  int64_t outer = 1, length = 1, inner = 1;  // extents of the three groups of axes
  DType strip, accumulator;
  RowsFn rows, rows_again;  // of values; of accumulators
  RowsFn strips;  // what a strip of a longer row is reduced with: of places the extreme alone
  FoldFn fold, fold_again;
  bool places;  // argmax, argmin
  int64_t accumulator_size, out_size;
  int64_t n_blocks = 1, block = 0;  // per result; of the reduced axes
  // Partial results [outer][block][inner], only if n_blocks > 1.
  std::unique_ptr<char[]> partial;
  std::unique_ptr<int64_t[]> partial_index;

  explicit Reduction(const KernelSpec& s) : spec(s) {}
};

void order_axes(const KernelSpec& spec, Reduction& r, AxisOrder& order) {
  const auto reduced = [&](int i) { return (spec.reduce_axes >> i & 1) != 0; };
  int last_reduced = -1;
  for (int i = 0; i < spec.ndim; i++)
    if (reduced(i)) last_reduced = i;
  bool inner_kept = false;
  for (int i = last_reduced + 1; i < spec.ndim; i++) inner_kept |= spec.shape[i] != 1;
  order.n = 0;
  const auto append = [&](int axis, int group, int64_t& extent) {
    order.axis[order.n] = axis;
    order.group[order.n++] = group;
    extent *= spec.shape[axis];
  };
  for (int i = 0; i < spec.ndim; i++)
    if (!reduced(i) && (i < last_reduced || !inner_kept)) append(i, 0, r.outer);
  for (int i = 0; i < spec.ndim; i++)
    if (reduced(i)) append(i, 1, r.length);
  for (int i = last_reduced + 1; inner_kept && i < spec.ndim; i++) append(i, 2, r.inner);
}

// Converts accumulators (or places) to results at result index `at`.
void finish(const Reduction& r, int64_t at, int64_t n, const void* accumulators, const int64_t* index) {
  char* out = static_cast<char*>(r.spec.reduce_data) + at * r.out_size;
  const DType to = r.spec.reduce_out, from = r.places ? DType::int64 : r.accumulator;
  const char* source = r.places ? reinterpret_cast<const char*>(index) : static_cast<const char*>(accumulators);
  const StripFn cast = strips().cast[static_cast<int>(from)][static_cast<int>(to)];
  if (!is_half(to)) return cast(out, source, nullptr, nullptr, n);
  alignas(64) float wide[kStrip];
  for (int64_t done = 0; done < n; done += kStrip) {
    const int64_t count = n - done < kStrip ? n - done : kStrip;
    cast(wide, source + done * itemsize(from), nullptr, nullptr, count);
    strips().narrow[to == DType::bfloat16](out + done * 2, wide, nullptr, nullptr, count);
  }
}

// ---- rows: one accumulator a strip, then one a block
struct Partials {
  static constexpr int kCount = 256;
  alignas(64) char values[kCount * 16];
  int64_t index[kCount];
};

// Reduces values [begin, begin + n) of the space, which belong to one result, to one accumulator.
void reduce_run(const Reduction& r, Runner& runner, int64_t begin, int64_t n, void* accumulator, int64_t* index) {
  Partials partials;  // of places, `index` is where the strip begins
  int count = 0;
  const auto combine = [&] {
    int64_t winner = 0;
    alignas(16) char result[16];
    r.rows_again(result, &winner, partials.values, 1, count);
    std::memcpy(partials.values, result, static_cast<size_t>(r.accumulator_size));
    partials.index[0] = r.places ? partials.index[winner] : 0;
    count = 1;
  };
  for (int64_t done = 0; done < n; done += kStrip) {
    const int64_t length = n - done < kStrip ? n - done : kStrip;
    if (count == Partials::kCount) combine();
    const void* values = runner.values(begin + done, length);
    r.strips(partials.values + count * r.accumulator_size, nullptr, values, 1, length);
    if (r.places) partials.index[count] = done;
    count++;
  }
  if (count > 1) combine();
  std::memcpy(accumulator, partials.values, static_cast<size_t>(r.accumulator_size));
  if (!r.places) return;
  const int64_t strip = partials.index[0], length = n - strip < kStrip ? n - strip : kStrip;
  r.rows(accumulator, index, runner.values(begin + strip, length), 1, length);
  *index += strip;
}

// Short rows: several to a strip. [begin, end): results.
void reduce_short_rows(const Reduction& r, int64_t begin, int64_t end) {
  Runner runner(r.plan);
  const int64_t at_once = kStrip / r.length;
  alignas(64) char accumulators[kStrip * 16];
  int64_t index[kStrip];
  for (int64_t at = begin; at < end; at += at_once) {
    const int64_t rows = end - at < at_once ? end - at : at_once;
    const void* values = runner.values(at * r.length, rows * r.length);
    r.rows(accumulators, index, values, rows, r.length);
    finish(r, at, rows, accumulators, index);
  }
}

// Long rows. [begin, end): (result, block) pairs.
void reduce_long_rows(const Reduction& r, int64_t begin, int64_t end) {
  Runner runner(r.plan);
  for (int64_t task = begin; task < end; task++) {
    const int64_t result = task / r.n_blocks, at = task % r.n_blocks * r.block;
    const int64_t n = r.length - at < r.block ? r.length - at : r.block;
    alignas(16) char accumulator[16];
    int64_t index = 0;
    reduce_run(r, runner, result * r.length + at, n, accumulator, &index);
    index += at;
    if (r.n_blocks == 1) {
      finish(r, result, 1, accumulator, &index);
      continue;
    }
    std::memcpy(r.partial.get() + task * r.accumulator_size, accumulator, static_cast<size_t>(r.accumulator_size));
    if (r.places) r.partial_index[task] = index;
  }
}

void combine_rows(const Reduction& r) {
  for (int64_t result = 0; result < r.outer; result++) {
    alignas(16) char accumulator[16];
    int64_t winner = 0;
    r.rows_again(accumulator, &winner, r.partial.get() + result * r.n_blocks * r.accumulator_size, 1, r.n_blocks);
    if (r.places) winner = r.partial_index[result * r.n_blocks + winner];
    finish(r, result, 1, accumulator, &winner);
  }
}

// ---- folds
struct Accumulators {
  alignas(64) char values[kStrip * 16];
  int64_t index[kStrip];
};

// Results (o, i0 .. i0 + width) over reduced positions [r0, r1); several positions share a strip when the inner extent is small.
void fold_run(const Reduction& r, Runner& runner, int64_t o, int64_t i0, int64_t width, int64_t r0, int64_t r1,
              Accumulators& acc) {
  const int64_t flat = o * r.length * r.inner + i0;
  const int64_t at_once = width == r.inner && r.inner <= kStrip / 2 ? kStrip / r.inner : 1;
  for (int64_t at = r0; at < r1; at += at_once) {
    const int64_t positions = r1 - at < at_once ? r1 - at : at_once;
    const void* values = runner.values(flat + at * r.inner, positions * width);
    r.fold(acc.values, acc.index, values, positions * width, at - r0);
  }
  // The strip's positions in order: `index` holds the position of the strip's start.
  const int64_t used = r1 - r0 < at_once ? r1 - r0 : at_once;
  if (r.places) {
    for (int64_t p = 0; p < used; p++)
      for (int64_t i = 0; i < width; i++) acc.index[p * width + i] += r0 + p;
  }
  for (int64_t p = 1; p < used; p++) {
    char* next = acc.values + p * width * r.accumulator_size;
    if (!r.places) {
      r.fold_again(acc.values, nullptr, next, width, 1);
      continue;
    }
    for (int64_t i = 0; i < width; i++) {  // an earlier strip position may hold the later index
      alignas(16) char pair[2 * 16];
      const int64_t indices[2] = {acc.index[i], acc.index[p * width + i]};
      const bool swapped = indices[1] < indices[0];
      std::memcpy(pair + swapped * r.accumulator_size, acc.values + i * r.accumulator_size,
                  static_cast<size_t>(r.accumulator_size));
      std::memcpy(pair + !swapped * r.accumulator_size, next + i * r.accumulator_size,
                  static_cast<size_t>(r.accumulator_size));
      int64_t winner;
      alignas(16) char best[16];
      r.rows_again(best, &winner, pair, 1, 2);
      std::memcpy(acc.values + i * r.accumulator_size, best, static_cast<size_t>(r.accumulator_size));
      acc.index[i] = indices[winner ^ static_cast<int64_t>(swapped)];
    }
  }
}

int64_t tiles(const Reduction& r) { return (r.inner + kStrip - 1) / kStrip; }

// [begin, end): (outer, block, tile) triples.
void reduce_folds(const Reduction& r, int64_t begin, int64_t end) {
  Runner runner(r.plan);
  Accumulators acc;
  const int64_t n_tiles = tiles(r);
  for (int64_t task = begin; task < end; task++) {
    const int64_t tile = task % n_tiles, b = task / n_tiles % r.n_blocks, o = task / n_tiles / r.n_blocks;
    const int64_t i0 = tile * kStrip, width = r.inner - i0 < kStrip ? r.inner - i0 : kStrip;
    const int64_t r0 = b * r.block, r1 = r.length - r0 < r.block ? r.length : r0 + r.block;
    fold_run(r, runner, o, i0, width, r0, r1, acc);
    if (r.n_blocks == 1) {
      finish(r, o * r.inner + i0, width, acc.values, acc.index);
      continue;
    }
    const int64_t at = (o * r.n_blocks + b) * r.inner + i0;
    std::memcpy(r.partial.get() + at * r.accumulator_size, acc.values, static_cast<size_t>(width * r.accumulator_size));
    if (r.places) std::memcpy(&r.partial_index[at], acc.index, static_cast<size_t>(width) * sizeof(int64_t));
  }
}

void combine_folds(const Reduction& r) {
  Accumulators acc;
  for (int64_t o = 0; o < r.outer; o++)
    for (int64_t i0 = 0; i0 < r.inner; i0 += kStrip) {
      const int64_t width = r.inner - i0 < kStrip ? r.inner - i0 : kStrip;
      for (int64_t b = 0; b < r.n_blocks; b++) {
        const char* values = r.partial.get() + ((o * r.n_blocks + b) * r.inner + i0) * r.accumulator_size;
        r.fold_again(acc.values, acc.index, values, width, b);
      }
      if (r.places)
        for (int64_t i = 0; i < width; i++)
          acc.index[i] = r.partial_index[(o * r.n_blocks + acc.index[i]) * r.inner + i0 + i];
      finish(r, o * r.inner + i0, width, acc.values, acc.index);
    }
}

// ---- the whole
using TaskFn = void (*)(const Reduction&, int64_t begin, int64_t end);

void run_tasks(const Reduction& r, int64_t n_tasks, TaskFn fn) {
  const double total = element_ns(r.spec) * static_cast<double>(r.spec.size);
  if (total < kThreadsAbove) return fn(r, 0, n_tasks);
  const double each = total / static_cast<double>(n_tasks);
  int64_t grain = n_tasks / (8 * thread_count());
  const auto at_least = static_cast<int64_t>(kTaskNs / each);
  grain = grain > at_least ? grain : at_least;
  struct Job {
    const Reduction& r;
    TaskFn fn;
  } job{r, fn};
  parallel_for(
      n_tasks, grain < 1 ? 1 : grain,
      [](void* ctx, int64_t begin, int64_t end) {
        auto& j = *static_cast<Job*>(ctx);
        j.fn(j.r, begin, end);
      },
      &job);
}

// Blocks of the reduced axes, by the shape alone: enough of them to share out when there are few results.
void cut_blocks(Reduction& r) {
  const int64_t step = r.inner < kStrip ? r.inner : kStrip;  // values per reduced position of one task
  const int64_t tasks = r.outer * (r.inner == 1 ? 1 : tiles(r));
  r.block = r.length;
  if (tasks >= 64 || r.length * step < 2 * kBlock) return;
  int64_t block = kBlock / step;
  const int64_t most =
      r.inner == 1 ? kMaxBlocks : 256 / tasks + 1;  // folds keep a whole row of partial results a block
  if (r.length / block >= most) block = r.length / most + 1;
  if (r.inner == 1) block = (block + kStrip - 1) / kStrip * kStrip;
  r.block = block;
  r.n_blocks = (r.length + block - 1) / block;
  const int64_t partials = r.outer * r.n_blocks * r.inner;
  r.partial = std::make_unique_for_overwrite<char[]>(static_cast<size_t>(partials * r.accumulator_size));
  if (r.places) r.partial_index = std::make_unique_for_overwrite<int64_t[]>(static_cast<size_t>(partials));
}

// Sum 0, prod 1, all true, any false. (The others are refused before they come here.)
void fill_empty(const KernelSpec& spec) {
  int64_t results = 1;
  for (int i = 0; i < spec.ndim; i++)
    if (!(spec.reduce_axes >> i & 1)) results *= spec.shape[i];
  const uint8_t value = spec.reduce == Reduce::prod || spec.reduce == Reduce::all;
  alignas(16) char one[16];
  alignas(16) char element[16];
  strips().cast[static_cast<int>(DType::bool_)][static_cast<int>(spec.reduce_out)](one, &value, nullptr, nullptr, 1);
  std::memcpy(element, one, 16);
  if (is_half(spec.reduce_out)) strips().narrow[spec.reduce_out == DType::bfloat16](element, one, nullptr, nullptr, 1);
  const int size = static_cast<int>(itemsize(spec.reduce_out));
  copy_strided(static_cast<char*>(spec.reduce_data), size, element, 0, size, results);
}

}  // namespace

void run_reduction(const KernelSpec& spec) {
  if (spec.size == 0) return fill_empty(spec);
  Reduction r(spec);
  AxisOrder order;
  order_axes(spec, r, order);
  make_plan(r.plan, spec, order);
  const int kind = static_cast<int>(spec.reduce);
  r.strip = strip_dtype(spec.reduce_in);
  r.accumulator = accumulator_dtype(spec.reduce, r.strip);
  r.rows = table().rows[kind][static_cast<int>(r.strip)];
  r.fold = table().fold[kind][static_cast<int>(r.strip)];
  r.rows_again = table().rows[kind][static_cast<int>(r.accumulator)];
  r.fold_again = table().fold[kind][static_cast<int>(r.accumulator)];
  r.places = spec.reduce == Reduce::argmax || spec.reduce == Reduce::argmin;
  const Reduce extreme = spec.reduce == Reduce::argmax ? Reduce::max : Reduce::min;
  r.strips = r.places ? table().rows[static_cast<int>(extreme)][static_cast<int>(r.strip)] : r.rows;
  r.accumulator_size = itemsize(r.accumulator);
  r.out_size = itemsize(spec.reduce_out);
  if (r.inner > 1) {
    cut_blocks(r);
    run_tasks(r, r.outer * r.n_blocks * tiles(r), reduce_folds);
    if (r.n_blocks > 1) combine_folds(r);
  } else if (r.length <= kStrip / 2) {
    run_tasks(r, r.outer, reduce_short_rows);
  } else {
    cut_blocks(r);
    run_tasks(r, r.outer * r.n_blocks, reduce_long_rows);
    if (r.n_blocks > 1) combine_rows(r);
  }
}

}  // namespace bridge::pipeline
