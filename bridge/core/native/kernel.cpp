#include "kernel.h"

#include "infer.h"

namespace bridge {

Attributes::Attributes() = default;
Attributes::~Attributes() = default;

NodeRef make_kernel(std::unique_ptr<const Kernel> kernel, DType t, int ndim, const int64_t* shape,
                    Node* const* operands, int n_operands) {
  NodeRef n(new_node(Op::kernel, t, ndim, n_operands));
  set_shape(n.get(), shape);
  n->attributes = new Attributes;
  n->attributes->kernel = std::move(kernel);
  for (int i = 0; i < n_operands; ++i) set_edge(n.get(), i, operands[i]);
  return n;
}

KernelRun::KernelRun(Steps& steps, int32_t step)
    : steps_(steps), step_(steps[static_cast<size_t>(step)]), node_(step_.node) {}

KernelRun::~KernelRun() {
  while (copies_.size()) release(copies_.pop());
}

const unsigned char* KernelRun::dense(int i) {
  const Node* a = operand(i);
  if (a->is(kDense) || is_row_major(a->ndim, a->shape, a->strides)) return a->data;
  Storage* copy = new_storage(static_cast<size_t>(a->nbytes()));
  copies_.push(copy);
  copy_to(a, copy->data, nullptr);
  return static_cast<const unsigned char*>(copy->data);
}

unsigned char* KernelRun::output() {
  if (!result_) result_.emplace(node_->nbytes());
  return result_->data();
}

unsigned char* KernelRun::update(int i) {
  const Node* a = operand(i);
  bool alone = true;
  for (int k = 0; k < n_operands(); ++k) alone = alone && (k == i || operand(k)->storage != a->storage);
  if (alone && !is_traced(node_) && donatable(steps_, a)) {
    donor_ = i;
    retain(a->storage);
    result_.emplace(a->storage);
    return result_->data();
  }
  unsigned char* bytes = output();
  copy_to(a, bytes, nullptr);
  return bytes;
}

void KernelRun::share(int i, unsigned char* data, const int64_t* strides) {
  const Node* a = operand(i);
  retain(a->storage);
  attach_storage(node_, a->storage, data, strides);
  node_->flags |= a->flags & (kWindow | kReadOnly);
  shared_ = true;
}

void KernelRun::finish() {
  if (shared_) return;
  output();
  if (donor_ >= 0) {
    drop_storage(node_->edges[donor_].node);
    step_.keep = true;  // these bytes can no longer be computed from the operand
  }
  result_->attach(node_);
}

void run_kernel_node(Steps& steps, int32_t step) {
  KernelRun run(steps, step);
  Node* n = run.node();
  const Kernel& kernel = *n->attributes->kernel;
  log_kernel([&] {
    std::string line = std::string("kernel ") + kernel.name();
    for (int i = 0; i < run.n_operands(); ++i) line += (i ? ", " : " ") + describe(run.operand(i));
    return line + " -> " + describe(n);
  });
  kernel.run(run);
  run.finish();
}

}  // namespace bridge
