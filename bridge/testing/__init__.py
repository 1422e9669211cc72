"""The contract between bridge and a framework, as tests that the author of a plugin inherits.

    from bridge.testing import FrameworkSuite

    class TestColumns(FrameworkSuite):
        framework = "columns"

Run them with pytest. docs/plugins.md says what they check.
"""

from bridge.testing.suite import FrameworkSuite

__all__ = ["FrameworkSuite"]
