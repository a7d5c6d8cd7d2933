"""What judging costs: an estimate before, tokens and money after."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelsmile.errors import UserError
from pixelsmile.judges.base import Usage
from pixelsmile.judges.ledger import Attempt

_MILLION = 1_000_000


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens; None where it is not known.

    Attributes:
        input: Of the question, with its image.
        output: Of the answer, thoughts among it.
        cached: Of input that the service had in its cache; None: as `input`.
        currency: Name of the money.
    """

    input: float | None = None
    output: float | None = None
    cached: float | None = None
    currency: str = "USD"

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"judge.prices.{name}={value!r} is no price for a million tokens.")

    def cost(self, usage: Usage) -> float | None:
        """Return what these tokens cost, None where a price is not known.

        Example:
            >>> Prices(input=2.0, output=12.0).cost(Usage(input=1_000_000, output=500_000))
            8.0
        """
        if self.input is None or self.output is None:
            return None
        cached = self.input if self.cached is None else self.cached
        fresh = usage.input - usage.cached
        return (fresh * self.input + usage.cached * cached + usage.output * self.output) / _MILLION


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked and will cost about this.

    Attributes:
        requests: Without an answer so far.
        usage: Tokens, if each is answered at once; None where nothing is known about one answer.
        cost: Money, None where prices are not known.
        currency: Of `cost`.
        measured: How many answers it is a mean of; 0 for the config's guess.
    """

    requests: int
    usage: Usage | None
    cost: float | None
    currency: str
    measured: int

    def __str__(self) -> str:
        if self.requests == 0:
            return "nothing left to ask"
        if self.usage is None:
            return f"{self.requests} requests; tokens unknown, set judge.expected"
        source = f"mean of {self.measured} answers" if self.measured else "guess of the config"
        tokens = f"about {self.usage.input:,} tokens in and {self.usage.output:,} out"
        return f"{self.requests} requests, {tokens}, {_money(self.cost, self.currency)} ({source})"


@dataclass(frozen=True)
class Totals:
    """What the answers of a judge have cost, retries included.

    Attributes:
        answers: How many are `ok`, `invalid` and `refused`.
        attempts: Questions that were sent.
        usage: Tokens that the service told of, exactly.
        lost: Attempts whose cost never reached us: cut off by a crash, a timeout or the network.
            The service may have counted tokens for them.
        untold: Replies without a count of tokens.
        cost: Money for `usage`, None where prices are not known.
        currency: Of `cost`.
    """

    answers: dict[str, int]
    attempts: int
    usage: Usage
    lost: int
    untold: int
    cost: float | None
    currency: str

    def __str__(self) -> str:
        told = ", ".join(f"{count} {status}" for status, count in self.answers.items())
        tokens = f"{self.usage.input:,} tokens in ({self.usage.cached:,} cached)"
        text = f"{told}; {self.attempts} attempts, {tokens}, {self.usage.output:,} out, "
        text += _money(self.cost, self.currency)
        if self.lost:
            text += f"; {self.lost} attempts were cut off, their cost is unknown"
        if self.untold:
            text += f"; {self.untold} replies came without a count of tokens"
        return text


def estimate(
    requests: int,
    known: Sequence[Mapping[str, int] | None],
    expected: Usage | None,
    prices: Prices,
) -> Estimate:
    """Estimate the cost of so many requests.

    Args:
        requests: How many are to be asked.
        known: Usage of answers of the same judge, as in the ledger.
        expected: Tokens of one answer where none is known.
        prices: Of tokens.
    """
    told = [Usage(**row) for row in known if row is not None]
    usage = None
    if told:
        whole = sum(told, Usage())
        share = requests / len(told)
        usage = Usage(
            *(round(count * share) for count in (whole.input, whole.cached, whole.output))
        )
    elif expected is not None:
        usage = Usage(
            expected.input * requests, expected.cached * requests, expected.output * requests
        )
    cost = None if usage is None else prices.cost(usage)
    return Estimate(requests, usage, cost, prices.currency, len(told))


def totals(
    answers: Mapping[str, Mapping[str, Any]],
    attempts: Mapping[str, Iterable[Attempt]],
    prices: Prices,
) -> Totals:
    """Sum up what one judge has said, see `of_judge`.

    Args:
        answers: Final answers by key.
        attempts: Attempts by key, also of requests without a final answer.
        prices: Of tokens.
    """
    counted = Counter(row["status"] for row in answers.values())
    every = [attempt for items in attempts.values() for attempt in items]
    usage = sum((item.usage for item in every if item.usage is not None), Usage())
    return Totals(
        answers={status: counted[status] for status in ("ok", "invalid", "refused")},
        attempts=len(every),
        usage=usage,
        lost=sum(item.lost for item in every),
        untold=sum(bool(item.raw) and item.usage is None for item in every),
        cost=prices.cost(usage),
        currency=prices.currency,
    )


def _money(cost: float | None, currency: str) -> str:
    return "cost unknown: set judge.prices" if cost is None else f"{cost:.4f} {currency}"
