"""Train one adapter, from data to report: `python -m pixelsmile.train domain=anime`."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import diffusers
import torch
import transformers
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.console import Console

from pixelsmile.callbacks import ValidationPictures, progress_bar
from pixelsmile.ceiling import measure_ceiling, true_renders
from pixelsmile.checkpoints import WholeCheckpointIO
from pixelsmile.command import command
from pixelsmile.data.datamodule import TripletDataModule
from pixelsmile.data.images import Sizes
from pixelsmile.data.reading import read_data
from pixelsmile.data.samples import Sample
from pixelsmile.errors import UserError
from pixelsmile.lora.facts import training_facts
from pixelsmile.module import PixelSmile
from pixelsmile.pictures import strip_sheet
from pixelsmile.prepare import prepare
from pixelsmile.report import results_table, say_where_to_look, write_json
from pixelsmile.scoring import Measured
from pixelsmile.stack import build_datamodule, build_module, encoded_set

CHECKPOINTS = "checkpoints"
LAST = f"{CHECKPOINTS}/last.ckpt"


def train(config: DictConfig) -> Path:
    """Run a whole training and return its folder.

    Raises:
        UserError: If data or configuration cannot be used.
    """
    quiet()
    seed_everything(config.seed, workers=True, verbose=False)
    encoded_set(config)  # refuses missing weights before anything is written
    run, checkpoint = open_run(config)
    with resumable(run):
        return _train_in(run, checkpoint, config)


def _train_in(run: Path, checkpoint: Path | None, config: DictConfig) -> Path:
    """Prepare, measure, train, measure again and report, in an open run folder."""
    console = Console()
    faces = read_data(config)
    held_out = faces.val
    encoded = prepare(config, *faces.needed)
    data = build_datamodule(config, faces, encoded)
    module = build_module(config)
    trainer = build_trainer(config, run)

    assert module.scorer is not None  # a run always reports what it measured
    ceiling = measure_ceiling(held_out, encoded, module.scorer)
    before = known_before(run) or validate(trainer, module, data)
    write_json(run / "before.json", before)
    fit(trainer, module, data, checkpoint)
    if module.validated_step != trainer.global_step:
        validate(trainer, module, data)
    after = module.results
    write_json(run / "metrics.json", {"before": before, "after": after, "ceiling": ceiling})
    module.backbone.save_adapter(run / "lora", training_facts(config, trainer.global_step))
    save_samples(run, module, held_out, encoded.sizes)
    console.print(results_table(before, after, ceiling))
    say_where_to_look(console, run)
    return run


def quiet() -> None:
    """Keep the libraries' notes about themselves out of the user's terminal."""
    warnings.filterwarnings("ignore", module="(lightning|torch|diffusers|transformers)")
    warnings.filterwarnings("ignore", message=".*(num_workers|pin_memory|lr_scheduler).*")
    logging.getLogger().setLevel(logging.WARNING)  # open_clip speaks through the root logger
    for name in ("lightning.pytorch", "lightning.fabric", "diffusers", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()


def open_run(config: DictConfig) -> tuple[Path, Path | None]:
    """Return the run's folder and the checkpoint to go on from, if any.

    A run that was stopped before its first checkpoint starts from the beginning.

    Raises:
        UserError: If there is no run to resume, or the new one exists and is finished.
    """
    if config.resume is None:
        run, checkpoint = Path(config.paths.runs) / config.name, None
        if (run / "metrics.json").exists():
            raise UserError(f"{run} holds a finished run: choose another name=.")
    else:
        run = Path(config.resume)
        if not (run / "config.yaml").is_file():
            raise UserError(f"Nothing to resume: {run} holds no run. Start without resume=.")
        checkpoint = run / LAST if (run / LAST).is_file() else None
    run.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, run / "config.yaml", resolve=False)
    link = run.parent / "latest"
    temporary = run.parent / f".latest-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run.name)
    temporary.replace(link)
    return run, checkpoint


def build_trainer(config: DictConfig, run: Path) -> Trainer:
    """Return the trainer with what it writes and shows."""
    callbacks = [
        LearningRateMonitor(logging_interval="step"),
        ModelCheckpoint(
            dirpath=run / CHECKPOINTS,
            filename="step-{step}",
            auto_insert_metric_name=False,
            every_n_train_steps=config.model.training.validate_every,
            save_last=True,
            save_top_k=1,
            save_on_exception=True,
        ),
        ValidationPictures(),
        progress_bar(),
    ]
    board = TensorBoardLogger(run.parent, name=run.name, version="")
    return instantiate(
        config.trainer,
        logger=board,
        callbacks=callbacks,
        plugins=[WholeCheckpointIO()],
        default_root_dir=run,
    )


def known_before(run: Path) -> dict[str, Measured] | None:
    """Return the base's numbers of a resumed run."""
    path = run / "before.json"
    if not path.is_file():
        return None
    return OmegaConf.to_container(OmegaConf.load(path))  # pyright: ignore[reportReturnType]


@contextmanager
def resumable(run: Path) -> Iterator[None]:
    """Say how to go on when the user stops a run."""
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True, soft_wrap=True).print(f"Go on with: resume={run}", highlight=False)
        raise


@contextmanager
def _interruptible(trainer: Trainer) -> Iterator[None]:
    """Turn Lightning's answers to Ctrl-C, an exit or a quiet return, back into the interrupt."""
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt


def validate(trainer: Trainer, module: PixelSmile, data: TripletDataModule) -> dict[str, Measured]:
    """Edit and score the held-out identities with the adapter as it is now.

    Raises:
        KeyboardInterrupt: If the user stopped it.
    """
    with _interruptible(trainer):
        trainer.validate(module, datamodule=data, verbose=False)
    return module.results


def fit(
    trainer: Trainer, module: PixelSmile, data: TripletDataModule, checkpoint: Path | None
) -> None:
    """Train; on Ctrl-C a checkpoint is kept.

    Raises:
        KeyboardInterrupt: If the user stopped it.
    """
    with _interruptible(trainer):
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)


def save_samples(run: Path, module: PixelSmile, held_out: Sequence[Sample], sizes: Sizes) -> None:
    """Write the strips of the first held-out identity beside its true renders."""
    edits = module.examples[0]
    truth = true_renders(held_out, edits.position, sizes)
    sheet = strip_sheet(edits.images, module.strengths, source=edits.source, truth=truth)
    Image.fromarray(sheet).save(run / "samples.png")


@command("train", next_step="The same command with resume=<run folder> goes on.")
def main(config: DictConfig) -> None:
    """Train one adapter."""
    torch.set_float32_matmul_precision("high")
    train(config)


if __name__ == "__main__":
    main()
