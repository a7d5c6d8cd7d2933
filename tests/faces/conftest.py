import sys
from pathlib import Path

import pytest

FOLDER = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def fake_faces(monkeypatch):
    """Make the fake generator importable, here and in worker processes."""
    if FOLDER not in sys.path:
        monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("PYTHONPATH", FOLDER)
    import fake_faces

    return fake_faces


@pytest.fixture
def faces(fake_faces):
    return fake_faces.FakeFaces()
