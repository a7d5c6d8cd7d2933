"""Edit many pictures, write every result whole, and go on where an earlier run was stopped.

The results of one image are a folder: one PNG for each direction and level, a grid, and sweeps that
move. What each was made with stands in the file itself, and decides whether it is made again.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pixelsmile
from pixelsmile.editing.editor import ExpressionEditor
from pixelsmile.editing.faces import Face, find_face
from pixelsmile.editing.facts import known_facts, write_png
from pixelsmile.editing.framing import Crop, edit_size
from pixelsmile.editing.levels import Levels, Reached, Scene
from pixelsmile.editing.pasting import face_mask, paste, rim_mask
from pixelsmile.editing.plans import Job, Shot, alone_in
from pixelsmile.editing.reading import Picture, read_digest, read_picture
from pixelsmile.editing.requests import Mix
from pixelsmile.editing.settings import Settings
from pixelsmile.editing.summary import write_grid, write_sweep
from pixelsmile.editing.target import UnreachableError
from pixelsmile.errors import UserError
from pixelsmile.models.detectors import Detector
from pixelsmile.pictures import to_pictures

Advance = Callable[[int], None]
Say = Callable[[str], None]


class Batch:
    """Edits of pictures in the same directions, at the same levels.

    Args:
        load: Loads the editor, once, when the first picture needs it.
        detector: Of faces.
        settings: How to edit and write.
        mixes: Directions.
        levels: Levels of each.
        model: What identifies the model, see `model_facts`.
        edge: Of the square that the model was made for.
        say: Receives sentences for the user.
    """

    def __init__(
        self,
        load: Callable[[], ExpressionEditor],
        detector: Detector,
        settings: Settings,
        mixes: Sequence[Mix],
        levels: Levels,
        *,
        model: Mapping[str, Any],
        edge: int,
        say: Say,
    ) -> None:
        self.load = load
        self.detector = detector
        self.settings = settings
        self.mixes = tuple(mixes)
        self.levels = levels
        self.model = dict(model)
        self.edge = edge
        self.say = say

    @cached_property
    def editor(self) -> ExpressionEditor:
        """The editor."""
        return self.load()

    # ---- what there is to do ----------------------------------------------------------------

    def plan(self, image: Path, folder: Path) -> Job:
        """Return what of an image is asked for, and what of it is missing.

        A direction is rendered as a whole: the same call gives the same bytes, whatever was there.

        Raises:
            UserError: If the image cannot be read, or a result is there that must not be replaced.
        """
        common = {"image_sha256": read_digest(image), **self.model, **self.settings.facts()}
        rows, missing = [], []
        for mix in self.mixes:
            shots = tuple(
                Shot(
                    folder / f"{mix.name}_{level.name}.png",
                    mix,
                    level,
                    {**common, "weights": dict(mix.weights), **level.asked},
                )
                for level in self.levels.of(mix)
            )
            rows.append(shots)
            missing.append(self._is_missing(shots))
        return Job(image, folder, tuple(rows), tuple(missing))

    def _is_missing(self, shots: Sequence[Shot]) -> bool:
        if self.settings.skip_existing:
            return not all([shot.is_there() for shot in shots])  # a list: look at every one
        for shot in shots:
            if shot.path.exists() and known_facts(shot.path) is None:
                shot.is_there()  # refuses what is not ours
        return True

    # ---- doing it ---------------------------------------------------------------------------

    def run(self, job: Job, advance: Advance) -> int:
        """Make what is missing of one image; return the number of pictures written.

        Args:
            job: From `plan`.
            advance: Is told how many more pictures are finished.

        Raises:
            UserError: If the image cannot be edited, another process works in its folder, or a
                target was out of reach in some direction; the others are made then.
        """
        job.folder.mkdir(parents=True, exist_ok=True)
        unreached: list[str] = []
        try:
            with alone_in(job.folder):
                written = self._pictures(job, advance, unreached) if any(job.missing) else 0
                self._summaries(job)
        except UserError:
            if not any(job.folder.iterdir()):
                job.folder.rmdir()
            raise
        if unreached:
            raise UserError(" ".join(unreached))
        return written

    def _pictures(self, job: Job, advance: Advance, unreached: list[str]) -> int:
        picture = read_picture(job.image)
        face = self._face(picture)
        crop = self.settings.framing.crop(*picture.size, face.box)
        scene = self._scene(picture, face, crop)
        mask = (
            face_mask(crop, picture.size, face.box)
            if self.settings.keep == "background"
            else rim_mask(crop, picture.size)
        )
        written = 0
        for shots, missing in zip(job.rows, job.missing, strict=True):
            if missing:
                try:
                    written += self._row(shots, picture, scene, crop, mask, advance)
                except UnreachableError as error:  # the other directions go on
                    unreached.append(str(error))
        return written

    def _face(self, picture: Picture) -> Face:
        settings = self.settings
        if not (settings.needs_face or self.levels.needs_points):
            return Face(None)
        whole = settings.framing.mode == "whole"
        face = find_face(picture, self.detector, box=settings.box, needed=not whole)
        if face.note is not None:
            self.say(face.note)
        return face

    def _scene(self, picture: Picture, face: Face, crop: Crop) -> Scene:
        width, height = crop[2] - crop[0], crop[3] - crop[1]
        size = self.settings.size
        if not isinstance(size, tuple):
            size = edit_size(width, height, self.edge if size is None else size)
        source = self.editor.encode(picture.on_white().crop(crop), size=size)
        points = None
        if face.points is not None:
            scale = torch.tensor([size[1] / width, size[0] / height])
            points = (torch.tensor(face.points) - torch.tensor(crop[:2])) * scale
        return Scene(self.editor, source, points, self.settings.seed, self.settings.speed)

    def _row(
        self,
        shots: Sequence[Shot],
        picture: Picture,
        scene: Scene,
        crop: Crop,
        mask: np.ndarray,
        advance: Advance,
    ) -> int:
        """Render one direction and write the pictures that are not there; return their number."""
        mix = shots[0].mix
        reached = self.levels.reach(mix, scene)
        pixels = _pixels(mix, reached, scene, advance)
        written = 0
        for shot, level, edited in zip(shots, reached, to_pictures(pixels), strict=True):
            if self.settings.skip_existing and shot.path.exists():
                continue
            result = paste(picture.image, edited, crop, mask, alpha=picture.alpha)
            made = {"crop": list(crop), "size": list(scene.source.image.shape[-2:])}
            made |= {"strength": level.strength, **level.facts}
            write_png(result, shot.path, _facts(shot, picture.path.name, made))
            written += 1
        return written

    def _summaries(self, job: Job) -> None:
        """Write grid and sweeps, unless they are there and show these very pictures."""
        settings = self.settings
        whole = [row for row in job.rows if all(shot.path.exists() for shot in row)]
        rows = [[shot.path for shot in row] for row in whole]
        if settings.grid and rows:
            titles = [shot.level.label for shot in whole[0]]
            names = [row[0].mix.label for row in whole]
            write_grid(job.folder / "grid.png", job.image, rows, names, titles)
        for kind in ("gif", "mp4"):
            if getattr(settings, kind):
                for shots, row in zip(whole, rows, strict=True):
                    path = job.folder / f"{shots[0].mix.name}.{kind}"
                    write_sweep(path, row, fps=settings.fps, edge=settings.edge)


def _pixels(mix: Mix, reached: Sequence[Reached], scene: Scene, advance: Advance) -> torch.Tensor:
    """Return the edits of a direction, (N, 3, H, W) in [-1, 1]: those already made, or rendered.

    With a speed that shares work between pictures, one that is rendered again alone is another.
    """
    made = [level.pixels for level in reached if level.pixels is not None]
    if len(made) == len(reached):
        advance(len(made))
        return torch.stack(made)
    return scene.editor.render(
        scene.source,
        torch.stack([mix.row(level.strength) for level in reached]),
        seed=scene.seed,
        speed=scene.speed,
        progress=advance,
    )


def _facts(shot: Shot, name: str, made: Mapping[str, Any]) -> dict[str, Any]:
    label = shot.mix.label.replace("\n", " + ")
    return {
        "title": f"{name}: {label}, {shot.level.label}",
        "version": pixelsmile.__version__,
        "settings": dict(shot.asked),
        "made": dict(made),
    }
