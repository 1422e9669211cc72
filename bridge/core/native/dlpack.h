// The DLPack 1.3 structures (layout: dmlc.github.io/dlpack, c_api) and the engine's producer.
#pragma once
#include <cstdint>

#include "array.h"
#include "import.h"

namespace bridge::dlpack {

struct Device { int32_t type, id; };
struct DataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // elements
  uint64_t byte_offset;
};
struct Managed {  // legacy, capsule "dltensor"
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
struct Version { uint32_t major, minor; };
struct ManagedVersioned {  // capsule "dltensor_versioned"
  Version version;
  void* context;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;
  Tensor tensor;
};
inline constexpr Version kVersion = {1, 3};
inline constexpr uint64_t kReadOnly = 1, kIsCopied = 2, kSubBytePadded = 4;
// What a capsule says of the elements. Those of four bits lie one to a byte, which only the flag can say.
constexpr DataType data_type(DType t) { return {info(t).dlpack_code, static_cast<uint8_t>(bits(t)), 1}; }
constexpr uint64_t padded_flag(DType t) { return info(t).padding ? kSubBytePadded : 0; }
inline constexpr int32_t kCpu = 1, kCudaHost = 3, kRocmHost = 11;

// The C exchange table: static, process-long, in a capsule "dlpack_exchange_api" on the type.
struct ExchangeTable {
  Version version;
  ExchangeTable* previous;
  int (*allocate)(Tensor* prototype, ManagedVersioned** out, void* error_context,
                  void (*set_error)(void*, const char* kind, const char* text));
  int (*from_object)(void* object, ManagedVersioned** out);
  int (*to_object)(ManagedVersioned* tensor, void** out);
  int (*borrow)(void* object, Tensor* out);
  int (*current_stream)(int32_t device_type, int32_t device_id, void** out);
};
static_assert(sizeof(Tensor) == 48 && sizeof(Managed) == 64 && sizeof(ManagedVersioned) == 80 &&
              sizeof(ExchangeTable) == 56);

// Exports the bytes of an evaluated node under a lease that its deleter ends, on any thread.
ManagedVersioned* make_versioned(Node*, Access, uint64_t flags, const char* holder);
Managed* make_legacy(Node*, Access, const char* holder);
PyObject* capsule(ManagedVersioned*);  // takes over
PyObject* capsule(Managed*);
// A capsule over memory that is nobody's storage: no lease, the deleter drops the owner.
PyObject* foreign_capsule(const ForeignMemory&, bool versioned, bool readonly);

// Imports; the managed tensor is taken over, also when this throws.
// Elements off their natural alignment raise CopyRequired unless misaligned_too.
NodeRef import_managed(ManagedVersioned*, Claim, bool misaligned_too = false);
NodeRef import_managed(Managed*, Claim, bool misaligned_too = false);
NodeRef import_capsule(PyObject* capsule, Claim, bool misaligned_too = false);
// CPU memory that `owner` keeps alive, as the exchange table describes it.
NodeRef import_borrowed(const Tensor&, PyObject* owner, Claim);

bool is_aligned(const Tensor&);  // element 0, naturally; false for an element type that the engine lacks

PyObject* array_dlpack(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* array_dlpack_device(PyObject* self, PyObject*);
PyObject* exchange_table_capsule();
ExchangeTable* exchange_table_of(PyObject* capsule);  // of another framework; throws

}  // namespace bridge::dlpack
