"""Files that are damaged, or lie, or mean harm: what each is, and the error that says so.

tools/make_damaged.py loads each and writes the errors down in docs/damaged-files.md; test_damaged.py holds them to it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from files.builders import Member, archive, entry, gguf, info, npy, safetensors, tensor, text


@dataclass(frozen=True)
class Damaged:
    """A file that is refused, when it is loaded or, where only the bytes tell, when its array is used."""

    format: str
    what: str
    content: bytes


def zeros(n: int) -> bytes:
    return npy("'|u1'", f"({n},)", bytes(n))


def bomb() -> bytes:
    """The sizes of two members of 2 GiB of zeros; the bytes do not matter."""
    return archive([Member(name, method=8, stored=bytes(2 << 20), size=2 << 30) for name in ("a.npy", "b.npy")])


def deflated(content: bytes) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return pack.compress(content) + pack.flush()


MANY = zeros(5000)
ONE = {"a": tensor()}
DATA = bytes(24)
DEEP = '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24],"x":' + "[" * 200 + "]" * 200 + "}}"

TWICE = '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}'


NPY = [
    ("empty file", b""),
    ("not npy at all", b"not an array at all"),
    ("cut inside the magic", b"\x93NUMPY\x01\x00"),
    ("cut inside the header", npy()[:40]),
    ("cut inside the data", npy()[:-5]),
    ("version 4", npy(version=(4, 0))),
    ("version 1.1", npy(version=(1, 1))),
    ("header longer than the file", npy(length=60000)),
    ("enormous header", npy(version=(2, 0), length=0xFFFFFFF0)),
    ("header no UTF-8 (version 3)", npy(version=(3, 0)).replace(b"descr", b"d\xffscr")),
    ("header is an expression", npy(text="__import__('os').system('true')")),
    ("header nested deeply", npy(text="{'descr': " + "(" * 5000)),
    ("entry missing", npy(text="{'descr': '<f4', 'shape': (2, 3)}")),
    ("entry twice", npy(text="{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (3,)}")),
    ("entry unknown", npy(text="{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}")),
    ("text after the header's end", npy(text="{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} + 1")),
    ("pickled objects", npy("'|O'")),
    ("strings", npy("'<U5'")),
    ("byte strings", npy("'|S5'")),
    ("dates", npy("'<M8[ns]'")),
    ("records", npy("[('x', '<f4'), ('y', '<i4')]")),
    ("long double", npy("'<f16'")),
    ("unknown dtype", npy("'<q9'")),
    ("bytes of no named dtype", npy("'<V2'", "(12,)")),
    ("negative extent", npy(shape="(-1, 3)")),
    ("extent no number", npy(shape="(2, x)")),
    ("shape is a number", npy(shape="6")),
    ("extents beyond 64 bits", npy(shape="(99999999999999999999, 9)")),
    ("product of extents overflows", npy(shape="(4294967296, 4294967296)")),
    ("empty, of extents that overflow", npy(shape="(0, 4611686018427387904, 4)", data=b"")),
    ("33 axes", npy(shape=str((1,) * 33), data=bytes(4))),
    ("fortran_order no flag", npy(order="None")),
]  # fmt: skip

NPZ = [
    ("no zip file", b"PK\3\4 and then nothing"),
    ("cut off", archive([Member()])[:-30]),
    ("entry count too large", archive([Member()], count=2)),
    ("entry count too small", archive([Member(), Member("b.npy")], count=1)),
    ("directory of another size", archive([Member()], directory_size=10)),
    ("one disk of several", archive([Member()], disk=3)),
    ("bytes after the end", archive([Member()], tail=b"x")),
    ("encrypted member", archive([Member(flags=1)])),
    ("compressed by LZMA", archive([Member(method=14)])),
    ("two members of one name", archive([Member(), Member()])),
    ("overlapping members", archive([Member(content=archive([Member("b.npy")])[:-73]), Member("b.npy", at=35)])),
    ("two members at one place", archive([Member(), Member("b.npy", at=0)])),
    ("member beyond the file", archive([Member(at=1 << 30)])),
    ("member in the middle of another", archive([Member(), Member("b.npy", at=7)])),
    ("another name in its own header", archive([Member(local_name="b.npy")])),
    ("another size in its own header", archive([Member(local_size=10**6)])),
    ("encrypted by its own header", archive([Member(local_flags=1)])),
    ("name leaves the folder", archive([Member("../a.npy")])),
    ("absolute name", archive([Member("/etc/a.npy")])),
    ("name with a drive", archive([Member("c:/a.npy")])),
    ("no npy file", archive([Member("a.txt", b"hello")])),
    ("member is no npy", archive([Member(content=b"hello world, this is no array")])),
    ("header says more than there is", archive([Member(content=npy(shape="(200, 300)"))])),
    ("header says less than there is", archive([Member(content=npy(shape="(1, 3)"))])),
    ("pickled member", archive([Member(content=npy("'|O'"))])),
    ("compressed bytes damaged", archive([Member(method=8, stored=b"\xff\xff\xff\xff", size=152)])),
    ("expands further than deflate can", archive([Member(method=8, content=zeros(100), size=1 << 31)])),
    ("two sizes of a stored member", archive([Member(size=1 << 20)])),
    ("compressed bytes end too early", archive([Member(content=MANY, method=8, stored=deflated(MANY)[:-9])])),
    ("compressed bytes are more than said", archive([Member(content=MANY, method=8, stored=deflated(zeros(6000)))])),
    ("compressed bytes are fewer than said", archive([Member(content=MANY, method=8, stored=deflated(zeros(4000)))])),
    ("bytes after the compressed ones", archive([Member(content=MANY, method=8, stored=deflated(MANY) + b"x")])),
    ("checksum of a compressed member", archive([Member(content=MANY, method=8, crc=1)])),
    ("checksum of a stored member that is copied", archive([Member(crc=1)])),
    ("4 MiB that expand to 4 GiB", bomb()),
]  # fmt: skip

SAFETENSORS = [
    ("empty file", b""),
    ("cut inside the length", b"\1\0\0"),
    ("header longer than the file", safetensors(ONE, DATA, length=10**6)),
    ("header of 18 EB", safetensors(ONE, DATA, length=2**64 - 1)),
    ("header of 100 MB and a byte", safetensors(ONE, DATA, length=100_000_001)),
    ("header no UTF-8", safetensors(b'{"\xff":1}')),
    ("header no JSON", safetensors("hello")),
    ("header begins with a space", safetensors(" {}")),
    ("JSON cut off", safetensors('{"a":{"dtype":"F32"')),
    ("JSON goes on", safetensors("{}{}")),
    ("JSON nested deeply", safetensors(DEEP, DATA)),
    ("control character in a name", safetensors('{"a\n":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', bytes(4))),
    ("half a surrogate pair", safetensors('{"\\ud800":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', bytes(4))),
    ("two tensors of one name", safetensors(TWICE, bytes(2))),
    ("two metadata entries of one name", safetensors('{"__metadata__":{"k":"1","k":"2"}}')),
    ("metadata twice", safetensors('{"__metadata__":{},"__metadata__":{}}')),
    ("metadata no text", safetensors({"__metadata__": {"k": 1}})),
    ("no dtype", safetensors({"a": {"shape": [1], "data_offsets": [0, 4]}}, bytes(4))),
    ("no shape", safetensors({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4))),
    ("no offsets", safetensors({"a": {"dtype": "F32", "shape": [1]}}, bytes(4))),
    ("unknown dtype", safetensors({"a": tensor(dtype="F128")}, DATA)),
    ("dtype that bridge has not", safetensors({"a": tensor(0, 3, (4,), "F6_E2M3")}, bytes(3))),
    ("negative extent", safetensors({"a": tensor(shape=(-2, 3))}, DATA)),
    ("extent no whole number", safetensors('{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,24]}}', DATA)),
    ("extent beyond 64 bits", safetensors({"a": tensor(shape=(2**64,))}, DATA)),
    ("product of extents overflows", safetensors({"a": tensor(shape=(2**40, 2**40))}, DATA)),
    ("offsets of another size", safetensors({"a": tensor(end=20)}, bytes(20))),
    ("offsets backwards", safetensors({"a": tensor(24, 0)}, DATA)),
    ("beyond the end", safetensors({"a": tensor()}, bytes(20))),
    ("overlap", safetensors({"a": tensor(), "b": tensor(12, 36)}, bytes(36))),
    ("the same bytes twice", safetensors({"a": tensor(), "b": tensor()}, DATA)),
    ("hole before the first", safetensors({"a": tensor(8, 32)}, bytes(32))),
    ("hole between two", safetensors({"a": tensor(), "b": tensor(32, 56)}, bytes(56))),
    ("bytes after the last", safetensors(ONE, bytes(25))),
    ("no whole bytes", safetensors({"a": tensor(0, 2, (3,), "F4")}, bytes(2))),
    ("empty, of extents that overflow", safetensors({"a": tensor(0, 0, (0, 2**62, 4))})),
    ("33 axes", safetensors({"a": tensor(0, 4, (1,) * 33)}, bytes(4))),
]  # fmt: skip

GGUF = [
    ("empty file", b""),
    ("not gguf", b"GGML" + bytes(60)),
    ("version 1", gguf(version=1)),
    ("version 4", gguf(version=4)),
    ("big-endian", gguf(version=3 << 24)),
    ("cut inside the header", gguf([info()])[:50]),
    ("cut inside the data", gguf([info()])[:-1]),
    ("10^18 tensors", gguf(n_infos=10**18)),
    ("10^18 metadata entries", gguf(n_entries=10**18)),
    ("name longer than the file", gguf([struct.pack("<Q", 2**63) + b"a"])),
    ("name no UTF-8", gguf([info(b"\xff")])),
    ("two tensors of one name", gguf([info(offset=0), info(offset=32)], data=bytes(64))),
    ("two metadata entries of one key", gguf(entries=[entry("k", 0, b"\1"), entry("k", 0, b"\2")])),
    ("unknown type of a tensor", gguf([info(kind=99)])),
    ("type that ggml removed", gguf([info(kind=4)])),
    ("unknown type of metadata", gguf(entries=[entry("k", 77, b"\0")])),
    ("bool that is 2", gguf(entries=[entry("k", 7, b"\2")])),
    ("text no UTF-8", gguf(entries=[entry("k", 8, text(b"\xff"))])),
    ("array longer than the file", gguf(entries=[entry("k", 9, struct.pack("<IQ", 10, 2**61))])),
    ("texts more than the file has", gguf(entries=[entry("k", 9, struct.pack("<IQ", 8, 2**61))])),
    ("arrays nested deeply", gguf(entries=[entry("k", 9, struct.pack("<IQ", 9, 1) * 50)])),
    ("five axes", gguf([info(dims=(1,) * 5)])),
    ("2^32 axes", gguf([text("a") + struct.pack("<I", 0xFFFFFFFF)])),
    ("product of extents overflows", gguf([info(dims=(2**40, 2**40))])),
    ("empty, of extents that overflow", gguf([info(dims=(0, 2**62, 4))])),
    ("beyond the end", gguf([info(offset=1 << 20)])),
    ("offset not aligned", gguf([info(offset=4)])),
    ("offset beyond 63 bits", gguf([info(offset=2**64 - 32)])),
    ("overlap", gguf([info("a", (16,)), info("b", (16,), offset=32)], data=bytes(96))),
    ("alignment 0", gguf([info()], [entry("general.alignment", 4, bytes(4))])),
    ("alignment 48", gguf([info()], [entry("general.alignment", 4, struct.pack("<I", 48))])),
    ("alignment no uint32", gguf([info()], [entry("general.alignment", 8, text("32"))])),
    ("row of half a block", gguf([info(dims=(48,), kind=2)], data=bytes(64))),
]  # fmt: skip

DAMAGED = [
    Damaged(format, what, content)
    for format, cases in (("npy", NPY), ("npz", NPZ), ("safetensors", SAFETENSORS), ("gguf", GGUF))
    for what, content in cases
]
