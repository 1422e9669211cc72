// Fuzzes the parser of safetensors headers under AddressSanitizer: mutations of a corpus, those kept that reach new
// code (-fsanitize-coverage=trace-pc, which GCC and Clang have). tests/files/fuzz.py builds and runs it.
//
//     fuzz_safetensors SECONDS SEED FILE...
//
// An input is two bytes, the number of data bytes, and the header's text.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "../../bridge/core/native/safetensors.h"

namespace {

constexpr size_t kMapSize = 1 << 13;
unsigned char seen[kMapSize], now[kMapSize];
uintptr_t last;

// What must hold of a header that was accepted, whatever the text was.
void check(const bridge::safetensors::Header& h, uint64_t data_bytes) {
  uint64_t total = 0;
  for (const auto& t : h.tensors) {
    if (t.begin > t.end || t.end > data_bytes || !t.type || t.ndim > 32) abort();
    total += t.end - t.begin;
    uint64_t bits = t.type->bits;
    for (int i = 0; i < t.ndim; ++i) {
      int64_t extent = h.extents.at(t.first_extent + static_cast<size_t>(i));
      if (extent < 0) abort();
      bits *= static_cast<uint64_t>(extent);
    }
    if (bits != 8 * (t.end - t.begin)) abort();
  }
  if (total != data_bytes) abort();
}

bool run(const std::string& input) {
  if (input.size() < 2) return false;
  uint64_t data_bytes =
      static_cast<unsigned char>(input[0]) | static_cast<uint64_t>(static_cast<unsigned char>(input[1])) << 8;
  std::vector<char> exact(input.begin() + 2, input.end());  // so that a byte too far is noticed
  std::fill(std::begin(now), std::end(now), 0);
  last = 0;
  try {
    check(bridge::safetensors::parse({exact.data(), exact.size()}, data_bytes), data_bytes);
  } catch (const bridge::safetensors::Problem&) {}
  bool fresh = false;
  for (size_t i = 0; i < kMapSize; ++i) {
    unsigned char level = now[i] > 32 ? 4 : now[i] > 3 ? 3 : now[i] > 1 ? 2 : now[i];
    if (level > seen[i]) {
      seen[i] = level;
      fresh = true;
    }
  }
  return fresh;
}

const char* const kTokens[] = {"\"dtype\"",
                               "\"shape\"",
                               "\"data_offsets\"",
                               "\"__metadata__\"",
                               "\"F32\"",
                               "\"F4\"",
                               "\"BOOL\"",
                               "[0,4]",
                               "[]",
                               "{}",
                               "null",
                               "true",
                               "\\u0041",
                               "\\ud83d\\ude00",
                               "\\n",
                               "18446744073709551615",
                               "9223372036854775808",
                               "-1",
                               "1e3",
                               "0.5",
                               "\xc3\xa9",
                               "\xf0\x9f\x98\x80",
                               "\xff",
                               ",",
                               ":",
                               "\"",
                               "[[[[",
                               "  "};

std::string mutated(const std::vector<std::string>& corpus, std::mt19937_64& random) {
  auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  std::string s = corpus[below(corpus.size())];
  for (size_t n = 1 + below(6); n-- > 0;) {
    size_t at = below(s.size() + 1), length = below(20);
    switch (below(8)) {
      case 0: s.insert(at, 1, static_cast<char>(random())); break;
      case 1: s.erase(at, length); break;
      case 2:
        if (at < s.size()) s[at] = static_cast<char>(s[at] ^ 1 << below(8));
        break;
      case 3: s.insert(at, kTokens[below(std::size(kTokens))]); break;
      case 4: s.insert(at, s.substr(below(s.size() + 1), length)); break;
      case 5:
        if (at < s.size()) s[at] = static_cast<char>('0' + below(10));
        break;
      case 6: {
        const std::string& other = corpus[below(corpus.size())];
        s = s.substr(0, at) + other.substr(below(other.size() + 1));
        break;
      }
      default: s.replace(at, length, kTokens[below(std::size(kTokens))]);
    }
  }
  if (s.size() > 4096) s.resize(4096);
  return s;
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
  auto at = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  at = (at >> 4) ^ (at << 8);
  unsigned char& count = now[(at ^ last) % kMapSize];
  if (count < 255) ++count;
  last = at >> 1;
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  std::mt19937_64 random(strtoull(argv[2], nullptr, 10));
  std::vector<std::string> corpus;
  for (int i = 3; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    run(corpus.back());
  }
  auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(atof(argv[1]));
  uint64_t executions = 0;
  while (executions % 256 || std::chrono::steady_clock::now() < end) {
    std::string s = mutated(corpus, random);
    ++executions;
    if (run(s)) corpus.push_back(s);
  }
  size_t reached = 0;
  for (unsigned char level : seen) reached += level != 0;
  printf("%llu executions, %zu inputs kept, %zu edges reached\n", static_cast<unsigned long long>(executions),
         corpus.size(), reached);
}
