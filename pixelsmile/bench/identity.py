"""Is it still the same face? Cosines of source and edit by every recogniser, kept one by one.

Two files of rows: the five points of each image, and per recogniser the cosine of each edit. Both
are keyed by the bytes of the images and by what looked at them, so that an edit that is there
again, or another recogniser, is measured and nothing else is.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from pixelsmile.bench.folder import BenchFolder
from pixelsmile.bench.tasks import Task
from pixelsmile.data.samples import open_image
from pixelsmile.errors import UserError
from pixelsmile.judges.lines import LineFile, read_lines
from pixelsmile.models.detectors import Detector
from pixelsmile.progress import progress

Points = tuple[tuple[float, float], ...]
Row = dict[str, Any]

OK, NO_FACE = "ok", "no_face"


class Landmarks(Protocol):
    """Says where the face is in an image of a task."""

    def describe(self) -> dict[str, Any]:
        """Return what the points depend on, beside image and task."""
        ...

    def find(self, image: Image.Image, task: Task, size: tuple[int, int]) -> Points | None:
        """Return five points in pixels of the image, None where no face is found.

        Args:
            image: Source or edit.
            task: With box and landmarks in pixels of the source.
            size: Width and height of the source.
        """
        ...


class GivenLandmarks:
    """The points of the task for its source and all edits, which keep the place of the face.

    Nobody looks for a face, so a face that an edit has destroyed shows as a low cosine.
    """

    def describe(self) -> dict[str, Any]:
        """Return the kind."""
        return {"kind": "given"}

    def find(self, image: Image.Image, task: Task, size: tuple[int, int]) -> Points | None:
        """Return the points of the task, scaled to the image."""
        return task.landmarks and _scaled(task.landmarks, image, size)


class DetectedLandmarks:
    """Points that a detector finds in every source and every edit.

    A template as detector looks for nothing: a face that an edit has destroyed is none without a
    face, and shows as a low cosine.

    Args:
        detector: Takes an image and a box that the face is near.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def describe(self) -> dict[str, Any]:
        """Return the kind and the detector."""
        kind = "detected" if self.detector.looks else "template"
        return {"kind": kind, "detector": self.detector.identity}

    def find(self, image: Image.Image, task: Task, size: tuple[int, int]) -> Points | None:
        """Return what the detector finds near the box of the task."""
        box = None
        if task.box is not None:
            corners = ((task.box[0], task.box[1]), (task.box[2], task.box[3]))
            (x0, y0), (x1, y1) = _scaled(corners, image, size)
            box = (x0, y0, x1, y1)
        return self.detector(image, box)


def given_or_detected(tasks: Sequence[Task], *, detector: Detector) -> Landmarks:
    """Take the points of the tasks where all have them, otherwise those of the detector."""
    if all(task.landmarks is not None for task in tasks):
        return GivenLandmarks()
    return DetectedLandmarks(detector)


def always_detected(tasks: Sequence[Task], *, detector: Detector) -> Landmarks:
    """Look for the face in every image, whatever the tasks say."""
    return DetectedLandmarks(detector)


def _scaled(points: Points, image: Image.Image, size: tuple[int, int]) -> Points:
    x, y = image.width / size[0], image.height / size[1]
    return tuple((x * point[0], y * point[1]) for point in points)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_rows(path: Path) -> dict[str, Row]:
    """Return the rows of a file by key; a torn last line is none."""
    try:
        return {row["key"]: row for row in read_lines(path)}
    except FileNotFoundError:
        return {}


def points_key(landmarks: dict[str, Any], task: Task, image: str) -> str:
    """Return the key of the points of an image: its bytes, who looked, and near what."""
    return _key([landmarks, task.box, task.landmarks, digest(task.image), image])


def cosine_key(recogniser: str, source_points: str, edit_points: str) -> str:
    """Return the key of a cosine: the recogniser's weights and both faces."""
    return _key([recogniser, source_points, edit_points])


def _key(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def find_faces(folder: BenchFolder, landmarks: Landmarks) -> None:
    """Find the five points of every source and edit that is there, and keep them."""
    described = landmarks.describe()
    known = read_rows(folder.landmarks)
    todo: dict[str, tuple[Task, Path]] = {}
    for task, paths in _images(folder):
        for path in paths:
            key = points_key(described, task, digest(path))
            if key not in known:
                todo.setdefault(key, (task, path))
    if not todo:
        return
    lines = LineFile(folder.landmarks)
    try:
        with progress("Finding faces", len(todo)) as advance:
            for key, (task, path) in todo.items():
                size = open_image(task.image).size
                points = landmarks.find(open_image(path), task, size)
                row = {
                    "key": key,
                    "image": str(path.relative_to(folder.path)),
                    "status": NO_FACE if points is None else OK,
                    "points": points and [list(point) for point in points],
                }
                lines.append([row])
                advance(1)
    finally:
        lines.close()


def compare_faces(
    folder: BenchFolder, landmarks: dict[str, Any], recognisers: Iterable[nn.Module]
) -> None:
    """Measure the cosine of every edit with its source by every recogniser, and keep each.

    Args:
        folder: Its faces were found before.
        landmarks: What `Landmarks.describe` returns.
        recognisers: Each takes images and points and has a `name`.
    """
    points = read_rows(folder.landmarks)
    for recogniser in recognisers:
        _compare_with(folder, landmarks, points, recogniser, str(recogniser.name))


def named(recognisers: Sequence[nn.Module]) -> dict[str, str]:
    """Return the names of recognisers with a checksum of their weights.

    Raises:
        UserError: If two have the same name.
    """
    checksums: dict[str, str] = {}
    for recogniser in recognisers:
        name = str(recogniser.name)
        if name in checksums:
            raise UserError(f"Two recognisers are called {name}: list each once.")
        digest = hashlib.sha256()
        for key, weight in recogniser.state_dict().items():
            digest.update(key.encode())
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        checksums[name] = digest.hexdigest()[:16]
    return checksums


def _compare_with(
    folder: BenchFolder,
    landmarks: dict[str, Any],
    points: dict[str, Row],
    recogniser: nn.Module,
    name: str,
) -> None:
    known = read_rows(folder.recogniser(name))
    weights = folder.record["recognisers"][name]
    todo: list[tuple[Task, str, list[tuple[str, str, Path]]]] = []
    for task, (source, *edits) in _images(folder):
        place = points_key(landmarks, task, digest(source))
        faces = [(points_key(landmarks, task, digest(path)), path) for path in edits]
        keyed = [(cosine_key(weights, place, face), face, path) for face, path in faces]
        missing = {row[0]: row for row in keyed if row[0] not in known}
        known |= {key: {} for key in missing}  # equal faces of two tasks are one row
        if missing:
            todo.append((task, place, list(missing.values())))
    if not todo:
        return
    lines = LineFile(folder.recogniser(name))
    try:
        with progress(f"Comparing faces by {name}", sum(len(row[2]) for row in todo)) as advance:
            for task, place, faces in todo:
                lines.append(list(_rows(folder, task, place, faces, points, recogniser)))
                advance(len(faces))
    finally:
        lines.close()


def _rows(
    folder: BenchFolder,
    task: Task,
    place: str,
    faces: Sequence[tuple[str, str, Path]],
    points: dict[str, Row],
    recogniser: nn.Module,
) -> Iterator[Row]:
    """Yield one row an edit of a task."""
    source = _embed(recogniser, task.image, points[place])
    for key, face, path in faces:
        edited = None if source is None else _embed(recogniser, path, points[face])
        cosine = None
        if source is not None and edited is not None:
            cosine = float(torch.cosine_similarity(source, edited, dim=0).clamp(-1, 1))
        yield {
            "key": key,
            "image": str(path.relative_to(folder.path)),
            "status": NO_FACE if cosine is None else OK,
            "cosine": cosine,
        }


@torch.no_grad()
def _embed(recogniser: nn.Module, path: Path, row: Row) -> Tensor | None:
    """Return the embedding of a face, (D,), float64, or None where no face was found."""
    if row["points"] is None:
        return None
    image = pil_to_tensor(open_image(path)).float() / 127.5 - 1
    return recogniser(image[None], torch.tensor([row["points"]]))[0].double().cpu()


def _images(folder: BenchFolder) -> Iterator[tuple[Task, list[Path]]]:
    """Yield the source of each task and the edits that are there."""
    for task in folder.tasks:
        edits = [folder.edit(task.name, strength) for strength in folder.strengths]
        yield task, [task.image, *(path for path in edits if path.is_file())]
