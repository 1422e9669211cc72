// run_kernel and estimate_ns (kernel_spec.h), and the Runner that executes ranges of a plan on one thread.
#include "pipeline.h"

#include <cstring>

namespace bridge {
namespace pipeline {

Runner::Runner(const Plan& plan) : plan_(plan), registers_(registers()) {
  const Program& program = plan.program;
  const KernelSpec& spec = *plan.spec;
  const int64_t register_bytes = registers_.lanes * 32;
  char* slots = scratch_ + program.n_temporaries * register_bytes;
  const auto set_places = [&](int first, int count) {
    for (int p = first; p < first + count; p++)
      place_[p] = program.slot[p] < 0 ? nullptr : slots + static_cast<int64_t>(program.slot[p]) * program.slot_bytes;
  };
  set_places(0, spec.n_inputs + spec.n_tape);
  set_places(kRawPlace, spec.n_inputs);
  set_places(kOutPlace, spec.n_outputs);
  for (int w = 0; w < program.n_words; w++) {
    const WordPlan& word = program.words[w];
    char* p = nullptr;
    if (word.place >= kTemporaryPlace) {
      p = scratch_ + (word.place - kTemporaryPlace) * register_bytes;
    } else if (word.place >= kSplatPlace) {
      p = reinterpret_cast<char*>(&splats_[word.place - kSplatPlace]);
    }
    words_[w] = {registers_.wide[word.code], registers_.narrow[word.code], p, p == nullptr && word.place >= 0 ? -1 : 0,
                 word.code};
  }
  for (int k = 0; k < spec.n_inputs; k++)
    if (program.source[k] == Source::scalar) set_splat(k, spec.inputs[k].value.bytes, program.chunk);
}

// The element as an operand of words, and, if strip loops read it, as a strip.
void Runner::set_splat(int input, const void* element, int64_t n) {
  const DType dtype = plan_.spec->inputs[input].dtype;
  int size = plan_.layout.access[input].size;
  if (is_half(dtype)) {
    uint16_t half;
    std::memcpy(&half, element, 2);
    strips().widen[dtype == DType::bfloat16](&splats_[input], &half, nullptr, nullptr, 1);
    element = &splats_[input];
    size = 4;
  } else if (dtype == DType::float32) {
    std::memcpy(&splats_[input], element, 4);
  } else if (dtype == DType::bool_) {
    splats_[input] = *static_cast<const char*>(element) != 0 ? ~uint32_t{0} : 0;
  }
  if (place_[input] != nullptr) copy_strided(place_[input], size, static_cast<const char*>(element), 0, size, n);
}

// One chunk: `flat` is where it starts, and where the cursor stands if the plan goes by rows.
void Runner::execute(int64_t flat, int64_t n) {
  const Layout& layout = plan_.layout;
  const Program& program = plan_.program;
  const int inner = layout.ndim - 1, n_inputs = plan_.spec->n_inputs, n_outputs = plan_.spec->n_outputs;
  const auto address = [&](int k) {
    const Access& access = layout.access[k];
    return plan_.by_rows ? cursor_.row[k] + cursor_.column * access.strides[inner] : access.base + flat * access.size;
  };
  for (int k = 0; k < n_inputs; k++) {
    const Access& access = layout.access[k];
    char*& place = place_[program.in_place[k]];
    switch (program.source[k]) {
      case Source::direct: place = address(k); break;
      case Source::splat: set_splat(k, address(k), n); break;
      case Source::gathered:
        if (plan_.by_rows) {
          copy_strided(place, access.size, address(k), access.strides[inner], access.size, n);
        } else {
          gather(layout, access, flat, n, place);
        }
        break;
      default: break;
    }
  }
  for (int j = 0; j < n_outputs; j++)
    if (program.sink[j] == Sink::direct) place_[program.out_place[j]] = address(n_inputs + j);
  for (int w = 0; w < program.n_words; w++)
    if (words_[w].mask != 0) words_[w].p = place_[program.words[w].place];
  for (int s = 0; s < program.n_steps; s++) {
    const Step& step = program.steps[s];
    if (step.fn == nullptr) {
      registers_.run(words_ + step.d, n);
      continue;
    }
    step.fn(place_[step.d], place_[step.a], step.b < 0 ? nullptr : place_[step.b],
            step.c < 0 ? nullptr : place_[step.c], n);
  }
  for (int j = 0; j < n_outputs; j++) {
    if (program.sink[j] == Sink::direct) continue;
    const Access& access = layout.access[n_inputs + j];
    const char* strip = place_[program.out_place[j]];
    if (plan_.by_rows) {
      copy_strided(address(n_inputs + j), access.strides[inner], strip, access.size, access.size, n);
    } else {
      scatter(layout, access, flat, n, strip);
    }
  }
}

void Runner::run(int64_t begin, int64_t end) {
  const Layout& layout = plan_.layout;
  if (begin < end && plan_.by_rows && at_ != begin) cursor_.seek(layout, begin);
  for (int64_t n; begin < end; begin += n) {
    n = end - begin < plan_.program.chunk ? end - begin : plan_.program.chunk;
    if (!plan_.by_rows) {
      execute(begin, n);
      continue;
    }
    const int64_t row = layout.shape[layout.ndim - 1];
    n = n < row - cursor_.column ? n : row - cursor_.column;
    execute(begin, n);
    cursor_.column += n;
    if (cursor_.column == row) cursor_.next_row(layout);
  }
  at_ = end;
  if (plan_.program.streams) registers_.fence();
}

const void* Runner::values(int64_t begin, int64_t n) {
  const int v = plan_.spec->reduce_value;
  const DType dtype =
      v < plan_.spec->n_inputs ? plan_.spec->inputs[v].dtype : plan_.spec->tape[v - plan_.spec->n_inputs].out;
  const int64_t size = itemsize(strip_dtype(dtype));
  for (int64_t done = 0; done < n;) {
    int64_t count = n - done < plan_.program.chunk ? n - done : plan_.program.chunk;
    if (plan_.by_rows) {
      if (at_ != begin + done) cursor_.seek(plan_.layout, begin + done);
      at_ = begin + done;
      const int64_t left = plan_.layout.shape[plan_.layout.ndim - 1] - cursor_.column;
      count = count < left ? count : left;
    }
    run(begin + done, begin + done + count);
    if (count == n) return place_[v];
    std::memcpy(values_ + done * size, place_[v], static_cast<size_t>(count * size));
    done += count;
  }
  return values_;
}

namespace {

constexpr double kThreadsAbove = 60e3;  // nanoseconds on one thread; waking a sleeping worker costs about 30 us
constexpr double kChunkNs = 15e3;

// Nanoseconds of one operation on one element on one thread; by measurement of the slowest ISA that is common (v3), roundly.
double stage_ns(const Instr& instr) {
  const double width = static_cast<double>(itemsize(strip_dtype(instr.in))) / 4;
  const bool complex = kind(instr.in) == Kind::complex;
  switch (instr.stage) {
    case Stage::sqrt:
    case Stage::rsqrt:
    case Stage::divide:
    case Stage::reciprocal:
    case Stage::sigmoid:
    case Stage::exp:
    case Stage::log:
    case Stage::tanh: return complex ? 40 : width > 1 ? 6 : 0.6;
    case Stage::expm1:
    case Stage::log2:
    case Stage::log10:
    case Stage::log1p:
    case Stage::sin:
    case Stage::cos:
    case Stage::tan:
    case Stage::arcsin:
    case Stage::arccos:
    case Stage::arctan:
    case Stage::sinh:
    case Stage::cosh:
    case Stage::arcsinh:
    case Stage::arccosh:
    case Stage::arctanh:
    case Stage::erf:
    case Stage::erfinv:
    case Stage::power:
    case Stage::arctan2:
    case Stage::logaddexp:
    case Stage::hypot: return complex ? 60 : width > 1 ? 15 : 3;
    case Stage::floor_divide:
    case Stage::remainder: return 4;
    default: return complex ? 0.5 : 0.12 * width;
  }
}

}  // namespace

double element_ns(const KernelSpec& spec) {
  double ns = 0;
  for (int k = 0; k < spec.n_inputs; k++)
    if (!spec.inputs[k].is_scalar)
      ns += 0.05 * static_cast<double>(itemsize(spec.inputs[k].dtype)) * (spec.inputs[k].strides ? 2 : 1);
  for (int i = 0; i < spec.n_tape; i++) ns += stage_ns(spec.tape[i]);
  for (int j = 0; j < spec.n_outputs; j++) ns += 0.05 * static_cast<double>(itemsize(spec.outputs[j].dtype));
  return ns + (spec.reduce == Reduce::none ? 0 : 0.3);
}

void for_ranges(const KernelSpec& spec, int64_t n, RangeFn fn, void* ctx) {
  // Not worth a look: less than kThreadsAbove for any tape.
  const double each = n < 64 ? 0 : element_ns(spec), total = each * static_cast<double>(n);
  if (total < kThreadsAbove) return fn(ctx, 0, n);
  const auto at_least = static_cast<int64_t>(kChunkNs / each);
  int64_t grain = n / (8 * thread_count());
  grain = (grain > at_least ? grain : at_least) / 4096 * 4096 + 4096;
  parallel_for(n, grain, fn, ctx);
}

}  // namespace pipeline

namespace {

// Kernels that only move values of half types. They run on the bits: through float32, a signalling NaN would come out quiet.
bool only_moves_halves(const KernelSpec& spec) {
  bool half = false;
  for (int k = 0; k < spec.n_inputs; k++) half |= pipeline::is_half(spec.inputs[k].dtype);
  for (int i = 0; half && i < spec.n_tape; i++) {
    const Instr& instr = spec.tape[i];
    const bool moves = instr.stage == Stage::copy || instr.stage == Stage::select || instr.stage == Stage::real ||
                       instr.stage == Stage::conjugate || (instr.stage == Stage::cast && instr.in == instr.out);
    if (!moves) return false;
  }
  return half;
}

KernelSpec on_bits(const KernelSpec& spec) {
  KernelSpec bits = spec;
  const auto retype = [](DType& dtype) {
    if (pipeline::is_half(dtype)) dtype = DType::uint16;
  };
  for (int k = 0; k < spec.n_inputs; k++) retype(bits.inputs[k].dtype);
  for (int i = 0; i < spec.n_tape; i++) {
    retype(bits.tape[i].in);
    retype(bits.tape[i].out);
  }
  for (int j = 0; j < spec.n_outputs; j++) retype(bits.outputs[j].dtype);
  return bits;
}

}  // namespace

double estimate_ns(const KernelSpec& spec) { return 100 + static_cast<double>(spec.size) * pipeline::element_ns(spec); }

void run_kernel(const KernelSpec& spec) {
  if (spec.reduce != Reduce::none) return pipeline::run_reduction(spec);
  if (spec.size == 0 || pipeline::run_plain(spec)) return;
  if (only_moves_halves(spec)) return run_kernel(on_bits(spec));
  pipeline::AxisOrder order;
  order.n = spec.ndim;
  for (int i = 0; i < spec.ndim; i++) {
    order.axis[i] = i;
    order.group[i] = 0;
  }
  pipeline::Plan plan;
  pipeline::make_plan(plan, spec, order);
  pipeline::for_ranges(
      spec, spec.size,
      [](void* ctx, int64_t begin, int64_t end) {
        pipeline::Runner runner(*static_cast<const pipeline::Plan*>(ctx));
        runner.run(begin, end);
      },
      &plan);
}

}  // namespace bridge
