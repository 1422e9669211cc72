"""The contract that bridge asks of every framework, for Arrow."""

from bridge.testing import FrameworkSuite


class TestArrow(FrameworkSuite):
    framework = "arrow"
