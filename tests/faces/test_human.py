"""Human faces: same arguments, same bytes; exact labels; expressions that grow with strength."""

import numpy as np
import pytest

from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.faces.human import HumanFaces
from pixelsmile.faces.human.pack import load_pack
from pixelsmile.faces.human.pose import REST, Pose, within_limits
from pixelsmile.faces.human.raster import rasterise
from pixelsmile.faces.human.recipes import RECIPES, pose_from_mix
from pixelsmile.faces.human.subject import build_subject
from pixelsmile.faces.scores import scores

SIZE = 48
FACES = HumanFaces()


def difference(first, second):
    """Mean absolute difference of two images, grey levels."""
    return np.abs(first.astype(float) - second.astype(float)).mean()


def test_bytes_depend_on_the_arguments_only():
    requests = [(3, {"fear": 1.0}), (4, {}), (3, {"shy": 0.7, "happy": 0.3}), (4, {"angry": 1.2})]
    first = [HumanFaces().render(seed, mix, size=SIZE) for seed, mix in requests]
    build_subject.cache_clear()
    second = [HumanFaces().render(seed, mix, size=SIZE) for seed, mix in reversed(requests)]
    for one, other in zip(first, reversed(second), strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        assert one.box == other.box
        assert np.array_equal(one.landmarks, other.landmarks)


def test_two_seeds_differ_more_than_two_expressions():
    neutral = [FACES.render(seed, {}, size=SIZE).image for seed in range(4)]
    between = [difference(a, b) for i, a in enumerate(neutral) for b in neutral[i + 1 :]]
    fear = FACES.render(0, {"fear": 1.0}, size=SIZE).image
    assert min(between) > 2 * difference(neutral[0], fear)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_change_grows_with_strength(expression):
    neutral = FACES.render(5, {}, size=SIZE).image
    changes = [
        difference(FACES.render(5, {expression: strength}, size=SIZE).image, neutral)
        for strength in (0.35, 0.7, 1.0, 1.5)
    ]
    assert changes[0] > 0.3
    assert changes == sorted(changes)
    assert changes[3] > 1.5 * changes[0]


def test_every_two_expressions_of_one_person_look_different():
    images = [FACES.render(5, {name: 1.0}, size=SIZE).image for name in EXPRESSIONS]
    gaps = [difference(a, b) for i, a in enumerate(images) for b in images[i + 1 :]]
    assert min(gaps) > 1.0


def test_actions_of_a_mix_are_the_weighted_sum_of_its_parts():
    mix = {"fear": 0.5, "surprised": 0.3}
    face = FACES.render(1, mix, size=SIZE)
    for name in load_pack().actions:
        wanted = sum(RECIPES[word].actions.get(name, 0) * part for word, part in mix.items())
        assert face.actions[name] == pytest.approx(wanted, abs=1e-9)


def test_actions_stop_at_their_limits():
    applied = within_limits(pose_from_mix({"surprised": 1.5}))
    assert applied["jawOpen"] == pytest.approx(0.95)
    assert all(applied[name] + REST.get(name, 0) >= 0 for name in applied)


def test_recipes_cover_all_expressions_with_actions_of_the_pack():
    assert tuple(RECIPES) == EXPRESSIONS
    used = {name for pose in RECIPES.values() for name in pose.actions}
    assert used <= set(load_pack().actions)


def test_scores_are_those_of_the_mix():
    mix = {"sad": 0.6, "anxious": 0.2}
    assert np.array_equal(FACES.render(2, mix, size=SIZE).scores, scores(mix))


def test_actions_by_hand_reproduce_an_expression_without_skin_effects():
    face = FACES.render(6, {"surprised": 0.8}, size=SIZE)
    by_hand = FACES.render_actions(6, face.actions, size=SIZE)
    neutral = FACES.render(6, {}, size=SIZE).image
    assert not by_hand.scores.any()
    assert by_hand.actions == pytest.approx(face.actions)
    # Only the head turn of one degree is missing.
    assert difference(by_hand.image, face.image) < difference(neutral, face.image)


def test_no_action_is_the_neutral_face():
    by_hand = FACES.render_actions(6, {}, size=SIZE)
    assert by_hand.image.tobytes() == FACES.render(6, {}, size=SIZE).image.tobytes()
    assert not any(by_hand.actions.values())
    assert by_hand.actions == within_limits(Pose())


@pytest.mark.parametrize("seed", range(6))
def test_landmarks_lie_in_the_box_in_arcface_order(seed):
    face = FACES.render(seed, {"happy": 1.0}, size=SIZE)
    x0, y0, x1, y1 = face.box
    assert 0 <= x0 < x1 <= SIZE
    assert 0 <= y0 < y1 <= SIZE
    eye, other_eye, nose, corner, other_corner = face.landmarks
    assert ((face.landmarks > (x0, y0)) & (face.landmarks < (x1, y1))).all()
    assert eye[0] < other_eye[0]
    assert corner[0] < other_corner[0]
    assert max(eye[1], other_eye[1]) < nose[1] < min(corner[1], other_corner[1])


def test_landmarks_scale_with_the_image():
    small, large = (FACES.render(7, {}, size=size).landmarks for size in (48, 96))
    np.testing.assert_allclose(small * 2, large, atol=1e-3)


def test_the_background_does_not_depend_on_the_expression():
    images = [FACES.render(0, {name: 1.0}, size=SIZE).image for name in ("sad", "fear", "shy")]
    corners = [np.concatenate([image[:12, :6], image[:12, -6:]]) for image in images]
    assert np.array_equal(corners[0], corners[1])
    assert np.array_equal(corners[0], corners[2])


def test_a_blush_reddens_dark_skin_too():
    people = (build_subject(seed).person for seed in range(60))
    darkest = min(people, key=lambda person: person.skin.sum()).seed
    neutral, shy = (
        FACES.render(darkest, mix, size=SIZE).image.astype(float) for mix in ({}, {"shy": 1.0})
    )
    redness = [image[..., 0] - image[..., 1:].mean(-1) for image in (neutral, shy)]
    assert (redness[1] - redness[0]).max() > 20


def test_the_rasteriser_agrees_with_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    screen = (rng.random((30, 3)) * (24, 24, 5)).astype(np.float32)
    triangles = np.arange(30).reshape(-1, 3)
    hits = rasterise(screen, triangles, 24, two_sided=np.ones(10, bool))
    wanted = np.full((24, 24), np.inf)
    for row, column in np.ndindex(24, 24):
        for corners in screen[triangles].astype(float):
            matrix = np.vstack([corners[:, :2].T, np.ones(3)])
            weights = np.linalg.solve(matrix, (column + 0.5, row + 0.5, 1))
            if weights.min() >= 0:
                wanted[row, column] = min(wanted[row, column], weights @ corners[:, 2])
    np.testing.assert_allclose(hits.depth, wanted, rtol=1e-3)
    np.testing.assert_array_equal(hits.pixel, np.flatnonzero(np.isfinite(wanted)))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"Unknown expression 'joyful': choose one of"):
        FACES.render(0, {"joyful": 1.0})
    with pytest.raises(ValueError, match=r"Strength 2.0 of 'happy' lies outside 0 to 1.5"):
        FACES.render(0, {"happy": 2.0})
    with pytest.raises(ValueError, match=r"Seed -1 is negative"):
        FACES.render(-1, {})
    with pytest.raises(ValueError, match=r"Size 8 lies outside 32 to 1024"):
        FACES.render(0, {}, size=8)
    with pytest.raises(ValueError, match=r"Unknown facial action 'wink': choose one of"):
        FACES.render_actions(0, {"wink": 1.0})
    with pytest.raises(ValueError, match=r"Weight nan of action 'jawOpen' lies outside"):
        FACES.render_actions(0, {"jawOpen": float("nan")})
