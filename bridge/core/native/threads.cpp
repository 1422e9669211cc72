// The thread pool (threads.h): detached workers that spin for 50 us after a job and then sleep on a futex
// (std::atomic wait). The caller works too and waits only for workers that have joined the job, so a worker that wakes
// late, or never, costs nothing.
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <new>
#include <thread>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bridge {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSpin =
    std::chrono::microseconds(50);  // longer brings nothing, none loses the second thread on 10 us jobs
constexpr int32_t kClosed = -(1 << 30);                // of Pool::joined: no worker may join
constexpr int kMaxThreads = 1024;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct Job {
  std::atomic<bool> busy{false};           // held by the one caller that uses it
  std::atomic<int32_t> joined{kClosed};    // workers in the job, or negative: closed
  std::atomic<int32_t> left{0};            // workers that joined and have finished
  std::atomic<int64_t> next{0};            // first element that nobody has taken
  std::atomic<int> caller_cpu{-1};

  // Written before `joined` opens (release), read after joining (acquire).
  RangeFn fn = nullptr;
  void* ctx = nullptr;
  int64_t n = 0, grain = 1;
  int32_t limit = 0;                       // workers that may take part
};

// Callers that the pool works for at one time: who comes when all are taken works alone.
constexpr int kJobs = 4;

struct Pool {
  std::atomic<uint32_t> generation{0};     // bumped for each job; workers wait on it
  Job jobs[kJobs];
  std::atomic<bool> starting{false};       // held by who starts workers
  int started = 0;                         // workers created; written by the holder of `starting`
};

// Never freed: detached workers use it until the process ends. A child after fork starts from nothing.
std::atomic<Pool*> g_pool{nullptr};
std::atomic<int> g_threads{0};             // 0: not asked for yet
thread_local Checkpoint* checkpoint = nullptr;

// Whether there were any.
bool take_chunks(Job& job, Checkpoint* watch) {
  for (bool any = false;; any = true) {
    const int64_t begin = job.next.fetch_add(job.grain, std::memory_order_relaxed);
    if (begin >= job.n) return any;
    const int64_t end = job.n - begin < job.grain ? job.n : begin + job.grain;
    job.fn(job.ctx, begin, end);
    if (watch != nullptr) watch->pass();
  }
}

// A woken worker is often put on the CPU of the thread that woke it and stays there for milliseconds while another CPU idles.
void leave_cpu_of_caller(const Job& job) {
#if defined(__linux__)
  const int cpu = job.caller_cpu.load(std::memory_order_relaxed);
  if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getcpu() != cpu) return;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) == 0) return;
  if (sched_setaffinity(0, sizeof others, &others) == 0) sched_setaffinity(0, sizeof allowed, &allowed);
#else
  (void)job;
#endif
}

void wait_for_job(Pool& pool, uint32_t seen) {
  const auto start = Clock::now();
  for (int i = 1; pool.generation.load(std::memory_order_acquire) == seen; i++) {
    relax();
    if (i % 32 == 0 && Clock::now() - start > kSpin) {
      pool.generation.wait(seen, std::memory_order_acquire);
      return;
    }
  }
}

// Whether the job had work for this worker.
bool join(Job& job) {
  if (job.joined.load(std::memory_order_relaxed) < 0) return false;
  leave_cpu_of_caller(job);
  const int32_t ticket = job.joined.fetch_add(1, std::memory_order_acq_rel);
  if (ticket < 0) return false;  // came too late
  const bool any = ticket < job.limit && take_chunks(job, nullptr);
  job.left.fetch_add(1, std::memory_order_release);
  return any;
}

void* worker(void* arg) {
  Pool& pool = *static_cast<Pool*>(arg);
  uint32_t seen = 0;
  for (;;) {
    wait_for_job(pool, seen);
    seen = pool.generation.load(std::memory_order_acquire);
    for (bool any = true; any;) {
      any = false;
      for (Job& job : pool.jobs) any |= join(job);
    }
  }
}

// Workers take no signals: Python handles them in its main thread.
bool start_worker(Pool& pool) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, &attributes, worker, &pool) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return started;
}

// The child has none of the workers: forget the pool, the next job starts another. Async-signal-safe.
void after_fork_in_child() { g_pool.store(nullptr, std::memory_order_relaxed); }

Pool* get_pool() {
  Pool* pool = g_pool.load(std::memory_order_acquire);
  if (pool != nullptr) return pool;
  static const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);
  (void)registered;
  Pool* fresh = new (std::nothrow) Pool;
  if (fresh == nullptr) return nullptr;
  if (g_pool.compare_exchange_strong(pool, fresh, std::memory_order_acq_rel)) return fresh;
  delete fresh;
  return pool;
}

int usable_processors() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n == 0 ? 1 : static_cast<int>(n);
}

Job* free_job(Pool& pool) {
  for (Job& job : pool.jobs)
    if (!job.busy.load(std::memory_order_relaxed) && !job.busy.exchange(true, std::memory_order_acquire)) return &job;
  return nullptr;
}

void start_workers(Pool& pool, int wanted) {
  if (pool.starting.exchange(true, std::memory_order_acquire)) return;
  while (pool.started < wanted && start_worker(pool)) pool.started++;
  pool.starting.store(false, std::memory_order_release);
}

// Caller holds `busy`, which is given back.
void run_job(Pool& pool, Job& job, int64_t n, int64_t grain, RangeFn fn, void* ctx, int workers) {
  start_workers(pool, workers);
#if defined(__linux__)
  job.caller_cpu.store(sched_getcpu(), std::memory_order_relaxed);
#endif
  job.fn = fn;
  job.ctx = ctx;
  job.n = n;
  job.grain = grain;
  job.limit = workers;
  job.next.store(0, std::memory_order_relaxed);
  job.left.store(0, std::memory_order_relaxed);
  job.joined.store(0, std::memory_order_release);
  pool.generation.fetch_add(1, std::memory_order_acq_rel);
  pool.generation.notify_all();
  std::exception_ptr given_up;
  try {
    take_chunks(job, checkpoint);
  } catch (...) {
    given_up = std::current_exception();
    job.next.store(n, std::memory_order_relaxed);
  }
  const int32_t joined = job.joined.exchange(kClosed, std::memory_order_acq_rel);
  for (int spins = 0; job.left.load(std::memory_order_acquire) != joined; spins++) {
    relax();
    if (spins > 4096) sched_yield();  // the worker has lost its CPU in the middle of a chunk
  }
  job.busy.store(false, std::memory_order_release);
  if (given_up) std::rethrow_exception(given_up);
}

// Without the pool. In one piece, unless somebody may want to stop it.
void run_alone(int64_t n, int64_t grain, RangeFn fn, void* ctx) {
  Checkpoint* watch = checkpoint;
  if (watch == nullptr || n <= grain) return fn(ctx, 0, n);
  constexpr int64_t kPieces = 64;
  const int64_t step = (n / kPieces / grain + 1) * grain;
  for (int64_t begin = 0; begin < n; begin += step) {
    if (begin > 0) watch->pass();
    fn(ctx, begin, n - begin < step ? n : begin + step);
  }
}

}  // namespace

int thread_count() {
  int n = g_threads.load(std::memory_order_relaxed);
  if (n != 0) return n;
  n = usable_processors();
  int unset = 0;
  return g_threads.compare_exchange_strong(unset, n, std::memory_order_relaxed) ? n : unset;
}

void set_thread_count(int n) {
  g_threads.store(n < 1 ? 1 : n > kMaxThreads ? kMaxThreads : n, std::memory_order_relaxed);
}

void parallel_for(int64_t n, int64_t grain, RangeFn fn, void* ctx) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  const int64_t chunks = (n + grain - 1) / grain;
  const int threads = thread_count();
  Pool* pool = chunks > 1 && threads > 1 ? get_pool() : nullptr;
  Job* job = pool == nullptr ? nullptr : free_job(*pool);
  if (job == nullptr) return run_alone(n, grain, fn, ctx);
  const int64_t helpers = chunks - 1 < threads - 1 ? chunks - 1 : threads - 1;
  run_job(*pool, *job, n, grain, fn, ctx, static_cast<int>(helpers));
}

Checkpoint* set_checkpoint(Checkpoint* watch) { return std::exchange(checkpoint, watch); }

}  // namespace bridge
