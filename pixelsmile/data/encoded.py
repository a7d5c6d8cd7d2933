"""The encoded form of a set: what is computed once, under which key, and how it is read.

There are three kinds of entries. `image` is what every image needs, `face` what a recogniser needs
to compare it, and `prompts` what a source is asked for. Where sources have a size of their own, a
fourth, `source`, holds their latents. An entry is a function of its key alone: it does not matter
which process made it and beside which others.

Shapes: C h w latent, L text tokens, T suffix tokens, D text width, F feature, E embedding.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pixelsmile.data.cache import TensorCache, content_key
from pixelsmile.data.encoding import Entry, Locator, prompts_of
from pixelsmile.data.images import Sizes
from pixelsmile.data.memory import file_digest
from pixelsmile.data.samples import Sample
from pixelsmile.data.squares import geometry
from pixelsmile.errors import UserError

VERSIONS = {"image": 4, "face": 3, "prompts": 4}
"""Raised, each for itself, when an encoding changes, so that its old entries are not found."""

Digest = Callable[[Path], str]


def image_key(sample: Sample, sizes: Sizes, fingerprint: str, digest: Digest = file_digest) -> str:
    """Return the key of `encode_images` for one sample."""
    parts = (fingerprint, sizes.image, geometry(sample, sizes.resize), digest(sample.image))
    return content_key("image", VERSIONS["image"], *parts)


def source_key(sample: Sample, sizes: Sizes, fingerprint: str, digest: Digest = file_digest) -> str:
    """Return the key of a source's latents: of its `image` entry, if the sizes are the same."""
    if sizes.of_source == sizes.image:
        return image_key(sample, sizes, fingerprint, digest)
    crop = geometry(sample, sizes.resize)
    parts = (fingerprint, sizes.of_source, crop, digest(sample.image))
    return content_key("source", VERSIONS["image"], *parts)


def face_key(
    sample: Sample,
    sizes: Sizes,
    fingerprint: str,
    locator: Locator | None = None,
    digest: Digest = file_digest,
) -> str:
    """Return the key of `encode_faces` for one sample; given points need no locator."""
    points: object = sample.landmarks
    if points is None and locator is not None:
        points = (locator.identity, sample.box)
    crop = geometry(sample, sizes.resize)
    parts = (fingerprint, sizes.image, crop, points, digest(sample.image))
    return content_key("face", VERSIONS["face"], *parts)


def prompt_key(sample: Sample, sizes: Sizes, fingerprint: str, digest: Digest = file_digest) -> str:
    """Return the key of `encode_prompts` for one source."""
    crop = geometry(sample, sizes.resize)
    parts = (fingerprint, sizes.text, crop, prompts_of(sample), digest(sample.image))
    return content_key("prompts", VERSIONS["prompts"], *parts)


@dataclass(frozen=True)
class EncodedSet:
    """Reads encoded samples by key.

    A file is digested once in the life of a set, so that one run sees one state of the data.

    Attributes:
        cache: Where entries live.
        sizes: As prepared.
        image_fingerprint: Of the models behind `encode_images`.
        prompt_fingerprint: Of the models behind `encode_prompts`.
        face_fingerprint: Of the models behind `encode_faces`; None where nobody looks at faces.
        locator: Finds the points of faces without annotated ones.
        faces_required: Whether training compares faces; else every image reads as one of no
            identity, whatever an earlier run has left in the cache.
        digest: Of a file's bytes.
    """

    cache: TensorCache
    sizes: Sizes
    image_fingerprint: str
    prompt_fingerprint: str
    face_fingerprint: str | None = None
    locator: Locator | None = None
    faces_required: bool = True
    digest: Digest = file_digest
    _digests: dict[Path, str] = field(default_factory=dict, repr=False, compare=False)
    _faces: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def image(self, sample: Sample) -> Entry:
        """Return the entries of `encode_images` and `encode_faces` in one.

        Raises:
            UserError: If one of them is missing.
        """
        entry = self._read(self.image_key(sample), sample)
        if self.face_fingerprint is not None and self.faces_required:
            return entry | self._read(self.face_key(sample), sample)
        return {"landmarks": torch.zeros(5, 2), "identity": torch.zeros(0)} | entry

    def source(self, sample: Sample) -> Tensor:
        """Return a source's latents, (C, h, w), at the size of sources.

        Raises:
            UserError: If they are missing.
        """
        return self._read(self.source_key(sample), sample)["latents"]

    def prompts(self, sample: Sample) -> Entry:
        """Return an entry of `encode_prompts`.

        Raises:
            UserError: If it is missing.
        """
        return self._read(self.prompt_key(sample), sample)

    def landmarks(self, sample: Sample) -> Tensor:
        """Return a sample's landmarks, (5, 2), in pixels of the square image, from its face entry.

        Raises:
            UserError: If that is missing.
        """
        if self.face_fingerprint is None:
            return self.image(sample)["landmarks"]
        return self._read(self.face_key(sample), sample)["landmarks"]

    def faceless(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return those of some prepared samples in which no face was found."""
        return [sample for sample in samples if not self._has_face(sample)]

    def image_key(self, sample: Sample) -> str:
        """Return the key of a sample's `image` entry."""
        return image_key(sample, self.sizes, self.image_fingerprint, self._digest)

    def source_key(self, sample: Sample) -> str:
        """Return the key of the entry with a source's latents."""
        return source_key(sample, self.sizes, self.image_fingerprint, self._digest)

    def face_key(self, sample: Sample) -> str:
        """Return the key of a sample's `face` entry."""
        fingerprint = str(self.face_fingerprint)
        return face_key(sample, self.sizes, fingerprint, self.locator, self._digest)

    def prompt_key(self, sample: Sample) -> str:
        """Return the key of a source's `prompts` entry."""
        return prompt_key(sample, self.sizes, self.prompt_fingerprint, self._digest)

    def content(self, sample: Sample) -> str:
        """Return the digest of an image's bytes, as it enters the keys."""
        return self._digest(sample.image)

    def missing_images(self, samples: Iterable[Sample]) -> list[tuple[str, Sample]]:
        """Return key and sample of each image that is not encoded yet."""
        return self._missing({self.image_key(sample): sample for sample in samples})

    def missing_sources(self, samples: Iterable[Sample]) -> list[tuple[str, Sample]]:
        """Return key and sample of each source whose latents are not encoded yet."""
        return self._missing({self.source_key(sample): sample for sample in samples})

    def missing_faces(self, samples: Iterable[Sample]) -> list[tuple[str, Sample]]:
        """Return key and sample of each image whose face is not encoded yet."""
        return self._missing({self.face_key(sample): sample for sample in samples})

    def missing_prompts(self, sources: Iterable[Sample]) -> list[tuple[str, Sample]]:
        """Return key and sample of each source whose prompts are not encoded yet."""
        return self._missing({self.prompt_key(sample): sample for sample in sources})

    def _has_face(self, sample: Sample) -> bool:
        key = self.face_key(sample)
        if key not in self._faces:
            self._faces[key] = bool(len(self._read(key, sample)["landmarks"]))
        return self._faces[key]

    def _missing(self, keys: dict[str, Sample]) -> list[tuple[str, Sample]]:
        return [(key, sample) for key, sample in keys.items() if key not in self.cache]

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = self.digest(path)
        return self._digests[path]

    def _read(self, key: str, sample: Sample) -> Entry:
        try:
            return self.cache.read(key)
        except KeyError as error:
            raise UserError(
                f"{sample.image} is not prepared ({error.args[0]}): run "
                "python -m pixelsmile.prepare with the same configuration."
            ) from None
