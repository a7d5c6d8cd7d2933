"""A judge that only repeats what is written in a ledger, so that a report needs no service."""

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

from pixelsmile.errors import UserError
from pixelsmile.judges.base import Judgement, JudgeRequest, answer_key, judgement_of, load_picture
from pixelsmile.judges.ledger import read_answers

_SHOWN = 5


class ReplayJudge:
    """Answer from a ledger; what is not in it is an error, never a guess.

    Args:
        file: The ledger, such as `judge.jsonl` of an earlier run.
        judge: Its id, where the ledger holds answers of several judges.

    Raises:
        UserError: If the file is missing or damaged, or holds several judges and none is chosen.
    """

    def __init__(self, file: str | PathLike[str], *, judge: str | None = None) -> None:
        self.file = file
        self.answers = read_answers(file)
        rows = [row for row in self.answers.values() if judge in (None, row["judge"])]
        if not rows:
            known = sorted({row["judge"] for row in self.answers.values()})
            raise UserError(
                f"No answers of {judge or 'any judge'} in {file}: it has those of "
                f"{', '.join(known) or 'nobody'}."
            )
        described = []
        for row in rows:
            one = {"id": row["judge"], "settings": row["settings"], "prompt_hash": row["prompt"]}
            if one not in described:
                described.append(one)
        if len(described) > 1:
            listed = "; ".join(f"{one['id']} with {one['settings']}" for one in described)
            raise UserError(
                f"{file} holds answers of {len(described)} judges ({listed}): say "
                "judge.judge=<id>, or keep one setting a file."
            )
        self._description = described[0]

    def describe(self) -> dict[str, Any]:
        """Return what the judge that gave the answers says of itself."""
        return self._description

    def judge_files(self, requests: Iterable[JudgeRequest]) -> Iterator[Judgement]:
        """Yield one judgement a request, in the order of the requests.

        Raises:
            UserError: If answers are missing; it counts them and names the first.
        """
        requests = list(requests)
        keys = [
            answer_key(self._description, load_picture(request).digest, request.repeat)
            for request in requests
        ]
        missing = [
            request.id
            for key, request in zip(keys, requests, strict=True)
            if key not in self.answers
        ]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise UserError(
                f"{self.file} has no answer for {len(missing)} of {len(requests)} images "
                f"({', '.join(missing[:_SHOWN])}{more}): judge them with a judge that can see, or "
                "replay the ledger that belongs to these images."
            )
        for key, request in zip(keys, requests, strict=True):
            yield judgement_of(self.answers[key], request)
