// The header of a safetensors file: parsed and checked, without Python and without the tensors' bytes.
//
// Everything that the reference implementation refuses is refused, and duplicate names as well. tests/io/fuzz.py holds
// the two against each other.
#pragma once
#include <cstdint>
#include <deque>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "dtypes.h"

namespace bridge::safetensors {

inline constexpr uint64_t kMaxHeader = 100'000'000;  // bytes, as in the reference implementation

struct Type {
  std::string_view name;  // as the file spells it
  uint8_t bits;
  bool known;  // bridge has the dtype
  DType dtype;
};

std::span<const Type> types();  // all that the format has

struct Tensor {
  std::string_view name;  // UTF-8
  const Type* type = nullptr;
  int ndim = 0;
  size_t first_extent = 0;  // in Header::extents
  uint64_t begin = 0, end = 0;  // bytes from the end of the header
};

struct Header {
  std::vector<Tensor> tensors;  // in the order of the file
  std::vector<int64_t> extents;
  bool has_metadata = false;
  std::vector<std::pair<std::string_view, std::string_view>> metadata;
  std::deque<std::string> unescaped;  // names that had escapes; all other texts are the caller's bytes
};

// What is wrong, in a sentence; `tensor` is empty where it is no matter of one.
struct Problem : std::runtime_error {
  Problem(std::string tensor, const std::string& text) : std::runtime_error(text), tensor(std::move(tensor)) {}
  std::string tensor;
};

// `json` stays the caller's and must outlive the result. Throws Problem, or std::bad_alloc.
Header parse(std::string_view json, uint64_t data_bytes);

}  // namespace bridge::safetensors
