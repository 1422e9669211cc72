// Convolutions: which kernel, in which pieces, on how many threads. The kernels are in conv_isa.cpp.
//
// Four axes carry positions: the batch and up to three of space. One of them is the *tile axis*: a kernel's tile holds
// neighbours along it. A task computes a stretch of the tile axis for a band of the outer axis next to it. It copies what
// these meet of the input, padded and as units, into a buffer of its own (unless the kernels can read the input where it
// is), lists for every line of results the segments to sum, and leaves the rest to
//   tiles   positions x output channels, from packed weights, or
//   lanes   every output channel by itself: depthwise, and groups of few channels.
// Zeros between input elements are never multiplied: positions along an axis fall into `period` phases that meet different
// taps. Everything is chosen by shape and strides alone, so the result does not depend on the number of threads.
#include "conv.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <vector>

#include "conv_kernels.h"
#include "isa.h"
#include "matmul.h"
#include "matmul_kernels.h"
#include "memory.h"
#include "threads.h"

namespace bridge {
namespace {

using conv_detail::Lanes;
using conv_detail::Line;
using conv_detail::Segment;
using conv_detail::Tiles;
using matmul_detail::Product;

constexpr int64_t kBufferBytes = 192 << 10;  // of a task's input: stays in the second cache
constexpr int64_t kPositions = 1024;  // results of a task, for each output channel
constexpr int64_t kBlockBytes = 2048;  // of one row of tile inputs between two visits to the sums
constexpr int64_t kSerial = 200'000;  // multiplications below which threads do not pay
constexpr int64_t kTasks = 4;  // for each thread

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

const conv_detail::Kernels& conv_kernels(Product p) {
  const int i = static_cast<int>(p);
  switch (isa()) {
#if defined(__x86_64__)
    case Isa::v3: return isa_v3::conv_kernels[i];
    case Isa::v4: return isa_v4::conv_kernels[i];
    default: return isa_v2::conv_kernels[i];
#elif defined(__aarch64__)
    default: return isa_neon::conv_kernels[i];
#else
    default: return isa_generic::conv_kernels[i];
#endif
  }
}

class Workspace {
 public:
  explicit Workspace(int64_t nbytes)
      : nbytes_(static_cast<size_t>(std::max<int64_t>(nbytes, 1))), data_(allocate(nbytes_, &capacity_)) {}
  ~Workspace() { deallocate(data_, nbytes_, capacity_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  char* at(int64_t offset) const { return static_cast<char*>(data_) + offset; }

 private:
  size_t nbytes_, capacity_ = 0;
  void* data_;
};

// body(i) for i in [0, n), which may throw.
template <class F>
void for_each_task(int64_t n, bool parallel, const F& body) {
  struct Run {
    const F& body;
    std::mutex lock{};
    std::exception_ptr error{};
  } run{body};
  parallel_for(
      n, parallel ? 1 : n,
      [](void* context, int64_t begin, int64_t end) {
        auto& r = *static_cast<Run*>(context);
        try {
          for (int64_t i = begin; i < end; ++i) r.body(i);
        } catch (...) {
          std::lock_guard guard(r.lock);
          r.error = std::current_exception();
        }
      },
      &run);
  if (run.error) std::rethrow_exception(run.error);
}

struct Range {
  int64_t begin, end;
  int64_t size() const { return std::max<int64_t>(end - begin, 0); }
};

struct Axis : ConvAxis {
  int64_t out_stride = 0;  // elements of the result

  // Results `period` apart meet the same taps, at inputs `step` apart.
  int64_t period() const { return input_step / std::gcd(stride, input_step); }
  int64_t step() const { return stride / std::gcd(stride, input_step); }
  // Whether result o meets an input at tap k: the input's index, which may lie in the padding.
  bool meets(int64_t o, int64_t k, int64_t* i) const {
    const int64_t at = o * stride + k * kernel_step - low;
    *i = at / input_step;
    return at % input_step == 0;
  }
  // Inputs that these results meet; with padding.
  Range met(Range o) const {
    return {floor_div(o.begin * stride - low, input_step),
            floor_div((o.end - 1) * stride + (kernel - 1) * kernel_step - low, input_step) + 1};
  }
  Range met_inside(Range o) const {
    const Range r = met(o);
    return {std::clamp<int64_t>(r.begin, 0, in), std::clamp<int64_t>(r.end, 0, in)};
  }
  bool inside(int64_t i) const { return i >= 0 && i < in; }
};

class Plan {
 public:
  Plan(const Convolution& c, const void* input, const void* weight, void* out)
      : c_(c),
        kern_(matmul_detail::kernels(matmul_detail::product(c.dtype))),
        conv_(conv_kernels(matmul_detail::product(c.dtype))),
        input_(static_cast<const char*>(input)),
        weight_(static_cast<const char*>(weight)),
        out_(static_cast<char*>(out)),
        group_in_(c.in_channels / c.groups),
        group_out_(c.out_channels / c.groups),
        taps_(c.space[0].kernel * c.space[1].kernel * c.space[2].kernel),
        depth_(taps_ * group_in_) {
    set_axes();
    by_lanes_ = c.groups > 1 && conv_.lanes && 2 * group_out_ <= kern_.lanes;
    choose_tile_axis();
    lane_pitch_ = round_up(c.out_channels, kern_.lanes);
    pitch_ = by_lanes_ ? group_in_ * lane_pitch_ : c.in_channels;
    const Axis& t = axes_[tile_];
    const Range met = t.met({0, t.out});
    in_place_ = !by_lanes_ && !kern_.converts && met.begin >= 0 && met.end <= t.in;
    block_ = std::max<int64_t>(kBlockBytes / kern_.unit_bytes, 1);
    n_blocks_ = by_lanes_ ? 1 : ceil_div(depth_, block_);
    cut();
  }

  void run() {
    const Workspace weights(pack_bytes());
    const bool parallel = work() >= kSerial;
    for_each_task(by_lanes_ ? 1 : c_.groups * panels(), parallel, [&](int64_t i) { pack(i, weights.at(0)); });
    for_each_task(n_tasks_, parallel, [&](int64_t i) { compute(i, weights.at(0)); });
  }

 private:
  double multiplications() const {
    double n = static_cast<double>(depth_) * static_cast<double>(c_.out_channels);
    for (const Axis& a : axes_) n *= static_cast<double>(a.out);
    return n;
  }
  int64_t work() const { return multiplications() > 1e15 ? int64_t{1} << 50 : static_cast<int64_t>(multiplications()); }
  int64_t panels() const { return ceil_div(group_out_, kern_.nr); }

  void set_axes() {
    axes_[0].in = axes_[0].out = c_.batch;
    axes_[0].in_stride = c_.batch_stride;
    for (int i = 0; i < 3; ++i) {
      static_cast<ConvAxis&>(axes_[i + 1]) = c_.space[i];
      if (c_.space[i].out == 1) axes_[i + 1].stride = 1;  // of one step, whatever its length
    }
    int64_t stride = c_.out_channels;
    for (int i = 4; i-- > 0; stride *= axes_[i].out) axes_[i].out_stride = stride;
  }

  // The innermost axis if it fills most of the rows of its tiles, else the one that fills most.
  void choose_tile_axis() {
    auto filled = [&](int i) {
      const int64_t count = ceil_div(axes_[i].out, axes_[i].period());
      return static_cast<double>(count) / static_cast<double>(round_up(count, kern_.mr));
    };
    tile_ = 3;
    if (filled(3) < 0.7)
      for (int i = 2; i >= 0; --i)
        if (filled(i) > filled(tile_)) tile_ = i;
    for (int i = 0, at = 0; i < 4; ++i)
      if (i != tile_) outer_[at++] = i;
  }

  const Axis& outer(int i) const { return axes_[outer_[i]]; }

  // Tasks: how much of the tile axis, and of the last outer axis, one computes.
  void cut() {
    const Axis &t = axes_[tile_], &band = outer(2);
    const int64_t unit = kern_.unit_bytes, grain = kern_.mr * t.period();
    int64_t rows = 1;
    for (int i = 0; i < 3; ++i)
      rows *= std::min(ceil_div(outer(i).kernel * outer(i).kernel_step, outer(i).input_step), outer(i).in);
    const int64_t room = in_place_ ? kPositions : kBufferBytes / std::max<int64_t>(rows * pitch_ * unit, 1);
    const int64_t length = std::min(room * t.input_step / t.stride, kPositions / 2);
    stretch_ = std::min(std::max<int64_t>(length / grain, 1) * grain, t.out);
    const Range met = t.met({0, stretch_});
    const int64_t more =
        ceil_div(rows,
                 std::max<int64_t>(std::min(ceil_div(band.kernel * band.kernel_step, band.input_step), band.in), 1)) *
        ceil_div(band.stride, band.input_step) * met.size() * pitch_ * unit;
    const int64_t spare = in_place_ ? kBufferBytes : kBufferBytes - rows * met.size() * pitch_ * unit;
    band_ = 1 + std::max<int64_t>(in_place_ ? band.out : spare / std::max<int64_t>(more, 1), 0);
    band_ = std::min({band_, std::max<int64_t>(kPositions / stretch_, 1), band.out});
    const int64_t others = outer(0).out * outer(1).out * ceil_div(t.out, stretch_), wanted = kTasks * thread_count();
    if (others * ceil_div(band.out, band_) < wanted) band_ = std::max<int64_t>(1, band.out / ceil_div(wanted, others));
    n_bands_ = ceil_div(band.out, band_);
    n_stretches_ = ceil_div(t.out, stretch_);
    n_tasks_ = outer(0).out * outer(1).out * n_bands_ * n_stretches_;
    if (!by_lanes_ && c_.groups == 1 && n_tasks_ < 2 * thread_count())
      column_tasks_ = std::min(panels(), ceil_div(2 * thread_count(), n_tasks_));
    n_tasks_ *= column_tasks_;
  }

  // ---- weights: rows of taps x input channels, in panels of output channels (tiles) or as one panel (lanes)

  int64_t pack_bytes() const {
    return depth_ * kern_.unit_bytes * (by_lanes_ ? lane_pitch_ : c_.groups * panels() * kern_.nr);
  }

  void pack(int64_t index, char* to) const {
    const int64_t nr = kern_.nr, unit = kern_.unit_bytes;
    if (!by_lanes_) {
      const int64_t group = index / panels(), j = index % panels() * nr;
      pack_columns(group * group_out_ + j, std::min(nr, group_out_ - j), to + index * depth_ * nr * unit, nr, nr);
      return;
    }
    for (int64_t j = 0; j < lane_pitch_; j += nr)
      pack_columns(j, std::min(nr, c_.out_channels - j), to + j * unit, std::min(nr, lane_pitch_ - j), lane_pitch_);
  }

  void pack_columns(int64_t first, int64_t columns, char* to, int64_t width, int64_t pitch) const {
    const char* from = weight_ + first * depth_ * kern_.element_bytes;
    const int64_t step = c_.flip ? group_in_ : depth_;
    for (int64_t row = 0; row < depth_; row += step)
      kern_.pack({from + (c_.flip ? depth_ - step - row : 0) * kern_.element_bytes, depth_, 1, columns, step,
                  to + row * pitch * kern_.unit_bytes, width, pitch});
  }

  // ---- one task

  struct Task {
    Range stretch, met;  // of the tile axis: results, inputs
    Range outs[3], ins[3];  // of the outer axes
    Range columns;  // panels
    const char* base;  // unit 0 of all offsets
    int64_t strides[4];  // units from one input to the next, by axis
  };

  void compute(int64_t index, const char* weights) const {
    Task task = describe(index);
    int64_t buffer = 0;
    if (!in_place_) buffer = task.ins[0].size() * task.ins[1].size() * task.ins[2].size() * task.met.size() * pitch_;
    const int64_t positions = task.stretch.size() * task.outs[2].size();
    const bool aside = !by_lanes_ && (kern_.narrows || group_out_ % kern_.lanes);
    const int64_t buffer_bytes = round_up(buffer * kern_.unit_bytes, 64);
    const Workspace space(buffer_bytes + (aside ? positions * kern_.nr * kern_.sum_bytes : 0));
    place(task, space.at(0));
    if (!in_place_) fill(task, space.at(0));

    std::vector<Line> lines;
    std::vector<Segment> segments;
    std::vector<int32_t> blocks;
    std::vector<size_t> first;  // of each line's segments
    const Axis &t = axes_[tile_], &band = outer(2);
    for (int64_t o = task.outs[2].begin; o < task.outs[2].end; ++o) {
      for (int64_t phase = 0; phase < std::min(t.period(), task.stretch.size()); ++phase) {
        const int64_t at = task.stretch.begin + phase;
        first.push_back(segments.size());
        list_segments(task, o, at, segments, blocks);
        const int64_t to = task.outs[0].begin * outer(0).out_stride + task.outs[1].begin * outer(1).out_stride +
                           o * band.out_stride + at * t.out_stride;
        lines.push_back({ceil_div(task.stretch.size() - phase, t.period()), task.base, t.step() * task.strides[tile_],
                         nullptr, nullptr, out_ + to * kern_.element_bytes, t.period() * t.out_stride});
      }
    }
    for (size_t i = 0; i < lines.size(); ++i) {
      lines[i].segments = segments.data() + first[i];
      lines[i].blocks = blocks.data() + i * static_cast<size_t>(n_blocks_ + 1);
    }
    by_lanes_ ? sum_lanes(lines, weights) : sum_tiles(task, lines, weights, space.at(buffer_bytes));
  }

  void sum_lanes(const std::vector<Line>& lines, const char* weights) const {
    for (const Line& line : lines) conv_.lanes({line, line.blocks[1], c_.out_channels, weights, lane_pitch_});
  }

  void sum_tiles(const Task& task, const std::vector<Line>& lines, const char* weights, char* sums) const {
    const int64_t panel = depth_ * kern_.nr, first = task.columns.begin * kern_.nr;
    const int64_t n = std::min(task.columns.end * kern_.nr, group_out_) - first;
    for (int64_t g = 0; g < c_.groups; ++g)
      conv_.tiles({lines.data(), static_cast<int64_t>(lines.size()), n_blocks_, n,
                   weights + (g * panels() + task.columns.begin) * panel * kern_.unit_bytes, panel, sums, g * group_in_,
                   g * group_out_ + first});
  }

  Task describe(int64_t index) const {
    auto next = [&](int64_t n) {
      const int64_t i = index % n;
      index /= n;
      return i;
    };
    const Axis& t = axes_[tile_];
    const int64_t column = next(column_tasks_), s = next(n_stretches_) * stretch_, b = next(n_bands_) * band_;
    const int64_t o1 = next(outer(1).out), o0 = next(outer(0).out), wide = ceil_div(panels(), column_tasks_);
    Task task{};
    task.columns = {std::min(column * wide, panels()), std::min((column + 1) * wide, panels())};
    task.stretch = {s, std::min(s + stretch_, t.out)};
    task.met = t.met(task.stretch);
    task.outs[0] = {o0, o0 + 1};
    task.outs[1] = {o1, o1 + 1};
    task.outs[2] = {b, std::min(b + band_, outer(2).out)};
    for (int i = 0; i < 3; ++i) task.ins[i] = outer(i).met_inside(task.outs[i]);
    return task;
  }

  // Where the task's inputs are: in the buffer, or where they were.
  void place(Task& task, const char* buffer) const {
    if (in_place_) {
      for (int i = 0; i < 4; ++i) task.strides[i] = axes_[i].in_stride;
      task.base = input_;
      for (int i = 0; i < 3; ++i) task.base += task.ins[i].begin * outer(i).in_stride * kern_.element_bytes;
      task.base += task.met.begin * axes_[tile_].in_stride * kern_.element_bytes;
      return;
    }
    task.base = buffer;
    task.strides[tile_] = pitch_;
    int64_t stride = task.met.size() * pitch_;
    for (int i = 3; i-- > 0; stride *= task.ins[i].size()) task.strides[outer_[i]] = stride;
  }

  void fill(const Task& task, char* buffer) const {
    const Axis& t = axes_[tile_];
    const int64_t unit = kern_.unit_bytes, row = task.met.size() * pitch_ * unit;
    const Range inside{std::clamp<int64_t>(task.met.begin, 0, t.in), std::clamp<int64_t>(task.met.end, 0, t.in)};
    const int64_t before = std::min(std::max<int64_t>(-task.met.begin, 0), task.met.size()) * pitch_ * unit;
    const int64_t length = inside.size() * pitch_ * unit;
    std::vector<char> scratch(by_lanes_ ? static_cast<size_t>(c_.in_channels * unit) : 0);
    char* to = buffer;
    for (int64_t i0 = task.ins[0].begin; i0 < task.ins[0].end; ++i0)
      for (int64_t i1 = task.ins[1].begin; i1 < task.ins[1].end; ++i1)
        for (int64_t i2 = task.ins[2].begin; i2 < task.ins[2].end; ++i2, to += row) {
          const int64_t from =
              i0 * outer(0).in_stride + i1 * outer(1).in_stride + i2 * outer(2).in_stride + inside.begin * t.in_stride;
          std::memset(to, 0, static_cast<size_t>(before));
          copy_row(input_ + from * kern_.element_bytes, inside.size(), t.in_stride, to + before, scratch.data());
          std::memset(to + before + length, 0, static_cast<size_t>(row - before - length));
        }
  }

  // n inputs along the tile axis, as units.
  void copy_row(const char* from, int64_t n, int64_t stride, char* to, char* scratch) const {
    const int64_t channels = c_.in_channels;
    if (!by_lanes_ && stride == channels) return conv_.widen(from, to, n * channels);
    for (int64_t i = 0; i < n; ++i, from += stride * kern_.element_bytes, to += pitch_ * kern_.unit_bytes) {
      if (!by_lanes_) {
        conv_.widen(from, to, channels);
      } else if (c_.in_channels == c_.out_channels && group_in_ == 1) {
        conv_.widen(from, to, channels);
        std::memset(to + channels * kern_.unit_bytes, 0,
                    static_cast<size_t>((lane_pitch_ - channels) * kern_.unit_bytes));
      } else {
        conv_.widen(from, scratch, channels);
        spread(scratch, to);
      }
    }
  }

  // For input channel k of every group: the value that each output channel needs.
  template <class Unit>
  void spread_as(const char* from, char* to) const {
    for (int64_t k = 0; k < group_in_; ++k, to += lane_pitch_ * int64_t{sizeof(Unit)}) {
      char* at = to;
      for (int64_t g = 0; g < c_.groups; ++g) {
        Unit value;
        std::memcpy(&value, from + (g * group_in_ + k) * int64_t{sizeof(Unit)}, sizeof value);
        for (int64_t j = 0; j < group_out_; ++j, at += sizeof value) std::memcpy(at, &value, sizeof value);
      }
      std::memset(at, 0, static_cast<size_t>(lane_pitch_ - c_.out_channels) * sizeof(Unit));
    }
  }
  void spread(const char* from, char* to) const {
    switch (kern_.unit_bytes) {
      case 2: return spread_as<uint16_t>(from, to);
      case 4: return spread_as<uint32_t>(from, to);
      default: return spread_as<uint64_t>(from, to);
    }
  }

  // What one line sums: result `o` of the last outer axis, and results of the tile axis from `at` on.
  void list_segments(const Task& task, int64_t o, int64_t at, std::vector<Segment>& segments,
                     std::vector<int32_t>& blocks) const {
    struct Tap { int64_t tap, offset; };
    thread_local std::vector<Tap> taps[3];
    int64_t start = 0;
    for (int i = 0; i < 4; ++i) {
      const Axis& a = axes_[i];
      const bool is_tile = i == tile_;
      const auto slot = std::find(outer_, outer_ + 3, i) - outer_;
      const int64_t result = is_tile ? at : slot == 2 ? o : task.outs[slot].begin;
      const int64_t origin = is_tile ? task.met.begin : task.ins[slot].begin;
      if (i > 0) taps[i - 1].clear();
      for (int64_t k = 0; k < a.kernel; ++k) {
        int64_t met;
        if (!a.meets(result, k, &met) || (!is_tile && !a.inside(met))) continue;
        const int64_t offset = (met - origin) * task.strides[i];
        i == 0 ? start += offset : (taps[i - 1].push_back({k, offset}), 0);
      }
    }
    const size_t base = segments.size();
    blocks.push_back(0);
    int64_t block = 0;
    auto add = [&](int64_t a, int64_t b, int64_t k) {
      while (k > 0) {
        for (; block < b / block_; ++block) blocks.push_back(static_cast<int32_t>(segments.size() - base));
        const int64_t part = std::min(k, block_ - b % block_);
        Segment* last = segments.size() > base ? &segments.back() : nullptr;
        if (last && b % block_ && last->a + last->k == a && last->b + last->k == b)
          last->k += part;
        else
          segments.push_back({a, b, part});
        a += part, b += part, k -= part;
      }
    };
    for (const Tap& d : taps[0])
      for (const Tap& h : taps[1])
        for (const Tap& w : taps[2]) {
          const int64_t row = ((d.tap * axes_[2].kernel + h.tap) * axes_[3].kernel + w.tap) * group_in_;
          const int64_t from = start + d.offset + h.offset + w.offset;
          if (!by_lanes_)
            add(from, row, group_in_);
          else
            for (int64_t k = 0; k < group_in_; ++k) segments.push_back({from + k * lane_pitch_, row + k, 1});
        }
    while (blocks.size() % static_cast<size_t>(n_blocks_ + 1))
      blocks.push_back(static_cast<int32_t>(segments.size() - base));
  }

  const Convolution& c_;
  const matmul_detail::Kernels& kern_;
  const conv_detail::Kernels& conv_;
  const char *input_, *weight_;
  char* out_;
  int64_t group_in_, group_out_, taps_, depth_;
  Axis axes_[4];
  int tile_ = 3, outer_[3] = {0, 1, 2};
  bool by_lanes_ = false, in_place_ = false;
  int64_t lane_pitch_ = 0, pitch_ = 0;  // units: of a row of lanes; of an input's channels in the buffer
  int64_t block_ = 1, n_blocks_ = 1;
  int64_t stretch_ = 1, band_ = 1, n_stretches_ = 1, n_bands_ = 1, n_tasks_ = 1, column_tasks_ = 1;
};

// One tap that meets every input: a product of matrices.
bool is_product(const Convolution& c) {
  int64_t stride = c.in_channels;
  for (int i = 3; i-- > 0;) {
    const ConvAxis& a = c.space[i];
    if (a.kernel != 1 || a.stride != 1 || a.low != 0 || a.input_step != 1 || a.in != a.out) return false;
    if (a.in != 1 && a.in_stride != stride) return false;
    stride *= a.in;
  }
  return c.groups == 1 && (c.batch == 1 || c.batch_stride == stride);
}

}  // namespace

void convolve(const Convolution& c, const void* input, const void* weight, void* out) {
  int64_t positions = c.batch, depth = c.in_channels;
  for (const ConvAxis& a : c.space) positions *= a.out, depth *= a.kernel;
  if (positions == 0 || c.out_channels == 0) return;
  bool empty = depth == 0;
  for (const ConvAxis& a : c.space) empty = empty || a.in == 0;
  if (empty) {
    std::memset(out, 0, static_cast<size_t>(positions * c.out_channels * itemsize(c.dtype)));
  } else if (is_product(c)) {
    matmul(c.dtype, positions, c.out_channels, c.in_channels, {input, c.in_channels, 1}, {weight, 1, c.in_channels},
           out);
  } else {
    Plan(c, input, weight, out).run();
  }
}

}  // namespace bridge
