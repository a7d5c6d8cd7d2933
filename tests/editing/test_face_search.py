"""Whose face is edited, and what is said where nobody knows."""

import numpy as np
import pytest
from PIL import Image

from pixelsmile.editing.faces import find_face
from pixelsmile.editing.reading import Picture
from pixelsmile.errors import UserError
from pixelsmile.models.detectors import BoxTemplate, FirstAvailable, MtcnnDetector, ScrfdDetector
from tests.editing.stand_in import Finder


def picture(width, height, image=None):
    from pathlib import Path

    image = Image.new("RGB", (width, height)) if image is None else image
    return Picture(Path("me.png"), image, None, "")


def test_given_box_wins_and_is_cut_to_the_picture():
    face = find_face(picture(100, 80), Finder((1, 1, 9, 9)), box=(50, 20, 120, 70))
    assert face.box == (50, 20, 100, 70)
    assert len(face.points) == 5


def test_found_box_is_cut_to_the_picture():
    assert find_face(picture(100, 80), Finder((-9, 5, 60, 99))).box == (0, 5, 60, 80)


def test_drawn_head_shot_needs_no_box_and_a_drawn_banner_does():
    template = BoxTemplate(whole_image=True)
    assert find_face(picture(90, 120), template).box is None
    with pytest.raises(UserError, match=r"is 300 x 100, no head-shot.*box="):
        find_face(picture(300, 100), template)


def test_without_any_detector_a_square_is_a_head_shot_and_says_so(tmp_path):
    missing = FirstAvailable([ScrfdDetector(tmp_path / "none.onnx")])
    face = find_face(picture(100, 102), missing)
    assert face.box is None
    assert "No face detector at" in face.note
    assert "me.png is taken as a head-shot" in face.note
    with pytest.raises(UserError, match=r"No face detector at .*For me\.png, say where.*box="):
        find_face(picture(160, 100), missing)
    assert find_face(picture(160, 100), missing, box=(5, 5, 60, 60)).box == (5, 5, 60, 60)


def test_real_detector_finds_a_rendered_head_in_a_wide_picture_and_none_in_a_wall():
    pytest.importorskip("facenet_pytorch")
    from pixelsmile.faces.human import HumanFaces

    head = HumanFaces().render(9003, {}, size=160)
    wide = Image.new("RGB", (480, 320), tuple(int(v) for v in head.image[5, 5]))
    wide.paste(Image.fromarray(head.image), (200, 100))
    found = find_face(picture(480, 320, wide), MtcnnDetector())
    true = np.array(head.box) + np.array([200, 100, 200, 100])
    assert np.abs(np.array(found.box) - true).max() < 30
    with pytest.raises(UserError, match="No face found"):
        find_face(picture(480, 320), MtcnnDetector())
