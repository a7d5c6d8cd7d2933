"""Which image of one expression meets which of another, by how strong they are. Pure."""

from collections.abc import Sequence

import numpy as np


def match_strengths(first: Sequence[float], second: Sequence[float]) -> list[tuple[int, int]]:
    """Return the pairs of places at which two ascending rows of strengths meet.

    The order is kept, nothing is left out, and each of the longer row comes once; among all such
    pairings the sum of the differences is the smallest. Rows of equal length meet place by place.

    Args:
        first: Ascending.
        second: Likewise.

    Example:
        >>> match_strengths([0.2, 0.4, 0.6, 0.8, 1.0], [0.8, 0.9, 1.0])
        [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2)]
        >>> match_strengths([0.5], [])
        []
    """
    if len(first) < len(second):
        return [(place, other) for other, place in match_strengths(second, first)]
    if not second:
        return []
    gaps = np.abs(np.subtract.outer(np.asarray(first, float), np.asarray(second, float)))
    # least[j]: the smallest sum if the rows so far end with place j of the shorter one.
    least = np.full(len(second), np.inf)
    least[0] = gaps[0, 0]
    stays = np.zeros(gaps.shape, dtype=bool)
    for place in range(1, len(first)):
        moved = np.concatenate([[np.inf], least[:-1]])
        stays[place] = least <= moved
        least = gaps[place] + np.minimum(least, moved)
    return _backwards(stays)


def _backwards(stays: np.ndarray) -> list[tuple[int, int]]:
    """Return the best pairing, from its last pair to its first and turned round."""
    place, other = stays.shape[0] - 1, stays.shape[1] - 1
    pairs = [(place, other)]
    while place:
        other -= not stays[place, other]
        place -= 1
        pairs.append((place, int(other)))
    return pairs[::-1]
