"""What every judge takes and gives, and the key under which an answer is kept."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from PIL import Image, UnidentifiedImageError

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS

Status = Literal["ok", "invalid", "refused"]
"""What became of a request: scores, no readable scores, or a refusal by policy."""

Scores = tuple[float, ...]
"""Twelve numbers in [0, 1], in the order of `EXPRESSIONS`."""

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""Formats that all services take, by Pillow's name."""


@dataclass(frozen=True)
class JudgeRequest:
    """One image to be judged.

    Attributes:
        image: File, or its bytes; PNG, JPEG or WebP.
        id: Name of the image in reports; it does not enter the key of the answer.
        repeat: 0, 1, ...: the same image judged again is another answer, see `judge_noise`.
    """

    image: Path | bytes
    id: str
    repeat: int = 0


@dataclass(frozen=True)
class Usage:
    """Tokens as the service counts them; `cached` are among `input`, thoughts among `output`."""

    input: int = 0
    cached: int = 0
    output: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Usage)))

    @classmethod
    def from_row(cls, row: Mapping[str, int] | None) -> Self | None:
        """Read what a ledger has kept."""
        return None if row is None else cls(**row)


@dataclass(frozen=True)
class Judgement:
    """The final answer to one request.

    Attributes:
        status: `ok`, `invalid` or `refused`.
        scores: Twelve numbers where the status is `ok`, otherwise None; never invented.
        raw: What the judge said, word for word; of the last attempt that said anything.
        usage: Tokens of all attempts that reported any; None where nobody counts tokens.
        key: Of the answer in the ledger.
        id: Of the request.
        repeat: Of the request.
        reason: Why there are no scores.
    """

    status: Status
    scores: Scores | None
    raw: str
    usage: Usage | None
    key: str
    id: str
    repeat: int = 0
    reason: str = ""


class Judge(Protocol):
    """Anything that scores images."""

    def judge_files(self, requests: Iterable[JudgeRequest]) -> Iterator[Judgement]:
        """Yield one judgement a request, in the order of the requests."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return `id`, `settings` and `prompt_hash`: all that an answer depends on."""
        ...


@dataclass(frozen=True)
class Picture:
    """The bytes of an image that was looked at and is one."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


def load_picture(request: JudgeRequest) -> Picture:
    """Read an image and make sure that it is one.

    Raises:
        UserError: If it is missing, damaged, or of another format than `MEDIA_TYPES`.
    """
    where = request.id if isinstance(request.image, bytes) else str(request.image)
    try:
        data = request.image if isinstance(request.image, bytes) else request.image.read_bytes()
        with Image.open(BytesIO(data)) as image:
            kind = image.format or ""
            image.load()
    except FileNotFoundError:
        raise UserError(f"Image {where} is missing: make it again before judging.") from None
    except PermissionError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"Image {where} cannot be read ({error}): make it again.") from None
    if kind not in MEDIA_TYPES:
        known = ", ".join(MEDIA_TYPES)
        raise UserError(f"Image {where} is {kind}, which judges do not take: save it as {known}.")
    return Picture(data, MEDIA_TYPES[kind])


def text_hash(text: str) -> str:
    """Return the SHA-256 of a prompt."""
    return hashlib.sha256(text.encode()).hexdigest()


def answer_key(description: Mapping[str, Any], image: str, repeat: int) -> str:
    """Return the name of an answer: 32 hex digits of all that it depends on.

    Args:
        description: What `Judge.describe` returns.
        image: SHA-256 of the image.
        repeat: Of the request.

    Example:
        >>> judge = {"id": "openai/gpt", "settings": {"temperature": 0}, "prompt_hash": "ab"}
        >>> answer_key(judge, "cd", 0) == answer_key(dict(reversed(judge.items())), "cd", 0)
        True
        >>> answer_key(judge, "cd", 0) == answer_key(judge, "cd", 1)
        False
    """
    parts = [description[name] for name in ("id", "settings", "prompt_hash")]
    text = json.dumps([*parts, image, repeat], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def judge_key(description: Mapping[str, Any]) -> str:
    """Return the name of a judge with its settings and its prompt: 16 hex digits.

    Args:
        description: What `Judge.describe` returns.

    Example:
        >>> judge = {"id": "openai/gpt", "settings": {"temperature": 0}, "prompt_hash": "ab"}
        >>> judge_key(judge) == judge_key({**judge, "settings": {"temperature": 1}})
        False
    """
    parts = [description[name] for name in ("id", "settings", "prompt_hash")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def dominant(scores: Scores) -> int | None:
    """Return the place of the highest score, of equal ones the first; None where all are 0.

    Example:
        >>> dominant((0.2, 0.7, 0.7)), dominant((0.0, 0.0, 0.0))
        (1, None)
    """
    place = max(range(len(scores)), key=scores.__getitem__)
    return place if scores[place] > 0 else None


def named_scores(scores: Scores | None) -> dict[str, float] | None:
    """Return scores by name, the form of the ledger."""
    return None if scores is None else dict(zip(EXPRESSIONS, scores, strict=True))


def judgement_of(row: Mapping[str, Any], request: JudgeRequest) -> Judgement:
    """Return the judgement that a ledger's line holds, for whoever asks for it now."""
    scores = row["scores"]
    return Judgement(
        status=row["status"],
        scores=None if scores is None else tuple(scores[name] for name in EXPRESSIONS),
        raw=row["raw"],
        usage=Usage.from_row(row["usage"]),
        key=row["key"],
        id=request.id,
        repeat=request.repeat,
        reason=row["reason"],
    )
