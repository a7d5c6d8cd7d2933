"""Placements agree with the release's rules, worked out by hand, and boxes move along."""

import numpy as np
import pytest

from pixelsmile.data.crops import DIRECT, MODES, Resize
from pixelsmile.errors import UserError


def test_direct_stretches_both_sides_onto_the_canvas():
    placement = DIRECT.place(200, 100, 50)
    assert placement.points([(0, 0), (200, 100), (100, 25)]) == [(0, 0), (50, 50), (25, 12.5)]


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200), (31, 17), (1, 900)])
def test_padding_shows_the_whole_image_in_the_middle(width, height):
    placement = Resize("padding").place(width, height, 64)
    (x0, y0, x1, y1) = placement.box((0, 0, width, height))
    assert max(x1 - x0, y1 - y0) == pytest.approx(64)
    assert min(x0, y0) >= 0
    assert abs(x0 + x1 - 64) <= 1
    assert abs(y0 + y1 - 64) <= 1
    if min(width, height) > 1:
        assert (x1 - x0) / (y1 - y0) == pytest.approx(width / height, rel=0.05)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((120, 20, 160, 60), 90),  # 140 is the middle of the box, 50 half a crop
        ((0, 20, 20, 60), 0),  # the crop stays in the image
        ((190, 20, 200, 60), 100),
        (None, 50),
    ],
)
def test_crop_of_a_wide_image_is_centred_on_the_face(box, expected):
    placement = Resize("crop").place(200, 100, 100, box)
    assert placement == (1, 1, expected, 0)


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        (0.0, 120),  # the box is at the top of the crop
        (0.5, 90),  # 60 rows are free: half of them above the box
        (1.0, 60),
    ],
)
def test_crop_of_a_tall_image_places_the_face_by_the_vertical_bias(bias, expected):
    placement = Resize("crop", bias).place(100, 300, 100, (30, 120, 70, 160))
    assert placement == (1, 1, 0, expected)
    (_, top, _, bottom) = placement.box((30, 120, 70, 160))
    assert top == pytest.approx(bias * (100 - 40))
    assert bottom <= 100


def test_crop_scales_to_cover():
    placement = Resize("crop").place(400, 200, 50, (300, 50, 340, 90))
    assert (placement.scale_x, placement.scale_y) == (0.25, 0.25)
    assert placement.box((300, 50, 340, 90)) == (25, 12.5, 35, 22.5)  # it ends at the right edge


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_covers_or_fits_the_canvas_whatever_the_box(mode):
    numbers = np.random.default_rng(0)
    for _ in range(200):
        width, height = (int(v) for v in numbers.integers(2, 500, 2))
        x0, y0 = numbers.uniform(-0.2, 1.0, 2) * (width, height)
        box = (x0, y0, x0 + numbers.uniform(1, width), y0 + numbers.uniform(1, height))
        (left, top, right, bottom) = (
            Resize(mode, float(numbers.uniform())).place(width, height, 48, box)
        ).box((0, 0, width, height))
        if mode == "padding":
            assert min(left, top) >= 0
            assert max(right, bottom) <= 48 + 1e-6
        else:
            assert max(left, top) <= 1e-6
            assert min(right, bottom) >= 48 - 1e-6


@pytest.mark.parametrize("size", [128, 512, 1024])
def test_crop_never_begins_outside_of_the_image(size):
    """The product of an edge and its scale may be a little less than the size."""
    assert any(edge * (size / edge) < size for edge in range(1, 1200))
    for edge in range(1, 1200):
        for width, height in ((edge, edge), (edge, edge + 7), (edge + 7, edge)):
            placement = Resize("crop").place(width, height, size)
            assert min(placement.left, placement.top) >= 0, (width, height)


def test_rule_is_a_value_with_a_repr_that_a_key_may_hold():
    assert Resize("crop") == Resize("crop", 0.5)
    assert repr(Resize("crop")) == "Resize(mode='crop', vertical_bias=0.5)"
    assert len({Resize("crop"), Resize("crop", 0.25), Resize("padding")}) == 3


def test_unknown_mode_and_bias_are_refused():
    with pytest.raises(UserError, match=r"data\.resize=fit: choose one of direct, padding, crop"):
        Resize("fit")
    with pytest.raises(UserError, match=r"data\.vertical_bias=1\.5: give a number in \[0, 1\]"):
        Resize("crop", 1.5)
