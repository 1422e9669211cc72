// Node: one array value in the lazy graph. Nodes are only touched with the GIL held; their reference counts are plain
// integers. A Python array is a handle on a node; an in-place update rebinds the handle.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "kernel_spec.h"
#include "storage.h"

namespace bridge {

enum class Op : uint8_t {
  data,         // has bytes (or had: see Node::storage)
  constant,     // a scalar held in the node itself
  elementwise,  // attribute: Stage
  reduction,    // attribute: Reduce, axes
  // views: share the bytes of their input once that has bytes
  broadcast,
  transpose,
  slice,
  reshape,
  // structured: a kernel of their own
  matmul,
  concatenate,
  slice_update,
  arange,
  // Python functions over NumPy arrays (host.cpp)
  host,  // attribute: the function; stage: number of results that are nodes of their own, or 0: it is the result
  host_part,  // stage: which of the results of its operand, a host node
  kernel,  // attribute: a Kernel (kernel.h)
  // what transforms put in the graph (trace.h)
  input,  // stands for an array that is not there yet
  identity,  // the first operand, computed when the others are; stage 1: no derivative flows through
  call,  // the first operand, which a user's function made of the next `axes` operands; attribute: its rules
};

struct Node;
struct Kernel;

// An edge to an operand, and a link in the operand's list of consumers.
struct Edge {
  Node* node = nullptr;  // the operand, with a reference
  Node* self = nullptr;  // the consumer
  Edge* next = nullptr;
  Edge** link = nullptr;
};

inline constexpr int kInlineDims = 4;
inline constexpr int kInlineEdges = 3;

// What an op needs besides its operands. Only ops that need one have one.
struct Attributes {
  uint32_t axes = 0;  // reductions: bit k = axis k; concatenate: the axis itself; call: number of arguments
  int64_t start[kMaxNdim];  // slice, slice_update: first index; transpose: the permutation
  int64_t step[kMaxNdim];  // slice, slice_update: step in elements of the axis
  double range_start = 0, range_step = 0;  // arange
  int64_t range_start_int = 0, range_step_int = 0;
  void* function = nullptr;  // host, call: the Python object, with a reference
  std::shared_ptr<const Kernel> kernel;
  Attributes* next = nullptr;
  Attributes();
  ~Attributes();
};

enum NodeFlag : uint8_t {
  kRunning = 1,  // an evaluation on some thread works on it
  kWindow = 2,  // array over memory that the outside can write: its views are windows, too
  kDense = 4,  // evaluated and row-major without gaps
  kReadOnly = 8,  // came in read-only over memory that the outside can write: grants no writable view
  kSymbolic = 16,  // depends on an Op::input: has no values, and never will
};

struct Node {
  uint32_t refs = 1;
  uint32_t handles = 0;  // Python arrays bound to this node
  Op op = Op::data;
  DType dtype = DType::float32;
  uint8_t ndim = 0;
  uint8_t flags = 0;
  uint16_t stage = 0;  // Stage or Reduce
  uint16_t stream = 0;  // that it is put on (stream.h)
  uint32_t n_edges = 0;
  int32_t mark = 0;  // scratch of the evaluation that runs
  int64_t size = 1;
  int64_t* shape = inline_dims;  // ndim extents
  int64_t* strides = inline_dims + kInlineDims;  // ndim strides in elements; valid when evaluated
  Storage* storage = nullptr;  // evaluated: the bytes; with a reference
  unsigned char* data = nullptr;  // element 0
  Node* shared_next = nullptr;  // list of the storage's arrays
  Node** shared_link = nullptr;
  Edge* edges = inline_edges;
  Edge* consumers = nullptr;
  Attributes* attributes = nullptr;
  uint32_t trace = 0;  // the latest trace (trace.h) that it depends on; 0: none
  ScalarValue scalar;  // Op::constant
  int64_t inline_dims[2 * kInlineDims];
  Edge inline_edges[kInlineEdges];

  bool evaluated() const { return storage != nullptr; }
  int64_t nbytes() const { return size * itemsize(dtype); }
  Node* input(int i) const { return edges[i].node; }
  bool is(uint8_t flag) const { return flags & flag; }
};

// The oldest trace that is alive. Traces are numbered as they begin, so what depends on a live one has no smaller number.
extern uint32_t oldest_trace;
inline bool is_traced(const Node* n) { return n->trace >= oldest_trace; }

// A node with room for ndim extents and n_edges operands; refs == 1, everything else to be filled in.
Node* new_node(Op, DType, int ndim, int n_edges);
void set_shape(Node*, const int64_t* shape);  // copies ndim extents, computes size; throws on overflow
void set_edge(Node*, int i, Node* operand);  // takes a reference
void replace_operand(Node*, int i, Node* operand);  // takes a reference to the new one
void detach(Node*) noexcept;  // drops all operands: the node has bytes now
void free_node(Node*) noexcept;  // iterative: a chain of any length
inline Node* retain(Node* n) {
  ++n->refs;
  return n;
}
inline void release(Node* n) noexcept {
  if (--n->refs == 0) free_node(n);
}

// Gives the node bytes. Takes over the caller's reference to the storage. strides == nullptr: dense.
void attach_storage(Node*, Storage* stolen, unsigned char* data, const int64_t* strides);
void drop_storage(Node*) noexcept;  // back to pending

// One reference to a node.
class NodeRef {
 public:
  NodeRef() = default;
  explicit NodeRef(Node* stolen) : node_(stolen) {}
  NodeRef(NodeRef&& o) noexcept : node_(std::exchange(o.node_, nullptr)) {}
  NodeRef(const NodeRef& o) : node_(o.node_ ? retain(o.node_) : nullptr) {}
  NodeRef& operator=(NodeRef o) noexcept {
    std::swap(node_, o.node_);
    return *this;
  }
  ~NodeRef() {
    if (node_) bridge::release(node_);
  }
  static NodeRef borrow(Node* n) { return NodeRef(retain(n)); }
  Node* get() const { return node_; }
  Node* operator->() const { return node_; }
  Node* release() { return std::exchange(node_, nullptr); }
  explicit operator bool() const { return node_ != nullptr; }

 private:
  Node* node_ = nullptr;
};

// Layout helpers (strides in elements).
void dense_strides(int ndim, const int64_t* shape, int64_t* strides);
bool is_row_major(int ndim, const int64_t* shape, const int64_t* strides);
bool is_column_major(int ndim, const int64_t* shape, const int64_t* strides);
// Some element is reachable by two indices (stride 0 over an extent above 1).
bool overlaps_itself(int ndim, const int64_t* shape, const int64_t* strides);
// Byte range [low, high) that the elements of a layout touch, relative to element 0. Empty when size is 0.
void byte_range(int ndim, const int64_t* shape, const int64_t* strides, int64_t item, int64_t* low, int64_t* high);

}  // namespace bridge
