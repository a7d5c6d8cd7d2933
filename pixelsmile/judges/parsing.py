"""Read a model's answer to the scoring prompt, strictly.

What surrounds the scores is forgiven: a Markdown fence, prose, a section of thoughts. What touches
them is not: each of the twelve expressions once, as a JSON number in [0, 1], and nothing else.
"""

import json
import re
from typing import Any, NamedTuple, NoReturn

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, index
from pixelsmile.judges.base import Scores, Status

LONGEST = 20_000
"""Characters; the twelve scores take about 250."""

_THOUGHTS = re.compile(r"^.*</think>", re.DOTALL)
_REFUSAL = re.compile(
    r"\b(?:i(?:['\u2019]m| am) (?:sorry|unable|not able)|i (?:can(?:no|['\u2019])t|won['\u2019]t)|"
    r"(?:unable|cannot|decline) to (?:assist|help|analy[sz]e|provide|comply)|"
    r"(?:content|usage|safety) polic(?:y|ies))\b",
    re.IGNORECASE,
)


class Parsed(NamedTuple):
    """What an answer says: scores where the status is `ok`, otherwise the reason."""

    status: Status
    scores: Scores | None
    reason: str = ""


def parse_scores(text: str) -> Parsed:
    """Read the twelve scores from an answer, or say why they are not there.

    Keys may be the labels of the prompt or the project's own names, in any case. A score is never
    guessed: percentages, numbers in quotes and numbers out of range make the answer invalid.
    Prose that declines, without any object in it, is a refusal.

    Example:
        >>> parse_scores('{"Happiness": 0.9}').reason
        'missing: angry, confused, contempt and 8 more'
        >>> parse_scores("I'm sorry, I can't help with that.").status
        'refused'
    """
    answer = _THOUGHTS.sub("", text).strip()
    if not answer:
        return _invalid("the answer is empty")
    if len(answer) > LONGEST:
        return _invalid(f"the answer has {len(answer)} characters")
    if "{" not in answer:
        if _REFUSAL.search(answer):
            return Parsed("refused", None, f"declined: {answer[:200]}")
        return _invalid("no JSON object")
    try:
        return _read(_only_object(answer))
    except ValueError as error:
        return _invalid(str(error))


def _invalid(reason: str) -> Parsed:
    return Parsed("invalid", None, reason)


def _only_object(answer: str) -> list[tuple[str, Any]]:
    """Return the pairs of the one JSON object in a text."""
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_no_number)
    found: list[_Pairs] = []
    place = answer.find("{")
    while place >= 0:
        try:
            pairs, end = decoder.raw_decode(answer, place)
        except json.JSONDecodeError as error:
            raise ValueError(f"broken JSON: {error.msg} at character {error.pos}") from None
        except RecursionError:
            raise ValueError("broken JSON: too deeply nested") from None
        found.append(pairs)
        place = answer.find("{", end)
    if len(found) > 1:
        raise ValueError(f"{len(found)} JSON objects")
    return found[0]


class _Pairs(list[tuple[str, Any]]):
    """The pairs of an object, which unlike a dictionary may name a key twice."""


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no score")


def _read(pairs: list[tuple[str, Any]]) -> Parsed:
    """Turn pairs into scores in the order of `EXPRESSIONS`."""
    scores: dict[int, float] = {}
    for label, value in pairs:
        try:
            place = index(label)
        except UserError:
            raise ValueError(f"extra key {_short(label)}") from None
        if place in scores:
            raise ValueError(f"{EXPRESSIONS[place]} twice")
        scores[place] = _score(label, value)
    missing = [name for place, name in enumerate(EXPRESSIONS) if place not in scores]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(f"missing: {', '.join(missing[:3])}{more}")
    return Parsed("ok", tuple(scores[place] for place in range(len(EXPRESSIONS))))


def _score(label: str, value: Any) -> float:
    """Return a JSON number in [0, 1]; true and false are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{label} is {_short(value)}, not a number")
    if not 0 <= value <= 1:
        raise ValueError(f"{label} is {_short(value)}, not in [0, 1]")
    return float(value) + 0.0  # no minus zero


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
