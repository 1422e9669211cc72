"""Fill the generated parts of docs/dtypes.md and docs/ops.md from the tables that the engine uses.

    python tools/make_docs.py            rewrite what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`
    python tools/make_docs.py --check    exit 1 if a file differs from what would be written

The prose around those parts is written by hand. Needs bridge to be installed.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bridge
from bridge.core import dtypes, promotion
from bridge.core.memory import NATIVE
from bridge.core.ops import linalg, load
from bridge.core.ops.declare import PRIMITIVES, Declaration

load()  # every primitive

DOCS = Path(__file__).resolve().parent.parent / "docs"
NAMES = [row.name for row in dtypes.TABLE if row.kind != "held"]
CODES = {0: "kDLInt", 1: "kDLUInt", 2: "kDLFloat", 4: "kDLBfloat", 5: "kDLComplex", 6: "kDLBool"}
SHORT = {
    "bool": "b",
    **{
        f"{kind}{bits}": f"{letter}{bits}" for kind, letter in (("uint", "u"), ("int", "i")) for bits in (8, 16, 32, 64)
    },
    **{f"float{bits}": f"f{bits}" for bits in (16, 32, 64)},
    "bfloat16": "bf16",
    "complex64": "c64",
    "complex128": "c128",
}
SETS = {
    "all": dtypes.ALL,
    "real": dtypes.REAL,
    "numbers (not bool)": dtypes.NUMERIC,
    "integers, bool": dtypes.INTEGER | dtypes.BOOL,
    "integers": dtypes.INTEGER,
    "float32, float64, complex": linalg.LAPACK,
}
RESULTS = {
    "same": "promoted",
    "float": "promoted; integers and bool: float32",
    "bool": "bool",
    "logical": "bool",
    "abs": "promoted; complex: its real dtype",
    "select": "promoted from the last two",
    "sum": "the same; below 32 bits: int32 or uint32; int64 or uint64 of more than 2^31 - 1 elements",
    "index": "int32; int64 of more than 2^31 - 1 elements",
}
FAMILIES = {
    "arithmetic": "Arithmetic",
    "exponential": "Exponentials, logarithms, roots",
    "trigonometric": "Trigonometric and hyperbolic",
    "compare": "Comparison, logic, choice",
    "bitwise": "Bits",
    "reduce": "Reductions and statistics",
    "scan": "Cumulative operations",
    "sort": "Order",
    "sets": "Distinct elements, membership, differences",
    "contract": "Contractions",
    "products": "Products of chosen parts",
    "einsum": "Index notation",
    "conv": "Convolutions",
    "shape": "Shape, joins, repetition",
    "neighbours": "Neighbours of numbers",
    "index": "Casts",
    "bitcast": "Bytes",
    "create": "New arrays",
    "fast": "Layers of neural networks",
    "misc": "Padding, grids, windows",
    "gradient": "Derivatives",
    "random": "Random numbers",
    "linalg": "Linear algebra",
    "fft": "Fourier transforms",
}
# Families that are modules of their own: users write bridge.linalg.inv.
NAMESPACES = ("random", "fast", "linalg", "fft")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def dtype_table() -> str:
    rows = []
    for row in dtypes.TABLE:
        public = f"bridge.{row.name}" + ("_" if row.name == "bool" else "")
        module = "numpy" if row.name in NATIVE else "ml_dtypes"
        # The codes of float8 and float4 are named after the dtypes.
        code = CODES.get(row.dlpack_code, f"kDL{row.name[0].upper()}{row.name[1:]}")
        dlpack = f"{code}, {row.bits} bits{', padded' if row.padding else ''}"
        rows.append(
            (
                f"`{public}`",
                str(row.size),
                f"held; exact in `{row.exact}`" if row.exact else row.kind,
                f"`{module}.{row.name}`",
                dlpack,
                f"`{row.format}`" if row.format else "none",
            )
        )
    return table(("dtype", "bytes", "kind", "in NumPy", "in DLPack", "buffer format"), rows)


def promotion_table() -> str:
    rows = [(f"**{SHORT[a]}**", *(SHORT[promotion.promote(a, b)] for b in NAMES)) for a in NAMES]
    return table(("", *(SHORT[name] for name in NAMES)), rows)


def scalar_table() -> str:
    rows = [(f"`{a}`", *(f"`{promotion.promote_weak(a, scalar)}`" for scalar in promotion.WEAK)) for a in NAMES]
    return table(("array", *(f"`{scalar}`" for scalar in promotion.WEAK)), rows)


def lattice() -> str:
    return "```text\n" + "\n".join(f"{a:<10} -> {', '.join(up)}" for a, up in promotion.HOLDS.items() if up) + "\n```"


def family(module: str) -> str:
    """The public names of one module of ops, primitives and composites together, in alphabetical order."""
    source = getattr(bridge.core.ops, module)
    namespace = source if module in NAMESPACES else bridge
    names = [
        name
        for name in sorted(namespace.__all__)
        if vars(source).get(name) is getattr(namespace, name) and is_home(source, name)
    ]
    rows = [op_row(namespace, name) for name in names]
    return table(("function", "dtypes", "result", "what it gives", "error"), rows)


def is_home(source: Any, name: str) -> bool:
    """Whether the name is defined in this module, not imported into it."""
    return (
        re.search(rf"^(def {name}\(|[\w, ]*\b{name}\b[\w, ]*(: \w+)? = )", inspect.getsource(source), re.MULTILINE)
        is not None
    )


def op_row(namespace: Any, name: str) -> tuple[str, ...]:
    function = getattr(namespace, name)
    declaration = next((one for one in PRIMITIVES.values() if one.call is function), None)
    if declaration is None:
        plain = [
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in inspect.signature(function).parameters.values()
        ]
        return (f"`{name}{inspect.Signature(plain)}`", "", "", sentence(function.__doc__), "")
    return (
        f"`{name}{declaration.signature}`",
        accepted(declaration),
        result(declaration),
        sentence(declaration.doc),
        bound(declaration),
    )


def sentence(doc: str | None) -> str:
    return (doc or "").strip().split("\n\n")[0].replace("\n", " ").replace("``", "`")


def accepted(declaration: Declaration) -> str:
    return next((title for title, members in SETS.items() if members == declaration.accepts), "?")


def result(declaration: Declaration) -> str:
    return "" if declaration.kind in ("view", "structured", "host") else RESULTS[declaration.result]


def bound(declaration: Declaration) -> str:
    if declaration.kind != "elementwise" or declaration.ulp is None:
        return ""
    return f"{declaration.ulp:g} ulp"


PARTS = {
    "dtypes.md": {
        "dtypes": dtype_table,
        "lattice": lattice,
        "promotion": promotion_table,
        "scalars": scalar_table,
    },
    "ops.md": {module: lambda module=module: family(module) for module in FAMILIES},
}


def filled(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    for name, make in PARTS[path.name].items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{path.name} has no part <!-- begin {name} --> ... <!-- end {name} -->")
        text = pattern.sub(lambda match, make=make: f"{match[1]}{make()}\n{match[2]}", text)
    return text


def main() -> int:
    stale = 0
    for name in PARTS:
        path = DOCS / name
        text = filled(path)
        if text == path.read_text(encoding="utf-8"):
            continue
        if "--check" in sys.argv[1:]:
            print(f"docs/{name} is stale: run python tools/make_docs.py")
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
