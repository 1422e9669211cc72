"""The Python array API standard 2025.12: `bridge` is a namespace of it.

array-api-strict is the oracle of names and parameters, the standard's text that of special cases (special_cases.py).
"""

from __future__ import annotations

import cmath
import inspect
import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import array_api_compat
import array_api_strict as strict
import numpy as np
import pytest
from core.special_cases import COMPLEX, REAL, lines, members, number, same
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.array_api import make_strategies_namespace

import bridge
from bridge.core.errors import CopyRequired, DTypeError
from bridge.core.lattice import KINDS

FLAGS = ("ArrayAPIStrictFlags", "ModuleType")
NAMES = [name for name in vars(strict) if not name.startswith("_") and name not in ("linalg", "fft", *FLAGS)]
NAMES = [name for name in NAMES if "strict_flags" not in name]
CALLABLE = [name for name in NAMES if callable(getattr(strict, name)) and name not in ("bool", "Device")]
FUNCTIONS = [(strict, bridge, name) for name in CALLABLE]
FUNCTIONS += [
    (getattr(strict, part), getattr(bridge, part), name)
    for part in ("linalg", "fft")
    for name in getattr(strict, part).__all__
    if callable(getattr(getattr(strict, part), name))
]
FLOATS = [bridge.float16, bridge.bfloat16, bridge.float32, bridge.float64]


# ----------------------------------------------------------------------------------------------------------- the names


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_there(name: str):
    """Everything that array-api-strict has at the top, bridge has."""
    assert hasattr(bridge, name)
    assert name in bridge.__all__


@pytest.mark.parametrize(("theirs", "ours", "name"), FUNCTIONS, ids=lambda one: one if isinstance(one, str) else "")
def test_the_parameters_are_the_standards(theirs, ours, name: str):
    """The standard's parameters are there: in their places, under their names where it lets them be named."""
    function = getattr(ours, name)
    want = inspect.signature(getattr(theirs, name)).parameters.values()
    have = inspect.signature(function).parameters
    places = [one for one in have.values() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    for k, one in enumerate(want):
        if one.kind is one.VAR_POSITIONAL:
            assert any(mine.kind is mine.VAR_POSITIONAL for mine in have.values())
        elif one.kind is one.KEYWORD_ONLY:
            assert have[one.name].kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)
        elif one.kind is one.POSITIONAL_OR_KEYWORD:
            assert places[k].name == one.name
            assert places[k].kind is one.POSITIONAL_OR_KEYWORD
        else:
            assert len(places) > k
    extra = [
        one for one in places[len([p for p in want if p.kind is not p.KEYWORD_ONLY]) :] if one.default is one.empty
    ]
    assert not extra


def test_the_array_has_the_standards_methods():
    """Attributes and methods of the standard's array object are bridge.array's."""
    wanted = [name for name in dir(strict.asarray(1)) if not name.startswith("_") or name.startswith("__")]
    ignored = {"__slots__", "__weakref__", "__annotations__", "__buffer__", "__firstlineno__", "__static_attributes__"}
    assert [name for name in wanted if not hasattr(bridge.array, name) and name not in ignored] == []


def test_bridge_is_the_namespace():
    """Asking an array, or array-api-compat, for the namespace gives the module itself."""
    a = bridge.ones((3,))
    assert a.__array_namespace__() is bridge
    assert a.__array_namespace__(api_version="2025.12") is bridge
    assert array_api_compat.array_namespace(a) is bridge
    assert array_api_compat.is_array_api_obj(a)
    assert bridge.__array_api_version__ == "2025.12"
    with pytest.raises(ValueError, match="not known"):
        a.__array_namespace__(api_version="2031.12")


# -------------------------------------------------------------------------------------------------------- inspection


def test_inspection():
    """__array_namespace_info__ says what there is: capabilities, devices, default dtypes, dtypes by kind."""
    info = bridge.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 32}
    assert info.default_device() in info.devices()
    assert bridge.ones((1,)).device in info.devices()
    defaults = info.default_dtypes(device=info.default_device())
    assert defaults["real floating"] == bridge.asarray(1.0).dtype
    assert defaults["complex floating"] == bridge.asarray(1j).dtype
    assert defaults["integral"] == bridge.asarray(1).dtype
    assert defaults["indexing"] == bridge.argmax(bridge.ones((3,))).dtype
    assert info.dtypes().keys() == strict.__array_namespace_info__().dtypes().keys()
    for kind in KINDS:
        assert info.dtypes(kind=kind).keys() == strict.__array_namespace_info__().dtypes(kind=kind).keys()
        assert all(bridge.isdtype(one, kind) for one in info.dtypes(kind=kind).values())
    assert info.dtypes(kind=("bool", "complex floating")).keys() == {"bool", "complex64", "complex128"}
    with pytest.raises(ValueError, match="no such kind"):
        info.dtypes(kind="floating")


def test_the_largest_number_of_axes():
    """Arrays have as many axes as `capabilities` says, and no more."""
    most = bridge.__array_namespace_info__().capabilities()["max dimensions"]
    assert bridge.ones((1,) * most).ndim == most
    with pytest.raises(ValueError, match="dimensions"):
        bridge.ones((1,) * (most + 1))


def test_devices():
    """device= takes the CPU by every name, and refuses what is no device; an array moves to where it is."""
    a = bridge.ones((2,))
    for device in (None, "cpu", bridge.cpu, a.device):
        assert bridge.zeros((2,), device=device).device == a.device
        assert bridge.asarray([1.0], device=device).shape == (1,)
        assert bridge.astype(a, bridge.float64, device=device).dtype == bridge.float64
    assert a.to_device(a.device) is a
    assert a.to_device("cpu", stream=None) is a
    for make in (
        lambda: bridge.zeros((2,), device="moon"),
        lambda: bridge.arange(3, device=7),
        lambda: bridge.full((2,), 1.0, device="moon"),
        lambda: bridge.astype(a, bridge.int8, device="moon"),
        lambda: a.to_device("moon"),
    ):
        with pytest.raises(ValueError, match="no device"):
            make()


# ------------------------------------------------------------------------------------------------------ special cases


def spelled(value: float) -> str:
    return f"{value:g}"


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda one: one.name)
@pytest.mark.parametrize("name", REAL)
def test_special_cases(name: str, dtype):
    """Infinities, NaN, signed zeros and the edges of domains give what the standard says, in every dtype."""
    function, near = getattr(bridge, name), 0.01 if dtype.size == 2 else 1e-6
    for operands, results in lines(REAL[name]):
        cases = list(itertools.product(*(members(one) for one in operands)))
        columns = [bridge.array(list(column), dtype=dtype) for column in zip(*cases, strict=True)]
        for case, got in zip(cases, function(*columns).tolist(), strict=True):
            x1, x2 = case[0], case[-1]
            known = {"x1": x1, "x2": x2, "|x1|": abs(x1), "-|x1|": -abs(x1)}
            wants = [known[one] if one in known else number(one) for one in results]
            told = f"{name}({', '.join(map(spelled, case))}) is {got}, not {results}"
            assert any(same(float(got), want, near=near) for want in wants), told


@pytest.mark.parametrize("dtype", [bridge.complex64, bridge.complex128], ids=lambda one: one.name)
@pytest.mark.parametrize("name", COMPLEX)
def test_special_cases_of_complex_numbers(name: str, dtype):
    """The same for complex numbers, both parts; and f(conj(z)) is conj(f(z)), which gives the other half plane."""
    function = getattr(bridge, name)
    for (real, imag), results in lines(COMPLEX[name]):
        cases = [complex(a, b) for a in members(real) for b in members(imag)]
        for case, got in zip(cases, function(bridge.array(cases, dtype=dtype)).tolist(), strict=True):
            told = f"{name}({case}) is {got}, not {results}"
            assert any(fits(complex(got), one, case) for one in results), told


def fits(got: complex, want: str, z: complex) -> bool:
    if want.startswith("cis"):  # of an infinity also where 1 is taken away
        size = number(want[4:-1])
        direction = cmath.rect(1, z.imag)
        return same(got.real, size * direction.real) and same(got.imag, size * direction.imag)
    parts = [("x", z.real)] if want.startswith("x:") else []
    known = dict(parts)
    texts = want.split(":") if ":" in want else [want, ""]
    for text, value in zip(texts, (got.real, got.imag), strict=True):
        if not text:
            continue
        bare = text.removeprefix("±")
        expected = known[bare] if bare in known else number(bare)
        if not same(value, expected, sign=bare == text):
            return False
    return True


# ------------------------------------------------------------------------------------------------ dtypes and creation


def test_finfo_and_iinfo():
    """The limits of numbers are NumPy's and ml_dtypes'; a complex dtype has those of its parts."""
    for name in ("float16", "float32", "float64", "complex64", "complex128"):
        ours, theirs = bridge.finfo(getattr(bridge, name)), np.finfo(name)
        for field in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(ours, field) == getattr(theirs, field), (name, field)
            assert type(getattr(ours, field)) in (int, float)
    assert bridge.finfo(bridge.complex128).dtype == bridge.float64
    assert bridge.finfo(bridge.ones((2,), dtype=bridge.bfloat16)).eps == 2**-7
    assert bridge.finfo(bridge.float8_e4m3fn).max == 448
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        ours, theirs = bridge.iinfo(getattr(bridge, name)), np.iinfo(name)
        assert (ours.bits, ours.min, ours.max) == (theirs.bits, theirs.min, theirs.max)
    assert (bridge.iinfo(bridge.int4).min, bridge.iinfo(bridge.uint4).max) == (-8, 15)
    assert repr(bridge.iinfo(bridge.uint8)) == "iinfo(min=0, max=255, dtype=uint8)"
    with pytest.raises(DTypeError, match=r"bridge\.finfo.*floating point"):
        bridge.finfo(bridge.int8)
    with pytest.raises(DTypeError, match=r"bridge\.iinfo.*no integer"):
        bridge.iinfo(bridge.float32)


def test_isdtype():
    """A dtype is of a kind, of itself, and of a tuple in which one is; another text is an error."""
    assert bridge.isdtype(bridge.float16, "real floating")
    assert bridge.isdtype(bridge.int8, ("bool", bridge.int8))
    assert not bridge.isdtype(bridge.int8, ("bool", "complex floating"))
    assert not bridge.isdtype(bridge.float8_e5m2, "numeric")
    with pytest.raises(ValueError, match="no such kind"):
        bridge.isdtype(bridge.int8, "int")


def test_can_cast_and_result_type():
    """A dtype can be cast where promotion leads; Python scalars are weak."""
    assert bridge.can_cast(bridge.int8, bridge.int16)
    assert not bridge.can_cast(bridge.ones((1,)), bridge.int32)
    assert not bridge.can_cast(bridge.float8_e5m2, bridge.float32)
    assert bridge.result_type(bridge.ones((1,), dtype=bridge.int8), 1, bridge.uint8) == bridge.int16
    assert bridge.result_type(bridge.float32, 1j) == bridge.complex64


def test_the_lattice_of_categories():
    """issubdtype: bool is only generic; a category is below the ones that contain it."""
    assert bridge.issubdtype(bridge.bool, bridge.generic)
    assert not bridge.issubdtype(bridge.bool, bridge.number)
    assert bridge.issubdtype(bridge.bfloat16, bridge.floating)
    assert bridge.issubdtype(bridge.unsignedinteger, bridge.integer)
    assert not bridge.issubdtype(bridge.inexact, bridge.floating)
    assert bridge.issubdtype(bridge.float32, bridge.float32)
    assert not bridge.issubdtype(bridge.floating, bridge.float32)
    assert repr(bridge.complexfloating) == "bridge.complexfloating"


def test_creation():
    """Both of MLX's and the standard's names for an argument are taken."""
    assert bridge.full((2,), fill_value=3).tolist() == bridge.full((2,), vals=3).tolist() == [3, 3]
    assert bridge.full_like(bridge.zeros((2,)), 2.0).tolist() == bridge.full_like(bridge.ones((2,)), vals=2).tolist()
    a = bridge.array([1.0, 5.0, 9.0])
    assert bridge.clip(a, 2, 6).tolist() == bridge.clip(a, a_min=2, a_max=6).tolist() == [2, 5, 6]
    assert bridge.clip(a, max=2).tolist() == [1, 2, 2]
    assert bridge.linspace(0, 1j, 3).tolist() == [0, 0.5j, 1j]
    assert bridge.eye(2, dtype=bridge.int8, device="cpu").tolist() == [[1, 0], [0, 1]]
    with pytest.raises(TypeError, match="fill_value"):
        bridge.full((2,))


def test_ranges_of_large_integers():
    """arange reaches to the end of uint64, and picks the smallest default dtype that holds its numbers."""
    top = 2**64 - 1
    assert bridge.arange(top - 3, top, dtype=bridge.uint64).tolist() == [top - 3, top - 2, top - 1]
    assert bridge.arange(top - 2, top).dtype == bridge.uint64
    assert bridge.arange(2**31 - 1, 2**31 + 1).dtype == bridge.int64
    assert bridge.arange(3).dtype == bridge.int32
    assert bridge.arange(5, -1, -2).tolist() == [5, 3, 1]


def test_copies():
    """copy=False raises, as a ValueError too, where bytes cannot be shared; copy=True never shares them."""
    a = bridge.arange(6).reshape(2, 3)
    bridge.eval(a)
    assert bridge.reshape(a, (3, 2), copy=False).tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ValueError, match="do not lie on strides"):
        bridge.reshape(a.T, (6,), copy=False)
    with pytest.raises(CopyRequired, match="no memory of its own"):
        bridge.asarray([1, 2], copy=False)
    copied = bridge.reshape(a, (6,), copy=True)
    assert np.asarray(copied).ctypes.data != np.asarray(a).ctypes.data


def test_sums_in_a_dtype():
    """dtype= of sum and prod is the dtype of the result and of the sum; integers wrap in it."""
    a = bridge.array([100, 100, 100], dtype=bridge.int8)
    assert bridge.sum(a).dtype == bridge.int32
    assert bridge.sum(a, dtype=bridge.int8).tolist() == 300 - 256
    assert bridge.sum(a, dtype=bridge.float64).dtype == bridge.float64
    assert bridge.prod(a, dtype=bridge.int64).item() == 1_000_000
    assert a.sum(dtype=bridge.uint16).dtype == bridge.uint16
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtype'"):
        bridge.max(a, dtype=bridge.int8)


def test_moving_several_axes():
    """moveaxis takes several axes, as NumPy's; doubled and unequal ones are errors."""
    x = np.arange(24).reshape(2, 3, 4)
    a = bridge.asarray(x)
    for source, destination in [((0, 1), (2, 0)), ((-1, 0), (0, -1)), ((0, 1, 2), (2, 1, 0)), ((), ())]:
        want = np.moveaxis(x, source, destination)
        np.testing.assert_array_equal(np.asarray(bridge.moveaxis(a, source, destination)), want)
    with pytest.raises(ValueError, match="named twice"):
        bridge.moveaxis(a, (0, 0), (1, 2))
    with pytest.raises(ValueError, match="different numbers"):
        bridge.moveaxis(a, (0, 1), (1,))


def test_neighbours():
    """nextafter steps in the array's own dtype, towards the second operand."""
    for dtype, theirs in ((bridge.float16, np.float16), (bridge.float32, np.float32), (bridge.float64, np.float64)):
        x = np.array([1, -1, 0, 3e-5, 65504], theirs)
        for towards in (math.inf, -math.inf, 0):
            got = bridge.nextafter(bridge.asarray(x), bridge.array(towards, dtype=dtype))
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(np.asarray(got), np.nextafter(x, theirs(towards)))
    one = bridge.ones((1,), dtype=bridge.bfloat16)
    assert bridge.nextafter(one, one + 1).item() == 1 + 2**-7


def test_numbers_from_arrays():
    """An array of one element is a Python number of its kind; what does not convert raises."""
    assert complex(bridge.array(2 + 1j)) == 2 + 1j
    assert complex(bridge.array(3)) == 3
    assert [0, 1, 2][bridge.array(1)] == 1
    assert float(bridge.array(1.5)) == 1.5
    assert bytes(bridge.array([[1, 2], [3, 4]], dtype=bridge.int8).T) == bytes([1, 3, 2, 4])
    assert bridge.array(1.0).__rdiv__(3).item() == 3 == bridge.array(6).__div__(2).item()
    with pytest.raises(TypeError, match="index"):
        [0, 1][bridge.array(1.0)]
    with pytest.raises(TypeError):  # noqa: PT011  (Python's own words)
        float(bridge.array(1j))


def test_like_an_array():
    """ArrayLike is whatever hands out its memory."""
    assert isinstance(np.ones(2), bridge.ArrayLike)
    assert isinstance(bridge.ones((2,)), bridge.ArrayLike)
    assert not isinstance([1, 2], bridge.ArrayLike)
    assert not isinstance("text", bridge.ArrayLike)
    assert not isinstance(np.ndarray, bridge.ArrayLike)


# ------------------------------------------------------------------------------------- values, against array-api-strict

DTYPES = ["bool", "int8", "uint16", "int32", "uint64", "float32", "float64", "complex64", "complex128"]
RNG = np.random.default_rng(11)
MANY: dict[str, Callable[[Any, Any], Any]] = {
    "extremes": lambda m, x: [m.max(x, axis=1), m.min(x, keepdims=True)],
    "truth": lambda m, x: [m.all(x, axis=(0, 2)), m.any(x, keepdims=True)],
    "statistics": lambda m, x: [m.mean(x, axis=0), m.std(x, correction=1.5), m.var(x, axis=(1, 2), correction=1)],
    "sums": lambda m, x: [m.sum(x, dtype=m.complex128), m.cumulative_sum(x, axis=1, dtype=m.complex128)],
    "sums so far": lambda m, x: m.cumulative_sum(x, axis=-1, dtype=x.dtype, include_initial=True),
    "sorting": lambda m, x: [m.sort(x, axis=0, descending=True), m.take_along_axis(x, m.argsort(x, axis=0), axis=0)],
    "sets": lambda m, x: [m.unique_values(x), m.isin(x, x[0, 0, :]), m.isin(2, x)],
    "places": lambda m, x: [m.astype(one, m.int32) for one in (*m.nonzero(x), m.count_nonzero(x, axis=1))],
    "taking": lambda m, x: m.take(x, m.asarray([2, 0]), axis=1),
    "choosing": lambda m, x: [m.where(x == x, x, 1), m.clip(x, 0, 2), m.diff(x, axis=1, prepend=x[:, :1, :])],
    "axes": lambda m, x: [m.permute_dims(x, (2, 0, 1)), m.moveaxis(x, (0, 1), (1, 2)), m.matrix_transpose(x)],
    "shapes": lambda m, x: [m.reshape(x, (-1, 2)), m.squeeze(x[:1, ...], axis=0), m.expand_dims(x, axis=(0, -1))],
    "views": lambda m, x: [m.broadcast_to(x, (2, 2, 3, 4)), m.flip(x, axis=(0, 1)), *m.unstack(x, axis=1)],
    "repetition": lambda m, x: [m.roll(x, (1, 2), axis=(0, 1)), m.repeat(x, 2), m.tile(x, (2, 1, 1, 2))],
    "repeated by numbers": lambda m, x: m.repeat(x, m.asarray([1, 0, 2]), axis=1),
    "joins": lambda m, x: [m.concat([x, x], axis=None), m.stack([x, x], axis=-1)],
    "grids": lambda m, x: list(m.meshgrid(x[0, 0, :], x[0, :, 0], indexing="ij")),
    "triangles": lambda m, x: [m.tril(x, k=1), m.triu(x, k=-1), m.zeros_like(x), m.full_like(x, 1)],
    "keys": lambda m, x: [x[1, ...], x[..., 1], x[:, None, 1:, ::-1], x[x == x]],
    "products": lambda m, x: [m.matmul(x, m.matrix_transpose(x)), m.vecdot(x, x), m.tensordot(x, x, axes=((1,), (1,)))],
    "linalg": lambda m, x: [m.linalg.diagonal(x, offset=1), m.linalg.cross(x[..., :3], x[..., :3])],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MANY)
def test_results_are_those_of_strict(name: str, dtype: str):
    """Dtypes, shapes and values are those of array-api-strict, where it takes the dtype."""
    x = (RNG.normal(size=(2, 3, 4)) * 4 + (1j if "complex" in dtype else 0)).astype(dtype)
    try:
        want = MANY[name](strict, strict.asarray(x))
    except TypeError:
        return
    got = MANY[name](bridge, bridge.asarray(x))
    for ours, theirs in zip(*(one if isinstance(one, list) else [one] for one in (got, want)), strict=True):
        assert ours.dtype.name == str(theirs.dtype).removeprefix("array_api_strict.")
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-5)


XPS = make_strategies_namespace(bridge)


@given(st.data())
@settings(max_examples=60)
def test_hypothesis_draws_bridge_arrays(data):
    """Hypothesis' strategies for the array API make arrays of bridge, and keys that read as NumPy's do."""
    x = data.draw(XPS.arrays(dtype=data.draw(XPS.scalar_dtypes()), shape=XPS.array_shapes(max_dims=3, max_side=4)))
    key = data.draw(XPS.indices(x.shape, allow_newaxis=True))
    np.testing.assert_array_equal(np.asarray(x[key]), np.asarray(x)[key])
    mask = data.draw(XPS.arrays(dtype=bridge.bool, shape=x.shape))
    np.testing.assert_array_equal(np.asarray(x[mask]), np.asarray(x)[np.asarray(mask)])


def test_inspection_costs_no_framework():
    """The namespace answers in a process that has imported nothing but bridge and NumPy."""
    code = """if True:
        import sys, bridge
        info = bridge.__array_namespace_info__()
        info.dtypes(kind="numeric"), info.devices(), bridge.finfo(bridge.float32)
        print([name for name in ("torch", "jax", "tensorflow", "scipy") if name in sys.modules])
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
