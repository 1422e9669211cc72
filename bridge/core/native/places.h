// The places of an array that arrays of indices name, as offsets: what gather and scatter share. No Python in here.
#pragma once
#include <type_traits>

#include "node.h"
#include "threads.h"

namespace bridge {

// What is selected of an array: index k counts along axes[k], all other axes are walked whole. The indices broadcast with
// each other; in the result their axes stand behind the first `at` of the other axes.
struct Places {
  int n = 0;            // indices
  int axes[kMaxNdim];   // ascending
  int at = 0;
};

// Steps along an axis in elements: x is the array that is indexed, y the result of a gather or the updates of a scatter.
struct WalkAxis { int64_t extent, x, y; };

struct WalkIndex {
  const unsigned char* data;
  DType dtype;
  int64_t extent;             // of the axis of x that it counts along
  int64_t step;               // of x along that axis
  int64_t strides[kMaxNdim];  // along the axes of the places, in elements
};

inline constexpr int64_t kStrip = 1024;  // places that are computed at a time

// Axes of extent 1 are gone and axes are joined where strides allow it. Places are counted in rows: all but the last of
// their axes, and the last.
struct Walk {
  WalkAxis outer[kMaxNdim], inner[kMaxNdim];  // the other axes, before and behind the places
  int n_outer = 0, n_inner = 0;
  int64_t outer_items = 1, inner_items = 1;
  int64_t extents[kMaxNdim], y[kMaxNdim];  // the axes of the places; at least one
  int n_axes = 0;
  int64_t rows = 1, row = 1;  // number of rows, and places in each
  WalkIndex indices[kMaxNdim];
  int n_indices = 0;

  int64_t n_places() const { return rows * row; }
};

// `extents` and `steps` have one entry an axis of x; y has the shape of the result.
Walk make_walk(const Places&, int ndim, const int64_t* extents, const int64_t* steps, int y_ndim,
               const int64_t* y_shape, const int64_t* y_strides, const Node* const* indices);
// One index alone, to look at its bounds.
Walk make_walk(const Node* index, int64_t extent);

// Offsets in x of places [begin, begin + n) of a row. False: an index is out of bounds, and `out` is not to be used.
bool find_places(const Walk&, int64_t row, int64_t begin, int64_t n, int64_t* out);
int64_t y_of_row(const Walk&, int64_t row);
// Offsets of the k-th item of the outer axes.
void outer_offsets(const Walk&, int64_t k, int64_t* x, int64_t* y);

bool in_bounds(const Walk&);  // threaded

struct OutOfBounds {
  int index;  // which of the indices; -1: none
  int64_t value;
  bool is_unsigned;
};
OutOfBounds find_out_of_bounds(const Walk&);  // the first

template <class F>
void in_parallel(int64_t n, int64_t grain, F&& body) {
  using Body = std::remove_reference_t<F>;
  parallel_for(n, grain, [](void* ctx, int64_t begin, int64_t end) { (*static_cast<Body*>(ctx))(begin, end); }, &body);
}

}  // namespace bridge
