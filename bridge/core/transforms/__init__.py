"""Transforms: functions that take a function and give one that differentiates, vectorises or compiles it.

They know no op. A function is called on arrays of the transform's own; the lazy graph between these and what it gives
is the tape, and the walks over it ask each op's declaration for its rule. Rules are written with arrays, so what a
transform makes is a graph like any other, which another transform can walk: they nest in any order and to any depth.
"""

from bridge.core.ops.gradient import stop_gradient
from bridge.core.transforms.batching import vmap
from bridge.core.transforms.checkpoint import checkpoint
from bridge.core.transforms.compile import compile, disable_compile, enable_compile
from bridge.core.transforms.custom import custom_function
from bridge.core.transforms.forward import jvp
from bridge.core.transforms.policy import set_policy
from bridge.core.transforms.reverse import grad, value_and_grad, vjp

__all__ = [
    "checkpoint",
    "compile",
    "custom_function",
    "disable_compile",
    "enable_compile",
    "grad",
    "jvp",
    "set_policy",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "vmap",
]
