// Views: nodes that share the bytes of their input. A view of an array that has bytes exists at once; a view of a
// pending array waits for it; a view of an open array is a copy, so that an update of one never shows in the other
// (a window on imported memory shares, as in NumPy: the engine never writes there).
#include "errors.h"
#include "eval.h"
#include "infer.h"

namespace bridge {
namespace {

NodeRef share(Node* a, int ndim, const int64_t* shape, const int64_t* strides, int64_t offset) {
  NodeRef n(new_node(Op::data, a->dtype, ndim, 0));
  set_shape(n.get(), shape);
  retain(a->storage);
  attach_storage(n.get(), a->storage, a->data + offset * itemsize(a->dtype), strides);
  n->flags |= a->flags & (kWindow | kReadOnly);
  if (a->storage->open() && !a->is(kWindow)) {
    NodeRef copy = make_copy(n.get());
    if (!copy->evaluated()) evaluate(copy.get());
    return copy;
  }
  return n;
}

// A view of this array is a node of the graph: it has no bytes, or a transform has to find its way back.
bool stays_pending(const Node* a) { return !a->evaluated() || is_traced(a); }

NodeRef pending_view(Op op, Node* a, int ndim, const int64_t* shape) {
  NodeRef stable = a->evaluated() && a->storage->open() && !a->is(kWindow) ? make_copy(a) : NodeRef::borrow(a);
  NodeRef n(new_node(op, a->dtype, ndim, 1));
  n->stage = 0;
  set_shape(n.get(), shape);
  set_edge(n.get(), 0, stable.get());
  return n;
}

void broadcast_strides(const Node* a, int ndim, const int64_t* shape, int64_t* strides) {
  for (int i = 0; i < ndim; ++i) {
    int at = i - (ndim - a->ndim);
    strides[i] = at < 0 || (a->shape[at] == 1 && shape[i] != 1) ? 0 : a->strides[at];
  }
}

}  // namespace

NodeRef make_broadcast(Node* a, int ndim, const int64_t* shape) {
  bool fits = ndim >= a->ndim;
  for (int i = 0; fits && i < a->ndim; ++i) {
    int64_t extent = a->shape[i], wanted = shape[i + ndim - a->ndim];
    fits = extent == wanted || extent == 1;
  }
  if (!fits)
    raise_value(message("bridge.broadcast_to", "the array cannot be broadcast to that shape.", describe(a),
                        shape_text(ndim, shape)));
  if (a->op == Op::constant && !a->evaluated()) return make_constant(a->dtype, a->scalar, ndim, shape);
  if (stays_pending(a)) return pending_view(Op::broadcast, a, ndim, shape);
  int64_t strides[kMaxNdim];
  broadcast_strides(a, ndim, shape, strides);
  return share(a, ndim, shape, strides, 0);
}

NodeRef make_transpose(Node* a, const int* permutation) {
  int64_t shape[kMaxNdim], strides[kMaxNdim];
  for (int i = 0; i < a->ndim; ++i) shape[i] = a->shape[permutation[i]];
  if (a->op == Op::constant && !a->evaluated()) return make_constant(a->dtype, a->scalar, a->ndim, shape);
  if (stays_pending(a)) {
    NodeRef n = pending_view(Op::transpose, a, a->ndim, shape);
    n->attributes = new Attributes;
    for (int i = 0; i < a->ndim; ++i) n->attributes->start[i] = permutation[i];
    return n;
  }
  for (int i = 0; i < a->ndim; ++i) strides[i] = a->strides[permutation[i]];
  return share(a, a->ndim, shape, strides, 0);
}

NodeRef make_slice(Node* a, const int64_t* start, const int64_t* step, const int64_t* count) {
  if (a->op == Op::constant && !a->evaluated()) return make_constant(a->dtype, a->scalar, a->ndim, count);
  if (stays_pending(a)) {
    NodeRef n = pending_view(Op::slice, a, a->ndim, count);
    n->attributes = new Attributes;
    memcpy(n->attributes->start, start, sizeof(int64_t) * a->ndim);
    memcpy(n->attributes->step, step, sizeof(int64_t) * a->ndim);
    return n;
  }
  int64_t strides[kMaxNdim], offset = 0;
  for (int i = 0; i < a->ndim; ++i) {
    strides[i] = a->strides[i] * step[i];
    if (count[i] > 0) offset += start[i] * a->strides[i];
  }
  return share(a, a->ndim, count, strides, offset);
}

NodeRef make_reshape(Node* a, int ndim, const int64_t* shape) {
  if (a->op == Op::constant && !a->evaluated()) return make_constant(a->dtype, a->scalar, ndim, shape);
  if (stays_pending(a)) return pending_view(Op::reshape, a, ndim, shape);
  int64_t strides[kMaxNdim];
  if (reshape_strides(a->ndim, a->shape, a->strides, ndim, shape, strides)) return share(a, ndim, shape, strides, 0);
  NodeRef copy = make_copy(a);
  return make_reshape(copy.get(), ndim, shape);
}

NodeRef make_identity(Node* a) {
  return stays_pending(a) ? pending_view(Op::identity, a, a->ndim, a->shape)
                          : share(a, a->ndim, a->shape, a->strides, 0);
}

NodeRef make_slice_update(Node* a, const int64_t* start, const int64_t* step, const int64_t* count, Node* value) {
  NodeRef converted = make_cast(value, a->dtype);
  NodeRef n(new_node(Op::slice_update, a->dtype, a->ndim, 2));
  set_shape(n.get(), a->shape);
  n->attributes = new Attributes;
  memcpy(n->attributes->start, start, sizeof(int64_t) * a->ndim);
  memcpy(n->attributes->step, step, sizeof(int64_t) * a->ndim);
  set_edge(n.get(), 0, a);
  // The value is broadcast to the region here, so that its shape says how large the region is.
  NodeRef region = make_broadcast(converted.get(), a->ndim, count);
  set_edge(n.get(), 1, region.get());
  return finish(std::move(n));
}

bool reshape_strides(int ndim, const int64_t* shape, const int64_t* strides, int new_ndim, const int64_t* new_shape,
                     int64_t* new_strides) {
  // Walk both shapes from the last axis; each group of new axes must come from a run of old axes without gaps.
  int64_t kept_shape[kMaxNdim], kept_strides[kMaxNdim];
  int kept = 0;
  for (int i = 0; i < ndim; ++i) {
    if (shape[i] == 0) {
      dense_strides(new_ndim, new_shape, new_strides);
      return true;
    }
    if (shape[i] == 1) continue;
    kept_shape[kept] = shape[i];
    kept_strides[kept++] = strides[i];
  }
  int old_axis = kept - 1, new_axis = new_ndim - 1;
  while (new_axis >= 0) {
    if (new_shape[new_axis] == 1) {
      new_strides[new_axis] = new_axis + 1 < new_ndim ? new_strides[new_axis + 1] * new_shape[new_axis + 1] : 1;
      --new_axis;
      continue;
    }
    if (old_axis < 0) return false;
    int64_t run = kept_shape[old_axis], step = kept_strides[old_axis], wanted = new_shape[new_axis];
    int first_old = old_axis, first_new = new_axis;
    while (run != wanted) {
      if (run < wanted) {
        if (--first_old < 0 || kept_strides[first_old] != kept_strides[first_old + 1] * kept_shape[first_old + 1])
          return false;
        run *= kept_shape[first_old];
      } else {
        if (--first_new < 0) return false;
        wanted *= new_shape[first_new];
      }
    }
    for (int k = new_axis; k >= first_new; --k) {
      new_strides[k] = step;
      step *= new_shape[k];
    }
    old_axis = first_old - 1;
    new_axis = first_new - 1;
  }
  return true;
}

}  // namespace bridge
