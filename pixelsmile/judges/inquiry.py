"""The questions of one run to a paid service, each with the attempts that it takes."""

import asyncio
import random
from dataclasses import asdict
from typing import Any

from pixelsmile.errors import UserError
from pixelsmile.judges import services
from pixelsmile.judges.base import (
    Judgement,
    JudgeRequest,
    Picture,
    Scores,
    Usage,
    answer_key,
    judge_key,
    judgement_of,
    load_picture,
    named_scores,
)
from pixelsmile.judges.ledger import OK, REFUSED, UNREADABLE, Attempt, Ledger, now
from pixelsmile.judges.lines import Row
from pixelsmile.judges.pace import Gate, Pace, backoff
from pixelsmile.judges.parsing import Parsed, parse_scores
from pixelsmile.judges.services import CallError, Question, Reply, Service

_ANSWERED = (OK, UNREADABLE, REFUSED)


class Inquiry:
    """One run of a remote judge. Made inside an event loop; everything but `finish` happens there.

    Args:
        service: Whom to ask.
        prompt: The question.
        description: What the judge's answers depend on.
        pace: How fast and how often.
        ledger: Open for writing.
    """

    def __init__(
        self,
        service: Service,
        prompt: str,
        description: dict[str, Any],
        pace: Pace,
        ledger: Ledger,
    ) -> None:
        self.service, self.prompt, self.description = service, prompt, description
        self.pace, self.ledger = pace, ledger
        self.judge = judge_key(description)
        self.line = service.connect(pace.timeout)
        self.hide = service.secret.hide
        self.gate = Gate(pace.per_minute)
        self.places = asyncio.Semaphore(pace.concurrency)
        self.chance = random.Random()  # waits need not be repeatable
        self.under_way: dict[str, asyncio.Task[Row]] = {}
        self.unanswered: list[Row] = []
        self.heard = False  # the server is there

    async def answer(self, request: JudgeRequest) -> Judgement:
        """Return the judgement of one request: known, under way for a twin, or asked for."""
        picture = load_picture(request)
        key = answer_key(self.description, picture.digest, request.repeat)
        row = self.ledger.answers.get(key)
        if row is None:
            if key not in self.under_way:
                self.under_way[key] = asyncio.create_task(self._settle(key, request, picture))
            row = await self.under_way[key]
        return judgement_of(row, request)

    async def _settle(self, key: str, request: JudgeRequest, picture: Picture) -> Row:
        """Ask until there is a final answer, and note it.

        What attempts of an earlier run have brought counts, whether or not that run lived to note
        the final answer.
        """
        failures, last = 0, None
        answered = [item for item in self.ledger.attempts[key] if item.outcome in _ANSWERED]
        verdict = self._verdict(answered)
        while verdict is None:
            async with self.places:
                attempt, wait = await self._attempt(key, picture)
            last = attempt
            if attempt.outcome in _ANSWERED:
                self.heard = True
                answered.append(attempt)
            else:
                failures += 1
            verdict = self._verdict(answered) or self._surrender(attempt, failures)
            if verdict is None:
                trouble = failures + len(answered)
                await asyncio.sleep(max(wait, backoff(self.pace, trouble, self.chance)))
        row = self._row(key, request, picture, verdict)
        if last is not None and last.outcome not in _ANSWERED:
            self._note_unanswered(row)
        else:
            self.ledger.add([*self.unanswered, row])
            self.unanswered.clear()
        return row

    def _verdict(self, answered: list[Attempt]) -> Parsed | None:
        """Return the final answer if these attempts amount to one."""
        if not answered:
            return None
        last = answered[-1]
        if last.outcome == OK:  # of this run it was read before the key was cut out of it
            return Parsed("ok", last.scores) if last.scores else parse_scores(last.raw)
        if last.outcome == REFUSED:
            return Parsed("refused", None, last.reason)
        if len(answered) >= self.pace.max_answers:
            return Parsed("invalid", None, f"{last.reason} (asked {len(answered)} times)")
        return None

    def _surrender(self, attempt: Attempt, failures: int) -> Parsed | None:
        """Return `invalid` where asking once more is useless or was done often enough."""
        if attempt.outcome == services.REJECTED:
            return Parsed("invalid", None, f"not taken: {attempt.reason}")
        if attempt.outcome not in _ANSWERED and failures >= self.pace.max_failures:
            return Parsed("invalid", None, f"no answer in {failures} attempts: {attempt.reason}")
        return None

    def _note_unanswered(self, row: Row) -> None:
        """Hold back an `invalid` until the server has answered something else.

        A server that is down would otherwise make everything invalid for good.
        """
        self.unanswered.append(row)
        if len(self.unanswered) >= self.pace.max_outage:
            raise UserError(self._down(len(self.unanswered)))

    def finish(self) -> None:
        """Note what was held back, if the server was ever there."""
        if self.unanswered and not self.heard and _unreached(self.ledger, self.unanswered):
            raise UserError(self._down(len(self.unanswered)))
        self.ledger.add(self.unanswered)

    def _down(self, number: int) -> str:
        reason = self.unanswered[-1]["reason"]
        return (
            f"{self.service.server} has answered none of the last {number} requests "
            f"({reason}): see that it runs and takes such questions, then run the same command "
            "again; finished answers are kept."
        )

    async def _attempt(self, key: str, picture: Picture) -> tuple[Attempt, float]:
        """Ask once; return what became of it and how long the server wants to be left alone."""
        await self.gate.turn()
        before = self.ledger.attempts[key]
        told = sum(item.outcome is not None and not item.lost for item in before)
        attempt = self.ledger.begin(key, self.judge)
        question = Question(attempt.name, f"{key}-{told}")
        wait, raw, usage = 0.0, "", None
        try:
            async with asyncio.timeout(self.pace.timeout):
                reply = await self.line.ask(picture, self.prompt, question)
        except TimeoutError:
            outcome, reason = services.TIMEOUT, f"no answer in {self.pace.timeout:g} s"
        except CallError as error:
            outcome, reason, usage = error.kind, error.reason, error.usage
            wait = error.wait or 0.0
        else:
            outcome, reason, attempt.scores = _read(reply)
            raw, usage = self.hide(reply.text), reply.usage
        reason = self.hide(reason)[:500]
        self.ledger.end(attempt, outcome, raw=raw, reason=reason, usage=usage)
        self._heed(outcome, reason, wait)
        return attempt, wait

    def _heed(self, outcome: str, reason: str, wait: float) -> None:
        """Stop where no question will be taken; rest where the server asks for it."""
        server = self.service.server
        if outcome == services.DENIED:
            raise UserError(
                f"{server} takes no questions ({reason}): check key, model, base_url and quota."
            )
        if wait > self.pace.patience:
            raise UserError(
                f"{server} asks to wait {wait:.0f} s: run the same command again after that, or "
                f"say judge.pace.patience={wait:.0f}; finished answers are kept."
            )
        if wait:
            self.gate.hold(wait)

    def _row(self, key: str, request: JudgeRequest, picture: Picture, verdict: Parsed) -> Row:
        """Return the line of a final answer; tokens are those of all its attempts."""
        attempts = self.ledger.attempts[key]
        told = [attempt.usage for attempt in attempts if attempt.usage is not None]
        spoken = [attempt.raw for attempt in attempts if attempt.raw]
        return {
            "key": key,
            "id": request.id,
            "repeat": request.repeat,
            "image": picture.digest,
            "judge": self.description["id"],
            "settings": self.description["settings"],
            "prompt": self.description["prompt_hash"],
            "server": self.service.server,
            "status": verdict.status,
            "reason": verdict.reason,
            "scores": named_scores(verdict.scores),
            "raw": spoken[-1] if spoken else "",
            "usage": asdict(sum(told, Usage())) if told else None,
            "attempts": len(attempts),
            "lost": sum(attempt.lost for attempt in attempts),
            "time": now(),
        }


def _read(reply: Reply) -> tuple[str, str, Scores | None]:
    """Return outcome, reason and scores of a reply."""
    if reply.refused:
        return REFUSED, reply.refused, None
    parsed = parse_scores(reply.text)
    if parsed.status == "ok":
        return OK, "", parsed.scores
    if parsed.status == "refused":
        return REFUSED, parsed.reason, None
    cut = "; it was cut at the limit of tokens" if reply.cut else ""
    return UNREADABLE, parsed.reason + cut, None


def _unreached(ledger: Ledger, rows: list[Row]) -> bool:
    """Tell whether none of these requests has ever reached a server."""
    attempts = [attempt for row in rows for attempt in ledger.attempts[row["key"]]]
    return all(attempt.outcome == services.UNREACHABLE for attempt in attempts)
