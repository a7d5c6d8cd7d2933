"""The tasks of FFE-Bench: a face, and the expression that it should get."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelsmile.data import annotations
from pixelsmile.data.annotations import Row, image_file, read_rows, require
from pixelsmile.data.faults import Faults
from pixelsmile.data.samples import Sample, open_image
from pixelsmile.errors import UserError
from pixelsmile.expressions import DOMAINS, EXPRESSIONS, NEUTRAL, prompt

_NO_SCORES = (0.0,) * len(EXPRESSIONS)


@dataclass(frozen=True)
class Task:
    """One edit that the benchmark asks for.

    Attributes:
        id: Of the face; together with the expression it names the task.
        image: File of the face.
        expression: What is asked for.
        domain: `human` or `anime`.
        prompt: The instruction in words, for editors that read one.
        digest: SHA-256 of the image file, by which runs know that they edited the same face.
        box: Face box x0, y0, x1, y1 in pixels.
        landmarks: Five points in pixels, in ArcFace order.
    """

    id: str
    image: Path
    expression: str
    domain: str
    prompt: str
    digest: str
    box: tuple[float, ...] | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None

    @property
    def name(self) -> str:
        """Name of the task, unique in its set, and the beginning of the names of its edits."""
        return f"{self.id}_{self.expression}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What has to be equal for two runs to have done the same task."""
        return (self.digest, self.expression, self.domain)

    def sample(self) -> Sample:
        """Return the face as the readers of the project know images."""
        return Sample(
            image=self.image,
            identity=self.id,
            domain=self.domain,
            category=NEUTRAL,
            scores=_NO_SCORES,
            box=self.box,
            landmarks=self.landmarks,
            crop_box=self.box,
        )


def read_tasks(file: str | Path, *, domain: str, follow_links: bool = False) -> list[Task]:
    """Read tasks in the layout of FFE-Bench, JSONL, and keep those of one domain.

    A line is `{"image", "box" | "boxes", "category", "prompt", "domain"?}`; `id` and `landmarks`
    are read where they are given. Without `id` a face is called by the stem of its file, or by its
    path where stems are not unique.

    Args:
        file: Paths in it are relative to its folder.
        domain: Kept; a line without a domain belongs to it.
        follow_links: Allow images outside the folder of the file.

    Raises:
        UserError: If the file or an image is missing, a line is broken, two tasks are the same, or
            none is of the domain.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"No tasks at {file}: set tasks.file to a JSONL file of FFE-Bench tasks.")
    rows = list(read_rows(file, Faults()))
    wanted = [(row, where) for row, where in rows if _domain(row, domain, where) == domain]
    if not wanted:
        raise UserError(f"None of the {len(rows)} tasks in {file} is {domain}: choose domain=.")
    images = [_image(row, file.parent, where, follow_links) for row, where in wanted]
    names = _face_names([row.get("id") for row, _ in wanted], images, file.parent)
    tasks = [
        _task(row, where, name, image, domain)
        for (row, where), name, image in zip(wanted, names, images, strict=True)
    ]
    _check_unique(tasks, [where for _, where in wanted])
    return tasks


def _domain(row: Row, default: str, where: str) -> str:
    domain = row.get("domain", default)
    if domain not in DOMAINS:
        raise UserError(f"{where}: 'domain' is {domain!r}, expected {' or '.join(DOMAINS)}.")
    return domain


def _image(row: Row, folder: Path, where: str, follow_links: bool) -> Path:
    require(row, "image", "category", where=where)
    image = image_file(row["image"], folder, where, follow_links=follow_links)
    open_image(image)  # a broken source is found now and not after an hour of editing
    return image


def _task(row: Row, where: str, name: str, image: Path, domain: str) -> Task:
    expression = annotations.category(row["category"], where)
    if expression == NEUTRAL:
        raise UserError(f"{where}: 'category' is neutral, which asks for nothing: remove the line.")
    text = row.get("prompt", prompt(expression, domain))
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: 'prompt' must be an instruction in words, got {text!r}.")
    return Task(
        id=name,
        image=image,
        expression=expression,
        domain=domain,
        prompt=text,
        digest=row.get("origin_sha256") or hashlib.sha256(image.read_bytes()).hexdigest(),
        box=_box(row, where),
        landmarks=annotations.landmarks(row.get("landmarks"), where),
    )


def _box(row: Row, where: str) -> tuple[float, ...] | None:
    """Read `box`, or of `boxes` the first, the face that is edited."""
    if row.get("box") is not None:
        return annotations.box(row["box"], where)
    boxes = row.get("boxes")
    if isinstance(boxes, list) and boxes and isinstance(boxes[0], list):
        boxes = boxes[0]
    return annotations.box(boxes or None, where, key="boxes")


def safe_name(text: str) -> str:
    """Return a text as it can stand in a file name.

    Example:
        >>> safe_name("Ann B./front")
        'Ann-B.-front'
    """
    return re.sub(r"[^\w.-]+", "-", text)


def _face_names(given: Sequence[Any], images: Sequence[Path], folder: Path) -> list[str]:
    """Return a name for each face that can stand in a file name and means one image only."""
    stems = {image: image.stem for image in images}
    if len(set(stems.values())) < len(stems):
        stems = {image: str(image.relative_to(folder).with_suffix("")) for image in images}
    names = [
        safe_name(str(name) if name is not None else stems[image])
        for name, image in zip(given, images, strict=True)
    ]
    meant: dict[str, Path] = {}
    for name, image in zip(names, images, strict=True):
        if meant.setdefault(name, image) != image:
            raise UserError(
                f"Two images are called {name!r}: {meant[name]} and {image}. Give their lines "
                "different values of 'id'."
            )
    return names


def _check_unique(tasks: Sequence[Task], places: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for task, where in zip(tasks, places, strict=True):
        if task.name in first:
            raise UserError(
                f"{where} asks for the same edit as {first[task.name]} ({task.name}): remove one "
                "of the lines, or give each an 'id'."
            )
        first[task.name] = where
