"""Frozen face recognisers: aligned faces to unit embeddings, with gradients."""

import importlib
from pathlib import Path
from typing import Self

import onnx
import torch
import torch.nn.functional as F
from onnx2torch import convert
from torch import Tensor, nn

from pixelsmile.errors import UserError
from pixelsmile.models.adaface import load_adaface
from pixelsmile.models.alignment import TEMPLATE_SIZE, align_faces
from pixelsmile.models.plain_pickle import load_tensors
from pixelsmile.weights import how_to_get, need_weights, reading


class Recogniser(nn.Module):
    """Embed faces for identity comparison.

    Args:
        network: Maps aligned faces, (B, 3, size, size) RGB in [-1, 1], to embeddings (B, D).
        name: Shown in reports.
        size: Edge of the aligned face; the ArcFace template grows with it.
    """

    def __init__(self, network: nn.Module, name: str, size: int = TEMPLATE_SIZE) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.name = name
        self.size = size

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, so that batch statistics stay frozen."""
        return super().train(False)

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Return unit embeddings, in float32 whatever precision the trainer uses.

        Args:
            images: (B, 3, H, W), in [-1, 1], not aligned.
            landmarks: (B, 5, 2), pixels of those images.

        Returns:
            (B, D), float32, unit length.
        """
        with torch.autocast(images.device.type, enabled=False):
            faces = align_faces(images, landmarks, self.size)
            return F.normalize(self.network(faces).float(), dim=-1)


def onnx_recogniser(file: str | Path) -> Recogniser:
    """Load a recogniser from ONNX as a differentiable torch module, such as `glintr100.onnx`.

    Raises:
        UserError: If the file is missing or damaged.
    """
    path = need_weights(file)
    with reading(path, "an ONNX recogniser"):
        graph = onnx.load(str(path))
        if not graph.graph.node:
            raise ValueError("the graph is empty")
        for node in graph.graph.node:
            # torch writes allowzero=1, which onnx2torch refuses; no shape here contains a zero.
            if node.op_type == "Reshape":
                kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
                del node.attribute[:]
                node.attribute.extend(kept)
        return Recogniser(convert(graph), path.stem)


def adaface_recogniser(file: str | Path, *, architecture: str = "ir_101") -> Recogniser:
    """Load a public AdaFace checkpoint, see `pixelsmile.models.adaface`.

    Args:
        file: The `.ckpt`.
        architecture: `ir_101` (called R100 in AdaFace's list), `ir_50` or `ir_18`.

    Raises:
        UserError: If the file is missing, damaged or of another architecture.
    """
    return Recogniser(load_adaface(file, architecture), "adaface")


class FaceNet(nn.Module):
    """InceptionResnetV1 of facenet-pytorch behind its own normalisation, (v - 127.5) / 128.

    Args:
        network: Maps normalised faces to embeddings.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces, (B, 3, 160, 160) in [-1, 1]."""
        return self.network(faces * (127.5 / 128))


def facenet_recogniser(file: str | Path, *, size: int = 160) -> Recogniser:
    """Load FaceNet from the weights that facenet-pytorch publishes.

    Its own detector crops the face's box without turning it; here the face is aligned by its five
    points like everywhere, which puts the same part of the face into the crop.

    Args:
        file: `20180402-114759-vggface2.pt` or `20180408-102900-casia-webface.pt`.
        size: Edge of the face that the network was trained on.

    Raises:
        UserError: If the file is missing or damaged, or facenet-pytorch is not installed.
    """
    path = need_weights(file)
    try:
        module = importlib.import_module("facenet_pytorch.models.inception_resnet_v1")
    except ImportError as error:
        raise UserError(
            "FaceNet needs the package facenet-pytorch: pip install --no-deps facenet-pytorch "
            "(its own limits on torch are out of date)."
        ) from error
    state = load_tensors(path, "weights of FaceNet")
    network = module.InceptionResnetV1()
    with reading(path, "weights of FaceNet"):
        # The classifier of the training set is in the file and not in the network.
        weights = {name: value for name, value in state.items() if not name.startswith("logits.")}
        network.load_state_dict(weights)
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise UserError(f"{path} holds NaN or infinity: {how_to_get(path)}")
    return Recogniser(FaceNet(network), "facenet", size)
