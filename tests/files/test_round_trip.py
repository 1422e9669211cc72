"""Every dtype through every format and back, by bridge and by the libraries that others use. Bits, not values."""

import numpy as np
import pytest

import bridge
from bridge.core.dtypes import DTYPES, to_numpy

SAFETENSORS = {
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2"),
    *("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"),
}
GGUF = {"int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"}
HOLDS = {"npy": set(DTYPES), "npz": set(DTYPES), "safetensors": SAFETENSORS, "gguf": GGUF}
PAIRS = [(format, name) for format in HOLDS for name in DTYPES if name in HOLDS[format]]
SHAPES = [(4, 6), (2,), (3, 0), (2, 1, 2, 2)]


def bits(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """An array of that dtype over random bits, NaNs of all kinds included."""
    dtype = to_numpy(DTYPES[name])
    raw = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * dtype.itemsize, dtype=np.uint8)
    if name == "bool":
        raw &= 1
    if name in ("int4", "uint4", "float4_e2m1fn"):
        raw &= 15
    return raw.view(dtype).reshape(shape)


def same(a, b: np.ndarray) -> bool:
    """Whether both have the same dtype, shape and bits."""
    mine = np.asarray(a)
    return mine.dtype == b.dtype and mine.shape == b.shape and mine.tobytes() == b.tobytes()


def written(format: str, path, arrays: dict) -> dict:
    """The arrays saved by bridge, loaded by bridge."""
    if format == "npy":
        (name,) = arrays
        bridge.save(path, arrays[name])
        return {name: bridge.load(path)}
    save = {"safetensors": bridge.save_safetensors, "gguf": bridge.save_gguf}
    if format == "npz":
        bridge.savez(path, **arrays)
    else:
        save[format](path, arrays)
    return bridge.load(path)


@pytest.mark.parametrize(("format", "name"), PAIRS)
def test_round_trip_keeps_every_bit(format, name, tmp_path):
    """A dtype that the format holds comes back with its name, shape and bits."""
    for shape in SHAPES:
        array = bits(name, shape)
        back = written(format, tmp_path / f"x.{format}", {"a": bridge.from_(array)})["a"]
        assert back.dtype is DTYPES[name]
        assert same(back, array)


@pytest.mark.parametrize("format", HOLDS)
def test_0d_and_strided_arrays_round_trip(format, tmp_path):
    """A 0-d array, and arrays that are reversed, transposed, sliced or broadcast, come back as they are seen."""
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    seen = [np.float32(3).reshape(()), base[::-1], base.T, base[1:, ::2], np.broadcast_to(base[0], (3, 6))]
    for array in seen:
        a = bridge.from_(base)[::-1] if array is seen[1] else bridge.array(array)
        assert same(
            written(format, tmp_path / f"x.{format}", {"a": a})["a"], np.ascontiguousarray(array).reshape(array.shape)
        )


@pytest.mark.parametrize("name", DTYPES)
def test_compressed_members_round_trip(name, tmp_path):
    """savez_compressed keeps every dtype and bit."""
    array = bits(name, (5, 6))
    bridge.savez_compressed(tmp_path / "x", array=bridge.from_(array), turned=bridge.from_(array).T)
    back = bridge.load(tmp_path / "x.npz", verify=True)
    assert same(back["array"], array)
    assert same(back["turned"], array.T)


@pytest.mark.parametrize(
    ("format", "name"), [(format, name) for format in HOLDS for name in DTYPES if name not in HOLDS[format]]
)
def test_dtypes_without_a_name_are_refused(format, name, tmp_path):
    """A dtype that the format has no name for is a DTypeError that says so, and no file is made."""
    with pytest.raises(bridge.DTypeError, match=f"{format} has no (name|type) for {name}"):
        written(format, tmp_path / f"x.{format}", {"a": bridge.from_(bits(name, (2, 2)))})
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------------- NumPy


@pytest.mark.parametrize("name", DTYPES)
def test_numpy_reads_what_bridge_writes(name, tmp_path):
    """numpy.load gives the same dtype and bits from npy and npz; ml_dtypes' by name, once it is imported."""
    array = bits(name, (4, 6))
    bridge.save(tmp_path / "x", bridge.from_(array))
    bridge.save(tmp_path / "t", bridge.from_(array).T)
    bridge.savez(tmp_path / "z", array=bridge.from_(array))
    bridge.savez_compressed(tmp_path / "c", array=bridge.from_(array))
    assert same(np.load(tmp_path / "x.npy"), array)
    assert same(np.load(tmp_path / "t.npy"), array.T)
    assert same(np.load(tmp_path / "z.npz")["array"], array)
    assert same(np.load(tmp_path / "c.npz")["array"], array)


@pytest.mark.parametrize("name", DTYPES)
def test_bridge_reads_what_numpy_writes(name, tmp_path):
    """numpy.save, savez and savez_compressed; dtypes of ml_dtypes come as anonymous bytes, which dtype= names."""
    array = bits(name, (4, 6))
    np.save(tmp_path / "x.npy", array)
    np.save(tmp_path / "t.npy", array.T)
    np.savez(tmp_path / "z.npz", array=array)
    np.savez_compressed(tmp_path / "c.npz", array=array)
    for dtype in (name, DTYPES[name]):
        assert same(bridge.load(tmp_path / "x.npy", dtype=dtype), array)
    assert same(bridge.load(tmp_path / "t.npy", dtype=name), array.T)
    assert same(bridge.load(tmp_path / "z.npz", dtype=name)["array"], array)
    assert same(bridge.load(tmp_path / "c.npz", dtype=name)["array"], array)


@pytest.mark.parametrize("code", ["i2", "u4", "i8", "f2", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_big_endian_files_are_read(code, order, tmp_path):
    """The other byte order and Fortran's order give the same values in this machine's order."""
    values = np.asarray(np.arange(12).reshape(3, 4), dtype=f">{code}", order=order)
    np.save(tmp_path / "x.npy", values)
    np.savez_compressed(tmp_path / "x.npz", values=values)
    for back in (bridge.load(tmp_path / "x.npy"), bridge.load(tmp_path / "x.npz")["values"]):
        assert same(back, values.astype(f"<{code}"))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_versions_of_npy_are_read(version, tmp_path):
    """Versions 1, 2 and 3 as NumPy writes them."""
    values = np.arange(6.0).reshape(2, 3)
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, values, version=version)
    assert same(bridge.load(tmp_path / "x.npy"), values)


# ---------------------------------------------------------------------------------------------------- safetensors, gguf


@pytest.mark.parametrize("name", sorted(SAFETENSORS))
def test_safetensors_and_torch_read_what_bridge_writes(name, tmp_path):
    """safetensors' own check accepts the file and finds the bytes; torch finds the dtype where it has it."""
    import torch
    from safetensors import deserialize
    from safetensors.torch import load_file

    array = bits(name, (4, 6))
    path = tmp_path / "x.safetensors"
    bridge.save_safetensors(path, {"a": bridge.from_(array)}, {"kept": "as it is"})
    ((found, facts),) = deserialize(path.read_bytes())
    assert (found, facts["shape"]) == ("a", [4, 6])
    if name != "float4_e2m1fn":
        assert bytes(facts["data"]) == array.tobytes()
    tensor = load_file(path)["a"]
    kept = tensor.view(torch.uint8) if tensor.dim() else tensor
    raw = array.tobytes() if name != "float4_e2m1fn" else packed(array)
    assert kept.numpy().tobytes() == raw


def packed(array: np.ndarray) -> bytes:
    flat = array.reshape(-1).view(np.uint8)
    return (flat[0::2] | flat[1::2] << 4).tobytes()


@pytest.mark.parametrize("name", sorted(SAFETENSORS - {"uint16", "uint32", "uint64", "complex64", "float4_e2m1fn"}))
def test_bridge_reads_what_torch_writes(name, tmp_path):
    """safetensors.torch.save_file: dtype and bits, bfloat16 and float8 among them."""
    import torch
    from safetensors.torch import save_file

    array = bits(name, (4, 6))
    raw = torch.from_numpy(array.view(np.uint8).reshape(4, -1))
    tensor = raw.view(getattr(torch, name))
    save_file({"a": tensor, "transposed": tensor.T.contiguous()}, tmp_path / "x.safetensors", {"format": "pt"})
    arrays, metadata = bridge.load(tmp_path / "x.safetensors", return_metadata=True)
    assert same(arrays["a"], array)
    assert same(arrays["transposed"], array.T)
    assert metadata == {"format": "pt"}


def test_bridge_reads_four_bits_of_torch(tmp_path):
    """torch's pairs of four-bit floats become elements: the lower half of a byte first."""
    import torch
    from safetensors.torch import save_file

    raw = torch.arange(12, dtype=torch.uint8).reshape(3, 4)
    save_file({"a": raw.view(torch.float4_e2m1fn_x2)}, tmp_path / "x.safetensors")
    back = bridge.load(tmp_path / "x.safetensors")["a"]
    assert back.shape == (3, 8)
    assert packed(np.asarray(back)) == raw.numpy().tobytes()


@pytest.mark.parametrize("kind", ["numpy", "flax"])
def test_bridge_reads_what_jax_and_numpy_users_write(kind, tmp_path):
    """safetensors.numpy and safetensors.flax."""
    import importlib

    module = importlib.import_module(f"safetensors.{kind}")
    values = {name: bits(name, (4, 6)) for name in ("float32", "int32", "uint8", "bool", "float16")}
    if kind == "flax":
        import jax

        values["bfloat16"] = bits("bfloat16", (4, 6))
        module.save_file(
            {name: jax.numpy.asarray(one) for name, one in values.items()}, str(tmp_path / "x.safetensors")
        )
    else:
        module.save_file(values, tmp_path / "x.safetensors")
    back = bridge.load(tmp_path / "x.safetensors")
    assert back.keys() == values.keys()
    assert all(same(back[name], values[name]) for name in values)


def test_tensorflow_users_files_go_both_ways(tmp_path):
    """safetensors.tensorflow writes what bridge reads, and reads what bridge writes."""
    import tensorflow as tf
    from safetensors.tensorflow import load_file, save_file

    values = {name: bits(name, (4, 6)) for name in ("float32", "int64", "uint8", "bool", "float16")}
    save_file({name: tf.constant(one) for name, one in values.items()}, str(tmp_path / "x.safetensors"))
    back = bridge.load(tmp_path / "x.safetensors")
    assert all(same(back[name], values[name]) for name in values)
    bridge.save_safetensors(tmp_path / "y", back)
    again = load_file(tmp_path / "y.safetensors")
    assert all(again[name].numpy().tobytes() == values[name].tobytes() for name in values)


@pytest.mark.parametrize("name", sorted(GGUF))
def test_gguf_goes_both_ways(name, tmp_path):
    """The package gguf reads what bridge writes and writes what bridge reads, metadata of every type included."""
    import gguf

    array = bits(name, (4, 6))
    bridge.save_gguf(tmp_path / "x", {"a": bridge.from_(array)})
    (tensor,) = gguf.GGUFReader(tmp_path / "x.gguf").tensors
    assert tensor.data.tobytes() == array.tobytes()
    assert tensor.shape.tolist() == [6, 4]

    writer = gguf.GGUFWriter(tmp_path / "y.gguf", "test")
    kind = gguf.GGMLQuantizationType.BF16 if name == "bfloat16" else None
    writer.add_tensor("a", array.view(np.uint8) if kind is not None else array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    back = bridge.load(tmp_path / "y.gguf")["a"]
    assert same(back, array)


SCALARS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "bool"]


def test_metadata_of_every_type_goes_both_ways(tmp_path):
    """Numbers come as arrays of their dtype, text as str, lists of text as lists; gguf's reader finds the same."""
    import gguf

    metadata = {name: bridge.array(1, DTYPES[name]) for name in SCALARS}
    metadata |= {f"{name}s": bridge.array([1, 0, 1], DTYPES[name]) for name in SCALARS}
    metadata |= {"text": "träume", "texts": ["a", "", "ü"], "none": []}
    bridge.save_gguf(tmp_path / "x", {}, metadata)
    _, back = bridge.load(tmp_path / "x.gguf", return_metadata=True)
    assert back.keys() == metadata.keys()
    for key, value in metadata.items():
        if isinstance(value, bridge.array):
            assert same(back[key], np.asarray(value))
        else:
            assert back[key] == value
    fields = gguf.GGUFReader(tmp_path / "x.gguf").fields
    for key, value in metadata.items():
        plain = value.tolist() if isinstance(value, bridge.array) else value
        assert fields[key].contents() == plain or (plain == [] and not fields[key].contents())


def test_mlx_goes_both_ways(tmp_path):
    """MLX reads what bridge writes in all four formats, and bridge what MLX writes."""
    import mlx.core as mx

    values = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.int32)}
    ours = {name: bridge.from_(one) for name, one in values.items()}
    theirs = {name: mx.array(one) for name, one in values.items()}
    extra = {"texts": ["x", "y"], "text": "t", "n": None}
    bridge.save(tmp_path / "o", ours["a"])
    bridge.savez(tmp_path / "o", **ours)
    bridge.savez_compressed(tmp_path / "p", **ours)
    bridge.save_safetensors(tmp_path / "o", ours, {"k": "v"})
    bridge.save_gguf(tmp_path / "o", ours, extra | {"n": bridge.array(3)})
    mx.save(str(tmp_path / "t"), theirs["a"])
    mx.savez(str(tmp_path / "t"), **theirs)
    mx.savez_compressed(str(tmp_path / "u"), **theirs)
    mx.save_safetensors(str(tmp_path / "t"), theirs, {"k": "v"})
    mx.save_gguf(str(tmp_path / "t"), theirs, extra | {"n": mx.array(3)})
    assert same(np.array(mx.load(str(tmp_path / "o.npy"))), values["a"])
    assert same(bridge.load(tmp_path / "t.npy"), values["a"])
    for file in ("o.npz", "p.npz", "o.safetensors", "o.gguf"):
        found = mx.load(str(tmp_path / file))
        assert all(same(np.array(found[name]), values[name]) for name in values)
    for file in ("t.npz", "u.npz", "t.safetensors", "t.gguf"):
        found = bridge.load(tmp_path / file)
        assert all(same(found[name], values[name]) for name in values)
    for load, folder in ((mx.load, "o"), (bridge.load, "t")):
        _, metadata = load(str(tmp_path / f"{folder}.gguf"), return_metadata=True)
        assert (metadata["texts"], metadata["text"], metadata["n"].item()) == (["x", "y"], "t", 3)
        assert load(str(tmp_path / f"{folder}.safetensors"), return_metadata=True)[1] == {"k": "v"}


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q8_0"])
def test_quantised_blocks_are_dequantised_on_request(name, tmp_path):
    """Blocks come as bytes, or as exactly the float32 values that the package gguf makes of them."""
    import gguf

    kind = gguf.GGMLQuantizationType[name]
    values = np.random.default_rng(1).standard_normal((6, 64)).astype(np.float32)
    blocks = gguf.quantize(values, kind)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "test")
    writer.add_tensor("w", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert same(bridge.load(tmp_path / "x.gguf")["w"], blocks)
    assert same(bridge.load(tmp_path / "x.gguf", dequantize=True)["w"], gguf.dequantize(blocks, kind))


def test_other_blocks_are_listed_and_not_guessed(tmp_path):
    """Q6_K comes as the bytes of its blocks, and is refused where values are asked for."""
    import gguf

    kind = gguf.GGMLQuantizationType.Q6_K
    blocks = np.random.default_rng(1).integers(0, 256, (3, 210), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "test")
    writer.add_tensor("w", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert same(bridge.load(tmp_path / "x.gguf")["w"], blocks)
    with pytest.raises(bridge.FormatError, match="tensor 'w': bridge cannot dequantise Q6_K, only Q4_0, Q4_1, Q8_0"):
        bridge.load(tmp_path / "x.gguf", dequantize=True)
