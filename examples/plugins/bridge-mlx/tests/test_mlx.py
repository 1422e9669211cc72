"""What is special about MLX: values that share memory, updates that move arrays, lazy and traced arrays."""

import threading

import mlx.core as mx
import numpy as np
import pytest
import torch

import bridge


def numbers(dtype: mx.Dtype = mx.float32) -> mx.array:
    array = mx.arange(12).astype(dtype).reshape(3, 4)
    mx.eval(array)
    return array


# --------------------------------------------------------------------------------------------------------- the main job


def test_torch_to_mlx():
    """Exact, also in float64, which MLX's own constructor narrows."""
    tensor = torch.arange(6, dtype=torch.float64).reshape(2, 3) / 3
    array = bridge.to("mlx", tensor)
    assert (type(array), array.dtype, array.shape) == (mx.array, mx.float64, (2, 3))
    assert array.tolist() == tensor.tolist()


@pytest.mark.parametrize("target", ["numpy", "torch", "jax", "tensorflow", "bridge"])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.bool_, mx.complex64])
def test_mlx_to_everyone(target: str, dtype: mx.Dtype):
    """The values arrive and come back, bit by bit."""
    array = numbers(dtype)
    there = bridge.to(target, array)
    back = bridge.to("mlx", there)
    assert back.dtype == dtype
    assert mx.array_equal(back, array)


@pytest.mark.parametrize("target", ["numpy", "bridge"])
def test_what_leaves_is_shared(target: str):
    """No byte is copied where the target knows read-only arrays; torch needs the promise."""
    array = numbers()
    address = np.from_dlpack(array).ctypes.data
    assert bridge.to("numpy", bridge.to(target, array, copy=False)).ctypes.data == address
    assert bridge.to("torch", array, copy=False, readonly=True).data_ptr() == address


# ------------------------------------------------------------------------------------------------------------- aliasing


def multiply(array: mx.array) -> mx.array:
    array @= mx.eye(4) * 3
    return array


def assign(array: mx.array) -> mx.array:
    array[0] = 100
    return array


def add(array: mx.array) -> mx.array:
    array += 1
    return array


@pytest.mark.parametrize("update", [multiply, assign, add])
@pytest.mark.parametrize("target", ["numpy", "torch", "bridge"])
def test_an_update_leaves_views_alone(target: str, update):
    """The array moves, and its old memory stays with the view, also when MLX could use it again."""
    array = numbers()
    wanted = array.tolist()
    view = bridge.to(target, array, copy=False, readonly=True)
    array = update(array)
    mx.eval(array, *[mx.full((3, 4), -1.0) for _ in range(20)])
    assert view.tolist() == wanted


def test_the_view_outlives_the_array():
    """The memory is not used for anything else while somebody looks at it."""
    array = numbers()
    wanted = array.tolist()
    view = bridge.to("numpy", array, copy=False)
    del array
    mx.eval(*[mx.full((3, 4), -1.0) for _ in range(20)])
    assert view.tolist() == wanted


@pytest.mark.parametrize(
    "take", [lambda x: x, lambda x: x[1:, ::2], lambda x: x.T, lambda x: mx.broadcast_to(x[0], (5, 4))]
)
def test_nobody_writes_into_values(take):
    """Slices share memory with their array, so a view can be read and not written; torch gets a copy."""
    array = take(numbers())
    assert not bridge.to("numpy", array).flags.writeable
    plan = bridge.explain("torch", array)
    assert (plan.outcome, plan.rule) == ("copied", "read-only")
    tensor = bridge.to("torch", array)
    tensor[:] = -1
    assert mx.array_equal(array, take(numbers()))


def test_a_copy_of_an_mlx_array_is_another_one():
    """copy=True moves nothing that somebody else has."""
    array = numbers()
    copied = bridge.to("mlx", array, copy=True)
    assert np.from_dlpack(copied).ctypes.data != np.from_dlpack(array).ctypes.data
    assert mx.array_equal(copied, array)


# ---------------------------------------------------------------------------------------------------- lazy and traced


def test_lazy_arrays_are_evaluated():
    """Nothing has to be done before."""
    assert bridge.to("numpy", mx.arange(4) * 2).tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("transform", [mx.compile, mx.vmap])
def test_traced_arrays_are_refused(transform):
    """There are no values yet, and the error says where to convert."""

    def convert(x: mx.array) -> mx.array:
        with pytest.raises(bridge.TracedError, match=r"it has no values yet(.|\n)*convert outside the function"):
            bridge.to("numpy", x)
        return x * 2

    assert transform(convert)(mx.ones((2, 2))).tolist() == [[2, 2], [2, 2]]


def test_lazy_arrays_stay_on_their_thread():
    """MLX evaluates them nowhere else: the error says so, and an evaluated array goes through."""
    lazy, done = mx.arange(4) * 2, numbers()
    results: list[object] = []

    def convert() -> None:
        with pytest.raises(bridge.BridgeError, match=r"the thread that made it(.|\n)*mlx.core.eval\(x\)"):
            bridge.to("numpy", lazy)
        results.append(bridge.to("numpy", done).tolist())

    thread = threading.Thread(target=convert)
    thread.start()
    thread.join()
    assert results == [done.tolist()]


# ----------------------------------------------------------------------------------------------------------- refusals


def test_too_many_elements():
    """MLX counts with 32 bits; nothing is allocated to find out."""
    long = np.broadcast_to(np.int8(1), (2**31,))
    assert bridge.explain("mlx", long).refused
    with pytest.raises(bridge.BridgeError, match="axis 0 has 2147483648 elements, more than mlx can count"):
        bridge.to("mlx", long)


def test_complex128_is_not_narrowed():
    """The error names the conversion that can be asked for."""
    with pytest.raises(bridge.DTypeError, match='dtype="complex64", which rounds'):
        bridge.to("mlx", np.ones(3, complex))
    assert bridge.to("mlx", np.ones(3, complex), dtype="complex64").dtype == mx.complex64


def test_sharing_into_mlx_is_refused():
    """Its constructors always copy: copy=False says so."""
    with pytest.raises(bridge.CopyRequired, match="mlx always copies"):
        bridge.to("mlx", np.ones(3), copy=False)
