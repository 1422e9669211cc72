#include "safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernel_spec.h"

namespace bridge::safetensors {
namespace {

constexpr Type kTypes[] = {
    {"F32", 32, true, DType::float32},
    {"F16", 16, true, DType::float16},
    {"BF16", 16, true, DType::bfloat16},
    {"I64", 64, true, DType::int64},
    {"I32", 32, true, DType::int32},
    {"U8", 8, true, DType::uint8},
    {"BOOL", 8, true, DType::bool_},
    {"F64", 64, true, DType::float64},
    {"I8", 8, true, DType::int8},
    {"I16", 16, true, DType::int16},
    {"U16", 16, true, DType::uint16},
    {"U32", 32, true, DType::uint32},
    {"U64", 64, true, DType::uint64},
    {"C64", 64, true, DType::complex64},
    {"F8_E4M3", 8, true, DType::float8_e4m3fn},
    {"F8_E5M2", 8, true, DType::float8_e5m2},
    {"F8_E4M3FNUZ", 8, true, DType::float8_e4m3fnuz},
    {"F8_E5M2FNUZ", 8, true, DType::float8_e5m2fnuz},
    {"F8_E8M0", 8, true, DType::float8_e8m0fnu},
    {"F4", 4, true, DType::float4_e2m1fn},
    {"F6_E2M3", 6, false, DType::bool_},
    {"F6_E3M2", 6, false, DType::bool_},
};

constexpr int kDeepest = 100;  // nested values that nobody asked for

bool is_utf8(std::string_view text) {
  auto at = reinterpret_cast<const unsigned char*>(text.data()), end = at + text.size();
  while (at < end) {
    if (end - at >= 8) {  // eight at once while they are ASCII
      uint64_t word;
      memcpy(&word, at, 8);
      if (!(word & 0x8080808080808080ull)) {
        at += 8;
        continue;
      }
    }
    unsigned char first = *at++;
    if (first < 0x80) continue;
    int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || end - at < more) return false;
    unsigned char second = *at;
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second > 0x8f))
      return false;
    for (int i = 0; i < more; ++i)
      if ((*at++ & 0xc0) != 0x80) return false;
  }
  return true;
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

// JSON as RFC 8259 has it, read once from left to right.
class Parser {
 public:
  Parser(std::string_view json, Header& out)
      : begin_(json.data()), at_(begin_), end_(begin_ + json.size()), out_(out) {}

  void document() {
    if (at_ == end_ || *at_ != '{') fail("does not begin with '{'");
    expect('{');
    if (!take('}')) {
      do {
        std::string_view key = string();
        expect(':');
        if (key == "__metadata__")
          metadata();
        else
          tensor(key);
      } while (take(','));
      expect('}');
    }
    space();
    if (at_ != end_) fail("goes on after its end");
  }

 private:
  [[noreturn]] void fail(const std::string& what) {
    std::string where = " (byte " + std::to_string(at_ - begin_) + ")";
    throw Problem(std::string(tensor_), "the header " + what + where + ".");
  }

  void space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(at_ == end_ ? "ends too early" : std::string("is no JSON: '") + c + "' is missing");
  }
  bool is_digit() const { return at_ < end_ && *at_ >= '0' && *at_ <= '9'; }

  std::string_view string() {
    expect('"');
    const char* start = at_;
    while (at_ < end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) >= 0x20) ++at_;
    if (at_ < end_ && *at_ == '"') return {start, static_cast<size_t>(at_++ - start)};
    std::string& text = out_.unescaped.emplace_back(start, at_);
    for (;;) {
      if (at_ == end_) fail("ends inside a string");
      char c = *at_++;
      if (c == '"') return text;
      if (static_cast<unsigned char>(c) < 0x20) fail("is no JSON: a string holds a control character");
      if (c == '\\')
        escape(text);
      else
        text += c;
    }
  }

  void escape(std::string& text) {
    static constexpr char kEscapes[] = "\"\\/bfnrt", kMeant[] = "\"\\/\b\f\n\r\t";
    if (at_ == end_) fail("ends inside a string");
    char c = *at_++;
    if (c == 'u') return append_utf8(text, code_point());
    const char* found = c ? strchr(kEscapes, c) : nullptr;
    if (!found) fail("is no JSON: a string holds an unknown escape");
    text += kMeant[found - kEscapes];
  }

  uint32_t code_point() {
    uint32_t first = hex();
    if (first < 0xd800 || first > 0xdfff) return first;
    if (first > 0xdbff || end_ - at_ < 6 || at_[0] != '\\' || at_[1] != 'u') fail("holds half a surrogate pair");
    at_ += 2;
    uint32_t second = hex();
    if (second < 0xdc00 || second > 0xdfff) fail("holds half a surrogate pair");
    return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
  }

  uint32_t hex() {
    if (end_ - at_ < 4) fail("ends inside a string");
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      char c = *at_++;
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit < 0) fail("is no JSON: \\u wants four hexadecimal digits");
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    return value;
  }

  // A whole number of at most 64 bits.
  uint64_t number(const char* what) {
    space();
    if (at_ < end_ && *at_ == '-') fail(std::string("has a negative number in ") + what);
    if (!is_digit()) fail(std::string("has no whole number in ") + what);
    const char* start = at_;
    uint64_t value = 0;
    for (; is_digit(); ++at_)
      if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
          __builtin_add_overflow(value, static_cast<uint64_t>(*at_ - '0'), &value))
        fail(std::string("has a number beyond 64 bits in ") + what);
    if (*start == '0' && at_ - start > 1) fail("is no JSON: a number begins with 0");
    if (at_ < end_ && (*at_ == '.' || *at_ == 'e' || *at_ == 'E')) fail(std::string("has no whole number in ") + what);
    return value;
  }

  void any_number() {
    if (at_ < end_ && *at_ == '-') ++at_;
    if (!is_digit()) fail("is no JSON: a value is missing");
    if (*at_ == '0') {
      ++at_;
    } else {
      digits();
    }
    if (at_ < end_ && *at_ == '.') {
      ++at_;
      digits();
    }
    if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
      ++at_;
      if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      digits();
    }
  }
  void digits() {
    if (!is_digit()) fail("is no JSON: a digit is missing");
    while (is_digit()) ++at_;
  }

  bool word(std::string_view text) {
    if (static_cast<size_t>(end_ - at_) < text.size() || memcmp(at_, text.data(), text.size())) return false;
    at_ += text.size();
    return true;
  }

  // A value under a key that the format does not know.
  void skip(int depth) {
    if (depth > kDeepest) fail("is nested more than " + std::to_string(kDeepest) + " deep");
    space();
    if (at_ < end_ && *at_ == '"') {
      string();
    } else if (take('{')) {
      if (take('}')) return;
      do {
        string();
        expect(':');
        skip(depth + 1);
      } while (take(','));
      expect('}');
    } else if (take('[')) {
      if (take(']')) return;
      do skip(depth + 1);
      while (take(','));
      expect(']');
    } else if (!word("true") && !word("false") && !word("null")) {
      any_number();
    }
  }

  void metadata() {
    if (seen_metadata_) fail("has two entries '__metadata__'");
    seen_metadata_ = true;
    space();
    if (word("null")) return;
    out_.has_metadata = true;
    expect('{');
    if (take('}')) return;
    do {
      std::string_view key = string();
      expect(':');
      space();
      if (at_ == end_ || *at_ != '"') fail("has metadata that is no text");
      out_.metadata.emplace_back(key, string());
    } while (take(','));
    expect('}');
  }

  void tensor(std::string_view name) {
    tensor_ = name;
    Tensor t;
    t.name = name;
    bool has_shape = false, has_offsets = false;
    expect('{');
    if (!take('}')) {
      do {
        std::string_view key = string();
        expect(':');
        if (key == "dtype") {
          if (t.type) fail("has two entries 'dtype'");
          t.type = type(string());
        } else if (key == "shape") {
          if (has_shape) fail("has two entries 'shape'");
          has_shape = true;
          shape(t);
        } else if (key == "data_offsets") {
          if (has_offsets) fail("has two entries 'data_offsets'");
          has_offsets = true;
          expect('[');
          t.begin = number("data_offsets");
          expect(',');
          t.end = number("data_offsets");
          expect(']');
        } else {
          skip(0);
        }
      } while (take(','));
      expect('}');
    }
    if (!t.type) throw Problem(std::string(name), "it has no dtype.");
    if (!has_shape) throw Problem(std::string(name), "it has no shape.");
    if (!has_offsets) throw Problem(std::string(name), "it has no data_offsets.");
    out_.tensors.push_back(t);
    tensor_ = {};
  }

  const Type* type(std::string_view name) {
    for (const Type& each : kTypes)
      if (each.name == name) {
        if (!each.known) throw Problem(std::string(tensor_), "bridge has no dtype for " + std::string(name) + ".");
        return &each;
      }
    std::string shown(name.substr(0, 40));
    throw Problem(std::string(tensor_), "the dtype '" + shown + "' is not known.");
  }

  void shape(Tensor& t) {
    t.first_extent = out_.extents.size();
    expect('[');
    if (take(']')) return;
    do {
      uint64_t extent = number("shape");
      if (extent > INT64_MAX) fail("has an extent beyond 63 bits");
      if (t.ndim == kMaxNdim)
        throw Problem(std::string(tensor_), "it has more than " + std::to_string(kMaxNdim) + " axes.");
      out_.extents.push_back(static_cast<int64_t>(extent));
      ++t.ndim;
    } while (take(','));
    expect(']');
  }

  const char *begin_, *at_, *end_;
  Header& out_;
  std::string_view tensor_;  // the one that is read
  bool seen_metadata_ = false;
};

std::string bytes(uint64_t n) { return std::to_string(n) + (n == 1 ? " byte" : " bytes"); }

uint64_t size_of(const Header& h, const Tensor& t) {
  int64_t bits = t.type->bits;
  bool overflow = false, empty = false;
  for (int i = 0; i < t.ndim; ++i) {
    int64_t extent = h.extents[t.first_extent + static_cast<size_t>(i)];
    empty |= extent == 0;
    // An empty array as well: nobody else could hold a view of such a shape.
    overflow |= extent != 0 && __builtin_mul_overflow(bits, extent, &bits);
  }
  if (overflow) throw Problem(std::string(t.name), "its shape has more elements than can be counted.");
  if (empty) return 0;
  if (bits % 8) throw Problem(std::string(t.name), "its elements do not fill whole bytes.");
  return static_cast<uint64_t>(bits / 8);
}

// The tensors, in the order of their bytes, lie side by side from the first byte to the last.
void check_layout(const Header& h, uint64_t data_bytes) {
  std::vector<const Tensor*> order(h.tensors.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = &h.tensors[i];
  auto before = [](const Tensor* a, const Tensor* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  };
  if (!std::is_sorted(order.begin(), order.end(), before)) std::sort(order.begin(), order.end(), before);
  uint64_t at = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const Tensor& t = *order[i];
    std::string name(t.end < t.begin || t.begin != at || t.end > data_bytes ? t.name : "");
    if (t.end < t.begin) throw Problem(name, "its bytes end before they begin.");
    if (t.end > data_bytes)
      throw Problem(name, "its bytes end " + bytes(t.end - data_bytes) + " beyond the end of the file.");
    if (t.begin < at)
      throw Problem(name, "its bytes overlap those of tensor '" + std::string(order[i - 1]->name) + "'.");
    if (t.begin > at) throw Problem(name, bytes(t.begin - at) + " before it belong to no tensor.");
    uint64_t size = size_of(h, t);
    if (size != t.end - t.begin)
      throw Problem(std::string(t.name),
                    "its offsets span " + bytes(t.end - t.begin) + ", its shape and dtype " + bytes(size) + ".");
    at = t.end;
  }
  if (at != data_bytes) throw Problem("", "the last " + bytes(data_bytes - at) + " of the file belong to no tensor.");
}

}  // namespace

std::span<const Type> types() { return kTypes; }

Header parse(std::string_view json, uint64_t data_bytes) {
  if (!is_utf8(json)) throw Problem("", "the header is not UTF-8.");
  Header header;
  header.tensors.reserve(json.size() / 100);
  header.extents.reserve(json.size() / 50);
  Parser(json, header).document();
  check_layout(header, data_bytes);
  return header;
}

}  // namespace bridge::safetensors
