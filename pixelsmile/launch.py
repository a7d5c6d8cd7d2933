"""Start the processes of a training on this machine, and end all of them when one ends.

`trainer=fsdp trainer.devices=4` needs nothing else. On several nodes torchrun or srun start the
processes, see docs/cluster.md. Beside torchrun this one passes each signal on once, so that a
run stops between two steps, and keeps the terminal to the first process.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import torch
from omegaconf import DictConfig
from rich.console import Console

from pixelsmile.errors import LOST_PEER, UserError
from pixelsmile.ranks import own_place
from pixelsmile.signals import STOP_SIGNALS

GRACE = 10.0
"""Seconds that the other processes get to end by themselves, as those of a stopped run do."""

MANNERED = (0, 2, LOST_PEER, *(128 + number for number in STOP_SIGNALS))
"""Exit codes of a process that has said itself why it ends."""


@dataclass
class Worker:
    """One started process; what the first one says goes to the terminal, the rest is kept."""

    rank: int
    process: subprocess.Popen[bytes]
    errors: IO[bytes] | None

    def last_words(self) -> str:
        """Return the end of what it wrote to stderr."""
        if self.errors is None:
            return ""
        self.errors.seek(0)
        return "\n".join(self.errors.read().decode(errors="replace").splitlines()[-20:])


def processes_wanted(trainer: DictConfig) -> int:
    """Return how many processes the trainer needs that have yet to be started; 0 if none.

    `trainer.devices` may be a number or `auto`: all GPUs of this machine, or one process without.

    Raises:
        UserError: If the processes that were started are not those that the trainer expects, or
            other nodes would be needed.
    """
    devices, nodes = trainer.devices, trainer.get("num_nodes", 1)
    if devices in ("auto", -1):
        on_gpu = torch.cuda.is_available() and trainer.accelerator != "cpu"
        devices = torch.cuda.device_count() if on_gpu else 1
        trainer.devices = devices
    if not isinstance(devices, int) or devices < 1:
        raise UserError(f"trainer.devices is {devices}: say a number of processes, or auto.")
    started = own_place().world
    if started > 1 or "RANK" in os.environ:
        if started != devices * nodes:
            raise UserError(
                f"{started} processes were started for trainer.devices={devices} on trainer."
                f"num_nodes={nodes}: set them to the processes per node and the nodes."
            )
        return 0
    if nodes > 1:
        raise UserError(
            f"trainer.num_nodes is {nodes}, but only this node was started: use torchrun or srun, "
            "see docs/cluster.md."
        )
    return devices if devices > 1 else 0


def launch(module: str, arguments: Sequence[str], processes: int, next_step: str) -> int:
    """Run `python -m module` in several processes and return the exit code of the whole.

    When one ends badly the others are ended too, within seconds, and a line names its rank.

    Args:
        module: To run.
        arguments: Of its command line.
        processes: How many; ranks 0 up.
        next_step: What to do after one was lost.
    """
    port = _free_port()
    command = [sys.executable, "-m", module, *arguments]
    workers: list[Worker] = []
    try:
        with _passing_signals_on(workers, processes) as early:
            for rank in range(processes):
                workers.append(_start(command, rank, processes, port))
            for number in early:
                _send(workers, number)
            lost = _first_lost(workers)
            if lost is None:
                return 0
            _wait(workers, GRACE)
            lost = _cause(workers, lost)
    finally:
        _end(workers)
    return _report(workers, lost, next_step)


def _start(command: Sequence[str], rank: int, processes: int, port: int) -> Worker:
    threads = max(1, (os.cpu_count() or 1) // processes)
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
    environment |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "pixelsmile",  # tells Lightning that the processes are there
    }
    errors = tempfile.TemporaryFile() if rank else None  # noqa: SIM115 - outlives this function
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL if rank else None,
        stderr=errors,
        start_new_session=True,  # a Ctrl-C of the terminal reaches them once, through us
        preexec_fn=_end_with_parent,
    )
    return Worker(rank, process, errors)


def _end_with_parent() -> None:
    """Have Linux ask this process to stop when its parent is gone, even if that was killed."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def _passing_signals_on(workers: Sequence[Worker], processes: int) -> Iterator[list[int]]:
    """Send each signal to all workers; one that comes before all are there is put into the list."""
    early: list[int] = []

    def pass_on(number: int, frame: Any) -> None:
        if len(workers) < processes:
            early.append(number)
        else:
            _send(workers, number)

    before: dict[int, Callable[..., Any] | int | None] = {
        number: signal.signal(number, pass_on) for number in STOP_SIGNALS
    }
    try:
        yield early
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(workers: Sequence[Worker], number: int) -> None:
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(number)


def _first_lost(workers: Sequence[Worker]) -> Worker | None:
    """Wait for all to end well, or for one to end badly; a killed one comes first.

    One that has only lost another comes last.
    """
    while True:
        codes = {worker.rank: worker.process.poll() for worker in workers}
        bad = [worker for worker in workers if codes[worker.rank]]
        if bad:
            return min(bad, key=lambda one: (codes[one.rank] == LOST_PEER, codes[one.rank] or 0))
        if all(code == 0 for code in codes.values()):
            return None
        time.sleep(0.1)


def _wait(workers: Sequence[Worker], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all(worker.process.poll() is not None for worker in workers):
            return
        time.sleep(0.1)


def _cause(workers: Sequence[Worker], lost: Worker) -> Worker:
    """Return which process ended for a reason of its own, if this one has only lost it."""
    if lost.process.returncode != LOST_PEER:
        return lost  # what the others did after it may be its doing
    own = [one for one in workers if one.process.returncode not in (None, 0, LOST_PEER)]
    return min(own, key=lambda one: one.process.returncode, default=lost)


def _end(workers: Sequence[Worker]) -> None:
    """End what still runs: it waits for somebody who will not come."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
    for worker in workers:
        worker.process.wait()


def _report(workers: Sequence[Worker], lost: Worker, next_step: str) -> int:
    """Say which process was lost, unless the first has explained itself; return the exit code."""
    code, first = lost.process.returncode, workers[0].process.returncode
    if first == code and code in MANNERED:
        return code
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    text = (
        f"error: process {lost.rank + 1} of {len(workers)} (rank {lost.rank}, pid "
        f"{lost.process.pid}) {how}; the others were ended. {next_step}"
    )
    words = lost.last_words()
    say = Console(stderr=True, soft_wrap=True)
    say.print("\n".join(filter(None, [words, text])), markup=False, highlight=False)
    return 128 - code if code < 0 else code
