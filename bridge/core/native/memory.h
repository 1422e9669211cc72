// The allocator of array bytes: 64-byte aligned always, page-aligned from one page up, huge pages from 2 MiB,
// freed blocks kept for reuse up to a limit. Thread-safe; the GIL is not needed.
#pragma once
#include <cstddef>
#include <new>
#include <string>

namespace bridge {

inline constexpr size_t kAlignment = 64;  // what XLA and TensorFlow need to adopt memory without a copy

// Thrown when set_memory_limit() would be passed; becomes MemoryError with its text.
struct MemoryLimit : std::bad_alloc {
  explicit MemoryLimit(std::string text) : text(std::move(text)) {}
  const char* what() const noexcept override { return text.c_str(); }
  std::string text;
};

// A block of at least nbytes; *capacity is what deallocate() must be given back.
void* allocate(size_t nbytes, size_t* capacity);
void deallocate(void* data, size_t nbytes, size_t capacity) noexcept;

// Around a fork: no thread may be inside the allocator, or the child could never enter it.
void lock_allocator();
void unlock_allocator();

size_t active_memory();  // bytes in live blocks, as asked for (rounded up to 64)
size_t peak_memory();
void reset_peak_memory();
size_t cache_memory();   // bytes in freed blocks that are kept
void clear_cache();
size_t memory_limit();
size_t set_memory_limit(size_t nbytes);  // the old limit
size_t cache_limit();
size_t set_cache_limit(size_t nbytes);   // the old limit

}  // namespace bridge
