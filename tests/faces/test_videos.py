"""Faces as MEAD: what the reader takes out of the videos is what was drawn."""

import numpy as np
import pytest
from PIL import Image

from pixelsmile.data.mead import LEVELS, read_mead
from pixelsmile.errors import UserError
from pixelsmile.faces import videos
from pixelsmile.faces.videos import EMOTIONS, write_mead
from tests.faces.fakes import StillFaces
from tests.tiny_random import write_faces

SIZE = 64


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mead")
    return write_mead(StillFaces(), folder, subjects=2, size=SIZE, workers=1)


def read(root, tmp_path, **options):
    val = write_faces(tmp_path / "val", range(9000, 9001))
    return read_mead(
        root, domain="human", cache=tmp_path / "cache", frames=1, workers=1, val=val, **options
    )


def test_reader_finds_every_subject_emotion_and_level_and_trains_on_all(root, tmp_path):
    faces = read(root, tmp_path)
    assert {sample.identity for sample in faces.train} == {"M000", "M001"}
    shown = {(s.category, max(s.scores)) for s in faces.train}
    levels = {(name, strength) for name in EMOTIONS.values() for strength in LEVELS.values()}
    assert shown == {("neutral", 0.0)} | levels
    assert len(faces.train) == 2 * len(shown)


def test_validation_is_on_the_people_that_were_named(root, tmp_path):
    val = read(root, tmp_path).val
    assert {sample.identity for sample in val} == {"human_09000"}
    assert any(sample.landmarks for sample in val)


def test_frames_look_like_the_drawings(root, tmp_path):
    for sample in read(root, tmp_path).train:
        strength = max(sample.scores)
        mix = {sample.category: strength} if strength else {}
        drawn = StillFaces().render(int(sample.identity[1:]), mix, size=SIZE).image.astype(float)
        seen = np.asarray(Image.open(sample.image).convert("RGB")).astype(float)
        assert np.abs(seen - drawn).mean() < 4.0  # of 255: coarse colour, and noise of the codec
        other = StillFaces().render(int(sample.identity[1:]), {"shy": 1.0}, size=SIZE).image
        assert np.abs(seen - other).mean() > np.abs(seen - drawn).mean()


def test_a_set_is_written_once_and_one_that_was_stopped_goes_on(tmp_path, monkeypatch):
    written = []
    write = videos.write_video
    stop_at = 5

    def watched(path, image):
        if len(written) == stop_at:
            raise KeyboardInterrupt
        written.append(path.relative_to(tmp_path).parts[1:])
        write(path, image)

    def start():
        return write_mead(StillFaces(), tmp_path, subjects=1, size=SIZE, workers=1)

    monkeypatch.setattr(videos, "write_video", watched)
    with pytest.raises(KeyboardInterrupt):
        start()
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    stop_at = None
    root = start()
    assert start() == root
    assert list(tmp_path.iterdir()) == [root]
    assert len(written) == len(set(written)) == 1 + 7 * 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"subjects": 0}, "identities=0"),
        ({"subjects": 9001}, "Seed 9000 is reserved"),
        ({"subjects": 1, "size": 65}, "size=65 is odd"),
        ({"subjects": 1, "workers": 0}, "workers=0"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, options, match):
    with pytest.raises(UserError, match=match):
        write_mead(StillFaces(), tmp_path, **{"size": SIZE, "workers": 1, **options})
