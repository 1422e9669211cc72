// What running a group needs, whatever its kernel: the log, the pins on what is read, fresh memory, letting go of the GIL.
#pragma once
#include <Python.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "errors.h"
#include "eval.h"
#include "lanes.h"
#include "threads.h"

namespace bridge {

// Nanoseconds; below, handing the GIL over costs more than it gives. Less when another thread is known to want it.
inline double release_gil_above() { return n_beside ? 4e3 : 20e3; }

bool logs_kernels();
void log_kernel_text(const std::string& text);

template <class Text>
void log_kernel(Text&& text) {
  if (logs_kernels()) log_kernel_text(text());
}

// The storages that a kernel reads. They are pinned while the GIL is away, so that an in-place update on another thread
// waits; with the GIL held nobody else can touch them.
class Reads {
 public:
  void add(Storage* s) { storages_.push(s); }
  void pin() {
    for (size_t i = 0; i < storages_.size(); ++i) {
      retain(storages_[i]);
      storages_[i]->pins.fetch_add(1, std::memory_order_acq_rel);
    }
    pinned_ = true;
    next_ = all;
    link_ = &all;
    if (all) all->link_ = &next_;
    all = this;
  }
  ~Reads() { unpin(); }
  void unpin() noexcept {
    if (!pinned_) return;
    pinned_ = false;
    *link_ = next_;
    if (next_) next_->link_ = link_;
    for (size_t i = 0; i < storages_.size(); ++i) {
      storages_[i]->pins.fetch_sub(1, std::memory_order_acq_rel);
      release(storages_[i]);
    }
  }
  // This thread is in the middle of a kernel that reads these bytes.
  static bool pinned_here(const Storage* s) {
    for (const Reads* r = all; r; r = r->next_)
      for (size_t i = 0; i < r->storages_.size(); ++i)
        if (r->storages_[i] == s && pthread_equal(r->thread_, pthread_self())) return true;
    return false;
  }
  static void unpin_others() noexcept {
    for (Reads *r = all, *next; r; r = next) {
      next = r->next_;
      if (!pthread_equal(r->thread_, pthread_self())) r->unpin();
    }
  }

 private:
  Small<Storage*, kMaxInputs> storages_;
  bool pinned_ = false;
  pthread_t thread_ = pthread_self();
  Reads* next_ = nullptr;
  Reads** link_ = nullptr;
  static Reads* all;  // those that have pinned, on any thread. Under the GIL
};

// A fresh storage that is released unless it is attached.
class Fresh {
 public:
  explicit Fresh(int64_t nbytes) : storage_(new_storage(static_cast<size_t>(nbytes))) {}
  explicit Fresh(Storage* stolen) : storage_(stolen) {}
  Fresh(Fresh&& o) noexcept : storage_(std::exchange(o.storage_, nullptr)) {}
  ~Fresh() {
    if (storage_) release(storage_);
  }
  unsigned char* data() const { return static_cast<unsigned char*>(storage_->data); }
  void attach(Node* n) {
    unsigned char* bytes = data();
    attach_storage(n, std::exchange(storage_, nullptr), bytes, nullptr);
  }

 private:
  Storage* storage_;
};

// Lets a kernel be given up between its chunks: on Ctrl-C in the main thread, or when the evaluation has failed elsewhere.
class Interruptible final : Checkpoint {
 public:
  explicit Interruptible(ReleaseGil& gil) : gil_(gil), before_(set_checkpoint(this)) {}
  ~Interruptible() { set_checkpoint(before_); }
  Interruptible(const Interruptible&) = delete;

 private:
  void pass() override;
  ReleaseGil& gil_;
  Checkpoint* before_;
  const std::atomic<bool>* stop_ = stop_signal();
  std::chrono::steady_clock::time_point looked_ = std::chrono::steady_clock::now();
};

// `repeatable`: body() may be given up, and done again later.
template <class F>
void maybe_without_gil(double nanoseconds, Reads& reads, F&& body, bool repeatable = true) {
  if (nanoseconds > release_gil_above()) {
    reads.pin();
    ReleaseGil released;
    std::optional<Interruptible> interruptible;
    if (repeatable) interruptible.emplace(released);
    body();
  } else {
    body();
  }
}

// Copies n (any layout, or a constant) to `out` with the given strides (nullptr: dense).
void copy_to(const Node* n, void* out, const int64_t* strides);

// The bytes of a dying operand can be updated in place: nobody else can see them.
bool donatable(const Steps&, const Node* operand);

}  // namespace bridge
