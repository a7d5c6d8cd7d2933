"""Answers of judges on disk: append-only, whole lines, one writer, nothing twice.

A ledger is two files of JSON lines. `judge.jsonl` has one line per final answer. Beside it
`judge.attempts.jsonl` has two lines per question put to a paid service: one before it is sent and
one when its outcome is known. So whatever stops the process, every question is accounted for: an
attempt without an outcome was sent, and what it cost never reached us.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pixelsmile.errors import UserError
from pixelsmile.judges.base import Scores, Usage, judge_key
from pixelsmile.judges.lines import LineFile, Row, read_lines

OK, UNREADABLE, REFUSED = "ok", "unreadable", "refused"
"""Outcomes of attempts that brought an answer; all others are failures, see `remote`."""

LOST = ("timeout", "dropped", "broken")
"""Outcomes after which the service may have counted tokens that it never told."""

_ANSWER = ("key", "id", "repeat", "status", "reason", "scores", "raw", "usage")
_FINAL = ("ok", "invalid", "refused")


@dataclass
class Attempt:
    """One question put to a service.

    Attributes:
        name: Its key and number, unique in the ledger.
        judge: Who was asked, see `judge_key`.
        outcome: None while it is open, or after a crash for ever.
        raw: What came back.
        reason: What was wrong with it.
        usage: Tokens, where the service told.
        scores: As they were read; None unless this process has asked.
    """

    name: str
    judge: str
    outcome: str | None = None
    raw: str = ""
    reason: str = ""
    usage: Usage | None = None
    scores: Scores | None = None

    @property
    def lost(self) -> bool:
        """Tell whether its cost, if any, is unknown."""
        return self.usage is None and (self.outcome is None or self.outcome in LOST)


class Ledger:
    """The answers of one file, open for adding more.

    Args:
        path: Of the answers, such as `runs/mine/judge.jsonl`; attempts get a file beside it.

    Raises:
        UserError: If another process writes to it, or a line is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        self._answers = LineFile(path)
        try:
            self._attempts = LineFile(attempts_path(path))
        except BaseException:
            self._answers.close()
            raise
        try:
            self.answers = answers_by_key(self._answers.rows, path)
            self.attempts = attempts_by_key(self._attempts.rows)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others write."""
        self._answers.close()
        self._attempts.close()

    def add(self, rows: Iterable[Row]) -> None:
        """Append final answers; they are on disk when this returns."""
        rows = list(rows)
        for row in rows:
            if row["key"] in self.answers:
                raise AssertionError(f"The answer {row['key']} was given before.")
        self._answers.append(rows)
        self.answers |= {row["key"]: row for row in rows}

    def begin(self, key: str, judge: str) -> Attempt:
        """Note that a question is about to be sent.

        Args:
            key: Of the answer.
            judge: See `judge_key`.
        """
        attempt = Attempt(f"{key}-{len(self.attempts[key])}", judge)
        row = {"attempt": attempt.name, "key": key, "judge": judge, "sent": now()}
        self._attempts.append([row])
        self.attempts[key].append(attempt)
        return attempt

    def end(
        self, attempt: Attempt, outcome: str, *, raw: str, reason: str, usage: Usage | None
    ) -> None:
        """Note what became of a question."""
        row = {"outcome": outcome, "raw": raw, "reason": reason, "usage": usage and asdict(usage)}
        self._attempts.append([{"attempt": attempt.name, **row, "ended": now()}])
        attempt.outcome, attempt.raw, attempt.reason, attempt.usage = outcome, raw, reason, usage


def attempts_path(path: Path) -> Path:
    """Return the file of the attempts that belongs to a file of answers."""
    return path.with_name(f"{path.stem}.attempts{path.suffix}")


def now() -> str:
    """Return the time of day in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_answers(path: str | os.PathLike[str]) -> dict[str, Row]:
    """Return the final answers of a file by key, in its order; also while others write to it.

    Raises:
        UserError: If the file is missing, a whole line is damaged, or an answer is there twice.
    """
    path = Path(path)
    try:
        rows = read_lines(path)
    except FileNotFoundError:
        raise UserError(
            f"No answers of a judge in {path}: judge first, or name the file."
        ) from None
    return answers_by_key(rows, path)


def read_attempts(path: str | os.PathLike[str]) -> dict[str, list[Attempt]]:
    """Return the attempts that belong to a file of answers, by key; none where nothing was paid."""
    file = attempts_path(Path(path))
    try:
        return attempts_by_key(read_lines(file))
    except FileNotFoundError:
        return {}


def answers_by_key(rows: Iterable[Row], path: Path) -> dict[str, Row]:
    """Return final answers by key.

    Raises:
        UserError: If a line is no answer, or two lines answer the same question.
    """
    answers: dict[str, Row] = {}
    for number, row in enumerate(rows, 1):
        lacking = [name for name in _ANSWER if name not in row]
        if lacking or row["status"] not in _FINAL:
            what = f"lacks {lacking[0]!r}" if lacking else f"has status {row['status']!r}"
            raise UserError(f"{path}, line {number} {what}: delete the line and run again.")
        if row["key"] in answers:
            raise UserError(
                f"{path}, line {number} answers {row['id']!r} a second time: delete one of the two."
            )
        answers[row["key"]] = row
    return answers


def attempts_by_key(rows: Iterable[Mapping[str, Any]]) -> defaultdict[str, list[Attempt]]:
    """Put the beginnings and the ends of attempts together."""
    attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
    names: dict[str, Attempt] = {}
    for row in rows:
        if "key" in row:
            judge = row.get("judge", "")  # the first ledgers did not say
            attempts[row["key"]].append(Attempt(row["attempt"], judge))
            names[row["attempt"]] = attempts[row["key"]][-1]
        elif attempt := names.get(row["attempt"]):
            attempt.outcome, attempt.raw, attempt.reason = row["outcome"], row["raw"], row["reason"]
            attempt.usage = Usage.from_row(row["usage"])
    return attempts


def of_judge(
    description: Mapping[str, Any],
    answers: Mapping[str, Row],
    attempts: Mapping[str, list[Attempt]],
) -> tuple[dict[str, Row], dict[str, list[Attempt]]]:
    """Return those answers and attempts of a ledger that are one judge's.

    Args:
        description: What `Judge.describe` returns.
        answers: Final answers by key.
        attempts: Attempts by key. Those at an answer belong to whoever gave it.
    """
    judge = judge_key(description)
    named = {"judge": "id", "settings": "settings", "prompt": "prompt_hash"}
    own = {
        key: row
        for key, row in answers.items()
        if judge_key({name: row[column] for column, name in named.items()}) == judge
    }
    unanswered = attempts.keys() - answers.keys()
    asked = {key for key in unanswered if any(one.judge == judge for one in attempts[key])}
    wanted = own.keys() | asked
    return own, {key: group for key, group in attempts.items() if key in wanted}
