"""The calibrate command on the random stack: what it leaves, and what a second run does not do."""

import json

import numpy as np
import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from pixelsmile.calibrate import calibrate
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.data.images import load_landmarks
from pixelsmile.data.people import read_people
from pixelsmile.editing import ExpressionEditor
from pixelsmile.editing.calibration import Calibration
from pixelsmile.editing.curves import fit_curve
from pixelsmile.editing.target import find_strength
from pixelsmile.errors import UserError
from pixelsmile.models.backbone import Backbone
from tests.tiny_random import IMAGE, SETTINGS, write_faces

pytestmark = pytest.mark.filterwarnings("ignore")

LEVELS = [0.0, 0.5, 1.0]


def compose(*overrides):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra_compose("calibrate", list(overrides))


@pytest.fixture(scope="module")
def folder(tiny_stack, tmp_path_factory):
    """A LoRA that does something, and people of two sets."""
    folder = tmp_path_factory.mktemp("calibrate")
    backbone = Backbone.from_pretrained(tiny_stack / "pipeline" / "transformer", rank=2, alpha=4)
    numbers = torch.Generator().manual_seed(0)
    for parameter in backbone.adapter_parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=numbers)
    backbone.save_adapter(folder / "lora", {})
    write_faces(folder / "fit", range(9100, 9102), strengths=(1.0,))
    write_faces(folder / "check", range(9000, 9001), strengths=(1.0,))
    return folder


@pytest.fixture(scope="module")
def config(folder, tiny_stack):
    settings = [one for one in SETTINGS if not one.startswith("model.strengths")]
    return compose(
        *settings,
        f"model.weights={tiny_stack}",
        f"lora={folder / 'lora'}",
        "people=ffe",
        f"people.files.fit={folder / 'fit'}",
        f"people.files.check={folder / 'check'}",
        f"strengths={LEVELS}",
        f"levels={LEVELS}",
        f"paths.cache={folder / 'cache'}",
    )


@pytest.fixture(scope="module")
def calibrated(config):
    return calibrate(config)


def test_curves_numbers_and_picture_lie_beside_the_lora(calibrated, folder, config):
    assert calibrated == folder / "lora" / "calibration.json"
    chosen = Calibration.load(folder / "lora")
    chosen.check(ExpressionEditor.from_config(config, lora=config.lora))
    measured = json.loads(calibrated.read_text())["measured"]
    assert measured["people"] == {"fit": ["human_09100", "human_09101"], "check": ["human_09000"]}
    assert measured["cls_12"]["after"]["n"] == 12
    assert measured["seed"] == 0
    with Image.open(calibrated.with_suffix(".png")) as picture:
        assert min(picture.size) > 500


def test_the_base_is_refused_the_calibration_of_its_lora(calibrated, config):
    with pytest.raises(UserError, match="stale"):
        Calibration.load(config.lora).check(ExpressionEditor.from_config(config))


def test_the_curves_are_what_the_judge_reads_of_the_edits(calibrated, folder, config):
    editor = ExpressionEditor.from_config(config, lora=config.lora)
    judge = instantiate(config.model.scorer.judge)
    people = read_people({"fit": folder / "fit", "check": folder / "check"}, domain="human").fit
    read = [
        [judge.score(_pixels(editor.edit(one.image, "fear", s)))[0, 5] for s in LEVELS]
        for one in people
    ]
    scores = np.array([[float(score) for score in row] for row in read])
    curve = Calibration.load(folder / "lora").curves["fear"]
    expected = fit_curve(LEVELS, scores)
    assert curve.reach == pytest.approx(expected.reach, abs=2e-3)  # pictures are rounded to bytes


def _pixels(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_nobody_is_edited_twice_and_the_result_is_the_same(calibrated, config, monkeypatch):
    before = calibrated.read_bytes()
    monkeypatch.setattr(ExpressionEditor, "render", None)
    assert calibrate(config).read_bytes() == before


def test_a_stopped_run_goes_on_with_the_person_it_was_at(calibrated, config, monkeypatch, tmp_path):
    config = config.copy()
    config.paths.cache, config.out = str(tmp_path), str(tmp_path / "out.json")
    render, people = ExpressionEditor.render, []

    def stop_at_the_second(self, source, *args, **kwargs):
        people.append(source.image.sum().item())
        if len(people) == 2:
            raise KeyboardInterrupt
        return render(self, source, *args, **kwargs)

    monkeypatch.setattr(ExpressionEditor, "render", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        calibrate(config)
    assert not (tmp_path / "out.json").exists()
    calibrate(config)
    assert people[0] not in people[1:]
    assert people[2] == people[1]
    assert (tmp_path / "out.json").read_bytes() == calibrated.read_bytes()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lora=null", r"lora= is missing"),
        ("lora=nowhere", r"No LoRA file at nowhere"),
        ("strengths=[0,1]", r"strengths=\[0, 1\]: give three increasing"),
        ("strengths=[0.1,0.5,1]", r"the first 0"),
        ("saturation=0", r"saturation=0: give a share"),
        ("levels=[0,0.5,2]", r"levels ends at 2: perceived"),
        ("people.files.fit=???", r"people\.files\.fit is not given"),
    ],
)
def test_mistakes_are_one_sentence(config, override, message):
    config = config.copy()
    key, value = override.split("=", 1)

    OmegaConf.update(
        config, key, OmegaConf.create(f"x: {value}").get("x") if "?" not in value else value
    )
    with pytest.raises(UserError, match=message):
        calibrate(config)


def test_a_score_between_two_readings_is_found_on_real_classes(config, folder):
    editor = ExpressionEditor.from_config(config, lora=config.lora)
    scorer = instantiate(config.model.scorer)
    person = read_people({"fit": folder / "fit", "check": folder / "check"}, domain="human").fit[0]
    source = editor.encode(person.image)
    landmarks = load_landmarks(person, IMAGE)
    weights = torch.zeros(2, 12)
    weights[1, 6] = 1.5
    ends = scorer.expressions(editor.render(source, weights))[:, 6]
    wanted, span = float(ends.mean()), float((ends[0] - ends[1]).abs())
    found = find_strength(editor, scorer, source, landmarks, "happy", wanted, tolerance=span / 20)
    assert abs(found.score - wanted) <= span / 20
    assert 0 < found.strength < 1.5
    assert float(scorer.expressions(found.pixels[None])[0, 6]) == pytest.approx(found.score)
