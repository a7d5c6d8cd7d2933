"""Five points of a face that has no annotated ones."""

import importlib
import sys
import types

import numpy as np
import pytest
from PIL import Image

from pixelsmile.errors import UserError
from pixelsmile.models import detectors
from pixelsmile.models.detectors import (
    BoxTemplate,
    FirstAvailable,
    MtcnnDetector,
    ScrfdDetector,
    choose_face,
)

BOXES = np.array([[0, 0, 40, 40], [50, 50, 70, 70], [48, 48, 52, 52]], float)
POINTS = np.stack([box[:2] + np.arange(10).reshape(5, 2) for box in BOXES])


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# ---- which face -----------------------------------------------------------------------------


def test_largest_face_is_taken_where_no_box_is_given():
    found = choose_face(BOXES, POINTS, None)
    assert found.points[0] == (0.0, 1.0)
    assert found.box == (0, 0, 40, 40)


def test_face_in_the_box_is_taken_and_no_other():
    found = choose_face(BOXES, POINTS, (49, 49, 71, 71))
    assert found.points[0] == (50.0, 51.0)
    assert found.box == (50, 50, 70, 70)
    assert choose_face(BOXES, POINTS, (80, 80, 90, 90)) is None
    assert choose_face(BOXES[:0], POINTS[:0], None) is None


# ---- template -------------------------------------------------------------------------------


def test_template_moves_and_grows_with_the_box(image):
    small = np.array(BoxTemplate()(image, (0, 0, 10, 20)))
    large = np.array(BoxTemplate()(image, (5, 7, 25, 47)))
    np.testing.assert_allclose(large, small * 2 + [5, 7])
    assert (small > 0).all()
    assert (small < [10, 20]).all()


def test_template_needs_a_box_unless_the_image_may_stand_for_it(image):
    assert BoxTemplate()(image, None) is None
    whole = BoxTemplate(whole_image=True)
    assert whole(image, None) == whole(image, (0.0, 0.0, 120.0, 100.0))
    assert whole.identity != BoxTemplate().identity


def test_template_knows_no_box_but_the_given_one(image):
    whole = BoxTemplate(whole_image=True)
    assert whole.locate(image).box is None
    assert whole.locate(image, (1, 2, 30, 40)).box == (1, 2, 30, 40)
    assert BoxTemplate().locate(image) is None


# ---- MTCNN ----------------------------------------------------------------------------------


def test_mtcnn_finds_the_points_of_a_rendered_head():
    pytest.importorskip("facenet_pytorch")
    from pixelsmile.faces.human import HumanFaces

    face = HumanFaces().render(9000, {}, size=192)
    located = MtcnnDetector().locate(Image.fromarray(face.image))
    found = located.points
    true = np.array(face.landmarks)
    eyes = np.linalg.norm(true[1] - true[0])
    error = np.linalg.norm(np.array(found) - true, axis=1).mean()
    assert error < 0.25 * eyes  # this head is turned
    inside = np.clip(found, located.box[:2], located.box[2:])
    np.testing.assert_allclose(inside, found)
    assert MtcnnDetector()(Image.fromarray(face.image), (0, 0, 3, 3)) is None


def test_mtcnn_finds_nothing_where_there_is_nothing():
    pytest.importorskip("facenet_pytorch")
    detector = MtcnnDetector()
    for edge in (1, 15, 21, 64):
        assert detector(Image.new("RGB", (edge, edge + 3)), None) is None


# ---- SCRFD ----------------------------------------------------------------------------------


class FakeScrfd:
    """What insightface gives: boxes with a score each, and five points each."""

    def __init__(self, file):
        self.file = file

    def prepare(self, **settings):
        self.settings = settings

    def detect(self, pixels):
        self.pixels = pixels
        return np.hstack([BOXES, np.ones((3, 1))]), POINTS


@pytest.fixture
def insightface(monkeypatch):
    zoo = types.SimpleNamespace(get_model=lambda file: FakeScrfd(file))
    monkeypatch.setattr(detectors.importlib, "import_module", lambda name: zoo)


def test_scrfd_sees_blue_first_and_returns_points_of_the_face_in_the_box(
    insightface, image, tmp_path
):
    file = tmp_path / "scrfd.onnx"
    file.write_bytes(b"weights")
    detector = ScrfdDetector(file, size=320)
    assert detector(image, (49, 49, 71, 71))[0] == (50.0, 51.0)
    np.testing.assert_array_equal(detector._model.pixels, np.asarray(image)[..., ::-1])
    assert detector._model.settings["input_size"] == (320, 320)


def test_identity_of_scrfd_follows_its_weights(tmp_path):
    file = tmp_path / "scrfd.onnx"
    file.write_bytes(b"one")
    first = ScrfdDetector(file).identity
    assert ScrfdDetector(file, size=320).identity != first
    file.write_bytes(b"two")
    assert ScrfdDetector(file).identity != first


def test_missing_scrfd_says_which_file_and_where_from(tmp_path, image):
    for use in (lambda d: d.identity, lambda d: d(image, None)):
        with pytest.raises(UserError, match=r"No face detector at .*none\.onnx: .*antelopev2"):
            use(ScrfdDetector(tmp_path / "none.onnx"))


# ---- choice ---------------------------------------------------------------------------------


def test_first_detector_whose_model_is_there_is_used(tmp_path, image):
    file = tmp_path / "scrfd.onnx"
    template = BoxTemplate(whole_image=True)
    chosen = FirstAvailable([ScrfdDetector(file), template])
    assert chosen.identity == template.identity
    assert chosen(image, None) == template(image, None)
    file.write_bytes(b"weights")
    assert FirstAvailable([ScrfdDetector(file), template]).identity.startswith("scrfd ")


@pytest.mark.parametrize("module", ["facenet_pytorch", "insightface.model_zoo"])
def test_package_that_is_not_installed_is_named(tmp_path, image, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    file = tmp_path / "scrfd.onnx"
    file.write_bytes(b"weights")
    detector = MtcnnDetector() if "facenet" in module else ScrfdDetector(file)
    with pytest.raises(UserError, match=r"needs (facenet-pytorch|insightface), .*pip install"):
        detector(image, None)


def test_detectors_load_nothing_before_they_are_asked(monkeypatch):
    monkeypatch.setattr(importlib, "import_module", None)
    assert MtcnnDetector().identity
    assert FirstAvailable([ScrfdDetector("none"), MtcnnDetector()]).identity.startswith("mtcnn")
