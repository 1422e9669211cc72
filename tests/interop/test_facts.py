"""The table of facts, held against the frameworks themselves. No test here uses bridge."""

from __future__ import annotations

import numpy as np
import pytest
from interop.expected import cannot_hold
from interop.facts import DTYPES, FRAMEWORKS, LAYOUTS, SOURCES, WIDE, size
from interop.memory_of import ADAPTERS, expected_value
from isolated import run_code

BUILDABLE = [
    (name, dtype, layout)
    for name, framework in FRAMEWORKS.items()
    for dtype in DTYPES
    for layout in SOURCES[name]
    if dtype in framework.dtypes
]


@pytest.mark.parametrize(("name", "dtype", "layout"), BUILDABLE)
def test_a_source_holds_what_the_layout_says(name, dtype, layout):
    """Every adapter builds the same array: dtype, shape and bits."""
    array = ADAPTERS[name].build(dtype, layout)
    assert ADAPTERS[name].value(array) == expected_value(dtype, layout)


def try_dlpack(name: str, source):
    """The framework's own import of an array that it did not make."""
    if name == "jax":
        import jax.numpy as jnp

        return jnp.from_dlpack(source, copy=False)
    if name == "tensorflow":
        import tensorflow as tf

        return tf.experimental.dlpack.from_dlpack(source.__dlpack__())
    if name == "torch":
        import torch

        return torch.from_dlpack(source)
    return np.from_dlpack(source)


@pytest.mark.parametrize("layout", sorted(set(SOURCES["torch"]) - {"unaligned"}))
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_shares_exactly_the_layouts_of_the_table(name, layout):
    """What `cannot_hold` says of float32 is what the framework does when it may not copy."""
    source = ADAPTERS["torch"].build("float32", layout)
    facts = FRAMEWORKS[name]
    if size(LAYOUTS[layout]) == 0:
        assert try_dlpack(name, source).shape == source.shape
    elif cannot_hold(facts, LAYOUTS[layout], "float32", facts.strides) is None:
        result = try_dlpack(name, source)
        assert ADAPTERS[name].address(result) == source.data_ptr()
        assert ADAPTERS[name].value(result) == expected_value("float32", layout)
    elif name == "tensorflow" and layout == "offset":
        pass  # accepted, and the first op kills the process: see below
    else:
        with pytest.raises(Exception, match=r"(?i)strid|align|compact"):
            try_dlpack(name, source)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_a_framework_knows_exactly_the_dtypes_of_the_table(name, dtype):
    """DLPack brings the dtype through unchanged, or the table leaves it out."""
    result = try_dlpack(name, ADAPTERS["torch"].build(dtype, "dense")) if name != "jax" or dtype not in WIDE else None
    if result is None:  # jax narrows without a word when x64 is off: that is why the table leaves it out
        import jax.numpy as jnp

        narrowed = jnp.from_dlpack(ADAPTERS["torch"].build(dtype, "dense"))
        assert str(narrowed.dtype) != dtype
        return
    assert ADAPTERS[name].value(result) == expected_value(dtype, "dense")


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_imports_every_dtype_but_bfloat16_through_dlpack(dtype):
    """NumPy's DLPack knows its own dtypes only: bfloat16 comes by another door."""
    source = ADAPTERS["torch"].build(dtype, "dense")
    if dtype == "bfloat16":
        with pytest.raises((RuntimeError, BufferError), match=r"(?i)dtype"):
            np.from_dlpack(source)
    else:
        assert ADAPTERS["numpy"].value(np.from_dlpack(source)) == expected_value(dtype, "dense")


ABORTS = {
    "torch, negative stride": """
import numpy, torch
torch.from_dlpack(numpy.arange(4)[::-1])
""",
    "tensorflow, 4-byte alignment": """
import torch, tensorflow as tf
k = tf.experimental.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(torch.arange(9.)[1:]))
tf.concat([k[tf.newaxis], k[tf.newaxis]], axis=0)
""",
    "tensorflow, string": """
import tensorflow as tf
tf.experimental.dlpack.to_dlpack(tf.constant(["a"]))
""",
}


@pytest.mark.parametrize("what", ABORTS)
def test_what_kills_the_interpreter(what):
    """Why bridge checks strides, alignment and dtype itself before it opens these doors."""
    done = run_code(ABORTS[what])
    assert done.returncode < 0, done.stderr[-500:]
