"""Confidence intervals for rates and means, in plain floats.

All of them treat images as independent draws. Edits of one face are not quite that, so read the
intervals as lower bounds of the true uncertainty. With no sample everything is nan.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

Interval = tuple[float, float]
"""(low, high)."""

UNKNOWN: Interval = (math.nan, math.nan)


def wilson_interval(successes: float, total: float, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a rate, within [0, 1].

    Unlike the normal interval it does not shrink to a point at 0 or `total` successes.

    Args:
        successes: Events seen, 0 to total.
        total: Trials, 0 or more.
        confidence: In (0, 1).

    Raises:
        ValueError: If the confidence is out of range or the counts are impossible.

    Example:
        The paper's Acc-6 of 0.8627 is 44 of 51:

        >>> low, high = wilson_interval(44, 51)
        >>> f"{low:.2f} to {high:.2f}"
        '0.74 to 0.93'
    """
    z = _quantile(confidence)
    if not 0 <= successes <= total:
        raise ValueError(
            f"successes is {successes} of total {total}: give 0 <= successes <= total."
        )
    if total == 0:
        return UNKNOWN
    rate = successes / total
    centre = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    half /= 1 + z * z / total
    # rounding must not push the limits inside at the ends, where they are exactly 0 and 1
    low = 0.0 if successes == 0 else max(centre - half, 0.0)
    high = 1.0 if successes == total else min(centre + half, 1.0)
    return low, high


def weighted_rates_interval(
    successes: Sequence[float],
    totals: Sequence[float],
    weights: Sequence[float],
    confidence: float = 0.95,
) -> Interval:
    r"""Return an interval of sum_i w_i p_i, a weighted sum of independent rates.

    The method is MOVER (Zou and Donner, 2008; Newcombe, 1998): with the Wilson limits l_i, u_i,

    .. math:: \hat\theta - \sqrt{\sum_i w_i^2 (\hat p_i - l_i)^2}, \qquad
        \hat\theta + \sqrt{\sum_i w_i^2 (u_i - \hat p_i)^2} .

    It allows a different number of trials for each rate, which pooling the events does not, always
    contains the estimate, and inherits from Wilson that it never shrinks to a point.

    Args:
        successes: Events of each rate.
        totals: Trials of each rate; one total of 0 makes the result nan.
        weights: Positive weight of each rate.
        confidence: In (0, 1).

    Raises:
        ValueError: If the confidence is out of range or the counts are impossible.

    Example:
        No confusion in 20 images of either expression of a pair:

        >>> low, high = weighted_rates_interval([0, 0], [20, 20], [0.5, 0.5])
        >>> f"{low:.2f} to {high:.2f}"
        '0.00 to 0.11'
    """
    _quantile(confidence)
    if not totals or 0 in totals:
        return UNKNOWN
    limits = [wilson_interval(k, n, confidence) for k, n in zip(successes, totals, strict=True)]
    rates = [k / n for k, n in zip(successes, totals, strict=True)]
    centre = math.fsum(w * p for w, p in zip(weights, rates, strict=True))
    below = math.hypot(
        *(w * (p - lo) for w, p, (lo, _) in zip(weights, rates, limits, strict=True))
    )
    above = math.hypot(
        *(w * (hi - p) for w, p, (_, hi) in zip(weights, rates, limits, strict=True))
    )
    return max(centre - below, 0.0), min(centre + above, math.fsum(weights))


def mean_interval(
    total: float,
    square_total: float,
    count: int,
    confidence: float = 0.95,
    *,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> Interval:
    """Return the normal interval of a mean from the sum and the sum of squares.

    One sample says nothing about the spread, so its interval is the whole range.

    Args:
        total: Sum of the values.
        square_total: Sum of their squares.
        count: Number of values.
        confidence: In (0, 1).
        lowest: Lower end of the range of a value; the interval is clipped to the range.
        highest: Upper end of the range.

    Raises:
        ValueError: If the confidence is out of range or the count negative.

    Example:
        >>> low, high = mean_interval(total=4.0, square_total=10.0, count=2)  # of 1 and 3
        >>> f"{low:.2f} to {high:.2f}"
        '0.04 to 3.96'
    """
    z = _quantile(confidence)
    if count < 0:
        raise ValueError(f"count is {count}: give the number of values, 0 or more.")
    if count == 0:
        return UNKNOWN
    if count == 1:
        return lowest, highest
    mean = total / count
    variance = max(square_total - total * mean, 0.0) / (count - 1)
    half = z * math.sqrt(variance / count)
    return max(mean - half, lowest), min(mean + half, highest)


def _quantile(confidence: float) -> float:
    """Return z of a two-sided interval, 1.96 for 0.95."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: choose a share in (0, 1), such as 0.95.")
    return NormalDist().inv_cdf((1 + confidence) / 2)
