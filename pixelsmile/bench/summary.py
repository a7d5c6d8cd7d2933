"""Everything that a report says about one run, as plain data: the content of metrics.json."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pixelsmile.bench.figures import trade_off
from pixelsmile.bench.folder import BenchFolder
from pixelsmile.bench.measure import confusion, constant, measure
from pixelsmile.bench.parts import general_edits
from pixelsmile.bench.table import MISSING, UNREADABLE, Edit, coverage, seen_counts
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.judges import Judgement, judge_noise, read_answers
from pixelsmile.judges.costs import Prices, totals
from pixelsmile.judges.ledger import of_judge, read_attempts
from pixelsmile.metrics.intervals import wilson_interval

Summary = dict[str, Any]

_WITHOUT_SCORES = ("invalid", "refused", "pending")


def summarise(folder: BenchFolder, table: Sequence[Edit]) -> Summary:
    """Return the numbers of a run with all that one must know to read them."""
    record = folder.record
    protocol = record["protocol"]
    general = general_edits(table, protocol)
    above = [e for e in table if e.strength > 0 and e.strength in set(protocol["linear"])]
    return {
        **{key: record[key] for key in ("label", "domain", "protocol", "editor", "judge")},
        "repeats": record["repeats"],
        "recognisers": record["recognisers"],
        "landmarks": record["landmarks"],
        "versions": record.get("versions", {}),
        "tasks": {"count": len(folder.tasks), "digest": tasks_digest(folder)},
        **measure(table, protocol),
        "constant_curves": constant(table, protocol["linear"]),
        "identity": {
            setting: {name: recogniser(edits, name) for name in record["recognisers"]}
            for setting, edits in (("general", general), ("linear", above))
        },
        "expressions": {name: of_expression(general, name) for name in EXPRESSIONS},
        "confusion": confusion(general).tolist(),
        "trade_off": trade_off(table, sorted({*protocol["linear"], protocol["strength"]})),
        "judge_noise": noise_of(table),
        "judge_totals": totals_of(folder),
        "coverage": {**coverage(table), "seen": seen_counts(general)},
        "missing": [edit.path.name for edit in table if edit.judged == MISSING],
        "unreadable": [edit.path.name for edit in table if edit.judged == UNREADABLE],
        "without_scores": {
            fate: [edit.path.name for edit in table if edit.judged == fate]
            for fate in _WITHOUT_SCORES
        },
        "without_face": [edit.path.name for edit in table if edit.identity == "no_face"],
    }


def tasks_digest(folder: BenchFolder) -> str:
    """Return what is equal for runs over the same tasks: 16 hex digits."""
    keys = sorted("/".join(task.key) for task in folder.tasks)
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]


def recogniser(edits: Sequence[Edit], name: str) -> dict[str, float | int | None]:
    """Return the mean cosine of one recogniser, and how many edits it saw a face in."""
    known = [value for edit in edits if (value := edit.cosines.get(name)) is not None]
    mean = float(np.mean(known)) if known else None
    return {"value": mean, "n": len(known), "of": len(edits)}


def of_expression(general: Sequence[Edit], name: str) -> dict[str, Any]:
    """Return accuracy, mean score and identity of the tasks that ask for one expression."""
    asked = [edit for edit in general if edit.task.expression == name]
    judged = [edit for edit in asked if edit.scores is not None]
    scores = [edit.score for edit in judged if edit.score is not None]
    similar = [edit.similarity for edit in asked if edit.similarity is not None]
    right = sum(edit.seen == name for edit in judged)
    low, high = wilson_interval(right, len(judged))
    return {
        "accuracy": right / len(judged) if judged else None,
        "low": low,
        "high": high,
        "score": float(np.mean(scores)) if scores else None,
        "similarity": float(np.mean(similar)) if similar else None,
        "n": len(judged),
        "of": len(asked),
    }


def noise_of(table: Sequence[Edit]) -> Summary | None:
    """Return how far answers to the same image scatter, None where each was judged once."""
    noise = judge_noise(
        Judgement("ok", scores, raw="", usage=None, key="", id=edit.path.name)
        for edit in table
        for scores in edit.repeats
    )
    return asdict(noise) if noise.images else None


def totals_of(folder: BenchFolder) -> Summary | None:
    """Return what the judge of a run has cost so far, None for one that nobody pays."""
    file = folder.judge_ledger
    if not file.is_file():
        return None
    answers, attempts = of_judge(folder.record["judge"], read_answers(file), read_attempts(file))
    if not attempts:
        return None
    sums = totals(answers, attempts, Prices(**folder.record.get("prices") or {}))
    return {**asdict(sums), "in_words": str(sums)}
