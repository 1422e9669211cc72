"""The matrix product alone against NumPy: every dtype, layout and SIMD level."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from native import matmul_library
from native.build import BASE_FLAGS, NATIVE, compiler, levels
from native.matmul_library import CODES, LEVELS, library, matmul

INTEGERS = [name for name in CODES if "int" in name]
FLOATING = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
SIZES = [1, 2, 7, 16, 33, 64, 129, 300]
# Unit roundoff of the accumulator, and of the element when the sum is rounded once more.
ROUNDOFF = {"float16": 2**-24, "bfloat16": 2**-24, "float32": 2**-24, "complex64": 2**-24}
LAST_ROUNDING = {"float16": (2**-11, 2**-25), "bfloat16": (2**-8, 0.0)}


def make(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "bool":
        return rng.random(shape) < 0.1
    if dtype in INTEGERS:
        bounds = np.iinfo(dtype)
        return rng.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)
    real = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        return (real + 1j * rng.standard_normal(shape)).astype(dtype)
    return real.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same values at other strides and alignments."""
    spread = np.zeros((x.shape[0], 2 * x.shape[1] + 3), x.dtype)
    spread[:, 1 : 1 + 2 * x.shape[1] : 2] = x
    loose = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    loose[...] = x
    return {
        "dense": x,
        "transposed": x.T.copy().T,
        "spread": spread[:, 1 : 1 + 2 * x.shape[1] : 2],
        "reversed": x[::-1, ::-1].copy()[::-1, ::-1],
        "unaligned": loose,
    }


def assert_product(dtype: str, c: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Integers and bool exactly; floating within the bound of k products in any order and the last rounding."""
    k = a.shape[1]
    if dtype == "bool":
        np.testing.assert_array_equal(c, a.astype(np.int64) @ b.astype(np.int64) > 0)
        return
    if dtype in INTEGERS:
        np.testing.assert_array_equal(c, a @ b)
        return
    wide = np.complex128 if dtype.startswith("complex") else np.float64
    left, right = a.astype(wide), b.astype(wide)
    exact, size = left @ right, np.abs(left) @ np.abs(right)
    relative, absolute = LAST_ROUNDING.get(dtype, (0.0, 0.0))
    bound = 4 * (k + 2) * ROUNDOFF.get(dtype, 2**-53) * size + 1.01 * relative * np.abs(exact) + absolute
    error = np.abs(c.astype(wide) - exact)
    assert (error <= bound).all(), f"{dtype} {a.shape} @ {b.shape}: error {np.max(error - bound)} above the bound"


@pytest.fixture(params=matmul_library.names_of_levels())
def level(request: pytest.FixtureRequest) -> str:
    if not library().select_level(*LEVELS[request.param]):
        pytest.skip(f"needs AVX-512 and {request.param}" if "+" in request.param else f"needs x86-64-{request.param}")
    return str(request.param)


def every(dtypes: Iterable[str]) -> pytest.MarkDecorator:
    """Each dtype at each level; v4+bf16 and v4+amx differ from v4 in bfloat16 only."""
    pairs = itertools.product(matmul_library.names_of_levels(), dtypes)
    pairs = [(level, dtype) for level, dtype in pairs if dtype == "bfloat16" or "+" not in level]
    return pytest.mark.parametrize(("level", "dtype"), pairs, indirect=["level"])


@every(CODES)
@pytest.mark.parametrize("size", SIZES)
def test_square(level: str, dtype: str, size: int) -> None:
    """n x n by n x n is right for every size class, from one number to several panels."""
    rng = np.random.default_rng(size)
    a, b = make(rng, dtype, (size, size)), make(rng, dtype, (size, size))
    assert_product(dtype, matmul(dtype, a, b), a, b)


@every(CODES)
@pytest.mark.parametrize(
    ("m", "n", "k"), [(1, 1, 1), (5, 70, 40), (33, 33, 33), (1, 130, 65), (130, 1, 65), (40, 3, 300), (97, 101, 130)]
)
def test_layouts(level: str, dtype: str, m: int, n: int, k: int) -> None:
    """Strides of any sign and size, and addresses that no alignment holds for, do not change the result."""
    rng = np.random.default_rng(m)
    a, b = make(rng, dtype, (m, k)), make(rng, dtype, (k, n))
    for (one, x), (two, y) in itertools.product(layouts(a).items(), layouts(b).items()):
        c = matmul(dtype, x, y)
        try:
            assert_product(dtype, c, a, b)
        except AssertionError as error:
            raise AssertionError(f"{one} @ {two}") from error


@every(CODES)
@pytest.mark.parametrize(("m", "n", "k"), [(3, 5, 4000), (2100, 3, 40), (3, 2100, 40), (70, 90, 1500), (2, 3000, 9)])
def test_long_axes(level: str, dtype: str, m: int, n: int, k: int) -> None:
    """Axes that are cut in blocks: partial sums are carried from block to block."""
    rng = np.random.default_rng(k)
    a, b = make(rng, dtype, (m, k)), make(rng, dtype, (k, n))
    for x, y in [(a, b), (layouts(a)["transposed"], layouts(b)["transposed"])]:
        assert_product(dtype, matmul(dtype, x, y), a, b)


@every(CODES)
def test_broadcast_operands(level: str, dtype: str) -> None:
    """Strides of 0: one row, one column or one number for the whole matrix."""
    rng = np.random.default_rng(1)
    for m, n, k in [(3, 4, 5), (150, 140, 130)]:
        x, y = make(rng, dtype, (1, k)), make(rng, dtype, (1, 1))
        a, b = np.broadcast_to(x, (m, k)), np.broadcast_to(y, (k, n))
        assert_product(dtype, matmul(dtype, a, b), a.copy(), b.copy())


@every(CODES)
@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 4), (3, 0, 4), (0, 0, 0), (3, 4, 0)])
def test_empty(level: str, dtype: str, m: int, n: int, k: int) -> None:
    """No rows or columns: nothing is written. No terms: zeros are."""
    rng = np.random.default_rng(0)
    out = np.ones((m, n), make(rng, dtype, (1,)).dtype)
    matmul(dtype, make(rng, dtype, (m, k)), make(rng, dtype, (k, n)), out=out)
    assert not out.any()


@every(FLOATING)
@pytest.mark.parametrize("size", [4, 40, 200])
def test_nothing_is_skipped(level: str, dtype: str, size: int) -> None:
    """0 * inf and NaN reach every element of their row and column, and no other."""
    a = np.zeros_like(make(np.random.default_rng(0), dtype, (size, size)))
    b = np.ones_like(a)
    b[1, 2] = np.inf
    a[3, 0] = np.nan
    c = matmul(dtype, a, b)
    expected = np.zeros(c.shape, bool)
    expected[:, 2] = expected[3, :] = True
    np.testing.assert_array_equal(np.isnan(c), expected)


@every(CODES)
@pytest.mark.parametrize(("m", "n", "k"), [(64, 80, 90), (300, 310, 700), (1, 5000, 70), (5000, 1, 70)])
def test_threads_do_not_change_the_result(level: str, dtype: str, m: int, n: int, k: int) -> None:
    """The same bits on 1, 2 and 5 threads."""
    rng = np.random.default_rng(m)
    a, b = make(rng, dtype, (m, k)), make(rng, dtype, (k, n))
    results = []
    for threads in (1, 2, 5):
        library().select_threads(threads)
        results.append(matmul(dtype, a, b).tobytes())
    library().select_threads(2)
    assert len(set(results)) == 1


@every(["float16", "bfloat16"])
@pytest.mark.parametrize("k", [64, 3000])
def test_half_rounds_once(level: str, dtype: str, k: int) -> None:
    """Sums are kept in float32: k times 1 * 1 is exact up to the element's precision, where its own sum would stall."""
    a = np.ones((40, k), ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    expected = np.full((40, 50), k).astype(a.dtype)
    np.testing.assert_array_equal(matmul(dtype, a, np.ones((k, 50), a.dtype)), expected)


@every(["float16", "bfloat16"])
def test_every_half_survives(level: str, dtype: str) -> None:
    """x @ [1] is x for every bit pattern: widening and rounding are exact, subnormals, infinities and NaN included."""
    x = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    identity = np.zeros((8, 8), x.dtype)
    np.fill_diagonal(identity, 1)
    with np.errstate(invalid="ignore"):  # of signalling NaN
        nan, finite = np.isnan(x), x[np.isfinite(x)]
    y = matmul(dtype, x[:, None], np.ones((1, 1), x.dtype))[:, 0]
    np.testing.assert_array_equal(y[~nan].astype(np.float32), x[~nan].astype(np.float32))
    assert np.isnan(y[nan]).all()
    finite = finite[: len(finite) // 8 * 8].reshape(-1, 8)
    if "+" in level:  # the instructions take subnormals as zero
        finite = np.where(np.abs(finite) < ml_dtypes.finfo(ml_dtypes.bfloat16).smallest_normal, 0, finite)
    np.testing.assert_array_equal(matmul(dtype, finite, identity).astype(np.float32), finite.astype(np.float32))


def test_any_true_byte(level: str) -> None:
    """A foreign bool may hold any non-zero byte; the result holds 0 and 1."""
    a = np.array([[2, 0], [0, 0], [4, 128]], np.uint8).view(bool)
    b = np.array([[1, 0], [64, 0]], np.uint8).view(bool)
    for repeat in (1, 100):
        c = matmul("bool", np.tile(a, repeat), np.tile(b, (repeat, 1)))
        np.testing.assert_array_equal(c.view(np.uint8), [[1, 0], [0, 0], [1, 0]])


@every(CODES)
def test_c_ends_where_it_ends(level: str, dtype: str) -> None:
    """Not a byte before or after c is written, whatever part of a vector its last columns fill."""
    rng = np.random.default_rng(3)
    for m, n, k in [(3, 5, 4), (9, 49, 10), (50, 131, 60), (129, 203, 170)]:
        a, b = make(rng, dtype, (m, k)), make(rng, dtype, (k, n))
        room = np.full(m * n * a.itemsize + 256, 0xA5, np.uint8)
        matmul(dtype, a, b, out=room[128:-128].view(a.dtype).reshape(m, n))
        assert (room[:128] == 0xA5).all()
        assert (room[-128:] == 0xA5).all()


def test_memory_runs_out(level: str) -> None:
    """Without memory for the panels the call fails cleanly, and with memory again it works; nothing is kept."""
    rng = np.random.default_rng(0)
    a, b = make(rng, "float32", (600, 600)), make(rng, "float32", (600, 600))
    before = library().active_bytes()
    library().limit_bytes(1000)
    try:
        with pytest.raises(MemoryError, match="no room for the panels"):
            matmul("float32", a, b)
    finally:
        library().limit_bytes(1 << 40)
    assert_product("float32", matmul("float32", a, b), a, b)
    assert library().active_bytes() == before


@pytest.mark.parametrize("level", list(levels()))
def test_levels_share_no_code(level: str, tmp_path: Path) -> None:
    """Even unoptimised, an object of one SIMD level defines no symbol that the linker could merge with another's."""
    target = tmp_path / "kernels.o"
    command = [compiler(), *BASE_FLAGS, "-O0", *levels()[level], f"-DBRIDGE_ISA_NS=isa_{level}"]
    subprocess.run([*command, "-c", str(NATIVE / "matmul_isa.cpp"), "-o", str(target)], check=True)
    symbols = subprocess.run(["nm", str(target)], check=True, capture_output=True, text=True).stdout.splitlines()
    assert symbols
    assert not [line for line in symbols if line.split()[-2] in "VWuvw"]
