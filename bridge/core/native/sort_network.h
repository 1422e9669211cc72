// Batcher's merge exchange: a fixed row of exchanges that sorts keys whatever they are, so that many rows can be sorted
// side by side in vectors (sort_isa.cpp). Source: Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2 M.
#pragma once
#include <cstddef>
#include <vector>

#include "sort_table.h"

namespace bridge::sorting {

class Network {
 public:
  Network(int64_t length, size_t key_bytes);  // for columns of `length` keys
  // A block of length x network_lanes(key_bytes) keys.
  void sort(void* block) const { fn_(block, exchanges_.data(), static_cast<int64_t>(exchanges_.size())); }

 private:
  std::vector<Exchange> exchanges_;
  NetworkFn fn_;
};

}  // namespace bridge::sorting
