"""Expression editing accuracy, Acc-6 and Acc-12 (paper Sec. 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelsmile.metrics.base import IntervalMetric
from pixelsmile.metrics.functional.accuracy import accuracy_counts, check_subset
from pixelsmile.metrics.intervals import Interval, wilson_interval


class ExpressionAccuracy(IntervalMetric):
    """Share of images whose dominant expression is the one asked for. Higher is better.

    The dominant expression is the argmax over all K scores, also for a subset: Acc-6 counts the
    images *requested* to show one of the six, and an image seen as one of the other six is wrong.
    The interval is Wilson's. Without a row that counts the result is nan.

    Args:
        expressions: Indices of the requests that count, such as those of `expressions.BASIC`; None
            counts all.
        num_expressions: K, 12 for FFE and 7 for MEAD.
        kwargs: Passed on to `torchmetrics.Metric`.

    Shape:
        - predicted, requested: (B,), integer in [0, K).
        - output: ().

    Example:
        >>> metric = ExpressionAccuracy(expressions=[0, 1])
        >>> metric.update(predicted=torch.tensor([0, 5, 2]), requested=torch.tensor([0, 1, 2]))
        >>> metric.compute().item(), metric.num_samples
        (0.5, 2)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    correct: Tensor
    counted: Tensor

    def __init__(
        self,
        expressions: Sequence[int] | None = None,
        num_expressions: int = 12,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        if expressions is not None:
            check_subset(expressions, num_expressions)
            expressions = [int(index) for index in expressions]
        self.expressions = expressions
        self.num_expressions = num_expressions
        zero = torch.zeros((), dtype=torch.int64)
        self.add_state("correct", zero, dist_reduce_fx="sum")
        self.add_state("counted", zero.clone(), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, requested: Tensor) -> None:
        """Count a batch; see the class for shapes."""
        correct, counted = accuracy_counts(
            predicted, requested, self.expressions, self.num_expressions
        )
        self.correct = self.correct + correct
        self.counted = self.counted + counted

    def compute(self) -> Tensor:
        """Return the accuracy, (), float64."""
        return self.correct.double() / self.counted

    def _num_samples(self) -> int:
        return int(self.counted)

    def _interval(self, confidence: float) -> Interval:
        return wilson_interval(int(self.correct), int(self.counted), confidence)
