// Loops over indices and masks, compiled once per ISA under the rules of pipeline_isa.cpp.
#include "isa_intrinsics.h"
#include "places_table.h"

namespace bridge::BRIDGE_ISA_NS {
namespace {

template <class T>
struct IsSigned {
  static constexpr bool value = T(-1) < T(0);
};

// The index from 0, and in the sign bit of `bad` whether it is none: it or what is left above it is negative.
template <class T>
inline int64_t counted(T index, int64_t extent, uint64_t& bad) {
  int64_t i = static_cast<int64_t>(index);
  if constexpr (IsSigned<T>::value) i += i < 0 ? extent : 0;
  bad |= static_cast<uint64_t>(i) | (static_cast<uint64_t>(extent) - 1 - static_cast<uint64_t>(i));
  return i;
}

template <class T, bool adds, bool unit>
bool find_loop(const T* indices, int64_t n, int64_t extent, int64_t step, int64_t* out) {
  uint64_t bad = 0;
  for (int64_t j = 0; j < n; ++j) {
    int64_t i = counted(indices[j], extent, bad);
    int64_t offset = unit ? i : static_cast<int64_t>(static_cast<uint64_t>(i) * static_cast<uint64_t>(step));
    out[j] = adds ? out[j] + offset : offset;
  }
  return static_cast<int64_t>(bad) >= 0;
}

template <class T, bool adds>
bool find(const void* data, int64_t n, int64_t extent, int64_t step, int64_t* out) {
  const T* indices = static_cast<const T*>(data);
  return step == 1 ? find_loop<T, adds, true>(indices, n, extent, 1, out)
                   : find_loop<T, adds, false>(indices, n, extent, step, out);
}

template <class T>
bool check(const void* data, int64_t n, int64_t extent) {
  const T* indices = static_cast<const T*>(data);
  uint64_t bad = 0;
  for (int64_t j = 0; j < n; ++j) counted(indices[j], extent, bad);
  return static_cast<int64_t>(bad) >= 0;
}

// Imported bytes may be any number that is not 0.
int64_t count_true(const unsigned char* mask, int64_t n) {
  constexpr uint64_t kLow = 0x7f7f7f7f7f7f7f7full;
  int64_t count = 0, i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    __builtin_memcpy(&word, mask + i, 8);
    count += __builtin_popcountll((((word & kLow) + kLow) | word) & ~kLow);
  }
  for (; i < n; ++i) count += mask[i] != 0;
  return count;
}

// Every position is written, and the next one over it unless the element is true: no branch has to be predicted. The last
// ones are written one by one, since behind them the next part begins.
template <class T>
void fill_rest(const unsigned char* mask, int64_t i, int64_t end, T* out, const T* out_end) {
  for (; i + 8 <= end && out_end - out >= 8; i += 8) {
    uint64_t word;
    __builtin_memcpy(&word, mask + i, 8);
    if (word == 0) continue;
    for (int64_t k = i; k < i + 8; ++k) {
      *out = static_cast<T>(k);
      out += mask[k] != 0;
    }
  }
  for (; out < out_end; ++i)
    if (mask[i]) *out++ = static_cast<T>(i);
}

void fill_narrow(const unsigned char* mask, int64_t i, int64_t end, int32_t* out, const int32_t* out_end) {
#if defined(__AVX512F__)
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (; i + 16 <= end && out_end - out >= 16; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + i));
    const __mmask16 keep = _mm_test_epi8_mask(bytes, bytes);
    const __m512i positions = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(i)));
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(keep, positions));
    out += __builtin_popcount(keep);
  }
#endif
  fill_rest(mask, i, end, out, out_end);
}

void fill_wide(const unsigned char* mask, int64_t i, int64_t end, int64_t* out, const int64_t* out_end) {
  fill_rest(mask, i, end, out, out_end);
}

}  // namespace

extern const PlacesTable places_loops;
constexpr PlacesTable places_loops = {
    {find<uint8_t, false>, find<uint16_t, false>, find<uint32_t, false>, find<uint64_t, false>, find<int8_t, false>,
     find<int16_t, false>, find<int32_t, false>, find<int64_t, false>},
    {find<uint8_t, true>, find<uint16_t, true>, find<uint32_t, true>, find<uint64_t, true>, find<int8_t, true>,
     find<int16_t, true>, find<int32_t, true>, find<int64_t, true>},
    {check<uint8_t>, check<uint16_t>, check<uint32_t>, check<uint64_t>, check<int8_t>, check<int16_t>, check<int32_t>,
     check<int64_t>},
    count_true,
    fill_narrow,
    fill_wide};

}  // namespace bridge::BRIDGE_ISA_NS
