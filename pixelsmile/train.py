"""Train one adapter, from data to report: `python -m pixelsmile.train domain=anime`."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from pixelsmile.baseline import measure_start
from pixelsmile.building import build
from pixelsmile.callbacks import (
    AdapterAverage,
    SampleSheet,
    StepBar,
    ValidationPictures,
)
from pixelsmile.checkpoints import RunCheckpoints, WholeCheckpointIO
from pixelsmile.command import EndedError, command
from pixelsmile.data.cache import TensorCache
from pixelsmile.data.datamodule import TripletDataModule
from pixelsmile.data.reading import read_data
from pixelsmile.errors import UserError
from pixelsmile.launch import launch, processes_wanted
from pixelsmile.lora.facts import training_facts
from pixelsmile.module import PixelSmile
from pixelsmile.parallel import check_optimizer, save_adapter
from pixelsmile.prepare import prepare
from pixelsmile.ranks import from_first, joined, leave_at_once, own_place, several
from pixelsmile.report import results_table, say_where_to_look, write_json
from pixelsmile.runs import CHECKPOINTS, open_run
from pixelsmile.scoring import Measured
from pixelsmile.signals import Stopped, StopSignals
from pixelsmile.stack import build_datamodule, build_module, check_parts, quiet
from pixelsmile.throughput import Throughput


def train(config: DictConfig) -> Path:
    """Run a whole training and return its folder.

    Raises:
        UserError: If data or configuration cannot be used, or too many steps had to be skipped.
        Stopped: If a signal asked for it; everything that was done is saved.
    """
    quiet()
    with StopSignals() as stop, joined() as place, ExitStack() as opened:
        config.name = from_first(lambda: config.name)  # a default name has the time in it
        check_parts(config)  # before anything is written
        run, checkpoint = from_first(lambda: opened.enter_context(open_run(config)))
        opened.enter_context(TensorCache(config.paths.cache).in_use())  # nobody prunes meanwhile
        with resumable(run) if place.is_first else nullcontext():
            return _train_in(run, checkpoint, config, stop)


def _train_in(run: Path, checkpoint: Path | None, config: DictConfig, stop: StopSignals) -> Path:
    """Prepare, measure, train, measure again and report, in an open run folder."""
    console = Console(quiet=not own_place().is_first)
    # The first process draws faces or takes frames of videos, the others find them.
    with TensorCache(config.paths.cache).in_turn() if several() else nullcontext():
        faces = read_data(config)
    encoded = prepare(config, *faces.needed)
    data = build_datamodule(config, faces, encoded)
    # Here, because what ran before depends on what was prepared already.
    seed_everything(config.seed, workers=True, verbose=False)
    module = build_module(config)
    average = build_average(config)
    sheet = SampleSheet(run / "samples.png", faces.val, encoded.sizes)
    trainer = build_trainer(config, run, data, stop, [sheet, *average])

    scorer, before, after, ceiling = module.scorer, {}, {}, {}
    if scorer is not None:
        before, ceiling = measure_start(
            run, config, faces.val, encoded, scorer, lambda: validate(trainer, module, data)
        )
    else:
        console.print("model.scorer is null: this training is not validated.", highlight=False)
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    for one in average:
        one.use(module)
    if scorer is not None:
        again = module.validated_step != trainer.global_step
        after = validate(trainer, module, data) if again else module.results
    save_adapter(module.backbone, run / "lora", training_facts(config, trainer.global_step))
    if trainer.is_global_zero:  # also without numbers: it marks the run as finished
        write_json(run / "metrics.json", {"before": before, "after": after, "ceiling": ceiling})
    if scorer is not None:
        console.print(results_table(before, after, ceiling))
    say_where_to_look(console, run)
    return run


def build_average(config: DictConfig) -> list[AdapterAverage]:
    """Return the average of the adapter, if the configuration asks for one."""
    node = OmegaConf.select(config, "average")
    return [] if node is None else [build(node)]


def build_trainer(
    config: DictConfig,
    run: Path,
    data: TripletDataModule,
    stop: StopSignals,
    callbacks: Sequence[Callback] = (),
) -> Trainer:
    """Return the trainer with what it writes and shows, and set the length of the training.

    To Lightning the whole training is one epoch of known length. Intervals in the configuration
    count optimizer steps, Lightning's own counts batches.
    """
    steps = num_steps(config, data.num_batches)
    accumulated = config.trainer.accumulate_grad_batches
    data.num_batches = steps * accumulated
    training = config.model.training
    checkpoints = RunCheckpoints(
        run / CHECKPOINTS,
        every=training.save_every,
        stop=stop,
        max_skipped=training.max_skipped,
    )
    return build(
        config.trainer,
        max_steps=steps,
        max_epochs=-1,
        val_check_interval=config.trainer.val_check_interval * accumulated,
        **({"limit_val_batches": 0} if config.model.scorer is None else {}),
        logger=TensorBoardLogger(run.parent, name=run.name, version=""),
        callbacks=[
            LearningRateMonitor(logging_interval="step"),
            Throughput(config.throughput.peak_flops),
            ValidationPictures(),
            StepBar(),
            *callbacks,
            checkpoints,
        ],
        plugins=[WholeCheckpointIO()],
        default_root_dir=run,
    )


def num_steps(config: DictConfig, batches_per_epoch: int) -> int:
    """Return the optimizer steps of a training: up to max_steps or max_epochs, what comes first.

    Raises:
        UserError: If neither is set.
    """
    steps, epochs = config.trainer.max_steps, config.trainer.max_epochs
    limits = [steps] if steps is not None and steps > 0 else []
    if epochs is not None and epochs > 0:
        batches = epochs * batches_per_epoch
        limits.append(math.ceil(batches / config.trainer.accumulate_grad_batches))
    if not limits:
        raise UserError(
            f"The training has no end: trainer.max_steps is {steps} and trainer.max_epochs is "
            f"{epochs}. Set one of them above 0."
        )
    return min(limits)


@contextmanager
def resumable(run: Path) -> Iterator[None]:
    """Say how to go on when a run is stopped."""
    try:
        yield
    except Stopped as stopped:
        text = f"Stopped by {stopped.signal}. Go on with: resume={run}"
        Console(stderr=True, soft_wrap=True).print(text, highlight=False)
        raise


def validate(trainer: Trainer, module: PixelSmile, data: TripletDataModule) -> dict[str, Measured]:
    """Edit and score the held-out identities with the adapter as it is now."""
    trainer.validate(module, datamodule=data, verbose=False)
    return module.results


def launched(config: DictConfig) -> bool:
    """Start the processes that a training on several devices of this machine needs.

    Returns:
        Whether they were, and have done it all; otherwise this process is one of them.

    Raises:
        EndedError: If they have ended in another way.
    """
    processes = processes_wanted(config.trainer)
    if not processes:
        return False
    arguments = sys.argv[1:]
    if not any(word.startswith("name=") for word in arguments):
        arguments = [*arguments, f"name={config.name}"]  # the same in every process
    run = config.resume or Path(config.paths.runs) / config.name
    hint = f"Go on with: resume={run}, or the same command if nothing was saved yet."
    code = launch("pixelsmile.train", arguments, processes, hint)
    if code:
        raise EndedError(code)
    return True


@command("train", next_step="The same command with resume=<run folder> goes on.")
def main(config: DictConfig) -> None:
    """Train one adapter."""
    check_optimizer(config)
    if launched(config):
        return
    torch.set_float32_matmul_precision("high")
    train(config)


if __name__ == "__main__":
    leave_at_once(main)
