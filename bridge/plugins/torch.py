"""PyTorch: any strides but negative ones, no read-only tensors.

What is behind the facts (seen on 2.13): a negative stride in a capsule aborts the process; READ_ONLY in a capsule is
ignored; the negative bit of a tensor (`x.conj().imag`) is not exported, so the bytes alone have the wrong sign.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache, partial
from math import prod
from typing import TYPE_CHECKING, Any

from bridge.core.errors import DTypeError, TracedError
from bridge.core.framework import DTYPES, FLOAT8, Access, Door, Facts, Framework, Offer, Refusal, Shortcut, Source
from bridge.core.memory import NATIVE, numpy_dtype, over
from bridge.core.route import Route
from bridge.hookspecs import hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FRAMEWORK", "TorchSource"]


@cache
def known_dtypes() -> frozenset[str]:
    """float8 as far as this version of torch has it; its int4 and uint4 are names without values."""
    import torch

    return DTYPES | {name for name in FLOAT8 if hasattr(torch, name)}


class TorchSource(Source):
    """A tensor. What it hands out is detached; `route.choose` has seen to it that this is wanted."""

    def capsule(self, *, access: Access, versioned: bool = False) -> Any:
        import torch

        tensor = self.value.detach()
        return tensor.__dlpack__(max_version=(1, 0)) if versioned else torch.utils.dlpack.to_dlpack(tensor)

    def ndarray(self) -> NDArray[Any]:
        tensor = self.value.detach().resolve_conj().resolve_neg().cpu()
        if self.facts.dtype in NATIVE:
            return tensor.numpy()  # type: ignore[no-any-return]
        import torch

        raw = torch.uint8 if self.facts.itemsize == 1 else torch.int16
        return tensor.view(raw).numpy().view(numpy_dtype(self.facts.dtype))  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------------------- describing


@hookimpl
def bridge_import(framework: Framework, value: Any) -> Source | None:
    if framework.name != "torch":
        return None
    dtype = str(value.dtype).removeprefix("torch.")
    refusal = _refusal(value, dtype)
    if refusal is not None:
        return TorchSource(value, Facts(framework="torch", dtype=dtype, refusal=refusal))
    unlike = None
    if value.is_conj():
        unlike = "it is a conjugate view: its bytes are not conjugated yet"
    elif value.is_neg():
        unlike = "it is a negative view: its bytes do not have their signs yet"
    return TorchSource(
        value,
        Facts(
            framework="torch",
            dtype=dtype,
            shape=tuple(value.shape),
            strides=value.stride(),
            address=value.data_ptr(),
            device=str(value.device),
            unlike=unlike,
            gradient=value.requires_grad,
        ),
    )


def _refusal(tensor: Any, dtype: str) -> Refusal | None:
    """Why the tensor has no bytes of its values to hand over; None: it has."""
    import torch

    if tensor.is_nested:
        return Refusal(problem="a nested tensor has no single shape", fix="torch.nested.to_padded_tensor(x, 0)")
    if tensor.layout is not torch.strided:
        return Refusal(problem=f"a {tensor.layout} tensor is not dense memory", fix="x.to_dense()")
    if tensor.is_meta:
        return Refusal(problem="a meta tensor has a shape and no values", fix='create it on device="cpu"')
    if tensor.is_quantized:
        fix = "x.dequantize() for the values, x.int_repr() for the integers"
        return Refusal(problem=f"a quantised tensor ({dtype}) holds codes, not values", fix=fix, error=DTypeError)
    if dtype not in known_dtypes():
        fix = _DTYPE_FIXES.get(dtype, "x.view(torch.uint8) for the bytes, or x.to(torch.float32) for the values")
        return Refusal(problem=f"torch's {dtype} has no counterpart elsewhere", fix=fix, error=DTypeError)
    if type(tensor) is not torch.Tensor and not isinstance(tensor, torch.nn.Parameter):
        return _refusal_of_subclass(tensor)
    functorch = torch._C._functorch
    if functorch.is_functorch_wrapped_tensor(tensor):
        traced_by = "vmap" if functorch.is_batchedtensor(tensor) else "functionalize"
        if functorch.is_gradtrackingtensor(tensor):
            traced_by = "grad (or vjp, jvp)"
        return _refusal_of_traced(f"torch.func.{traced_by}")
    return None


def _refusal_of_traced(traced_by: str) -> Refusal:
    return Refusal(
        problem=f"the tensor is traced by {traced_by}, it has no values yet",
        fix="convert outside the function",
        error=TracedError,
    )


_DTYPE_FIXES = {
    "float4_e2m1fn_x2": "x.view(torch.uint8) for the bytes: two values each, the first in the low four bits",
    # torch computes nothing with these, not even a copy, and does not say how they lie in memory.
    **{f"{kind}{bits}": f"x.view(torch.{kind}8) for the bytes" for kind in ("int", "uint") for bits in range(1, 8)},
}


def _refusal_of_subclass(tensor: Any) -> Refusal | None:
    """Subclasses may wrap other tensors, or nothing: only those with memory of their own are arrays."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns when a fake tensor is asked for its address
        try:
            if tensor.data_ptr() != 0 or tensor.numel() == 0:
                return None
        except RuntimeError:
            pass
    if type(tensor).__name__ in ("FakeTensor", "FunctionalTensor"):
        return _refusal_of_traced("torch.compile (or torch.export, make_fx)")
    return Refusal(
        problem=f"a {type(tensor).__name__} has no memory of its own", fix="convert the tensor that it wraps"
    )


# ---------------------------------------------------------------------------------------------------------- converting


@cache
def exchange_api() -> Any:
    """torch's table of C functions (DLPack 1.3), as a capsule; None where it is missing or does not work as known.

    The standard is young and its name has changed before, so it is tried once, both ways, on values that are known.
    """
    import torch

    from bridge.core import _native

    api = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if api is None:
        return None
    try:
        tensor = torch.arange(1, 17, dtype=torch.int32)
        array = _native.torch_import(api, tensor)
        if array is None or _native.storage_address(array) != tensor.data_ptr():
            return None
        back = _native.torch_export(api, _native.copy(array))
        return api if back is not None and bool((back == tensor).all()) else None
    except Exception:
        return None


@hookimpl
def bridge_export(framework: Framework, source: Source, route: Route) -> Any:
    if framework.name != "torch":
        return None
    tensor = _DOORS[route.door or ""](source, route)
    return tensor if route.device == source.facts.device else tensor.to(route.device)


def _same(source: Source, route: Route) -> Any:
    import torch

    tensor = source.value.detach() if route.detach else source.value
    if route.outcome == "share":
        return tensor
    return tensor.to(getattr(torch, route.dtype), copy=True, memory_format=torch.contiguous_format)


def _exchange(source: Source, route: Route) -> Any:
    from bridge.core import _native

    api = exchange_api()
    tensor = None if api is None or route.access == "read" else _native.torch_export(api, source.value)
    return _dlpack(source, route) if tensor is None else tensor


def _dlpack(source: Source, route: Route) -> Any:
    import torch

    return torch.utils.dlpack.from_dlpack(source.capsule(access=route.access, versioned=True))


def _numpy(source: Source, route: Route) -> Any:
    import torch

    return torch.from_numpy(source.buffer(access=route.access))


def _address(source: Source, route: Route) -> Any:
    """What torch.from_numpy does not know goes in as integers of the same size."""
    import torch

    array = source.buffer(access=route.access)
    if source.facts.dtype in NATIVE:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(f"i{array.itemsize}")).view(getattr(torch, route.dtype))


def _buffer(source: Source, route: Route) -> Any:
    return _from_buffer(_buffer_of(source, route), source.facts)


def _memoryview(source: Source, route: Route) -> Any:
    return _from_buffer(memoryview(_buffer_of(source, route)), source.facts)


def _buffer_of(source: Source, route: Route) -> Any:
    """A writable buffer: torch.frombuffer warns of any other, also where somebody promised not to write."""
    if route.access == "write":
        return source.buffer(access="write")
    facts = source.facts
    assert facts.strides is not None
    return over(source.owner(access="read"), facts.address, facts.dtype, facts.shape, facts.strides, writable=True)


def _from_buffer(buffer: Any, facts: Facts) -> Any:
    import torch

    dtype = getattr(torch, facts.dtype)
    if prod(facts.shape) == 0:
        return torch.empty(facts.shape, dtype=dtype)  # torch.frombuffer refuses no bytes
    return torch.frombuffer(buffer, dtype=dtype).reshape(facts.shape)


_DOORS: dict[str, Callable[[Source, Route], Any]] = {
    "same": _same,
    "exchange": _exchange,
    "dlpack": _dlpack,
    "numpy": _numpy,
    "address": _address,
    "buffer": _buffer,
    "memoryview": _memoryview,
}


# ------------------------------------------------------------------------------------------------------------ shortcuts


def _from_bridge() -> Shortcut | None:
    api = exchange_api()
    if api is None:
        return None
    from bridge.core import _native

    return partial(_native.torch_export, api)


def _from_numpy() -> Shortcut:
    import torch

    from_numpy = torch.from_numpy

    def convert(array: Any) -> Any:
        flags = array.flags
        if not flags.behaved or not flags.forc:  # read-only, odd addresses; gaps, overlaps
            return None
        return from_numpy(array)

    return convert


FRAMEWORK = Framework(
    name="torch",
    module="torch",
    install='pip install "bridge-arrays[torch]"',
    types=("torch.Tensor", "torch.nn.parameter.Parameter"),
    takes=(
        Door(name="exchange", protocol="exchange", sources=frozenset({"bridge"})),
        Door(name="numpy", protocol="ndarray"),
        Door(name="address", protocol="address", sources=frozenset({"numpy"})),
        Door(name="dlpack", protocol="dlpack", host_only=False),
        Door(name="buffer", protocol="buffer", strides="row-major", dtypes=NATIVE),
        Door(name="memoryview", protocol="buffer", strides="row-major", dtypes=NATIVE),
    ),
    gives=(
        Offer(protocol="exchange"),
        Offer(protocol="array", dtypes=NATIVE),
        Offer(protocol="address"),
        Offer(protocol="dlpack"),
    ),
    dtypes=known_dtypes,
    mutable=True,
    readonly=False,
    # torch computes on any address of an x86; elsewhere some kernels need that of an element (pytorch/pytorch#191238).
    alignment=1 if platform.machine() in ("x86_64", "AMD64") else None,
    strides="non-negative",
    devices=True,
    shortcuts={"bridge": _from_bridge, "numpy": _from_numpy},
)


@hookimpl
def bridge_frameworks() -> list[Framework]:
    return [FRAMEWORK]
