"""`bridge.fast` is the module `bridge.core.ops.fast`; this file is what `import bridge.fast` finds."""

import sys

from bridge.core.ops import fast as _family
from bridge.core.ops.fast import *  # noqa: F403  what type checkers see

sys.modules[__name__] = _family
