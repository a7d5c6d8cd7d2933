"""How checkpoints reach the disk: whole, so that a full one never costs the last good state."""

from typing import Any

import torch
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.plugins import TorchCheckpointIO

from pixelsmile.files import whole_file


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
