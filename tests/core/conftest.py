"""Random examples are the same in every run, and a slow machine is no failure. Every primitive is declared."""

from hypothesis import settings

from bridge.core.ops import load

settings.register_profile("bridge", deadline=None, derandomize=True)
settings.load_profile("bridge")

load()  # tests walk through PRIMITIVES
