"""Saving: the file is the old one or the new one, whatever happens, and what people expect of a file."""

import io
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from isolated import _variables, run_code

import bridge

SAVES = {
    "npy": lambda path, a: bridge.save(path, a),
    "npz": lambda path, a: bridge.savez(path, a=a),
    "safetensors": lambda path, a: bridge.save_safetensors(path, {"a": a}),
    "gguf": lambda path, a: bridge.save_gguf(path, {"a": a}),
}

#: How often the test of killed savers kills; BRIDGE_KILLS=100 to be sure.
KILLS = int(os.environ.get("BRIDGE_KILLS", "6"))

SAVER = """
import sys, bridge
path, marks = sys.argv[1], sys.stdout
for i in range(1, 101):
    marks.write(f"{i}\\n"); marks.flush()
    bridge.save_safetensors(path, {"a": bridge.full((256, 1024), i, bridge.float32), "b": bridge.array([i])})
"""


def test_killed_savers_leave_a_whole_file(tmp_path):
    """kill -9 at a random moment of a hundred saves: the file is whole, the last one or the one before."""
    path = tmp_path / "x.safetensors"
    random = np.random.default_rng(7)
    for _ in range(KILLS):
        bridge.save_safetensors(path, {"a": bridge.zeros((256, 1024)), "b": bridge.array([0])})
        child = subprocess.Popen([sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE, env=_variables({}))
        assert child.stdout is not None
        for _ in range(int(random.integers(1, 60))):
            line = child.stdout.readline()
        started = int(line)
        child.send_signal(signal.SIGKILL)
        last = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        started = int(last[-1]) if last else started
        found = bridge.load(path)
        number = found["b"].item()
        assert number in (started - 1, started)
        assert bool((found["a"] == number).all())


@pytest.mark.parametrize("format", SAVES)
def test_a_full_disk_leaves_the_old_file(format, tmp_path):
    """When the system refuses to write on, the old file is as it was and nothing else is left behind."""
    program = f"""
import os, resource, signal, sys
import bridge
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = sys.argv[1] if len(sys.argv) > 1 else {str(tmp_path / f"x.{format}")!r}
save = {{
    "npy": lambda a: bridge.save(path, a),
    "npz": lambda a: bridge.savez(path, a=a),
    "safetensors": lambda a: bridge.save_safetensors(path, {{"a": a}}),
    "gguf": lambda a: bridge.save_gguf(path, {{"a": a}}),
}}[{format!r}]
save(bridge.ones((10,)))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save(bridge.ones((100_000,)))
except OSError as error:
    print(type(error).__name__, error.errno)
"""
    done = run_code(program)
    assert done.stdout.split() == ["OSError", "27"], done.stderr
    assert os.listdir(tmp_path) == [f"x.{format}"]
    found = bridge.load(tmp_path / f"x.{format}")
    assert (found["a"] if isinstance(found, dict) else found).tolist() == [1] * 10


def test_an_error_leaves_the_old_file(tmp_path):
    """An array that cannot be computed, or a dtype without a name, changes nothing."""
    path = tmp_path / "x.safetensors"
    bridge.save_safetensors(path, {"a": bridge.ones((3,))})
    before = path.read_bytes()
    with pytest.raises(bridge.DTypeError, match="complex128"):
        bridge.save_safetensors(path, {"a": bridge.ones((3,)), "b": bridge.zeros((2,), bridge.complex128)})
    singular = bridge.linalg.inv(bridge.zeros((3, 3)))
    with pytest.raises(bridge.LinAlgError, match="Singular"):
        bridge.save_safetensors(path, {"a": singular})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_permissions_are_those_of_the_old_file_or_of_the_umask(tmp_path):
    """A new file takes the process's umask, a replaced one keeps its mode."""
    path = tmp_path / "x.npy"
    done = run_code(f"import os, bridge; os.umask(0o027); bridge.save({str(path)!r}, bridge.ones((3,)))")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    bridge.save(path, bridge.zeros((3,)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_symbolic_links_stay_and_lead_to_the_new_file(tmp_path):
    """Saving to a link replaces what it leads to, also where that is not there yet."""
    (tmp_path / "store").mkdir()
    link, lost = tmp_path / "link.npy", tmp_path / "lost.npy"
    link.symlink_to(tmp_path / "store" / "real.npy")
    lost.symlink_to("store/later.npy")
    bridge.save(tmp_path / "store" / "real", bridge.ones((3,)))
    bridge.save(link, bridge.zeros((4,)))
    bridge.save(lost, bridge.zeros((5,)))
    assert link.is_symlink()
    assert lost.is_symlink()
    assert bridge.load(tmp_path / "store" / "real.npy").shape == (4,)
    assert sorted(os.listdir(tmp_path / "store")) == ["later.npy", "real.npy"]


def test_pipes_are_written_and_read_as_they_are(tmp_path):
    """A named pipe is no file to replace: bytes go through it."""
    path = tmp_path / "pipe.npy"
    os.mkfifo(path)
    found = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    bridge.save(path, bridge.arange(5))
    reader.join()
    assert np.load(io.BytesIO(found[0])).tolist() == [0, 1, 2, 3, 4]
    writer = threading.Thread(target=lambda: path.write_bytes(found[0]))
    writer.start()
    assert bridge.load(path).tolist() == [0, 1, 2, 3, 4]
    writer.join()


def test_long_and_odd_names(tmp_path):
    """Names as long as the system allows, and with characters of any kind."""
    for name in ("x" * 251 + ".npy", "ünï cødé\n'\".npy", "%s.npy"):
        bridge.save(tmp_path / name, bridge.ones((2,)))
        assert bridge.load(tmp_path / name).tolist() == [1, 1]


def test_missing_folders_are_the_systems_error(tmp_path):
    """No folder is made; the error is Python's."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bridge.save(tmp_path / "nowhere" / "x", bridge.ones((2,)))
    with pytest.raises(FileNotFoundError, match=r"missing\.npy"):
        bridge.load(tmp_path / "missing.npy")
    with pytest.raises(IsADirectoryError, match="folder"):
        bridge.load(tmp_path, format="npy")


@pytest.mark.parametrize("format", SAVES)
def test_the_data_path_does_not_copy(format, tmp_path, monkeypatch):
    """What the system is given to write is the array's own memory."""
    a = bridge.ones((1000,))
    bridge.eval(a)
    address = bridge.core._native.storage_address(a)
    seen = []
    writev = os.writev

    def watched(descriptor, buffers):
        seen.extend(np.frombuffer(one, np.uint8).ctypes.data for one in buffers)
        return writev(descriptor, buffers)

    monkeypatch.setattr(os, "writev", watched)
    SAVES[format](tmp_path / f"x.{format}", a)
    assert address in seen


def test_short_writes_go_on(tmp_path, monkeypatch):
    """A system that takes a few bytes at a time gets all of them in the end."""
    writev = os.writev

    def few(descriptor, buffers):
        return writev(descriptor, [memoryview(buffers[0])[:37]])

    monkeypatch.setattr(os, "writev", few)
    bridge.savez(tmp_path / "x", a=bridge.arange(100), b=bridge.zeros((0, 3)))
    found = np.load(tmp_path / "x.npz")
    assert found["a"].tolist() == list(range(100))
    assert found["b"].shape == (0, 3)


def test_large_files_are_written_piece_by_piece(tmp_path, monkeypatch):
    """Files that leave the system's memory as they are written are whole, whatever the sizes of their arrays."""
    for name, size in (("_PIECE", 1000), ("_CACHED", 5000), ("_WINDOW", 2), ("_BATCH", 3), ("_LARGE", 100)):
        monkeypatch.setattr(f"bridge.core.io.writing.{name}", size)
    random = np.random.default_rng(3)
    for _ in range(2):  # the second time over an old file
        arrays = {f"t{i}": random.integers(0, 9, int(random.integers(0, 900))) for i in range(60)}
        bridge.savez(tmp_path / "x", **{name: bridge.from_(one) for name, one in arrays.items()})
        found = np.load(tmp_path / "x.npz")
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_many_arrays_are_more_than_one_batch(tmp_path):
    """More tensors than the system takes at once."""
    arrays = {f"t{i}": bridge.array([i]) for i in range(3000)}
    bridge.save_safetensors(tmp_path / "x", arrays)
    back = bridge.load(tmp_path / "x.safetensors")
    assert all(back[f"t{i}"].item() == i for i in range(0, 3000, 97))


def test_saving_takes_a_snapshot_of_what_others_write(tmp_path):
    """An array over memory that NumPy writes is saved with the values that it has then."""
    values = np.arange(5.0)
    a = bridge.from_(values)
    values[0] = 7
    bridge.save(tmp_path / "x", a)
    assert np.load(tmp_path / "x.npy").tolist() == [7, 1, 2, 3, 4]


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    """Files hold no time and no chance."""
    for save in SAVES.values():
        one, two = io.BytesIO(), io.BytesIO()
        save(one, bridge.arange(10))
        save(two, bridge.arange(10))
        assert one.getvalue() == two.getvalue()


def test_written_members_begin_on_cache_lines(tmp_path):
    """Data of npy, npz and safetensors files begins on 64-byte boundaries, so that every framework can share it."""
    for format in ("npy", "npz", "safetensors"):
        path = tmp_path / f"x.{format}"
        SAVES[format](path, bridge.full((100,), 7, bridge.float32))
        assert Path(path).read_bytes().index(np.full(100, 7, np.float32).tobytes()) % 64 == 0
