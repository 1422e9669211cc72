"""`stream=` on every op: each public function that takes one puts there what it makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import bridge
from bridge.core import _native
from bridge.core.ops.declare import PRIMITIVES

SPACES = (bridge, bridge.fast, bridge.fft, bridge.linalg, bridge.random)


def takes_stream(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    if isinstance(function, _native.Primitive):
        return name in PRIMITIVES
    return inspect.isfunction(inspect.unwrap(function)) and "stream" in inspect.signature(function).parameters


OPS: dict[str, Callable[..., Any]] = {
    f"{space.__name__}.{name}": getattr(space, name)
    for space in SPACES
    for name in space.__all__
    if callable(getattr(space, name, None)) and takes_stream(getattr(space, name))
}
# They work at once.
NO_OPS = {f"bridge.{name}" for name in ("load", "save_gguf", "save_safetensors", "set_default_stream", "synchronize")}


def arrays() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    square = generator.uniform(0.1, 0.9, (4, 4)).astype(np.float32)
    return {
        "square": bridge.array(square + square.T + 4 * np.eye(4, dtype=np.float32)),
        "whole": bridge.array(generator.integers(0, 3, (4, 4)).astype(np.int32)),
        "truth": bridge.array(square > 0.5),
        "line": bridge.array(square[0]),
        "batch": bridge.array(generator.uniform(0.1, 0.9, (1, 4, 4, 4)).astype(np.float32)),
        "volume": bridge.array(generator.uniform(0.1, 0.9, (1, 4, 4, 4, 4)).astype(np.float32)),
        "complex": bridge.array(square.astype(np.complex64)),
        "key": bridge.array([1, 2], dtype=bridge.uint32),
    }


def candidates() -> Iterator[tuple[Any, ...]]:
    """Arguments, of which at least one suits each op."""
    x = arrays()
    a, line = x["square"], x["line"]
    yield from ((a,), (x["whole"],), (x["truth"],), (line,), (x["complex"],), (x["batch"],))
    yield from ((a, a), (x["whole"], x["whole"]), (line, line), (a, a, a), (x["truth"], a, a), ([a, a],))
    yield from ((3,), ((3, 2),), ((3, 2), 1.5), (0, 4), (a, 1), (a, 0, 1), (a, (16,)), (a, (4, 4)), (a, 0.5, 2.0))
    yield from ((a, bridge.float16), (a, x["whole"]), (a, x["whole"], 0), (a, 2, 1), (a, [0], [1]), (line, (4,)))
    yield from (("ij,jk->ik", a, a), (a, 0, (2, 2)), (a, x["whole"], a, 0), (a, (2, 2), (1, 1)), (a, (8,)))
    yield from ((x["batch"], x["batch"]), (x["volume"], x["volume"]), (bridge.stack([a]), bridge.stack([a])))
    yield from ((a, line, 1e-5), (a, line, line, 1e-5), (x["whole"], 2), (a, bridge.array([0, 1]), (0, 1)))
    yield from ((bridge.ones((1, *(4,) * n, 3)), bridge.ones((2, *(3,) * n, 3))) for n in (1, 2, 3))
    yield from ((line[:3], line[:3]), (a, bridge.array([0, 1, 2, 3])))
    yield from ((a, bridge.array([0]), (0,), (2, 2)), (a, a[:1], bridge.array([0]), (0,)))


def every_array(result: Any) -> Iterator[Any]:
    if isinstance(result, bridge.array):
        yield result
    elif isinstance(result, tuple | list):
        for one in result:
            yield from every_array(one)


def suiting(op: Callable[..., Any]) -> tuple[Any, ...] | None:
    """Arguments that the op takes."""
    for arguments in candidates():
        try:
            op(*arguments)
        except (AttributeError, TypeError, ValueError, bridge.BridgeError, IndexError):
            continue
        return arguments
    return None


def test_an_op_is_put_on_its_stream():
    """What is pending afterwards is on the stream that was given, and nothing stays on it after the call."""
    here = bridge.new_stream(bridge.cpu)
    want = _native._stream_number(bridge.exp(bridge.array([1.0]), stream=here))
    names = sorted(OPS.keys() - NO_OPS)
    tried, elsewhere = [], []
    for name in names:
        arguments = suiting(OPS[name])
        if arguments is None:
            continue
        tried.append(name)
        for one in every_array(OPS[name](*arguments, stream=here)):
            if not _native.is_evaluated(one) and _native._stream_number(one) != want:
                elsewhere.append(name)
        assert _native._stream_number(bridge.exp(bridge.array([1.0]))) == 0, name
    assert elsewhere == []
    assert len(tried) > 0.9 * len(names), set(names) - set(tried)
