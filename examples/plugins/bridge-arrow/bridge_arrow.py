"""Apache Arrow for bridge: tensors both ways; primitive and fixed-shape tensor arrays, chunked or not, as sources.

The facts, as tried on pyarrow 26:

- *The target is `pyarrow.Tensor`*: strides, any number of axes, and no copy over anybody's memory. From there
  `pyarrow.array(tensor.to_numpy())` is a `pyarrow.Array`, and `pyarrow.FixedShapeTensorArray.from_numpy_ndarray` a
  column of tensors; neither copies.
- *Who may write.* A Tensor says of itself whether it is mutable: over memory that can be written it is, and what was
  written there shows in it. The memory of arrays never changes. `readonly=True` gives a Tensor that is not mutable.
- *Layouts.* `Tensor.from_numpy` refuses negative strides; it takes numbers in the other byte order for native ones
  (bridge never hands it any), and bool for uint8, so a Tensor cannot be bool.
- *Bits.* A BooleanArray keeps eight values in a byte: it is read, never shared.
- *Nulls.* Below a null lies any value. An array that has one is refused: `filled` says what it should be.
"""

from __future__ import annotations

from typing import Any

import numpy

from bridge.hookspecs import Door, DTypeError, Facts, Framework, Offer, Refusal, Route, Source, hookimpl, over

INTEGERS = {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
NUMBERS = frozenset(INTEGERS | {"float16", "float32", "float64"})

ARROW = Framework(
    name="arrow",
    module="pyarrow",
    install="pip install bridge-arrow",
    types=(
        "pyarrow.lib.Tensor",
        "pyarrow.lib.Array",
        "pyarrow.lib.ChunkedArray",
        "pyarrow.lib.Scalar",
        "pyarrow.lib.Table",
        "pyarrow.lib.RecordBatch",
    ),
    dtypes=NUMBERS,  # of a Tensor
    dtype_fix={
        "bool": 'dtype="uint8"',
        "bfloat16": 'dtype="float32", which is exact',
        "complex64": "its real and imaginary part, one after the other",
        "complex128": "its real and imaginary part, one after the other",
    },
    mutable=True,
    readonly=True,
    strides="non-negative",
    takes=(Door(name="address", protocol="address"),),
    gives=(Offer(protocol="address"), Offer(protocol="dlpack")),
)


@hookimpl
def bridge_frameworks() -> list[Framework]:
    return [ARROW]


# ---------------------------------------------------------------------------------------------------------- describing


class ArrowSource(Source):
    """Something of Arrow's. `memory` is NumPy's view of it, which keeps the buffers alive; None where there is none."""

    __slots__ = ("memory",)

    def __init__(self, value: Any, facts: Facts, memory: Any = None) -> None:
        super().__init__(value, facts)
        self.memory = memory

    def owner(self, *, access: str) -> Any:
        return self.memory

    def ndarray(self) -> numpy.ndarray[Any, Any]:
        if self.memory is not None:
            return self.memory  # type: ignore[no-any-return]
        return numpy.asarray(_whole(self.value).to_numpy(zero_copy_only=False))  # bits become bytes


@hookimpl
def bridge_import(framework: Framework, value: Any) -> ArrowSource | None:
    if framework is not ARROW:
        return None
    import pyarrow

    array = _whole(value)
    refusal = _refusal(array)
    if refusal is not None:
        kind = str(getattr(value, "type", type(value).__name__))
        shape = (len(value),) if hasattr(value, "__len__") else ()
        return ArrowSource(value, Facts(framework="arrow", dtype=kind, shape=shape, refusal=refusal))
    if isinstance(array, pyarrow.BooleanArray):
        unlike = "arrow keeps eight booleans in a byte"
        facts = Facts(framework="arrow", dtype="bool", shape=(len(array),), strides=None, access="read", unlike=unlike)
        return ArrowSource(value, facts)
    memory = _view(array)
    facts = Facts(
        framework="arrow",
        dtype=memory.dtype.name,
        shape=memory.shape,
        strides=tuple(stride // memory.itemsize for stride in memory.strides),
        address=memory.ctypes.data,
        access="write" if memory.flags.writeable else "read",
        why_read="" if memory.flags.writeable else "arrow memory does not change",
    )
    return ArrowSource(value, facts, memory)


def _view(array: Any) -> numpy.ndarray[Any, Any]:
    """NumPy's view: of a Tensor writeable if the Tensor is mutable, of an array read-only. Copies nothing."""
    import pyarrow

    if isinstance(array, pyarrow.FixedShapeTensorArray):
        view = array.to_tensor().to_numpy()  # knows the permutation and the offset of a slice
        view.flags.writeable = False
        return view  # type: ignore[no-any-return]
    return array.to_numpy()  # type: ignore[no-any-return]


def _whole(value: Any) -> Any:
    """The one chunk of a ChunkedArray that has values in one chunk only; everything else as it is."""
    import pyarrow

    if not isinstance(value, pyarrow.ChunkedArray):
        return value
    chunks = [chunk for chunk in value.chunks if len(chunk)]
    if not chunks:
        return pyarrow.array([], value.type) if value.num_chunks == 0 else value.chunk(0)
    return chunks[0] if len(chunks) == 1 else value


def _refusal(array: Any) -> Refusal | None:
    """Why there is no memory of the values to hand over; None: there is."""
    import pyarrow

    if isinstance(array, pyarrow.Tensor):
        return None
    if isinstance(array, pyarrow.ChunkedArray):
        problem = f"its values lie in {array.num_chunks} chunks"
        return Refusal(problem=problem, fix="x.combine_chunks(), which copies; or one by one: x.chunks")
    if isinstance(array, pyarrow.Scalar):
        return Refusal(problem="an arrow scalar has no memory to share", fix="x.as_py()")
    if not isinstance(array, pyarrow.Array):
        return Refusal(problem=f"a {type(array).__name__} has many columns", fix='one at a time: x["name"]')
    if not array.is_cpu:
        return Refusal(problem="its memory is not the host's", fix="x.copy_to(pyarrow.default_cpu_memory_manager())")
    return _refusal_of_type(array.type) or _refusal_of_nulls(array)


def _refusal_of_type(kind: Any) -> Refusal | None:
    from pyarrow import BaseExtensionType, FixedShapeTensorType, types

    tensors = isinstance(kind, FixedShapeTensorType)
    numbers = kind.value_type if tensors else kind
    if types.is_integer(numbers) or types.is_floating(numbers) or (types.is_boolean(numbers) and not tensors):
        return None
    if tensors or isinstance(kind, BaseExtensionType):
        return Refusal(problem=f"{kind} is no tensor of numbers", fix="x.storage for what it holds", error=DTypeError)
    for predicate, problem, fix in _TYPES:
        if getattr(types, predicate)(kind):
            return Refusal(problem=problem, fix=fix, error=DTypeError)
    return Refusal(problem=f"an array of {kind} holds no numbers", error=DTypeError)


_TYPES = (
    # predicate in pyarrow.types, what is the matter, how to go on
    ("is_date32", "dates have no counterpart elsewhere", 'x.view("int32") for the days'),
    ("is_time32", "times have no counterpart elsewhere", 'x.view("int32") for the counts'),
    ("is_temporal", "dates and times have no counterpart elsewhere", 'x.view("int64") for the counts'),
    ("is_decimal", "decimals have no counterpart elsewhere", 'x.cast("float64"), which may round'),
    ("is_dictionary", "a dictionary array holds codes, not values", "x.dictionary_decode(); x.indices for the codes"),
    ("is_run_end_encoded", "its values are run-end encoded", "pyarrow.compute.run_end_decode(x)"),
    ("is_struct", "a struct array mixes types", 'one field at a time: x.field("name")'),
    (
        "is_fixed_size_list",
        "a list array does not say that it holds tensors",
        "pyarrow.ExtensionArray.from_storage(pyarrow.fixed_shape_tensor(x.type.value_type, [x.type.list_size]), x)",
    ),
    ("is_nested", "its rows may have different lengths", "x.flatten() for the values alone"),
)


def _refusal_of_nulls(array: Any) -> Refusal | None:
    count = _nulls(array)
    if not count:
        return None
    problem = f"{count} of its values are null, and nobody else has nulls"
    return Refusal(problem=problem, fix="bridge_arrow.filled(x, 0), or any other value; or x.drop_null()")


def _nulls(array: Any) -> int:
    """How many rows are null; if none is, how many numbers in the rows."""
    import pyarrow

    inside = array.storage.flatten() if isinstance(array, pyarrow.FixedShapeTensorArray) else array
    return array.null_count or inside.null_count  # type: ignore[no-any-return]


def filled(x: Any, value: Any) -> Any:
    """`x` with `value` in place of its nulls: a copy, unless it has none.

    Args:
        x: pyarrow.Array or pyarrow.ChunkedArray of numbers, booleans or fixed-shape tensors.
        value: a number, for tensors too: it stands for every element of a row that is null.
    """
    import pyarrow

    if isinstance(x, pyarrow.ChunkedArray):
        return pyarrow.chunked_array([filled(chunk, value) for chunk in x.chunks], x.type)
    if not _nulls(x):
        return x
    if not isinstance(x, pyarrow.FixedShapeTensorArray):
        return x.fill_null(value)
    size = x.storage.type.list_size
    row = pyarrow.scalar([value] * size, x.storage.type)
    values = x.storage.fill_null(row).flatten().fill_null(value)
    return pyarrow.ExtensionArray.from_storage(x.type, pyarrow.FixedSizeListArray.from_arrays(values, size))


# ---------------------------------------------------------------------------------------------------------- converting


@hookimpl
def bridge_export(framework: Framework, source: Source, route: Route) -> Any:
    if framework is not ARROW:
        return None
    import pyarrow

    if route.door == "same" and route.outcome == "share":
        return source.value
    if route.door == "same":
        array = numpy.array(source.ndarray(), route.dtype, order="C")
    else:
        facts, owner = source.facts, source.owner(access=route.access)
        assert facts.strides is not None  # else bridge had made a copy
        array = over(owner, facts.address, facts.dtype, facts.shape, facts.strides, writable=route.access == "write")
    return pyarrow.Tensor.from_numpy(array)  # mutable if the ndarray is writeable; holds it, as it holds the owner
