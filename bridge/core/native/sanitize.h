// What AddressSanitizer must be told: under it freed nodes and arrays go back to the system at once, and the bytes that
// the allocator keeps, or gave beyond what was asked for, may not be touched.
#pragma once
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BRIDGE_ADDRESS_SANITIZER
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define BRIDGE_ADDRESS_SANITIZER
#endif

#ifdef BRIDGE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace bridge {

#ifdef BRIDGE_ADDRESS_SANITIZER
inline constexpr bool kKeepFreed = false;
inline void forbid(void* data, size_t nbytes) { ASAN_POISON_MEMORY_REGION(data, nbytes); }
inline void permit(void* data, size_t nbytes) { ASAN_UNPOISON_MEMORY_REGION(data, nbytes); }
#else
inline constexpr bool kKeepFreed = true;
inline void forbid(void*, size_t) {}
inline void permit(void*, size_t) {}
#endif

}  // namespace bridge
