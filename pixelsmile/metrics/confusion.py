"""Mean structural confusion rate, mSCR (paper Sec. 3.2, Eqs. 1 and 2)."""

import torch
from torch import Tensor

from pixelsmile.metrics.base import IntervalMetric
from pixelsmile.metrics.functional.confusion import (
    Pairs,
    check_pairs,
    confusion_table,
    mean_structural_confusion_rate,
)
from pixelsmile.metrics.intervals import Interval, mean_rate_interval


class MeanStructuralConfusionRate(IntervalMetric):
    """Accumulate mSCR over a validation epoch, exactly, on any number of devices.

    The state is a table of counts summed across devices, so the result does not depend on how
    samples fall into batches. Lower is better. An expression that was never requested makes the
    result nan, not 0, because 0 is the perfect score.

    The interval rests on an identity. The confusions of one requested expression exclude each
    other, so with all its partners they are one binomial rate, and these rates are independent.
    Every directed rate of Eq. 1 has the same weight, so mSCR is the mean of those binomial rates,
    times expressions / (2 pairs), which is 1 unless pairs share an expression. The interval of the
    mean is `intervals.mean_rate_interval`: at 0 confusions it still has a width, and expressions
    may have different numbers of images.

    Args:
        pairs: Index pairs that count as confusing, see `expressions.CONFUSING_PAIRS`.
        num_expressions: K, 12 for FFE and 7 for MEAD.
        kwargs: Passed on to `torchmetrics.Metric`.

    Shape:
        - predicted, requested: (B,), integer in [0, K).
        - output: ().

    Example:
        >>> metric = MeanStructuralConfusionRate(pairs=[(0, 1)], num_expressions=3)
        >>> requested = torch.tensor([0, 0, 1, 1])
        >>> metric.update(predicted=torch.tensor([0, 1, 0, 0]), requested=requested)
        >>> metric.compute().item()
        0.75
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    counts: Tensor

    def __init__(self, pairs: Pairs, num_expressions: int = 12, **kwargs: object) -> None:
        super().__init__(**kwargs)
        check_pairs(pairs, num_expressions)
        self.pairs = [(int(first), int(second)) for first, second in pairs]
        self.num_expressions = num_expressions
        empty = torch.zeros(num_expressions, num_expressions, dtype=torch.int64)
        self.add_state("counts", empty, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, requested: Tensor) -> None:
        """Count a batch; see the class for shapes."""
        table = confusion_table(requested, predicted, self.num_expressions)
        self.counts = self.counts + table

    def compute(self) -> Tensor:
        """Return mSCR, (), float64."""
        return mean_structural_confusion_rate(self.counts, self.pairs)

    def table(self) -> Tensor:
        """Return the counts of all ranks, (K, K): rows requested, columns predicted."""
        with self._synced():
            return self.counts.clone()

    def _partners(self) -> dict[int, list[int]]:
        """Map each expression of a pair to all those that it is paired with."""
        partners: dict[int, list[int]] = {}
        for first, second in self.pairs:
            partners.setdefault(first, []).append(second)
            partners.setdefault(second, []).append(first)
        return partners

    def _num_samples(self) -> int:
        """Images requested to show an expression of a pair; the others do not enter."""
        return int(self.counts[list(self._partners())].sum())

    def _interval(self, confidence: float) -> Interval:
        counts, partners = self.counts.tolist(), self._partners()
        low, high = mean_rate_interval(
            successes=[sum(counts[i][j] for j in others) for i, others in partners.items()],
            totals=[sum(counts[i]) for i in partners],
            confidence=confidence,
        )
        scale = len(partners) / (2 * len(self.pairs))
        return scale * low, scale * high
