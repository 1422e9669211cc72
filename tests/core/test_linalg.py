"""bridge.linalg against NumPy and MLX: values, dtypes, shapes, layouts, errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from core.linear import COMPLEX, DTYPES, REAL, adjoint, assert_close, definite, matrices, regular
from core.values import to_bridge

import bridge
from bridge.core.ops import linalg_kernels
from bridge.core.ops.declare import PRIMITIVES

la = bridge.linalg
HOST = [name for name, one in PRIMITIVES.items() if one.kind == "host" and name in la.__all__]
SQUARE = ["inv", "tri_inv", "cholesky", "cholesky_inv", "eig", "eigvals", "eigh", "eigvalsh", "det", "slogdet"]
BATCHES = [(), (3,), (2, 1), (0,), (2, 0)]


def lower(a: Any) -> Any:
    return np.tril(a)


# name -> (what makes the matrices, bridge, NumPy, dtype of the result)
Case = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], Callable[[str], str]]
SAME: Callable[[str], str] = lambda name: name  # noqa: E731
REAL_OF: Callable[[str], str] = lambda name: REAL.get(name, name)  # noqa: E731
ORACLE: dict[str, Case] = {
    "inv": (regular, la.inv, np.linalg.inv, SAME),
    "tri_inv": (regular, la.tri_inv, lambda a: np.linalg.inv(np.tril(a)), SAME),
    "tri_inv upper": (regular, lambda a: la.tri_inv(a, upper=True), lambda a: np.linalg.inv(np.triu(a)), SAME),
    "cholesky": (definite, la.cholesky, np.linalg.cholesky, SAME),
    "cholesky upper": (
        definite,
        lambda a: la.cholesky(a, upper=True),
        lambda a: adjoint(np.linalg.cholesky(a)),
        SAME,
    ),
    "cholesky_inv": (definite, lambda a: la.cholesky_inv(la.cholesky(a)), np.linalg.inv, SAME),
    "cholesky_inv upper": (definite, lambda a: la.cholesky_inv(la.cholesky(a, True), True), np.linalg.inv, SAME),
    "pinv": (matrices, la.pinv, np.linalg.pinv, SAME),
    "det": (regular, la.det, np.linalg.det, SAME),
    "slogdet sign": (regular, lambda a: la.slogdet(a).sign, lambda a: np.linalg.slogdet(a)[0], SAME),
    "slogdet log": (regular, lambda a: la.slogdet(a)[1], lambda a: np.linalg.slogdet(a)[1], REAL_OF),
    "eigvalsh": (definite, la.eigvalsh, np.linalg.eigvalsh, REAL_OF),
    "eigh values": (definite, lambda a: la.eigh(a).eigenvalues, np.linalg.eigvalsh, REAL_OF),
    "svdvals": (matrices, la.svdvals, lambda a: np.linalg.svd(a, compute_uv=False), REAL_OF),
    "svd S": (matrices, lambda a: la.svd(a).S, lambda a: np.linalg.svd(a, compute_uv=False), REAL_OF),
    "matrix_rank": (matrices, la.matrix_rank, np.linalg.matrix_rank, lambda name: "int32"),
    "matrix_power": (regular, lambda a: la.matrix_power(a, 5), lambda a: np.linalg.matrix_power(a, 5), SAME),
    "matrix_power 0": (regular, lambda a: la.matrix_power(a, 0), lambda a: np.linalg.matrix_power(a, 0), SAME),
    "matrix_power -2": (regular, lambda a: la.matrix_power(a, -2), lambda a: np.linalg.matrix_power(a, -2), SAME),
    "matrix_transpose": (matrices, la.matrix_transpose, lambda a: np.swapaxes(a, -1, -2), SAME),
    "diagonal": (matrices, la.diagonal, lambda a: np.diagonal(a, 0, -2, -1), SAME),
    "diagonal 1": (
        matrices,
        lambda a: la.diagonal(a, offset=1),
        lambda a: np.diagonal(a, 1, -2, -1),
        SAME,
    ),
    "trace": (matrices, la.trace, lambda a: np.trace(a, 0, -2, -1), SAME),
    "trace -1": (matrices, lambda a: la.trace(a, offset=-1), lambda a: np.trace(a, -1, -2, -1), SAME),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ORACLE)
def test_values(name: str, dtype: str):
    """What NumPy gives, in the dtype of the operand, for one matrix, batches, and no matrix at all."""
    make, ours, theirs, result = ORACLE[name]
    for batch in BATCHES:
        a = make(dtype, (*batch, 4, 4), seed=len(batch))
        want = theirs(a.astype(COMPLEX.get("float64") if dtype in REAL else "float64"))
        assert_close(ours(to_bridge(a)), want, result(dtype))


@pytest.mark.parametrize("name", ["pinv", "svdvals", "svd S", "matrix_rank", "diagonal", "diagonal 1", "trace"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 5, 3), (1, 4), (4, 1)])
def test_rectangles(name: str, shape: tuple[int, ...]):
    """Matrices with more rows than columns, and more columns than rows."""
    _, ours, theirs, result = ORACLE[name]
    a = matrices("float64", shape)
    assert_close(ours(to_bridge(a)), theirs(a), result("float64"))


@pytest.mark.parametrize("name", ["inv", "cholesky", "det", "eigvalsh", "svdvals", "trace", "matrix_power"])
def test_layouts(name: str):
    """Transposed, reversed, strided and broadcast operands give what dense ones give."""
    make, ours, theirs, result = ORACLE[name]
    a = make("float64", (6, 6))
    views = [
        lambda m: m.T,
        lambda m: m[::-1, ::-1],
        lambda m: m[::2, ::2],
        lambda m: m[1:5, 1:5],
        lambda m: m[None, :, :][[0] * 0 or slice(None)],
    ]
    for view in views:
        assert_close(ours(view(to_bridge(a))), theirs(view(a)), result("float64"))
    spread = bridge.broadcast_to(to_bridge(a), (3, 6, 6))
    assert_close(ours(spread), theirs(np.broadcast_to(a, (3, 6, 6))), result("float64"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 5, 3), (0, 3, 3), (0, 3), (3, 0)])
def test_factors(shape: tuple[int, ...], dtype: str):
    """qr, svd and lu: factors of the promised shapes and kinds whose product is the matrix."""
    a = matrices(dtype, shape)
    b = to_bridge(a)
    (*batch, m, n), k = shape, min(shape[-2:])
    for mode, inner in (("reduced", k), ("complete", m)):
        q, r = map(np.asarray, la.qr(b, mode=mode))
        assert q.shape == (*batch, m, inner)
        assert_close(q @ r, a, dtype)
        assert_close(adjoint(q) @ q, np.broadcast_to(np.eye(inner), (*batch, inner, inner)), dtype)
        assert_close(np.triu(r), r, dtype)
    for full in (True, False):
        u, s, vh = map(np.asarray, la.svd(b, full_matrices=full))
        assert s.dtype == REAL.get(dtype, dtype)
        assert (u.shape[-1], vh.shape[-2]) == ((m, n) if full else (k, k))
        assert_close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a, dtype)
    p, left, right = map(np.asarray, la.lu(b))
    assert p.dtype == np.uint32
    assert (p.shape, left.shape, right.shape) == ((*batch, m), (*batch, m, k), (*batch, k, n))
    assert_close(np.take_along_axis(left, p[..., None].astype(int), -2) @ right, a, dtype)
    packed, pivots = map(np.asarray, la.lu_factor(b))
    assert (pivots.dtype, pivots.shape) == (np.uint32, (*batch, k))
    assert_close(np.tril(packed[..., :k], -1) + np.eye(m, k, dtype=dtype), left, dtype)
    assert_close(np.triu(packed[..., :k, :]), right, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_eigenvectors(batch: tuple[int, ...], dtype: str):
    """``a @ v == v * w``: eigh's vectors are orthonormal and ascend, eig's are complex and of length 1."""
    a = definite(dtype, (*batch, 4, 4))
    for triangle, half in (("L", np.tril(a)), ("U", np.triu(a))):
        w, v = map(np.asarray, la.eigh(to_bridge(half), triangle))
        assert w.dtype == REAL.get(dtype, dtype)
        assert_close(a @ v, v * w[..., None, :].astype(dtype), dtype)
        assert_close(adjoint(v) @ v, np.broadcast_to(np.eye(4), v.shape), dtype)
        assert np.all(np.diff(w) >= 0)
    a = matrices(dtype, (*batch, 4, 4))
    w, v = map(np.asarray, la.eig(to_bridge(a)))
    complex_dtype = COMPLEX.get(dtype, dtype)
    assert w.dtype == v.dtype == complex_dtype
    assert_close(a @ v, v * w[..., None, :], complex_dtype)
    np.testing.assert_allclose(np.linalg.norm(v, axis=-2), 1, rtol=1e-5)
    assert_close(np.sort_complex(np.asarray(la.eigvals(to_bridge(a)))), np.sort_complex(w), complex_dtype)


SYSTEMS = [
    ((4, 4), (4,)),
    ((4, 4), (4, 2)),
    ((3, 4, 4), (4,)),
    ((3, 4, 4), (4, 2)),
    ((4, 4), (3, 4, 2)),
    ((2, 1, 4, 4), (3, 4, 1)),
    ((0, 4, 4), (4, 2)),
    ((0, 0), (0,)),
    ((4, 4), (4, 0)),
    ((1, 1), (1,)),
]


@pytest.mark.parametrize("scipy", [True, False], ids=["scipy", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("left", "right"), SYSTEMS)
def test_systems(
    left: tuple[int, ...], right: tuple[int, ...], dtype: str, scipy: bool, monkeypatch: pytest.MonkeyPatch
):
    """solve and solve_triangular: ``a @ x == b`` for one vector and for matrices, batch axes broadcast."""
    if not scipy:
        monkeypatch.setattr(linalg_kernels, "_scipy", lambda: None)
    a, b = regular(dtype, left), matrices(dtype, right, 1)
    for x, matrix in (
        (la.solve(to_bridge(a), to_bridge(b)), a),
        (la.solve_triangular(to_bridge(a), to_bridge(b)), np.tril(a)),
        (la.solve_triangular(to_bridge(a), to_bridge(b), upper=True), np.triu(a)),
    ):
        got = np.asarray(x)
        assert got.dtype == dtype
        product = np.matmul(matrix, got[..., None])[..., 0] if b.ndim == 1 else matrix @ got
        assert_close(product, np.broadcast_to(b, product.shape), dtype)
        assert got.shape == product.shape


def test_lu_without_scipy(monkeypatch: pytest.MonkeyPatch):
    """Without SciPy the factors are the same, of singular and of rectangular matrices too."""
    cases = [matrices("float64", (2, 5, 3)), matrices("complex128", (3, 5)), np.zeros((3, 3)), np.ones((4, 4))]
    with_scipy = [[np.asarray(one) for one in la.lu(to_bridge(a))] for a in cases]
    monkeypatch.setattr(linalg_kernels, "_scipy", lambda: None)
    for a, want in zip(cases, with_scipy, strict=True):
        for got, expected in zip(la.lu(to_bridge(a)), want, strict=True):
            np.testing.assert_allclose(np.asarray(got), expected, atol=1e-12)


VECTOR_ORDERS = [2, 1, 0, 3, 0.5, -1, -2, np.inf, -np.inf]
MATRIX_ORDERS = ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms(dtype: str):
    """Every order of norm over axes of every kind is NumPy's."""
    a = matrices(dtype, (2, 3, 4))
    b, real = to_bridge(a), REAL.get(dtype, dtype)
    for keep in (False, True):
        for order in VECTOR_ORDERS:
            for axis in (0, -1, 1):
                want = np.linalg.norm(a, order, axis, keep)
                assert_close(la.norm(b, order, axis, keep), want, real)
                assert_close(la.vector_norm(b, ord=order, axis=axis, keepdims=keep), want, real)
            want = np.linalg.vector_norm(a, ord=order, keepdims=keep)
            assert_close(la.vector_norm(b, ord=order, keepdims=keep), want, real)
        for order in MATRIX_ORDERS:
            assert_close(
                la.matrix_norm(b, ord=order, keepdims=keep), np.linalg.matrix_norm(a, ord=order, keepdims=keep), real
            )
            for axes in ((0, 1), (2, 0), (-1, 1)):
                assert_close(la.norm(b, order, axes, keep), np.linalg.norm(a, order, axes, keep), real)
        assert_close(la.norm(b, keepdims=keep), np.linalg.norm(a, keepdims=keep), real)
        assert_close(la.norm(b[0], 1, keepdims=keep), np.linalg.norm(a[0], 1, keepdims=keep), real)
        assert_close(la.norm(b, axis=(0, 2), keepdims=keep), np.linalg.norm(a, axis=(0, 2), keepdims=keep), real)


def test_norm_dtypes():
    """Integers give float32; halves keep their dtype and are summed in float32, so large ones do not overflow."""
    assert la.norm(bridge.array([3, 4])).dtype is bridge.float32
    assert la.norm(bridge.array([3, 4])).item() == 5
    for half in (bridge.float16, bridge.bfloat16):
        large = bridge.array([300.0, 400.0], half)
        assert la.norm(large).dtype is half
        assert la.norm(large).item() == pytest.approx(500, rel=1e-2)
        assert la.norm(large[None, :], "nuc").item() == pytest.approx(500, rel=1e-2)


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize(
    ("left", "right"), [((3, 3), (3, 3)), ((2, 2), (2, 2)), ((3,), (3, 3)), ((3, 1, 3), (1, 2, 3))]
)
def test_cross(left: tuple[int, ...], right: tuple[int, ...], axis: int):
    """NumPy's cross product; of plane vectors the one in space."""
    a, b = matrices("float64", left), matrices("float64", right, 1)
    if axis == 0:
        a, b = (np.moveaxis(np.broadcast_to(one, np.broadcast_shapes(left, right)), -1, 0) for one in (a, b))
    spatial = [
        np.concatenate([one, np.zeros_like(np.take(one, [0], axis))], axis) if one.shape[axis] == 2 else one
        for one in (a, b)
    ]
    assert_close(la.cross(to_bridge(a), to_bridge(b), axis), np.cross(*spatial, axis=axis), "float64")


def test_products():
    """The namespace has the products of the main one."""
    for name in ("matmul", "outer", "tensordot", "vecdot", "matrix_transpose"):
        assert getattr(la, name) is getattr(bridge, name)


def test_tolerances():
    """`rtol` of pinv and matrix_rank counts small singular values as zero."""
    a = np.diag([1.0, 1e-3, 1e-9])
    assert la.matrix_rank(to_bridge(a)).item() == 3
    assert la.matrix_rank(to_bridge(a), rtol=1e-2).item() == 1
    assert la.matrix_rank(to_bridge(np.stack([a, a])), rtol=bridge.array([1e-2, 1e-5])).tolist() == [1, 2]
    assert np.asarray(la.pinv(to_bridge(a), rtol=1e-5)).diagonal().tolist() == pytest.approx([1, 1e3, 0])
    assert np.asarray(la.pinv(to_bridge(np.stack([a, a])), rtol=bridge.array([1e-2, 1e-5], bridge.float64)))[
        :, 1, 1
    ].tolist() == pytest.approx([0, 1e3])


@pytest.mark.parametrize("name", SQUARE)
def test_shapes_are_checked_in_the_call(name: str):
    """A matrix that is not square, and what is no matrix, raise at once, with the op and the shape in the text."""
    op = "tri_inv" if name == "cholesky_inv" else "eigh" if name == "eigvalsh" else name
    with pytest.raises(ValueError, match=rf"\[bridge\.linalg\.{op}\] square matrices(.|\n)*float32\[2, 3\]"):
        getattr(la, name)(bridge.ones((2, 3)))
    for shape in ((), (3,)):
        with pytest.raises(ValueError, match=rf"\[bridge\.linalg\.{op}\] matrices are wanted"):
            getattr(la, name)(bridge.ones(shape))


@pytest.mark.parametrize("name", ["qr", "svd", "lu", "lu_factor", "pinv", "svdvals", "matrix_norm"])
def test_vectors_are_no_matrices(name: str):
    """Factorisations of vectors and numbers are refused in the call."""
    for shape in ((), (3,)):
        with pytest.raises(ValueError, match=r"matrices are wanted"):
            getattr(la, name)(bridge.ones(shape))


@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8", "float16", "bfloat16"])
@pytest.mark.parametrize("name", HOST)
def test_dtypes_are_checked_in_the_call(name: str, dtype: str):
    """Dtypes that LAPACK has not are refused with the conversion in the text."""
    a = bridge.ones((3, 3), getattr(bridge, "bool_" if dtype == "bool" else dtype))
    operands = (a, a) if "solve" in name else (a,)
    with pytest.raises(
        bridge.DTypeError, match=rf"\[bridge\.linalg\.{name}\] {dtype}(.|\n)*a\.astype\(bridge\.float32\)"
    ):
        getattr(la, name)(*operands)


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [
        ((3, 3), (4,), "does not fit"),
        ((3, 3), (), "does not fit"),
        ((3, 3), (4, 3), "does not fit"),
        ((2, 3, 3), (4, 3, 1), "cannot be broadcast"),
        ((2, 3, 3), (2, 3), r"b\[\.\.\., None\]"),
        ((3, 2), (3,), "square"),
    ],
)
def test_systems_that_do_not_fit(left: tuple[int, ...], right: tuple[int, ...], text: str):
    """Both shapes are named when a right side does not fit its matrix."""
    for solve in (la.solve, la.solve_triangular):
        with pytest.raises(ValueError, match=text):
            solve(bridge.ones(left), bridge.ones(right))


SINGULAR: dict[str, Callable[[bridge.array], Any]] = {
    "inv": la.inv,
    "tri_inv": la.tri_inv,
    "solve": lambda a: la.solve(a, a),
    "solve_triangular": lambda a: la.solve_triangular(a, a),
    "cholesky": lambda a: la.cholesky(a - 1),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_data_errors_come_when_values_are_needed(name: str):
    """A singular matrix raises LinAlgError, a ValueError, whenever the result is looked at, with the op named."""
    a = bridge.zeros((2, 3, 3))
    x = SINGULAR[name](a)
    assert x.shape == (2, 3, 3)
    y = x + 1
    for _ in range(2):
        with pytest.raises(bridge.LinAlgError, match=rf"\[bridge\.linalg\.{name}\] (.|\n)*float32\[2, 3, 3\]") as info:
            bridge.eval(y)
        assert isinstance(info.value, ValueError)
    assert a.sum().item() == 0
    assert la.LinAlgError is bridge.LinAlgError


def test_singular_matrices_have_answers_too():
    """det is 0, slogdet says 0 and -inf, pinv and svd work."""
    a = bridge.ones((3, 3))
    assert la.det(a).item() == 0
    sign, log = la.slogdet(a)
    assert (sign.item(), log.item()) == (0, -np.inf)
    assert la.matrix_rank(a).item() == 1
    assert la.pinv(a).sum().item() == pytest.approx(1)


def test_not_a_number():
    """NaN goes through, or raises LinAlgError where LAPACK does not converge; no warning is given."""
    a = bridge.full((2, 2), float("nan"))
    assert np.isnan(np.asarray(la.inv(a))).all()
    with pytest.raises(bridge.LinAlgError, match=r"svd\] SVD did not converge"):
        bridge.eval(la.svd(a))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: la.eigh(a, "X"), "triangle 'X'"),
        (lambda a: la.qr(a, mode="r"), "mode 'r'"),
        (lambda a: la.norm(a, "max"), "order 'max'"),
        (lambda a: la.norm(a[0], "fro"), "order 'fro'"),
        (lambda a: la.norm(bridge.ones((2, 2, 2)), 2), r"axis=\(-2, -1\)"),
        (lambda a: la.matrix_norm(a, ord=3), "order 3"),
        (lambda a: la.cross(a[:, :1], a), "2 or 3 elements"),
        (lambda a: la.diagonal(a[0]), "out of bounds"),
    ],
)
def test_arguments_are_checked(call: Callable[[bridge.array], Any], text: str):
    """Words and numbers that mean nothing are refused in the call."""
    with pytest.raises(ValueError, match=text) if "bounds" not in text else pytest.raises(IndexError, match=text):
        call(bridge.ones((3, 3)))


def test_named_results():
    """Results of several arrays are the standard's named tuples."""
    a = to_bridge(definite("float64", (3, 3)))
    assert la.qr(a)._fields == ("Q", "R")
    assert la.svd(a)._fields == ("U", "S", "Vh")
    assert la.slogdet(a)._fields == ("sign", "logabsdet")
    assert la.eigh(a)._fields == la.eig(a)._fields == ("eigenvalues", "eigenvectors")
    assert isinstance(la.svd(a, compute_uv=False), bridge.array)


# What MLX's documentation lists, and arguments to call it with.
MLX_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "inv": lambda m, a: m.linalg.inv(a, stream=m.cpu),
    "tri_inv": lambda m, a: m.linalg.tri_inv(a, True, stream=m.cpu),
    "cholesky": lambda m, a: m.linalg.cholesky(a, True, stream=m.cpu),
    "cholesky_inv": lambda m, a: m.linalg.cholesky_inv(a, False, stream=m.cpu),
    "cross": lambda m, a: m.linalg.cross(a[..., :3], a[..., :3], -1, stream=m.cpu),
    "qr": lambda m, a: m.linalg.qr(a, stream=m.cpu),
    "svd": lambda m, a: m.linalg.svd(a, True, stream=m.cpu),
    "eig": lambda m, a: m.linalg.eig(a, stream=m.cpu),
    "eigvals": lambda m, a: m.linalg.eigvals(a, stream=m.cpu),
    "eigh": lambda m, a: m.linalg.eigh(a, "U", stream=m.cpu),
    "eigvalsh": lambda m, a: m.linalg.eigvalsh(a, UPLO="U", stream=m.cpu),
    "lu": lambda m, a: m.linalg.lu(a, stream=m.cpu),
    "lu_factor": lambda m, a: m.linalg.lu_factor(a, stream=m.cpu),
    "pinv": lambda m, a: m.linalg.pinv(a, stream=m.cpu),
    "solve": lambda m, a: m.linalg.solve(a, a, stream=m.cpu),
    "solve_triangular": lambda m, a: m.linalg.solve_triangular(a, a, upper=True, stream=m.cpu),
    "norm": lambda m, a: m.linalg.norm(a, 1, [-2, -1], True, stream=m.cpu),
    "det": lambda m, a: m.linalg.det(a, stream=m.cpu),
    "slogdet": lambda m, a: m.linalg.slogdet(a, stream=m.cpu),
}
UNIQUE = {"inv", "tri_inv", "cholesky_inv", "cross", "eigvalsh", "lu", "lu_factor", "pinv", "solve", "norm", "det"}


@pytest.mark.parametrize("name", MLX_CALLS)
@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4)])
def test_mlx(name: str, shape: tuple[int, ...]):
    """Called as MLX is, with its names of arguments, each function gives arrays of MLX's dtypes, shapes and values."""
    import mlx.core as mx

    a = definite("float32", shape)
    got, want = MLX_CALLS[name](bridge, to_bridge(a)), MLX_CALLS[name](mx, mx.array(a))
    ours, theirs = (one if isinstance(one, tuple) else (one,) for one in (got, want))
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        assert (x.dtype.name, x.shape) == (str(y.dtype).removeprefix("mlx.core."), y.shape)
        if name in UNIQUE:
            np.testing.assert_allclose(np.asarray(x), np.array(y), rtol=1e-3, atol=1e-4)


def test_every_name_of_mlx_is_there():
    """Nothing of mlx.core.linalg is missing, and each function that is listed here is tried against it."""
    import mlx.core as mx

    public = {name for name in dir(mx.linalg) if not name.startswith("_")}
    assert public <= set(la.__all__)
    assert public == set(MLX_CALLS)


# The extension of the array API standard 2025.12, with its own names of keywords.
STANDARD = {
    "cholesky": ["upper"],
    "cross": ["axis"],
    "det": [],
    "diagonal": ["offset"],
    "eig": [],
    "eigh": [],
    "eigvals": [],
    "eigvalsh": [],
    "inv": [],
    "matmul": [],
    "matrix_norm": ["keepdims", "ord"],
    "matrix_power": [],
    "matrix_rank": ["rtol"],
    "matrix_transpose": [],
    "outer": [],
    "pinv": ["rtol"],
    "qr": ["mode"],
    "slogdet": [],
    "solve": [],
    "svd": ["full_matrices"],
    "svdvals": [],
    "tensordot": ["axes"],
    "trace": ["offset", "dtype"],
    "vecdot": ["axis"],
    "vector_norm": ["axis", "keepdims", "ord"],
}


@pytest.mark.parametrize("name", STANDARD)
def test_the_standards_signatures(name: str):
    """Every function of the standard's extension is there and takes its keywords."""
    function = getattr(la, name)
    header = PRIMITIVES[name].header if name in PRIMITIVES and PRIMITIVES[name].call is function else function
    assert set(STANDARD[name]) <= set(inspect.signature(header).parameters)


def test_streams():
    """`stream=` takes the CPU, and is checked like that of every op."""
    a = bridge.array([[2.0]])
    assert la.inv(a, stream=bridge.cpu).item() == 0.5
    with pytest.raises(TypeError, match="stream must be"):
        la.inv(a, stream="cpu")


def test_wrong_calls():
    """Missing and unknown arguments raise TypeError naming the function."""
    with pytest.raises(TypeError, match=r"inv\(\) missing a required argument: 'a'"):
        la.inv()
    with pytest.raises(TypeError, match=r"eigh\(\) got an unexpected keyword argument 'uplo'"):
        la.eigh(bridge.ones((2, 2)), uplo="L")


MAIN = {
    "diagonal": (lambda m, a: m.diagonal(a, 1, 0, 2), (3, 2, 4)),
    "diagonal empty": (lambda m, a: m.diagonal(a, 9, 1, 0), (3, 2, 4)),
    "diagonal below": (lambda m, a: m.diagonal(a, offset=-1, axis1=2, axis2=1), (3, 2, 4)),
    "trace": (lambda m, a: m.trace(a, 1, 0, 2), (3, 2, 4)),
    "diag": (lambda m, a: m.diag(a, 1), (3, 4)),
    "diag of a vector": (lambda m, a: m.diag(a, -2), (3,)),
    "diag up": (lambda m, a: m.diag(a, 2), (3,)),
    "diag middle": (lambda m, a: m.diag(a), (3,)),
    "kron": (lambda m, a: m.kron(a, a[0]), (3, 2, 4)),
    "kron of a vector": (lambda m, a: m.kron(a, a[:1]), (3,)),
}


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "float32", "complex64"])
@pytest.mark.parametrize("name", MAIN)
def test_main_namespace(name: str, dtype: str):
    """diagonal, trace, diag and kron of the main namespace: MLX's dtypes, shapes and values."""
    import mlx.core as mx

    call, shape = MAIN[name]
    a = (matrices("complex64" if dtype == "complex64" else "float32", shape) * 5).astype(dtype)
    got, want = call(bridge, to_bridge(a)), call(mx, mx.array(a))
    assert (got.dtype.name, got.shape) == (str(want.dtype).removeprefix("mlx.core.").removesuffix("_"), want.shape)
    np.testing.assert_allclose(np.asarray(got), np.array(want), rtol=1e-6, atol=1e-6)


def test_infinite_diagonals():
    """diag puts zeros beside infinite elements, not NaN."""
    assert bridge.diag(bridge.array([float("inf"), 1.0])).tolist() == [[float("inf"), 0], [0, 1]]
    with pytest.raises(ValueError, match="one or two axes"):
        bridge.diag(bridge.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="both axis 1"):
        bridge.diagonal(bridge.ones((2, 2, 2)), 0, 1, -2)
