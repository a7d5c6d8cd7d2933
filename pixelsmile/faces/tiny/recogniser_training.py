"""Train three face recognisers on the judge's identities, export them to ONNX, measure them.

`arcface` learns with an additive angular margin (Deng et al. 2019), `adaface` with a margin that
adapts to the length of the embedding, a proxy of image quality (Kim et al. 2022), `facenet` with
plain classification and a pull towards the centre of each identity (Wen et al. 2016).
"""

import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn

from pixelsmile.expressions import DOMAINS
from pixelsmile.faces.tiny.augment import augment
from pixelsmile.faces.tiny.recogniser_networks import (
    EMBEDDING,
    AdaFaceLike,
    ArcFaceLike,
    FaceNetLike,
)
from pixelsmile.faces.tiny.renders import Labels, split_identities
from pixelsmile.faces.tiny.training import (
    Budget,
    Recipe,
    adamw,
    apply_step,
    one_cycle,
    refresh_statistics,
    shuffled,
    to_images,
)
from pixelsmile.models.alignment import align_faces

HELD_OUT = 0.05

_SCALE = 24.0  # of cosines in the softmax

_log = logging.getLogger(__name__)


def train_recognisers(
    images: np.ndarray,
    labels: Labels,
    folder: Path | str,
    recipe: Recipe,
) -> dict[str, dict[str, float]]:
    """Train all three, write `<name>.onnx`, and measure them on identities they have not seen.

    Args:
        images: (N, 128, 128, 3), uint8, of both domains.
        labels: Of those images.
        folder: Receives `arcface.onnx`, `adaface.onnx` and `facenet.onnx`.
        recipe: Time, batches and learning rate; the time of each.

    Returns:
        Name to steps, seconds and the results of `measure_recogniser` on the held-out 5 %.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    faces = align_all(images, labels)
    train, held_out = split_identities(labels, HELD_OUT)
    classes = np.unique(labels.identity[train], return_inverse=True)[1]
    results = {}
    for name, (network_type, head_type) in RECOGNISERS.items():
        torch.manual_seed(recipe.seed)
        network, head = network_type(), head_type(int(classes.max()) + 1)
        budget = Budget(recipe.minutes, recipe.steps, name)
        _fit(network, head, (faces, train, classes), budget, recipe)
        export(network, folder / f"{name}.onnx")
        measured = measure_recogniser(
            folder / f"{name}.onnx", faces[held_out], labels.take(held_out)
        )
        results[name] = budget.report | measured
        _log.info("%s: %s", name, results[name])
    return results


def align_all(images: np.ndarray, labels: Labels) -> np.ndarray:
    """Return all faces on the ArcFace template, (N, 112, 112, 3), uint8."""
    faces = np.empty((len(images), 112, 112, 3), dtype=np.uint8)
    for start in range(0, len(images), 256):
        part = slice(start, start + 256)
        landmarks = torch.from_numpy(labels.landmarks[part]).float()
        aligned = align_faces(to_images(images[part]), landmarks)
        pixels = ((aligned + 1) * 127.5).round().clamp(0, 255).byte()
        faces[part] = pixels.permute(0, 2, 3, 1).numpy()
    return faces


def _fit(
    network: nn.Module,
    head: nn.Module,
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
    budget: Budget,
    recipe: Recipe,
) -> None:
    faces, train, classes = data
    network.to(memory_format=torch.channels_last).train()
    optimizer = adamw(nn.ModuleList([network, head]), recipe.lr, weight_decay=0.05)
    generator = torch.Generator().manual_seed(recipe.seed)
    order = shuffled(np.arange(len(train)), recipe.batch_size, recipe.seed)

    def draw(positions: np.ndarray) -> Tensor:
        batch = augment(to_images(faces[train[positions]]), generator, framing=0.5)
        return batch.contiguous(memory_format=torch.channels_last)

    for fraction in budget:
        positions = next(order)
        batch = draw(positions)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = network(batch)
        wanted = torch.from_numpy(classes[positions]).long()
        loss = head(embeddings.float(), wanted, min(1.0, 2 * fraction))
        apply_step(loss, optimizer, recipe.lr * one_cycle(fraction))
        budget.loss = loss.item()
    refresh_statistics(network, (draw(next(order)) for _ in range(20)))


class ArcHead(nn.Module):
    """Softmax over cosines, with an angle added to the right class.

    Args:
        num_classes: Identities.
        margin: Radians, reached as `ramp` goes to 1.
    """

    def __init__(self, num_classes: int, margin: float = 0.3) -> None:
        super().__init__()
        self.centres = nn.Parameter(0.1 * torch.randn(num_classes, EMBEDDING))
        self.margin = margin

    def forward(self, embeddings: Tensor, wanted: Tensor, ramp: float) -> Tensor:
        """Return the mean loss of (B, D) embeddings of the classes `wanted`, (B,)."""
        cosines = _cosines(embeddings, self.centres)
        angle = cosines.gather(1, wanted[:, None]).acos() + ramp * self.margin
        right = angle.clamp(max=math.pi).cos()
        return F.cross_entropy(_SCALE * cosines.scatter(1, wanted[:, None], right), wanted)


class AdaHead(nn.Module):
    """Softmax over cosines, with a margin that favours whatever the image still shows.

    Long embeddings, of clear images, get an additive margin; short ones an angle that eases.

    Args:
        num_classes: Identities.
        margin: Size of both, reached as `ramp` goes to 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_classes: int, margin: float = 0.3) -> None:
        super().__init__()
        self.centres = nn.Parameter(0.1 * torch.randn(num_classes, EMBEDDING))
        self.margin = margin
        self.register_buffer("mean", torch.tensor(10.0))
        self.register_buffer("deviation", torch.tensor(2.0))

    def forward(self, embeddings: Tensor, wanted: Tensor, ramp: float) -> Tensor:
        """Return the mean loss of (B, D) embeddings of the classes `wanted`, (B,)."""
        length = embeddings.detach().norm(dim=1, keepdim=True)
        self.mean.lerp_(length.mean(), 0.01)
        self.deviation.lerp_(length.std(), 0.01)
        quality = ((length - self.mean) / (3 * self.deviation + 1e-3)).clamp(-1, 1)
        margin = ramp * self.margin
        cosines = _cosines(embeddings, self.centres)
        angle = cosines.gather(1, wanted[:, None]).acos() - margin * quality
        right = angle.clamp(0, math.pi).cos() - margin * (1 + quality)
        return F.cross_entropy(_SCALE * cosines.scatter(1, wanted[:, None], right), wanted)


class CentreHead(nn.Module):
    """Softmax over cosines without a margin, and a pull of unit embeddings to their centre.

    Args:
        num_classes: Identities.
        pull: Weight of the pull, reached as `ramp` goes to 1.
    """

    def __init__(self, num_classes: int, pull: float = 2.0) -> None:
        super().__init__()
        self.centres = nn.Parameter(0.1 * torch.randn(num_classes, EMBEDDING))
        self.pull = pull

    def forward(self, embeddings: Tensor, wanted: Tensor, ramp: float) -> Tensor:
        """Return the mean loss of (B, D) embeddings of the classes `wanted`, (B,)."""
        cosines = _cosines(embeddings, self.centres)
        distance = 1 - cosines.gather(1, wanted[:, None]).mean()
        return F.cross_entropy(_SCALE * cosines, wanted) + ramp * self.pull * distance


RECOGNISERS: dict[str, tuple[type[nn.Module], Callable[[int], nn.Module]]] = {
    "arcface": (ArcFaceLike, ArcHead),
    "adaface": (AdaFaceLike, AdaHead),
    "facenet": (FaceNetLike, CentreHead),
}
"""Name to architecture and loss."""


def _cosines(embeddings: Tensor, centres: Tensor) -> Tensor:
    # the slope of acos is infinite at 1
    return (F.normalize(embeddings) @ F.normalize(centres).T).clamp(-1 + 1e-5, 1 - 1e-5)


def export(network: nn.Module, file: Path) -> None:
    """Write a network to ONNX with a dynamic batch."""
    network = network.eval().to(memory_format=torch.contiguous_format)
    with warnings.catch_warnings():
        # The newer exporter needs one more package and writes shapes that onnx2torch refuses.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, 112, 112),),
            str(file),
            input_names=["faces"],
            output_names=["embeddings"],
            dynamic_axes={"faces": {0: "batch"}, "embeddings": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )


def measure_recogniser(file: Path, faces: np.ndarray, labels: Labels) -> dict[str, float]:
    """Measure how well cosines tell same from different identities, within each domain.

    Args:
        file: ONNX.
        faces: (N, 112, 112, 3), uint8, aligned, of identities that no training has seen.
        labels: Of those faces.

    Returns:
        Per domain `auc` over all pairs; `auc_expression`, where "same" is a neutral face against
        an expression of the same person and "different" any two people; mean cosines `same` and
        `different`, and `identities`, keys prefixed with `<domain>/`.
    """
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    parts = [
        np.asarray(session.run(None, {"faces": to_images(faces[start : start + 128]).numpy()})[0])
        for start in range(0, len(faces), 128)
    ]
    embeddings = F.normalize(torch.from_numpy(np.concatenate(parts)))
    result: dict[str, float] = {}
    for index, domain in enumerate(DOMAINS):
        rows = np.flatnonzero(labels.domain == index)
        if len(np.unique(labels.identity[rows])) < 2:
            continue
        cosines = (embeddings[rows] @ embeddings[rows].T).numpy()
        person, neutral = labels.identity[rows], labels.category[rows] < 0
        same = person[:, None] == person[None, :]
        pairs = np.triu(np.ones_like(same), 1)
        changed = neutral[:, None] & ~neutral[None, :] & same
        different = cosines[pairs & ~same]
        result |= {
            f"{domain}/auc": area_under_curve(cosines[pairs & same], different),
            f"{domain}/auc_expression": area_under_curve(cosines[changed], different),
            f"{domain}/same": float(cosines[pairs & same].mean()),
            f"{domain}/different": float(different.mean()),
            f"{domain}/identities": len(np.unique(person)),
        }
    return result


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the chance that a positive value exceeds a negative one, ties counting half.

    Example:
        >>> area_under_curve(np.array([0.9, 0.4]), np.array([0.5, 0.1]))
        0.75
    """
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    above = ranks.sum() - len(positive) * (len(positive) + 1) / 2
    return float(above / (len(positive) * len(negative)))
