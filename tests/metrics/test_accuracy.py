import math

import pytest
import torch
from scipy import stats

from pixelsmile.expressions import BASIC, index
from pixelsmile.metrics import ExpressionAccuracy
from pixelsmile.metrics.functional import expression_accuracy

SIX = [index(name) for name in BASIC]


def draw(rows, seed=11):
    generator = torch.Generator().manual_seed(seed)
    requested = torch.randint(12, (rows,), generator=generator)
    noise = torch.randint(12, (rows,), generator=generator)
    keep = torch.rand(rows, generator=generator) < 0.5
    return torch.where(keep, requested, noise), requested


@pytest.mark.parametrize("expressions", [None, SIX, [3]], ids=["all", "six", "one"])
def test_accuracy_is_the_share_of_counted_rows_that_are_right(expressions):
    predicted, requested = draw(200)
    right = [
        p == r
        for p, r in zip(predicted.tolist(), requested.tolist(), strict=True)
        if expressions is None or r in expressions
    ]
    metric = ExpressionAccuracy(expressions)
    metric.update(predicted, requested)
    expected = sum(right) / len(right)
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6)
    assert metric.num_samples == len(right)
    value = expression_accuracy(predicted, requested, expressions)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_a_basic_request_seen_as_an_extended_expression_is_wrong_not_left_out():
    anxious, fear = index("anxious"), index("fear")
    metric = ExpressionAccuracy(SIX)
    metric.update(predicted=torch.tensor([anxious, fear]), requested=torch.tensor([fear, fear]))
    assert metric.compute().item() == 0.5


def test_an_extended_request_does_not_enter_accuracy_over_six():
    anxious, fear = index("anxious"), index("fear")
    metric = ExpressionAccuracy(SIX)
    metric.update(predicted=torch.tensor([fear, fear]), requested=torch.tensor([anxious, fear]))
    assert metric.compute().item() == 1
    assert metric.num_samples == 1


def test_the_interval_of_the_paper_acc_6_is_0_74_to_0_93():
    requested = torch.full((51,), SIX[0])
    predicted = torch.where(torch.arange(51) < 44, requested, SIX[1])
    metric = ExpressionAccuracy(SIX)
    metric.update(predicted, requested)
    assert metric.compute().item() == pytest.approx(0.8627, abs=1e-4)
    expected = stats.binomtest(44, 51).proportion_ci(method="wilson")
    assert metric.interval() == pytest.approx((expected.low, expected.high))
    assert [round(limit, 2) for limit in metric.interval()] == [0.74, 0.93]


def test_the_result_does_not_depend_on_the_batches_or_on_merging():
    predicted, requested = draw(101)
    whole, left, right = (ExpressionAccuracy(SIX) for _ in range(3))
    whole.update(predicted, requested)
    for part in torch.arange(101).split([50, 0, 1, 50]):
        (left if len(part) == 50 else right).update(predicted[part], requested[part])
    left.compute()
    left.merge_state(right)
    assert torch.equal(left.compute(), whole.compute())
    assert left.interval() == whole.interval()


def test_without_a_row_that_counts_the_accuracy_is_nan():
    metric = ExpressionAccuracy(SIX)
    none = torch.empty(0, dtype=torch.int64)
    metric.update(none, none)
    assert math.isnan(metric.compute())
    assert all(math.isnan(limit) for limit in metric.interval())
    assert math.isnan(expression_accuracy(none, none))


def test_impossible_subsets_and_rows_are_refused():
    with pytest.raises(ValueError, match="expressions is empty: give the indices that count"):
        ExpressionAccuracy([])
    with pytest.raises(ValueError, match="expressions holds 12, outside 0 to 11"):
        ExpressionAccuracy([0, 12])
    with pytest.raises(ValueError, match="expressions holds 'fear': give indices"):
        ExpressionAccuracy(["fear"])
    with pytest.raises(ValueError, match="predicted holds 7, outside 0 to 6"):
        ExpressionAccuracy(num_expressions=7).update(torch.tensor([7]), torch.tensor([6]))
    with pytest.raises(ValueError, match=r"predicted has shape \(1,\) and requested \(2,\)"):
        expression_accuracy(torch.tensor([1]), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"requested is torch.bool: give integer indices"):
        expression_accuracy(torch.tensor([1]), torch.tensor([True]))
