"""The judge's own ceiling: the same numbers for true images instead of edits.

Shapes: K expressions, S strengths, H W image.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pixelsmile.data.encoded import load_image, load_landmarks
from pixelsmile.data.samples import Sample, by_identity, neutral_of
from pixelsmile.data.triplets import strength_of
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.progress import progress
from pixelsmile.scoring import EditingMetrics, FaceScorer, Measured


def measure_ceiling(
    samples: Sequence[Sample],
    size: int,
    scorer: FaceScorer,
    landmarks: Callable[[Sample], Tensor] | None = None,
) -> dict[str, Measured]:
    """Score the annotated images of held-out identities as if they were edits.

    The neutral image stands for strength 0. Faces are aligned by the landmarks of the neutral
    image, as edits are, whose own landmarks nobody knows.

    Args:
        samples: Of whole identities; those that lack an expression are left out.
        size: Edge of the images in pixels.
        scorer: The same as for the edits.
        landmarks: Gives those of a neutral image, (5, 2), in pixels of the square image; by
            default the annotated ones.
    """
    locate = landmarks or (lambda sample: load_landmarks(sample, size))
    metrics = EditingMetrics()
    groups = by_identity(samples)
    with progress("Scoring true images", len(groups)) as advance:
        for name, images in groups.items():
            neutral = neutral_of(name, images)
            curves = {row: _curve(images, row) for row in EXPRESSIONS}
            lengths = {len(curve) for curve in curves.values()}
            advance(1)
            if len(lengths) != 1 or 0 in lengths:
                continue
            _count(metrics, scorer, neutral, locate(neutral), list(curves.values()), size)
    return metrics.compute()


def _curve(images: Sequence[Sample], expression: str) -> list[Sample]:
    shown = [sample for sample in images if sample.category == expression]
    return sorted(shown, key=strength_of)


def _count(
    metrics: EditingMetrics,
    scorer: FaceScorer,
    neutral: Sample,
    landmarks: Tensor,
    curves: list[list[Sample]],
    size: int,
) -> None:
    source = load_image(neutral, size)[None]
    landmarks = landmarks[None]
    images = torch.stack([load_image(sample, size) for curve in curves for sample in curve])
    shape = (len(curves), len(curves[0]))
    scores = scorer.expressions(images).unflatten(0, shape)
    still = scorer.expressions(source).expand(len(curves), 1, -1)
    embedded = scorer.identities(images, landmarks.expand(len(images), -1, -1))
    reference = scorer.identities(source, landmarks).expand(-1, len(curves), -1)
    metrics.update(
        requested=torch.arange(len(curves)),
        strengths=torch.tensor([0.0, *(strength_of(sample) for sample in curves[0])]),
        scores=torch.cat([still, scores], dim=1),
        source=reference,
        edited=torch.cat([reference.unsqueeze(2), embedded.unflatten(1, shape)], dim=2),
    )


def true_renders(samples: Sequence[Sample], index: int, size: int) -> Tensor | None:
    """Return the strongest image of each expression of one identity, (K, 3, H, W), if all exist.

    Args:
        samples: Of whole identities.
        index: Position of the identity among them.
        size: Edge of the images in pixels.
    """
    images = list(by_identity(samples).values())[index]
    curves = [_curve(images, name) for name in EXPRESSIONS]
    if not all(curves):
        return None
    return torch.stack([load_image(curve[-1], size) for curve in curves])
