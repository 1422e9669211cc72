"""NumPy's protocols: its functions on bridge arrays, alone and beside ndarrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import bridge
from bridge.core import protocols

RNG = np.random.default_rng(5)
X = RNG.uniform(0.5, 2, (3, 4)).astype(np.float32)
S = (X[:, :3] + 3 * np.eye(3)).astype(np.float32)

# What bridge has: `call(numpy, array)` gives bridge arrays with NumPy's values.
OURS = {
    "sin": lambda a: np.sin(a),
    "absolute": lambda a: np.absolute(-a),
    "invert": lambda a: np.invert(a > 1),
    "power": lambda a: np.power(a, 2),
    "maximum": lambda a: np.maximum(a, 1),
    "divmod": lambda a: np.divmod(a, 0.5),
    "deg2rad": lambda a: np.deg2rad(a),
    "add to ndarray": lambda a: np.add(X, a),
    "ndarray plus": lambda a: X + a,
    "ndarray compared": lambda a: X[::-1] > a,
    "ndarray times matrix": lambda a: X.T @ a,
    "numpy scalar times": lambda a: np.float32(3) * a,
    "list": lambda a: np.add(a, 1.5),
    "with dtype": lambda a: np.multiply(a, 2, dtype=np.float64),
    "add.reduce": lambda a: np.add.reduce(a),
    "add.reduce all": lambda a: np.add.reduce(a, axis=None),
    "add.reduce dtype": lambda a: np.add.reduce(a, dtype=np.float64, axis=1, keepdims=True),
    "multiply.reduce": lambda a: np.multiply.reduce(a, axis=(0, 1)),
    "maximum.reduce": lambda a: np.maximum.reduce(a, axis=-1),
    "logical_or.reduce": lambda a: np.logical_or.reduce(a > 1.5, axis=0),
    "add.accumulate": lambda a: np.add.accumulate(a, axis=1),
    "subtract.outer": lambda a: np.subtract.outer(a[0], a),
    "outer with ndarray": lambda a: np.multiply.outer(X[0], a[1]),
    "sum": lambda a: np.sum(a, 0),
    "sum dtype by position": lambda a: np.sum(a, 1, np.float64),
    "mean keepdims": lambda a: np.mean(a, axis=1, keepdims=True),
    "std": lambda a: np.std(a, ddof=1),
    "argmax": lambda a: np.argmax(a, axis=1),
    "concatenate": lambda a: np.concatenate([a, X], axis=1),
    "stack": lambda a: np.stack((X, a)),
    "split": lambda a: np.split(a, 2, axis=1),
    "where": lambda a: np.where(a > 1, a, X * 2),
    "clip": lambda a: np.clip(a, 1, 1.5),
    "clip by name": lambda a: np.clip(a, a_min=1, a_max=None),
    "round": lambda a: np.round(a, 1),
    "transpose": lambda a: np.transpose(a),
    "transpose axes": lambda a: np.transpose(a, (1, 0)),
    "reshape": lambda a: np.reshape(a, (2, 6)),
    "moveaxis": lambda a: np.moveaxis(a, [0, 1], [1, 0]),
    "squeeze": lambda a: np.squeeze(a[None], axis=0),
    "expand_dims": lambda a: np.expand_dims(a, (0, 2)),
    "roll": lambda a: np.roll(a, 2, axis=1),
    "tile": lambda a: np.tile(a, (2, 1)),
    "repeat": lambda a: np.repeat(a, 2, axis=0),
    "broadcast_to": lambda a: np.broadcast_to(a, (2, 3, 4)),
    "zeros_like": lambda a: np.zeros_like(a),
    "full_like": lambda a: np.full_like(a, 7),
    "einsum": lambda a: np.einsum("ij,kj->ik", a, X),
    "tensordot": lambda a: np.tensordot(a, X, axes=([1], [1])),
    "dot": lambda a: np.dot(a, X.T),
    "trace": lambda a: np.trace(a),
    "isclose": lambda a: np.isclose(a, X),
    "inv": lambda a: np.linalg.inv(a[:, :3] + 3 * np.eye(3, dtype=np.float32)),
    "norm": lambda a: np.linalg.norm(a, axis=1),
    "fft": lambda a: np.fft.fft(a, axis=0),
    "sort": lambda a: np.sort(a, axis=0),
    "cumsum": lambda a: np.cumsum(a, axis=1),
    "take": lambda a: np.take(a, np.array([2, 0]), axis=1),
}
# What only NumPy has: ndarrays, computed on views.
THEIRS = {
    "ufunc": lambda a: np.cbrt(a),
    "pair of results": lambda a: np.modf(a),
    "reduceat": lambda a: np.add.reduceat(a, [0, 2], axis=1),
    "order": lambda a: np.reshape(a, (12,), order="F"),
    "percentile": lambda a: np.percentile(a, [25, 75]),
    "vstack": lambda a: np.vstack([a, X]),
    "histogram": lambda a: np.histogram(a, bins=3),
    "initial": lambda a: np.add.reduce(a, initial=10),
    "out of another function": lambda a: np.linalg.lstsq(S, a[:, :2]),
}


def leaves(value) -> list:
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, tuple | list) else [value]


@pytest.mark.parametrize("name", OURS)
def test_what_bridge_has_runs_in_bridge(name: str):
    """The result is a bridge array, or several, with NumPy's values and shape."""
    got, want = leaves(OURS[name](bridge.asarray(X))), leaves(OURS[name](X))
    assert len(got) == len(want)
    for ours, theirs in zip(got, want, strict=True):
        assert type(ours) is bridge.array
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", THEIRS)
def test_what_only_numpy_has_runs_in_numpy(name: str):
    """The result is NumPy's own, of the same values."""
    got, want = leaves(THEIRS[name](bridge.asarray(X))), leaves(THEIRS[name](X))
    for ours, theirs in zip(got, want, strict=True):
        assert type(ours) is type(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_numpy_sees_views_that_cannot_write():
    """NumPy's own functions look at the array's bytes, without a copy and without the right to write."""
    a = bridge.ones((64,))
    seen = []
    ufunc = np.frompyfunc(lambda x: x, 1, 1)
    np.save(_Sink(seen), a)
    view = protocols._seen(a)
    assert ufunc(a).tolist() == [1.0] * 64
    assert view.ctypes.data == np.asarray(a).ctypes.data
    assert not view.flags.writeable


class _Sink:
    def __init__(self, seen: list) -> None:
        self.seen = seen

    def write(self, data) -> int:
        self.seen.append(bytes(data))
        return len(data)


def test_results_have_the_dtypes_of_bridge():
    """sin of int32 is float32, as everywhere in bridge; NumPy would give float64."""
    a = bridge.array([1, 2, 3])
    assert np.sin(a).dtype == bridge.float32
    assert np.add(np.ones(3), bridge.ones(3)).dtype == bridge.float64
    assert np.mean(a).dtype == bridge.float32


def test_laziness_is_kept():
    """np.exp(a) computes nothing until its value is wanted."""
    from bridge.core import _native

    a = np.exp(bridge.ones((3,)) + 1)
    assert not _native.is_evaluated(a)


def test_truths_are_bools():
    """np.allclose and np.array_equal answer with a bool."""
    a = bridge.asarray(X)
    assert np.allclose(a, X) is True
    assert np.array_equal(a, X + 1) is False


def test_out_is_written():
    """`out=` gets the values: an ndarray in place, a bridge array as an update; it is what comes back."""
    a = bridge.asarray(X)
    out = np.empty((3, 4), np.float64)
    assert np.multiply(a, 2, out=out) is out
    np.testing.assert_allclose(out, X * 2)
    assert np.sum(a, axis=0, out=out[0]) is not None
    np.testing.assert_allclose(out[0], X.sum(0), rtol=1e-6)
    ours = bridge.zeros((3, 4))
    same = ours
    assert np.add(X, X, out=ours) is ours
    np.testing.assert_allclose(np.asarray(same), X + X)
    assert np.cbrt(a, out=ours) is ours
    np.testing.assert_allclose(np.asarray(ours), np.cbrt(X), rtol=1e-6)
    whole, rest = np.empty_like(X), np.empty_like(X)
    assert np.divmod(a, 0.5, out=(whole, rest))[1] is rest
    np.testing.assert_allclose(whole, X // 0.5)
    with pytest.raises(TypeError, match="Cannot cast"):
        np.multiply(a, 2, out=np.empty((3, 4), np.int32))


def test_an_ndarray_is_updated_in_place():
    """x += a writes into x, in x's dtype, and x stays an ndarray."""
    x = X.astype(np.float64)
    address = x.ctypes.data
    x += bridge.asarray(X)
    assert type(x) is np.ndarray
    assert x.ctypes.data == address
    np.testing.assert_allclose(x, 2 * X)
    x @= bridge.eye(4)
    np.testing.assert_allclose(x, 2 * X)
    counts = np.zeros(4, np.int64)
    with pytest.raises(TypeError, match="Cannot cast"):
        counts += bridge.ones((4,))


def test_where_leaves_the_rest():
    """`where=` computes where it is true; elsewhere `out` keeps its values."""
    a, out = bridge.asarray(X), np.full_like(X, -1)
    np.sqrt(a, where=X > 1, out=out)
    np.testing.assert_allclose(out, np.where(X > 1, np.sqrt(X), -1), rtol=1e-6)


def test_who_has_a_protocol_of_its_own_is_asked():
    """An operand with its own __array_ufunc__ decides; so does the type of an argument of a function."""

    class Other:
        def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
            return "other"

        def __array_function__(self, function, types, args, keywords):
            return "other"

    assert np.add(bridge.ones((2,)), Other()) == "other"
    assert np.concatenate([bridge.ones((2,)), Other()]) == "other"


def test_foreign_ufuncs_get_views():
    """A ufunc that is not NumPy's runs on views, whatever its name."""
    mine = np.frompyfunc(lambda x: x + 1, 1, 1)
    assert type(mine(bridge.ones((2,)))) is np.ndarray


def test_text_is_numpys_to_refuse():
    """An operand that bridge has no dtype for goes to NumPy, and its error comes back."""
    with pytest.raises(TypeError, match="ufunc 'add'"):
        np.add(bridge.ones((1,)), np.array(["a"]))


def test_the_tables_name_what_is_there():
    """Every name in the tables exists in NumPy, and all but NumPy's newest in bridge."""
    for name in (*protocols.FUNCTIONS, *protocols.ALIASES):
        assert hasattr(np, name), name
        assert hasattr(bridge, protocols.ALIASES.get(name, name)), name
    for module, names in (("linalg", protocols.LINALG), ("fft", protocols.FFT)):
        for name in names:
            assert hasattr(getattr(np, module), name), name
            assert hasattr(getattr(bridge, module), name), name
    for name in (*protocols.REDUCTIONS.values(), *protocols.SCANS.values(), *protocols.RENAMED.values()):
        assert hasattr(bridge, name), name


def test_the_tables_are_made_when_they_are_wanted():
    """Importing bridge looks no function of NumPy up."""
    code = "import bridge; from bridge.core import protocols; print(protocols._functions.cache_info().currsize)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "0"
