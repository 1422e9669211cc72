"""Every way to a view of a bridge array, as rows of one table: how it is made, read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import bridge
from bridge.core import _native


def torch_module() -> Any:
    import torch

    return torch


def jax_from_dlpack(a: Any) -> Any:
    import jax.numpy as jnp

    return jnp.from_dlpack(a, copy=False)


def tensorflow_from_dlpack(a: Any) -> Any:
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(a.__dlpack__())


class Exporter(NamedTuple):
    make: Callable[[Any], Any]
    read: Callable[[Any], list]  # the elements, in logical order, flat


def flat(view: Any) -> list:
    return np.asarray(view).reshape(-1).tolist()


def flat_torch(view: Any) -> list:
    return view.reshape(-1).tolist()


# Views that can be written: all of `view[i] = x` work.
WRITABLE = {
    "np.asarray": Exporter(lambda a: np.asarray(a, copy=False), flat),
    "np.array copy=False": Exporter(lambda a: np.array(a, copy=False), flat),
    "memoryview": Exporter(memoryview, flat),
    "np.from_dlpack": Exporter(np.from_dlpack, flat),
    "torch.frombuffer": Exporter(lambda a: torch_module().frombuffer(a, dtype=torch_module().float32), flat_torch),
    "torch.from_dlpack": Exporter(lambda a: torch_module().from_dlpack(a), flat_torch),
    "bridge.to numpy": Exporter(lambda a: bridge.to("numpy", a, copy=False), flat),
    "bridge.to torch": Exporter(lambda a: bridge.to("torch", a, copy=False), flat_torch),
}

# Views that cannot or must not be written.
FROZEN = {
    "bridge.to jax": Exporter(lambda a: bridge.to("jax", a, copy=False), flat),
    "bridge.to tensorflow": Exporter(lambda a: bridge.to("tensorflow", a, copy=False), lambda v: v.numpy().tolist()),
    "bridge.to numpy readonly": Exporter(lambda a: bridge.to("numpy", a, copy=False, readonly=True), flat),
    "bridge.to torch readonly": Exporter(lambda a: bridge.to("torch", a, copy=False, readonly=True), flat_torch),
}

# Views by a capsule of the old kind: nobody knows whether the holder writes.
LEGACY = {
    "jax from_dlpack": Exporter(jax_from_dlpack, flat),
    "tensorflow from_dlpack": Exporter(tensorflow_from_dlpack, lambda v: v.numpy().tolist()),
}

SIZE = 16


def fresh(size: int = SIZE) -> Any:
    """0, 1, 2, ... as float32 in storage that nobody else has."""
    a = bridge.array(np.arange(size, dtype=np.float32))
    bridge.eval(a)
    return a


def address(a: Any) -> int:
    return _native.facts(a)[3]


def stir(count: int = 64, size: int = SIZE) -> None:
    """Takes and returns storages of the same size, so that one that was freed too early gets other contents."""
    bridge.eval([bridge.full((size,), -7.0) + i for i in range(count)])
