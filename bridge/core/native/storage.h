// Storage: a reference-counted block of bytes; leases: the foreign views that are alive on it.
//
// A storage is plain, open (a writable view of ONE array is alive) or frozen (a holder that cannot or may not write
// is alive). Consumers take a lease on the STORAGE, never on the Python object, and the lease ends when its holder
// lets go, on any thread, with or without the GIL (tests/memory/ holds every rule).
//
// Locks. The GIL comes first: it guards nodes and everything that is said to be under it. Below it are four that are held
// for a few instructions each: the index of leased storages (storage.cpp), the allocator (memory.cpp), the waiting threads
// (stream.cpp), the texts of holders (exchange.cpp). Who holds one of them takes no other, waits for nothing and runs no
// Python code; only a fork takes two, in the order of this list (prepare_for_forks). Who waits for another thread
// (wait_for_pins, a node that another thread computes) has released the GIL and holds no lock.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bridge {

struct Node;
struct Storage;

enum class Access : uint8_t {
  write,  // the holder may write: the storage is open
  frozen,  // the holder cannot or may not write, and relies on nobody writing
  legacy,  // a legacy DLPack capsule, consumer unknown: frozen for the engine's writes, open for its reads
};

// What is known of those outside who can write imported bytes.
struct Origin {
  bool writes = false;  // somebody can: the storage is born open
  bool readonly = false;  // the bytes came in read-only: nobody is granted a writable view of them
  bool given = false;  // they are a copy made for the engine, which uses it like memory of its own
  bool promised = false;  // by the caller, against what the bytes say: nobody writes
};

// One live foreign view. Embedded in what the consumer holds (a Lease object, a DLPack context).
struct LeaseRecord {
  Storage* storage = nullptr;
  const char* holder = "";  // static text: "numpy", "torch", "buffer", ...
  const char* protocol = "";  // static text: "buffer", "dlpack", ...
  Access access = Access::frozen;
  bool counted = true;  // holds a reference to the storage; false: its holder keeps an array of the storage
  LeaseRecord* next = nullptr;
  LeaseRecord** link = nullptr;
};

struct Storage {
  std::atomic<int32_t> refs{1};
  std::atomic<int32_t> writers{0}, freezers{0}, legacies{0};  // live leases by access
  std::atomic<int32_t> pins{0};  // evaluations that read these bytes without the GIL
  void* data = nullptr;
  size_t nbytes = 0, capacity = 0;
  // Imported memory: `owner` keeps it alive and `drop` lets it go (queued until somebody holds the GIL).
  bool imported = false;
  Origin origin;
  void* owner = nullptr;
  void (*drop)(void* owner) = nullptr;
  // Of memory that can go away (a mapped file): throws if it has. Asked before the engine reads and before it exports.
  void (*check)(const Storage*) = nullptr;
  // Under the GIL:
  int32_t n_nodes = 0;  // arrays that share the bytes
  Node* nodes = nullptr;  // ... as a list (Node::shared_next)
  const Node* lessee = nullptr;  // the array whose writable views are alive

  LeaseRecord* leases = nullptr;  // under the lock of the index of leased storages, as are the links below
  Storage* index_next = nullptr;
  Storage** index_link = nullptr;

  // Somebody outside the engine may write these bytes: nothing may read them later than program order says.
  // Acquire: what a holder wrote on another thread before it let go is seen by who finds it gone.
  bool open() const {
    return origin.writes || writers.load(std::memory_order_acquire) > 0 || legacies.load(std::memory_order_acquire) > 0;
  }
  bool frozen() const {
    return freezers.load(std::memory_order_acquire) > 0 || legacies.load(std::memory_order_acquire) > 0;
  }
  bool leased() const { return open() || frozen(); }
  bool foreign() const { return imported && !origin.given; }  // the engine never writes these bytes
};

Storage* new_storage(size_t nbytes);  // engine memory; throws MemoryLimit
// Foreign memory. When this throws, the owner has not been dropped.
Storage* adopt_memory(void* data, size_t nbytes, Origin, void* owner, void (*drop)(void*));

inline void retain(Storage* s) { s->refs.fetch_add(1, std::memory_order_relaxed); }
void release(Storage*) noexcept;  // any thread, GIL or not

// Registers a live view; a counted one takes a reference that end_lease() gives back. The GIL is held.
void begin_lease(LeaseRecord* record, Storage*, Access, const char* holder, const char* protocol);
void end_lease(LeaseRecord* record) noexcept;  // any thread, GIL or not
// visit(out, record) for every live lease, under the lock of the leases: visit must not run Python or take locks.
void lease_snapshot(Storage*, void (*visit)(void* out, const LeaseRecord&), void* out);

// The storage with a live lease that contains these bytes, with a reference; nullptr when there is none. Imported
// storages are found for bytes that come from the same side of the promise.
Storage* find_leased(const void* begin, size_t nbytes, Origin) noexcept;

// Drops the owners of imported memory whose last array went away without the GIL. The GIL is held. The interpreter's
// main thread is asked to do it, and every import does it: the main thread may be away for long.
void drain_dropped_owners() noexcept;

// From now on a fork leaves the child with locks that are free, and with nothing that waits for threads it has not got.
void prepare_for_forks();

// Blocks (with the GIL released) until no evaluation on another thread reads the storage. The GIL is held.
void wait_for_pins(Storage*);

}  // namespace bridge
