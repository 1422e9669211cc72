// Keys with arrays of integers, lists, bools and masks. NumPy's rules: the arrays broadcast with each other; their axes
// stand where the first of them stood if they, and integers among them, are neighbours, and in front otherwise. A mask
// stands for the indices of its true elements, one index an axis; a bool for an axis of extent 1 or 0.
// Source: NumPy reference, "Indexing on ndarrays", "Combining advanced and basic indexing".
#include <algorithm>
#include <string>
#include <vector>

#include "eval.h"
#include "index.h"
#include "nonzero.h"

namespace bridge {
namespace {

enum class ItemType : uint8_t { added, ellipsis, slice, integer, index, mask, truth };

struct Item {
  ItemType type;
  Ref key;  // slice, integer
  NodeRef node;  // index, mask
  bool truth = false;

  int n_axes() const {
    switch (type) {
      case ItemType::slice:
      case ItemType::integer:
      case ItemType::index: return 1;
      case ItemType::mask: return node->ndim;
      default: return 0;
    }
  }
  bool is_array() const { return type == ItemType::index || type == ItemType::mask || type == ItemType::truth; }
};

[[noreturn]] void unsupported(PyObject* key) {
  raise_type(message("bridge.array", "this kind of index is not supported.", Py_TYPE(key)->tp_name,
                     "integers, slices, None, Ellipsis, arrays or lists of integers or bools, and tuples of them"));
}

NodeRef array_of_key(PyObject* key) {
  if (PyList_Check(key) || PyTuple_Check(key) || PyRange_Check(key)) {
    NodeRef n = from_python(key, nullptr);
    if (n->size == 0 && !is_array(key)) return make_constant(DType::int64, ScalarValue{}, n->ndim, n->shape);
    return n;
  }
  Operand operand;
  if (!to_operand(key, &operand) || operand.is_weak()) unsupported(key);
  return operand.node;
}

// A 0-d array that has a value; one that is no integer stays what it is and is refused later.
Item number_item(Node* n) {
  if (kind(n->dtype) > Kind::signed_integer) return {ItemType::index, {}, NodeRef::borrow(n)};
  return {ItemType::integer, Ref::check(to_python(n->dtype, n->data)), {}};
}

Item array_item(PyObject* key) {
  NodeRef n = array_of_key(key);
  if (n->dtype == DType::bool_) {
    if (n->ndim > 0) return {ItemType::mask, {}, n};
    evaluate(n.get());
    return {ItemType::truth, {}, {}, *n->data != 0};
  }
  return n->ndim == 0 && n->evaluated() ? number_item(n.get()) : Item{ItemType::index, {}, n};
}

Item make_item(PyObject* key) {
  if (key == Py_None) return {ItemType::added, {}, {}};
  if (key == Py_Ellipsis) return {ItemType::ellipsis, {}, {}};
  if (PySlice_Check(key)) return {ItemType::slice, Ref::borrow(key), {}};
  if (PyBool_Check(key)) return {ItemType::truth, {}, {}, key == Py_True};
  if (is_integer_index(key)) return {ItemType::integer, Ref::borrow(key), {}};
  return array_item(key);
}

// What a key selects: a region of the array, and places in it.
struct ArrayKey {
  Selection region;
  Places places;
  std::vector<NodeRef> indices;  // one for each of the places' axes
  int first = 0;  // of the region's result axes, the one that the places' axes stand before
  int shape_ndim = 0;  // the result
  int64_t shape[kMaxNdim];
  bool apart = false;  // something stands between the arrays and integers
  bool has_truth = false, truth = true;
  NodeRef mask;  // the only array of the key: the indices are not made yet
  int mask_axis = 0;
};

void check_mask(const Node* a, const Node* mask, int axis) {
  for (int i = 0; i < mask->ndim; ++i)
    if (mask->shape[i] != a->shape[axis + i])
      raise_index(
          message("bridge.array", "the mask does not match the array along axis " + std::to_string(axis + i) + ".",
                  "a mask of shape " + shape_text(mask->ndim, mask->shape) + " from axis " + std::to_string(axis),
                  describe(a)));
}

// One index an axis, from positions in row-major order.
void add_mask_indices(ArrayKey& k, Node* mask, int axis) {
  NodeRef places = true_places(mask);
  int64_t inner = 1;
  size_t first = k.indices.size();
  for (int i = mask->ndim - 1; i >= 0; --i) {
    NodeRef index = places;
    auto by = [&](Stage stage, int64_t number) {
      Operand operands[2] = {
          {index},
          {make_constant(places->dtype, encode({Weak::integer, false, number}, places->dtype, "bridge.array"))}};
      index = make_elementwise(stage, operands, 2);
    };
    if (inner != 1) by(Stage::floor_divide, inner);
    if (i > 0 && mask->shape[i] > 0) by(Stage::remainder, mask->shape[i]);
    k.indices.insert(k.indices.begin() + static_cast<std::ptrdiff_t>(first), index);
    inner *= std::max<int64_t>(mask->shape[i], 1);
  }
  for (int i = 0; i < mask->ndim; ++i) k.places.axes[k.places.n++] = axis + i;
}

std::vector<Item> items_of(const Node* a, PyObject* key, int* taken) {
  KeyItems key_items(key);
  std::vector<Item> items;
  bool ellipsis = false;
  *taken = 0;
  int added = 0;
  for (Py_ssize_t i = 0; i < key_items.n; ++i) {
    Item item = make_item(key_items.items[i]);
    if (item.type == ItemType::ellipsis) {
      if (ellipsis) raise_index("[bridge.array] an index can only have a single ellipsis ('...').");
      ellipsis = true;
    }
    *taken += item.n_axes();
    added += item.type == ItemType::added;
    items.push_back(std::move(item));
  }
  bool empty =
      std::any_of(items.begin(), items.end(), [](const Item& i) { return i.type == ItemType::truth && !i.truth; });
  for (Item& item : items)  // nothing will be read there, but numbers must be in bounds
    if (empty && item.type == ItemType::index && item.node->ndim == 0) {
      evaluate(item.node.get());
      item = number_item(item.node.get());
    }
  if (*taken > a->ndim) too_many_indices(a, *taken);
  if (a->ndim + added > kMaxNdim) raise_value("[bridge.array] the index would make too many dimensions.");
  return items;
}

// Bools broadcast with the indices as an axis of extent 1 or 0.
void join_truth(ArrayKey& k, int64_t* shape, int* ndim) {
  if (!k.has_truth) return;
  if (*ndim == 0) shape[(*ndim)++] = 1;
  int64_t& last = shape[*ndim - 1];
  if (!k.truth) {
    if (last > 1)
      raise_index(message("bridge.array", "the indices cannot be broadcast together.",
                          "False and " + shape_text(*ndim, shape)));
    last = 0;
  }
  if (k.places.n) k.indices[0] = make_broadcast(k.indices[0].get(), *ndim, shape);
}

Node* const* pointers(const std::vector<NodeRef>& nodes, Node** out) {
  for (size_t i = 0; i < nodes.size(); ++i) out[i] = nodes[i].get();
  return out;
}

// The shape of the result, once all indices are there.
void set_result_shape(ArrayKey& k, int ndim) {
  Node* indices[kMaxNdim];
  int64_t shape[kMaxNdim], *common = shape + k.places.at;
  int place_axes = 0;
  if (k.places.n)
    place_axes = gather_shape(k.places, ndim, k.region.count, pointers(k.indices, indices), shape, "bridge.array") -
                 (ndim - k.places.n);
  join_truth(k, common, &place_axes);
  const Selection& s = k.region;
  k.shape_ndim = s.ndim + place_axes;
  if (k.shape_ndim > kMaxNdim) raise_value("[bridge.array] the index would make too many dimensions.");
  std::copy_n(s.shape, k.first, k.shape);
  std::copy_n(common, place_axes, k.shape + k.first);
  std::copy_n(s.shape + k.first, s.ndim - k.first, k.shape + k.first + place_axes);
}

ArrayKey parse_key(const Node* a, PyObject* key) {
  int taken;
  std::vector<Item> items = items_of(a, key, &taken);
  auto arrays = std::count_if(items.begin(), items.end(), [](const Item& i) { return i.is_array(); });
  ArrayKey k;
  Selection& s = k.region;
  int axis = 0;
  bool inside = false, behind = false;  // of the run of arrays and integers
  for (Item& item : items) {
    bool runs = item.is_array() || item.type == ItemType::integer;
    if (runs && !inside && !behind) k.first = s.ndim;
    k.apart = k.apart || (runs && behind);
    behind = behind || (!runs && inside);
    inside = inside || runs;
    switch (item.type) {
      case ItemType::added: s.add_axis(); break;
      case ItemType::ellipsis:
        for (int rest = a->ndim - taken; rest > 0; --rest, ++axis) s.take_whole(axis, a->shape[axis]);
        break;
      case ItemType::slice: s.take_slice(item.key.get(), axis, a->shape[axis]); break;
      case ItemType::integer: s.take_integer(item.key.get(), axis, a->shape[axis]); break;
      case ItemType::index:
        s.take_indexed(axis, a->shape[axis]);
        k.places.axes[k.places.n++] = axis;
        k.indices.push_back(item.node);
        break;
      case ItemType::mask:
        check_mask(a, item.node.get(), axis);
        for (int i = 0; i < item.node->ndim; ++i) s.take_indexed(axis + i, a->shape[axis + i]);
        if (arrays > 1) {
          add_mask_indices(k, item.node.get(), axis);
        } else {
          k.mask = item.node;
          k.mask_axis = axis;
        }
        break;
      case ItemType::truth:
        k.has_truth = true;
        k.truth = k.truth && item.truth;
        break;
    }
    axis += item.n_axes();
  }
  for (; axis < a->ndim; ++axis) s.take_whole(axis, a->shape[axis]);
  if (k.apart) k.first = 0;
  if (k.mask) return k;
  if (k.places.n && !k.apart) k.places.at = k.places.axes[0];
  set_result_shape(k, a->ndim);
  return k;
}

// A lone mask is one index along its axes joined into one: gives the array with these joined.
NodeRef join_mask_axes(ArrayKey& k, Node* a) {
  Selection& s = k.region;
  int at = k.mask_axis, n = k.mask->ndim, ndim = a->ndim - n + 1;
  int64_t shape[kMaxNdim];
  std::copy_n(a->shape, at, shape);
  shape[at] = k.mask->size;
  std::copy_n(a->shape + at + n, ndim - at - 1, shape + at + 1);
  for (int64_t* values : {s.start, s.step, s.count}) std::copy_n(values + at + n, ndim - at - 1, values + at + 1);
  s.take_indexed(at, k.mask->size);
  k.places.n = 1;
  k.places.axes[0] = at;
  k.places.at = k.apart ? 0 : at;
  k.indices.push_back(true_places(k.mask.get()));
  NodeRef joined = n == 1 ? NodeRef::borrow(a) : make_reshape(a, ndim, shape);
  set_result_shape(k, ndim);
  return joined;
}

// a[mask] = value where the value does not depend on the place: a choice between the two, which needs no mask that has
// values. Null where the general way is the better one.
NodeRef choose_by_mask(const ArrayKey& k, Node* a, Node* value) {
  Node* mask = k.mask.get();
  const Selection& s = k.region;
  bool sparse = mask->evaluated() && mask->ndim < a->ndim;  // may touch much less than the whole array
  if (sparse || is_held(a->dtype) || s.reshaped || !s.whole) return {};
  int inner = a->ndim - k.mask_axis - mask->ndim, ndim = k.mask_axis + 1 + inner;
  if (value->ndim > ndim || (value->ndim > inner && value->shape[value->ndim - inner - 1] != 1)) return {};
  int64_t one[kMaxNdim], wide[kMaxNdim], mask_shape[kMaxNdim];
  std::copy_n(a->shape, k.mask_axis, one);
  one[k.mask_axis] = 1;
  std::copy_n(a->shape + a->ndim - inner, inner, one + k.mask_axis + 1);
  NodeRef spread = spread_value(value, ndim, one);
  std::copy_n(a->shape, a->ndim, wide);
  std::fill_n(wide + k.mask_axis, mask->ndim, 1);
  std::copy_n(mask->shape, mask->ndim, mask_shape);
  std::fill_n(mask_shape + mask->ndim, inner, 1);
  Operand operands[3] = {{make_reshape(mask, mask->ndim + inner, mask_shape)},
                         {make_reshape(spread.get(), a->ndim, wide)},
                         {NodeRef::borrow(a)}};
  return make_elementwise(Stage::select, operands, 3);
}

// The region with an axis of the places, of extent 1 or 0, but without places: all arrays of the key are bools.
Selection with_axis(const ArrayKey& k) {
  Selection s = k.region;
  s.ndim = k.shape_ndim;
  std::copy_n(k.shape, k.shape_ndim, s.shape);
  s.reshaped = true;
  return s;
}

}  // namespace

NodeRef select_arrays(Node* a, PyObject* key) {
  ArrayKey k = parse_key(a, key);
  const Selection& s = k.region;
  if (k.has_truth && !k.truth && !k.places.n) return make_constant(a->dtype, ScalarValue{}, k.shape_ndim, k.shape);
  if (!k.places.n && !k.mask) return read_region(a, with_axis(k));
  NodeRef joined = k.mask ? join_mask_axes(k, a) : NodeRef::borrow(a);
  if (!s.whole) joined = make_slice(joined.get(), s.start, s.step, s.count);
  Node* indices[kMaxNdim];
  NodeRef part = make_gather(joined.get(), pointers(k.indices, indices), k.places, "bridge.array");
  return s.reshaped ? make_reshape(part.get(), k.shape_ndim, k.shape) : part;
}

NodeRef update_arrays(Combine combine, Node* a, PyObject* key, Node* value) {
  NodeRef converted = make_cast(value, a->dtype);
  ArrayKey k = parse_key(a, key);
  if (!k.places.n && !k.mask) {
    if (k.truth) return update_region(combine, a, with_axis(k), converted.get());
    spread_value(converted.get(), k.shape_ndim, k.shape);
    return NodeRef::borrow(a);
  }
  if (k.mask && combine == Combine::set)
    if (NodeRef chosen = choose_by_mask(k, a, converted.get())) return chosen;
  NodeRef joined = k.mask ? join_mask_axes(k, a) : NodeRef::borrow(a);
  const Selection& s = k.region;
  NodeRef updates = spread_value(converted.get(), k.shape_ndim, k.shape);
  Node* indices[kMaxNdim];
  pointers(k.indices, indices);
  if (s.reshaped || k.first != k.places.at) {
    int64_t shape[kMaxNdim];
    int ndim = gather_shape(k.places, joined->ndim, s.count, indices, shape, "bridge.array");
    updates = make_reshape(updates.get(), ndim, shape);
  }
  Window window;
  window.whole = s.whole;
  if (!s.whole) {
    std::copy_n(s.start, joined->ndim, window.start);
    std::copy_n(s.step, joined->ndim, window.step);
    std::copy_n(s.count, joined->ndim, window.count);
  }
  NodeRef result = make_scatter(combine, joined.get(), updates.get(), indices, k.places, window, "bridge.array");
  joined = {};
  return result->ndim == a->ndim ? result : make_reshape(result.get(), a->ndim, a->shape);
}

}  // namespace bridge
