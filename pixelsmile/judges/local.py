"""A judge that is a small network in this process: fast, exact to repeat, needs no service."""

import json
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.judges.network import ExpressionNet

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class LocalJudge(nn.Module):
    """Score faces with a frozen network that no loss has ever seen.

    Args:
        network: Maps images, (B, 3, H, W) in [-1, 1], to scores, (B, 12) in [0, 1].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load a judge that `save_judge` has written.

        Raises:
            UserError: If a file is missing, or the judge was trained on other expressions.
        """
        folder = Path(folder)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise UserError(
                    f"No judge in {folder}: {name} is missing; give the folder of a trained judge "
                    f"with {CONFIG_FILE} and {WEIGHTS_FILE}."
                )
        config = json.loads((folder / CONFIG_FILE).read_text())
        if config["expressions"] != list(EXPRESSIONS):
            raise UserError(
                f"The judge in {folder} scores {', '.join(config['expressions'])}: "
                "use one that was trained on the twelve expressions in their order."
            )
        network = ExpressionNet(widths=tuple(config["widths"]))
        weights = load_file(folder / WEIGHTS_FILE)
        network.load_state_dict({name: weight.float() for name, weight in weights.items()})
        return cls(network)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, so that batch statistics stay frozen."""
        return super().train(False)

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """Return the scores of the twelve expressions.

        Args:
            images: (B, 3, H, W), in [-1, 1].

        Returns:
            (B, 12), in [0, 1], in the order of `EXPRESSIONS`, on the device of the images.
        """
        return self.network(images.float())


def save_judge(network: ExpressionNet, folder: str | Path) -> None:
    """Write config and weights; matrices and kernels in half precision, the rest in float32."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"expressions": list(EXPRESSIONS), "widths": list(network.widths)}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    weights = {
        name: (weight.half() if weight.ndim > 1 else weight).contiguous()
        for name, weight in network.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS_FILE)
