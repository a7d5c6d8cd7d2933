import math

import numpy as np
import pytest
import torch
from scipy import stats

from pixelsmile.metrics import ControlLinearityScore
from pixelsmile.metrics.functional import constant_curves, control_linearity_score


def draw(curves, strengths=7, seed=13):
    generator = torch.Generator().manual_seed(seed)
    strength = torch.linspace(0, 1.5, strengths).expand(curves, -1)
    slope = torch.rand(curves, 1, generator=generator) - 0.2
    noise = torch.rand(curves, strengths, generator=generator)
    return strength, 0.3 + 0.3 * slope * strength + 0.2 * noise


def reference(strength, score):
    return np.array(
        [
            0.0 if len(set(y)) == 1 else stats.pearsonr(x, y).statistic
            for x, y in zip(strength.double().tolist(), score.double().tolist(), strict=True)
        ]
    )


@pytest.mark.parametrize("strengths", [2, 3, 11])
def test_curves_agree_with_scipy_and_the_score_is_their_mean(strengths):
    strength, score = draw(40, strengths)
    score[5] = 0.25
    expected = reference(strength, score)
    value = control_linearity_score(strength, score)
    np.testing.assert_allclose(value.numpy(), expected, atol=1e-6)
    metric = ControlLinearityScore()
    metric.update(strength, score)
    assert metric.compute().item() == pytest.approx(expected.mean(), rel=1e-6)
    assert metric.constant == 1
    assert metric.num_samples == 40


def test_the_correlation_is_per_curve_and_not_over_all_points():
    strength = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    metric = ControlLinearityScore()
    metric.update(strength, torch.tensor([[0.0, 0.1], [0.8, 0.9]]))
    assert metric.compute().item() == pytest.approx(1, abs=1e-15)


def test_the_score_ignores_scale_and_offset_and_changes_sign_with_the_slope():
    strength, score = draw(30)
    value = control_linearity_score(strength, score)
    for scale, offset in ((1e-3, 0.7), (100.0, -5.0)):
        moved = control_linearity_score(strength * 2 + 1, score.double() * scale + offset)
        torch.testing.assert_close(moved.float(), value, rtol=0, atol=1e-6)
    torch.testing.assert_close(control_linearity_score(strength, -score), -value)


def test_tiny_and_huge_ranges_neither_vanish_nor_overflow():
    strength = torch.linspace(0, 1, 5, dtype=torch.float64).expand(2, -1)
    score = strength * torch.tensor([[1e-300], [1e300]], dtype=torch.float64)
    torch.testing.assert_close(control_linearity_score(strength, score).tolist(), [1.0, 1.0])


def test_the_score_ignores_the_order_of_the_strengths():
    strength, score = draw(10)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    shuffled = control_linearity_score(strength[:, order], score[:, order])
    torch.testing.assert_close(shuffled, control_linearity_score(strength, score))


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
def test_a_constant_curve_counts_0_and_is_counted(value):
    strength = torch.linspace(0, 1, 7).expand(2, -1)
    score = torch.stack([torch.full((7,), value), strength[0]])
    torch.testing.assert_close(control_linearity_score(strength, score), torch.tensor([0.0, 1.0]))
    assert constant_curves(score).tolist() == [True, False]
    metric = ControlLinearityScore()
    metric.update(strength, score)
    assert metric.compute().item() == pytest.approx(0.5)
    assert (metric.constant, metric.num_samples) == (1, 2)


def test_the_interval_is_that_of_a_mean_over_curves():
    strength, score = draw(60)
    metric = ControlLinearityScore()
    metric.update(strength, score)
    values = reference(strength, score)
    expected = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    assert metric.interval() == pytest.approx(expected, rel=1e-6)


def test_the_result_does_not_depend_on_the_batches_or_on_merging():
    strength, score = draw(101)
    score[[3, 60]] = 0.5
    whole, left, right = (ControlLinearityScore() for _ in range(3))
    whole.update(strength, score)
    for part in torch.arange(101).split([50, 0, 1, 50]):
        (left if len(part) == 50 else right).update(strength[part], score[part])
    left.compute()
    left.merge_state(right)
    torch.testing.assert_close(left.compute(), whole.compute(), rtol=1e-7, atol=0)
    torch.testing.assert_close(left.total, whole.total, rtol=1e-14, atol=0)
    assert left.constant == whole.constant == 2


def test_updates_may_have_different_numbers_of_strengths():
    metric, values = ControlLinearityScore(), []
    for strengths in (3, 5):
        curves = draw(4, strengths)
        metric.update(*curves)
        values.extend(reference(*curves))
    assert metric.compute().item() == pytest.approx(np.mean(values), rel=1e-6)


def test_no_curve_gives_nan_and_one_curve_the_whole_range():
    metric = ControlLinearityScore()
    metric.update(torch.empty(0, 5), torch.empty(0, 5))
    assert math.isnan(metric.compute())
    metric.update(*draw(1))
    assert metric.compute().item() == pytest.approx(reference(*draw(1))[0], rel=1e-6)
    assert metric.interval() == (-1, 1)


def test_impossible_curves_are_refused():
    strength, score = draw(3)
    broken = score.clone()
    broken[1, 2] = torch.nan
    with pytest.raises(ValueError, match="score holds 1 values that are not finite, of 21"):
        control_linearity_score(strength, broken)
    with pytest.raises(ValueError, match=r"strength is 0.5 all along curve 1: vary the strength"):
        control_linearity_score(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.rand(2, 2))
    with pytest.raises(ValueError, match="strength has 1 values per curve: give at least 2"):
        control_linearity_score(strength[:, :1], score[:, :1])
    with pytest.raises(ValueError, match=r"strength has shape \(7,\) and score \(3, 7\)"):
        ControlLinearityScore().update(strength[0], score)
    with pytest.raises(ValueError, match=r"score has shape \(7,\): give \(B, S\)"):
        ControlLinearityScore().update(strength[0], score[0])
