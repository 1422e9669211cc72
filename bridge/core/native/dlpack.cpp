#include "dlpack.h"

#include "eval.h"
#include "exchange.h"

namespace bridge::dlpack {
namespace {

template <class M>
struct Context {
  M managed;
  LeaseRecord record;
  int64_t dims[2];  // shape, then strides; room for 2*ndim entries
};

// Shape, then strides; where a stride does not matter (extent 1, no elements) it is the row-major one, so that consumers
// that compare strides see a dense array as dense.
void canonical_layout(int ndim, const int64_t* shape, const int64_t* strides, int64_t* dims) {
  bool empty = false;
  int64_t step = 1;
  for (int i = 0; i < ndim; ++i) empty |= shape[i] == 0;
  for (int i = ndim; i-- > 0;) {
    dims[i] = shape[i];
    dims[ndim + i] = empty || shape[i] == 1 ? step : strides[i];
    step = dims[ndim + i] * (shape[i] > 1 ? shape[i] : 1);
  }
}

template <class M>
void end_export(M* managed) {  // any thread, GIL or not
  auto* context = static_cast<Context<M>*>(managed->context);
  end_lease(&context->record);
  free(context);
}

void fill(Tensor* t, const Node* n, int64_t* dims) {
  // The first element is at `data`: byte_offset is always 0, since some consumers ignore it.
  *t = {n->size ? n->data : nullptr, {kCpu, 0}, n->ndim, data_type(n->dtype), dims, dims + n->ndim, 0};
  canonical_layout(n->ndim, n->shape, n->strides, dims);
}

template <class M>
M* make(Node* n, Access access, const char* holder) {
  size_t extra = n->ndim > 1 ? sizeof(int64_t) * 2 * static_cast<size_t>(n->ndim - 1) : 0;
  auto* context = static_cast<Context<M>*>(malloc(sizeof(Context<M>) + extra));
  if (!context) throw std::bad_alloc();
  fill(&context->managed.tensor, n, context->dims);
  context->managed.context = context;
  context->managed.deleter = end_export<M>;
  context->record.counted = true;
  grant(&context->record, n, access, holder, "dlpack");
  return &context->managed;
}

template <class M>
void free_capsule(PyObject* c, const char* name) {
  if (!PyCapsule_IsValid(c, name)) return;  // consumed: the consumer calls the deleter
  auto* m = static_cast<M*>(PyCapsule_GetPointer(c, name));
  if (m->deleter) m->deleter(m);
}

[[noreturn]] void refuse(const Node* n, const std::string& reason, const char* fix) {
  raise_copy_required(
      message("bridge.array.__dlpack__", "the bytes cannot be shared: " + reason + ".", describe(n), "", fix));
}

// Without flags, elements of four bits would be read as packed.
void need_whole_bytes(DType t) {
  if (!info(t).padding) return;
  std::string name = info(t).name;
  raise_dtype(message("bridge.array.__dlpack__",
                      "a DLPack tensor without flags cannot say that elements of four bits lie one to a byte.", name,
                      "", std::string("max_version=(1, 1), or a.astype(bridge.") + info(info(t).exact).name + ")"));
}

struct Request {
  bool versioned = false;
  bool must_copy = false, never_copy = false;
};

Request read_request(PyObject** values) {
  PyObject *stream = values[0], *max_version = values[1], *device = values[2], *copy = values[3];
  Request r;
  if (stream && stream != Py_None && !PyLong_Check(stream))  // a number is ignored: the CPU has no streams here
    raise_type("[bridge.array.__dlpack__] stream must be None or an integer.");
  if (max_version && max_version != Py_None) {
    if (!PyTuple_Check(max_version) || PyTuple_GET_SIZE(max_version) != 2 ||
        !PyLong_Check(PyTuple_GET_ITEM(max_version, 0)) || !PyLong_Check(PyTuple_GET_ITEM(max_version, 1)))
      raise_type("[bridge.array.__dlpack__] max_version must be None or a tuple of two integers.");
    long v = PyLong_AsLong(PyTuple_GET_ITEM(max_version, 0));
    if (v == -1 && PyErr_Occurred()) throw PythonError{};
    r.versioned = v >= 1;
  }
  if (device && device != Py_None) {
    int type, id;
    Ref tuple = Ref::check(PySequence_Tuple(device));
    if (!PyArg_ParseTuple(tuple.get(), "ii;dl_device is a pair (device type, device id)", &type, &id))
      throw PythonError{};
    if (type != kCpu || id != 0)
      raise_buffer(message("bridge.array.__dlpack__",
                           "the engine's memory is CPU memory and cannot be exported to another device.",
                           "dl_device=(" + std::to_string(type) + ", " + std::to_string(id) + ")", "(1, 0) or None"));
  }
  if (copy && copy != Py_None) (truth(copy) ? r.must_copy : r.never_copy) = true;
  return r;
}

}  // namespace

ManagedVersioned* make_versioned(Node* n, Access access, uint64_t flags, const char* holder) {
  ManagedVersioned* m = make<ManagedVersioned>(n, access, holder);
  m->version = kVersion;
  m->flags = flags | padded_flag(n->dtype);
  return m;
}

Managed* make_legacy(Node* n, Access access, const char* holder) {
  need_whole_bytes(n->dtype);
  return make<Managed>(n, access, holder);
}

namespace {

template <class M>
struct ForeignContext {
  M managed;
  Storage* storage;  // holds the owner
  int64_t dims[2];
};

template <class M>
M* make_foreign(const ForeignMemory& m) {
  size_t extra = m.ndim > 1 ? sizeof(int64_t) * 2 * static_cast<size_t>(m.ndim - 1) : 0;
  auto* context = static_cast<ForeignContext<M>*>(malloc(sizeof(ForeignContext<M>) + extra));
  if (!context) throw std::bad_alloc();
  bool empty = false;
  for (int i = 0; i < m.ndim; ++i) empty |= m.shape[i] == 0;
  canonical_layout(m.ndim, m.shape, m.strides, context->dims);
  context->managed.tensor = {empty ? nullptr : m.data, {kCpu, 0}, m.ndim, data_type(m.dtype), context->dims,
                             context->dims + m.ndim,   0};
  context->managed.context = context;
  context->managed.deleter = [](M* managed) {
    auto* c = static_cast<ForeignContext<M>*>(managed->context);
    release(c->storage);
    free(c);
  };
  context->storage = adopt_memory(m.data, 0, {}, m.owner, m.drop);
  return &context->managed;
}

}  // namespace

PyObject* foreign_capsule(const ForeignMemory& m, bool versioned, bool readonly) {
  if (!versioned) {
    need_whole_bytes(m.dtype);
    return capsule(make_foreign<Managed>(m));
  }
  ManagedVersioned* managed = make_foreign<ManagedVersioned>(m);
  managed->version = kVersion;
  managed->flags = (readonly ? kReadOnly : 0) | padded_flag(m.dtype);
  return capsule(managed);
}

PyObject* capsule(ManagedVersioned* m) {
  PyObject* c = PyCapsule_New(m, "dltensor_versioned",
                              [](PyObject* c) { free_capsule<ManagedVersioned>(c, "dltensor_versioned"); });
  if (!c) m->deleter(m);
  return c;
}

PyObject* capsule(Managed* m) {
  PyObject* c = PyCapsule_New(m, "dltensor", [](PyObject* c) { free_capsule<Managed>(c, "dltensor"); });
  if (!c) m->deleter(m);
  return c;
}

PyObject* array_dlpack(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    static const char* const kNames[] = {"stream", "max_version", "dl_device", "copy"};
    PyObject* values[4] = {};
    parse_arguments({"__dlpack__", kNames, 4, 0, 0}, args, nargs, names, values);
    Request request = read_request(values);
    NodeRef held = evaluated_node(self);
    Node* n = held.get();
    const char* holder = "a DLPack consumer";
    if (!request.must_copy) {
      std::string reason = request.versioned ? write_refusal(n) : legacy_refusal(n);
      if (reason.empty())
        return request.versioned ? capsule(make_versioned(n, Access::write, 0, holder))
                                 : capsule(make_legacy(n, Access::legacy, holder));
      if (request.versioned && frozen_refusal(n).empty())
        return capsule(make_versioned(n, Access::frozen, kReadOnly, holder));
      if (request.never_copy)
        refuse(n, reason, request.versioned ? "copy=None" : "copy=None, or max_version=(1, 0) for a read-only view");
    }
    NodeRef copy = fresh_copy(n);
    return request.versioned ? capsule(make_versioned(copy.get(), Access::write, kIsCopied, holder))
                             : capsule(make_legacy(copy.get(), Access::legacy, holder));
  });
}

PyObject* array_dlpack_device(PyObject*, PyObject*) { return Py_BuildValue("(ii)", kCpu, 0); }

// ---- the C exchange table ----

namespace {

int table_allocate(Tensor* prototype, ManagedVersioned** out, void* error_context,
                   void (*set_error)(void*, const char*, const char*)) {
  PyGILState_STATE gil = PyGILState_Ensure();
  int rc = guard(-1, [&] {
    if (prototype->device.type != kCpu) raise_buffer("[bridge] the engine allocates CPU memory only.");
    if (prototype->ndim < 0 || prototype->ndim > kMaxNdim) raise_value("[bridge] too many dimensions.");
    for (int i = 0; i < kDTypeCount; ++i) {
      auto t = static_cast<DType>(i);
      DataType own = data_type(t);
      if (info(t).padding || own.code != prototype->dtype.code || own.bits != prototype->dtype.bits ||
          own.lanes != prototype->dtype.lanes)
        continue;
      *out =
          make_versioned(make_dense(t, prototype->ndim, prototype->shape).get(), Access::write, 0, "a DLPack consumer");
      return 0;
    }
    raise_dtype("[bridge] the element type has no counterpart in the engine.");
  });
  if (rc != 0 && set_error) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Ref text(value ? PyObject_Str(value) : nullptr);
    const char* utf8 = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
    set_error(error_context, type ? reinterpret_cast<PyTypeObject*>(type)->tp_name : "Error",
              utf8 ? utf8 : "allocation failed");
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
  }
  PyGILState_Release(gil);
  return rc;
}

int table_from_object(void* object, ManagedVersioned** out) {
  return guard(-1, [&] {
    auto* self = static_cast<PyObject*>(object);
    if (!is_array(self)) raise_type("[bridge] the object is not a bridge array.");
    NodeRef held = evaluated_node(self);
    Node* n = held.get();
    std::string reason = write_refusal(n);
    if (reason.empty()) {
      *out = make_versioned(n, Access::write, 0, "a DLPack consumer");
    } else if (frozen_refusal(n).empty()) {
      *out = make_versioned(n, Access::frozen, kReadOnly, "a DLPack consumer");
    } else {
      *out = make_versioned(fresh_copy(n).get(), Access::write, kIsCopied, "a DLPack consumer");
    }
    return 0;
  });
}

int table_to_object(ManagedVersioned* managed, void** out) {
  return guard(-1, [&] {
    *out = wrap(import_managed(managed, {}));
    return 0;
  });
}

int table_borrow(void* object, Tensor* out) {
  return guard(-1, [&] {
    auto* self = static_cast<PyObject*>(object);
    if (!is_array(self)) raise_type("[bridge] the object is not a bridge array.");
    NodeRef held = evaluated_node(self);
    Node* n = held.get();
    need_whole_bytes(n->dtype);
    // The consumer may write until it returns: what is pending on these bytes is computed first.
    if (std::string reason = write_refusal(n); !reason.empty()) refuse(n, reason, "the managed export, which can copy");
    *out = {n->size ? n->data : nullptr, {kCpu, 0}, n->ndim, data_type(n->dtype), n->shape, n->strides, 0};
    return 0;
  });
}

int table_current_stream(int32_t, int32_t, void** out) {
  *out = nullptr;
  return 0;
}

ExchangeTable table = {kVersion,        nullptr,      table_allocate,      table_from_object,
                       table_to_object, table_borrow, table_current_stream};

}  // namespace

PyObject* exchange_table_capsule() { return PyCapsule_New(&table, "dlpack_exchange_api", nullptr); }

ExchangeTable* exchange_table_of(PyObject* capsule) {
  auto* t = static_cast<ExchangeTable*>(PyCapsule_GetPointer(capsule, "dlpack_exchange_api"));
  if (!t) throw PythonError{};
  while (t && t->version.major != kVersion.major) t = t->previous;
  if (!t || !t->from_object || !t->to_object)
    throw Error("PluginError",
                "[bridge] the framework's DLPack exchange table has no version that the engine knows (want 1.x).");
  return t;
}

}  // namespace bridge::dlpack
