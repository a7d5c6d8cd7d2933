"""A whole run: data, preparation, validation, training, report; stopped and resumed."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.models.backbone import Backbone
from pixelsmile.scoring import METRIC_NAMES
from pixelsmile.train import LAST, open_run, train
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
    names = {path.name for path in run.iterdir() if not path.name.startswith("events.")}
    assert names == {
        "before.json",
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
    assert metrics["before"] == json.loads((run / "before.json").read_text())
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
    expected |= {"train/gradient_norm", "train/seconds_per_step", "train/identity_active"}
    expected |= {"train/lr"}
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
    state = torch.load(run / LAST, weights_only=True)["state_dict"]
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


def test_nothing_to_resume_is_refused(config, tmp_path):
    missing = OmegaConf.merge(config, {"resume": str(tmp_path)})
    with pytest.raises(UserError, match=r"Nothing to resume: .* holds no run"):
        open_run(missing)


# ---- Ctrl-C ---------------------------------------------------------------------------------


def interrupt(overrides, name, moment):
    """Start a run that never ends by itself, press Ctrl-C at a moment; exit code and last words."""
    command = [sys.executable, "-m", "pixelsmile.train", *overrides, f"name={name}"]
    endless = ["trainer.max_steps=1000000", "trainer.val_check_interval=1000000"]
    process = subprocess.Popen(
        [*command, *endless],
        cwd=CONFIG_FOLDER.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 240
        while not moment() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.fixture(scope="module")
def stopped(run, overrides):
    """A run after Ctrl-C in training: its folder, exit code and last words."""
    folder = run.parent / "stopped"
    return folder, *interrupt(overrides, "stopped", (folder / LAST).exists)


def test_ctrl_c_before_training_exits_cleanly_and_the_run_can_be_resumed(run, overrides):
    folder = run.parent / "early"
    longer = ["data.files.val_identities=20", "model.num_steps=8"]
    curves = lambda: list(folder.glob("events.*"))  # noqa: E731 - the first validation is on
    code, errors = interrupt([*overrides, *longer], "early", curves)
    assert code == 130, errors
    assert f"resume={folder}" in errors.replace("\n", "")
    assert "Traceback" not in errors
    assert not (folder / LAST).exists()
    resumed = compose(*overrides, "name=ignored", f"resume={folder}")
    assert open_run(resumed) == (folder, None)


def test_ctrl_c_exits_cleanly_and_says_how_to_go_on(stopped):
    folder, code, errors = stopped
    assert code == 130, errors
    assert f"resume={folder}" in errors.replace("\n", "")
    assert "Traceback" not in errors
    assert not (folder / "metrics.json").exists()


def test_stopped_run_leaves_a_checkpoint_of_the_adapter_alone(stopped):
    folder, _, _ = stopped
    checkpoint = torch.load(folder / LAST, weights_only=True)
    assert checkpoint["global_step"] >= 2
    assert all(".lora_" in name for name in checkpoint["state_dict"])


def test_resumed_run_finishes_and_keeps_its_first_numbers(stopped, overrides):
    folder, _, _ = stopped
    before = json.loads((folder / "before.json").read_text())
    done = torch.load(folder / LAST, weights_only=True)["global_step"]
    resumed = compose(
        *overrides, "name=ignored", f"resume={folder}", f"trainer.max_steps={done + 2}"
    )
    assert train(resumed) == folder
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["before"] == before
    assert torch.load(folder / LAST, weights_only=True)["global_step"] == done + 2
    assert len(metrics["after"]) == len(METRIC_NAMES)
    assert metrics["after"]["acc_12"]["n"] == len(EXPRESSIONS)
