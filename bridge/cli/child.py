"""Modules of this package, run in a process of their own."""

from __future__ import annotations

import sys

__all__ = ["command"]


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` where it finds what this process finds.

    `python -m` would look into the working directory first, which may hold another bridge than the one that runs: the
    sources that an installed one was built from.
    """
    program = f"import runpy, sys; sys.path[:] = {sys.path!r}; runpy.run_module({module!r}, None, '__main__', True)"
    return [sys.executable, "-P", "-c", program, *arguments]
