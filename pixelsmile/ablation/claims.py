"""What Sec. 5.4 of the paper claims, and when we say that it held. Fixed before the runs.

Every claim is taken apart into comparisons of one number. A comparison gives one difference a seed,
between trainings that share the seed of data order, start and noise; it is positive where the
claim is right.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Protocol

from scipy.stats import t as student

from pixelsmile.ablation.results import EARLY_LOSS, Result
from pixelsmile.ablation.rows import FULL, MEAD, TABLE_3, rows_of
from pixelsmile.scoring import LOWER_IS_BETTER, METRIC_NAMES

HELD, NOT_HELD, UNCLEAR, NOT_RUN = "held", "not held", "unclear", "not run"

RULE = (
    "A comparison is *held* if the difference has the claimed sign in every seed and the 95 % "
    "Student t interval of its mean lies on that side of 0. It is *not held* if no seed has the "
    "claimed sign, or the interval lies on the other side. Everything else is *unclear*, also a "
    "single seed. A claim is held if all its comparisons are, not held if one of them is not, "
    "unclear otherwise."
)

_ALL = tuple(row.name for row in TABLE_3)
_NOTHING = 1e-12  # what rounding leaves of a difference of nothing

Values = Mapping[str, Mapping[str, float]]
"""By row, then by metric; of one seed."""


class Comparison(Protocol):
    """One number of a claim."""

    @property
    def text(self) -> str:
        """What is claimed, in words."""
        ...

    def needs(self, rows: Sequence[str]) -> tuple[str, ...]:
        """Return the rows that are compared, of those that a domain has."""
        ...

    def difference(self, values: Values, rows: Sequence[str]) -> float:
        """Return how far one seed goes in the claimed direction; negative: the other way."""
        ...


@dataclass(frozen=True)
class Against:
    """One row against another, or against the nearest of several.

    Attributes:
        row: That the claim is about.
        metric: That is compared.
        higher: Whether the row is claimed to have more of it.
        others: Rows that it is compared with.
    """

    row: str
    metric: str
    higher: bool
    others: tuple[str, ...] = (FULL,)

    @property
    def text(self) -> str:
        """What is claimed, in words."""
        if self.others == _ALL:
            return f"{self.row} has the {'highest' if self.higher else 'lowest'} {self.metric}"
        side = "higher" if self.higher else "lower"
        return f"{self.row} has a {side} {self.metric} than {' and '.join(self.others)}"

    def needs(self, rows: Sequence[str]) -> tuple[str, ...]:
        """Return the row and the others."""
        others = (name for name in self.others if name in rows and name != self.row)
        return (self.row, *others)

    def difference(self, values: Values, rows: Sequence[str]) -> float:
        """Return the lead over the nearest of the others."""
        own, *others = (values[name][self.metric] for name in self.needs(rows))
        return own - max(others) if self.higher else min(others) - own


@dataclass(frozen=True)
class TradeOff:
    """Over all rows, more of one metric comes with less of the other.

    Attributes:
        first: A metric.
        second: Another.
    """

    first: str
    second: str

    @property
    def text(self) -> str:
        """What is claimed, in words."""
        return f"{self.first} and {self.second} correlate negatively over the rows"

    def needs(self, rows: Sequence[str]) -> tuple[str, ...]:
        """Return all rows."""
        return tuple(name for name in _ALL if name in rows)

    def difference(self, values: Values, rows: Sequence[str]) -> float:
        """Return minus Pearson's correlation, 0 where a metric is the same in all rows."""
        one, other = (
            [values[name][metric] for name in self.needs(rows)]
            for metric in (self.first, self.second)
        )
        means = fmean(one), fmean(other)
        pairs = list(zip(one, other, strict=True))
        shared = sum((x - means[0]) * (y - means[1]) for x, y in pairs)
        scale = math.prod(
            math.sqrt(sum((x - mean) ** 2 for x in side))
            for side, mean in zip((one, other), means, strict=True)
        )
        return -shared / scale if scale else 0.0


@dataclass(frozen=True)
class Claim:
    """One claim of Sec. 5.4.

    Attributes:
        name: Key of the hand-written notes.
        text: In our words.
        comparisons: What it is taken apart into.
    """

    name: str
    text: str
    comparisons: tuple[Comparison, ...]

    def applies(self, rows: Sequence[str]) -> bool:
        """Tell whether a domain has the rows that the claim is about."""
        about = {c.row for c in self.comparisons if isinstance(c, Against)}
        return about <= set(rows)


def _behind(row: str, *metrics: str) -> tuple[Comparison, ...]:
    return tuple(Against(row, name, higher=name in LOWER_IS_BETTER) for name in metrics)


def _ahead(row: str, *metrics: str) -> tuple[Comparison, ...]:
    return tuple(Against(row, name, higher=name not in LOWER_IS_BETTER) for name in metrics)


CLAIMS = (
    Claim(
        "trade_off",
        "Over all rows, editing and identity are a trade-off.",
        (TradeOff("acc_6", "id_sim"), TradeOff("acc_12", "id_sim")),
    ),
    Claim(
        "id_off_identity",
        "Without the identity loss, identity is the lowest of all rows.",
        (Against("without_id", "id_sim", False, _ALL),),
    ),
    Claim(
        "id_off_editing",
        "Without the identity loss, editing and disentanglement are better.",
        _ahead("without_id", "acc_6", "acc_12", "mscr"),
    ),
    Claim(
        "contrastive_off_editing",
        "Without the contrastive loss, confusion is the highest and accuracy the lowest.",
        (
            Against("without_contrastive", "mscr", True, _ALL),
            Against("without_contrastive", "acc_6", False, _ALL),
            Against("without_contrastive", "acc_12", False, _ALL),
        ),
    ),
    Claim(
        "contrastive_off_identity",
        "Without the contrastive loss, identity is the highest.",
        (Against("without_contrastive", "id_sim", True, _ALL),),
    ),
    Claim(
        "asymmetric_loss",
        "With contrast in one branch only, the loss falls faster at first (Fig. 9).",
        (Against("without_symmetric", EARLY_LOSS, False),),
    ),
    Claim(
        "asymmetric_editing",
        "With contrast in one branch only, confusion is higher and accuracy lower.",
        _behind("without_symmetric", "mscr", "acc_6", "acc_12"),
    ),
    Claim(
        "log_ratio",
        "Log-ratio keeps more identity and edits less than InfoNCE.",
        (Against("log_ratio", "id_sim", True), *_behind("log_ratio", "mscr", "acc_6", "acc_12")),
    ),
    Claim(
        "hinge",
        "Hinge edits more and keeps less identity than InfoNCE.",
        (*_ahead("hinge", "acc_6", "acc_12"), Against("hinge", "id_sim", False)),
    ),
    Claim(
        "info_nce",
        "InfoNCE separates confusing expressions best of the three.",
        (Against(FULL, "mscr", False, ("log_ratio", "hinge")),),
    ),
    Claim("mead", "Training on MEAD is behind in every metric.", _behind(MEAD, *METRIC_NAMES)),
)
"""In the order of the paper's section."""


@dataclass(frozen=True)
class Verdict:
    """What the seeds say about a comparison.

    Attributes:
        differences: One a seed, positive where the claim is right.
        word: `held`, `not held`, `unclear` or `not run`.
        low: Of the 95 % interval of the mean; nan for fewer than two seeds.
        high: As `low`.
    """

    differences: tuple[float, ...]
    word: str
    low: float = math.nan
    high: float = math.nan

    @property
    def mean(self) -> float:
        """Mean difference, nan where nothing was run."""
        return fmean(self.differences) if self.differences else math.nan


def weigh(differences: Sequence[float]) -> Verdict:
    """Apply the rule to the differences of a comparison.

    Example:
        >>> weigh([0.10, 0.11, 0.09]).word, weigh([0.1, -0.1]).word, weigh([-0.1, 0.0]).word
        ('held', 'unclear', 'not held')
    """
    values = tuple(0.0 if abs(value) < _NOTHING else value for value in differences)
    if not values or any(map(math.isnan, values)):
        return Verdict((), NOT_RUN)
    if len(values) == 1:
        return Verdict(values, UNCLEAR)
    mean = fmean(values)
    half = student.ppf(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    low, high = mean - half, mean + half
    if all(value > 0 for value in values) and low > 0:
        word = HELD
    elif all(value <= 0 for value in values) or high < 0:
        word = NOT_HELD
    else:
        word = UNCLEAR
    return Verdict(values, word, float(low), float(high))


def verdicts(claim: Claim, results: Sequence[Result], domain: str) -> list[Verdict]:
    """Weigh every comparison of a claim over the seeds that all of its rows have finished."""
    rows = rows_of(domain)
    seeds: dict[int, dict[str, Mapping[str, float]]] = {}
    for result in results:
        if result.domain == domain:
            seeds.setdefault(result.seed, {})[result.row] = result.values
    found = []
    for comparison in claim.comparisons:
        metric = getattr(comparison, "metric", METRIC_NAMES[0])
        found.append(
            weigh(
                [
                    comparison.difference(values, rows)
                    for _, values in sorted(seeds.items())
                    if all(metric in values.get(row, ()) for row in comparison.needs(rows))
                ]
            )
        )
    return found


def overall(words: Sequence[str]) -> str:
    """Return the verdict on a claim from those on its comparisons.

    Example:
        >>> overall(["held", "unclear"]), overall(["held", "not held"]), overall(["held", "held"])
        ('unclear', 'not held', 'held')
    """
    for word in (NOT_RUN, NOT_HELD, UNCLEAR):
        if word in words:
            return word
    return HELD


def in_the_paper(comparison: Comparison) -> float:
    """Return the difference in the paper's own Table 3, nan for what the table does not have."""
    values = {row.name: {name: float(row.paper[name]) for name in METRIC_NAMES} for row in TABLE_3}
    if getattr(comparison, "metric", METRIC_NAMES[0]) not in METRIC_NAMES:
        return math.nan
    return comparison.difference(values, _ALL)
