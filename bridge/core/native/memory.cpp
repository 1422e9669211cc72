#include "memory.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "sanitize.h"

namespace bridge {
namespace {

constexpr size_t kSmall = 4096;      // below: free lists by multiples of 64 bytes
constexpr size_t kHuge = 2u << 20;   // from here: mapped, aligned to 2 MiB, huge pages asked for
constexpr size_t kSmallKept = 1024;  // blocks kept a size class

class SpinLock {
 public:
  void lock() {
    for (int i = 0; flag_.test_and_set(std::memory_order_acquire); ++i)
      if (i > 100) std::this_thread::yield();
  }
  void unlock() { flag_.clear(std::memory_order_release); }

 private:
  std::atomic_flag flag_ = ATOMIC_FLAG_INIT;
};

struct Guard {
  explicit Guard(SpinLock& lock) : lock(lock) { lock.lock(); }
  ~Guard() { lock.unlock(); }
  SpinLock& lock;
};

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

size_t physical_memory() {
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  size_t total = pages > 0 && page > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page) : size_t{1} << 40;
  if (FILE* f = fopen("/sys/fs/cgroup/memory.max", "r")) {  // a container's limit, when there is one
    unsigned long long limit = 0;
    if (fscanf(f, "%llu", &limit) == 1 && limit > 0) total = std::min<size_t>(total, limit);
    fclose(f);
  }
  return total;
}

struct Free { Free* next; };

struct Allocator {
  SpinLock lock;
  Free* small[kSmall / kAlignment + 1] = {};
  size_t small_count[kSmall / kAlignment + 1] = {};
  std::multimap<size_t, void*> large;  // capacity -> block
  size_t cached = 0;
  size_t active = 0, peak = 0;
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t limit = physical_memory();
  size_t cache_limit = limit / 4;
};

// Never destroyed: exported memory may be handed back after static destructors have run.
Allocator& state() {
  static Allocator& a = *new Allocator;
  return a;
}

void* map_huge(size_t capacity) {
  size_t span = capacity + kHuge;
  void* mapped = mmap(nullptr, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto begin = reinterpret_cast<uintptr_t>(mapped), start = (begin + kHuge - 1) / kHuge * kHuge;
  if (start > begin) munmap(mapped, start - begin);
  if (size_t tail = begin + span - (start + capacity)) munmap(reinterpret_cast<void*>(start + capacity), tail);
#ifdef MADV_HUGEPAGE
  madvise(reinterpret_cast<void*>(start), capacity, MADV_HUGEPAGE);
#endif
  return reinterpret_cast<void*>(start);
}

void* from_system(size_t capacity, size_t page) {
  if (capacity >= kHuge) return map_huge(capacity);
  void* data = nullptr;
  return posix_memalign(&data, capacity >= page ? page : kAlignment, capacity) == 0 ? data : nullptr;
}

void to_system(void* data, size_t capacity) {
  permit(data, capacity);
  if (capacity >= kHuge)
    munmap(data, capacity);
  else
    free(data);
}

// Empties the cache; the lock is held.
void drop_cache(Allocator& a) {
  for (size_t c = 0; c <= kSmall / kAlignment; ++c) {
    while (Free* f = a.small[c]) {
      a.small[c] = f->next;
      to_system(f, c * kAlignment);
    }
    a.small_count[c] = 0;
  }
  for (auto& [capacity, data] : a.large) to_system(data, capacity);
  a.large.clear();
  a.cached = 0;
}

[[noreturn]] void refuse(size_t nbytes, size_t active, size_t limit) {
  throw MemoryLimit("[bridge.memory] " + std::to_string(nbytes) + " bytes are wanted and the limit would be passed." +
                    "\n  got:  " + std::to_string(active) + " bytes active, limit " + std::to_string(limit) +
                    "\n  fix:  bridge.set_memory_limit(...) or drop arrays that are no longer needed");
}

}  // namespace

void* allocate(size_t nbytes, size_t* capacity) {
  Allocator& a = state();
  if (nbytes > (size_t{1} << 62)) refuse(nbytes, active_memory(), memory_limit());
  size_t counted = round_up(std::max<size_t>(nbytes, 1), kAlignment);
  *capacity = counted <= kSmall ? counted : round_up(counted, a.page);
  void* data = nullptr;
  {
    Guard guard(a.lock);
    if (a.active + counted > a.limit) refuse(nbytes, a.active, a.limit);
    if (counted <= kSmall) {
      size_t c = counted / kAlignment;
      if (Free* f = a.small[c]) {
        a.small[c] = f->next;
        --a.small_count[c];
        a.cached -= counted;
        data = f;
      }
    } else {
      auto it = a.large.lower_bound(*capacity);
      if (it != a.large.end() && it->first <= *capacity + *capacity / 4) {
        data = it->second;
        *capacity = it->first;
        a.cached -= it->first;
        a.large.erase(it);
      } else if (a.active + a.cached + *capacity > a.limit) {
        drop_cache(a);
      }
    }
    a.active += counted;
    a.peak = std::max(a.peak, a.active);
  }
  if (!data) data = from_system(*capacity, a.page);
  if (!data) {  // once more with an empty cache
    Guard guard(a.lock);
    drop_cache(a);
    data = from_system(*capacity, a.page);
    if (!data) {
      a.active -= counted;
      throw MemoryLimit("[bridge.memory] the system has no " + std::to_string(nbytes) + " bytes to give.");
    }
  }
  permit(data, nbytes);
  forbid(static_cast<unsigned char*>(data) + nbytes, *capacity - nbytes);
  return data;
}

void deallocate(void* data, size_t nbytes, size_t capacity) noexcept {
  Allocator& a = state();
  size_t counted = round_up(std::max<size_t>(nbytes, 1), kAlignment);
  Guard guard(a.lock);
  a.active -= counted;
  if (capacity <= kSmall) {
    size_t c = capacity / kAlignment;
    if (a.small_count[c] < kSmallKept && a.cached + capacity <= a.cache_limit) {
      forbid(data, capacity);
      auto* f = static_cast<Free*>(data);
      permit(f, sizeof *f);
      f->next = a.small[c];
      a.small[c] = f;
      ++a.small_count[c];
      a.cached += capacity;
      return;
    }
  } else if (a.cached + capacity <= a.cache_limit) {
    try {
      a.large.emplace(capacity, data);
      a.cached += capacity;
      forbid(data, capacity);
      return;
    } catch (const std::bad_alloc&) {
      // no room for the record: the block goes back to the system
    }
  }
  to_system(data, capacity);
}

void lock_allocator() { state().lock.lock(); }
void unlock_allocator() { state().lock.unlock(); }

size_t active_memory() {
  Guard guard(state().lock);
  return state().active;
}
size_t peak_memory() {
  Guard guard(state().lock);
  return state().peak;
}
void reset_peak_memory() {
  Guard guard(state().lock);
  state().peak = state().active;
}
size_t cache_memory() {
  Guard guard(state().lock);
  return state().cached;
}
void clear_cache() {
  Guard guard(state().lock);
  drop_cache(state());
}
size_t memory_limit() {
  Guard guard(state().lock);
  return state().limit;
}
size_t set_memory_limit(size_t nbytes) {
  Guard guard(state().lock);
  return std::exchange(state().limit, nbytes);
}
size_t cache_limit() {
  Guard guard(state().lock);
  return state().cache_limit;
}
size_t set_cache_limit(size_t nbytes) {
  Guard guard(state().lock);
  size_t old = std::exchange(state().cache_limit, nbytes);
  if (state().cached > nbytes) drop_cache(state());
  return old;
}

}  // namespace bridge
