"""Bootstrap over faces, for one run and for the difference of two; pure, in numpy.

Every metric of FFE-Bench is a mean over R ratios of sums: R is 1 but for mSCR, whose directed
confusion rates all weigh the same. So a resample is a vector of counts, and all resamples together
are two matrix products. Shapes: C clusters (faces), R ratios, N resamples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Interval = tuple[float, float]
UNKNOWN: Interval = (float("nan"), float("nan"))

DRAWS = 10_000


class Difference(NamedTuple):
    """The second run minus the first, with its interval and two-sided p."""

    value: float
    low: float
    high: float
    p: float


def resamples(clusters: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return how often each cluster is drawn in each resample, (N, C), float64."""
    generator = np.random.default_rng(seed)
    share = np.full(clusters, 1 / clusters)
    return generator.multinomial(clusters, share, size=draws).astype(float)


def mean_ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Return the mean over R of numerator by denominator, nan where one of them is empty.

    Args:
        numerators: (..., R), sums over clusters.
        denominators: (..., R).

    Example:
        >>> float(mean_ratio(np.array([1.0, 1.0]), np.array([2.0, 4.0])))
        0.375
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return (numerators / denominators).mean(-1)


def interval(
    numerators: np.ndarray,
    denominators: np.ndarray,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of a metric; nan with fewer than two clusters.

    Args:
        numerators: (C, R), of each cluster.
        denominators: (C, R).
        confidence: In (0, 1).
        draws: Number of resamples.
        seed: Of the resamples, so that a report made again says the same.
    """
    if len(numerators) < 2:
        return UNKNOWN
    counts = resamples(len(numerators), draws, seed)
    return _percentiles(mean_ratio(counts @ numerators, counts @ denominators), confidence)


def paired_difference(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Compare two runs over the same clusters, which are drawn together.

    p is the share of resamples on the other side of 0, doubled; one is added to the count, so that
    it is never 0. What pairs the runs is what makes small differences visible: a hard face is hard
    for both.

    Args:
        first: Numerators and denominators, (C, R) each, of one run.
        second: Of the other, clusters in the same order.
        confidence: In (0, 1).
        draws: Number of resamples.
        seed: Of the resamples.
    """
    value = float(mean_ratio(*_total(second)) - mean_ratio(*_total(first)))
    if len(first[0]) < 2:
        return Difference(value, *UNKNOWN, float("nan"))
    counts = resamples(len(first[0]), draws, seed)
    one, two = (mean_ratio(counts @ run[0], counts @ run[1]) for run in (first, second))
    drawn = two - one
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Difference(value, *UNKNOWN, float("nan"))
    # What rounding leaves of a difference of nothing is nothing.
    drawn[np.abs(drawn) < 1e-12] = 0.0
    below, above = ((np.sum(side) + 1) / (len(drawn) + 1) for side in (drawn <= 0, drawn >= 0))
    p = min(1.0, 2 * float(min(below, above)))
    return Difference(value, *_percentiles(drawn, confidence), p)


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for looking at several metrics at once (Holm 1979); nan stays.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(values) if not np.isnan(p))
    corrected, highest = list(values), 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[place] = highest
    return corrected


def _total(run: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return run[0].sum(0), run[1].sum(0)


def _percentiles(drawn: np.ndarray, confidence: float) -> Interval:
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return UNKNOWN
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
