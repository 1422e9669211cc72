#include "storage.h"

#include <Python.h>

#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <thread>

#include "errors.h"
#include "memory.h"

namespace bridge {
namespace {

struct LeaseGuard {
  explicit LeaseGuard(Storage* s) : flag(s->lease_lock) {
    while (flag.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  }
  ~LeaseGuard() { flag.clear(std::memory_order_release); }
  std::atomic_flag& flag;
};

// Engine storages with at least one live lease, by address: bytes that come back are recognised by it.
struct Leased {
  std::mutex lock;
  std::map<uintptr_t, Storage*> by_address;
};
Leased& leased() {  // never destroyed: leases may end after static destructors have run
  static Leased& l = *new Leased;
  return l;
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
  drain_dropped_owners();
  return 0;
}

void drop_owner(void* owner, void (*drop)(void*)) noexcept {
  if (!drop) return;
  if (!Py_IsInitialized()) return;  // after finalisation owners leak: there is nobody to give them back to
  if (PyGILState_Check()) {
    drop(owner);
    return;
  }
  auto* d = new (std::nothrow) Dropped{owner, drop, nullptr};
  if (!d) return;  // a leak is the only safe answer without the GIL and without memory
  d->next = dropped.load(std::memory_order_relaxed);
  while (!dropped.compare_exchange_weak(d->next, d, std::memory_order_release, std::memory_order_relaxed)) {
  }
  if (!drain_scheduled.exchange(true) && Py_AddPendingCall(drain_pending, nullptr) != 0) drain_scheduled.store(false);
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

Storage* adopt_memory(void* data, size_t nbytes, bool owner_writes, void* owner, void (*drop)(void*)) {
  auto* s = new Storage;
  s->data = data;
  s->nbytes = nbytes;
  s->imported = true;
  s->owner_writes = owner_writes;
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
  bool first = false;
  {
    LeaseGuard guard(s);
    first = s->leases == nullptr;
    record->next = s->leases;
    record->link = &s->leases;
    if (s->leases) s->leases->link = &record->next;
    s->leases = record;
  }
  retain(s);
  counter(s, access).fetch_add(1, std::memory_order_acq_rel);
  if (first && !s->imported) {
    Leased& l = leased();
    std::lock_guard guard(l.lock);
    l.by_address[reinterpret_cast<uintptr_t>(s->data)] = s;
  }
}

void end_lease(LeaseRecord* record) noexcept {
  Storage* s = record->storage;
  if (!s) return;
  record->storage = nullptr;
  if (s->imported) {
    LeaseGuard guard(s);
    *record->link = record->next;
    if (record->next) record->next->link = record->link;
  } else {
    // The index entry goes in the same critical section that empties the list, so a storage found by address has a
    // live lease and with it a reference.
    Leased& l = leased();
    std::lock_guard index_guard(l.lock);
    LeaseGuard guard(s);
    *record->link = record->next;
    if (record->next) record->next->link = record->link;
    if (!s->leases) l.by_address.erase(reinterpret_cast<uintptr_t>(s->data));
  }
  counter(s, record->access).fetch_sub(1, std::memory_order_acq_rel);
  release(s);
}

void lease_snapshot(Storage* s, void (*visit)(void*, const LeaseRecord&), void* out) {
  LeaseGuard guard(s);
  for (const LeaseRecord* r = s->leases; r; r = r->next) visit(out, *r);
}

Storage* find_leased(const void* address) noexcept {
  auto wanted = reinterpret_cast<uintptr_t>(address);
  Leased& l = leased();
  std::lock_guard guard(l.lock);
  auto it = l.by_address.upper_bound(wanted);
  if (it == l.by_address.begin()) return nullptr;
  Storage* s = std::prev(it)->second;
  auto begin = reinterpret_cast<uintptr_t>(s->data);
  if (wanted >= begin + s->nbytes) return nullptr;
  retain(s);
  return s;
}

void drain_dropped_owners() noexcept {
  drain_scheduled.store(false);
  Dropped* d = dropped.exchange(nullptr, std::memory_order_acquire);
  while (d) {
    Dropped* next = d->next;
    d->drop(d->owner);
    delete d;
    d = next;
  }
}

void wait_for_pins(Storage* s) {
  if (s->pins.load(std::memory_order_acquire) == 0) return;
  ReleaseGil released;
  while (s->pins.load(std::memory_order_acquire) != 0) std::this_thread::yield();
}

}  // namespace bridge
