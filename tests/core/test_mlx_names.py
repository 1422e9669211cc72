"""The names of MLX: what docs/mlx.md says is so, and the snapshot that it is made from is the installed MLX's."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from pathlib import Path

import pytest

import bridge

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("make_names", ROOT / "tools" / "make_names.py")
make_names = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = make_names  # where its dataclasses look for their module
spec.loader.exec_module(make_names)

NAMES = json.loads(make_names.SNAPSHOT.read_text(encoding="utf-8"))
ROWS = [row for part, names in NAMES.items() if part != "version" for row in make_names.rows(part, names)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_name_is_there(row):
    """bridge has the name and takes every call that MLX's signature allows; or the table says why not."""
    assert row.problems == []


def test_few_names_are_listed():
    """At least 97% of the names are there, at most 12 are listed, and none for want of time."""
    listed = [row for row in ROWS if row.reason is not None]
    assert len(listed) <= 12
    assert len(listed) <= 0.03 * len(ROWS)
    assert not [row.reason for row in listed if "yet" in row.reason]
    assert {row.name for row in listed} == make_names.LISTED.keys()


def test_the_snapshot_is_of_the_installed_mlx():
    """The names and signatures that are compared are those of the MLX in this environment."""
    import mlx.core

    if mlx.core.__version__ == NAMES["version"]:
        assert make_names.snapshot() == NAMES


def test_the_comparison_sees_what_differs():
    """A missing parameter, another name, another default and a new required parameter are found."""
    want = make_names.parsed("(a, b, /, axis=None, *, stream=None)")

    def problems(function) -> list[str]:
        return make_names.differences(want, inspect.signature(function))

    assert problems(lambda a, b, axis=None, more=1, *, stream=None, dtype=None: 0) == []
    assert problems(lambda a, b, axis=None, *, stream=1: 0) == ["`stream` is 1 by default, not None"]
    assert problems(lambda a, b, axes=None, *, stream=None: 0) == ["`axis` not by name"]
    assert problems(lambda a, b, *, axis=None, stream=None: 0) == ["`axis` not by position"]
    assert problems(lambda a, b, axis=None: 0) == ["`stream` not by name"]
    assert problems(lambda a, b, axis=None, *, key, stream=None: 0) == ["wants `key`"]


def test_the_dtypes_are_named_as_in_mlx():
    """bool_ and its standard name bool are one dtype; every dtype of MLX is there under its name."""
    assert bridge.bool is bridge.bool_
    for name in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16"):
        assert getattr(bridge, name).name == name
