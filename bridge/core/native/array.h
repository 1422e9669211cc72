// The Python face of nodes: bridge.array and bridge.Dtype as raw heap types (an operator costs one slot call).
#pragma once
#include <Python.h>

#include "errors.h"
#include "infer.h"

namespace bridge {

struct ArrayObject {
  PyObject_HEAD Node* node;  // counted in Node::handles as well
  PyObject* weakrefs;
};

extern PyTypeObject* array_type;
extern PyTypeObject* dtype_type;
extern PyTypeObject* lease_type;

PyObject* wrap(NodeRef);                     // a new array
inline bool is_array(PyObject* o) { return Py_TYPE(o) == array_type || PyType_IsSubtype(Py_TYPE(o), array_type); }
inline Node* node_of(PyObject* o) { return reinterpret_cast<ArrayObject*>(o)->node; }
void rebind(PyObject* array, NodeRef);       // in-place update: the handle gets another node
// The node, with bytes. Held: wherever the GIL may go away, another thread may rebind the array.
NodeRef evaluated_node(PyObject* array);

PyObject* dtype_object(DType);               // borrowed, interned
DType to_dtype(PyObject* o);                 // a Dtype, or something bridge.core.dtypes.as_dtype understands; throws
PyObject* shape_tuple(int ndim, const int64_t* values);
int to_shape(PyObject* o, int64_t* shape, const char* op);  // int or sequence of ints; -1 entries are left as they are

// convert.cpp
bool to_operand(PyObject* o, Operand* out);  // false: not an array and not a scalar
Operand need_operand(PyObject* o, const char* op);
bool to_weak(PyObject* o, Weak* out);  // exact and derived bool, int, float, complex
NodeRef from_python(PyObject* value, PyObject* dtype);  // bridge.array(value, dtype)
NodeRef import_lossless(PyObject* value);  // interop.from_: shares where it can, keeps the dtype
PyObject* to_python(DType, const unsigned char* element);
PyObject* to_list(const Node*);

// index.cpp
PyObject* array_subscript(PyObject* self, PyObject* key);
int array_assign(PyObject* self, PyObject* key, PyObject* value);

// update.cpp: gives the array the value of `result`; an open array is written where it stands.
void update_in_place(PyObject* array, NodeRef result);

// buffer.cpp
int array_getbuffer(PyObject* self, Py_buffer* view, int flags);
void make_lease_type();
PyObject* array_dunder_array(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names);
struct LeaseObject;
bool is_open(LeaseObject*);  // somebody can write the bytes that it holds
// A lease on the bytes of an evaluated node that Python code can hold. It exports them as flat bytes.
PyObject* new_lease(Node*, Access, const char* holder, const char* protocol);
// A read-only ndarray over the bytes of an evaluated node, for code of the engine's own. It keeps the bytes alive; it is
// no lease, so nothing else holds them still.
PyObject* readonly_ndarray(const Node*);

// array_methods.cpp
extern PyMethodDef array_methods[];
extern PyGetSetDef array_getset[];

// Keyword parsing for vectorcall functions: values[i] is the argument called names[i], or nullptr.
// Names before `positional_only` cannot be given by keyword. Raises TypeError like a Python function.
struct Signature {
  const char* function;
  const char* const* names;
  int count;
  int required;
  int max_positional;
};
void parse_arguments(const Signature&, PyObject* const* args, Py_ssize_t n, PyObject* keyword_names, PyObject** values);
void check_device(PyObject* device);  // None, or where arrays can be made
bool truth(PyObject* o);  // PyObject_IsTrue that throws

}  // namespace bridge
