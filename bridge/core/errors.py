"""Exceptions of the engine and of the exchange, and the one function that builds their text.

The C++ extension imports this module when it first has to raise, so it imports nothing but the standard library.
"""

from __future__ import annotations

__all__ = [
    "AxisError",
    "BorderError",
    "BridgeError",
    "CopyRequired",
    "DTypeError",
    "ExchangeError",
    "FormatError",
    "GradientWarning",
    "LinAlgError",
    "PluginError",
    "PluginWarning",
    "TracedError",
    "UnknownTarget",
    "human_bytes",
    "message",
]


class BridgeError(Exception):
    """Anything that bridge refuses to do. The text says what, what came, what is wanted and how to go on."""


class BorderError(BridgeError, TypeError):
    """A function cannot cross into another framework or out of it: what it gives is no array, or nobody says how."""


class CopyRequired(BridgeError, BufferError, ValueError):
    """Memory would have to be copied and the caller forbade it (``copy=False``).

    The array API wants a BufferError of `from_dlpack` and a ValueError of `asarray` and `reshape`.
    """


class ExchangeError(BridgeError, BufferError):
    """Memory that is offered cannot be taken: a damaged or spent capsule, another device, an unknown version."""


class FormatError(BridgeError, ValueError):
    """A file is not what it says or what its format allows. The text names the file, the tensor and what is wrong."""


class TracedError(BridgeError, TypeError):
    """The array stands for values that do not exist yet: a transformation traces it. The text names which."""


class DTypeError(BridgeError, TypeError):
    """The dtype has no exact counterpart on the other side, or an op does not accept it."""


class UnknownTarget(BridgeError, LookupError):
    """No framework of that name is known, or its package is not installed."""


class PluginError(BridgeError):
    """A plugin broke its contract: it could not be loaded, or it answered with something it had not promised."""


class AxisError(BridgeError, ValueError, IndexError):
    """An axis is out of bounds. Both a ValueError and an IndexError, as NumPy's."""


class LinAlgError(BridgeError, ValueError):
    """A matrix has no inverse, no factorisation of the kind asked for, or an iteration did not converge."""


class GradientWarning(UserWarning):
    """Something inside a function that is being differentiated is invisible to the gradient. The rest works on."""


class PluginWarning(UserWarning):
    """A plugin could not be used, or an observer failed. The rest works on."""


def message(
    tag: str,
    problem: str,
    *,
    got: str | None = None,
    want: str | None = None,
    fix: str | None = None,
) -> str:
    """Text of an error: the call in brackets, one sentence, then up to three labelled lines.

    Args:
        tag: the public call as the user wrote it, without brackets: ``bridge.to('torch')``.
        problem: one sentence; a full stop is added where it is missing.
        got, want: facts (dtype, shape, strides, keywords), never the repr of data. A line is left out when None.
        fix: code where possible.
    """
    if not problem.endswith((".", "!", "?")):
        problem += "."
    lines = [f"[{tag}] {problem}"]
    lines.extend(
        f"  {label:<5} {text}" for label, text in (("got:", got), ("want:", want), ("fix:", fix)) if text is not None
    )
    return "\n".join(lines)


def human_bytes(count: int) -> str:
    """A number of bytes as people write it: 12 B, 48 KiB, 1.5 MiB."""
    size, units = float(count), ["TiB", "GiB", "MiB", "KiB", "B"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop()
    return f"{size:.3g} {units[-1]}" if size < 1000 else f"{size:.0f} {units[-1]}"
