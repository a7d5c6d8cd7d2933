"""What the five metrics share: an interval, a number of samples, and exact sums.

States are whole numbers, reduced by addition, so no bit of a value depends on how rows fall into
batches, ranks or merged metrics. `compute` returns float64, so that two programs can agree to nine
digits. It does not exist on Apple's MPS: keep metrics on the CPU there.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from pixelsmile.metrics.intervals import Interval, mean_interval
from pixelsmile.metrics.sums import from_parts, to_parts


class IntervalMetric(Metric, ABC):
    """A metric that knows its n and its confidence interval.

    `interval` and `num_samples` see the rows of all ranks, as `compute` does. Where ranks exist,
    call them on every rank, as you would `compute`.
    """

    is_differentiable = False
    full_state_update = False

    @property
    def num_samples(self) -> int:
        """The n of the result: rows that count, over all ranks."""
        with self._synced():
            return self._num_samples()

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return (low, high) around the value of `compute`; nan where that is nan.

        Raises:
            ValueError: If the confidence is not in (0, 1).
        """
        with self._synced():
            return self._interval(confidence)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the sums of another metric, and forget the value computed before."""
        super().merge_state(incoming_state)
        self._computed = None  # torchmetrics keeps it and would return the old value
        self._update_count = max(self._update_count, 1)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw one value or several, as every metric of torchmetrics does."""
        return self._plot(val, ax)

    @abstractmethod
    def _num_samples(self) -> int: ...

    @abstractmethod
    def _interval(self, confidence: float) -> Interval: ...

    @contextmanager
    def _synced(self) -> Iterator[None]:
        """Sum the states over the ranks for a moment, unless somebody already has."""
        outermost = not self._is_synced
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=self._to_sync and outermost,
            should_unsync=self._should_unsync and outermost,
        ):
            yield


class MeanMetric(IntervalMetric):
    """The mean of one value in [-1, 1] per row, from sum, sum of squares and count."""

    value_range: tuple[float, float]
    total: Tensor
    square_total: Tensor
    count: Tensor

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        zero = torch.zeros(2, dtype=torch.int64)
        self.add_state("total", zero, dist_reduce_fx="sum")
        self.add_state("square_total", zero.clone(), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """Return the mean, (), float64; nan without rows."""
        return from_parts(self.total) / self.count

    def _add(self, values: Tensor) -> None:
        """Count in one value per row, (B,)."""
        values = values.double()
        self.total = self.total + to_parts(values).sum(dim=0)
        self.square_total = self.square_total + to_parts(values.square()).sum(dim=0)
        self.count = self.count + len(values)

    def _num_samples(self) -> int:
        return int(self.count)

    def _interval(self, confidence: float) -> Interval:
        lowest, highest = self.value_range
        return mean_interval(
            float(from_parts(self.total)),
            float(from_parts(self.square_total)),
            int(self.count),
            confidence,
            lowest=lowest,
            highest=highest,
        )
