// Runs one group of an evaluation: fused groups become a KernelSpec, views become strides, structured ops call their
// kernel. Inputs have bytes (or are constants); outputs are attached only after the kernel has run.
#include "run.h"

#include "host.h"
#include "infer.h"
#include "kernel.h"
#include "matmul.h"

namespace bridge {
namespace {

void (*kernel_log)(const char*) = nullptr;

bool print_kernels() {
  static const bool wanted = [] {
    const char* debug = getenv("BRIDGE_DEBUG");
    return debug && strstr(debug, "kernels");
  }();
  return wanted;
}

constexpr int64_t kNeverWorthIt = 64;  // elements: no tape of this size takes long enough to estimate it

void run_spec(const KernelSpec& spec, Reads& reads) {
  log_kernel([&] { return print_kernel(spec); });
  maybe_without_gil(spec.size <= kNeverWorthIt ? 0.0 : estimate_ns(spec), reads, [&] { run_kernel(spec); });
}

// Room for the strides of every input of one kernel.
struct StrideArena { int64_t values[kMaxInputs][kMaxNdim]; };

void describe_input(Input& in, const Node* n, const KernelSpec& spec, int64_t* strides, Reads& reads) {
  in.dtype = carried_as(n->dtype);
  in.is_scalar = false;
  in.strides = nullptr;
  in.data = nullptr;
  if (!n->evaluated()) {  // a constant
    in.is_scalar = true;
    in.value = n->scalar;
    return;
  }
  if (n->size == 1) {
    in.is_scalar = true;
    memcpy(in.value.bytes, n->data, static_cast<size_t>(itemsize(n->dtype)));
    return;
  }
  reads.add(n->storage);
  in.data = n->data;
  bool same = n->ndim == spec.ndim && !memcmp(n->shape, spec.shape, sizeof(int64_t) * n->ndim);
  if (same && n->is(kDense)) return;
  for (int i = 0; i < spec.ndim; ++i) {
    int at = i - (spec.ndim - n->ndim);
    strides[i] = at < 0 || (n->shape[at] == 1 && spec.shape[i] != 1) ? 0 : n->strides[at];
  }
  in.strides = strides;
}

void set_space(KernelSpec& spec, const Node* n) {
  spec.ndim = n->ndim;
  spec.size = n->size;
  memcpy(spec.shape, n->shape, sizeof(int64_t) * n->ndim);
}

void run_fused(Steps& steps, const Group& g, int32_t group_index) {
  Node* root = steps[static_cast<size_t>(g.root)].node;
  bool reduces = root->op == Op::reduction;
  KernelSpec spec;
  StrideArena arena;
  Reads reads;
  set_space(spec, reduces ? root->input(0) : root);
  const Node* inputs[kMaxInputs];
  int16_t input_refs[kMaxTape][3];  // operand k of instruction i: input id, or -1 - tape index

  // Pass 1: inputs get their ids, instructions their order. (An instruction's value id needs the input count.)
  for (int32_t i = g.first_member; i >= 0; i = steps[static_cast<size_t>(i)].next_member) {
    Node* n = steps[static_cast<size_t>(i)].node;
    bool last = i == g.root;
    int at = spec.n_tape;
    for (uint32_t k = 0; k < n->n_edges; ++k) {
      Node* operand = n->edges[k].node;
      if (operand->mark > 0 && steps[static_cast<size_t>(operand->mark - 1)].group == group_index) {
        // Until pass 3 the mark keeps the step index; the tape index travels in Step::offer.
        input_refs[at][k] = static_cast<int16_t>(-1 - steps[static_cast<size_t>(operand->mark - 1)].offer);
        continue;
      }
      int id = 0;
      while (id < spec.n_inputs && inputs[id] != operand) ++id;
      if (id == spec.n_inputs) {
        inputs[id] = operand;
        describe_input(spec.inputs[id], operand, spec, arena.values[id], reads);
        ++spec.n_inputs;
      }
      input_refs[at][k] = static_cast<int16_t>(id);
    }
    if (last && reduces) break;
    Instr& instr = spec.tape[at];
    instr.stage = static_cast<Stage>(n->stage);
    instr.in = carried_as(n->input(static_cast<int>(n->n_edges) - 1)->dtype);
    instr.out = carried_as(n->dtype);
    instr.b = instr.c = -1;
    steps[static_cast<size_t>(i)].offer = at;
    ++spec.n_tape;
    if (last) break;
  }
  auto value_id = [&](int16_t ref) { return static_cast<int16_t>(ref >= 0 ? ref : spec.n_inputs + (-1 - ref)); };
  {
    int at = 0;
    for (int32_t i = g.first_member; i >= 0 && at < spec.n_tape; i = steps[static_cast<size_t>(i)].next_member, ++at) {
      Node* n = steps[static_cast<size_t>(i)].node;
      int16_t* operands[3] = {&spec.tape[at].a, &spec.tape[at].b, &spec.tape[at].c};
      for (uint32_t k = 0; k < n->n_edges; ++k) *operands[k] = value_id(input_refs[at][k]);
    }
  }

  // Outputs.
  Node* stored[kMaxOutputs + 1];
  Storage* fresh[kMaxOutputs + 1];
  int n_stored = 0;
  auto drop_fresh = [&] {
    while (n_stored > 0) release(fresh[--n_stored]);
  };
  try {
    for (int32_t i = g.first_member; i >= 0; i = steps[static_cast<size_t>(i)].next_member) {
      Step& s = steps[static_cast<size_t>(i)];
      bool last = i == g.root;
      if (last || s.keep) {
        fresh[n_stored] = new_storage(static_cast<size_t>(s.node->nbytes()));
        stored[n_stored] = s.node;
        ++n_stored;
        void* data = fresh[n_stored - 1]->data;
        if (last && reduces)
          spec.reduce_data = data;
        else
          spec.outputs[spec.n_outputs++] = {static_cast<int16_t>(spec.n_inputs + s.offer), carried_as(s.node->dtype),
                                            data, nullptr};
      }
      if (last) break;
    }
    if (reduces) {
      spec.reduce = static_cast<Reduce>(root->stage);
      spec.reduce_value = value_id(input_refs[spec.n_tape][0]);
      spec.reduce_axes = root->attributes->axes;
      spec.reduce_in = root->input(0)->dtype;
      spec.reduce_out = root->dtype;
    }
    if (spec.n_tape == 1 && spec.tape[0].stage == Stage::copy && !reduces)
      spec.inputs[0].dtype = spec.tape[0].in = spec.tape[0].out = spec.outputs[0].dtype = moved_as(root->dtype);
    run_spec(spec, reads);
  } catch (...) {
    drop_fresh();
    throw;
  }
  for (int i = 0; i < n_stored; ++i)
    attach_storage(stored[i], fresh[i], static_cast<unsigned char*>(fresh[i]->data), nullptr);
}

}  // namespace

void copy_to(const Node* n, void* out, const int64_t* strides) {
  KernelSpec spec;
  StrideArena arena;
  Reads reads;
  set_space(spec, n);
  describe_input(spec.inputs[0], n, spec, arena.values[0], reads);
  spec.n_inputs = 1;
  DType moved = spec.inputs[0].dtype = moved_as(n->dtype);
  spec.tape[0] = {Stage::copy, moved, moved, 0, -1, -1};
  spec.n_tape = 1;
  spec.outputs[0] = {1, moved, out, strides};
  spec.n_outputs = 1;
  run_spec(spec, reads);
}

bool donatable(const Steps& steps, const Node* a) {
  const Storage* s = a->storage;
  bool whole = a->is(kDense) && a->data == s->data && s->nbytes == static_cast<size_t>(a->nbytes());
  if (s->imported || s->refs.load(std::memory_order_acquire) != 1 || s->leased() || !whole) return false;
  if (a->mark <= 0) return a->refs == 1;
  const Step& step = steps[static_cast<size_t>(a->mark - 1)];
  return !step.keep && step.remaining == 1;
}

namespace {

void run_constant(Node* n) {
  Fresh fresh(n->nbytes());
  copy_to(n, fresh.data(), nullptr);
  fresh.attach(n);
}

void share_input(Node* n, const int64_t* strides, int64_t offset) {
  Node* a = n->input(0);
  retain(a->storage);
  attach_storage(n, a->storage, a->data + offset * itemsize(a->dtype), strides);
  n->flags |= a->flags & (kWindow | kReadOnly);
}

void run_view(Node* n) {
  const Node* a = n->input(0);
  int64_t strides[kMaxNdim], offset = 0;
  switch (n->op) {
    case Op::broadcast:
      for (int i = 0; i < n->ndim; ++i) {
        int at = i - (n->ndim - a->ndim);
        strides[i] = at < 0 || (a->shape[at] == 1 && n->shape[i] != 1) ? 0 : a->strides[at];
      }
      break;
    case Op::transpose:
      for (int i = 0; i < n->ndim; ++i) strides[i] = a->strides[n->attributes->start[i]];
      break;
    case Op::slice:
      for (int i = 0; i < n->ndim; ++i) {
        strides[i] = a->strides[i] * n->attributes->step[i];
        if (n->shape[i] > 0) offset += n->attributes->start[i] * a->strides[i];
      }
      break;
    default:  // reshape
      if (!reshape_strides(a->ndim, a->shape, a->strides, n->ndim, n->shape, strides)) {
        Fresh fresh(n->nbytes());
        copy_to(a, fresh.data(), nullptr);
        fresh.attach(n);
        return;
      }
  }
  share_input(n, strides, offset);
}

void run_matmul(Node* n) {
  const Node *a = n->input(0), *b = n->input(1);
  int64_t m = n->shape[n->ndim - 2], cols = n->shape[n->ndim - 1], k = a->shape[a->ndim - 1];
  int batch_axes = n->ndim - 2;
  Fresh fresh(n->nbytes());
  Reads reads;
  reads.add(a->storage);
  reads.add(b->storage);
  log_kernel([&] { return "kernel matmul " + describe(a) + " @ " + describe(b) + " -> " + describe(n); });
  int64_t batches = 1;
  for (int i = 0; i < batch_axes; ++i) batches *= n->shape[i];
  double cost =
      0.05 * static_cast<double>(batches) * static_cast<double>(m) * static_cast<double>(cols) * static_cast<double>(k);
  maybe_without_gil(cost, reads, [&] {
    const int64_t item = itemsize(n->dtype);
    matmul_batch(n->dtype, batches, m, cols, k, fresh.data(), [&](int64_t batch, Matrix* left, Matrix* right) {
      int64_t at_a = 0, at_b = 0;
      for (int i = batch_axes; i-- > 0; batch /= n->shape[i]) {
        const int64_t at = batch % n->shape[i];
        int ia = i - (batch_axes - (a->ndim - 2)), ib = i - (batch_axes - (b->ndim - 2));
        if (ia >= 0 && a->shape[ia] != 1) at_a += at * a->strides[ia];
        if (ib >= 0 && b->shape[ib] != 1) at_b += at * b->strides[ib];
      }
      *left = {a->data + at_a * item, a->strides[a->ndim - 2], a->strides[a->ndim - 1]};
      *right = {b->data + at_b * item, b->strides[b->ndim - 2], b->strides[b->ndim - 1]};
    });
  });
  fresh.attach(n);
}

void run_concatenate(Node* n) {
  int axis = static_cast<int>(n->attributes->axes);
  Fresh fresh(n->nbytes());
  int64_t strides[kMaxNdim];
  dense_strides(n->ndim, n->shape, strides);
  int64_t at = 0;
  for (uint32_t k = 0; k < n->n_edges; ++k) {
    const Node* a = n->edges[k].node;
    if (a->size) copy_to(a, fresh.data() + at * strides[axis] * itemsize(n->dtype), strides);
    at += a->shape[axis];
  }
  fresh.attach(n);
}

void run_slice_update(Steps& steps, int32_t root) {
  Step& step = steps[static_cast<size_t>(root)];
  Node* n = step.node;
  Node *a = n->input(0), *value = n->input(1);
  Storage* target = nullptr;
  if (value != a && (!value->storage || value->storage != a->storage) && !is_traced(n) && donatable(steps, a)) {
    target = a->storage;
    retain(target);
  }
  Fresh fresh = target ? Fresh(target) : Fresh(n->nbytes());
  if (!target) copy_to(a, fresh.data(), nullptr);
  int64_t strides[kMaxNdim], offset = 0;
  dense_strides(n->ndim, n->shape, strides);
  for (int i = 0; i < n->ndim; ++i) {
    offset += value->size ? n->attributes->start[i] * strides[i] : 0;
    strides[i] *= n->attributes->step[i];
  }
  if (value->size) copy_to(value, fresh.data() + offset * itemsize(n->dtype), strides);
  if (target) {
    drop_storage(a);   // not before: until here the update could be done again
    step.keep = true;  // these bytes can no longer be computed from the operand
  }
  fresh.attach(n);
}

template <class T, class V>
void fill_range(void* out, int64_t n, V start, V step) {
  auto* p = static_cast<T*>(out);
  for (int64_t i = 0; i < n; ++i) p[i] = static_cast<T>(start + static_cast<V>(i) * step);
}

void run_arange(Node* n) {
  const Attributes& at = *n->attributes;
  Fresh fresh(n->nbytes());
  log_kernel([&] { return "kernel arange -> " + describe(n); });
  Reads none;
  maybe_without_gil(0.5 * static_cast<double>(n->size), none, [&] {
    void* out = fresh.data();
    auto start = static_cast<uint64_t>(at.range_start_int), step = static_cast<uint64_t>(at.range_step_int);
    switch (n->dtype) {
      case DType::float32: fill_range<float, double>(out, n->size, at.range_start, at.range_step); break;
      case DType::float64: fill_range<double, double>(out, n->size, at.range_start, at.range_step); break;
      default:
        switch (itemsize(n->dtype)) {  // two's complement: one loop a width
          case 1: fill_range<uint8_t, uint64_t>(out, n->size, start, step); break;
          case 2: fill_range<uint16_t, uint64_t>(out, n->size, start, step); break;
          case 4: fill_range<uint32_t, uint64_t>(out, n->size, start, step); break;
          default: fill_range<uint64_t, uint64_t>(out, n->size, start, step); break;
        }
    }
  });
  fresh.attach(n);
}

}  // namespace

Reads* Reads::all = nullptr;

bool logs_kernels() { return kernel_log || print_kernels(); }

void log_kernel_text(const std::string& text) {
  if (print_kernels()) fprintf(stderr, "%s%s", text.c_str(), text.empty() || text.back() != '\n' ? "\n" : "");
  if (kernel_log) kernel_log(text.c_str());
}

void Interruptible::pass() {
  constexpr auto kOften = std::chrono::milliseconds(50);
  if (stop_ && stop_->load(std::memory_order_relaxed)) throw Stopped{};
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ < kOften) return;
  looked_ = now;
  if (!on_main_thread()) return;
  bool interrupted = false;
  gil_.with_gil([&] { interrupted = PyErr_CheckSignals() < 0; });
  if (interrupted) throw PythonError{};
}

void set_kernel_log(void (*log)(const char*)) { kernel_log = log; }

bool reads_here(const Storage* s) { return Reads::pinned_here(s); }

void forget_other_pins() noexcept { Reads::unpin_others(); }

void run_group(Steps& steps, const Group& g, int32_t group_index) {
  Node* root = steps[static_cast<size_t>(g.root)].node;
  switch (root->op) {
    case Op::elementwise:
    case Op::reduction: return run_fused(steps, g, group_index);
    case Op::constant: return run_constant(root);
    case Op::broadcast:
    case Op::transpose:
    case Op::slice:
    case Op::reshape: return run_view(root);
    case Op::matmul: return run_matmul(root);
    case Op::concatenate: return run_concatenate(root);
    case Op::slice_update: return run_slice_update(steps, g.root);
    case Op::arange: return run_arange(root);
    case Op::host: log_kernel([&] { return describe_host(root); }); return run_host(root);
    case Op::host_part: return run_host_part(root, steps[static_cast<size_t>(g.root)].keep);
    case Op::kernel: return run_kernel_node(steps, g.root);
    case Op::identity:
    case Op::call: return share_input(root, root->input(0)->strides, 0);
    case Op::input: break;
    case Op::data: break;
  }
  raise_type("[bridge.eval] an array without bytes cannot be evaluated.");
}

}  // namespace bridge
