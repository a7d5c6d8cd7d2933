"""MEAD's folders become samples; videos are decoded once, and damaged ones named or counted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.data import frames as frames_module
from pixelsmile.data.faults import BadItemError, Faults
from pixelsmile.data.frames import FrameCache, decode_uniformly, uniform_positions
from pixelsmile.data.mead import find_clips, read_mead
from pixelsmile.data.samples import Sample
from pixelsmile.data.splits import fraction
from pixelsmile.data.triplets import every_pair
from pixelsmile.data.verify import Verifier
from pixelsmile.errors import UserError
from pixelsmile.expressions import index
from pixelsmile.faces import videos
from tests.small_sets import SHOWN, row, write_ffe, write_lines, write_video

EMOTIONS = ("neutral", "fear", "surprised", "disgusted")


def greys(count):
    return [(20 + 9 * i,) * 3 for i in range(count)]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Two subjects of whom a share of 0.5 holds out one."""
    root = tmp_path_factory.mktemp("mead")
    names = sorted((f"M{i:03d}" for i in range(40)), key=fraction)
    for name in (names[0], names[-1]):
        for emotion in EMOTIONS:
            levels = (1,) if emotion == "neutral" else (1, 2, 3)
            for level in levels:
                folder = root / name / "video" / "front" / emotion / f"level_{level}"
                write_video(folder / "001.mp4", greys(12))
    return root


@pytest.fixture
def root(original, tmp_path):
    """A copy that a test may damage, with the times of change of the original."""
    return Path(shutil.copytree(original, tmp_path / "mead"))


def read(root, cache, **options):
    return read_mead(root, domain="human", cache=cache, val_share=0.5, workers=1, **options)


def test_folders_become_samples_with_the_strength_of_their_level(original, tmp_path):
    faces = read(original, tmp_path, frames=2)
    samples = [*faces.train, *faces.val]
    assert len(samples) == 2 * (1 + 3 * 3) * 2
    shown = {(s.category, max(s.scores)) for s in samples}
    strengths = (0.5, 0.75, 1.0)
    assert shown == {("neutral", 0.0)} | {
        (name, level) for name in ("fear", "surprised", "disgust") for level in strengths
    }
    for sample in samples:
        assert sum(sample.scores) == max(sample.scores)
        if sample.category != "neutral":
            assert sample.scores[index(sample.category)] == max(sample.scores)
        assert (sample.box, sample.landmarks, sample.domain) == (None, None, "human")
    assert len({s.identity for s in faces.train}) == len({s.identity for s in faces.val}) == 1


def test_sources_are_neutral_clips_and_levels_meet_their_like(original, tmp_path):
    faces = read(original, tmp_path, frames=1)
    assert faces.triplets
    for source, a, b in faces.triplets:
        assert source.category == "neutral"
        assert max(a.scores) == max(b.scores)


def test_any_two_emotions_are_contrasted_unless_pairs_are_named(original, tmp_path):
    def contrasted(**options):
        triplets = read(original, tmp_path, frames=1, **options).triplets
        return {(t.target_a.category, t.target_b.category) for t in triplets}

    assert contrasted() == {("disgust", "fear"), ("disgust", "surprised"), ("fear", "surprised")}
    assert contrasted(pairs=[["fear", "surprised"]]) == {("fear", "surprised")}


def test_pairs_of_a_whole_mead_are_those_of_its_seven_emotions():
    """In this order the triplets of the ablation's row are drawn."""
    shown = ["neutral", *reversed(videos.EMOTIONS.values())]
    samples = [Sample(Path(name), "M003", "human", name, (0.0,) * 12) for name in shown]
    assert every_pair(samples) == list(combinations(videos.EMOTIONS.values(), 2))
    assert len(every_pair(samples)) == 21


def test_one_emotion_alone_is_refused(root, tmp_path):
    for emotion in root.glob("*/video/front/*"):
        if emotion.name not in ("neutral", "fear"):
            shutil.rmtree(emotion)
    with pytest.raises(UserError, match=r"show \['fear', 'neutral'\]: two emotions beside"):
        read(root, tmp_path / "cache")


def test_frames_are_taken_uniformly(tmp_path):
    video = write_video(tmp_path / "a.mp4", greys(20))
    frames = decode_uniformly(video, 4)
    means = [frame.mean() for frame in frames]
    expected = [greys(20)[i][0] for i in (2, 7, 12, 17)]
    assert means == pytest.approx(expected, abs=3)
    assert frames[0].shape == (64, 64, 3)


def test_positions_are_the_middles_of_equal_parts():
    assert uniform_positions(100, 4) == [12, 37, 62, 87]
    assert uniform_positions(2, 4) == [0, 0, 1, 1]  # fewer frames than asked for
    assert uniform_positions(1, 3) == [0, 0, 0]


def test_stored_frames_are_those_of_the_video(tmp_path):
    video = write_video(tmp_path / "a.mp4", greys(20))
    store = FrameCache(tmp_path / "cache", 2, 1)
    (paths,) = store.frames([video], tmp_path, Faults()).values()
    for path, frame in zip(paths, decode_uniformly(video, 2), strict=True):
        stored = np.asarray(Image.open(path), dtype=float)
        assert np.abs(stored - frame).mean() < 2


def test_second_time_decodes_nothing_and_a_changed_video_alone_anew(root, tmp_path, monkeypatch):
    decoded = []
    real = frames_module.decode_uniformly

    def counted(video, *rest):
        decoded.append(video)
        return real(video, *rest)

    monkeypatch.setattr(frames_module, "decode_uniformly", counted)
    first = read(root, tmp_path / "cache")
    assert len(decoded) == 20
    decoded.clear()
    assert read(root, tmp_path / "cache") == first
    moved = root.rename(tmp_path / "moved")
    assert read(moved, tmp_path / "cache") == first
    assert decoded == []
    changed = next(moved.rglob("001.mp4"))
    write_video(changed, greys(9))
    read(moved, tmp_path / "cache")
    assert decoded == [changed]
    decoded.clear()
    read(moved, tmp_path / "cache", frames=2)
    assert len(decoded) == 20


def test_torn_or_lost_frame_is_taken_again(root, tmp_path):
    first = read(root, tmp_path / "cache")
    torn, lost = first.train[0].image, first.train[-1].image
    whole = torn.read_bytes()
    torn.write_bytes(whole[:50])
    lost.unlink()
    assert read(root, tmp_path / "cache") == first
    assert torn.read_bytes() == whole
    assert lost.exists()


@pytest.mark.slow
def test_killed_extraction_goes_on_where_it_was(original, tmp_path):
    """Kill -9 in the middle, with processes: what is there stays, the rest follows."""
    program = (
        "from pixelsmile.data.mead import read_mead\n"
        f"read_mead({str(original)!r}, domain='human', cache={str(tmp_path)!r}, val_share=0.5,"
        " workers=2)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=CONFIG_FOLDER.parent,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (records := list(tmp_path.rglob("frames.json"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in records}
    faces = read(original, tmp_path)
    assert len(faces.train) + len(faces.val) == 2 * 10 * 3
    assert {path: path.stat().st_mtime_ns for path in records} == kept
    for sample in (*faces.train, *faces.val):
        Image.open(sample.image).load()


def test_clips_come_in_numeric_order_and_hidden_files_do_not_count(root):
    subject = next(root.iterdir())
    folder = subject / "video" / "front" / "fear" / "level_1"
    for name in ("002", "9", "010"):
        shutil.copy(folder / "001.mp4", folder / f"{name}.mp4")
    (folder / "._010.mp4").write_bytes(b"resource fork")
    (folder / "notes.txt").write_text("x")
    (subject / "video" / "down").mkdir()
    for count, expected in ((None, ["001", "002", "9", "010"]), (2, ["001", "002"])):
        clips = find_clips(root, Faults(), clips=count)
        assert [c.path.stem for c in clips if c.path.parent == folder] == expected


# ---- damage ---------------------------------------------------------------------------------


def cut(share):
    return lambda path: path.write_bytes((raw := path.read_bytes())[: int(len(raw) * share)])


def replaced(make):
    def damage(path):
        path.unlink()
        make(path)

    return damage


def leave(path):
    elsewhere = write_video(path.parents[6] / "elsewhere.mp4", greys(3))
    path.symlink_to(elsewhere)


DAMAGES = {
    "zero bytes": (lambda path: path.write_bytes(b""), "video", r"is empty \(0 bytes\)"),
    "text": (lambda path: path.write_bytes(b"<html>404</html>"), "video", "cannot be read"),
    "zeros": (lambda path: path.write_bytes(bytes(10_000)), "video", "cannot be read"),
    "cut at 1 %": (cut(0.01), "video", "cannot be read"),
    "cut at 50 %": (cut(0.5), "video", "cannot be read"),
    "cut at 80 %": (cut(0.8), "video", "cannot be read"),
    "sound alone": (
        replaced(lambda path: write_video(path, (), audio=True)),
        "video",
        "has no picture, only audio",
    ),
    "a folder": (replaced(lambda path: path.mkdir()), "video", "is no file"),
    "a dangling link": (replaced(lambda path: path.symlink_to("x")), "video", "is no file"),
    "a link that leaves": (replaced(leave), "link", r"leads out of .*follow_links=true"),
    "an image": (
        replaced(lambda path: Image.new("RGB", (8, 8)).save(path, "PNG")),
        None,  # FFmpeg takes a still image for a video of one frame, and so do we
        None,
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_video_is_one_sentence_or_one_counted_skip(root, tmp_path, name):
    damage, kind, match = DAMAGES[name]
    path = sorted(root.iterdir())[0] / "video" / "front" / "fear" / "level_2" / "001.mp4"
    damage(path)
    if match is None:
        assert not read(root, tmp_path / "cache").faults
        return
    with pytest.raises(UserError, match=match) as refusal:
        read(root, tmp_path / "cache")
    assert str(path) in str(refusal.value)
    faces = read(root, tmp_path / "cache", on_error="skip")
    assert [fault.kind for fault in faces.faults] == [kind]
    assert len(faces.train) + len(faces.val) == (2 * 10 - 1) * 3


def test_video_with_garbage_inside_never_raises_anything_else(tmp_path):
    numbers = np.random.default_rng(0)
    video = write_video(tmp_path / "a.mp4", greys(12))
    whole = video.read_bytes()
    refused = 0
    for _ in range(40):
        raw = bytearray(whole)
        for _ in range(int(numbers.integers(1, 40))):
            raw[int(numbers.integers(0, len(raw)))] = int(numbers.integers(0, 256))
        video.write_bytes(bytes(raw))
        try:
            assert len(decode_uniformly(video, 3)) == 3
        except BadItemError:
            refused += 1
    assert refused > 5


def test_unknown_folders_are_named_or_counted(root, tmp_path):
    front = sorted(root.iterdir())[0] / "video" / "front"
    (front / "fear" / "level_3").rename(front / "fear" / "level_9")
    (front / "smug" / "level_1").mkdir(parents=True)
    with pytest.raises(UserError, match=r"level_9: expected one of level_1"):
        read(root, tmp_path / "cache")
    faces = read(root, tmp_path / "cache", on_error="skip")
    assert len(faces.faults) == 2
    assert any("Unknown expression 'smug'" in str(fault) for fault in faces.faults)


def test_subject_without_neutral_clips_is_named_or_counted(root, tmp_path):
    for subject in root.iterdir():
        shutil.copytree(subject, root / f"{subject.name}b")
    for emotion in root.glob("*b/video/front/neutral"):
        shutil.rmtree(emotion)
    with pytest.raises(UserError, match=r"Identity 'M\d+b' has no image of category 'neutral'"):
        read(root, tmp_path / "cache")
    faces = read(root, tmp_path / "cache", on_error="skip")
    assert [fault.kind for fault in faces.faults] == ["neutral", "neutral"]


def test_images_to_validate_on_are_looked_at_and_their_split_counts(original, tmp_path):
    write_ffe(tmp_path / "val", range(3))
    rows = [row(p, c, split="val" if p < 2 else "train") for p in range(3) for c in SHOWN]
    write_lines(tmp_path / "val" / "annotations.jsonl", rows)
    torn = tmp_path / "val" / "images" / "p0-fear.png"
    torn.write_bytes(torn.read_bytes()[:200])
    options = {"val": tmp_path / "val", "verifier": Verifier(tmp_path / "seen", 1)}
    with pytest.raises(UserError, match=r"p0-fear\.png cannot be read"):
        read(original, tmp_path / "cache", **options)
    faces = read(original, tmp_path / "cache", on_error="skip", **options)
    assert [fault.kind for fault in faces.faults] == ["file"]
    assert {sample.identity for sample in faces.val} == {"p0", "p1"}
    assert len(faces.val) == 5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"domain": "anime"}, r"shows people, and domain=anime"),
        ({"frames": 0}, r"data\.frames=0: give a number from 1 up"),
        ({"clips": 0}, r"data\.clips=0"),
        ({"workers": 0}, r"data\.workers=0"),
        ({"on_error": "ignore"}, r"data\.on_error=ignore: choose one of stop, skip"),
    ],
)
def test_wrong_settings_are_refused(original, tmp_path, options, match):
    with pytest.raises(UserError, match=match):
        read_mead(original, **({"domain": "human", "cache": tmp_path} | options))


def test_wrong_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"No folder .*none: data\.root"):
        read(tmp_path / "none", tmp_path)
    with pytest.raises(UserError, match=r"No MEAD video can be used below .*M003/video/front"):
        read(tmp_path, tmp_path)


def test_record_is_written_after_the_frames(original, tmp_path):
    faces = read(original, tmp_path)
    folder = faces.train[0].image.parent
    sizes = json.loads((folder / "frames.json").read_text())
    assert sizes == [path.stat().st_size for path in sorted(folder.glob("*.jpg"))]
