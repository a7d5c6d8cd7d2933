"""Open faces, render mixes and read the pictures: the only part of the app that knows the models.

Shapes: N pictures, 12 expressions, M recognisers, D embedding.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from pixelsmile.editing.calibration import Calibration
from pixelsmile.editing.framing import Framing, edit_size
from pixelsmile.errors import UserError
from pixelsmile.expressions import DOMAINS, EXPRESSIONS
from pixelsmile.models.detectors import Detector, Located, Points
from pixelsmile.pictures import to_uint8
from pixelsmile.studio.results import Face, Picture, Reading, Settings, Weights

Advance = Callable[[int], None]
SPEEDS = ("exact", "fast")

NO_FACE = (
    "No face was found in {name}: it can be edited, but identity is not read. Choose a picture "
    "that shows one face from the front."
)


class Scorer(Protocol):
    """What the engine needs of `pixelsmile.scoring.FaceScorer`."""

    def expressions(self, images: Tensor) -> Tensor:
        """Return scores, (N, 12), in [0, 1]; images (N, 3, H, W) in [-1, 1]."""
        ...

    def identities(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Return embeddings, (M, N, D); landmarks (N, 5, 2) in pixels."""
        ...


class Editor(Protocol):
    """What the engine needs of `pixelsmile.editing.editor.ExpressionEditor`."""

    @property
    def identity(self) -> str:
        """A hash of model and LoRA weights."""
        ...

    @property
    def image_size(self) -> int:
        """Edge of a square edit in pixels."""
        ...

    def encode(self, image: Image.Image, size: tuple[int, int]) -> Any:
        """Return a source, whose `image` is (3, H, W) in [-1, 1]; size is (H, W)."""
        ...

    def render(
        self,
        source: Any,
        weights: Tensor,
        *,
        seed: int,
        speed: str,
        progress: Advance | None,
    ) -> Tensor:
        """Return pictures, (N, 3, H, W) in [-1, 1], one per row of weights, (N, 12)."""
        ...


class Engine:
    """Editors by domain, the scorer, and what they do for the app.

    One thread at a time: the page's queue sees to that.

    Args:
        editors: Makes the editor of a domain; called when it is first needed.
        scorer: Reads pictures; None shows them without a reading.
        detectors: By domain, for the face of an upload.
        calibrations: By domain, for perceived intensity, as far as there are any.
        facts: What the settings of a download say about the model.
        kept: How many editors stay loaded; 1 where two would not fit.
        framings: By domain, which part of an upload is edited; `Framing()` where none is named.
    """

    def __init__(
        self,
        editors: Callable[[str], Editor],
        scorer: Scorer | None,
        detectors: Mapping[str, Detector],
        *,
        calibrations: Mapping[str, Calibration] | None = None,
        facts: Mapping[str, Any] | None = None,
        kept: int = 2,
        framings: Mapping[str, Framing] | None = None,
    ) -> None:
        self._make = editors
        self._loaded: OrderedDict[str, Editor] = OrderedDict()
        self._kept = kept
        self.framings = dict(framings or {})
        self.scorer = scorer
        self.detectors = detectors
        self.calibrations = dict(calibrations or {})
        self.facts = dict(facts or {})

    def editor(self, domain: str) -> Editor:
        """Return the editor of a domain; the one that waited longest makes room for a new one.

        Raises:
            UserError: If there is no such domain, or its weights are missing.
        """
        if domain not in DOMAINS:
            raise UserError(f"Unknown domain {domain!r}: choose one of {', '.join(DOMAINS)}.")
        if domain not in self._loaded:
            while len(self._loaded) >= self._kept:
                self._loaded.popitem(last=False)
            self._loaded[domain] = self._make(domain)
        self._loaded.move_to_end(domain)
        return self._loaded[domain]

    def model(self, domain: str) -> dict[str, Any]:
        """Return what rendered a picture, for its settings."""
        lora = self.facts.get("lora") or {}
        return {**self.facts, "lora": lora.get(domain), "weights": self.editor(domain).identity}

    def open(
        self, image: Image.Image, domain: str, name: str, *, points: Points | None = None
    ) -> Face:
        """Encode a picture once and look who is in it.

        Args:
            image: RGB, any shape; of a large picture, the part around the face is used.
            domain: `human` or `anime`.
            name: For people.
            points: Five points in pixels, where they are known; otherwise they are looked for.

        Raises:
            UserError: If the domain is unknown, or the picture is too long a strip.
        """
        editor = self.editor(domain)
        found, note = self._find(image, domain, name) if points is None else (None, "")
        framing = self.framings.get(domain, Framing())
        crop = framing.crop(*image.size, None if found is None else found.box)
        part = image.crop(crop)
        source = editor.encode(part, edit_size(*part.size, editor.image_size))
        pixels = source.image[None].float().cpu()
        where = points if found is None else found.points
        landmarks = embeddings = reading = None
        if where is not None:
            scale = torch.tensor(pixels.shape[:1:-1]) / torch.tensor(part.size)
            landmarks = (torch.tensor(where) - torch.tensor(crop[:2])) * scale
        if self.scorer is not None:
            if landmarks is not None:
                embeddings = self.scorer.identities(pixels, landmarks[None])
            (scores,) = self.scorer.expressions(pixels).tolist()
            reading = Reading(tuple(scores), None if embeddings is None else 1.0)
        shown = Image.fromarray(to_uint8(pixels)[0])
        return Face(
            name, domain, image, shown, source, landmarks, points, embeddings, note, reading
        )

    def reopen(self, face: Face, domain: str) -> Face:
        """Open a face anew, with the prompts and the LoRA of another domain."""
        return self.open(face.original, domain, face.name, points=face.given)

    def render(
        self,
        face: Face,
        rows: Sequence[Weights],
        labels: Sequence[str],
        settings: Settings,
        progress: Advance | None = None,
    ) -> tuple[Picture, ...]:
        """Render rows of weights, N x 12, and read each picture.

        Args:
            face: From `open`.
            rows: One mix a picture.
            labels: One a picture.
            settings: Seed and speed; its weights are not looked at.
            progress: Told how many more pictures are finished.

        Raises:
            UserError: If the speed is unknown.
        """
        if settings.speed not in SPEEDS:
            raise UserError(f"Unknown speed {settings.speed!r}: choose one of {', '.join(SPEEDS)}.")
        strengths = rows
        if settings.perceived:
            strengths = [self._strengths(face.domain, row) for row in rows]
        pixels = self.editor(face.domain).render(
            face.source,
            torch.tensor(strengths),
            seed=settings.seed,
            speed=settings.speed,
            progress=progress,
        )
        pixels = pixels.float().cpu()
        images = [Image.fromarray(array) for array in to_uint8(pixels)]
        readings = self._read(face, pixels)
        return tuple(map(Picture, images, rows, labels, strengths, readings))

    def _strengths(self, domain: str, intensities: Weights) -> Weights:
        """Return the strengths at which a judge reads these intensities, each on its own.

        Raises:
            UserError: If nobody has measured the domain, or an intensity lies outside [0, 1].
        """
        if domain not in self.calibrations:
            raise UserError(
                f"Perceived intensity was not measured for {domain}: run "
                f"`python -m pixelsmile.calibrate domain={domain} lora=...`, or use strengths."
            )
        calibration = self.calibrations[domain]
        return tuple(
            calibration.strength(name, intensity) if intensity else 0.0
            for name, intensity in zip(EXPRESSIONS, intensities, strict=True)
        )

    def _find(self, image: Image.Image, domain: str, name: str) -> tuple[Located | None, str]:
        try:
            found = self.detectors[domain].locate(image)
        except UserError as error:  # the detector lacks something; editing does not need it
            return None, f"Identity is not read. {error}"
        return found, "" if found is not None else NO_FACE.format(name=name)

    def _read(self, face: Face, pixels: Tensor) -> list[Reading | None]:
        """Return one reading a picture; pixels (N, 3, H, W) in [-1, 1]."""
        if self.scorer is None:
            return [None] * len(pixels)
        scores = self.scorer.expressions(pixels).tolist()
        identities: list[float | None] = [None] * len(pixels)
        if face.landmarks is not None and face.embeddings is not None:
            # The edit moves the mouth, not the head: the source's points hold, as in validation.
            landmarks = face.landmarks.expand(len(pixels), -1, -1)
            edited = self.scorer.identities(pixels, landmarks)  # M x N x D
            identities = torch.cosine_similarity(face.embeddings, edited, dim=-1).mean(0).tolist()
        return [
            Reading(tuple(row), identity) for row, identity in zip(scores, identities, strict=True)
        ]
