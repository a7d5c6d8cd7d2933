"""Harmonic editing score, HES (paper Sec. 3.2, Eq. 3)."""

from torch import Tensor

from pixelsmile.metrics.base import MeanMetric
from pixelsmile.metrics.functional.editing import harmonic_editing_score


class HarmonicEditingScore(MeanMetric):
    """Mean over edited images of the harmonic mean of expression and identity. Higher is better.

    The harmonic mean is taken per image, then the mean; a negative cosine counts as 0. So the
    result is not the harmonic mean of the mean score and the mean similarity, and is never above
    it. The interval is the normal one of a mean, clipped to [0, 1]. Without rows the result is nan.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Shape:
        - expression_score: (B,), in [0, 1].
        - identity_similarity: (B,), in [-1, 1], averaged over recognisers.
        - output: ().

    Example:
        >>> import torch
        >>> metric = HarmonicEditingScore()
        >>> metric.update(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
        >>> f"{metric.compute():.4f}"
        '0.3333'
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    value_range = (0.0, 1.0)

    def update(self, expression_score: Tensor, identity_similarity: Tensor) -> None:
        """Count a batch; see the class for shapes."""
        scores = harmonic_editing_score(expression_score.double(), identity_similarity.double())
        self._add(scores)
