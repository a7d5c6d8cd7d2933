"""Train the tiny base editor: what Qwen-Image-Edit is to the real stack.

It learns twice. First to draw: every image has its own word. Then from ambiguous one-hot labels, as
the paper says of real editors: every image is given one word, drawn in proportion to its soft
scores. Its intensity is never told. So it draws all twelve expressions in both domains and confuses
the neighbours. Learning both at once gave faint edits: the average of two expressions is neither.

Shapes: N images, S sources, L text tokens, T suffix tokens, D text width.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import QwenImageTransformer2DModel
from torch import Tensor, nn

from pixelsmile.conditioning import join_suffix
from pixelsmile.faces.tiny.training import Budget, apply_step, one_cycle
from pixelsmile.flow import add_noise, velocity
from pixelsmile.models.denoiser import pack_latents

_AVERAGE = 0.998
_NEUTRAL_SHARE = 0.06
_OTHER_SHARE = 0.1


@dataclass(frozen=True)
class EditingSet:
    """Encoded renders to learn editing from.

    Attributes:
        latents: (N, C, h, w), of every image.
        source_row: (N,), row of the identity's neutral image.
        source_number: (N,), position of the identity in the text tensors.
        scores: (N, 12), soft scores; all zero for neutral images.
        neutral: (S, L, D), embeddings of the neutral prompt.
        suffixes: (S, 12, T, D), last tokens of the other prompts.
    """

    latents: Tensor
    source_row: Tensor
    source_number: Tensor
    scores: Tensor
    neutral: Tensor
    suffixes: Tensor


def join_sets(first: EditingSet, second: EditingSet) -> EditingSet:
    """Put two sets with prompts of equal length into one."""
    rows, sources = len(first.latents), len(first.neutral)
    return EditingSet(
        latents=torch.cat([first.latents, second.latents]),
        source_row=torch.cat([first.source_row, second.source_row + rows]),
        source_number=torch.cat([first.source_number, second.source_number + sources]),
        scores=torch.cat([first.scores, second.scores]),
        neutral=torch.cat([first.neutral, second.neutral]),
        suffixes=torch.cat([first.suffixes, second.suffixes]),
    )


def draw_labels(
    scores: Tensor, sharpness: float, candidates: int, generator: torch.Generator
) -> Tensor:
    """Return one expression per image, (B,), drawn from the highest of its soft scores, (B, 12)."""
    highest = torch.zeros_like(scores).scatter(1, scores.topk(candidates).indices, 1.0)
    weights = torch.where(scores * highest > 0, scores.clamp_min(1e-6) ** sharpness, 0.0)
    return torch.multinomial(weights, 1, generator=generator).squeeze(1)


def draw_rows(strengths: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return row numbers, (count,), the fourth power of the strength as often, (N,).

    An editor that was taught faint expressions draws faint ones: without being told the strength,
    few-step sampling draws the average.
    """
    return torch.multinomial(strengths**4, count, replacement=True, generator=generator)


def change_map(data: EditingSet) -> Tensor:
    """Return where expressions change an image: one weight per 2 x 2 patch, (h/2 * w/2,), mean 1.

    Half of it is even. Copying the rest of the source is learned early on; without this weight it
    remains most of the loss.
    """
    change = torch.zeros(data.latents.shape[-2:])
    for rows in torch.arange(len(data.latents)).split(512):
        source = data.latents[data.source_row[rows]].float()
        change += (data.latents[rows].float() - source).abs().mean(1).sum(0)
    patches = F.avg_pool2d(change[None, None], 2).flatten()
    return (1 + patches / patches.mean()) / 2


def train_base(
    transformer: QwenImageTransformer2DModel,
    sets: Sequence[EditingSet],
    *,
    minutes: float,
    sharpness: float,
    candidates: int,
    learning_rate: float,
    batch_size: int = 16,
    seed: int = 0,
    fast: bool = True,
) -> tuple[QwenImageTransformer2DModel, dict[str, float]]:
    """Train in place for a time, and return the running average of the weights and the steps.

    Args:
        transformer: Untrained, or to be continued.
        sets: One per length of prompt, the usual first; each other one is met in a tenth of the
            steps, so that the editor reads prompts of its length too.
        minutes: Time budget.
        sharpness: Exponent on the soft scores when a label is drawn: 0 is blind to degree,
            large is exact.
        candidates: How many of an image's highest scores a label is drawn from; 1 is exact.
        learning_rate: Peak of the schedule.
        batch_size: Images a step.
        seed: Of order, labels and noise.
        fast: Compile, and compute in bf16.
    """
    generator = torch.Generator().manual_seed(seed)
    transformer.train()
    average = copy.deepcopy(transformer).eval().requires_grad_(False)
    if fast:
        transformer.compile_repeated_blocks(dynamic=False)  # one compilation per prompt length
    optimizer = torch.optim.AdamW(
        transformer.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    budget = Budget(minutes, name="base")
    strengths = [data.scores.amax(1) for data in sets]
    weight = change_map(sets[0])[:, None]
    shares = torch.tensor([1 - _OTHER_SHARE * (len(sets) - 1), *[_OTHER_SHARE] * (len(sets) - 1)])
    for fraction in budget:
        number = int(torch.multinomial(shares, 1, generator=generator))
        rows = draw_rows(strengths[number], batch_size, generator)
        noise, sigma, text, clean, source = _draw_batch(
            sets[number], rows, generator, sharpness=sharpness, candidates=candidates
        )
        noisy = add_noise(clean, noise, sigma)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            predicted = _predict(transformer, noisy, sigma, source, text)
        error = predicted.float() - pack_latents(velocity(clean, noise))
        loss = (weight * error.square()).mean()
        apply_step(loss, optimizer, learning_rate * one_cycle(fraction, warm_up=0.03), clip=1.0)
        budget.loss = loss.item()
        _follow(average, transformer, min(_AVERAGE, (budget.done + 1) / (budget.done + 10)))
    return average, budget.report


def _draw_batch(
    data: EditingSet,
    rows: Tensor,
    generator: torch.Generator,
    *,
    sharpness: float,
    candidates: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    labels = draw_labels(data.scores[rows], sharpness, candidates, generator)
    number = data.source_number[rows]
    neutral = data.neutral[number].float()
    text = join_suffix(neutral, data.suffixes[number, labels].float())
    clean = data.latents[rows].float()
    source = data.latents[data.source_row[rows]].float()
    unchanged = torch.rand(len(rows), generator=generator) < _NEUTRAL_SHARE
    clean = torch.where(unchanged.view(-1, 1, 1, 1), source, clean)
    text = torch.where(unchanged.view(-1, 1, 1), neutral, text)
    noise = torch.randn(clean.shape, generator=generator)
    uniform = torch.rand(len(rows), generator=generator)
    # Few-step sampling stands on its first steps: put half of the levels above 2/3.
    sigma = 2 * uniform / (1 + uniform)
    return noise, sigma, text, clean, source


def _predict(
    transformer: nn.Module, noisy: Tensor, sigma: Tensor, source: Tensor, text: Tensor
) -> Tensor:
    tokens = pack_latents(noisy)
    shape = (1, noisy.shape[-2] // 2, noisy.shape[-1] // 2)
    (predicted,) = transformer(
        hidden_states=torch.cat([tokens, pack_latents(source)], dim=1),
        timestep=sigma,
        encoder_hidden_states=text,
        img_shapes=[[shape, shape]] * len(noisy),
        return_dict=False,
    )
    return predicted[:, : tokens.shape[1]]


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the running average of the weights towards the model's."""
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    ours, theirs = map(list, zip(*pairs, strict=True))
    torch._foreach_lerp_(ours, theirs, 1 - decay)


def editing_rows(identity: np.ndarray, scores: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return for each image the row of its identity's neutral image and the identity's position.

    Args:
        identity: (N,), identities numbered from 0.
        scores: (N, 12), zero in neutral images.
    """
    neutral_rows = np.flatnonzero(scores.sum(1) == 0)
    row_of = np.full(identity.max() + 1, -1)
    row_of[identity[neutral_rows]] = neutral_rows
    return torch.from_numpy(row_of[identity]), torch.from_numpy(identity.astype(np.int64))
