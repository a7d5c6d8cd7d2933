"""The search for a wanted score, on made-up faces whose scores are known functions."""

import math

import pytest
import torch

from pixelsmile.editing.target import (
    GRID,
    TOLERANCE,
    Reading,
    UnreachableError,
    find_strength,
    search,
)
from pixelsmile.errors import UserError
from pixelsmile.expressions import index


class Face:
    """Reads scores and identities off two functions of the strength, and counts."""

    def __init__(self, score, identity=lambda strength: 1.0 - 0.3 * strength):
        self.score, self.identity = score, identity
        self.batches = []

    def __call__(self, strengths):
        self.batches.append(list(strengths))
        return [Reading(s, self.score(s), self.identity(s)) for s in strengths]

    @property
    def num_renders(self):
        return sum(map(len, self.batches))


def sigmoid(strength):
    return 1 / (1 + math.exp(-12 * (strength - 0.45)))


def hill(strength):
    return math.exp(-(((strength - 0.7) / 0.35) ** 2))


@pytest.mark.parametrize("score", [0.05, 0.3, 0.6, 0.9, 0.97])
def test_a_monotone_face_is_met_within_the_tolerance_in_few_calls(score):
    face = Face(sigmoid)
    found = search(face, score, -1, 1.5)
    assert abs(found.score - score) <= TOLERANCE
    assert found.score == sigmoid(found.strength)
    assert len(face.batches) <= 3
    assert face.num_renders <= GRID + 8


def test_of_two_strengths_with_the_score_the_one_that_keeps_the_identity_is_found():
    rising = search(Face(hill, lambda s: 1 - s), 0.5, 0.4, 1.5)
    falling = search(Face(hill, lambda s: s), 0.5, 0.8, 1.5)
    assert rising.strength < 0.7 < falling.strength
    for found in (rising, falling):
        assert abs(found.score - 0.5) <= TOLERANCE


def test_a_peak_between_the_strengths_of_the_grid_is_found():
    def peak(strength):
        return 0.6 * math.exp(-(((strength - 0.8) / 0.12) ** 2))

    found = search(Face(peak), 0.6, -1, 1.5)
    assert abs(found.score - 0.6) <= TOLERANCE


def test_the_same_question_has_the_same_answer():
    first, second = Face(hill), Face(hill)
    assert search(first, 0.5, 0.2, 1.5) == search(second, 0.5, 0.2, 1.5)
    assert first.batches == second.batches


def test_a_score_that_no_strength_gives_is_refused_with_what_can_be_had():
    face = Face(lambda s: 0.4 * s)
    with pytest.raises(UnreachableError, match=r"reads 0\.00 to 0\.60; the closest is 0\.60") as e:
        search(face, 0.8, -1, 1.5)
    assert e.value.closest == Reading(1.5, pytest.approx(0.6), pytest.approx(0.55))
    assert len(face.batches) <= 4


def test_the_identity_bar_limits_the_score_and_the_message_says_how_far():
    face = Face(lambda s: 0.6 * s, lambda s: 1 - 0.5 * s)  # identity 0.6 at 0.8, which reads 0.48
    with pytest.raises(UnreachableError, match=r"identity of at least 0\.6 is 0\.4[78]") as error:
        search(face, 0.8, 0.6, 1.5)
    assert error.value.closest.identity >= 0.6
    assert error.value.closest.score == pytest.approx(0.48, abs=0.01)


def test_the_bar_cuts_a_gap_of_the_grid_where_it_must():
    # At 0.75 the score is right and the identity 0.625; the grid has 0.75 and 0.9375.
    face = Face(lambda s: 0.8 * s, lambda s: 1 - 0.5 * s)
    found = search(face, 0.6 + TOLERANCE, 0.62, 1.5)
    assert found.identity >= 0.62
    assert abs(found.score - 0.62) <= TOLERANCE


def test_an_identity_that_no_edit_keeps_is_refused():
    with pytest.raises(UnreachableError, match=r"no edit keeps.*highest is 0\.50.*0\.00") as error:
        search(Face(sigmoid, lambda s: 0.5 - 0.1 * s), 0.5, 0.9, 1.5)
    assert error.value.closest is None


class FakeEditor:
    """Paints the weight of the first row's expression into every pixel."""

    def __init__(self):
        self.calls = []

    def render(self, source, weights, *, seed, speed):
        self.calls.append((len(weights), seed, speed))
        total = weights.sum(1)
        return total.view(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()


class FakeScorer:
    """Two recognisers turn away from the source with the strength; the judge reads a column."""

    def __init__(self, column):
        self.column = column

    def expressions(self, images):
        scores = torch.zeros(len(images), 12)
        scores[:, self.column] = images[:, 0, 0, 0].clamp(0, 1)
        return scores

    def identities(self, images, landmarks):
        assert landmarks.shape == (len(images), 5, 2)
        angle = images[:, 0, 0, 0]
        one = torch.stack([angle.cos(), angle.sin()], -1)
        return torch.stack([one, torch.tensor([1.0, 0.0]).expand_as(one)])


class FakeSource:
    image = torch.zeros(3, 4, 4)


def find(**changes):
    arguments = {"expression": "Surprise", "score": 0.61, "seed": 3, "speed": "fast"} | changes
    editor = FakeEditor()
    scorer = FakeScorer(index("surprised"))
    return editor, find_strength(editor, scorer, FakeSource(), torch.zeros(5, 2), **arguments)


def test_the_found_edit_is_the_one_that_was_judged():
    editor, found = find(min_identity=0.9)
    assert found.score == pytest.approx(0.61, abs=TOLERANCE)
    assert found.strength == pytest.approx(found.score)
    assert (found.pixels == found.pixels[0, 0, 0]).all()
    assert found.pixels[0, 0, 0].item() == pytest.approx(found.strength)
    assert found.num_renders == sum(count for count, _, _ in editor.calls)
    assert found.num_batches == len(editor.calls)
    assert {call[1:] for call in editor.calls} == {(3, "fast")}


def test_identity_is_the_mean_cosine_of_the_recognisers():
    _, found = find()
    assert found.identity == pytest.approx((math.cos(found.strength) + 1) / 2)


def test_a_refusal_names_the_expression_and_the_score():
    with pytest.raises(UnreachableError, match=r"Surprise at a judged 0\.9 cannot be had"):
        find(score=0.9, strength_max=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": 1.2}, r"target\.score=1\.2"),
        ({"score": float("nan")}, r"target\.score=nan"),
        ({"min_identity": 3}, r"target\.min_identity=3"),
        ({"strength_max": 0}, r"strength_max=0"),
        ({"tolerance": 0}, r"tolerance=0"),
        ({"expression": "joyful"}, "joyful"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        find(**changes)
