"""`bridge.linalg` is the module `bridge.core.ops.linalg`; this file is what `import bridge.linalg` finds."""

import sys

from bridge.core.ops import linalg as _family
from bridge.core.ops.linalg import *  # noqa: F403  what type checkers see

sys.modules[__name__] = _family
