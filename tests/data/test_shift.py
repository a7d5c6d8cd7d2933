"""Displacements are measured as they were made; a change of expression is none."""

import numpy as np
import pytest
from PIL import Image, ImageChops

from pixelsmile.data.inspection import shift_of_face
from pixelsmile.data.shift import measure_shift
from tests.small_sets import BOX, picture

LARGE = 256
FACE = [value * LARGE / 64 for value in BOX]


def grey(seed, mouth=0, shift=0.0):
    """A face, displaced by resampling, which allows parts of a pixel."""
    image = picture(seed, mouth, size=LARGE).convert("L")
    return image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, -shift, 0, 1, 0), Image.Resampling.BICUBIC
    )


@pytest.mark.parametrize("shift", [-9.0, -2.5, -1.0, 0.0, 0.4, 1.0, 3.3, 12.0])
def test_displacement_is_found_to_a_fraction_of_a_pixel(shift):
    source = np.asarray(grey(3), dtype=float)
    target = np.asarray(grey(3, 4, shift), dtype=float)
    right, down = measure_shift(source, target)
    assert right == pytest.approx(shift, abs=0.35)
    assert down == pytest.approx(0, abs=0.3)


def test_both_directions_are_told_apart():
    source = np.asarray(grey(1), dtype=float)
    assert measure_shift(source, np.roll(source, (5, -3), axis=(0, 1))) == (-3.0, 5.0)


@pytest.mark.parametrize("seed", range(5))
def test_expression_alone_is_no_displacement(seed):
    for mouth in (1, 3, 6):
        assert shift_of_face(grey(seed), grey(seed, mouth), FACE) < 0.01


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.03, 0.05, 0.15])
def test_share_of_the_face_is_what_was_made(seed, share):
    face = max(FACE[2] - FACE[0], FACE[3] - FACE[1])
    for box in (FACE, None):
        found = shift_of_face(grey(seed), grey(seed, 3, share * face), box)
        expected = share * (face / (LARGE / 2) if box is None else 1)
        assert found == pytest.approx(expected, abs=0.012)


def test_head_that_moves_before_a_still_background_is_no_displacement():
    for seed in range(5):
        source, moved = grey(seed), grey(seed, 2, 8.0)
        target = source.copy()
        inner = (30, 20, 226, 236)
        target.paste(moved.crop(inner), inner)
        assert shift_of_face(source, target, FACE) == 0
        assert shift_of_face(source, moved, FACE) == pytest.approx(8 / 160, abs=0.01)


def test_empty_background_cannot_tell_and_is_taken_to_move():
    source = Image.new("L", (LARGE, LARGE), 255)
    face = (60, 40, 200, 220)
    source.paste(grey(1).crop(face), face)
    target = ImageChops.offset(source, 9, 0)
    assert shift_of_face(source, target, FACE) == pytest.approx(9 / 160, abs=0.01)


def test_other_picture_or_an_empty_one_is_no_displacement():
    noise = np.random.default_rng(0).random((2, 64, 64))
    assert measure_shift(*noise) == (0, 0)
    flat = np.full((64, 64), 7.0)
    assert measure_shift(flat, flat) == (0, 0)
    assert measure_shift(flat, noise[0]) == (0, 0)
