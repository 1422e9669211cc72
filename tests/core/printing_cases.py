"""Arrays whose printed form is compared with MLX's, written so that `mx` may be either module.

`python tests/core/printing_cases.py` runs them under MLX and writes what it prints to printing_mlx.json, so that the
suite needs no MLX to compare.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_name("printing_mlx.json")

CASES = [
    "mx.array(3)",
    "mx.array(True)",
    "mx.array(1e-7)",
    "mx.array(2**40)",
    "mx.array(1+1j)",
    "mx.array(5, dtype=mx.uint8)",
    "mx.arange(6)",
    "mx.arange(7)",
    "mx.arange(1001)",
    "mx.arange(24).reshape(2, 3, 4)",
    "mx.arange(720).reshape(10, 8, 9)",
    "mx.arange(2 * 7 * 2 * 7).reshape(2, 7, 2, 7)",
    "mx.arange(12).reshape(3, 4).T",
    "mx.arange(12)[::-2]",
    "mx.broadcast_to(mx.arange(3), (8, 3))",
    "mx.zeros((0,))",
    "mx.zeros((0, 3))",
    "mx.zeros((1, 0))",
    "mx.zeros((3, 2, 0))",
    "mx.zeros((8, 0))",
    "mx.zeros((0, 2, 3))",
    "mx.array([])",
    "mx.array([1 / 3, 1e10, -1e-5, 123456789.0, 0.1, 1e-4])",
    "mx.array([1.0, 1e5, 1e6, 123456.7, 1234567.0])",
    "mx.array([inf, -inf, nan, -0.0])",
    "mx.array([1.5 + 0j, 2 + 3j, -1 - 2j, complex(0, -0.0), complex(nan, inf), complex(1, nan)])",
    "mx.array([True, False])",
    "mx.array([0.1, 1000, 65504]).astype(mx.float16)",
    "mx.array([0.1, 1000, 3e38]).astype(mx.bfloat16)",
    "mx.array([[-1, 100], [7, -128]], dtype=mx.int8)",
    "mx.array([0, 2**63 - 1], dtype=mx.uint64)",
    "mx.array([-(2**63), 2**63 - 1], dtype=mx.int64)",
]
PRECISIONS = [-1, 0, 3, 10]


def printed(mx: Any) -> dict[str, str]:
    """What every case prints at every precision, with the module's name taken out."""
    names = {"mx": mx, "inf": float("inf"), "nan": float("nan")}
    result = {}
    for precision in PRECISIONS:
        with mx.printoptions(precision=precision):
            for case in CASES:
                result[f"{precision}: {case}"] = repr(eval(case, names))
    return result


if __name__ == "__main__":
    import mlx.core

    RECORDED.write_text(json.dumps(printed(mlx.core), indent=1) + "\n", encoding="utf-8")
