// The functions that plugins and bridge/core/interop.py build on (strides in elements). They check everything: Python
// code outside the package may call them.
#include <string>

#include "dlpack.h"
#include "doors.h"
#include "eval.h"
#include "exchange.h"
#include "import.h"

namespace bridge {
namespace {

using Args = PyObject* const*;

PyObject* need_array_object(PyObject* o, const char* function) {
  if (!is_array(o))
    raise_type(message(std::string("bridge.") + function, "the argument is not a bridge array.", Py_TYPE(o)->tp_name));
  return o;
}

void need_count(Py_ssize_t n, Py_ssize_t low, Py_ssize_t high, const char* function) {
  if (n < low || n > high)
    raise_type(std::string(function) + "() takes " + std::to_string(low) + " to " + std::to_string(high) +
               " arguments, got " + std::to_string(n));
}

const char* need_text(PyObject* o) {
  const char* text = PyUnicode_AsUTF8(o);
  if (!text) throw PythonError{};
  return text;
}

Access need_access(PyObject* o) {
  std::string name = need_text(o);
  if (name == "write") return Access::write;
  if (name == "read" || name == "frozen") return Access::frozen;
  raise_value("[bridge] access must be 'write', 'read' or 'frozen', not '" + name + "'.");
}

std::string refusal(Node* n, Access access) { return access == Access::write ? write_refusal(n) : frozen_refusal(n); }

PyObject* text_or_none(const std::string& text) {
  if (text.empty()) Py_RETURN_NONE;
  return PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}

PyObject* make_capsule(Node* n, bool versioned, Access access, bool read_only, const char* holder) {
  if (versioned) return dlpack::capsule(dlpack::make_versioned(n, access, read_only ? dlpack::kReadOnly : 0, holder));
  return dlpack::capsule(dlpack::make_legacy(n, access, holder));
}

PyObject* facts(PyObject*, PyObject* o) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    NodeRef held = evaluated_node(need_array_object(o, "facts"));
    Node* n = held.get();
    std::string reason = write_refusal(n);
    Ref shape = Ref::check(shape_tuple(n->ndim, n->shape)), strides = Ref::check(shape_tuple(n->ndim, n->strides));
    Ref why = Ref::check(text_or_none(reason));
    return Py_BuildValue("(OOOKLsO)", dtype_object(n->dtype), shape.get(), strides.get(),
                         static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(n->data)),
                         static_cast<long long>(n->nbytes()), reason.empty() ? "write" : "read", why.get());
  });
}

PyObject* frozen_reason(PyObject*, PyObject* o) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    return text_or_none(frozen_refusal(evaluated_node(need_array_object(o, "frozen_reason")).get()));
  });
}

PyObject* export_dlpack(PyObject*, Args args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static const char* const kNames[] = {"a", "versioned", "access", "holder"};
    PyObject* v[4] = {};
    parse_arguments({"export_dlpack", kNames, 4, 4, 1}, args, nargs, names, v);
    NodeRef held = evaluated_node(need_array_object(v[0], "export_dlpack"));
    Node* n = held.get();
    Access access = need_access(v[2]);
    bool read_only = std::string(need_text(v[2])) == "read", versioned = truth(v[1]);
    if (read_only && !versioned)
      raise_value(
          "[bridge] a legacy capsule cannot say that it is read-only; access='frozen' is for consumers that never "
          "write.");
    if (std::string reason = refusal(n, access); !reason.empty())
      raise_copy_required(
          message("bridge.export_dlpack", "the bytes cannot be shared: " + reason + ".", describe(n), "", "copy=None"));
    return make_capsule(n, versioned, access, read_only, static_text(need_text(v[3])));
  });
}

PyObject* export_address(PyObject*, Args args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static const char* const kNames[] = {"a", "access", "holder"};
    PyObject* v[3] = {};
    parse_arguments({"export_address", kNames, 3, 3, 1}, args, nargs, names, v);
    NodeRef held = evaluated_node(need_array_object(v[0], "export_address"));
    Node* n = held.get();
    Access access = need_access(v[1]);
    if (std::string reason = refusal(n, access); !reason.empty())
      raise_copy_required(message("bridge.export_address", "the bytes cannot be shared: " + reason + ".", describe(n),
                                  "", "copy=None"));
    Ref lease(new_lease(n, access, static_text(need_text(v[2])), "address"));
    return Py_BuildValue("(OK)", lease.get(), static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(n->data)));
  });
}

// ---- one-step doors for the plain case: None means "take the long way", never an error ----

// Whether strides fit: 0 any, 1 none negative, 2 a permutation of a compact block, 3 row-major.
bool fits_layout(const Node* n, long layout) {
  if (layout == 0 || n->is(kDense) || n->size == 0) return true;
  for (int i = 0; i < n->ndim; ++i)
    if (n->shape[i] > 1 && n->strides[i] < 0) return false;
  if (layout == 1) return true;
  if (layout == 3) return is_row_major(n->ndim, n->shape, n->strides);
  int64_t span = 1;
  for (int i = 0; i < n->ndim; ++i)
    if (n->shape[i] > 1) span += (n->shape[i] - 1) * n->strides[i];
  return span == n->size && !overlaps_itself(n->ndim, n->shape, n->strides);
}

PyObject* offer(PyObject*, Args args, Py_ssize_t nargs) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    need_count(nargs, 7, 7, "offer");
    NodeRef held = evaluated_node(need_array_object(args[0], "offer"));
    Node* n = held.get();
    unsigned long dtypes = PyLong_AsUnsignedLong(args[1]);
    long alignment = PyLong_AsLong(args[2]), layout = PyLong_AsLong(args[3]);
    if (PyErr_Occurred()) throw PythonError{};
    if (alignment < 1) raise_value("[bridge.offer] the alignment must be at least 1.");
    Access access = need_access(args[4]);
    bool versioned = truth(args[5]);
    if (!(dtypes & bit(n->dtype)) || !fits_layout(n, layout)) Py_RETURN_NONE;
    if (n->size && reinterpret_cast<uintptr_t>(n->data) % static_cast<unsigned long>(alignment) != 0) Py_RETURN_NONE;
    if (!refusal(n, access).empty()) Py_RETURN_NONE;
    bool read_only = versioned && PyUnicode_CompareWithASCIIString(args[4], "read") == 0;
    return make_capsule(n, versioned, access, read_only, static_text(need_text(args[6])));
  });
}

PyObject* torch_export(PyObject*, Args args, Py_ssize_t nargs) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    need_count(nargs, 2, 2, "torch_export");
    dlpack::ExchangeTable* table = dlpack::exchange_table_of(args[0]);
    NodeRef held = evaluated_node(need_array_object(args[1], "torch_export"));
    Node* n = held.get();
    if (!fits_layout(n, 1) || info(n->dtype).padding || !write_refusal(n).empty()) Py_RETURN_NONE;
    dlpack::ManagedVersioned* managed = dlpack::make_versioned(n, Access::write, 0, "torch");
    void* out = nullptr;
    if (table->to_object(managed, &out) != 0) {
      managed->deleter(managed);
      throw PythonError{};
    }
    return static_cast<PyObject*>(out);
  });
}

// torch exports its placeholders for integers of 1 to 7 bits as if they were int8 or uint8 (seen on 2.13).
bool has_values(PyObject* tensor) {
  static PyObject *name = PyUnicode_InternFromString("dtype"), *int8 = nullptr, *uint8 = nullptr;
  if (!uint8) {
    Ref torch = Ref::check(PyImport_ImportModule("torch"));
    int8 = Ref::check(PyObject_GetAttrString(torch.get(), "int8")).release();
    uint8 = Ref::check(PyObject_GetAttrString(torch.get(), "uint8")).release();
  }
  Ref dtype = Ref::check(PyObject_GetAttr(tensor, name));
  return dtype.get() == int8 || dtype.get() == uint8;
}

// Whether a level of torch's forward differentiation is open, so that a tensor may carry a tangent: its requires_grad
// does not say so.
bool forward_level_is_open() {
  static PyObject* names = nullptr;  // of torch.autograd.forward_ad, for good once it is there
  static PyObject* current = PyUnicode_InternFromString("_current_level");
  if (!names) {
    Ref name = Ref::check(PyUnicode_FromString("torch.autograd.forward_ad"));
    Ref module(PyImport_GetModule(name.get()));
    if (!module) {
      PyErr_Clear();
      return false;
    }
    names = Py_NewRef(PyModule_GetDict(module.get()));
  }
  PyObject* level = PyDict_GetItemWithError(names, current);
  return level && PyLong_Check(level) && PyLong_AsLong(level) >= 0;
}

// What tensors are asked, taken from their class once: to look a method up costs a third of the call.
struct TensorMethods { PyObject *requires_grad, *is_neg, *is_conj, *untyped_storage; };

const TensorMethods& tensor_methods() {
  static TensorMethods methods{};
  if (!methods.untyped_storage) {
    Ref torch = Ref::check(PyImport_ImportModule("torch"));
    Ref tensor = Ref::check(PyObject_GetAttrString(torch.get(), "Tensor"));
    auto get = [&](const char* name) { return Ref::check(PyObject_GetAttrString(tensor.get(), name)).release(); };
    methods = {get("requires_grad"), get("is_neg"), get("is_conj"), get("untyped_storage")};
  }
  return methods;
}

Ref ask(PyObject* method, PyObject* tensor) { return Ref::check(PyObject_Vectorcall(method, &tensor, 1, nullptr)); }

// requires_grad, is_neg() or is_conj(): the plain bytes are not all there is to the tensor. Each question costs about
// 50 ns, so those that the dtype answers are not asked: only floats carry gradients, only complex numbers conjugate.
bool is_plain_tensor(PyObject* tensor, const dlpack::DataType& dtype, const TensorMethods& methods) {
  bool complex = dtype.code == info(DType::complex64).dlpack_code;
  bool integer = dtype.code == info(DType::int8).dlpack_code || dtype.code == info(DType::uint8).dlpack_code;
  bool floating = !integer && dtype.code != info(DType::bool_).dlpack_code;
  if (integer && dtype.bits == 8 && !has_values(tensor)) return false;
  if (floating) {
    if (forward_level_is_open()) return false;
    PyObject* property = methods.requires_grad;
    auto type = reinterpret_cast<PyObject*>(Py_TYPE(tensor));
    if (Ref::check(Py_TYPE(property)->tp_descr_get(property, tensor, type)).get() != Py_False) return false;
  }
  if (complex && ask(methods.is_conj, tensor).get() != Py_False) return false;
  return ask(methods.is_neg, tensor).get() == Py_False;
}

PyObject* import_tensor(PyObject* api, PyObject* tensor, bool promised) {
  dlpack::ExchangeTable* table = dlpack::exchange_table_of(api);
  dlpack::Tensor t{};
  if (!table->borrow || table->borrow(tensor, &t) != 0) {  // sparse, meta, traced ...: the long way knows the words
    PyErr_Clear();
    Py_RETURN_NONE;
  }
  const TensorMethods& methods = tensor_methods();
  if (t.device.type != dlpack::kCpu || !dlpack::is_aligned(t) || !is_plain_tensor(tensor, t.dtype, methods))
    Py_RETURN_NONE;
  // Not the tensor is held but the memory that it has now: `t.data = other`, `t.set_(other)` and module.half() give it
  // other memory.
  Ref memory = ask(methods.untyped_storage, tensor);
  return wrap(dlpack::import_borrowed(t, memory.get(), {promised}));
}

PyObject* torch_import(PyObject*, Args args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    static const char* const kNames[] = {"api", "tensor", "readonly"};
    PyObject* v[3] = {};
    parse_arguments({"torch_import", kNames, 3, 2, 3}, args, nargs, names, v);
    return import_tensor(v[0], v[1], v[2] && truth(v[2]));
  });
}

PyObject* call_importer(PyObject* api, PyObject* tensor) {
  return guard(static_cast<PyObject*>(nullptr), [&] { return import_tensor(api, tensor, false); });
}

PyObject* torch_importer(PyObject*, PyObject* api) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static PyMethodDef definition = {"torch_import", call_importer, METH_O, nullptr};
    dlpack::exchange_table_of(api);  // throws if it is none
    return PyCFunction_New(&definition, api);
  });
}

// ---- imports ----

bool is_set(PyObject* flag) { return flag && truth(flag); }

PyObject* py_import_dlpack(PyObject*, Args args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static const char* const kNames[] = {"capsule", "readonly", "written"};
    PyObject* v[3] = {};
    parse_arguments({"import_dlpack", kNames, 3, 1, 1}, args, nargs, names, v);
    return wrap(dlpack::import_capsule(v[0], {is_set(v[1]), is_set(v[2])}));
  });
}

PyObject* py_import_buffer(PyObject*, Args args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static const char* const kNames[] = {"obj", "readonly", "written"};
    PyObject* v[3] = {};
    parse_arguments({"import_buffer", kNames, 3, 1, 1}, args, nargs, names, v);
    return wrap(import_buffer(v[0], {is_set(v[1]), is_set(v[2])}));
  });
}

struct RawMemory {
  uintptr_t address;
  DType dtype;
  int ndim;
  int64_t shape[kMaxNdim], strides[kMaxNdim];
};

RawMemory need_memory(PyObject* address, PyObject* dtype, PyObject* shape, PyObject* strides) {
  RawMemory m;
  m.address = PyLong_AsSize_t(address);
  if (m.address == static_cast<size_t>(-1) && PyErr_Occurred()) throw PythonError{};
  m.dtype = to_dtype(dtype);
  m.ndim = to_shape(shape, m.shape, "import_address");
  if (to_shape(strides, m.strides, "import_address") != m.ndim)
    raise_value("[bridge] shape and strides differ in length.");
  return m;
}

PyObject* py_import_address(PyObject*, Args args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static const char* const kNames[] = {"owner", "address", "dtype", "shape", "strides", "writable", "written"};
    PyObject* v[7] = {};
    parse_arguments({"import_address", kNames, 7, 6, 5}, args, nargs, names, v);
    RawMemory m = need_memory(v[1], v[2], v[3], v[4]);
    return wrap(import_address(v[0], m.address, m.dtype, m.ndim, m.shape, m.strides, {!truth(v[5]), is_set(v[6])}));
  });
}

PyObject* py_foreign_capsule(PyObject*, Args args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static const char* const kNames[] = {"owner", "address", "dtype", "shape", "strides", "versioned", "readonly"};
    PyObject* v[7] = {};
    parse_arguments({"foreign_capsule", kNames, 7, 5, 5}, args, nargs, names, v);
    RawMemory m = need_memory(v[1], v[2], v[3], v[4]);
    ForeignMemory memory{
        m.dtype, m.ndim, m.shape, m.strides, reinterpret_cast<void*>(m.address), {}, v[0], [](void* owner) {
          Py_DECREF(static_cast<PyObject*>(owner));
        }};
    check_layout(memory, "bridge.foreign_capsule");
    Py_INCREF(v[0]);
    return dlpack::foreign_capsule(memory, v[5] && truth(v[5]), v[6] && truth(v[6]));
  });
}

PyObject* py_written_elsewhere(PyObject*, PyObject* view) {
  return guard(static_cast<PyObject*>(nullptr), [&] { return PyBool_FromLong(written_elsewhere(view)); });
}

PyObject* py_from_dlpack(PyObject*, Args args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static const char* const kNames[] = {"x", "device", "copy"};
    PyObject* v[3] = {};
    parse_arguments({"from_dlpack", kNames, 3, 1, 1}, args, nargs, names, v);
    return wrap(from_dlpack(v[0], v[1], v[2]));
  });
}

// ---- what is alive ----

PyObject* py_copy(PyObject*, PyObject* o) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    NodeRef n = NodeRef::borrow(node_of(need_array_object(o, "copy")));
    return wrap(fresh_copy(n.get()));
  });
}

PyObject* storage_address(PyObject*, PyObject* o) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    return PyLong_FromUnsignedLongLong(
        reinterpret_cast<uintptr_t>(evaluated_node(need_array_object(o, "storage_address"))->data));
  });
}

PyObject* leases(PyObject*, PyObject* o) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Node* n = node_of(need_array_object(o, "leases"));
    Ref list = Ref::check(PyList_New(0));
    if (!n->evaluated()) return list.release();
    struct Seen {
      const char *holder, *protocol;
      Access access;
    };
    Small<Seen, 16> seen;  // the lock is never held while Python runs
    lease_snapshot(
        n->storage,
        [](void* out, const LeaseRecord& r) {
          static_cast<Small<Seen, 16>*>(out)->push({r.holder, r.protocol, r.access});
        },
        &seen);
    for (size_t i = 0; i < seen.size(); ++i) {
      const char* access = seen[i].access == Access::write    ? "write"
                           : seen[i].access == Access::frozen ? "read"
                                                              : "legacy";
      Ref entry = Ref::check(
          Py_BuildValue("{s:s,s:s,s:s}", "holder", seen[i].holder, "access", access, "protocol", seen[i].protocol));
      if (PyList_Append(list.get(), entry.get()) < 0) throw PythonError{};
    }
    return list.release();
  });
}

PyObject* py_release(PyObject*, PyObject* o) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    NodeRef held = evaluated_node(need_array_object(o, "release"));
    Node* n = held.get();
    if (n->storage->leased() || n->storage->foreign()) rebind(o, fresh_copy(n));
    Py_RETURN_NONE;
  });
}

template <class F>
PyCFunction fast(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}
constexpr int kKeywords = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef methods[] = {
    {"facts", facts, METH_O,
     "facts(a)\n--\n\n(dtype, shape, strides in elements, address, nbytes, 'write' | 'read', reason): what can be "
     "granted on a's bytes now. Evaluates."},
    {"frozen_reason", frozen_reason, METH_O,
     "frozen_reason(a)\n--\n\nNone if a view that relies on nobody writing can be granted, else why not. Evaluates."},
    {"export_dlpack", fast(export_dlpack), kKeywords,
     "export_dlpack(a, *, versioned, access, holder)\n--\n\nA DLPack capsule under a lease. access: 'write', 'read' "
     "(READ_ONLY flag) or 'frozen' (for a consumer that\n"
     "never writes). Raises CopyRequired when the state of the storage does not allow it."},
    {"export_address", fast(export_address), kKeywords,
     "export_address(a, *, access, holder)\n--\n\n(Lease, address): the bytes stay valid while the lease lives. Raises "
     "CopyRequired."},
    {"offer", fast(offer), METH_FASTCALL,
     "offer(a, dtypes, alignment, layout, access, versioned, holder, /)\n--\n\nA capsule if a's dtype is in the mask, "
     "its address is aligned, its strides fit the layout (0 any, 1 none\n"
     "negative, 2 compact permutation, 3 row-major) and the access can be granted; else None."},
    {"torch_export", fast(torch_export), METH_FASTCALL,
     "torch_export(api, a, /)\n--\n\nA tensor over a's bytes through torch's C exchange table, or None when the plain "
     "case does not hold."},
    {"torch_importer", torch_importer, METH_O,
     "torch_importer(api, /)\n--\n\nA function of a tensor: torch_import with this api."},
    {"torch_import", fast(torch_import), kKeywords,
     "torch_import(api, tensor, readonly=False)\n--\n\nAn array over a plain CPU tensor's bytes through torch's C "
     "exchange table, or None (requires_grad, conj and neg\nviews, other devices and layouts)."},
    {"import_dlpack", fast(py_import_dlpack), kKeywords,
     "import_dlpack(capsule, *, readonly=False, written=False)\n--\n\nAn array over a capsule's memory; the capsule is "
     "consumed. readonly=True: nobody writes while the array lives; written=True: read-only here, others write."},
    {"import_buffer", fast(py_import_buffer), kKeywords,
     "import_buffer(obj, *, readonly=False, written=False)\n--\n\nAn array over a buffer's memory (PEP 3118). Raises "
     "DTypeError, CopyRequired (strides between elements)."},
    {"import_address", fast(py_import_address), kKeywords,
     "import_address(owner, address, dtype, shape, strides, *, writable, written=False)\n--\n\nAn array over raw "
     "memory that owner "
     "keeps alive; strides in elements. The caller vouches for the range."},
    {"foreign_capsule", fast(py_foreign_capsule), kKeywords,
     "foreign_capsule(owner, address, dtype, shape, strides, *, versioned=False, readonly=False)\n--\n\nA DLPack "
     "capsule over raw memory that owner keeps alive; strides in elements."},
    {"written_elsewhere", py_written_elsewhere, METH_O,
     "written_elsewhere(view, /)\n--\n\nWhether a read-only ndarray or memoryview looks at memory that another view of "
     "it can write."},
    {"from_dlpack", fast(py_from_dlpack), kKeywords,
     "from_dlpack(x, *, device=None, copy=None)\n--\n\nAn array over the memory of any DLPack exporter (or a capsule); "
     "no byte is copied unless copy=True.\n\n"
     "Raises BufferError if the memory is not on the CPU (device=\"cpu\" asks the producer for a copy), DTypeError if "
     "the\n"
     "element type has no counterpart, BridgeError if the capsule is damaged. Source: array API standard, DLPack 1.3."},
    {"copy", py_copy, METH_O, "copy(a)\n--\n\nAn evaluated array with the same values in dense memory of its own."},
    {"storage_address", storage_address, METH_O, "storage_address(a)\n--\n\nAddress of a's first element. Evaluates."},
    {"leases", leases, METH_O,
     "leases(a)\n--\n\nThe foreign views that are alive on a's bytes: a list of dicts with holder, access ('write', "
     "'read', 'legacy') and protocol."},
    {"release", py_release, METH_O,
     "release(a)\n--\n\nMove a to memory of its own if foreign views are alive on its bytes (or the bytes are "
     "foreign); the views keep the old bytes."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_doors(PyObject* module) {
  if (PyModule_AddFunctions(module, methods) < 0) throw PythonError{};
  Ref table = Ref::check(dlpack::exchange_table_capsule());
  if (PyObject_SetAttrString(reinterpret_cast<PyObject*>(array_type), "__dlpack_c_exchange_api__", table.get()) < 0)
    throw PythonError{};
}

}  // namespace bridge
