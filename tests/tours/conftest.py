"""The option that writes the tours anew."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept-tours",
        action="store_true",
        help="write into the tours what the commands print now (with: pytest tests/tours)",
    )
