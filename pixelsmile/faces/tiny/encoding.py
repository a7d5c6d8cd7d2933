"""Encode rendered sets for the training of the base: latents and prompt embeddings."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, prompt
from pixelsmile.faces.tiny.base_training import EditingSet, editing_rows
from pixelsmile.faces.tiny.renders import Labels
from pixelsmile.faces.tiny.training import to_images
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.text import PromptEncoder

_log = logging.getLogger(__name__)

SUFFIX = 7
"""Tokens from the expression word to the end of the template, see `prepare`."""


@torch.no_grad()
def encode_latents(autoencoder: Autoencoder, images: np.ndarray, *, batch_size: int = 32) -> Tensor:
    """Return normalised latents, (N, C, h, w), float16; images (N, H, W, 3), uint8."""
    parts = []
    for start in range(0, len(images), batch_size):
        batch = to_images(images[start : start + batch_size])
        parts.append(autoencoder.encode(batch).half())
        if start % (100 * batch_size) == 0:
            _log.info("latents: %d of %d", start, len(images))
    return torch.cat(parts)


def encode_texts(
    encoder: PromptEncoder, images: Sequence[np.ndarray], domain: str
) -> tuple[Tensor, Tensor]:
    """Return neutral embeddings, (S, L, D), and suffixes, (S, 12, T, D), float16, of S sources."""
    prompts = [prompt(word, domain) for word in (NEUTRAL, *EXPRESSIONS)]
    neutral, suffixes = [], []
    for count, image in enumerate(images):
        embeddings = encoder(Image.fromarray(np.asarray(image)), prompts)
        neutral.append(embeddings[0].half())
        suffixes.append(embeddings[1:, -SUFFIX:].half())
        if count % 300 == 0:
            _log.info("prompts of %s: %d of %d", domain, count, len(images))
    return torch.stack(neutral), torch.stack(suffixes)


def pair_up(latents: Tensor, neutral: Tensor, suffixes: Tensor, labels: Labels) -> EditingSet:
    """Put the encodings of one domain together, for as many identities as have prompts."""
    source_row, number = editing_rows(labels.identity, labels.scores)
    rows = number < len(neutral)  # sets are in the order of identities: these come first
    return EditingSet(
        latents=latents[rows],
        source_row=source_row[rows],
        source_number=number[rows],
        scores=torch.from_numpy(labels.scores).float()[rows],
        neutral=neutral,
        suffixes=suffixes,
    )
