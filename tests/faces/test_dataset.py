"""A face set is whole or not there, is the same however it came about, and is never overwritten."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsmile.errors import UserError, friendly
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, index
from pixelsmile.faces import dataset
from pixelsmile.faces.dataset import write_dataset
from pixelsmile.faces.scores import scores


def write(faces, out, seeds=(0, 1, 2), **kwargs):
    return write_dataset(faces, seeds, out, **{"size": 32, "workers": 1, **kwargs})


def tree(folder):
    """Every file of a set with its bytes."""
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows(annotations):
    return [json.loads(line) for line in annotations.read_text().splitlines()]


def test_every_line_describes_the_image_that_the_generator_draws(faces, tmp_path):
    annotations = write(faces, tmp_path / "set", split="train")
    lines = rows(annotations)
    assert len(lines) == 3 * (1 + 12 * 3)
    for row in lines:
        seed = int(row["identity"].removeprefix("human_"))
        strength = max(row["scores"].values()) if row["category"] != NEUTRAL else 0.0
        mix = {row["category"]: strength} if strength else {}
        face = faces.render(seed, mix, size=32)
        np.testing.assert_array_equal(Image.open(annotations.parent / row["image"]), face.image)
        np.testing.assert_allclose(list(row["scores"].values()), scores(mix), atol=1e-6)
        assert list(row["scores"]) == list(EXPRESSIONS)
        np.testing.assert_allclose(row["box"], face.box, atol=1e-3)
        np.testing.assert_allclose(row["landmarks"], face.landmarks, atol=1e-3)
        assert row["domain"] == "human"
        assert row["split"] == "train"


def test_each_identity_has_one_neutral_image_and_all_strengths_in_order(faces, tmp_path):
    lines = rows(write(faces, tmp_path / "set", seeds=[7], strengths=[0.5, 1.0]))
    assert [row["category"] for row in lines].count(NEUTRAL) == 1
    fear = [row["scores"]["fear"] for row in lines if row["category"] == "fear"]
    assert fear == [0.5, 1.0]
    assert lines[0]["scores"] == dict.fromkeys(EXPRESSIONS, 0.0)
    assert "split" not in lines[0]


def test_confusing_expressions_share_their_scores_on_disk(faces, tmp_path):
    lines = rows(write(faces, tmp_path / "set", seeds=[0], strengths=[1.0]))
    fear = next(row for row in lines if row["category"] == "fear")
    assert 0 < fear["scores"]["surprised"] < fear["scores"]["fear"]
    assert index("fear") == int(np.argmax(list(fear["scores"].values())))


def test_a_finished_set_holds_nothing_else(faces, tmp_path):
    write(faces, tmp_path / "set", strengths=[1.0])
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "annotations.jsonl",
        "dataset.json",
        "images",
        "sheet.png",
    ]


@pytest.mark.slow
def test_number_of_workers_does_not_change_a_byte(faces, tmp_path):
    write(faces, tmp_path / "one", seeds=range(5), workers=1)
    write(faces, tmp_path / "two", seeds=range(5), workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_set_that_is_there_is_reused_without_drawing(faces, tmp_path, monkeypatch):
    before = tree(write(faces, tmp_path / "set").parent)
    monkeypatch.setattr(dataset, "run_parallel", None)
    write(faces, tmp_path / "set", workers=2)
    assert tree(tmp_path / "set") == before


def test_other_settings_are_refused_and_leave_the_set_alone(faces, tmp_path):
    before = tree(write(faces, tmp_path / "set").parent)
    with pytest.raises(UserError, match=r"size 32 there, 64 wanted.*out=.*overwrite=true"):
        write(faces, tmp_path / "set", size=64)
    with pytest.raises(UserError, match=r"3 identities there, 4 wanted"):
        write(faces, tmp_path / "set", seeds=range(4))
    assert tree(tmp_path / "set") == before


def test_another_version_of_the_generator_is_refused(faces, fake_faces, tmp_path):
    write(faces, tmp_path / "set")
    with pytest.raises(UserError, match="another version of the generator"):
        write(fake_faces.FakeFaces(hue=9), tmp_path / "set")


def test_overwrite_replaces_a_set_of_other_settings(faces, tmp_path):
    write(faces, tmp_path / "set")
    write(faces, tmp_path / "set", size=64, overwrite=True)
    write(faces, tmp_path / "fresh", size=64)
    assert tree(tmp_path / "set") == tree(tmp_path / "fresh")
    assert {path.name for path in tmp_path.iterdir()} == {"set", "fresh"}


def test_a_folder_with_other_things_is_never_touched(faces, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="something other than a face set"):
        write(faces, tmp_path / "set", overwrite=True)
    (tmp_path / "new.partial").mkdir()
    (tmp_path / "new.partial" / "thesis.txt").write_text("more of it")
    with pytest.raises(UserError, match="no unfinished face set"):
        write(faces, tmp_path / "new")
    assert (tmp_path / "set" / "thesis.txt").exists()
    assert (tmp_path / "new.partial" / "thesis.txt").exists()


def test_an_empty_folder_becomes_the_set(faces, tmp_path):
    (tmp_path / "set").mkdir()
    assert write(faces, tmp_path / "set").exists()


def test_a_file_in_the_way_is_named(faces, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/set\.partial cannot be made a folder .*out="):
        write(faces, tmp_path / "file" / "set")


class FullDisk:
    """Let so many images through, then report a full disk as `write` does: without a name."""

    def __init__(self, images):
        self.left = images
        self.write_bytes = Path.write_bytes

    def __call__(self, path, data):
        if self.left == 0:
            self.write_bytes(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1
        return self.write_bytes(path, data)


def test_full_disk_names_the_file_and_the_next_run_continues(faces, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        disk = FullDisk(images=50)  # the second identity has begun
        patch.setattr(Path, "write_bytes", lambda path, data: disk(path, data))
        with pytest.raises(SystemExit) as stop, friendly():
            write(faces, tmp_path / "set")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "error: disk is full while writing" in error
    assert "human_00001/" in error
    assert not (tmp_path / "set").exists()

    finished = tmp_path / "set.partial" / "images" / "human_00000" / "neutral.png"
    written = finished.stat().st_mtime_ns
    write(faces, tmp_path / "set")
    assert (tmp_path / "set/images/human_00000/neutral.png").stat().st_mtime_ns == written
    write(faces, tmp_path / "undisturbed")
    assert tree(tmp_path / "set") == tree(tmp_path / "undisturbed")


@pytest.mark.parametrize("name", ["annotations.jsonl", "dataset.json", "human_00001.json"])
def test_full_disk_while_writing_any_text_file_leaves_no_set(faces, tmp_path, monkeypatch, name):
    replace = Path.replace

    def full(path, target):
        if f".{name}." in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match=name):
            write(faces, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    write(faces, tmp_path / "set")
    write(faces, tmp_path / "undisturbed")
    assert tree(tmp_path / "set") == tree(tmp_path / "undisturbed")


@pytest.mark.parametrize("damage", ["missing", "short", "other"])
def test_a_damaged_image_of_an_interrupted_run_is_drawn_again(faces, tmp_path, monkeypatch, damage):
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_write_annotations", lambda *args: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):  # noqa: PT011 - any, as a stand-in for a crash
            write(faces, tmp_path / "set")
    image = tmp_path / "set.partial" / "images" / "human_00001" / "fear_0.7.png"
    data = image.read_bytes()
    if damage == "missing":
        image.unlink()
    else:
        image.write_bytes(data[:-9] if damage == "short" else data[:-1] + b"!")
    write(faces, tmp_path / "set")
    assert (tmp_path / "set/images/human_00001/fear_0.7.png").read_bytes() == data


def test_leftovers_of_other_settings_are_not_mixed_in(faces, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_swap", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write(faces, tmp_path / "set", strengths=[0.2])
    write(faces, tmp_path / "set")
    write(faces, tmp_path / "undisturbed")
    assert tree(tmp_path / "set") == tree(tmp_path / "undisturbed")


def test_a_second_writer_is_refused_while_the_first_works(faces, tmp_path):
    refused = []

    def meddle(seed, mix, **kwargs):
        if not refused:
            with pytest.raises(UserError, match=r"Another run is writing .*wait"):
                write(type(faces)(), tmp_path / "set")
            refused.append(True)
        return type(faces).render(faces, seed, mix, **kwargs)

    faces.render = meddle
    write(faces, tmp_path / "set")
    assert refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": []}, "at least one identity"),
        ({"seeds": [1, 1]}, "comes twice"),
        ({"seeds": [-1]}, "Seed -1 is negative"),
        ({"seeds": [8999, 9000]}, "Seed 9000 is reserved for evaluation.*reserved=true"),
        ({"strengths": []}, "one or more different numbers"),
        ({"strengths": [0.5, 0.5]}, "one or more different numbers"),
        ({"strengths": [0.0]}, r"strengths has 0\.0"),
        ({"strengths": [1.6]}, r"strengths has 1\.6: .*at most 1\.5"),
        ({"strengths": [float("nan")]}, "strengths has nan"),
        ({"size": 31}, "size=31.*32 to 1024"),
        ({"size": 1025}, "size=1025"),
        ({"workers": 0}, "workers=0.*auto"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(faces, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        write(faces, tmp_path / "set", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_reserved_seeds_are_written_when_asked_for(faces, tmp_path):
    lines = rows(write(faces, tmp_path / "set", seeds=[9000], reserved=True))
    assert lines[0]["identity"] == "human_09000"
