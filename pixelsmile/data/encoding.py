"""The numbers behind each entry of an encoded set. Pure in images, models and settings.

An entry does not depend on which others are computed beside it, see `in_batches`.

Shapes: B batch, C h w latent, H W image, L text tokens, T suffix tokens, D text width, F feature,
E embedding.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from pixelsmile.data.images import Sizes, load_image, load_landmarks
from pixelsmile.data.samples import Sample, open_image
from pixelsmile.data.squares import load_picture
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, prompt

BATCH = 4
"""Images that go through a network together; on a CPU 4 cost 0.6 of the time of one by one."""

Entry = dict[str, Tensor]
Points = Sequence[tuple[float, float]]


class Locator(Protocol):
    """Finds the five points of a face whose annotations have none."""

    @property
    def identity(self) -> str:
        """Everything that the points depend on beside image and box; enters the key."""
        ...

    def __call__(self, image: Image.Image, box: tuple[float, ...] | None) -> Points | None:
        """Return five points in pixels of the image, or None where there is no face."""
        ...


def prompts_of(sample: Sample) -> list[str]:
    """Return the edit instructions of a source: neutral, then one for each expression."""
    return [prompt(word, sample.domain) for word in (NEUTRAL, *EXPRESSIONS)]


def in_batches(network: Callable[..., Tensor], *columns: Tensor) -> Tensor:
    """Apply a network to rows, always `BATCH` at once: the last row fills up what is missing.

    How many rows go through a network together shows in the last bits of its numbers, which rows
    these are does not. So an entry stays a function of its key alone.
    """
    parts = []
    for rows in zip(*(column.split(BATCH) for column in columns), strict=True):
        count = len(rows[0])
        full = (torch.cat([row, row[-1:].repeat_interleave(BATCH - count, 0)]) for row in rows)
        parts.append(network(*full)[:count])
    return torch.cat(parts)


@torch.no_grad()
def reconstruct(
    samples: Sequence[Sample], sizes: Sizes, autoencoder: torch.nn.Module, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the latents of images, (B, C, h, w), and what the VAE makes of them, (B, 3, H, W).

    The losses compare with features of the reconstruction, so that the VAE's own blur is on both
    sides of each comparison.
    """
    images = torch.stack([load_image(sample, sizes.image, sizes.resize) for sample in samples])
    latents = in_batches(autoencoder.encode, images.to(device))  # pyright: ignore
    return latents, in_batches(autoencoder.decode, latents)  # pyright: ignore


@torch.no_grad()
def encode_source(
    sample: Sample, sizes: Sizes, autoencoder: torch.nn.Module, device: torch.device
) -> Entry:
    """Return `latents`, (C, h, w), of a source at its own size."""
    images = load_image(sample, sizes.of_source, sizes.resize)[None].to(device)
    return {"latents": autoencoder.encode(images)[0].cpu()}  # pyright: ignore[reportCallIssue]


@torch.no_grad()
def encode_images(latents: Tensor, decoded: Tensor, encoder: torch.nn.Module) -> list[Entry]:
    """Return of each image `latents`, (C, h, w), and `feature`, (F,), for the triplet loss.

    Args:
        latents: (B, C, h, w), from `reconstruct`.
        decoded: (B, 3, H, W), likewise.
        encoder: The triplet loss's.
    """
    features = in_batches(encoder, decoded).cpu()
    pairs = zip(latents.cpu(), features, strict=True)
    return [{"latents": row.clone(), "feature": feature.clone()} for row, feature in pairs]


@torch.no_grad()
def encode_faces(
    samples: Sequence[Sample],
    sizes: Sizes,
    decoded: Tensor,
    recogniser: torch.nn.Module,
    locator: Locator | None = None,
) -> list[Entry]:
    """Return of each face `landmarks`, (5, 2), in pixels of the square image, and `identity`, (E,).

    Both are empty, (0, 2) and (0,), where no face is found: the question is settled, and
    `EncodedSet.faceless` lists who has none.

    Args:
        samples: Of the images.
        sizes: Of the square images.
        decoded: What the VAE makes of them, (B, 3, H, W).
        recogniser: The identity loss's.
        locator: Finds points that are not given.
    """
    located = [_located(sample, locator) for sample in samples]
    rows = [row for row, sample in enumerate(located) if sample.landmarks is not None]
    entries = [{"landmarks": torch.zeros(0, 2), "identity": torch.zeros(0)} for _ in samples]
    if rows:
        landmarks = [load_landmarks(located[row], sizes.image, sizes.resize) for row in rows]
        points = torch.stack(landmarks).to(decoded.device)
        identities = in_batches(recogniser, decoded[rows], points).cpu()
        for row, found, identity in zip(rows, landmarks, identities, strict=True):
            entries[row] = {"landmarks": found, "identity": identity.clone()}
    return entries


def _located(sample: Sample, locator: Locator | None) -> Sample:
    """Return the sample with the points that a locator finds, if it has none of its own."""
    if sample.landmarks is not None or locator is None:
        return sample
    found = locator(open_image(sample.image), sample.box)
    return replace(sample, landmarks=None if found is None else tuple(found))


@torch.no_grad()
def encode_prompts(sample: Sample, sizes: Sizes, text_encoder: torch.nn.Module) -> Entry:
    """Return the neutral prompt's embedding, (L, D), and what differs for each expression.

    `suffixes`, (12, T, D), replace the last T tokens of the neutral embedding: the text encoder
    is causal, so all tokens before the expression word agree. Neutral and target stay apart, so
    the strength is applied at training time. Both keep the dtype of the encoder, which loses
    nothing: bfloat16 for the real one, float32 for the tiny one.
    """
    image = load_picture(sample, sizes.text, sizes.resize)
    states = text_encoder.share(image, prompts_of(sample))  # pyright: ignore[reportCallIssue]
    neutral = torch.cat([states.shared, states.suffixes[0]])
    return {"neutral": neutral.cpu(), "suffixes": states.suffixes[1:].cpu().clone()}
