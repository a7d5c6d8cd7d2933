"""Which triplets a training sees when, and what is drawn for them: functions of the seed alone.

A training is one stream of batches. Batch number `position` is a pure function of (seed, position)
and the noise of a sample one of (seed, epoch, sample). So a position is all that a stopped run has
to remember, and accumulation, workers and restarts change nothing of what is drawn.
"""

from typing import NamedTuple

import torch

from pixelsmile.errors import UserError
from pixelsmile.seeds import stream_generator


class Draw(NamedTuple):
    """One use of one triplet."""

    epoch: int
    place: int  # of the triplet in the set


class BatchOrder:
    """The batches of a training, by number; every epoch is shuffled anew.

    The processes of a training share each batch out among them, so that it holds the same triplets
    whatever their number.

    Args:
        length: Triplets in the set.
        batch_size: Triplets a batch, of all processes together. What is left over at the end of an
            epoch is dropped, unless the set is smaller than a batch.
        seed: Of the order.
        rank: Of this process, which gets its part of every batch.
        world: Number of processes.

    Raises:
        UserError: If a batch cannot be shared out evenly.

    Example:
        >>> order = BatchOrder(length=3, batch_size=3, seed=0)
        >>> sorted(draw.place for draw in order.batch(7)), order.batch(7)[0].epoch
        ([0, 1, 2], 7)
        >>> parts = [BatchOrder(9, 4, seed=0, rank=rank, world=2).batch(5) for rank in range(2)]
        >>> parts[0] + parts[1] == BatchOrder(9, 4, seed=0).batch(5)
        True
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if batch_size % world or (world > 1 and length < batch_size):
            raise UserError(
                f"{world} processes cannot share batches of {batch_size} of {length} triplets "
                "evenly: choose fewer processes, a smaller data.batch_size, or add images."
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self._shuffled: tuple[int, list[int]] = (-1, [])

    @property
    def batches_per_epoch(self) -> int:
        """Batches that each epoch has."""
        return max(self.length // self.batch_size, 1)

    def batch(self, position: int) -> list[Draw]:
        """Return this process's triplets of one batch, counted from the start of the training."""
        epoch, number = divmod(position, self.batches_per_epoch)
        if self._shuffled[0] != epoch:
            generator = stream_generator(self.seed, "order", epoch)
            self._shuffled = epoch, torch.randperm(self.length, generator=generator).tolist()
        part = self.batch_size // self.world
        start = number * self.batch_size + self.rank * part
        return [Draw(epoch, place) for place in self._shuffled[1][start : start + part]]


def even_share(length: int, rank: int, world: int) -> list[tuple[int, bool]]:
    """Return a process's rows of a set, and whether each counts.

    All processes get the same number, so that they stay in step; rows that only fill up do not
    count. Every row counts in exactly one process.

    Example:
        >>> even_share(3, 0, 2), even_share(3, 1, 2)
        ([(0, True), (2, True)], [(1, True), (0, False)])
    """
    rounded = -(-length // world) * world
    return [(place % length, place < length) for place in range(rank, rounded, world)]
