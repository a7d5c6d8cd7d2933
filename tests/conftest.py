"""What every test may rely on: no network, no GPU by accident, small fixtures."""

import os
import socket

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

from tests.tiny_random import pipeline, tiny_stack  # noqa: F401 - fixtures for all tests

_connect = socket.socket.connect


def pytest_collection_modifyitems(items):
    for item in items:
        if "weights" in item.keywords and os.environ.get("PIXELSMILE_WEIGHTS") != "1":
            item.add_marker(pytest.mark.skip(reason="set PIXELSMILE_WEIGHTS=1 to use weights"))
        if "gpu" in item.keywords and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def _has_gpu():
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse connections that leave the machine, so that a hidden download fails at once."""

    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0])
            if host not in ("localhost", "::1") and not host.startswith("127."):
                raise RuntimeError(f"A test tried to reach {host}: tests work offline.")
        return _connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def generator():
    """A torch generator with a fixed seed; the global state stays untouched."""
    import torch

    return torch.Generator().manual_seed(0)
