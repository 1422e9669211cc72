"""A test module for another pytest: the suite of every plugin in crates.py. Its name keeps it out of this one."""

from __future__ import annotations

from plugins import crates

from bridge.testing import FrameworkSuite

for _plugin in (*crates.HONEST, *crates.LIARS):
    _one = _plugin()
    _body = {"framework": _one.name, "plugin": _one, "peers": ("numpy", "bridge")}
    globals()[f"Test{_plugin.__name__}"] = type(f"Test{_plugin.__name__}", (FrameworkSuite,), _body)
