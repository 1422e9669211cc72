#include "nonzero.h"

#include <algorithm>
#include <vector>

#include "errors.h"
#include "eval.h"
#include "places.h"
#include "places_table.h"

namespace bridge {
namespace {

constexpr int64_t kBlock = 1 << 14;  // elements that are counted by one thread at a time

// The bytes can be written while they are read, where they belong to somebody else: what is counted is what is filled.
struct Dense {
  NodeRef node;
  explicit Dense(Node* mask) : node(NodeRef::borrow(mask)) {
    evaluate(mask);
    bool row_major = mask->is(kDense) || is_row_major(mask->ndim, mask->shape, mask->strides);
    if (row_major && !mask->storage->open()) return;
    node = make_copy(mask);
    evaluate(node.get());
  }
};

}  // namespace

NodeRef true_places(Node* mask) {
  Dense dense(mask);
  const unsigned char* bytes = dense.node->data;
  int64_t n = mask->size, blocks = (n + kBlock - 1) / kBlock;
  const PlacesTable& table = places_table();
  std::vector<int64_t> ends(static_cast<size_t>(blocks) + 1);
  in_parallel(blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      ends[static_cast<size_t>(b) + 1] = table.count_true(bytes + b * kBlock, std::min(kBlock, n - b * kBlock));
  });
  for (size_t b = 1; b < ends.size(); ++b) ends[b] += ends[b - 1];
  bool narrow = n <= INT32_MAX;
  NodeRef places = make_dense(narrow ? DType::int32 : DType::int64, 1, &ends.back());
  in_parallel(blocks, 2, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      int64_t first = b * kBlock, last = std::min(first + kBlock, n);
      int64_t from = ends[static_cast<size_t>(b)], to = ends[static_cast<size_t>(b) + 1];
      auto* out32 = reinterpret_cast<int32_t*>(places->data);
      auto* out64 = reinterpret_cast<int64_t*>(places->data);
      if (narrow)
        table.fill_narrow(bytes, first, last, out32 + from, out32 + to);
      else
        table.fill_wide(bytes, first, last, out64 + from, out64 + to);
    }
  });
  return places;
}

}  // namespace bridge
