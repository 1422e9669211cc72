"""Files: npy, npz, safetensors and gguf, read lazily over a memory map and written atomically.

    api.py          load() and the save functions: what users call
    files.py        a file as its readers see it: bytes at an offset, and arrays over them
    writing.py      atomic replacement of a file
    npy.py  npz.py  safetensors.py  gguf.py     one format each: a reader and a writer
    archive.py      the directory of a zip file, believed only where two places say the same
    packed.py       elements of less than a byte, and gguf's quantised blocks
    listing.py      what `python -m bridge inspect` shows

A reader trusts nothing: what is wrong with a file is a FormatError that names the file, the tensor and the fault.
`import bridge` does not import this package; the first use of one of its names does.
"""

from bridge.core.io.api import load, save, save_gguf, save_safetensors, savez, savez_compressed

__all__ = ["load", "save", "save_gguf", "save_safetensors", "savez", "savez_compressed"]
