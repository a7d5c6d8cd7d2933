"""Turn edited faces into the numbers of FFE-Bench: who looks at them, and what is summed.

Shapes: B images, M recognisers, D embedding, S strengths, R rows (one edit task each: an identity
and a requested expression).
"""

from collections.abc import Iterator, Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from pixelsmile.expressions import BASIC, index, pair_indices
from pixelsmile.judges import LocalJudge
from pixelsmile.metrics import (
    ControlLinearityScore,
    ExpressionAccuracy,
    HarmonicEditingScore,
    IdentitySimilarity,
    MeanStructuralConfusionRate,
)

METRIC_TITLES = {
    "mscr": "mSCR",
    "acc_6": "Acc-6",
    "acc_12": "Acc-12",
    "cls_6": "CLS-6",
    "cls_12": "CLS-12",
    "hes": "HES",
    "id_sim": "ID Sim",
}
"""The names that people read, by those of `metrics.json`."""

METRIC_NAMES = tuple(METRIC_TITLES)
"""Keys of `metrics.json`, in the order of the table."""

LOWER_IS_BETTER = ("mscr",)
"""Of the metrics; more of any other is better."""

_BASIC = [index(name) for name in BASIC]


class Measured(TypedDict):
    """One metric with its 95 % interval and the number of rows behind it."""

    value: float
    low: float
    high: float
    n: int


class FaceScorer(nn.Module):
    """Look at faces: expression by the judge, identity by the recognisers.

    Args:
        judge: Scores expressions; must not be a model that any loss uses.
        recognisers: Two or more, for ID Sim; each takes images and landmarks.
    """

    def __init__(self, judge: LocalJudge, recognisers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.judge = judge
        self.recognisers = nn.ModuleList(recognisers)

    def train(self, mode: bool = True) -> "FaceScorer":
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def expressions(self, images: Tensor) -> Tensor:
        """Return the judge's scores, (B, 12), in [0, 1]; images (B, 3, H, W) in [-1, 1]."""
        return self.judge.score(images)

    @torch.no_grad()
    def identities(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Return embeddings, (M, B, D); landmarks (B, 5, 2) in pixels."""
        return torch.stack([recogniser(images, landmarks) for recogniser in self.recognisers])


class EditingMetrics(nn.Module):
    """All metrics of FFE-Bench over a stream of edit tasks, exact over batches and processes.

    Accuracy and confusion read the edit at full strength, as the paper's general-editing setting
    does. Linearity reads the whole curve. HES and ID Sim average over every edit of strength
    above 0; at strength 0 nothing was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mscr = MeanStructuralConfusionRate(pairs=pair_indices())
        self.acc_6 = ExpressionAccuracy(expressions=_BASIC)
        self.acc_12 = ExpressionAccuracy()
        self.cls_6 = ControlLinearityScore()
        self.cls_12 = ControlLinearityScore()
        self.hes = HarmonicEditingScore()
        self.id_sim = IdentitySimilarity()

    def update(
        self,
        requested: Tensor,
        strengths: Tensor,
        scores: Tensor,
        source: Tensor,
        edited: Tensor,
    ) -> None:
        """Count R edit tasks.

        Args:
            requested: (R,), index of the requested expression.
            strengths: (S,), increasing; the last is full strength, the first may be 0.
            scores: (R, S, 12), the judge's scores of each edit.
            source: (M, R, D), identity embeddings of the sources.
            edited: (M, R, S, D), of the edits.
        """
        predicted = scores[:, -1].argmax(dim=-1)
        for metric in (self.mscr, self.acc_6, self.acc_12):
            metric.update(predicted, requested)
        target = scores.gather(2, requested.view(-1, 1, 1).expand(-1, scores.shape[1], 1))[..., 0]
        curve = strengths.to(target).expand_as(target)
        basic = torch.isin(requested, torch.tensor(_BASIC, device=requested.device))
        self.cls_12.update(curve, target)
        self.cls_6.update(curve[basic], target[basic])

        asked = strengths > 0
        edited, target = edited[:, :, asked], target[:, asked]
        reference = source.unsqueeze(2).expand_as(edited)
        similarity = torch.cosine_similarity(reference, edited, dim=-1).mean(0).clamp(-1, 1)
        self.hes.update(target.flatten(), similarity.flatten())
        self.id_sim.update(reference.flatten(1, 2), edited.flatten(1, 2))

    def named(self) -> Iterator[tuple[str, Metric]]:
        """Yield name and metric in the order of `METRIC_NAMES`."""
        for name in METRIC_NAMES:
            yield name, getattr(self, name)

    def compute(self) -> dict[str, Measured]:
        """Return every metric with interval and n."""
        results: dict[str, Measured] = {}
        for name, metric in self.named():
            low, high = metric.interval()  # pyright: ignore[reportCallIssue]
            results[name] = {
                "value": float(metric.compute()),
                "low": low,
                "high": high,
                "n": int(metric.num_samples),  # pyright: ignore[reportArgumentType]
            }
        return results

    def confusion(self) -> Tensor:
        """Return the table of counts, (12, 12): rows requested, columns predicted.

        As `compute`, it sees the rows of all processes and is called by all of them.
        """
        return self.mscr.table()

    def reset(self) -> None:
        """Forget everything that was counted."""
        for _, metric in self.named():
            metric.reset()
