"""Fuzzes the readers: whatever the bytes are, load() gives arrays or raises FormatError.

    python tests/files/fuzz.py FORMAT SECONDS [SEED]      FORMAT: npy, npz, safetensors, gguf or header

Needs bridge, and atheris for coverage of the Python code; without it the same mutations run unguided. "header" is the
parser of safetensors headers by itself, under AddressSanitizer (fuzz_safetensors.cpp). Every input is loaded and every
array evaluated; of safetensors, what the reference library refuses must be refused. Prints the number of executions;
the first input that breaks a rule is written to the current folder and ends the run.
"""

from __future__ import annotations

import contextlib
import io
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
ROOT = HERE.parents[1]
FORMATS = ("npy", "npz", "safetensors", "gguf")

TOKENS = {
    "npy": [b"'descr'", b"'<f4'", b"'|V2'", b"'bfloat16'", b"True", b"()", b"(1,)", b"{", b"}", b"'>c16'", b"'|O'"],
    "npz": [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\xff\xff\xff\xff", b".npy", b"\x08\0", b"../"],
    "safetensors": [
        b'"dtype"',
        b'"shape"',
        b'"data_offsets"',
        b'"F4"',
        b'"BF16"',
        b"[0,4]",
        b"null",
        b"\\ud800",
        b"1e9",
    ],
    "gguf": [
        b"general.alignment",
        b"\x09\0\0\0",
        b"\x08\0\0\0",
        b"\xff" * 8,
        b"\x1e\0\0\0",
        b"\x02\0\0\0",
        b"\x40" + bytes(7),
    ],
}


def load_all(format: str, content: bytes) -> None:
    """Load and evaluate everything. Raises what is no FormatError."""
    import bridge

    accepted = True
    try:
        found = bridge.load(io.BytesIO(content), format=format, dtype="bfloat16" if format in ("npy", "npz") else None)
        bridge.eval(found)
    except bridge.FormatError as error:
        accepted = False
        named = str(error).startswith("[bridge.load] <BytesIO>: ")
    else:
        named = True
    assert named, "the error does not name the file"
    if format == "gguf":
        with contextlib.suppress(bridge.FormatError):
            bridge.eval(bridge.load(io.BytesIO(content), format=format, dequantize=True))
    if format == "safetensors" and accepted:
        from safetensors import deserialize

        deserialize(content)  # raises where the reference library refuses


def repaired(format: str, content: bytes) -> bytes:
    """The header's length, or the archive's checksums, made right: so that mutations come past the first check."""
    if format == "safetensors" and len(content) > 8:
        end = content.rfind(b"}") + 1
        if end > 8:
            return (end - 8).to_bytes(8, "little") + content[8:]
    if format == "npz":
        begin, end = content.find(b"\x93NUMPY"), content.find(b"PK\1\2")
        if 14 < begin < end:
            crc = zlib.crc32(content[begin:end]).to_bytes(4, "little")
            return content[:14] + crc + content[18 : end + 16] + crc + content[end + 20 :]
    if format == "npy" and len(content) > 12:
        end = content.find(b"\n")
        if end > 10:
            return (
                content[:8] + (end - 9).to_bytes(2, "little", signed=False) + content[10:] if end < 65000 else content
            )
    return content


def mutate(format: str, content: bytes, chance: random.Random, corpus: list[bytes], limit: int) -> bytes:
    """A few changes: bits, bytes, pieces, numbers, tokens of the format, halves of other inputs."""
    out = bytearray(content)
    for _ in range(chance.randint(1, 5)):
        at, length = chance.randint(0, len(out)), chance.choice((1, 2, 4, 8, 16))
        kind = chance.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del out[at : at + length]
        elif kind == 2:
            out[at:at] = bytes(chance.randrange(256) for _ in range(length))
        elif kind == 3:
            number = chance.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, chance.randrange(100)))
            width = chance.choice((1, 2, 4, 8))
            out[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
        elif kind == 4:
            token = chance.choice(TOKENS[format])
            out[at : at + (len(token) if chance.random() < 0.5 else 0)] = token
        elif kind == 5:
            out[at:at] = out[chance.randint(0, len(out)) :][:length]
        else:
            other = chance.choice(corpus)
            out[at:] = other[chance.randint(0, len(other)) :]
    changed = bytes(out[:limit])
    return repaired(format, changed) if chance.random() < 0.7 else changed


def seeds(format: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(CORPUS.glob(f"*.{format}"))]


def mutations(format: str, seed: int) -> Iterator[bytes]:
    """Mutations of the corpus, without end."""
    chance, corpus = random.Random(seed), seeds(format)
    while True:
        yield mutate(format, chance.choice(corpus), chance, corpus, 1 << 14)


def unguided(format: str, seconds: float, seed: int) -> int:
    """Mutations without coverage. The number of executions."""
    end = time.monotonic() + seconds
    for count, content in enumerate(mutations(format, seed)):
        if time.monotonic() > end:
            return count
        try:
            load_all(format, content)
        except BaseException:
            Path(f"crash.{format}").write_bytes(content)
            raise
    raise AssertionError("mutations have no end")


def guided(format: str, seconds: float, seed: int) -> None:
    """By atheris; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["bridge.core.io"]):
        import bridge.core.io  # noqa: F401
    corpus, count, begin = seeds(format), 0, time.monotonic()

    def one(content: bytes) -> None:
        nonlocal count
        count += 1
        load_all(format, content)

    def changed(content: bytes, limit: int, chance_seed: int) -> bytes:
        return mutate(format, content, random.Random(chance_seed), corpus, limit)

    folder = tempfile.mkdtemp()
    for i, content in enumerate(corpus):
        Path(folder, str(i)).write_bytes(content)
    options = [f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-max_len=16384", "-rss_limit_mb=3000", "-timeout=20"]
    # libFuzzer ends the process itself, so the count is told by its own last line.
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix=crash.{format}.", folder], one, custom_mutator=changed)
    print(f"{format}: begins at {begin:.0f}", flush=True)
    atheris.Fuzz()


def header(seconds: float, seed: int) -> int:
    """The parser of headers by itself, built with AddressSanitizer and UndefinedBehaviorSanitizer."""
    native = ROOT / "bridge" / "core" / "native" / "safetensors.cpp"
    with tempfile.TemporaryDirectory() as folder:
        parser, program = Path(folder, "parser.o"), Path(folder, "fuzz")
        common = ["g++", "-std=c++20", "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        subprocess.run([*common, "-fsanitize-coverage=trace-pc", "-c", native, "-o", parser], check=True)
        subprocess.run([*common, HERE / "fuzz_safetensors.cpp", parser, "-o", program], check=True)
        inputs = []
        for i, content in enumerate(seeds("safetensors")):
            size = int.from_bytes(content[:8], "little")
            inputs.append(Path(folder, str(i)))
            inputs[-1].write_bytes((len(content) - 8 - size).to_bytes(2, "little") + content[8 : 8 + size])
        return subprocess.run([program, str(seconds), str(seed), *inputs], check=False).returncode


def main() -> int:
    format, seconds = sys.argv[1], float(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    if format == "header":
        return header(seconds, seed)
    assert format in FORMATS, format
    try:
        import atheris  # noqa: F401
    except ImportError:
        print(f"{format}: {unguided(format, seconds, seed)} executions, unguided, no rule broken")
        return 0
    guided(format, seconds, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
