"""Work in parallel: processes that start light, stop at once and never outlive their parent.

Each item is done by one of them on its own, so the result does not depend on their number.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from pixelsmile.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

Task = Callable[[T, Callable[[], None]], R]
"""Takes an item and a function to call between steps, which raises once the work is called off."""

_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread in each process: more only get in each other's way."""


class _CalledOffError(Exception):
    """The parent has asked the workers to stop."""


def run_parallel(
    task: Task[T, R], items: Sequence[T], workers: int
) -> Generator[tuple[T, R], None, None]:
    """Run a task on each item; yield items and results as they are finished, in any order.

    If one fails, or the caller stops iterating, or Ctrl-C is pressed, the others stop at their next
    step and the first exception goes on to the caller.

    Args:
        task: What to do; with several workers it must be picklable.
        items: What to do it on.
        workers: Number of processes; with one the work is done in this process.

    Raises:
        UserError: If a worker is killed from outside.
    """
    if workers == 1 or len(items) == 1:
        for item in items:
            yield item, task(item, _no_check)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        min(workers, len(items)), context, initializer=_start_worker, initargs=(task, stop)
    )
    try:
        with _shielded_start(hide_main=not _is_in_main(task)):
            futures = {pool.submit(_work, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise UserError(
            f"One of {workers} worker processes was killed, most often for want of memory: "
            "run the same command again with workers=1 to continue."
        ) from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def available() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _no_check() -> None:
    """Never call the work off: in one process Ctrl-C interrupts by itself."""


_task: Any = None
_stop: Any = None


def _start_worker(task: Task[Any, Any], stop: Any) -> None:
    """Keep the task and end with the parent, even if that is killed outright."""
    global _task, _stop
    _task, _stop = task, stop
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _work(item: Any) -> Any:
    _check()
    return _task(item, _check)


def _check() -> None:
    if _stop.is_set():
        raise _CalledOffError


def _is_in_main(task: Any) -> bool:
    """Tell whether a worker needs the main module to unpickle the task."""
    parts = [task, getattr(task, "func", None), *getattr(task, "args", ())]
    return any(getattr(type(part), "__module__", "") == "__main__" for part in parts) or any(
        getattr(part, "__module__", "") == "__main__" for part in parts
    )


@contextmanager
def _shielded_start(*, hide_main: bool) -> Iterator[None]:
    """Start processes with one thread each, deaf to Ctrl-C and without the main module.

    A signal mask and the environment are inherited. Ctrl-C is for the parent, which calls the work
    off in order. A spawned process imports the main module once more, which for the training
    command means torch and Lightning, half a gigabyte and ten seconds in each worker, for nothing.
    """
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    environment = {key: os.environ.get(key) for key in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if hide_main:
        main.__spec__ = None
        if file is not None:
            del main.__file__
    try:
        yield
    finally:
        if hide_main:
            main.__spec__ = spec
            if file is not None:
                main.__file__ = file
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for key, value in environment.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
