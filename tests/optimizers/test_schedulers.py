"""Schedules: MLX's values at every step, joined, changed, and refused."""

from __future__ import annotations

from typing import Any

import mlx.optimizers
import numpy as np
import pytest

import bridge as mx
import bridge.optimizers as optim

SCHEDULES = {
    "exponential": lambda optim: optim.exponential_decay(1e-1, 0.9),
    "step": lambda optim: optim.step_decay(1e-1, 0.5, 3),
    "cosine": lambda optim: optim.cosine_decay(1e-1, 12),
    "cosine to an end": lambda optim: optim.cosine_decay(1e-1, 12, 0.02),
    "linear": lambda optim: optim.linear_schedule(0.01, 0.3, 7),
    "joined": lambda optim: optim.join_schedules(
        [
            optim.linear_schedule(0.0, 0.1, 5),
            optim.cosine_decay(0.1, 6, 0.01),
            optim.exponential_decay(0.01, 0.8),
        ],
        [5, 11],
    ),
    "of one": lambda optim: optim.join_schedules([optim.step_decay(0.3, 0.1, 4)], []),
}


def learning_rates(optim: Any, schedule: Any) -> np.ndarray:
    """Of an optimizer before its first update and after each of 20."""
    optimizer = optim.SGD(learning_rate=schedule)
    rates = [optimizer.learning_rate.item()]
    for _ in range(20):
        optimizer.apply_gradients({}, {})
        rates.append(optimizer.learning_rate.item())
    return np.array(rates)


@pytest.mark.parametrize("name", SCHEDULES)
def test_values_are_those_of_mlx(name: str):
    """The learning rate at each of 20 steps is MLX's, to rounding of float32."""
    make = SCHEDULES[name]
    got = learning_rates(optim, make(optim))
    want = learning_rates(mlx.optimizers, make(mlx.optimizers))
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_takes_a_step_from_the_state(name: str):
    """Given a uint64 array without axes, a schedule gives a float32 array without axes, lazily."""
    rate = SCHEDULES[name](optim)(mx.array(7, mx.uint64))
    assert rate.dtype == mx.float32
    assert rate.shape == ()


def test_a_schedule_takes_a_number():
    """A schedule can be asked for a step by its number, as for a plot."""
    assert float(optim.linear_schedule(0.0, 1.0, 10)(5)) == 0.5
    assert float(optim.step_decay(1.0, 0.5, 10)(25)) == 0.25


def test_any_function_is_a_schedule():
    """A function of the step that gives a number is a schedule as well."""
    optimizer = optim.SGD(lambda step: 0.25)
    new = optimizer.apply_gradients({"w": mx.array([1.0])}, {"w": mx.array([1.0])})
    assert new["w"].tolist() == [0.75]


def test_a_learning_rate_can_be_replaced_by_a_schedule():
    """Setting learning_rate to a function puts it on that schedule from the step at hand."""
    optimizer = optim.SGD(0.5)
    optimizer.apply_gradients({}, {})
    optimizer.learning_rate = optim.linear_schedule(0.0, 1.0, 4)
    assert optimizer.learning_rate.item() == 0.25
    optimizer.apply_gradients({}, {})
    optimizer.apply_gradients({}, {})
    assert optimizer.learning_rate.item() == 0.5


def test_other_hyper_parameters_can_be_scheduled():
    """A subclass can put a hyper-parameter of its own on a schedule: its value is in the state."""
    optimizer = optim.Optimizer(schedulers={"noise": optim.exponential_decay(1.0, 0.5)})
    for _ in range(3):
        optimizer.apply_gradients({}, {})
    assert optimizer.state["noise"].item() == 0.25


@pytest.mark.parametrize(
    "call",
    [
        lambda: optim.step_decay(0.1, 0.9, 0),
        lambda: optim.cosine_decay(0.1, 0),
        lambda: optim.linear_schedule(0.0, 0.1, -1),
    ],
)
def test_a_number_of_steps_is_at_least_one(call: Any):
    """A schedule over no steps is refused, and the error names the argument."""
    with pytest.raises(
        ValueError, match=r"steps?(_size)? is a number of steps\.\n  got:  .*=(0|-1)\n  want: at least 1"
    ):
        call()


@pytest.mark.parametrize(("schedules", "boundaries"), [(0, 0), (1, 1), (2, 0), (3, 3)])
def test_joined_schedules_have_one_boundary_less(schedules: int, boundaries: int):
    """Schedules and boundaries whose numbers do not fit are refused."""
    with pytest.raises(ValueError, match=rf"one boundary.*\n  got:  {schedules} schedules and {boundaries} boundaries"):
        optim.join_schedules([optim.step_decay(0.1, 0.9, 1)] * schedules, [1] * boundaries)
