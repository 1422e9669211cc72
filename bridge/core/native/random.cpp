// The native callables behind bridge.random: bits and floats of a key, integers of a range, permutations. All of them
// are structured ops without a derivative; distributions with parameters are built from them in ops/random.py.
#include "random.h"

#include <algorithm>
#include <vector>

#include "kernel.h"
#include "random_words.h"

namespace bridge {
namespace {

struct LawInfo {
  const char* name;
  double ns, wide_ns;  // of one number on one thread, roundly
};
constexpr LawInfo kLaws[pipeline::kFloatLaws] = {
    // in the order of Law
    {"uniform", 1, 2},
    {"normal", 3, 8},
    {"gumbel", 3, 8},
    {"laplace", 3, 6},
};
constexpr int kBits = -1;  // no law: the words themselves

int find_law(const char* name) {
  for (int i = 0; i < pipeline::kFloatLaws; ++i)
    if (!strcmp(kLaws[i].name, name)) return i;
  return kBits;
}

// ---- arguments
NodeRef need_key(PyObject* o, const char* op) {
  if (!is_array(o))
    raise_type(message(std::string("bridge.random.") + op, "a key is an array.", Py_TYPE(o)->tp_name, "uint32[2]",
                       "key=bridge.random.key(seed)"));
  NodeRef key = NodeRef::borrow(node_of(o));
  if (key->dtype != DType::uint32 || key->ndim == 0 || key->shape[key->ndim - 1] != 2)
    raise_value(message(std::string("bridge.random.") + op, "this is no key.", describe(key.get()), "uint32[2]",
                        "key=bridge.random.key(seed)"));
  return key;
}

struct Shape {
  int ndim = 0;
  int64_t extent[kMaxNdim];
};
// The shape of a result: the batch of the keys, then the shape of each.
Shape batch_shape(const Node* key, const Shape& each, const char* op) {
  Shape s;
  s.ndim = key->ndim - 1 + each.ndim;
  if (s.ndim > kMaxNdim) raise_value(message(std::string("bridge.random.") + op, "too many dimensions."));
  std::copy(key->shape, key->shape + key->ndim - 1, s.extent);
  std::copy(each.extent, each.extent + each.ndim, s.extent + key->ndim - 1);
  return s;
}
Shape need_shape(PyObject* o, const char* op) {
  Shape s;
  s.ndim = to_shape(o, s.extent, op);
  for (int i = 0; i < s.ndim; ++i)
    if (s.extent[i] < 0)
      raise_value(message(std::string("bridge.random.") + op, "an extent is negative.", shape_text(s.ndim, s.extent)));
  return s;
}

// The keys of a run, as words, and how many elements each has.
struct Keys {
  Keys(KernelRun& r, int trailing) {
    const Node* key = r.operand(0);
    count = key->size / 2;
    first = reinterpret_cast<const RandomKey*>(r.dense(0));
    each = 1;
    const Node* n = r.node();
    for (int i = n->ndim - trailing; i < n->ndim; ++i) each *= n->shape[i];
  }
  const RandomKey* first;
  int64_t count, each;
};

// ---- bits and floats
struct Sample final : Kernel {
  Sample(int law, DType dtype, const Shape& each) : law(law), dtype(dtype), each(each) {}
  int law;
  DType dtype;
  Shape each;

  const char* name() const override { return "random_sample"; }
  PyObject* parameters() const override {
    return Py_BuildValue("{s:N,s:O,s:s}", "shape", shape_tuple(each.ndim, each.extent), "dtype", dtype_object(dtype),
                         "law", law == kBits ? "bits" : kLaws[law].name);
  }
  void run(KernelRun& r) const override {
    const Keys keys(r, each.ndim);
    unsigned char* out = r.output();
    const bool wide = itemsize(dtype) == 8;
    const double ns = law == kBits ? (wide ? 2 : 1) : wide ? kLaws[law].wide_ns : kLaws[law].ns;
    r.compute(ns * static_cast<double>(r.node()->size), [&] { wide ? fill_wide(keys, out, ns) : fill(keys, out, ns); });
  }

 private:
  void fill(const Keys& keys, unsigned char* out, double ns) const {
    const auto make = law == kBits ? nullptr : random_table().law[law];
    each_block<false>(keys.first, keys.count, keys.each, ns, [&](int64_t key, int64_t at, const uint32_t* w, int n) {
      unsigned char* to = out + 4 * (key * keys.each + at);
      if (make)
        make(w, n, reinterpret_cast<float*>(to));
      else
        memcpy(to, w, static_cast<size_t>(4 * n));
    });
  }
  void fill_wide(const Keys& keys, unsigned char* out, double ns) const {
    each_block<true>(keys.first, keys.count, keys.each, ns,
                     [&](int64_t key, int64_t at, const uint32_t* high, const uint32_t* low, int n) {
                       unsigned char* to = out + 8 * (key * keys.each + at);
                       if (law != kBits)
                         return random_table().wide_law[law](high, low, n, reinterpret_cast<double*>(to));
                       for (int i = 0; i < n; ++i)
                         reinterpret_cast<uint64_t*>(to)[i] = static_cast<uint64_t>(high[i]) << 32 | low[i];
                     });
  }
};

// ---- integers
struct Integers final : Kernel {
  explicit Integers(const Shape& each) : each(each) {}
  Shape each;

  const char* name() const override { return "random_integers"; }
  PyObject* parameters() const override { return Py_BuildValue("{s:N}", "shape", shape_tuple(each.ndim, each.extent)); }
  void run(KernelRun& r) const override {
    switch (r.node()->dtype) {
      case DType::uint8: return run_as<uint8_t>(r);
      case DType::uint16: return run_as<uint16_t>(r);
      case DType::uint32: return run_as<uint32_t>(r);
      case DType::uint64: return run_as<uint64_t>(r);
      case DType::int8: return run_as<int8_t>(r);
      case DType::int16: return run_as<int16_t>(r);
      case DType::int32: return run_as<int32_t>(r);
      default: return run_as<int64_t>(r);
    }
  }

 private:
  // low + floor(w n / 2^64) of 64 random bits w and n = last - low + 1 numbers: no number is favoured by more than n / 2^64.
  template <class T>
  static T pick(uint64_t w, T low, T last) {
    const uint64_t n = static_cast<uint64_t>(last) - static_cast<uint64_t>(low) + 1;  // 0: all 2^64
    const uint64_t step = n ? static_cast<uint64_t>(static_cast<unsigned __int128>(w) * n >> 64) : w;
    return static_cast<T>(static_cast<uint64_t>(low) + step);
  }
  template <class T>
  void run_as(KernelRun& r) const {
    const Keys keys(r, each.ndim);
    const bool one_low = r.operand(1)->size == 1, one_last = r.operand(2)->size == 1;
    const auto* low = reinterpret_cast<const T*>(r.dense(1));
    const auto* last = reinterpret_cast<const T*>(r.dense(2));
    auto* out = reinterpret_cast<T*>(r.output());
    r.compute(3.0 * static_cast<double>(r.node()->size), [&] {
      each_block<true>(keys.first, keys.count, keys.each, 3,
                       [&](int64_t key, int64_t at, const uint32_t* words, const uint32_t* more, int n) {
                         const int64_t begin = key * keys.each + at;
                         for (int i = 0; i < n; ++i) {
                           const int64_t k = begin + i;
                           const uint64_t w = static_cast<uint64_t>(words[i]) << 32 | more[i];
                           out[k] = pick<T>(w, low[one_low ? 0 : k], last[one_last ? 0 : k]);
                         }
                       });
    });
  }
};

// ---- permutations: the order of random numbers
struct Permutation final : Kernel {
  explicit Permutation(int64_t n) : n(n) {}
  int64_t n;

  const char* name() const override { return "random_permutation"; }
  PyObject* parameters() const override { return Py_BuildValue("{s:L}", "n", static_cast<long long>(n)); }
  void run(KernelRun& r) const override {
    const Keys keys(r, 1);
    unsigned char* out = r.output();
    const int64_t bytes = n * itemsize(r.node()->dtype);
    const Fresh scratch(2 * 8 * n);
    r.compute(15.0 * static_cast<double>(r.node()->size), [&] {
      if (n == 0) return;
      auto* items = reinterpret_cast<uint64_t*>(scratch.data());
      for (int64_t k = 0; k < keys.count; ++k) permute(keys.first[k], items, items + n, out + k * bytes);
    });
  }

 private:
  static constexpr int64_t kSmall = 64, kOneThread = 1 << 15;
  static constexpr int kBuckets = 256;

  // An item is a word, and in its lower half the word's place.
  void permute(RandomKey key, uint64_t* items, uint64_t* spare, unsigned char* out) const {
    each_block<false>(&key, 1, n, 1, [&](int64_t, int64_t at, const uint32_t* w, int count) {
      for (int i = 0; i < count; ++i) items[at + i] = static_cast<uint64_t>(w[i]) << 32 | static_cast<uint32_t>(at + i);
    });
    if (n <= kSmall) {
      std::sort(items, items + n);
    } else if (n <= kOneThread) {
      for (int shift = 32; shift < 64; shift += 16) {
        by_byte(items, spare, n, shift);
        by_byte(spare, items, n, shift + 8);
      }
    } else {
      sort_large(items, spare);
    }
    part_ties(key, items);
    if (n <= INT32_MAX) {
      for (int64_t i = 0; i < n; ++i) reinterpret_cast<int32_t*>(out)[i] = static_cast<int32_t>(items[i]);
    } else {
      for (int64_t i = 0; i < n; ++i) reinterpret_cast<int64_t*>(out)[i] = static_cast<uint32_t>(items[i]);
    }
  }

  // By the highest byte into buckets of about the same size; each then by the other three bytes, the lowest first.
  void sort_large(uint64_t* items, uint64_t* spare) const {
    int64_t bounds[kBuckets + 1] = {};
    for (int64_t i = 0; i < n; ++i) ++bounds[(items[i] >> 56) + 1];
    for (int b = 0; b < kBuckets; ++b) bounds[b + 1] += bounds[b];
    int64_t next[kBuckets];
    std::copy(bounds, bounds + kBuckets, next);
    for (int64_t i = 0; i < n; ++i) spare[next[items[i] >> 56]++] = items[i];
    struct Context {
      uint64_t *items, *spare;
      const int64_t* bounds;
    } context{items, spare, bounds};
    parallel_for(
        kBuckets, 4,
        [](void* ctx, int64_t begin, int64_t end) {
          const auto& c = *static_cast<Context*>(ctx);
          for (int64_t b = begin; b < end; ++b) {
            const int64_t count = c.bounds[b + 1] - c.bounds[b];
            uint64_t *from = c.spare + c.bounds[b], *to = c.items + c.bounds[b];
            for (int shift = 32; shift < 56; shift += 8) {  // three passes: the last one ends in `items`
              by_byte(from, to, count, shift);
              std::swap(from, to);
            }
          }
        },
        &context);
  }
  static void by_byte(const uint64_t* from, uint64_t* to, int64_t count, int shift) {
    int64_t next[257] = {};
    for (int64_t i = 0; i < count; ++i) ++next[(from[i] >> shift & 255) + 1];
    for (int b = 0; b < 256; ++b) next[b + 1] += next[b];
    for (int64_t i = 0; i < count; ++i) to[next[from[i] >> shift & 255]++] = from[i];
  }

  // Equal words are ordered by the further bits of their places, or no order would come before another by chance.
  void part_ties(RandomKey key, uint64_t* items) const {
    for (int64_t i = 0; i + 1 < n;) {
      int64_t end = i + 1;
      while (end < n && items[end] >> 32 == items[i] >> 32) ++end;
      if (end - i > 1) {
        const RandomKey further = second_key(key);
        std::sort(items + i, items + end, [&](uint64_t a, uint64_t b) {
          const auto place = [](uint64_t item) { return static_cast<int64_t>(static_cast<uint32_t>(item)); };
          const uint32_t x = word_at(further, n, place(a)), y = word_at(further, n, place(b));
          return x != y ? x < y : a < b;
        });
      }
      i = end;
    }
  }
};

NodeRef make_sample(Node* key, int law, DType dtype, const Shape& each) {
  const Shape shape = batch_shape(key, each, "random_sample");
  return finish(make_kernel(std::make_unique<Sample>(law, dtype, each), dtype, shape.ndim, shape.extent, {key}));
}

// The rows of split(key): at once, or lazily if the key is pending.
void split_key(Node* key, NodeRef (&halves)[2]) {
  const int64_t two = 2;
  if (key->ndim != 1) raise_value(message("bridge.random", "the state must be one key.", describe(key), "uint32[2]"));
  if (key->evaluated() && key->strides[0] == 1) {
    RandomKey k;
    memcpy(&k, key->data, sizeof k);
    uint32_t words[4];
    random_table().pairs(k.k0, k.k1, 0, 2, 2, words, words + 2);
    for (int i = 0; i < 2; ++i) {
      halves[i] = make_dense(DType::uint32, 1, &two);
      memcpy(halves[i]->data, words + 2 * i, 8);
    }
    return;
  }
  Shape each;
  each.ndim = 2;
  each.extent[0] = each.extent[1] = 2;
  NodeRef both = make_sample(key, kBits, DType::uint32, each);
  const int64_t step[] = {1, 1}, count[] = {1, 2};
  for (int64_t i = 0; i < 2; ++i) {
    const int64_t start[] = {i, 0};
    halves[i] = make_reshape(make_slice(both.get(), start, step, count).get(), 1, &two);
  }
}

}  // namespace

PyObject* call_random_sample(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"key", "shape", "dtype", "law", "stream"};
  auto p = parse("random_sample", kNames, 4, 4, args, n, names);
  NodeRef key = need_key(p.values[0], "random_sample");
  const Shape each = need_shape(p.values[1], "random_sample");
  const DType dtype = to_dtype(p.values[2]);
  const char* law_name = PyUnicode_AsUTF8(p.values[3]);
  if (!law_name) throw PythonError{};
  const int law = find_law(law_name);
  const bool fits = law == kBits ? !strcmp(law_name, "bits") && (dtype == DType::uint32 || dtype == DType::uint64)
                                 : dtype == DType::float32 || dtype == DType::float64;
  if (!fits)
    raise_value(message("bridge.random_sample", "there is no such law of this dtype.",
                        std::string(law_name) + ", " + info(dtype).name));
  return wrap(make_sample(key.get(), law, dtype, each));
}

PyObject* call_random_integers(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"key", "low", "last", "shape", "stream"};
  auto p = parse("random_integers", kNames, 4, 4, args, n, names);
  NodeRef key = need_key(p.values[0], "random_integers");
  NodeRef bounds[2] = {need_array(p.values[1], "random_integers"), need_array(p.values[2], "random_integers")};
  const DType t = bounds[0]->dtype;
  if (t != bounds[1]->dtype || (kind(t) != Kind::signed_integer && kind(t) != Kind::unsigned_integer))
    raise_dtype(message("bridge.random_integers", "the bounds must be integers of one dtype.",
                        describe(bounds[0].get()) + ", " + describe(bounds[1].get())));
  const Shape each = need_shape(p.values[3], "random_integers");
  const Shape shape = batch_shape(key.get(), each, "random_integers");
  for (NodeRef& bound : bounds)
    if (bound->size != 1) bound = make_broadcast(bound.get(), shape.ndim, shape.extent);
  return wrap(finish(make_kernel(std::make_unique<Integers>(each), t, shape.ndim, shape.extent,
                                 {key.get(), bounds[0].get(), bounds[1].get()})));
}

PyObject* call_random_permutation(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"key", "n", "stream"};
  auto p = parse("random_permutation", kNames, 2, 2, args, n, names);
  NodeRef key = need_key(p.values[0], "random_permutation");
  Shape each;
  each.ndim = 1;
  each.extent[0] = need_int(p.values[1], "random_permutation", "n");
  if (each.extent[0] < 0 || each.extent[0] > int64_t{UINT32_MAX})
    raise_value(message("bridge.random.permutation", "there is no permutation of so many elements.",
                        std::to_string(each.extent[0]), "0 to 4294967295"));
  const Shape shape = batch_shape(key.get(), each, "random_permutation");
  const DType t = each.extent[0] <= INT32_MAX ? DType::int32 : DType::int64;
  return wrap(
      finish(make_kernel(std::make_unique<Permutation>(each.extent[0]), t, shape.ndim, shape.extent, {key.get()})));
}

PyObject* next_key(PyObject*, PyObject* state) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    for (;;) {
      if (!PyList_Check(state) || PyList_GET_SIZE(state) != 1)
        raise_type(message("bridge.random", "the state must be a list of one key.", Py_TYPE(state)->tp_name));
      Ref before = Ref::borrow(PyList_GET_ITEM(state, 0));
      NodeRef halves[2];
      split_key(need_key(before.get(), "state").get(), halves);
      Ref kept = Ref::check(wrap(halves[0])), given = Ref::check(wrap(halves[1]));
      // Making an array can run finalizers, and they another thread: its draw comes first then, and this one is made anew.
      if (PyList_GET_SIZE(state) != 1 || PyList_GET_ITEM(state, 0) != before.get()) continue;
      if (PyList_SetItem(state, 0, kept.release()) < 0) throw PythonError{};
      return given.release();
    }
  });
}

}  // namespace bridge
