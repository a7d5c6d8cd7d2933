import math

import numpy as np
import pytest
import torch
from scipy import stats

from pixelsmile.metrics import HarmonicEditingScore
from pixelsmile.metrics.functional import harmonic_editing_score


def draw(rows, seed=12):
    generator = torch.Generator().manual_seed(seed)
    expression = torch.rand(rows, generator=generator)
    return expression, torch.rand(rows, generator=generator) * 1.4 - 0.4


def reference(expression, identity):
    """Eq. 3, image by image, by the harmonic mean of scipy."""
    scores = []
    for s_e, s_id in zip(expression.tolist(), identity.tolist(), strict=True):
        scores.append(float(stats.hmean([s_e, s_id])) if s_e > 0 and s_id > 0 else 0.0)
    return np.array(scores)


def test_scores_follow_eq_3_image_by_image():
    expression, identity = draw(100)
    expected = reference(expression, identity)
    assert (expected == 0).any()
    score = harmonic_editing_score(expression, identity)
    np.testing.assert_allclose(score.numpy(), expected, rtol=1e-5)
    metric = HarmonicEditingScore()
    metric.update(expression, identity)
    assert metric.compute().item() == pytest.approx(expected.mean(), rel=1e-6)


def test_the_mean_is_over_images_and_not_over_the_two_averages():
    metric = HarmonicEditingScore()
    metric.update(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert metric.compute().item() == 0  # the harmonic mean of the averages would be 0.5


def test_both_arguments_weigh_the_same_where_both_are_positive():
    expression, identity = draw(50)
    identity = identity.abs()
    swapped = harmonic_editing_score(identity, expression)
    torch.testing.assert_close(harmonic_editing_score(expression, identity), swapped)


def test_a_negative_cosine_and_a_score_of_0_give_0():
    score = harmonic_editing_score(torch.tensor([0.9, 0.0, 0.0]), torch.tensor([-0.5, 0.7, 0.0]))
    assert score.tolist() == [0, 0, 0]


def test_rounding_beyond_the_range_is_clipped():
    score = harmonic_editing_score(torch.tensor([1.00001]), torch.tensor([1.00001]))
    assert score.item() == 1


def test_bf16_scores_are_averaged_in_full_precision():
    expression, identity = (x.bfloat16() for x in draw(100))
    score = harmonic_editing_score(expression, identity)
    assert score.dtype == torch.float32
    np.testing.assert_allclose(score, reference(expression, identity), rtol=1e-5)


def test_the_interval_is_that_of_a_mean():
    expression, identity = draw(80)
    metric = HarmonicEditingScore()
    metric.update(expression, identity)
    values = reference(expression, identity)
    expected = stats.norm.interval(0.9, loc=values.mean(), scale=stats.sem(values))
    assert metric.interval(0.9) == pytest.approx(expected, rel=1e-6)
    assert metric.num_samples == 80


def test_the_result_does_not_depend_on_the_batches_or_on_merging():
    expression, identity = draw(101)
    whole, left, right = (HarmonicEditingScore() for _ in range(3))
    whole.update(expression, identity)
    for part in torch.arange(101).split([50, 0, 1, 50]):
        (left if len(part) == 50 else right).update(expression[part], identity[part])
    left.compute()
    left.merge_state(right)
    torch.testing.assert_close(left.compute(), whole.compute(), rtol=1e-7, atol=0)
    torch.testing.assert_close(left.total, whole.total, rtol=1e-14, atol=0)
    assert left.interval() == pytest.approx(whole.interval(), rel=1e-12)


def test_no_row_gives_nan_and_one_row_the_whole_range():
    metric = HarmonicEditingScore()
    metric.update(torch.empty(0), torch.empty(0))
    assert math.isnan(metric.compute())
    assert all(math.isnan(limit) for limit in metric.interval())
    metric.update(torch.tensor([0.5]), torch.tensor([0.5]))
    assert metric.compute().item() == 0.5
    assert metric.interval() == (0, 1)


def test_impossible_values_are_refused():
    good = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="expression_score holds 1 values that are not finite, of"):
        harmonic_editing_score(torch.tensor([0.5, torch.nan]), good)
    with pytest.raises(ValueError, match=r"expression_score holds 85, outside \[0, 1\]: rescale"):
        harmonic_editing_score(torch.tensor([0.5, 85.0]), good)
    with pytest.raises(ValueError, match=r"identity_similarity holds -1.5, outside \[-1, 1\]"):
        harmonic_editing_score(good, torch.tensor([0.5, -1.5]))
    with pytest.raises(ValueError, match=r"identity_similarity has shape \(1,\)"):
        HarmonicEditingScore().update(good, good[:1])
    with pytest.raises(ValueError, match=r"expression_score has shape \(1, 2\): give \(B,\)"):
        HarmonicEditingScore().update(good[None], good[None])
