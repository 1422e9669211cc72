// Indexing by integer arrays as nodes: gather reads the places, scatter writes there or combines with what stands there.
#pragma once
#include "infer.h"
#include "places.h"

namespace bridge {

enum class Combine : uint8_t { set, add, multiply, divide, maximum, minimum };
const char* scatter_name(Combine);  // of the primitive

// The part of an array that a scatter works in: `count` elements of every axis, from `start` in steps of `step`. Axes
// that indices count along are whole.
struct Window {
  bool whole = true;
  int64_t start[kMaxNdim], step[kMaxNdim], count[kMaxNdim];
};

// Shape of a gather of this array: the other axes before the places, the axes of the indices, the others behind. Checks
// that the indices are integers and broadcast with each other. `extents` are those of the array, or of a window.
int gather_shape(const Places&, int ndim, const int64_t* extents, Node* const* indices, int64_t* shape,
                 const char* tag);

// Indices that have values are checked at once, others when the node is evaluated; -1 is the last element.
NodeRef make_gather(Node* a, Node* const* indices, const Places&, const char* tag);
// `updates` broadcasts to the shape of the gather and is converted to a's dtype. Places that are named several times are
// updated in the order of the updates, by any number of threads. float16 and bfloat16 are combined in float32.
NodeRef make_scatter(Combine, Node* a, Node* updates, Node* const* indices, const Places&, const Window&,
                     const char* tag);

}  // namespace bridge
