"""Decode every image of a set once, in parallel, and remember which are whole."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pixelsmile.data.faults import BadItemError, Faults, shown
from pixelsmile.data.samples import Sample, open_image
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.progress import Advance, progress
from pixelsmile.workers import available, run_parallel

_CHUNK = 16
_SAVE_EVERY = 4096
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

    Verdicts are kept on disk under path, size and time of change, so that a second look at 60,000
    images takes seconds.

    Attributes:
        folder: Receives `verified.jsonl`.
        workers: Processes; `auto` is one per core.
    """

    folder: str | Path
    workers: int | str = "auto"

    def __call__(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Verdict]]:
        """Yield each path with its verdict: known ones first, then new ones as they come."""
        known = self._load()
        pending: dict[str, Path] = {}
        for path in dict.fromkeys(paths):
            key = _key(path)
            if key in known:
                yield path, known[key]
            else:
                pending[key] = path
        if pending:
            with progress("Checking images", len(pending)) as advance:
                yield from self._decode(pending, known, advance)

    def _decode(
        self, pending: dict[str, Path], known: dict[str, Verdict], advance: Advance
    ) -> Iterator[tuple[Path, Verdict]]:
        items = list(pending.items())
        chunks = [items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK)]
        workers = num_workers(self.workers) if len(items) >= _WORTH_PROCESSES else 1
        unsaved = 0
        try:
            with closing(run_parallel(_verdicts, chunks, workers)) as finished:
                for chunk, verdicts in finished:
                    known.update(zip((key for key, _ in chunk), verdicts, strict=True))
                    unsaved += len(chunk)
                    if unsaved >= _SAVE_EVERY:
                        self._save(known)
                        unsaved = 0
                    advance(len(chunk))
                    yield from zip((path for _, path in chunk), verdicts, strict=True)
        finally:
            if unsaved:
                self._save(known)

    @property
    def _ledger(self) -> Path:
        return Path(self.folder) / "verified.jsonl"

    def _load(self) -> dict[str, Verdict]:
        """Return what is known; a damaged ledger is begun anew."""
        try:
            lines = self._ledger.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            return {key: Verdict(size and tuple(size), error) for key, size, error in rows}
        except (OSError, ValueError, TypeError):
            return {}

    def _save(self, known: dict[str, Verdict]) -> None:
        with whole_file(self._ledger) as file:
            for key, verdict in known.items():
                file.write(json.dumps([key, *verdict]).encode() + b"\n")


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


def _key(path: Path) -> str:
    status = path.stat()
    return f"{os.path.realpath(path)}:{status.st_size}:{status.st_mtime_ns}"


def _verdicts(chunk: Sequence[tuple[str, Path]], check: Callable[[], None]) -> list[Verdict]:
    verdicts = []
    for _, path in chunk:
        check()
        try:
            verdicts.append(Verdict(open_image(path).size, None))
        except UserError as error:
            verdicts.append(Verdict(None, str(error)))
    return verdicts


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
            texts = [("box", text) for s in by_path[path] if (text := _outside(s, *verdict.size))]
        if texts:
            bad.add(path)
            faults.add(BadItemError(*texts[0]))
    return bad


def _outside(sample: Sample, width: int, height: int) -> str | None:
    """Say that most of a face lies outside of its image, if it does."""
    if sample.box is not None and share_inside(sample.box, width, height) < _HALF:
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
