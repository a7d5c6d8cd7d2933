import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from pixelsmile.editing.calibration import Calibration
from pixelsmile.editing.curves import Curve
from pixelsmile.editing.framing import Framing
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, index
from pixelsmile.studio.mixes import grid, weights_of
from pixelsmile.studio.results import Settings
from tests.studio.stand_in import POINTS, SIZE, face_image, make_engine

HAPPY = weights_of({"happy": 0.75})


@pytest.fixture
def made():
    return make_engine()


@pytest.fixture
def engine(made):
    return made[0]


@pytest.fixture
def face(engine):
    return engine.open(face_image(), "human", "me.png")


def test_a_picture_is_read_for_what_was_painted_into_it(engine, face):
    (picture,) = engine.render(face, [HAPPY], ["happy"], Settings())
    assert picture.reading.scores[index("happy")] == pytest.approx(0.75, abs=1e-6)
    assert sum(picture.reading.scores) == pytest.approx(0.75, abs=1e-6)
    assert picture.reading.identity == pytest.approx(1, abs=1e-6)  # the upper half is the same
    assert picture.weights == picture.strengths == HAPPY


def test_identity_is_the_mean_cosine_with_the_source(engine, face):
    other = engine.open(face_image("teal"), "human", "you.png")
    mixed = dataclasses.replace(other, embeddings=face.embeddings)
    (picture,) = engine.render(mixed, [HAPPY], ["happy"], Settings())
    a, b = (
        np.array(Image.new("RGB", (1, 1), colour).getpixel((0, 0))) / 127.5 - 1
        for colour in ("peru", "teal")
    )
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert picture.reading.identity == pytest.approx(expected, abs=1e-5)


def test_a_face_is_encoded_once_and_a_strip_is_one_call(engine, made, face):
    engine.render(face, [HAPPY, HAPPY], ["a", "b"], Settings(seed=3))
    engine.render(face, grid(1.0), EXPRESSIONS, Settings(seed=4))
    (editor,) = made[1]
    assert editor.encoded == 1
    assert [(len(rows), seed) for rows, seed, _ in editor.rendered] == [(2, 3), (12, 4)]
    assert torch.equal(editor.rendered[1][0], torch.eye(12))


def test_of_a_large_picture_the_part_around_the_face_is_edited_and_its_points_move_along(engine):
    picture = face_image(size=(400, 100))
    face = engine.open(picture, "human", "wide.png")
    # A box of 40 x 44 takes 0.7 of a square of 63, here from (1, 3) to (64, 66).
    assert face.image.size == (SIZE, SIZE)
    expected = (np.array(POINTS) - (1, 3)) * SIZE / 63
    np.testing.assert_allclose(face.landmarks.numpy(), expected, atol=1e-4)


def test_a_picture_without_a_face_is_edited_but_its_identity_is_not_read(engine):
    face = engine.open(face_image(), "anime", "drawing.png")
    assert "No face was found in drawing.png" in face.note
    (picture,) = engine.render(face, [HAPPY], ["happy"], Settings())
    assert picture.reading.identity is None
    assert picture.reading.scores[index("happy")] > 0.7


def test_a_missing_detector_is_said_and_does_not_stop_the_editing(engine, monkeypatch):
    def locate(self, image, box=None):
        raise UserError("Finding faces needs facenet-pytorch, which is not installed.")

    monkeypatch.setattr(type(engine.detectors["human"]), "locate", locate)
    face = engine.open(face_image(), "human", "me.png")
    assert face.note == (
        "Identity is not read. Finding faces needs facenet-pytorch, which is not installed."
    )


def test_without_a_scorer_pictures_have_no_reading(engine):
    engine.scorer = None
    face = engine.open(face_image(), "human", "me.png")
    (picture,) = engine.render(face, [HAPPY], ["happy"], Settings())
    assert face.reading is None
    assert picture.reading is None


def test_points_that_came_with_a_picture_survive_a_change_of_domain(engine):
    given = engine.open(face_image(), "human", "example", points=POINTS)
    again = engine.reopen(given, "anime")
    assert again.domain == "anime"
    torch.testing.assert_close(again.landmarks, given.landmarks)
    found = engine.open(face_image(), "human", "me.png")
    assert engine.reopen(found, "anime").landmarks is None  # points of another domain's detector


def test_another_domain_frames_the_whole_upload_anew(engine):
    """What the first domain has cut away may be what the second one needs."""
    picture = face_image(size=(400, 100))
    cut = engine.open(picture, "human", "wide.png")
    assert cut.image.size == (SIZE, SIZE)
    again = engine.reopen(cut, "anime")
    assert again.original.size == (400, 100)
    assert again.image.size == (128, 32)  # whole: the template of drawings knows no box


def test_each_domain_has_its_own_framing():
    engine, _ = make_engine(framings={"human": Framing("whole")})
    assert engine.open(face_image(size=(128, 64)), "human", "a.png").image.size == (96, 48)


def test_editors_that_do_not_fit_together_take_turns():
    engine, made = make_engine(kept=1)
    for domain in ("human", "anime", "human"):
        engine.editor(domain)
    assert [editor.domain for editor in made] == ["human", "anime", "human"]
    engine, made = make_engine(kept=2)
    for domain in ("human", "anime", "human"):
        engine.editor(domain)
    assert [editor.domain for editor in made] == ["human", "anime"]


def test_perceived_intensity_asks_for_the_strength_that_the_curve_names(face, made):
    curve = Curve((0.0, 0.5, 1.0), (0.0, 0.1, 1.0), (0.1, 0.9))
    calibration = Calibration(dict.fromkeys(EXPRESSIONS, curve), "stand-in-human", "human")
    engine, (editor,) = made
    engine.calibrations["human"] = calibration
    (picture,) = engine.render(face, [HAPPY], ["happy"], Settings(perceived=True))
    strength = calibration.strength("happy", 0.75)
    assert strength != 0.75
    assert picture.weights == HAPPY
    assert picture.strengths == weights_of({"happy": strength})
    torch.testing.assert_close(editor.rendered[-1][0], torch.tensor([picture.strengths]))


def test_perceived_intensity_that_nobody_measured_is_refused(engine, face):
    with pytest.raises(UserError, match="not measured for human: run"):
        engine.render(face, [HAPPY], ["happy"], Settings(perceived=True))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda engine, face: engine.editor("cat"), "Unknown domain 'cat': choose one of human"),
        (
            lambda engine, face: engine.render(face, [HAPPY], ["a"], Settings(speed="warp")),
            "Unknown speed 'warp': choose one of exact, fast",
        ),
    ],
)
def test_values_that_the_page_does_not_offer_are_refused(engine, face, call, sentence):
    with pytest.raises(UserError, match=sentence):
        call(engine, face)
