"""Prints elementwise kernels as Metal source (MSL 3.1, for bfloat). Nothing of Metal is needed to print.

The text depends on what the kernel computes and on how its arrays lie (dense, scalar, strided and along which axes),
not on extents, strides or values of scalars: those travel in the argument block, so one compiled kernel serves many
calls.

The expression of every stage comes from its declaration (`metal=` in bridge/core/ops), which the caller passes in:
`print_library({"name": spec}, {name: declaration.metal ...})`. Values of half precision are kept as such, and every
operation on them is done in float and rounded, as on the CPU. float32 results may differ from the CPU's in the last
places of functions such as exp, and a GPU may flush subnormal float32 to zero.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import NoReturn

from bridge.core._native import Dtype
from bridge.core.dtypes import COMPLEX, FLOATING, INTEGER, bfloat16, bool_, complex64, float16, float32
from bridge.core.errors import BridgeError, DTypeError, message
from bridge.metal import prelude
from bridge.metal.prelude import Form
from bridge.metal.spec import Access, Instr, KernelSpec, Output

__all__ = ["TYPES", "pack_arguments", "print_kernel", "print_library"]

# Dtypes that Metal has, as they are written there.
TYPES: dict[str, str] = {
    "bool": "bool",
    "uint8": "uchar",
    "uint16": "ushort",
    "uint32": "uint",
    "uint64": "ulong",
    "int8": "char",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "float16": "half",
    "bfloat16": "bfloat",
    "float32": "float",
    "complex64": "bridge_complex",
}
_FORMATS = "?BHIQbhiq"  # of the first nine, for struct
_MAX_BUFFERS = 31
_MAX_ARGUMENTS = 4096  # bytes that setBytes takes

_HALF = {float16, bfloat16}
_MOVES = {"copy", "select"}  # nothing is computed: a half stays a half, and so does the payload of its NaN
_WRAPS = {
    "negative",
    "square",
    "add",
    "subtract",
    "multiply",
}  # of integers: done unsigned, signed overflow is undefined
# Of bool and integers; the declarations' texts are for floats there.
_WHOLE = {"floor": "{0}", "ceil": "{0}", "rint": "{0}", "trunc": "{0}"}
_WHOLE |= {"isnan": "false", "isinf": "false", "isfinite": "true"}


def print_library(kernels: Mapping[str, KernelSpec], expressions: Mapping[str, str]) -> str:
    """Metal source of several kernels: header, the functions that they use, then the kernels under their names.

    Args:
        kernels: name (an identifier) to kernel.
        expressions: stage to MSL expression over {0} {1} {2}; {T} is the operands' type there, {R} the result's.

    Raises:
        DTypeError: a dtype that Metal lacks, or an operation on complex numbers that has no text.
        BridgeError: a stage without expression, or more arrays than a kernel can take.
    """
    bodies = [print_kernel(name, spec, expressions) for name, spec in kernels.items()]
    used: dict[tuple[str, Form], None] = {}
    for spec in kernels.values():
        for instr in spec.tape:
            _require(used, _expression(instr, expressions), _form(instr.operand))
    parts = [prelude.HEADER]
    if any(_uses_complex(spec) for spec in kernels.values()):
        parts.append(prelude.COMPLEX)
    parts.extend(prelude.FUNCTIONS[name][form] for name, form in used)
    return "\n".join(parts + bodies)


def print_kernel(name: str, spec: KernelSpec, expressions: Mapping[str, str]) -> str:
    """One kernel and its argument block, without the functions that it calls.

    Buffers: 0 is the argument block (`pack_arguments`), then the inputs that are no scalars, then the outputs, each
    bound at element 0 of the space. The grid has one thread an element and may be larger.
    """
    _check(spec)
    arrays = _arrays(spec)
    lines = [f"struct {name}_arguments {{"]
    lines.extend(f"  {field};" for field, _ in _fields(spec))
    lines.append("};")
    lines.append(f"kernel void {name}(constant {name}_arguments& arguments [[buffer(0)]],")
    for slot, (label, access) in enumerate(arrays, 1):
        qualifier = "device const" if isinstance(access, Access) else "device"
        lines.append(f"    {qualifier} {_stored(access.dtype)}* {label}_data [[buffer({slot})]],")
    lines.append("    uint index [[thread_position_in_grid]]) {")
    lines.append("  if (index >= arguments.size) return;")
    lines.extend(_offsets(spec))
    for k, access in enumerate(spec.inputs):
        value = f"arguments.{_letter(k)}" if access.scalar is not None else _element(_letter(k), access)
        truth = " != 0" if access.dtype is bool_ else ""  # foreign memory may hold any byte
        lines.append(f"  const {_type(access.dtype)} {_letter(k)} = {value}{truth};")
    for k, instr in enumerate(spec.tape):
        result = _type(instr.result)
        text = _fill(instr, _expression(instr, expressions), spec)
        # A complex expression has the type already, and a struct no conversion from itself in brackets.
        lines.append(f"  const {result} v{k} = {text if instr.result is complex64 else f'{result}({text})'};")
    for k, output in enumerate(spec.outputs):
        value = _value(output.value, spec)
        stored = f"uchar({value})" if output.dtype is bool_ else value
        lines.append(f"  {_element(f'out{k}', output)} = {stored};")
    lines.append("}")
    return "\n".join(lines) + "\n"


def pack_arguments(spec: KernelSpec) -> bytes:
    """The argument block of one call: extents, strides and scalars, as the printed struct lays them out.

    Raises:
        BridgeError: 2**32 elements or more, or more than the 4 KiB that Metal takes by value.
    """
    if spec.size >= 2**32:
        _refuse("a grid counts its threads in 32 bits.", f"{spec.size} elements")
    block = b"".join(packed for _, packed in _fields(spec))
    block += bytes(-len(block) % 8)
    if len(block) > _MAX_ARGUMENTS:
        _refuse("the argument block is too long.", f"{len(block)} bytes", f"at most {_MAX_ARGUMENTS} bytes")
    return block


def _fields(spec: KernelSpec) -> Iterator[tuple[str, bytes]]:
    """(declaration, bytes) of every member of the argument block, larger alignment first: there are no gaps."""
    ndim = len(spec.shape)
    strided = [(label, access.strides) for label, access in _arrays(spec) if access.strides is not None]
    for label, strides in strided:
        if ndim:
            yield f"long {label}_strides[{ndim}]", struct.pack(f"<{ndim}q", *strides)
    scalars = [(f"{_stored(access.dtype)} {_letter(k)}", access) for k, access in enumerate(spec.inputs)]
    scalars = [(text, access) for text, access in scalars if access.scalar is not None]
    scalars.sort(key=lambda one: -_alignment(one[1].dtype))
    yield from ((text, _packed(access)) for text, access in scalars if _alignment(access.dtype) == 8)
    yield "uint size", struct.pack("<I", spec.size)
    if strided and ndim:
        yield f"uint shape[{ndim}]", struct.pack(f"<{ndim}I", *spec.shape)
    yield from ((text, _packed(access)) for text, access in scalars if _alignment(access.dtype) < 8)


def _alignment(dtype: Dtype) -> int:
    return 4 if dtype is complex64 else dtype.size


def _packed(access: Access) -> bytes:
    """The scalar of an access as the bytes of one element."""
    value, dtype = access.scalar, access.dtype
    assert value is not None
    if isinstance(value, complex) or dtype is complex64:
        return struct.pack("<ff", complex(value).real, complex(value).imag)
    if dtype in FLOATING:
        if dtype is bfloat16:
            return struct.pack("<f", value)[2:]  # a scalar of a kernel is exact in its dtype
        return struct.pack("<e" if dtype is float16 else "<f", value)
    return struct.pack("<" + _FORMATS[list(TYPES).index(dtype.name)], value)


def _arrays(spec: KernelSpec) -> list[tuple[str, Access | Output]]:
    """(label, access) of what has a buffer, in the order of the buffers."""
    inputs = [(_letter(k), access) for k, access in enumerate(spec.inputs) if access.scalar is None]
    return [*inputs, *((f"out{k}", output) for k, output in enumerate(spec.outputs))]


def _offsets(spec: KernelSpec) -> Iterator[str]:
    """Lines that compute the offset, in elements, of every strided access from the index.

    An axis along which an access does not move (its stride is 0: a broadcast) takes no part in its offset.
    """
    strided = [(label, access.strides) for label, access in _arrays(spec) if access.strides is not None]
    if not strided:
        return
    yield f"  long {', '.join(f'{label}_at = 0' for label, _ in strided)};"
    moving = [axis for axis in range(len(spec.shape)) if any(strides[axis] for _, strides in strided)]
    if not moving:
        return
    yield "  uint rest = index;"
    for axis in reversed(range(moving[0], len(spec.shape))):
        if axis in moving:
            yield f"  const long at{axis} = {f'rest % arguments.shape[{axis}]' if axis else 'rest'};"
        if axis > moving[0]:
            yield f"  rest /= arguments.shape[{axis}];"
        moved = [label for label, strides in strided if strides[axis]]
        yield from (f"  {label}_at += at{axis} * arguments.{label}_strides[{axis}];" for label in moved)


def _element(label: str, access: Access | Output) -> str:
    return f"{label}_data[{'index' if access.strides is None else f'{label}_at'}]"


def _expression(instr: Instr, expressions: Mapping[str, str]) -> str:
    """MSL expression of an instruction, over its operands."""
    source = instr.operand
    if instr.stage == "copy":
        return "{0}"
    if instr.stage == "cast":
        return _cast(source, instr.result)
    if instr.stage in _WHOLE and (source is bool_ or source in INTEGER):
        return _WHOLE[instr.stage]
    if instr.stage not in expressions:
        _refuse(f"{instr.stage} has no Metal text in its declaration.", source.name)
    text = expressions[instr.stage]
    if source in COMPLEX and not _has_complex(text):
        raise DTypeError(
            message(
                "bridge.metal",
                f"there is no Metal text of {instr.stage} for complex numbers.",
                got=source.name,
                want="a real dtype",
                fix="stream=bridge.cpu",
            )
        )
    return text


def _cast(source: Dtype, target: Dtype) -> str:
    """Conversion of {0}, which is written as _operand says, to the target's type."""
    if source in COMPLEX:
        if target is bool_:
            return "{0}.re != 0 || {0}.im != 0"
        return "{0}" if target in COMPLEX else _cast(float32, target).replace("{0}", "{0}.re")
    if target in COMPLEX:
        return "bridge_complex{{float({0}), 0}}"
    if target is bool_:
        return "{0} != 0"
    if source in FLOATING and target in INTEGER:
        return "bridge_saturate<{R}>({0})"
    if target in _HALF and source in INTEGER and source.size >= 4:
        return "bridge_odd(ulong({0}))" if source.name.startswith("u") else "bridge_odd(long({0}))"
    return "float({0})" if target in _HALF and source not in FLOATING else "{0}"


def _fill(instr: Instr, text: str, spec: KernelSpec) -> str:
    """The expression with its operands in place."""
    operands = []
    for value in instr.values:
        dtype, name = spec.dtype_of(value), _value(value, spec)
        if dtype in _HALF and instr.stage not in _MOVES:
            name = f"float({name})"
        elif dtype in INTEGER and instr.stage in _WRAPS:
            name = f"{'ulong' if dtype.size == 8 else 'uint'}({name})"
        operands.append(name)
    operand = "float" if instr.operand in _HALF and instr.stage not in _MOVES else _type(instr.operand)
    return text.format(*operands, T=operand, R=_type(instr.result))


def _require(used: dict[tuple[str, Form], None], text: str, form: Form) -> None:
    """Note the functions that a text calls, each after what it calls itself."""
    for name in re.findall(r"\bbridge_\w+(?=[(<])", text):
        # A conversion of the real part of a complex number is one of a float.
        found: Form = form if form in prelude.FUNCTIONS[name] else "float"
        for needed in prelude.NEEDS.get((name, found), ()):
            _require(used, f"{needed}(", found)
        used.setdefault((name, found))


def _has_complex(text: str) -> bool:
    called = re.findall(r"\bbridge_\w+(?=\()", text)
    return "precise::" not in text and all("complex" in prelude.FUNCTIONS[name] for name in called)


def _form(dtype: Dtype) -> Form:
    if dtype in COMPLEX:
        return "complex"
    return "float" if dtype in FLOATING else "integer"


def _uses_complex(spec: KernelSpec) -> bool:
    values = len(spec.inputs) + len(spec.tape)
    return any(spec.dtype_of(value) is complex64 for value in range(values))


def _check(spec: KernelSpec) -> None:
    for value in range(len(spec.inputs) + len(spec.tape)):
        _type(spec.dtype_of(value))
    buffers = len(_arrays(spec)) + 1
    if buffers > _MAX_BUFFERS:
        _refuse("a kernel of Metal takes 31 buffers.", f"{buffers} buffers")


def _type(dtype: Dtype) -> str:
    if dtype.name not in TYPES:
        smaller = "complex64" if dtype in COMPLEX else "float32"
        raise DTypeError(
            message(
                "bridge.metal",
                f"Metal has no {dtype.name}.",
                got=dtype.name,
                want=smaller,
                fix=f"a.astype(bridge.{smaller}), or stream=bridge.cpu",
            )
        )
    return TYPES[dtype.name]


def _stored(dtype: Dtype) -> str:
    return "uchar" if dtype is bool_ else _type(dtype)


def _letter(k: int) -> str:
    return chr(ord("a") + k) if k < 26 else f"a{k}"


def _value(value: int, spec: KernelSpec) -> str:
    inputs = len(spec.inputs)
    return _letter(value) if value < inputs else f"v{value - inputs}"


def _refuse(problem: str, got: str, want: str | None = None) -> NoReturn:
    raise BridgeError(message("bridge.metal", problem, got=got, want=want, fix="stream=bridge.cpu"))
