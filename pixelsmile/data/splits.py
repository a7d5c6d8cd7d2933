"""People to train on and people held out: how a reader's samples are divided and paired."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pixelsmile.data.faults import BadItemError, Faults, UnusableSetError
from pixelsmile.data.samples import Sample, by_identity, check_disjoint, neutral_of
from pixelsmile.data.triplets import (
    Pair,
    Triplet,
    build_triplets,
    check_pairs,
    mine_pairs,
    samples_of,
)
from pixelsmile.errors import UserError


@dataclass(frozen=True)
class Faces:
    """What a reader returns: everything a run trains and validates on.

    Attributes:
        train: Samples to train on.
        val: Samples of other identities; their neutral images are edited, their other images, as
            far as there are any, are the ceiling.
        triplets: Of `train`.
        faults: What was left out.
    """

    train: list[Sample]
    val: list[Sample]
    triplets: list[Triplet]
    faults: tuple[BadItemError, ...] = ()

    @property
    def needed(self) -> tuple[list[Sample], list[Sample]]:
        """Return what a run encodes of both sides: the samples of the triplets, and `val`."""
        return samples_of(self.triplets), self.val


def fraction(identity: str) -> float:
    """Return a number in [0, 1) that depends on the name of an identity alone.

    Example:
        >>> fraction("ann") == fraction("ann"), 0 <= fraction("bea") < 1
        (True, True)
    """
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_by_identity(
    samples: Sequence[Sample], val_share: float, faults: Faults
) -> tuple[list[Sample], list[Sample]]:
    """Divide samples so that no identity is on both sides.

    An identity goes where its annotations say. Where they leave it open its name decides, so that
    it stays on its side whatever is added to the set later.

    Args:
        samples: Of one set.
        val_share: Share of the open identities to hold out, in (0, 1).
        faults: Receives identities that are annotated with two splits.

    Raises:
        UserError: If the share is out of range.
        UnusableSetError: If a side stays empty.
    """
    if not 0 < val_share < 1:
        raise UserError(f"data.val_share={val_share}: give a number between 0 and 1.")
    sides: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    groups = by_identity(samples)
    for identity, images in groups.items():
        named = sorted({image.split for image in images if image.split})
        if len(named) > 1:
            text = (
                f"Identity {identity!r} is annotated with the splits {' and '.join(named)}: give "
                "all of its lines the same."
            )
            faults.add(BadItemError("split", text))
            continue
        side = named[0] if named else ("val" if fraction(identity) < val_share else "train")
        sides[side] += images
    for side, change in (("train", "lower"), ("val", "raise")):
        if not sides[side]:
            raise UnusableSetError(
                f"The {side} set is empty: none of {len(groups)} identities falls into it. "
                f"{change.capitalize()} data.val_share={val_share}, write 'split' into the "
                "annotations, or name data.files.val.",
                faults,
            )
    return sides["train"], sides["val"]


def pair_up(
    train: Sequence[Sample],
    val: Sequence[Sample],
    pairs: Sequence[Sequence[str]] | None,
    faults: Faults,
) -> Faces:
    """Return both sides with the triplets of the first, without identities that cannot be used.

    Args:
        train: Samples to train on.
        val: Samples of other identities.
        pairs: Confusing pairs; None mines them from the soft labels of `train`.
        faults: Receives identities without a neutral image, and of `train` those without a pair.

    Raises:
        UserError: If a side is or gets empty, the sides share an identity, or a pair is none.
    """
    check_disjoint(train, val)
    refuse_empty(train, val, faults)
    train, val = with_neutral(train, faults), with_neutral(val, faults)
    refuse_empty(train, val, faults)
    chosen: list[Pair] = mine_pairs(train) if pairs is None else check_pairs(pairs)
    triplets = build_triplets(train, chosen, faults)
    paired = {triplet.source.identity for triplet in triplets}
    kept = [sample for sample in train if sample.identity in paired]
    refuse_empty(kept, val, faults)
    return Faces(kept, val, triplets, tuple(faults.found))


def with_neutral(samples: Iterable[Sample], faults: Faults) -> list[Sample]:
    """Return the samples of the identities that have a neutral image."""
    kept = []
    for identity, images in by_identity(samples).items():
        with faults.item():
            neutral_of(identity, images)
            kept += images
    return kept


def refuse_empty(train: Sequence[object], val: Sequence[object], faults: Faults) -> None:
    """Refuse a set of which nothing usable is left.

    Raises:
        UnusableSetError: If a side is empty.
    """
    for name, side in (("training", train), ("validation", val)):
        if not side:
            raise UnusableSetError(
                f"The {name} set is empty: check data.files and the domain.", faults
            )
