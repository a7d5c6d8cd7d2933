"""The folder of one evaluation: what is where, and for which settings."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pixelsmile.bench.protocol import edit_name
from pixelsmile.bench.tasks import Task, read_tasks
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.runs import locked

Record = dict[str, Any]

_HALF = ".*." + "[0-9a-f]" * 8
"""Names of unfinished files, see `pixelsmile.files`."""

_FIXED = ("domain", "tasks", "protocol", "editor")
"""Settings that the edits depend on: a folder holds the edits of one set of them."""


@dataclass(frozen=True)
class BenchFolder:
    """Paths of an evaluation, and what it was made with.

    Attributes:
        path: The folder.
        record: `run.json`: domain, tasks, protocol, editor, judge, recognisers, landmarks, label.
        tasks: As they are kept in the folder: images and points as the editor saw them.
    """

    path: Path
    record: Record
    tasks: tuple[Task, ...] = field(default=())

    @property
    def judge_ledger(self) -> Path:
        """Where the judge's answers are."""
        return self.path / "judge.jsonl"

    @property
    def landmarks(self) -> Path:
        """Where the five points of every face are."""
        return self.path / "identity" / "landmarks.jsonl"

    @property
    def unreadable(self) -> Path:
        """Where those edits of another tool are named that are no whole images."""
        return self.path / "unreadable.json"

    def recogniser(self, name: str) -> Path:
        """Return where the cosines of one recogniser are."""
        return self.path / "identity" / f"{name}.jsonl"

    def edit(self, task: str, strength: float) -> Path:
        """Return where an edit is."""
        return self.path / "edits" / edit_name(task, strength)

    @property
    def strengths(self) -> tuple[float, ...]:
        """All strengths of the run."""
        protocol = self.record["protocol"]
        return tuple(sorted({*protocol["linear"], protocol["strength"]}))

    def edits(self) -> Iterator[tuple[Task, float, Path]]:
        """Yield every edit that should be there, in order."""
        for task in self.tasks:
            for strength in self.strengths:
                yield task, strength, self.edit(task.name, strength)


@contextmanager
def open_folder(path: Path, record: Record) -> Iterator[BenchFolder]:
    """Begin an evaluation or go on with one of the same settings.

    Raises:
        UserError: If the folder holds the edits of other settings, or another process is at it.
    """
    path.mkdir(parents=True, exist_ok=True)
    with locked(path, "used"):
        before = read_record(path)
        if before is not None:
            _refuse_other(path, before, record)
        for leftover in path.rglob(_HALF):  # files that a kill has left half written
            leftover.unlink()
        with whole_file(path / "run.json") as file:
            file.write(json.dumps(record, indent=2).encode())
        yield BenchFolder(path, record)


def existing_folder(path: str | Path | None) -> BenchFolder:
    """Return the evaluation in a folder, for reports.

    Raises:
        UserError: If there is none.
    """
    if path is None:
        raise UserError("Which evaluation? Give its folder: dir=<folder>.")
    path = Path(path)
    record = read_record(path)
    if record is None or not (path / "tasks.jsonl").is_file():
        raise UserError(f"{path} holds no evaluation: give the folder of one, see runs/evaluate.")
    tasks = read_tasks(path / "tasks.jsonl", domain=record["domain"])
    return BenchFolder(path, record, tuple(tasks))


def read_record(path: Path) -> Record | None:
    """Return `run.json` of a folder, or None where there is none that is whole."""
    try:
        record = json.loads((path / "run.json").read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def keep_tasks(folder: BenchFolder, tasks: list[Task], sources: Mapping[str, Any]) -> BenchFolder:
    """Write the tasks as the editor saw them, and return the folder with those.

    Args:
        folder: Open.
        tasks: As they were read.
        sources: By task, the bytes of its image and its points there, as `Editor.source` gives
            them: corners of the box first.
    """
    rows = []
    seen: dict[str, bytes] = {}
    for task in tasks:
        data, points = sources[task.name]
        if seen.setdefault(task.id, data) != data:
            raise UserError(
                f"The tasks of {task.id} have different boxes, so their sources are cropped "
                "differently: give the lines an 'id' each, or say editor.resize=direct."
            )
        image = folder.path / "sources" / f"{task.id}.png"
        if not image.is_file() or image.read_bytes() != data:
            with whole_file(image) as file:
                file.write(data)
        corners, landmarks = (points[:2], points[2:]) if task.box is not None else ([], points)
        kept: Record = {
            "image": f"sources/{image.name}",
            "id": task.id,
            "category": task.expression,
            "prompt": task.prompt,
            "domain": task.domain,
            "origin": str(task.image),
            "origin_sha256": task.digest,
        }
        if corners:
            kept["box"] = [value for corner in corners for value in corner]
        if landmarks:
            kept["landmarks"] = [list(point) for point in landmarks]
        rows.append(kept)
    file = folder.path / "tasks.jsonl"
    with whole_file(file) as out:
        out.write("".join(json.dumps(row) + "\n" for row in rows).encode())
    kept_tasks = read_tasks(file, domain=folder.record["domain"])
    return replace(folder, tasks=tuple(kept_tasks))


def keep_unreadable(folder: BenchFolder, reasons: Mapping[str, str]) -> None:
    """Keep which edits could not be read, so that a report made again does not call them missing.

    Args:
        folder: Open.
        reasons: By name of the edit; those of an earlier start are forgotten.
    """
    if reasons:
        with whole_file(folder.unreadable) as file:
            file.write(json.dumps(reasons, indent=2).encode())
    else:
        folder.unreadable.unlink(missing_ok=True)


def unreadable_edits(folder: BenchFolder) -> dict[str, str]:
    """Return what `keep_unreadable` has kept.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        return dict(json.loads(folder.unreadable.read_text()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError):
        raise UserError(
            f"{folder.unreadable} is damaged: delete it and run the evaluation again."
        ) from None


def _refuse_other(path: Path, before: Record, now: Record) -> None:
    for key in _FIXED:
        if before.get(key) != (wanted := json.loads(json.dumps(now[key]))):
            raise UserError(
                f"{path} holds an evaluation with another {key}: {_difference(before[key], wanted)}"
                ". Choose another name=, or remove the folder."
            )


def _difference(before: Any, now: Any) -> str:
    """Say in a few words how two settings differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return ", ".join(f"{key} {before.get(key)} there, {now.get(key)} now" for key in keys)
    return f"{before} there, {now} now"
