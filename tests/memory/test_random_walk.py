"""Random sequences of ops, views, imports, writes, updates and drops, held against a model of a few rules.

1. An array changes only by its own update, or by a write through a writable view of the memory that it looks at.
2. A writable view and its array show the same values until the array is released.
3. A read-only view of an array never changes.
4. An imported array and its windows show what the owner holds, until they are updated: then they move, and the owner
   keeps its bytes.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from memory.views import address

import bridge

SEEDS = 200
STEPS = 90
SIZE = 6


@dataclass(eq=False)
class Memory:
    """What one storage holds."""

    cells: list
    foreign: bool = False  # it belongs to an owner outside the engine
    writable: bool = True  # the owner can write it


@dataclass(eq=False)
class Tracked:
    """A bridge array, a view of one or an owner, and the cells that it must show."""

    held: Any
    memory: Memory
    where: list[int]
    writable: bool = False
    joined: bool = False  # an array over engine memory that came back from outside

    @property
    def values(self) -> list:
        return [self.memory.cells[i] for i in self.where]

    def actual(self) -> list:
        return np.array(self.held).tolist()

    def move(self, values: list) -> None:
        self.memory, self.where, self.joined = Memory(list(values)), list(range(len(values))), False


@dataclass(eq=False)
class Walk:
    seed: int
    arrays: list[Tracked] = field(default_factory=list)
    views: list[Tracked] = field(default_factory=list)  # of arrays, and owners of imported memory
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def array(self) -> Tracked:
        return self.random.choice(self.arrays)

    def add(self, held: Any, values: list) -> None:
        if self.random.random() < 0.5:
            bridge.eval(held)
        self.arrays.append(Tracked(held, Memory(list(values)), list(range(len(values)))))

    def numbers(self) -> list[int]:
        return [self.random.randrange(100) for _ in range(SIZE)]

    # The steps. Each does something to the real objects and the same to the model.

    def new(self) -> None:
        values = self.numbers()
        self.add(bridge.array(values), values)

    def compute(self) -> None:
        a, b = self.array(), self.array()
        if len(a.where) == len(b.where):
            self.add(a.held + b.held * 2, [x + 2 * y for x, y in zip(a.values, b.values, strict=True)])

    def view_op(self) -> None:
        a = self.array()
        step = self.random.choice([slice(None), slice(None, None, -1), slice(1, None), slice(None, 3)])
        if not a.where[step]:
            return
        if a.memory.foreign:  # a window
            self.arrays.append(Tracked(a.held[step], a.memory, a.where[step]))
        elif not a.joined:
            self.add(a.held[step], a.values[step])

    def look(self) -> None:
        a = self.array()
        try:
            view = self.random.choice([np.asarray, memoryview, np.from_dlpack])(a.held)
        except BufferError:  # neither writable nor read-only: several arrays look at memory that somebody writes
            return
        array = np.asarray(view)
        if array.ctypes.data == address(a.held):  # np.asarray takes a copy where no view can be had
            self.views.append(Tracked(view, a.memory, list(a.where), array.flags.writeable))

    def freeze(self) -> None:
        a = self.array()
        if a.memory.foreign or a.joined:
            return
        view = bridge.to("numpy", a.held, readonly=True)
        if bridge.explain("numpy", a.held, readonly=True).outcome == "shared":
            self.views.append(Tracked(view, a.memory, list(a.where), False))
        else:
            self.views.append(Tracked(view, Memory(a.values), list(range(len(a.where))), False))

    def adopt(self) -> None:
        values = self.numbers()
        owner = np.array(values, np.int32)
        owner.flags.writeable = self.random.random() < 0.7
        memory = Memory(values, foreign=True, writable=bool(owner.flags.writeable))
        where = list(range(SIZE))
        self.views.append(Tracked(owner, memory, where, memory.writable))
        self.arrays.append(Tracked(bridge.from_(owner, copy=False), memory, list(where)))

    def come_back(self) -> None:
        view = self.random.choice(self.views) if self.views else None
        if view is not None:
            held = bridge.from_(view.held, copy=False)
            self.arrays.append(Tracked(held, view.memory, list(view.where), joined=not view.memory.foreign))

    def write(self) -> None:
        writable = [view for view in self.views if view.writable]
        if writable:
            view = self.random.choice(writable)
            index, value = self.random.randrange(len(view.where)), self.random.randrange(1000, 2000)
            view.held[index] = value
            view.memory.cells[view.where[index]] = value

    def update(self) -> None:
        a = self.array()
        others = [x for x in self.arrays if x is not a and x.joined and x.memory is a.memory]
        before = [x.values for x in others]
        if self.random.random() < 0.5:
            index, value = self.random.randrange(len(a.where)), self.random.randrange(2000, 3000)
            a.held[index] = value
            new = [value if i == index else x for i, x in enumerate(a.values)]
        else:
            a.held += 1
            new = [x + 1 for x in a.values]
        views = [view for view in self.views if view.writable and view.memory is a.memory]
        alone = not any(x.memory is a.memory and x is not a and not x.joined for x in self.arrays)
        stands = a.joined and alone and views and a.where == views[0].where and views[0].actual() == new
        if a.memory.foreign or (a.joined and not stands) or not views:
            a.move(new)
            return
        for i, value in zip(a.where, new, strict=True):
            a.memory.cells[i] = value
        for other, old in zip(others, before, strict=True):
            if other.actual() == old:  # an array that came back may go on with the view or keep its value
                other.move(old)

    def release(self) -> None:
        a = self.array()
        if not (a.memory.foreign or a.joined):
            bridge.release(a.held)
            a.move(a.values)

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
        steps: list[Callable[[], None]] = [self.new, self.compute, self.view_op, self.look, self.look, self.freeze]
        steps += [self.write, self.write, self.update, self.update, self.release, self.evaluate, self.forget]
        steps += [self.forget, self.adopt, self.come_back]
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
