"""The synthetic training and validation sets of the tiny stack."""

from collections.abc import Sequence
from pathlib import Path

from pixelsmile.faces.base import RESERVED_SEED, FaceGenerator
from pixelsmile.faces.dataset import write_dataset
from pixelsmile.faces.fingerprint import fingerprint
from pixelsmile.faces.seeds import seed_range


def write_splits(
    generator: FaceGenerator,
    folder: str | Path,
    *,
    size: int,
    train_identities: int,
    val_identities: int,
    train_strengths: Sequence[float],
    val_strengths: Sequence[float],
) -> dict[str, Path]:
    """Write a training set and a validation set of other people, or find them already there.

    Training takes seeds from 0 up; validation takes the reserved ones from 9000 up, which no
    training set and no tiny weight has seen.

    Args:
        generator: Draws the faces.
        folder: Receives one folder per set; its name tells the settings and the version of the
            generator, so that sets of other numbers or another version stand side by side.
        size: Edge of the images in pixels.
        train_identities: People to train on.
        val_identities: People to validate on.
        train_strengths: Strengths of each expression in the training set.
        val_strengths: Those of the true renders that the ceiling is measured on.

    Returns:
        Annotation files under `train` and `val`.

    Raises:
        UserError: If a number is out of range.
    """
    version = fingerprint(generator)[:8]
    folder = Path(folder) / f"{size}px-{version}"
    train = write_dataset(
        generator,
        seed_range(0, train_identities),
        folder / f"train-{_label(train_identities, train_strengths)}",
        strengths=train_strengths,
        size=size,
        split="train",
    )
    val = write_dataset(
        generator,
        seed_range(RESERVED_SEED, val_identities),
        folder / f"val-{_label(val_identities, val_strengths)}",
        strengths=val_strengths,
        size=size,
        split="val",
        reserved=True,
    )
    return {"train": train, "val": val}


def _label(identities: int, strengths: Sequence[float]) -> str:
    return f"{identities}x" + "-".join(f"{strength:g}" for strength in strengths)
