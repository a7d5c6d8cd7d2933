"""Kill editing processes at random moments and look at what they leave.

`python -m tests.kill_edit FOLDER KILLS SEED` imports everything once and then forks a process for
every attempt. It ends with an assertion if a picture is torn, differs or is left over.
"""

import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console

from pixelsmile.edit import run_batch
from pixelsmile.editing.batch import Batch
from pixelsmile.editing.facts import read_facts
from pixelsmile.editing.levels import Strengths
from pixelsmile.editing.requests import read_mixes
from pixelsmile.editing.settings import Settings
from tests.editing.stand_in import Finder, StandIn


def edit(images, out):
    """Edit in this process."""
    batch = Batch(
        lambda: StandIn(seconds=0.01),
        Finder((5, 5, 90, 90)),
        Settings(gif=True, mp4=True),
        read_mixes(["happy", "sad"], None),
        Strengths([0, 0.5, 1]),
        model={"model_hash": "stand-in"},
        edge=96,
        say=lambda text: None,
    )
    with open(os.devnull, "w") as silence:
        outcomes = run_batch(batch, images, out, Console(file=silence))
    assert all(outcome[-1] is None for outcome in outcomes), outcomes


def start(images, out):
    """Edit in a process of its own; return its id."""
    process = os.fork()
    if process == 0:
        try:
            edit(images, out)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return process


def contents(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*")}


def main(folder, kills, seed):
    """Kill so many processes, and compare with one that nobody killed."""
    torch.set_num_threads(1)
    chance = random.Random(seed)
    images = [folder / f"{number}.png" for number in range(4)]
    for number, image in enumerate(images):
        Image.effect_noise((400 + number, 300), 60).convert("RGB").save(image)
    started = time.monotonic()
    edit(images, folder / "unbroken")
    seconds = time.monotonic() - started
    expected = contents(folder / "unbroken")
    seen = []
    for _ in range(kills):
        process = start(images, folder / "broken")
        time.sleep(chance.uniform(0.03, 0.2) * seconds)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        found = contents(folder / "broken")
        whole = {name: data for name, data in found.items() if not is_partial(name)}
        assert all(expected[name] == data for name, data in whole.items()), "a torn file has a name"
        seen.append(len(whole))
    _, status = os.waitpid(start(images, folder / "broken"), 0)
    assert status == 0
    assert contents(folder / "broken") == expected
    assert read_facts(folder / "broken" / "0" / "happy_1.png")["settings"]["strength"] == 1
    sys.stdout.write(f"{kills} kills, whole files after each: {seen} of {len(expected)}\n")


def is_partial(name):
    return re.search(r"/\.[^/]+\.[0-9a-f]{8}$", name) is not None


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
