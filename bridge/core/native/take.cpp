// The native callables of indexing by arrays: gather, the scatters, take, take_along_axis, put_along_axis.
#include <algorithm>
#include <string>
#include <vector>

#include "arguments.h"
#include "index.h"
#include "nonzero.h"
#include "take.h"

namespace bridge {
namespace {

// Indices as users give them: an array of any framework, a list, a number.
NodeRef need_indices(PyObject* o, const char* op) {
  if (PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o)) {
    NodeRef n = from_python(o, nullptr);
    return n->size ? n : make_constant(DType::int64, ScalarValue{}, n->ndim, n->shape);
  }
  return need_array(o, op);
}

// Operands are positional, the indices from number `first` on; parameters are keywords.
struct PlaceArguments {
  std::vector<NodeRef> operands;
  std::vector<Node*> indices;
  Places places;

  PlaceArguments(const char* op, Py_ssize_t first, Args args, Py_ssize_t n, PyObject* axes, PyObject* at) {
    if (n <= first) raise_type(std::string(op) + "() takes an index for each of the axes");
    for (Py_ssize_t i = 0; i < n; ++i) operands.push_back(need_array(args[i], op));
    for (Py_ssize_t i = first; i < n; ++i) indices.push_back(operands[static_cast<size_t>(i)].get());
    int64_t values[kMaxNdim];
    int ndim = operands[0]->ndim;
    places.n = to_shape(axes, values, op);
    bool good = places.n == n - first;
    for (int k = 0; k < places.n; ++k) {
      places.axes[k] = normalize_axis(values[k], ndim, op);
      good = good && (k == 0 || places.axes[k] > places.axes[k - 1]);
    }
    places.at = static_cast<int>(need_int(at, op, "at"));
    if (!good || places.at < 0 || places.at > ndim - places.n)
      raise_value(message(std::string("bridge.") + op, "the places are not told by one index an axis.",
                          "axes " + shape_text(places.n, values) + ", at " + std::to_string(places.at) + ", " +
                              std::to_string(n - first) + " indices",
                          "one axis for each index, ascending"));
  }
};

}  // namespace

PyObject* call_gather(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"axes", "at", "stream"};
  PyObject* values[3] = {};
  parse_arguments({"gather", kNames, 3, 2, 0}, args + n, 0, names, values);
  PlaceArguments p("gather", 1, args, n, values[0], values[1]);
  return wrap(make_gather(p.operands[0].get(), p.indices.data(), p.places, "bridge.gather"));
}

namespace {

void read_window(Window& w, const Node* a, const Places& p, PyObject* const* values, const char* op) {
  w.whole = !values[0] || values[0] == Py_None;
  if (w.whole) return;
  int64_t* parts[] = {w.start, w.step, w.count};
  for (int i = 0; i < 3; ++i)
    if (!values[i] || to_shape(values[i], parts[i], op) != a->ndim)
      raise_value(message(std::string("bridge.") + op, "start, step and count have one integer an axis.", describe(a)));
  for (int i = 0; i < a->ndim; ++i) {
    bool indexed = std::find(p.axes, p.axes + p.n, i) != p.axes + p.n;
    int64_t last = w.start[i] + (w.count[i] - 1) * w.step[i];
    bool inside = w.count[i] == 0 || (w.count[i] > 0 && std::min(w.start[i], last) >= 0 &&
                                      std::max(w.start[i], last) < a->shape[i] && (w.step[i] || w.count[i] == 1));
    bool all = w.start[i] == 0 && w.step[i] == 1 && w.count[i] == a->shape[i];
    if (!(indexed ? all : inside))
      raise_index(message(std::string("bridge.") + op,
                          "the region leaves the array on axis " + std::to_string(i) + ", or cuts an indexed axis.",
                          describe(a)));
  }
}

}  // namespace

template <Combine combine>
PyObject* call_scatter(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"axes", "at", "start", "step", "count", "stream"};
  const char* op = scatter_name(combine);
  PyObject* values[6] = {};
  parse_arguments({op, kNames, 6, 2, 0}, args + n, 0, names, values);
  PlaceArguments p(op, 2, args, n, values[0], values[1]);
  Window window;
  Node* a = p.operands[0].get();
  read_window(window, a, p.places, values + 2, op);
  return wrap(make_scatter(combine, a, p.operands[1].get(), p.indices.data(), p.places, window,
                           (std::string("bridge.") + op).c_str()));
}

template PyObject* call_scatter<Combine::set>(Args, Py_ssize_t, PyObject*);
template PyObject* call_scatter<Combine::add>(Args, Py_ssize_t, PyObject*);
template PyObject* call_scatter<Combine::multiply>(Args, Py_ssize_t, PyObject*);
template PyObject* call_scatter<Combine::divide>(Args, Py_ssize_t, PyObject*);
template PyObject* call_scatter<Combine::maximum>(Args, Py_ssize_t, PyObject*);
template PyObject* call_scatter<Combine::minimum>(Args, Py_ssize_t, PyObject*);

PyObject* call_take(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "indices", "axis", "stream"};
  auto p = parse("take", kNames, 2, 3, args, n, names);
  NodeRef a = need_array(p.values[0], "take");
  if (!p[2]) a = make_reshape(a.get(), 1, &a->size);
  int axis = normalize_axis(p[2] ? need_int(p[2], "take", "axis") : 0, a->ndim, "take");
  if (PyLong_CheckExact(p.values[1])) {
    Selection s;
    for (int i = 0; i < a->ndim; ++i)
      if (i == axis)
        s.take_integer(p.values[1], i, a->shape[i]);
      else
        s.take_whole(i, a->shape[i]);
    return wrap(read_region(a.get(), s));
  }
  NodeRef indices = need_indices(p.values[1], "take");
  Node* index = indices.get();
  return wrap(make_gather(a.get(), &index, {1, {axis}, axis}, "bridge.take"));
}

namespace {

// One index an axis that names every element once, but along `axis`, where `indices` chooses. The other axes of both are
// broadcast with each other; `a` becomes what it is broadcast to.
std::vector<NodeRef> indices_along(NodeRef& a, NodeRef indices, int axis, const char* op) {
  int ndim = a->ndim;
  int64_t shape[kMaxNdim];
  bool fits = indices->ndim == ndim;
  for (int i = 0; fits && i < ndim; ++i) {
    shape[i] = i == axis || a->shape[i] != 1 ? a->shape[i] : indices->shape[i];
    fits = i == axis || indices->shape[i] == shape[i] || indices->shape[i] == 1;
  }
  if (!fits)
    raise_value(message(std::string("bridge.") + op,
                        "the indices do not broadcast with the array along the other axes.", describe(indices.get()),
                        "an array like " + describe(a.get()) + ", of any extent along axis " + std::to_string(axis)));
  a = make_broadcast(a.get(), ndim, shape);
  std::vector<NodeRef> all;
  for (int i = 0; i < ndim; ++i) {
    if (i == axis) {
      all.push_back(indices);
      continue;
    }
    int64_t spread[kMaxNdim];
    std::fill_n(spread, ndim, 1);
    spread[i] = shape[i];
    DType t = shape[i] <= INT32_MAX ? DType::int32 : DType::int64;
    all.push_back(make_reshape(make_arange(t, shape[i], 0, 1, 0, 1).get(), ndim, spread));
  }
  return all;
}

Places all_axes(int ndim) {
  Places p;
  p.n = ndim;
  for (int i = 0; i < ndim; ++i) p.axes[i] = i;
  return p;
}

std::vector<Node*> pointers(const std::vector<NodeRef>& nodes) {
  std::vector<Node*> all;
  for (const NodeRef& n : nodes) all.push_back(n.get());
  return all;
}

}  // namespace

PyObject* call_take_along_axis(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "indices", "axis", "stream"};
  auto p = parse("take_along_axis", kNames, 2, 3, args, n, names);
  NodeRef a = need_array(p.values[0], "take_along_axis");
  bool flat = p.values[2] == Py_None;
  if (flat) a = make_reshape(a.get(), 1, &a->size);
  int64_t given = flat ? 0 : p[2] ? need_int(p[2], "take_along_axis", "axis") : -1;
  int axis = normalize_axis(given, a->ndim, "take_along_axis");
  std::vector<NodeRef> all = indices_along(a, need_indices(p.values[1], "take_along_axis"), axis, "take_along_axis");
  return wrap(make_gather(a.get(), pointers(all).data(), all_axes(a->ndim), "bridge.take_along_axis"));
}

PyObject* call_put_along_axis(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "indices", "values", "axis", "stream"};
  const char* op = "put_along_axis";
  auto p = parse(op, kNames, 3, 4, args, n, names);
  NodeRef a = need_array(p.values[0], op), whole = a;
  if (!p[3]) a = make_reshape(a.get(), 1, &a->size);
  int axis = normalize_axis(p[3] ? need_int(p[3], op, "axis") : 0, a->ndim, op);
  NodeRef values = need_value(a.get(), p.values[2]), target = a;
  std::vector<NodeRef> all = indices_along(target, need_indices(p.values[1], op), axis, op);
  if (memcmp(target->shape, a->shape, sizeof(int64_t) * a->ndim))
    raise_value(message("bridge.put_along_axis", "the indices do not broadcast to the array along the other axes.",
                        describe(all[static_cast<size_t>(axis)].get()), describe(a.get())));
  NodeRef converted = make_cast(values.get(), a->dtype);
  NodeRef result = make_scatter(Combine::set, a.get(), converted.get(), pointers(all).data(), all_axes(a->ndim), {},
                                "bridge.put_along_axis");
  return wrap(p[3] ? result : make_reshape(result.get(), whole->ndim, whole->shape));
}

PyObject* true_places_of(PyObject*, PyObject* mask) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (!is_array(mask) || node_of(mask)->dtype != DType::bool_)
      raise_type("[bridge.nonzero] an array of bool is wanted.");
    return wrap(true_places(node_of(mask)));
  });
}

}  // namespace bridge
