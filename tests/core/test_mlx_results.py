"""Result dtypes and shapes against MLX, for every function that its documentation lists.

Both sides run the same call; nothing has to be computed, because dtype and shape are known before. A call that MLX
refuses is not compared: bridge may take more.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

import bridge
from bridge.core.errors import DTypeError

NAMES = json.loads((Path(__file__).parent / "mlx_names.json").read_text(encoding="utf-8"))
DTYPES = ["bool_", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
DTYPES += ["float16", "bfloat16", "float32", "float64", "complex64"]


def words(text: str) -> list[str]:
    return text.split()


UNARY = words("""
    abs arccos arccosh arcsin arcsinh arctan arctanh ceil conj conjugate cos cosh degrees erf erfinv exp expm1 floor
    imag isfinite isinf isnan isneginf isposinf log log10 log1p log2 logical_not negative positive radians real
    reciprocal rsqrt sigmoid sign sin sinh sqrt square tan tanh trunc bitwise_invert stop_gradient round acos acosh
    asin asinh atan atanh nan_to_num
""")
BINARY = words("""
    add subtract multiply divide floor_divide remainder power pow maximum minimum arctan2 atan2 logaddexp equal
    not_equal less less_equal greater greater_equal logical_and logical_or logical_xor bitwise_and bitwise_or
    bitwise_xor left_shift right_shift bitwise_left_shift bitwise_right_shift divmod isclose allclose array_equal
    matmul inner outer kron tensordot result_type can_cast issubdtype
""")
REDUCTIONS = words("""
    all any max mean min minmax prod std sum var logsumexp median
""")
POSITIONS = words("""
    argmax argmin
""")
SCANS = words("""
    cummax cummin cumprod cumsum logcumsumexp
""")
SORTS = words("""
    sort argsort
""")

# More calls, `(module, array of shape (2, 3, 4))`, for floats and for integers.
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "addmm": lambda m, a: m.addmm(m.ones((3, 3), dtype=a.dtype), a, m.swapaxes(a, 1, 2), alpha=2.0, beta=0.5),
    "arange": lambda m, a: (m.arange(3), m.arange(1, 7, 2), m.arange(2.5), m.arange(4, dtype=a.dtype)),
    "argpartition": lambda m, a: (m.argpartition(a, 1), m.argpartition(a, 2, axis=None), m.argpartition(a, 1, axis=1)),
    "array": lambda m, a: (
        m.array(3),
        m.array([1.0, 2]),
        m.array([[True]]),
        m.array(1j),
        m.array([1, 2], dtype=a.dtype),
    ),
    "as_strided": lambda m, a: m.as_strided(a, (4, 2), (1, 5), 3),
    "asarray": lambda m, a: (m.asarray([1, 2]), m.asarray(2.5), m.asarray(a), m.asarray([1, 2], dtype=a.dtype)),
    "astype": lambda m, a: (m.astype(a, m.float16), m.astype(a, m.bool_)),
    "atleast_1d": lambda m, a: (m.atleast_1d(a[0, 0, 0]), m.atleast_1d(a, a)[1]),
    "atleast_2d": lambda m, a: (m.atleast_2d(a[0, 0, 0]), m.atleast_2d(a[0, 0])),
    "atleast_3d": lambda m, a: (m.atleast_3d(a[0, 0, 0]), m.atleast_3d(a[0, 0]), m.atleast_3d(a[0])),
    "bartlett": lambda m, a: m.bartlett(5),
    "blackman": lambda m, a: m.blackman(5),
    "block_masked_mm": lambda m, a: m.block_masked_mm(
        m.ones((64, 64)), m.ones((64, 32)), 32, m.ones((2, 1), dtype=m.bool_)
    ),
    "broadcast_arrays": lambda m, a: m.broadcast_arrays(a, a[:, :1], a[0]),
    "broadcast_shapes": lambda m, a: m.zeros(m.broadcast_shapes((2, 1), (3,))),
    "broadcast_to": lambda m, a: m.broadcast_to(a[:, :1], (5, 2, 3, 4)),
    "clip": lambda m, a: (m.clip(a, 1, 2), m.clip(a, None, 2.5), m.clip(a, a, None)),
    "concat": lambda m, a: m.concat([a, a], axis=-1),
    "concatenate": lambda m, a: (m.concatenate([a, a.astype(m.float32)], 1), m.concatenate([a, a], None)),
    "contiguous": lambda m, a: m.contiguous(a.T),
    "conv1d": lambda m, a: m.conv1d(a, m.ones((5, 2, 4), dtype=a.dtype), stride=1, padding=1),
    "conv2d": lambda m, a: m.conv2d(a[None], m.ones((5, 2, 2, 4), dtype=a.dtype)),
    "conv3d": lambda m, a: m.conv3d(a[None, None], m.ones((5, 1, 2, 2, 4), dtype=a.dtype), padding=1),
    "conv_general": lambda m, a: m.conv_general(a, m.ones((5, 2, 4), dtype=a.dtype), input_dilation=2, padding=1),
    "conv_transpose1d": lambda m, a: m.conv_transpose1d(a, m.ones((5, 2, 4), dtype=a.dtype), stride=2),
    "conv_transpose2d": lambda m, a: m.conv_transpose2d(a[None], m.ones((5, 2, 2, 4), dtype=a.dtype), output_padding=0),
    "conv_transpose3d": lambda m, a: m.conv_transpose3d(a[None, None], m.ones((5, 1, 2, 2, 4), dtype=a.dtype)),
    "convolve": lambda m, a: [m.convolve(a[0, 0], a[0, 0, :3], mode=mode) for mode in ("full", "same", "valid")],
    "count_nonzero": lambda m, a: (m.count_nonzero(a), m.count_nonzero(a, axis=(0, 1), keepdims=True)),
    "cumulative_prod": lambda m, a: m.cumulative_prod(a * 1.0, axis=1, reverse=True),
    "cumulative_sum": lambda m, a: m.cumulative_sum(a * 1.0, 1, inclusive=False),
    "depends": lambda m, a: m.depends(a, m.exp(a)),
    "diag": lambda m, a: (m.diag(a[0], 1), m.diag(a[0, 0], -1)),
    "diagonal": lambda m, a: m.diagonal(a, 1, 0, 2),
    "diff": lambda m, a: (m.diff(a), m.diff(a, n=2, axis=0), m.diff(a, 3, 1)),
    "einsum": lambda m, a: (m.einsum("ijk,ijl->kl", a, a), m.einsum("ijk->", a)),
    "empty": lambda m, a: m.empty((2, 3), dtype=a.dtype),
    "empty_like": lambda m, a: m.empty_like(a),
    "expand_dims": lambda m, a: m.expand_dims(a, (0, 2)),
    "eye": lambda m, a: (m.eye(3), m.eye(3, 4, 1, dtype=a.dtype)),
    "flatten": lambda m, a: (m.flatten(a), m.flatten(a, 1, 2)),
    "flip": lambda m, a: m.flip(a, (0, 2)),
    "full": lambda m, a: (m.full((2,), 3), m.full((2, 3), a[0, 0, 0]), m.full(2, 1.5, m.float16)),
    "full_like": lambda m, a: (m.full_like(a, 2.5), m.full_like(a, 1, m.int8)),
    "gather_mm": lambda m, a: m.gather_mm(a, m.swapaxes(a, 1, 2), None, m.array([[1], [0]])),
    "hadamard_transform": lambda m, a: m.hadamard_transform(a),
    "hamming": lambda m, a: m.hamming(5),
    "hanning": lambda m, a: m.hanning(5),
    "identity": lambda m, a: m.identity(3, a.dtype),
    "isdtype": lambda m, a: m.zeros((int(m.isdtype(a.dtype, ("bool", "real floating"))),)),
    "linspace": lambda m, a: (m.linspace(0, 1, 5), m.linspace(0, 1, num=4, endpoint=False, dtype=m.float16)),
    "matrix_norm": lambda m, a: m.matrix_norm(a, axis=[1, 2]),
    "matrix_transpose": lambda m, a: m.matrix_transpose(a),
    "meshgrid": lambda m, a: (
        *m.meshgrid(a[0, 0], a[0, :, 0]),
        *m.meshgrid(a[0, 0], a[0, 0], sparse=True, indexing="ij"),
    ),
    "moveaxis": lambda m, a: m.moveaxis(a, 0, -1),
    "ones": lambda m, a: (m.ones(3), m.ones((2, 3), a.dtype)),
    "ones_like": lambda m, a: (m.ones_like(a), m.ones_like(a, m.int8)),
    "pad": lambda m, a: (m.pad(a, 1), m.pad(a, (1, 2)), m.pad(a, [(0, 1), (1, 0), (2, 2)], mode="edge")),
    "partition": lambda m, a: (m.partition(a, 1), m.partition(a, 2, axis=None)),
    "permute_dims": lambda m, a: m.permute_dims(a, (2, 0, 1)),
    "put_along_axis": lambda m, a: m.put_along_axis(a, m.zeros((2, 3, 1), dtype=m.int32), m.array(1, dtype=a.dtype), 2),
    "repeat": lambda m, a: (m.repeat(a, 2), m.repeat(a, 3, axis=1)),
    "reshape": lambda m, a: m.reshape(a, (4, -1)),
    "roll": lambda m, a: (m.roll(a, 1), m.roll(a, (1, 2), (0, 1))),
    "searchsorted": lambda m, a: m.searchsorted(m.sort(a[0, 0]), a, side="right"),
    "segmented_mm": lambda m, a: m.segmented_mm(a[0], a[0].T, m.array([[0, 2], [2, 4]], dtype=m.uint32)),
    "slice": lambda m, a: m.slice(a, m.array([1, 0]), (1, 2), (2, 2, 3)),
    "slice_update": lambda m, a: m.slice_update(a, a[:, :2], m.array([1]), (1,)),
    "softmax": lambda m, a: (m.softmax(a * 1.0, axis=-1), m.softmax(a * 1.0, (0, 1), precise=True)),
    "split": lambda m, a: (*m.split(a, 2), *m.split(a, [1, 3], axis=-1)),
    "squeeze": lambda m, a: (m.squeeze(a[:1]), m.squeeze(a[:, :1, :1], axis=(1, 2))),
    "stack": lambda m, a: m.stack([a, a.astype(m.float32)], axis=1),
    "swapaxes": lambda m, a: m.swapaxes(a, 0, 2),
    "take": lambda m, a: (m.take(a, m.array([[0, 1], [1, 0]]), axis=1), m.take(a, m.array([5])), m.take(a, 1, 2)),
    "take_along_axis": lambda m, a: m.take_along_axis(a, m.zeros((2, 1, 4), dtype=m.int32), axis=1),
    "tile": lambda m, a: (m.tile(a, 2), m.tile(a, (2, 1, 1, 3))),
    "to_fp8": lambda m, a: (m.to_fp8(a), m.from_fp8(m.to_fp8(a)), m.from_fp8(m.to_fp8(a), dtype=m.float32)),
    "topk": lambda m, a: (m.topk(a, 2), m.topk(a, 2, axis=None), m.topk(a, 1, axis=0)),
    "trace": lambda m, a: (m.trace(a), m.trace(a, 1, 0, 2), m.trace(a, dtype=m.float16)),
    "transpose": lambda m, a: (m.transpose(a), m.transpose(a, (1, 0, 2))),
    "tri": lambda m, a: (m.tri(3), m.tri(3, 4, 1, dtype=m.int8)),
    "tril": lambda m, a: m.tril(a, 1),
    "triu": lambda m, a: m.triu(a, -1),
    "unflatten": lambda m, a: m.unflatten(a, 2, (2, -1)),
    "unique": lambda m, a: m.unique(a, 5, return_index=True, return_inverse=True, return_counts=True),
    "unstack": lambda m, a: m.unstack(a, axis=1),
    "vecdot": lambda m, a: (m.vecdot(a * 1.0, a), m.vecdot(a * 1.0, a, axis=1)),
    "view": lambda m, a: (m.view(a, m.uint8), m.view(a, m.int16)),
    "where": lambda m, a: (m.where(a > 0, a, 1), m.where(a > 0, a, 2.5), m.where(True, a, a[0].astype(m.float16))),
    "zeros": lambda m, a: (m.zeros(3), m.zeros((2, 3), a.dtype)),
    "zeros_like": lambda m, a: (m.zeros_like(a), m.zeros_like(a, m.int8)),
    "array.methods": lambda m, a: (a.T, a.mT, a.real, a.imag, a.flatten(), a.reshape(4, 6), a.diagonal(), a.cumsum(1)),
    "array.at": lambda m, a: (a.at[0].add(1), a.at[:, m.array([0, 1])].maximum(2), a[0], a[..., None, 0], a[:, 1:3]),
    "random.bernoulli": lambda m, a: (m.random.bernoulli(), m.random.bernoulli(0.3, (2, 3))),
    "random.categorical": lambda m, a: (m.random.categorical(a), m.random.categorical(a, num_samples=5)),
    "random.gumbel": lambda m, a: (m.random.gumbel(), m.random.gumbel((2,), m.float16)),
    "random.key": lambda m, a: (m.random.key(3), m.random.split(m.random.key(3)), m.random.split(m.random.key(3), 5)),
    "random.laplace": lambda m, a: m.random.laplace((2, 3), loc=1.0),
    "random.multivariate_normal": lambda m, a: m.random.multivariate_normal(m.zeros((2,)), m.eye(2), (5,)),
    "random.normal": lambda m, a: (m.random.normal(), m.random.normal((2, 3), m.bfloat16, scale=2.0)),
    "random.permutation": lambda m, a: (m.random.permutation(a), m.random.permutation(5)),
    "random.randint": lambda m, a: (m.random.randint(0, 5, (2, 3)), m.random.randint(0, 5, (2,), m.uint8)),
    "random.truncated_normal": lambda m, a: m.random.truncated_normal(-1.0, 1.0, (3,)),
    "random.uniform": lambda m, a: (m.random.uniform(), m.random.uniform(0, m.ones((3,)), (2, 3))),
    "linalg.norm": lambda m, a: (m.linalg.norm(a), m.linalg.norm(a, axis=1), m.linalg.norm(a, "fro", [1, 2], True)),
    "linalg.cross": lambda m, a: m.linalg.cross(a[..., :3], a[..., :3]),
    "fft.fft": lambda m, a: (m.fft.fft(a), m.fft.ifft(a, n=5), m.fft.irfft(a, axis=0), m.fft.fft2(a)),
    "fft.rfft": lambda m, a: (m.fft.rfft(a.real, n=5), m.fft.rfftn(a.real), m.fft.rfft2(a.real)),
    "fft.shift": lambda m, a: (m.fft.fftshift(a), m.fft.ifftshift(a, axes=[0])),
    "fast.layer_norm": lambda m, a: (m.fast.layer_norm(a, None, None, 1e-5), m.fast.rms_norm(a, None, 1e-5)),
    "fast.rope": lambda m, a: m.fast.rope(a, 4, traditional=False, base=1e4, scale=1.0, offset=0),
    "fast.attention": lambda m, a: m.fast.scaled_dot_product_attention(
        a[None], a[None], a[None], scale=0.5, mask="causal"
    ),
}
# Numbers of dtype, position for position, that MLX gives as uint32 and bridge, as the array API wants, as int32.
SIGNED = {"argmax", "argmin", "argsort", "argpartition", "searchsorted", "random.categorical", "random.permutation"}
SIGNED |= {"unique"}
# Ops that bridge refuses for dtypes where MLX computes something without a meaning: the floor of a complex number,
# its order, the bits of a float.
REFUSED = {"floor_divide", "remainder", "divmod", "logaddexp", "arctan2", "atan2", "bitwise_and", "bitwise_or"}
REFUSED |= {"bitwise_xor", "left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift"}
# Results with another dtype, on purpose: docs/mlx.md says why.
DIFFERENT = {("vecdot", "uint8"), ("vecdot", "bool_"), ("hadamard_transform", "complex64")}
# What has no array for a result, or is compared elsewhere: memory, devices, streams, files, transformations, printing.
ELSEWHERE = words("""
    async_eval checkpoint clear_cache clear_streams compile default_device default_stream device_count device_info
    disable_compile enable_compile eval get_active_memory get_array_buffer_size get_cache_memory get_memory_limit
    get_peak_memory get_printoptions grad is_available jvp load new_stream new_thread_local_stream
    new_thread_unsafe_stream printoptions reset_peak_memory save save_gguf save_safetensors savez savez_compressed
    set_cache_limit set_default_device set_default_stream set_memory_limit set_printoptions set_wired_limit stream
    synchronize value_and_grad vjp vmap einsum_path from_dlpack from_fp8 __array_namespace_info__
""")


def outcome(value: Any) -> Any:
    """(dtype, shape) of every array of a result."""
    if isinstance(value, list | tuple):
        return [outcome(one) for one in value]
    text = str(getattr(value, "dtype", value)).replace("mlx.core.", "").replace("bridge.", "").removesuffix("_")
    return (text, tuple(value.shape)) if hasattr(value, "dtype") else text


def flat(value: Any) -> list[Any]:
    return [leaf for one in value for leaf in flat(one)] if isinstance(value, list) else [value]


def compare(call: Callable[[Any], Any], *, signed: bool = False, refused: bool = False, told: str = "") -> bool:
    """Whether MLX takes the call; then bridge gives the same dtypes and shapes. It may refuse dtypes if `refused`."""
    try:
        want = flat(outcome(call(mx)))
    except (ValueError, TypeError, RuntimeError, NotImplementedError):
        return False
    try:
        got = flat(outcome(call(bridge)))
    except DTypeError:
        assert refused, told
        return False
    if signed:
        want = [("int32", one[1]) if isinstance(one, tuple) and one[0] == "uint32" else one for one in want]
        got = [("int32", one[1]) if isinstance(one, tuple) and one[0] == "uint32" else one for one in got]
    assert got == want, told
    return True


def sample(m: Any, dtype: str, shape: tuple[int, ...] = (2, 3, 4)) -> Any:
    return m.ones(shape, dtype=getattr(m, dtype))


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str):
    """Result dtype and shape of every dtype of MLX's."""
    taken = [compare(lambda m, d=dtype: getattr(m, name)(sample(m, d)), told=f"{name}({dtype})") for dtype in DTYPES]
    assert any(taken)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str):
    """Result dtype and shape of every pair of dtypes, and of arrays with Python scalars.

    float64 beside complex64 is left out: MLX has no complex128.
    """
    taken = []
    for left, right in itertools.product(DTYPES, DTYPES):
        if {left, right} == {"float64", "complex64"}:
            continue

        def call(m: Any, left: str = left, right: str = right) -> Any:
            if name in ("result_type", "can_cast", "issubdtype"):
                return getattr(m, name)(getattr(m, left), getattr(m, right))
            return getattr(m, name)(sample(m, left, (3, 3)), sample(m, right, (3, 3)))

        taken.append(compare(call, refused=name in REFUSED, told=f"{name}({left}, {right})"))
    for dtype, scalar in itertools.product(DTYPES, (True, 2, 2.5, 1j)):
        if name in ("matmul", "inner", "outer", "kron", "tensordot", "result_type", "can_cast", "issubdtype"):
            break
        if dtype == "float64" and scalar == 1j:
            continue
        compare(
            lambda m, d=dtype, s=scalar: getattr(m, name)(sample(m, d), s),
            refused=name in REFUSED,
            told=f"{name}({dtype}, {scalar})",
        )
    assert any(taken)


@pytest.mark.parametrize("name", REDUCTIONS + POSITIONS)
def test_reductions(name: str):
    """Over one axis, several, all, with the axes kept or not; positions are signed in bridge."""
    ways: list[dict[str, Any]] = [{}, {"axis": 1}, {"axis": -1, "keepdims": True}, {"keepdims": True}]
    ways += [{"axis": (0, 2)}, {"axis": [0, 1], "keepdims": True}]
    taken = [
        compare(
            lambda m, d=dtype, w=way: getattr(m, name)(sample(m, d), **w),
            signed=name in SIGNED,
            told=f"{name}({dtype}, {way})",
        )
        for dtype in DTYPES
        for way in ways
        if name not in POSITIONS or not isinstance(way.get("axis"), list | tuple)
    ]
    assert any(taken)


@pytest.mark.parametrize("name", SCANS + SORTS)
def test_scans_and_sorts(name: str):
    """Along an axis, and of the flattened array."""
    ways: list[dict[str, Any]] = [{}, {"axis": 0}, {"axis": None}]
    if name in SCANS:
        ways += [{"axis": 1, "reverse": True, "inclusive": False}]
    taken = [
        compare(
            lambda m, d=dtype, w=way: getattr(m, name)(sample(m, d), **w),
            signed=name in SIGNED,
            told=f"{name}({dtype}, {way})",
        )
        for dtype in DTYPES
        for way in ways
    ]
    assert any(taken)


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str):
    """Every other function, with the arguments of its documentation. MLX transforms float64 to complex64."""
    taken = [
        compare(lambda m, d=dtype: CALLS[name](m, sample(m, d)), signed=name in SIGNED, told=f"{name}({dtype})")
        for dtype in ("float32", "float16", "bfloat16", "int32", "uint8", "bool_", "complex64", "float64")
        if not (name.startswith("fft.") and dtype == "float64") and (name, dtype) not in DIFFERENT
    ]
    assert any(taken)


def test_every_function_is_compared():
    """No function of mlx.core is forgotten in these tables."""
    functions = {name for name, signature in NAMES[""].items() if signature is not None}
    compared = {*UNARY, *BINARY, *REDUCTIONS, *POSITIONS, *SCANS, *SORTS, *CALLS, *ELSEWHERE}
    assert functions - compared == set()
