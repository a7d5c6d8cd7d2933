"""A judge behind HTTP: many questions at once, asked again where it helps, paid once.

The questions live in an event loop on a thread of its own, so that the judge is an ordinary
iterator to its user, in a notebook as well.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future
from contextlib import contextmanager
from os import PathLike
from typing import Any, TypeVar

from pixelsmile.errors import UserError
from pixelsmile.judges.base import (
    Judgement,
    JudgeRequest,
    Usage,
    answer_key,
    load_picture,
    text_hash,
)
from pixelsmile.judges.costs import Estimate, Prices, Totals, estimate, totals
from pixelsmile.judges.inquiry import Inquiry
from pixelsmile.judges.ledger import Ledger, of_judge, read_answers, read_attempts
from pixelsmile.judges.pace import Pace
from pixelsmile.judges.prompt import SCORING_PROMPT
from pixelsmile.judges.services import Service

T = TypeVar("T")

_AHEAD = 8  # requests read ahead, for each question under way


class RemoteJudge:
    """Ask a service for the scores of images and keep every answer.

    Args:
        service: Whom to ask.
        ledger: File of the answers; what it already answers is not asked again.
        pace: How fast and how often.
        prices: Of tokens, for totals in money.
        expected: Tokens of one answer, for the estimate before there is any.
        prompt: The question.
    """

    def __init__(
        self,
        service: Service,
        *,
        ledger: str | PathLike[str] | None,
        pace: Pace | None = None,
        prices: Prices | None = None,
        expected: Usage | None = None,
        prompt: str = SCORING_PROMPT,
    ) -> None:
        if ledger is None:
            raise UserError(
                "Answers of a service are paid for: say where to keep them, judge.ledger."
            )
        self.service = service
        self.ledger = ledger
        self.pace = pace or Pace()
        self.prices = prices or Prices()
        self.expected = expected
        self.prompt = prompt

    def describe(self) -> dict[str, Any]:
        """Return all that an answer depends on; where the server stands is not part of it."""
        return {
            "id": self.service.id,
            "settings": self.service.settings,
            "prompt_hash": text_hash(self.prompt),
        }

    def estimate(self, requests: Iterable[JudgeRequest]) -> Estimate:
        """Say what answering these requests will cost, without those that are answered.

        The tokens of an answer are the mean of this judge's in the ledger, or else `expected`.
        """
        try:
            answers = read_answers(self.ledger)
        except UserError:
            answers = {}
        judge = self.describe()
        keys = {answer_key(judge, load_picture(item).digest, item.repeat) for item in requests}
        known = [row["usage"] for row in of_judge(judge, answers, {})[0].values()]
        return estimate(len(keys - answers.keys()), known, self.expected, self.prices)

    def totals(self) -> Totals:
        """Sum up what this judge has cost so far; others may have answered in the same ledger."""
        every = read_answers(self.ledger), read_attempts(self.ledger)
        return totals(*of_judge(self.describe(), *every), self.prices)

    def judge_files(self, requests: Iterable[JudgeRequest]) -> Iterator[Judgement]:
        """Yield one judgement a request, in the order of the requests.

        Whoever stops early, or is stopped, finds all finished answers in the ledger.

        Raises:
            UserError: If an image cannot be read, or the service takes no questions at all.
        """
        with Ledger(self.ledger) as ledger, _loop_in_thread() as loop:
            inquiry = _call(loop, self._inquire(ledger)).result()
            try:
                yield from _in_order(loop, inquiry.answer, requests, self.pace.concurrency * _AHEAD)
                inquiry.finish()
            finally:
                _call(loop, inquiry.line.close()).result()

    async def _inquire(self, ledger: Ledger) -> Inquiry:
        return Inquiry(self.service, self.prompt, self.describe(), self.pace, ledger)


def _in_order(
    loop: asyncio.AbstractEventLoop,
    answer: Callable[[JudgeRequest], Coroutine[Any, Any, Judgement]],
    requests: Iterable[JudgeRequest],
    ahead: int,
) -> Iterator[Judgement]:
    """Start requests ahead of time, and yield their results in their order.

    An error ends it at once, also while an earlier request waits to be asked again.
    """
    waiting: deque[Future[Judgement]] = deque()
    trouble: Future[Judgement] = Future()

    def watch(future: "Future[Judgement]") -> None:
        if not future.cancelled() and (error := future.exception()) and not trouble.done():
            trouble.set_exception(error)

    def first() -> Judgement:
        futures.wait((waiting[0], trouble), return_when=futures.FIRST_COMPLETED)
        return trouble.result() if trouble.done() else waiting.popleft().result()

    for request in requests:
        waiting.append(_call(loop, answer(request)))
        waiting[-1].add_done_callback(watch)
        while waiting and (len(waiting) >= ahead or waiting[0].done()):
            yield first()
    while waiting:
        yield first()


def _call(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> "Future[T]":
    return asyncio.run_coroutine_threadsafe(work, loop)


@contextmanager
def _loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop beside the caller; at the end everything in it is cancelled."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # one error is raised; its echoes are not shown
    thread = threading.Thread(target=loop.run_forever, name="judge", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        _call(loop, _cancel_all()).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
