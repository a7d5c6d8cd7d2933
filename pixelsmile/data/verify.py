"""Decode every image of a set once, in parallel, and remember which are whole."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pixelsmile.data.faults import BadItemError, Faults, shown
from pixelsmile.data.memory import FileMemory
from pixelsmile.data.samples import Sample, open_image
from pixelsmile.errors import UserError
from pixelsmile.progress import Advance, progress
from pixelsmile.workers import available, run_parallel

VERSION = 2
"""Raised when images are decoded differently."""

_CHUNK = 16
_WORTH_PROCESSES = 128
"""Images from which on it pays to start processes."""

_HALF = 0.5
_MIN_POINTS = 3


class Verdict(NamedTuple):
    """What decoding an image said: its size in pixels, or why it cannot be read."""

    size: tuple[int, int] | None
    error: str | None


@dataclass(frozen=True)
class Verifier:
    """Decodes images to see whether they are whole.

    Verdicts are remembered on disk, see `FileMemory`, so that a second look at 60,000 images takes
    seconds.

    Attributes:
        folder: Receives `verified.json`.
        workers: Processes; `auto` is one per core.
    """

    folder: str | Path
    workers: int | str = "auto"

    def __call__(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Verdict]]:
        """Yield each path with its verdict: known ones first, then new ones as they come."""
        memory = FileMemory(_look, Path(self.folder) / "verified.json")
        pending = []
        for path in dict.fromkeys(paths):
            verdict = _verdict(memory.recall(path))
            if verdict is None:
                pending.append(path)
            else:
                yield path, verdict
        if pending:
            with progress("Checking images", len(pending)) as advance:
                yield from self._decode(pending, memory, advance)

    def _decode(
        self, paths: Sequence[Path], memory: FileMemory, advance: Advance
    ) -> Iterator[tuple[Path, Verdict]]:
        chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
        workers = num_workers(self.workers) if len(paths) >= _WORTH_PROCESSES else 1
        try:
            with closing(run_parallel(_look_at_all, chunks, workers)) as finished:
                for chunk, answers in finished:
                    for path, answer in zip(chunk, answers, strict=True):
                        with suppress(OSError):  # gone since
                            memory.note(path, answer)
                    advance(len(chunk))
                    for path, answer in zip(chunk, answers, strict=True):
                        verdict = _verdict(answer)
                        assert verdict is not None
                        yield path, verdict
        finally:
            memory.save()


def num_workers(value: int | str) -> int:
    """Return the number of processes that a config asks for.

    Raises:
        UserError: If it is neither `auto` nor a number from 1 up.
    """
    if value == "auto":
        return available()
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"data.workers={value}: give a number from 1 up, or auto.")
    return value


def _look(path: Path) -> str:
    """Decode an image and return the verdict as JSON."""
    try:
        verdict = Verdict(open_image(path).size, None)
    except UserError as error:
        verdict = Verdict(None, str(error))
    return json.dumps([VERSION, *verdict])


def _look_at_all(paths: Sequence[Path], check: Callable[[], None]) -> list[str]:
    answers = []
    for path in paths:
        check()
        answers.append(_look(path))
    return answers


def _verdict(answer: str | None) -> Verdict | None:
    """Return what `_look` said, or None where nothing is known or another version said it."""
    try:
        version, size, error = json.loads(answer or "")
        return Verdict(size and tuple(size), error) if version == VERSION else None
    except (ValueError, TypeError):
        return None


def bad_images(samples: Sequence[Sample], verifier: Verifier | None, faults: Faults) -> set[Path]:
    """Return the images that cannot be used, or that do not hold the face they should.

    Args:
        samples: Whose images to look at.
        verifier: Decodes them; None trusts them.
        faults: Receives them; where they stop the reading this raises at the first.
    """
    if verifier is None:
        return set()
    by_path: dict[Path, list[Sample]] = {}
    for sample in samples:
        by_path.setdefault(sample.image, []).append(sample)
    bad = set()
    for path, verdict in verifier(by_path):
        texts = [("file", verdict.error)] if verdict.error else []
        if verdict.size:
            texts = [("box", text) for s in by_path[path] if (text := outside(s, *verdict.size))]
        if texts:
            bad.add(path)
            faults.add(BadItemError(*texts[0]))
    return bad


def outside(sample: Sample, width: int, height: int) -> str | None:
    """Say that most of a face lies outside of its image, if it does."""
    if sample.box is not None and not mostly_inside(sample.box, width, height):
        what = f"box {shown([round(x) for x in sample.box])} lies"
    elif (
        sample.landmarks is not None
        and sum(0 <= x <= width and 0 <= y <= height for x, y in sample.landmarks) < _MIN_POINTS
    ):
        what = "landmarks lie"
    else:
        return None
    return (
        f"Image {sample.image} is {width} x {height}, and its {what} outside: correct or "
        "remove its line in the annotations."
    )


def mostly_inside(box: Sequence[float], width: int, height: int) -> bool:
    """Tell whether a box holds a face of its image."""
    return share_inside(box, width, height) >= _HALF


def share_inside(box: Sequence[float], width: int, height: int) -> float:
    """Return the share of a box's area that lies inside its image.

    Example:
        >>> share_inside((-5, 0, 5, 10), 100, 100)
        0.5
    """
    x0, y0, x1, y1 = box
    inner_width = min(x1, width) - max(x0, 0)
    inner_height = min(y1, height) - max(y0, 0)
    return max(inner_width, 0) * max(inner_height, 0) / ((x1 - x0) * (y1 - y0))
