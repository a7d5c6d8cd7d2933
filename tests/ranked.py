"""One of several processes that `test_launch.py` starts: `python -m tests.ranked WHAT FOLDER CODE`.

It imports nothing heavy, so that it is there at once.
"""

import os
import signal
import sys
import time
from pathlib import Path


def main(what, folder):
    rank, received = int(os.environ["RANK"]), []
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, lambda number, frame: received.append(number))
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    (folder / f"{rank}.environment").write_text(repr(dict(os.environ)))
    sys.stdout.write(f"rank {rank} speaks\n")
    sys.stderr.write(f"rank {rank} complains\n")
    if what == "end":
        return 0
    if what == "fail" and rank == 1:
        raise RuntimeError("out of luck")
    if what == "refuse":
        return 2
    if what == "lose" and rank == 0:
        return int(sys.argv[3])
    if what == "lose":
        time.sleep(0.3)  # it takes its time to end, so that the other one is seen to end first
        return 2
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.02)
        if received and what == "stop":
            time.sleep(0.3)  # a second signal would come now
            (folder / f"{rank}.signals").write_text(repr(received))
            return 128 + received[0]
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
