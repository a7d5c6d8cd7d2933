"""The anime faces: deterministic, local, monotone edits of recognisable identities."""

from itertools import pairwise

import numpy as np
import pytest

from pixelsmile.expressions import EXPRESSIONS, index
from pixelsmile.faces.anime import AnimeFaces
from pixelsmile.faces.anime.actions import ACTIONS, RECIPES
from pixelsmile.faces.anime.generator import _layers
from pixelsmile.faces.anime.identity import BACKS, BANGS, sample_identity

FACES = AnimeFaces()


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(float) - second.astype(float)).mean())


def test_same_arguments_give_the_same_bytes():
    first = FACES.render(5, {"fear": 0.8, "sad": 0.3})
    _layers.cache_clear()
    second = FACES.render(5, {"fear": 0.8, "sad": 0.3})
    assert first.image.tobytes() == second.image.tobytes()
    assert first.image.shape == (128, 128, 3)
    assert first.image.dtype == np.uint8


def test_drawing_one_face_leaves_no_trace_on_the_next():
    before = FACES.render(6, {}).image
    FACES.render(6, {"angry": 1.5})
    assert np.array_equal(before, FACES.render(6, {}).image)


def test_every_recipe_is_made_of_known_actions():
    assert set(RECIPES) == set(EXPRESSIONS)
    assert {action for recipe in RECIPES.values() for action in recipe} <= set(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_changes_the_picture(action):
    moved = FACES.render_actions(3, {action: 1.0}).image
    assert not np.array_equal(moved, FACES.render(3, {}).image)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_changes_nothing_outside_the_face(expression):
    neutral = FACES.render(11, {})
    face = FACES.render(11, {expression: 1.5})
    x0, y0, x1, y1 = (round(value) for value in neutral.box)
    outside = np.ones((128, 128), dtype=bool)
    outside[y0 : y1 + 1, x0 - 3 : x1 + 4] = False
    assert np.array_equal(face.image[outside], neutral.image[outside])
    assert face.box == neutral.box


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_change_from_neutral_grows_with_strength(expression):
    neutral = FACES.render(21, {}).image
    steps = [0.35, 0.7, 1.0, 1.5]
    changes = [_difference(FACES.render(21, {expression: s}).image, neutral) for s in steps]
    assert changes[0] > 0.2
    assert changes == sorted(changes)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_no_small_step_of_strength_makes_a_jump(expression):
    strengths = np.linspace(0.0, 1.0, 21)
    images = [FACES.render(17, {expression: float(s)}).image for s in strengths]
    steps = [_difference(a, b) for a, b in pairwise(images)]
    assert max(steps) < 0.25 * sum(steps)


def test_a_mix_of_two_sums_their_actions():
    first = FACES.render(8, {"sad": 0.5}).actions
    second = FACES.render(8, {"anxious": 0.7}).actions
    mixed = FACES.render(8, {"sad": 0.5, "anxious": 0.7})
    summed = {name: first.get(name, 0) + second.get(name, 0) for name in {*first, *second}}
    assert mixed.actions == pytest.approx(summed)
    assert np.array_equal(mixed.image, FACES.render_actions(8, summed).image)


def test_scores_follow_the_mix_and_are_zero_for_actions_by_hand():
    face = FACES.render(2, {"happy": 0.7})
    assert face.scores[index("happy")] == pytest.approx(0.7)
    assert not FACES.render_actions(2, {"jawOpen": 1.0}).scores.any()


@pytest.mark.parametrize("seed", range(0, 60, 7))
@pytest.mark.parametrize("expression", ["happy", "contempt", "fear"])
def test_landmarks_lie_inside_the_box_in_arcface_order(seed, expression):
    face = FACES.render(seed, {expression: 1.5}, size=64)
    x0, y0, x1, y1 = face.box
    x, y = face.landmarks.T
    assert (x > x0).all()
    assert (x < x1).all()
    assert (y > y0).all()
    assert (y < y1).all()
    assert x[0] < x[2] < x[1]
    assert x[3] < x[4]
    assert max(y[0], y[1]) < y[2] < max(y[3], y[4])
    assert 0 <= x0 < x1 <= 64
    assert 0 <= y0 < y1 <= 64


def test_geometry_scales_with_the_size():
    small, large = FACES.render(4, {"shy": 1.0}), FACES.render(4, {"shy": 1.0}, size=256)
    assert large.image.shape == (256, 256, 3)
    assert np.allclose(large.landmarks, 2 * small.landmarks)
    halved = large.image.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert _difference(halved, small.image) < 4.0


def test_seeds_look_different_and_expressions_less_so():
    neutral = [FACES.render(seed, {}).image for seed in range(12)]
    between = [_difference(a, b) for i, a in enumerate(neutral) for b in neutral[:i]]
    within = [_difference(FACES.render(s, {"sad": 1.0}).image, neutral[s]) for s in range(12)]
    assert min(between) > 2 * max(within)


def test_every_hair_style_occurs():
    people = [sample_identity(seed) for seed in range(300)]
    assert {who.bangs for who in people} == set(BANGS)
    assert {who.back for who in people} == set(BACKS)


def test_unknown_expression_is_refused():
    with pytest.raises(ValueError, match="Unknown expression 'bored'"):
        FACES.render(0, {"bored": 1.0})


def test_strength_of_two_is_refused():
    with pytest.raises(ValueError, match=r"Strength 2\.0 of 'happy' lies outside 0 to 1\.5"):
        FACES.render(0, {"happy": 2.0})


def test_unknown_action_is_refused():
    with pytest.raises(ValueError, match="Unknown action 'earWiggle'"):
        FACES.render_actions(0, {"earWiggle": 1.0})


def test_weight_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="Weight nan of action 'jawOpen' is not finite"):
        FACES.render_actions(0, {"jawOpen": float("nan")})


def test_negative_seed_is_refused():
    with pytest.raises(ValueError, match="Seed -1 is negative"):
        FACES.render(-1, {})


def test_tiny_size_is_refused():
    with pytest.raises(ValueError, match="Size 8 is too small"):
        FACES.render(0, {}, size=8)
