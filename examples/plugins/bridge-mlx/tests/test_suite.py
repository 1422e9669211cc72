"""The contract that bridge asks of every framework, for MLX."""

from bridge.testing import FrameworkSuite


class TestMlx(FrameworkSuite):
    framework = "mlx"
