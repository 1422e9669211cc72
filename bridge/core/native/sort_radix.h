// A radix sort of items by the bytes of their keys, least significant first, between two buffers. An item type says
// through `Digits<Item>` how many digits it has and what they are.
#pragma once
#include <cstring>
#include <memory>
#include <utility>

#include "sort_keys.h"
#include "threads.h"

namespace bridge::sorting {

template <class K>
struct Place {  // an element's key and where it stood
  K key;
  uint64_t index;
};
// The same in one word, for keys of at most 32 bits: the key above, the place below.
struct Packed { uint64_t bits; };

inline constexpr int kDigitValues = 256;

template <class Item, int kKeyBytes>
struct Digits;
template <class K, int kKeyBytes>
struct KeyDigits {
  static unsigned digit(const K& key, int pass) { return static_cast<unsigned>(key >> (8 * pass)) & 0xff; }
};
template <int kKeyBytes>
struct KeyDigits<Wide, kKeyBytes> {
  static unsigned digit(const Wide& key, int pass) {
    return static_cast<unsigned>((pass < 8 ? key.low : key.high) >> (8 * (pass & 7))) & 0xff;
  }
};
template <class K, int kKeyBytes>
struct Digits : KeyDigits<K, kKeyBytes> {};
template <class K, int kKeyBytes>
struct Digits<Place<K>, kKeyBytes> {
  static unsigned digit(const Place<K>& item, int pass) { return KeyDigits<K, kKeyBytes>::digit(item.key, pass); }
};
template <int kKeyBytes>
struct Digits<Packed, kKeyBytes> {
  static unsigned digit(const Packed& item, int pass) {
    return static_cast<unsigned>(item.bits >> (32 + 8 * pass)) & 0xff;
  }
};

// Counts become the positions where each digit begins.
inline void begin_positions(int64_t* counts) {
  int64_t at = 0;
  for (int d = 0; d < kDigitValues; ++d) at += std::exchange(counts[d], at);
}

// Sorts n > 0 items of `a` with `b` as room for as many; gives back the one that holds the result.
template <int kKeyBytes, class Item>
Item* radix_sort(Item* a, Item* b, int64_t n) {
  using D = Digits<Item, kKeyBytes>;
  int64_t counts[kKeyBytes][kDigitValues] = {};
  for (int64_t i = 0; i < n; ++i)
    for (int pass = 0; pass < kKeyBytes; ++pass) ++counts[pass][D::digit(a[i], pass)];
  for (int pass = 0; pass < kKeyBytes; ++pass) {
    int64_t* at = counts[pass];
    if (at[D::digit(a[0], pass)] == n) continue;  // all have the same digit
    begin_positions(at);
    for (int64_t i = 0; i < n; ++i) b[at[D::digit(a[i], pass)]++] = a[i];
    std::swap(a, b);
  }
  return a;
}

// parallel_for with a callable.
template <class F>
void in_parallel(int64_t n, int64_t grain, F& body) {
  parallel_for(n, grain, [](void* f, int64_t begin, int64_t end) { (*static_cast<F*>(f))(begin, end); }, &body);
}

inline constexpr int64_t kPieces = 16;  // into which one long row is cut, to be counted and moved in parallel

// The same, every pass on all threads. `counts`: room for kPieces * kDigitValues numbers.
template <int kKeyBytes, class Item>
Item* radix_sort_in_parallel(Item* a, Item* b, int64_t n, int64_t* counts) {
  using D = Digits<Item, kKeyBytes>;
  const auto edge = [n](int64_t piece) { return n / kPieces * piece + (piece < n % kPieces ? piece : n % kPieces); };
  for (int pass = 0; pass < kKeyBytes; ++pass) {
    auto count = [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) {
        int64_t own[kDigitValues] = {};
        for (int64_t i = edge(piece); i < edge(piece + 1); ++i) ++own[D::digit(a[i], pass)];
        std::memcpy(counts + piece * kDigitValues, own, sizeof own);
      }
    };
    in_parallel(kPieces, 1, count);
    int64_t same = 0, at = 0;
    for (int64_t piece = 0; piece < kPieces; ++piece) same += counts[piece * kDigitValues + D::digit(a[0], pass)];
    if (same == n) continue;
    for (int d = 0; d < kDigitValues; ++d)
      for (int64_t piece = 0; piece < kPieces; ++piece) at += std::exchange(counts[piece * kDigitValues + d], at);
    auto move = [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) {
        int64_t own[kDigitValues];
        std::memcpy(own, counts + piece * kDigitValues, sizeof own);
        for (int64_t i = edge(piece); i < edge(piece + 1); ++i) b[own[D::digit(a[i], pass)]++] = a[i];
      }
    };
    in_parallel(kPieces, 1, move);
    std::swap(a, b);
  }
  return a;
}

}  // namespace bridge::sorting
