"""Encode rendered sets for the training of the base: latents and prompt embeddings."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelsmile.expressions import DOMAINS, EXPRESSIONS, NEUTRAL, prompt
from pixelsmile.faces.tiny.autoencoder_training import to_tensor
from pixelsmile.faces.tiny.base_training import EditingSet, editing_rows
from pixelsmile.faces.tiny.renders import Labels
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
        batch = to_tensor(np.ascontiguousarray(images[start : start + batch_size]))
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


def encode_set(
    autoencoder: Autoencoder, encoder: PromptEncoder, images: np.ndarray, labels: Labels
) -> EditingSet:
    """Encode a rendered set of one domain."""
    source_row, number = editing_rows(labels.identity, labels.scores)
    first = np.unique(number.numpy(), return_index=True)[1]
    sources = source_row[torch.from_numpy(first)]
    neutral, suffixes = encode_texts(
        encoder, [images[int(row)] for row in sources], DOMAINS[int(labels.domain[0])]
    )
    return EditingSet(
        latents=encode_latents(autoencoder, images),
        source_row=source_row,
        source_number=number,
        scores=torch.from_numpy(labels.scores).float(),
        neutral=neutral,
        suffixes=suffixes,
    )
