"""One identity of a face set on disk: its images, then the record that vouches for them.

An image may be missing or cut short after a crash. The record is written last and holds the
checksum of every image, so an identity counts as finished only if each file is exactly as it was.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from pixelsmile.errors import naming
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL
from pixelsmile.faces.base import Face, FaceGenerator, Mix
from pixelsmile.files import whole_file

Row = dict[str, Any]
"""One line of annotations.jsonl."""

Progress = Callable[[], None]


def identity_name(domain: str, seed: int) -> str:
    """Return the identity's name, unique over domains: `anime_00012`."""
    return f"{domain}_{seed:05d}"


def image_name(category: str, strength: float) -> str:
    """Return the file name of one image of an identity: `fear_0.35.png`, `neutral.png`."""
    return f"{NEUTRAL}.png" if category == NEUTRAL else f"{category}_{float(strength)}.png"


def write_identity(
    generator: FaceGenerator,
    seed: int,
    folder: Path,
    *,
    strengths: tuple[float, ...],
    size: int,
    split: str | None,
    before_image: Progress = lambda: None,
) -> None:
    """Draw and write all images of one identity, then its record.

    Args:
        generator: Draws the faces.
        seed: The identity.
        folder: The set; images go to `images/<identity>`, the record to `records`.
        strengths: Strengths of each expression.
        size: Edge of the square images in pixels.
        split: Name of the split written into each row, or None for no such key.
        before_image: Called before each image; what it raises ends the work.
    """
    name = identity_name(generator.domain, seed)
    (folder / "images" / name).mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    checksums: list[str] = []
    for category, strength, mix in _expressions(strengths):
        before_image()
        face = generator.render(seed, mix, size=size)
        image = f"images/{name}/{image_name(category, strength)}"
        data = encode_png(face)
        with naming(folder / image):
            (folder / image).write_bytes(data)
        checksums.append(hashlib.sha256(data).hexdigest())
        rows.append(_row(image, name, generator.domain, category, face, split))
    record = json.dumps({"rows": rows, "sha256": checksums})
    with whole_file(record_path(folder, name)) as file:
        file.write(record.encode())


def read_record(folder: Path, name: str) -> list[Row] | None:
    """Return the rows of a finished identity, or None if any part is missing or damaged."""
    try:
        record = json.loads(record_path(folder, name).read_bytes())
        for row, checksum in zip(record["rows"], record["sha256"], strict=True):
            data = (folder / row["image"]).read_bytes()
            if hashlib.sha256(data).hexdigest() != checksum:
                return None
        return record["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record_path(folder: Path, name: str) -> Path:
    """Return where the record of an identity lies while the set is being written."""
    return folder / "records" / f"{name}.json"


def encode_png(face: Face) -> bytes:
    """Return the image as PNG with fixed settings, so that equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(face.image).save(buffer, format="PNG", compress_level=6, optimize=False)
    return buffer.getvalue()


def _expressions(strengths: tuple[float, ...]) -> Iterator[tuple[str, float, Mix]]:
    """Yield category, strength and mix of every image of an identity, neutral first."""
    yield NEUTRAL, 0.0, {}
    for category in EXPRESSIONS:
        for strength in strengths:
            yield category, strength, {category: strength}


def _row(
    image: str, identity: str, domain: str, category: str, face: Face, split: str | None
) -> Row:
    row: Row = {
        "image": image,
        "identity": identity,
        "domain": domain,
        "category": category,
        "scores": {
            name: round(float(score), 6)
            for name, score in zip(EXPRESSIONS, face.scores, strict=True)
        },
        "box": [round(float(value), 3) for value in face.box],
        "landmarks": [[round(float(value), 3) for value in point] for point in face.landmarks],
    }
    return row if split is None else {**row, "split": split}
