"""Threefry-2x32 in NumPy, from the paper (Salmon et al. 2011), and the order in which a key's words are counted."""

from __future__ import annotations

import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: tuple[int, int], first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twenty rounds over pairs of counters."""
    keys = [np.uint32(key[0]), np.uint32(key[1]), np.uint32(0x1BD11BDA ^ key[0] ^ key[1])]
    x0, x1 = first.astype(np.uint32) + keys[0], second.astype(np.uint32) + keys[1]
    for group in range(5):
        for bits in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(bits) | x1 >> np.uint32(32 - bits)) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def words(key: tuple[int, int], n: int) -> np.ndarray:
    """The first half of the words come from the first results, the second half from the second ones."""
    half = n // 2
    at = np.arange(half, dtype=np.uint32)
    low, high = threefry(key, at, at + np.uint32(n - half))
    middle = threefry(key, np.array([half]), np.array([0]))[0][: n % 2]
    return np.concatenate([low, middle, high])


def wide_words(key: tuple[int, int], n: int) -> np.ndarray:
    """64 bits: the words of the key above those of a second key, which is the key's own at the last counters."""
    last = np.array([2**32 - 1])
    second = tuple(int(x[0]) for x in threefry(key, last, last))
    return words(key, n).astype(np.uint64) << np.uint64(32) | words(second, n)
