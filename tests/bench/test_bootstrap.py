"""The bootstrap against SciPy, plain loops and what an interval promises."""

import numpy as np
import pytest
from scipy import stats

from pixelsmile.bench import bootstrap


def ones(values):
    values = np.asarray(values, dtype=float)[:, None]
    return values, np.ones_like(values)


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=80)
    low, high = bootstrap.interval(*ones(values))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", random_state=1
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02 * values.std())


def test_a_mean_of_ratios_is_that_of_plain_loops_over_drawn_faces():
    generator = np.random.default_rng(1)
    numerators, denominators = generator.random((2, 7, 4)) + 0.1
    counts = bootstrap.resamples(7, draws=20, seed=3)
    got = bootstrap.mean_ratio(counts @ numerators, counts @ denominators)
    for row, value in zip(counts, got, strict=True):
        drawn = [face for face, times in enumerate(row) for _ in range(int(times))]
        assert len(drawn) == 7
        ratios = [
            sum(numerators[face][r] for face in drawn)
            / sum(denominators[face][r] for face in drawn)
            for r in range(4)
        ]
        assert value == pytest.approx(sum(ratios) / 4, rel=1e-12)


def test_the_interval_covers_the_truth_as_often_as_it_claims():
    generator = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        low, high = bootstrap.interval(*ones(generator.random(60)), draws=400, seed=trial)
        hits += low <= 0.5 <= high
    assert 0.91 <= hits / 300 <= 0.98


def test_faces_that_are_edited_twice_widen_the_interval():
    """Two equal edits of one face are one observation; taken for two they would look surer."""
    values = np.random.default_rng(3).random(40)
    clustered = bootstrap.interval(2 * values[:, None], np.full((40, 1), 2.0))
    independent = bootstrap.interval(*ones(np.repeat(values, 2)))
    assert clustered[1] - clustered[0] > 1.3 * (independent[1] - independent[0])


def test_pairing_finds_a_difference_that_unpaired_runs_hide():
    generator = np.random.default_rng(4)
    hard = generator.random(60)
    better = hard + 0.02 + 0.01 * generator.standard_normal(60)
    paired = bootstrap.paired_difference(ones(hard), ones(better))
    assert paired.p < 0.001
    assert paired.low > 0
    apart = bootstrap.paired_difference(ones(hard), ones(generator.permutation(better)))
    assert apart.p > 0.1
    assert paired.value == pytest.approx(apart.value, rel=1e-9)


def test_p_is_uniform_where_there_is_no_difference():
    generator = np.random.default_rng(5)
    values = [
        bootstrap.paired_difference(*(ones(generator.random(50)) for _ in "ab"), draws=400).p
        for _ in range(300)
    ]
    assert np.mean(np.array(values) < 0.05) < 0.1
    assert stats.kstest(values, "uniform").pvalue > 0.001


def test_equal_runs_do_not_differ_and_two_orders_mirror_each_other():
    generator = np.random.default_rng(6)
    one, two = ones(generator.random(30)), ones(generator.random(30))
    same = bootstrap.paired_difference(one, one)
    assert same == (0.0, 0.0, 0.0, 1.0)
    forth, back = bootstrap.paired_difference(one, two), bootstrap.paired_difference(two, one)
    assert forth.value == -back.value
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
    assert forth.p == back.p


def test_one_face_says_nothing():
    assert np.isnan(bootstrap.interval(*ones([0.5]))).all()
    assert np.isnan(bootstrap.paired_difference(ones([0.5]), ones([0.7])).p)


def test_holm_keeps_order_never_lowers_and_leaves_what_is_unknown():
    values = [0.2, float("nan"), 0.01, 0.02]
    corrected = bootstrap.holm(values)
    assert corrected[2:] == pytest.approx([0.03, 0.04])
    assert corrected[0] == pytest.approx(0.2)
    assert np.isnan(corrected[1])
    assert bootstrap.holm([0.9, 0.8]) == [1.0, 1.0]
