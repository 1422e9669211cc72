"""`python -m bridge inspect FILE`: what a file holds, on the terminal, without its data."""

import json
import os

import numpy as np
import pytest
from files.builders import entry, gguf, info, safetensors, tensor, text

import bridge
from bridge.cli import main


def test_rows_show_dtype_shape_and_size(tmp_path, capsys):
    """One line an array, in the order of the file, and the metadata after them."""
    path = tmp_path / "x.safetensors"
    arrays = {"w": bridge.zeros((300, 100)), "half": bridge.ones((2,), bridge.bfloat16)}
    bridge.save_safetensors(path, arrays, {"format": "pt"})
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{path}: safetensors, 117 KiB, 2 arrays of 117 KiB",
        "  w     float32   [300, 100]  117 KiB",
        "  half  bfloat16  [2]             4 B",
        "metadata",
        "  format: 'pt'",
    ]


@pytest.mark.parametrize("format", ["npy", "npz", "safetensors", "gguf"])
def test_every_format_has_a_listing(format, tmp_path, capsys):
    """The same array in each format; --json says the same."""
    path, a = tmp_path / f"x.{format}", bridge.zeros((3, 4), bridge.int32)
    {
        "npy": lambda: bridge.save(path, a),
        "npz": lambda: bridge.savez_compressed(path, a=a),
        "safetensors": lambda: bridge.save_safetensors(path, {"a": a}),
        "gguf": lambda: bridge.save_gguf(
            path, {"a": a}, {"n": bridge.arange(9), "t": ["x"] * 9, "one": bridge.array(1.5)}
        ),
    }[format]()
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "int32" in shown
    assert "[3, 4]" in shown
    assert main(["inspect", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == format
    (row,) = found["rows"]
    assert (row["dtype"], row["shape"], row["nbytes"]) == ("int32", [3, 4], 48)
    if format == "gguf":
        assert found["metadata"] == {
            "n": "[0, 1, 2, 3, ...] (int32[9])",
            "t": "['x', 'x', 'x', 'x', ...] (9)",
            "one": "1.5 (float32)",
        }


def test_quantised_and_anonymous_arrays_are_listed_with_their_type(tmp_path, capsys):
    """Blocks by their name, unnamed bytes as such, byte order and compression as notes."""
    (tmp_path / "q.gguf").write_bytes(gguf([info("w", (256, 2), 14)], data=bytes(420)))
    import ml_dtypes

    np.save(tmp_path / "v.npy", np.zeros(3, ml_dtypes.bfloat16))
    np.savez_compressed(tmp_path / "z.npz", a=np.zeros((50, 50), ">f4"))
    for name in ("q.gguf", "v.npy", "z.npz"):
        assert main(["inspect", str(tmp_path / name)]) == 0
    shown = capsys.readouterr().out
    assert "Q6_K" in shown
    assert "quantised" in shown
    assert "of a dtype that the file does not name" in shown
    assert "compressed to" in shown
    assert "big-endian" in shown


def test_hostile_names_are_escaped(tmp_path, capsys):
    """Names, keys and texts reach the terminal without control characters."""
    evil = "\x1b[31mred\x07\n\u202e"
    (tmp_path / "a.safetensors").write_bytes(
        safetensors({evil: tensor(), "__metadata__": {evil: evil * 100}}, bytes(24))
    )
    (tmp_path / "b.gguf").write_bytes(gguf([info(evil)], [entry(evil, 8, text(evil))]))
    for name in ("a.safetensors", "b.gguf"):
        assert main(["inspect", str(tmp_path / name)]) == 0
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.splitlines())
    assert r"\x1b[31mred\x07\n\u202e" in shown


def test_damaged_and_missing_files_are_exit_status_1(tmp_path, capsys):
    """The text is on the error output."""
    (tmp_path / "x.npy").write_bytes(b"no")
    assert main(["inspect", str(tmp_path / "x.npy")]) == 1
    assert "it does not begin as npy does" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "none.npy")]) == 1
    assert "none.npy" in capsys.readouterr().err


def test_no_data_is_read(tmp_path, capsys):
    """A file of 100 GB that is nothing but a hole is listed at once."""
    path = tmp_path / "x.npy"
    bridge.save(path, bridge.zeros((12345678901 % 1000,)))
    head = path.read_bytes()[:128].replace(b"(901,), }" + b" " * 10, b"(25000000000,), }  ")
    path.write_bytes(head)
    os.truncate(path, 128 + 100_000_000_000)
    assert main(["inspect", str(path)]) == 0
    assert "[25000000000]" in capsys.readouterr().out
