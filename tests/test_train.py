"""A whole run: data, preparation, validation, training, report; stopped and resumed."""

import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pixelsmile.train as train_module
from pixelsmile.checkpoints import LAST
from pixelsmile.data.cache import TensorCache
from pixelsmile.errors import UserError
from pixelsmile.inventory import prune
from pixelsmile.models.backbone import Backbone
from pixelsmile.runs import CHECKPOINTS
from pixelsmile.scoring import METRIC_NAMES
from pixelsmile.throughput import STAGES
from pixelsmile.train import train
from tests.tiny_random import IMAGE, SETTINGS, compose

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STEPS = 2


@pytest.fixture(scope="module")
def overrides(tiny_stack, tmp_path_factory):
    """A run of two people on the random stack; runs of this module share data and cache."""
    folder = tmp_path_factory.mktemp("work")
    return [
        *SETTINGS,
        f"model.weights={tiny_stack}",
        *(f"paths.{name}={folder / name}" for name in ("runs", "data", "cache")),
        "domain=anime",
        "loss.identity_weight=0.1",
        "data.files.train_identities=2",
        "data.files.train_strengths=[1.0]",
        "data.files.val_identities=1",
        "data.files.val_strengths=[0.5,1.0]",
        "trainer.log_every_n_steps=1",
        "trainer.accelerator=cpu",
        "model.training.validate_every=2",
    ]


@pytest.fixture(scope="module")
def config(overrides):
    return compose(*overrides, "name=first", f"trainer.max_steps={STEPS}")


@pytest.fixture(scope="module")
def run(config):
    return train(config)


def test_run_folder_has_everything_and_is_the_latest(run):
    names = {p.name for p in run.iterdir() if not p.name.startswith(("events.", "."))}
    assert names == {
        "before.json",
        "ceiling.json",
        "checkpoints",
        "config.yaml",
        "hparams.yaml",  # Lightning's logger writes it, empty
        "lora",
        "metrics.json",
        "samples.png",
    }
    assert (run.parent / "latest").resolve() == run.resolve()


def test_saved_config_is_the_one_of_the_run(run, config):
    assert OmegaConf.load(run / "config.yaml") == config


def test_numbers_have_value_interval_and_n_before_after_and_at_the_ceiling(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics) == ["before", "after", "ceiling"]
    for results in metrics.values():
        assert tuple(results) == METRIC_NAMES
        for measured in results.values():
            assert list(measured) == ["value", "low", "high", "n"]
            assert measured["low"] <= measured["value"] <= measured["high"]
    assert metrics["before"] == json.loads((run / "before.json").read_text())["numbers"]
    people, strengths = 1, 1  # above 0
    for when in ("before", "after"):
        assert metrics[when]["acc_12"]["n"] == people * 12
        assert metrics[when]["id_sim"]["n"] == people * 12 * strengths
    assert metrics["ceiling"]["id_sim"]["n"] == people * 12 * 2  # true renders at two strengths


@pytest.fixture(scope="module")
def board(run):
    accumulator = EventAccumulator(str(run), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def test_curves_are_on_the_board(board):
    scalars = set(board.Tags()["scalars"])
    expected = {f"train/{name}" for name in ("loss", "flow", "triplet", "identity")}
    expected |= {"train/gradient_norm", "train/identity_active", "train/lr", "train/skipped"}
    expected |= {"speed/samples", "speed/samples_per_second", "speed/tokens_per_second"}
    expected |= {f"time/{stage}" for stage in STAGES}
    expected |= {
        f"{kind}/{n}" for kind in ("val", "val_low", "val_high", "val_n") for n in METRIC_NAMES
    }
    assert expected <= scalars
    for name in ("train/loss", "train/gradient_norm"):
        values = [event.value for event in board.Scalars(name)]
        assert len(values) == STEPS
        assert all(np.isfinite(values))
        assert min(values) > 0
    rates = [event.value for event in board.Scalars("train/lr")]
    assert rates == sorted(rates)  # warming up


def test_last_validation_on_the_board_is_the_one_in_the_report(board, run):
    after = json.loads((run / "metrics.json").read_text())["after"]
    for name in METRIC_NAMES:
        assert board.Scalars(f"val/{name}")[-1].value == pytest.approx(after[name]["value"])
        for end in ("low", "high", "n"):
            shown = board.Scalars(f"val_{end}/{name}")[-1].value
            assert shown == pytest.approx(after[name][end])


def test_base_and_trained_adapter_are_validated_once_each(board):
    assert [event.step for event in board.Scalars("val_n/mscr")] == [0, STEPS]


def test_pictures_are_on_the_board(board):
    assert {"confusion", "strips/identity_0"} <= set(board.Tags()["images"])
    strip = board.Images("strips/identity_0")[-1]
    assert strip.height >= 12 * IMAGE
    assert strip.width >= 3 * IMAGE  # source and two strengths


def test_sample_sheet_has_source_edits_and_truth(run):
    with Image.open(run / "samples.png") as sheet:
        width, height = sheet.size
    with_source_and_truth = 4
    assert 12 * IMAGE < height < 14 * IMAGE
    assert with_source_and_truth * IMAGE < width < (with_source_and_truth + 2) * IMAGE


def test_saved_adapter_is_the_trained_one(run, tiny_stack):
    """The adapter of the checkpoint, loaded by stock peft keys into a fresh backbone."""
    from safetensors.torch import load_file

    saved = load_file(run / "lora" / "pytorch_lora_weights.safetensors")
    state = torch.load(run / CHECKPOINTS / LAST, weights_only=True)["state_dict"]
    assert len(saved) == len(state)
    trained = {
        name.replace("backbone.", "").replace(".default", ""): v for name, v in state.items()
    }
    assert saved.keys() == trained.keys()
    for name, value in saved.items():
        torch.testing.assert_close(value, trained[name], msg=name)
    fresh = Backbone.from_pretrained(tiny_stack / "pipeline" / "transformer", rank=2, alpha=4)
    moved = [v for k, v in saved.items() if k.endswith("lora_B.weight") and v.abs().sum() > 0]
    assert len(moved) >= len(fresh.adapter_parameters()) // 2 - 4


def test_finished_run_is_not_written_over(run, config):
    before = (run / "metrics.json").read_bytes()
    with pytest.raises(UserError, match=r"first holds a finished run: choose another name="):
        train(config)
    assert (run / "metrics.json").read_bytes() == before


def test_run_with_a_checkpoint_is_not_written_over(run, config):
    (run / "metrics.json").rename(run / "set_aside.json")
    try:
        with pytest.raises(
            UserError, match=r"was stopped: go on with resume=.*first or resume=auto"
        ):
            train(config)
    finally:
        (run / "set_aside.json").rename(run / "metrics.json")


def test_training_without_a_scorer_measures_nothing_and_leaves_an_adapter(overrides, run, capsys):
    """After the run whose data and cache it uses."""
    words = ["name=unscored", f"trainer.max_steps={STEPS}", "model.scorer=null"]
    bare = train(compose(*overrides, *words))
    assert "model.scorer is null: this training is not validated." in capsys.readouterr().out
    assert (bare / "lora" / "pytorch_lora_weights.safetensors").is_file()
    assert json.loads((bare / "metrics.json").read_text()) == {
        "before": {},
        "after": {},
        "ceiling": {},
    }
    assert not (bare / "before.json").exists()
    states = [
        torch.load(folder / CHECKPOINTS / LAST, weights_only=True)["state_dict"]
        for folder in (bare, run)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_nobody_prunes_the_cache_of_a_training(overrides, monkeypatch):
    def prune_meanwhile(run, checkpoint, config, stop):
        with pytest.raises(UserError, match="is in use by a preparation or a training"):
            prune(TensorCache(config.paths.cache))
        return run

    monkeypatch.setattr(train_module, "_train_in", prune_meanwhile)
    folder = train(compose(*overrides, "name=watched"))
    assert folder.name == "watched"
    prune(TensorCache(compose(*overrides, "name=watched").paths.cache), dry_run=True)


def test_finished_run_can_be_trained_further(run, overrides, board):
    """The last test: it changes the run."""
    assert train(compose(*overrides, f"resume={run}", f"trainer.max_steps={STEPS + 1}")) == run
    state = torch.load(run / CHECKPOINTS / LAST, weights_only=True)
    assert state["global_step"] == STEPS + 1
    assert state["validation"]["step"] == STEPS + 1
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["before"] == json.loads((run / "before.json").read_text())["numbers"]
    assert metrics["after"] == state["validation"]["results"]
