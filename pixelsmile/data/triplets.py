"""Triplets of confusing expressions, built from samples (paper Sec. 4.2). Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pixelsmile.data.samples import Sample, by_identity, neutral_of
from pixelsmile.errors import UserError
from pixelsmile.expressions import CONFUSING_PAIRS, EXPRESSIONS, NEUTRAL, index

Pair = tuple[str, str]


class Triplet(NamedTuple):
    """A neutral source and one image of each side of a confusing pair, of one identity."""

    source: Sample
    target_a: Sample
    target_b: Sample


def mean_soft_labels(samples: Sequence[Sample]) -> np.ndarray:
    """Return (12, 12): row i is the mean score vector of the images of expression i.

    Rows of expressions without an image are zero.
    """
    table = np.zeros((len(EXPRESSIONS), len(EXPRESSIONS)))
    for row, name in enumerate(EXPRESSIONS):
        scores = [sample.scores for sample in samples if sample.category == name]
        if scores:
            table[row] = np.mean(scores, axis=0)
    return table


def mine_pairs(samples: Sequence[Sample], *, per_expression: int = 1) -> list[Pair]:
    """Return the pairs that the soft labels call confusing, the paper's two always among them.

    For each expression these are the `per_expression` others that score highest in its images.

    Example of the order: (first, second) with the earlier of `EXPRESSIONS` first, no repeats.
    """
    table = mean_soft_labels(samples)
    np.fill_diagonal(table, -1.0)
    pairs = {_ordered(*pair) for pair in CONFUSING_PAIRS}
    for row, name in enumerate(EXPRESSIONS):
        neighbours = np.argsort(-table[row], kind="stable")[:per_expression]
        pairs |= {_ordered(name, EXPRESSIONS[n]) for n in neighbours if table[row, n] > 0}
    return sorted(pairs, key=lambda pair: (index(pair[0]), index(pair[1])))


def _ordered(first: str, second: str) -> Pair:
    return (first, second) if index(first) < index(second) else (second, first)


def strength_of(sample: Sample) -> float:
    """Return an image's intensity: its score on the expression it was made to show."""
    return sample.scores[index(sample.category)]


def build_triplets(samples: Sequence[Sample], pairs: Sequence[Pair]) -> list[Triplet]:
    """Return every triplet of a set.

    Within an identity and a pair, images are matched by rank of intensity, so that the negative
    differs from the positive in kind and not in degree.

    Raises:
        UserError: If the set is empty, an identity has no neutral image, or has no pair.
    """
    if not samples:
        raise UserError("The training set is empty: check data.train and the domain.")
    triplets = []
    for identity, images in by_identity(samples).items():
        found = _of_identity(neutral_of(identity, images), images, pairs)
        if not found:
            shown = sorted({image.category for image in images} - {NEUTRAL})
            raise UserError(
                f"Identity {identity!r} has no pair to contrast: it shows {shown}, and both sides "
                f"of one of {list(pairs)} are needed. Add images or set data.pairs."
            )
        triplets += found
    return triplets


def _of_identity(source: Sample, images: Sequence[Sample], pairs: Sequence[Pair]) -> list[Triplet]:
    ranked = {
        name: sorted((s for s in images if s.category == name), key=strength_of)
        for name in EXPRESSIONS
    }
    return [
        Triplet(source, a, b)
        for first, second in pairs
        for a, b in zip(ranked[first], ranked[second], strict=False)
    ]
