#include "storage.h"

#include <Python.h>
#include <pthread.h>

#include <chrono>
#include <mutex>
#include <new>
#include <set>
#include <thread>
#include <utility>

#include "errors.h"
#include "eval.h"
#include "memory.h"

namespace bridge {
namespace {

// Index of the storages with a live lease, by address: bytes that come back are recognised by it. A storage of at most
// one window lies in two windows at most, so it is found from the window of its first byte; larger ones are in an
// ordered map, whose cost is small beside theirs. Imported storages may overlap: each is asked whether it fits.
// Its lock guards the lists and counts of leases as well: to begin or end a lease takes it once.
class LeasedIndex {
 public:
  void lock() {
    while (lock_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  }
  void unlock() { lock_.clear(std::memory_order_release); }

  void insert(Storage* s) {
    if (s->nbytes > kWindowBytes) {
      large_.insert({address(s->data), s});
      return;
    }
    Storage** head = bucket(address(s->data) / kWindowBytes);
    s->index_next = *head;
    s->index_link = head;
    if (*head) (*head)->index_link = &s->index_next;
    *head = s;
  }

  void erase(Storage* s) {
    if (s->nbytes > kWindowBytes) {
      large_.erase({address(s->data), s});
      return;
    }
    *s->index_link = s->index_next;
    if (s->index_next) s->index_next->index_link = s->index_link;
  }

  Storage* find(const void* begin, size_t nbytes, Origin origin) {
    uintptr_t wanted = address(begin), window = wanted / kWindowBytes;
    for (uintptr_t w : {window, window - 1})
      for (Storage* s = *bucket(w); s; s = s->index_next)
        if (contains(s, wanted, nbytes) && joins(s, origin)) return s;
    auto it = large_.upper_bound({wanted, reinterpret_cast<Storage*>(UINTPTR_MAX)});
    for (int tries = 0; tries < kTries && it != large_.begin(); ++tries) {
      Storage* s = (--it)->second;
      if (contains(s, wanted, nbytes) && joins(s, origin)) return s;
    }
    return nullptr;
  }

 private:
  static constexpr uintptr_t kWindowBytes = 4096;
  static uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }
  static constexpr int kTries = 16;  // large imported storages that overlap and are not the wanted one
  static bool contains(const Storage* s, uintptr_t wanted, size_t nbytes) {
    uintptr_t offset = wanted - address(s->data);
    return offset < s->nbytes && nbytes <= s->nbytes - offset;
  }
  // A view that can write is no part of memory that somebody counts on; a promise is no part of memory that is written.
  static bool joins(const Storage* s, Origin wanted) {
    if (!s->foreign()) return true;
    if (wanted.promised) return !s->origin.writes;
    return wanted.readonly || (s->origin.writes && !s->origin.readonly);
  }
  Storage** bucket(uintptr_t window) { return &buckets_[window * 0x9e3779b97f4a7c15ull >> 52]; }

  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  Storage* buckets_[4096] = {};
  std::set<std::pair<uintptr_t, Storage*>> large_;
};
LeasedIndex& leased() {  // never destroyed: leases may end after static destructors have run
  static LeasedIndex& index = *new LeasedIndex;
  return index;
}

// Owners that wait for the GIL: a lock-free stack.
struct Dropped {
  void* owner;
  void (*drop)(void*);
  Dropped* next;
};
std::atomic<Dropped*> dropped{nullptr};
std::atomic<bool> drain_scheduled{false};

int drain_pending(void*) {
  drain_scheduled.store(false);  // before it looks: who comes later schedules again
  drain_dropped_owners();
  return 0;
}

// An owner may hold an array over the memory of another owner, and so on: beyond this depth they wait in the queue, so
// that a chain of any length ends without a stack of its length. Under the GIL.
constexpr int kDeepest = 32;
int depth = 0;

void drop_owner(void* owner, void (*drop)(void*)) noexcept {
  if (!drop) return;
  if (!Py_IsInitialized()) return;  // after finalisation owners leak: there is nobody to give them back to
  if (PyGILState_Check() && depth < kDeepest) {
    ++depth;
    drop(owner);
    if (--depth == 0) drain_dropped_owners();
    return;
  }
  auto* d = new (std::nothrow) Dropped{owner, drop, nullptr};
  if (!d) return;  // a leak is the only safe answer without the GIL and without memory
  d->next = dropped.load(std::memory_order_relaxed);
  while (!dropped.compare_exchange_weak(d->next, d, std::memory_order_release, std::memory_order_relaxed)) {}
  if (!drain_scheduled.exchange(true) && Py_AddPendingCall(drain_pending, nullptr) != 0) drain_scheduled.store(false);
}

// Under the lock of the index, so no locked instruction is needed; readers without it see a whole number.
void add(std::atomic<int32_t>& count, int32_t by) {
  count.store(count.load(std::memory_order_relaxed) + by, std::memory_order_release);
}

std::atomic<int32_t>& counter(Storage* s, Access access) {
  switch (access) {
    case Access::write: return s->writers;
    case Access::frozen: return s->freezers;
    case Access::legacy: break;
  }
  return s->legacies;
}

}  // namespace

Storage* new_storage(size_t nbytes) {
  auto* s = new Storage;
  try {
    s->data = allocate(nbytes, &s->capacity);
  } catch (...) {
    delete s;
    throw;
  }
  s->nbytes = nbytes;
  return s;
}

Storage* adopt_memory(void* data, size_t nbytes, Origin origin, void* owner, void (*drop)(void*)) {
  auto* s = new Storage;
  s->data = data;
  s->nbytes = nbytes;
  s->imported = true;
  s->origin = origin;
  s->owner = owner;
  s->drop = drop;
  return s;
}

void release(Storage* s) noexcept {
  if (s->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (s->imported)
    drop_owner(s->owner, s->drop);
  else
    deallocate(s->data, s->nbytes, s->capacity);
  delete s;
}

void begin_lease(LeaseRecord* record, Storage* s, Access access, const char* holder, const char* protocol) {
  record->storage = s;
  record->access = access;
  record->holder = holder;
  record->protocol = protocol;
  if (record->counted) retain(s);
  std::lock_guard guard(leased());
  bool first = s->leases == nullptr;
  record->next = s->leases;
  record->link = &s->leases;
  if (s->leases) s->leases->link = &record->next;
  s->leases = record;
  add(counter(s, access), 1);
  if (!first) return;
  try {
    leased().insert(s);
  } catch (const std::bad_alloc&) {
    // Without its entry the storage is not recognised when its bytes come back: they are then foreign memory that
    // somebody may write, which is slower and just as safe. erase() of a missing key does nothing.
  }
}

void end_lease(LeaseRecord* record) noexcept {
  Storage* s = record->storage;
  if (!s) return;
  record->storage = nullptr;
  {
    std::lock_guard guard(leased());
    *record->link = record->next;
    if (record->next) record->next->link = record->link;
    add(counter(s, record->access), -1);
    // In the same critical section: a storage found by its address has a live lease, and with it a reference.
    if (!s->leases) leased().erase(s);
  }
  if (record->counted) release(s);
}

void lease_snapshot(Storage* s, void (*visit)(void*, const LeaseRecord&), void* out) {
  std::lock_guard guard(leased());
  for (const LeaseRecord* r = s->leases; r; r = r->next) visit(out, *r);
}

Storage* find_leased(const void* begin, size_t nbytes, Origin origin) noexcept {
  std::lock_guard guard(leased());
  Storage* s = leased().find(begin, nbytes, origin);
  if (s) retain(s);
  return s;
}

void drain_dropped_owners() noexcept {
  if (!dropped.load(std::memory_order_relaxed)) return;
  ++depth;  // what these hold in turn comes to the queue, not to the stack
  while (Dropped* d = dropped.exchange(nullptr, std::memory_order_acquire)) {
    while (d) {
      Dropped* next = d->next;
      d->drop(d->owner);
      delete d;
      d = next;
    }
  }
  --depth;
}

void prepare_for_forks() {
  auto take = [] {
    leased().lock();
    lock_allocator();
  };
  auto give = [] {
    unlock_allocator();
    leased().unlock();
  };
  pthread_atfork(take, give, give);
}

void wait_for_pins(Storage* s) {
  // With the GIL back, another reader may have come in between: only what is seen under the GIL counts.
  while (s->pins.load(std::memory_order_acquire) != 0) {
    if (reads_here(s))
      throw Error("BridgeError", message("bridge",
                                         "an array is updated by code that runs while a kernel reads it: a "
                                         "signal's handler must leave it alone."));
    {
      ReleaseGil released;
      const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
      while (s->pins.load(std::memory_order_acquire) != 0 && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    }
    if (PyErr_CheckSignals() < 0) throw PythonError{};
  }
}

}  // namespace bridge
