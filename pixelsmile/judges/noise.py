"""How much a judge disagrees with itself when it sees the same image again.

Shapes: I images, R repeats, K = 12 expressions.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.judges.base import Judgement, JudgeRequest, Scores, dominant


@dataclass(frozen=True)
class JudgeNoise:
    """The judge's own noise.

    Attributes:
        deviation: Standard deviation over repeats of each expression's score, pooled over images
            (the root of the mean within-image variance); nan where no image has two scores.
        overall: The same, pooled over expressions too.
        agreement: Share of pairs of repeats that name the same expression as the strongest, or
            both none.
        images: Images with at least two readable repeats.
        answers: Readable repeats of those images.
    """

    deviation: dict[str, float]
    overall: float
    agreement: float
    images: int
    answers: int


def repeated(requests: Iterable[JudgeRequest], repeat: int) -> Iterator[JudgeRequest]:
    """Yield every request so many times, numbered.

    Raises:
        UserError: If that is not at least once.
    """
    if repeat < 1:
        raise UserError(f"repeat={repeat}: judge every image at least once.")
    for request in requests:
        for number in range(repeat):
            yield replace(request, repeat=number)


def judge_noise(judgements: Iterable[Judgement]) -> JudgeNoise:
    """Measure the noise of repeats; judgements without scores do not count.

    Variances have R - 1 in the denominator and are weighted by it, so that images with unequal
    numbers of readable repeats pool without bias.
    """
    groups: defaultdict[str, list[Scores]] = defaultdict(list)
    for judgement in judgements:
        if judgement.scores is not None:
            groups[judgement.id].append(judgement.scores)
    several = [group for group in groups.values() if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = [sum(_squares([row[k] for row in group]) for group in several) for k in _PLACES]
    same, pairs = 0, 0
    for group in several:
        tops = [dominant(row) for row in group]
        pairs += len(tops) * (len(tops) - 1) // 2
        same += sum(a == b for place, a in enumerate(tops) for b in tops[place + 1 :])
    return JudgeNoise(
        deviation={name: _root(squares[k], freedom) for k, name in enumerate(EXPRESSIONS)},
        overall=_root(sum(squares), freedom * len(EXPRESSIONS)),
        agreement=same / pairs if pairs else math.nan,
        images=len(several),
        answers=sum(map(len, several)),
    )


_PLACES = range(len(EXPRESSIONS))


def _squares(values: list[float]) -> float:
    """Return the sum of squared distances from the mean; exactly 0 where all are alike."""
    shifted = [value - values[0] for value in values]
    mean = math.fsum(shifted) / len(shifted)
    return math.fsum((value - mean) ** 2 for value in shifted)


def _root(squares: float, freedom: int) -> float:
    return math.sqrt(squares / freedom) if freedom else math.nan
