#include "host.h"

#include <vector>

#include "array.h"
#include "primitive.h"
#include "stream.h"

namespace bridge {
namespace {

constexpr int64_t kReleaseGilAbove = 4 << 20;  // bytes

// What the function is given. Its views keep the bytes alive and cannot write; bytes that the outside can write are
// copied, so that nothing has to wait for the function to end (tests/core/test_host.py).
PyObject* argument(const Node* a) {
  Ref view = Ref::check(readonly_ndarray(a));
  if (!a->storage->open()) return view.release();
  return Ref::check(PyObject_CallMethod(view.get(), "copy", nullptr)).release();
}

// Copies the bytes of a C-contiguous buffer into engine memory.
void fill(Node* n, PyObject* value) {
  struct Buffer : Py_buffer {
    ~Buffer() { PyBuffer_Release(this); }
  } buffer;
  if (PyObject_GetBuffer(value, &buffer, PyBUF_C_CONTIGUOUS) < 0) {
    buffer.obj = nullptr;
    throw PythonError{};
  }
  if (buffer.len != n->nbytes())
    raise_value(message("bridge.host", "a function gave another number of bytes than it had promised.",
                        std::to_string(buffer.len) + " bytes", describe(n)));
  Storage* storage = new_storage(static_cast<size_t>(n->nbytes()));
  auto size = static_cast<size_t>(buffer.len);
  if (buffer.len > kReleaseGilAbove) {
    ReleaseGil released;
    memcpy(storage->data, buffer.buf, size);
  } else if (size) {
    memcpy(storage->data, buffer.buf, size);
  }
  attach_storage(n, storage, static_cast<unsigned char*>(storage->data), nullptr);
}

// Where the interpreter ends and stops this thread in the middle of the function, it stays, as in ~ReleaseGil().
PyObject* call(PyObject* function, PyObject* arguments) {
  try {
    return PyObject_Call(function, arguments, nullptr);
  } catch (...) {
    for (;;) pause();
  }
}

void drop_reference(void* object) { Py_DECREF(static_cast<PyObject*>(object)); }

NodeRef make_node(Op op, PyObject* result, int n_edges) {
  PyObject *dtype, *extents;
  if (!PyArg_ParseTuple(result, "OO:host", &dtype, &extents)) throw PythonError{};
  int64_t shape[kMaxNdim];
  int ndim = to_shape(extents, shape, "host");
  NodeRef n(new_node(op, to_dtype(dtype), ndim, n_edges));
  set_shape(n.get(), shape);
  return n;
}

// Constants may be shared by all of the program; one that is being evaluated makes others wait, or meets itself in code
// that the function runs.
NodeRef private_operand(Node* a) {
  if (a->op != Op::constant || a->evaluated()) return NodeRef::borrow(a);
  NodeRef own(new_node(Op::constant, a->dtype, a->ndim, 0));
  set_shape(own.get(), a->shape);
  own->scalar = a->scalar;
  return own;
}

void bind_operands(Node* n, PyObject* function, PyObject* operands) {
  n->attributes = new Attributes;
  n->attributes->function = Py_NewRef(function);
  for (uint32_t k = 0; k < n->n_edges; ++k) {
    PyObject* operand = PyTuple_GET_ITEM(operands, static_cast<Py_ssize_t>(k));
    if (!is_array(operand)) raise_type("[bridge.host] the operands must be arrays.");
    set_edge(n, static_cast<int>(k), private_operand(node_of(operand)).get());
  }
}

}  // namespace

PyObject* host(PyObject*, PyObject* const* args, Py_ssize_t n_args) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    if (n_args != 4 || !PyTuple_Check(args[1])) raise_type("host() takes a function, a tuple, results and a stream");
    PyObject *function = args[0], *operands = args[1], *results = args[2];
    const StreamScope scope(stream_of(args[3]));
    auto n_operands = static_cast<int>(PyTuple_GET_SIZE(operands));
    if (!PyList_Check(results)) {
      NodeRef n = make_node(Op::host, results, n_operands);
      n->stage = 0;
      bind_operands(n.get(), function, operands);
      return wrap(finish(std::move(n)));
    }
    // The function's results hang together in a node that no array is bound to; every part takes its own out of it.
    Py_ssize_t count = PyList_GET_SIZE(results);
    if (count == 0) raise_value("[bridge.host] a function without results is no op.");
    NodeRef all(new_node(Op::host, DType::uint8, 0, n_operands));
    all->stage = static_cast<uint16_t>(count);
    bind_operands(all.get(), function, operands);
    Ref parts = Ref::check(PyTuple_New(count));
    for (Py_ssize_t k = 0; k < count; ++k) {
      NodeRef part = make_node(Op::host_part, PyList_GET_ITEM(results, k), 1);
      part->stage = static_cast<uint16_t>(k);
      set_edge(part.get(), 0, all.get());
      PyTuple_SET_ITEM(parts.get(), k, wrap(std::move(part)));
    }
    finish(std::move(all));
    return parts.release();
  });
}

void run_host(Node* n) {
  Ref arguments = Ref::check(PyTuple_New(static_cast<Py_ssize_t>(n->n_edges)));
  for (uint32_t k = 0; k < n->n_edges; ++k)
    PyTuple_SET_ITEM(arguments.get(), static_cast<Py_ssize_t>(k), argument(n->edges[k].node));
  Ref function = Ref::borrow(static_cast<PyObject*>(n->attributes->function));
  Ref result = Ref::check(call(function.get(), arguments.get()));
  arguments = Ref();
  if (n->stage == 0) return fill(n, result.get());
  Ref list = Ref::check(PySequence_List(result.get()));
  if (PyList_GET_SIZE(list.get()) != n->stage)
    raise_value("[bridge.host] a function gave another number of results than it had promised.");
  Storage* storage = adopt_memory(nullptr, 0, {}, list.get(), drop_reference);
  list.release();
  attach_storage(n, storage, nullptr, nullptr);
}

void run_host_part(Node* n, bool keep) {
  auto* list = static_cast<PyObject*>(n->input(0)->storage->owner);
  Ref value = Ref::borrow(PyList_GET_ITEM(list, n->stage));
  fill(n, value.get());
  // Derivatives may ask for it again.
  if (keep && !is_traced(n)) PyList_SetItem(list, n->stage, Py_NewRef(Py_None));
}

std::string describe_host(const Node* n) {
  Ref name(PyObject_Str(static_cast<PyObject*>(n->attributes->function)));
  const char* text = name ? PyUnicode_AsUTF8(name.get()) : nullptr;
  if (!text) throw PythonError{};
  std::string line = std::string("kernel host ") + text;
  for (uint32_t k = 0; k < n->n_edges; ++k) line += (k ? ", " : " ") + describe(n->edges[k].node);
  return n->stage == 0 ? line + " -> " + describe(n) : line;
}

void drop_functions(Attributes* list) noexcept {
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  while (list) {
    Attributes* next = list->next;
    Py_DECREF(static_cast<PyObject*>(list->function));
    delete list;
    list = next;
  }
  PyErr_Restore(type, value, trace);
}

}  // namespace bridge
