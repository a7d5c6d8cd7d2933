"""Which of several processes this one is, and what they do as one.

torchrun and `pixelsmile.launch` say it in RANK, WORLD_SIZE and LOCAL_RANK, SLURM's srun in
SLURM_PROCID, SLURM_NTASKS and SLURM_LOCALID. A rank counts from 0; rank 0 is the one that writes.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.environments import SLURMEnvironment
from torch import Tensor

from pixelsmile.errors import LostPeerError, UserError

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others at a place where all must come."""

_LOST = ("closed by peer", "reset by peer", "broken pipe", "timed out", "timeout", "remote process")


class Place(NamedTuple):
    """One process among several."""

    rank: int = 0
    world: int = 1  # number of processes, on all nodes
    local_rank: int = 0  # on this node

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0


def own_place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return this process's place.

    Raises:
        UserError: If the environment makes no sense.

    Example:
        >>> own_place({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"})
        Place(rank=3, world=4, local_rank=1)
        >>> own_place({})
        Place(rank=0, world=1, local_rank=0)
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(name in environment for name in names[:2]):
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
        by_hand = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
        if by_hand or not all(name in environment for name in names):
            return Place()
    given = [environment.get(name, "0") for name in names]
    if not all(value.isdecimal() for value in given) or int(given[0]) >= int(given[1]):
        raise UserError(
            f"{names[0]}={given[0]} and {names[1]}={given[1]} do not fit together: start through "
            "torchrun or srun, or unset both."
        )
    return Place(*map(int, given))


@contextmanager
def joined() -> Iterator[Place]:
    """Bring the processes together, if there are several, and say what became of it.

    Raises:
        LostPeerError: If another process ended while this one was waiting for it.
    """
    place = own_place()
    if place.world == 1:
        yield place
        return
    _meet(place)
    try:
        yield place
    except RuntimeError as error:  # UserError is none
        if not any(sign in str(error).lower() for sign in _LOST):
            raise
        raise LostPeerError(
            f"Rank {place.rank} has lost another of {place.world} processes, which has ended: see "
            "what that one said. What was saved stays; go on with resume=auto."
        ) from error
    dist.barrier()


def _meet(place: Place) -> None:
    if "RANK" not in os.environ:
        slurm = SLURMEnvironment(auto_requeue=False)
        os.environ["MASTER_ADDR"] = slurm.main_address
        os.environ["MASTER_PORT"] = str(slurm.main_port)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(place.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, rank=place.rank, world_size=place.world, timeout=PATIENCE)


def several() -> bool:
    """Whether this process works together with others."""
    return dist.is_initialized() and dist.get_world_size() > 1


def from_first(make: Callable[[], T]) -> T:
    """Let the first process do something and give the result, or the refusal, to all.

    Every process has to call this.

    Raises:
        UserError: In the first process, if it refuses.
        SystemExit: In the others, which leave the explanation to the first.
    """
    if not several():
        return make()
    refusal: UserError | OSError | None = None
    answer: list[T | None] = [None]
    if dist.get_rank() == 0:
        try:
            answer = [make()]
        except (UserError, OSError) as error:
            refusal = error
    told = [refusal is not None, answer[0]]
    dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    if refusal is not None:
        raise refusal
    if told[0]:
        raise SystemExit(2)
    return told[1]  # pyright: ignore[reportReturnType]


def mean_of_all(values: Tensor) -> Tensor:
    """Return the mean of what every process has, of the same shape."""
    if not several():
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def leave_at_once(main: Callable[[], None]) -> None:
    """Run a command; where processes communicate, end without the interpreter's shutdown.

    Threads of the communication library sometimes abort there, after all the work is done, and
    the exit code would tell of a failure that was none.
    """
    code = 0
    try:
        main()
    except BaseException as error:
        if not dist.is_initialized():
            raise
        code = 1
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        else:
            traceback.print_exc()
    if dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
