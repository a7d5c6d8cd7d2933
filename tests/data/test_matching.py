"""Strengths meet as a search over all pairings says."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from pixelsmile.data.matching import match_strengths


def gap(pairs, first, second):
    return sum(abs(first[a] - second[b]) for a, b in pairs)


def every_pairing(long, short):
    """All ways to give each of the longer row one of the shorter, in order and without a rest."""
    for places in combinations_with_replacement(range(short), long):
        if set(places) == set(range(short)):
            yield list(enumerate(places))


@pytest.mark.parametrize("seed", range(20))
def test_match_is_the_closest_of_all_that_lose_nothing(seed):
    numbers = np.random.default_rng(seed)
    long, short = int(numbers.integers(2, 8)), int(numbers.integers(1, 5))
    long = max(long, short)
    first, second = (sorted(numbers.uniform(size=n).round(2).tolist()) for n in (long, short))
    pairs = match_strengths(first, second)
    assert pairs in list(every_pairing(long, short))
    best = min(gap(p, first, second) for p in every_pairing(long, short))
    assert gap(pairs, first, second) == pytest.approx(best)
    assert match_strengths(second, first) == [(b, a) for a, b in pairs]


def test_rows_of_equal_length_meet_place_by_place():
    numbers = np.random.default_rng(0)
    for length in range(1, 30):
        first, second = (sorted(numbers.uniform(size=length)) for _ in range(2))
        assert match_strengths(first, second) == [(i, i) for i in range(length)]
        assert match_strengths([1.0] * length, [1.0] * length) == [(i, i) for i in range(length)]


def test_levels_meet_their_like_whatever_their_number():
    first, second = [0.5] * 3 + [0.75] * 2 + [1.0] * 5, [0.5] * 2 + [0.75] * 2 + [1.0] * 3
    pairs = match_strengths(first, second)
    assert len(pairs) == 10
    assert gap(pairs, first, second) == 0


def test_one_or_no_image_on_a_side():
    assert match_strengths([], [0.5]) == match_strengths([], []) == []
    assert match_strengths([0.1, 0.9], [0.5]) == [(0, 0), (1, 0)]
