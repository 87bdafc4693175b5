"""The option that keeps what the views show now."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept",
        action="store_true",
        help="keep what the views show now as what they should (with: pytest tests/golden)",
    )
