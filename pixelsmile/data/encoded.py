"""The encoded form of a set: what is computed once, under which key, and how it is read.

Shapes: C h w latent, L text tokens, T suffix tokens, D text width, F feature, E embedding.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelsmile.conditioning import split_suffix
from pixelsmile.data.cache import TensorCache, content_key
from pixelsmile.data.crops import DIRECT, Resize
from pixelsmile.data.images import Sizes, load_image, load_landmarks
from pixelsmile.data.samples import Sample
from pixelsmile.data.squares import geometry, load_picture
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, prompt

VERSION = 2
"""Raised when the encoding itself changes, so that old entries are not found any more."""


def image_key(sample: Sample, sizes: Sizes, fingerprint: str) -> str:
    """Return the key of `encode_images` for one sample."""
    crop = geometry(sample, sizes.resize)
    parts = ("image", VERSION, fingerprint, sizes.image, crop, sample.landmarks, sample.image)
    return content_key(*parts)


def prompt_key(sample: Sample, sizes: Sizes, fingerprint: str) -> str:
    """Return the key of `encode_prompts` for one source."""
    crop = geometry(sample, sizes.resize)
    parts = ("prompts", VERSION, fingerprint, sizes.text, crop, sample.domain, sample.image)
    return content_key(*parts)


@torch.no_grad()
def encode_images(
    samples: Sequence[Sample],
    size: int,
    autoencoder: torch.nn.Module,
    encoder: torch.nn.Module,
    recogniser: torch.nn.Module,
    *,
    resize: Resize = DIRECT,
) -> list[dict[str, Tensor]]:
    """Return per image its latents, (C, h, w), and what the losses compare with.

    `feature`, (F,), and `identity`, (E,), are those of the VAE's reconstruction, so that the
    VAE's own blur is on both sides of each comparison; `landmarks`, (5, 2), are in pixels.
    """
    images = torch.stack([load_image(sample, size, resize) for sample in samples])
    landmarks = torch.stack([load_landmarks(sample, size, resize) for sample in samples])
    latents = autoencoder.encode(images)  # pyright: ignore[reportCallIssue]
    decoded = autoencoder.decode(latents)  # pyright: ignore[reportCallIssue]
    columns = {
        "latents": latents,
        "feature": encoder(decoded),
        "identity": recogniser(decoded, landmarks),
        "landmarks": landmarks,
    }
    return [{name: column[i] for name, column in columns.items()} for i in range(len(samples))]


def encode_prompts(
    sample: Sample, sizes: Sizes, text_encoder: torch.nn.Module
) -> dict[str, Tensor]:
    """Return the neutral prompt's embedding, (L, D), and what differs for each expression.

    `suffixes`, (12, T, D), replace the last T tokens of the neutral embedding: the text encoder
    is causal, so all tokens before the expression word agree. Neutral and target stay apart, so
    the strength is applied at training time.
    """
    words = (NEUTRAL, *EXPRESSIONS)
    image = load_picture(sample, sizes.text, sizes.resize)
    embeddings = text_encoder(image, [prompt(word, sample.domain) for word in words])
    differs = (embeddings - embeddings[:1]).abs().amax(dim=(0, 2)) > 1e-5
    length = int(differs.flip(0).nonzero().max()) + 1
    suffixes = [split_suffix(embeddings[:1], e[None], length)[0] for e in embeddings[1:]]
    return {"neutral": embeddings[0], "suffixes": torch.stack(suffixes)}


@dataclass(frozen=True)
class EncodedSet:
    """Reads encoded samples by key.

    Attributes:
        cache: Where entries live.
        sizes: As prepared.
        image_fingerprint: Of the models behind `encode_images`.
        prompt_fingerprint: Of the models behind `encode_prompts`.
    """

    cache: TensorCache
    sizes: Sizes
    image_fingerprint: str
    prompt_fingerprint: str

    def image(self, sample: Sample) -> dict[str, Tensor]:
        """Return an entry of `encode_images`."""
        return self._read(image_key(sample, self.sizes, self.image_fingerprint), sample)

    def prompts(self, sample: Sample) -> dict[str, Tensor]:
        """Return an entry of `encode_prompts`."""
        return self._read(prompt_key(sample, self.sizes, self.prompt_fingerprint), sample)

    def _read(self, key: str, sample: Sample) -> dict[str, Tensor]:
        try:
            return self.cache.read(key)
        except KeyError as error:
            raise UserError(
                f"{sample.image} is not prepared ({error.args[0]}): run "
                "python -m pixelsmile.prepare with the same configuration."
            ) from None

    def missing_images(self, samples: Iterable[Sample]) -> list[tuple[str, Sample]]:
        """Return key and sample of each image that is not encoded yet."""
        keys = {image_key(s, self.sizes, self.image_fingerprint): s for s in samples}
        return [(key, sample) for key, sample in keys.items() if key not in self.cache]

    def missing_prompts(self, sources: Iterable[Sample]) -> list[tuple[str, Sample]]:
        """Return key and sample of each source whose prompts are not encoded yet."""
        keys = {prompt_key(s, self.sizes, self.prompt_fingerprint): s for s in sources}
        return [(key, sample) for key, sample in keys.items() if key not in self.cache]
