"""Look at the pixels of a set: are targets aligned with their source, are people new.

One person a piece of work, so that it runs in parallel and each image is decoded once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image

from pixelsmile.data.faults import BadItemError
from pixelsmile.data.samples import Sample, by_identity, neutral_of, open_image
from pixelsmile.data.shift import frame_follows, measure_shift
from pixelsmile.data.verify import mostly_inside, num_workers, outside, share_inside
from pixelsmile.progress import progress
from pixelsmile.workers import run_parallel

_EDGE = 128
"""Pixels at which displacements are measured; a face fills about half of them."""

_MARGIN = 0.4
"""How much of the face is looked at around it, as a share of its size on each side."""

_SMALLEST = 8
"""Pixels of the larger side of a box below which it is none of a face: a share of 1, perhaps."""

_THUMB = 16
_ALIKE = 8.0
"""Mean difference of two thumbnails, of 255 grey values, up to which they are one picture."""

_WHOLE = 0.98
_CHUNK = 4
_WORTH_PROCESSES = 256
"""Images from which on it pays to start processes."""


class Finding(NamedTuple):
    """Something about a set that its owner should know."""

    kind: str
    text: str


@dataclass(frozen=True)
class Portrait:
    """What is remembered of a person's neutral image.

    Attributes:
        sample: The image.
        code: Its perceptual hash, 64 bits.
        thumb: (16, 16), grey.
    """

    sample: Sample
    code: int
    thumb: np.ndarray


def inspect(
    samples: Sequence[Sample], *, max_shift: float, workers: int | str
) -> tuple[list[Portrait], list[Finding]]:
    """Look at every image of some whole identities.

    Args:
        samples: Each identity with its neutral image.
        max_shift: Displacement of a target that is too much, as a share of the face.
        workers: Processes; `auto` is one per core.

    Returns:
        A portrait of each identity whose neutral image can be read, and what was found.
    """
    people = list(by_identity(samples).items())
    chunks = [people[i : i + _CHUNK] for i in range(0, len(people), _CHUNK)]
    count = num_workers(workers) if len(samples) >= _WORTH_PROCESSES else 1
    portraits, findings = [], []
    task = partial(_look_at, max_shift)
    with (
        progress("Comparing images", len(samples)) as advance,
        closing(run_parallel(task, chunks, count)) as finished,
    ):
        for chunk, (seen, found) in finished:
            portraits += seen
            findings += found
            advance(sum(len(images) for _, images in chunk))
    order = {name: position for position, (name, _) in enumerate(people)}
    portraits.sort(key=lambda portrait: order[portrait.sample.identity])
    return portraits, sorted(findings)


def _look_at(
    max_shift: float, chunk: Sequence[tuple[str, list[Sample]]], check: Callable[[], None]
) -> tuple[list[Portrait], list[Finding]]:
    portraits, findings = [], []
    for identity, images in chunk:
        source = neutral_of(identity, images)
        try:
            neutral = open_image(source.image).convert("L")
        except BadItemError as error:
            findings.append(Finding(error.kind, str(error)))
            continue
        portraits.append(_portrait(source, neutral))
        findings += _bounds(source, neutral.size)
        for sample in images:
            check()
            if sample.image != source.image:
                findings += _compare(source, neutral, sample, max_shift)
    return portraits, findings


def _portrait(sample: Sample, image: Image.Image) -> Portrait:
    thumb = image.resize((_THUMB, _THUMB), Image.Resampling.BOX)
    return Portrait(sample, int(str(imagehash.phash(image)), 16), np.asarray(thumb, dtype=float))


def _compare(
    source: Sample, neutral: Image.Image, sample: Sample, max_shift: float
) -> Iterator[Finding]:
    """Yield what is wrong between a source and one of its targets."""
    try:
        image = open_image(sample.image).convert("L")
    except BadItemError as error:
        yield Finding(error.kind, str(error))
        return
    yield from _bounds(sample, image.size)
    if image.size != neutral.size:
        sizes = " and ".join(f"{width} x {height}" for width, height in (image.size, neutral.size))
        yield Finding("size", f"{sample.image} and its source {source.image} are {sizes} pixels.")
        return
    share = shift_of_face(neutral, image, source.box)
    if share > max_shift:
        yield Finding(
            "misaligned",
            f"{sample.image} is displaced against its source {source.image} by {share:.1%} of the "
            "face.",
        )


def shift_of_face(source: Image.Image, target: Image.Image, box: Sequence[float] | None) -> float:
    """Return how far a picture is displaced, as a share of the larger side of its face's box.

    The face is looked at, then the rim: a head that turns is no displaced picture.

    Args:
        source: Grey image.
        target: Grey image of the same size.
        box: Of the face in the source; None takes the whole picture for twice as large as a face,
            and so does a box outside of it or too small for a face.
    """
    width, height = source.size
    x0, y0, x1, y1 = (0.0, 0.0, float(width), float(height))
    face = max(width, height) / 2
    if box is not None and _holds_a_face(box, source.size):
        face = max(box[2] - box[0], box[3] - box[1])
        margin = _MARGIN * face
        x0, y0 = max(box[0] - margin, 0.0), max(box[1] - margin, 0.0)
        x1, y1 = min(box[2] + margin, x1), min(box[3] + margin, y1)
    scale = _EDGE / max(x1 - x0, y1 - y0)
    edges = (max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale)))
    first, second = (
        np.asarray(
            image.resize(edges, Image.Resampling.BILINEAR, box=(x0, y0, x1, y1)), dtype=float
        )
        for image in (source, target)
    )
    right, down = measure_shift(first, second)
    share = float(np.hypot(right, down) / (face * scale))
    return share if share == 0 or _rim_moves(source, target, scale, right, down) else 0.0


def _holds_a_face(box: Sequence[float], size: tuple[int, int]) -> bool:
    large = max(box[2] - box[0], box[3] - box[1]) >= _SMALLEST
    return large and mostly_inside(box, *size)


def _rim_moves(
    source: Image.Image, target: Image.Image, scale: float, right: float, down: float
) -> bool:
    """Ask the rest of the picture, scaled alike, whether the face moved alone."""
    edges = (max(8, round(source.width * scale)), max(8, round(source.height * scale)))
    first, second = (
        np.asarray(image.resize(edges, Image.Resampling.BILINEAR), dtype=float)
        for image in (source, target)
    )
    return frame_follows(first, second, right, down)


def _bounds(sample: Sample, size: tuple[int, int]) -> list[Finding]:
    """Find a box that sticks out, and a face outside, which is known already unless unverified."""
    if text := outside(sample, *size):
        return [Finding("box", text)]
    if sample.box is None or share_inside(sample.box, *size) >= _WHOLE:
        return []
    box = [round(value) for value in sample.box]
    text = f"The box {box} of {sample.image} sticks out of its {size[0]} x {size[1]} pixels."
    return [Finding("bounds", text)]


def twins(
    train: Sequence[Portrait], val: Sequence[Portrait], *, max_distance: int
) -> list[Finding]:
    """Find people of different splits whose neutral images are nearly the same picture.

    Args:
        train: People trained on.
        val: People held out.
        max_distance: Bits of 64 in which two hashes may differ; thumbnails must agree as well.
    """
    if not train or not val:
        return []
    codes = np.array([portrait.code for portrait in train], dtype=np.uint64)
    findings = []
    for portrait in val:
        distances = np.bitwise_count(codes ^ np.uint64(portrait.code))
        for position in np.flatnonzero(distances <= max_distance):
            other = train[int(position)]
            if np.abs(other.thumb - portrait.thumb).mean() <= _ALIKE:
                text = (
                    f"{portrait.sample.image} (validation) and {other.sample.image} (training) "
                    "are nearly the same picture."
                )
                findings.append(Finding("twin", text))
    return findings
