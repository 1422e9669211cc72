// Imports: DLPack capsules and buffers become arrays over the owner's memory. Everything that a hostile or broken
// producer can say is checked here; the result is an error, never a crash.
#include <memory>
#include <string>

#include "dlpack.h"
#include "exchange.h"
#include "import.h"

namespace bridge {
namespace {

[[noreturn]] void refuse(const char* tag, const std::string& problem, const std::string& got = "",
                         const std::string& want = "", const std::string& fix = "") {
  throw Error("ExchangeError", message(tag, problem, got, want, fix));
}

void check_alignment(const ForeignMemory&, const char* tag);

void drop_object(void* owner) { Py_DECREF(static_cast<PyObject*>(owner)); }

void drop_buffer(void* owner) {
  auto* view = static_cast<Py_buffer*>(owner);
  PyBuffer_Release(view);
  delete view;
}

DType format_dtype(const char* format, Py_ssize_t itemsize_, const char* tag) {
  const char* f = format ? format : "B";
  if (*f == '@' || *f == '=' || *f == '<') ++f;  // little-endian machines only: checked at build time below
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  std::string code = f;
  int64_t size = itemsize_;
  // Integers by width: 'l' is 4 or 8 bytes depending on the platform.
  if (code.size() == 1 && strchr("bhilqn", code[0]))
    for (DType t : {DType::int8, DType::int16, DType::int32, DType::int64})
      if (itemsize(t) == size) return t;
  if (code.size() == 1 && strchr("BHILQN", code[0]))
    for (DType t : {DType::uint8, DType::uint16, DType::uint32, DType::uint64})
      if (itemsize(t) == size) return t;
  for (int i = 0; i < kDTypeCount; ++i)
    if (kDTypes[i].format && code == kDTypes[i].format && kDTypes[i].itemsize == size) return static_cast<DType>(i);
  if (code == "F" && size == 8) return DType::complex64;
  if (code == "D" && size == 16) return DType::complex128;
  raise_dtype(message(tag, "the buffer's element type has no counterpart in the engine.",
                      "format '" + std::string(format ? format : "") + "', " + std::to_string(size) + " bytes",
                      "bool, (u)int8..64, float16, float32, float64, complex64 or complex128 in native byte order"));
}

DType dlpack_dtype(const dlpack::DataType& d, bool padded, const char* tag) {
  auto got = [&] {
    return "code " + std::to_string(d.code) + ", " + std::to_string(d.bits) + " bits, " + std::to_string(d.lanes) +
           " lanes";
  };
  for (int i = 0; i < kDTypeCount; ++i) {
    auto t = static_cast<DType>(i);
    if (info(t).dlpack_code != d.code || bits(t) != d.bits) continue;
    if (info(t).padding && !(padded && d.lanes == 1))
      raise_dtype(message(tag, std::string("elements of ") + info(t).name + " are packed two to a byte here.", got(),
                          "one element to a byte (the flag IS_SUBBYTE_TYPE_PADDED)",
                          std::string("let the producer convert to ") + info(info(t).exact).name +
                              ", which has every value of " + info(t).name));
    if (d.lanes == 1) return t;
  }
  raise_dtype(message(tag, "the DLPack element type has no counterpart in the engine.", got(),
                      "bool, (u)int8..64, float16, bfloat16, float32, float64, complex64, complex128, float8 as in "
                      "ml_dtypes, or padded int4, uint4 and float4_e2m1fn, with one lane"));
}

template <class M>
void drop_managed(void* owner) {
  auto* m = static_cast<M*>(owner);
  if (m->deleter) m->deleter(m);
}

template <class M>
struct ManagedGuard {  // calls the deleter once unless dismissed
  M* managed;
  ~ManagedGuard() {
    if (managed) drop_managed<M>(managed);
  }
};

template <class M>
NodeRef adopt_managed(M* managed, Origin origin, bool misaligned_too, bool padded = false) {
  constexpr const char* tag = "bridge.from_dlpack";
  ManagedGuard<M> guard{managed};
  const dlpack::Tensor& t = managed->tensor;
  int32_t device = t.device.type;
  if (device != dlpack::kCpu && device != dlpack::kCudaHost && device != dlpack::kRocmHost)
    throw Error("ExchangeError",
                message(tag, "the memory is not on the CPU.",
                        "DLPack device (" + std::to_string(device) + ", " + std::to_string(t.device.id) + ")",
                        "device type 1 (CPU), or pinned host memory", "device=\"cpu\" asks the producer for a copy"));
  if (t.ndim < 0 || t.ndim > kMaxNdim)
    refuse(tag, "the number of dimensions is out of range.", std::to_string(t.ndim),
           "0 to " + std::to_string(kMaxNdim));
  if (t.ndim > 0 && !t.shape) refuse(tag, "the shape pointer is NULL.");
  if (t.byte_offset > (uint64_t{1} << 62))
    refuse(tag, "the byte offset is out of range.", std::to_string(t.byte_offset));
  ForeignMemory m{dlpack_dtype(t.dtype, padded, tag),
                  t.ndim,
                  t.shape,
                  t.strides,
                  t.data ? static_cast<char*>(t.data) + t.byte_offset : nullptr,
                  origin,
                  managed,
                  drop_managed<M>};
  if (!misaligned_too) check_alignment(m, tag);
  NodeRef n = adopt(m, tag);
  guard.managed = nullptr;
  return n;
}

bool aligned(DType t, const void* data) {
  int64_t unit = kind(t) == Kind::complex ? itemsize(t) / 2 : itemsize(t);
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(unit) == 0;
}

// Elements off their natural alignment would have to be read bytewise for ever: such memory is copied once, by a caller
// that may copy.
void check_alignment(const ForeignMemory& m, const char* tag) {
  for (int i = 0; i < m.ndim; ++i)
    if (m.shape[i] == 0) return;
  if (aligned(m.dtype, m.data)) return;
  raise_copy_required(message(tag, "the bytes cannot be shared: the elements are not aligned.",
                              std::string(info(m.dtype).name) + " at an address that is no multiple of its size", "",
                              "copy=None"));
}

}  // namespace

// Extents and reach must be countable in 63 bits of bytes.
void check_layout(const ForeignMemory& m, const char* tag) {
  int64_t size = 1, reach = 0, item = itemsize(m.dtype);
  bool overflow = false, empty = false;
  for (int i = 0; i < m.ndim; ++i) {
    if (m.shape[i] < 0) refuse(tag, "an extent is negative.", shape_text(m.ndim, m.shape));
    if (m.shape[i] == 0)
      empty = true;
    else
      overflow |= __builtin_mul_overflow(size, m.shape[i], &size);
  }
  if (empty) return;
  int64_t ignored;
  overflow |= __builtin_mul_overflow(size, item, &ignored);
  for (int i = 0; i < m.ndim && m.strides; ++i) {
    if (m.shape[i] == 1) continue;  // never followed
    int64_t step, span;
    overflow |= m.strides[i] == INT64_MIN ||
                __builtin_mul_overflow(m.strides[i] < 0 ? -m.strides[i] : m.strides[i], item, &step) ||
                __builtin_mul_overflow(step, m.shape[i] - 1, &span) || __builtin_add_overflow(reach, span, &reach);
    if (overflow) break;
  }
  if (overflow) refuse(tag, "the array would have more bytes than an address can count.", shape_text(m.ndim, m.shape));
  if (!m.data) refuse(tag, "the data pointer is NULL and the array is not empty.", shape_text(m.ndim, m.shape));
}

NodeRef adopt(const ForeignMemory& m, const char* tag) {
  check_layout(m, tag);
  drain_dropped_owners();  // what went without the GIL goes now at the latest: a loop of imports stays flat
  int64_t dense[kMaxNdim];
  const int64_t* strides = m.strides;
  if (!strides) {
    dense_strides(m.ndim, m.shape, dense);
    strides = dense;
  }
  int64_t low, high;
  byte_range(m.ndim, m.shape, strides, itemsize(m.dtype), &low, &high);
  auto* data = static_cast<unsigned char*>(m.data);
  NodeRef n(new_node(Op::data, m.dtype, m.ndim, 0));
  set_shape(n.get(), m.shape);
  const uint8_t window = m.origin.readonly ? kWindow | kReadOnly : kWindow;
  if (high > low) {
    if (Storage* own = find_leased(data + low, static_cast<size_t>(high - low), m.origin)) {  // known bytes come home
      bool open = own->open();
      attach_storage(n.get(), own, data, strides);
      if (open) n->flags |= window;
      if (m.drop) m.drop(m.owner);
      return n;
    }
  }
  static unsigned char nothing[64];  // an address for arrays without elements
  if (!data) data = nothing;
  Storage* s = adopt_memory(data + low, static_cast<size_t>(high - low), m.origin, m.owner, m.drop);
  attach_storage(n.get(), s, data, strides);
  if (m.origin.writes) n->flags |= window;
  return n;
}

Origin origin_of(Claim claim, bool says_readonly) {
  Origin o;
  o.readonly = claim.readonly || says_readonly;
  o.writes = claim.written || !o.readonly;
  o.promised = claim.readonly && !claim.written;
  return o;
}

bool can_be_written(PyObject* memory, bool is_ndarray) {
  if (is_ndarray) {  // not by a buffer: those have no code for the dtypes of ml_dtypes, and some warn when asked
    Ref flags = Ref::check(PyObject_GetAttrString(memory, "flags"));
    return truth(Ref::check(PyObject_GetAttrString(flags.get(), "writeable")).get());
  }
  Py_buffer writable;
  if (PyObject_GetBuffer(memory, &writable, PyBUF_STRIDES | PyBUF_WRITABLE) < 0) {
    PyErr_Clear();
    return false;
  }
  PyBuffer_Release(&writable);
  return true;
}

// Follows a read-only view to what it is a view of. Where that can be written and somebody else holds it, so can these
// bytes: numpy.broadcast_to(x) is read-only, and x is not. A view that is the only way to its memory is believed.
bool written_elsewhere(PyObject* view) {
  Ref numpy = Ref::check(PyImport_ImportModule("numpy"));
  Ref ndarray = Ref::check(PyObject_GetAttrString(numpy.get(), "ndarray"));
  auto is_ndarray = [&](PyObject* o) {
    int answer = PyObject_IsInstance(o, ndarray.get());
    if (answer < 0) throw PythonError{};
    return answer != 0;
  };
  Ref held = Ref::borrow(view);
  constexpr int kDeepest = 100;
  for (int hops = 0; hops < kDeepest; ++hops) {
    Ref under;
    if (is_ndarray(held.get()))
      under = Ref::check(PyObject_GetAttrString(held.get(), "base"));
    else if (PyMemoryView_Check(held.get()))
      under = Ref::borrow(PyMemoryView_GET_BUFFER(held.get())->obj);
    if (!under || under.get() == Py_None) return false;
    if (Py_TYPE(under.get()) == lease_type) return is_open(reinterpret_cast<LeaseObject*>(under.get()));
    bool shared = Py_REFCNT(under.get()) > 2;  // one reference is `held`'s, one is ours
    if (shared && can_be_written(under.get(), is_ndarray(under.get()))) return true;
    held = std::move(under);
  }
  return true;
}

NodeRef import_buffer(PyObject* object, Claim claim) {
  constexpr const char* tag = "bridge.asarray";
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(object, view.get(), PyBUF_FULL_RO) < 0) throw PythonError{};
  struct Release {
    Py_buffer* view;
    ~Release() {
      if (view) PyBuffer_Release(view);
    }
  } held{view.get()};
  if (view->ndim > kMaxNdim)
    refuse(tag, "the buffer has too many dimensions.", std::to_string(view->ndim),
           "at most " + std::to_string(kMaxNdim));
  for (int i = 0; view->suboffsets && i < view->ndim; ++i)
    if (view->suboffsets[i] >= 0) refuse(tag, "buffers with suboffsets (arrays of pointers) cannot be shared.");
  DType t = format_dtype(view->format, view->itemsize, tag);
  int64_t shape[kMaxNdim], strides[kMaxNdim];
  for (int i = 0; i < view->ndim; ++i) {
    shape[i] = view->shape ? view->shape[i] : view->len / view->itemsize;
    if (!view->strides) continue;
    if (view->strides[i] % view->itemsize != 0 && shape[i] > 1)
      raise_copy_required(
          message(tag, "the bytes cannot be shared: a stride is not a whole number of elements.",
                  "stride " + std::to_string(view->strides[i]) + " bytes, items of " + std::to_string(view->itemsize),
                  "", "copy=None"));
    strides[i] = view->strides[i] / view->itemsize;
  }
  if (view->readonly && !claim.readonly) claim.written = claim.written || written_elsewhere(object);
  Origin origin = origin_of(claim, view->readonly);
  ForeignMemory m{t, view->ndim, shape, view->strides ? strides : nullptr, view->buf, origin, view.get(), drop_buffer};
  check_alignment(m, tag);
  NodeRef n = adopt(m, tag);
  held.view = nullptr;
  view.release();
  return n;
}

NodeRef import_address(PyObject* owner, uintptr_t address, DType t, int ndim, const int64_t* shape,
                       const int64_t* strides, Claim claim) {
  Ref held = Ref::borrow(owner);
  ForeignMemory m{t,     ndim,       shape, strides, reinterpret_cast<void*>(address), origin_of(claim, false),
                  owner, drop_object};
  NodeRef n = adopt(m, "bridge.asarray");
  held.release();
  return n;
}

namespace dlpack {

bool is_aligned(const Tensor& t) {
  uint64_t unit = t.dtype.code == info(DType::complex64).dlpack_code ? t.dtype.bits / 16 : t.dtype.bits / 8;
  return unit > 0 && (reinterpret_cast<uintptr_t>(t.data) + t.byte_offset) % unit == 0;
}

NodeRef import_managed(ManagedVersioned* m, Claim claim, bool misaligned_too) {
  if (m->version.major != kVersion.major) {
    std::string got = std::to_string(m->version.major) + "." + std::to_string(m->version.minor);
    if (m->deleter) m->deleter(m);  // the only field that an unknown major version promises
    throw Error("ExchangeError",
                message("bridge.from_dlpack", "the capsule's DLPack version is not known.", got, "1.x"));
  }
  Origin origin = origin_of(claim, m->flags & kReadOnly);
  if ((m->flags & kIsCopied) && !origin.readonly) {  // a copy that the producer made for this consumer
    origin.writes = false;
    origin.given = true;
  }
  return adopt_managed(m, origin, misaligned_too, m->flags & kSubBytePadded);
}

NodeRef import_managed(Managed* m, Claim claim, bool misaligned_too) {
  return adopt_managed(m, origin_of(claim, false), misaligned_too);
}

NodeRef import_borrowed(const Tensor& t, PyObject* owner, Claim claim) {
  constexpr const char* tag = "bridge.from_";
  if (t.ndim < 0 || t.ndim > kMaxNdim)
    refuse(tag, "the number of dimensions is out of range.", std::to_string(t.ndim),
           "0 to " + std::to_string(kMaxNdim));
  auto address = t.data ? reinterpret_cast<uintptr_t>(t.data) + t.byte_offset : 0;
  return import_address(owner, address, dlpack_dtype(t.dtype, false, tag), t.ndim, t.shape, t.strides, claim);
}

NodeRef import_capsule(PyObject* capsule, Claim claim, bool misaligned_too) {
  if (!PyCapsule_CheckExact(capsule))
    raise_type(message("bridge.from_dlpack", "the object is not a DLPack capsule.", Py_TYPE(capsule)->tp_name));
  auto take = [&](const char* name, const char* used) -> void* {
    if (!PyCapsule_IsValid(capsule, name)) return nullptr;
    void* pointer = PyCapsule_GetPointer(capsule, name);
    if (!pointer || PyCapsule_SetName(capsule, used) < 0) throw PythonError{};
    return pointer;
  };
  if (void* p = take("dltensor_versioned", "used_dltensor_versioned"))
    return import_managed(static_cast<ManagedVersioned*>(p), claim, misaligned_too);
  if (void* p = take("dltensor", "used_dltensor"))
    return import_managed(static_cast<Managed*>(p), claim, misaligned_too);
  const char* name = PyCapsule_GetName(capsule);
  PyErr_Clear();
  if (name && !strncmp(name, "used_dltensor", 13))
    refuse("bridge.from_dlpack", "the capsule has been consumed already; a capsule can be used once.", name);
  refuse("bridge.from_dlpack", "the capsule does not hold a DLPack tensor.", name ? name : "a capsule without a name",
         "'dltensor' or 'dltensor_versioned'");
}

}  // namespace dlpack

// Replaces the error that a method of x has raised by one that says what is known of x.
[[noreturn]] void raise_dlpack_failure(PyObject* x) {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  Ref owned_type(type), owned_value(value), owned_traceback(traceback);
  if (traceback) PyException_SetTraceback(value, traceback);
  if (!PyErr_GivenExceptionMatches(value, PyExc_Exception)) {  // KeyboardInterrupt and its like
    PyErr_SetObject(type, value);
    throw PythonError{};
  }
  Ref module = Ref::check(PyImport_ImportModule("bridge.core.interop"));
  Ref known = Ref::check(PyObject_CallMethod(module.get(), "dlpack_failure", "OO", x, value));
  if (known.get() != value) PyException_SetCause(known.get(), Py_NewRef(value));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(known.get())), known.get());
  throw PythonError{};
}

NodeRef from_dlpack(PyObject* x, PyObject* device, PyObject* copy) {
  bool to_cpu = false;
  if (device && device != Py_None) {
    Ref text = Ref::check(PyObject_Str(device));
    std::string name = PyUnicode_AsUTF8(text.get());
    if (name != "cpu" && name != "(1, 0)" && name.find("Device(cpu") == std::string::npos)
      raise_value(message("bridge.from_dlpack", "the device is not known.", name, "None or \"cpu\""));
    to_cpu = true;
  }
  bool must_copy = copy && copy != Py_None && truth(copy), never_copy = copy && copy != Py_None && !must_copy;
  NodeRef n;
  if (PyCapsule_CheckExact(x)) {
    n = dlpack::import_capsule(x, {}, true);
  } else {
    Ref where(PyObject_CallMethod(x, "__dlpack_device__", nullptr));
    if (!where) raise_dlpack_failure(x);
    int type, id;
    Ref pair = Ref::check(PySequence_Tuple(where.get()));
    if (!PyArg_ParseTuple(pair.get(), "ii;__dlpack_device__ must give (device type, device id)", &type, &id))
      throw PythonError{};
    bool host = type == dlpack::kCpu || type == dlpack::kCudaHost || type == dlpack::kRocmHost;
    if (!host && (!to_cpu || never_copy))
      raise_copy_required(message("bridge.from_dlpack", "the memory is not on the CPU.",
                                  "DLPack device (" + std::to_string(type) + ", " + std::to_string(id) + ")", "",
                                  "device=\"cpu\" asks the producer for a copy"));
    Ref method = Ref::check(PyObject_GetAttrString(x, "__dlpack__"));
    Ref keywords = Ref::check(PyDict_New());
    Ref version = Ref::check(Py_BuildValue("(ii)", 1, 3));
    if (PyDict_SetItemString(keywords.get(), "max_version", version.get()) < 0) throw PythonError{};
    if (!host) {
      Ref cpu = Ref::check(Py_BuildValue("(ii)", 1, 0));
      if (PyDict_SetItemString(keywords.get(), "dl_device", cpu.get()) < 0) throw PythonError{};
    }
    if (never_copy && PyDict_SetItemString(keywords.get(), "copy", Py_False) < 0) throw PythonError{};
    Ref none = Ref::check(PyTuple_New(0));
    Ref capsule(PyObject_Call(method.get(), none.get(), keywords.get()));
    if (!capsule && host && PyErr_ExceptionMatches(PyExc_TypeError)) {  // a producer older than version 1
      PyErr_Clear();
      capsule = Ref(PyObject_CallNoArgs(method.get()));
    }
    if (!capsule) raise_dlpack_failure(x);
    Claim claim{false, host && written_elsewhere(x)};
    try {
      n = dlpack::import_capsule(capsule.get(), claim, true);
    } catch (const Error& error) {
      set_python_error(error);
      raise_dlpack_failure(x);
    }
  }
  bool straight = aligned(n->dtype, n->data);
  if (!straight && never_copy)
    raise_copy_required(message("bridge.from_dlpack", "the bytes cannot be shared: the elements are not aligned.",
                                describe(n.get()), "", "copy=None"));
  return must_copy || !straight ? fresh_copy(n.get()) : n;
}

}  // namespace bridge
