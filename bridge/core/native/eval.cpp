#include "eval.h"

#include <Python.h>

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <new>

#include "errors.h"
#include "infer.h"

namespace bridge {
namespace {

// Threads that need a node which another thread computes wait here. The GIL guards the number of them.
int n_waiting = 0;
struct Finished {
  std::mutex lock;
  std::condition_variable changed;
  uint64_t count = 0;
};
Finished* finished = new Finished;  // another one after a fork: threads that are gone may have held it

// A thread that waits, for the thread whose evaluation has what it needs. Under the GIL, under which `count` changes, too.
struct Waiting {
  pthread_t thread, owner;
  uint64_t seen;
  Waiting* next;
};
Waiting* waiting = nullptr;

// The owner waits for this thread, directly or through others, or is this thread: it runs Python code (a host function, a
// finaliser) in the middle of an evaluation, and that code asks for more.
bool waits_for_this_thread(pthread_t owner) {
  while (!pthread_equal(owner, pthread_self())) {
    const Waiting* w = waiting;
    while (w && (w->seen != finished->count || !pthread_equal(w->thread, owner))) w = w->next;
    if (!w) return false;
    owner = w->owner;
  }
  return true;
}

void wait_for_other_thread(pthread_t owner) {
  uint64_t seen;
  {
    std::lock_guard guard(finished->lock);
    seen = finished->count;
  }
  // The GIL was held since the running node was seen and its evaluation ends under the GIL, so the end cannot have
  // come before `seen` was read.
  ++n_waiting;
  Waiting entry{pthread_self(), owner, seen, waiting};
  waiting = &entry;
  {
    ReleaseGil released;
    std::unique_lock guard(finished->lock);
    finished->changed.wait(guard, [&] { return finished->count != seen; });
  }
  --n_waiting;
  Waiting** link = &waiting;
  while (*link != &entry) link = &(*link)->next;
  *link = entry.next;
}

void wake_others() {
  if (n_waiting == 0) return;
  std::lock_guard guard(finished->lock);
  ++finished->count;
  finished->changed.notify_all();
}

bool needs_bytes(const Node* consumer, const Node* operand) {
  if (operand->evaluated()) return false;
  if (operand->op != Op::constant) return true;
  return consumer->op != Op::elementwise && consumer->op != Op::reduction;  // these splat a constant
}

bool same_shape(const Node* a, const Node* b) {
  return a->ndim == b->ndim && !memcmp(a->shape, b->shape, sizeof(int64_t) * a->ndim);
}

class Evaluation {
 public:
  ~Evaluation() { end(); }

  // False: another evaluation works on a node that is needed, `blocked()`.
  bool collect(Node* const* roots, size_t n) {
    for (size_t i = 0; i < n; ++i)
      if (!roots[i]->evaluated() && !visit(roots[i])) return false;
    return true;
  }

  const Node* blocked() const { return blocked_; }

  // The thread whose evaluation works on a running node.
  static pthread_t owner(const Node* n) {
    auto at = static_cast<size_t>(n->mark) - 1;
    const Evaluation* e = all;
    while (at >= e->steps_.size() || e->steps_[at].node != n) e = e->next_;
    return e->thread_;
  }

  void run(Node* const* roots, size_t n) {
    count_uses();
    for (size_t i = 0; i < n; ++i)
      if (!roots[i]->evaluated()) steps_[static_cast<size_t>(roots[i]->mark - 1)].keep = true;
    for (size_t i = 0; i < steps_.size(); ++i) {
      retain(steps_[i].node);
      steps_[i].node->flags |= kRunning;
    }
    begin();
    form_groups();
    for (size_t g = groups_.size(); g-- > 0;) {
      run_group(steps_, groups_[g], static_cast<int32_t>(g));
      release_inputs(groups_[g]);
    }
  }

 private:
  bool visit(Node* root) {
    Small<Node*, 128> stack;
    stack.push(root);
    while (stack.size()) {
      Node* n = stack.back();
      if (n->is(kRunning)) {  // its mark belongs to the other evaluation
        blocked_ = n;
        for (size_t i = 0; i < stack.size(); ++i)
          if (stack[i]->mark < 0) stack[i]->mark = 0;
        return false;
      }
      if (n->mark > 0) {
        stack.pop();
        continue;
      }
      if (n->mark == 0) {
        n->mark = -1;
        for (uint32_t k = n->n_edges; k-- > 0;) {
          Node* operand = n->edges[k].node;
          if (operand->is(kRunning) || (needs_bytes(n, operand) && operand->mark == 0)) stack.push(operand);
        }
        continue;
      }
      stack.pop();
      steps_.push({n, 0, 0, -1, -1, -1, false});
      n->mark = static_cast<int32_t>(steps_.size());
    }
    return true;
  }

  void count_uses() {
    for (size_t i = 0; i < steps_.size(); ++i) {
      Node* n = steps_[i].node;
      for (uint32_t k = 0; k < n->n_edges; ++k) {
        const Node* operand = n->edges[k].node;
        if (operand->mark > 0)
          ++steps_[static_cast<size_t>(operand->mark - 1)].uses;
        else if (operand->storage && operand->storage->check)
          operand->storage->check(operand->storage);
      }
    }
    for (size_t i = 0; i < steps_.size(); ++i) {
      Step& s = steps_[i];
      s.remaining = s.uses;
      s.keep = static_cast<int64_t>(s.node->refs) > s.uses;
    }
  }

  // From the roots down: a node joins the kernel of its consumers when they are all in one, over the same space.
  void form_groups() {
    for (auto i = static_cast<int32_t>(steps_.size()) - 1; i >= 0; --i) {
      Step& s = steps_[static_cast<size_t>(i)];
      Node* n = s.node;
      if (!join(i)) {
        s.group = static_cast<int32_t>(groups_.size());
        groups_.push({i, i, 1, static_cast<int32_t>(n->n_edges), n->op == Op::reduction ? 0 : 1});
      }
      bool fusable = n->op == Op::elementwise || n->op == Op::reduction;
      for (uint32_t k = 0; k < n->n_edges; ++k) {
        Node* operand = n->edges[k].node;
        if (operand->mark <= 0) continue;
        Step& o = steps_[static_cast<size_t>(operand->mark - 1)];
        bool same = fusable && (n->op == Op::reduction || same_shape(operand, n));
        if (!same || (o.offer != -1 && o.offer != s.group))
          o.offer = -2;
        else
          o.offer = s.group;
      }
    }
  }

  bool join(int32_t i) {
    Step& s = steps_[static_cast<size_t>(i)];
    if (s.offer < 0 || s.node->op != Op::elementwise) return false;
    Group& g = groups_[static_cast<size_t>(s.offer)];
    int32_t inputs = g.n_inputs + static_cast<int32_t>(s.node->n_edges) - 1;
    if (g.n_members >= kMaxTape - 1 || inputs > kMaxInputs || g.n_outputs + s.keep > kMaxOutputs) return false;
    s.group = s.offer;
    s.next_member = g.first_member;
    g.first_member = i;
    g.n_inputs = inputs;
    g.n_outputs += s.keep;
    ++g.n_members;
    return true;
  }

  // Bytes of operands that nobody needs any more go back at once; on an error later they are computed again.
  void release_inputs(const Group& g) {
    for (int32_t i = g.first_member; i >= 0; i = steps_[static_cast<size_t>(i)].next_member) {
      Node* n = steps_[static_cast<size_t>(i)].node;
      for (uint32_t k = 0; k < n->n_edges; ++k) {
        int32_t m = n->edges[k].node->mark;
        if (m <= 0) continue;
        Step& o = steps_[static_cast<size_t>(m - 1)];
        if (--o.remaining == 0 && !o.keep && o.node->evaluated()) drop_storage(o.node);
      }
      if (i == g.root) break;
    }
  }

  void begin() {
    running_ = true;
    next_ = all;
    link_ = &all;
    if (all) all->link_ = &next_;
    all = this;
  }

  void end() noexcept {
    for (size_t i = 0; i < steps_.size(); ++i) {
      Node* n = steps_[i].node;
      n->mark = 0;
      if (running_) n->flags &= static_cast<uint8_t>(~kRunning);
    }
    if (!running_) return;
    running_ = false;
    *link_ = next_;
    if (next_) next_->link_ = link_;
    wake_others();  // first: what is released below may run Python code, which may wait for one of them
    for (size_t i = 0; i < steps_.size(); ++i) {
      Node* n = steps_[i].node;
      if (n->evaluated()) {
        detach(n);
        if (n->op == Op::constant) forget_constant(n);
        n->op = Op::data;
      }
    }
    for (size_t i = 0; i < steps_.size(); ++i) release(steps_[i].node);
  }

  Steps steps_;
  Groups groups_;
  bool running_ = false;
  const Node* blocked_ = nullptr;
  pthread_t thread_ = pthread_self();
  Evaluation* next_ = nullptr;
  Evaluation** link_ = nullptr;

 public:
  static Evaluation* all;  // those that run, on any thread. Under the GIL

  static void end_others() noexcept {
    for (Evaluation *e = all, *next; e; e = next) {
      next = e->next_;
      if (!pthread_equal(e->thread_, pthread_self())) e->end();
    }
  }
};
Evaluation* Evaluation::all = nullptr;

}  // namespace

void evaluate(Node* root) { evaluate(&root, 1); }

void evaluate(Node* const* roots, size_t n) {
  for (;;) {
    bool pending = false;
    for (size_t i = 0; i < n && !pending; ++i) pending = !roots[i]->evaluated();
    if (!pending) return;
    pthread_t owner;
    {
      Evaluation evaluation;
      if (evaluation.collect(roots, n)) {
        evaluation.run(roots, n);
        return;
      }
      owner = Evaluation::owner(evaluation.blocked());
      if (waits_for_this_thread(owner))
        throw Error("BridgeError",
                    message("bridge.eval", "an array is asked for by code that runs while it is computed.",
                            describe(evaluation.blocked()), "", "ask for it before the evaluation, or after"));
    }
    wait_for_other_thread(owner);
  }
}

void forget_other_threads() noexcept {
  if (auto* fresh = new (std::nothrow) Finished) finished = fresh;
  n_waiting = 0;
  waiting = nullptr;
  Evaluation::end_others();  // their stacks are still there, nobody runs on them
  forget_other_pins();
}

void flush_readers(Storage* s) {
  for (;;) {
    // The lists change under an evaluation, so take a snapshot, evaluate, look again.
    Small<Node*, 16> readers;
    for (Node* n = s->nodes; n; n = n->shared_next)
      for (Edge* e = n->consumers; e; e = e->next)
        if (!e->self->evaluated()) readers.push(e->self);
    if (!readers.size()) return;
    for (size_t i = 0; i < readers.size(); ++i) retain(readers[i]);
    try {
      evaluate(&readers[0], readers.size());
    } catch (...) {
      for (size_t i = 0; i < readers.size(); ++i) release(readers[i]);
      throw;
    }
    for (size_t i = 0; i < readers.size(); ++i) release(readers[i]);
  }
}

}  // namespace bridge
