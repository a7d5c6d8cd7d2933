"""Pixels land where the geometry says, for every mode and odd shapes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsmile.data.crops import MODES, Resize
from pixelsmile.data.samples import Sample, share_crop
from pixelsmile.data.squares import geometry, load_picture, place

SIZE = 48


@pytest.fixture
def sample(tmp_path):
    """A black image with one white dot whose middle is at (62, 38)."""
    pixels = np.zeros((80, 120, 3), dtype=np.uint8)
    pixels[36:40, 60:64] = 255
    path = tmp_path / "dot.png"
    Image.fromarray(pixels).save(path)
    return Sample(path, "ann", "human", "happy", (0.0,) * 12, crop_box=(70, 20, 100, 60))


@pytest.mark.parametrize("mode", MODES)
def test_dot_lands_where_the_placement_says(sample, mode):
    resize = Resize(mode)
    image = np.asarray(load_picture(sample, SIZE, resize), dtype=float)[..., 0]
    assert image.shape == (SIZE, SIZE)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    found = ((columns * image).sum() / image.sum(), (rows * image).sum() / image.sum())
    (expected,) = place(sample, SIZE, resize).points([(62, 38)])
    assert found == pytest.approx(expected, abs=0.3)


def test_padding_reflects_the_image_into_the_margins(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 48, 3), dtype=np.uint8)
    path = tmp_path / "wide.png"
    Image.fromarray(pixels).save(path)
    sample = Sample(path, "ann", "human", "happy", (0.0,) * 12)
    image = np.asarray(load_picture(sample, SIZE, Resize("padding")))
    expected = np.concatenate([pixels[14:0:-1], pixels, pixels[-2:-16:-1]])
    np.testing.assert_array_equal(image, expected)


def test_margin_wider_than_the_image_is_filled_all_the_same(tmp_path):
    path = tmp_path / "line.png"
    Image.new("RGB", (64, 1), (9, 8, 7)).save(path)
    sample = Sample(path, "ann", "human", "happy", (0.0,) * 12)
    image = np.asarray(load_picture(sample, SIZE, Resize("padding")))
    assert (image == (9, 8, 7)).all()


@pytest.mark.parametrize("mode", MODES)
def test_square_of_the_right_size_is_not_touched(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    path = tmp_path / "square.png"
    Image.fromarray(pixels).save(path)
    sample = Sample(path, "ann", "human", "happy", (0.0,) * 12, crop_box=(0, 0, 9, 9))
    np.testing.assert_array_equal(np.asarray(load_picture(sample, SIZE, Resize(mode))), pixels)


@pytest.mark.parametrize(("width", "height"), [(49, 49), (49, 60), (98, 98), (60, 103)])
def test_crop_whose_edges_are_rounded_down_is_filled(tmp_path, width, height):
    path = tmp_path / "plain.png"
    Image.new("RGB", (width, height), (9, 8, 7)).save(path)
    sample = Sample(path, "ann", "human", "happy", (0.0,) * 12)
    for size in (48, 128, 512):
        image = np.asarray(load_picture(sample, size, Resize("crop")))
        assert image.shape == (size, size, 3)
        assert (image == (9, 8, 7)).all()


def test_resampling_is_lanczos(sample):
    expected = Image.open(sample.image).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(np.asarray(load_picture(sample, SIZE)), np.asarray(expected))


def test_key_follows_the_box_only_where_the_box_matters(sample):
    moved = replace(sample, crop_box=(0, 0, 30, 30))
    for mode in MODES:
        differs = geometry(moved, Resize(mode)) != geometry(sample, Resize(mode))
        assert differs == (mode == "crop")
    assert geometry(sample, Resize("crop", 0.2)) != geometry(sample, Resize("crop"))


def test_images_of_one_identity_share_the_crop_of_the_source():
    def face(identity, category, box):
        return Sample(Path("x"), identity, "human", category, (0.0,) * 12, box=box)

    samples = [
        face("ann", "fear", (1, 1, 5, 5)),
        face("ann", "neutral", (2, 2, 6, 6)),
        face("bea", "neutral", None),
        face("bea", "fear", (3, 3, 7, 7)),
    ]
    shared = share_crop(samples)
    assert [s.crop_box for s in shared] == [(2, 2, 6, 6), (2, 2, 6, 6), None, None]
    assert [s.box for s in shared] == [s.box for s in samples]
