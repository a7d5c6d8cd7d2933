"""A training is the same on one process and on several, spread or not, broken off or not."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

from pixelsmile.checkpoints import LAST, PREVIOUS
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import LOST_PEER
from pixelsmile.lora import WEIGHT_NAME
from tests.processes import BATCH, IMAGE, STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROWS = (7, 8, 97)
SEVERAL = ["ddp-2", "fsdp-2", "fsdp-3"]
FRUGAL = [
    "trainer.accumulate_grad_batches=2",
    "model.backbone.eight_bit=true",
    "average=ema",
    "model.decoding.sub_batch=1",
    "model.decoding.checkpoint=true",
]
BF16 = {
    "single": ["model.backbone.dtype=bfloat16", "trainer.precision=bf16-mixed"],
    "fsdp": ["model.backbone.dtype=bfloat16"],
}
FEW = 3
"""Identities that a backbone of the real class edits, so that one of two processes has less."""

SPREAD = [
    "trainer.strategy.cpu_offload=true",
    "model.backbone.gradient_checkpointing=true",
    "model.backbone.compile=eager",
]


@pytest.fixture(scope="module")
def outcome(tiny_stack, tmp_path_factory):
    """Run everything from one start of the interpreter; return the folder and each job's end."""
    root = tmp_path_factory.mktemp("processes")
    Image.new("RGB", (IMAGE, IMAGE), (90, 120, 200)).save(root / "face.png")

    def fit(name, strategy, world, **settings):
        settings |= {"strategy": strategy, "stack": str(tiny_stack)}
        return {"task": "fit", "folder": str(root / name), "world": world, **settings}

    broken_off = str(root / "fsdp-2" / "checkpoints" / PREVIOUS)  # half way
    killed = str(root / "killed" / "checkpoints" / LAST)
    jobs = [
        fit("single-1", "single", 1),
        *(fit(name, name[:-2], int(name[-1])) for name in SEVERAL),
        fit("resumed-1", "single", 1, checkpoint=broken_off),
        fit("resumed-3", "fsdp", 3, checkpoint=broken_off),
        fit("killed", "ddp", 2, kill={"rank": 1, "step": 12}),
        fit("stopped", "ddp", 2, stop={"rank": 1, "step": 2}),
        fit("revived", "fsdp", 2, checkpoint=killed),
        fit("frugal-1", "single", 1, steps=3, optimizer="adamw", overrides=FRUGAL),
        fit("frugal-2", "fsdp", 2, steps=3, optimizer="adamw", overrides=[*FRUGAL, *SPREAD]),
    ]
    for name, strategy, world in (("bf16-1", "single", 1), ("bf16-2", "fsdp", 2)):
        jobs.append(fit(name, strategy, world, steps=3, overrides=BF16[strategy]))

    def validate(name, world, rows, **settings):
        settings |= {"rows": rows, "image": str(root / "face.png")}
        return {"task": "validate", "folder": str(root / name), "world": world, **settings}

    jobs += [validate(f"validated-{world}", world, ROWS) for world in (1, 2, 3)]
    real = {"rows": [FEW], "stack": str(tiny_stack)}
    jobs += [
        validate("real-1", 1, **real, strategy="single"),
        validate("real-2", 2, **real, strategy="fsdp"),
    ]
    (root / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, "-m", "tests.processes", str(root / "jobs.json")],
        cwd=CONFIG_FOLDER.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr
    endings = dict(
        zip(
            (job["folder"].rpartition("/")[2] for job in jobs),
            map(json.loads, done.stdout.splitlines()),
            strict=True,
        )
    )
    for name, ending in endings.items():
        if name not in ("killed", "stopped"):
            logs = "\n".join(log.read_text() for log in sorted((root / name).glob("*.log")))
            assert set(ending["codes"]) == {0}, f"{name}: {logs}"
    return root, endings


@pytest.fixture(scope="module")
def seen(outcome):
    """Return what every rank of a job has seen."""
    root, _ = outcome
    cache = {}

    def load(name):
        if name not in cache:
            files = sorted((root / name).glob("*.pt"))
            cache[name] = [torch.load(file, weights_only=False) for file in files]
        return cache[name]

    return load


def furthest(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


# ---- training -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEVERAL)
def test_losses_and_weights_are_those_of_one_process(seen, name):
    (alone,) = seen("single-1")
    moved = furthest(alone["after"]["weights"], alone["before"]["weights"])
    assert moved > 1e-2  # so that agreement means something
    assert len(alone["loss"]) == STEPS
    for rank in seen(name):
        assert rank["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        assert rank["norm"] == pytest.approx(alone["norm"], abs=1e-5)
    first = seen(name)[0]
    assert furthest(first["after"]["weights"], alone["after"]["weights"]) < 1e-5


@pytest.mark.parametrize("name", [*SEVERAL, "frugal-2"])
def test_first_adapter_does_not_depend_on_the_processes(seen, name):
    (alone,) = seen("single-1")
    assert furthest(seen(name)[0]["before"]["weights"], alone["before"]["weights"]) == 0


@pytest.mark.parametrize("name", SEVERAL)
def test_ranks_share_each_batch_out_and_repeat_nothing(seen, name):
    """The triplets, their noise and their noise levels are those of one process, in its order."""
    (alone,) = seen("single-1")
    ranks = seen(name)
    for what in ("uniform", "noise"):
        for step in range(STEPS):
            together = [value for rank in ranks for value in rank[what][step]]
            assert together == alone[what][step]
            assert len(set(together)) == BATCH


@pytest.mark.parametrize("name", ["fsdp-2", "fsdp-3"])
def test_each_process_holds_its_part_of_the_backbone(seen, name):
    ranks = seen(name)
    assert sum(rank["held"] for rank in ranks) == ranks[0]["total"]
    assert max(rank["held"] for rank in ranks) < 1.2 * ranks[0]["total"] / len(ranks)
    assert max(rank["read"] for rank in ranks) < 1.2 * ranks[0]["total"] / len(ranks)


def test_frugal_options_spread_train_as_one_process_does(seen):
    """Accumulation, 8 bits, offload, compiled and checkpointed blocks, decoding in parts."""
    (alone,), spread = seen("frugal-1"), seen("frugal-2")
    assert spread[0]["loss"] == pytest.approx(alone["loss"], abs=1e-5)
    assert furthest(spread[0]["after"]["weights"], alone["after"]["weights"]) < 1e-5
    assert furthest(spread[0]["base"], alone["base"]) == 0
    assert spread[0]["dtypes"]["adapter"] == {"torch.float32"}
    assert "torch.int8" in spread[0]["dtypes"]["base"]


def test_spread_base_of_16_bits_trains_an_adapter_of_32_as_one_process_does(seen):
    """As nearly as 16 bits allow."""
    (alone,), spread, (float32,) = seen("bf16-1"), seen("bf16-2"), seen("single-1")
    for one in (alone, *spread):
        assert one["dtypes"]["adapter"] == {"torch.float32"}
        assert {value.dtype for value in one["base"].values()} == {torch.bfloat16}
        assert one["loss"] == pytest.approx(float32["loss"][:3], rel=0.02)
    assert furthest(spread[0]["before"]["weights"], alone["before"]["weights"]) == 0
    assert furthest(spread[0]["base"], alone["base"]) == 0
    moved = furthest(alone["after"]["weights"], alone["before"]["weights"])
    assert furthest(spread[0]["after"]["weights"], alone["after"]["weights"]) < 0.1 * moved


def test_moving_average_of_a_spread_adapter_is_kept_whole(outcome):
    root, _ = outcome
    averages = []
    for name in ("frugal-1", "frugal-2"):
        callbacks = torch.load(root / name / "checkpoints" / LAST, weights_only=False)["callbacks"]
        averages.append(callbacks["AdapterAverage"])
    assert averages[0]["updates"] == averages[1]["updates"] == 3
    assert furthest(averages[1]["average"], averages[0]["average"]) < 1e-5


# ---- checkpoints ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resumed-1", "resumed-3"])
def test_run_of_two_goes_on_with_another_number(seen, outcome, name):
    """Weights and optimizer start as they were saved, and the training ends as the unbroken one."""
    root, _ = outcome
    saved = torch.load(root / "fsdp-2" / "checkpoints" / PREVIOUS, weights_only=False)
    assert all(".lora_" in key for key in saved["state_dict"])
    first = seen(name)[0]
    assert furthest(first["before"]["weights"], saved["state_dict"]) == 0
    momenta, own = saved["optimizer_states"][0], first["before"]["optimizer"]
    assert momenta["param_groups"] == own["param_groups"]
    for number, entry in momenta["state"].items():
        torch.testing.assert_close(own["state"][number], entry, atol=0, rtol=0)
    (alone,) = seen("single-1")
    assert first["loss"] == pytest.approx(alone["loss"][STEPS // 2 :], abs=1e-5)
    assert furthest(first["after"]["weights"], alone["after"]["weights"]) < 1e-5


def test_file_of_the_adapter_is_the_same_from_any_number_of_processes(outcome):
    root, _ = outcome
    halfway = [(root / f"resumed-{n}" / "before" / WEIGHT_NAME).read_bytes() for n in (1, 3)]
    assert halfway[0] == halfway[1]
    fresh = {(root / name / "before" / WEIGHT_NAME).read_bytes() for name in SEVERAL}
    assert len(fresh) == 1
    assert fresh != set(halfway)


# ---- a process that dies --------------------------------------------------------------------


def test_death_of_one_process_ends_the_other_with_a_sentence(outcome):
    root, endings = outcome
    assert endings["killed"]["codes"] == [LOST_PEER, -9]
    assert endings["killed"]["seconds"] < 60 + endings["single-1"]["seconds"]
    sentence = (root / "killed" / "0.error").read_text()
    assert sentence.startswith("Rank 0 has lost another of 2 processes, which has ended")


def test_run_whose_process_was_killed_goes_on_whole(seen):
    """From the checkpoint of step 10, spread over two processes instead of copied in each."""
    (alone,), revived = seen("single-1"), seen("revived")
    assert revived[0]["loss"] == pytest.approx(alone["loss"][STEPS // 2 :], abs=1e-5)
    assert furthest(revived[0]["after"]["weights"], alone["after"]["weights"]) < 1e-5


def test_signal_to_one_process_stops_all_between_the_same_two_steps(outcome):
    root, endings = outcome
    assert endings["stopped"]["codes"] == [143, 143]
    kept = torch.load(root / "stopped" / "checkpoints" / LAST, weights_only=False)
    assert kept["global_step"] == 2


# ---- validation -----------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("world", [2, 3])
def test_validation_counts_every_row_once_on_any_number_of_processes(seen, rows, world):
    (alone,) = seen("validated-1")
    assert alone[rows]["results"]["acc_12"]["n"] == 12 * rows
    values = [measured["value"] for measured in alone[rows]["results"].values()]
    assert len(set(values)) == len(values)
    assert all(map(math.isfinite, values))
    calls = set()
    for rank in seen(f"validated-{world}"):
        assert rank[rows]["results"] == alone[rows]["results"]  # to the last bit
        assert torch.equal(rank[rows]["confusion"], alone[rows]["confusion"])
        calls.add(rank[rows]["calls"])
    assert len(calls) == 1  # or processes that share a model would wait for each other forever


def test_validation_of_a_spread_backbone_is_that_of_one_process(seen):
    (alone,), spread = seen("real-1"), seen("real-2")
    expected = {name: measured["value"] for name, measured in alone[FEW]["results"].items()}
    for rank in spread:
        assert rank[FEW]["spread"]
        assert rank[FEW]["results"]["acc_12"]["n"] == 12 * FEW
        values = {name: measured["value"] for name, measured in rank[FEW]["results"].items()}
        assert values == pytest.approx(expected, abs=1e-4)
        assert torch.equal(rank[FEW]["confusion"], alone[FEW]["confusion"])
    assert not alone[FEW]["spread"]
    assert len({rank[FEW]["calls"] for rank in spread}) == 1
