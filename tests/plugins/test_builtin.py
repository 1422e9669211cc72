"""The built-in plugins keep the contract that they ask of every other."""

from __future__ import annotations

from bridge.testing import FrameworkSuite


class TestNumpy(FrameworkSuite):
    framework = "numpy"


class TestTorch(FrameworkSuite):
    framework = "torch"


class TestJax(FrameworkSuite):
    framework = "jax"


class TestTensorflow(FrameworkSuite):
    framework = "tensorflow"


class TestBridge(FrameworkSuite):
    framework = "bridge"
