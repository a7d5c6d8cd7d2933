"""Monotone curves: the fit, and the way back from what is perceived to the strength."""

import numpy as np
import pytest

from pixelsmile.editing.curves import Curve, fit_curve
from pixelsmile.errors import UserError

STRENGTHS = np.linspace(0, 1, 9)


@pytest.fixture
def noisy():
    numbers = np.random.default_rng(0)
    return np.clip(STRENGTHS**2 + numbers.normal(0, 0.25, (6, 9)), 0, 1)


def test_the_knots_are_those_of_scikit_learn(noisy):
    isotonic = pytest.importorskip("sklearn.isotonic")
    curve = fit_curve(STRENGTHS, noisy)
    every = isotonic.IsotonicRegression().fit(np.tile(STRENGTHS, 6), noisy.ravel())
    np.testing.assert_allclose(curve.scores, every.predict(STRENGTHS), atol=1e-12)
    assert (np.diff(noisy.mean(0)) < 0).any()  # or there was nothing to make monotone


def test_perceived_and_back_is_the_share_of_the_rise(noisy):
    curve = fit_curve(STRENGTHS, noisy)
    low, high = curve.reach
    for perceived in np.linspace(0, 1, 21):
        read = curve.score(curve.strength(perceived))
        assert read == pytest.approx(low + perceived * (high - low), abs=1e-9)


def test_more_is_never_asked_for_with_less_strength(noisy):
    curve = fit_curve(STRENGTHS, noisy)
    strengths = [curve.strength(perceived) for perceived in np.linspace(0, 1, 101)]
    assert strengths[0] == 0
    assert (np.diff(strengths) >= 0).all()
    assert strengths[-1] <= 1


def test_a_straight_curve_leaves_the_slider_as_it_is():
    curve = fit_curve(STRENGTHS, 0.1 + 0.7 * STRENGTHS[None])
    for perceived in (0.0, 0.2, 0.55, 1.0):
        assert curve.strength(perceived) == pytest.approx(perceived)


def test_the_top_is_the_least_strength_that_reads_the_most():
    curve = fit_curve([0, 0.5, 0.75, 1.0], np.array([[0.0, 0.4, 0.8, 0.7]]))
    assert curve.reach == (0.0, pytest.approx(0.75))
    assert curve.strength(1.0) == pytest.approx(0.75)


@pytest.mark.parametrize("perceived", [-0.1, 1.01, float("nan")])
def test_what_the_slider_cannot_give_is_refused(perceived):
    with pytest.raises(UserError, match=r"give 0 \(nothing\) to 1 .* at strength 1\)"):
        Curve((0.0, 1.0), (0.1, 0.6)).strength(perceived)


def test_a_flat_curve_cannot_be_inverted():
    with pytest.raises(UserError, match="no rise to share out"):
        Curve((0.0, 1.0), (0.10, 0.11)).strength(0.5)


@pytest.mark.parametrize(
    ("strengths", "scores"),
    [
        ((0.0,), (0.0,)),
        ((0.0, 1.0), (0.5, 0.4)),
        ((0.1, 1.0), (0.0, 0.4)),
        ((0.0, 1.0, 1.0), (0.0, 0.4, 0.4)),
        ((0.0, float("nan")), (0.0, 0.4)),
        ((0.0, 1.0), (0.0, 0.4, 0.5)),
    ],
)
def test_knots_that_are_no_rising_curve_are_refused(strengths, scores):
    with pytest.raises(ValueError, match=r"curve|knots|strengths"):
        Curve(strengths, scores)


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(people, 9\)"):
        fit_curve(STRENGTHS, np.zeros((2, 8)))
