"""The commands of `python -m bridge`. `import bridge` never imports this package."""

from bridge.cli.commands import main

__all__ = ["main"]
