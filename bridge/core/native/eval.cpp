#include "eval.h"

#include <Python.h>

#include <pthread.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "errors.h"
#include "infer.h"
#include "lanes.h"
#include "stream.h"
#include "trace.h"

namespace bridge {
namespace {

uint64_t n_ended = 0;  // evaluations. Under the GIL

bool needs_bytes(const Node* consumer, const Node* operand) {
  if (operand->evaluated()) return false;
  if (consumer->op == Op::call && operand != consumer->input(0)) return false;
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
    for (size_t i = 0; i < n; ++i) {
      if (roots[i]->evaluated()) continue;
      if (steps_.size() == 0) stream_ = roots[i]->stream;
      if (!visit(roots[i])) return false;
    }
    return true;
  }

  const Node* blocked() const { return blocked_; }

  // The evaluation that works on a running node.
  static Evaluation* of(const Node* n) {
    auto at = static_cast<size_t>(n->mark) - 1;
    Evaluation* e = all;
    while (at >= e->steps_.size() || e->steps_[at].node != n) e = e->next_;
    return e;
  }

  // Runs a part of it that nobody has taken. False: there is none.
  bool help() { return lanes_ && lanes_->help(); }

  // visit(thread) for each thread that is at work on it, until it gives true.
  template <class F>
  bool any_worker(F&& visit) const {
    return visit(thread_) || (lanes_ && lanes_->any_driver(visit));
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
    if (several_streams_) {
      lanes_.emplace(steps_, groups_);
      return lanes_->run();
    }
    Turns turns;
    for (size_t g = groups_.size(); g-- > 0;) {
      run_group(steps_, groups_[g], static_cast<int32_t>(g));
      release_inputs(steps_, groups_[g]);
      if (g) turns.pass();
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
      several_streams_ |= n->stream != stream_ && !is_placeless(n);
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
        bool same = fusable && operand->stream == n->stream && (n->op == Op::reduction || same_shape(operand, n));
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
    ++n_ended;
    progress().ring();  // first: what is released below may run Python code, which may wait for one of them
    for (size_t i = 0; i < steps_.size(); ++i) {
      Node* n = steps_[i].node;
      if (n->evaluated() && !keep_history(n)) {
        detach(n);
        if (n->op == Op::constant) forget_constant(n);
        n->op = Op::data;
      }
    }
    for (size_t i = 0; i < steps_.size(); ++i) release(steps_[i].node);
  }

  Steps steps_;
  Groups groups_;
  std::optional<Lanes> lanes_;
  bool running_ = false;
  bool several_streams_ = false;
  uint16_t stream_ = 0;  // of the first root
  const Node* blocked_ = nullptr;
  pthread_t thread_ = pthread_self();
  Evaluation* next_ = nullptr;
  Evaluation** link_ = nullptr;

 public:
  static Evaluation* all;  // those that run, on any thread. Under the GIL

  static bool any_here() {
    for (const Evaluation* e = all; e; e = e->next_)
      if (e->any_worker([](pthread_t t) { return pthread_equal(t, pthread_self()) != 0; })) return true;
    return false;
  }

  static void end_others() noexcept {
    for (Evaluation *e = all, *next; e; e = next) {
      next = e->next_;
      if (!pthread_equal(e->thread_, pthread_self()))
        e->end();
      else if (e->lanes_)
        e->lanes_->forget_other_threads();
    }
  }
};
Evaluation* Evaluation::all = nullptr;

// A thread that waits, for the evaluation that has what it needs (nullptr while it works on that itself). It is alive as
// long as nothing has ended since.
struct Waiting {
  pthread_t thread;
  const Evaluation* wanted;
  uint64_t seen;
  Waiting* next;
};
Waiting* waiting = nullptr;

// It cannot end before this thread goes on: one that works on it is this thread or waits for it, directly or through
// others. This thread runs Python code (a host function, a finaliser) in the middle of an evaluation, and that code asks
// for more.
bool waits_for_this_thread(const Evaluation* e) {
  return e->any_worker([](pthread_t worker) {
    if (pthread_equal(worker, pthread_self())) return true;
    const Waiting* w = waiting;
    while (w && (w->seen != n_ended || !pthread_equal(w->thread, worker))) w = w->next;
    return w && w->wanted && waits_for_this_thread(w->wanted);
  });
}

// Meanwhile this thread does what nobody else does: of a stream, it may be the very one that is wanted there.
void wait_for(Evaluation* e) {
  Waiting entry{pthread_self(), e, n_ended, waiting};
  waiting = &entry;
  struct Leave {
    Waiting* entry;
    ~Leave() {
      Waiting** link = &waiting;
      while (*link && *link != entry) link = &(*link)->next;  // gone after a fork
      if (*link) *link = entry->next;
    }
  } leave{&entry};
  while (n_ended == entry.seen) {
    entry.wanted = nullptr;
    const bool helped = e->help();
    entry.wanted = e;
    if (!helped) progress().wait();
  }
}

// The streams of pending nodes that nobody works on yet, each once.
std::vector<StreamId> streams_of(Node* const* roots, size_t n) {
  std::vector<StreamId> streams;
  struct Seen : std::vector<Node*> {
    ~Seen() {
      for (Node* node : *this) node->mark = 0;
    }
  } seen;
  std::vector<Node*> stack;
  auto reach = [&](Node* node) {
    if (node->evaluated() || node->is(kRunning) || node->mark) return;
    seen.push_back(node);
    node->mark = -1;
    stack.push_back(node);
  };
  for (size_t i = 0; i < n; ++i) reach(roots[i]);
  while (!stack.empty()) {
    Node* node = stack.back();
    stack.pop_back();
    if (!is_placeless(node) && std::find(streams.begin(), streams.end(), node->stream) == streams.end())
      streams.push_back(node->stream);
    for (uint32_t k = 0; k < node->n_edges; ++k) reach(node->edges[k].node);
  }
  return streams;
}

struct Background final : Task {
  std::vector<NodeRef> roots;
  std::vector<StreamId> streams;

  void run() noexcept override {
    const auto* before = set_stop_signal(ending_signal());
    ++n_beside;
    try {
      std::vector<Node*> nodes;
      for (const NodeRef& root : roots) nodes.push_back(root.get());
      evaluate(nodes.data(), nodes.size());
    } catch (const PythonError&) { PyErr_Clear(); } catch (...) {
    }
    --n_beside;
    set_stop_signal(before);
    for (StreamId s : streams) end_work(s);
    delete this;
  }

  void forget() noexcept override { delete this; }
};

}  // namespace

void evaluate(Node* root) { evaluate(&root, 1); }

void evaluate(Node* const* roots, size_t n) {
  for (;;) {
    bool pending = false;
    for (size_t i = 0; i < n; ++i) {
      if (roots[i]->evaluated()) continue;
      pending = true;
      if (roots[i]->is(kSymbolic)) refuse_values(roots[i]);
    }
    if (!pending) return;
    Evaluation* owner;
    {
      Evaluation evaluation;
      if (evaluation.collect(roots, n)) {
        evaluation.run(roots, n);
        return;
      }
      owner = Evaluation::of(evaluation.blocked());
      if (waits_for_this_thread(owner))
        throw Error("BridgeError",
                    message("bridge.eval", "an array is asked for by code that runs while it is computed.",
                            describe(evaluation.blocked()), "", "ask for it before the evaluation, or after"));
    }
    wait_for(owner);
  }
}

void evaluate_in_background(Node* const* roots, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if (!roots[i]->evaluated() && roots[i]->is(kSymbolic)) refuse_values(roots[i]);
  auto task = std::make_unique<Background>();
  task->streams = streams_of(roots, n);
  if (task->streams.empty()) return;
  for (size_t i = 0; i < n; ++i)
    if (!roots[i]->evaluated()) task->roots.push_back(NodeRef::borrow(roots[i]));
  for (StreamId s : task->streams) begin_work(s);
  Background* taken = task.release();
  if (!post(taken->streams[0], taken)) taken->run();  // no thread is to be had: here, and now
}

bool evaluates_here() { return Evaluation::any_here(); }

void forget_other_threads() noexcept {
  n_beside = 0;
  forget_stream_threads();
  waiting = nullptr;
  Evaluation::end_others();  // their stacks are still there, nobody runs on them
  forget_other_pins();
}

void release_inputs(Steps& steps, const Group& g) {
  for (int32_t i = g.first_member; i >= 0; i = steps[static_cast<size_t>(i)].next_member) {
    Node* n = steps[static_cast<size_t>(i)].node;
    for (uint32_t k = 0; k < n->n_edges; ++k) {
      int32_t m = n->edges[k].node->mark;
      if (m <= 0) continue;
      Step& o = steps[static_cast<size_t>(m - 1)];
      if (--o.remaining == 0 && !o.keep && o.node->evaluated()) drop_storage(o.node);
    }
    if (i == g.root) break;
  }
}

void flush_readers(Storage* s) {
  for (;;) {
    // The lists change under an evaluation, so take a snapshot, evaluate, look again.
    Small<Node*, 16> readers, symbolic;
    for (Node* n = s->nodes; n; n = n->shared_next)
      for (Edge* e = n->consumers; e; e = e->next)
        if (!e->self->evaluated()) (e->self->is(kSymbolic) ? symbolic : readers).push(e->self);
    for (size_t i = 0; i < symbolic.size(); ++i) separate(symbolic[i], s);
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
