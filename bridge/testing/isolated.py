"""What has to be seen in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

__all__ = ["imports_of"]

_PROGRAM = """
import importlib, sys
import bridge
already = {framework!r} in sys.modules
plugin = importlib.import_module({plugin!r})
for name in dir(plugin):
    hook = getattr(plugin, name)
    if getattr(hook, "bridge_impl", None) and name == "bridge_frameworks":
        list(hook())
print(not already and {framework!r} in sys.modules)
"""


def imports_of(plugin: object, framework: str) -> bool:
    """Whether importing the plugin and asking for its records imports the framework, which `import bridge` does not.

    A plugin that is no module lives in the program that tests it, which has imported everything: False.
    """
    if not isinstance(plugin, ModuleType):
        return False
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = _PROGRAM.format(plugin=plugin.__name__, framework=framework)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise AssertionError(f"a fresh interpreter cannot import {plugin.__name__}:\n{done.stderr}")
    return done.stdout.strip() == "True"
