"""Checkpoints of a run: written whole, checked before they are used, last and best kept.

`last.ckpt` is the newest, `previous.ckpt` the one before, `best.ckpt` the one with the lowest
val/mscr. A checkpoint is a zip archive whose table of contents, with a checksum of every part, is
written at the very end: that table is the completion mark.
"""

import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn

from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.module import PixelSmile
from pixelsmile.signals import StopSignals

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's own, but an older checkpoint stays until the new one is written."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: If the disk is full; it names `path`.
        """
        with whole_file(path) as file:
            torch.save(checkpoint, file)


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint was written to its end and has not changed since.

    Raises:
        PermissionError: If it may not be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except PermissionError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
        return False


def newest_whole(folder: Path) -> tuple[Path | None, list[Path]]:
    """Return the newest whole checkpoint of a folder, if any, and the torn ones that are newer."""
    torn: list[Path] = []
    for name in (LAST, PREVIOUS, BEST):  # from new to old
        if (path := folder / name).is_file():
            if is_whole(path):
                return path, torn
            torn.append(path)
    return None, torn


def set_aside(path: Path) -> Path:
    """Rename a torn checkpoint, so that nothing takes it for a whole one; return its new name."""
    return path.replace(path.with_name(f"{path.name}.torn"))


def remove_partial(folder: Path) -> None:
    """Delete what a process that was killed while it wrote a checkpoint has left."""
    for path in folder.glob(".*.ckpt.*"):
        path.unlink(missing_ok=True)


def give_name(path: Path, name: str) -> None:
    """Give a file a second name beside it; an older file of that name stays until then.

    Checkpoints are replaced and never written into, so both names may share one file.
    """
    partial = path.with_name(f".{name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(path)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, partial)
    partial.replace(path.with_name(name))


class RunCheckpoints(Checkpoint):
    """Keep the last and the best state of a run, and stop it between two steps.

    The state is saved every so many optimizer steps, ahead of each validation, after it, at the
    end, and when the run is asked to stop. A validation that a stopped run did not finish is done
    when it goes on.

    Args:
        folder: Of the checkpoints.
        every: Optimizer steps from one to the next.
        stop: Who listens for signals.
        max_skipped: Steps in a row without finite loss and gradient that end the run.
        monitor: The number that makes a checkpoint the best; lower is better.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int,
        stop: StopSignals,
        max_skipped: int,
        monitor: str = "mscr",
    ) -> None:
        self.folder = folder
        self.every = every
        self.stop = stop
        self.max_skipped = max_skipped
        self.monitor = monitor
        self.best = float("inf")
        self.saved_step: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen for signals, and catch up on the validation that was cut short."""
        self.stop.install()
        if step := trainer.global_step:
            self.saved_step = step
            # A finished run that is trained further stopped at its last batch, which no longer is.
            trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = False
            if _at_validation(trainer) and _ours(pl_module).validated_step != step:
                _validate_now(trainer)
        self.stop.hold()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time to; stop if it was asked for.

        Raises:
            UserError: If too many steps in a row had to be skipped.
            Stopped: If a signal has come.
        """
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # gradients are not kept, so the step under way is finished first
        step, guard = trainer.global_step, _ours(pl_module).guard
        at_end = step >= trainer.max_steps
        stuck = guard.in_a_row >= self.max_skipped
        if stuck:
            guard.in_a_row = 0  # whoever goes on has as many tries again
        stopping = self._agree_to_stop(trainer)
        if at_end or stuck or stopping or step % self.every == 0 or _at_validation(trainer):
            self.save(trainer)
        if stuck:
            raise UserError(
                f"Loss or gradient was not finite in {self.max_skipped} steps in a row, up to step "
                f"{step}: the run stops with the weights of the last good step, in "
                f"{self.folder / LAST}. Lower model.optimizer.lr or look at the data, then resume."
            )
        self.stop.check()
        trainer.should_stop |= at_end  # which makes Lightning validate first

    def _agree_to_stop(self, trainer: Trainer) -> bool:
        """Tell all processes of a signal that one has received: they save and stop together."""
        number = torch.tensor(self.stop.received or 0, device=trainer.strategy.root_device)
        agreed = int(trainer.strategy.reduce(number, reduce_op="max"))
        if agreed and self.stop.received is None:
            self.stop.received = agreed
        return bool(agreed)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let signals cut a validation short: all before it is saved."""
        self.stop.install()
        self.stop.release()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what was measured, and keep the state if there is no better one."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if fitting:
            self.stop.hold()
        if not trainer.global_step:
            return  # the base
        value = _ours(pl_module).results[self.monitor]["value"]
        better = value < self.best
        if better:
            self.best = value
        if fitting:
            self.save(trainer)
        if better and trainer.is_global_zero:
            give_name(self.folder / LAST, BEST)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let signals stop what follows at once."""
        self.stop.release()

    def save(self, trainer: Trainer) -> None:
        """Write the last checkpoint; the one before it stays as the previous."""
        last = self.folder / LAST
        if trainer.is_global_zero and self.saved_step != trainer.global_step and last.is_file():
            give_name(last, PREVIOUS)
        trainer.save_checkpoint(last)
        self.saved_step = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """Return what the best checkpoint scored."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take over what the best checkpoint scored."""
        self.best = state_dict["best"]


def _ours(module: LightningModule) -> PixelSmile:
    assert isinstance(module, PixelSmile)
    return module


def _at_validation(trainer: Trainer) -> bool:
    """Tell whether Lightning validates after the batch that was trained on last."""
    interval = trainer.val_check_batch
    if not trainer.enable_validation or not isinstance(interval, int):
        return False
    return (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % interval == 0


def _validate_now(trainer: Trainer) -> None:
    """Validate between two steps, as Lightning's training loop does."""
    loop = trainer.fit_loop.epoch_loop.val_loop
    first = trainer._logger_connector._first_loop_iter
    loop.restarting = False
    trainer.validating = True
    loop.run()
    trainer.training = True
    trainer._logger_connector._first_loop_iter = first
