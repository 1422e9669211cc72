"""load() and the save functions as MLX's users call them: names, return values, formats, open files."""

import ast
import gzip
import inspect
import io
import pathlib
import zipfile

import mlx.core as mx
import numpy as np
import pytest

import bridge

NAMES = ("save", "savez", "savez_compressed", "save_safetensors", "save_gguf", "load")


@pytest.mark.parametrize("name", NAMES)
def test_signatures_begin_as_mlx_has_them(name):
    """Names, order and kinds of the parameters are MLX's; what bridge adds comes after them, by keyword only."""
    stub = ast.parse((pathlib.Path(mx.__file__).parent / "core" / "__init__.pyi").read_text())
    (theirs,) = [one for one in stub.body if isinstance(one, ast.FunctionDef) and one.name == name]
    arguments = theirs.args
    listed = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    known = [one.arg for one in listed if one is not None]
    ours = inspect.signature(getattr(bridge, name))
    assert [one for one in ours.parameters if one in known] == known
    extra = [ours.parameters[one] for one in ours.parameters if one not in known]
    assert all(one.kind is one.KEYWORD_ONLY for one in extra)


@pytest.mark.parametrize("path", ["text", "path", "bytes.npy"])
def test_the_extension_is_added_where_it_is_missing(path, tmp_path, monkeypatch):
    """`save("a")` makes a.npy, `save("a.bin")` a.bin.npy, as MLX does; paths may be str or Path."""
    monkeypatch.chdir(tmp_path)
    kind = pathlib.Path if path == "path" else str
    for extension, save in (
        (".npy", lambda file: bridge.save(file, bridge.ones((2,)))),
        (".npz", lambda file: bridge.savez(file, bridge.ones((2,)))),
        (".safetensors", lambda file: bridge.save_safetensors(file, {"a": bridge.ones((2,))})),
        (".gguf", lambda file: bridge.save_gguf(file, {"a": bridge.ones((2,))})),
    ):
        save(kind("a"))
        save(kind("b.bin"))
        save(kind(f"c{extension}"))
        assert {one.name for one in tmp_path.iterdir() if one.suffix == extension} == {
            f"a{extension}",
            f"b.bin{extension}",
            f"c{extension}",
        }


def test_return_values_are_mlx_s(tmp_path):
    """An array for npy, a dict for the others, (dict, metadata) on request where there is metadata."""
    a = bridge.arange(3)
    bridge.save(tmp_path / "x", a)
    bridge.savez(tmp_path / "x", a, named=a)
    bridge.save_safetensors(tmp_path / "x", {"a": a})
    bridge.save_gguf(tmp_path / "x", {"a": a})
    assert isinstance(bridge.load(tmp_path / "x.npy"), bridge.array)
    assert list(bridge.load(tmp_path / "x.npz")) == ["arr_0", "named"]
    for format in ("safetensors", "gguf"):
        arrays, metadata = bridge.load(tmp_path / f"x.{format}", return_metadata=True)
        assert (list(arrays), metadata) == (["a"], {})
        assert list(bridge.load(tmp_path / f"x.{format}")) == ["a"]
    for format in ("npy", "npz"):
        with pytest.raises(ValueError, match=f"a file of the format {format} has no metadata"):
            bridge.load(tmp_path / f"x.{format}", return_metadata=True)


def test_format_goes_by_argument_then_name_then_content(tmp_path):
    """format= wins; a known extension comes next; then what the file begins with."""
    a = bridge.arange(3)
    for format, save in (
        ("npy", lambda file: bridge.save(file, a)),
        ("npz", lambda file: bridge.savez(file, a=a)),
        ("safetensors", lambda file: bridge.save_safetensors(file, {"a": a})),
        ("gguf", lambda file: bridge.save_gguf(file, {"a": a})),
    ):
        file = io.BytesIO()
        save(file)
        for name in ("x.bin", "x.zip", "x"):
            (tmp_path / name).write_bytes(file.getvalue())
            for found in (bridge.load(tmp_path / name), bridge.load(tmp_path / name, format=format)):
                assert (found["a"] if isinstance(found, dict) else found).tolist() == [0, 1, 2]
        (tmp_path / "wrong.npy").write_bytes(file.getvalue())
        assert bridge.load(str(tmp_path / "wrong.npy"), format) is not None
    (tmp_path / "x.dat").write_bytes(b"something else")
    with pytest.raises(bridge.FormatError, match=r"x\.dat: neither its name nor its content is of a known format"):
        bridge.load(tmp_path / "x.dat")
    with pytest.raises(ValueError, match="the format is not known"):
        bridge.load(tmp_path / "x.dat", format="hdf5")


def test_open_files_are_read_and_written_where_they_stand(tmp_path):
    """Several arrays one after the other in one file, in memory or on disk, as NumPy does it."""
    first, second = bridge.arange(5), bridge.ones((2, 3))
    with open(tmp_path / "x.bin", "w+b") as file:
        for target in (file, io.BytesIO()):
            bridge.save(target, first)
            bridge.save(target, second)
            target.seek(0)
            assert bridge.load(target, format="npy").tolist() == [0, 1, 2, 3, 4]
            if target is file:
                assert bridge.load(target, format="npy").shape == (2, 3)
                assert target.read() == b""
    with open(tmp_path / "x.bin", "rb") as file:
        assert np.load(file).tolist() == [0, 1, 2, 3, 4]
        assert bridge.load(file, format="npy").shape == (2, 3)


def test_objects_with_read_are_read_whole(tmp_path):
    """A gzip file has a descriptor, and what it gives is not what stands in the file; a member of a zip has none."""
    content = io.BytesIO()
    bridge.save_safetensors(content, {"a": bridge.arange(4)}, {"k": "v"})
    with gzip.open(tmp_path / "x.safetensors.gz", "wb") as packed:
        packed.write(content.getvalue())
    with gzip.open(tmp_path / "x.safetensors.gz", "rb") as packed:
        arrays, metadata = bridge.load(packed, format="safetensors", return_metadata=True)
    assert (arrays["a"].tolist(), metadata) == ([0, 1, 2, 3], {"k": "v"})
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as whole:
        whole.writestr("inner.safetensors", content.getvalue())
        with pytest.raises(ValueError, match=r"reading|open|mode"):
            whole.open("none", "r+")
    with zipfile.ZipFile(tmp_path / "x.zip") as whole, whole.open("inner.safetensors") as member:
        assert bridge.load(member)["a"].tolist() == [0, 1, 2, 3]


def test_what_is_no_file_is_a_type_error(tmp_path):
    """Numbers, and files that are open for text, are refused by name."""
    with pytest.raises(TypeError, match=r"a file is a path or an object with read\(\)"):
        bridge.load(3)
    with pytest.raises(TypeError, match=r"a file is a path or an object with write\(\)"):
        bridge.save(3, bridge.ones((2,)))
    (tmp_path / "x.txt").write_text("text")
    with open(tmp_path / "x.txt") as file, pytest.raises(TypeError, match=r"read\(\) gives text"):
        bridge.load(file, format="npy")


def test_arguments_of_the_save_functions_are_checked(tmp_path):
    """Names, metadata and shapes that a format cannot hold are errors before a file is touched."""
    a = bridge.ones((2,))
    deep, aligned = a.reshape(1, 1, 1, 2, 1), {"general.alignment": a}
    nibbles = bridge.zeros((3,)).astype(bridge.float4_e2m1fn)
    wrong = [
        (TypeError, "a dict from names to arrays", lambda: bridge.save_safetensors(tmp_path / "x", [a])),
        (TypeError, "the name of an array is text", lambda: bridge.save_safetensors(tmp_path / "x", {1: a})),
        (TypeError, "a dict from text to text", lambda: bridge.save_safetensors(tmp_path / "x", {"a": a}, {"k": 1})),
        (ValueError, "'__metadata__'", lambda: bridge.save_safetensors(tmp_path / "x", {"__metadata__": a})),
        (ValueError, "two arrays would be called arr_0", lambda: bridge.savez(tmp_path / "x", a, arr_0=a)),
        (ValueError, "would leave the folder", lambda: bridge.savez(tmp_path / "x", **{"../a": a})),
        (ValueError, "5 axes; gguf has at most 4", lambda: bridge.save_gguf(tmp_path / "x", {"a": deep})),
        (TypeError, "no array of numbers, text", lambda: bridge.save_gguf(tmp_path / "x", {"a": a}, {"k": 3})),
        (ValueError, "has 2 axes", lambda: bridge.save_gguf(tmp_path / "x", {}, {"k": a.reshape(1, 2)})),
        (TypeError, "general.alignment is a uint32", lambda: bridge.save_gguf(tmp_path / "x", {}, aligned)),
        (ValueError, "odd number", lambda: bridge.save_safetensors(tmp_path / "x", {"a": nibbles})),
    ]  # fmt: skip
    for error, text, call in wrong:
        with pytest.raises(error, match=text):
            call()
    assert not list(tmp_path.iterdir())


def test_alignment_of_gguf_is_kept(tmp_path):
    """general.alignment sets where tensors begin, for bridge and for the package gguf."""
    import gguf

    alignment = {"general.alignment": bridge.array(256, bridge.uint32)}
    bridge.save_gguf(tmp_path / "x", {"a": bridge.ones((3,)), "b": bridge.arange(4)}, alignment)
    found = gguf.GGUFReader(tmp_path / "x.gguf")
    assert [one.data_offset % 256 for one in found.tensors] == [0, 0]
    assert bridge.load(tmp_path / "x.gguf")["b"].tolist() == [0, 1, 2, 3]


def test_anonymous_bytes_want_a_dtype_of_their_size(tmp_path):
    """dtype= names bytes of its size; another size, and an unknown dtype, are errors; named dtypes stay."""
    import ml_dtypes

    np.save(tmp_path / "x.npy", np.ones(3, ml_dtypes.bfloat16))
    np.save(tmp_path / "y.npy", np.ones(3, np.float32))
    with pytest.raises(bridge.FormatError, match=r'2 bytes each[^$]*dtype="bfloat16"'):
        bridge.load(tmp_path / "x.npy")
    with pytest.raises(bridge.FormatError, match="2 bytes each, and dtype=float32 has 4"):
        bridge.load(tmp_path / "x.npy", dtype=bridge.float32)
    with pytest.raises(bridge.DTypeError, match="no dtype of this description"):
        bridge.load(tmp_path / "x.npy", dtype="nothing")
    assert bridge.load(tmp_path / "x.npy", dtype=ml_dtypes.bfloat16).dtype is bridge.bfloat16
    assert bridge.load(tmp_path / "y.npy", dtype=bridge.bfloat16).dtype is bridge.float32


def test_arrays_are_plain_arrays(tmp_path):
    """What comes out of a file computes, fuses and is handed on like any array."""
    bridge.savez(tmp_path / "x", w=bridge.arange(12, dtype=bridge.float32).reshape(3, 4), b=bridge.ones((4,)))
    found = bridge.load(tmp_path / "x.npz", stream=bridge.cpu)
    y = bridge.softmax(found["w"] * 2 + found["b"], axis=-1)
    assert y.shape == (3, 4)
    assert np.allclose(bridge.to("torch", y.sum(axis=-1)).numpy(), 1)
