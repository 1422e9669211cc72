"""Damaged, lying and hostile files: an error that says what is wrong, never a wrong array or the process's end."""

import itertools
import re
from pathlib import Path

import pytest
from files import fuzz
from files.damaged import DAMAGED, Damaged

import bridge

PAGE = Path(__file__).resolve().parents[2] / "docs" / "damaged-files.md"
ROW = re.compile(r"^\| (?P<what>.*?) \| (?P<error>.*) \|$", flags=re.MULTILINE)


def expected() -> dict[tuple[str, str], str]:
    """The errors as the page has them."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {(part.split("\n", 1)[0], row["what"]): row["error"] for part in sections for row in ROW.finditer(part)}


ERRORS = expected()
OVERFLOW = "empty, of extents that overflow"


@pytest.mark.parametrize("case", DAMAGED, ids=lambda case: f"{case.format}-{case.what}")
def test_error_is_the_one_on_the_page(case: Damaged, tmp_path):
    """Each file raises FormatError, with the text that docs/damaged-files.md shows; it names the file."""
    path = tmp_path / f"x.{case.format}"
    path.write_bytes(case.content)
    with pytest.raises(bridge.FormatError, match=re.escape(f"[bridge.load] {path}: ")) as caught:
        bridge.eval(bridge.load(path))
    text = str(caught.value).splitlines()[0].removeprefix(f"[bridge.load] {path}: ")
    assert text == ERRORS[case.format, case.what].replace("\\|", "|")


def test_error_is_a_value_error():
    """Who catches ValueError, as MLX and NumPy raise it, catches a FormatError."""
    assert issubclass(bridge.FormatError, ValueError)
    assert issubclass(bridge.FormatError, bridge.BridgeError)


@pytest.mark.parametrize("case", [one for one in DAMAGED if one.format == "safetensors"], ids=lambda case: case.what)
def test_reference_library_refuses_no_file_that_is_taken(case: Damaged):
    """What safetensors' own library refuses, bridge refuses: these are refused by bridge, and most of them by both."""
    from safetensors import SafetensorError, deserialize

    ours_alone = {
        *("two metadata entries of one name", "33 axes", "dtype that bridge has not", OVERFLOW),
        "header begins with a space",  # against the format's description
    }
    if case.what in ours_alone:
        deserialize(case.content)
        return
    with pytest.raises((SafetensorError, ValueError, OverflowError), match=r"."):
        deserialize(case.content)


@pytest.mark.parametrize("format", ["npy", "npz", "safetensors", "gguf"])
def test_every_prefix_is_refused(format, tmp_path):
    """A file that was cut off anywhere is refused, at each of its lengths."""
    path = tmp_path / f"x.{format}"
    a = bridge.array([[1.0, 2.0, 3.0]])
    saves = {
        "npy": lambda: bridge.save(path, a),
        "npz": lambda: bridge.savez_compressed(path, a=a),
        "safetensors": lambda: bridge.save_safetensors(path, {"a": a}, {"k": "v"}),
        "gguf": lambda: bridge.save_gguf(path, {"a": a}, {"k": "v", "n": bridge.array([1, 2])}),
    }
    saves[format]()
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) if format == "gguf" else len(whole)
    for length in range(end):
        path.write_bytes(whole[:length])
        with pytest.raises(bridge.FormatError, match=re.escape(str(path))):
            bridge.eval(bridge.load(path))


def test_names_in_errors_are_escaped(tmp_path):
    """What a file calls its tensors cannot reach the terminal as control characters, nor fill it."""
    from files.builders import safetensors, tensor

    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors({"\x1b[2J" + "x" * 1000: tensor(end=20)}, bytes(20)))
    with pytest.raises(bridge.FormatError, match=r"tensor '.x1b") as caught:
        bridge.load(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400 + len(str(path))


def test_larger_archives_of_zeros_load_when_it_is_meant(tmp_path, monkeypatch):
    """max_ratio= lets an archive through that expands like a bomb."""
    monkeypatch.setattr("bridge.core.io.archive._HARMLESS", 1000)
    path = tmp_path / "x.npz"
    bridge.savez_compressed(path, a=bridge.zeros((100_000,)))
    with pytest.raises(bridge.FormatError, match=r"as those of a bomb do[^$]*max_ratio="):
        bridge.load(path)
    assert bridge.load(path, max_ratio=2000)["a"].sum().item() == 0


@pytest.mark.parametrize("format", ["npy", "npz", "safetensors", "gguf"])
def test_the_corpus_loads_and_its_mutations_do_no_harm(format):
    """The fuzzers' corpus is taken; a thousand mutations of it are taken or refused (fuzz.py tries millions)."""
    for path in sorted(fuzz.CORPUS.glob(f"*.{format}")):
        found = bridge.load(path, dtype="bfloat16")
        bridge.eval(found)
    for content in itertools.islice(fuzz.mutations(format, 5), 1000):
        fuzz.load_all(format, content)
