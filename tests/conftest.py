"""Options of the whole suite. pytest reads options only from the top of the tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--interop-json", metavar="FILE", help="write the number of hand-overs by outcome to FILE")
