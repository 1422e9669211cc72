// Adopting foreign memory as an array, without a copy.
#pragma once
#include "array.h"

namespace bridge {

struct ForeignMemory {
  DType dtype;
  int ndim;
  const int64_t* shape;
  const int64_t* strides;  // elements; nullptr: dense
  void* data;              // element 0
  bool owner_writes;
  void* owner;
  void (*drop)(void*);
};
// Validates and adopts. On success the owner belongs to the storage (or was dropped, when the bytes turned out to be
// the engine's own); when this throws the owner is still the caller's.
NodeRef adopt(const ForeignMemory&, const char* tag);
void check_layout(const ForeignMemory&, const char* tag);  // extents and reach are countable, the pointer is there

NodeRef import_buffer(PyObject* object, bool readonly);
NodeRef import_address(PyObject* owner, uintptr_t address, DType, int ndim, const int64_t* shape,
                       const int64_t* strides, bool writable);
NodeRef from_dlpack(PyObject* x, PyObject* device, PyObject* copy);

}  // namespace bridge
