#include "front.h"

#include <string>

#include "errors.h"

namespace bridge {
namespace {

// One public function: the table of shortcuts that it looks into, and the Python function behind it. There are two for
// the life of the process, so their definitions can be static, and they pickle by name like any builtin.
struct Front {
  PyMethodDef definition = {};
  std::string name, doc;
  PyObject* slow = nullptr;
  PyObject* table = nullptr;
};
Front by_target, by_source;  // bridge.to(target, x): table[target][type(x)]; bridge.from_(x): table[type(x)]

// The shortcut for args, borrowed; nullptr if there is none. The tables are read while other threads empty them in
// place, which the GIL makes safe.
PyObject* find_shortcut(PyObject* table, PyObject* const* args, bool keyed) {
  if (keyed) {
    if (!PyUnicode_CheckExact(args[0])) return nullptr;
    table = PyDict_GetItemWithError(table, args[0]);
    if (!table) return nullptr;
  }
  return PyDict_GetItemWithError(table, reinterpret_cast<PyObject*>(Py_TYPE(args[keyed])));
}

// A shortcut answers None or raises for anything unusual: the readable path decides again, and finds the words.
template <bool kKeyed>
PyObject* call(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  const Front& front = kKeyed ? by_target : by_source;
  if (!names && nargs == 1 + kKeyed) {
    if (PyObject* shortcut = find_shortcut(front.table, args, kKeyed)) {
      Ref hold = Ref::borrow(shortcut);
      Ref result(PyObject_CallOneArg(shortcut, args[kKeyed]));
      if (result && result.get() != Py_None) return result.release();
      if (!result && !PyErr_ExceptionMatches(PyExc_Exception)) return nullptr;
    }
    PyErr_Clear();
  }
  return PyObject_Vectorcall(front.slow, args, static_cast<size_t>(nargs), names);
}

PyObject* front(PyObject*, PyObject* args) {
  PyObject *slow, *table;
  int keyed;
  const char *name, *doc;
  PyObject* module;
  if (!PyArg_ParseTuple(args, "OO!pssU:front", &slow, &PyDict_Type, &table, &keyed, &name, &doc, &module))
    return nullptr;
  Front& f = keyed ? by_target : by_source;
  f.name = name;
  f.doc = doc;
  Py_XSETREF(f.slow, Py_NewRef(slow));
  Py_XSETREF(f.table, Py_NewRef(table));
  auto* function = keyed ? call<true> : call<false>;
  f.definition = {f.name.c_str(), reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
                  METH_FASTCALL | METH_KEYWORDS, f.doc.c_str()};
  return PyCFunction_NewEx(&f.definition, nullptr, module);
}

PyMethodDef methods[] = {
    {"front", front, METH_VARARGS,
     "front(slow, table, keyed, name, doc, module, /)\n--\n\n`slow` behind a look-up. Called plainly, (target, x) "
     "looks for table[target][type(x)] if keyed, (x) for table[type(x)]\n"
     "if not, and returns what the function found there returns, unless that is None or an Exception. All other calls, "
     "and\n"
     "those that fell through, go to `slow`. At most one of each kind exists."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_front(PyObject* module) {
  if (PyModule_AddFunctions(module, methods) < 0) throw PythonError{};
}

}  // namespace bridge
