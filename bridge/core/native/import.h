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
  Origin origin;
  void* owner;
  void (*drop)(void*);
};
// Validates and adopts. On success the owner belongs to the storage (or was dropped, when the bytes turned out to be
// the engine's own); when this throws the owner is still the caller's.
NodeRef adopt(const ForeignMemory&, const char* tag);
void check_layout(const ForeignMemory&, const char* tag);  // extents and reach are countable, the pointer is there

// What the importer says of the bytes: nobody writes them (`readonly`, a promise), or they are read-only here while
// somebody else can write them (`written` as well).
struct Claim { bool readonly = false, written = false; };
Origin origin_of(Claim, bool says_readonly);  // ... beside what the bytes say themselves

// The object is a read-only view (ndarray, memoryview) of memory that another view can write.
bool written_elsewhere(PyObject* view);

NodeRef import_buffer(PyObject* object, Claim);
NodeRef import_address(PyObject* owner, uintptr_t address, DType, int ndim, const int64_t* shape,
                       const int64_t* strides, Claim);
NodeRef from_dlpack(PyObject* x, PyObject* device, PyObject* copy);

}  // namespace bridge
