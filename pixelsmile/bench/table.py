"""One row an edit, put together from what the stages left on disk; nothing is computed here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelsmile.bench.folder import BenchFolder, unreadable_edits
from pixelsmile.bench.identity import OK, cosine_key, digest, points_key, read_rows
from pixelsmile.bench.tasks import Task
from pixelsmile.expressions import EXPRESSIONS, index
from pixelsmile.judges.base import answer_key, dominant
from pixelsmile.judges.ledger import read_answers

MISSING = "missing"
"""There is no such edit."""

UNREADABLE = "unreadable"
"""There is a file of another tool, and it is no whole image."""

PENDING = "pending"
"""The edit is there and the stage has not seen it yet: it was stopped."""

JUDGED = ("ok", "invalid", "refused")


@dataclass(frozen=True)
class Edit:
    """What is known about one edit.

    Attributes:
        task: What was asked for.
        strength: Of the edit.
        path: Of the image.
        judged: `ok`, `invalid`, `refused`, `missing`, `unreadable` or `pending`.
        scores: Twelve numbers in [0, 1], the mean over repeats, where `judged` is `ok`.
        repeats: The scores of each repeat that brought some, of which `scores` is the mean.
        answers: What became of each repeat: `ok`, `invalid`, `refused` or `pending`.
        cosines: By recogniser; None where a face was not found, or nothing was measured.
        identity: `ok`, `no_face`, `missing`, `unreadable` or `pending`.
    """

    task: Task
    strength: float
    path: Path
    judged: str
    scores: tuple[float, ...] | None
    repeats: tuple[tuple[float, ...], ...]
    answers: tuple[str, ...]
    cosines: Mapping[str, float | None]
    identity: str

    @property
    def score(self) -> float | None:
        """The score of the expression that was asked for."""
        return None if self.scores is None else self.scores[index(self.task.expression)]

    @property
    def seen(self) -> str | None:
        """The dominant expression; None without scores, and where every score is 0.

        Of equal highest scores it is the first in the order of `EXPRESSIONS`, as in the metrics.
        """
        place = None if self.scores is None else dominant(self.scores)
        return None if place is None else EXPRESSIONS[place]

    @property
    def tied(self) -> bool:
        """Whether several expressions share the highest score, which is above 0."""
        scores = self.scores or (0.0,)
        return max(scores) > 0 and scores.count(max(scores)) > 1

    @property
    def similarity(self) -> float | None:
        """Mean cosine over the recognisers, None unless all of them have one."""
        values = list(self.cosines.values())
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None


def read_table(folder: BenchFolder) -> list[Edit]:
    """Return a row for every edit of a run, in order of task and strength.

    Raises:
        UserError: If a file of a stage is damaged.
    """
    record = folder.record
    answers = read_answers(folder.judge_ledger) if folder.judge_ledger.is_file() else {}
    points = read_rows(folder.landmarks)
    recognisers: dict[str, str] = record["recognisers"]
    cosines = {name: read_rows(folder.recogniser(name)) for name in recognisers}
    unreadable = unreadable_edits(folder)
    table = []
    for task, strength, path in folder.edits():
        if not path.is_file():
            fate = UNREADABLE if path.name in unreadable else MISSING
            absent = dict.fromkeys(cosines)
            table.append(Edit(task, strength, path, fate, None, (), (), absent, fate))
            continue
        image = digest(path)
        judged, scores, repeats, statuses = _judged(answers, record, image)
        place = points_key(record["landmarks"], task, digest(task.image))
        face = points_key(record["landmarks"], task, image)
        found = {
            name: rows.get(cosine_key(recognisers[name], place, face))
            for name, rows in cosines.items()
        }
        table.append(
            Edit(
                task,
                strength,
                path,
                judged,
                scores,
                repeats,
                statuses,
                {name: None if row is None else row["cosine"] for name, row in found.items()},
                _identity(found, points.get(face)),
            )
        )
    return table


def _judged(
    answers: Mapping[str, Any], record: Mapping[str, Any], image: str
) -> tuple[str, tuple[float, ...] | None, tuple[tuple[float, ...], ...], tuple[str, ...]]:
    """Return status, mean scores, the scores of each repeat that brought some, and all statuses."""
    keys = [answer_key(record["judge"], image, repeat) for repeat in range(record["repeats"])]
    rows = [answers[key] for key in keys if key in answers]
    statuses = tuple(answers[key]["status"] if key in answers else PENDING for key in keys)
    scores = [tuple(row["scores"][name] for name in EXPRESSIONS) for row in rows if row["scores"]]
    if not scores:
        return (rows[0]["status"] if rows else PENDING), None, (), statuses
    if len(scores) == 1:
        return OK, scores[0], tuple(scores), statuses
    return OK, tuple(np.mean(scores, axis=0).tolist()), tuple(scores), statuses


def _identity(found: Mapping[str, Any], points: Any) -> str:
    rows = list(found.values())
    if points is not None and any(row is not None and row["cosine"] is None for row in rows):
        return "no_face"
    return OK if rows and all(row is not None for row in rows) else PENDING


def coverage(table: Sequence[Edit]) -> dict[str, dict[str, int]]:
    """Count what became of the edits, by stage.

    Returns:
        Under `edits`: total, made, missing, unreadable; under `judge` and `identity`: how many had
        each fate; under `answers`: how many of the judge's answers, which are several an edit where
        it is asked repeatedly.
    """
    absent = {fate: sum(edit.judged == fate for edit in table) for fate in (MISSING, UNREADABLE)}
    made = [edit for edit in table if edit.judged not in absent]
    recognisers = sorted({name for edit in table for name in edit.cosines})
    counts = {
        "edits": {"total": len(table), "made": len(made), **absent},
        "judge": {fate: sum(edit.judged == fate for edit in made) for fate in (*JUDGED, PENDING)},
        "answers": {
            fate: sum(edit.answers.count(fate) for edit in made) for fate in (*JUDGED, PENDING)
        },
        "identity": {
            fate: sum(edit.identity == fate for edit in made) for fate in (OK, "no_face", PENDING)
        },
    }
    for name in recognisers:
        counts[f"identity {name}"] = {
            OK: sum(edit.cosines[name] is not None for edit in made),
            "none": sum(edit.cosines[name] is None for edit in made),
        }
    return counts


def seen_counts(edits: Sequence[Edit]) -> dict[str, int]:
    """Count in how many judged edits one expression leads, several are tied, or nothing is seen."""
    nothing = sum(edit.scores is not None and edit.seen is None for edit in edits)
    tied = sum(edit.tied for edit in edits)
    return {
        "one": sum(edit.seen is not None for edit in edits) - tied,
        "tied": tied,
        "nothing": nothing,
    }
