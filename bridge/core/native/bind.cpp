// The module bridge.core._native.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "array.h"
#include "capsules.h"
#include "doors.h"
#include "eval.h"
#include "front.h"
#include "graph.h"
#include "host.h"
#include "index.h"
#include "isa.h"
#include "iterator.h"
#include "mapped.h"
#include "memory.h"
#include "placed.h"
#include "primitive.h"
#include "random.h"
#include "stream.h"
#include "take.h"
#include "threads.h"
#include "trace.h"

namespace nb = nanobind;

namespace bridge {
void make_array_types(PyObject* module);

namespace {

PyObject* kernel_callback = nullptr;

void call_kernel_callback(const char* text) {
  Ref result(PyObject_CallFunction(kernel_callback, "s", text));
  if (!result) PyErr_WriteUnraisable(kernel_callback);
}

void set_callback(nb::object callback) {
  bool none = callback.is_none();
  Py_XSETREF(kernel_callback, none ? nullptr : callback.release().ptr());
  set_kernel_log(none ? nullptr : call_kernel_callback);
}

// Arrays in dicts, lists and tuples, at any depth.
void collect(PyObject* tree, Small<Node*, 32>& nodes, int depth = 0) {
  if (depth > 200) raise_value("[bridge.eval] the containers are nested too deeply.");
  if (is_array(tree)) {
    nodes.push(node_of(tree));
  } else if (PyDict_Check(tree)) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(tree, &at, &key, &value)) collect(value, nodes, depth + 1);
  } else if (PyList_Check(tree) || PyTuple_Check(tree)) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(tree); ++i)
      collect(PySequence_Fast_GET_ITEM(tree, i), nodes, depth + 1);
  }
}

// compute(nodes, n) for the arrays in the arguments.
template <class F>
PyObject* with_arrays(PyObject* const* args, Py_ssize_t n, F&& compute) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Small<Node*, 32> nodes;
    for (Py_ssize_t i = 0; i < n; ++i) collect(args[i], nodes);
    for (size_t i = 0; i < nodes.size(); ++i) retain(nodes[i]);
    struct Hold {
      Small<Node*, 32>& nodes;
      ~Hold() {
        for (size_t i = 0; i < nodes.size(); ++i) release(nodes[i]);
      }
    } hold{nodes};
    if (nodes.size()) compute(&nodes[0], nodes.size());
    Py_RETURN_NONE;
  });
}

PyObject* eval(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return with_arrays(args, n, [](Node* const* nodes, size_t count) { evaluate(nodes, count); });
}

PyObject* async_eval(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return with_arrays(args, n, evaluate_in_background);
}

PyObject* is_evaluated(PyObject*, PyObject* a) {
  if (!is_array(a)) {
    PyErr_SetString(PyExc_TypeError, "[bridge.is_evaluated] the argument is not a bridge array.");
    return nullptr;
  }
  return PyBool_FromLong(node_of(a)->evaluated());
}

PyObject* py_promote(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("promote() takes two dtypes");
    return Py_NewRef(dtype_object(promote(to_dtype(args[0]), to_dtype(args[1]))));
  });
}

PyObject* result_type(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    bool any = false;
    DType t = DType::bool_;
    auto join = [&](DType other) {
      t = any ? promote(t, other) : other;
      any = true;
    };
    for (Py_ssize_t i = 0; i < n; ++i) {
      if (Py_TYPE(args[i]) == dtype_type)
        join(to_dtype(args[i]));
      else if (is_array(args[i]))
        join(node_of(args[i])->dtype);
    }
    for (Py_ssize_t i = 0; i < n; ++i) {
      Weak w;
      if (Py_TYPE(args[i]) == dtype_type || is_array(args[i])) continue;
      if (!to_weak(args[i], &w)) raise_type("[bridge.result_type] arrays, dtypes and Python scalars are wanted.");
      t = any ? promote_weak(t, w) : default_dtype(w);
      any = true;
    }
    if (!any) raise_value("[bridge.result_type] at least one argument is needed.");
    return Py_NewRef(dtype_object(t));
  });
}

PyObject* lookup_dtype(PyObject*, PyObject* name) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    for (int i = 0; i < kDTypeCount; ++i)
      if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, kDTypes[i].name) == 0)
        return Py_NewRef(dtype_object(static_cast<DType>(i)));
    raise_dtype("[bridge] there is no dtype of that name.");
  });
}

PyObject* new_lease_for_bytes(PyObject*, PyObject* a) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (!is_array(a)) raise_type("[bridge] the argument is not a bridge array.");
    NodeRef n = evaluated_node(a);
    NodeRef dense = n->is(kDense) && !n->storage->open() ? n : make_copy(n.get());
    evaluate(dense.get());
    return new_lease(dense.get(), Access::frozen, "pickle", "bytes");
  });
}

size_t checked(nb::int_ limit) {
  size_t n = PyLong_AsSize_t(limit.ptr());
  if (n == static_cast<size_t>(-1) && PyErr_Occurred()) throw nb::python_error();
  return n;
}

PyObject* after_fork_in_child(PyObject*, PyObject*) {
  forget_other_threads();
  Py_RETURN_NONE;
}

PyObject* buffer_of(PyObject*, PyObject* o) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    if (!is_array(o)) raise_type("[bridge] an array is wanted.");
    const Storage* s = node_of(o)->storage;
    if (!s) Py_RETURN_NONE;
    return Py_BuildValue("Kn", reinterpret_cast<unsigned long long>(s->data), static_cast<Py_ssize_t>(s->nbytes));
  });
}

PyMethodDef methods[] = {
    {"_after_fork_in_child", after_fork_in_child, METH_NOARGS,
     "_after_fork_in_child()\n--\n\nForgets the threads and the evaluations of the parent process."},
    {"eval", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(eval)), METH_FASTCALL,
     "eval(*args)\n--\n\nCompute the arrays in the arguments (arrays, and dicts, lists and tuples of them). What is "
     "computed stays computed."},
    {"async_eval", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(async_eval)), METH_FASTCALL,
     "async_eval(*args)\n--\n\nStart to compute the arrays in the arguments (arrays, and dicts, lists and tuples of "
     "them), and return at once. What needs them waits for them; an error is raised there."},
    {"is_evaluated", is_evaluated, METH_O, "is_evaluated(a)\n--\n\nWhether the array's values have been computed."},
    {"promote", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(py_promote)), METH_FASTCALL,
     "promote(a, b, /)\n--\n\nDtype of an operation on these two dtypes."},
    {"result_type", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(result_type)), METH_FASTCALL,
     "result_type(*arrays_dtypes_scalars)\n--\n\nDtype of an operation on these; Python scalars are weak."},
    {"_dtype", lookup_dtype, METH_O, nullptr},
    {"_bytes_lease", new_lease_for_bytes, METH_O,
     "_bytes_lease(a)\n--\n\nA lease that exports a's elements as flat row-major bytes, read-only."},
    {"declare", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(declare)), METH_VARARGS | METH_KEYWORDS,
     "declare(name, kind, *, arity=None, accepts=0, result='same', plan=None)\n--\n\nRegister a primitive declared in "
     "Python and return its native callable. A host primitive calls `plan`."},
    {"host", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(host)), METH_FASTCALL,
     "host(function, operands, results, stream, /)\n--\n\nThe lazy result of a Python function over NumPy arrays. "
     "`results` is (dtype, shape) for one array, or a list of them for a tuple of arrays."},
    {"_buffer", buffer_of, METH_O,
     "_buffer(a)\n--\n\nAddress and size in bytes of the buffer that holds a's elements; None if it is not computed."},
    {"next_key", next_key, METH_O,
     "next_key(state, /)\n--\n\nA fresh key from the one in the list `state`, which another takes the place of."},
    {"true_places", true_places_of, METH_O,
     "true_places(mask, /)\n--\n\nPositions of the true elements in row-major order, int32 or int64. Evaluates."},
    {"updated_at", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(updated_at)), METH_FASTCALL,
     "updated_at(a, key, value, name, /)\n--\n\na.at[key].name(value): add, subtract, multiply, divide, maximum or "
     "minimum."},
    {nullptr, nullptr, 0, nullptr},
};

void register_at_fork(PyObject* module) {
  prepare_for_forks();
  Ref hook = Ref::check(PyObject_GetAttrString(module, "_after_fork_in_child"));
  Ref os = Ref::check(PyImport_ImportModule("os"));
  Ref call = Ref::check(PyObject_GetAttrString(os.get(), "register_at_fork"));
  Ref none = Ref::check(PyTuple_New(0)), keywords = Ref::check(Py_BuildValue("{s:O}", "after_in_child", hook.get()));
  Ref::check(PyObject_Call(call.get(), none.get(), keywords.get()));
}

}  // namespace
}  // namespace bridge

NB_MODULE(_native, m) {
  using namespace bridge;
  nb::set_leak_warnings(false);
  static bool loaded = false;
  if (loaded)
    throw nb::import_error("[bridge] the engine is loaded already, and works in one interpreter of a process only.");
  loaded = true;
  isa();  // an unknown BRIDGE_ISA is an error of the import
  try {
    make_array_types(m.ptr());
    make_iterator_type(m.ptr());
    make_primitive_type(m.ptr());
    add_doors(m.ptr());
    add_capsules(m.ptr());
    add_front(m.ptr());
    add_mapped(m.ptr());
    add_placed(m.ptr());
    add_streams(m.ptr());
    add_trace(m.ptr());
    add_graph(m.ptr());
    if (PyModule_AddFunctions(m.ptr(), methods) < 0) throw PythonError{};
    register_at_fork(m.ptr());
  } catch (const PythonError&) { throw nb::python_error(); }
  m.def("set_kernel_log", &set_callback, nb::arg("callback").none(),
        "Call callback(text) for every kernel that runs; None stops it.");
  m.def("get_active_memory", &active_memory, "Bytes of arrays that are alive.");
  m.def("get_peak_memory", &peak_memory,
        "Largest number of bytes alive at one time since the start or reset_peak_memory().");
  m.def("reset_peak_memory", &reset_peak_memory, "Start measuring the peak anew.");
  m.def("get_cache_memory", &cache_memory, "Bytes of freed arrays that are kept for reuse.");
  m.def("clear_cache", &clear_cache, "Give the kept bytes back to the system.");
  m.def("get_memory_limit", &memory_limit, "Bytes that arrays may take before MemoryError is raised.");
  m.def(
      "set_memory_limit", [](nb::int_ limit) { return set_memory_limit(checked(limit)); }, nb::arg("limit"),
      "Raise MemoryError when arrays would take more bytes than this. Returns the old limit.");
  m.def(
      "set_cache_limit", [](nb::int_ limit) { return set_cache_limit(checked(limit)); }, nb::arg("limit"),
      "Keep at most this many bytes of freed arrays. Returns the old limit.");
  m.def("isa_name", &isa_name, "SIMD level in use: v2, v3, v4 (x86-64), neon or generic.");
  m.def("thread_count", &thread_count, "Threads that kernels use, including the caller.");
  m.def("set_thread_count", &set_thread_count, nb::arg("n"), "Use n threads from the next kernel on.");
}
