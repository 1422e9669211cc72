// In-place updates. Arrays are values: an update rebinds the handle to a new node. Only when writable views of this very
// array are alive are the bytes written where they stand, so that the views see the update.
#include "array.h"
#include "eval.h"
#include "exchange.h"

namespace bridge {

void update_in_place(PyObject* array, NodeRef result) {
  Node* n = node_of(array);
  bool same = n->evaluated() && result->dtype == n->dtype && result->ndim == n->ndim &&
              !memcmp(result->shape, n->shape, sizeof(int64_t) * n->ndim);
  if (!same || is_traced(result.get()) || is_traced(n) || !written_where_it_stands(n)) {
    rebind(array, std::move(result));
    return;
  }
  NodeRef hold = NodeRef::borrow(n);
  evaluate(result.get());
  wait_for_pins(n->storage);
  // The GIL may have been away: only what stands now counts.
  if (written_where_it_stands(n) && node_of(array) == n)
    copy_elements(result.get(), n);
  else
    rebind(array, std::move(result));
}

}  // namespace bridge
