// Structured ops with a kernel of their own. A node holds the kernel with its parameters, and evaluation runs it once the
// operands have bytes.
//
//   struct Sort : Kernel {
//     int axis;
//     const char* name() const override { return "sort"; }
//     PyObject* parameters() const override { return Py_BuildValue("{s:i}", "axis", axis); }
//     void run(KernelRun& r) const override {
//       const unsigned char* from = r.dense(0);
//       unsigned char* to = r.output();
//       r.compute(2.0 * r.node()->size, [&] { ... });
//     }
//   };
//   make_kernel(std::make_unique<Sort>(axis), a->dtype, a->ndim, a->shape, {a});
#pragma once
#include <initializer_list>
#include <memory>
#include <optional>

#include "run.h"

namespace bridge {

class KernelRun;

struct Kernel {
  virtual ~Kernel() = default;  // under the GIL
  virtual const char* name() const = 0;  // of the primitive: its declaration has the rules
  // A new dictionary of the keyword arguments that make this op again, named as in the declaration's header.
  virtual PyObject* parameters() const = 0;
  virtual void run(KernelRun&) const = 0;  // the GIL is held; an error may be thrown, and then nothing has happened
};

// A pending node of such an op (not finished: see finish()).
NodeRef make_kernel(std::unique_ptr<const Kernel>, DType, int ndim, const int64_t* shape, Node* const* operands,
                    int n_operands);
inline NodeRef make_kernel(std::unique_ptr<const Kernel> k, DType t, int ndim, const int64_t* shape,
                           std::initializer_list<Node*> operands) {
  return make_kernel(std::move(k), t, ndim, shape, operands.begin(), static_cast<int>(operands.size()));
}

// One run of a kernel. Operands are evaluated, with any strides; the result is row-major.
class KernelRun {
 public:
  KernelRun(Steps&, int32_t step);
  Node* node() const { return node_; }
  const Node* operand(int i) const { return node_->edges[i].node; }
  int n_operands() const { return static_cast<int>(node_->n_edges); }
  // The elements of an operand in row-major order: where they are, or in a copy that lives as long as this object.
  const unsigned char* dense(int i);
  // The memory of the result; not set. Attached to the node after the kernel has run.
  unsigned char* output();
  // The memory of the result, holding the elements of an operand of the same dtype and shape: its own memory if nobody
  // else can see it, else a copy.
  unsigned char* update(int i);
  // The result is an operand's memory, from `data` on, with these strides in elements of the result.
  void share(int i, unsigned char* data, const int64_t* strides);
  // Calls body(), without the GIL if that takes long enough: no Python and no nodes inside. It may be given up between the
  // chunks of parallel_for, by an exception, unless it works on an operand's own memory.
  template <class F>
  void compute(double nanoseconds, F&& body) {
    Reads reads;
    for (uint32_t k = 0; k < node_->n_edges; ++k) reads.add(node_->edges[k].node->storage);
    maybe_without_gil(nanoseconds, reads, body, donor_ < 0);
  }
  void finish();

 private:
  Steps& steps_;
  Step& step_;
  Node* node_;
  std::optional<Fresh> result_;
  Small<Storage*, 4> copies_;  // of operands, released at the end
  int donor_ = -1;
  bool shared_ = false;

 public:
  ~KernelRun();
};

void run_kernel_node(Steps&, int32_t step);

}  // namespace bridge
