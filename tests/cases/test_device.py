"""Devices and streams: program order, waits that let others work, and clear words about memory that is elsewhere."""

from __future__ import annotations

import array
import copy
import ctypes
import mmap
import pickle
import threading

import numpy as np
import pytest
from cases.case import Case
from dlpack import capsules
from dlpack.capsules import CPU, CUDA, METAL, Forged
from isolated import run_code
from memory.views import SIZE, WRITABLE, address, fresh

import bridge
from bridge.core import _native

CASES = (
    Case(
        "S01",
        "torch's tensors on an Apple GPU reach MLX with warnings, or not at all.",
        "Memory of a device passes between two frameworks that know it; the engine names it and offers the copy.",
        ("ml-explore/mlx#2848", "pytorch/pytorch#153789"),
        needs="Metal",
    ),
    Case(
        "S02",
        "Data shared between torch and MLX on an Apple GPU is stale unless both are synchronised by hand.",
        "bridge waits for the producer where no protocol says on which stream it worked.",
        ("ml-explore/mlx#3531",),
        needs="Metal",
    ),
    Case(
        "S03",
        "A loop of imports from an Apple GPU hangs: the GIL is held while the GPU is waited for.",
        "Whoever waits lets go of the GIL: other threads work, and what they do may end the wait.",
        ("ml-explore/mlx#4497",),
        needs="Metal",
    ),
    Case(
        "S04",
        "What `stream=None` means differs by framework, so an export may wait where it must not.",
        "A stream is passed on purpose or not at all: none to the CPU, none with a copy, -1 where nothing is read.",
        ("data-apis/array-api#974", "pytorch/pytorch#150217", "PaddlePaddle/Paddle#76840"),
    ),
    Case(
        "S05",
        "Pinned host memory is refused: its device number is missing in a table.",
        "Memory of the host is memory of the CPU, pinned or not.",
        ("jax-ml/jax#22346",),
        needs="CUDA",
    ),
    Case(
        "S08",
        "One framework wants None as the stream of CPU memory, another a number.",
        "The CPU has no streams: None and every number are accepted and ignored, anything else is a TypeError.",
        ("NVIDIA/cuda-python#473",),
    ),
    Case(
        "S09",
        "An op that was made before a write through a view sees the write, because it is evaluated later.",
        "Program order: what was written down first reads first, also from memory that others own.",
        ("apache/mxnet#11964", "https://ml-explore.github.io/mlx/build/html/usage/numpy.html"),
    ),
    Case(
        "S10",
        "jax's plugin for Metal cannot say on which device its arrays are, and fails with an error of its inside.",
        "A BufferError of bridge's that says what happened and how to go on, by every way in.",
        ("jax-ml/jax#28815",),
        needs="Metal",
    ),
)

TARGETS = ("bridge", "numpy", "torch", "jax", "tensorflow")


def metal():
    """torch's Apple GPU, and MLX."""
    import torch

    if not torch.backends.mps.is_available():
        pytest.skip("needs Metal")
    return torch, pytest.importorskip("mlx.core")


def test_S01_torch_and_mlx_on_metal():
    """By bridge's plugin for MLX: the values, there and back."""
    torch, mx = metal()
    x = torch.arange(16.0, device="mps")
    y = bridge.to("mlx", x)
    assert isinstance(y, mx.array)
    assert np.array(y).tolist() == list(range(16))
    assert bridge.to("numpy", x, device="cpu").tolist() == list(range(16))


@pytest.mark.parametrize("target", ["bridge", "numpy"])
@pytest.mark.parametrize("copy", [None, False, True])
def test_S01_memory_on_metal_is_named_and_refused_by_the_host(target, copy):
    """No guess at what the bytes might be, no crash; the producer keeps its memory."""
    forged = Forged((4,), device=(METAL, 0))
    with pytest.raises(bridge.BridgeError, match=r"(?s)metal:0.*fix: +.*device=.cpu"):
        bridge.to(target, forged, copy=copy)
    assert forged.deleted == 0


@pytest.mark.parametrize("target", ["jax", "tensorflow"])
def test_S01_a_framework_that_does_not_know_the_device_refuses(target):
    """The memory is offered as it is, and the framework's refusal comes back as bridge's."""
    with pytest.raises(bridge.BridgeError, match=rf"(?i){target} refused the memory"):
        bridge.to(target, Forged((4,), device=(METAL, 0)))


def test_S02_a_write_on_metal_is_waited_for():
    """No synchronisation by hand, in either direction."""
    torch, mx = metal()
    for _ in range(20):
        x = torch.ones(1 << 20, device="mps")
        for _ in range(20):
            x = x * 1.0 + 1.0
        assert np.array(bridge.to("mlx", x))[-1] == 21.0
        y = mx.ones(1 << 20)
        for _ in range(20):
            y = y + 1.0
        assert bridge.to("torch", y)[-1].item() == 21.0


@pytest.mark.parametrize("way", ["exporter", "capsule", "versioned"])
def test_S02_torch_is_synchronised_before_its_metal_memory_is_handed_out(way, monkeypatch):
    """Seen with a stand-in for the tensor: first the wait, then the capsule."""
    import torch

    from bridge.core.framework import Facts
    from bridge.plugins.torch import TorchSource

    happened = []

    class OnMetal:
        device = torch.device("mps")

        def detach(self):
            return self

        def __dlpack__(self, **_):
            happened.append("capsule")

    monkeypatch.setattr(torch.mps, "synchronize", lambda: happened.append("wait"))
    monkeypatch.setattr(torch.utils.dlpack, "to_dlpack", lambda tensor: tensor.__dlpack__())
    source = TorchSource(OnMetal(), Facts(framework="torch", dtype="float32", device="mps:0"))
    if way == "exporter":
        source.exporter().__dlpack__()
    else:
        source.capsule(access="write", versioned=way == "versioned")
    assert happened == ["wait", "capsule"]


@pytest.mark.parametrize("target", ["numpy", "torch", "bridge", "tensorflow"])
def test_S02_what_is_still_being_computed_is_waited_for(target):
    """The neighbour without a GPU: jax works in the background, and its memory has an address before it has values."""
    import jax

    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 30, lambda _, y: y @ x * 1e-2, x))
    start = jax.numpy.ones((400, 400))
    expected = np.asarray(slow(start)).copy()
    for _ in range(5):
        assert np.array_equal(np.asarray(bridge.to(target, slow(start), readonly=True)), expected)


def test_S03_imports_from_metal_in_a_loop():
    """Ten thousand of them, while another thread works."""
    torch, _ = metal()
    x = torch.arange(16.0, device="mps")
    for i in range(10_000):
        x += 1
        assert bridge.to("numpy", x, device="cpu")[0] == i + 1


CALLBACK = """
import threading
import numpy as np
import jax, jax.numpy as jnp
import bridge

entered, allowed = threading.Event(), threading.Event()

def slow(x):
    entered.set()
    allowed.wait()
    return np.asarray(x) + 1

def allow():
    entered.wait()
    allowed.set()

def convert(target, x):
    return np.asarray(bridge.to(target, x, readonly=True))[:2].tolist()

function = jax.jit(lambda x: jax.pure_callback(slow, jax.ShapeDtypeStruct(x.shape, x.dtype), x))
for target in ("numpy", "bridge", "torch"):
    entered.clear(), allowed.clear()
    helper = threading.Thread(target=allow)
    helper.start()
    assert convert(target, function(jnp.zeros(4))) == [1.0, 1.0]
    helper.join()
print("reached the end")
"""


def test_S03_waiting_lets_other_threads_work():
    """What is waited for needs Python code to end, on another thread: with the GIL held, this would hang for ever."""
    done = run_code(CALLBACK)
    assert (done.returncode, done.stdout) == (0, "reached the end\n"), done.stderr


def test_S03_evaluating_lets_other_threads_work():
    """An export of an unevaluated array computes it without the GIL: a thread gets its turns meanwhile."""
    a = bridge.full((1 << 22,), 2.0)
    turns, stop = [], threading.Event()

    def count():
        while not stop.is_set():
            turns.append(1)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(50):
            before = len(turns)
            np.asarray(bridge.exp(a) + bridge.exp(-a))
            if len(turns) > before:
                break
        else:
            pytest.fail("no turn in fifty evaluations of some milliseconds")
    finally:
        stop.set()
        thread.join()


def test_S04_a_producer_on_the_cpu_is_asked_for_no_stream():
    """By every way in: the keyword is not there, so no meaning of it can go wrong."""
    for take in (bridge.from_, bridge.asarray, bridge.from_dlpack, *[lambda x, t=t: bridge.to(t, x) for t in TARGETS]):
        forged = Forged((4,))
        take(forged)
        assert forged.requests
        assert all(request.get("stream") is None for request in forged.requests)


def test_S04_a_producer_on_a_card_is_asked_explicitly():
    """To look at it: -1, nothing is waited for. For the copy to the host: the device, and no stream."""
    forged = Forged((4,), device=(CUDA, 0))
    with pytest.raises(bridge.BridgeError, match="cuda:0"):
        bridge.from_(forged)
    assert [request["stream"] for request in forged.requests] == [-1]

    class Copying(Forged):
        def __dlpack__(self, **options):
            self.requests.append(options)
            return Forged((4,)).capsule() if options.get("dl_device") == (CPU, 0) else self.capsule()

    copying = Copying((4,), device=(CUDA, 0))
    assert bridge.to("numpy", copying, device="cpu").tolist() == [0.0] * 4
    assert bridge.from_dlpack(copying, device="cpu").tolist() == [0.0] * 4
    asked = [request for request in copying.requests if request.get("dl_device")]
    assert len(asked) == 2
    assert all(request.get("stream") is None for request in asked)


def test_between_two_frameworks_the_reader_says_its_stream():
    """The memory of a card passes through: bridge asks for nothing that the consumer would not ask for by itself."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    x = torch.arange(16.0, device="cuda")
    with torch.cuda.stream(torch.cuda.Stream()):
        x = x * 2
        y = bridge.to("torch", x, via="dlpack")
        assert y.data_ptr() == x.data_ptr()
        assert y.tolist() == [2.0 * i for i in range(16)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("device", [3, 11])
def test_S05_pinned_memory_is_memory_of_the_host(target, versioned, device):
    """Shared by every target, jax included, from capsules of both kinds that say so."""
    forged = Forged((SIZE,), device=(device, 0), versioned=versioned)
    ctypes.memmove(forged.address, np.arange(SIZE, dtype=np.float32).tobytes(), 4 * SIZE)
    other = Forged((SIZE,), device=(device, 0), versioned=versioned, address=forged.address)
    for x in (forged, other.capsule()):
        y = bridge.to(target, x, copy=False)
        assert np.asarray(y).ctypes.data == forged.address
        assert np.asarray(y).tolist() == list(range(SIZE))


def test_S05_pinned_by_torch():
    """A tensor in pinned memory goes to jax like any other."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    x = torch.arange(16.0).pin_memory()
    for target in ("jax", "numpy", "bridge"):
        assert np.asarray(bridge.to(target, x)).tolist() == list(range(16))


STREAMS = (None, 0, 1, 2, -1, 12345, 2**40)


@pytest.mark.parametrize("stream", STREAMS)
def test_S08_a_stream_means_nothing_to_the_cpu(stream):
    """The same capsule with every number, and with none; numpy and torch can be asked in one way."""
    for keywords in ({}, {"max_version": (1, 0)}, {"dl_device": (1, 0)}, {"copy": True}):
        a = fresh()
        capsule = a.__dlpack__(stream=stream, **keywords)
        tensor = capsules.read(capsule).tensor
        assert capsules.shape(tensor) == (SIZE,)
        assert (tensor.data == address(a)) == ("copy" not in keywords)


@pytest.mark.parametrize("stream", ["1", 1.0, (1,), object()])
def test_S08_what_is_no_stream_is_a_type_error(stream):
    """Not a crash, and no lease is left."""
    a = fresh()
    with pytest.raises(TypeError, match="stream must be None or an integer"):
        a.__dlpack__(stream=stream)
    assert bridge.leases(a) == []


def test_S08_the_exchange_table_has_no_stream():
    """current_work_stream of the CPU is NULL."""
    from dlpack.test_producer import exchange_table

    out = ctypes.c_void_p(1)
    ask = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p)
    assert ask(exchange_table().work_stream)(CPU, 0, ctypes.addressof(out)) == 0
    assert out.value is None


# S09: memory that others own. Of bridge's own memory: tests/memory/test_updates.py.


def mapped(tmp_path):
    with (tmp_path / "x").open("w+b") as file:
        file.write(np.arange(SIZE, dtype=np.float32).tobytes())
        file.flush()
        return mmap.mmap(file.fileno(), 4 * SIZE)


def numpy_window(_):
    return np.arange(2 * SIZE, dtype=np.float32)[::2] / 2


def torch_tensor(_):
    import torch

    return torch.arange(SIZE, dtype=torch.float32)


OWNERS = {
    "numpy": lambda _: np.arange(SIZE, dtype=np.float32),
    "numpy, strided": numpy_window,
    "torch": torch_tensor,
    "array.array": lambda _: array.array("f", range(SIZE)),
    "bytearray": lambda _: np.arange(SIZE, dtype=np.float32).tobytes() and bytearray(np.arange(SIZE, dtype=np.float32)),
    "mmap": mapped,
    "an exporter": lambda _: Forged((SIZE,)),
}


def flat(owner) -> np.ndarray:
    """The owner's memory as float32, to write into."""
    if isinstance(owner, Forged):
        return np.frombuffer(owner.memory, np.float32, SIZE, (owner.address - ctypes.addressof(owner.memory)))
    if isinstance(owner, np.ndarray):
        return owner
    return owner.numpy() if hasattr(owner, "numpy") else np.frombuffer(owner, np.float32)


OPS = {
    "arithmetic": lambda a: a * 10 + 1,
    "reduction": lambda a: a.sum(),
    "comparison": lambda a: a > 3,
    "cast": lambda a: a.astype(bridge.int32),
    "matmul": lambda a: a.reshape(4, 4) @ a.reshape(4, 4),
    "of a slice": lambda a: a[2:5] * 2,
    "of a transpose": lambda a: a.reshape(4, 4).T + 0,
    "of a broadcast": lambda a: bridge.broadcast_to(a, (2, SIZE)) + 0,
    "concatenate": lambda a: bridge.concatenate([a, a]),
    "a copy": bridge.array,
    "a deep copy": copy.deepcopy,
    "updated": lambda a: (a.__setitem__(0, 7.0), a)[1],
    "incremented": lambda a: a.__iadd__(1),
    "a pickle": lambda a: pickle.loads(pickle.dumps(a)),
}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("owner", OWNERS)
def test_S09_an_op_on_imported_memory_sees_the_values_of_its_time(owner, op, tmp_path):
    """The owner writes after the op was written down and before anybody looks at its result."""
    x = OWNERS[owner](tmp_path)
    a = bridge.from_(x)
    if a.dtype is bridge.uint8:
        a = bridge.from_(memoryview(x).cast("f"))
    memory = flat(x)
    memory[...] = np.arange(SIZE)
    expected = OPS[op](bridge.array(np.arange(SIZE, dtype=np.float32))).tolist()
    result = OPS[op](a)
    memory[...] = -5
    assert result.tolist() == expected


@pytest.mark.parametrize("exporter", WRITABLE)
def test_S09_an_op_in_a_chain_of_arrays_sees_the_values_of_its_time(exporter):
    """Ops on slices and on results, made before the view, while it lives, and after it is gone."""
    a = fresh()
    early = (a[2:6] * 2).sum()
    view = WRITABLE[exporter].make(a)
    between = (a[2:6] * 2).sum()
    view[2] = 100.0
    late = (a[2:6] * 2).sum()
    del view
    after = (a[2:6] * 2).sum()
    assert [x.item() for x in (early, between, late, after)] == [28.0, 28.0, 224.0, 224.0]


def test_S09_a_promise_not_to_write_gives_laziness_back():
    """readonly=True: nothing is evaluated early, because nobody is going to write."""
    a = bridge.from_(np.arange(SIZE, dtype=np.float32), readonly=True)
    assert not _native.is_evaluated(a * 10)


# S10


class Lost(Forged):
    """An exporter like jax's plugin for Metal: it does not know its own device."""

    def __dlpack_device__(self):
        raise RuntimeError("unknown platform METAL")


WAYS = {
    "from_": bridge.from_,
    "asarray": bridge.asarray,
    "from_dlpack": bridge.from_dlpack,
    **{f"to {target}": lambda x, target=target: bridge.to(target, x) for target in TARGETS},
}


@pytest.mark.parametrize("way", WAYS)
def test_S10_a_device_that_cannot_be_told_is_a_clear_error(way):
    """A BufferError that keeps the producer's words and says how to go on; the memory stays the producer's."""
    lost = Lost((4,))
    with pytest.raises(bridge.ExchangeError, match=r"(?s)hand out its memory.*unknown platform METAL.*fix:") as caught:
        WAYS[way](lost)
    assert isinstance(caught.value, BufferError)
    assert lost.deleted == 0


def test_S10_jax_on_metal():
    """An array of jax's plugin: refused by the host with its device named, copied on request."""
    import jax

    if jax.devices()[0].platform.lower() != "metal":
        pytest.skip("needs Metal")
    x = jax.numpy.arange(16.0)
    with pytest.raises(bridge.BridgeError, match=r"(?i)lives on metal"):
        bridge.to("numpy", x)
    assert bridge.to("numpy", x, device="cpu").tolist() == list(range(16))
