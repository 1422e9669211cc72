// The dtype table: one row per element type. bridge/core/dtypes.py holds the same rows for Python;
// tests/core/test_dtypes.py compares the two.
#pragma once
#include <cstdint>

namespace bridge {

enum class DType : uint8_t {
  bool_,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  float16,
  bfloat16,
  float32,
  float64,
  complex64,
  complex128,
  // Held: moved and converted, never computed with. No loop is made for them.
  float8_e4m3fn,
  float8_e5m2,
  float8_e4m3b11fnuz,
  float8_e4m3fnuz,
  float8_e5m2fnuz,
  float8_e8m0fnu,
  int4,
  uint4,
  float4_e2m1fn,
};
inline constexpr int kComputedCount = 15;  // the dtypes that operations have loops for come first
inline constexpr int kDTypeCount = 24;

enum class Kind : uint8_t { boolean, unsigned_integer, signed_integer, floating, complex, held };

struct DTypeInfo {
  const char* name;      // as Python spells it: "bool", "float32"
  uint8_t itemsize;      // bytes
  Kind kind;
  uint8_t dlpack_code;   // DLDataTypeCode of DLPack 1.x
  const char* format;    // struct-module code (PEP 3118); nullptr: the buffer protocol has none
  uint8_t padding = 0;   // high bits of an element's byte that are no part of its value
  DType exact = DType::bool_;  // held dtypes: the smallest computed dtype that has every value
};

inline constexpr DTypeInfo kDTypes[kDTypeCount] = {
    {"bool", 1, Kind::boolean, 6, "?"},
    {"uint8", 1, Kind::unsigned_integer, 1, "B"},
    {"uint16", 2, Kind::unsigned_integer, 1, "H"},
    {"uint32", 4, Kind::unsigned_integer, 1, "I"},
    {"uint64", 8, Kind::unsigned_integer, 1, "Q"},
    {"int8", 1, Kind::signed_integer, 0, "b"},
    {"int16", 2, Kind::signed_integer, 0, "h"},
    {"int32", 4, Kind::signed_integer, 0, "i"},
    {"int64", 8, Kind::signed_integer, 0, "q"},
    {"float16", 2, Kind::floating, 2, "e"},
    {"bfloat16", 2, Kind::floating, 4, nullptr},
    {"float32", 4, Kind::floating, 2, "f"},
    {"float64", 8, Kind::floating, 2, "d"},
    {"complex64", 8, Kind::complex, 5, "Zf"},
    {"complex128", 16, Kind::complex, 5, "Zd"},
    {"float8_e4m3fn", 1, Kind::held, 10, nullptr, 0, DType::float16},
    {"float8_e5m2", 1, Kind::held, 12, nullptr, 0, DType::float16},
    {"float8_e4m3b11fnuz", 1, Kind::held, 9, nullptr, 0, DType::float16},
    {"float8_e4m3fnuz", 1, Kind::held, 11, nullptr, 0, DType::float16},
    {"float8_e5m2fnuz", 1, Kind::held, 13, nullptr, 0, DType::float16},
    {"float8_e8m0fnu", 1, Kind::held, 14, nullptr, 0, DType::bfloat16},
    {"int4", 1, Kind::held, 0, nullptr, 4, DType::int8},
    {"uint4", 1, Kind::held, 1, nullptr, 4, DType::uint8},
    {"float4_e2m1fn", 1, Kind::held, 17, nullptr, 4, DType::float16},
};

constexpr const DTypeInfo& info(DType t) { return kDTypes[static_cast<int>(t)]; }
constexpr int64_t itemsize(DType t) { return info(t).itemsize; }
constexpr Kind kind(DType t) { return info(t).kind; }
constexpr bool is_held(DType t) { return static_cast<int>(t) >= kComputedCount; }
constexpr int bits(DType t) { return 8 * info(t).itemsize - info(t).padding; }  // of one element, as DLPack counts them
constexpr uint32_t bit(DType t) { return 1u << static_cast<int>(t); }  // dtype sets are bit masks

}  // namespace bridge
