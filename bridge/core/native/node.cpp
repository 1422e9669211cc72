#include "node.h"

#include <cstdlib>
#include <new>
#include <string>

#include "errors.h"
#include "host.h"
#include "sanitize.h"
#include "stream.h"

namespace bridge {

uint32_t oldest_trace = UINT32_MAX;

namespace {

// Freed nodes, kept for the next new_node(). The GIL guards the list.
constexpr int kKept = 4096;
Node* kept = nullptr;
int n_kept = 0;

Node* allocate_node() {
  if (!kept) return new Node;
  Node* n = kept;
  kept = n->shared_next;
  --n_kept;
  n->refs = 1;
  n->handles = 0;
  n->flags = 0;
  n->mark = 0;
  n->trace = 0;
  n->shared_next = nullptr;
  n->consumers = nullptr;
  return n;
}

void unlink(Edge& e) {
  *e.link = e.next;
  if (e.next) e.next->link = e.link;
}

// Frees everything but the operands' references, which are pushed on `todo` (through Node::shared_next).
// Attributes that hold a Python function are pushed on `functions`: to drop it may run any code.
void take_apart(Node* n, Node** todo, Attributes** functions) {
  if (n->storage) drop_storage(n);
  for (uint32_t i = 0; i < n->n_edges; ++i) {
    Node* operand = n->edges[i].node;
    if (!operand) continue;
    unlink(n->edges[i]);
    if (--operand->refs == 0) {
      // A node with refs 0 is on no storage's list of interest: its storage is dropped when it is taken apart.
      operand->mark = 0;
      if (operand->storage) drop_storage(operand);
      operand->shared_next = *todo;
      *todo = operand;
    }
  }
  if (n->edges != n->inline_edges) free(n->edges);
  if (n->shape != n->inline_dims) free(n->shape);
  if (n->attributes && n->attributes->function) {
    n->attributes->next = *functions;
    *functions = n->attributes;
  } else {
    delete n->attributes;
  }
  n->edges = n->inline_edges;
  n->shape = n->inline_dims;
  n->strides = n->inline_dims + kInlineDims;
  n->attributes = nullptr;
  n->n_edges = 0;
  if (kKeepFreed && n_kept < kKept) {
    n->shared_next = kept;
    kept = n;
    ++n_kept;
  } else {
    delete n;
  }
}

}  // namespace

Node* new_node(Op op, DType dtype, int ndim, int n_edges) {
  Node* n = allocate_node();
  n->op = op;
  n->dtype = dtype;
  n->ndim = static_cast<uint8_t>(ndim);
  n->stream = current_stream();
  n->size = 1;
  n->n_edges = 0;
  if (ndim > kInlineDims) {
    n->shape = static_cast<int64_t*>(malloc(sizeof(int64_t) * 2 * static_cast<size_t>(ndim)));
    if (!n->shape) {
      n->shape = n->inline_dims;
      free_node(n);
      throw std::bad_alloc();
    }
    n->strides = n->shape + ndim;
  }
  if (n_edges > kInlineEdges) {
    n->edges = static_cast<Edge*>(calloc(static_cast<size_t>(n_edges), sizeof(Edge)));
    if (!n->edges) {
      n->edges = n->inline_edges;
      free_node(n);
      throw std::bad_alloc();
    }
  }
  for (int i = 0; i < n_edges; ++i) n->edges[i].node = nullptr;
  n->n_edges = static_cast<uint32_t>(n_edges);
  return n;
}

void set_shape(Node* n, const int64_t* shape) {
  int64_t size = 1;
  bool overflow = false;
  bool empty = false;
  for (int i = 0; i < n->ndim; ++i) {
    n->shape[i] = shape[i];
    if (shape[i] < 0) raise_value("[bridge] an extent is negative: " + std::to_string(shape[i]) + ".");
    if (shape[i] == 0)
      empty = true;
    else
      overflow |= __builtin_mul_overflow(size, shape[i], &size);
  }
  int64_t bytes;
  if (!empty) overflow |= __builtin_mul_overflow(size, itemsize(n->dtype), &bytes);
  if (overflow && !empty) raise_value("[bridge] the array would have more bytes than an address can count.");
  n->size = empty ? 0 : size;
}

void set_edge(Node* n, int i, Node* operand) {
  Edge& e = n->edges[i];
  e.node = retain(operand);
  e.self = n;
  e.next = operand->consumers;
  e.link = &operand->consumers;
  if (operand->consumers) operand->consumers->link = &e.next;
  operand->consumers = &e;
  if (operand->trace > n->trace) n->trace = operand->trace;
  n->flags |= operand->flags & kSymbolic;
}

void replace_operand(Node* n, int i, Node* operand) {
  NodeRef old(n->edges[i].node);
  unlink(n->edges[i]);
  set_edge(n, i, operand);
}

void detach(Node* n) noexcept {
  uint32_t count = n->n_edges;
  n->n_edges = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Node* operand = n->edges[i].node;
    if (!operand) continue;
    unlink(n->edges[i]);
    n->edges[i].node = nullptr;
    release(operand);
  }
  if (n->edges != n->inline_edges) free(n->edges);
  n->edges = n->inline_edges;
  if (n->attributes && n->attributes->function) drop_functions(std::exchange(n->attributes, nullptr));
}

void free_node(Node* n) noexcept {
  if (n->storage) drop_storage(n);
  n->shared_next = nullptr;
  Node* todo = n;
  Attributes* functions = nullptr;
  while (todo) {
    Node* next = todo;
    todo = next->shared_next;
    next->shared_next = nullptr;
    take_apart(next, &todo, &functions);
  }
  if (functions) drop_functions(functions);
}

void attach_storage(Node* n, Storage* s, unsigned char* data, const int64_t* strides) {
  n->storage = s;
  n->data = data;
  if (strides) {
    if (strides != n->strides) memcpy(n->strides, strides, sizeof(int64_t) * n->ndim);
  } else {
    dense_strides(n->ndim, n->shape, n->strides);
  }
  if (!strides || is_row_major(n->ndim, n->shape, n->strides))
    n->flags |= kDense;
  else
    n->flags &= static_cast<uint8_t>(~kDense);
  n->shared_next = s->nodes;
  n->shared_link = &s->nodes;
  if (s->nodes) s->nodes->shared_link = &n->shared_next;
  s->nodes = n;
  ++s->n_nodes;
}

void drop_storage(Node* n) noexcept {
  Storage* s = n->storage;
  *n->shared_link = n->shared_next;
  if (n->shared_next) n->shared_next->shared_link = n->shared_link;
  n->shared_next = nullptr;
  --s->n_nodes;
  if (s->lessee == n) s->lessee = nullptr;
  n->storage = nullptr;
  n->data = nullptr;
  release(s);
}

void dense_strides(int ndim, const int64_t* shape, int64_t* strides) {
  int64_t step = 1;
  for (int i = ndim; i-- > 0;) {
    strides[i] = step;
    step *= shape[i] > 1 ? shape[i] : 1;
  }
}

namespace {
bool empty(int ndim, const int64_t* shape) {
  for (int i = 0; i < ndim; ++i)
    if (shape[i] == 0) return true;
  return false;
}
}  // namespace

bool is_row_major(int ndim, const int64_t* shape, const int64_t* strides) {
  int64_t step = 1;
  for (int i = ndim; i-- > 0;) {
    if (shape[i] == 1) continue;
    if (strides[i] != step) return empty(ndim, shape);
    step *= shape[i];
  }
  return true;
}

bool is_column_major(int ndim, const int64_t* shape, const int64_t* strides) {
  int64_t step = 1;
  for (int i = 0; i < ndim; ++i) {
    if (shape[i] == 1) continue;
    if (strides[i] != step) return empty(ndim, shape);
    step *= shape[i];
  }
  return true;
}

bool overlaps_itself(int ndim, const int64_t* shape, const int64_t* strides) {
  if (empty(ndim, shape)) return false;
  // Axes by falling stride; each step must clear everything the smaller ones span.
  int order[kMaxNdim], count = 0;
  for (int i = 0; i < ndim; ++i) {
    if (shape[i] <= 1) continue;
    int at = count++;
    while (at > 0 && llabs(strides[order[at - 1]]) > llabs(strides[i])) {
      order[at] = order[at - 1];
      --at;
    }
    order[at] = i;
  }
  int64_t span = 0;  // largest offset reachable with the axes so far
  for (int k = 0; k < count; ++k) {
    int64_t step = llabs(strides[order[k]]);
    if (step <= span) return true;
    span += step * (shape[order[k]] - 1);
  }
  return false;
}

void byte_range(int ndim, const int64_t* shape, const int64_t* strides, int64_t item, int64_t* low, int64_t* high) {
  *low = *high = 0;
  if (empty(ndim, shape)) return;
  for (int i = 0; i < ndim; ++i) {
    int64_t reach = (shape[i] - 1) * strides[i] * item;
    (reach < 0 ? *low : *high) += reach;
  }
  *high += item;
}

}  // namespace bridge
