"""Do many runs side by side: processes that log to files, stop in order, never outlive us."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from pixelsmile.errors import friendly
from pixelsmile.signals import StopSignals
from pixelsmile.workers import available

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LOG_END = 2000
"""Characters of a log that are looked at for the reason of a failure."""


@dataclass(frozen=True)
class Run:
    """One training of one row.

    Attributes:
        name: Of its folder.
        folder: Of the run, with metrics.json once it is finished.
        log: Receives what the training prints.
        overrides: Of the training's config.
    """

    name: str
    folder: Path
    log: Path
    overrides: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether everything of it is on disk."""
        return (self.folder / "metrics.json").is_file()


@dataclass(frozen=True)
class Ended:
    """How one start of a run ended.

    Attributes:
        run: The run.
        code: Exit code of its process, 0 if it finished.
        seconds: How long this start took.
    """

    run: Run
    code: int
    seconds: float

    @property
    def reason(self) -> str:
        """The last line of the log."""
        lines = self.run.log.read_text(errors="replace")[-_LOG_END:].strip().splitlines()
        return lines[-1] if lines else f"exit code {self.code}"


Work = Callable[[Run], None]
"""Does one run in a process of its own; must be picklable."""


def train_all(
    runs: Sequence[Run],
    work: Work,
    *,
    workers: int,
    begin: Callable[[Run], None] = lambda run: None,
    gpus: Sequence[str] = (),
) -> Iterator[Ended]:
    """Do runs side by side, in order, and yield how each ended; one that fails stops no other.

    A signal to this process is passed on, and the runs save themselves before it ends. If it is
    killed outright they notice, and do the same.

    Args:
        runs: What to do.
        work: How.
        workers: Runs at a time. The cores are divided among them.
        begin: Called before a run is started.
        gpus: Names of the GPUs, which the workers take in turn; with one or none all see the same.

    Raises:
        Stopped: If a signal asked for it.
    """
    context = multiprocessing.get_context("spawn")
    waiting, free = list(runs), list(range(workers))
    active: dict[int, tuple[Run, BaseProcess, float, int]] = {}
    with StopSignals():
        try:
            while waiting or active:
                while waiting and free:
                    run, slot = waiting.pop(0), free.pop(0)
                    begin(run)
                    gpu = gpus[slot % len(gpus)] if len(gpus) > 1 else None
                    process = context.Process(target=_start, args=(work, run, gpu), name=run.name)
                    with _threads(max(1, available() // workers)):
                        process.start()
                    active[process.sentinel] = (run, process, time.monotonic(), slot)
                for sentinel in wait(list(active)):
                    assert isinstance(sentinel, int)
                    run, process, started, slot = active.pop(sentinel)
                    process.join()
                    free.append(slot)
                    ended = Ended(run, process.exitcode or 0, time.monotonic() - started)
                    _note(ended)
                    yield ended
        finally:
            processes = [process for _, process, _, _ in active.values()]
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()


def gpu_names(count: int) -> list[str]:
    """Return the names of the GPUs that CUDA_VISIBLE_DEVICES leaves to us.

    Args:
        count: How many torch sees.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(i) for i in range(count)] if visible is None else visible.split(",")[:count]


def _note(ended: Ended) -> None:
    """Keep how long a start took, for the report."""
    line = {"run": ended.run.name, "code": ended.code, "seconds": round(ended.seconds, 1)}
    with (ended.run.log.parent / "starts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let processes that are started meanwhile use so many threads each."""
    before = {key: os.environ.get(key) for key in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(count)))
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _start(work: Work, run: Run, gpu: str | None) -> None:
    """Be one process: print to the log, and stop with the parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_with, args=(parent,), daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        with friendly():
            work(run)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def _stop_with(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
