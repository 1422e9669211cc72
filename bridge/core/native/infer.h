// Builds nodes: dtype promotion, broadcasting, accepted dtypes. The rules are a closed set; which op follows which is
// declared in Python (bridge/core/ops/) and kept in the table below.
#pragma once
#include <string>

#include "node.h"

namespace bridge {

DType promote(DType a, DType b);  // bridge/core/dtypes.py states the lattice; promotion.inc is generated from it

// A Python scalar: weak, it never changes the category's width ("int32 + 2" is int32, "int32 + 2.0" is float32).
struct Weak {
  enum Category : uint8_t { boolean, integer, floating, complex } category;
  bool is_unsigned = false;  // integer above int64's range: value in `bits`
  int64_t bits = 0;
  double real = 0, imag = 0;
};
DType promote_weak(DType t, const Weak& w);
DType default_dtype(const Weak& w);  // bool, int32 (int64, uint64 when it must be), float32, complex64
ScalarValue encode(const Weak& w, DType t, const char* op);  // OverflowError when an integer does not fit

// One operand of an op: a node or a weak scalar.
struct Operand {
  NodeRef node;
  Weak weak{};
  bool is_weak() const { return !node; }
};

enum class Rule : uint8_t { same, floating, boolean, logical, absolute, select, sum, index, none };
Rule find_rule(const char* name);  // throws

// What Python declared for a stage or a reduction.
struct Declaration {
  const char* name = nullptr;  // nullptr: not declared
  Rule rule = Rule::none;
  uint32_t accepts = 0;
};
Declaration& declaration(Stage);
Declaration& declaration(Reduce);
const char* reduce_name(Reduce);
int find_reduce(const char* name);  // -1

NodeRef make_constant(DType, const ScalarValue&, int ndim = 0, const int64_t* shape = nullptr);
void forget_constant(const Node*) noexcept;  // it has bytes now, which are not kept for the next use of the number
NodeRef make_dense(DType, int ndim, const int64_t* shape);  // evaluated, bytes not set
NodeRef make_cast(Node*, DType);
NodeRef make_elementwise(Stage, Operand* operands, int n);
// The same result for two arrays, quicker when dtype and shape are equal.
NodeRef make_binary(Stage, Node* a, Node* b);
NodeRef make_with_scalar(Stage, Node* a, const ScalarValue& b);  // b in the dtype of a
NodeRef make_copy(Node*);  // lazy, dense, never shares
// For another array with the same values: the node itself, since values never change under an array; a copy of what
// somebody outside looks at.
NodeRef make_value(Node*);
NodeRef make_reduction(Reduce, Node*, uint32_t axes, bool keepdims);
NodeRef make_matmul(const Operand& a, const Operand& b);
NodeRef make_concatenate(NodeRef* arrays, int n, int axis);
NodeRef make_arange(DType, int64_t n, double start, double step, int64_t start_int, int64_t step_int);

// views.cpp. Views of evaluated arrays exist at once; views of an open array are copies.
NodeRef make_broadcast(Node*, int ndim, const int64_t* shape);
NodeRef make_transpose(Node*, const int* permutation);
NodeRef make_slice(Node*, const int64_t* start, const int64_t* step, const int64_t* count);  // one entry an axis
NodeRef make_reshape(Node*, int ndim, const int64_t* shape);  // sizes are equal
NodeRef make_identity(Node*);  // another node with the same values
NodeRef make_slice_update(Node*, const int64_t* start, const int64_t* step, const int64_t* count, Node* value);
// Strides of a view on a layout; false when the elements do not lie on strides.
bool reshape_strides(int ndim, const int64_t* shape, const int64_t* strides, int new_ndim, const int64_t* new_shape,
                     int64_t* new_strides);

// A node that reads open memory is evaluated when it is created.
NodeRef finish(NodeRef);

std::string shape_text(int ndim, const int64_t* shape);
std::string describe(const Node*);  // "float32[4096, 3]"
int normalize_axis(int64_t axis, int ndim, const char* op);

}  // namespace bridge
