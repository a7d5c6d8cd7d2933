"""Small images, and judges that ask the server of `server.py`."""

import io

import pytest
from PIL import Image

from pixelsmile.judges.base import JudgeRequest
from pixelsmile.judges.costs import Prices
from pixelsmile.judges.pace import Pace
from pixelsmile.judges.remote import RemoteJudge
from tests.judges.server import KEY, serving


def png(number, size=8):
    """Return the bytes of a small image of its own colour."""
    stream = io.BytesIO()
    colour = (number % 256, number // 256 % 256, 7)
    Image.new("RGB", (size, size), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def requests():
    """Five images."""
    return [JudgeRequest(png(number), f"face_{number}") for number in range(5)]


@pytest.fixture(scope="session")
def _server():
    with serving() as server:
        yield server


@pytest.fixture
def server(_server, monkeypatch):
    """The server, set to answer well; the environment has its key and no other."""
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    for name in ("GOOGLE_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    _server.reset()
    return _server


QUICK = {"first_wait": 0.01, "longest_wait": 0.05, "timeout": 5.0}


def openai_judge(server, ledger, *, prices=None, options=None, base_url=None, **pace):
    from pixelsmile.judges.openai_client import OpenAIService

    url = base_url or f"{server.url}/v1"
    service = OpenAIService("face-7b", base_url=url, options=options)
    return RemoteJudge(service, ledger=ledger, pace=Pace(**QUICK | pace), prices=prices or Prices())


def gemini_judge(server, ledger, *, prices=None, options=None, base_url=None, **pace):
    from pixelsmile.judges.gemini_client import GeminiService

    service = GeminiService("face-pro", base_url=base_url or server.url, options=options)
    return RemoteJudge(service, ledger=ledger, pace=Pace(**QUICK | pace), prices=prices or Prices())
