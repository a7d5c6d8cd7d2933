"""Pictures as people have them come out as the eye sees them."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from pixelsmile.data.faults import BadItemError
from pixelsmile.editing.reading import read_picture
from tests.data.test_hostile import bomb

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def colours():
    """A smooth colour picture, (48, 64, 3): red runs across, green down."""
    down, across = np.mgrid[0:48, 0:64]
    return np.stack([across * 4, down * 5, 255 - across * 2], axis=-1).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    def write(image, name="a.png", **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return write


def pixels(path):
    return np.asarray(read_picture(path).image)


# ---- depth and channels ---------------------------------------------------------------------


def test_grey_picture_of_16_bits_keeps_its_tones(save):
    """Pillow's own conversion clips every value above 255 to white."""
    deep = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
    path = save(Image.fromarray(deep.astype(np.uint16)))
    expected = np.round(deep.astype(np.uint16) / 257)
    np.testing.assert_array_equal(pixels(path), np.repeat(expected[..., None], 3, axis=-1))


def test_grey_tiff_of_16_bits_keeps_its_tones(save):
    deep = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    found = pixels(save(Image.fromarray(deep), "a.tiff"))
    np.testing.assert_array_equal(found[..., 0], np.round(deep / 257))


def test_floating_point_tiff_counts_from_0_to_1(save):
    values = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)
    found = pixels(save(Image.fromarray(values), "a.tiff"))
    np.testing.assert_array_equal(found[..., 1], np.round(values * 255))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB"])
def test_every_mode_comes_out_as_upright_rgb(save, colours, mode):
    source = Image.fromarray(colours)
    if mode == "LAB":
        source = ImageCms.profileToProfile(
            source, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    source = source if source.mode == mode else source.convert(mode)
    picture = read_picture(save(source, "a.tiff" if mode in ("CMYK", "LAB") else "a.png"))
    assert picture.image.mode == "RGB"
    assert picture.size == (64, 48)
    assert picture.alpha is None
    if mode in ("RGB", "RGBA", "CMYK"):
        np.testing.assert_array_equal(picture.image, colours)
    elif mode in ("L", "LA"):
        grey = Image.fromarray(colours).convert("L").convert("RGB")
        np.testing.assert_array_equal(picture.image, grey)
    elif mode == "P":
        np.testing.assert_array_equal(picture.image, source.convert("RGB"))
    elif mode == "LAB":  # 8 bits of Lab cost a few levels
        assert np.abs(np.asarray(picture.image, int) - colours).mean() < 2


def test_cmyk_jpeg_keeps_its_colours(save, colours):
    """Adobe stores them inverted."""
    path = save(Image.fromarray(colours).convert("CMYK"), "a.jpg", quality=98)
    assert np.abs(pixels(path).astype(int) - colours).mean() < 6


def test_jpeg_of_several_images_is_read(save, colours):
    """As phones write them: the picture, and a depth map or thumbnail behind it."""
    image = Image.fromarray(colours)
    path = save(image, "a.jpg", format="MPO", save_all=True, append_images=[image.rotate(180)])
    assert np.abs(pixels(path).astype(int) - colours).mean() < 6


def test_first_frame_of_an_animation_is_taken(save):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    path = save(frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert tuple(pixels(path)[0, 0]) == (255, 0, 0)


# ---- orientation ----------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(save, colours, orientation):
    """The eight ways of the EXIF standard, each undone by its own inverse."""
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(np.ascontiguousarray(turn(colours))), exif=exif)
    np.testing.assert_array_equal(pixels(path), colours)


def test_damaged_exif_does_not_lose_the_picture(save, colours):
    path = save(Image.fromarray(colours), "a.png", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff\x01")
    np.testing.assert_array_equal(pixels(path), colours)


# ---- transparency ---------------------------------------------------------------------------


def test_alpha_is_kept_apart_and_the_model_sees_white_behind(save, colours):
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 32:] = 255
    picture = read_picture(save(Image.fromarray(np.dstack([colours, alpha]))))
    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_array_equal(picture.image, colours)
    shown = np.asarray(picture.on_white())
    np.testing.assert_array_equal(shown[:, 32:], colours[:, 32:])
    assert (shown[:, :32] == 255).all()


def test_clear_colour_of_a_palette_is_transparent(save):
    image = Image.new("P", (40, 40), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 20, 40))
    picture = read_picture(save(image, "a.png", transparency=0))
    assert picture.alpha.getpixel((5, 5)) == 0
    assert picture.alpha.getpixel((30, 5)) == 255
    assert picture.image.getpixel((30, 5)) == (0, 0, 255)


def test_clear_grey_of_16_bits_is_transparent(save):
    deep = np.full((40, 40), 30_000, np.uint16)
    deep[:, 20:] = 40_000
    path = save(Image.fromarray(deep), transparency=30_000)
    picture = read_picture(path)
    assert picture.alpha.getpixel((5, 5)) == 0
    assert picture.alpha.getpixel((30, 5)) == 255


def test_wholly_transparent_picture_is_refused(save):
    path = save(Image.new("RGBA", (64, 64), (1, 2, 3, 0)))
    with pytest.raises(BadItemError, match=r"a\.png is wholly transparent"):
        read_picture(path)


# ---- colour profiles ------------------------------------------------------------------------


def linear_profile():
    """An RGB profile with the primaries of sRGB and no gamma, built by hand from the sRGB one."""
    data = bytearray(SRGB)
    count = int.from_bytes(data[128:132], "big")
    for entry in range(count):
        at = 132 + 12 * entry
        start = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            data[start : start + 12] = b"curv" + bytes(8)  # no points: the identity
            data[at + 8 : at + 12] = (12).to_bytes(4, "big")
        elif data[at : at + 4] == b"desc":
            size = int.from_bytes(data[at + 8 : at + 12], "big")
            text = bytes(data[start : start + size])
            data[start : start + size] = text.replace("sRGB".encode("utf-16-be"), b"\0l\0i\0n\0e")
    return bytes(data)


def to_srgb(linear):
    """The transfer function of IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_embedded_profile_is_converted_to_srgb(save, colours):
    path = save(Image.fromarray(colours), icc_profile=linear_profile())
    expected = to_srgb(colours / 255) * 255
    assert np.abs(pixels(path) - expected).max() <= 2


def test_profile_works_beside_alpha(save, colours):
    alpha = np.full((48, 64, 1), 200, np.uint8)
    path = save(Image.fromarray(np.dstack([colours, alpha])), icc_profile=linear_profile())
    picture = read_picture(path)
    assert np.abs(np.asarray(picture.image) - to_srgb(colours / 255) * 255).max() <= 2
    assert set(np.unique(picture.alpha)) == {200}


def test_srgb_profile_changes_nothing(save, colours):
    path = save(Image.fromarray(colours), icc_profile=SRGB)
    np.testing.assert_array_equal(pixels(path), colours)


@pytest.mark.parametrize("profile", [b"no profile at all", SRGB[:200]])
def test_damaged_profile_is_passed_over(save, colours, profile):
    path = save(Image.fromarray(colours), icc_profile=profile)
    np.testing.assert_array_equal(pixels(path), colours)


def test_profile_for_other_channels_is_passed_over(save, colours):
    path = save(Image.fromarray(colours).convert("L"), icc_profile=linear_profile())
    np.testing.assert_array_equal(pixels(path)[..., 0], Image.fromarray(colours).convert("L"))


# ---- refusals -------------------------------------------------------------------------------


def test_missing_picture_is_named(tmp_path):
    with pytest.raises(BadItemError, match=r"none\.png is missing: check the path"):
        read_picture(tmp_path / "none.png")


def test_picture_of_20000_by_20000_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "huge.png").write_bytes(bomb())
    with pytest.raises(BadItemError, match=r"huge\.png cannot be read \(over 89 megapixels\)"):
        read_picture(tmp_path / "huge.png")


def test_picture_too_small_for_a_face_is_refused(save):
    with pytest.raises(BadItemError, match=r"has 400 x 31 pixels, too few for a face.*32 x 32"):
        read_picture(save(Image.new("RGB", (400, 31))))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\nhello", b"%PDF-1.7 ..."])
def test_what_is_no_picture_gets_one_sentence_with_the_kinds(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadItemError, match=r"a\.png cannot be read \(.*\): give a whole .*\.webp"):
        read_picture(tmp_path / "a.png")


def test_picture_cut_short_is_refused(save, colours, tmp_path):
    data = save(Image.fromarray(colours), "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadItemError, match=r"(?i)cut\.jpg cannot be read \(.*truncated"):
        read_picture(tmp_path / "cut.jpg")


def test_tiff_of_three_deep_channels_is_read(tmp_path):
    """Pillow reads 16 bits a channel and keeps the upper 8."""
    deep = np.zeros((40, 40, 3), ">u2")
    deep[..., 0], deep[..., 1], deep[..., 2] = 65535, 32896, 0
    tags = {256: 40, 257: 40, 259: 1, 262: 2, 273: 200, 277: 3, 278: 40, 279: deep.nbytes}
    rows = {tag: struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items()}
    rows[258] = struct.pack(">HHII", 258, 3, 3, 190)  # three short numbers, stored at byte 190
    directory = struct.pack(">H", len(rows)) + b"".join(rows[tag] for tag in sorted(rows))
    head = b"MM\0\x2a" + struct.pack(">I", 8) + directory + bytes(4)
    head = head.ljust(190, b"\0") + struct.pack(">HHH", 16, 16, 16)
    (tmp_path / "deep.tiff").write_bytes(head.ljust(200, b"\0") + deep.tobytes())
    assert tuple(pixels(tmp_path / "deep.tiff")[7, 7]) == (255, 128, 0)
