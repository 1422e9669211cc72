"""Work on two streams of the CPU beside each other, against the same work one after the other.

    python -m benchmarks.streams [--rounds N] [--json FILE] [--check]

The first row is the example of MLX's documentation on unified memory: a product on one stream, 500 exp on another. The
others are balanced: the same work on both. Kernels that are split over all processors gain little from a second
stream, so these run on one thread each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bridge
from benchmarks.harness import Row, finish, medians, parser
from bridge.core import _native

REPEATED = 500
Work = Callable[[Any, Any], list[bridge.array]]  # what is to be computed, put on two streams


def documented(x: Any, y: Any) -> list[bridge.array]:
    """A product (4096, 512) @ (512, 4) beside 500 exp of (512, 4)."""
    a, b = INPUTS["a"], INPUTS["b"]
    product = bridge.matmul(a, b, stream=x)
    for _ in range(REPEATED):
        b = bridge.exp(b, stream=y)
    return [product, b]


def chains(x: Any, y: Any) -> list[bridge.array]:
    """Elementwise chains over 64k elements: kernels that are too small to be split."""
    ends = []
    for place in (x, y):
        a = INPUTS["line"]
        for _ in range(REPEATED):
            a = bridge.tanh(a, stream=place)
        ends.append(a)
    return ends


def products(x: Any, y: Any) -> list[bridge.array]:
    """Four powers of (512, 512) by products."""
    ends = []
    for place in (x, y):
        a = INPUTS["square"]
        for _ in range(4):
            a = bridge.matmul(a, INPUTS["square"], stream=place)
        ends.append(a)
    return ends


# claim, work, threads that a kernel may use (None: as many as there are), largest ratio of parallel to serial time
CLAIMS: tuple[tuple[str, Work, int | None, float], ...] = (
    ("matmul beside 500 exp", documented, None, 1.1),
    ("matmul beside 500 exp, one thread a kernel", documented, 1, 1.0),
    ("2 chains of 500 tanh, one thread a kernel", chains, 1, 0.65),
    ("2 chains of 4 products, one thread a kernel", products, 1, 0.65),
)
INPUTS: dict[str, bridge.array] = {}


def main() -> None:
    options = parser(__doc__.partition("\n")[0], rounds=15).parse_args()
    INPUTS["a"] = bridge.sin(bridge.reshape(bridge.arange(4096 * 512, dtype=bridge.float32), (4096, 512)))
    INPUTS["b"] = bridge.full((512, 4), -2.0)
    INPUTS["line"] = bridge.sin(bridge.arange(1 << 16, dtype=bridge.float32))
    INPUTS["square"] = bridge.sin(bridge.reshape(bridge.arange(1 << 18, dtype=bridge.float32), (512, 512)))
    bridge.eval(INPUTS)
    one, other = bridge.new_stream(bridge.cpu), bridge.new_stream(bridge.cpu)
    rows = []
    before = _native.thread_count()
    for name, work, threads, target in CLAIMS:
        _native.set_thread_count(threads or before)
        names = {"work": work, "evaluate": bridge.eval, "one": one, "other": other}
        statements = {"parallel": "evaluate(work(one, other))", "serial": "evaluate(work(one, one))"}
        times = medians(statements, names, rounds=options.rounds)
        rows.append(
            Row(name=name, ours=times["parallel"], peer_name="on one stream", peer=times["serial"], target=target)
        )
    _native.set_thread_count(before)
    finish(rows, options)


if __name__ == "__main__":
    main()
