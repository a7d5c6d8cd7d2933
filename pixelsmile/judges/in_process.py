"""Judges that run in this process: what they share, and the small network among them."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from io import BytesIO
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from pixelsmile.judges.base import (
    Judgement,
    JudgeRequest,
    Picture,
    Usage,
    answer_key,
    judgement_of,
    load_picture,
    named_scores,
)
from pixelsmile.judges.ledger import Ledger, now
from pixelsmile.judges.lines import Row
from pixelsmile.judges.local import WEIGHTS_FILE, LocalJudge
from pixelsmile.judges.parsing import Parsed


class Spoken(NamedTuple):
    """What a judge in this process says about one image."""

    parsed: Parsed
    raw: str
    usage: Usage | None = None


class InProcessJudge(ABC):
    """Score images batch by batch and keep every answer.

    Args:
        ledger: File of the answers; what it already answers is not computed again. None keeps
            nothing.
        batch_size: Images that are looked at together.
    """

    def __init__(self, *, ledger: str | PathLike[str] | None, batch_size: int) -> None:
        self.ledger = ledger
        self.batch_size = batch_size

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return `id`, `settings` and `prompt_hash`: all that an answer depends on."""

    @abstractmethod
    def look(self, pictures: Sequence[Picture], keys: Sequence[str]) -> Sequence[Spoken]:
        """Judge some images; a key seeds whatever is drawn by chance."""

    def judge_files(self, requests: Iterable[JudgeRequest]) -> Iterator[Judgement]:
        """Yield one judgement a request, in the order of the requests.

        Raises:
            UserError: If an image cannot be read, or another process writes to the ledger.
        """
        requests = iter(requests)
        with nullcontext() if self.ledger is None else Ledger(self.ledger) as ledger:
            while batch := list(islice(requests, self.batch_size)):
                yield from self._judge(batch, ledger)

    def _judge(self, batch: Sequence[JudgeRequest], ledger: Ledger | None) -> Iterator[Judgement]:
        description = self.describe()
        pictures = [load_picture(request) for request in batch]
        keys = [
            answer_key(description, picture.digest, request.repeat)
            for picture, request in zip(pictures, batch, strict=True)
        ]
        known = {} if ledger is None else ledger.answers
        new = {key: place for place, key in enumerate(keys) if key not in known}  # twins once
        rows: dict[str, Row] = {}
        if new:
            spoken = self.look([pictures[place] for place in new.values()], list(new))
            for (key, place), answer in zip(new.items(), spoken, strict=True):
                rows[key] = _row(description, key, batch[place], pictures[place], answer)
            if ledger is not None:
                ledger.add(rows.values())
        for key, request in zip(keys, batch, strict=True):
            yield judgement_of(rows.get(key) or known[key], request)


def _row(
    description: dict[str, Any], key: str, request: JudgeRequest, picture: Picture, spoken: Spoken
) -> Row:
    return {
        "key": key,
        "id": request.id,
        "repeat": request.repeat,
        "image": picture.digest,
        "judge": description["id"],
        "settings": description["settings"],
        "prompt": description["prompt_hash"],
        "status": spoken.parsed.status,
        "reason": spoken.parsed.reason,
        "scores": named_scores(spoken.parsed.scores),
        "raw": spoken.raw,
        "usage": spoken.usage and asdict(spoken.usage),
        "time": now(),
    }


class TinyJudge(InProcessJudge):
    """The small network of `LocalJudge`, on files.

    Args:
        folder: Of a trained judge.
        ledger: File of the answers, or None.
        batch_size: Images that are looked at together.

    Raises:
        UserError: If the folder holds no judge.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        ledger: str | PathLike[str] | None = None,
        batch_size: int = 32,
    ) -> None:
        super().__init__(ledger=ledger, batch_size=batch_size)
        self.network = LocalJudge.from_pretrained(Path(folder))
        with (Path(folder) / WEIGHTS_FILE).open("rb") as file:
            self.weights = hashlib.file_digest(file, "sha256").hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return all that an answer depends on; there is no prompt."""
        return {"id": "tiny", "settings": {"weights": self.weights[:16]}, "prompt_hash": ""}

    def look(self, pictures: Sequence[Picture], keys: Sequence[str]) -> list[Spoken]:
        """Score images, those of one size together; the raw output is the scores themselves."""
        images = [_tensor(picture) for picture in pictures]
        spoken: dict[int, Spoken] = {}
        for size in {image.shape for image in images}:
            places = [place for place, image in enumerate(images) if image.shape == size]
            scores = self.network.score(torch.stack([images[place] for place in places]))
            for place, row in zip(places, scores.tolist(), strict=True):
                parsed = Parsed("ok", tuple(row))
                spoken[place] = Spoken(parsed, json.dumps(named_scores(parsed.scores)))
        return [spoken[place] for place in range(len(images))]


def _tensor(picture: Picture) -> torch.Tensor:
    """Return an image, (3, H, W), in [-1, 1]."""
    with Image.open(BytesIO(picture.data)) as image:
        return pil_to_tensor(image.convert("RGB")).float() / 127.5 - 1
