"""What is not needed is not computed, and how deep a graph may be."""

from __future__ import annotations

import numpy as np
import pytest
from isolated import run_code
from memory.views import fresh

import bridge
from bridge.core import _native


@pytest.fixture
def kernels():
    """The kernels that run during the test, as text."""
    log: list[str] = []
    _native.set_kernel_log(log.append)
    yield log
    _native.set_kernel_log(None)


def test_building_runs_nothing(kernels):
    """Ops describe; shape and dtype are known at once."""
    a = fresh()
    del kernels[:]
    b = (a * 2 + 1).sum() / a.astype(bridge.float16)
    assert (b.shape, b.dtype) == (a.shape, bridge.float32)
    assert kernels == []
    assert not _native.is_evaluated(b)


def test_an_unused_branch_runs_no_kernel(kernels):
    """Only what the evaluated array needs."""
    a = fresh()
    used, unused = a + 1, bridge.exp(a) * a
    del kernels[:]
    bridge.eval(used)
    assert len(kernels) == 1
    assert "exp" not in kernels[0]
    assert not _native.is_evaluated(unused)


def test_a_chain_is_one_kernel(kernels):
    """Nine elementwise ops, one pass over memory."""
    a = fresh()
    b = ((((a * 2 + 1) / 3 - 0.5) * a + 4) * 0.25 + a) * a
    del kernels[:]
    bridge.eval(b)
    assert len(kernels) == 1


def test_the_kernels_can_be_watched_from_outside():
    """BRIDGE_DEBUG=kernels prints each kernel as it runs: one for a chain over four million elements."""
    code = """
import sys, bridge
x, y = bridge.full((4 << 20,), 2.0), bridge.full((4 << 20,), 3.0)
bridge.eval(x, y)
print("begin", file=sys.stderr, flush=True)
unused = bridge.exp(x)
bridge.eval(((((x * 2 + 1) * x - 3) * y + x) / 4 - y) * 0.5)
"""
    done = run_code(code, BRIDGE_DEBUG="kernels")
    assert done.returncode == 0, done.stderr
    after = done.stderr.partition("begin\n")[2]
    assert sum(line.startswith("kernel ") for line in after.splitlines()) == 1
    assert "exp" not in after


def test_evaluating_again_does_nothing(kernels):
    """eval of an evaluated array is a no-op."""
    b = fresh() + 1
    bridge.eval(b)
    del kernels[:]
    bridge.eval(b, b, [b])
    assert kernels == []


def test_a_shared_part_is_computed_once(kernels):
    """Two results of one subgraph, evaluated together."""
    a = fresh()
    part = bridge.exp(a)
    x, y = part + 1, part * 2
    del kernels[:]
    bridge.eval(x, y)
    assert sum(text.count("exp") for text in kernels) <= 2  # at most fused into both
    assert _native.is_evaluated(x)
    assert _native.is_evaluated(y)
    assert np.array_equal(np.asarray(x) - 1, np.asarray(y) / 2)


def test_eval_takes_trees():
    """Arrays in dicts, lists and tuples, nested; other values are passed over."""
    a, b, c = fresh() + 1, fresh() + 2, fresh() + 3
    assert bridge.eval({"a": a, "more": [b, (c, None, 3, "text")]}) is None
    assert all(map(_native.is_evaluated, (a, b, c)))


IMPLICIT = {
    "print": str,
    "repr": repr,
    "item": lambda a: a[0].item(),
    "tolist": lambda a: a.tolist(),
    "bool": lambda a: bool(a[0]),
    "int": lambda a: int(a[0]),
    "float": lambda a: float(a[0]),
    "complex": lambda a: complex(a[0]),
    "iteration": lambda a: [x.item() for x in a],
    "np.asarray": np.asarray,
    "memoryview": memoryview,
    "dlpack": lambda a: a.__dlpack__(),
    "in": lambda a: 1.0 in a.tolist(),
    "bytes": bytes,
}


@pytest.mark.parametrize("use", IMPLICIT)
def test_looking_at_values_evaluates(use, kernels):
    """No call of eval is needed."""
    a = fresh() + 1
    del kernels[:]
    IMPLICIT[use](a)
    assert kernels


def test_an_index_is_an_array_that_evaluates_when_it_is_used():
    """`__index__` of an integer array: usable where Python wants an int."""
    i = bridge.array(2) + 1
    assert [10, 11, 12, 13][i] == 13
    assert list(range(5))[: bridge.array(2)] == [0, 1]


def test_control_flow_evaluates_what_it_asks():
    """`if a > 3` decides on the value."""
    taken = "yes" if bridge.array(5) > 3 else "no"
    assert taken == "yes"
    with pytest.raises(ValueError, match=r"(?i)ambiguous|one element|scalar|size"):
        bool(fresh() > 3)


def test_a_chain_of_100_000_ops():
    """Walks are iterative: depth is a matter of memory, not of the stack."""
    a = fresh()
    for _ in range(50_000):
        a = a + 1
        a = a * 1
    assert a.tolist() == [x + 50_000 for x in range(16)]


def test_a_chain_of_100_000_ops_may_be_dropped():
    """Destroying a graph is iterative, too."""
    a = fresh()
    for _ in range(100_000):
        a = a + 1
    del a


def test_a_chain_of_100_000_views():
    """Views of views of views."""
    a = fresh()
    for _ in range(50_000):
        a = a[::-1]
        a = a.reshape(16)
    assert a.tolist() == list(range(16))


def test_a_chain_of_100_000_updates():
    """In-place updates add up without a stack of old versions."""
    a = fresh()
    for _ in range(100_000):
        a += 1
    assert a.tolist() == [x + 100_000 for x in range(16)]


def test_a_wide_graph_of_100_000_leaves():
    """Breadth is no problem either: a balanced sum over many arrays."""
    row = [bridge.array([float(i % 7)]) for i in range(100_000)]
    expected = float(sum(i % 7 for i in range(100_000)))
    while len(row) > 1:
        row = [row[i] + row[i + 1] if i + 1 < len(row) else row[i] for i in range(0, len(row), 2)]
    assert row[0].item() == expected


def test_doubling_is_not_exponential():
    """`a = a + a` sixty times is sixty nodes, not 2**60."""
    a = bridge.array([1.0])
    for _ in range(60):
        a = a + a
    assert a.item() == 2.0**60
