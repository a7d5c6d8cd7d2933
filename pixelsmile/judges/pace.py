"""How fast a service is asked, how long it is waited for, and when to stop asking."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from email.utils import parsedate_to_datetime

from pixelsmile.errors import UserError


@dataclass(frozen=True)
class Pace:
    """Limits for asking a service.

    Attributes:
        concurrency: Questions under way at once.
        per_minute: Questions sent in a minute, evenly spaced; None for no limit.
        timeout: Seconds from sending a question to the end of its answer.
        max_answers: Answers without readable scores after which a request is `invalid`; those of
            earlier runs count.
        max_failures: Questions of this run that brought no answer (server error, rate limit,
            timeout, dropped connection) after which a request is `invalid`.
        first_wait: Seconds before asking again, doubled each time and drawn between half and all
            of it.
        longest_wait: Upper end of that doubling, in seconds.
        patience: The longest Retry-After, in seconds, that is waited for; a longer one ends the
            run with an error.
        max_outage: Requests without an answer, one after the other, after which the service
            counts as down, which ends the run with an error and makes none of them `invalid`.
    """

    concurrency: int = 8
    per_minute: float | None = None
    timeout: float = 120.0
    max_answers: int = 3
    max_failures: int = 8
    first_wait: float = 1.0
    longest_wait: float = 60.0
    patience: float = 600.0
    max_outage: int = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "per_minute" and value is None:
                continue
            least = 1 if field.type in ("int", int) else 0
            if not value >= least or (field.name in ("timeout", "per_minute") and value == 0):
                raise UserError(f"judge.pace.{field.name}={value!r} is too small: choose a larger.")


def backoff(pace: Pace, failures: int, chance: random.Random) -> float:
    """Return the seconds to wait after so many failures, at least one.

    Example:
        >>> pace = Pace(first_wait=1.0, longest_wait=5.0)
        >>> waits = [backoff(pace, count, random.Random(0)) for count in (1, 2, 3, 9)]
        >>> all(full / 2 <= wait <= full for wait, full in zip(waits, (1, 2, 4, 5)))
        True
    """
    full = min(pace.longest_wait, pace.first_wait * 2 ** min(failures - 1, 30))
    return full * chance.uniform(0.5, 1.0)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a response asks to wait (RFC 9110, 10.2.3), None if it does not say.

    Args:
        headers: Of the response, under lower-case names or in a mapping that ignores case.
        now: Seconds since 1970, to which an HTTP date is compared.

    Example:
        >>> retry_after({"retry-after": "120"}, now=0)
        120.0
        >>> retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=45)
        15.0
    """
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * scale
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        moment = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - now)


class Gate:
    """Lets questions through: evenly spaced, and none while the service wants rest.

    Args:
        per_minute: How many in a minute; None for as many as come.
    """

    def __init__(self, per_minute: float | None) -> None:
        self.interval = 60.0 / per_minute if per_minute else 0.0
        self._next = self._open = 0.0

    async def turn(self) -> None:
        """Wait for this question's turn."""
        place = max(time.monotonic(), self._next)
        self._next = place + self.interval
        while (wait := max(place, self._open) - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def hold(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._open = max(self._open, time.monotonic() + seconds)
