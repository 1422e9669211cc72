"""The engine: arrays, ops, memory and the exchange with other frameworks. `import bridge` is the way in."""

from bridge.core import _native as _native  # before NumPy: where it cannot work, it says why
