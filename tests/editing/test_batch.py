"""Many pictures: made once, continued after a stop, counted where something is wrong."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pixelsmile.editing.batch import Batch
from pixelsmile.editing.calibration import Calibration
from pixelsmile.editing.curves import Curve
from pixelsmile.editing.facts import read_facts
from pixelsmile.editing.framing import Framing
from pixelsmile.editing.levels import Perceived, Reached, Strengths
from pixelsmile.editing.requests import read_mixes
from pixelsmile.editing.settings import Settings
from pixelsmile.editing.target import UnreachableError
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from tests.editing.stand_in import Finder, StandIn

BOX = (60.0, 40.0, 100.0, 90.0)
HEAD_SHOT = (6.0, 4.0, 60.0, 62.0)


@pytest.fixture
def photo(tmp_path):
    """A picture of 160 x 120 pixels."""
    path = tmp_path / "me.png"
    down, across = np.mgrid[0:120, 0:160]
    light = np.stack([80 + across / 2, 90 + down / 2, 160 - across / 4], axis=-1)
    Image.fromarray(light.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def make(tmp_path):
    """Run a batch on one image; return the number of pictures written and the batch."""

    def run(image, *, box=BOX, mixes="happy", strengths=(0.0, 0.5, 1.0), levels=None, **settings):
        batch = Batch(
            StandIn,
            Finder(box),
            replace(Settings(), **settings),
            read_mixes(mixes, None) if not isinstance(mixes, dict) else read_mixes(None, mixes),
            levels or Strengths(strengths),
            model={"model_hash": "stand-in", "lora_sha256": None},
            edge=64,
            say=lambda text: None,
        )
        return batch.run(batch.plan(image, tmp_path / "out"), lambda count: None), batch

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_picture_has_the_size_of_the_source_and_says_how_it_was_made(make, photo, tmp_path):
    written, _ = make(photo, mixes=["happy", "sad"], seed=7)
    out = tmp_path / "out"
    assert written == 6
    assert {path.name for path in out.iterdir()} == {
        "grid.png",
        *(f"{name}_{level}.png" for name in ("happy", "sad") for level in ("0", "0.5", "1")),
    }
    facts = read_facts(out / "sad_0.5.png")
    assert facts["settings"]["weights"] == {"sad": 1.0}
    assert facts["settings"]["strength"] == facts["made"]["strength"] == 0.5
    assert facts["settings"]["seed"] == 7
    assert facts["settings"]["model_hash"] == "stand-in"
    assert facts["title"] == "me.png: sad, 0.5"
    with Image.open(out / "sad_0.5.png") as image:
        assert image.size == (160, 120)


def test_only_the_face_changes_with_keep_background(make, photo, tmp_path):
    make(photo, keep="background", strengths=[2.0])
    before = np.asarray(Image.open(photo), int)
    after = np.asarray(Image.open(tmp_path / "out" / "happy_2.png"), int)
    changed = np.abs(after - before).sum(-1) > 0
    rows, columns = np.nonzero(changed)
    assert changed[65, 80]
    assert columns.min() >= BOX[0] - 10
    assert columns.max() <= BOX[2] + 10
    assert rows.min() >= BOX[1] - 12
    assert rows.max() <= BOX[3] + 12


def test_strength_0_of_an_exact_model_leaves_no_trace(make, tmp_path):
    """Nothing of the way there and back costs a level where no pixel is resampled."""
    path = tmp_path / "small.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    make(path, box=HEAD_SHOT, strengths=[0.0])
    np.testing.assert_array_equal(Image.open(tmp_path / "out" / "happy_0.png"), noise)


def test_shape_of_the_picture_is_kept_by_the_edit(make, photo):
    _, batch = make(photo, framing=Framing("whole"))
    assert batch.editor.sizes == [(48, 80)]  # 4 : 3 in multiples of 16, near 64 x 64
    shutil.rmtree(photo.parent / "out")
    _, batch = make(photo, framing=Framing("whole"), size=(32, 64))
    assert batch.editor.sizes == [(32, 64)]


def test_second_run_makes_nothing_and_loads_no_model(make, photo, tmp_path):
    make(photo)
    before = contents(tmp_path / "out")
    written, batch = make(photo)
    assert written == 0
    assert "editor" not in vars(batch)
    assert contents(tmp_path / "out") == before


def test_what_is_missing_is_made_again_with_the_same_bytes(make, photo, tmp_path):
    make(photo, mixes=["happy", "sad"], gif=True)
    before = contents(tmp_path / "out")
    for name in ("sad_0.5.png", "grid.png", "happy.gif"):
        (tmp_path / "out" / name).unlink()
    written, _ = make(photo, mixes=["happy", "sad"], gif=True)
    assert written == 1
    assert contents(tmp_path / "out") == before


def test_further_strengths_join_the_ones_that_are_there(make, photo, tmp_path):
    make(photo)
    grid = (tmp_path / "out" / "grid.png").read_bytes()
    written, _ = make(photo, strengths=(0.0, 0.5, 1.0, 1.5))
    assert written == 1
    assert (tmp_path / "out" / "grid.png").read_bytes() != grid


def test_picture_of_other_settings_is_refused_and_stays(make, photo, tmp_path):
    make(photo)
    before = contents(tmp_path / "out")
    for change in ({"seed": 1}, {"keep": "background"}, {"speed": "fast"}):
        key = next(iter(change))
        with pytest.raises(UserError, match=rf"made with another {key}: choose another out=, or"):
            make(photo, **change)
    assert contents(tmp_path / "out") == before
    written, _ = make(photo, seed=1, skip_existing=False)
    assert written == 3
    assert contents(tmp_path / "out") != before


def test_picture_of_another_source_is_refused(make, photo, tmp_path):
    make(photo)
    Image.new("RGB", (160, 120), "grey").save(photo)
    with pytest.raises(UserError, match="made with another image_sha256"):
        make(photo)


def test_file_of_somebody_else_is_never_replaced(make, photo, tmp_path):
    (tmp_path / "out").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "out" / "happy_1.png")
    for skip in (True, False):
        with pytest.raises(UserError, match=r"happy_1\.png is there and was not made by"):
            make(photo, skip_existing=skip)


def test_what_a_killed_process_left_is_removed(make, photo, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".happy_1.png.0123abcd").write_bytes(b"half")
    (tmp_path / "out" / ".mine").touch()
    make(photo)
    assert not (tmp_path / "out" / ".happy_1.png.0123abcd").exists()
    assert (tmp_path / "out" / ".mine").exists()


def test_face_that_is_not_there_is_said_with_the_way_out(make, photo):
    with pytest.raises(
        UserError, match=r"No face found in .*me\.png \(160 x 120\): say where.*box="
    ):
        make(photo, box=None)
    written, _ = make(photo, box=None, framing=Framing("whole"))
    assert written == 3


def test_transparent_picture_stays_transparent(make, photo, tmp_path):
    image = Image.open(photo).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(photo)
    make(photo)
    with Image.open(tmp_path / "out" / "happy_1.png") as edited:
        np.testing.assert_array_equal(edited.getchannel("A"), image.getchannel("A"))


def test_blend_goes_into_one_picture(make, photo, tmp_path):
    make(photo, mixes={"happy": 0.6, "surprised": 0.4}, strengths=[1.0])
    facts = read_facts(tmp_path / "out" / "happy0.6+surprised0.4_1.png")
    assert facts["settings"]["weights"] == {"happy": 0.6, "surprised": 0.4}


def test_perceived_intensity_goes_through_the_curve(make, photo, tmp_path):
    curve = Curve((0.0, 0.4, 1.0), (0.0, 0.8, 1.0), (0.1, 0.9))
    calibration = Calibration(dict.fromkeys(EXPRESSIONS, curve), "stand-in", "human")
    make(photo, levels=Perceived([0.4, 0.8], calibration))
    facts = read_facts(tmp_path / "out" / "happy_perceived0.4.png")
    strength = calibration.strength("happy", 0.4)
    assert strength == pytest.approx(0.2)  # half way to the knot
    assert facts["made"]["strength"] == pytest.approx(strength)
    assert facts["settings"]["perceived"] == 0.4
    with pytest.raises(UserError, match="perceived= takes one expression, not a blend"):
        make(photo, mixes={"happy": 0.5, "sad": 0.5}, levels=Perceived([0.4], calibration))


class Picky(Strengths):
    """Levels that sad never reaches."""

    def reach(self, mix, scene):
        if mix.name == "sad":
            raise UnreachableError("sad cannot be had.")
        return super().reach(mix, scene)


class Searched(Strengths):
    """A search that has made the picture on its way; a render anew would be another one."""

    def reach(self, mix, scene):
        return [Reached(1.0, {"score": 0.6}, torch.full((3, 64, 64), 0.5))]


def test_picture_of_a_search_is_the_one_that_was_judged(make, tmp_path):
    path = tmp_path / "small.png"
    Image.new("RGB", (64, 64), "teal").save(path)
    _, batch = make(path, box=HEAD_SHOT, levels=Searched([1.0]))
    assert batch.editor.rendered == 0
    (value,) = {tuple(p) for p in np.asarray(Image.open(tmp_path / "out/happy_1.png"))[20:40, 30]}
    assert value == (191, 191, 191)


def test_direction_out_of_reach_is_told_after_the_others_were_made(make, photo, tmp_path):
    with pytest.raises(UserError, match=r"sad cannot be had\."):
        make(photo, mixes=["sad", "happy"], levels=Picky([1.0]))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"happy_1.png", "grid.png"}
