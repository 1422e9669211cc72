"""What a call costs: 16 elements, so that nothing but overhead is measured.

    python -m benchmarks.costs [--rounds N] [--json FILE] [--check]

Peers run in the same process and the same rounds. mlx is the library whose documented way into each framework bridge
is held against.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

import bridge
from benchmarks.harness import Row, finish, medians, parser

# Nine ops. The same text runs for NumPy and for bridge.
CHAIN = "((((x * 2 + 1) * x - 3) * y + x) / 4 - y) * 0.5"

# Each claim has an array of its own: what one target does to an array must not show in the cost of the next.
# claim, our statement, peer, the peer's statement, target, what the peer's statement needs
CLAIMS = (
    ("9 ops built and evaluated", f"evaluate({CHAIN})", "numpy", CHAIN.replace("x", "nx").replace("y", "ny"), 0.3, ()),
    ("np.asarray(a)", "asarray(a0)", "np.asarray(mlx array)", "asarray(m0)", 0.7, ("mlx.core",)),
    (
        'bridge.to("torch", a)',
        'to("torch", a1)',
        "torch.from_dlpack(mlx array)",
        "torch.from_dlpack(m1)",
        0.35,
        ("torch", "mlx.core"),
    ),
    (
        'bridge.to("jax", a)',
        'to("jax", a2)',
        "jax.dlpack.from_dlpack(mlx array)",
        "jax.dlpack.from_dlpack(m2)",
        0.2,
        ("jax", "mlx.core"),
    ),
    (
        'bridge.to("tensorflow", a)',
        'to("tensorflow", a3)',
        "tf from_dlpack(mlx capsule)",
        "tf.experimental.dlpack.from_dlpack(m3.__dlpack__())",
        0.9,
        ("tensorflow", "mlx.core"),
    ),
    ("bridge.from_(tensor)", "from_(t)", "mlx.core.array(tensor)", "mx.array(t)", 0.15, ("torch", "mlx.core")),
    (
        'bridge.to("torch", 1,000 arrays)',
        'to("torch", tree)',
        "a loop of torch.from_dlpack over mlx arrays",
        "[torch.from_dlpack(m) for m in peers]",
        0.6,
        ("torch", "mlx.core"),
    ),
)
RECORDED = "recording was on, and is off"


def optional(name: str) -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = parser(__doc__.partition("\n")[0], rounds=41).parse_args()
    modules = {name: optional(name) for name in ("torch", "jax", "tensorflow", "mlx.core")}
    if modules["jax"]:
        importlib.import_module("jax.dlpack")
    torch, mx = modules["torch"], modules["mlx.core"]
    nx = np.linspace(1, 2, 16, dtype=np.float32)
    ny = np.linspace(2, 3, 16, dtype=np.float32)
    x, y = bridge.array(nx), bridge.array(ny)
    own = {f"a{i}": bridge.array(nx) for i in range(4)}
    bridge.eval(x, y, own)
    names = {
        "nx": nx,
        "ny": ny,
        "x": x,
        "y": y,
        **own,
        "evaluate": bridge.eval,
        "asarray": np.asarray,
        "to": bridge.to,
        "from_": bridge.from_,
        "torch": torch,
        "jax": modules["jax"],
        "tf": modules["tensorflow"],
        "mx": mx,
        "t": torch.linspace(1, 2, 16) if torch else None,
        "tree": {f"w{i}": bridge.array(nx) for i in range(1000)},
    }
    bridge.eval(names["tree"])
    if mx:
        names |= {f"m{i}": mx.array(nx) for i in range(4)}
        names["peers"] = [mx.array(nx) for _ in range(1000)]
        mx.eval([names[f"m{i}"] for i in range(4)], names["peers"])

    statements: dict[str, str] = {}
    for claim, ours, peer_name, peer, _, needs in CLAIMS:
        if not any(modules[need] is None for need in needs if need != "mlx.core"):
            statements[claim] = ours
        if not any(modules[need] is None for need in needs):
            statements[peer_name] = peer
    times = medians(statements, names, rounds=options.rounds)
    before = times.get('bridge.to("torch", a)')
    rows = [
        Row(name=claim, ours=times[claim], peer_name=peer_name, peer=times.get(peer_name), target=target)
        for claim, _, peer_name, _, target, _ in CLAIMS
        if claim in times
    ]
    if before is not None:
        with bridge.record():
            bridge.to("torch", own["a1"])
        after = medians({RECORDED: 'to("torch", a1)'}, names, rounds=options.rounds)[RECORDED]
        rows.append(Row(name=RECORDED, ours=after, peer_name="never recorded", peer=before, target=1.1))
    finish(rows, options, isa=bridge.core._native.isa_name(), threads=bridge.core._native.thread_count())


if __name__ == "__main__":
    main()
