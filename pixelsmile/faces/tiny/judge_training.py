"""Train and measure the judge: exact scores in, on identities that no other part has seen."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelsmile.expressions import DOMAINS, EXPRESSIONS
from pixelsmile.faces.base import FaceGenerator
from pixelsmile.faces.tiny.augment import augment
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
from pixelsmile.judges.local import LocalJudge, save_judge
from pixelsmile.judges.network import ExpressionNet

STRENGTHS = (0.35, 0.7, 1.0)


def train_judge(
    images: np.ndarray,
    labels: Labels,
    folder: Path | str,
    recipe: Recipe,
) -> dict[str, float]:
    """Train the judge, save it, and measure it on identities it has not seen.

    Args:
        images: (N, 128, 128, 3), uint8, of both domains.
        labels: Of those images.
        folder: Receives config and weights for `LocalJudge.from_pretrained`.
        recipe: Time, batches and learning rate.

    Returns:
        Steps, seconds, and on the held-out 5 % of the identities `error` (mean absolute score
        error) and per domain `<domain>/accuracy` at full strength with its `<domain>/n`.
    """
    torch.manual_seed(recipe.seed)
    train, _ = split_identities(labels, 0.05)
    network = ExpressionNet().to(memory_format=torch.channels_last).train()
    optimizer = adamw(network, recipe.lr, weight_decay=0.02)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = shuffled(train, recipe.batch_size, recipe.seed)
    budget = Budget(recipe.minutes, recipe.steps, "judge")
    for fraction in budget:
        rows = np.sort(next(batches))
        batch = augment(to_images(images[rows]), generator)
        with torch.autocast("cpu", torch.bfloat16):  # 1.7 times as fast where the CPU has it
            logits = network.logits(batch.contiguous(memory_format=torch.channels_last))
        loss = score_loss(logits.float(), *_targets(labels, rows))
        apply_step(loss, optimizer, recipe.lr * one_cycle(fraction))
        budget.loss = loss.item()
    refresh_statistics(
        network, (augment(to_images(images[next(batches)]), generator) for _ in range(20))
    )
    save_judge(network, folder)
    return budget.report | measure_held_out(LocalJudge.from_pretrained(folder), images, labels)


def score_loss(logits: Tensor, scores: Tensor, category: Tensor) -> Tensor:
    """Cross-entropy of every exact score, plus a little that the strongest comes out first.

    Args:
        logits: (B, 12).
        scores: (B, 12), in [0, 1].
        category: (B,), index of the strongest expression, -1 for neutral faces, which count only in
            the first part.
    """
    exact = F.binary_cross_entropy_with_logits(logits, scores, reduction="none").sum(1)
    shown = category >= 0
    first = F.cross_entropy(logits, category.clamp_min(0), reduction="none")
    first = torch.where(shown, first * scores.amax(1), 0.0)
    return (exact + 0.5 * first).mean()


def measure_held_out(judge: LocalJudge, images: np.ndarray, labels: Labels) -> dict[str, float]:
    """Measure on the held-out identities of a set: score error, accuracy at full strength."""
    _, rows = split_identities(labels, 0.05)
    labels = labels.take(rows)
    scores = _score_all(judge, images[rows])
    result = {"error": float(np.abs(scores - labels.scores).mean())}
    for index, domain in enumerate(DOMAINS):
        full = (labels.domain == index) & (labels.strength == 1) & ~labels.mixed
        if full.any():
            right = scores[full].argmax(1) == labels.category[full]
            result |= {f"{domain}/accuracy": float(right.mean()), f"{domain}/n": int(full.sum())}
    return result


def measure_judge(
    judge: LocalJudge, generators: list[FaceGenerator], seeds: range
) -> dict[str, float]:
    """Measure single-image 12-way accuracy on fresh renders, per domain and strength.

    Args:
        judge: The one to measure.
        generators: One per domain.
        seeds: Identities that no training has seen; each shows all twelve expressions.

    Returns:
        `<domain>/<strength>` for 0.35, 0.7 and 1.0, and `<domain>/n`, how many images each of
        them rests on.
    """
    result: dict[str, float] = {}
    for faces in generators:
        for strength in STRENGTHS:
            right = 0
            for seed in seeds:
                drawn = [faces.render(seed, {word: strength}).image for word in EXPRESSIONS]
                predicted = judge.score(to_images(np.stack(drawn))).argmax(1)
                right += int((predicted == torch.arange(len(EXPRESSIONS))).sum())
            result[f"{faces.domain}/{strength}"] = right / (len(seeds) * len(EXPRESSIONS))
        result[f"{faces.domain}/n"] = len(seeds) * len(EXPRESSIONS)
    return result


def _targets(labels: Labels, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    scores = torch.from_numpy(labels.scores[rows]).float()
    return scores, torch.from_numpy(labels.category[rows]).long()


@torch.no_grad()
def _score_all(judge: LocalJudge, images: np.ndarray) -> np.ndarray:
    parts = [
        judge.score(to_images(images[start : start + 256])) for start in range(0, len(images), 256)
    ]
    return torch.cat(parts).numpy()
