"""A million conversions out of the engine and a million into it; prints what they left behind, as JSON.

Run as a program by test_million.py: nothing else may allocate meanwhile.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from memory.test_flat import SOURCES, resident

import bridge
from bridge.core.registry import registry

# In proportion to how fast they are: a million in each direction.
TIMES = {"numpy": 480_000, "torch": 440_000, "jax": 60_000, "tensorflow": 20_000}
assert sum(TIMES.values()) == 1_000_000
ROUNDS = 4
FEW = 1_000  # by the ways that are slow, or that move bytes: 16 KiB each
SIZE = 4096


def left_behind(convert: Callable[[], Any], times: int) -> dict[str, int]:
    """What each of four rounds leaves at least, after some calls that fill caches: `times` calls in all.

    Engine bytes, process bytes, Python objects and blocks. Whatever a call leaves, every round leaves it; what an
    allocator takes from the system now and then is not in every round.
    """
    for _ in range(200 + times // 20):
        convert()
    gc.collect()
    gc.freeze()  # the frameworks' own objects are many, and are not looked at again
    measures = [dict.fromkeys(measure(), 0) for _ in range(ROUNDS + 1)]
    measures[0].update(measure())
    for each in measures[1:]:
        for _ in range(times // ROUNDS):
            convert()
        each.update(measure())
    pairs = list(pairwise(measures))
    return {name: min(after[name] - before[name] for before, after in pairs) for name in measures[0]}


def measure() -> dict[str, int]:
    gc.collect()
    return {
        "engine bytes": bridge.get_active_memory(),
        "resident bytes": resident(),
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
    }


def both_ways(framework: str, times: int, **way: Any) -> dict[str, dict[str, int]]:
    """Out of one array of the engine, and in from one array of the framework."""
    array, source = bridge.array(np.arange(SIZE, dtype=np.float32)), SOURCES[framework]()
    references = sys.getrefcount(array), sys.getrefcount(source)
    found = {
        "out": left_behind(lambda: bridge.to(framework, array, **way), times),
        "in": left_behind(lambda: bridge.from_(source, **way), times),
    }
    found["out"]["references"] = sys.getrefcount(array) - references[0]
    found["in"]["references"] = sys.getrefcount(source) - references[1]
    found["out"]["leases"] = len(bridge.leases(array))
    return found


def doors(target: str, source: Any) -> list[str]:
    """The doors that via= can force for this pair."""
    names = [door.name for door in registry.frameworks[target].takes]
    return [name for name in names if not bridge.explain(target, source, via=name).refused]


def by_doors(framework: str) -> dict[str, dict[str, int]]:
    """Through each door that there is, both ways."""
    array, source = bridge.array(np.arange(SIZE, dtype=np.float32)), SOURCES[framework]()
    found = {}
    for name in doors(framework, array):
        found[f"out by {name}"] = left_behind(partial(bridge.to, framework, array, via=name), FEW)
    for name in doors("bridge", source):
        found[f"in by {name}"] = left_behind(partial(bridge.from_, source, via=name), FEW)
    found["after all"] = {"leases": len(bridge.leases(array))}
    return found


def main() -> None:
    reports = {}
    for framework, times in TIMES.items():
        reports[f"{framework} shared"] = both_ways(framework, times)
        reports[f"{framework} copied"] = both_ways(framework, FEW, copy=True)
        reports[f"{framework} by doors"] = by_doors(framework)
    print(json.dumps(reports))


if __name__ == "__main__":
    main()
