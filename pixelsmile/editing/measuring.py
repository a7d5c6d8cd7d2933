"""What a judge reads in edits of many people, remembered for the next start.

Shapes: N people, K expressions, S strengths.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pixelsmile.data.cache import content_key
from pixelsmile.data.crops import DIRECT, Resize
from pixelsmile.data.memory import file_digest
from pixelsmile.data.samples import Sample
from pixelsmile.data.squares import geometry, load_picture
from pixelsmile.editing.editor import ExpressionEditor
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.files import whole_file
from pixelsmile.progress import progress


class Judge(Protocol):
    """Scores the twelve expressions of faces."""

    def score(self, images: Tensor) -> Tensor:
        """Return (B, 12), in [0, 1], for images (B, 3, H, W) in [-1, 1]."""
        ...


@dataclass(frozen=True)
class CurveReader:
    """Edit people into every expression at some strengths, and read each edit.

    Attributes:
        editor: Makes the edits.
        judge: Reads them.
        judge_identity: Hash of its weights and settings.
        folder: Where readings are remembered, a small file a person.
        seed: Of the noise, the same for all edits, as in `edit`.
        speed: As in `editor.render`.
        resize: How images become square.
    """

    editor: ExpressionEditor
    judge: Judge
    judge_identity: str
    folder: Path
    seed: int = 0
    speed: str = "exact"
    resize: Resize = DIRECT

    def read(self, people: Sequence[Sample], strengths: np.ndarray, title: str) -> np.ndarray:
        """Return the scores of the expressions that were asked for, (N, 12, S).

        A person who was read before, in this or a stopped run, is not edited again.

        Args:
            people: One neutral image each.
            strengths: (12, S), a row an expression.
            title: Of the progress bar.

        Raises:
            UserError: If an image cannot be read.
        """
        keys = [self._key(person, strengths) for person in people]
        known = [self._recall(key, strengths.shape) for key in keys]
        total = len(people) * strengths.size
        done = sum(strengths.size for scores in known if scores is not None)
        with progress(title, total, done=done) as advance:
            for row, person in enumerate(people):
                if known[row] is None:
                    known[row] = self._measure(person, strengths, advance)
                    with whole_file(self._file(keys[row])) as file:
                        file.write(json.dumps(known[row].tolist()).encode())  # pyright: ignore
        return np.array(known)

    def _measure(
        self, person: Sample, strengths: np.ndarray, advance: Callable[[int], None]
    ) -> np.ndarray:
        """Return the scores of one person, (12, S)."""
        editor = self.editor
        source = editor.encode(load_picture(person, editor.image_size, self.resize))
        steps = torch.from_numpy(strengths).float()
        weights = torch.eye(len(EXPRESSIONS))[:, None] * steps[..., None]  # 12 x S x 12
        images = editor.render(
            source, weights.flatten(0, 1), seed=self.seed, speed=self.speed, progress=advance
        )
        scores = self.judge.score(images.to(editor.device)).unflatten(0, steps.shape).cpu()
        return scores.diagonal(dim1=0, dim2=2).T.double().numpy()

    def _key(self, person: Sample, strengths: np.ndarray) -> str:
        editor = self.editor
        text = editor.text_encoder
        return content_key(
            (editor.identity, editor.domain, editor.num_steps, editor.image_size),
            (text.size, text.stock_positions),
            (self.judge_identity, self.seed, self.speed),
            (file_digest(person.image), geometry(person, self.resize)),
            strengths.tolist(),
        )

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _recall(self, key: str, shape: tuple[int, ...]) -> np.ndarray | None:
        try:
            scores = np.array(json.loads(self._file(key).read_text()), dtype=float)
        except (OSError, ValueError):
            return None
        return scores if scores.shape == shape else None
