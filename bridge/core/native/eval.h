// Evaluation in the calling thread: collect what is needed, cut it into kernels, run them in order. What is on different
// streams runs beside each other (lanes.h). The GIL is held on entry and on return; it is released while a kernel that is
// worth it runs.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <new>

#include "node.h"

namespace bridge {

void evaluate(Node* root);
void evaluate(Node* const* roots, size_t n);
// On a thread of a stream, without waiting. What fails there stays pending, and fails where it is needed.
void evaluate_in_background(Node* const* roots, size_t n);
bool evaluates_here();  // this thread is in the middle of an evaluation
bool reads_here(const Storage*);  // ... of a kernel that reads these bytes, and runs Python code meanwhile

// Evaluates every pending node that reads these bytes directly. What comes later must not be able to tell.
void flush_readers(Storage*);

// Called with the text of each kernel that runs (GIL held); nullptr stops it.
void set_kernel_log(void (*log)(const char* text));

// A growing array on the stack for the usual small case.
template <class T, int N>
class Small {
 public:
  Small() = default;
  Small(const Small&) = delete;
  ~Small() {
    if (items_ != inline_) free(items_);
  }
  void push(const T& item) {
    if (size_ == capacity_) grow(capacity_ * 2);
    items_[size_++] = item;
  }
  void resize(size_t n) {
    if (n > capacity_) grow(n);
    size_ = n;
  }
  T pop() { return items_[--size_]; }
  T& back() { return items_[size_ - 1]; }
  T& operator[](size_t i) { return items_[i]; }
  const T& operator[](size_t i) const { return items_[i]; }
  size_t size() const { return size_; }
  void clear() { size_ = 0; }

 private:
  void grow(size_t n) {
    auto* bigger = static_cast<T*>(malloc(n * sizeof(T)));
    if (!bigger) throw std::bad_alloc();
    memcpy(static_cast<void*>(bigger), items_, size_ * sizeof(T));
    if (items_ != inline_) free(items_);
    items_ = bigger;
    capacity_ = n;
  }
  T inline_[N];
  T* items_ = inline_;
  size_t size_ = 0, capacity_ = N;
};

// One node of the evaluation that runs, in topological order.
struct Step {
  Node* node;
  int32_t uses;  // consumer edges inside this evaluation
  int32_t remaining;  // ... whose kernel has not run yet
  int32_t group;  // kernel that computes it
  int32_t next_member;  // next step of the same kernel, ascending
  int32_t offer;  // kernel that all consumers seen so far belong to; -1 none, -2 several or not fusable
  bool keep;  // somebody outside this evaluation holds it: its value is stored
};

struct Group {
  int32_t root;  // the last step of the kernel
  int32_t first_member;  // ascending list through Step::next_member
  int32_t n_members, n_inputs, n_outputs;
};

using Steps = Small<Step, 48>;
using Groups = Small<Group, 16>;

// In the child of a fork: what other threads were computing is pending again, and what they pinned is free. Under the
// GIL.
void forget_other_threads() noexcept;
void forget_other_pins() noexcept;  // run.cpp: its part of it

// A number by itself is on no stream: it goes with what needs it.
inline bool is_placeless(const Node* n) { return n->op == Op::constant && n->ndim == 0; }

// Bytes of operands that nobody needs any more go back at once; on an error later they are computed again.
void release_inputs(Steps&, const Group&);

// run.cpp: computes one group. Throws with nothing attached when memory is short.
void run_group(Steps&, const Group&, int32_t group_index);

}  // namespace bridge
