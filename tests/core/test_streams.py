"""Devices and streams: what says where work runs, that it runs there, and that values never depend on it."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import threading

import numpy as np
import pytest
from isolated import run_code
from memory.threads import run_all

import bridge
from bridge.core import _native

N = 1 << 15


@pytest.fixture
def two():
    """Two streams of the CPU."""
    return bridge.new_stream(bridge.cpu), bridge.new_stream(bridge.cpu)


def number(stream):
    """The engine's number of the stream that work for `stream` is put on."""
    return _native._stream_number(bridge.exp(bridge.array([1.0]), stream=stream))


# ------------------------------------------------------------------------------------------------- names of places


def test_devices_and_their_types():
    """A type of device equals its first device, and nothing else; both can be keys."""
    first, second = bridge.Device(bridge.cpu), bridge.Device(bridge.cpu, 1)
    assert first == bridge.cpu
    assert bridge.cpu == first
    assert bridge.default_device() == bridge.cpu
    assert second != first
    assert second != bridge.cpu
    assert bridge.Device(bridge.gpu) != bridge.cpu
    assert first != "cpu"
    assert bridge.cpu != 0
    assert {bridge.cpu: 1}[first] == 1
    assert {first: 1}[bridge.cpu] == 1
    assert (repr(bridge.cpu), repr(first), repr(second)) == ("DeviceType.cpu", "Device(cpu, 0)", "Device(cpu, 1)")
    assert first.type is bridge.cpu is bridge.DeviceType.cpu
    for one in (bridge.cpu, bridge.gpu, second):
        assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    with pytest.raises(TypeError, match=r"the type must be bridge\.cpu or bridge\.gpu, not str"):
        bridge.Device("cpu")


def test_streams_are_told_apart(two):
    """Equal to itself only, a key, with a name that says device and number."""
    s, t = two
    assert s == s
    assert s != t
    assert s != bridge.default_stream(bridge.cpu)
    assert s != s.device
    assert len({s, t, s}) == 2
    assert re.fullmatch(r"Stream\(Device\(cpu, 0\), \d+\)", repr(s))
    assert repr(s) != repr(t)
    assert s.device == bridge.cpu
    assert repr(bridge.default_stream(bridge.cpu)) == "Stream(Device(cpu, 0), 0)"
    assert bridge.default_stream(bridge.Device(bridge.cpu)) == bridge.default_stream(bridge.cpu)
    with pytest.raises(TypeError, match="belongs to this process"):
        pickle.dumps(s)
    with pytest.raises(TypeError, match=r"made by bridge\.new_stream"):
        bridge.Stream()


def test_thread_local_streams_are_told_apart():
    """Each stands for streams of its own."""
    s, t = bridge.new_thread_local_stream(bridge.cpu), bridge.new_thread_local_stream(bridge.cpu)
    assert s == s
    assert s != t
    assert s.device == bridge.cpu
    assert len({s, t}) == 2
    assert repr(s).startswith("ThreadLocalStream(Device(cpu, 0), ")
    with pytest.raises(TypeError, match=r"made by bridge\.new_thread_local_stream"):
        bridge.ThreadLocalStream()


def test_what_is_there():
    """One CPU, told of in words; no GPU without Metal."""
    assert bridge.is_available(bridge.cpu)
    assert not bridge.is_available(bridge.gpu)
    assert (bridge.device_count(bridge.cpu), bridge.device_count(bridge.gpu)) == (1, 0)
    info = bridge.device_info()
    assert info == bridge.device_info(bridge.cpu)
    assert info["device_name"]
    assert info["architecture"]
    assert info["memory_size"] > 1 << 20
    assert bridge.device_info(bridge.gpu) == {}


GPU = {
    "set_default_device": lambda: bridge.set_default_device(bridge.gpu),
    "default_stream": lambda: bridge.default_stream(bridge.gpu),
    "new_stream": lambda: bridge.new_stream(bridge.gpu),
    "new_thread_unsafe_stream": lambda: bridge.new_thread_unsafe_stream(bridge.gpu),
    "new_thread_local_stream": lambda: bridge.new_thread_local_stream(bridge.Device(bridge.gpu)),
    "stream": lambda: bridge.stream(bridge.gpu),
    "synchronize": lambda: bridge.synchronize(bridge.gpu),
    "a primitive": lambda: bridge.exp(1.0, stream=bridge.gpu),
    "a structured op": lambda: bridge.matmul(bridge.ones((2, 2)), bridge.ones((2, 2)), stream=bridge.gpu),
    "a host op": lambda: bridge.linalg.inv(bridge.eye(2), stream=bridge.gpu),
    "a composite": lambda: bridge.mean(bridge.ones(3), stream=bridge.gpu),
    "a method": lambda: bridge.ones(3).astype(bridge.int32, stream=bridge.gpu),
}


@pytest.mark.parametrize("call", GPU)
def test_a_device_that_is_not_there(call):
    """Whoever asks for the GPU where there is none is told why, and nothing has changed."""
    with pytest.raises(ValueError, match=r"nothing can run on Device\(gpu, 0\): .*Metal"):
        GPU[call]()
    assert bridge.default_device() == bridge.cpu


def test_a_cpu_that_is_not_there():
    """There is one CPU."""
    with pytest.raises(ValueError, match=r"there is no device Device\(cpu, 1\)"):
        bridge.exp(1.0, stream=bridge.Device(bridge.cpu, 1))


@pytest.mark.parametrize(
    "call",
    [
        lambda: bridge.exp(1.0, stream="cpu"),
        lambda: bridge.exp(1.0, stream=0),
        lambda: bridge.stream(None),
        lambda: bridge.stream(1),
        lambda: bridge.synchronize("cpu"),
        lambda: bridge.set_default_stream(bridge.cpu),
        lambda: bridge.set_default_device("cpu"),
        lambda: bridge.new_stream(None),
        lambda: bridge.default_stream("cpu"),
        lambda: bridge.is_available("cpu"),
        lambda: bridge.device_count("cpu"),
    ],
)
def test_what_is_no_place(call):
    """A wrong argument is a TypeError that says what is wanted."""
    with pytest.raises(TypeError, match=r"wanted|stream must be"):
        call()


# --------------------------------------------------------------------------------------------- where an op is put


def test_what_stream_takes(two):
    """None, a device, its type, a stream, a stream of this thread."""
    s, _ = two
    local = bridge.new_thread_local_stream(bridge.cpu)
    for place in (None, bridge.cpu, bridge.Device(bridge.cpu), bridge.default_stream(bridge.cpu)):
        assert number(place) == 0
    assert number(s) == number(s) != 0
    assert number(local) == number(local) not in (0, number(s))


def test_the_default_of_a_block(two):
    """`with stream(s)` puts everything there, operators too, and gives back what was, also after an error."""
    s, t = two
    a = bridge.array([1.0, 2.0])
    with bridge.stream(s) as nothing:
        assert nothing is None
        assert bridge.default_stream(bridge.cpu) == s
        assert _native._stream_number(a + 1) == _native._stream_number(-a) == _native._stream_number(a @ a) == number(s)
        with bridge.stream(t):
            assert number(None) == number(bridge.cpu) == number(t)
        assert number(None) == number(s)
        with bridge.stream(bridge.cpu):
            assert number(None) == number(s)  # the device's default stream
    assert bridge.default_stream(bridge.cpu) != s
    assert number(None) == 0
    with pytest.raises(ZeroDivisionError, match="division"), bridge.stream(s):
        1 / 0  # noqa: B018
    assert number(None) == 0
    context = bridge.stream(s)
    with context, context:
        assert number(None) == number(s)
    assert number(None) == 0


def test_the_default_of_a_thread(two):
    """What a thread sets is its own."""
    s, _ = two
    seen = []

    def work():
        seen.append(bridge.default_stream(bridge.cpu))
        bridge.set_default_stream(s)
        bridge.set_default_device(bridge.cpu)
        seen.append(number(None))

    run_all(work)
    assert seen == [bridge.default_stream(bridge.cpu), number(s)]
    assert number(None) == 0


def test_a_thread_local_stream_is_another_in_every_thread():
    """Two threads, two streams; the same one again in the same thread."""
    local = bridge.new_thread_local_stream(bridge.cpu)
    seen = {}

    def work(i):
        with bridge.stream(local):
            seen[i] = bridge.default_stream(bridge.cpu), bridge.default_stream(local.device)

    run_all(lambda: work(0), lambda: work(1))
    assert seen[0][0] == seen[0][1]
    assert seen[0][0] != seen[1][0]


def test_an_error_leaves_the_call_on_no_stream(two):
    """A call that fails puts nothing on its stream afterwards."""
    s, _ = two
    with pytest.raises(ValueError, match="broadcast"):
        bridge.add(bridge.ones(2), bridge.ones(3), stream=s)
    assert number(None) == 0


# ------------------------------------------------------------------------------------------------------- values


def test_a_graph_over_many_streams(two):
    """Whatever is put where, the values are the same: dependencies across streams are kept."""
    streams = [*two, bridge.default_stream(bridge.cpu), bridge.new_stream(bridge.cpu)]
    generator = np.random.default_rng(0)
    for _ in range(30):
        pool = [generator.normal(size=(8, 8)).astype(np.float32) for _ in range(3)]
        ours = [bridge.array(a) for a in pool]
        theirs = list(pool)
        for _ in range(40):
            i, j = generator.integers(len(ours), size=2)
            s = streams[generator.integers(len(streams))]
            match generator.integers(6):
                case 0:
                    ours.append(bridge.tanh(ours[i], stream=s))
                    theirs.append(np.tanh(theirs[i]))
                case 1:
                    ours.append(bridge.subtract(ours[i], ours[j], stream=s))
                    theirs.append(theirs[i] - theirs[j])
                case 2:
                    ours.append(bridge.matmul(ours[i], ours[j], stream=s) * 0.125)
                    theirs.append(theirs[i] @ theirs[j] * np.float32(0.125))
                case 3:
                    ours.append(bridge.transpose(ours[i], stream=s))
                    theirs.append(theirs[i].T)
                case 4:
                    ours.append(bridge.tanh(bridge.sum(ours[i], 0, True, stream=s)) + ours[j])
                    theirs.append(np.tanh(theirs[i].sum(0, keepdims=True)) + theirs[j])
                case 5:
                    with bridge.stream(s):
                        row = ours[i] + 0
                        row[1] = ours[j][2]
                    ours.append(row)
                    changed = theirs[i].copy()
                    changed[1] = theirs[j][2]
                    theirs.append(changed)
        wanted = sorted({int(k) for k in generator.integers(3, len(ours), size=5)})
        bridge.eval([ours[k] for k in wanted])
        for k in range(len(ours)):
            np.testing.assert_allclose(np.asarray(ours[k]), theirs[k], rtol=2e-3, atol=2e-3)


def test_nothing_is_fused_across_streams(two):
    """Ops on one stream share a kernel, ops on two do not."""
    s, t = two
    x = bridge.array(np.linspace(0, 1, N, dtype=np.float32))
    log = []
    _native.set_kernel_log(log.append)
    try:
        bridge.eval(bridge.exp(bridge.sin(x, stream=s), stream=s))
        one = len(log)
        bridge.eval(bridge.exp(bridge.sin(x, stream=s), stream=t))
    finally:
        _native.set_kernel_log(None)
    assert (one, len(log)) == (1, 3)


def test_streams_work_from_any_thread(two):
    """Threads share streams and arrays in any way."""
    s, t = two
    shared = bridge.sin(bridge.arange(N, dtype=bridge.float32), stream=s)
    results = {}

    def work(i):
        mine = bridge.multiply(shared, i, stream=t if i % 2 else s)
        other = bridge.exp(mine * 0, stream=s if i % 2 else t)
        results[i] = (mine + other).tolist()[1]

    run_all(*[lambda i=i: work(i) for i in range(6)])
    assert results == {i: pytest.approx(np.sin(1) * i + 1) for i in range(6)}


def test_many_streams_come_and_go():
    """A stream that nobody holds gives its thread back: a thousand streams are no thousand threads."""
    for _ in range(20):
        streams = [bridge.new_stream(bridge.cpu) for _ in range(50)]
        ends = [bridge.add(bridge.full((N // 8,), i), 1, stream=s) for i, s in enumerate(streams[:4])]
        assert bridge.stack(ends).sum(1).tolist() == [(i + 1) * N // 8 for i in range(4)]
        del streams
    gc.collect()
    bridge.synchronize()
    assert threading.active_count() < 50


def test_an_array_outlives_its_stream(two):
    """What is put on a stream that nobody holds any more is computed like everything."""
    a = bridge.add(bridge.ones(3), 1, stream=bridge.new_stream(bridge.cpu))
    gc.collect()
    b = bridge.add(a, 1, stream=two[0])
    assert b.tolist() == [3, 3, 3]


def test_clear_streams():
    """The work is done then, the thread's default is what it was at first, and the streams can be used again."""
    done = []

    def work():
        s = bridge.new_stream(bridge.cpu)
        bridge.set_default_stream(s)
        a = bridge.sin(bridge.ones(N))
        bridge.async_eval(a)
        bridge.clear_streams()
        done.append(_native.is_evaluated(a))
        done.append(bridge.default_stream(bridge.cpu) != s)
        b = bridge.exp(a, stream=s)
        bridge.async_eval(b)
        bridge.synchronize(s)
        done.append(_native.is_evaluated(b))

    run_all(work)
    assert done == [True, True, True]


# ---------------------------------------------------------------------------------------------- in the background


def test_async_eval_takes_what_eval_takes():
    """Arrays and trees of them; what is no array is left alone."""
    a, b, c = (bridge.arange(4) + i for i in range(3))
    assert bridge.async_eval(a, [b, {"c": c}], 3, None) is None
    bridge.synchronize()
    assert all(map(_native.is_evaluated, (a, b, c)))
    assert c.tolist() == [2, 3, 4, 5]
    assert bridge.async_eval() is None
    bridge.async_eval(a)


def test_async_eval_of_what_is_being_computed():
    """A chain of hand-overs, as in a training loop: each needs the one before."""
    a = bridge.ones(N)
    for _ in range(50):
        a = bridge.sin(a) + 1
        bridge.async_eval(a)
    want = np.ones(1)
    for _ in range(50):
        want = np.sin(want) + 1
    assert a[5].item() == pytest.approx(want[0], rel=1e-4)


def test_synchronize_waits_for_a_stream(two):
    """Afterwards everything that was started there is there, on other streams' account as well."""
    s, t = two
    a = bridge.sin(bridge.ones(N), stream=s)
    b = bridge.exp(bridge.ones(N), stream=t)
    c = bridge.add(a, b, stream=t)
    bridge.async_eval(a)
    bridge.async_eval(c)
    for stream in (s, t):
        bridge.synchronize(stream)
    assert all(map(_native.is_evaluated, (a, b, c)))
    with bridge.stream(s):
        d = a + 1
        bridge.async_eval(d)
        bridge.synchronize()
        assert _native.is_evaluated(d)
    bridge.synchronize(bridge.cpu)
    bridge.synchronize(bridge.new_thread_local_stream(bridge.cpu))


def test_an_error_in_the_background_is_raised_where_the_array_is_needed(two, capfd):
    """Not by async_eval or synchronize, nor by what does not need it; there it names the op. Nothing is printed."""
    good = bridge.ones((3, 3)) + 1
    for place in (None, *two):
        bad = bridge.linalg.inv(bridge.zeros((3, 3)), stream=place)
        after = bridge.exp(bad)
        bridge.async_eval(bad, good, after)
        bridge.synchronize(place)
        bridge.synchronize()
        assert good.tolist() == [[2.0] * 3] * 3
        with pytest.raises(bridge.LinAlgError, match=r"bridge\.linalg\.inv"):
            after.tolist()
        with pytest.raises(bridge.LinAlgError, match=r"bridge\.linalg\.inv"):
            bridge.eval(bad)
    assert capfd.readouterr() == ("", "")


def test_an_error_on_one_of_several_streams(two):
    """eval raises it with the op's name; what did not need it can be had."""
    s, t = two
    for _ in range(20):
        bad = bridge.linalg.cholesky(bridge.zeros((2, 2)) - 1, stream=s)
        good = bridge.exp(bridge.zeros((N,)), stream=t)
        both = good[0] + bad
        with pytest.raises(bridge.LinAlgError, match=r"bridge\.linalg\.cholesky"):
            bridge.eval(both, good)
        assert good[7].item() == 1.0
        assert bridge.exp(good, stream=s)[0].item() == pytest.approx(np.e)


def test_short_memory_on_several_streams(two):
    """MemoryError reaches who asked; later the same arrays can be computed."""
    s, t = two
    a = bridge.ones((N,)) + 0
    bridge.eval(a)
    b = bridge.exp(a, stream=s) + bridge.sin(bridge.cos(a, stream=t), stream=s)
    before = bridge.set_memory_limit(bridge.get_active_memory() + 1024)
    try:
        with pytest.raises(MemoryError, match="limit"):
            bridge.eval(b)
        bridge.async_eval(b)
        bridge.synchronize(s)
    finally:
        bridge.set_memory_limit(before)
    assert b[0].item() == pytest.approx(np.e + np.sin(np.cos(1)), rel=1e-5)


def test_views_of_what_is_computed_in_the_background():
    """A writable view is granted only when everybody has read: the background does not see the write."""
    for _ in range(20):
        a = bridge.ones((N * 8,)) + 0
        bridge.eval(a)
        b = bridge.sin(bridge.sin(a)) + a
        bridge.async_eval(b)
        view = np.asarray(a)
        view[:] = 7
        assert b[0].item() == b[-1].item() == pytest.approx(np.sin(np.sin(1)) + 1)
        a += 1
        assert view[0] == 8


def test_updates_beside_the_background():
    """`a[0] = x` after async_eval of what reads `a` changes nothing there."""
    for _ in range(20):
        a = bridge.ones((N,)) * 2
        b = bridge.exp(bridge.log(a))
        bridge.async_eval(b)
        a[0] = 5.0
        bridge.async_eval(a)
        assert b[0].item() == pytest.approx(2.0)
        assert a[0].item() == 5.0
        assert a[1].item() == 2.0


# ------------------------------------------------------------------------------- the process: its end, forks, Ctrl-C

PRELUDE = """
import os, signal, sys, threading
import numpy as np
import bridge
from memory.threads import SLOW, slow
s, t = bridge.new_stream(bridge.cpu), bridge.new_stream(bridge.cpu)
def on(stream, n=SLOW):
    with bridge.stream(stream): return slow(bridge.ones((n,)))
def far(rounds=100, stream=None):
    a = bridge.ones((SLOW,))
    with bridge.stream(stream or bridge.cpu):
        for _ in range(rounds): a = slow(a)
    return a
"""

ENDS = {
    "while two streams and the background work": "for a in far(20), on(s), on(t): bridge.async_eval(a)",
    "while a host function runs": """
a = bridge.reshape(bridge.sin(bridge.arange(250000, dtype=bridge.float32)), (500, 500))
bridge.async_eval(bridge.linalg.svd(a, stream=s), bridge.linalg.qr(a, stream=t), bridge.linalg.inv(a))
""",
    "with idle threads": "bridge.eval(on(s) + on(t)); bridge.async_eval(on(s))\nbridge.synchronize(s)",
    "while a daemon thread evaluates on streams": """
def work():
    while True: bridge.eval(on(s) + on(t))
threading.Thread(target=work, daemon=True).start()
bridge.eval(on(t))
""",
    "and a finaliser computes": """
class Late:
    def __del__(self): assert (bridge.add(self.a, 1, stream=s) + bridge.add(self.a, 1, stream=t)).tolist() == [4.0]
late = Late()
late.a = bridge.ones(1)
bridge.eval(on(s) + on(t))
import atexit
atexit.register(lambda: bridge.eval(on(s, 64) + on(t, 64)))
x = far(20)
bridge.async_eval(x)
atexit.register(lambda: x[0].item())
""",
}


@pytest.mark.parametrize("how", ENDS)
def test_the_process_ends(how):
    """Whatever the threads of streams are doing: no hang, no crash, no word."""
    done = run_code(f"{PRELUDE}\n{ENDS[how]}\nprint('bye', flush=True)", timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "bye\n", "")


FORKS = {
    "after streams have worked": "bridge.eval(on(s) + on(t))",
    "while streams work": "a = far(3, s); b = far(3, t); bridge.async_eval(a); bridge.async_eval(b)",
    "while the background works": "a = far(5); bridge.async_eval(a)",
    "while another thread evaluates on streams": """
a, b = on(s), on(t)
started = threading.Event()
thread = threading.Thread(target=lambda: (started.set(), bridge.eval(a + b)))
thread.start()
started.wait()
""",
    "with a default stream": "bridge.set_default_stream(s); bridge.async_eval(on(s))",
}


@pytest.mark.parametrize("when", FORKS)
def test_a_child_starts_threads_of_its_own(when):
    """The threads of the parent's streams are not there; the same streams work, and so does what was under way."""
    code = f"""{PRELUDE}
a = b = None
{FORKS[when]}
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    try:
        bridge.synchronize(s)
        assert 0 < (on(s) * on(t))[0].item() < 1
        c = bridge.add(on(s, 4), on(t, 4), stream=s)
        bridge.async_eval(c)
        bridge.synchronize(t)
        assert c[0].item() == 2 * on(s, 4)[0].item()
        for one in (a, b): one is None or one[0].item()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
for one in (a, b): one is None or one[0].item()
bridge.synchronize(s)
print("both")
"""
    done = run_code(code)
    assert (done.returncode, done.stdout) == (0, "both\n"), done.stderr


INTERRUPTED = {
    "between many kernels": ("a = far(2000)", "bridge.eval(a)"),
    "inside one kernel": (
        "a = bridge.broadcast_to(bridge.ones((1 << 24,)), (60, 1 << 24))\nfor _ in range(60): a = bridge.sin(a)",
        "bridge.eval(a)",
    ),
    "on several streams": ("a = far(2000, s)\nb = far(2000, t)\na = a + b", "bridge.eval(a)"),
    "while the background computes it": ("a = far(2000)\nbridge.async_eval(a)", "a[0].item()"),
    "in synchronize": ("a = far(2000, s)\nbridge.async_eval(a)", "bridge.synchronize(s)"),
}


@pytest.mark.parametrize("where", INTERRUPTED)
def test_ctrl_c(where):
    """It raises KeyboardInterrupt long before the evaluation is over, and everything can be used and computed again."""
    prepare, wait = INTERRUPTED[where]
    code = f"""{PRELUDE}
{prepare}
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted")
small = bridge.add(bridge.sin(bridge.ones(4), stream=s), bridge.ones(4), stream=t)
assert abs(small[0].item() - 1.8414709) < 1e-6
view = np.asarray(small)
small += 1
print(bridge.core._native.is_evaluated(a))
"""
    done = run_code(code, timeout=60)
    assert (done.returncode, done.stdout) == (0, "interrupted\nFalse\n"), done.stderr


def test_an_interrupted_evaluation_can_be_had_again(two):
    """The values are what they would have been."""
    code = f"""{PRELUDE}
x = bridge.full((1 << 22,), 0.5)
a = x
for _ in range(300): a = bridge.sin(a)
a[:5] = 3.0
a = bridge.add(a, bridge.sin(x, stream=s), stream=t)
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    bridge.eval(a)
except KeyboardInterrupt:
    pass
want = np.float64(0.5)
for _ in range(300): want = np.sin(want)
got = np.asarray(a)
assert np.allclose(got[5:], want + np.sin(0.5), rtol=1e-4), got[5]
assert np.allclose(got[:5], 3 + np.sin(0.5), rtol=1e-4), got[:5]
print("right")
"""
    done = run_code(code, timeout=60)
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
