"""The network of AdaFace: an improved residual network (IR) for 112 x 112 faces.

The structure of ArcFace (Deng et al. 2019, Sec. 3.1): pre-activated residual units with PReLU, no
bottleneck, and a linear embedding of the whole 7 x 7 map. Names of parameters are those of the
public AdaFace checkpoints (Kim et al. 2022, github.com/mk-minchul/AdaFace). Shapes: B batch.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pixelsmile.errors import UserError
from pixelsmile.models.plain_pickle import load_tensors
from pixelsmile.weights import how_to_get, need_weights

UNITS = {"ir_18": (2, 2, 2, 2), "ir_50": (3, 4, 14, 3), "ir_101": (3, 13, 30, 3)}
"""Residual units in each of the four stages, by the name of the architecture."""

WIDTHS = (64, 128, 256, 512)
_EMBEDDING = 512


class ResidualUnit(nn.Module):
    """Two convolutions beside a shortcut; the second one strides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)  # only picks every other pixel
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Halve the resolution or keep it, by the stride."""
        return self.res_layer(features) + self.shortcut_layer(features)


class AdaFaceNet(nn.Module):
    """Aligned faces, (B, 3, 112, 112) RGB in [-1, 1], to embeddings, (B, 512).

    AdaFace was trained on BGR: the channels are swapped in here. The public network divides by the
    norm and returns it beside the direction; here whoever compares embeddings normalises them.

    Args:
        architecture: One of `UNITS`.
    """

    def __init__(self, architecture: str = "ir_101") -> None:
        super().__init__()
        if architecture not in UNITS:
            raise UserError(f"architecture={architecture}: choose one of {', '.join(UNITS)}.")
        first = WIDTHS[0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        units, inputs = [], first
        for outputs, count in zip(WIDTHS, UNITS[architecture], strict=True):
            for position in range(count):
                units.append(ResidualUnit(inputs, outputs, stride=1 if position else 2))
                inputs = outputs
        self.body = nn.Sequential(*units)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(inputs * 7 * 7, _EMBEDDING),
            nn.BatchNorm1d(_EMBEDDING, affine=False),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Return embeddings of any length."""
        return self.output_layer(self.body(self.input_layer(faces.flip(1))))


def load_adaface(file: str | Path, architecture: str = "ir_101") -> AdaFaceNet:
    """Load a public AdaFace checkpoint: `state_dict` with `model.` names, and a head to leave out.

    Raises:
        UserError: If the file is missing, damaged or of another architecture.
    """
    path = need_weights(file)
    content: Any = load_tensors(path, "an AdaFace checkpoint")
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    weights = {
        name.removeprefix("model."): value
        for name, value in state.items()
        if isinstance(name, str) and name.startswith("model.") and isinstance(value, Tensor)
    }
    with torch.device("meta"):
        network = AdaFaceNet(architecture)
    expected = network.state_dict()
    wrong = sorted(
        name
        for name in expected.keys() | weights.keys()
        if name not in expected
        or name not in weights
        or expected[name].shape != weights[name].shape
    )
    if wrong:
        raise UserError(
            f"{path} is no AdaFace checkpoint of {architecture}: {len(wrong)} tensors differ, e.g. "
            f"'model.{wrong[0]}'. Set its architecture ({', '.join(UNITS)}), or "
            f"{how_to_get(path)}"
        )
    network.load_state_dict(weights, assign=True)
    return network.float()
