"""Write bridge/core/_native.pyi: the types of the extension module, with the text of its docstrings.

    python tools/make_stubs.py            write the stub
    python tools/make_stubs.py --check    exit 1 if the committed stub differs from what would be written

Types of native functions stand in this file, in one table; the methods that Python puts on `bridge.array` come from
bridge/core/ops/methods.py. A name that the extension has and the table has not, or the other way round, is an error.
Needs bridge to be installed.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.core import _native
from bridge.core.ops import load
from bridge.core.ops.declare import PRIMITIVES
from bridge.core.ops.methods import METHODS, PROPERTIES

load()  # every primitive

STUB = Path(__file__).resolve().parent.parent / "bridge" / "core" / "_native.pyi"
WIDTH = 120

HEADER = '''"""Types of the extension module. Written by tools/make_stubs.py; do not edit."""

from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, Literal, SupportsIndex, TypeAlias

from bridge.core.ops.take import ArrayAt

Scalar: TypeAlias = bool | int | float | complex
Operand: TypeAlias = array | Scalar
Axis: TypeAlias = int | Sequence[int] | None
Shape: TypeAlias = int | Sequence[int]
Stream: TypeAlias = Any
# int, slice, None, Ellipsis, array or list of integers or bools, or a tuple of them.
Key: TypeAlias = Any
Access: TypeAlias = Literal["write", "read", "frozen"]
Capsule: TypeAlias = Any
Strides: TypeAlias = tuple[int, ...]

DTYPES: dict[str, Dtype]
'''

FUNCTIONS = {
    "async_eval": "(*args: Any) -> None",
    "clear_cache": "() -> None",
    "copy": "(a: array, /) -> array",
    "declare": "(name: str, kind: str, *, arity: int | None = None, accepts: int = 0, result: str = 'same', "
    "plan: Callable[..., Any] = ...) -> Primitive",
    "describe_capsule": "(capsule: Capsule, /) -> tuple[tuple[int, int, int], tuple[int, ...], Strides, int, "
    "tuple[int, int], int, bool]",
    "eval": "(*args: Any) -> None",
    "export_address": "(a: array, *, access: Access, holder: str) -> tuple[Lease, int]",
    "export_dlpack": "(a: array, *, versioned: bool, access: Access, holder: str) -> Capsule",
    "facts": "(a: array, /) -> tuple[Dtype, tuple[int, ...], Strides, int, int, Literal['write', 'read'], str | None]",
    "file_address": "(file: Capsule, /) -> int",
    "file_size": "(file: Capsule, /) -> int",
    "foreign_capsule": "(owner: object, address: int, dtype: Dtype | str, shape: Sequence[int], "
    "strides: Sequence[int], *, versioned: bool = False, readonly: bool = False) -> Capsule",
    "from_dlpack": "(x: Any, *, device: Any = None, copy: bool | None = None) -> array",
    "front": "(slow: Callable[..., Any], table: dict[Any, Any], keyed: bool, name: str, doc: str, module: str, /) "
    "-> Callable[..., Any]",
    "frozen_reason": "(a: array, /) -> str | None",
    "get_active_memory": "() -> int",
    "get_cache_memory": "() -> int",
    "get_memory_limit": "() -> int",
    "get_peak_memory": "() -> int",
    "import_address": "(owner: object, address: int, dtype: Dtype | str, shape: Sequence[int], "
    "strides: Sequence[int], *, writable: bool, written: bool = False) -> array",
    "import_buffer": "(obj: Any, *, readonly: bool = False, written: bool = False) -> array",
    "import_dlpack": "(capsule: Capsule, *, readonly: bool = False, written: bool = False) -> array",
    "is_evaluated": "(a: array, /) -> bool",
    "_buffer": "(a: array, /) -> tuple[int, int] | None",
    "next_key": "(state: list[array], /) -> array",
    "host": "(function: Callable[..., Any], operands: tuple[array, ...], results: Any, stream: Stream, /) -> Any",
    "isa_name": "() -> str",
    "leases": "(a: array, /) -> list[dict[str, str]]",
    "map_array": "(file: Capsule, offset: int, dtype: Dtype | str, shape: Sequence[int], columns: bool = False, /) "
    "-> array",
    "map_file": "(fd: int, name: str, /) -> Capsule",
    "map_memory": "(buffer: Any, name: str, /) -> Capsule",
    "map_safetensors": "(file: Capsule, start: int, /) -> tuple[dict[str, array], dict[str, str] | None, "
    "list[tuple[str, Dtype, tuple[int, ...]]]]",
    "offer": "(a: array, dtypes: int, alignment: int, layout: int, access: Access, versioned: bool, holder: str, /) "
    "-> Capsule | None",
    "place": "(function: Callable[..., Any], at: int, /) -> Callable[..., Any]",
    "promote": "(a: Dtype, b: Dtype, /) -> Dtype",
    "read_file": "(file: Capsule, offset: int, size: int, /) -> bytes",
    "release": "(a: array, /) -> None",
    "reset_peak_memory": "() -> None",
    "result_type": "(*arrays_dtypes_scalars: Operand | Dtype) -> Dtype",
    "safetensors_types": "() -> dict[str, Dtype]",
    "set_cache_limit": "(limit: int) -> int",
    "set_kernel_log": "(callback: Callable[[str], object] | None) -> None",
    "set_memory_limit": "(limit: int) -> int",
    "set_thread_count": "(n: int) -> None",
    "storage_address": "(a: array, /) -> int",
    "take_capsule": "(capsule: Capsule, /) -> Capsule",
    "thread_count": "() -> int",
    "true_places": "(mask: array, /) -> array",
    "updated_at": "(a: array, key: Key, value: Any, name: str, /) -> array",
    "torch_export": "(api: Capsule, a: array, /) -> Any",
    "torch_importer": "(api: Capsule, /) -> Callable[[Any], array | None]",
    "torch_import": "(api: Capsule, tensor: Any, readonly: bool = False) -> array | None",
    "write_out": "(fd: int, offset: int, size: int, drop: bool, /) -> None",
    "written_elsewhere": "(view: Any, /) -> bool",
    "_after_fork_in_child": "() -> None",
    "_bytes_lease": "(a: array, /) -> Any",
    "_close_stream": "(number: int, /) -> None",
    "_dtype": "(name: str, /) -> Dtype",
    "_end_streams": "() -> None",
    "_new_stream": "() -> int",
    "_serve_stream": "(number: int, thread: int, /) -> None",
    "_set_current_stream": "(number: int, /) -> int",
    "_set_number_of": "(function: Callable[[Any], int], /) -> None",
    "_stream_number": "(a: array, /) -> int",
    "_synchronize": "(number: int, /) -> None",
    "_call": "(rules: Any, arguments: Sequence[array], results: Sequence[array], /) -> list[array]",
    "_extent_reads": "() -> int",
    "_graph_make": "(trace: int, results: Sequence[array], close: bool, /) -> tuple[Capsule, list[array]]",
    "_graph_run": "(graph: Capsule, inputs: Sequence[array], /) -> list[array]",
    "_graph_size": "(graph: Capsule, /) -> int",
    "_host_parts": "(node: array, /) -> tuple[array, ...] | None",
    "_identity": "(a: array, *others: array) -> array",
    "_is_traced": "(a: array, /) -> bool",
    "_is_tracing": "() -> bool",
    "_loose_signature": "(*nests: Any) -> tuple[tuple[bytes, tuple[Any, ...]], list[array]]",
    "_set_export_hook": "(hook: Callable[[str, str], None] | None, /) -> None",
    "_siblings": "(result: array, /) -> list[array]",
    "_signature": "(*nests: Any) -> tuple[tuple[bytes, tuple[Any, ...]], list[array]]",
    "_tape": "(trace: int, results: Sequence[array], /) -> tuple[list[Any], list[int]]",
    "_trace_begin": "(name: str, symbolic: bool, /) -> int",
    "_trace_end": "(trace: int, /) -> None",
    "_trace_inputs": "(trace: int, arrays: Sequence[array], /) -> list[array]",
    "_trace_symbols": "(trace: int, specs: Sequence[tuple[Dtype, Sequence[int]]], /) -> list[array]",
}

ARRAY = {
    "__init__": "(self, val: Any, dtype: Dtype | None = None) -> None",
    "item": "(self) -> Any",
    "tolist": "(self) -> Any",
    "astype": "(self, dtype: Dtype, stream: Stream = None) -> array",
    "reshape": "(self, *shape: Any, stream: Stream = None) -> array",
    "transpose": "(self, *axes: Any, stream: Stream = None) -> array",
    "__array__": "(self, dtype: Any = None, copy: bool | None = None) -> Any",
    "__dlpack__": "(self, *, stream: Any = None, max_version: tuple[int, int] | None = None, "
    "dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> Capsule",
    "__dlpack_device__": "(self) -> tuple[int, int]",
    "__copy__": "(self) -> array",
    "__deepcopy__": "(self, memo: Any, /) -> array",
    "__reduce_ex__": "(self, protocol: SupportsIndex, /) -> tuple[Any, ...]",
    "__format__": "(self, specification: str, /) -> str",
    "__array_function__": (
        "(self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...], "
        "keywords: dict[str, Any], /) -> Any"
    ),
    "__array_ufunc__": "(self, ufunc: Any, method: str, /, *inputs: Any, **keywords: Any) -> Any",
    "__array_namespace__": "(self, api_version: str | None = None) -> ModuleType",
    "__bytes__": "(self) -> bytes",
    "__div__": "(self, other: Operand) -> array",
    "__rdiv__": "(self, other: Operand) -> array",
    "to_device": "(self, device: Any, /, *, stream: Stream = None) -> array",
    "__getitem__": "(self, key: Key, /) -> array",
    "__setitem__": "(self, key: Key, value: Any, /) -> None",
    "__iter__": "(self) -> ArrayIterator",
    "__len__": "(self) -> int",
    "__contains__": "(self, value: Operand, /) -> bool",
    "__hash__": "(self) -> int",
    "__bool__": "(self) -> bool",
    "__int__": "(self) -> int",
    "__float__": "(self) -> float",
    "__complex__": "(self) -> complex",
    "__index__": "(self) -> int",
}
ATTRIBUTES = {
    "shape": "tuple[int, ...]",
    "ndim": "int",
    "size": "int",
    "itemsize": "int",
    "nbytes": "int",
    "dtype": "Dtype",
    "T": "array",
}
CONSTANTS = {"__array_priority__": "float", "__dlpack_c_exchange_api__": "Capsule"}
UNARY = ["neg", "pos", "abs", "invert"]
BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and", "or", "xor"]
COMPARE = ["eq", "ne", "lt", "le", "gt", "ge"]
# By kind, what a method is given; the array is the first operand.
TYPED = {
    "elementwise": "(a: array, /, *, stream: Stream = None) -> array",
    "reduction": "(a: array, /, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array",
    "index_reduction": "(a: array, /, axis: int | None = None, keepdims: bool = False, *, stream: Stream = None) "
    "-> array",
}
# What every type has, or what is no part of the interface.
SILENT = {"__delitem__", "__doc__", "__module__", "__new__", "__repr__", "__dict__", "__weakref__", "__reduce__"}


def line(indent: str, head: str, signature: str, doc: str | None) -> str:
    """One definition, wrapped as the formatter wraps it."""
    signature = signature.replace("'", '"')
    tail = f"\n{indent}    {docstring(doc, indent + '    ')}" if doc else " ..."
    whole = f"{indent}def {head}{signature}:"
    if len(whole + ("" if doc else " ...")) <= WIDTH:
        return whole + tail + "\n"
    inside, result = signature[1:].rsplit(") -> ", 1)
    single = f"{indent}    {inside}"
    if len(single) <= WIDTH:
        return f"{indent}def {head}(\n{single}\n{indent}) -> {result}:{tail}\n"
    parts = "".join(f"{indent}    {part},\n" for part in split_parameters(inside))
    return f"{indent}def {head}(\n{parts}{indent}) -> {result}:{tail}\n"


def split_parameters(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def docstring(doc: str, indent: str) -> str:
    """The text in quotes, indented; lines that are too long are wrapped."""
    lines = []
    for text in inspect.cleandoc(doc).splitlines():
        start = " " * (len(text) - len(text.lstrip()))
        room = WIDTH - len(indent) - 8
        lines += textwrap.wrap(text, room, subsequent_indent=start, break_on_hyphens=False) or [""]
    if len(lines) == 1:
        return f'"""{lines[0]}"""'
    return '"""' + "\n".join([lines[0], *(f"{indent}{text}" if text else "" for text in lines[1:]), f'{indent}"""'])


def native_doc(thing: Any) -> str | None:
    """The docstring without the signature that C++ writes in front of it."""
    doc = getattr(thing, "__doc__", None)
    if not doc:
        return None
    for separator in ("\n--\n\n", "\n\n"):
        head, found, rest = doc.partition(separator)
        if found and head.split("(")[0].isidentifier() and "(" in head:
            return str(rest)
    return str(doc)


def method_signature(name: str, function: Callable[..., Any]) -> str:
    """The function's signature with the array as `self`."""
    declaration = next((one for one in PRIMITIVES.values() if one.call is function), None)
    if declaration is None:
        text = str(inspect.signature(function)).replace("'", "")
    elif declaration.header is not None:
        text = str(inspect.signature(declaration.header)).replace("'", "")
    else:
        text = TYPED[declaration.kind]
        if declaration.result == "sum":
            text = text.replace("*, stream", "*, dtype: Dtype | None = None, stream")
    inside, result = text[1:].rsplit(") -> ", 1)
    rest = [part for part in split_parameters(inside)[1:] if part]
    if rest[:1] == ["/"]:
        rest = rest[1:]
    return f"({', '.join(['self', *rest])}) -> {result}"


def array_class() -> str:
    own = {*vars(_native.array), "__init__"} - SILENT
    typed = {*ARRAY, *ATTRIBUTES, *CONSTANTS, *METHODS, *PROPERTIES, "__divmod__", "__rdivmod__"}
    typed |= {f"__{name}__" for name in (*UNARY, *COMPARE)}
    typed |= {f"__{prefix}{name}__" for name in BINARY for prefix in ("", "r", "i")}
    expect_same("bridge.array", own, typed)
    text = "class array:\n    " + docstring(native_doc(_native.array) or "", "    ") + "\n\n"
    text += "".join(f"    {name}: {type_}\n" for name, type_ in CONSTANTS.items())
    getters = {
        name: getattr(getter, "__annotations__", {}).get("return", "array") for name, getter in PROPERTIES.items()
    }
    for name, type_ in [*ATTRIBUTES.items(), *getters.items()]:
        doc = native_doc(getattr(_native.array, name))
        text += "    @property\n" + line("    ", name, f"(self) -> {type_}", doc)
    for name, signature in ARRAY.items():
        doc = None if name.startswith("__") else native_doc(getattr(_native.array, name, None))
        text += line("    ", name, signature, doc)
    for name, function in METHODS.items():
        text += line("    ", name, method_signature(name, function), native_doc(function))
    for name in UNARY:
        text += line("    ", f"__{name}__", "(self) -> array", None)
    for name in BINARY:
        for prefix in ("", "r", "i"):
            text += line("    ", f"__{prefix}{name}__", "(self, other: Any, /) -> array", None)
    for prefix in ("", "r"):
        text += line("    ", f"__{prefix}divmod__", "(self, other: Any, /) -> tuple[array, array]", None)
    for name in COMPARE:
        override = "  # type: ignore[override]" if name in ("eq", "ne") else ""
        text += f"    def __{name}__(self, other: Any, /) -> array: ...{override}\n"
    return text


def module() -> str:
    expect_same(
        "bridge.core._native",
        {name for name in vars(_native) if not name.startswith("__")},
        {*FUNCTIONS, "DTYPES", "ArrayIterator", "Dtype", "Lease", "Primitive", "array"},
    )
    text = HEADER
    for name, signature in FUNCTIONS.items():
        gap = "" if text.endswith(" ...\n") else "\n"  # as the formatter has it
        text += gap + line("", name, signature, native_doc(getattr(_native, name)))
    text += '\nclass Dtype:\n    """Type of the elements of an array: one of twenty-four interned objects."""\n\n'
    for name, type_ in (("name", "str"), ("size", "int"), ("code", "int")):
        text += "    @property\n" + line("    ", name, f"(self) -> {type_}", native_doc(getattr(_native.Dtype, name)))
    text += '\nclass Lease:\n    """Keeps the bytes of an array alive and its storage leased, until it is dropped."""\n'
    text += '\nclass ArrayIterator:\n    """The rows of an array, one after the other: what iter(a) gives."""\n\n'
    text += "    def __iter__(self) -> ArrayIterator: ...\n    def __next__(self) -> array: ...\n"
    text += '\nclass Primitive:\n    """Native callable of a declared op."""\n\n'
    text += "    __name__: str\n    __doc__: str | None\n    @property\n    def kind(self) -> str: ...\n"
    text += "    def __call__(self, *operands: Any, **parameters: Any) -> array: ...\n\n"
    return text + array_class()


def expect_same(what: str, there: set[str], typed: set[str]) -> None:
    if there != typed:
        raise SystemExit(f"{what}: without a type {sorted(there - typed)}, typed but absent {sorted(typed - there)}")


def main() -> int:
    text = module()
    if STUB.exists() and STUB.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in sys.argv[1:]:
        print("bridge/core/_native.pyi is stale: run python tools/make_stubs.py")
        return 1
    STUB.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
