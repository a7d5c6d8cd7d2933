import struct
import zlib

import pytest
from PIL import Image

from pixelsmile.errors import UserError
from pixelsmile.studio.uploads import Limits, check_upload
from tests.studio.stand_in import face_image, file_of


@pytest.fixture
def written(tmp_path):
    def write(content, name="me.png"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def gigantic_png():
    """Return a header that claims 60000 x 60000 pixels, with hardly any data."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 99))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "MPO"])
def test_pictures_are_told_by_their_content_and_not_by_their_name(written, kind):
    # MPO is what phones write that keep a depth map or a thumbnail behind the picture.
    more = {"save_all": True, "append_images": [face_image()]} if kind == "MPO" else {}
    check_upload(written(file_of(face_image(), kind, **more), "without-suffix"), Limits())


@pytest.mark.parametrize(
    ("content", "limits", "sentence"),
    [
        (b"", Limits(), "me.png is empty"),
        (b"<svg onload='alert(1)'/>", Limits(), "me.png is no picture that can be read"),
        (file_of(face_image())[:40], Limits(), "me.png is no picture|has 64 x 64"),
        (file_of(face_image(), "ICO"), Limits(), "me.png is a ICO file: upload JPEG"),
        (gigantic_png(), Limits(), "me.png claims to be gigantic"),
        (file_of(face_image()), Limits(megapixels=0.001), "64 x 64 pixels: upload at most 0.001"),
        (file_of(face_image(size=(200, 20))), Limits(), "200 x 20 pixels: each edge needs 32"),
        (b"x" * 3000, Limits(megabytes=0.002), "has 0.0 MB: upload at most 0.002 MB"),
    ],
)
def test_what_is_no_fitting_picture_is_refused_in_a_sentence(written, content, limits, sentence):
    path = written(content)
    with pytest.raises(UserError, match=sentence) as refusal:
        check_upload(path, limits)
    assert str(path.parent) not in str(refusal.value)  # folders of the server are its own affair


def test_the_header_decides_before_pixels_are_decoded(written, monkeypatch):
    def load(self):
        raise AssertionError("decoded")

    path = written(file_of(face_image()))
    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(UserError, match="megapixels"):
        check_upload(path, Limits(megapixels=0.001))
