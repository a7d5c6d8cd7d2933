import itertools
import math

import numpy as np
import pytest
from scipy import stats

from pixelsmile.metrics.intervals import mean_interval, mean_rate_interval, wilson_interval


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "total"), [(0, 7), (1, 7), (44, 51), (500, 1000), (7, 7)])
def test_wilson_agrees_with_scipy(successes, total, confidence):
    expected = stats.binomtest(successes, total).proportion_ci(confidence, method="wilson")
    low, high = wilson_interval(successes, total, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_has_a_width_and_exact_ends_at_0_and_at_all_successes():
    for total in (1, 3, 51, 10_000):
        low, high = wilson_interval(0, total)
        assert low == 0
        assert 0 < high < 1
        assert wilson_interval(total, total) == pytest.approx((1 - high, 1))
        assert wilson_interval(total, total)[1] == 1


def test_the_mean_of_rates_with_equal_trials_is_wilson_of_the_pooled_events():
    for events in ([0, 0], [3, 1], [10, 10], [2, 0, 7]):
        expected = wilson_interval(sum(events), 10 * len(events))
        assert mean_rate_interval(events, [10] * len(events)) == pytest.approx(expected)


def test_the_interval_of_a_mean_of_rates_approaches_the_normal_one_with_many_trials():
    rate, totals = 0.3, [100_000, 40_000]
    variance = sum(rate * (1 - rate) / n for n in totals) / 2**2
    half = stats.norm.ppf(0.975) * math.sqrt(variance)
    interval = mean_rate_interval([rate * n for n in totals], totals)
    assert interval == pytest.approx((rate - half, rate + half), abs=1e-4)
    assert interval[1] - interval[0] == pytest.approx(2 * half, rel=1e-3)


def test_the_interval_of_a_mean_of_rates_grows_when_one_has_few_trials():
    even = mean_rate_interval([5, 5], [50, 50])
    uneven = mean_rate_interval([9, 1], [90, 10])
    assert uneven[1] - uneven[0] > 1.2 * (even[1] - even[0])


@pytest.mark.parametrize("totals", [(17, 17), (8, 17), (50, 50)], ids=str)
@pytest.mark.parametrize("rates", [(0.02, 0.02), (0.05, 0.2), (0.1, 0.1), (0.3, 0.0)], ids=str)
def test_the_interval_of_a_mean_of_rates_covers_the_truth_as_often_as_it_claims(rates, totals):
    """The exact coverage: the sum of the chances of all outcomes whose interval has the truth."""
    first, second = (
        stats.binom.pmf(range(n + 1), n, p) for n, p in zip(totals, rates, strict=True)
    )
    truth, covered = sum(rates) / 2, 0.0
    for events in itertools.product(range(totals[0] + 1), range(totals[1] + 1)):
        low, high = mean_rate_interval(events, totals)
        if low <= truth <= high:
            covered += first[events[0]] * second[events[1]]
    assert 0.93 <= covered <= 0.995


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_interval_of_a_mean_agrees_with_scipy(confidence):
    values = np.random.default_rng(8).normal(0.4, 0.2, size=60)
    expected = stats.norm.interval(confidence, loc=values.mean(), scale=stats.sem(values))
    interval = mean_interval(values.sum(), (values**2).sum(), 60, confidence)
    assert interval == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_a_mean_stays_in_the_range_of_its_values():
    assert mean_interval(1.0, 1.0, 2, lowest=0.0, highest=1.0) == (0.0, 1.0)  # of 0 and 1


def test_equal_values_have_no_spread_even_where_rounding_says_otherwise():
    values = np.full(10, 0.1)
    low, high = mean_interval(values.sum(), (values**2).sum(), 10)
    assert (low, high) == pytest.approx((0.1, 0.1), abs=1e-8)


def test_one_value_says_nothing_about_the_spread():
    assert mean_interval(0.3, 0.09, 1, lowest=-1.0, highest=1.0) == (-1.0, 1.0)


def test_without_samples_every_interval_is_nan():
    for interval in (
        wilson_interval(0, 0),
        mean_rate_interval([1, 0], [5, 0]),
        mean_rate_interval([], []),
        mean_interval(0.0, 0.0, 0),
    ):
        assert all(math.isnan(limit) for limit in interval)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    for call in (
        lambda: wilson_interval(1, 2, confidence),
        lambda: mean_rate_interval([1], [2], confidence),
        lambda: mean_interval(1.0, 1.0, 2, confidence),
    ):
        with pytest.raises(ValueError, match=rf"confidence is {confidence}: choose a share"):
            call()


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="successes is 3: give a count from 0 to total, 2"):
        wilson_interval(3, 2)
    with pytest.raises(ValueError, match="successes is -1"):
        mean_rate_interval([-1], [2])
    with pytest.raises(ValueError, match="count is -1: give the number of values"):
        mean_interval(0.0, 0.0, -1)
