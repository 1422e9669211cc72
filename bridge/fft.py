"""`bridge.fft` is the module `bridge.core.ops.fft`; this file is what `import bridge.fft` finds."""

import sys

from bridge.core.ops import fft as _family
from bridge.core.ops.fft import *  # noqa: F403  what type checkers see

sys.modules[__name__] = _family
