"""Who makes the edits: an adapter, the base model, or a folder that another tool has filled.

An editor is asked for all strengths of one task at once and answers with the bytes of PNG files,
None where it has none, `Unreadable` where it has something that is no image. It also says which
image it edited, because recognisers compare with that.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from omegaconf import DictConfig
from PIL import Image

from pixelsmile.bench.tasks import Task, safe_name
from pixelsmile.data.crops import Resize
from pixelsmile.data.decoding import seen
from pixelsmile.data.faults import BadItemError
from pixelsmile.data.samples import open_image, readable
from pixelsmile.data.squares import load_picture, place
from pixelsmile.editing import ExpressionEditor
from pixelsmile.errors import UserError
from pixelsmile.expressions import ALIASES, EXPRESSIONS, canonical, index
from pixelsmile.pictures import to_uint8

Point = tuple[float, float]
_FIELDS = ("id", "expression", "strength")
_SHOWN = 5


@dataclass(frozen=True)
class Unreadable:
    """Stands for an edit whose file is no whole image."""

    reason: str


Edited = bytes | Unreadable | None


class Editor(Protocol):
    """Anything that has edits for tasks."""

    label: str
    """What reports call it."""

    graded: bool
    """Whether it knows strengths; without, only general editing can be measured."""

    def describe(self) -> dict[str, Any]:
        """Return what its edits depend on, beside tasks and protocol."""
        ...

    def source(self, task: Task) -> tuple[Image.Image, list[Point]]:
        """Return the image that is edited, and the corners of box and landmarks in its pixels."""
        ...

    def edits(self, task: Task, strengths: Sequence[float], seed: int) -> Sequence[Edited]:
        """Return one PNG file a strength, None where there is none."""
        ...


class ModelEditor:
    """The editor of this project, with an adapter or without.

    Args:
        config: With `model` and `domain`.
        label: What reports call it.
        lora: File or folder of the adapter; None is the zero-shot base.
        resize: How images become square: `direct`, `padding` or `crop`.
        speed: `exact` or `fast`.
        device: None takes a GPU if there is one.
        batch_size: Pictures that go through a network together; None chooses.
    """

    graded = True

    def __init__(
        self,
        config: DictConfig,
        *,
        label: str = "adapter",
        lora: str | None = None,
        resize: str = "direct",
        speed: str = "exact",
        device: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.editor = ExpressionEditor.from_config(
            config, lora=lora, device=device, batch_size=batch_size
        )
        self.label, self.lora = label, lora
        self.resize, self.speed = Resize(resize), speed
        self.steps = config.model.num_steps

    def describe(self) -> dict[str, Any]:
        """Return weights and sampler."""
        return {
            "kind": "base" if self.lora is None else "adapter",
            "lora": self.lora,
            "weights": self.editor.identity,
            "size": self.editor.image_size,
            "steps": self.steps,
            "resize": self.resize.mode,
            "speed": self.speed,
        }

    def source(self, task: Task) -> tuple[Image.Image, list[Point]]:
        """Return the square image."""
        size = self.editor.image_size
        picture = load_picture(task.sample(), size, self.resize)
        placed = place(task.sample(), size, self.resize)
        return picture, placed.points(points_of(task))

    def edits(self, task: Task, strengths: Sequence[float], seed: int) -> list[bytes]:
        """Edit a face at every strength."""
        picture, _ = self.source(task)
        weights = torch.zeros(len(strengths), len(EXPRESSIONS))
        weights[:, index(task.expression)] = torch.tensor(list(strengths))
        images = self.editor.render(
            self.editor.encode(picture), weights, seed=seed, speed=self.speed
        )
        return [png_bytes(Image.fromarray(pixels)) for pixels in to_uint8(images)]


class FolderEditor:
    """Images that another tool has made of the same tasks.

    Args:
        config: Not needed here; every editor is made with it.
        folder: Where they are.
        pattern: Their paths below it, with `{id}`, `{expression}` and, if the tool knows it,
            `{strength}`. Aliases of expressions and any spelling of a number are understood: 0.5,
            0.50, and 0.33 for a third.
        label: What reports call the tool.

    Raises:
        UserError: If the folder is missing, or the pattern cannot tell tasks apart.
    """

    def __init__(
        self, config: DictConfig, *, folder: str | Path | None, pattern: str, label: str = "folder"
    ) -> None:
        if folder is None:
            raise UserError("editor=folder needs dir=<folder of images>.")
        self.label, self.folder, self.pattern = label, Path(folder), pattern
        if not self.folder.is_dir():
            raise UserError(f"No folder {self.folder}: set dir= to the folder of the edits.")
        self.expression = pattern_expression(pattern)
        self.graded = "{strength}" in pattern
        self.files = [
            path.relative_to(self.folder).as_posix()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        ]
        self.found: dict[tuple[str, str], dict[str, str]] = {}
        self.strangers: list[str] = []
        for name in self.files:
            self._file(name)
        if not self.found:
            example = self.files[0] if self.files else "nothing"
            raise UserError(
                f"No file below {self.folder} matches pattern={pattern} (first of "
                f"{len(self.files)}: {example}): adapt the pattern to the names."
            )

    def _file(self, name: str) -> None:
        match = self.expression.fullmatch(name)
        if match is None:
            self.strangers.append(name)
            return
        words = match.groupdict()
        face = (safe_name(words["id"]), canonical(words["expression"]))
        strength = words.get("strength") or ""
        same = self.found.setdefault(face, {})
        for other, file in same.items():
            if not strength or float(other) == float(strength):
                raise UserError(
                    f"{file} and {name} in {self.folder} are the same edit: remove one of them."
                )
        same[strength] = name

    def describe(self) -> dict[str, Any]:
        """Return where the images come from."""
        return {"kind": "folder", "dir": str(self.folder), "pattern": self.pattern}

    def source(self, task: Task) -> tuple[Image.Image, list[Point]]:
        """Return the image of the task as it is."""
        return open_image(task.image), points_of(task)

    def edits(self, task: Task, strengths: Sequence[float], seed: int) -> list[Edited]:
        """Read the images of a task."""
        files = self.found.get((task.id, task.expression), {})
        return [self._read(files, strength) for strength in strengths]

    def belong_to_none(self, tasks: Sequence[Task]) -> list[str]:
        """Return the files that are no edit of a task, by name."""
        asked = {(task.id, task.expression) for task in tasks}
        others = [
            file for face, same in self.found.items() if face not in asked for file in same.values()
        ]
        return sorted([*self.strangers, *others])

    def _read(self, files: dict[str, str], strength: float) -> Edited:
        names = [name for text, name in files.items() if not text or is_rounded(text, strength)]
        if not names:
            return None
        if len(names) > 1:
            raise UserError(
                f"{names[0]} and {names[1]} in {self.folder} both stand for strength {strength}: "
                "remove one of them."
            )
        path = self.folder / names[0]
        try:
            with readable(path, broken="make it again.") as image:
                image.load()
                kind, picture = image.format, seen(image)
        except BadItemError as error:
            return Unreadable(str(error))
        return path.read_bytes() if kind == "PNG" else png_bytes(picture)


def points_of(task: Task) -> list[Point]:
    """Return the corners of the box and the landmarks of a task, whatever there is of them."""
    corners = [] if task.box is None else [(task.box[0], task.box[1]), (task.box[2], task.box[3])]
    return [*corners, *(task.landmarks or ())]


def png_bytes(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def is_rounded(text: str, strength: float) -> bool:
    """Tell whether a number in a file name is a strength, to as many digits as it has.

    Example:
        >>> is_rounded("0.33", 1 / 3), is_rounded("0.5", 0.55), is_rounded("1", 1.0)
        (True, False, True)
    """
    decimals = len(text.partition(".")[2])
    if decimals < 2 and round(strength, decimals) != strength:
        return False  # 0.5 must not stand for 0.51
    return round(strength, decimals) == float(text)


def pattern_expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern of file names.

    Raises:
        UserError: If a field is unknown, missing or there twice.

    Example:
        >>> pattern_expression("{id}_{expression}_{strength}.png").fullmatch(
        ...     "a_b_Fear_0.50.png"
        ... ).groups()
        ('a_b', 'Fear', '0.50')
    """
    parts = re.split(r"\{([^{}]*)\}", pattern)
    fields = parts[1::2]
    unknown = [field for field in fields if field not in _FIELDS]
    twice = len(set(fields)) < len(fields)
    missing = [field for field in _FIELDS[:2] if field not in fields]
    if unknown or twice or missing:
        what = f"has no {{{missing[0]}}}" if missing else "names a field twice"
        what = f"has the unknown field {{{unknown[0]}}}" if unknown else what
        raise UserError(
            f"pattern={pattern} {what}: write {{id}}, {{expression}} and, if the names hold it, "
            "{strength}, each once."
        )
    words = "|".join(sorted({*EXPRESSIONS, *ALIASES}, key=len, reverse=True))
    groups = {
        "id": r"(?P<id>[^/]+?)",
        "expression": f"(?P<expression>(?i:{words}))",
        "strength": r"(?P<strength>\d+(?:\.\d+)?)",
    }
    pieces = [groups[part] if place % 2 else re.escape(part) for place, part in enumerate(parts)]
    return re.compile("".join(pieces))
