"""What is written into pictures, GIF and MP4 is read back."""

import av
import numpy as np
import pytest
from PIL import Image

from pixelsmile.editing.animation import shrink, there_and_back, write_gif, write_mp4
from pixelsmile.editing.facts import known_facts, read_facts, write_png
from pixelsmile.errors import UserError

FACTS = {"title": "Zoë: happy", "settings": {"seed": 3, "weights": {"happy": 0.6}}, "made": None}


@pytest.fixture
def frames():
    down, across = np.mgrid[0:60, 0:90]
    return [
        Image.fromarray(
            np.stack([across * 2, down * 4, np.full_like(down, shade)], axis=-1).astype(np.uint8)
        )
        for shade in range(0, 250, 30)
    ]


def test_png_says_how_it_was_made_and_keeps_its_pixels(tmp_path, frames):
    write_png(frames[3], tmp_path / "a.png", FACTS)
    assert read_facts(tmp_path / "a.png") == FACTS
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(image, frames[3])
        assert image.info["Description"] == "Zoë: happy"
        assert image.info["Software"].startswith("pixelsmile ")


@pytest.mark.parametrize("kind", ["png", "gif", "mp4"])
def test_same_input_gives_the_same_bytes(tmp_path, frames, kind):
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{kind}"
        if kind == "png":
            write_png(frames[0], path, FACTS)
        else:
            (write_gif if kind == "gif" else write_mp4)(frames, path, 12, FACTS)
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert read_facts(tmp_path / f"a.{kind}") == FACTS


def test_gif_shows_all_frames_at_the_asked_pace(tmp_path, frames):
    write_gif(frames, tmp_path / "a.gif", 12.5, FACTS)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == len(frames)
        assert image.info["duration"] == 80
        assert image.info["loop"] == 0
        for number, frame in enumerate(frames):
            image.seek(number)
            error = np.abs(np.asarray(image.convert("RGB"), float) - np.asarray(frame, float))
            assert error.mean() < 25  # 256 colours for all frames


def test_mp4_shows_all_frames_as_browsers_want_them(tmp_path, frames):
    write_mp4(frames, tmp_path / "a.mp4", 12.5, FACTS)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == 12.5
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == len(frames)
    for frame, expected in zip(shown, frames, strict=True):
        assert np.abs(frame.astype(float) - np.asarray(expected, float)).mean() < 8


def test_sweep_goes_there_and_back_without_showing_an_end_twice():
    assert there_and_back([1, 2, 3, 4]) == [1, 2, 3, 4, 3, 2]
    assert there_and_back([1]) == [1]


def test_shrunk_frames_keep_their_shape_have_even_sides_and_white_behind():
    image = Image.new("RGBA", (1001, 501), (0, 0, 0, 0))
    small = shrink(image, 300, even=True)
    assert small.size == (300, 150)
    assert small.getpixel((5, 5)) == (255, 255, 255)
    assert shrink(Image.new("RGB", (33, 21)), 300, even=True).size == (32, 20)
    assert shrink(Image.new("RGB", (33, 21)), 300).size == (33, 21)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4", ".jpg"])
def test_file_of_somebody_else_has_no_facts(tmp_path, frames, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"not a picture at all")
    assert known_facts(path) is None
    if suffix in (".png", ".gif", ".jpg"):
        frames[0].save(path)
        assert known_facts(path) is None
    with pytest.raises(UserError, match="does not say how it was made"):
        read_facts(path)
    with pytest.raises(UserError, match="No picture at"):
        read_facts(tmp_path / "none.png")
