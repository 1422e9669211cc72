"""Write docs/mlx.md: every public name of mlx.core, and whether bridge has it with the same signature.

    python tools/make_names.py             write the page
    python tools/make_names.py --check     exit 1 if the committed page differs from what would be written
    python tools/make_names.py --snapshot  write the names and signatures of the installed mlx to mlx_names.json

The page is made from that committed snapshot (in tests/core/), so only `--snapshot` needs mlx. "The same signature"
means: every call that MLX's signature allows is a call of bridge's with the same meaning, and parameters left out have
the same values. bridge may take more. Needs bridge to be installed.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bridge

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "mlx.md"
SNAPSHOT = ROOT / "tests" / "core" / "mlx_names.json"

PARTS = {
    "": "mlx.core",
    "array": "mlx.core.array",
    "random": "mlx.core.random",
    "linalg": "mlx.core.linalg",
    "fft": "mlx.core.fft",
    "fast": "mlx.core.fast",
}
# What the comparison leaves out: quantisation, the export of graphs, and the modules of other machines.
OUTSIDE = {
    *("quantize", "dequantize", "quantized_matmul", "qqmm", "gather_qmm", "gather_qqmm"),
    *("export_function", "import_function", "exporter", "FunctionExporter", "export_to_dot"),
    *("distributed", "metal", "cuda", "random", "linalg", "fft", "fast"),
}
# Names that bridge does without, and why.
LISTED = {
    "fast.metal_kernel": "takes source text in Metal's language; bridge writes its kernels itself, from the graph",
    "fast.cuda_kernel": "takes source text in CUDA's language, for processors that bridge has no backend for",
    "fast.precompiled_cuda_kernel": "takes machine code for processors that bridge has no backend for",
    "array.__setstate__": "an array is made whole from its pickle (`__reduce_ex__`), never changed into another",
}
# Dunder methods that every Python object has, or that are another way to say an operator.
IMPLIED = {
    *("__class__", "__delattr__", "__dir__", "__doc__", "__format__", "__getattribute__", "__getstate__", "__hash__"),
    *("__init__", "__init_subclass__", "__module__", "__new__", "__reduce__", "__reduce_ex__", "__repr__"),
    *("__setattr__", "__sizeof__", "__str__", "__subclasshook__", "__weakref__"),
}


# -------------------------------------------------------------------------------------------------------- the snapshot


def snapshot() -> dict[str, Any]:
    """Names of the installed mlx with their signatures: a text, a list of texts (overloads), or None (no function)."""
    import mlx
    import mlx.core

    stubs = Path(mlx.core.__file__).parent / "core"
    parts: dict[str, Any] = {"version": mlx.core.__version__}
    for part in PARTS:
        module = getattr(mlx.core, part) if part else mlx.core
        file = stubs / f"{part if part not in ('', 'array') else '__init__'}.pyi"
        body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
        if part == "array":
            body = next(one.body for one in body if isinstance(one, ast.ClassDef) and one.name == "array")
        written = dict(signatures(body, method=part == "array"))
        names = [name for name in dir(module) if part == "array" or not name.startswith("_")]
        parts[part] = {
            name: written.get(name) or written.get(getattr(getattr(module, name), "__name__", ""))
            for name in sorted({*names, *(("__array_namespace_info__",) if not part else ())} - IMPLIED)
            if part != "" or name not in OUTSIDE
        }
    return parts


def signatures(body: list[ast.stmt], *, method: bool) -> Iterator[tuple[str, Any]]:
    """Every function of a stub with its signature, without types; properties and classes have none."""
    found: dict[str, list[str]] = {}
    for one in body:
        if not isinstance(one, ast.FunctionDef) or any(ast.unparse(d) == "property" for d in one.decorator_list):
            continue
        arguments = one.args
        if method:
            (arguments.posonlyargs or arguments.args).pop(0)
        for argument in ast.walk(arguments):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        found.setdefault(one.name, []).append(f"({ast.unparse(arguments)})")
    for name, texts in found.items():
        yield name, texts[0] if len(texts) == 1 else texts


# ------------------------------------------------------------------------------------------------------ the comparison


@dataclass(frozen=True)
class Row:
    """One name of MLX: what bridge has for it."""

    name: str  # with the module in front
    signature: str | None = None  # bridge's
    problems: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)  # parameters that only bridge's takes
    reason: str | None = None  # of a name that is listed instead

    @property
    def present(self) -> bool:
        return not self.problems and self.reason is None


def rows(part: str, names: dict[str, Any]) -> list[Row]:
    """The comparison of one part."""
    home = getattr(bridge, part) if part and hasattr(bridge, part) else bridge if not part else None
    return [
        row(f"{part}.{name}" if part else name, getattr(home, name, MISSING), theirs) for name, theirs in names.items()
    ]


MISSING = object()


def row(name: str, ours: Any, theirs: str | list[str] | None) -> Row:
    if name in LISTED:  # there or not: what is there raises, and says the same
        return Row(name, reason=LISTED[name])
    if ours is MISSING:
        return Row(name, problems=["missing"])
    bare = name.rpartition(".")[2]
    if theirs is None or bare.startswith("__") or not callable(ours) or inspect.isclass(ours):
        return Row(name)
    have = signature_of(ours)
    if name.startswith("array."):
        have = have.replace(parameters=list(have.parameters.values())[1:])
    texts = [theirs] if isinstance(theirs, str) else theirs
    wants = [parsed(text) for text in texts]
    problems = [problem for want in wants for problem in differences(want, have)]
    known = {name for want in wants for name in want.parameters}
    first = {next(iter(want.parameters)) for want in wants if want.parameters}
    extra = [one for k, one in enumerate(have.parameters) if one not in known and (k or not first)]
    shown = have.replace(
        parameters=[one.replace(annotation=one.empty) for one in have.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )
    return Row(name, str(shown).replace("bridge.", ""), problems, extra)


def signature_of(function: Any) -> inspect.Signature:
    """The signature of a function of bridge; nanobind writes those of the extension in a form of its own."""
    written = getattr(function, "__nb_signature__", None)
    if written is None:
        return inspect.signature(function)
    return parsed(dict(signatures(ast.parse(f"{written[0][0]}: ...").body, method=False))[function.__name__])


def parsed(text: str) -> inspect.Signature:
    """A signature from its text; a default that is a name of MLX is that name of bridge."""
    return inspect.signature(eval(f"lambda {text[1:-1]}: ...", vars(bridge)))


def differences(want: inspect.Signature, have: inspect.Signature) -> list[str]:
    """How a call that `want` allows would fail, or mean something else, with `have`."""
    problems = []
    ours = have.parameters
    by_position = [one for one in ours.values() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    by_name = {one.name for one in ours.values() if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}
    kinds = {one.kind for one in ours.values()}
    for k, one in enumerate(want.parameters.values()):
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            if one.kind not in kinds:
                problems.append(f"takes no {one}")
            continue
        if one.kind is not one.KEYWORD_ONLY and k >= len(by_position) and one.VAR_POSITIONAL not in kinds:
            problems.append(f"`{one.name}` not by position")
        if one.kind is not one.POSITIONAL_ONLY and one.name not in by_name and one.VAR_KEYWORD not in kinds:
            problems.append(f"`{one.name}` not by name")
        same = ours.get(one.name) or (by_position[k] if k < len(by_position) else None)
        if one.default is not one.empty and same is not None and not equal(one.default, same.default):
            problems.append(f"`{one.name}` is {same.default!r} by default, not {one.default!r}")
    required = [one.name for one in ours.values() if one.default is one.empty and one.kind in (one.KEYWORD_ONLY,)]
    problems += [f"wants `{name}`" for name in required if name not in want.parameters]
    if len(by_position) > len(want.parameters):
        problems += [f"wants `{one.name}`" for one in by_position[len(want.parameters) :] if one.default is one.empty]
    return problems


def equal(a: Any, b: Any) -> bool:
    """Whether two defaults are the same value; a list is a tuple."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    return type(a) is type(b) and bool(a == b)


# ------------------------------------------------------------------------------------------------------------ the page

HEAD = """\
# The names of MLX

Every public name of `mlx.core` {version}, and what bridge has for it. Left out are quantisation, the export of graphs
and the modules of other machines (`distributed`, `metal`, `cuda`). "The same" means: every call that MLX's signature
allows is a call of bridge's with the same meaning, and what is left out has the same value.

**{present} of {total} names ({share:.1%}) are there with the same signature; {listed} are not, and the last table says
why.** This page is written by `tools/make_names.py`; tests/core/test_mlx_names.py compares the names with an installed
MLX, tests/core/test_mlx_results.py the dtypes and shapes of results.
"""

TAIL = """\
## Where results differ

- Positions (`argmax`, `argmin`, `argsort`, `argpartition`, `searchsorted`, `random.permutation`, `random.categorical`)
  are int32, or int64 where an axis is longer than 2^31 - 1: the array API wants them signed. MLX gives uint32.
- There is complex128: float64 with complex64 makes complex128, and transforms of float64 give it.
- `softmax` of integers is float32. `vecdot` has the promoted dtype of its operands, small integers too, and
  `cumulative_sum` and `cumulative_prod` count these in 32 bits, as `sum` does and unlike `cumsum`.
- An index out of bounds raises IndexError; in MLX it is undefined. Errors of files are `FormatError` (a ValueError) or
  OSError, not RuntimeError. Quantised tensors of a gguf file come as blocks of uint8, or with `dequantize=True` as
  float32.
- `hadamard_transform` of complex numbers is complex; MLX drops the imaginary part. Integers are multiplied by `matmul`
  and what is made of it, and convolved; MLX refuses them.
"""


def page() -> str:
    names = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    version = names.pop("version")
    found = {part: rows(part, one) for part, one in names.items()}
    everything = [one for part in found.values() for one in part]
    present = sum(one.present for one in everything)
    listed = [one for one in everything if one.reason is not None]
    text = HEAD.format(
        version=version,
        present=present,
        total=len(everything),
        share=present / len(everything),
        listed=len(listed),
    )
    for part, ones in found.items():
        text += f"\n## {PARTS[part]}\n\n" + table(
            ("name", "in bridge", "and more"),
            [(f"`{one.name}`", status(one), ", ".join(f"`{name}`" for name in one.extra)) for one in ones],
        )
    text += "\n## Not there\n\n" + table(("name", "why"), [(f"`{one.name}`", one.reason or "") for one in listed])
    return text + "\n" + TAIL


def status(one: Row) -> str:
    return "; ".join(one.problems) or ("the same" if one.reason is None else "no")


def table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    text = "| " + " | ".join(head) + " |\n|" + " --- |" * len(head) + "\n"
    return text + "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> int:
    if "--snapshot" in sys.argv[1:]:
        SNAPSHOT.write_text(json.dumps(snapshot(), indent=1) + "\n", encoding="utf-8")
        return 0
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is out of date: run python tools/make_names.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
