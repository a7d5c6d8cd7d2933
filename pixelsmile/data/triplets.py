"""Triplets of confusing expressions, built from samples (paper Sec. 4.2). Pure."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from pixelsmile.data.faults import BadItemError, Faults, UnusableSetError
from pixelsmile.data.matching import match_strengths
from pixelsmile.data.samples import Sample, by_identity, neutral_of
from pixelsmile.errors import UserError
from pixelsmile.expressions import CONFUSING_PAIRS, EXPRESSIONS, NEUTRAL, canonical, index

Pair = tuple[str, str]


class Triplet(NamedTuple):
    """A neutral source and one image of each side of a confusing pair, of one identity."""

    source: Sample
    target_a: Sample
    target_b: Sample


def samples_of(triplets: Sequence[Triplet]) -> list[Sample]:
    """Return every image of some triplets once, in order of first appearance."""
    return list(dict.fromkeys(sample for triplet in triplets for sample in triplet))


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


def every_pair(samples: Sequence[Sample]) -> list[Pair]:
    """Return every two expressions that some samples show, in the order of `EXPRESSIONS`."""
    shown = {sample.category for sample in samples}
    return list(combinations((name for name in EXPRESSIONS if name in shown), 2))


def _ordered(first: str, second: str) -> Pair:
    return (first, second) if index(first) < index(second) else (second, first)


def strength_of(sample: Sample) -> float:
    """Return an image's intensity: its score on the expression it was made to show."""
    return sample.scores[index(sample.category)]


def check_pairs(pairs: Sequence[Sequence[str]]) -> list[Pair]:
    """Return pairs of names, as a config gives them, by our names of the expressions.

    Raises:
        UserError: If there is none, or one is no pair of two different expressions.
    """
    checked = []
    for pair in pairs:
        names = [] if isinstance(pair, str) else [canonical(str(name)) for name in pair]
        if len(set(names) - {NEUTRAL}) != 2 or len(names) != 2:
            raise UserError(f"data.pairs has {pair}: write two different expressions.")
        checked.append((names[0], names[1]))
    if not checked:
        raise UserError("data.pairs is empty: name pairs, or say null to mine them.")
    return checked


def build_triplets(
    samples: Sequence[Sample], pairs: Sequence[Pair], faults: Faults | None = None
) -> list[Triplet]:
    """Return every triplet of a set.

    Within an identity and a pair, images are matched by intensity, so that the negative differs
    from the positive in kind and not in degree; no image is left out, see `match_strengths`.

    Args:
        samples: Of whole identities.
        pairs: Confusing pairs.
        faults: Receives identities without a neutral image or without a pair; None refuses them.

    Raises:
        UserError: If the set is empty, an identity has no neutral image, or has no pair.
    """
    if not samples:
        raise UnusableSetError("The training set is empty: check data.files and the domain.")
    faults = Faults() if faults is None else faults
    triplets = []
    for identity, images in by_identity(samples).items():
        with faults.item():
            triplets += _of_identity(neutral_of(identity, images), images, pairs)
    return triplets


def _of_identity(source: Sample, images: Sequence[Sample], pairs: Sequence[Pair]) -> list[Triplet]:
    """Return the triplets of one identity.

    Raises:
        BadItemError: If there is none.
    """
    ranked = {
        name: sorted((s for s in images if s.category == name), key=strength_of)
        for name in EXPRESSIONS
    }
    found = [
        Triplet(source, a, b)
        for first, second in pairs
        for a, b in _matched(ranked[first], ranked[second])
    ]
    if not found:
        shown = sorted({image.category for image in images} - {NEUTRAL})
        raise BadItemError(
            "pair",
            f"Identity {source.identity!r} has no pair to contrast: it shows {shown}, and both "
            f"sides of one of {list(pairs)} are needed. Add images or set data.pairs.",
        )
    return found


def _matched(first: Sequence[Sample], second: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    strengths = ([strength_of(sample) for sample in side] for side in (first, second))
    return [(first[a], second[b]) for a, b in match_strengths(*strengths)]
