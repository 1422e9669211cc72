// Sorting and selecting (sort_rows.h). A row becomes keys (sort_keys.h); short rows of keys are sorted by insertion, all
// others by radix (sort_radix.h); many short rows side by side by a network (sort_network.h). A selection finds the key of the kth element digit by digit and then parts the row in
// three: before, equal, behind.
#include "sort_rows.h"

#include <atomic>
#include <cstring>
#include <new>
#include <optional>

#include "memory.h"
#include "sort_network.h"
#include "sort_radix.h"

namespace bridge::sorting {
namespace {

constexpr int64_t kLongRow = 1 << 16;  // from this length on all threads work at one row, if there are few
constexpr double kTaskNs = 20e3;  // of the work between two looks at the queue
constexpr int64_t kLanes = 16;  // rows that are worked on together, at most
constexpr size_t kBlockRow = 64;  // bytes of a network's block for each position, at most

// Memory for the time of one task.
class Block {
 public:
  explicit Block(size_t nbytes) : nbytes_(nbytes), data_(allocate(nbytes, &capacity_)) {}
  Block(const Block&) = delete;
  ~Block() { deallocate(data_, nbytes_, capacity_); }
  template <class T>
  T* as(size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<unsigned char*>(data_) + offset);
  }

 private:
  size_t nbytes_, capacity_ = 0;
  void* data_;
};

size_t aligned(size_t nbytes) { return (nbytes + kAlignment - 1) / kAlignment * kAlignment; }

// Rows up to this length are sorted by insertion.
constexpr int64_t insertion_length(size_t key_bytes) { return 16 + 8 * static_cast<int64_t>(key_bytes); }

template <class K>
bool before(const K& a, const K& b) {
  return a < b;
}
template <class K>
bool before(const Place<K>& a, const Place<K>& b) {
  return a.key < b.key;
}
bool before(const Packed& a, const Packed& b) { return a.bits < b.bits; }  // by place where keys are equal

template <class Item>
void insertion_sort(Item* a, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const Item x = a[i];
    int64_t at = i;
    for (; at > 0 && before(x, a[at - 1]); --at) a[at] = a[at - 1];
    a[at] = x;
  }
}

// Sorts items of `a` with room for as many in `b`; gives back the one that holds the result.
template <size_t kKeyBytes, class Item>
Item* sort_items(Item* a, Item* b, int64_t n, int64_t* counts) {
  if (n <= insertion_length(kKeyBytes)) {
    insertion_sort(a, n);
    return a;
  }
  if (counts) return radix_sort_in_parallel<static_cast<int>(kKeyBytes)>(a, b, n, counts);
  return radix_sort<static_cast<int>(kKeyBytes)>(a, b, n);
}

// body(begin, end) over [0, n), in parallel if the row is shared among threads.
template <class F>
void over(int64_t n, bool shared, F&& body) {
  if (shared)
    in_parallel(n, n / kPieces + 1, body);
  else
    body(0, n);
}

// ---- one row, contiguous. `room` has row_room() bytes; `counts` is there if all threads shall work at the row.
struct Room {
  unsigned char* data;
  int64_t* counts;
};
using RowFn = void (*)(const Rows&, const void* row, void* to, Room);

// Keys that an element can be made from again: -0 and 0 differ, as do NaN of different bits.
template <class T>
typename T::Key exact_key(typename T::Raw x) {
  if constexpr (T::kExact) return T::key(x);
  using U = typename T::Key;
  const U negative = static_cast<U>(x >> (8 * sizeof(U) - 1));
  return static_cast<U>(x ^ static_cast<U>(static_cast<U>(-negative) | kTop<U>));
}
template <class T>
typename T::Raw from_exact_key(typename T::Key k) {
  if constexpr (T::kExact) return T::key(k);  // the key of a key is the element
  using U = typename T::Key;
  const U positive = static_cast<U>(k >> (8 * sizeof(U) - 1));
  return static_cast<U>(k ^ (positive ? kTop<U> : static_cast<U>(~U{0})));
}

// The elements of a row of floats with NaN or -0: NaN go to the end of `to` and zeros become 0, both to be put back in
// the order of the row. Gives back the number of keys.
template <class T>
int64_t keys_without_nan(const typename T::Raw* row, typename T::Raw* to, int64_t n, typename T::Key invert,
                         typename T::Key* keys) {
  int64_t count = 0, nans = 0;
  for (int64_t i = 0; i < n; ++i) nans += T::is_nan(row[i]);
  typename T::Raw* nan = to + n - nans;
  for (int64_t i = 0; i < n; ++i) {
    if (T::is_nan(row[i]))
      *nan++ = row[i];
    else
      keys[count++] = static_cast<typename T::Key>(T::key(row[i]) ^ invert);
  }
  return count;
}

template <class T>
void put_zeros_back(const typename T::Raw* row, typename T::Raw* to, int64_t n, int64_t count, bool descending) {
  constexpr typename T::Raw kSign = kTop<typename T::Raw>;
  int64_t low = 0, high = count;  // the first zero
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    const bool ahead = descending ? to[middle] != 0 && !(to[middle] & kSign) : (to[middle] & kSign) != 0;
    (ahead ? low : high) = ahead ? middle + 1 : middle;
  }
  typename T::Raw* zero = to + low;
  for (int64_t i = 0; i < n; ++i)
    if ((row[i] & ~kSign) == 0) *zero++ = row[i];
}

template <class T>
void sort_values(const Rows& r, const void* source, void* target, Room room) {
  using Raw = typename T::Raw;
  using Key = typename T::Key;
  const auto* row = static_cast<const Raw*>(source);
  auto* to = static_cast<Raw*>(target);
  const int64_t n = r.length;
  auto* keys = reinterpret_cast<Key*>(room.data);
  auto* spare = reinterpret_cast<Key*>(room.data + aligned(static_cast<size_t>(n) * sizeof(Key)));
  const Key invert = r.descending ? static_cast<Key>(~Key{0}) : Key{0};
  std::atomic<bool> special{false};
  over(n, room.counts, [&](int64_t begin, int64_t end) {
    Key found = 0;
    for (int64_t i = begin; i < end; ++i) {
      if constexpr (!T::kExact) found |= static_cast<Key>(T::is_nan(row[i]) | (row[i] == kTop<Raw>));
      keys[i] = static_cast<Key>(exact_key<T>(row[i]) ^ invert);
    }
    if (found) special.store(true, std::memory_order_relaxed);
  });
  int64_t count = n;
  if constexpr (!T::kExact)
    if (special) count = keys_without_nan<T>(row, to, n, invert, keys);
  const Key* sorted = count ? sort_items<sizeof(Key)>(keys, spare, count, room.counts) : keys;
  over(count, room.counts, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = from_exact_key<T>(static_cast<Key>(sorted[i] ^ invert));
  });
  if constexpr (!T::kExact)
    if (special) put_zeros_back<T>(row, to, n, count, r.descending);
}

// Calls give(i, place) for the i-th element of the sorted row.
template <class T, class F>
void sort_places(const Rows& r, const typename T::Raw* row, Room room, F&& give) {
  using Key = typename T::Key;
  const int64_t n = r.length;
  const auto sort = [&](auto* items, auto make, auto place) {
    using Item = std::remove_pointer_t<decltype(items)>;
    auto* spare = reinterpret_cast<Item*>(room.data + aligned(static_cast<size_t>(n) * sizeof(Item)));
    over(n, room.counts, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) items[i] = make(key_of<T>(row[i], r.descending), i);
    });
    const Item* sorted = sort_items<sizeof(Key)>(items, spare, n, room.counts);
    over(n, room.counts, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) give(i, place(sorted[i]));
    });
  };
  if constexpr (sizeof(Key) <= 4) {
    if (!wide_places(n))
      return sort(
          reinterpret_cast<Packed*>(room.data),
          [](Key k, int64_t i) { return Packed{uint64_t{k} << 32 | static_cast<uint64_t>(i)}; },
          [](Packed p) { return static_cast<int64_t>(p.bits & UINT32_MAX); });
  }
  sort(
      reinterpret_cast<Place<Key>*>(room.data),
      [](Key k, int64_t i) { return Place<Key>{k, static_cast<uint64_t>(i)}; },
      [](const Place<Key>& p) { return static_cast<int64_t>(p.index); });
}

// f(i, place) that writes places in the dtype they have.
template <class F>
void with_places(void* to, int64_t length, F&& f) {
  if (wide_places(length))
    f([p = static_cast<int64_t*>(to)](int64_t i, int64_t place) { p[i] = place; });
  else
    f([p = static_cast<int32_t*>(to)](int64_t i, int64_t place) { p[i] = static_cast<int32_t>(place); });
}

template <class T>
void sort_row(const Rows& r, const void* source, void* to, Room room) {
  const auto* row = static_cast<const typename T::Raw*>(source);
  if (r.answer == Answer::places)
    return with_places(to, r.length, [&](auto give) { sort_places<T>(r, row, room, give); });
  if constexpr (std::is_same_v<typename T::Raw, typename T::Key>)
    return sort_values<T>(r, source, to, room);
  else  // complex
    sort_places<T>(r, row, room, [&](int64_t i, int64_t place) { static_cast<typename T::Raw*>(to)[i] = row[place]; });
}

// ---- selection
// The key with exactly `kth` keys before it (equal ones in any order). `keys` is overwritten. Also counts the keys before it
// and those equal to it.
template <class Key>
Key select_key(Key* keys, int64_t n, int64_t kth, int64_t* less, int64_t* equal) {
  constexpr int kBytes = static_cast<int>(sizeof(Key));
  using D = KeyDigits<Key, kBytes>;
  *less = 0;
  for (int pass = kBytes; pass-- > 0;) {
    int64_t counts[kDigitValues] = {};
    for (int64_t i = 0; i < n; ++i) ++counts[D::digit(keys[i], pass)];
    unsigned digit = 0;
    while (kth >= counts[digit]) {
      kth -= counts[digit];
      *less += counts[digit++];
    }
    if (counts[digit] == n) continue;
    int64_t left = 0;
    for (int64_t i = 0; i < n; ++i) {
      const Key k = keys[i];
      keys[left] = k;
      left += D::digit(k, pass) == digit;
    }
    n = left;
  }
  *equal = n;
  return keys[0];
}

template <class T, class F>
void part_row(const Rows& r, const typename T::Raw* row, Room room, F&& give) {
  using Key = typename T::Key;
  const int64_t n = r.length;
  auto* keys = reinterpret_cast<Key*>(room.data);
  auto* spare = reinterpret_cast<Key*>(room.data + aligned(static_cast<size_t>(n) * sizeof(Key)));
  for (int64_t i = 0; i < n; ++i) keys[i] = key_of<T>(row[i], r.descending);
  std::memcpy(static_cast<void*>(spare), keys, static_cast<size_t>(n) * sizeof(Key));
  int64_t less, equal;
  const Key pivot = select_key(spare, n, r.kth, &less, &equal);
  int64_t ahead = 0, same = less, behind = less + equal;
  for (int64_t i = 0; i < n; ++i) {
    const bool is_ahead = keys[i] < pivot, is_same = keys[i] == pivot;
    give(is_ahead ? ahead : is_same ? same : behind, i);
    ahead += is_ahead;
    same += is_same;
    behind += !is_ahead & !is_same;
  }
}

template <class T>
void partition_row(const Rows& r, const void* source, void* to, Room room) {
  const auto* row = static_cast<const typename T::Raw*>(source);
  if (r.answer == Answer::places) return with_places(to, r.length, [&](auto give) { part_row<T>(r, row, room, give); });
  part_row<T>(r, row, room, [&](int64_t i, int64_t place) { static_cast<typename T::Raw*>(to)[i] = row[place]; });
}

// ---- several short rows side by side
struct Lanes {  // element i of lane l stands at `at + i * step + l * lane_step` of the array
  int64_t at, step, lane_step, count;
};
using BlockFn = bool (*)(const Rows&, const Network&, const Lanes&, void* block);

// body(i, l) for every element, along the lines of the cache.
template <class F>
void over_lanes(const Rows& r, const Lanes& lanes, F&& body) {
  if (lanes.lane_step == 1)
    for (int64_t i = 0; i < r.length; ++i)
      for (int64_t l = 0; l < lanes.count; ++l) body(i, l);
  else
    for (int64_t l = 0; l < lanes.count; ++l)
      for (int64_t i = 0; i < r.length; ++i) body(i, l);
}

// False: there are NaN or -0 among the values, which take more than keys.
template <class T>
bool sort_block(const Rows& r, const Network& network, const Lanes& lanes, void* block) {
  using Raw = typename T::Raw;
  using Key = typename T::Key;
  constexpr int64_t kWidth = network_lanes(sizeof(Key));
  auto* keys = static_cast<Key*>(block);
  const auto* from = reinterpret_cast<const Raw*>(r.from) + lanes.at;
  auto* to = reinterpret_cast<Raw*>(r.to) + lanes.at;
  const Key invert = r.descending ? static_cast<Key>(~Key{0}) : Key{0};
  Key special = 0;
  over_lanes(r, lanes, [&](int64_t i, int64_t l) {
    const Raw x = from[i * lanes.step + l * lanes.lane_step];
    if constexpr (!T::kExact) special |= static_cast<Key>(T::is_nan(x) | (x == kTop<Raw>));
    keys[i * kWidth + l] = static_cast<Key>(exact_key<T>(x) ^ invert);
  });
  if (special) return false;
  network.sort(keys);
  over_lanes(r, lanes, [&](int64_t i, int64_t l) {
    to[i * lanes.step + l * lanes.lane_step] = from_exact_key<T>(static_cast<Key>(keys[i * kWidth + l] ^ invert));
  });
  return true;
}

template <class T>
bool argsort_block(const Rows& r, const Network& network, const Lanes& lanes, void* block) {
  constexpr int64_t kWidth = network_lanes(8);
  auto* items = static_cast<uint64_t*>(block);
  const auto* from = reinterpret_cast<const typename T::Raw*>(r.from) + lanes.at;
  auto* to = reinterpret_cast<int32_t*>(r.to) + lanes.at;
  over_lanes(r, lanes, [&](int64_t i, int64_t l) {
    const uint64_t key = key_of<T>(from[i * lanes.step + l * lanes.lane_step], r.descending);
    items[i * kWidth + l] = key << 32 | static_cast<uint64_t>(i);
  });
  network.sort(items);
  over_lanes(r, lanes, [&](int64_t i, int64_t l) {
    to[i * lanes.step + l * lanes.lane_step] = static_cast<int32_t>(items[i * kWidth + l]);
  });
  return true;
}

// ---- all rows
struct Plan {
  RowFn fn;
  size_t item_bytes;  // of what is sorted, per element of the row
  size_t from_bytes, to_bytes;  // of an element, of an answer
  BlockFn block = nullptr;  // if there is a network for these rows
  size_t network_bytes = 0;  // of what it sorts
};

// Rows that a network takes: long enough to be worth it, short enough for its block to stay in the cache.
constexpr int64_t kShortestNetwork = 5, kLongestNetwork = 256;

template <class T>
void choose_network(const Rows& r, Plan& plan) {
  using Key = typename T::Key;
  if (r.kth >= 0 || r.length < kShortestNetwork || r.length > kLongestNetwork || r.outer * r.inner < kLanes) return;
  if constexpr (sizeof(Key) <= 4)
    if (r.answer == Answer::places) {
      plan.block = argsort_block<T>;
      plan.network_bytes = 8;
    }
  if constexpr (std::is_same_v<typename T::Raw, Key> && sizeof(Key) >= 2)
    if (r.answer == Answer::values) {
      plan.block = sort_block<T>;
      plan.network_bytes = sizeof(Key);
    }
}

Plan make_plan(const Rows& r) {
  return with_traits(r.dtype, [&]<class T>(T) {
    using Key = typename T::Key;
    const bool places = r.answer == Answer::places || !std::is_same_v<typename T::Raw, Key>;
    Plan plan;
    plan.fn = r.kth >= 0 ? partition_row<T> : sort_row<T>;
    plan.item_bytes = r.kth >= 0 || !places ? sizeof(Key) : sizeof(Place<Key>);
    plan.from_bytes = sizeof(typename T::Raw);
    plan.to_bytes = r.answer == Answer::values ? plan.from_bytes : wide_places(r.length) ? 8 : 4;
    choose_network<T>(r, plan);
    return plan;
  });
}

size_t row_room(const Rows& r, const Plan& plan) {
  return 2 * aligned(static_cast<size_t>(r.length) * plan.item_bytes);
}

double row_ns(const Rows& r, const Plan& plan) {
  const double passes = plan.block ? 2 : r.kth >= 0 ? 3 : 1 + static_cast<double>(itemsize(r.dtype));
  return static_cast<double>(r.length) * passes * (plan.item_bytes > 8 ? 2 : 1) + 20;
}

// out[i * outer_step + l] = in[l * inner_step + i]: lanes to rows and back, `size` bytes an element.
template <class E>
void turn(const unsigned char* in, unsigned char* out, int64_t n, int64_t lanes, int64_t step, bool back) {
  const auto* from = reinterpret_cast<const E*>(in);
  auto* to = reinterpret_cast<E*>(out);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t l = 0; l < lanes; ++l) {
      if (back)
        to[i * step + l] = from[l * n + i];
      else
        to[l * n + i] = from[i * step + l];
    }
}
struct Sixteen { uint64_t words[2]; };
void turn_bytes(size_t size, const unsigned char* in, unsigned char* out, int64_t n, int64_t lanes, int64_t step,
                bool back) {
  switch (size) {
    case 1: return turn<uint8_t>(in, out, n, lanes, step, back);
    case 2: return turn<uint16_t>(in, out, n, lanes, step, back);
    case 4: return turn<uint32_t>(in, out, n, lanes, step, back);
    case 8: return turn<uint64_t>(in, out, n, lanes, step, back);
    default: return turn<Sixteen>(in, out, n, lanes, step, back);
  }
}

// Lanes through their keys one after the other.
void run_lanes(const Rows& r, const Plan& plan, const Lanes& lanes, Room room) {
  const auto n = static_cast<size_t>(r.length), at = static_cast<size_t>(lanes.at);
  const unsigned char* from = r.from + at * plan.from_bytes;
  unsigned char* to = r.to + at * plan.to_bytes;
  const bool apart = lanes.step != 1;  // their elements: they are brought together first
  unsigned char *in = room.data + row_room(r, plan), *out = in + aligned(kLanes * n * plan.from_bytes);
  if (apart) turn_bytes(plan.from_bytes, from, in, r.length, lanes.count, lanes.step, false);
  for (size_t l = 0; l < static_cast<size_t>(lanes.count); ++l)
    plan.fn(r, (apart ? in : from) + l * n * plan.from_bytes, (apart ? out : to) + l * n * plan.to_bytes, room);
  if (apart) turn_bytes(plan.to_bytes, out, to, r.length, lanes.count, lanes.step, true);
}

// Up to kLanes rows that are worked on together: those that share lines of the cache, or fill a network.
Lanes lanes_of(const Rows& r, int64_t group, int64_t width) {
  if (r.inner == 1) {
    const int64_t left = r.outer - group * width;
    return {group * width * r.length, 1, r.length, left < width ? left : width};
  }
  const int64_t groups = (r.inner + width - 1) / width, first = group % groups * width, left = r.inner - first;
  return {group / groups * r.length * r.inner + first, r.inner, 1, left < width ? left : width};
}

void run_groups(const Rows& r, const Plan& plan, const Network* network, int64_t begin, int64_t end, int64_t width,
                Room room) {
  for (int64_t group = begin; group < end; ++group) {
    const Lanes lanes = lanes_of(r, group, width);
    const int64_t at_once = network ? network_lanes(static_cast<int64_t>(plan.network_bytes)) : lanes.count;
    for (int64_t l = 0; l < lanes.count; l += at_once) {
      const int64_t left = lanes.count - l;
      const Lanes some{lanes.at + l * lanes.lane_step, lanes.step, lanes.lane_step, left < at_once ? left : at_once};
      if (!network || !plan.block(r, *network, some, room.data)) run_lanes(r, plan, some, room);
    }
  }
}

}  // namespace

double estimate_ns(const Rows& r) {
  if (r.outer * r.length * r.inner == 0) return 0;
  return row_ns(r, make_plan(r)) * static_cast<double>(r.outer * r.inner);
}

void run(const Rows& r) {
  if (r.outer * r.length * r.inner == 0) return;
  const Plan plan = make_plan(r);
  std::optional<Network> network;
  if (plan.block) network.emplace(r.length, plan.network_bytes);
  const int64_t width = r.inner > 1 || network ? kLanes : 1;
  const int64_t tasks = r.inner > 1 ? r.outer * ((r.inner + width - 1) / width) : (r.outer + width - 1) / width;
  const auto length = static_cast<size_t>(r.length);
  size_t room = row_room(r, plan);
  if (r.inner > 1) room += aligned(kLanes * length * plan.from_bytes) + aligned(kLanes * length * plan.to_bytes);
  if (network && room < kBlockRow * length) room = kBlockRow * length;
  const auto work = [&](int64_t begin, int64_t end, int64_t* counts) {
    const Block block(room);
    run_groups(r, plan, network ? &*network : nullptr, begin, end, width, {block.as<unsigned char>(), counts});
  };
  if (r.length >= kLongRow && tasks < 2 * thread_count()) {
    int64_t counts[kPieces * kDigitValues];
    return work(0, tasks, thread_count() > 1 ? counts : nullptr);
  }
  const double each = row_ns(r, plan) * static_cast<double>(width);
  if (each * static_cast<double>(tasks) < 3 * kTaskNs) return work(0, tasks, nullptr);
  std::atomic<bool> short_of_memory{false};
  auto task = [&](int64_t begin, int64_t end) {
    try {
      work(begin, end, nullptr);
    } catch (const std::bad_alloc&) { short_of_memory.store(true, std::memory_order_relaxed); }
  };
  const auto least = static_cast<int64_t>(kTaskNs / each) + 1;
  const int64_t grain = tasks / (8 * thread_count());
  in_parallel(tasks, grain > least ? grain : least, task);
  if (short_of_memory) throw std::bad_alloc();
}

}  // namespace bridge::sorting
