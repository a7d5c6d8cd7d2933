"""Batches of triplets for training, and of whole identities for validation.

Shapes: B batch, C h w latent, L text tokens, T suffix tokens, D text width, K expressions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pixelsmile.data.cache import content_key
from pixelsmile.data.encoded import EncodedSet
from pixelsmile.data.images import load_image
from pixelsmile.data.order import BatchOrder, Draw, even_share
from pixelsmile.data.samples import Sample, by_identity, check_disjoint, neutral_of
from pixelsmile.data.stream import BatchStream
from pixelsmile.data.triplets import Triplet, samples_of, strength_of
from pixelsmile.expressions import index
from pixelsmile.ranks import Place
from pixelsmile.seeds import stream_generator


class TripletBatch(NamedTuple):
    """What a training step receives: everything is encoded, nothing is an image."""

    source: Tensor  # (B, C, h', w'), clean latents, of a size of their own
    neutral: Tensor  # (B, L, D), embedding of the neutral prompt
    target_a: Tensor  # (B, C, h, w)
    target_b: Tensor  # (B, C, h, w)
    suffix_a: Tensor  # (B, T, D), last tokens of the prompt of expression a
    suffix_b: Tensor  # (B, T, D)
    strength_a: Tensor  # (B,), in [0, 1]
    strength_b: Tensor  # (B,)
    expression_a: Tensor  # (B,), index into EXPRESSIONS
    expression_b: Tensor  # (B,)
    feature_a: Tensor  # (B, F), unit CLIP feature of the target
    feature_b: Tensor  # (B, F)
    identity_a: Tensor  # (B, E), unit identity embedding of the target
    identity_b: Tensor  # (B, E)
    landmarks_a: Tensor  # (B, 5, 2), pixels of the target
    landmarks_b: Tensor  # (B, 5, 2)
    noise: Tensor  # (B, C, h, w), standard normal, drawn for (seed, epoch, triplet)
    uniform: Tensor  # (B,), in [0, 1), likewise; the noise level is made of it


class IdentityBatch(NamedTuple):
    """What a validation step receives: one source a row, to be edited into everything."""

    image: Tensor  # (B, 3, H, W), the source in [-1, 1]
    source: Tensor  # (B, C, h', w')
    neutral: Tensor  # (B, L, D)
    suffixes: Tensor  # (B, K, T, D)
    landmarks: Tensor  # (B, 5, 2), pixels of the source
    position: Tensor  # (B,), place of the identity in the set
    valid: Tensor  # (B,), bool; False marks rows that only keep processes in step


class TripletDataset(Dataset[TripletBatch]):
    """Triplets read from the cache, one at a time, with the noise of each use.

    Args:
        triplets: To read.
        encoded: Where.
        seed: Of the noise.
    """

    def __init__(self, triplets: Sequence[Triplet], encoded: EncodedSet, seed: int = 0) -> None:
        self.triplets = triplets
        self.encoded = encoded
        self.seed = seed

    def __len__(self) -> int:
        return len(self.triplets)

    def __getitem__(self, draw: Draw) -> TripletBatch:
        source, a, b = self.triplets[draw.place]
        numbers = stream_generator(self.seed, "noise", *draw)
        prompts = self.encoded.prompts(source)
        image_a, image_b = self.encoded.image(a), self.encoded.image(b)
        row_a, row_b = index(a.category), index(b.category)
        return TripletBatch(
            source=self.encoded.source(source),
            neutral=prompts["neutral"],
            target_a=image_a["latents"],
            target_b=image_b["latents"],
            suffix_a=prompts["suffixes"][row_a],
            suffix_b=prompts["suffixes"][row_b],
            strength_a=torch.tensor(strength_of(a)),
            strength_b=torch.tensor(strength_of(b)),
            expression_a=torch.tensor(row_a),
            expression_b=torch.tensor(row_b),
            feature_a=image_a["feature"],
            feature_b=image_b["feature"],
            identity_a=image_a["identity"],
            identity_b=image_b["identity"],
            landmarks_a=image_a["landmarks"],
            landmarks_b=image_b["landmarks"],
            uniform=torch.rand((), generator=numbers),
            noise=torch.randn(image_a["latents"].shape, generator=numbers),
        )


class IdentityDataset(Dataset[IdentityBatch]):
    """One process's share of the neutral images, one row an identity.

    Args:
        sources: The images of all processes.
        encoded: Where they are read.
        place: Of this process.
    """

    def __init__(
        self, sources: Sequence[Sample], encoded: EncodedSet, place: Place | None = None
    ) -> None:
        place = place or Place()
        self.sources = sources
        self.encoded = encoded
        self.share = even_share(len(sources), place.rank, place.world)

    def __len__(self) -> int:
        return len(self.share)

    def __getitem__(self, row: int) -> IdentityBatch:
        position, valid = self.share[row]
        sample = self.sources[position]
        prompts = self.encoded.prompts(sample)
        sizes = self.encoded.sizes
        return IdentityBatch(
            image=load_image(sample, sizes.image, sizes.resize),
            source=self.encoded.source(sample),
            neutral=prompts["neutral"],
            suffixes=prompts["suffixes"],
            landmarks=self.encoded.landmarks(sample),
            position=torch.tensor(position),
            valid=torch.tensor(valid),
        )


class TripletDataModule(LightningDataModule):
    """Serve triplets of confusing expressions, and held-out identities to validate on.

    Train and validation never share an identity.

    Args:
        triplets: To train on.
        val: Samples of other identities; their neutral images are edited.
        encoded: Where their encoded form is read.
        batch_size: Triplets per device and step.
        val_batch_size: Identities per device and validation step.
        num_workers: Loader processes per device.
        seed: Of the order of triplets and of their noise.
        place: Of this process among those that train.

    Attributes:
        num_batches: Of the training, see `train_dataloader`; at first those of one epoch.

    Batch:
        `TripletBatch` in training, `IdentityBatch` in validation.

    Raises:
        UserError: If an identity is in both, a held-out one has no neutral image, or the set is too
            small for the processes.
    """

    def __init__(
        self,
        triplets: Sequence[Triplet],
        val: Sequence[Sample],
        encoded: EncodedSet,
        *,
        batch_size: int = 4,
        val_batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        place: Place | None = None,
    ) -> None:
        super().__init__()
        self.place = place or Place()
        check_disjoint(samples_of(triplets), val)
        self.triplets = list(triplets)
        self.sources = [neutral_of(name, group) for name, group in by_identity(val).items()]
        self.encoded = encoded
        self.order = BatchOrder(
            len(self.triplets),
            batch_size * self.place.world,
            seed,
            rank=self.place.rank,
            world=self.place.world,
        )
        self.num_batches = self.order.batches_per_epoch
        self.val_batch_size = val_batch_size
        self.num_workers = num_workers

    def train_dataloader(self) -> BatchStream:
        """Return the batches of the whole training in an order fixed by the seed."""
        return BatchStream(
            TripletDataset(self.triplets, self.encoded, self.order.seed),
            self.order,
            self.num_batches,
            num_workers=self.num_workers,
            fingerprint=self._fingerprint(),
        )

    def _fingerprint(self) -> str:
        """Return a hash of what gives batch numbers their meaning; folders may have moved.

        Bytes and strengths are in it: a run does not go on with replaced images or edited scores.
        """
        rows = [
            (
                triplet.source.identity,
                self.encoded.content(triplet.source),
                *((s.category, strength_of(s), self.encoded.content(s)) for s in triplet[1:]),
            )
            for triplet in self.triplets
        ]
        return content_key(rows, self.order.batch_size, self.order.seed)[:16]

    def val_dataloader(self) -> DataLoader[IdentityBatch]:
        """Return held-out identities in a fixed order."""
        dataset = IdentityDataset(self.sources, self.encoded, self.place)
        return DataLoader(dataset, batch_size=self.val_batch_size)
