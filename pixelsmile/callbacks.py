"""What a run shows and keeps while it goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch import Tensor, nn

from pixelsmile.ceiling import true_renders
from pixelsmile.data.images import Sizes
from pixelsmile.data.samples import Sample
from pixelsmile.files import whole_file
from pixelsmile.module import PixelSmile
from pixelsmile.parallel import spread_like, whole
from pixelsmile.pictures import confusion_picture, strip_sheet


class ValidationPictures(Callback):
    """Show every validation in TensorBoard: strips of edits, confusion, intervals and n."""

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the pictures of the validation that has just ended.

        Not at the end of its epoch: callbacks get that hook before the module has its results.
        """
        module: PixelSmile = pl_module
        board = next((log for log in trainer.loggers if isinstance(log, TensorBoardLogger)), None)
        if board is None or module.confusion is None or not trainer.is_global_zero:
            return
        writer, step = board.experiment, trainer.global_step
        for edits in module.examples:
            sheet = strip_sheet(edits.images, module.strengths, source=edits.source)
            writer.add_image(f"strips/identity_{edits.position}", sheet, step, dataformats="HWC")
        picture = confusion_picture(module.confusion)
        writer.add_image("confusion", picture, step, dataformats="HWC")
        for name, measured in module.results.items():
            writer.add_scalar(f"val_low/{name}", measured["low"], step)
            writer.add_scalar(f"val_high/{name}", measured["high"], step)
            writer.add_scalar(f"val_n/{name}", measured["n"], step)


class SampleSheet(Callback):
    """Keep a picture of the latest edits: the first held-out identity beside its true renders.

    Args:
        path: Of the picture; replaced after every validation of an adapter that was trained.
        held_out: The validation samples.
        sizes: Of the images.
    """

    def __init__(self, path: Path, held_out: Sequence[Sample], sizes: Sizes) -> None:
        self.path = path
        self.held_out = held_out
        self.sizes = sizes

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the sheet."""
        module: PixelSmile = pl_module
        if not trainer.global_step or not module.examples or not trainer.is_global_zero:
            return
        edits = module.examples[0]
        truth = true_renders(self.held_out, edits.position, self.sizes)
        sheet = strip_sheet(edits.images, module.strengths, source=edits.source, truth=truth)
        with whole_file(self.path) as file:
            Image.fromarray(sheet).save(file, format="PNG")


class AdapterAverage(Callback):
    """Keep an exponential moving average of the adapter: validated and exported in its place.

    The optimizer goes on with the latest weights. Young averages forget faster, with decay
    (1 + n) / (10 + n) in update n until `decay` is reached, or the start would stay in them.

    Args:
        decay: Share of the average that stays in each step, in [0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.updates = 0
        self.step = 0  # the optimizer step that was averaged last
        self.average: dict[str, Tensor] = {}
        self._latest: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin with the weights as they are, unless an average was loaded."""
        for name, parameter in _learning(pl_module):
            known = self.average.get(name)
            self.average[name] = (
                parameter.detach().clone() if known is None else spread_like(known, parameter)
            )

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the weights of an optimizer step, but not of one that was skipped."""
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        if pl_module.guard.in_a_row:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in _learning(pl_module):
            self.average[name].lerp_(parameter, 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Put the average in place of the latest weights."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._latest = {name: p.detach().clone() for name, p in _learning(pl_module)}
            self.use(pl_module)

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Put the latest weights back."""
        for name, parameter in _learning(pl_module):
            if name in self._latest:
                parameter.copy_(self._latest.pop(name))

    @torch.no_grad()
    def use(self, module: nn.Module) -> None:
        """Write the average into a module."""
        for name, parameter in _learning(module):
            parameter.copy_(self.average[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the average and its age."""
        average = {name: whole(value) for name, value in self.average.items()}
        return {"average": average, "updates": self.updates, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with an average."""
        self.average = dict(state_dict["average"])
        self.updates, self.step = state_dict["updates"], state_dict["step"]


def _learning(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in module.named_parameters() if p.requires_grad]


class StepBar(RichProgressBar):
    """A bar over the whole training, all of its epochs; it stays on screen when it is full."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{'Training':{len(self.validation_description)}}"
