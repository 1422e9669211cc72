"""The text and the classes of errors."""

from __future__ import annotations

import numpy as np
import pytest

import bridge
from bridge.core.errors import (
    BridgeError,
    CopyRequired,
    DTypeError,
    PluginError,
    UnknownTarget,
    human_bytes,
    message,
)


def test_the_text_has_tag_problem_and_three_labelled_lines():
    """In this order, the labels padded to one column."""
    text = message("bridge.to('torch')", "no", got="a", want="b", fix="c")
    assert text == "[bridge.to('torch')] no.\n  got:  a\n  want: b\n  fix:  c"


def test_lines_that_are_not_known_are_left_out():
    assert message("x", "Why?") == "[x] Why?"
    assert message("x", "no.", fix="c") == "[x] no.\n  fix:  c"


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (CopyRequired, BufferError),
        (DTypeError, TypeError),
        (UnknownTarget, LookupError),
        (PluginError, BridgeError),
    ],
)
def test_errors_are_bridge_errors_and_builtin_ones(error: type, builtin: type):
    """One class catches all; the built-in one is caught by code that knows nothing of bridge."""
    assert issubclass(error, BridgeError)
    assert issubclass(error, builtin)


def test_a_refusal_as_the_user_reads_it():
    """The whole text of the most common one."""
    x = np.zeros((4096, 3), np.float32)[::-1]
    with pytest.raises(CopyRequired, match="runs backwards") as caught:
        bridge.to("torch", x, copy=False)
    assert str(caught.value) == (
        "[bridge.to('torch')] the bytes cannot be shared: axis 0 runs backwards and torch has no negative strides.\n"
        "  got:  float32[4096, 3] strides (-3, 1), copy=False\n"
        "  want: non-negative strides\n"
        "  fix:  copy=None to allow one copy (48 KiB)"
    )


def test_an_error_in_a_nest_says_where():
    """Keys, indices, fields, from the root to the leaf."""
    nest = {"weights": [np.zeros(3), (1.0, np.zeros(3, "O"))]}
    with pytest.raises(DTypeError, match="Python objects") as caught:
        bridge.to("torch", nest)
    assert caught.value.__notes__ == ["  at:   x['weights'][1][1]"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (96, "96 B"), (1000, "1000 B"), (1024, "1 KiB"), (49152, "48 KiB"), (1_600_000, "1.53 MiB")],
)
def test_bytes_in_words(count: int, text: str):
    assert human_bytes(count) == text


def test_a_dtype_that_is_none():
    """The names that there are, and what to write instead."""
    for dtype in ("float31", float, object()):
        with pytest.raises(DTypeError, match="names no dtype"):
            bridge.to("numpy", np.zeros(3), dtype=dtype)


def test_copy_has_three_answers():
    with pytest.raises(TypeError, match="None, False or True"):
        bridge.to("torch", np.zeros(3), copy="maybe")
