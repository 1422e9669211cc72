#include "infer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "errors.h"
#include "eval.h"
#include "held.h"
#include "trace.h"

namespace bridge {
namespace {

constexpr DType kPromotion[kComputedCount][kComputedCount] = {
#include "promotion.inc"
};
// Columns are Weak::Category.
constexpr DType kPromotionWeak[kComputedCount][4] = {
#include "promotion_weak.inc"
};

Declaration stage_declarations[kStageCount];
constexpr const char* kReduceNames[] = {"none", "sum", "prod", "max", "min", "all", "any", "argmax", "argmin"};
constexpr int kReduceCount = 9;
Declaration reduce_declarations[kReduceCount];

DType to_floating(DType t) { return kind(t) >= Kind::floating ? t : DType::float32; }

DType real_of(DType t) {
  if (t == DType::complex64) return DType::float32;
  if (t == DType::complex128) return DType::float64;
  return t;
}

DType widened_for_sum(DType t, int64_t count) {
  const bool many = count > int64_t{INT32_MAX};  // more than 32 bits can count
  switch (t) {
    case DType::bool_:
    case DType::int8:
    case DType::int16: return many ? DType::int64 : DType::int32;
    case DType::uint8:
    case DType::uint16: return many ? DType::uint64 : DType::uint32;
    default: return t;
  }
}

uint16_t half_bits(double value) {  // IEEE binary16, round to nearest even from double
  uint64_t u;
  memcpy(&u, &value, 8);
  auto sign = static_cast<uint16_t>(u >> 48 & 0x8000);
  double a = std::fabs(value);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
  if (a >= 65520.0) return static_cast<uint16_t>(sign | 0x7c00);
  int e = a == 0 ? -100 : std::ilogb(a);
  double unit = std::ldexp(1.0, std::max(e, -14) - 10);
  auto steps = static_cast<int64_t>(std::nearbyint(a / unit));  // 0..2048
  if (e < -14) return static_cast<uint16_t>(sign | steps);
  return static_cast<uint16_t>(sign | (((e + 15) << 10) + (steps - 1024)));
}

uint16_t bfloat_bits(double value) {
  if (std::isnan(value)) return std::signbit(value) ? 0xffc0 : 0x7fc0;
  // Round once, from double: scale so that the unit in the last place is 1.
  double a = std::fabs(value);
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (a == 0) return sign;
  int e = std::isinf(a) ? 200 : std::ilogb(a);
  if (e > 127) return sign | 0x7f80;
  double unit = std::ldexp(1.0, std::max(e, -126) - 7);
  auto steps = static_cast<int64_t>(std::nearbyint(a / unit));
  if (e < -126) return static_cast<uint16_t>(sign | steps);
  return static_cast<uint16_t>(sign | (((e + 127) << 7) + (steps - 128)));
}

template <class T>
void put(ScalarValue& v, T x) {
  memcpy(v.bytes, &x, sizeof x);
}

template <class T>
void put_integer(ScalarValue& v, const Weak& w, DType t, const char* op) {
  bool fits = w.is_unsigned
                  ? (std::is_same_v<T, uint64_t>)
                  : (std::is_same_v<T, uint64_t> ? w.bits >= 0
                                                 : w.bits >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
                                                       w.bits <= static_cast<int64_t>(std::numeric_limits<T>::max()));
  if (!fits) {
    std::string value = w.is_unsigned ? std::to_string(static_cast<uint64_t>(w.bits)) : std::to_string(w.bits);
    throw Error(PyExc_OverflowError,
                message(op, "the Python integer " + value + " does not fit in " + info(t).name + ".", "", "",
                        "convert the array first: a.astype(bridge.int64)"));
  }
  put<T>(v, static_cast<T>(w.bits));
}

// Small direct-mapped cache of 0-d constants: `x * 2.0` in a loop builds one node, not many.
constexpr int kCached = 256;
Node* constants[kCached];

int place_of(DType t, const ScalarValue& value) {
  uint64_t bits[2];
  memcpy(bits, value.bytes, 16);
  return static_cast<int>((bits[0] ^ bits[1] * 31 ^ static_cast<uint64_t>(t) * 0x9e37) * 0x9e3779b97f4a7c15ull >> 56);
}

void check_accepts(const Declaration& d, DType t) {
  if (d.accepts & bit(t)) return;
  check_computed(t, d.name);
  raise_dtype(message(std::string("bridge.") + d.name,
                      std::string("this operation is not defined for ") + info(t).name + ".", info(t).name, "",
                      std::string("convert first, for example a.astype(bridge.") +
                          (d.accepts & bit(DType::float32) ? "float32" : "int32") + ")"));
}

int broadcast_shapes(const Node* const* nodes, int n, int64_t* shape, const char* name) {
  int ndim = 0;
  for (int k = 0; k < n; ++k) ndim = std::max<int>(ndim, nodes[k]->ndim);
  for (int i = 0; i < ndim; ++i) {
    int64_t extent = 1;
    for (int k = 0; k < n; ++k) {
      int at = i - (ndim - nodes[k]->ndim);
      if (at < 0 || nodes[k]->shape[at] == 1) continue;
      if (extent != 1 && extent != nodes[k]->shape[at]) {
        std::string got;
        for (int j = 0; j < n; ++j) got += (j ? ", " : "") + shape_text(nodes[j]->ndim, nodes[j]->shape);
        raise_value(message(std::string("bridge.") + name, "the shapes cannot be broadcast together.", got,
                            "extents that are equal or 1, counted from the last axis"));
      }
      extent = nodes[k]->shape[at];
    }
    shape[i] = extent;
  }
  return ndim;
}

}  // namespace

DType promote(DType a, DType b) {
  if (is_held(a) || is_held(b)) return a == b ? a : refuse_promotion(a, b);
  return kPromotion[static_cast<int>(a)][static_cast<int>(b)];
}

DType default_dtype(const Weak& w) {
  switch (w.category) {
    case Weak::boolean: return DType::bool_;
    case Weak::integer:
      if (w.is_unsigned) return DType::uint64;
      return w.bits >= INT32_MIN && w.bits <= INT32_MAX ? DType::int32 : DType::int64;
    case Weak::floating: return DType::float32;
    case Weak::complex: break;
  }
  return DType::complex64;
}

DType promote_weak(DType t, const Weak& w) {
  // An integer beside bool takes the width that holds it; everything else is in the table.
  if (w.category == Weak::integer && t == DType::bool_) return default_dtype(w);
  if (is_held(t)) return refuse_promotion(t, default_dtype(w));
  return kPromotionWeak[static_cast<int>(t)][w.category];
}

ScalarValue encode(const Weak& w, DType t, const char* op) {
  if (is_held(t)) return encode_held(w, t);
  ScalarValue v{};
  double real = w.category <= Weak::integer
                    ? (w.is_unsigned ? static_cast<double>(static_cast<uint64_t>(w.bits)) : static_cast<double>(w.bits))
                    : w.real;
  switch (t) {
    case DType::bool_: put<uint8_t>(v, w.category <= Weak::integer ? w.bits != 0 : (w.real != 0 || w.imag != 0)); break;
    case DType::float16: put(v, half_bits(real)); break;
    case DType::bfloat16: put(v, bfloat_bits(real)); break;
    case DType::float32: put(v, static_cast<float>(real)); break;
    case DType::float64: put(v, real); break;
    case DType::complex64: {
      float pair[2] = {static_cast<float>(real), static_cast<float>(w.imag)};
      memcpy(v.bytes, pair, sizeof pair);
      break;
    }
    case DType::complex128: {
      double pair[2] = {real, w.imag};
      memcpy(v.bytes, pair, sizeof pair);
      break;
    }
    default: {
      Weak i = w;
      if (w.category >= Weak::floating) {
        if (!(std::fabs(w.real) < 9.2e18))
          raise_value(message(op, std::string("the value is not representable in ") + info(t).name + "."));
        i.bits = static_cast<int64_t>(w.real);
        i.is_unsigned = false;
      }
      switch (t) {
        case DType::uint8: put_integer<uint8_t>(v, i, t, op); break;
        case DType::uint16: put_integer<uint16_t>(v, i, t, op); break;
        case DType::uint32: put_integer<uint32_t>(v, i, t, op); break;
        case DType::uint64: put_integer<uint64_t>(v, i, t, op); break;
        case DType::int8: put_integer<int8_t>(v, i, t, op); break;
        case DType::int16: put_integer<int16_t>(v, i, t, op); break;
        case DType::int32: put_integer<int32_t>(v, i, t, op); break;
        default: put_integer<int64_t>(v, i, t, op); break;
      }
    }
  }
  return v;
}

Rule find_rule(const char* name) {
  constexpr const char* names[] = {"same", "float", "bool", "logical", "abs", "select", "sum", "index"};
  for (int i = 0; i < 8; ++i)
    if (!strcmp(names[i], name)) return static_cast<Rule>(i);
  raise_value(std::string("[bridge.declare] unknown result rule '") + name + "'.");
}

Declaration& declaration(Stage s) { return stage_declarations[static_cast<int>(s)]; }
Declaration& declaration(Reduce r) { return reduce_declarations[static_cast<int>(r)]; }
const char* reduce_name(Reduce r) { return kReduceNames[static_cast<int>(r)]; }
int find_reduce(const char* name) {
  for (int i = 1; i < kReduceCount; ++i)
    if (!strcmp(kReduceNames[i], name)) return i;
  return -1;
}

NodeRef make_constant(DType t, const ScalarValue& value, int ndim, const int64_t* shape) {
  int slot = -1;
  if (ndim == 0) {
    slot = place_of(t, value);
    Node* hit = constants[slot];
    if (hit && hit->op == Op::constant && hit->dtype == t && !memcmp(hit->scalar.bytes, value.bytes, 16) &&
        hit->handles == 0)
      return NodeRef::borrow(hit);
  }
  NodeRef n(new_node(Op::constant, t, ndim, 0));
  set_shape(n.get(), shape);
  n->scalar = value;
  if (slot >= 0) {
    if (constants[slot]) release(constants[slot]);
    constants[slot] = retain(n.get());
  }
  return n;
}

void forget_constant(const Node* n) noexcept {
  int slot = place_of(n->dtype, n->scalar);
  if (constants[slot] == n) release(std::exchange(constants[slot], nullptr));
}

NodeRef make_dense(DType t, int ndim, const int64_t* shape) {
  NodeRef n(new_node(Op::data, t, ndim, 0));
  set_shape(n.get(), shape);
  Storage* s = new_storage(static_cast<size_t>(n->nbytes()));
  attach_storage(n.get(), s, static_cast<unsigned char*>(s->data), nullptr);
  return n;
}

NodeRef make_cast(Node* a, DType t) {
  if (a->dtype == t) return NodeRef::borrow(a);
  if (is_held(a->dtype)) return make_cast(decode_held(a).get(), t);
  if (is_held(t))
    return convert_to_held(kind(a->dtype) == Kind::complex ? make_cast(a, real_of(a->dtype)).get() : a, t);
  NodeRef n(new_node(Op::elementwise, t, a->ndim, 1));
  n->stage = static_cast<uint16_t>(Stage::cast);
  set_shape(n.get(), a->shape);
  set_edge(n.get(), 0, a);
  return finish(std::move(n));
}

NodeRef make_value(Node* a) { return a->evaluated() && a->storage->leased() ? make_copy(a) : NodeRef::borrow(a); }

NodeRef make_copy(Node* a) {
  NodeRef n(new_node(Op::elementwise, a->dtype, a->ndim, 1));
  n->stage = static_cast<uint16_t>(Stage::copy);
  set_shape(n.get(), a->shape);
  set_edge(n.get(), 0, a);
  return finish(std::move(n));
}

NodeRef make_elementwise(Stage stage, Operand* operands, int n) {
  const Declaration& d = declaration(stage);
  if (!d.name) raise_type(std::string("[bridge] the operation '") + stage_name(stage) + "' has not been declared.");
  for (int k = 0; k < n; ++k)
    if (!operands[k].is_weak()) check_computed(operands[k].node->dtype, d.name);
  int first = d.rule == Rule::select ? 1 : 0;
  // The common dtype of the operands that take part in promotion.
  bool any = false;
  DType common = DType::bool_;
  for (int k = first; k < n; ++k)
    if (!operands[k].is_weak()) {
      common = any ? promote(common, operands[k].node->dtype) : operands[k].node->dtype;
      any = true;
    }
  for (int k = first; k < n; ++k)
    if (operands[k].is_weak()) {
      common = any ? promote_weak(common, operands[k].weak) : default_dtype(operands[k].weak);
      any = true;
    }
  if (d.rule == Rule::floating) common = to_floating(common);
  if (d.rule == Rule::logical) common = DType::bool_;
  check_accepts(d, common);
  DType out = common;
  if (d.rule == Rule::boolean || d.rule == Rule::logical) out = DType::bool_;
  if (d.rule == Rule::absolute) out = real_of(common);

  NodeRef inputs[3];
  const Node* raw[3] = {};
  for (int k = 0; k < n; ++k) {
    DType wanted = k < first ? DType::bool_ : common;
    if (operands[k].is_weak())
      inputs[k] = make_constant(wanted, encode(operands[k].weak, wanted, d.name));
    else if (operands[k].node->dtype == wanted)
      inputs[k] = operands[k].node;
    else
      inputs[k] = make_cast(operands[k].node.get(), wanted);
    raw[k] = inputs[k].get();
  }
  int64_t shape[kMaxNdim];
  int ndim = raw[0]->ndim;
  bool same = true;
  for (int k = 1; k < n && same; ++k)
    same = raw[k]->ndim == ndim && !memcmp(raw[k]->shape, raw[0]->shape, sizeof(int64_t) * static_cast<size_t>(ndim));
  if (!same) ndim = broadcast_shapes(raw, n, shape, d.name);
  NodeRef node(new_node(Op::elementwise, out, ndim, n));
  node->stage = static_cast<uint16_t>(stage);
  set_shape(node.get(), same ? raw[0]->shape : shape);
  for (int k = 0; k < n; ++k) set_edge(node.get(), k, inputs[k].get());
  return finish(std::move(node));
}

NodeRef make_with_scalar(Stage stage, Node* a, const ScalarValue& b) {
  const Declaration& d = declaration(stage);
  NodeRef scalar = make_constant(a->dtype, b);
  bool plain =
      (d.accepts & bit(a->dtype)) && (d.rule == Rule::same || d.rule == Rule::floating || d.rule == Rule::boolean);
  if (!plain) {
    Operand operands[2] = {{NodeRef::borrow(a), {}}, {std::move(scalar), {}}};
    return make_elementwise(stage, operands, 2);
  }
  NodeRef n(new_node(Op::elementwise, d.rule == Rule::boolean ? DType::bool_ : a->dtype, a->ndim, 2));
  n->stage = static_cast<uint16_t>(stage);
  for (int i = 0; i < a->ndim; ++i) n->shape[i] = a->shape[i];
  n->size = a->size;
  set_edge(n.get(), 0, a);
  set_edge(n.get(), 1, scalar.get());
  return finish(std::move(n));
}

NodeRef make_binary(Stage stage, Node* a, Node* b) {
  const Declaration& d = declaration(stage);
  bool plain = a->dtype == b->dtype && (d.accepts & bit(a->dtype)) && a->ndim == b->ndim &&
               (d.rule == Rule::same || d.rule == Rule::boolean ||
                (d.rule == Rule::floating && kind(a->dtype) >= Kind::floating));
  for (int i = 0; plain && i < a->ndim; ++i) plain = a->shape[i] == b->shape[i];
  if (!plain) {
    Operand operands[2] = {{NodeRef::borrow(a), {}}, {NodeRef::borrow(b), {}}};
    return make_elementwise(stage, operands, 2);
  }
  NodeRef n(new_node(Op::elementwise, d.rule == Rule::boolean ? DType::bool_ : a->dtype, a->ndim, 2));
  n->stage = static_cast<uint16_t>(stage);
  for (int i = 0; i < a->ndim; ++i) n->shape[i] = a->shape[i];
  n->size = a->size;
  set_edge(n.get(), 0, a);
  set_edge(n.get(), 1, b);
  return finish(std::move(n));
}

NodeRef make_reduction(Reduce op, Node* a, uint32_t axes, bool keepdims) {
  const Declaration& d = declaration(op);
  if (!d.name) raise_type(std::string("[bridge] the reduction '") + reduce_name(op) + "' has not been declared.");
  check_accepts(d, a->dtype);
  NodeRef input = NodeRef::borrow(a);
  int64_t shape[kMaxNdim];
  int ndim = 0;
  int64_t reduced = 1;
  for (int i = 0; i < a->ndim; ++i) {
    if (axes >> i & 1) {
      reduced = a->shape[i] == 0 ? 0 : reduced * a->shape[i];
      if (keepdims) shape[ndim++] = 1;
    } else {
      shape[ndim++] = a->shape[i];
    }
  }
  bool has_identity = op == Reduce::sum || op == Reduce::prod || op == Reduce::all || op == Reduce::any;
  if (reduced == 0 && !has_identity)
    raise_value(message(std::string("bridge.") + d.name, "a reduction over no elements has no value.", describe(a)));
  DType out = a->dtype;
  if (d.rule == Rule::sum) {
    out = widened_for_sum(a->dtype, reduced);
    input = make_cast(a, out);
  } else if (d.rule == Rule::boolean || d.rule == Rule::logical) {
    out = DType::bool_;
  } else if (d.rule == Rule::index) {
    out = reduced > int64_t{INT32_MAX} ? DType::int64 : DType::int32;
  }
  NodeRef n(new_node(Op::reduction, out, ndim, 1));
  n->stage = static_cast<uint16_t>(op);
  set_shape(n.get(), shape);
  n->attributes = new Attributes;
  n->attributes->axes = axes;
  set_edge(n.get(), 0, input.get());
  return finish(std::move(n));
}

NodeRef make_matmul(const Operand& left, const Operand& right) {
  if (left.is_weak() || right.is_weak())
    raise_value("[bridge.matmul] a scalar operand has no axis to contract; use * instead.");
  check_computed(left.node->dtype, "matmul");
  check_computed(right.node->dtype, "matmul");
  DType t = promote(left.node->dtype, right.node->dtype);
  NodeRef a = make_cast(left.node.get(), t), b = make_cast(right.node.get(), t);
  std::string got = describe(left.node.get()) + " @ " + describe(right.node.get());
  if (a->ndim == 0 || b->ndim == 0)
    raise_value(message("bridge.matmul", "a 0-d operand has no axis to contract.", got));
  bool vector_a = a->ndim == 1, vector_b = b->ndim == 1;
  if (vector_a) {
    int64_t s[2] = {1, a->shape[0]};
    a = make_reshape(a.get(), 2, s);
  }
  if (vector_b) {
    int64_t s[2] = {b->shape[0], 1};
    b = make_reshape(b.get(), 2, s);
  }
  if (a->shape[a->ndim - 1] != b->shape[b->ndim - 2])
    raise_value(message("bridge.matmul", "the contracted extents differ.", got,
                        "last axis of the first == second-last axis of the second"));
  int batch = std::max(a->ndim, b->ndim) - 2;
  int64_t shape[kMaxNdim];
  for (int i = 0; i < batch; ++i) {
    int ia = i - (batch - (a->ndim - 2)), ib = i - (batch - (b->ndim - 2));
    int64_t ea = ia < 0 ? 1 : a->shape[ia], eb = ib < 0 ? 1 : b->shape[ib];
    if (ea != eb && ea != 1 && eb != 1)
      raise_value(message("bridge.matmul", "the batch axes cannot be broadcast together.", got));
    shape[i] = ea == 1 ? eb : ea;
  }
  shape[batch] = a->shape[a->ndim - 2];
  shape[batch + 1] = b->shape[b->ndim - 1];
  NodeRef n(new_node(Op::matmul, t, batch + 2, 2));
  set_shape(n.get(), shape);
  set_edge(n.get(), 0, a.get());
  set_edge(n.get(), 1, b.get());
  n = finish(std::move(n));
  if (!vector_a && !vector_b) return n;
  int64_t flat[kMaxNdim];
  int ndim = 0;
  for (int i = 0; i < n->ndim; ++i) {
    if ((vector_a && i == n->ndim - 2) || (vector_b && i == n->ndim - 1)) continue;
    flat[ndim++] = n->shape[i];
  }
  return make_reshape(n.get(), ndim, flat);
}

NodeRef make_concatenate(NodeRef* arrays, int n, int axis) {
  if (n == 0) raise_value("[bridge.concatenate] at least one array is needed.");
  DType t = arrays[0]->dtype;
  for (int k = 1; k < n; ++k) t = promote(t, arrays[k]->dtype);
  Node* first = arrays[0].get();
  axis = normalize_axis(axis, first->ndim, "concatenate");
  int64_t shape[kMaxNdim];
  memcpy(shape, first->shape, sizeof(int64_t) * first->ndim);
  for (int k = 1; k < n; ++k) {
    bool fits = arrays[k]->ndim == first->ndim;
    for (int i = 0; fits && i < first->ndim; ++i) fits = i == axis || arrays[k]->shape[i] == first->shape[i];
    if (!fits)
      raise_value(message("bridge.concatenate", "the arrays differ in more than the axis that is joined.",
                          describe(first) + " and " + describe(arrays[k].get()),
                          "equal extents on every axis but " + std::to_string(axis)));
    shape[axis] += arrays[k]->shape[axis];
  }
  NodeRef node(new_node(Op::concatenate, t, first->ndim, n));
  set_shape(node.get(), shape);
  node->attributes = new Attributes;
  node->attributes->axes = static_cast<uint32_t>(axis);
  for (int k = 0; k < n; ++k) set_edge(node.get(), k, make_cast(arrays[k].get(), t).get());
  return finish(std::move(node));
}

NodeRef make_arange(DType t, int64_t n, double start, double step, int64_t start_int, int64_t step_int) {
  NodeRef node(new_node(Op::arange, t, 1, 0));
  set_shape(node.get(), &n);
  node->attributes = new Attributes;
  node->attributes->range_start = start;
  node->attributes->range_step = step;
  node->attributes->range_start_int = start_int;
  node->attributes->range_step_int = step_int;
  return node;
}

NodeRef finish(NodeRef n) {
  for (uint32_t k = 0; k < n->n_edges; ++k) {
    const Storage* s = n->edges[k].node->storage;
    if (s && s->open()) {
      if (n->is(kSymbolic))
        separate(n.get());
      else
        evaluate(n.get());
      break;
    }
  }
  return n;
}

std::string shape_text(int ndim, const int64_t* shape) {
  std::string text = "(";
  for (int i = 0; i < ndim; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (ndim == 1 ? ",)" : ")");
}

std::string describe(const Node* n) {
  std::string text = std::string(info(n->dtype).name) + "[";
  for (int i = 0; i < n->ndim; ++i) text += (i ? ", " : "") + std::to_string(n->shape[i]);
  return text + "]";
}

int normalize_axis(int64_t axis, int ndim, const char* op) {
  int64_t wrapped = axis < 0 ? axis + ndim : axis;
  if (wrapped < 0 || wrapped >= ndim)
    raise_axis(message(
        std::string("bridge.") + op,
        "axis " + std::to_string(axis) + " is out of bounds for an array of " + std::to_string(ndim) + " dimensions."));
  return static_cast<int>(wrapped);
}

}  // namespace bridge
