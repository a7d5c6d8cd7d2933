"""Every notebook is a slow test: `pytest -m "not slow"` leaves them out.

Each takes seconds, but starts a process of its own and may wait for a busy machine.
"""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.path).suffix == ".ipynb":
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(600))
