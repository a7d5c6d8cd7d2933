"""The judge's own ceiling: the same numbers for true images instead of edits.

Shapes: K expressions, S strengths, H W image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelsmile.data.encoded import EncodedSet
from pixelsmile.data.images import Sizes, load_image
from pixelsmile.data.samples import Sample, by_identity, neutral_of
from pixelsmile.data.triplets import strength_of
from pixelsmile.expressions import EXPRESSIONS, index
from pixelsmile.progress import progress
from pixelsmile.ranks import own_place
from pixelsmile.scoring import EditingMetrics, FaceScorer, Measured


def measure_ceiling(
    samples: Sequence[Sample], encoded: EncodedSet, scorer: FaceScorer
) -> dict[str, Measured]:
    """Score the annotated images of held-out identities as if they were edits.

    The neutral image stands for strength 0. Faces are aligned by the landmarks of the neutral
    image, as edits are, whose own landmarks nobody knows. An expression counts for every person
    who has a true image of it; where nobody has one, n is 0.

    Args:
        samples: Of whole identities, their neutral images prepared.
        encoded: Where the landmarks of those are read.
        scorer: The same as for the edits.
    """
    metrics = EditingMetrics()
    groups = by_identity(samples)
    place = own_place()
    own = list(groups.items())[place.rank :: place.world]  # the metrics sum over all processes
    with progress("Scoring true images", len(own)) as advance:
        for name, images in own:
            curves = {row: curve for row in EXPRESSIONS if (curve := _curve(images, row))}
            if curves:
                _count(metrics, scorer, neutral_of(name, images), curves, encoded)
            advance(1)
    return metrics.compute()


def _curve(images: Sequence[Sample], expression: str) -> list[Sample]:
    shown = [s for s in images if s.category == expression and strength_of(s) > 0]
    return sorted(shown, key=strength_of)


def _count(
    metrics: EditingMetrics,
    scorer: FaceScorer,
    neutral: Sample,
    curves: dict[str, list[Sample]],
    encoded: EncodedSet,
) -> None:
    """Count the curves of one identity, which may differ in length."""
    sizes = encoded.sizes
    source = load_image(neutral, sizes.image, sizes.resize)[None]
    landmarks = encoded.landmarks(neutral)[None].to(source)
    shown = [sample for curve in curves.values() for sample in curve]
    images = torch.stack([load_image(sample, sizes.image, sizes.resize) for sample in shown])
    lengths = [len(curve) for curve in curves.values()]
    scores = scorer.expressions(images).split(lengths)
    still = scorer.expressions(source)
    embedded = scorer.identities(images, landmarks.expand(len(images), -1, -1)).split(lengths, 1)
    reference = scorer.identities(source, landmarks)
    for row, (name, curve) in enumerate(curves.items()):
        metrics.update(
            requested=torch.tensor([index(name)]),
            strengths=torch.tensor([0.0, *map(strength_of, curve)]),
            scores=torch.cat([still, scores[row]])[None],
            source=reference,
            edited=torch.cat([reference, embedded[row]], dim=1)[:, None],
        )


def true_renders(samples: Sequence[Sample], position: int, sizes: Sizes) -> Tensor | None:
    """Return the strongest image of each expression of one identity, (K, 3, H, W), if all exist.

    Args:
        samples: Of whole identities.
        position: Of the identity among them.
        sizes: Of the images.
    """
    images = list(by_identity(samples).values())[position]
    curves = [_curve(images, name) for name in EXPRESSIONS]
    if not all(curves):
        return None
    return torch.stack([load_image(curve[-1], sizes.image, sizes.resize) for curve in curves])
