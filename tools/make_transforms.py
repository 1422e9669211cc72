"""Write the table of primitives and transforms in docs/transforms.md from the declarations.

    python tools/make_transforms.py            write the table
    python tools/make_transforms.py --check    exit 1 if it differs from what would be written

Every cell says which rule answers. A primitive without one must have a reason in REASONS, or this fails.
tests/transforms/test_primitives.py tries what the table says.
"""

import re
import sys
from pathlib import Path

from bridge.core.dtypes import INEXACT
from bridge.core.ops import load
from bridge.core.ops.declare import PRIMITIVES, Declaration

PAGE = Path(__file__).resolve().parent.parent / "docs" / "transforms.md"

# Why a primitive has no derivative.
REASONS = {
    "lu": "the order of rows jumps; use `solve` or `det`",
    "lu_factor": "the order of rows jumps; use `solve` or `det`",
}
CONSTANT = "constant"


def family(op: Declaration) -> str:
    return {"index_reduction": "reduction"}.get(op.kind, op.kind)


def has_operands(op: Declaration) -> bool:
    if op.header is None:
        return True
    return "array" in " ".join(map(str, op.header.__annotations__.values())).replace("-> array", "")


def cells(op: Declaration) -> tuple[str, str, str, str]:
    """vjp, jvp, vmap, second order."""
    batched = "rule" if op.batching is not None else "by kind" if family(op) in ("elementwise", "reduction") else ""
    if op.derivative == "flat":
        return CONSTANT, CONSTANT, batched, CONSTANT
    if not op.accepts & INEXACT:
        return "integers", "integers", batched, "integers"
    if op.pullback is not None:
        return "rule", "transposed", batched, "by both"
    if op.transpose is not None:
        linear = op.kind == "view" or op.name == "cast"
        return (
            "transposed",
            "itself" if linear else "product rule" if op.name == "matmul" else "transposed",
            batched,
            "by both",
        )
    if op.derivative is not None:
        return "rule", "rule", batched, "by both"
    reason = REASONS.get(op.name) or ("no operands" if not op.signature.startswith("(a") else "")
    return reason, reason, batched or reason, reason


def table() -> str:
    load()
    rows, silent = [], []
    for op in sorted(PRIMITIVES.values(), key=lambda op: (family(op), op.name)):
        if op.of is not None:
            row: tuple[str, ...] = (f"as `{op.of}`",) * 4
        else:
            row = cells(op)
        if not all(row):
            silent.append(op.name)
        rows.append((f"`{op.name}`", family(op), *row))
    if silent:
        raise SystemExit(f"no rule and no reason in tools/make_transforms.py: {', '.join(silent)}")
    head = ("primitive", "kind", "vjp", "jvp", "vmap", "second order")
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def without() -> str:
    """The primitives that have no derivative and are not constant."""
    rows = [f"- `{name}`: {reason}" for name, reason in sorted(REASONS.items())]
    return "\n".join(rows)


def main() -> int:
    text = old = PAGE.read_text(encoding="utf-8")
    for name, made in (("table", table()), ("without", without())):
        text = re.sub(
            rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)",
            lambda match, made=made: f"{match[1]}{made}\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
    if text == old:
        return 0
    if "--check" in sys.argv[1:]:
        print("docs/transforms.md is stale: run python tools/make_transforms.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
