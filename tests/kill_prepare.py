"""Kill preparing processes at random moments and look at what they leave.

`python -m tests.kill_prepare STACK FACES CACHES KILLS SEED` imports everything once and then forks
a process for every attempt. It ends with an assertion if anything is torn, differs or is left over.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

from pixelsmile.data.cache import TensorCache
from pixelsmile.data.ffe import read_ffe
from pixelsmile.prepare import prepare
from tests.tiny_random import SETTINGS, compose


def start(stack, faces, cache):
    """Prepare in a process of its own; return its id."""
    process = os.fork()
    if process == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        overrides = ("name=test", f"model.weights={stack}", f"paths.cache={cache}", *SETTINGS)
        sets = (read_ffe(faces / name) for name in ("train", "val"))
        try:
            prepare(compose(*overrides), *sets)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return process


def contents(cache):
    """Return entries and manifests with their bytes."""
    files = [*cache.glob("??/*"), *cache.glob("manifests/*")]
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}


def main(stack, faces, caches, kills, seed):
    """Kill so many processes, and compare with one that nobody killed."""
    torch.set_num_threads(1)
    chance = random.Random(seed)
    started = time.monotonic()
    _, status = os.waitpid(start(stack, faces, caches / "unbroken"), 0)
    assert status == 0
    seconds = time.monotonic() - started
    expected = contents(caches / "unbroken")
    killed, rounds, seen = 0, 0, set()
    broken = caches / "broken"
    while killed < kills:
        process = start(stack, faces, broken)
        time.sleep(chance.uniform(0.3, 1.0) * seconds)
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        else:
            assert status == 0
            seconds *= 0.8  # it was faster than the one that was timed: the next kill comes earlier
        cache = TensorCache(broken)
        present = cache.stored()
        assert all(key in cache for key in present), "a torn entry has a name"
        seen.add(len(present))
        whole = len(TensorCache(caches / "unbroken").stored())
        if len(present) == whole and killed < kills:
            finish(stack, faces, broken, expected)
            shutil.rmtree(broken)
            rounds += 1
    finish(stack, faces, broken, expected)
    said = f"{killed} kills in {rounds + 1} rounds, entries at the kills: {sorted(seen)}"
    sys.stdout.write(f"{said}\n")


def finish(stack, faces, cache, expected):
    """Prepare undisturbed and compare every byte."""
    _, status = os.waitpid(start(stack, faces, cache), 0)
    assert status == 0
    found = contents(cache)
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    assert found == expected, [name for name in found if found[name] != expected[name]]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), *map(int, sys.argv[4:]))
