"""Frozen face recognisers: aligned faces to unit embeddings, with gradients."""

from pathlib import Path
from typing import Self

import onnx
import torch.nn.functional as F
from onnx2torch import convert
from torch import Tensor, nn

from pixelsmile.models.alignment import align_faces


class Recogniser(nn.Module):
    """Embed faces for identity comparison.

    Args:
        network: Maps aligned faces, (B, 3, 112, 112) in [-1, 1], to embeddings (B, D).
        name: Shown in reports.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.name = name

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, so that batch statistics stay frozen."""
        return super().train(False)

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Return unit embeddings.

        Args:
            images: (B, 3, H, W), in [-1, 1], not aligned.
            landmarks: (B, 5, 2), pixels of those images.

        Returns:
            (B, D), float32, unit length.
        """
        return F.normalize(self.network(align_faces(images, landmarks)).float(), dim=-1)


def onnx_recogniser(file: str | Path) -> Recogniser:
    """Load a recogniser from ONNX as a differentiable torch module.

    Raises:
        FileNotFoundError: If the file is missing.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"No recogniser at {path}: give the path of an ONNX file.")
    graph = onnx.load(str(path))
    for node in graph.graph.node:
        # torch writes allowzero=1, which onnx2torch refuses; no shape here contains a zero.
        if node.op_type == "Reshape":
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
    return Recogniser(convert(graph), path.stem)
