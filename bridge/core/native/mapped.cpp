// Arrays over the bytes of files. A file is mapped once and read-only; every array over it holds the mapping, so the
// mapping ends with the last of them, whatever becomes of the file's name meanwhile.
//
// A mapped file that somebody cuts short has pages that cannot be read: touching one ends the process (SIGBUS). So each
// evaluation and each export that reads mapped bytes first asks for the file's size (Storage::check, called by eval.cpp
// and evaluated_node()), and raises if they are gone. What is cut off between that question and the last read is still
// fatal: who shares files with writers that truncate them reads a copy of his own.
#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "array.h"
#include "safetensors.h"

namespace bridge {
namespace {

constexpr const char* kTag = "bridge.load";
constexpr const char* kCapsule = "bridge.file";

[[noreturn]] void refuse(const std::string& file, const std::string& problem) {
  throw Error("FormatError", message(kTag, file + ": " + problem));
}

// Bytes of a file, or of a buffer that stands for one. Counted: one reference is the capsule's, one each array's.
struct File {
  std::atomic<int32_t> refs{1};
  int fd = -1;  // of the mapped file
  unsigned char* base = nullptr;
  uint64_t nbytes = 0;
  Py_buffer buffer{};  // of what is no file
  std::string name;  // for errors
};

void drop_file(void* owner) {
  auto* f = static_cast<File*>(owner);
  if (f->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (f->fd >= 0) {
    if (f->base) munmap(f->base, f->nbytes);
    close(f->fd);
  } else {
    PyBuffer_Release(&f->buffer);
  }
  delete f;
}

void drop_capsule(PyObject* capsule) { drop_file(PyCapsule_GetPointer(capsule, kCapsule)); }

PyObject* new_capsule(std::unique_ptr<File> f) {
  Ref capsule = Ref::check(PyCapsule_New(f.get(), kCapsule, drop_capsule));
  f.release();
  return capsule.release();
}

File* need_file(PyObject* o) {
  auto* f = static_cast<File*>(PyCapsule_GetPointer(o, kCapsule));
  if (!f) throw PythonError{};
  return f;
}

[[noreturn]] void raise_errno() {
  PyErr_SetFromErrno(PyExc_OSError);
  throw PythonError{};
}

uint64_t size_now(const File* f) {
  if (f->fd < 0) return f->nbytes;
  struct stat facts;
  if (fstat(f->fd, &facts) < 0) raise_errno();
  return static_cast<uint64_t>(facts.st_size);
}

// Storage::check of mapped bytes.
void check_size(const Storage* s) {
  auto* f = static_cast<const File*>(s->owner);
  uint64_t end = static_cast<uint64_t>(static_cast<unsigned char*>(s->data) - f->base) + s->nbytes, now = size_now(f);
  if (now >= end) return;
  throw Error("FormatError", message(kTag, f->name + ": the file has become shorter since it was loaded.",
                                     std::to_string(now) + " bytes", std::to_string(end) + " bytes for this array",
                                     "load it again; let its writer replace the file (os.replace), not cut it"));
}

NodeRef array_over(File* f, uint64_t offset, DType t, int ndim, const int64_t* shape, const int64_t* strides) {
  NodeRef n(new_node(Op::data, t, ndim, 0));
  set_shape(n.get(), shape);
  auto size = static_cast<uint64_t>(n->nbytes());
  if (offset > f->nbytes || size > f->nbytes - offset) refuse(f->name, "the array ends beyond the end of the file.");
  static unsigned char nothing[64];
  unsigned char* data = f->base && size ? f->base + offset : nothing;
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(itemsize(t)) != 0)
    raise_value("[bridge] the elements are not aligned in the file.");
  Origin origin;
  origin.readonly = origin.promised = true;
  Storage* s = adopt_memory(data, size, origin, f, drop_file);
  f->refs.fetch_add(1, std::memory_order_relaxed);
  if (size && f->fd >= 0) s->check = check_size;
  attach_storage(n.get(), s, data, strides);
  return n;
}

// ------------------------------------------------------------------------------------------------------------ functions

PyObject* map_file(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("map_file() takes 2 arguments");
    int fd = static_cast<int>(PyLong_AsLong(args[0]));
    const char* name = PyUnicode_AsUTF8(args[1]);
    if (!name || PyErr_Occurred()) throw PythonError{};
    auto f = std::make_unique<File>();
    f->name = name;
    struct stat facts;
    if (fstat(fd, &facts) < 0) raise_errno();
    f->nbytes = static_cast<uint64_t>(facts.st_size);
    if (f->nbytes) {
      void* base = mmap(nullptr, f->nbytes, PROT_READ, MAP_SHARED, fd, 0);
      if (base == MAP_FAILED) raise_errno();
      f->base = static_cast<unsigned char*>(base);
    }
    f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (f->fd < 0) {
      int why = errno;
      if (f->base) munmap(f->base, f->nbytes);
      errno = why;
      raise_errno();
    }
    return new_capsule(std::move(f));
  });
}

PyObject* map_memory(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("map_memory() takes 2 arguments");
    const char* name = PyUnicode_AsUTF8(args[1]);
    if (!name) throw PythonError{};
    auto f = std::make_unique<File>();
    f->name = name;
    if (PyObject_GetBuffer(args[0], &f->buffer, PyBUF_SIMPLE) < 0) throw PythonError{};
    f->base = static_cast<unsigned char*>(f->buffer.buf);
    f->nbytes = static_cast<uint64_t>(f->buffer.len);
    return new_capsule(std::move(f));
  });
}

PyObject* map_array(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n < 4 || n > 5) raise_type("map_array() takes 4 or 5 arguments");
    File* f = need_file(args[0]);
    uint64_t offset = PyLong_AsUnsignedLongLong(args[1]);
    if (offset == static_cast<uint64_t>(-1) && PyErr_Occurred()) throw PythonError{};
    DType t = to_dtype(args[2]);
    int64_t shape[kMaxNdim], strides[kMaxNdim];
    int ndim = to_shape(args[3], shape, "map_array");
    for (int i = 0; i < ndim; ++i)
      if (shape[i] < 0) raise_value("[bridge] an extent is negative.");
    bool columns = n == 5 && truth(args[4]);
    int64_t step = 1;
    for (int i = 0; i < ndim && columns; ++i) {
      strides[i] = step;
      if (__builtin_mul_overflow(step, shape[i] > 1 ? shape[i] : 1, &step))
        raise_value("[bridge] the shape is too large.");
    }
    return wrap(array_over(f, offset, t, ndim, shape, columns ? strides : nullptr));
  });
}

// Reads without touching the map. False: the file ends before.
bool read_at(const File* f, uint64_t offset, void* out, size_t n) {
  if (f->fd < 0) {
    if (offset > f->nbytes || n > f->nbytes - offset) return false;
    memcpy(out, f->base + offset, n);
    return true;
  }
  auto* to = static_cast<char*>(out);
  while (n) {
    ssize_t got = pread(f->fd, to, n, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) raise_errno();
    if (got == 0) return false;
    to += got;
    offset += static_cast<uint64_t>(got);
    n -= static_cast<size_t>(got);
  }
  return true;
}

Ref text(std::string_view s) {
  return Ref::check(PyUnicode_DecodeUTF8(s.data(), static_cast<Py_ssize_t>(s.size()), "strict"));
}

// A name out of a file as an error shows it: short, one line, nothing that a terminal obeys.
std::string shown(const std::string& name) {
  Ref whole = text(name);
  Ref start = Ref::check(PyUnicode_Substring(whole.get(), 0, 80));
  Ref ascii = Ref::check(PyObject_ASCII(start.get()));
  std::string quoted = PyUnicode_AsUTF8(ascii.get());
  return PyUnicode_GET_LENGTH(whole.get()) > 80 ? quoted + "..." : quoted;
}

void insert_new(PyObject* dict, PyObject* key, PyObject* value, const File* f, const char* what) {
  Py_ssize_t before = PyDict_GET_SIZE(dict);
  if (!PyDict_SetDefault(dict, key, value)) throw PythonError{};
  if (PyDict_GET_SIZE(dict) == before)
    refuse(f->name, std::string("two ") + what + " are called " + shown(PyUnicode_AsUTF8(key)) + ".");
}

PyObject* map_safetensors(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("map_safetensors() takes 2 arguments");
    File* f = need_file(args[0]);
    uint64_t start = PyLong_AsUnsignedLongLong(args[1]);
    if (start == static_cast<uint64_t>(-1) && PyErr_Occurred()) throw PythonError{};
    uint64_t total = start < f->nbytes ? f->nbytes - start : 0, length;
    if (total < 8 || !read_at(f, start, &length, 8))
      refuse(f->name, "the file has " + std::to_string(total) + " bytes, too few for the length of the header.");
    if (length > safetensors::kMaxHeader)
      refuse(f->name, "the header says that it has " + std::to_string(length) + " bytes; 100000000 are the most.");
    if (length > total - 8)
      refuse(f->name, "the header says that it has " + std::to_string(length) + " bytes, and the file ends after " +
                          std::to_string(total - 8) + ".");
    std::unique_ptr<char[]> json(new char[length + 1]);
    if (!read_at(f, start + 8, json.get(), length)) refuse(f->name, "the file ends inside the header.");
    safetensors::Header header;
    try {
      header = safetensors::parse({json.get(), length}, total - 8 - length);
    } catch (const safetensors::Problem& p) {
      refuse(f->name, (p.tensor.empty() ? "" : "tensor " + shown(p.tensor) + ": ") + p.what());
    }
    uint64_t data = start + 8 + length;
    Ref arrays = Ref::check(PyDict_New()), odd = Ref::check(PyList_New(0));
    for (const safetensors::Tensor& t : header.tensors) {
      const int64_t* shape = header.extents.data() + t.first_extent;
      Ref name = text(t.name);
      auto size = static_cast<int64_t>(t.end - t.begin);
      bool straight =
          t.type->bits >= 8 &&
          reinterpret_cast<uintptr_t>(f->base + data + t.begin) % static_cast<uintptr_t>(itemsize(t.type->dtype)) == 0;
      if (!straight && size) {  // Python makes of the bytes what they mean
        Ref extents = Ref::check(shape_tuple(t.ndim, shape));
        Ref entry = Ref::check(PyTuple_Pack(3, name.get(), dtype_object(t.type->dtype), extents.get()));
        if (PyList_Append(odd.get(), entry.get()) < 0) throw PythonError{};
        Ref raw(wrap(array_over(f, data + t.begin, DType::uint8, 1, &size, nullptr)));
        insert_new(arrays.get(), name.get(), raw.get(), f, "tensors");
      } else {
        Ref array(wrap(array_over(f, data + t.begin, t.type->dtype, t.ndim, shape, nullptr)));
        insert_new(arrays.get(), name.get(), array.get(), f, "tensors");
      }
    }
    Ref metadata = header.has_metadata ? Ref::check(PyDict_New()) : Ref::borrow(Py_None);
    for (const auto& [key, value] : header.metadata)
      insert_new(metadata.get(), text(key).get(), text(value).get(), f, "metadata entries");
    return Py_BuildValue("(OOO)", arrays.get(), metadata.get(), odd.get());
  });
}

PyObject* file_size(PyObject*, PyObject* capsule) {
  return guard(static_cast<PyObject*>(nullptr),
               [&] { return PyLong_FromUnsignedLongLong(need_file(capsule)->nbytes); });
}

PyObject* file_address(PyObject*, PyObject* capsule) {
  return guard(static_cast<PyObject*>(nullptr),
               [&] { return PyLong_FromSize_t(reinterpret_cast<uintptr_t>(need_file(capsule)->base)); });
}

PyObject* safetensors_types(PyObject*, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Ref names = Ref::check(PyDict_New());
    for (const safetensors::Type& t : safetensors::types())
      if (t.known && PyDict_SetItem(names.get(), text(t.name).get(), dtype_object(t.dtype)) < 0) throw PythonError{};
    return names.release();
  });
}

PyObject* write_out(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    if (n != 4) raise_type("write_out() takes 4 arguments");
    int fd = static_cast<int>(PyLong_AsLong(args[0]));
    long long offset = PyLong_AsLongLong(args[1]), size = PyLong_AsLongLong(args[2]);
    if (PyErr_Occurred()) throw PythonError{};
    bool drop = truth(args[3]);
#ifdef __linux__
    {
      ReleaseGil released;
      // Hints: whether they worked, fsync will tell.
      constexpr unsigned kWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
      sync_file_range(fd, offset, size, drop ? kWait : SYNC_FILE_RANGE_WRITE);
      if (drop) posix_fadvise(fd, offset, size, POSIX_FADV_DONTNEED);
    }
#else
    (void)fd, (void)offset, (void)size, (void)drop;
#endif
    Py_RETURN_NONE;
  });
}

PyObject* read_file(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 3) raise_type("read_file() takes 3 arguments");
    File* f = need_file(args[0]);
    uint64_t offset = PyLong_AsUnsignedLongLong(args[1]), size = PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred()) throw PythonError{};
    if (offset > f->nbytes || size > f->nbytes - offset) refuse(f->name, "the file ends too early.");
    Ref bytes = Ref::check(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
    if (!read_at(f, offset, PyBytes_AS_STRING(bytes.get()), size)) refuse(f->name, "the file ends too early.");
    return bytes.release();
  });
}

template <class F>
PyCFunction fast(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

PyMethodDef methods[] = {
    {"map_file", fast(map_file), METH_FASTCALL,
     "map_file(fd, name, /)\n--\n\nThe whole file mapped read-only, for map_array(); `name` is for errors. The "
     "descriptor "
     "stays the caller's."},
    {"map_memory", fast(map_memory), METH_FASTCALL,
     "map_memory(buffer, name, /)\n--\n\nA buffer that nobody writes any more in the place of a file."},
    {"file_size", file_size, METH_O, "file_size(file, /)\n--\n\nBytes when it was mapped."},
    {"file_address", file_address, METH_O, "file_address(file, /)\n--\n\nWhere in memory its first byte is."},
    {"safetensors_types", safetensors_types, METH_NOARGS,
     "safetensors_types()\n--\n\nThe dtypes that the format and bridge have, by the format's names."},
    {"read_file", fast(read_file), METH_FASTCALL,
     "read_file(file, offset, size, /)\n--\n\nA copy of some bytes, read without the map. FormatError if it ends "
     "before."},
    {"map_array", fast(map_array), METH_FASTCALL,
     "map_array(file, offset, dtype, shape, columns=False, /)\n--\n\nA read-only array over the bytes from `offset`, "
     "row-major or column-major. It holds the mapping."},
    {"write_out", fast(write_out), METH_FASTCALL,
     "write_out(fd, offset, size, drop, /)\n--\n\nA hint that these bytes of a file can go to the disk now. drop: wait "
     "for "
     "that, and keep none of them in memory."},
    {"map_safetensors", fast(map_safetensors), METH_FASTCALL,
     "map_safetensors(file, start, /)\n--\n\n(arrays by name, metadata or None, [(name, dtype, shape), ...]) of a "
     "safetensors file that begins at `start`. The arrays named\nin the list are flat bytes: packed or misaligned "
     "elements. FormatError if anything is wrong with the header."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_mapped(PyObject* module) {
  if (PyModule_AddFunctions(module, methods) < 0) throw PythonError{};
}

}  // namespace bridge
