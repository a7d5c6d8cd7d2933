"""Calibration files: kept beside the LoRA, and refused where they do not belong."""

import json
import shutil

import numpy as np
import pytest
import torch

from pixelsmile.editing.calibration import CALIBRATION, Calibration, calibration_file, lora_hash
from pixelsmile.editing.curves import Curve
from pixelsmile.editing.linearity import linearity, linearity_table
from pixelsmile.errors import UserError
from pixelsmile.expressions import BASIC, EXPRESSIONS
from pixelsmile.lora import Adapter, Layer, write_adapter

BENT = Curve((0.0, 0.5, 1.0), (0.0, 0.2, 1.0), (0.1, 0.7))
FLAT = Curve((0.0, 1.0), (0.0, 1.0), (0.1, 0.1))


class Editor:
    identity = "0123"
    domain = "human"


def calibration(**changes):
    curves = dict.fromkeys(EXPRESSIONS, BENT) | {"shy": FLAT}
    arguments = {"curves": curves, "editor": "0123", "domain": "human"} | changes
    return Calibration(**arguments)


def write_lora(folder, seed):
    numbers = torch.Generator().manual_seed(seed)
    layer = Layer(torch.randn(2, 4, generator=numbers), torch.randn(4, 2, generator=numbers), 4.0)
    return write_adapter(Adapter({"transformer_blocks.0.attn.to_q": layer}, {}), folder)


@pytest.fixture
def lora(tmp_path):
    """A folder with a LoRA and its calibration."""
    write_lora(tmp_path / "lora", 0)
    chosen = calibration(lora=lora_hash(tmp_path / "lora"), measured={"n": {"fit": 8}})
    chosen.save(calibration_file(tmp_path / "lora"))
    return tmp_path / "lora"


def test_saved_equals_loaded_from_folder_file_and_json(lora):
    saved = calibration(lora=lora_hash(lora), measured={"n": {"fit": 8}})
    for place in (lora, next(lora.glob("*.safetensors")), lora / CALIBRATION):
        assert Calibration.load(place) == saved


def test_the_calibration_of_a_lora_that_was_trained_on_is_refused(lora):
    write_lora(lora, 1)
    for place in (lora, lora / CALIBRATION):
        with pytest.raises(UserError, match=r"calibration\.json is stale: .* another LoRA"):
            Calibration.load(place)


def test_a_calibration_elsewhere_is_checked_by_the_editor(lora, tmp_path):
    shutil.copy(lora / CALIBRATION, tmp_path / "mine.json")
    loaded = Calibration.load(tmp_path / "mine.json")
    loaded.check(Editor())
    other = Editor()
    other.identity = "9999"
    with pytest.raises(UserError, match=r"stale: .*another model or LoRA \(0123, now 9999\)"):
        loaded.check(other)


def test_the_other_domain_is_refused():
    other = Editor()
    other.domain = "anime"
    with pytest.raises(UserError, match=r"domain=human, this is domain=anime"):
        calibration().check(other)


def test_a_missing_calibration_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"No calibration at .*pixelsmile\.calibrate lora="):
        Calibration.load(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-40],
        lambda text: "[]",
        lambda text: json.dumps(json.loads(text) | {"version": 7}),
        lambda text: text.replace('"anxious"', '"nervous"'),
        lambda text: text.replace("0.2", "1.2"),  # a curve that falls
        lambda text: text.replace("0.2", '"much"'),
    ],
)
def test_a_damaged_file_is_one_sentence(lora, spoil):
    path = lora / CALIBRATION
    path.write_text(spoil(path.read_text()))
    with pytest.raises(UserError, match=r"calibration\.json is no calibration .*calibrate` again"):
        Calibration.load(lora)


def test_perceived_intensity_takes_any_name_of_an_expression():
    chosen = calibration()
    assert chosen.strength("Happiness", 0.5) == chosen.strength("happy", 0.5) == BENT.strength(0.5)
    assert chosen.reach("happy") == (0.1, 0.7)


def test_refusals_name_the_expression():
    with pytest.raises(UserError, match=r"happy: perceived=1\.5"):
        calibration().strength("Happiness", 1.5)
    with pytest.raises(UserError, match=r"shy: The judge reads .* no rise"):
        calibration().strength("shy", 0.5)
    with pytest.raises(UserError, match="'neutral' has no intensity"):
        calibration().strength("neutral", 0.5)


def test_an_expression_that_is_never_read_keeps_its_bare_strength():
    table = calibration().strengths([0.0, 0.25, 1.0])
    assert table.shape == (12, 3)
    np.testing.assert_allclose(table[EXPRESSIONS.index("shy")], [0.0, 0.25, 1.0])
    np.testing.assert_allclose(table[0], [BENT.strength(x) for x in (0.0, 0.25, 1.0)])


def test_beyond_the_slider_is_what_its_ends_are():
    chosen = calibration()
    assert chosen.perceived("happy", -1.0) == 0.0
    assert chosen.perceived("happy", 2.0) == 1.0


def test_linearity_is_pearson_of_each_curve_and_then_the_mean():
    levels = [0.0, 0.25, 0.5, 0.75, 1.0]
    scores = np.random.default_rng(0).uniform(size=(3, 12, 5))
    measured = linearity(levels, scores)
    each = np.array([[np.corrcoef(levels, row)[0, 1] for row in person] for person in scores])
    np.testing.assert_allclose(measured.expressions, each.mean(0), atol=1e-9)
    basic = each[:, [EXPRESSIONS.index(name) for name in BASIC]]
    assert measured.groups["cls_6"]["value"] == pytest.approx(basic.mean(), abs=1e-6)
    assert measured.groups["cls_12"]["value"] == pytest.approx(each.mean(), abs=1e-6)
    assert (measured.groups["cls_6"]["n"], measured.groups["cls_12"]["n"]) == (18, 36)


def test_the_table_counts_curves_that_never_move():
    scores = np.random.default_rng(0).uniform(size=(2, 12, 3))
    scores[0, 4] = 0.5
    measured = linearity([0.0, 0.5, 1.0], scores)
    table = linearity_table(calibration(), measured, measured)
    assert measured.constant == 1
    assert "1 curves never move" in str(table.caption)
