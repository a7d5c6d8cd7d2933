"""Identity similarity, ID Sim (paper Sec. 3.2)."""

import torch
from torch import Tensor

from pixelsmile.metrics.base import MeanMetric
from pixelsmile.metrics.functional.checks import check_dims, check_range
from pixelsmile.metrics.functional.identity import recogniser_similarity
from pixelsmile.metrics.sums import from_parts, to_parts

MAX_RECOGNISERS = 8


class IdentitySimilarity(MeanMetric):
    """Mean cosine of source and edited faces over images and recognisers.

    Higher is more alike, but not better without end: the paper reads 0.6 to 0.7 as a realistic
    edit, above 0.8 as a copy and below 0.5 as another person. The interval is the normal one of
    the mean over images, clipped to [-1, 1]. Without rows the result is nan.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Shape:
        - source, edited: (M, B, D), by M recognisers, at most 8 and the same in every update.
          Embeddings may have any length; where D differs between recognisers, pad with zeros.
        - output: ().

    Example:
        >>> metric = IdentitySimilarity()
        >>> metric.update(torch.eye(2).view(2, 1, 2), torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]))
        >>> metric.compute().item(), metric.per_recogniser().tolist()
        (0.5, [1.0, 0.0])
    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    value_range = (-1.0, 1.0)

    recogniser_total: Tensor
    recogniser_count: Tensor

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        # a fixed number of slots: a rank without rows has not seen M, yet its states must add up
        slots = torch.zeros(MAX_RECOGNISERS, 2, dtype=torch.int64)
        self.add_state("recogniser_total", slots, dist_reduce_fx="sum")
        self.add_state("recogniser_count", slots[:, 0].clone(), dist_reduce_fx="sum")

    def update(self, source: Tensor, edited: Tensor) -> None:
        """Count a batch; see the class for shapes.

        Raises:
            ValueError: If the shapes differ, a value is nan, or M is above 8 or changed.
        """
        self._count(recogniser_similarity(source.double(), edited.double()))

    def update_similarity(self, similarity: Tensor) -> None:
        """Count cosines that were computed before, (M, B), in [-1, 1].

        Raises:
            ValueError: If a value is nan or out of range, or M is above 8 or changed.
        """
        check_dims("similarity", similarity, "(M, B)")
        check_range("similarity", similarity, -1, 1)
        self._computed = None  # torchmetrics forgets it in `update` alone
        self._update_count += 1
        self._count(similarity.double().clamp(-1, 1))

    def _count(self, similarity: Tensor) -> None:
        recognisers, rows = similarity.shape
        known = int((self.recogniser_count > 0).sum())
        if recognisers > MAX_RECOGNISERS or known not in (0, recognisers):
            raise ValueError(
                f"source holds {recognisers} recognisers after {known} before: give the same "
                f"recognisers in every update, at most {MAX_RECOGNISERS}."
            )
        self._add(similarity.mean(dim=0))
        empty = MAX_RECOGNISERS - recognisers
        total = torch.nn.functional.pad(to_parts(similarity).sum(dim=1), (0, 0, 0, empty))
        self.recogniser_total = self.recogniser_total + total
        used = torch.arange(MAX_RECOGNISERS, device=similarity.device) < recognisers
        self.recogniser_count = self.recogniser_count + rows * used

    def per_recogniser(self) -> Tensor:
        """Return the mean cosine of each recogniser, (M,), over all ranks; (0,) without rows."""
        with self._synced():
            used = self.recogniser_count > 0
            return from_parts(self.recogniser_total[used]) / self.recogniser_count[used]
