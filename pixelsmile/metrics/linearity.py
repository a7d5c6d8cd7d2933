"""Control linearity score, CLS-6 and CLS-12 (paper Sec. 3.2)."""

import torch
from torch import Tensor

from pixelsmile.metrics.base import MeanMetric
from pixelsmile.metrics.functional.linearity import constant_curves, control_linearity_score


class ControlLinearityScore(MeanMetric):
    """Mean over curves of the correlation of strength and score. Higher is better.

    A curve is one image edited toward one expression at S strengths. Pearson per curve, then the
    mean: curves of different faces start at different scores, so one correlation over all points
    would measure faces. A curve that never moves counts 0 and is counted in `constant`, which
    belongs beside the result. The interval is the normal one of a mean, clipped to [-1, 1].
    Without curves the result is nan.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Shape:
        - strength: (B, S), S at least 2, not all equal in a row; S may differ between updates.
        - score: (B, S), on any scale.
        - output: ().

    Example:
        >>> metric = ControlLinearityScore()
        >>> strength = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]])
        >>> metric.update(strength, torch.tensor([[0.1, 0.4, 0.7], [0.2, 0.2, 0.2]]))
        >>> f"{metric.compute():.4f}", metric.constant
        ('0.5000', 1)
    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    value_range = (-1.0, 1.0)

    constant_count: Tensor

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        zero = torch.zeros((), dtype=torch.int64)
        self.add_state("constant_count", zero, dist_reduce_fx="sum")

    @property
    def constant(self) -> int:
        """Curves that never move, over all ranks; they are part of `num_samples`."""
        with self._synced():
            return int(self.constant_count)

    def update(self, strength: Tensor, score: Tensor) -> None:
        """Count a batch of curves; see the class for shapes."""
        self._add(control_linearity_score(strength.double(), score.double()))
        self.constant_count = self.constant_count + constant_curves(score).sum()
