"""Different optimizers for different parameters of one tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bridge.core._native import array
from bridge.core.errors import message
from bridge.optimizers.optimizer import Optimizer, Rate, State, Tree
from bridge.utils import tree_flatten, tree_map_with_path, tree_unflatten


class MultiOptimizer(Optimizer):
    """Hands each parameter to the first optimizer whose filter accepts it, and to the last one otherwise.

    Args:
        optimizers: at least one.
        filters:    a function for each optimizer but the last; called with the parameter's path
                    ("layers.0.weight") and its gradient, or the parameter itself in `init`.

    Raises:
        ValueError: the numbers of optimizers and filters do not fit.
    """

    def __init__(self, optimizers: Sequence[Optimizer], filters: Sequence[Callable[[str, array], bool]] = ()) -> None:
        super().__init__()
        if len(filters) != len(optimizers) - 1:
            raise ValueError(
                message(
                    "bridge.optimizers.MultiOptimizer",
                    "every optimizer but the last needs a filter",
                    got=f"{len(optimizers)} optimizers and {len(filters)} filters",
                )
            )
        self.optimizers = list(optimizers)
        self.filters: list[Callable[[str, array], bool]] = [*filters, lambda path, one: True]

    def init(self, parameters: Tree) -> None:
        """Make the state of every optimizer for its share of the parameters."""
        for optimizer, part in zip(self.optimizers, self._parts(parameters), strict=True):
            optimizer.init(part)

    def apply_gradients(self, gradients: Tree, parameters: Tree) -> Tree:
        """New parameters, in a tree of the structure of `gradients`; every optimizer moves on by a step."""
        new: dict[str, array] = {}
        for optimizer, part in zip(self.optimizers, self._parts(gradients), strict=True):
            tree_flatten(optimizer.apply_gradients(part, parameters), destination=new)
        return tree_map_with_path(lambda path, _: new[path], gradients)

    @property
    def state(self) -> State:
        """{"states": [the state of each optimizer]}; what is set must have as many."""
        return {"states": [optimizer.state for optimizer in self.optimizers]}

    @state.setter
    def state(self, state: State) -> None:
        states = state.get("states", ())
        if len(states) != len(self.optimizers):
            tag = "bridge.optimizers.MultiOptimizer.state"
            got = f"{len(states)} states for {len(self.optimizers)} optimizers"
            raise ValueError(message(tag, "every optimizer needs a state", got=got))
        for optimizer, one in zip(self.optimizers, states, strict=True):
            optimizer.state = one

    @property
    def step(self) -> array:
        """Updates so far, by the first optimizer's count."""
        return self.optimizers[0].step

    @property
    def learning_rate(self) -> array:
        """That of the first optimizer; setting it sets it for all."""
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Rate) -> None:
        for optimizer in self.optimizers:
            optimizer.learning_rate = learning_rate

    def _parts(self, tree: Tree) -> list[Tree]:
        """What of `tree` each optimizer gets."""
        shares: list[dict[str, Any]] = [{} for _ in self.optimizers]
        for path, leaf in tree_flatten(tree):
            place = next(i for i, accepts in enumerate(self.filters) if accepts(path, leaf))
            shares[place][path] = leaf
        return [tree_unflatten(share) if share else {} for share in shares]
