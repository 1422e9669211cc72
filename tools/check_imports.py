"""Check which module may import which: layers point downwards, and nothing imports a framework at module level.

Usage: python tools/check_imports.py [PACKAGE_DIRECTORY]

Two rules, both read from the source with `ast` (nothing is imported):

1. A module of bridge imports only from its own layer's package or from layers below it (LAYERS, top first). Imports
   inside functions count too: a cycle hidden in a function is still a cycle. Only `if TYPE_CHECKING:` is exempt.
2. At module level, only the standard library, bridge and its run-time dependencies (RUNTIME) are imported: what a user
   did not import, `import bridge` does not import.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

# Top first. A module belongs to the layer with its longest matching prefix; one line is one layer.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("bridge.__main__",),
    ("bridge.cli", "bridge.testing"),
    ("bridge",),
    ("bridge.nn", "bridge.optimizers"),
    ("bridge.core", "bridge.utils"),
    ("bridge.core.interop",),
    ("bridge.core.registry",),
    ("bridge.plugins",),
    ("bridge.hookspecs",),
    ("bridge.core.contract",),
    ("bridge.core.route",),
    ("bridge.core.calculus", "bridge.core.framework", "bridge.core.record"),
    ("bridge.core.io",),
    ("bridge.core.transforms",),
    ("bridge.core.ops",),
    ("bridge.core.namespace",),
    ("bridge.core.devices",),
    ("bridge.core.held", "bridge.core.lattice", "bridge.core.printing"),
    ("bridge.metal",),
    ("bridge.core.dtypes",),
    ("bridge.core._native",),
    ("bridge.core.memory", "bridge.core.nest"),
    ("bridge.core.errors", "bridge.core.promotion"),
)
RUNTIME = {"numpy", "ml_dtypes", "pluggy"}

DEPTH = {prefix: depth for depth, prefixes in enumerate(LAYERS) for prefix in prefixes}


def layer(module: str) -> str:
    """The longest prefix of `module` that LAYERS names."""
    while module not in DEPTH:
        module = module.rpartition(".")[0]
    return module


def imports(tree: ast.AST, *, inside: bool = False) -> Iterator[tuple[int, str, bool]]:
    """(line, imported module, inside a function) for every import below `tree` outside `if TYPE_CHECKING:`.

    `from a import b` yields "a.b": whether b is a module is decided by the caller.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{source}.{alias.name}", inside) for alias in node.names)
        else:
            yield from imports(node, inside=inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def complaint(module: str, target: str, *, inside: bool, modules: set[str]) -> str | None:
    """Why `module` may not import `target`; None when it may."""
    if target.startswith("."):
        return "relative import: write the full name"
    top = target.partition(".")[0]
    if top != "bridge":
        if inside or top in sys.stdlib_module_names or top in RUNTIME:
            return None
        return f"imports {top} at module level: import it inside the function that needs it"
    if target not in modules:
        target = target.rpartition(".")[0]
    source_layer, target_layer = layer(module), layer(target)
    if source_layer == target_layer or DEPTH[source_layer] < DEPTH[target_layer]:
        return None
    return f"imports {target}, which lies above it or beside it ({source_layer} may not import {target_layer})"


def check(package: Path) -> list[str]:
    """One line per forbidden import below `package` (the directory named bridge)."""
    paths = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    modules = set(paths) | {"bridge.core._native"}
    found = []
    for module, path in paths.items():
        for line, target, inside in imports(ast.parse(path.read_text(encoding="utf-8"))):
            problem = complaint(module, target, inside=inside, modules=modules)
            if problem:
                found.append(f"{path}:{line}: {module} {problem}")
    return found


if __name__ == "__main__":
    problems = check(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "bridge"))
    print("\n".join(problems) if problems else "imports point downwards")
    sys.exit(1 if problems else 0)
