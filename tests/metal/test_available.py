"""Without a Metal backend, everything that asks for one says why there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bridge
from bridge import metal


def test_is_not_available():
    """No machine runs Metal in this version, and the reason is a sentence."""
    assert metal.is_available() is False
    assert bridge.metal is metal
    assert metal.reason().endswith(".")


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ("linux", "Metal exists on macOS only; this is Linux"),
        ("win32", "Metal exists on macOS only; this is Windows"),
        ("freebsd14", "Metal exists on macOS only; this is freebsd14"),
        ("darwin", "this version of bridge has no Metal backend"),
    ],
)
def test_reason_is_that_of_the_system(monkeypatch, platform: str, text: str):
    """Elsewhere than on macOS the system is the reason; there, this version is."""
    monkeypatch.setattr(sys, "platform", platform)
    assert text in metal.reason()


def test_work_for_the_gpu_is_refused():
    """`stream=bridge.gpu` raises with the reason and the way on."""
    with pytest.raises(ValueError, match=r"nothing can run on Device\(gpu, 0\): .*Metal") as caught:
        bridge.add(1, 2, stream=bridge.gpu)
    assert metal.reason() in str(caught.value)
    assert "fix:  stream=bridge.cpu" in str(caught.value)


def test_device_info_is_refused():
    """There is no device to tell of."""
    with pytest.raises(bridge.BridgeError, match=r"there is no Metal device: .*Metal"):
        metal.device_info()


def test_asking_imports_no_printer():
    """`bridge.metal` answers without loading what prints kernels."""
    script = "import sys, bridge; bridge.metal.is_available(); print([m for m in sys.modules if 'bridge.metal.' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
