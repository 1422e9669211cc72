"""What `doctor` asks of plugins and frameworks, in a process of its own: any of them may end it.

`python -m bridge.cli.probe` lists the plugins and the frameworks that they declare; `python -m bridge.cli.probe NAME`
imports one framework and tries every door between it and bridge. Either prints one line of JSON.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import bridge
from bridge.core.framework import DTYPES, Framework, doors_between
from bridge.core.memory import ALIGNMENT
from bridge.core.registry import registry

__all__ = ["framework", "main", "plugins"]


def main(words: list[str]) -> None:
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints is no report
    warnings.simplefilter("ignore")
    json.dump(framework(words[0]) if words else plugins(), report)
    report.flush()
    os._exit(0)  # some frameworks do not end well; that is not what was asked


def plugins() -> dict[str, Any]:
    """The plugins with their health, and the frameworks that the usable ones declare."""
    health = registry.health()
    return {
        "plugins": [
            {
                "name": row.name,
                "origin": row.origin,
                "distribution": row.distribution,
                "frameworks": list(row.frameworks),
                "problem": row.problem,
            }
            for row in health
        ],
        "frameworks": [
            {"name": record.name, "install": record.install, "installed": _is_installed(record.module)}
            for record in registry.frameworks.values()
        ],
    }


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def framework(name: str) -> dict[str, Any]:
    """Version and import of one framework; and how every door between it and bridge works, tried on known values."""
    registry.load()
    record = registry.frameworks[name]
    try:
        module = importlib.import_module(record.module)
    except Exception as error:
        return {"problem": f"import {record.module}: {_text(error)}"}
    engine = registry.frameworks["bridge"]
    pairs = [] if record is engine else [(engine, record), (record, engine)]
    return {
        "problem": "",
        "version": _version(module, record.module),
        "boundary": _boundary(record),
        "without": sorted(DTYPES - record.known_dtypes()),
        "ways": [_way(*pair) for pair in pairs],
        "protocols": _protocols() if name == "numpy" else [],
    }


def _text(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _version(module: Any, name: str) -> str:
    version = getattr(module, "__version__", None)
    if version is not None:
        return str(version)
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


# --------------------------------------------------------------------------------------------------------------- doors


def _way(source: Framework, target: Framework) -> dict[str, Any]:
    """From one framework into another: what happens by default, with bfloat16, and through each door."""
    known = source.known_dtypes() & target.known_dtypes()
    plain = "float32" if "float32" in known else sorted(known)[0]
    doors = [door for door, offer in doors_between(source, target) if plain in (door.dtypes or known)]
    return {
        "source": source.name,
        "target": target.name,
        "default": _tried(source, target, plain),
        "bfloat16": _tried(source, target, "bfloat16") if "bfloat16" in known else None,
        "doors": [
            _tried(source, target, plain, via=door.name)
            if door.ready is None or door.ready()
            else {"door": door.name, "outcome": "unready", "why": "it does not work here, another door is taken"}
            for door in doors
        ],
    }


def _tried(source: Framework, target: Framework, dtype: str, *, via: str | None = None) -> dict[str, Any]:
    """One conversion of small numbers, checked against them."""
    found = {"door": via, "outcome": "broken", "why": ""}
    try:
        numbers = bridge.arange(12).astype(getattr(bridge, dtype)).reshape(3, 4)
        array = bridge.to(source.name, numbers, copy=True)
        plan = bridge.explain(target.name, array, via=via)
        result = bridge.to(target.name, array, via=via)
        if bridge.from_(result, copy=True).tolist() != numbers.tolist():
            return found | {"why": "other values arrive"}
        if plan.shared and _address(target, result) != _address(source, array):
            return found | {"why": "the plan says shared, and the address is another one"}
    except Exception as error:
        return found | {"why": _text(error)}
    return {"door": plan.route, "outcome": plan.outcome, "why": plan.why}


def _protocols() -> list[dict[str, str]]:
    """What NumPy does with a bridge array by itself: the buffer slot, and `__array__` where there is no buffer."""
    import numpy

    found = []
    for dtype, how in (("float32", "by the buffer slot"), ("bfloat16", "by __array__")):
        call = f"numpy.asarray({dtype})"
        try:
            array = bridge.zeros((3, 4), dtype=getattr(bridge, dtype))
            shared = numpy.asarray(array).ctypes.data == _address(registry.frameworks["bridge"], array)
            found.append({"call": call, "outcome": "shared" if shared else "copied", "how": how, "problem": ""})
        except Exception as error:
            found.append({"call": call, "outcome": "", "how": how, "problem": _text(error)})
    return found


def _address(record: Framework, array: Any) -> int:
    return registry.describe(record, array).facts.address


# ----------------------------------------------------------------------------------------------------------- alignment


def _boundary(record: Framework) -> int:
    """The largest power of two, up to 64, whose multiples are the addresses of new arrays, as seen here."""

    def converted(size: int) -> Any:
        return bridge.to(record.name, bridge.zeros((size,)), copy=True)

    make = _FRESH.get(record.name, converted)
    arrays = [make(size) for size in (1, 3, 7, 10, 33, 100, 1000, 4097, 100_000)]
    return math.gcd(ALIGNMENT, *(_address(record, array) for array in arrays))


def _call(module: str, name: str, **keywords: Any) -> Callable[[int], Any]:
    return lambda size: getattr(importlib.import_module(module), name)((size,), **keywords)


#: Framework -> its own constructor.
_FRESH: dict[str, Callable[[int], Any]] = {
    "bridge": _call("bridge", "zeros"),
    "numpy": _call("numpy", "zeros", dtype="float32"),
    "torch": _call("torch", "zeros"),
    "jax": _call("jax.numpy", "zeros", dtype="float32"),
    "tensorflow": _call("tensorflow", "zeros"),
}

if __name__ == "__main__":
    main(sys.argv[1:])
