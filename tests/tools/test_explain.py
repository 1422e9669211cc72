"""`python -m bridge explain`: the plan of bridge.explain, for an array that is described and never made."""

from __future__ import annotations

import re

import numpy as np
import pytest

import bridge
from bridge.cli import main
from bridge.cli.explain import MARKS, Spec, parse, plan
from bridge.core.errors import BridgeError
from bridge.core.route import Request


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit status, and what was printed where a user looks for it."""
    status = main(["explain", *words])
    printed = capsys.readouterr()
    return status, printed.err if status == 2 else printed.out


@pytest.mark.parametrize(
    ("words", "status", "outcome", "why"),
    [
        (["torch", "numpy:float32[1000,3]"], 0, "shared", "both sides can write"),
        (["torch", "numpy:float32[1000,3]:reversed"], 0, "copied", "axis 0 runs backwards"),
        (["torch", "numpy:float32[1000,3]:reversed", "--copy", "False"], 1, "refused", "axis 0 runs backwards"),
        (["torch", "numpy:float32[4,4]:transposed"], 0, "shared", "both sides can write"),
        (["tensorflow", "numpy:float32[4,4]:transposed"], 0, "copied", "tensorflow has no strides"),
        (["jax", "numpy:float32[4,4]:transposed"], 0, "shared", "source stays writable"),
        (["jax", "numpy:float32[4,4]:strided"], 0, "copied", "jax only takes compact blocks"),
        (["jax", "numpy:int32[4]:offset"], 0, "copied", "4 bytes past a 64-byte boundary"),
        (["jax", "numpy:float64[3]"], 1, "refused", "jax has no float64"),
        (["jax", "numpy:float64[3]", "--dtype", "float32"], 0, "copied", "asked for a conversion"),
        (["torch", "numpy:float32[3]:readonly"], 0, "copied", "torch has no read-only arrays"),
        (["torch", "numpy:float32[3]:readonly", "--readonly"], 0, "shared", "readonly=True promises not to write"),
        (["torch", "numpy:float32[3,4]:broadcast"], 0, "copied", "its elements overlap"),
        (["numpy", "torch:float32[3]:grad"], 1, "refused", "the array requires grad"),
        (["numpy", "torch:float32[3]:grad", "--detach"], 0, "shared", "both sides can write"),
        (["numpy", "torch:float32[3]", "--via", "dlpack"], 0, "shared by 'dlpack'", "both sides can write"),
        (["numpy", "torch:float32[3]", "--via", "tunnel"], 1, "refused", "no door 'tunnel'"),
        (["numpy", "torch:float32[3]", "--copy", "True"], 0, "copied", "copy=True asked"),
        (["torch", "bridge:bfloat16[2,2]"], 0, "shared", "both sides can write"),
        (["torch", "bridge:float32[]"], 0, "shared", "both sides can write"),
        (["torch", "bridge:float32[0,5]"], 0, "shared", "both sides can write"),
    ],
)
def test_the_plan_is_printed(capsys, words: list[str], status: int, outcome: str, why: str):
    """Outcome and reason in the words of bridge.explain; the exit status is 1 for a refusal."""
    found, text = explained(capsys, *words)
    head, reason, *_ = text.splitlines()
    assert (found, outcome in head, why in reason) == (status, True, True), text


@pytest.mark.parametrize("copy", [None, False, True])
@pytest.mark.parametrize("marks", ["", ":transposed", ":reversed", ":strided", ":readonly", ":broadcast"])
@pytest.mark.parametrize("target", ["bridge", "torch", "jax", "numpy"])
def test_the_plan_is_that_of_a_real_array(target: str, marks: str, copy: bool | None):
    """The description of an array leads to the same plan as the array."""
    array = bridge.to("numpy", bridge.zeros((4, 8), dtype=bridge.float32), copy=True)
    array = {
        "": array,
        ":transposed": array.reshape(8, 4).T,
        ":reversed": array[::-1],
        ":strided": np.repeat(array, 2, axis=1)[:, ::2] if marks == ":strided" else array,
        ":broadcast": np.broadcast_to(array[0], (4, 8)),
        ":readonly": array,
    }[marks]
    if marks == ":readonly":
        array.flags.writeable = False
    real = bridge.explain(target, array, copy=copy)
    described, _ = plan(target, parse(f"numpy:float32[4,8]{marks}"), Request(copy=copy))
    assert (described.outcome, described.rule, described.route) == (real.outcome, real.rule, real.route)


def test_no_size_is_too_large(capsys):
    """Four tebibytes are described and never allocated."""
    peak = bridge.get_peak_memory()
    status, text = explained(capsys, "torch", "bridge:float32[1000000,1000000]")
    assert (status, "shared" in text, "3.64 TiB" in text) == (0, True, True), text
    assert bridge.get_peak_memory() - peak < 2**20


def test_a_hint_says_what_the_address_changes(capsys):
    """Alignment is luck with NumPy: where it decides, the second line of the answer says so."""
    _, text = explained(capsys, "jax", "numpy:float32[1000]")
    assert "note: copied if it begins elsewhere, as x[1:] does" in text
    _, text = explained(capsys, "torch", "numpy:float32[1000]")
    assert "note" not in text


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["torch", "numpy"], "describes no array"),
        (["torch", "numpy:float32"], "describes no array"),
        (["torch", "numpy:float32[3"], "describes no array"),
        (["torch", "numpy:float32[3,x]"], "'x' is no number of elements"),
        (["torch", "numpy:float32[-3]"], "'-3' is no number of elements"),
        (["torch", "numpy:float32[3]:odd"], "no mark is called 'odd'"),
        (["torch", "numpy:flot[3]"], "'flot' names no dtype"),
        (["torch", "numpy:float32[3]", "--dtype", "flot"], "'flot' names no dtype"),
        (["torch", "nump:float32[3]"], "did you mean 'numpy'"),
        (["toch", "numpy:float32[3]"], "did you mean 'torch'"),
        (["torch", "jax:float32[3]:reversed"], "jax has no arrays that are reversed"),
        (["torch", "tensorflow:float32[3,4]:transposed"], "tensorflow has no arrays that are transposed"),
        (["torch", "jax:float32[3]:offset"], "jax has no arrays that are offset"),
        (["numpy", "torch:float32[3]:readonly"], "torch has no read-only arrays"),
        (["torch", "numpy:float32[3]:grad"], "numpy has no arrays that require grad"),
        (["numpy", "torch:int32[3]:grad"], "int32 cannot require grad"),
        (["torch", "numpy:float32[]:reversed"], "without axes has no layout"),
        (["torch", "numpy:int8[" + "1," * 65 + "]"], "no arrays of 65 axes"),
    ],
)
def test_what_cannot_be_understood(capsys, words: list[str], problem: str):
    """Exit status 2, and one clear message without a traceback."""
    status, text = explained(capsys, *words)
    assert status == 2
    assert problem in text


def test_words_that_are_missing(capsys):
    """The usage is shown."""
    with pytest.raises(SystemExit, match="2"):
        main(["explain", "torch"])
    assert "usage: python -m bridge explain" in capsys.readouterr().err


def test_help_lists_the_marks(capsys):
    """What can be said of an array stands in the help."""
    with pytest.raises(SystemExit, match="0"):
        main(["explain", "--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {mark} +\S", text, re.MULTILINE) for mark in MARKS)


def test_spaces_and_marks_in_any_order():
    """A spec is read as people write it."""
    assert parse(" numpy:int8[2, 3]:readonly:reversed ") == Spec(
        "numpy", "int8", (2, 3), frozenset({"readonly", "reversed"})
    )
    with pytest.raises(BridgeError, match="describes no array"):
        parse("numpy:int8[2][3]")
