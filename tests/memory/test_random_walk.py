"""Random sequences of ops, views, writes, updates and drops, held against a model of a few lines.

The model knows three rules. An array changes only by its own update, or by a write through a writable view of it. A
writable view and its array show the same values until the array is released. A read-only view never changes.
"""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bridge

SEEDS = 150
STEPS = 80
SIZE = 6


class Group:
    """Stands for one storage: who is of one group shows one another's writes."""


@dataclass(eq=False)
class Tracked:
    """A bridge array, or a NumPy view of one, and what it must hold."""

    held: Any
    values: list
    group: Group
    writable: bool = False

    def actual(self) -> list:
        return np.array(self.held).tolist()


class Walk:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.arrays: list[Tracked] = []
        self.views: list[Tracked] = []
        self.story: list[str] = []

    def array(self) -> Tracked:
        return self.random.choice(self.arrays)

    def add(self, held: Any, values: list) -> None:
        if self.random.random() < 0.5:
            bridge.eval(held)
        self.arrays.append(Tracked(held, values, Group()))

    # The steps. Each does something to the real objects and the same to the model.

    def new(self) -> None:
        values = [self.random.randrange(100) for _ in range(SIZE)]
        self.add(bridge.array(values), values)

    def compute(self) -> None:
        a, b = self.array(), self.array()
        if len(a.values) == len(b.values):
            self.add(a.held + b.held * 2, [x + 2 * y for x, y in zip(a.values, b.values, strict=True)])

    def view_op(self) -> None:
        a = self.array()
        step = self.random.choice([slice(None), slice(None, None, -1), slice(1, None), slice(None, 3)])
        if len(a.values[step]) > 0:
            self.add(a.held[step], a.values[step])

    def look(self) -> None:
        a = self.array()
        view = self.random.choice([np.asarray, memoryview, np.from_dlpack])(a.held)
        writable = np.asarray(view).flags.writeable
        self.views.append(Tracked(view, list(a.values), a.group, writable))

    def freeze(self) -> None:
        a = self.array()
        self.views.append(Tracked(bridge.to("numpy", a.held, readonly=True), list(a.values), a.group, False))

    def write(self) -> None:
        writable = [view for view in self.views if view.writable]
        if not writable:
            return
        view = self.random.choice(writable)
        index, value = self.random.randrange(len(view.values)), self.random.randrange(1000, 2000)
        view.held[index] = value
        self.spread(view.group, index, value)

    def spread(self, group: Group, index: int, value: int) -> None:
        for other in self.arrays + [view for view in self.views if view.writable]:
            if other.group is group:
                other.values[index] = value

    def update(self) -> None:
        a = self.array()
        if self.random.random() < 0.5:
            index, value = self.random.randrange(len(a.values)), self.random.randrange(2000, 3000)
            a.held[index] = value
            new = list(a.values)
            new[index] = value
        else:
            a.held += 1
            new = [x + 1 for x in a.values]
        for index, value in enumerate(new):
            self.spread(a.group, index, value)

    def release(self) -> None:
        a = self.array()
        bridge.release(a.held)
        a.group = Group()

    def evaluate(self) -> None:
        bridge.eval(self.array().held)

    def forget(self) -> None:
        where = self.random.choice([self.arrays, self.views])
        if len(where) > 2:
            where.pop(self.random.randrange(len(where)))

    def check(self) -> None:
        for thing in self.arrays + self.views:
            assert thing.actual() == thing.values

    def run(self) -> None:
        self.new()
        steps = [self.new, self.compute, self.view_op, self.look, self.look, self.freeze, self.write, self.write]
        steps += [self.update, self.update, self.release, self.evaluate, self.forget, self.forget]
        for _ in range(STEPS):
            step = self.random.choice(steps)
            self.story.append(step.__name__)
            step()
            if self.random.random() < 0.3:
                self.check()
        self.check()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_walk_agrees_with_the_model(seed):
    """Whatever happens in whatever order; the seed and the story are shown when it does not."""
    walk = Walk(seed)
    try:
        walk.run()
    except AssertionError as error:
        error.add_note(f"seed {seed}: {' '.join(walk.story)}")
        raise


def test_random_walks_leave_no_memory_behind():
    """When all is dropped, nothing is held."""
    gc.collect()
    before = bridge.get_active_memory()
    for seed in range(SEEDS, SEEDS + 20):
        Walk(seed).run()
    gc.collect()
    assert bridge.get_active_memory() == before
