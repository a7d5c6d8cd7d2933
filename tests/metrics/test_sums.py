"""Sums are the same in any order, and as exact as the values."""

from math import fsum

import pytest
import torch

from pixelsmile.metrics import HarmonicEditingScore, IdentitySimilarity
from pixelsmile.metrics.sums import from_parts, to_parts


@pytest.fixture
def values():
    numbers = torch.Generator().manual_seed(3)
    return torch.rand(4001, generator=numbers, dtype=torch.float64) * 2 - 1


def test_sum_equals_the_exactly_rounded_one(values):
    assert float(from_parts(to_parts(values).sum(dim=0))) == pytest.approx(
        fsum(values.tolist()), abs=4001 * 2**-53
    )


def test_ends_of_the_range_are_exact():
    ends = torch.tensor([-1.0, -0.5, 0.0, 2**-52, 1.0], dtype=torch.float64)
    assert torch.equal(from_parts(to_parts(ends)), ends)


def test_no_bit_of_a_mean_depends_on_order_or_batches(values):
    floats = {float(values.sum()), float(values.sort().values.sum())}
    assert len(floats) == 2  # plain sums do depend on it: the data can tell
    scores = values.abs()
    whole, parts = HarmonicEditingScore(), HarmonicEditingScore()
    whole.update(scores, scores.flip(0))
    for part in torch.randperm(4001, generator=torch.Generator().manual_seed(1)).split(7):
        parts.update(scores[part], scores.flip(0)[part])
    assert float(whole.compute()) == float(parts.compute())
    assert whole.interval() == parts.interval()


def test_no_bit_of_a_recognisers_mean_depends_on_the_order(values):
    whole, parts = IdentitySimilarity(), IdentitySimilarity()
    cosines = values[:4000].view(2, 2000)
    whole.update_similarity(cosines)
    for part in cosines.flip(1).split(9, dim=1):
        parts.update_similarity(part)
    assert torch.equal(whole.per_recogniser(), parts.per_recogniser())
