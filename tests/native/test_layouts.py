"""Strided, reversed, broadcast, transposed and unaligned arrays, read and written, against NumPy on the same views."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from native.engine import DTYPE, Kernel, apply
from native.oracle import sample, wide

WIDTHS = ["uint8", "float16", "float32", "float64", "complex128"]


def fill(name: str, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(int(np.prod(shape)) + 7)
    return sample(name, int(np.prod(shape)), rng).reshape(shape)


def unaligned(array: np.ndarray) -> np.ndarray:
    """The same values at an address that is no multiple of the element size."""
    raw = np.zeros(array.nbytes + 1, "u1")
    view = np.ndarray(array.shape, array.dtype, raw.data, offset=1)
    view[...] = array
    return view


# A view from the dtype's name. Shapes cross all thresholds: rows shorter and longer than a strip, one and many axes.
LAYOUTS: dict[str, Callable[[str], np.ndarray]] = {
    "dense": lambda t: fill(t, 37, 41),
    "zero-d": lambda t: fill(t, 1).reshape(()),
    "empty": lambda t: fill(t, 4, 0),
    "one element": lambda t: fill(t, 1, 1),
    "offset": lambda t: fill(t, 1001)[3:],
    "every third": lambda t: fill(t, 3001)[::3],
    "reversed": lambda t: fill(t, 1300)[::-1],
    "reversed rows": lambda t: fill(t, 7, 300)[::-1],
    "reversed both": lambda t: fill(t, 9, 300)[::-1, ::-1],
    "columns": lambda t: fill(t, 60, 40)[:, 3:17],
    "wide columns": lambda t: fill(t, 6, 900)[:, 5:705],
    "one column": lambda t: fill(t, 700, 3)[:, 1],
    "transposed": lambda t: fill(t, 37, 53).T,
    "transposed large": lambda t: fill(t, 300, 257).T,
    "fortran": lambda t: np.asfortranarray(fill(t, 130, 150)),
    "permuted": lambda t: fill(t, 5, 6, 7, 8).transpose(2, 0, 3, 1),
    "permuted large": lambda t: fill(t, 3, 130, 140).transpose(2, 0, 1),
    "swapped inner": lambda t: fill(t, 4, 33, 150).transpose(0, 2, 1),
    "broadcast rows": lambda t: np.broadcast_to(fill(t, 3), (500, 3)),
    "broadcast long rows": lambda t: np.broadcast_to(fill(t, 1000), (9, 1000)),
    "broadcast columns": lambda t: np.broadcast_to(fill(t, 500, 1), (500, 7)),
    "broadcast long columns": lambda t: np.broadcast_to(fill(t, 9, 1), (9, 1000)),
    "broadcast middle": lambda t: np.broadcast_to(fill(t, 5, 1, 9), (5, 70, 9)),
    "broadcast all": lambda t: np.broadcast_to(fill(t, 1), (40, 50)),
    "axes of one": lambda t: fill(t, 1, 30, 1, 20, 1)[:, ::2],
    "many axes": lambda t: fill(t, *[2] * 11).transpose(*range(10, -1, -1)),
    "strided many axes": lambda t: fill(t, 4, 4, 4, 4, 4)[::2, 1:, ::-1, :, 1:3],
    "unaligned": lambda t: unaligned(fill(t, 700)),
    "unaligned rows": lambda t: unaligned(fill(t, 5, 300))[:, 1:],
}


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_read(layout: str, name: str) -> None:
    """Alone, beside a dense array, and beside a scalar."""
    view = LAYOUTS[layout](name)
    dense = fill(name, *view.shape)
    scalar = fill(name, 1).reshape(())
    np.testing.assert_array_equal(apply("copy", view), view)
    for other in (dense, scalar):
        kernel = Kernel(view.shape)
        a, b = kernel.input(view), kernel.input(other, scalar=other is scalar)
        total = kernel.output(kernel.op("add", a, b))
        kernel.run()
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(total, (wide(view) + wide(other)).astype(view.dtype))


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("layout", [k for k in LAYOUTS if not k.startswith("broadcast")])
def test_any_layout_is_written(layout: str, name: str) -> None:
    """Nothing beside the elements of the view changes."""
    view = LAYOUTS[layout](name)
    base = view.base if isinstance(view.base, np.ndarray) else view
    before = base.copy()
    values = fill(name, *view.shape)
    kernel = Kernel(view.shape)
    a = kernel.input(values)
    kernel.output(kernel.op("maximum", a, a), view)
    kernel.run()
    np.testing.assert_array_equal(view, values)
    view[...] = 0
    after = base.copy()
    base[...] = before
    view[...] = 0
    np.testing.assert_array_equal(after, base)


@pytest.mark.parametrize("first", LAYOUTS)
def test_layouts_mix(first: str) -> None:
    """float32, bool and half operands of different layouts in one kernel, with dense and strided outputs."""
    x = LAYOUTS[first]("float32")
    shape = x.shape
    half = np.broadcast_to(fill("float16", *shape[-1:]) if shape else fill("float16", 1).reshape(()), shape)
    condition = np.asfortranarray(fill("bool", *shape)) if shape else fill("bool", 1).reshape(())
    target = np.zeros((*shape, 2), "f4")[..., 0]
    kernel = Kernel(shape)
    c, a, h = kernel.input(condition), kernel.input(x), kernel.input(half)
    doubled = kernel.op("add", a, a)
    widened = kernel.op("cast", h, to=DTYPE["float32"])
    chosen = kernel.op("select", c, doubled, widened)
    less = kernel.output(kernel.op("less", a, widened))
    kernel.output(chosen, target)
    again = kernel.output(chosen)
    kernel.run()
    want = np.where(condition, x + x, half.astype("f4"))
    np.testing.assert_array_equal(target, want)
    np.testing.assert_array_equal(again, want)
    np.testing.assert_array_equal(less, x < half.astype("f4"))


@pytest.mark.parametrize("name", ["float32", "float16", "int32", "float64"])
def test_an_output_may_be_an_input(name: str) -> None:
    """The very same array: every read of an element comes before its write, also with several outputs."""
    for n in (5, 300, 5000):
        a, b = fill(name, n), fill(name, n)[::-1].copy()
        x, y = wide(a.copy()), wide(b.copy())
        kernel = Kernel((n,))
        va, vb = kernel.input(a), kernel.input(b)
        total = kernel.op("add", va, vb)
        product = kernel.op("multiply", va, total)
        kernel.output(total, a)
        kernel.output(product, b)
        kernel.run()
        with np.errstate(all="ignore"):
            first = (x + y).astype(DTYPE[name])
            np.testing.assert_array_equal(a, first)
            np.testing.assert_array_equal(b, (x * wide(first)).astype(DTYPE[name]))


def test_in_place_chain() -> None:
    """a = sqrt(abs(a) * 2) in its own memory."""
    a = fill("float32", 10001)
    want = np.sqrt(np.abs(a) * np.float32(2))
    kernel = Kernel(a.shape)
    x, two = kernel.input(a), kernel.input(np.array(2, "f4"), scalar=True)
    kernel.output(kernel.op("sqrt", kernel.op("multiply", kernel.op("abs", x), two)), a)
    kernel.run()
    np.testing.assert_array_equal(a, want)


@pytest.mark.parametrize("layout", ["transposed large", "permuted large", "every third", "broadcast long rows"])
def test_large_outputs_past_the_caches(layout: str) -> None:
    """More than 8 MiB of float32, the size from which stores may bypass the caches."""
    n = 2200003
    a, b = fill("float32", n), fill("float32", n)
    np.testing.assert_array_equal(apply("add", a, b), a + b)
    views = {
        "transposed large": a[: 1450 * 1450].reshape(1450, 1450).T,
        "permuted large": a[:2190000].reshape(100, -1, 10).transpose(2, 0, 1),
        "every third": a[::3],
        "broadcast long rows": np.broadcast_to(a[:3000], (730, 3000)),
    }
    view = views[layout]
    other = b[: view.size].reshape(view.shape)
    np.testing.assert_array_equal(apply("subtract", other, view), other - view)
