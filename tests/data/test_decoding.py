"""A set's images are decoded as those that are edited: upright, in sRGB, on white."""

import numpy as np
import pytest
from PIL import Image

from pixelsmile.data.crops import Resize
from pixelsmile.data.samples import Sample, image_size, open_image
from pixelsmile.data.squares import load_picture, place
from pixelsmile.editing.reading import read_picture
from tests.editing.test_reading import linear_profile

ORIENTATION = 0x0112


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)


def turned(orientation):
    """Return options that say how an image is to be held."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return {"exif": exif}


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_images_keep_every_byte(tmp_path, colours, mode):
    plain = Image.fromarray(colours).convert(mode)
    plain.save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_image(tmp_path / "a.png"), plain.convert("RGB"))
    assert image_size(tmp_path / "a.png") == (64, 40)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_that_of_the_upright_image(tmp_path, colours, kind, orientation):
    image = Image.fromarray(colours)
    path = tmp_path / f"a.{kind}"
    image.save(path, **turned(orientation))
    expected = (40, 64) if orientation >= 5 else (64, 40)
    assert image_size(path) == open_image(path).size == expected


def variants(colours):
    """Pictures of which Pillow's own conversion to RGB shows something else."""
    image = Image.fromarray(colours)
    clear = np.dstack([colours, np.full((40, 64), 60, np.uint8)])
    deep = (np.arange(40 * 64).reshape(40, 64) * 25).astype(np.uint16)
    return {
        "lying": (image, turned(6)),
        "transparent": (Image.fromarray(clear), {}),
        "of another profile": (image, {"icc_profile": linear_profile()}),
        "of 16 bits": (Image.fromarray(deep), {}),
    }


@pytest.mark.parametrize("name", ["lying", "transparent", "of another profile", "of 16 bits"])
def test_training_sees_what_editing_sees(tmp_path, colours, name):
    image, options = variants(colours)[name]
    path = tmp_path / "a.png"
    image.save(path, **options)
    with Image.open(path) as opened:
        as_pillow_does = np.asarray(opened.convert("RGB"))
    found = np.asarray(open_image(path))
    np.testing.assert_array_equal(found, read_picture(path).on_white())
    assert not np.array_equal(found, as_pillow_does)


def test_landmarks_of_a_lying_image_land_on_its_upright_pixels(tmp_path):
    pixels = np.zeros((80, 60, 3), dtype=np.uint8)
    pixels[36:40, 20:24] = 255  # upright: its middle is at (22, 38)
    path = tmp_path / "a.png"
    image = Image.fromarray(np.ascontiguousarray(np.rot90(pixels)))
    image.save(path, **turned(6))
    sample = Sample(path, "ann", "human", "happy", (0.0,) * 12, crop_box=(10, 30, 40, 50))
    for mode in ("direct", "padding", "crop"):
        square = np.asarray(load_picture(sample, 48, Resize(mode)), dtype=float)[..., 0]
        rows, columns = np.mgrid[:48, :48] + 0.5
        found = ((columns * square).sum() / square.sum(), (rows * square).sum() / square.sum())
        (expected,) = place(sample, 48, Resize(mode)).points([(22, 38)])
        assert found == pytest.approx(expected, abs=0.3)
