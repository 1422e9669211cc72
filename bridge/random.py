"""`bridge.random` is the module `bridge.core.ops.random`; this file is what `import bridge.random` finds."""

import sys

from bridge.core.ops import random as _family
from bridge.core.ops.random import *  # noqa: F403  what type checkers see

sys.modules[__name__] = _family
