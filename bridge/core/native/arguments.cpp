#include "arguments.h"

#include <string>

namespace bridge {

NodeRef need_array(PyObject* o, const char* op) {
  Operand operand = need_operand(o, op);
  if (!operand.is_weak()) return operand.node;
  DType t = default_dtype(operand.weak);
  return make_constant(t, encode(operand.weak, t, op));
}

int64_t need_int(PyObject* o, const char* op, const char* what) {
  Ref index(o ? PyNumber_Index(o) : nullptr);
  if (!index) {
    PyErr_Clear();
    raise_type(message(std::string("bridge.") + op, std::string(what) + " must be an integer.",
                       o ? Py_TYPE(o)->tp_name : "None"));
  }
  long long v = PyLong_AsLongLong(index.get());
  if (v == -1 && PyErr_Occurred()) throw PythonError{};
  return v;
}

std::vector<NodeRef> need_arrays(PyObject* o, const char* op) {
  std::vector<NodeRef> arrays;
  if (is_array(o)) raise_type(message(std::string("bridge.") + op, "a sequence of arrays is wanted, not one array."));
  Ref items = Ref::check(PySequence_Fast(o, "a sequence of arrays is wanted"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i)
    arrays.push_back(need_array(PySequence_Fast_GET_ITEM(items.get(), i), op));
  if (arrays.empty()) raise_value(message(std::string("bridge.") + op, "at least one array is needed."));
  return arrays;
}

}  // namespace bridge
