// The buffer protocol (PEP 3118) and __array__. A view holds a Lease object, which holds the storage: consumers such as
// torch.frombuffer release the buffer at once and keep only view->obj, so the lease ends with that object.
#include <algorithm>
#include <string>

#include "array.h"
#include "exchange.h"
#include "sanitize.h"

namespace bridge {

PyTypeObject* lease_type = nullptr;

struct LeaseObject {
  PyObject_HEAD LeaseRecord record;
  Node* node;  // with a reference, and through it the storage: both are given back under the GIL
  unsigned char* low;  // first byte of the elements
  Py_ssize_t nbytes;  // from there
  const char* format;
  bool large;  // of more dimensions than a kept one has room for
  Py_ssize_t dims[2 * kMaxNdim];  // shape, then strides in bytes; only 2*ndim entries exist
};

namespace {

// Ended leases of few dimensions, kept for the next view. Under the GIL.
constexpr int kKept = 64, kKeptNdim = 4;
LeaseObject* kept[kKept];
int n_kept = 0;

LeaseObject* allocate_lease(Node* n) {
  LeaseObject* lease;
  if (n_kept && n->ndim <= kKeptNdim) {
    lease = kept[--n_kept];
  } else {
    size_t size =
        offsetof(LeaseObject, dims) + sizeof(Py_ssize_t) * 2 * static_cast<size_t>(std::max<int>(n->ndim, kKeptNdim));
    lease = static_cast<LeaseObject*>(PyObject_Malloc(size));
    if (!lease) throw std::bad_alloc();
  }
  lease->large = n->ndim > kKeptNdim;
  PyObject_Init(reinterpret_cast<PyObject*>(lease), lease_type);
  lease->record.storage = nullptr;
  lease->record.counted = false;
  lease->node = retain(n);
  int64_t low = 0, item = itemsize(n->dtype), high = n->size * item;
  if (!n->is(kDense)) byte_range(n->ndim, n->shape, n->strides, item, &low, &high);
  lease->low = n->data + low;
  lease->nbytes = high - low;
  lease->format = info(n->dtype).format;
  for (int i = 0; i < n->ndim; ++i) {
    lease->dims[i] = n->shape[i];
    lease->dims[n->ndim + i] = n->strides[i] * item;
  }
  return lease;
}

LeaseObject* lease_for(Node* n, Access access, const char* holder, const char* protocol) {
  LeaseObject* lease = allocate_lease(n);
  grant(&lease->record, n, access, holder, protocol);
  return lease;
}

void lease_dealloc(PyObject* self) {
  auto* lease = reinterpret_cast<LeaseObject*>(self);
  end_lease(&lease->record);
  release(lease->node);
  PyTypeObject* type = Py_TYPE(self);
  if (kKeepFreed && !lease->large && n_kept < kKept)
    kept[n_kept++] = lease;
  else
    PyObject_Free(self);
  Py_DECREF(type);
}

int lease_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  auto* lease = reinterpret_cast<LeaseObject*>(self);
  return PyBuffer_FillInfo(view, self, lease->low, lease->nbytes, lease->record.access == Access::frozen, flags);
}

PyObject* lease_repr(PyObject* self) {
  const LeaseRecord& r = reinterpret_cast<LeaseObject*>(self)->record;
  return PyUnicode_FromFormat("<bridge.Lease %s for %s, %zd bytes>", r.access == Access::frozen ? "frozen" : "writable",
                              r.holder, reinterpret_cast<LeaseObject*>(self)->nbytes);
}

PyType_Slot lease_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(lease_dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(lease_repr)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(lease_getbuffer)},
    {Py_tp_doc, const_cast<char*>("A live view of an array's bytes. The bytes stay valid until it is gone.")},
    {0, nullptr},
};
PyType_Spec lease_spec = {"bridge.Lease", sizeof(LeaseObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                          lease_slots};

bool wants(int flags, int request) { return (flags & request) == request; }

// The layout that the flags ask for, or the reason why this array does not have it.
std::string layout_refusal(const Node* n, int flags) {
  bool row_major = n->is(kDense) || is_row_major(n->ndim, n->shape, n->strides);
  if (row_major && !wants(flags, PyBUF_F_CONTIGUOUS) && wants(flags, PyBUF_ND)) return "";
  bool column_major = is_column_major(n->ndim, n->shape, n->strides);
  if (wants(flags, PyBUF_C_CONTIGUOUS) && !row_major)
    return "a C-contiguous view is asked for and the array is not row-major";
  if (wants(flags, PyBUF_F_CONTIGUOUS) && !column_major)
    return "a Fortran-contiguous view is asked for and the array is not column-major";
  if (wants(flags, PyBUF_ANY_CONTIGUOUS) && !row_major && !column_major)
    return "a contiguous view is asked for and the array has gaps";
  if (!wants(flags, PyBUF_STRIDES) && !row_major)
    return "a view without strides is asked for and the array is not row-major";
  if (!wants(flags, PyBUF_ND) && wants(flags, PyBUF_FORMAT)) return "a flat view of bytes has no format";
  return "";
}

// Writable when that can be granted, else read-only; throws BufferError when neither can.
Access choose_access(Node* n, bool writable) {
  if (grants_write_at_once(n)) return Access::write;
  std::string reason = write_refusal(n);
  if (reason.empty()) return Access::write;
  std::string also = writable ? "" : frozen_refusal(n);
  if (!writable && also.empty()) return Access::frozen;
  raise_copy_required(message(
      "bridge.array",
      writable ? "a writable view cannot be given: " + reason + "."
               : "no view can be given: " + reason + "; " + also + ".",
      describe(n), "", writable ? "ask for a read-only view, or a copy: bridge.array(a)" : "a copy: bridge.array(a)"));
}

PyObject* numpy_dtype(DType t) {
  Ref module = Ref::check(PyImport_ImportModule("bridge.core.dtypes"));
  return Ref::check(PyObject_CallMethod(module.get(), "to_numpy", "O", dtype_object(t))).release();
}

// An ndarray whose base is the lease.
PyObject* ndarray_over(LeaseObject* lease, const Node* n) {
  Ref owner(reinterpret_cast<PyObject*>(lease));
  Ref numpy = Ref::check(PyImport_ImportModule("numpy"));
  Ref type = Ref::check(PyObject_GetAttrString(numpy.get(), "ndarray"));
  Ref dtype = Ref::check(numpy_dtype(n->dtype));
  Ref shape = Ref::check(shape_tuple(n->ndim, n->shape));
  int64_t bytes[kMaxNdim];
  for (int i = 0; i < n->ndim; ++i) bytes[i] = n->strides[i] * itemsize(n->dtype);
  Ref strides = Ref::check(shape_tuple(n->ndim, bytes));
  Ref offset = Ref::check(PyLong_FromSsize_t(n->data - lease->low));
  Ref args = Ref::check(PyTuple_Pack(5, shape.get(), dtype.get(), owner.get(), offset.get(), strides.get()));
  return Ref::check(PyObject_CallObject(type.get(), args.get())).release();
}

}  // namespace

void make_lease_type() {
  lease_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&lease_spec));
  if (!lease_type) throw PythonError{};
}

bool is_open(LeaseObject* lease) { return lease->node->storage->open(); }

PyObject* new_lease(Node* n, Access access, const char* holder, const char* protocol) {
  return reinterpret_cast<PyObject*>(lease_for(n, access, holder, protocol));
}

PyObject* readonly_ndarray(const Node* n) {
  NodeRef alias(new_node(Op::data, n->dtype, n->ndim, 0));
  set_shape(alias.get(), n->shape);
  retain(n->storage);
  attach_storage(alias.get(), n->storage, n->data, n->strides);
  LeaseObject* lease = allocate_lease(alias.get());
  lease->record.access = Access::frozen;
  return ndarray_over(lease, alias.get());
}

int array_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  return guard(-1, [&] {
    NodeRef held = evaluated_node(self);
    Node* n = held.get();
    if (!info(n->dtype).format)
      raise_buffer(
          message("bridge.array", std::string("the buffer protocol has no code for ") + info(n->dtype).name + ".",
                  describe(n), "",
                  std::string("numpy.asarray(a) gives an ml_dtypes array over the same bytes; a.astype(bridge.") +
                      info(is_held(n->dtype) ? info(n->dtype).exact : DType::float32).name + ") converts"));
    if (std::string reason = layout_refusal(n, flags); !reason.empty())
      raise_buffer(message("bridge.array", reason + ".", describe(n), "", "memoryview(a), or a copy: bridge.array(a)"));
    Access access = choose_access(n, wants(flags, PyBUF_WRITABLE));
    LeaseObject* lease = lease_for(n, access, "a buffer view", "buffer");
    view->obj = reinterpret_cast<PyObject*>(lease);
    view->buf = n->data;
    view->itemsize = static_cast<Py_ssize_t>(itemsize(n->dtype));
    view->len = static_cast<Py_ssize_t>(n->nbytes());
    view->readonly = access == Access::frozen;
    bool shaped = wants(flags, PyBUF_ND);
    view->ndim = shaped ? n->ndim : 1;
    view->format = wants(flags, PyBUF_FORMAT) ? const_cast<char*>(lease->format) : nullptr;
    view->shape = shaped ? lease->dims : nullptr;
    view->strides = wants(flags, PyBUF_STRIDES) ? lease->dims + n->ndim : nullptr;
    view->suboffsets = nullptr;
    view->internal = nullptr;
    return 0;
  });
}

PyObject* array_dunder_array(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    static const char* const kNames[] = {"dtype", "copy"};
    PyObject* values[2] = {};
    parse_arguments({"__array__", kNames, 2, 0, 2}, args, nargs, names, values);
    bool must_copy = values[1] && values[1] != Py_None && truth(values[1]);
    bool never_copy = values[1] && values[1] != Py_None && !must_copy;
    NodeRef held = evaluated_node(self);
    Node* n = held.get();
    NodeRef copied;
    Ref numpy = Ref::check(PyImport_ImportModule("numpy"));
    Ref own = Ref::check(numpy_dtype(n->dtype));
    Ref wanted = !values[0] || values[0] == Py_None
                     ? Ref::borrow(own.get())
                     : Ref::check(PyObject_CallMethod(numpy.get(), "dtype", "O", values[0]));
    int same = PyObject_RichCompareBool(own.get(), wanted.get(), Py_EQ);
    if (same < 0) throw PythonError{};
    if (!same && never_copy)
      raise_copy_required(
          message("numpy.asarray", "another dtype cannot be had without a copy.", describe(n), "", "copy=None"));
    Access access = Access::write;
    if (must_copy || !same) {
      copied = fresh_copy(n);
    } else if (never_copy) {
      access = choose_access(n, false);
    } else if (!write_refusal(n).empty()) {
      if (frozen_refusal(n).empty())
        access = Access::frozen;
      else
        copied = fresh_copy(n);
    }
    if (copied) n = copied.get();
    Ref result = Ref::check(ndarray_over(lease_for(n, access, "numpy", "array"), n));
    if (!same) return PyObject_CallMethod(result.get(), "astype", "O", wanted.get());
    return result.release();
  });
}

}  // namespace bridge
