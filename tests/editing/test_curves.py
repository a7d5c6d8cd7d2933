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
    curve = fit_curve(STRENGTHS, noisy, saturation=1.0)
    shares = np.array([((row - row[0]) / (row.max() - row[0])).clip(0, 1) for row in noisy])
    every = isotonic.IsotonicRegression().fit(np.tile(STRENGTHS, 6), shares.ravel())
    fitted = every.predict(STRENGTHS)
    expected = (fitted - fitted[0]) / (fitted[-1] - fitted[0])
    read = [curve.perceived(strength) for strength in STRENGTHS]
    np.testing.assert_allclose(read, expected, atol=1e-12)
    assert (np.diff(shares.mean(0)) < 0).any()  # or there was nothing to make monotone


@pytest.mark.parametrize("saturation", [0.5, 0.95, 1.0])
def test_perceived_and_back_is_the_same(noisy, saturation):
    curve = fit_curve(STRENGTHS, noisy, saturation=saturation)
    for perceived in np.linspace(0, 1, 21):
        strength = curve.strength(perceived)
        assert curve.perceived(strength) == pytest.approx(perceived, abs=1e-12)


def test_more_is_never_asked_for_with_less_strength(noisy):
    curve = fit_curve(STRENGTHS, noisy)
    strengths = [curve.strength(perceived) for perceived in np.linspace(0, 1, 101)]
    assert strengths[0] == 0
    assert (np.diff(strengths) >= 0).all()
    assert strengths[-1] == curve.top <= 1


def test_a_straight_curve_leaves_the_slider_as_it_is():
    curve = fit_curve(STRENGTHS, 0.1 + 0.7 * STRENGTHS[None], saturation=1.0)
    assert curve.reach == pytest.approx((0.1, 0.8))
    for perceived in (0.0, 0.2, 0.55, 1.0):
        assert curve.strength(perceived) == pytest.approx(perceived)


def test_the_slider_ends_where_the_saturation_is_reached():
    curve = fit_curve(STRENGTHS, 0.1 + 0.7 * STRENGTHS[None], saturation=0.8)
    assert curve.strength(1.0) == curve.top == pytest.approx(0.8)
    assert curve.reach == pytest.approx((0.1, 0.66))
    assert curve.strength(0.5) == pytest.approx(0.4)


def test_the_top_is_the_least_strength_that_reads_the_most():
    curve = fit_curve([0, 0.5, 0.75, 1.0], np.array([[0.0, 0.4, 0.8, 0.7]]), saturation=1.0)
    assert curve.top == pytest.approx(0.75)
    assert curve.reach == (0.0, pytest.approx(0.8))


def test_between_two_plateaus_the_earlier_end_is_taken():
    curve = Curve((0.0, 0.3, 0.6, 1.0), (0.0, 0.5, 0.5, 1.0), (0.0, 0.8))
    assert curve.strength(0.5) == 0.3
    assert curve.strength(0.75) == pytest.approx(0.8)


def test_a_face_that_reads_strongly_does_not_decide_for_the_others():
    early = np.array([0.0, 0.1, 0.1])
    late = np.array([0.0, 0.0, 0.9])
    curve = fit_curve([0, 0.5, 1.0], np.stack([early, late]), saturation=1.0)
    assert curve.perceived(0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("perceived", [-0.1, 1.01, float("nan")])
def test_what_the_slider_cannot_give_is_refused(perceived):
    with pytest.raises(UserError, match=r"give 0 \(nothing\) to 1 .* at strength 1\.00\)"):
        Curve((0.0, 1.0), (0.0, 1.0), (0.1, 0.6)).strength(perceived)


@pytest.mark.parametrize("scores", [[[0.1, 0.1, 0.1]], [[0.3, 0.2, 0.1]], [[0.1, 0.105, 0.11]]])
def test_what_is_never_read_cannot_be_inverted(scores):
    curve = fit_curve([0, 0.5, 1.0], np.array(scores))
    assert not curve.rises
    with pytest.raises(UserError, match="no rise to share out"):
        curve.strength(0.5)


@pytest.mark.parametrize(
    ("strengths", "shares", "message"),
    [
        ((0.0,), (0.0,), "two knots"),
        ((0.0, 1.0), (0.0, 0.5, 1.0), "two knots"),
        ((0.0, 0.5, 1.0), (0.0, 0.7, 0.6), "rise from 0 to 1"),
        ((0.0, 0.4, 0.5, 1.0), (0.0, 0.6, 0.5, 1.0), "rise from 0 to 1"),
        ((0.1, 1.0), (0.0, 1.0), "increase from 0"),
        ((0.0, 1.0, 1.0), (0.0, 0.4, 1.0), "increase from 0"),
        ((0.0, float("nan")), (0.0, 1.0), "finite"),
    ],
)
def test_knots_that_are_no_rising_curve_are_refused(strengths, shares, message):
    with pytest.raises(ValueError, match=message):
        Curve(strengths, shares, (0.0, 1.0))


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(people, 9\)"):
        fit_curve(STRENGTHS, np.zeros((2, 8)))
