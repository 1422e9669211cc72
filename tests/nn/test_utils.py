"""Trees: bridge.utils agrees with mlx.utils."""

import inspect
import random
from typing import NamedTuple

import mlx.utils
import pytest

from bridge import utils


class Pair(NamedTuple):
    """A container of a type of its own."""

    a: object
    b: object


def tree(draw, depth):
    """A random tree of lists, tuples, named tuples and dictionaries with integers at its leaves."""
    kind = draw.choice("ldtpx") if depth else "x"
    if kind == "x":
        return draw.randrange(9)
    parts = [tree(draw, depth - 1) for _ in range(2 if kind == "p" else draw.randrange(4))]
    if kind == "d":
        return {draw.choice("abcdef"): part for part in parts}
    return {"l": list, "t": tuple, "p": lambda two: Pair(*two)}[kind](parts)


TREES = [tree(random.Random(seed), 4) for seed in range(300)]


@pytest.mark.parametrize("name", utils.__all__)
def test_the_arguments_are_those_of_mlx(name):
    """Names and defaults of the arguments are those of mlx.utils."""

    def arguments(module):
        return [(p.name, p.kind, p.default) for p in inspect.signature(getattr(module, name)).parameters.values()]

    assert arguments(utils) == arguments(mlx.utils)


def test_flattening_agrees_with_mlx():
    """The same paths and leaves in the same order, as a list and as a dictionary, with a prefix and with leaves."""
    for one in TREES:
        for settings in ({}, {"destination": {}}, {"prefix": ".x"}, {"is_leaf": lambda t: isinstance(t, tuple)}):
            ours, theirs = ({**settings, "destination": {}} if "destination" in settings else settings for _ in "ab")
            assert utils.tree_flatten(one, **ours) == mlx.utils.tree_flatten(one, **theirs)


def test_unflattening_agrees_with_mlx():
    """What was flattened comes back, tuples as lists and nothing for empty containers."""
    for one in TREES:
        flat = utils.tree_flatten(one)
        assert utils.tree_unflatten(flat) == mlx.utils.tree_unflatten(flat) == utils.tree_unflatten(dict(flat))


def test_mapping_agrees_with_mlx():
    """The same structure, the types of containers kept."""
    for one in TREES:
        assert utils.tree_map(lambda a, b: (a + b,), one, one) == mlx.utils.tree_map(lambda a, b: (a + b,), one, one)


def test_mapping_with_paths_agrees_with_mlx():
    """The same paths, with and without a prefix."""
    for one in TREES:
        for path in (None, "model"):
            ours, theirs = (
                module.tree_map_with_path(lambda where, a, b: (where, a, b), one, one, path=path)
                for module in (utils, mlx.utils)
            )
            assert ours == theirs


def test_reducing_agrees_with_mlx():
    """Leaves are taken in order, with and without something to begin with."""
    for one in TREES:
        for start in (None, 7):
            ours, theirs = (module.tree_reduce(lambda a, b: a * 3 + b, one, start) for module in (utils, mlx.utils))
            assert ours == theirs


def test_merging_puts_the_entries_of_both_together():
    """A deep update; where both have a leaf, the function decides."""
    a, b = {"x": [1, 2], "y": {}, "w": 3}, {"x": [10], "y": {"z": 4}, "v": ()}
    assert utils.tree_merge(a, b, lambda x, y: x + y) == {"x": [11, 2], "y": {"z": 4}, "w": 3, "v": ()}


def test_two_leaves_at_one_place_need_a_function():
    """Merging without one raises."""
    with pytest.raises(ValueError, match="merge_fn"):
        utils.tree_merge({"a": 1}, {"a": 2})


def test_a_missing_position_is_an_empty_dictionary():
    """Lists of layers of which some have no parameters keep their positions."""
    assert utils.tree_unflatten([("0.w", 1), ("2.w", 2)]) == [{"w": 1}, {}, {"w": 2}]


def test_a_destination_is_a_list_or_a_dictionary():
    """Anything else raises."""
    with pytest.raises(ValueError, match="destination"):
        utils.tree_flatten([1], destination=())
