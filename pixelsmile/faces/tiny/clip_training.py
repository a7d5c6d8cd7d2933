"""Train a small open_clip model on captioned faces: the feature space of the triplet loss.

A caption is four tokens: domain, expression, level of intensity or none, end. Only the image tower
is used later; the text tower is there because contrast with captions is what makes a CLIP.

What made it work in minutes: captions that differ from the start, and a text tower ten times
slower than the image tower. With equal rates both towers first agree on the domain, the captions of
a domain fall together, and the expressions are learned late or not at all (measured after 300 steps
with the same image tower: 0.13 of 26 classes right, against 0.77).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelsmile.expressions import CONFUSING_PAIRS, DOMAINS, EXPRESSIONS, index
from pixelsmile.faces.tiny.augment import augment
from pixelsmile.faces.tiny.renders import Labels, split_identities
from pixelsmile.faces.tiny.training import (
    Budget,
    Recipe,
    apply_step,
    one_cycle,
    refresh_statistics,
    shuffled,
    to_images,
)
from pixelsmile.models.encoders import open_clip_encoder

HELD_OUT = 0.1
LEVELS = 5  # neutral, then quarters of full strength

_FIRST_WORD = 1 + len(DOMAINS)  # token 0 is open_clip's padding
_FIRST_LEVEL = _FIRST_WORD + 1 + len(EXPRESSIONS)
_NO_LEVEL = _FIRST_LEVEL + LEVELS
_END = _NO_LEVEL + 1  # the highest token, where open_clip pools


def clip_config(image_size: int = 128) -> dict[str, Any]:
    """Return the content of `open_clip_config.json`: a narrow CLIP ResNet and a one-layer reader.

    A ResNet, because it learns from few images what a vision transformer of this size does not.
    """
    return {
        "model_cfg": {
            "embed_dim": 128,
            "vision_cfg": {"image_size": image_size, "layers": [1, 2, 2, 1], "width": 8},
            "text_cfg": {
                "context_length": 4,
                "vocab_size": _END + 1,
                "width": 64,
                "heads": 2,
                "layers": 1,
            },
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }


def captions(labels: Labels, *, levels: bool) -> Tensor:
    """Return the caption of every image as tokens, (N, 4), with or without the level."""
    level = np.round(labels.strength.clip(0, 1) * (LEVELS - 1)).astype(np.int64)
    tokens = [
        1 + labels.domain,
        _FIRST_WORD + 1 + labels.category,
        _FIRST_LEVEL + level if levels else np.full(len(labels), _NO_LEVEL),
        np.full(len(labels), _END),
    ]
    return torch.from_numpy(np.stack(tokens, axis=1)).long()


def train_clip(
    images: np.ndarray,
    labels: Labels,
    folder: Path | str,
    recipe: Recipe,
) -> dict[str, float]:
    """Train, save as a folder that `open_clip.create_model("local-dir:...")` loads, and measure.

    Args:
        images: (N, 128, 128, 3), uint8, of both domains.
        labels: Of those images.
        folder: Receives `open_clip_config.json` and `open_clip_model.safetensors`.
        recipe: Time, batches and learning rate.

    Returns:
        Steps, seconds and the results of `measure_clip`.
    """
    torch.manual_seed(recipe.seed)
    train, _ = split_identities(labels, HELD_OUT)
    config = clip_config(images.shape[1])
    model = open_clip.CLIP(**config["model_cfg"]).train()
    model.to(memory_format=torch.channels_last)
    _set_apart(model)
    optimizer = clip_optimizer(model)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = shuffled(train, recipe.batch_size, recipe.seed)
    known = [
        torch.unique(captions(labels, levels=levels), dim=0, return_inverse=True)
        for levels in (False, True)
    ]
    budget = Budget(recipe.minutes, recipe.steps, "clip")
    for fraction in budget:
        rows = np.sort(next(batches))
        batch = augment(to_images(images[rows]), generator, softness=0.5)
        with torch.autocast("cpu", torch.bfloat16):
            seen = model.encode_image(batch.contiguous(memory_format=torch.channels_last)).float()
        scale = model.logit_scale.exp().clamp(max=50)
        terms = [
            contrast(seen, model.encode_text(tokens), caption[rows], scale)
            for tokens, caption in known
        ]
        loss = torch.stack(terms).mean()
        apply_step(loss, optimizer, recipe.lr * one_cycle(fraction), clip=1.0)
        budget.loss = loss.item()
    refresh_statistics(
        model.visual, (augment(to_images(images[next(batches)]), generator) for _ in range(20))
    )
    save_clip(model, config, folder)
    return budget.report | measure_clip(folder, images, labels)


@torch.no_grad()
def _set_apart(model: open_clip.CLIP) -> None:
    """Let every word weigh more than its position, and open the residual branches."""
    for name, weight in model.named_parameters():
        if name == "token_embedding.weight":
            nn.init.normal_(weight, std=0.5)
        elif name == "positional_embedding":
            nn.init.zeros_(weight)
        elif name.startswith("transformer.") and name.endswith("out_proj.weight"):
            weight *= 3
        elif name.startswith("visual.") and name.endswith("bn3.weight"):
            nn.init.ones_(weight)  # open_clip starts them at 0, made for longer trainings


def clip_optimizer(model: open_clip.CLIP) -> torch.optim.AdamW:
    """Return AdamW for `apply_step`, with the text tower at a tenth of the learning rate."""
    slow = [
        weight
        for name, weight in model.named_parameters()
        if not name.startswith("visual.") and name != "logit_scale"
    ]
    fast = [*model.visual.parameters(), model.logit_scale]
    groups = [{"params": fast, "lr_factor": 1.0}, {"params": slow, "lr_factor": 0.1}]
    return torch.optim.AdamW(groups, weight_decay=0.02)


def contrast(seen: Tensor, read: Tensor, caption: Tensor, scale: Tensor) -> Tensor:
    """Return CLIP's symmetric loss where several images may share one caption.

    Every image chooses among all captions; every caption of the batch spreads its choice evenly
    over its images, so that equal captions are not each other's negatives.

    Args:
        seen: (B, D), image embeddings.
        read: (C, D), embeddings of all captions.
        caption: (B,), which caption belongs to each image.
        scale: (), inverse temperature.
    """
    logits = scale * F.normalize(seen) @ F.normalize(read).T  # B x C
    present, position = torch.unique(caption, return_inverse=True)
    owners = F.one_hot(position, len(present)).to(logits).T  # U x B
    owners = owners / owners.sum(1, keepdim=True)
    by_image = F.cross_entropy(logits, caption)
    by_caption = F.cross_entropy(logits[:, present].T, owners)
    return (by_image + by_caption) / 2


def save_clip(model: nn.Module, config: dict[str, Any], folder: Path | str) -> None:
    """Write config and half-precision weights; open_clip loads them into float32."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {
        name: (weight.half() if weight.ndim > 1 else weight).contiguous()
        for name, weight in model.state_dict().items()
    }
    save_file(weights, folder / "open_clip_model.safetensors")


def measure_clip(folder: Path | str, images: np.ndarray, labels: Labels) -> dict[str, float]:
    """Measure whether the features of confusing expressions can be told apart.

    Features are the ones that the triplet loss of the tiny stack uses; a linear
    probe and the nearest neighbour learn on 90 % of the identities and are asked about the others,
    on images of strength 0.5 and up.

    Args:
        folder: An open_clip folder.
        images: (N, 128, 128, 3), uint8.
        labels: Of those images.

    Returns:
        `<first>-<second>/linear` and `/nearest`, accuracies with chance at one half, and `/n`; and
        `all/linear`, twelve-way.
    """
    encoder = open_clip_encoder(folder, projected=True)
    clear = (labels.category >= 0) & (labels.strength >= 0.5) & ~labels.mixed
    rows = np.flatnonzero(clear)
    with torch.no_grad():
        parts = [
            encoder(to_images(images[rows[start : start + 256]]))
            for start in range(0, len(rows), 256)
        ]
    features, labels = torch.cat(parts).double().numpy(), labels.take(rows)
    train, held_out = split_identities(labels, HELD_OUT)
    groups = {f"{a}-{b}": [index(a), index(b)] for a, b in CONFUSING_PAIRS}
    groups["all"] = list(range(len(EXPRESSIONS)))
    result: dict[str, float] = {}
    for name, classes in groups.items():
        known = train[np.isin(labels.category[train], classes)]
        asked = held_out[np.isin(labels.category[held_out], classes)]
        truth = labels.category[asked]
        cosines = features[asked] @ features[known].T
        nearest = labels.category[known][cosines.argmax(1)]
        linear = _probe(features[known], labels.category[known], features[asked])
        result |= {
            f"{name}/linear": float((linear == truth).mean()),
            f"{name}/nearest": float((nearest == truth).mean()),
            f"{name}/n": len(asked),
        }
    return result


def _probe(known: np.ndarray, classes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Fit one ridge regression per class, in closed form, and return the strongest class."""
    names, wanted = np.unique(classes, return_inverse=True)
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    x = np.hstack([(known - mean) / deviation, np.ones((len(known), 1))])
    y = np.hstack([(asked - mean) / deviation, np.ones((len(asked), 1))])
    ridge = x.T @ x + 1e-2 * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(ridge, x.T @ np.eye(len(names))[wanted])
    return names[(y @ weights).argmax(1)]
