"""One annotated image, and the checks that make a set of them usable."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from pixelsmile.data.decoding import seen, seen_size
from pixelsmile.data.faults import BadItemError, UnusableSetError
from pixelsmile.expressions import NEUTRAL

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""What is taken for an image; some other formats of Pillow start programs of their own."""


@dataclass(frozen=True)
class Sample:
    """An image of one identity with its continuous scores.

    Attributes:
        image: Path of the image file.
        identity: Name of the person or character.
        domain: `human` or `anime`.
        category: The expression that was asked for, or `neutral`.
        scores: Twelve scores in [0, 1], in the order of `EXPRESSIONS`.
        box: Face box x0, y0, x1, y1 in pixels of the upright image.
        landmarks: Five points in pixels of the upright image, in ArcFace order.
        split: `train`, `val`, `test`, or None where the set leaves it open.
        crop_box: Face box of the identity's source, which places the crop of all its images, so
            that source and targets stay aligned; None centres them.
    """

    image: Path
    identity: str
    domain: str
    category: str
    scores: tuple[float, ...]
    box: tuple[float, ...] | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None
    split: str | None = None
    crop_box: tuple[float, ...] | None = None


def open_image(path: Path) -> Image.Image:
    """Read an image as RGB, as `seen` shows it.

    Raises:
        BadItemError: If the file is missing, is not an image, is cut short, or is too large.
    """
    with readable(path) as image:
        image.load()
        return seen(image)


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height of what `open_image` reads, without decoding it if possible.

    Raises:
        BadItemError: As `open_image`.
    """
    with readable(path) as image:
        return seen_size(image)


@contextmanager
def readable(
    path: Path,
    *,
    formats: Sequence[str] = FORMATS,
    missing: str = "restore it or remove its line.",
    broken: str = "replace it or remove its line from the annotations.",
) -> Iterator[Image.Image]:
    """Open an image; whatever its decoder raises on hostile bytes becomes one sentence.

    Args:
        path: Of the file.
        formats: Names of Pillow's formats that are tried.
        missing: The way out where there is no such file.
        broken: The way out where it cannot be read.

    Raises:
        BadItemError: If the file is missing, is not an image, is cut short, or is too large; also
            for any exception of the block, which should only decode.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about the metadata of damaged files
            # A bomb of up to twice the limit is a mere warning, and half a gigabyte.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=list(formats) if formats else None) as image:
                yield image
    except FileNotFoundError:
        raise BadItemError("file", f"Image {path} is missing: {missing}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise BadItemError(
            "file",
            f"Image {path} cannot be read (over {limit} megapixels): scale it down or {broken}",
        ) from None
    except Exception as error:
        reason = str(error).replace(f" {str(path)!r}", "") or type(error).__name__
        raise BadItemError("file", f"Image {path} cannot be read ({reason}): {broken}") from None


def by_identity(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group samples by identity, in order of first appearance."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.identity, []).append(sample)
    return groups


def neutral_of(identity: str, samples: Sequence[Sample]) -> Sample:
    """Return an identity's neutral image.

    Raises:
        BadItemError: If it has none.
    """
    for sample in samples:
        if sample.category == NEUTRAL:
            return sample
    raise BadItemError(
        "neutral",
        f"Identity {identity!r} has no image of category 'neutral' among its {len(samples)}: "
        "add one, it is the source of every edit.",
    )


def share_crop(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples with the crop of each identity placed by the box of its neutral image."""
    samples = list(samples)
    boxes: dict[str, tuple[float, ...] | None] = {}
    for sample in samples:
        if sample.category == NEUTRAL:
            boxes.setdefault(sample.identity, sample.box)
    return [replace(sample, crop_box=boxes.get(sample.identity)) for sample in samples]


def check_disjoint(train: Iterable[Sample], validation: Iterable[Sample]) -> None:
    """Refuse sets that share an identity.

    Raises:
        UnusableSetError: If they do.
    """
    shared = {s.identity for s in train} & {s.identity for s in validation}
    if shared:
        names = ", ".join(sorted(shared)[:3])
        raise UnusableSetError(
            f"Train and validation share {len(shared)} identities ({names}): "
            "give each identity to one of them, or the numbers mean nothing."
        )
