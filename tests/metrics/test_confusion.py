import math

import pytest
import torch

from pixelsmile.expressions import CONFUSING_PAIRS, EXPRESSIONS, pair_indices
from pixelsmile.metrics import MeanStructuralConfusionRate
from pixelsmile.metrics.functional import confusion_table, mean_structural_confusion_rate

PAIRS = pair_indices()
TRIANGLE = [(0, 1), (0, 2), (1, 2)]


def draw(rows, num_expressions=12, seed=9):
    generator = torch.Generator().manual_seed(seed)
    predicted, requested = torch.randint(num_expressions, (2, rows), generator=generator)
    return predicted, requested


def directed(predicted, requested, i, j):
    """Eq. 1, image by image."""
    seen = [p for p, r in zip(predicted.tolist(), requested.tolist(), strict=True) if r == i]
    return sum(p == j for p in seen) / len(seen)


def reference(predicted, requested, pairs):
    """Eq. 2 and its mean."""
    rates = [
        (directed(predicted, requested, i, j) + directed(predicted, requested, j, i)) / 2
        for i, j in pairs
    ]
    return sum(rates) / len(rates)


@pytest.mark.parametrize(
    ("pairs", "num_expressions"), [(PAIRS, 12), ([(0, 1)], 3), (TRIANGLE, 3)], ids=str
)
def test_mscr_follows_eqs_1_and_2_image_by_image(pairs, num_expressions):
    predicted, requested = draw(300, num_expressions)
    expected = reference(predicted, requested, pairs)
    metric = MeanStructuralConfusionRate(pairs=pairs, num_expressions=num_expressions)
    metric.update(predicted=predicted, requested=requested)
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6)
    counts = confusion_table(requested, predicted, num_expressions)
    value = mean_structural_confusion_rate(counts, pairs)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_the_table_has_requests_as_rows_and_predictions_as_columns():
    predicted, requested = draw(200)
    table = confusion_table(requested, predicted, 12)
    for i in range(12):
        for j in range(12):
            assert table[i, j] == ((requested == i) & (predicted == j)).sum()
    assert table.dtype == torch.int64


def test_mscr_is_0_without_confusion_1_when_all_swap_and_half_when_a_pair_collapses():
    first, second = PAIRS[0]
    requested = torch.tensor([first, first, second, second])
    for predicted, expected in (
        (requested, 0.0),
        (requested.flip(0), 1.0),
        (torch.full_like(requested, first), 0.5),
    ):
        metric = MeanStructuralConfusionRate(pairs=[PAIRS[0]])
        metric.update(predicted, requested)
        assert metric.compute().item() == expected


def test_mistakes_outside_the_pairs_do_not_count():
    other = EXPRESSIONS.index("sleepy")
    first, second = PAIRS[0]
    metric = MeanStructuralConfusionRate(pairs=[PAIRS[0]])
    metric.update(torch.tensor([other, other, first]), torch.tensor([first, second, other]))
    assert metric.compute().item() == 0
    assert metric.num_samples == 2


def test_mscr_ignores_the_direction_and_the_order_of_the_pairs():
    predicted, requested = draw(300)
    counts = confusion_table(requested, predicted, 12)
    value = mean_structural_confusion_rate(counts, PAIRS)
    turned = [pair[::-1] for pair in PAIRS[::-1]]
    torch.testing.assert_close(mean_structural_confusion_rate(counts, turned), value)


def test_an_expression_that_was_never_requested_makes_the_result_nan_not_0():
    metric = MeanStructuralConfusionRate(pairs=[(0, 1)], num_expressions=3)
    metric.update(torch.tensor([0, 0, 2]), torch.tensor([0, 0, 2]))
    assert math.isnan(metric.compute())
    assert all(math.isnan(limit) for limit in metric.interval())


def test_the_result_does_not_depend_on_the_batches():
    predicted, requested = draw(101)
    whole = MeanStructuralConfusionRate(pairs=PAIRS)
    whole.update(predicted, requested)
    split = MeanStructuralConfusionRate(pairs=PAIRS)
    for part in torch.randperm(101, generator=torch.Generator().manual_seed(1)).split(
        [60, 0, 1, 40]
    ):
        split.update(predicted[part], requested[part])
    assert torch.equal(whole.compute(), split.compute())
    assert whole.interval() == split.interval()


def test_merging_two_metrics_equals_one_that_saw_everything():
    predicted, requested = draw(80)
    whole, left, right = (MeanStructuralConfusionRate(pairs=PAIRS) for _ in range(3))
    whole.update(predicted, requested)
    left.update(predicted[:70], requested[:70])
    left.compute()  # a value computed before must not survive the merge
    right.update(predicted[70:], requested[70:])
    left.merge_state(right)
    assert torch.equal(left.compute(), whole.compute())
    assert left.interval() == whole.interval()


def test_forward_returns_the_batch_and_accumulates_the_epoch():
    predicted, requested = draw(400)
    metric = MeanStructuralConfusionRate(pairs=PAIRS)
    for half in (slice(0, 200), slice(200, 400)):
        batch = metric(predicted[half], requested[half])
        expected = reference(predicted[half], requested[half], PAIRS)
        assert batch.item() == pytest.approx(expected, rel=1e-6)
    assert metric.compute().item() == pytest.approx(reference(predicted, requested, PAIRS))
    metric.reset()
    assert metric.num_samples == 0


def test_the_interval_has_a_width_without_a_single_confusion():
    requested = torch.tensor([i for pair in PAIRS for i in pair]).repeat(17)
    metric = MeanStructuralConfusionRate(pairs=PAIRS)
    metric.update(requested, requested)
    low, high = metric.interval()
    assert metric.compute().item() == low == 0
    assert 0.02 < high < 0.2
    assert metric.interval(0.99)[1] > high


@pytest.mark.parametrize("pairs", [PAIRS, TRIANGLE], ids=["paper", "triangle"])
def test_the_interval_contains_the_value_also_where_pairs_share_an_expression(pairs):
    for seed in range(20):
        metric = MeanStructuralConfusionRate(pairs=pairs)
        metric.update(*draw(120, seed=seed))
        low, high = metric.interval()
        assert 0 <= low <= metric.compute().item() + 1e-7
        assert metric.compute().item() <= high + 1e-7 <= 1 + 1e-7


def test_the_interval_covers_the_truth_where_pairs_share_an_expression():
    generator = torch.Generator().manual_seed(10)
    chances = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])
    requested = torch.arange(3).repeat_interleave(20)
    truth = (0.2 + 0.1 + 0.1 + 0.05 + 0.1 + 0.15) / 6
    covered = 0
    for _ in range(300):
        predicted = torch.multinomial(chances[requested], 1, generator=generator).flatten()
        metric = MeanStructuralConfusionRate(pairs=TRIANGLE, num_expressions=3)
        metric.update(predicted, requested)
        low, high = metric.interval()
        covered += low <= truth <= high
    assert 0.91 <= covered / 300 <= 0.99


def test_one_row_and_no_row_are_valid_batches():
    metric = MeanStructuralConfusionRate(pairs=[(0, 1)], num_expressions=2)
    none = torch.empty(0, dtype=torch.int64)
    metric.update(none, none)
    metric.update(torch.tensor([1]), torch.tensor([0]))
    metric.update(torch.tensor([1]), torch.tensor([1]))
    assert metric.compute().item() == 0.5


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "pairs is empty"),
        ([(0, 12)], r"pairs holds \(0, 12\), outside 0 to 11"),
        ([(-1, 2)], r"pairs holds \(-1, 2\), outside"),
        ([(3, 3)], r"pairs holds \(3, 3\): name two different"),
        ([(0, 1), (1, 0)], r"pairs holds \(1, 0\) twice"),
        (CONFUSING_PAIRS, r"\('fear', 'surprised'\): give indices, see expressions.pair_indices"),
    ],
)
def test_impossible_pairs_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        MeanStructuralConfusionRate(pairs=pairs)


def test_impossible_rows_are_refused():
    metric = MeanStructuralConfusionRate(pairs=PAIRS)
    good = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="predicted holds 12, outside 0 to 11: leave rows without"):
        metric.update(predicted=torch.tensor([0, 12]), requested=good)
    with pytest.raises(ValueError, match="requested holds -1, outside 0 to 11"):
        metric.update(predicted=good, requested=torch.tensor([-1, 0]))
    with pytest.raises(ValueError, match=r"predicted has shape \(1,\) and requested \(2,\)"):
        metric.update(predicted=good[:1], requested=good)
    with pytest.raises(ValueError, match=r"predicted is torch.float32: give integer indices"):
        metric.update(predicted=good.float(), requested=good)
    with pytest.raises(ValueError, match=r"requested has shape \(1, 2\): give one index per row"):
        metric.update(predicted=good[None], requested=good[None])
    with pytest.raises(ValueError, match=r"counts has shape \(2, 3\): give the square table"):
        mean_structural_confusion_rate(torch.zeros(2, 3), [(0, 1)])
