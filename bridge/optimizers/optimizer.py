"""The base of all optimizers: where state lives, how it comes to be, and how a tree of parameters is updated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from bridge.core._native import array
from bridge.core.dtypes import uint64
from bridge.core.errors import message
from bridge.utils import tree_map

Tree: TypeAlias = Any  # an array, or lists, tuples and dictionaries of trees
State: TypeAlias = dict[str, Any]
Kept: TypeAlias = dict[str, array]  # of one parameter
Schedule: TypeAlias = Callable[[array], array]
Rate: TypeAlias = float | array | Schedule


class Model(Protocol):
    """What `Optimizer.update` takes: a dictionary of parameters (a module) that can be told new ones."""

    def update(self, parameters: Any, /) -> Any: ...


class Optimizer:
    """Updates trees of parameters, one parameter at a time.

    The state is one dictionary: "step" (uint64, updates so far), the hyper-parameters that can change between updates
    ("learning_rate"), and, in the places where the parameters have them, a dictionary for each parameter. It consists
    of arrays only, so it can be given to `compile` as `inputs=` and `outputs=`, and saved by `tree_flatten`. Lists and
    tuples of parameters have lists of states.

    A subclass implements `init_single` and `apply_single`.

    Args:
        schedulers: from the name of a hyper-parameter to a function of the step that gives its value.
    """

    def __init__(self, schedulers: Mapping[str, Schedule] | None = None) -> None:
        self._initialized = False
        self._state: State = {"step": array(0, uint64)}
        self._schedulers: dict[str, Schedule] = dict(schedulers or {})

    def update(self, model: Model, gradients: Tree) -> None:
        """Give `model` (an `nn.Module`) the parameters that `apply_gradients` makes of its own.

        Args:
            model:     is a dictionary of its parameters and has a method `update`.
            gradients: a tree with the gradients of some or all of the parameters.
        """
        model.update(self.apply_gradients(gradients, model))

    def init(self, parameters: Tree) -> None:
        """Make the state of parameters that have none yet; what is there stays.

        The first `apply_gradients` does it where it was not done. Nothing is computed: the arrays are lazy.

        Raises:
            TypeError:  the outermost container is a list or a tuple.
            ValueError: an outermost parameter has the name of a hyper-parameter or is called "step".
        """
        self._check(parameters)
        _grow(parameters, self._state)
        tree_map(self._fill, parameters, self._state)
        self._initialized = True

    def init_single(self, parameter: array, state: Kept) -> None:
        """Write into `state` what the rule of this optimizer keeps for `parameter`. Subclasses implement it."""
        raise NotImplementedError(f"{type(self).__name__}.init_single")

    def apply_gradients(self, gradients: Tree, parameters: Tree) -> Tree:
        """New parameters; those given are left alone, the state moves on by a step.

        Args:
            gradients:  a tree of arrays.
            parameters: a tree with at least the entries of `gradients`.

        Returns:
            A tree of the structure of `gradients`.
        """
        if not self._initialized:
            self.init(gradients)
        for name, schedule in self._schedulers.items():
            self._set(name, schedule(self.step))
        self.state["step"] = self.step + 1
        return tree_map(self.apply_single, gradients, parameters, self.state)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; what is kept for it is replaced in `state`. Subclasses implement it."""
        raise NotImplementedError(f"{type(self).__name__}.apply_single")

    @property
    def state(self) -> State:
        """The state; setting it (to one that was saved) makes the next update fill in what it lacks."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._initialized = False
        self._state = state

    @property
    def step(self) -> array:
        """Updates so far: uint64, no axes."""
        return self.state["step"]  # type: ignore[no-any-return]

    @property
    def learning_rate(self) -> array:
        """The learning rate of the last update; before the first, that of step 0.

        It can be set to a number or to a schedule. A number set while a schedule is in force lasts until the next
        update.
        """
        return self.state["learning_rate"]  # type: ignore[no-any-return]

    @learning_rate.setter
    def learning_rate(self, learning_rate: Rate) -> None:
        self._maybe_schedule("learning_rate", learning_rate)

    def _maybe_schedule(self, name: str, param: Rate) -> None:
        """Keep a hyper-parameter in the state: a number as it is, a function as a schedule."""
        if callable(param):
            self._schedulers[name] = param
            param = param(self.step)
        self._set(name, param)

    def _set(self, name: str, value: float | array) -> None:
        self.state[name] = value if isinstance(value, array) else array(value)

    def _require(self, holds: bool, name: str, value: object, want: str) -> None:
        """Raise ValueError, which says what is wanted of the argument `name`, unless it holds."""
        if not holds:
            tag = f"bridge.optimizers.{type(self).__name__}"
            raise ValueError(message(tag, f"{name} is out of range", got=f"{name}={value}", want=want))

    def _fill(self, parameter: array, state: Kept) -> None:
        fresh: Kept = {}
        self.init_single(parameter, fresh)
        for name, value in fresh.items():
            state.setdefault(name, value)

    def _check(self, parameters: Tree) -> None:
        tag = f"bridge.optimizers.{type(self).__name__}.init"
        if isinstance(parameters, list | tuple):
            problem = "the outermost container of parameters must be a dictionary: the step is kept beside them"
            raise TypeError(message(tag, problem, got=type(parameters).__name__, fix='{"parameters": parameters}'))
        if isinstance(parameters, dict):
            taken = [name for name in parameters if isinstance(self._state.get(name), array)]
            if taken:
                problem = f"the state keeps something else under the name {taken[0]!r} of a parameter"
                raise ValueError(message(tag, problem, fix='{"parameters": parameters}'))


def _grow(parameters: Tree, state: Any) -> Any:
    """`state` with a dictionary for every parameter, and with what it had."""
    if isinstance(parameters, dict):
        for name, child in parameters.items():
            state[name] = _grow(child, state.get(name, {}))
    elif isinstance(parameters, list | tuple):
        had = list(state)
        missing: list[State] = [{} for _ in parameters[len(had) :]]
        grown = [_grow(child, one) for child, one in zip(parameters, [*had, *missing], strict=False)]
        return grown + had[len(grown) :]
    return state
