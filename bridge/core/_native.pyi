"""Types of the extension module. Written by tools/make_stubs.py; do not edit."""

from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, Literal, SupportsIndex, TypeAlias

from bridge.core.ops.take import ArrayAt

Scalar: TypeAlias = bool | int | float | complex
Operand: TypeAlias = array | Scalar
Axis: TypeAlias = int | Sequence[int] | None
Shape: TypeAlias = int | Sequence[int]
Stream: TypeAlias = Any
# int, slice, None, Ellipsis, array or list of integers or bools, or a tuple of them.
Key: TypeAlias = Any
Access: TypeAlias = Literal["write", "read", "frozen"]
Capsule: TypeAlias = Any
Strides: TypeAlias = tuple[int, ...]

DTYPES: dict[str, Dtype]

def async_eval(*args: Any) -> None:
    """Start to compute the arrays in the arguments (arrays, and dicts, lists and tuples of them), and return at
    once. What needs them waits for them; an error is raised there.
    """

def clear_cache() -> None:
    """Give the kept bytes back to the system."""

def copy(a: array, /) -> array:
    """An evaluated array with the same values in dense memory of its own."""

def declare(
    name: str,
    kind: str,
    *,
    arity: int | None = None,
    accepts: int = 0,
    result: str = "same",
    plan: Callable[..., Any] = ...,
) -> Primitive:
    """Register a primitive declared in Python and return its native callable. A host primitive calls `plan`."""

def describe_capsule(
    capsule: Capsule, /
) -> tuple[tuple[int, int, int], tuple[int, ...], Strides, int, tuple[int, int], int, bool]:
    """((code, bits, lanes), shape, strides in elements, address of the first element, (device type, device id),
    flags,
    versioned) of an unused DLPack capsule, which stays unused. Raises ExchangeError if it is used or damaged.
    """

def eval(*args: Any) -> None:
    """Compute the arrays in the arguments (arrays, and dicts, lists and tuples of them). What is computed stays
    computed.
    """

def export_address(a: array, *, access: Access, holder: str) -> tuple[Lease, int]:
    """(Lease, address): the bytes stay valid while the lease lives. Raises CopyRequired."""

def export_dlpack(a: array, *, versioned: bool, access: Access, holder: str) -> Capsule:
    """A DLPack capsule under a lease. access: 'write', 'read' (READ_ONLY flag) or 'frozen' (for a consumer that
    never writes). Raises CopyRequired when the state of the storage does not allow it.
    """

def facts(a: array, /) -> tuple[Dtype, tuple[int, ...], Strides, int, int, Literal["write", "read"], str | None]:
    """(dtype, shape, strides in elements, address, nbytes, 'write' | 'read', reason): what can be granted on a's
    bytes now. Evaluates.
    """

def file_address(file: Capsule, /) -> int:
    """Where in memory its first byte is."""

def file_size(file: Capsule, /) -> int:
    """Bytes when it was mapped."""

def foreign_capsule(
    owner: object,
    address: int,
    dtype: Dtype | str,
    shape: Sequence[int],
    strides: Sequence[int],
    *,
    versioned: bool = False,
    readonly: bool = False,
) -> Capsule:
    """A DLPack capsule over raw memory that owner keeps alive; strides in elements."""

def from_dlpack(x: Any, *, device: Any = None, copy: bool | None = None) -> array:
    """An array over the memory of any DLPack exporter (or a capsule); no byte is copied unless copy=True.

    Raises BufferError if the memory is not on the CPU (device="cpu" asks the producer for a copy), DTypeError
    if the
    element type has no counterpart, BridgeError if the capsule is damaged. Source: array API standard, DLPack
    1.3.
    """

def front(
    slow: Callable[..., Any], table: dict[Any, Any], keyed: bool, name: str, doc: str, module: str, /
) -> Callable[..., Any]:
    """`slow` behind a look-up. Called plainly, (target, x) looks for table[target][type(x)] if keyed, (x) for
    table[type(x)]
    if not, and returns what the function found there returns, unless that is None or an Exception. All other
    calls, and
    those that fell through, go to `slow`. At most one of each kind exists.
    """

def frozen_reason(a: array, /) -> str | None:
    """None if a view that relies on nobody writing can be granted, else why not. Evaluates."""

def get_active_memory() -> int:
    """Bytes of arrays that are alive."""

def get_cache_memory() -> int:
    """Bytes of freed arrays that are kept for reuse."""

def get_memory_limit() -> int:
    """Bytes that arrays may take before MemoryError is raised."""

def get_peak_memory() -> int:
    """Largest number of bytes alive at one time since the start or reset_peak_memory()."""

def import_address(
    owner: object,
    address: int,
    dtype: Dtype | str,
    shape: Sequence[int],
    strides: Sequence[int],
    *,
    writable: bool,
    written: bool = False,
) -> array:
    """An array over raw memory that owner keeps alive; strides in elements. The caller vouches for the range."""

def import_buffer(obj: Any, *, readonly: bool = False, written: bool = False) -> array:
    """An array over a buffer's memory (PEP 3118). Raises DTypeError, CopyRequired (strides between elements)."""

def import_dlpack(capsule: Capsule, *, readonly: bool = False, written: bool = False) -> array:
    """An array over a capsule's memory; the capsule is consumed. readonly=True: nobody writes while the array
    lives; written=True: read-only here, others write.
    """

def is_evaluated(a: array, /) -> bool:
    """Whether the array's values have been computed."""

def _buffer(a: array, /) -> tuple[int, int] | None:
    """Address and size in bytes of the buffer that holds a's elements; None if it is not computed."""

def next_key(state: list[array], /) -> array:
    """A fresh key from the one in the list `state`, which another takes the place of."""

def host(function: Callable[..., Any], operands: tuple[array, ...], results: Any, stream: Stream, /) -> Any:
    """The lazy result of a Python function over NumPy arrays. `results` is (dtype, shape) for one array, or a list
    of them for a tuple of arrays.
    """

def isa_name() -> str:
    """SIMD level in use: v2, v3, v4 (x86-64), neon or generic."""

def leases(a: array, /) -> list[dict[str, str]]:
    """The foreign views that are alive on a's bytes: a list of dicts with holder, access ('write', 'read',
    'legacy') and protocol.
    """

def map_array(file: Capsule, offset: int, dtype: Dtype | str, shape: Sequence[int], columns: bool = False, /) -> array:
    """A read-only array over the bytes from `offset`, row-major or column-major. It holds the mapping."""

def map_file(fd: int, name: str, /) -> Capsule:
    """The whole file mapped read-only, for map_array(); `name` is for errors. The descriptor stays the caller's."""

def map_memory(buffer: Any, name: str, /) -> Capsule:
    """A buffer that nobody writes any more in the place of a file."""

def map_safetensors(
    file: Capsule, start: int, /
) -> tuple[dict[str, array], dict[str, str] | None, list[tuple[str, Dtype, tuple[int, ...]]]]:
    """(arrays by name, metadata or None, [(name, dtype, shape), ...]) of a safetensors file that begins at
    `start`. The arrays named
    in the list are flat bytes: packed or misaligned elements. FormatError if anything is wrong with the header.
    """

def offer(
    a: array, dtypes: int, alignment: int, layout: int, access: Access, versioned: bool, holder: str, /
) -> Capsule | None:
    """A capsule if a's dtype is in the mask, its address is aligned, its strides fit the layout (0 any, 1 none
    negative, 2 compact permutation, 3 row-major) and the access can be granted; else None.
    """

def place(function: Callable[..., Any], at: int, /) -> Callable[..., Any]:
    """The function, run on the stream that it is given: by keyword, or as positional argument number `at` (-1: by
    keyword only).
    """

def promote(a: Dtype, b: Dtype, /) -> Dtype:
    """Dtype of an operation on these two dtypes."""

def read_file(file: Capsule, offset: int, size: int, /) -> bytes:
    """A copy of some bytes, read without the map. FormatError if it ends before."""

def release(a: array, /) -> None:
    """Move a to memory of its own if foreign views are alive on its bytes (or the bytes are foreign); the views
    keep the old bytes.
    """

def reset_peak_memory() -> None:
    """Start measuring the peak anew."""

def result_type(*arrays_dtypes_scalars: Operand | Dtype) -> Dtype:
    """Dtype of an operation on these; Python scalars are weak."""

def safetensors_types() -> dict[str, Dtype]:
    """The dtypes that the format and bridge have, by the format's names."""

def set_cache_limit(limit: int) -> int:
    """Keep at most this many bytes of freed arrays. Returns the old limit."""

def set_kernel_log(callback: Callable[[str], object] | None) -> None:
    """Call callback(text) for every kernel that runs; None stops it."""

def set_memory_limit(limit: int) -> int:
    """Raise MemoryError when arrays would take more bytes than this. Returns the old limit."""

def set_thread_count(n: int) -> None:
    """Use n threads from the next kernel on."""

def storage_address(a: array, /) -> int:
    """Address of a's first element. Evaluates."""

def take_capsule(capsule: Capsule, /) -> Capsule:
    """A capsule that owns what the given one owned; that one is used afterwards."""

def thread_count() -> int:
    """Threads that kernels use, including the caller."""

def true_places(mask: array, /) -> array:
    """Positions of the true elements in row-major order, int32 or int64. Evaluates."""

def updated_at(a: array, key: Key, value: Any, name: str, /) -> array:
    """a.at[key].name(value): add, subtract, multiply, divide, maximum or minimum."""

def torch_export(api: Capsule, a: array, /) -> Any:
    """A tensor over a's bytes through torch's C exchange table, or None when the plain case does not hold."""

def torch_importer(api: Capsule, /) -> Callable[[Any], array | None]:
    """A function of a tensor: torch_import with this api."""

def torch_import(api: Capsule, tensor: Any, readonly: bool = False) -> array | None:
    """An array over a plain CPU tensor's bytes through torch's C exchange table, or None (requires_grad, conj and
    neg
    views, other devices and layouts).
    """

def write_out(fd: int, offset: int, size: int, drop: bool, /) -> None:
    """A hint that these bytes of a file can go to the disk now. drop: wait for that, and keep none of them in
    memory.
    """

def written_elsewhere(view: Any, /) -> bool:
    """Whether a read-only ndarray or memoryview looks at memory that another view of it can write."""

def _after_fork_in_child() -> None:
    """Forgets the threads and the evaluations of the parent process."""

def _bytes_lease(a: array, /) -> Any:
    """A lease that exports a's elements as flat row-major bytes, read-only."""

def _close_stream(number: int, /) -> None:
    """Ends the stream's thread once its work is done, and frees the number."""

def _dtype(name: str, /) -> Dtype: ...
def _end_streams() -> None:
    """Ends the threads of all streams: at exit."""

def _new_stream() -> int:
    """The number of a new stream of the CPU."""

def _serve_stream(number: int, thread: int, /) -> None:
    """Runs the tasks of a stream until it is closed."""

def _set_current_stream(number: int, /) -> int:
    """Puts what this thread makes on a stream. Returns the one before."""

def _set_number_of(function: Callable[[Any], int], /) -> None:
    """The function that gives the number of what `stream=` is."""

def _stream_number(a: array, /) -> int:
    """The number of the stream that the array's last op is put on."""

def _synchronize(number: int, /) -> None:
    """Waits for the work of a stream."""

def _call(rules: Any, arguments: Sequence[array], results: Sequence[array], /) -> list[array]:
    """The results as nodes to which transforms apply `rules`."""

def _extent_reads() -> int:
    """How often code has asked for the extents of arrays without values."""

def _graph_make(trace: int, results: Sequence[array], close: bool, /) -> tuple[Capsule, list[array]]:
    """The ops between a trace's inputs and results, to be made again; and the arrays from outside
    that other transforms trace, which are further inputs if `close`.
    """

def _graph_run(graph: Capsule, inputs: Sequence[array], /) -> list[array]:
    """The results of such a graph for other inputs."""

def _graph_size(graph: Capsule, /) -> int:
    """The number of its ops."""

def _host_parts(node: array, /) -> tuple[array, ...] | None:
    """All results of a host op that has several; None of any other."""

def _identity(a: array, *others: array) -> array:
    """The same values as another node, computed when the others are."""

def _is_traced(a: array, /) -> bool:
    """Whether a transform that is running depends on the array."""

def _is_tracing() -> bool:
    """Whether any transform is running."""

def _loose_signature(*nests: Any) -> tuple[tuple[bytes, tuple[Any, ...]], list[array]]:
    """The same, whatever the extents of the arrays."""

def _set_export_hook(hook: Callable[[str, str], None] | None, /) -> None:
    """Call hook(name of the transform, description) when a traced array goes outside."""

def _siblings(result: array, /) -> list[array]:
    """All results of the call that made one of them."""

def _signature(*nests: Any) -> tuple[tuple[bytes, tuple[Any, ...]], list[array]]:
    """What decides about the graph that arguments lead to, as a key; and the arrays in them."""

def _tape(trace: int, results: Sequence[array], /) -> tuple[list[Any], list[int]]:
    """The ops between the trace's inputs and results, in topological order, as (name, result, operands, slots,
    parameters), and the slots of the
    results. Slots count the inputs first, then the ops; -1 depends on no input.
    """

def _trace_begin(name: str, symbolic: bool, /) -> int:
    """Begin a trace for the transform of that name."""

def _trace_end(trace: int, /) -> None:
    """End it: what it kept is let go."""

def _trace_inputs(trace: int, arrays: Sequence[array], /) -> list[array]:
    """New arrays of the same values: the inputs of a trace."""

def _trace_symbols(trace: int, specs: Sequence[tuple[Dtype, Sequence[int]]], /) -> list[array]:
    """Inputs without values, from (dtype, shape)."""

class Dtype:
    """Type of the elements of an array: one of twenty-four interned objects."""

    @property
    def name(self) -> str:
        """Name of the element type, for example 'float32'."""
    @property
    def size(self) -> int:
        """Bytes of one element."""
    @property
    def code(self) -> int:
        """Row of this dtype in the dtype table."""

class Lease:
    """Keeps the bytes of an array alive and its storage leased, until it is dropped."""

class ArrayIterator:
    """The rows of an array, one after the other: what iter(a) gives."""

    def __iter__(self) -> ArrayIterator: ...
    def __next__(self) -> array: ...

class Primitive:
    """Native callable of a declared op."""

    __name__: str
    __doc__: str | None
    @property
    def kind(self) -> str: ...
    def __call__(self, *operands: Any, **parameters: Any) -> array: ...

class array:
    """A lazy n-dimensional array: a copy of val.

    Args:
        val:   scalar, nested sequence, or an array of any framework.
        dtype: element type; by default float32 for floats (also for float64 input),
               int32 for Python integers, otherwise the dtype of val.

    asarray() is the constructor that shares memory and keeps float64.
    """

    __array_priority__: float
    __dlpack_c_exchange_api__: Capsule
    @property
    def shape(self) -> tuple[int, ...]:
        """Extents, one an axis (tuple of int)."""
    @property
    def ndim(self) -> int:
        """Number of axes."""
    @property
    def size(self) -> int:
        """Number of elements."""
    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
    @property
    def dtype(self) -> Dtype:
        """Type of the elements (Dtype)."""
    @property
    def T(self) -> array:
        """The array with its axes reversed; shares the bytes."""
    @property
    def at(self) -> ArrayAt:
        """Updates of some of the elements that count every index: `a.at[[0, 0]].add(1)` adds 2 to the first
        element.
        """
    @property
    def device(self) -> Any:
        """The CPU: memory is unified, and every array can be read there."""
    @property
    def imag(self) -> array:
        """Imaginary part; of a real array zeros."""
    @property
    def mT(self) -> array:
        """The last two axes exchanged."""
    @property
    def real(self) -> array:
        """Real part; of a real array its values."""
    def __init__(self, val: Any, dtype: Dtype | None = None) -> None: ...
    def item(self) -> Any:
        """The only element as a Python scalar. Evaluates. ValueError if there is not exactly one."""
    def tolist(self) -> Any:
        """The elements as nested lists of Python scalars (a scalar for 0-d). Evaluates."""
    def astype(self, dtype: Dtype, stream: Stream = None) -> array:
        """The array converted to another dtype; itself when it has it already."""
    def reshape(self, *shape: Any, stream: Stream = None) -> array:
        """Same elements, another shape; one extent may be -1. Shares the bytes where strides allow it."""
    def transpose(self, *axes: Any, stream: Stream = None) -> array:
        """Axes in another order, reversed by default; shares the bytes."""
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...
    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Capsule: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __copy__(self) -> array: ...
    def __deepcopy__(self, memo: Any, /) -> array: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> tuple[Any, ...]: ...
    def __format__(self, specification: str, /) -> str: ...
    def __array_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...], keywords: dict[str, Any], /
    ) -> Any: ...
    def __array_ufunc__(self, ufunc: Any, method: str, /, *inputs: Any, **keywords: Any) -> Any: ...
    def __array_namespace__(self, api_version: str | None = None) -> ModuleType: ...
    def __bytes__(self) -> bytes: ...
    def __div__(self, other: Operand) -> array: ...
    def __rdiv__(self, other: Operand) -> array: ...
    def to_device(self, device: Any, /, *, stream: Stream = None) -> array:
        """The array itself: memory is unified, so that nothing has to move.

        Raises:
            ValueError: this machine does not have the device, or it is none.
        """
    def __getitem__(self, key: Key, /) -> array: ...
    def __setitem__(self, key: Key, value: Any, /) -> None: ...
    def __iter__(self) -> ArrayIterator: ...
    def __len__(self) -> int: ...
    def __contains__(self, value: Operand, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __int__(self) -> int: ...
    def __float__(self) -> float: ...
    def __complex__(self) -> complex: ...
    def __index__(self) -> int: ...
    def abs(self, *, stream: Stream = None) -> array:
        """Absolute value; of a complex array a real one."""
    def all(self, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
        """True if every element is nonzero; True over no elements."""
    def any(self, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
        """True if an element is nonzero; False over no elements."""
    def argmax(self, axis: int | None = None, keepdims: bool = False, *, stream: Stream = None) -> array:
        """Position of the first largest element along one axis, or in the flattened array. NaN counts as largest."""
    def argmin(self, axis: int | None = None, keepdims: bool = False, *, stream: Stream = None) -> array:
        """Position of the first smallest element along one axis, or in the flattened array. NaN counts as
        smallest.
        """
    def conj(self, *, stream: Stream = None) -> array:
        """Complex conjugate; of a real array its values."""
    def cos(self, *, stream: Stream = None) -> array:
        """Cosine."""
    def cummax(
        self, axis: int | None = None, *, reverse: bool = False, inclusive: bool = True, stream: Stream = None
    ) -> array:
        """Largest element so far; NaN from the first one on. Of no elements: -inf, or the smallest number of the
        dtype.
        """
    def cummin(
        self, axis: int | None = None, *, reverse: bool = False, inclusive: bool = True, stream: Stream = None
    ) -> array:
        """Smallest element so far; NaN from the first one on. Of no elements: inf, or the largest number of the
        dtype.
        """
    def cumprod(
        self,
        axis: int | None = None,
        *,
        reverse: bool = False,
        inclusive: bool = True,
        dtype: Dtype | None = None,
        stream: Stream = None,
    ) -> array:
        """Products of the elements so far. Integers wrap around.

        Args:
            dtype: what the elements are converted to first.
        """
    def cumsum(
        self,
        axis: int | None = None,
        *,
        reverse: bool = False,
        inclusive: bool = True,
        dtype: Dtype | None = None,
        stream: Stream = None,
    ) -> array:
        """Sums of the elements so far. Integers wrap around; bool is counted in int32.

        Args:
            dtype: what the elements are converted to first.
        """
    def diag(self, k: int = 0, *, stream: Stream = None) -> array:
        """The k-th diagonal of a matrix; or, from a 1-d array, the matrix with these on its k-th diagonal.

        Raises:
            ValueError: the array has neither one axis nor two.
        """
    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1, stream: Stream = None) -> array:
        """Diagonals of the planes of two axes, as the last axis; `offset` counts to the right.

        Raises:
            ValueError: both axes are the same.
        """
    def exp(self, *, stream: Stream = None) -> array:
        """e to the power of the operand."""
    def flatten(self, start_axis: int = 0, end_axis: int = -1, *, stream: Stream = None) -> array:
        """Axes from `start_axis` to `end_axis`, both included, joined into one. A 0-d array gets one axis."""
    def log(self, *, stream: Stream = None) -> array:
        """Natural logarithm; -inf at 0, NaN below."""
    def log10(self, *, stream: Stream = None) -> array:
        """Logarithm to base 10."""
    def log1p(self, *, stream: Stream = None) -> array:
        """log(1 + x), exact for small x too."""
    def log2(self, *, stream: Stream = None) -> array:
        """Logarithm to base 2."""
    def logcumsumexp(
        self, axis: int | None = None, *, reverse: bool = False, inclusive: bool = True, stream: Stream = None
    ) -> array:
        """``log(cumsum(exp(a)))`` without overflow; -inf of no elements. Integers and bool give float32."""
    def logsumexp(self, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
        """``log(sum(exp(a), axis))``, without overflow; -inf over no elements. Integers give float32."""
    def max(self, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
        """Largest element; NaN if there is one. Complex numbers compare by real part, then by imaginary part."""
    def mean(self, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
        """Arithmetic mean; NaN over no elements. Integers and bool give float32; halves are summed in float32."""
    def min(self, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
        """Smallest element; NaN if there is one. Complex numbers compare by real part, then by imaginary part."""
    def moveaxis(
        self, source: int | Sequence[int], destination: int | Sequence[int], *, stream: Stream = None
    ) -> array:
        """One axis, or several, at other places, the rest in order."""
    def prod(
        self, axis: Axis = None, keepdims: bool = False, *, dtype: Dtype | None = None, stream: Stream = None
    ) -> array:
        """Product; 1 over no elements. bool and small integers are multiplied in 32 bits, as in `sum`. Every
        factor may add an error of 2 units in the last place.
        """
    def reciprocal(self, *, stream: Stream = None) -> array:
        """One over the operand; integers become float32."""
    def round(self, decimals: int = 0, stream: Stream = None) -> array:
        """Round to `decimals` decimal places, halves to even; negative `decimals` round to tens, hundreds and so
        on.

        Returns:
            Array of the same shape and dtype. Only negative `decimals` change integers.
        """
    def rsqrt(self, *, stream: Stream = None) -> array:
        """One over the square root; inf at 0."""
    def sin(self, *, stream: Stream = None) -> array:
        """Sine."""
    def split(self, indices_or_sections: int | Sequence[int], axis: int = 0, *, stream: Stream = None) -> list[array]:
        """Consecutive parts along an axis, all of them views.

        Args:
            indices_or_sections: a number of equal parts, or the places where a part ends and the next begins.
            Places count
                from the end if negative, and end with the array, as in a slice.

        Raises:
            ValueError: the axis does not divide into so many equal parts.
        """
    def sqrt(self, *, stream: Stream = None) -> array:
        """Square root; NaN below 0."""
    def square(self, *, stream: Stream = None) -> array:
        """The operand times itself."""
    def squeeze(self, axis: Axis = None, *, stream: Stream = None) -> array:
        """Without the given axes, which have size 1; None: without all such axes."""
    def std(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        ddof: int = 0,
        *,
        correction: int | None = None,
        stream: Stream = None,
    ) -> array:
        """Standard deviation: the square root of `var`."""
    def sum(
        self, axis: Axis = None, keepdims: bool = False, *, dtype: Dtype | None = None, stream: Stream = None
    ) -> array:
        """Sum; 0 over no elements. bool and small integers are summed in 32 bits: int32, or uint32 for unsigned;
        in 64 bits if there are more than 2^31 - 1 elements. The error in float32 is at most 4 units in the last
        place of the sum of magnitudes, however long it is.
        """
    def swapaxes(self, axis1: int, axis2: int, *, stream: Stream = None) -> array:
        """Two axes exchanged."""
    def var(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        ddof: int = 0,
        *,
        correction: int | None = None,
        stream: Stream = None,
    ) -> array:
        """Variance: mean squared distance from the mean, over N - ddof. Of complex numbers a real one.

        Args:
            correction: the array API's name for `ddof`; it wins if given.
        """
    def view(self, dtype: Dtype, stream: Stream = None) -> array:
        """The bytes of an array as another dtype, shared where they lie together and aligned, else copied.

        The last axis grows or shrinks by the ratio of the sizes. Seen as bool, every byte that is not 0 is
        true.

        Raises:
            ValueError: the last axis holds no whole number of elements; or the sizes differ and there is no
            axis.
        """
    def __neg__(self) -> array: ...
    def __pos__(self) -> array: ...
    def __abs__(self) -> array: ...
    def __invert__(self) -> array: ...
    def __add__(self, other: Any, /) -> array: ...
    def __radd__(self, other: Any, /) -> array: ...
    def __iadd__(self, other: Any, /) -> array: ...
    def __sub__(self, other: Any, /) -> array: ...
    def __rsub__(self, other: Any, /) -> array: ...
    def __isub__(self, other: Any, /) -> array: ...
    def __mul__(self, other: Any, /) -> array: ...
    def __rmul__(self, other: Any, /) -> array: ...
    def __imul__(self, other: Any, /) -> array: ...
    def __truediv__(self, other: Any, /) -> array: ...
    def __rtruediv__(self, other: Any, /) -> array: ...
    def __itruediv__(self, other: Any, /) -> array: ...
    def __floordiv__(self, other: Any, /) -> array: ...
    def __rfloordiv__(self, other: Any, /) -> array: ...
    def __ifloordiv__(self, other: Any, /) -> array: ...
    def __mod__(self, other: Any, /) -> array: ...
    def __rmod__(self, other: Any, /) -> array: ...
    def __imod__(self, other: Any, /) -> array: ...
    def __pow__(self, other: Any, /) -> array: ...
    def __rpow__(self, other: Any, /) -> array: ...
    def __ipow__(self, other: Any, /) -> array: ...
    def __matmul__(self, other: Any, /) -> array: ...
    def __rmatmul__(self, other: Any, /) -> array: ...
    def __imatmul__(self, other: Any, /) -> array: ...
    def __lshift__(self, other: Any, /) -> array: ...
    def __rlshift__(self, other: Any, /) -> array: ...
    def __ilshift__(self, other: Any, /) -> array: ...
    def __rshift__(self, other: Any, /) -> array: ...
    def __rrshift__(self, other: Any, /) -> array: ...
    def __irshift__(self, other: Any, /) -> array: ...
    def __and__(self, other: Any, /) -> array: ...
    def __rand__(self, other: Any, /) -> array: ...
    def __iand__(self, other: Any, /) -> array: ...
    def __or__(self, other: Any, /) -> array: ...
    def __ror__(self, other: Any, /) -> array: ...
    def __ior__(self, other: Any, /) -> array: ...
    def __xor__(self, other: Any, /) -> array: ...
    def __rxor__(self, other: Any, /) -> array: ...
    def __ixor__(self, other: Any, /) -> array: ...
    def __divmod__(self, other: Any, /) -> tuple[array, array]: ...
    def __rdivmod__(self, other: Any, /) -> tuple[array, array]: ...
    def __eq__(self, other: Any, /) -> array: ...  # type: ignore[override]
    def __ne__(self, other: Any, /) -> array: ...  # type: ignore[override]
    def __lt__(self, other: Any, /) -> array: ...
    def __le__(self, other: Any, /) -> array: ...
    def __gt__(self, other: Any, /) -> array: ...
    def __ge__(self, other: Any, /) -> array: ...
