"""The synthetic sets of the tiny stack: training, validation, calibration."""

from collections.abc import Sequence
from pathlib import Path

from pixelsmile.errors import UserError
from pixelsmile.faces.base import CALIBRATION_SEED, RESERVED_SEED, FaceGenerator
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


def write_people(
    generator: FaceGenerator,
    folder: str | Path,
    *,
    size: int,
    fit_identities: int,
    check_identities: int,
) -> dict[str, Path]:
    """Write people to calibrate on and others to check that on, or find them already there.

    To check takes the reserved seeds from 9000 up, as validation does; to fit those from 9100 up,
    of which no training set, no tiny weight and no evaluation has seen one.

    Args:
        generator: Draws the faces.
        folder: Receives one folder per set.
        size: Edge of the images in pixels.
        fit_identities: People to fit on.
        check_identities: People to check on, at most 100.

    Returns:
        Annotation files under `fit` and `check`.

    Raises:
        UserError: If a number is out of range.
    """
    if check_identities > CALIBRATION_SEED - RESERVED_SEED:
        raise UserError(
            f"check_identities={check_identities}: stay at or below "
            f"{CALIBRATION_SEED - RESERVED_SEED}, or the people to fit on would be among them."
        )
    folder = Path(folder) / f"{size}px-{fingerprint(generator)[:8]}"
    seeds = {
        "fit": seed_range(CALIBRATION_SEED, fit_identities),
        "check": seed_range(RESERVED_SEED, check_identities),
    }
    return {
        name: write_dataset(
            generator,
            chosen,
            folder / f"calibration-{name}-{len(chosen)}",
            strengths=(1.0,),
            size=size,
            split="test" if name == "check" else "val",
            reserved=True,
        )
        for name, chosen in seeds.items()
    }


def _label(identities: int, strengths: Sequence[float]) -> str:
    return f"{identities}x" + "-".join(f"{strength:g}" for strength in strengths)
