"""The check finds everything that is wrong in one go, and its exit code says what to do."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from rich.console import Console

from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.data import inspection
from pixelsmile.data.check import check
from pixelsmile.data.ffe import read_faces
from pixelsmile.data.inspection import inspect, twins
from pixelsmile.errors import UserError
from tests.small_sets import picture, row, write_ffe, write_lines

SHOWN = ("neutral", "fear", "surprised")


@pytest.fixture
def folder(tmp_path):
    """Five people to train on and two held out, all in order."""
    folder = tmp_path / "set"
    write_ffe(folder, range(7))
    lines(folder, everyone())
    return folder


def everyone():
    return [row(p, c, split="train" if p < 5 else "val") for p in range(7) for c in SHOWN]


def lines(folder, rows):
    write_lines(folder / "annotations.jsonl", rows)


def run(folder, *overrides, data="ffe"):
    """Return the verdict, the report and what the terminal showed."""
    out = folder.parent / "out"
    settings = [
        f"data={data}",
        f"paths.cache={folder.parent / 'cache'}",
        f"data.check.out={out}",
        "data.workers=1",
    ]
    if data != "mead":
        settings.append(f"data.files.train={folder}")
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("train", [*settings, *overrides])
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    usable = check(config, console)
    return usable, json.loads((out / "report.json").read_text()), console.export_text()


def test_good_set_is_usable_and_everything_is_counted(folder):
    usable, report, shown = run(folder)
    assert usable
    assert report["findings"] == {}
    assert report["splits"]["train"]["identities"] == 5
    assert report["splits"]["train"]["images"] == 15
    assert report["splits"]["val"]["images_per_identity"] == [3, 3, 3]
    assert report["expressions"]["fear"] == {"train": 5, "val": 2}
    assert report["pairs"] == {"fear-surprised": {"triplets": 5, "identities": 5}}
    assert report["identities"]["val"]["p6"] == dict.fromkeys(SHOWN, 1)
    assert "The set is usable." in shown


def test_contact_sheet_shows_source_and_both_sides(folder):
    run(folder)
    with Image.open(folder.parent / "out" / "fear-surprised.png") as sheet:
        pixels = np.asarray(sheet)
    place = 0
    for mouth in range(3):  # neutral, fear and surprised of p0, side by side in one row
        face = picture(0, mouth).resize((128, 128), Image.Resampling.LANCZOS)
        middle = np.asarray(face)[83].tobytes()
        found = max(line.tobytes().find(middle) for line in pixels)
        assert found > place
        place = found
    assert sheet.width > 3 * 128
    assert sheet.height > 5 * 128


def test_all_kinds_of_trouble_are_found_in_one_go(folder):
    rows = everyone()
    rows[1]["scores"] = {"fear": 1.5}  # p0 then has no pair
    rows[4]["image"] = "images/none.png"  # nor has p1
    rows[6] |= {"category": "sad", "scores": {"sad": 1.0}}  # p2 has no neutral image any more
    rows[10]["box"] = [900, 900, 950, 950]  # nor has p3 a pair
    rows[13]["box"] = [30, 12, 70, 52]
    lines(folder, [*rows, "{"])
    picture(4, 2, shift=3).save(folder / "images" / "p4-surprised.png")
    picture(4, 0).save(folder / "images" / "p5-neutral.png")
    picture(6, 1, size=80).save(folder / "images" / "p6-fear.png")
    (folder / "images" / "p6-surprised.png").write_bytes(b"no image")
    usable, report, shown = run(folder)
    assert not usable
    found = {kind: len(texts) for kind, texts in report["findings"].items()}
    assert found == {
        "line": 1,
        "score": 1,
        "box": 1,
        "file": 2,
        "neutral": 1,
        "pair": 3,
        "bounds": 1,
        "size": 1,
        "misaligned": 1,
        "twin": 1,
    }
    assert "p4-surprised.png is displaced" in report["findings"]["misaligned"][0]
    assert "p6-fear.png and its source" in report["findings"]["size"][0]
    assert "p5-neutral.png (validation) and" in report["findings"]["twin"][0]
    assert "p4-neutral.png (training)" in report["findings"]["twin"][0]
    assert "p4-fear.png sticks out" in report["findings"]["bounds"][0]
    assert "NOT usable" in shown
    for word in ("misaligned", "twin", "tolerated"):
        assert word in shown


@pytest.mark.parametrize(
    "box", [[900, 900, 950, 950], [-90, 10, -50, 40], [60, 60, 400, 400]], ids=str
)
def test_face_outside_of_its_image_is_found_without_a_verifier(folder, box):
    rows = everyone()
    rows[0]["box"] = box  # of a source
    lines(folder, rows)
    usable, report, _ = run(folder, "data.verifier=null")
    assert not usable
    (text,) = report["findings"]["box"]
    assert "p0-neutral.png is 64 x 64, and its box" in text


def test_box_in_shares_of_the_image_does_not_blow_the_picture_up(folder):
    rows = everyone()
    rows[0]["box"] = [0.25, 0.2, 0.75, 0.8]
    lines(folder, rows)
    assert run(folder)[0]


def test_a_few_displaced_targets_of_many_leave_a_set_usable(folder):
    picture(4, 2, shift=3).save(folder / "images" / "p4-surprised.png")
    usable, report, _ = run(folder, "data.check.max_misaligned=0.05")  # 1 of 21 images
    assert usable
    assert len(report["findings"]["misaligned"]) == 1
    assert not run(folder, "data.check.max_misaligned=0.04")[0]


def test_what_the_run_leaves_out_by_itself_is_tolerated(folder):
    rows = everyone()
    rows[1]["scores"] = {"fear": 1.5}
    lines(folder, rows)
    assert not run(folder)[0]
    usable, report, _ = run(folder, "data.on_error=skip")
    assert usable
    assert report["findings"].keys() == {"score", "pair"}


def test_tolerance_is_by_kind(folder):
    picture(4, 2, shift=3).save(folder / "images" / "p4-surprised.png")
    assert not run(folder)[0]
    assert not run(folder, "data.check.tolerate=[twin]")[0]
    assert run(folder, "data.check.tolerate=[misaligned]")[0]
    assert run(folder, "data.check.max_shift=0.2")[0]
    with pytest.raises(UserError, match=r"tolerate has shifted: choose among line, .*misaligned"):
        run(folder, "data.check.tolerate=[shifted]")


def test_set_of_which_nothing_is_left_is_not_usable_and_says_why(folder):
    lines(folder, ["{", *[one | {"image": "none.png"} for one in everyone()]])
    usable, report, _ = run(folder, "data.on_error=skip")
    assert not usable
    assert {kind: len(texts) for kind, texts in report["findings"].items()} == {
        "line": 1,
        "file": 21,
        "set": 1,
    }


def test_people_on_both_sides_are_not_usable(folder):
    lines(folder, [one | {"split": None} for one in everyone()])
    usable, report, _ = run(folder, f"data.files.val={folder}")
    assert not usable
    assert "share 7 identities" in report["findings"]["set"][0]


def test_missing_annotations_are_a_mistake_of_the_config(folder):
    with pytest.raises(UserError, match=r"No annotations at .*none\.jsonl"):
        run(folder, f"data.files.val={folder}/none.jsonl")


def test_path_that_is_not_given_is_named(folder):
    with pytest.raises(UserError, match=r"data\.files\.train is not given"):
        run(folder, "data.files.train=???")
    with pytest.raises(UserError, match=r"data\.root is not given"):
        run(folder, data="mead")


@pytest.mark.parametrize(
    ("key", "least"), [("batch_size", 1), ("val_batch_size", 1), ("num_workers", 0)]
)
def test_counts_that_are_too_low_are_named(folder, key, least):
    for value in (least - 1, -3, 1.5, "true"):
        match = rf"data\.{key}={str(value).title()}: give a whole number from {least} up"
        with pytest.raises(UserError, match=match):
            run(folder, f"data.{key}={value}")
    run(folder, f"data.{key}={least}")


def test_triplets_are_checked_as_they_are(folder):
    triplets = [
        {
            "src": {"image": f"images/p{p}-neutral.png"},
            "dst": [
                {"image": f"images/p{p}-{c}.png", "category": c, "scores": {c: 0.9}}
                for c in ("surprised", "fear")
            ],
        }
        for p in range(7)
    ]
    write_lines(folder / "t.jsonl", triplets)
    options = (f"data.files.train={folder / 't.jsonl'}", "data.val_share=0.4")
    usable, report, _ = run(folder, *options, data="ffe_triplets")
    assert usable
    held_out = report["splits"]["val"]["identities"]
    assert 0 < held_out < 7
    assert report["pairs"] == {
        "fear-surprised": {"triplets": 7 - held_out, "identities": 7 - held_out}
    }


# ---- twins ----------------------------------------------------------------------------------


def portraits(folder, first):
    samples = read_faces({"train": folder}, domain="human")
    seen, _ = inspect([*samples.train, *samples.val], max_shift=1.0, workers=1)
    return [portrait for portrait in seen if portrait.sample.identity in first]


def test_copies_are_found_however_they_were_saved(folder):
    original = Image.open(folder / "images" / "p0-neutral.png")
    path = folder / "images" / "p6-neutral.png"
    for change in (
        lambda image: image,
        lambda image: image.resize((200, 200)),
        lambda image: image.point(lambda v: min(255, int(v * 1.03))),
    ):
        change(original).save(path)
        (finding,) = twins(
            portraits(folder, {f"p{i}" for i in range(5)}),
            portraits(folder, {"p5", "p6"}),
            max_distance=6,
        )
        assert "p6-neutral.png" in finding.text
        assert "p0-neutral.png" in finding.text


def test_different_people_are_no_twins(folder):
    train = portraits(folder, {"p0", "p1", "p2"})
    assert twins(train, portraits(folder, {"p5"}), max_distance=6) == []
    assert twins([], portraits(folder, {"p5"}), max_distance=6) == []


def test_unreadable_images_do_not_stop_the_inspection(folder):
    faces = read_faces({"train": folder}, domain="human")
    (folder / "images" / "p0-neutral.png").write_bytes(b"")
    (folder / "images" / "p1-fear.png").unlink()
    seen, findings = inspect(faces.train, max_shift=0.02, workers=1)
    assert len(seen) == 4
    assert [finding.kind for finding in findings] == ["file", "file"]


@pytest.mark.slow
def test_number_of_processes_does_not_matter(folder, monkeypatch):
    monkeypatch.setattr(inspection, "_WORTH_PROCESSES", 1)
    faces = read_faces({"train": folder}, domain="human")
    picture(4, 2, shift=3).save(folder / "images" / "p4-surprised.png")
    one, two = (inspect(faces.train, max_shift=0.02, workers=n) for n in (1, 2))
    assert [replace(p, thumb=None) for p in one[0]] == [replace(p, thumb=None) for p in two[0]]
    assert one[1] == two[1]
    assert len(one[1]) == 1


# ---- the command ----------------------------------------------------------------------------


@pytest.mark.slow
def test_command_exits_with_the_verdict(folder):
    def command(*words):
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pixelsmile.data.check",
                "data=ffe",
                f"paths.cache={folder.parent / 'cache'}",
                f"data.check.out={folder.parent / 'out'}",
                *words,
            ],
            cwd=CONFIG_FOLDER.parent,
            capture_output=True,
            text=True,
        )

    done = command(f"data.files.train={folder}")
    assert done.returncode == 0, done.stderr
    assert "The set is usable." in done.stdout
    (Path(folder) / "images" / "p0-fear.png").write_bytes(b"")
    done = command(f"data.files.train={folder}")
    assert done.returncode == 1
    assert "NOT usable" in done.stdout
    assert done.stderr == ""
    done = command("data.files.train=none.jsonl")
    assert done.returncode == 2
    assert done.stderr.startswith("error: No annotations at none.jsonl")
