// Binary search without branches, for several values at once: while one probe waits for memory the others go on.
#include "search.h"

#include "sort_keys.h"
#include "sort_radix.h"
#include "sort_rows.h"

namespace bridge::sorting {
namespace {

constexpr int kAtOnce = 8;
constexpr int64_t kGrain = 4096;  // values between two looks at the queue

// For each value the number of elements with a key before its own (`right`: or equal to it).
template <class T, bool kRight, class Index>
void search_run(const Search& s, int64_t begin, int64_t end) {
  const auto* sequence = reinterpret_cast<const typename T::Raw*>(s.sequence);
  const auto* values = reinterpret_cast<const typename T::Raw*>(s.values);
  auto* to = reinterpret_cast<Index*>(s.to);
  const auto ahead = [&](int64_t i, const typename T::Key& key) {
    return kRight ? !(key < T::key(sequence[i])) : T::key(sequence[i]) < key;
  };
  for (int64_t at = begin; at < end; at += kAtOnce) {
    typename T::Key key[kAtOnce];
    int64_t low[kAtOnce] = {};
    for (int k = 0; k < kAtOnce; ++k) key[k] = T::key(values[at + k < end ? at + k : end - 1]);
    for (int64_t left = s.length; left > 1; left -= left / 2)
      for (int k = 0; k < kAtOnce; ++k) low[k] += ahead(low[k] + left / 2 - 1, key[k]) ? left / 2 : 0;
    for (int k = 0; k < kAtOnce && at + k < end; ++k)
      to[at + k] = static_cast<Index>(low[k] + (s.length > 0 && ahead(low[k], key[k])));
  }
}

}  // namespace

double estimate_ns(const Search& s) {
  double steps = 2;
  for (int64_t left = s.length; left > 1; left /= 2) ++steps;
  return static_cast<double>(s.n) * steps;
}

void run(const Search& s) {
  with_traits(s.dtype, [&]<class T>(T) {
    const auto search = [&]<bool kRight>(std::bool_constant<kRight>) {
      auto body = [&](int64_t begin, int64_t end) {
        if (wide_places(s.length))
          search_run<T, kRight, int64_t>(s, begin, end);
        else
          search_run<T, kRight, int32_t>(s, begin, end);
      };
      in_parallel(s.n, kGrain, body);
    };
    s.right ? search(std::true_type{}) : search(std::false_type{});
  });
}

}  // namespace bridge::sorting
