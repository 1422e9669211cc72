#include "exchange.h"

#include <mutex>
#include <set>

#include "errors.h"
#include "eval.h"
#include "infer.h"
#include "trace.h"

namespace bridge {
namespace {

// Holder of one live lease with that access.
std::string live_holder(Storage* s, Access access) {
  struct Wanted {
    Access access;
    const char* holder;
  } wanted{access, ""};
  lease_snapshot(
      s,
      [](void* out, const LeaseRecord& r) {
        auto* w = static_cast<Wanted*>(out);
        if (r.access == w->access) w->holder = r.holder;
      },
      &wanted);
  return wanted.holder;
}

std::string frozen_by(Storage* s) {
  if (s->freezers.load() > 0) return "a frozen lease is alive: " + live_holder(s, Access::frozen);
  if (s->legacies.load() > 0) return "a legacy DLPack capsule is alive: " + live_holder(s, Access::legacy);
  return "";
}

}  // namespace

bool grants_write_at_once(const Node* n) {
  const Storage* s = n->storage;
  return !is_traced(n) && n->is(kDense) && n->handles <= 1 && !n->consumers && s->n_nodes == 1 && !s->foreign() &&
         !s->frozen() && (s->lessee == n || s->writers.load(std::memory_order_acquire) == 0);
}

std::string write_refusal(Node* n) {
  if (is_traced(n)) notice_export(n);
  if (grants_write_at_once(n)) return "";
  Storage* s = n->storage;
  if (!n->is(kDense) && overlaps_itself(n->ndim, n->shape, n->strides))
    return "the array is a broadcast: several of its elements are the same bytes";
  if (s->foreign() && (!s->origin.writes || n->is(kReadOnly))) return "the memory was imported read-only";
  if (n->is(kReadOnly) && s->open()) return "the memory came back read-only, and somebody can write it";
  // Memory that its owner can write is nobody's to freeze: a reader of it takes what comes.
  if (std::string reason = s->origin.writes ? "" : frozen_by(s); !reason.empty()) return reason;
  flush_readers(s);
  // Meanwhile the GIL may have been away, and other threads may have taken views.
  if (std::string reason = s->origin.writes ? "" : frozen_by(s); !reason.empty()) return reason;
  bool window = n->is(kWindow) && s->open();  // one of the outside's own writers
  if (window) return "";
  if (s->writers.load() > 0 && s->lessee != n)
    return "a writable view of another array is alive: " + live_holder(s, Access::write);
  if (s->n_nodes > 1 || n->handles > 1) return "another array shares the storage";
  return "";
}

std::string frozen_refusal(Node* n) {
  Storage* s = n->storage;
  if (s->origin.writes) return n->is(kReadOnly) ? "" : "the memory was imported from an owner that can write it";
  if (s->writers.load() > 0) return "a writable view is alive: " + live_holder(s, Access::write);
  if (s->legacies.load() > 0) return "a legacy DLPack capsule is alive: " + live_holder(s, Access::legacy);
  return "";
}

std::string legacy_refusal(Node* n) {
  Storage* s = n->storage;
  if (s->legacies.load() > 0 && s->lessee == n && s->writers.load() == 0 && s->freezers.load() == 0) return "";
  if (std::string reason = write_refusal(n); !reason.empty()) return reason;
  if (s->writers.load() > 0) return "a writable view is alive: " + live_holder(s, Access::write);
  return "";
}

bool written_where_it_stands(const Node* n) {
  const Storage* s = n->storage;
  return s && !s->foreign() && s->writers.load() > 0 && !s->frozen() && s->lessee == n;
}

void grant(LeaseRecord* record, Node* n, Access access, const char* holder, const char* protocol) {
  // What came in through a view that is gone by now is an array like any other.
  if (!n->storage->open()) n->flags &= static_cast<uint8_t>(~(kWindow | kReadOnly));
  begin_lease(record, n->storage, access, holder, protocol);
  if (access != Access::frozen && !(n->is(kWindow) && n->storage->lessee)) n->storage->lessee = n;
}

void copy_elements(const Node* source, Node* target) {
  if (source->storage && source->storage->check) source->storage->check(source->storage);
  KernelSpec spec;
  spec.ndim = target->ndim;
  spec.size = target->size;
  memcpy(spec.shape, target->shape, sizeof(int64_t) * target->ndim);
  Input& in = spec.inputs[0];
  DType moved = in.dtype = moved_as(source->dtype);
  in.is_scalar = false;
  in.data = source->data;
  in.strides = source->is(kDense) ? nullptr : source->strides;
  spec.n_inputs = 1;
  spec.tape[0] = {Stage::copy, moved, moved, 0, -1, -1};
  spec.n_tape = 1;
  spec.outputs[0] = {1, moved, target->data, target->is(kDense) ? nullptr : target->strides};
  spec.n_outputs = 1;
  run_kernel(spec);
}

NodeRef fresh_copy(Node* n) {
  NodeRef held = NodeRef::borrow(n);
  if (!n->evaluated()) evaluate(n);
  NodeRef copy = make_dense(n->dtype, n->ndim, n->shape);
  copy_elements(n, copy.get());
  return copy;
}

const char* static_text(const char* text) {
  static std::mutex& lock = *new std::mutex;
  static std::set<std::string>& texts = *new std::set<std::string>;
  std::lock_guard guard(lock);
  return texts.insert(text).first->c_str();
}

}  // namespace bridge
