// The held dtypes (float8 and the types of four bits): what is done with them beyond moving bytes. Rare, so it goes
// through NumPy and ml_dtypes (bridge/core/held.py), whose rounding is the one that everybody knows. Under the GIL.
#pragma once
#include <Python.h>

#include "infer.h"

namespace bridge {

[[noreturn]] void refuse_held(DType t, const char* op);  // DTypeError: not computed with; names the exact dtype
inline void check_computed(DType t, const char* op) {
  if (is_held(t)) refuse_held(t, op);
}
[[noreturn]] DType refuse_promotion(DType a, DType b);

NodeRef decode_held(Node* a);  // evaluated: the same values in the exact dtype
NodeRef convert_to_held(Node* a, DType t);  // evaluated: rounded as ml_dtypes rounds; a is real
ScalarValue encode_held(const Weak& w, DType t);
PyObject* held_value(DType t, unsigned char byte);  // new reference: a Python float or int

}  // namespace bridge
