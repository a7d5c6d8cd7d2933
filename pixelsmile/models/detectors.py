"""Where a face's five points come from when the annotations have none.

A detector takes an image, RGB, and the face box that is known or None, and returns five points in
pixels in ArcFace order (eye, eye, nose, mouth corner, mouth corner, left in the image first), or
None where it finds no face. Its `identity` names everything else that the points depend on.
Nothing is loaded before the first face is asked for.
"""

import hashlib
import importlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from pixelsmile.errors import UserError

Box = tuple[float, ...]
Points = tuple[tuple[float, float], ...]

_DRAWN = ((0.25, 0.56), (0.75, 0.56), (0.5, 0.735), (0.36, 0.83), (0.64, 0.83))
"""Shares of the box: the means over 156 faces of the project's own drawings, made symmetric."""


class Located(NamedTuple):
    """Where a face is.

    Attributes:
        points: Five points in pixels.
        box: x0, y0, x1, y1 in pixels, or None where the detector only takes the picture for a
            head-shot.
    """

    points: Points
    box: Box | None


class Detector(Protocol):
    """Finds five points of one face."""

    @property
    def looks(self) -> bool:
        """Whether it looks for a face; a template has points for whatever it is given."""
        ...

    @property
    def identity(self) -> str:
        """What the points depend on beside image and box."""
        ...

    def __call__(self, image: Image.Image, box: Box | None = None) -> Points | None:
        """Return five points in pixels, or None."""
        ...

    def locate(self, image: Image.Image, box: Box | None = None) -> Located | None:
        """Return the same points with the box of their face, or None."""
        ...


class _Locating:
    """Points of a detector that also knows boxes."""

    def locate(self, image: Image.Image, box: Box | None = None) -> Located | None:
        raise NotImplementedError

    def __call__(self, image: Image.Image, box: Box | None = None) -> Points | None:
        """Return the points of the face in the box, or of the one that is found by itself."""
        found = self.locate(image, box)
        return None if found is None else found.points


class ScrfdDetector(_Locating):
    """SCRFD through insightface.

    Args:
        file: Its ONNX file, such as `scrfd_10g_bnkps.onnx` of antelopev2.
        size: Edge of the square input; a multiple of 32.
        threshold: Least confidence of a face.
    """

    looks = True

    def __init__(self, file: str | Path, *, size: int = 640, threshold: float = 0.5) -> None:
        self.file = Path(file)
        self.size = size
        self.threshold = threshold

    @property
    def available(self) -> bool:
        """Whether the model file is there."""
        return self.file.is_file()

    @cached_property
    def identity(self) -> str:
        """The model's bytes and the settings.

        Raises:
            UserError: If the file is missing.
        """
        if not self.available:
            raise UserError(
                f"No face detector at {self.file}: put SCRFD there (scrfd_10g_bnkps.onnx of "
                "insightface's antelopev2), or set model.detector to another one."
            )
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]
        return f"scrfd {digest} {self.size} {self.threshold}"

    @cached_property
    def _model(self) -> Any:
        assert self.identity  # refuses a missing file in our words
        zoo = _optional("insightface.model_zoo", "insightface")
        model = zoo.get_model(str(self.file))
        model.prepare(ctx_id=0, input_size=(self.size, self.size), det_thresh=self.threshold)
        return model

    def locate(self, image: Image.Image, box: Box | None = None) -> Located | None:
        """Return the face in the box, or the largest."""
        # insightface reads images as OpenCV does: blue first
        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
        found, points = self._model.detect(pixels)
        if points is None:
            return None
        return choose_face(found[:, :4], points, box)


class MtcnnDetector(_Locating):
    """MTCNN through facenet-pytorch, whose package carries the weights.

    Args:
        min_face_size: Of the smallest face, in pixels.
    """

    _SMALLEST = 12  # pixels that the first network looks at
    looks = True

    def __init__(self, *, min_face_size: int = 20) -> None:
        self.min_face_size = max(min_face_size, self._SMALLEST)

    available = True

    @cached_property
    def identity(self) -> str:
        """The settings; the weights have been the same in every release of the package."""
        return f"mtcnn {self.min_face_size}"

    @cached_property
    def _model(self) -> Any:
        facenet = _optional("facenet_pytorch", "facenet-pytorch")
        return facenet.MTCNN(keep_all=True, min_face_size=self.min_face_size)

    def locate(self, image: Image.Image, box: Box | None = None) -> Located | None:
        """Return the face in the box, or the largest."""
        if min(image.size) <= self.min_face_size:
            return None  # no scale would be left to look at
        found, _, points = self._model.detect(image.convert("RGB"), landmarks=True)
        if points is None:
            return None
        # With numpy 2 the arrays come back as arrays of objects.
        return choose_face(_numbers(found), _numbers(points), box)


class BoxTemplate(_Locating):
    """Five fixed points inside the given box: for drawings, which detectors do not know.

    Args:
        whole_image: Take the whole image for the box where none is given, instead of giving up.
        points: Five pairs of shares of the box, instead of those of our drawings.
    """

    available = True
    looks = False

    def __init__(
        self, *, whole_image: bool = False, points: Sequence[Sequence[float]] = _DRAWN
    ) -> None:
        self.whole_image = whole_image
        self.points = tuple((float(x), float(y)) for x, y in points)

    @property
    def identity(self) -> str:
        """The template."""
        return f"template {self.points} {self.whole_image}"

    def locate(self, image: Image.Image, box: Box | None = None) -> Located | None:
        """Return the template's points in the box; a box it never finds."""
        place = (0.0, 0.0, *map(float, image.size)) if box is None and self.whole_image else box
        if place is None:
            return None
        x0, y0, x1, y1 = place
        return Located(tuple((x0 + x * (x1 - x0), y0 + y * (y1 - y0)) for x, y in self.points), box)


class FirstAvailable(_Locating):
    """The first of several detectors whose model is there.

    Args:
        detectors: In order of preference.
    """

    def __init__(self, detectors: Sequence[Any]) -> None:
        self.detectors = tuple(detectors)

    @cached_property
    def _chosen(self) -> Any:
        for detector in self.detectors:
            if detector.available:
                return detector
        return self.detectors[-1]  # which says what it lacks

    @property
    def looks(self) -> bool:
        """Whether the detector that is used does."""
        return self._chosen.looks

    @property
    def identity(self) -> str:
        """That of the detector that is used."""
        return self._chosen.identity

    def locate(self, image: Image.Image, box: Box | None = None) -> Located | None:
        """Return what the detector finds."""
        return self._chosen.locate(image, box)


def choose_face(boxes: np.ndarray, points: np.ndarray, box: Box | None) -> Located | None:
    """Return the face that overlaps a given box most, or the largest.

    Args:
        boxes: (N, 4), x0, y0, x1, y1.
        points: (N, 5, 2).
        box: None takes the largest; otherwise a face outside it is not the one that is meant.

    Example:
        >>> boxes = np.array([[0, 0, 4, 4], [5, 5, 7, 7]], float)
        >>> points = np.arange(20, dtype=float).reshape(2, 5, 2)
        >>> choose_face(boxes, points, (5, 5, 8, 8)).points[0]
        (10.0, 11.0)
    """
    if len(boxes) == 0:
        return None
    x0, y0, x1, y1 = boxes.T
    if box is None:
        scores = (x1 - x0) * (y1 - y0)
    else:
        width = np.minimum(x1, box[2]) - np.maximum(x0, box[0])
        height = np.minimum(y1, box[3]) - np.maximum(y0, box[1])
        scores = width.clip(0) * height.clip(0)
    best = int(scores.argmax())
    if scores[best] <= 0:
        return None
    return Located(
        tuple((float(x), float(y)) for x, y in points[best]),
        tuple(float(edge) for edge in boxes[best]),
    )


def _numbers(values: Any) -> np.ndarray:
    return np.array(values.tolist(), dtype=float)


def _optional(module: str, package: str) -> ModuleType:
    """Import what only real photographs need.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"Finding faces needs {package}, which is not installed ({error}): pip install "
            f"{package}, or give 'landmarks' in the annotations."
        ) from None
