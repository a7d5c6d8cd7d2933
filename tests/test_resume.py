"""A run that is stopped, however and whenever, goes on as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from pixelsmile.checkpoints import BEST, LAST, is_whole
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.runs import CHECKPOINTS
from tests.tiny_random import SETTINGS

LORA = "pytorch_lora_weights.safetensors"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),  # many starts, on a machine that may be busy
    pytest.mark.filterwarnings("ignore"),
]

STEPS, SAVE, VALIDATE = 10, 3, 4
KILLS = int(os.environ.get("PIXELSMILE_KILLS", "0"))
"""Kills at random steps; the default run has none of them, only the chosen moments below."""


@pytest.fixture(scope="module")
def overrides(tiny_stack, tmp_path_factory):
    """A run with everything that has a state: accumulation, average, workers, dropout."""
    folder = tmp_path_factory.mktemp("stopped")
    return [
        *SETTINGS,
        f"model.weights={tiny_stack}",
        *(f"paths.{name}={folder / name}" for name in ("runs", "data", "cache")),
        "domain=anime",
        "loss.identity_weight=0.1",
        "data.files.train_identities=3",
        "data.files.train_strengths=[1.0]",
        "data.files.val_identities=1",
        "data.files.val_strengths=[1.0]",
        "data.batch_size=2",
        "trainer.accelerator=cpu",
        "model.backbone.dropout=0.1",
        "model.optimizer.lr=1e-3",
        "model.scheduler.num_warmup_steps=2",
        "average=ema",
    ]


def train(runs):
    """Run the children one after the other."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stopping", json.dumps({"runs": runs})],
        cwd=CONFIG_FOLDER.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


CHOSEN = [
    {"at": "step 2", "signal": signal.SIGKILL, "delay": 0.03},  # before the first checkpoint
    {"at": "write 3", "signal": signal.SIGKILL},  # the first checkpoint, half written
    {"at": "validation 4", "signal": signal.SIGKILL},
    {"at": "step 5", "signal": signal.SIGTERM},  # with half of the gradient accumulated
    {"at": "write 8", "signal": signal.SIGKILL},  # an older checkpoint stays
    {"at": "validation 8", "signal": signal.SIGUSR1},
    {"at": "step 8", "signal": signal.SIGINT},
]


def random_kills(steps):
    numbers = random.Random(0)
    moments = sorted(numbers.sample(range(0, steps, 3), KILLS))
    return [
        {"at": f"step {step}", "signal": signal.SIGKILL, "delay": 0.1 * numbers.random()}
        for step in moments
    ]


@pytest.fixture(scope="module")
def outcome(overrides, tmp_path_factory):
    """An unbroken run and one that was stopped at every chosen moment, and how each part ended."""
    steps = STEPS + 3 * KILLS
    stops = random_kills(steps) if KILLS else CHOSEN
    lengths = [
        f"trainer.max_steps={steps}",
        "trainer.accumulate_grad_batches=2",
        "data.num_workers=1",
        f"model.training.save_every={SAVE}",
        f"model.training.validate_every={VALIDATE if not KILLS else 20}",
    ]
    log = tmp_path_factory.mktemp("log")
    whole = [*overrides, *lengths, "name=whole"]
    broken = [*overrides, *lengths, "name=broken", "resume=auto"]
    runs = [{"overrides": whole, "log": str(log / "whole")}]
    for number, stop in enumerate([*stops, None]):
        runs.append({"overrides": broken, "log": str(log / str(number)), "stop": stop})
    endings = train(runs)
    logs = [log / "whole", *(log / str(number) for number in range(len(stops) + 1))]
    texts = [path.read_text() for path in logs]
    assert endings[0]["code"] == 0, texts[0]
    assert endings[-1]["code"] == 0, texts[-1]
    (runs_folder,) = (word[len("paths.runs=") :] for word in overrides if "paths.runs=" in word)
    return type(log)(runs_folder), stops, endings[1:], texts[1:]


def test_weights_are_those_of_the_unbroken_run_to_the_last_bit(outcome):
    runs, *_ = outcome
    whole, broken = (load_file(runs / name / "lora" / LORA) for name in ("whole", "broken"))
    assert whole.keys() == broken.keys()
    assert all(torch.equal(value, broken[name]) for name, value in whole.items())
    assert any(value.abs().sum() > 0 for name, value in whole.items() if "lora_B" in name)


@pytest.mark.parametrize("name", [LAST, BEST])
def test_checkpoints_are_those_of_the_unbroken_run(outcome, name):
    """Adapter, optimizer, scheduler, average, measurements, sampler and loops."""
    runs, *_ = outcome
    whole, broken = (
        torch.load(runs / run / CHECKPOINTS / name, weights_only=True)
        for run in ("whole", "broken")
    )
    for state in (whole, broken):  # what only the loops' bookkeeping knows
        state["loops"] = state["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert_same(whole, broken)
    assert whole["loops"][0]["position"] == 2 * whole["global_step"]
    assert whole["callbacks"]["AdapterAverage"]["updates"] == whole["global_step"]


def assert_same(one, other, path=""):
    """Compare nested states bit for bit; nan equals nan."""
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key, value in one.items():
            assert_same(value, other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for number, value in enumerate(one):
            assert_same(value, other[number], f"{path}/{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other or one != one, path


def test_numbers_are_those_of_the_unbroken_run(outcome):
    runs, *_ = outcome
    whole, broken = (
        json.loads((runs / name / "metrics.json").read_text()) for name in ("whole", "broken")
    )
    assert whole == broken


def test_exit_code_tells_the_signal(outcome):
    _, stops, endings, _ = outcome
    for stop, ending in zip(stops, endings[:-1], strict=True):
        number = stop["signal"]
        assert ending["code"] == (-number if number == signal.SIGKILL else 128 + number)


@pytest.mark.skipif(KILLS > 0, reason="is about the chosen moments")
def test_signal_saves_the_step_under_way_and_says_how_to_go_on(outcome):
    runs, stops, endings, texts = outcome
    for number, (stop, text) in enumerate(zip(stops, texts, strict=False)):
        if stop["signal"] == signal.SIGKILL:
            continue
        name = signal.Signals(stop["signal"]).name
        assert f"Stopped by {name}. Go on with: resume={runs / 'broken'}" in text
        assert "Traceback" not in text
        kind, step = stop["at"].split()
        first = next(line for line in endings[number + 1]["seen"] if not line.startswith("write"))
        following = "step" if kind == "step" else "validation"
        assert first == f"{following} {int(step) + (kind == 'step')}"


@pytest.mark.skipif(KILLS > 0, reason="is about the chosen moments")
def test_validation_that_was_cut_short_is_done_when_the_run_goes_on(outcome):
    _, stops, endings, _ = outcome
    for number, stop in enumerate(stops):
        if stop["at"].startswith("validation"):
            assert stop["at"] in endings[number + 1]["seen"]


def test_nothing_that_is_known_is_measured_again(outcome):
    _, _, endings, _ = outcome
    seen = [line for ending in endings for line in ending["seen"]]
    assert seen.count("validation 0") == 1
    assert not any("validation 0" in ending["seen"] for ending in endings[1:])


def test_no_half_written_file_is_left(outcome):
    runs, *_ = outcome
    folder = runs / "broken" / CHECKPOINTS
    names = {path.name for path in folder.iterdir()}
    assert names == {"last.ckpt", "previous.ckpt", "best.ckpt"}
    assert all(is_whole(folder / name) for name in names)
