"""The edited part goes back so that nobody sees where it ends."""

import numpy as np
import pytest
from PIL import Image

from pixelsmile.editing.framing import Framing
from pixelsmile.editing.pasting import colour_plane, face_mask, paste, rim_mask
from pixelsmile.faces.anime import AnimeFaces

BOX = (190.0, 120.0, 290.0, 240.0)
SIZE = (480, 360)


@pytest.fixture(scope="module")
def crop():
    return Framing("face", share=0.6).crop(*SIZE, BOX)


@pytest.fixture(scope="module")
def picture():
    """A drawn head on a wide canvas of smooth light."""
    down, across = np.mgrid[0:360, 0:480]
    light = np.stack([90 + across / 6, 120 + down / 8, 200 - across / 8], axis=-1)
    canvas = Image.fromarray(light.astype(np.uint8))
    head = Image.fromarray(AnimeFaces().render(9001, {}, size=128).image)
    canvas.paste(head, (176, 110))
    return canvas


def seen_through(picture, crop, *, size=(128, 128)):
    """Return the part as a model that only blurs would return it: smaller."""
    return picture.crop(crop).resize(size, Image.Resampling.LANCZOS)


def tinted(image, shift):
    return Image.fromarray((np.asarray(image, float) + shift).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("kind", ["face", "rim"])
def test_pixels_outside_the_region_keep_their_bytes(picture, crop, kind):
    mask = face_mask(crop, SIZE, BOX) if kind == "face" else rim_mask(crop, SIZE)
    edited = tinted(seen_through(picture, crop), (60, -40, 20))
    before, after = np.asarray(picture), np.asarray(paste(picture, edited, crop, mask))
    outside = np.ones(before.shape[:2], bool)
    outside[crop[1] : crop[3], crop[0] : crop[2]] = mask == 0
    assert (before[outside] == after[outside]).all()
    assert (before[~outside] != after[~outside]).any()


def test_face_region_ends_inside_the_part_and_is_whole_inside_the_face(crop):
    mask = face_mask(crop, SIZE, BOX)
    for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
        assert (edge == 0).all()
    x, y = 240 - crop[0], 180 - crop[1]
    assert mask[y - 50 : y + 50, x - 30 : x + 30].min() == 1
    assert mask.max() == 1
    assert mask.min() == 0


def test_edges_of_the_picture_itself_do_not_fade():
    mask = rim_mask((0, 0, 100, 80), (200, 80))
    assert (mask[:, 0] == 1).all()
    assert (mask[0, :80] == 1).all()
    assert (mask[:, -1] == 0).all()


def test_whole_picture_is_replaced_by_the_edit_alone(picture):
    whole = (0, 0, *SIZE)
    edited = Image.effect_noise(SIZE, 80).convert("RGB")
    result = paste(picture, edited, whole, rim_mask(whole, SIZE))
    np.testing.assert_array_equal(result, edited)


def test_colour_plane_undoes_a_tint_and_a_slope_and_ignores_what_moved():
    generator = np.random.default_rng(0)
    original = generator.uniform(60, 180, (90, 120, 3)).astype(np.float32)
    across = np.linspace(-1, 1, 120)[None, :, None]
    tint = np.array([20.0, -10.0, 5.0])
    edited = original - tint - 8 * across
    mask = rim_mask((10, 10, 130, 100), (200, 200))
    edited[:30, :20] = 255  # hair where there was sky
    plane = colour_plane(edited, original, mask)
    np.testing.assert_allclose(plane[0], tint, atol=0.2)
    np.testing.assert_allclose(plane[1], 8, atol=0.2)
    np.testing.assert_allclose(plane[2], 0, atol=0.2)


def roughness(image, band):
    """Return the mean step between neighbouring pixels inside a band."""
    values = np.asarray(image, float)
    down = np.abs(np.diff(values, axis=0))[:, :-1].sum(-1)
    across = np.abs(np.diff(values, axis=1))[:-1].sum(-1)
    return np.hypot(down, across)[band[:-1, :-1]].mean()


@pytest.mark.parametrize("kind", ["face", "rim"])
def test_no_seam_the_band_where_the_edit_ends_is_as_smooth_as_the_source(picture, crop, kind):
    mask = face_mask(crop, SIZE, BOX) if kind == "face" else rim_mask(crop, SIZE)
    edited = tinted(seen_through(picture, crop), (30, -25, 15))
    band = np.zeros(SIZE[::-1], bool)
    band[crop[1] : crop[3], crop[0] : crop[2]] = (mask > 0) & (mask < 1)
    hard = picture.copy()
    hard.paste(edited.resize((crop[2] - crop[0],) * 2), crop[:2])
    edge = np.zeros_like(band)
    edge[crop[1] - 2 : crop[3] + 2, crop[0] - 2 : crop[2] + 2] = True
    edge[crop[1] + 2 : crop[3] - 2, crop[0] + 2 : crop[2] - 2] = False
    assert roughness(hard, edge) > 5 * roughness(picture, edge)  # the test can see a seam
    result = paste(picture, edited, crop, mask)
    for place in (band, edge):
        assert roughness(result, place) <= 1.05 * roughness(picture, place)
    # and the tint is gone from the middle as well
    middle = (crop[0] + 40, crop[1] + 40, crop[2] - 40, crop[3] - 40)
    shift = np.asarray(result.crop(middle), float) - np.asarray(picture.crop(middle), float)
    assert np.abs(shift.mean((0, 1))).max() < 5  # of 30; clipped highlights stay lost


def test_transparency_stays_and_clear_pixels_keep_their_colour(picture, crop):
    alpha = Image.new("L", SIZE, 255)
    alpha.paste(0, (0, 0, 240, 360))
    mask = rim_mask(crop, SIZE)
    edited = Image.new("RGB", (128, 128), (200, 0, 0))
    result = paste(picture, edited, crop, mask, alpha=alpha)
    np.testing.assert_array_equal(result.getchannel("A"), alpha)
    before, after = np.asarray(picture), np.asarray(result)[..., :3]
    assert (before[:, :240] == after[:, :240]).all()
    assert (before[180, 250] != after[180, 250]).any()
