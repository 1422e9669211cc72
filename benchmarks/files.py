"""Files: opening, reading and saving safetensors, against the library safetensors and MLX.

python -m benchmarks.files [--rounds N] [--gigabytes N] [--folder DIR] [--json FILE] [--check]

All tools work on the same files, which are in the system's cache, one after the other in every round; medians of one
run are compared. "Sum" loads a file and adds it up with the tool's own function; "read" reads every byte with the same
function of NumPy's over the memory that the tool gives, which is the same map for two of them. Peers do not sync: an
fsync follows them.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy

import bridge
from benchmarks.harness import Row, finish, human_time, parser

MEMORY = """
import json, os, sys
import bridge
bridge.load(sys.argv[2])
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
before = resident()
arrays = bridge.load(sys.argv[1])
print(resident() - before)
"""

Calls = Mapping[str, Callable[[], object]]


def timed(calls: Calls, *, rounds: int, between: Callable[[], object] = gc.collect) -> dict[str, float]:
    """Median seconds of each call, all of them in every round; the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            between()
            start = time.perf_counter()
            result = call()
            times[name].append(time.perf_counter() - start)
            del result
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def against_best(name: str, times: Mapping[str, float], target: float) -> Row:
    """bridge against the fastest of the others."""
    print(f"  {name}: " + ", ".join(f"{tool} {human_time(seconds)}" for tool, seconds in times.items()), flush=True)
    peer = min((one for one in times if one != "bridge"), key=times.__getitem__)
    return Row(name=name, ours=times["bridge"], peer_name=peer, peer=times[peer], target=target)


def read(arrays: Mapping[str, Any]) -> int:
    """Every byte, by NumPy, over the arrays' own memory."""
    return sum(
        int(numpy.bitwise_xor.reduce(numpy.asarray(one).reshape(-1).view(numpy.uint64))) & 1 for one in arrays.values()
    )


def reading(path: str) -> tuple[Calls, Calls]:
    """Load and read, load and add up."""
    import mlx.core as mx
    import safetensors.numpy
    import safetensors.torch

    def by_mlx() -> dict[str, Any]:
        arrays: dict[str, Any] = mx.load(path)
        mx.eval(arrays)
        return arrays

    reads: Calls = {
        "bridge": lambda: read(bridge.load(path)),
        "safetensors (numpy)": lambda: read(safetensors.numpy.load_file(path)),
        "safetensors (torch)": lambda: read(safetensors.torch.load_file(path)),
        "mlx": lambda: read(by_mlx()),
    }
    sums: Calls = {
        "bridge": lambda: [one.item() for one in [a.sum() for a in bridge.load(path).values()]],
        "safetensors (numpy)": lambda: [a.sum() for a in safetensors.numpy.load_file(path).values()],
        "safetensors (torch)": lambda: [a.sum().item() for a in safetensors.torch.load_file(path).values()],
        "mlx": lambda: [one.item() for one in [a.sum() for a in mx.load(path).values()]],
    }
    return reads, sums


def opening(path: str) -> Calls:
    from safetensors import safe_open

    def keys() -> list[str]:
        with safe_open(path, "numpy") as file:
            return list(file.keys())

    return {"bridge": lambda: bridge.load(path), "safetensors.safe_open, keys listed": keys}


def saving(folder: Path, arrays: dict[str, Any]) -> Calls:
    import mlx.core as mx
    import safetensors.numpy
    import safetensors.torch
    import torch

    ours = {name: bridge.from_(one) for name, one in arrays.items()}
    tensors = {name: torch.from_numpy(one) for name, one in arrays.items()}
    theirs = {name: mx.array(one) for name, one in arrays.items()}
    mx.eval(theirs)

    def synced(name: str, save: Callable[[str], object]) -> Callable[[], None]:
        path = str(folder / f"{name}.safetensors")

        def call() -> None:
            save(path)
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

        return call

    return {
        "bridge": lambda: bridge.save_safetensors(str(folder / "bridge.safetensors"), ours),
        "safetensors (numpy)": synced("numpy", lambda path: safetensors.numpy.save_file(arrays, path)),
        "safetensors (torch)": synced("torch", lambda path: safetensors.torch.save_file(tensors, path)),
        "mlx": synced("mlx", lambda path: mx.save_safetensors(path, theirs)),
    }


def main() -> None:
    options = parser(__doc__.partition("\n")[0], rounds=5)
    options.add_argument("--gigabytes", type=float, default=2.0, help="size of the large file (default 2)")
    options.add_argument("--folder", help="where the files are made (default: the system's temporary folder)")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        rows = measured(folder, arguments.gigabytes, rounds=arguments.rounds)
    finish(rows, arguments)


def measured(folder: Path, gigabytes: float, *, rounds: int) -> list[Row]:
    random = numpy.random.default_rng(0)
    piece = random.standard_normal(1 << 24, dtype=numpy.float32).reshape(4096, 4096)  # 64 MiB
    count = max(1, round(gigabytes * 1e9 / piece.nbytes))
    large, many, one = (str(folder / f"{name}.safetensors") for name in ("large", "many", "one"))
    bridge.save_safetensors(large, {f"layer.{i}": bridge.from_(piece) for i in range(count)})
    names = [f"model.layers.{i // 10}.block.{i % 10}.weight" for i in range(1000)]
    bridge.save_safetensors(many, {name: bridge.zeros((64, 64)) for name in names})
    bridge.save_safetensors(one, {"a": bridge.zeros((4,))})

    reads, sums = reading(large)
    size = f"{count * piece.nbytes / 1e9:.2g} GB"
    rows = [
        against_best(f"load and sum {size}", timed(sums, rounds=rounds), 1.0),
        against_best(f"load and read {size} with NumPy", timed(reads, rounds=rounds), 1.1),
        against_best("open 1,000 tensors", timed(opening(many), rounds=100 * rounds, between=lambda: None), 0.5),
    ]
    grown = subprocess.run([sys.executable, "-c", MEMORY, many, one], capture_output=True, text=True, check=True).stdout
    limit = "limit"
    rows.append(
        Row(name="open 1,000 tensors: new memory", ours=int(grown), peer_name=limit, peer=1e6, target=1.0, unit="bytes")
    )
    os.unlink(large)
    half = {f"layer.{i}": piece.copy() for i in range(max(1, count // 2))}
    between = lambda: (gc.collect(), os.sync())  # noqa: E731
    rows.append(
        against_best("save and sync half of it", timed(saving(folder, half), rounds=rounds, between=between), 1.1)
    )
    with contextlib.suppress(OSError):
        print(json.dumps({"processors": os.cpu_count(), "kernel": os.uname().release}))
    return rows


if __name__ == "__main__":
    main()
