// The one thread pool of the engine. Work is split in chunks that idle workers join; the caller always takes part. It
// works for several callers at a time, whose threads may be those of streams.
#pragma once
#include <cstdint>

namespace bridge {

// What the thread that calls parallel_for asks between the chunks it works on. What it throws ends the job: chunks that
// have begun are finished, the others are left out, and the caller gets the exception.
struct Checkpoint {
  virtual void pass() = 0;

 protected:
  ~Checkpoint() = default;
};
Checkpoint* set_checkpoint(Checkpoint*);  // of this thread; gives the one before

// fn(ctx, begin, end) for ranges that cover [0, n); begin is a multiple of grain. Blocks until all are done. When the pool has
// no place for another caller, everything runs in this one. fn must not throw.
using RangeFn = void (*)(void* ctx, int64_t begin, int64_t end);
void parallel_for(int64_t n, int64_t grain, RangeFn fn, void* ctx);
int thread_count();  // including the caller; initially the processors this process may use
void set_thread_count(int n);

}  // namespace bridge
