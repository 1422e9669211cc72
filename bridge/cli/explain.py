"""Say how an array would travel, without making it: shared, copied or refused, and why.

    python -m bridge explain torch numpy:float32[1000,3]
    python -m bridge explain jax numpy:float32[1000,3]:transposed --copy False

The plan is that of `bridge.explain`. It is made from a description: an array of one element tells what the framework's
arrays are like, and the shape and strides in question take the place of its own. So no size is too large to ask about.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy

from bridge.core.errors import BridgeError, DTypeError, message
from bridge.core.framework import Facts, Framework, dtype_name
from bridge.core.interop import plan_of, to
from bridge.core.memory import aligned_copy, numpy_dtype
from bridge.core.record import Plan
from bridge.core.registry import registry
from bridge.core.route import Request, choose, fits

__all__ = ["MARKS", "Spec", "add_arguments", "parse", "plan", "run"]

#: What can be said of an array after its shape.
MARKS: Mapping[str, str] = MappingProxyType(
    {
        "transposed": "its axes lie in the opposite order, as of x.T",
        "reversed": "its first axis runs backwards, as of x[::-1]",
        "strided": "there are gaps, as in x[..., ::2]",
        "broadcast": "its first axis repeats one row",
        "offset": "it begins one element later, as x[1:] does",
        "readonly": "it can be read and not written",
        "grad": "it requires grad",
    }
)
_LAYOUTS = ("transposed", "reversed", "strided", "broadcast")
_TAG = "bridge explain"
_AXES = 64
_SPEC = re.compile(r"(?P<framework>[\w.-]+):(?P<dtype>\w+)\[(?P<shape>[^\]]*)\](?P<marks>(?::[\w-]+)*)")
_EXAMPLE = "numpy:float32[1000,3], torch:bfloat16[4,4]:transposed, jax:int32[]"


class Spec(NamedTuple):
    """An array, as it is written on the command line."""

    framework: str
    dtype: str
    shape: tuple[int, ...]
    marks: frozenset[str] = frozenset()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    marks = "\n".join(f"  {name:<11} {meaning}" for name, meaning in MARKS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        f"SOURCE is FRAMEWORK:DTYPE[SHAPE], and marks after it:\n{marks}\n\n"
        f"for example {_EXAMPLE}\n\nexit status: 0 shared or copied, 1 refused, 2 not understood"
    )
    parser.add_argument("target", metavar="TARGET", help="the framework that the array goes to")
    parser.add_argument("source", metavar="SOURCE", help="the array: FRAMEWORK:DTYPE[SHAPE], with marks")
    parser.add_argument("--copy", choices=_COPY, default="None", help="None shares if possible, False or raises")
    parser.add_argument("--dtype", help="the dtype to convert to")
    parser.add_argument("--device", help='where the new array should be, for example "cpu"')
    parser.add_argument("--via", metavar="DOOR", help="the one door to take")
    parser.add_argument("--readonly", action="store_true", help="the promise not to write")
    parser.add_argument("--detach", action="store_true", help="hand over the values of an array that requires grad")


_COPY = {"None": None, "False": False, "True": True}


def run(arguments: argparse.Namespace) -> int:
    """Print the plan. 0: shared or copied; 1: refused; 2: the question cannot be understood."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow's greetings stand before the answer
    try:
        request = Request(
            copy=_COPY[arguments.copy],
            dtype=None if arguments.dtype is None else dtype_name(arguments.dtype, tag=_TAG),
            device=arguments.device,
            readonly=arguments.readonly,
            detach=arguments.detach,
            via=arguments.via,
        )
        spec = parse(arguments.source)
        found, offset = plan(arguments.target, spec, request)
    except (BridgeError, ImportError) as error:
        print(error, file=sys.stderr)
        return 2
    print(found)
    if offset is not None and offset.outcome != found.outcome:
        print(f"  note: {offset.outcome} if it begins elsewhere, as x[1:] does: {offset.why}")
    return 1 if found.refused else 0


def parse(text: str) -> Spec:
    """The array that `text` describes.

    Raises:
        BridgeError: it is not of the form FRAMEWORK:DTYPE[SHAPE]:MARK...; the message says which part.
        DTypeError: no such dtype.
    """
    found = _SPEC.fullmatch(text.strip())
    if found is None:
        raise BridgeError(
            message(_TAG, "this describes no array", got=text, want="FRAMEWORK:DTYPE[SHAPE]", fix=_EXAMPLE)
        )
    extents = [extent.strip() for extent in found["shape"].split(",") if extent.strip()]
    wrong = [extent for extent in extents if not extent.isdecimal()]
    if wrong:
        problem = f"{wrong[0]!r} is no number of elements"
        raise BridgeError(message(_TAG, problem, got=text, want="whole numbers with commas between: [1000,3]"))
    marks = [mark for mark in found["marks"].split(":") if mark]
    unknown = [mark for mark in marks if mark not in MARKS]
    if unknown:
        raise BridgeError(message(_TAG, f"no mark is called {unknown[0]!r}", got=text, want=", ".join(MARKS)))
    shape = tuple(map(int, extents))
    if len(shape) > _AXES:
        raise BridgeError(message(_TAG, f"NumPy has no arrays of {len(shape)} axes", want=f"at most {_AXES}"))
    if not shape and {*marks} & {*_LAYOUTS}:
        raise BridgeError(message(_TAG, "an array without axes has no layout", got=text, fix="leave the marks out"))
    return Spec(found["framework"], dtype_name(found["dtype"], tag=_TAG), shape, frozenset(marks))


def plan(target: str, spec: Spec, request: Request) -> tuple[Plan, Plan | None]:
    """The plan for the array; and that for the same one at another address, where the framework has such arrays.

    Raises:
        UnknownTarget: there is no such framework, or it is not installed.
        BridgeError: the framework has no such arrays.
    """
    into, framework = registry.target(target, tag=_TAG), registry.target(spec.framework, tag=_TAG)
    facts = _facts(framework, spec)
    found = _planned(into, framework, facts, request)
    moved = replace(facts, address=facts.address + facts.itemsize)
    return found, _planned(into, framework, moved, request) if _begins_there(framework, moved) else None


def _planned(target: Framework, framework: Framework, facts: Facts, request: Request) -> Plan:
    found: Plan = plan_of(Plan, target, framework, facts, choose(target, framework, facts, request))
    return found


def _facts(framework: Framework, spec: Spec) -> Facts:
    """The facts of the array, taken from one of the same framework with one element."""
    sample = aligned_copy(numpy.zeros((1,) * len(spec.shape), numpy_dtype(spec.dtype)))
    array = to(framework.name, sample, copy=True if framework.leases else None)
    facts = registry.describe(framework, array).facts
    strides = _strides(spec)
    # Far from 0, and as far from a boundary as the framework put the sample.
    address = (1 << 46) + facts.address % 4096 + ("offset" in spec.marks) * facts.itemsize
    facts = replace(facts, shape=spec.shape, strides=strides, address=address)
    if not fits(framework.strides, spec.shape, strides) or not _begins_there(framework, facts):
        marks = " and ".join(mark for mark in MARKS if mark in spec.marks)
        raise BridgeError(message(_TAG, f"{framework.name} has no arrays that are {marks}"))
    if "readonly" in spec.marks and facts.access == "write":
        if not framework.readonly:
            raise BridgeError(message(_TAG, f"{framework.name} has no read-only arrays"))
        facts = replace(facts, access="read", why_read="so it was described")
    if "grad" in spec.marks:
        if not hasattr(array, "requires_grad"):
            raise BridgeError(message(_TAG, f"{framework.name} has no arrays that require grad"))
        if not spec.dtype.startswith(("float", "bfloat", "complex")):
            raise DTypeError(message(_TAG, f"an array of {spec.dtype} cannot require grad"))
        facts = replace(facts, gradient=True)
    return facts


def _begins_there(framework: Framework, facts: Facts) -> bool:
    """Whether the framework has arrays that begin at this address."""
    return facts.address % (framework.alignment or max(1, facts.itemsize)) == 0


def _strides(spec: Spec) -> tuple[int, ...]:
    """In elements."""
    axes = range(len(spec.shape))
    strides, step = [0] * len(axes), 2 if "strided" in spec.marks else 1
    for axis in axes if "transposed" in spec.marks else reversed(axes):
        strides[axis] = step
        step *= max(1, spec.shape[axis])
    if "broadcast" in spec.marks:
        strides[0] = 0
    if "reversed" in spec.marks:
        strides[0] = -strides[0]
    return tuple(strides)
