// Words of random bits from keys, block by block and in parallel. Word i of a stream of n words depends on the key, n and
// i alone: the words i and i + ceil(n/2), for i < n/2, are the two halves of Threefry of these two counters, and the one
// in the middle of an odd n is the first half of (i, 0). This is the order in which MLX and JAX count.
#pragma once
#include <cstdint>

#include "random_table.h"
#include "threads.h"

namespace bridge {

struct RandomKey { uint32_t k0, k1; };

const pipeline::RandomTable& random_table();  // of this process's SIMD level

inline constexpr int kRandomBlock = 1024;  // words at once: they stay in the first cache

// Further bits for the same words come from a second key, so that a wider draw begins with the narrow one.
RandomKey second_key(RandomKey);

// sink(key index, first word, words, count), or for wide streams sink(key index, first word, words, low words, count).
template <bool Wide, class Sink>
void each_block(const RandomKey* keys, int64_t n_keys, int64_t n, double ns_per_word, const Sink& sink) {
  struct Context {
    const RandomKey* keys;
    int64_t n, half, chunks;
    const Sink& sink;

    void pairs(int64_t which, int64_t at, uint32_t first, uint32_t second, int count) const {
      alignas(64) uint32_t words[4][kRandomBlock];
      RandomKey key = keys[which];
      key.k0 ^= static_cast<uint32_t>(static_cast<uint64_t>(at) >> 32);  // counters are over after 2^33 words
      random_table().pairs(key.k0, key.k1, first, second, count, words[0], words[1]);
      const bool both = at < half;
      const int64_t upper = n - half + at;
      if constexpr (Wide) {
        const RandomKey low = second_key(key);
        random_table().pairs(low.k0, low.k1, first, second, count, words[2], words[3]);
        sink(which, at, words[0], words[2], count);
        if (both) sink(which, upper, words[1], words[3], count);
      } else {
        sink(which, at, words[0], count);
        if (both) sink(which, upper, words[1], count);
      }
    }
    void chunk(int64_t which, int64_t at) const {
      const auto count = static_cast<int>(half - at < kRandomBlock ? half - at : kRandomBlock);
      if (count > 0) pairs(which, at, static_cast<uint32_t>(at), static_cast<uint32_t>(n - half + at), count);
      if (at + count == half && n % 2) pairs(which, half, static_cast<uint32_t>(half), 0, 1);
    }
  };
  if (n == 0 || n_keys == 0) return;
  const int64_t half = n / 2, chunks = half / kRandomBlock + (half % kRandomBlock || half == 0 ? 1 : 0);
  const Context context{keys, n, half, chunks, sink};
  const auto range = [](void* ctx, int64_t begin, int64_t end) {
    const auto& c = *static_cast<const Context*>(ctx);
    for (int64_t i = begin; i < end; ++i) c.chunk(i / c.chunks, i % c.chunks * kRandomBlock);
  };
  constexpr double kThreadsAbove = 60e3, kGrain = 15e3;  // nanoseconds
  const double task = ns_per_word * static_cast<double>(n) / static_cast<double>(chunks);
  const int64_t tasks = n_keys * chunks;
  auto* ctx = const_cast<void*>(static_cast<const void*>(&context));
  if (task * static_cast<double>(tasks) < kThreadsAbove) return range(ctx, 0, tasks);
  parallel_for(tasks, static_cast<int64_t>(kGrain / task) + 1, range, ctx);
}

// Word i alone.
uint32_t word_at(RandomKey, int64_t n, int64_t i);

}  // namespace bridge
