// print_kernel: one kernel as text (kernel_spec.h). Inputs are a, b, c ...; instruction i is %i. No address is printed, so the
// text of a kernel is the same on every machine and can stand in a test.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "kernel_spec.h"

namespace bridge {
namespace {

std::string number(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x < 0 ? "-inf" : "inf";
  char text[40];
  for (int digits = 6; digits <= 17; digits++) {  // the shortest text that reads back the same
    std::snprintf(text, sizeof text, "%.*g", digits, x);
    if (std::strtod(text, nullptr) == x) break;
  }
  if (std::strpbrk(text, ".en") == nullptr) std::strcat(text, ".0");
  return text;
}

template <class T>
T read(const ScalarValue& value, size_t offset = 0) {
  T x;
  std::memcpy(&x, value.bytes + offset, sizeof x);
  return x;
}

std::string number(float x) {
  if (!std::isfinite(x)) return number(static_cast<double>(x));
  char text[40];
  for (int digits = 6; digits <= 9; digits++) {
    std::snprintf(text, sizeof text, "%.*g", digits, static_cast<double>(x));
    if (std::strtof(text, nullptr) == x) break;
  }
  if (std::strpbrk(text, ".en") == nullptr) std::strcat(text, ".0");
  return text;
}

float half(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const double magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                           : exponent == 31 ? (fraction != 0 ? NAN : INFINITY)
                                            : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>(h >> 15 ? -magnitude : magnitude);
}

float bfloat(uint16_t h) {
  const uint32_t bits = static_cast<uint32_t>(h) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

template <class T>
std::string complex_number(const ScalarValue& value) {
  const T im = read<T>(value, sizeof(T));
  return number(read<T>(value)) + (std::signbit(im) ? "" : "+") + number(im) + "j";
}

std::string scalar(const ScalarValue& value, DType dtype) {
  switch (dtype) {
    case DType::bool_: return value.bytes[0] ? "true" : "false";
    case DType::uint8: return std::to_string(read<uint8_t>(value));
    case DType::uint16: return std::to_string(read<uint16_t>(value));
    case DType::uint32: return std::to_string(read<uint32_t>(value));
    case DType::uint64: return std::to_string(read<uint64_t>(value));
    case DType::int8: return std::to_string(read<int8_t>(value));
    case DType::int16: return std::to_string(read<int16_t>(value));
    case DType::int32: return std::to_string(read<int32_t>(value));
    case DType::int64: return std::to_string(read<int64_t>(value));
    case DType::float16: return number(half(read<uint16_t>(value)));
    case DType::bfloat16: return number(bfloat(read<uint16_t>(value)));
    case DType::float32: return number(read<float>(value));
    case DType::float64: return number(read<double>(value));
    case DType::complex64: return complex_number<float>(value);
    case DType::complex128: return complex_number<double>(value);
    default: break;  // held dtypes: kernels are told of bytes
  }
  return "?";
}

std::string letter(int k) { return k < 26 ? std::string(1, static_cast<char>('a' + k)) : "a" + std::to_string(k); }

std::string extents(const int64_t* values, int n) {
  std::string text;
  for (int i = 0; i < n; i++) text += (i ? "," : "") + std::to_string(values[i]);
  return text;
}

std::string layout(const int64_t* strides, int ndim) {
  return strides == nullptr ? "dense" : "strides(" + extents(strides, ndim) + ")";
}

constexpr const char* kReduceNames[] = {"none", "sum", "prod", "max", "min", "all", "any", "argmax", "argmin"};

class Printer {
 public:
  explicit Printer(const KernelSpec& spec) : spec_(spec) {}

  std::string print() const {
    std::string text = "kernel [" + extents(spec_.shape, spec_.ndim) + "] in:";
    for (int k = 0; k < spec_.n_inputs; k++) {
      const Input& in = spec_.inputs[k];
      text += (k ? ", " : " ") + letter(k) + " " + info(in.dtype).name + " ";
      text += in.is_scalar ? scalar(in.value, in.dtype) : layout(in.strides, spec_.ndim);
    }
    text += "\n";
    for (int i = 0; i < spec_.n_tape; i++) {
      const Instr& instr = spec_.tape[i];
      text += "  %" + std::to_string(i) + " = " + stage_name(instr.stage) + "(";
      const char* comma = "";
      for (int operand : {instr.a, instr.b, instr.c}) {
        if (operand < 0) continue;
        text += comma + value(operand);
        comma = ", ";
      }
      text += std::string(") ") + info(instr.out).name + "\n";
    }
    for (int j = 0; j < spec_.n_outputs; j++) {
      const Output& out = spec_.outputs[j];
      text += "  out" + std::to_string(j) + " = " + value(out.value) + " " + info(out.dtype).name + " " +
              layout(out.strides, spec_.ndim) + "\n";
    }
    if (spec_.reduce != Reduce::none) {
      text += std::string("  ") + kReduceNames[static_cast<int>(spec_.reduce)] + "(" + value(spec_.reduce_value) +
              ", axes=(";
      const char* comma = "";
      for (int i = 0; i < spec_.ndim; i++) {
        if (!(spec_.reduce_axes >> i & 1)) continue;
        text += comma + std::to_string(i);
        comma = ",";
      }
      text += std::string(")) ") + info(spec_.reduce_out).name + "\n";
    }
    return text;
  }

 private:
  std::string value(int v) const { return v < spec_.n_inputs ? letter(v) : "%" + std::to_string(v - spec_.n_inputs); }

  const KernelSpec& spec_;
};

}  // namespace

std::string print_kernel(const KernelSpec& spec) { return Printer(spec).print(); }

}  // namespace bridge
