"""One annotated image, and the checks that make a set of them usable."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pixelsmile.errors import UserError
from pixelsmile.expressions import NEUTRAL


@dataclass(frozen=True)
class Sample:
    """An image of one identity with its continuous scores.

    Attributes:
        image: Path of the image file.
        identity: Name of the person or character.
        domain: `human` or `anime`.
        category: The expression that was asked for, or `neutral`.
        scores: Twelve scores in [0, 1], in the order of `EXPRESSIONS`.
        box: Face box x0, y0, x1, y1 in pixels.
        landmarks: Five points in pixels, in ArcFace order.
        split: `train`, `val`, or None where the set leaves it open.
    """

    image: Path
    identity: str
    domain: str
    category: str
    scores: tuple[float, ...]
    box: tuple[float, ...] | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None
    split: str | None = None


def open_image(path: Path) -> Image.Image:
    """Read an image as RGB.

    Raises:
        UserError: If the file is missing, is not an image, or is cut short.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise UserError(
            f"Image {path} is missing: restore it or remove its line from the annotations."
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"Image {path} cannot be read ({error}): replace it or remove its line."
        ) from None


def by_identity(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group samples by identity, in order of first appearance."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.identity, []).append(sample)
    return groups


def neutral_of(identity: str, samples: Sequence[Sample]) -> Sample:
    """Return an identity's neutral image.

    Raises:
        UserError: If it has none.
    """
    for sample in samples:
        if sample.category == NEUTRAL:
            return sample
    raise UserError(
        f"Identity {identity!r} has no image of category 'neutral' among its {len(samples)}: "
        "add one, it is the source of every edit."
    )


def check_disjoint(train: Iterable[Sample], validation: Iterable[Sample]) -> None:
    """Refuse sets that share an identity.

    Raises:
        UserError: If they do.
    """
    shared = {s.identity for s in train} & {s.identity for s in validation}
    if shared:
        names = ", ".join(sorted(shared)[:3])
        raise UserError(
            f"Train and validation share {len(shared)} identities ({names}): "
            "give each identity to one of them, or the numbers mean nothing."
        )
