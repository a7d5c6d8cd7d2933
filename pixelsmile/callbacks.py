"""What a run shows and keeps while it goes on."""

from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from pixelsmile.module import PixelSmile
from pixelsmile.pictures import confusion_picture, strip_sheet


class ValidationPictures(Callback):
    """Show every validation in TensorBoard: strips of edits, confusion, intervals and n."""

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the pictures of the validation that has just ended.

        Not at the end of its epoch: callbacks get that hook before the module has its results.
        """
        module: PixelSmile = pl_module
        board = next((log for log in trainer.loggers if isinstance(log, TensorBoardLogger)), None)
        if board is None or not trainer.is_global_zero:
            return
        writer, step = board.experiment, trainer.global_step
        for edits in module.examples:
            sheet = strip_sheet(edits.images, module.strengths, source=edits.source)
            writer.add_image(f"strips/identity_{edits.position}", sheet, step, dataformats="HWC")
        picture = confusion_picture(module.metrics.confusion())
        writer.add_image("confusion", picture, step, dataformats="HWC")
        for name, measured in module.results.items():
            writer.add_scalar(f"val_low/{name}", measured["low"], step)
            writer.add_scalar(f"val_high/{name}", measured["high"], step)
            writer.add_scalar(f"val_n/{name}", measured["n"], step)


def progress_bar() -> RichProgressBar:
    """Return the bar of training and validation; it stays on screen when it is full."""
    return RichProgressBar(leave=True)
