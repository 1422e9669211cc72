"""Trees of lists, tuples and dictionaries: map, flatten, reduce, merge. Names and meaning are MLX's.

What is none of the three containers is a leaf, `None` too; `is_leaf` can end the descent earlier. A named tuple keeps
its type, a subclass of `dict` (a module, say) becomes a plain dictionary.
"""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

__all__ = ["tree_flatten", "tree_map", "tree_map_with_path", "tree_merge", "tree_reduce", "tree_unflatten"]

Leaf = Callable[[Any], bool]
Flat = list[tuple[str, Any]] | dict[str, Any]


def tree_map(fn: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Leaf | None = None) -> Any:
    """A tree of the structure of `tree` with `fn(leaf, *leaves_of_rest)` at each leaf.

    Args:
        fn:      called once a leaf, in order.
        tree:    the tree that gives the structure.
        rest:    trees with at least the entries of `tree`; their entries at the same place are further arguments.
        is_leaf: True for what is not descended into.

    Raises:
        KeyError, IndexError: a tree of `rest` lacks an entry of `tree`.
    """
    if is_leaf is not None and is_leaf(tree):
        return fn(tree, *rest)
    if isinstance(tree, dict):
        return {k: tree_map(fn, child, *[r[k] for r in rest], is_leaf=is_leaf) for k, child in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [tree_map(fn, child, *[r[i] for r in rest], is_leaf=is_leaf) for i, child in enumerate(tree)]
        return _like(tree, parts)
    return fn(tree, *rest)


def tree_map_with_path(
    fn: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Leaf | None = None, path: str | None = None
) -> Any:
    """`tree_map` whose `fn` takes the path of the leaf ("layers.0.weight") before the leaves.

    Args:
        fn:      called as `fn(path, leaf, *leaves_of_rest)`; the path of a tree that is itself a leaf is `path`.
        path:    what every path begins with; None for nothing.
        tree, rest, is_leaf: as in `tree_map`.
    """
    if is_leaf is not None and is_leaf(tree):
        return fn(path, tree, *rest)
    if not isinstance(tree, dict | list | tuple):
        return fn(path, tree, *rest)
    begin = f"{path}." if path else ""
    parts = [
        (key, tree_map_with_path(fn, child, *[r[key] for r in rest], is_leaf=is_leaf, path=f"{begin}{key}"))
        for key, child in _entries(tree)
    ]
    return dict(parts) if isinstance(tree, dict) else _like(tree, [part for _, part in parts])


def tree_flatten(tree: Any, prefix: str = "", is_leaf: Leaf | None = None, destination: Flat | None = None) -> Any:
    """(path, leaf) for every leaf, in order; the path joins keys and positions by dots.

    Args:
        tree:        the tree; a key of a dictionary should hold no dot, or `tree_unflatten` splits it.
        prefix:      what every path begins with; its first character (a dot) is dropped.
        is_leaf:     True for what is not descended into.
        destination: a list that is extended or a dictionary that is updated; None for a new list.

    Returns:
        `destination`: empty containers leave no trace.

    Raises:
        ValueError: `destination` is neither list nor dictionary.
    """
    if destination is None:
        destination = []
    if isinstance(destination, list):
        destination.extend(_leaves(tree, prefix, is_leaf))
    elif isinstance(destination, dict):
        destination.update(_leaves(tree, prefix, is_leaf))
    else:
        raise ValueError("[bridge.utils.tree_flatten] destination is a list, a dictionary or None")
    return destination


def tree_unflatten(tree: Flat) -> Any:
    """The tree of (path, leaf) pairs: what `tree_flatten` gave, tuples as lists.

    Args:
        tree: list of pairs, or dictionary from path to leaf. Names that are all numbers make a list; a position
              that is missing holds an empty dictionary. A single pair with the path "" is its leaf.
    """
    pairs = list(tree.items() if isinstance(tree, dict) else tree)
    if len(pairs) == 1 and pairs[0][0] == "":
        return pairs[0][1]
    branches: dict[str, list[tuple[str, Any]]] = {}
    for path, leaf in pairs:
        name, _, below = path.partition(".")
        branches.setdefault(name, []).append((below, leaf))
    try:
        places = {int(name): name for name in branches}
    except ValueError:
        places = {}
    if len(places) != len(branches) or (places and min(places) < 0):  # "1" and "01" are two names, "-1" is no position
        return {name: tree_unflatten(below) for name, below in branches.items()}
    size = max(places, default=-1) + 1
    return [tree_unflatten(branches[places[i]]) if i in places else {} for i in range(size)]


def tree_reduce(fn: Callable[[Any, Any], Any], tree: Any, initializer: Any = None, is_leaf: Leaf | None = None) -> Any:
    """`fn(fn(fn(initializer, leaf0), leaf1), leaf2)` and so on, over the leaves in order.

    Args:
        fn:          takes what is accumulated and the next leaf.
        initializer: what to begin with; None begins with the first leaf.
        is_leaf:     True for what is not descended into.

    Returns:
        What is accumulated; `initializer` for a tree without leaves.
    """
    result = initializer
    for _, leaf in _leaves(tree, "", is_leaf):
        result = leaf if result is None else fn(result, leaf)
    return result


def tree_merge(tree_a: Any, tree_b: Any, merge_fn: Callable[[Any, Any], Any] | None = None) -> Any:
    """One tree with the entries of both, like a deep `dict.update`.

    Args:
        tree_a, tree_b: trees; None and an empty container are trees without leaves.
        merge_fn:       takes the two leaves that stand at the same place.

    Raises:
        ValueError: both have a leaf at the same place and there is no `merge_fn`, or both are empty containers of
                    different types.
    """
    nothing_a, nothing_b = _nothing(tree_a), _nothing(tree_b)
    if nothing_a and nothing_b and None not in (tree_a, tree_b) and type(tree_a) is not type(tree_b):
        kinds = f"{type(tree_a).__name__} with {type(tree_b).__name__}"
        raise ValueError(f"[bridge.utils.tree_merge] an empty container of one kind cannot be merged: {kinds}")
    if nothing_a:
        return tree_a if nothing_b and tree_b is None else tree_b
    if nothing_b:
        return tree_a
    if isinstance(tree_a, dict) and isinstance(tree_b, dict):
        keys = [*tree_a, *(key for key in tree_b if key not in tree_a)]
        return {key: tree_merge(tree_a.get(key), tree_b.get(key), merge_fn) for key in keys}
    if isinstance(tree_a, list | tuple) and isinstance(tree_b, list | tuple):
        return _like(tree_a, [tree_merge(a, b, merge_fn) for a, b in zip_longest(tree_a, tree_b)])
    if merge_fn is None:
        raise ValueError("[bridge.utils.tree_merge] two leaves stand at the same place\n  fix:  give a merge_fn")
    return merge_fn(tree_a, tree_b)


def _like(tree: Any, parts: list[Any]) -> Any:
    """`parts` in a list or tuple of the type of `tree`."""
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


def _entries(tree: Any) -> Any:
    """(key or position, child) for each child of a container."""
    return tree.items() if isinstance(tree, dict) else enumerate(tree)


def _leaves(tree: Any, path: str, is_leaf: Leaf | None) -> Iterator[tuple[str, Any]]:
    """(path without its first character, leaf) for every leaf, in order."""
    if isinstance(tree, dict | list | tuple) and (is_leaf is None or not is_leaf(tree)):
        for key, child in _entries(tree):
            yield from _leaves(child, f"{path}.{key}", is_leaf)
    else:
        yield path[1:], tree


def _nothing(tree: Any) -> bool:
    """Whether `tree` is None or an empty container."""
    return tree is None or (isinstance(tree, dict | list | tuple) and len(tree) == 0)
