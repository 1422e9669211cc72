"""What load() gives are views of a map: nothing is read before it is used, nothing copied, nothing written."""

import gc
import os
import re
import resource
from pathlib import Path

import numpy as np
import pytest
from isolated import run_code

import bridge
from bridge.core import _native

FORMATS = ("npy", "npz", "safetensors", "gguf")
VALUES = np.arange(1024, dtype=np.float32).reshape(32, 32)


def saved(format: str, folder: Path, values: np.ndarray = VALUES) -> Path:
    """A file of one array, written by bridge."""
    path, a = folder / f"x.{format}", bridge.from_(values)
    {
        "npy": lambda: bridge.save(path, a),
        "npz": lambda: bridge.savez(path, a=a),
        "safetensors": lambda: bridge.save_safetensors(path, {"a": a}),
        "gguf": lambda: bridge.save_gguf(path, {"a": a}),
    }[format]()
    return path


def loaded(path: Path) -> bridge.array:
    found = bridge.load(path)
    return found["a"] if isinstance(found, dict) else found


def maps(path: Path) -> list[tuple[int, int]]:
    """Address ranges of this process that are mapped from the file."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    return [(int(low, 16), int(high, 16)) for low, high in (line[0].split("-") for line in lines)]


@pytest.mark.parametrize("format", FORMATS)
def test_arrays_are_views_of_the_map(format, tmp_path):
    """The array's address lies in the mapping of the file, and so does that of the array that NumPy and torch get."""
    import torch

    path = saved(format, tmp_path)
    a = loaded(path)
    ((low, high),) = maps(path)
    shared = np.asarray(a)
    assert low <= _native.storage_address(a) < high
    assert shared.ctypes.data == _native.storage_address(a)
    assert not shared.flags.writeable
    with pytest.raises(bridge.CopyRequired, match="imported read-only"):
        bridge.to("torch", a, copy=False)
    assert isinstance(bridge.to("torch", a), torch.Tensor)


@pytest.mark.parametrize("format", FORMATS)
def test_an_update_moves_the_array_and_not_the_file(format, tmp_path):
    """In-place updates work on memory of the array's own; the file and other arrays over it keep their values."""
    path = saved(format, tmp_path)
    before = path.read_bytes()
    a, b = loaded(path), loaded(path)
    a[0] = -1
    a += 1
    assert a[0, 0].item() == 0
    assert np.array_equal(np.asarray(b), VALUES)
    assert path.read_bytes() == before


@pytest.mark.parametrize("format", FORMATS)
def test_the_map_lives_as_long_as_its_last_array(format, tmp_path):
    """Neither deleting the file nor dropping the dict ends the map; dropping the last view of it does."""
    path = saved(format, tmp_path)
    a = loaded(path)
    outside = np.asarray(a[4:])
    gone = path.with_suffix(".old")
    path.rename(gone)
    del a
    gc.collect()
    assert np.array_equal(outside, VALUES[4:])
    assert maps(gone)
    del outside
    gc.collect()
    assert not maps(gone)


def test_descriptors_end_with_their_arrays(tmp_path):
    """Loading takes one descriptor for as long as an array over the file lives, and none when it fails."""
    path = saved("safetensors", tmp_path)
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no file")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        bridge.load(path)
        with pytest.raises(bridge.FormatError, match=r"bad\.safetensors"):
            bridge.load(bad)
    assert len(os.listdir("/proc/self/fd")) == before
    kept = bridge.load(path)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del kept


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_became_shorter_is_an_error(format, tmp_path):
    """Evaluation, printing, indexing and every way out say that the file was cut; the system would end the process."""
    path = saved(format, tmp_path)
    a = loaded(path)
    later = (a + 1).sum()
    view = a[8:]
    os.truncate(path, 200)
    uses = [
        lambda: later.item(),
        lambda: (a * 2).tolist(),
        lambda: view.tolist(),
        lambda: str(a),
        lambda: np.asarray(a),
        lambda: memoryview(a),
        lambda: a.__dlpack__(),
        lambda: bridge.to("torch", a),
        lambda: bridge.to("jax", a),
        lambda: bridge.save(tmp_path / "again", a),
        lambda: bridge.eval(a @ a),
        lambda: _native.copy(a),
        lambda: bridge.linalg.norm(a).item(),
        lambda: (a.__setitem__(0, 1.0), bridge.eval(a)),
    ]
    said = re.escape(f"{path}: the file has become shorter since it was loaded")
    for use in uses:
        with pytest.raises(bridge.FormatError, match=said):
            use()


def test_replacing_a_file_under_a_map_is_fine(tmp_path):
    """Saving over a file that is loaded leaves the arrays with the bytes that they had."""
    path = saved("npy", tmp_path)
    a = bridge.load(path)
    bridge.save(path, a * 2)
    bridge.save(path, bridge.load(path) + 1)
    assert np.array_equal(np.asarray(a), VALUES)
    assert np.array_equal(np.asarray(bridge.load(path)), VALUES * 2 + 1)


@pytest.mark.parametrize("format", ["npy", "npz", "safetensors", "gguf"])
def test_files_larger_than_memory_open_at_once(format, tmp_path):
    """A sparse file of 10 GB and more than 2**31 elements opens without memory, and its last elements can be read."""
    n = (10 << 30) // 4
    small = saved(format, tmp_path, np.ones(7919, np.float32))
    head = small.read_bytes()
    path = tmp_path / f"large.{format}"
    if format == "npz":  # sizes beyond 32 bits are written by bridge itself, from a broadcast that takes no memory
        head = None
    if head is not None:
        data = head.index(np.ones(7919, np.float32).tobytes())
        start = head[:data]
        if format == "npy":
            start = start.replace(b"(7919,), }" + b" " * 10, f"({n},), }}".encode().ljust(20))
        if format == "safetensors":
            new = start.replace(b'"shape":[7919]', f'"shape":[{n}]'.encode()).replace(b",31676]", f",{4 * n}]".encode())
            start = new[: len(new) - (len(new) - len(start))]
            assert len(start) == data
        if format == "gguf":
            start = start.replace((7919).to_bytes(8, "little"), n.to_bytes(8, "little"))
        with open(path, "wb") as file:
            file.write(start)
            file.truncate(len(start) + 4 * n)
            file.seek(len(start) + 4 * n - 4)
            file.write(np.float32(2.5).tobytes())
    else:
        sparse_npz(path, n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    a = bridge.load(path)
    a = a["a"] if isinstance(a, dict) else a
    assert a.shape == (n,)
    assert a.size > 2**31
    assert a[n - 2 :].tolist() == [0, 2.5]
    assert a[:: n // 8].sum().item() == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def sparse_npz(path: Path, n: int) -> None:
    """An archive of one stored member of 4 * n bytes, zeros but for the last element."""
    from bridge.core.io.npy import _header
    from bridge.core.io.npz import _end, _Head

    start = _header(bridge.float32, (n,), columns=False)
    head = _Head("a.npy", 0, 0, len(start) + 4 * n, len(start) + 4 * n, 0)
    local = head.local(aligned=True)
    with open(path, "wb") as file:
        file.write(local + start)
        file.seek(4 * n - 4, 1)
        file.write(np.float32(2.5).tobytes())
        file.write(head.central() + _end(1, len(head.central()), len(local) + len(start) + 4 * n))


def test_opening_takes_little_memory():
    """A thousand tensors take less than 1 MB of new resident memory, whatever their size."""
    program = """
import os, tempfile
import numpy as np
import bridge
bridge.load
folder = tempfile.mkdtemp()
path = folder + "/x.safetensors"
names = [f"model.layers.{i // 10}.block.{i % 10}.weight" for i in range(1000)]
bridge.save_safetensors(folder + "/y", {"a": bridge.zeros((4, 64))})
bridge.load(folder + "/y.safetensors")
child = os.fork()
if child == 0:  # so that nothing that saving takes is there to be used again
    bridge.save_safetensors(path, {name: bridge.zeros((64, 64)) for name in names})
    os._exit(0)
os.waitpid(child, 0)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
before = resident()
arrays = bridge.load(path)
print(len(arrays), resident() - before)
"""
    done = run_code(program)
    assert done.returncode == 0, done.stderr
    count, grown = map(int, done.stdout.split())
    assert count == 1000
    assert grown < 1_000_000


def test_misaligned_and_compressed_members_are_lazy(tmp_path):
    """What must be converted is converted when it is evaluated, not when it is loaded."""
    np.savez(tmp_path / "x.npz", a=VALUES)
    np.savez_compressed(tmp_path / "y.npz", a=VALUES)
    np.save(tmp_path / "z.npy", VALUES.astype(">f4"))
    arrays = [
        bridge.load(tmp_path / "x.npz")["a"],
        bridge.load(tmp_path / "y.npz")["a"],
        bridge.load(tmp_path / "z.npy"),
    ]
    for a in arrays[1:]:
        assert not _native.is_evaluated(a)
    assert all(np.array_equal(np.asarray(a), VALUES) for a in arrays)


def test_checksums_are_compared_where_bytes_are_copied(tmp_path):
    """A changed byte shows in compressed members always, in stored ones that are viewed with verify=True."""
    path = tmp_path / "x.npz"
    bridge.savez(path, a=bridge.from_(VALUES))
    raw = bytearray(path.read_bytes())
    raw[raw.index(VALUES.tobytes()) + 5] ^= 1
    path.write_bytes(raw)
    assert not np.array_equal(np.asarray(bridge.load(path)["a"]), VALUES)
    with pytest.raises(bridge.FormatError, match="its checksum is wrong"):
        bridge.load(path, verify=True)


def test_importing_bridge_does_not_import_the_readers():
    """The package comes with the first use of one of its names."""
    done = run_code(
        "import sys, bridge; print('bridge.core.io' in sys.modules, hasattr(bridge, 'load'), bridge.load.__name__)"
    )
    assert done.stdout.split() == ["False", "True", "load"]
