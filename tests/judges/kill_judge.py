"""Judge in a process that is killed three times and started again.

`python -m tests.judges.kill_judge URL IMAGES LEDGER REPEATS` imports everything once and forks for
every start. A kill comes when a quarter more of the answers are there, whatever is under way.
"""

import os
import signal
import sys
import time
from pathlib import Path

from pixelsmile.judges.base import JudgeRequest
from pixelsmile.judges.noise import repeated
from tests.judges.conftest import openai_judge

KILLS = 3


class Place:
    """What `openai_judge` needs to know of a server."""

    def __init__(self, url):
        self.url = url


def judge(url, images, ledger, repeats):
    """Judge in a process of its own; return its id."""
    process = os.fork()
    if process == 0:
        try:
            requests = [JudgeRequest(path, path.name) for path in sorted(images.iterdir())]
            asked = openai_judge(Place(url), ledger, timeout=3.0).judge_files(
                repeated(requests, repeats)
            )
            assert sum(1 for _ in asked) == len(requests) * repeats
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return process


def lines(ledger):
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def main(url, images, ledger, repeats):
    whole = len(list(images.iterdir())) * repeats
    for kill in range(1, KILLS + 1):
        process = judge(url, images, ledger, repeats)
        while lines(ledger) < whole * kill // (KILLS + 1):
            assert os.waitpid(process, os.WNOHANG) == (0, 0), "it ended before the kill"
            time.sleep(0.002)
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status)
        sys.stdout.write("killed\n")
    _, status = os.waitpid(judge(url, images, ledger, repeats), 0)
    assert status == 0
    sys.stdout.write("finished\n")


if __name__ == "__main__":
    import openai  # noqa: F401 - before the forks

    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
