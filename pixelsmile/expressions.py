"""The twelve expressions: names, order, aliases, confusing pairs and prompts.

Every score vector, confusion table and class index in the project follows the order of
`EXPRESSIONS`. The names are those of the released code; `ALIASES` maps the words of the paper's
scoring prompt (Table 6) and of MEAD onto them.
"""

from itertools import combinations
from typing import Final

from pixelsmile.errors import UserError

EXPRESSIONS: Final = (
    "angry",
    "confused",
    "contempt",
    "confident",
    "disgust",
    "fear",
    "happy",
    "sad",
    "shy",
    "sleepy",
    "surprised",
    "anxious",
)
"""All twelve, in the order of every score vector."""

BASIC: Final = ("angry", "disgust", "fear", "happy", "sad", "surprised")
"""Ekman's six, the set of Acc-6 and CLS-6."""

BASIC_PAIRS: Final = tuple(combinations(BASIC, 2))
"""The 15 blends of the paper's Fig. 12 (Sec. 5.6)."""

NEUTRAL: Final = "neutral"
"""The thirteenth word: the category of a source image and of the prompt at strength 0."""

CONFUSING_PAIRS: Final = (("fear", "surprised"), ("angry", "disgust"))
"""The paper's two pairs (Sec. 3.2), over which mSCR is averaged."""

DOMAINS: Final = ("human", "anime")

ALIASES: Final = {
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "surprise": "surprised",
    "disgusted": "disgust",
    "embarrassment": "shy",
    "confidence": "confident",
    "confusion": "confused",
    "drowsiness": "sleepy",
    "nervousness": "anxious",
}
"""Other spellings, lower case, that `canonical` understands."""

SUBJECTS: Final = {"human": "person", "anime": "character"}


def canonical(name: str) -> str:
    """Return the project's name of an expression, also for its aliases in any case.

    Raises:
        UserError: If the name is neither an expression, nor an alias, nor `neutral`.

    Example:
        >>> canonical("Nervousness")
        'anxious'
    """
    word = name.strip().lower()
    word = ALIASES.get(word, word)
    if word != NEUTRAL and word not in EXPRESSIONS:
        known = ", ".join((*EXPRESSIONS, NEUTRAL))
        raise UserError(f"Unknown expression {name!r}: choose one of {known}.")
    return word


def index(name: str) -> int:
    """Return the position of an expression, by any of its names, in `EXPRESSIONS`.

    Raises:
        UserError: If the name is unknown or is `neutral`, which has no position.
    """
    word = canonical(name)
    if word == NEUTRAL:
        raise UserError("'neutral' is the absence of an expression and has no index.")
    return EXPRESSIONS.index(word)


def pair_indices(pairs: tuple[tuple[str, str], ...] = CONFUSING_PAIRS) -> list[tuple[int, int]]:
    """Return pairs of names as pairs of positions, the form the metrics take."""
    return [(index(first), index(second)) for first, second in pairs]


def prompt(expression: str, domain: str) -> str:
    """Return the edit instruction for one expression or for `neutral`.

    Raises:
        UserError: If the expression or the domain is unknown.

    Example:
        >>> prompt("happy", "anime")
        'Edit the character to show a happy expression'
    """
    if domain not in SUBJECTS:
        raise UserError(f"Unknown domain {domain!r}: choose one of {', '.join(DOMAINS)}.")
    return f"Edit the {SUBJECTS[domain]} to show a {canonical(expression)} expression"
