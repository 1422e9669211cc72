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

from bridge.core.calculus import Calculus
from bridge.core.errors import DTypeError, TracedError
from bridge.core.framework import DTYPES, FLOAT8, Access, Door, Facts, Framework, Offer, Refusal, Shortcut, Source
from bridge.core.memory import NATIVE, over
from bridge.core.route import Route
from bridge.hookspecs import hookimpl
from bridge.plugins._shared import PROBE, known_shape, probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FRAMEWORK", "TorchSource", "describe"]


@cache
def known_dtypes() -> frozenset[str]:
    """float8 as far as this version of torch has it; its int4 and uint4 are names without values."""
    import torch

    return DTYPES | {name for name in FLOAT8 if hasattr(torch, name)}


class TorchSource(Source):
    """A tensor. What it hands out is detached; `route.choose` has seen to it that this is wanted."""

    def owner(self, *, access: Access) -> Any:
        return self.value.detach()  # holds the memory also when the tensor itself is set to other memory

    def capsule(self, *, access: Access, versioned: bool = False) -> Any:
        import torch

        tensor = _waited_for(self.value)
        return tensor.__dlpack__(max_version=(1, 0)) if versioned else torch.utils.dlpack.to_dlpack(tensor)

    def exporter(self) -> Any:
        return _waited_for(self.value)

    def ndarray(self) -> NDArray[Any]:
        tensor = self.value.detach().resolve_conj().resolve_neg().cpu()
        # Not tensor.numpy(): it knows no ml_dtypes dtype, and fails where torch was built for another NumPy.
        return over(tensor, tensor.data_ptr(), self.facts.dtype, tuple(tensor.shape), tensor.stride(), writable=True)

    def fresh(self) -> Source | None:
        if self.facts.device == "cpu":
            return None
        import torch

        resolved = self.value.detach().resolve_conj().resolve_neg()
        return describe(resolved.clone(memory_format=torch.contiguous_format))


def _waited_for(tensor: Any) -> Any:
    """The tensor, detached. DLPack has streams for CUDA and ROCm only: what Metal still computes is waited for here."""
    import torch

    if tensor.device.type == "mps":
        torch.mps.synchronize()  # without the GIL
    return tensor.detach()


# ---------------------------------------------------------------------------------------------------------- describing


@hookimpl
def bridge_calculus(framework: Framework) -> Calculus | None:
    if framework.name != "torch":
        return None
    from bridge.plugins import _calculus_torch

    return _calculus_torch.Calculus()


@hookimpl
def bridge_import(framework: Framework, value: Any) -> Source | None:
    return describe(value) if framework.name == "torch" else None


def describe(tensor: Any) -> TorchSource:
    """A tensor of any subclass as a source."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    refusal = _refusal(tensor, dtype)
    if refusal is not None:
        return TorchSource(tensor, Facts(framework="torch", dtype=dtype, shape=known_shape(tensor), refusal=refusal))
    unlike = None
    if tensor.is_conj():
        unlike = "it is a conjugate view: its bytes are not conjugated yet"
    elif tensor.is_neg():
        unlike = "it is a negative view: its bytes do not have their signs yet"
    return TorchSource(
        tensor,
        Facts(
            framework="torch",
            dtype=dtype,
            shape=tuple(tensor.shape),
            strides=tensor.stride(),
            address=tensor.data_ptr(),
            device=str(tensor.device),
            unlike=unlike,
            gradient=tensor.requires_grad or _has_tangent(tensor),
        ),
    )


def _has_tangent(tensor: Any) -> bool:
    """Whether forward differentiation carries a derivative with it, which requires_grad does not say."""
    from torch.autograd import forward_ad

    return getattr(forward_ad, "_current_level", 0) >= 0 and forward_ad.unpack_dual(tensor).tangent is not None


def _refusal(tensor: Any, dtype: str) -> Refusal | None:
    """Why the tensor has no bytes of its values to hand over; None: it has."""
    import torch

    if torch.nn.parameter.is_lazy(tensor):
        return Refusal(problem="a parameter of a lazy module has no shape yet", fix="call its module once")
    if tensor.is_nested:
        return Refusal(problem="a nested tensor has no single shape", fix="torch.nested.to_padded_tensor(x, 0)")
    if tensor.layout is not torch.strided:
        return Refusal(problem=f"a {tensor.layout} tensor is not dense memory", fix="x.to_dense()")
    if tensor.is_meta:
        fix = 'torch.empty_like(x, device="cpu") for the shape: there are no values'
        return Refusal(problem="a meta tensor has a shape and no values", fix=fix)
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
    if tensor.data_ptr() == 0 and tensor.numel() != 0:
        if tensor._is_zerotensor():
            return Refusal(problem="a tensor of zeros that torch has not written has no memory", fix="x.clone()")
        return Refusal(problem="the tensor has no memory: its storage was emptied", fix="convert it before that")
    return None


def _refusal_of_traced(traced_by: str) -> Refusal:
    return Refusal(
        problem=f"the tensor is traced by {traced_by}, it has no values yet",
        fix="convert outside the function",
        error=TracedError,
    )


_DTYPE_FIXES = {
    "complex32": "x.to(torch.complex64), which is exact",
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
    fix = "x.to_tensor(0)" if hasattr(tensor, "to_tensor") else "convert the tensor that it wraps"
    return Refusal(problem=f"a {type(tensor).__name__} has no memory of its own", fix=fix)


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


def has_exchange() -> bool:
    return exchange_api() is not None


@cache
def numpy_works() -> bool:
    """Whether torch and the installed NumPy understand each other: "Numpy is not available" where they do not."""
    import torch

    try:
        return bool(torch.from_numpy(probe()).tolist() == list(PROBE))
    except Exception:
        return False


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

    tensor = None if route.access == "read" else _native.torch_export(exchange_api(), source.value)
    return _dlpack(source, route) if tensor is None else tensor


def _dlpack(source: Source, route: Route) -> Any:
    import torch

    if source.facts.device != "cpu":
        return torch.from_dlpack(source.exporter())
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


def _from_numpy() -> Shortcut | None:
    if not numpy_works():
        return None
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
        Door(name="exchange", protocol="exchange", sources=frozenset({"bridge"}), ready=has_exchange),
        Door(name="numpy", protocol="ndarray", ready=numpy_works),
        Door(name="address", protocol="address", sources=frozenset({"numpy"}), ready=numpy_works),
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
