"""Schedules: functions of the step (a uint64 array, 0 before the first update) that give a hyper-parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bridge.core._native import array
from bridge.core.errors import message
from bridge.core.ops.arithmetic import minimum
from bridge.core.ops.compare import where
from bridge.core.ops.trigonometric import cos
from bridge.optimizers.optimizer import Schedule


def exponential_decay(init: float, decay_rate: float) -> Schedule:
    """``init * decay_rate**step``."""

    def schedule(step: array) -> array:
        return init * decay_rate**step

    return schedule


def step_decay(init: float, decay_rate: float, step_size: int) -> Schedule:
    """``init * decay_rate**(step // step_size)``: multiplied by `decay_rate` every `step_size` steps.

    Raises:
        ValueError: `step_size` is below 1.
    """
    _check("step_decay", "step_size", step_size)

    def schedule(step: array) -> array:
        return init * decay_rate ** (step // step_size)

    return schedule


def cosine_decay(init: float, decay_steps: int, end: float = 0.0) -> Schedule:
    """From `init` to `end` along half a cosine; `end` from step `decay_steps` on.

    Raises:
        ValueError: `decay_steps` is below 1.

    Source: Loshchilov & Hutter 2017, SGDR: stochastic gradient descent with warm restarts, ICLR.
    """
    _check("cosine_decay", "decay_steps", decay_steps)

    def schedule(step: array) -> array:
        left = 0.5 * (1.0 + cos((math.pi / decay_steps) * minimum(step, decay_steps)))
        return end + left * (init - end)

    return schedule


def linear_schedule(init: float, end: float, steps: int) -> Schedule:
    """From `init` to `end` along a line; `end` from step `steps` on.

    Raises:
        ValueError: `steps` is below 1.
    """
    _check("linear_schedule", "steps", steps)

    def schedule(step: array) -> array:
        return minimum(step, steps) * ((end - init) / steps) + init

    return schedule


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after the other.

    Args:
        schedules:  each but the first is given the steps since the boundary where it begins.
        boundaries: the step at which each but the first begins, in order.

    Raises:
        ValueError: no schedule, or not one boundary less than schedules.
    """
    if not schedules or len(schedules) != len(boundaries) + 1:
        problem = "between two schedules there is one boundary, and there is at least one schedule"
        got = f"{len(schedules)} schedules and {len(boundaries)} boundaries"
        raise ValueError(message("bridge.optimizers.join_schedules", problem, got=got))
    first, *others = schedules

    def schedule(step: array) -> array:
        value = first(step)
        for boundary, other in zip(boundaries, others, strict=True):
            value = where(step < boundary, value, other(step - boundary))
        return value

    return schedule


def _check(function: str, name: str, count: int) -> None:
    if count < 1:
        tag = f"bridge.optimizers.{function}"
        raise ValueError(message(tag, f"{name} is a number of steps", got=f"{name}={count}", want="at least 1"))
