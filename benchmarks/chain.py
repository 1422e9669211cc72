"""A chain of nine float32 ops over 4M elements: kernels, peak memory and time against NumPy.

    python -m benchmarks.chain [--rounds N] [--json FILE] [--check]

One kernel, the inputs and one output in memory, at most 0.3 of NumPy's time.
"""

from __future__ import annotations

import gc

import numpy as np

import bridge
from benchmarks.costs import CHAIN
from benchmarks.harness import Row, finish, medians, parser

SIZE = 4 << 20


def kernels_of(x: bridge.array, y: bridge.array) -> list[str]:
    """The kernels that one evaluation of the chain runs, as text."""
    log: list[str] = []
    bridge.core._native.set_kernel_log(log.append)
    try:
        bridge.eval(eval(CHAIN, {"x": x, "y": y}))
    finally:
        bridge.core._native.set_kernel_log(None)
    return log


def peak_of(x: bridge.array, y: bridge.array) -> int:
    """Highest number of bytes in use while the chain is evaluated."""
    gc.collect()
    bridge.reset_peak_memory()
    result = eval(CHAIN, {"x": x, "y": y})
    bridge.eval(result)
    return bridge.get_peak_memory()


def main() -> None:
    options = parser(__doc__.partition("\n")[0], rounds=15).parse_args()
    generator = np.random.default_rng(0)
    nx, ny = (generator.uniform(1, 2, SIZE).astype(np.float32) for _ in range(2))
    before = bridge.get_active_memory()
    x, y = bridge.array(nx), bridge.array(ny)
    bridge.eval(x, y)
    inputs = bridge.get_active_memory() - before

    expected = eval(CHAIN, {"x": nx, "y": ny})
    result = np.asarray(eval(CHAIN, {"x": x, "y": y}))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    del result, expected
    kernels, peak = kernels_of(x, y), peak_of(x, y) - before

    statements = {"bridge": f"evaluate({CHAIN})", "numpy": CHAIN.replace("x", "nx").replace("y", "ny")}
    names = {"x": x, "y": y, "nx": nx, "ny": ny, "evaluate": bridge.eval}
    times = medians(statements, names, rounds=options.rounds)
    rows = [
        Row(name="kernels", ours=len(kernels), peer_name="wanted", peer=1, target=1, unit=""),
        Row(name="peak memory", ours=peak, peer_name="inputs + one output", peer=1.5 * inputs, target=1.02, unit="B"),
        Row(name="9 ops, 4M float32", ours=times["bridge"], peer_name="numpy", peer=times["numpy"], target=0.3),
    ]
    finish(rows, options, kernels=kernels)


if __name__ == "__main__":
    main()
