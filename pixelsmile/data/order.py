"""Which triplets a training sees when, and what is drawn for them: functions of the seed alone.

A training is one stream of batches. Batch number `position` is a pure function of (seed, position)
and the noise of a sample one of (seed, epoch, sample). So a position is all that a stopped run has
to remember, and accumulation, workers and restarts change nothing of what is drawn.
"""

import hashlib
from typing import NamedTuple

import torch


class Draw(NamedTuple):
    """One use of one triplet."""

    epoch: int
    place: int  # of the triplet in the set


def stream_seed(*parts: int | str) -> int:
    """Return a seed, in [0, 2^63), that depends on the parts alone.

    Example:
        >>> stream_seed(0, 1, 2) == stream_seed(0, 1, 2), stream_seed(0, 12) == stream_seed(0, 1, 2)
        (True, False)
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stream_generator(*parts: int | str) -> torch.Generator:
    """Return a generator on the CPU that is seeded by the parts alone."""
    return torch.Generator().manual_seed(stream_seed(*parts))


class BatchOrder:
    """The batches of a training, by number; every epoch is shuffled anew.

    Args:
        length: Triplets in the set.
        batch_size: Triplets a batch. What is left over at the end of an epoch is dropped, unless
            the set is smaller than a batch.
        seed: Of the order.

    Example:
        >>> order = BatchOrder(length=3, batch_size=3, seed=0)
        >>> sorted(draw.place for draw in order.batch(7)), order.batch(7)[0].epoch
        ([0, 1, 2], 7)
    """

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self._shuffled: tuple[int, list[int]] = (-1, [])

    @property
    def batches_per_epoch(self) -> int:
        """Batches that each epoch has."""
        return max(self.length // self.batch_size, 1)

    def batch(self, position: int) -> list[Draw]:
        """Return the triplets of one batch, counted from the start of the training."""
        epoch, number = divmod(position, self.batches_per_epoch)
        if self._shuffled[0] != epoch:
            generator = stream_generator(self.seed, "order", epoch)
            self._shuffled = epoch, torch.randperm(self.length, generator=generator).tolist()
        start = number * self.batch_size
        return [Draw(epoch, place) for place in self._shuffled[1][start : start + self.batch_size]]
