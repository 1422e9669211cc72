// What the exchange needs to know of a capsule before it decides what becomes of it. Nothing here reads the memory that
// the capsule points to, so its device and its element type may be unknown to the engine. The GIL is held throughout.
#include "capsules.h"

#include <cstring>
#include <string>

#include "dlpack.h"

namespace bridge {
namespace {

constexpr const char* kTag = "bridge.from_";
constexpr int kMostAxes = 64;  // of a tensor that is described; the engine itself takes fewer

[[noreturn]] void refuse(const std::string& problem, const std::string& got, const std::string& want = "") {
  throw Error("ExchangeError", message(kTag, problem, got, want));
}

struct Opened {
  const dlpack::Tensor* tensor;
  uint64_t flags;
  void* managed;
  bool versioned;
};

// The tensor in a capsule that nobody has used yet, in place.
Opened open(PyObject* capsule) {
  if (!PyCapsule_CheckExact(capsule))
    raise_type(message(kTag, "the object is not a DLPack capsule.", Py_TYPE(capsule)->tp_name));
  if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
    auto* m = static_cast<dlpack::ManagedVersioned*>(PyCapsule_GetPointer(capsule, "dltensor_versioned"));
    if (m->version.major != dlpack::kVersion.major)
      refuse("the capsule's DLPack version is not known.",
             std::to_string(m->version.major) + "." + std::to_string(m->version.minor), "1.x");
    return {&m->tensor, m->flags, m, true};
  }
  if (PyCapsule_IsValid(capsule, "dltensor")) {
    auto* m = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule, "dltensor"));
    return {&m->tensor, 0, m, false};
  }
  const char* name = PyCapsule_GetName(capsule);
  PyErr_Clear();
  if (name && !strncmp(name, "used_dltensor", 13))
    refuse("the capsule has been consumed already; a capsule can be used once.", name);
  refuse("the capsule does not hold a DLPack tensor.", name ? name : "a capsule without a name",
         "'dltensor' or 'dltensor_versioned'");
}

Ref integers(int n, const int64_t* values) {
  Ref tuple = Ref::check(PyTuple_New(n));
  for (int i = 0; i < n; ++i) PyTuple_SET_ITEM(tuple.get(), i, Ref::check(PyLong_FromLongLong(values[i])).release());
  return tuple;
}

PyObject* describe_capsule(PyObject*, PyObject* capsule) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Opened opened = open(capsule);
    const dlpack::Tensor& t = *opened.tensor;
    if (t.ndim < 0 || t.ndim > kMostAxes)
      refuse("the number of dimensions is out of range.", std::to_string(t.ndim), "0 to " + std::to_string(kMostAxes));
    if (t.ndim > 0 && !t.shape) refuse("the shape pointer is NULL.", std::to_string(t.ndim) + " dimensions");
    int64_t dense[kMostAxes], step = 1, bytes = t.dtype.bits / 8 + 1;
    bool empty = false, overflow = false;
    for (int i = t.ndim - 1; i >= 0; --i) {
      if (t.shape[i] < 0) refuse("an extent is negative.", std::to_string(t.shape[i]));
      empty |= t.shape[i] == 0;
      dense[i] = step;
      overflow |= t.shape[i] > 0 && __builtin_mul_overflow(step, t.shape[i], &step);
    }
    overflow |= __builtin_mul_overflow(step, bytes, &bytes) || t.byte_offset > (uint64_t{1} << 62);
    if (overflow && !empty)
      refuse("the array would have more bytes than an address can count.", std::to_string(t.ndim) + " dimensions");
    if (!t.data && !empty) refuse("the data pointer is NULL and the array is not empty.", "NULL");
    uint64_t address = t.data ? reinterpret_cast<uintptr_t>(t.data) + t.byte_offset : 0;
    Ref shape = integers(t.ndim, t.shape), strides = integers(t.ndim, t.strides ? t.strides : dense);
    return Py_BuildValue("((iii)OOK(ii)KN)", t.dtype.code, t.dtype.bits, t.dtype.lanes, shape.get(), strides.get(),
                         static_cast<unsigned long long>(address), t.device.type, t.device.id,
                         static_cast<unsigned long long>(opened.flags), PyBool_FromLong(opened.versioned));
  });
}

PyObject* take_capsule(PyObject*, PyObject* capsule) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Opened opened = open(capsule);
    if (PyCapsule_SetName(capsule, opened.versioned ? "used_dltensor_versioned" : "used_dltensor") < 0)
      throw PythonError{};
    return opened.versioned ? dlpack::capsule(static_cast<dlpack::ManagedVersioned*>(opened.managed))
                            : dlpack::capsule(static_cast<dlpack::Managed*>(opened.managed));
  });
}

PyMethodDef methods[] = {
    {"describe_capsule", describe_capsule, METH_O,
     "describe_capsule(capsule, /)\n--\n\n((code, bits, lanes), shape, strides in elements, address of the first "
     "element, (device type, device id), flags,\nversioned) of an unused DLPack capsule, which stays unused. Raises "
     "ExchangeError if it is used or damaged."},
    {"take_capsule", take_capsule, METH_O,
     "take_capsule(capsule, /)\n--\n\nA capsule that owns what the given one owned; that one is used afterwards."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_capsules(PyObject* module) {
  if (PyModule_AddFunctions(module, methods) < 0) throw PythonError{};
}

}  // namespace bridge
