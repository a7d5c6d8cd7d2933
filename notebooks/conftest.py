"""Every notebook is a slow test: `pytest -m "not slow"` leaves them out."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.path).suffix == ".ipynb":
            item.add_marker(pytest.mark.slow)
