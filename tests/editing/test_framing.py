"""Which part of a picture is edited."""

import pytest

from pixelsmile.editing.framing import Framing, check_box, edit_size
from pixelsmile.errors import UserError


def test_square_holds_the_face_with_the_wanted_share_and_equal_room():
    x0, y0, x1, y1 = Framing("face", share=0.5).crop(1000, 1000, (400, 440, 500, 560))
    assert x1 - x0 == y1 - y0 == 240
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == (450, 500)


@pytest.mark.parametrize("box", [(0, 0, 90, 90), (410, 5, 500, 95), (0, 310, 90, 400)])
def test_square_near_the_edge_moves_into_the_picture(box):
    x0, y0, x1, y1 = Framing("face").crop(500, 400, box)
    assert x1 - x0 == y1 - y0 == round(90 / 0.7)
    assert x0 >= 0
    assert y0 >= 0
    assert x1 <= 500
    assert y1 <= 400
    assert x0 <= box[0]
    assert box[2] <= x1
    assert y0 <= box[1]
    assert box[3] <= y1


def test_square_that_does_not_fit_is_cut_to_the_picture():
    assert Framing("face", share=0.5).crop(1000, 300, (400, 50, 600, 250)) == (300, 0, 700, 300)


def test_head_shot_is_taken_whole_and_a_small_face_is_not():
    head, small = (40, 30, 210, 230), (100, 100, 150, 160)
    assert Framing().crop(256, 256, head) == (0, 0, 256, 256)
    assert Framing().crop(256, 256, small) != (0, 0, 256, 256)
    assert Framing("face").crop(256, 256, head) == (0, 0, 256, 256)  # nothing is left to cut
    assert Framing("whole").crop(256, 256, small) == (0, 0, 256, 256)
    assert Framing().crop(256, 300, None) == (0, 0, 256, 300)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (1920, 1080), (300, 1000), (4000, 1000)])
def test_edit_keeps_shape_and_area_as_far_as_multiples_of_16_allow(width, height):
    tall, wide = edit_size(width, height, 512)
    assert tall % 16 == wide % 16 == 0
    assert wide / tall == pytest.approx(width / height, rel=0.07)
    assert tall * wide == pytest.approx(512**2, rel=0.07)


def test_long_strips_are_refused_with_the_way_out():
    for size in ((4100, 1000), (1000, 4100)):
        with pytest.raises(UserError, match=r"too long a strip.*crop.*box="):
            edit_size(*size, 512)


def test_box_outside_the_picture_is_refused():
    with pytest.raises(UserError, match=r"box=\[500,10,600,90\] leaves no face.*of 400 x 100"):
        check_box((500, 10, 600, 90), 400, 100)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"mode": "square"}, "framing.mode=square: choose one of auto, face, whole"),
        ({"share": 0}, "framing.share=0: give a number above 0"),
        ({"whole_from": "half"}, "framing.whole_from=half: give a number"),
    ],
)
def test_framing_that_makes_no_sense_is_refused(settings, match):
    with pytest.raises(UserError, match=match):
        Framing(**settings)
