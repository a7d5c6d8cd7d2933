"""Run one training in several processes, one core each, that average their gradients.

At the sizes of the tiny stack a second thread gives a tenth or two; a second process, which needs
to wait only once a step, gives most of its core.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

_PATIENCE = timedelta(minutes=10)  # one process may still compile while the others wait


def run_ranks(work: Callable[..., None], *arguments: Any, count: int) -> None:
    """Call `work(*arguments)` in `count` processes that share a gloo group; wait for all of them.

    If one fails, the others are stopped and its error is raised here.

    Args:
        work: A plain function, so that the processes can import it.
        arguments: Picklable.
        count: Processes; each gets one core, as far as there are cores.
    """
    with tempfile.TemporaryDirectory() as folder:
        meeting_point = str(Path(folder) / "store")
        spawn(_enter, (count, meeting_point, work, arguments), nprocs=count)


def _enter(
    rank: int, count: int, meeting_point: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    level = logging.INFO if rank == 0 else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.set_num_threads(1)
    store = dist.FileStore(meeting_point, count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)
    try:
        work(*arguments)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def rank_and_count() -> tuple[int, int]:
    """Return this process's number and how many there are: 0 and 1 outside of `run_ranks`."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def averaging_gradients(network: nn.Module) -> nn.Module:
    """Return the network with gradients that are averaged over the processes, if there are any."""
    if not dist.is_initialized():
        return network
    return DistributedDataParallel(
        network, find_unused_parameters=True, gradient_as_bucket_view=True
    )


def agree(value: float) -> float:
    """Return the first process's number, so that all of them stop at the same step."""
    if not dist.is_initialized():
        return value
    shared: Tensor = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(shared, src=0)
    return shared.item()
