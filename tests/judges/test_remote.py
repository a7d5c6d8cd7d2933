"""The real clients against a server that answers, stalls, drops, limits, refuses and lies."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter, defaultdict

import pytest

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, canonical
from pixelsmile.judges.base import JudgeRequest, Usage
from pixelsmile.judges.costs import Prices
from pixelsmile.judges.ledger import attempts_path, read_answers, read_attempts
from pixelsmile.judges.noise import repeated
from tests.judges.conftest import gemini_judge, openai_judge, png
from tests.judges.server import KEY, Handler, good, http_date, true_scores

BOTH = pytest.mark.parametrize("judge_of", [openai_judge, gemini_judge])


def truth(image):
    """Return the server's scores in the order of `EXPRESSIONS`."""
    named = {canonical(label): score for label, score in true_scores(image).items()}
    return tuple(named[name] for name in EXPRESSIONS)


def once(kind, times=1):
    """Do this at the first questions about each image, then answer."""
    return lambda image, number: kind if number <= times else "answer"


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "judge.jsonl"


@BOTH
def test_every_image_gets_its_own_scores_in_order_and_is_asked_once(
    judge_of, server, ledger, requests
):
    server.plan = lambda image, number: "fence" if int(image[0], 16) % 2 else "answer"
    judgements = list(judge_of(server, ledger).judge_files(requests))
    assert [item.id for item in judgements] == [item.id for item in requests]
    rows = {row["id"]: row for row in read_answers(ledger).values()}
    for judgement in judgements:
        assert judgement.status == "ok"
        assert judgement.scores == truth(rows[judgement.id]["image"])
    again = list(judge_of(server, ledger).judge_files(requests))
    assert again == judgements
    assert len(server.log) == len(requests)


@BOTH
@pytest.mark.parametrize(
    "kind",
    ["drop", "limit", "overload", "page", "json", "keys", "missing", "nan", "percent", "range"],
)
def test_every_trouble_is_asked_again_and_ends_in_the_right_scores(
    judge_of, kind, server, ledger, requests
):
    server.plan = once(kind)
    judge = judge_of(server, ledger)
    judgements = list(judge.judge_files(requests[:2]))
    assert [item.status for item in judgements] == ["ok", "ok"]
    rows = {row["id"]: row for row in read_answers(ledger).values()}
    assert all(item.scores == truth(rows[item.id]["image"]) for item in judgements)
    lost = kind in ("drop", "page")
    billed = [item for item in server.log if not (lost and item.kind == kind)]
    usage = judge.totals().usage
    assert (usage.input, usage.output) == server.total(billed)
    assert judge.totals().lost == (2 if lost else 0)
    assert usage.cached == 64 * sum(bool(item.input) for item in billed)


@pytest.mark.parametrize("kind", ["empty", "dict", "words", "picture", "numbers"])
def test_a_completion_of_another_shape_is_asked_again_and_its_tokens_count(
    kind, server, ledger, requests
):
    server.plan = once(kind)
    judge = openai_judge(server, ledger)
    (judgement,) = judge.judge_files(requests[:1])
    assert judgement.status == "ok"
    (broken, _), totals = next(iter(read_attempts(ledger).values())), judge.totals()
    assert broken.outcome == "broken"
    assert broken.reason
    assert (totals.usage.input, totals.usage.output) == server.total()
    assert totals.lost == 0
    assert len({item.idempotency for item in server.log}) == 2  # not the broken one once more


def test_gemini_candidates_of_another_shape_are_asked_again(server, ledger, requests):
    server.plan = once("dict")
    (judgement,) = gemini_judge(server, ledger).judge_files(requests[:1])
    assert judgement.status == "ok"


def test_an_answer_in_parts_is_read_without_the_thoughts(server, ledger, requests):
    server.plan = lambda image, number: "parts"
    judgements = list(openai_judge(server, ledger).judge_files(requests[:2]))
    rows = {row["id"]: row for row in read_answers(ledger).values()}
    assert all(item.scores == truth(rows[item.id]["image"]) for item in judgements)
    assert all(item.raw == good(rows[item.id]["image"]) for item in judgements)
    assert len(server.log) == 2


@pytest.mark.parametrize("kind", ["strings", "floats", "negative", "truth", "list"])
def test_a_count_of_tokens_that_is_none_is_not_written_and_stops_nothing(
    kind, server, ledger, requests
):
    server.plan = lambda image, number: kind
    judge = openai_judge(server, ledger)
    (judgement,) = judge.judge_files(requests[:1])
    assert (judgement.status, judgement.usage) == ("ok", None)
    assert (judge.totals().usage, judge.totals().untold) == (Usage(), 1)
    assert list(openai_judge(server, ledger).judge_files(requests[:1])) == [judgement]


def test_negative_tokens_of_gemini_are_no_count(server, ledger, requests):
    server.plan = lambda image, number: "negative"
    (judgement,) = gemini_judge(server, ledger).judge_files(requests[:1])
    assert (judgement.status, judgement.usage) == ("ok", None)


@BOTH
def test_a_stalled_answer_is_given_up_after_the_timeout(judge_of, server, ledger, requests):
    server.plan, server.stall = once("stall"), 30.0
    started = time.monotonic()
    (judgement,) = judge_of(server, ledger, timeout=1.0).judge_files(requests[:1])
    assert judgement.status == "ok"
    assert time.monotonic() - started < 20.0
    (attempts,) = read_attempts(ledger).values()
    *others, last = [item.outcome for item in attempts]
    assert last == "ok"
    assert set(others) == {"timeout"}  # on a busy machine good answers may be late, too


@BOTH
@pytest.mark.parametrize("kind", ["json", "keys", "nan"])
def test_what_can_never_be_read_is_asked_a_bounded_number_of_times_and_invalid(
    judge_of, kind, server, ledger, requests
):
    server.plan = lambda image, number: kind
    (judgement,) = judge_of(server, ledger, max_answers=3).judge_files(requests[:1])
    assert (judgement.status, judgement.scores) == ("invalid", None)
    assert "asked 3 times" in judgement.reason
    assert judgement.raw
    assert len(server.log) == 3
    assert judgement.usage == Usage(server.total()[0], 3 * 64, server.total()[1])


@BOTH
@pytest.mark.parametrize("kind", ["refuse", "filter", "sorry", "policy", "forbidden"])
def test_a_refusal_by_policy_is_final_and_not_asked_again(judge_of, kind, server, ledger, requests):
    server.plan = lambda image, number: kind
    (judgement,) = judge_of(server, ledger).judge_files(requests[:1])
    assert (judgement.status, judgement.scores) == ("refused", None)
    assert judgement.reason
    list(judge_of(server, ledger).judge_files(requests[:1]))
    assert len(server.log) == 1


def test_a_question_whose_answer_was_lost_keeps_its_idempotency_key(server, ledger, requests):
    server.plan = lambda image, number: ["drop", "json", "drop", "answer"][number - 1]
    list(openai_judge(server, ledger).judge_files(requests[:1]))
    keys = [item.idempotency for item in server.log]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert len({item.attempt for item in server.log}) == 4


def test_an_answer_cut_at_the_limit_of_tokens_says_so(server, ledger, requests):
    server.plan = lambda image, number: "cut"
    (judgement,) = openai_judge(server, ledger).judge_files(requests[:1])
    assert judgement.status == "invalid"
    assert "cut at the limit of tokens" in judgement.reason


def test_a_server_that_never_answers_one_image_makes_it_invalid_and_no_other(
    server, ledger, requests
):
    bad = {}
    server.plan = lambda image, number: (
        bad.setdefault(image, "overload") if not bad else bad.get(image, "answer")
    )
    judgements = list(openai_judge(server, ledger, max_failures=3).judge_files(requests))
    assert Counter(item.status for item in judgements) == {"ok": 4, "invalid": 1}
    (invalid,) = [item for item in judgements if item.status == "invalid"]
    assert "no answer in 3 attempts: HTTP 503" in invalid.reason
    assert len(read_answers(ledger)) == 5
    assert invalid.usage is None


@BOTH
def test_a_server_that_is_down_ends_the_run_and_makes_nothing_invalid(judge_of, server, ledger):
    server.plan = lambda image, number: "overload"
    many = [JudgeRequest(png(number), f"{number}") for number in range(20)]
    judge = judge_of(server, ledger, max_failures=2, max_outage=4)
    with pytest.raises(UserError, match=r"answered none of the last 4 requests .*HTTP 503"):
        list(judge.judge_files(many))
    assert not read_answers(ledger)
    server.plan = once("answer")
    assert all(item.status == "ok" for item in judge.judge_files(many))


@BOTH
def test_an_address_where_nobody_listens_is_one_clear_error(judge_of, server, ledger, requests):
    with socket.socket() as closed:  # takes a port, and does not listen
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        judge = judge_of(server, ledger, base_url=url, max_failures=2)
        with pytest.raises(UserError, match=rf"{url} has answered none .*cannot connect"):
            list(judge.judge_files(requests[:2]))
    assert not read_answers(ledger)


def test_a_question_that_the_server_does_not_take_is_not_asked_again(server, ledger, requests):
    server.plan = lambda image, number: "rejected"
    judge = openai_judge(server, ledger, max_outage=5)
    assert [item.status for item in judge.judge_files(requests[:2])] == ["invalid"] * 2
    assert len(server.log) == 2
    with pytest.raises(UserError, match="temperature is not supported"):
        list(judge.judge_files([JudgeRequest(png(50 + n), f"{n}") for n in range(9)]))


@BOTH
@pytest.mark.parametrize("kind", ["denied", "quota"])
def test_a_wrong_key_or_an_empty_account_stops_everything_at_once(judge_of, kind, server, ledger):
    server.plan, server.delay = (lambda image, number: kind), 0.02
    many = [JudgeRequest(png(number), f"{number}") for number in range(40)]
    with pytest.raises(
        UserError, match=r"takes no questions .*check key, model, base_url"
    ) as error:
        list(judge_of(server, ledger, concurrency=2).judge_files(many))
    assert KEY not in str(error.value)
    assert len(server.log) < 10


@pytest.mark.parametrize("wait", ["0.5", "date"])
def test_retry_after_is_honoured_by_all_questions(wait, server, ledger, requests):
    # A date has whole seconds: it is told when it is sent, and is then one second away or more.
    server.retry_after = (lambda: http_date(2)) if wait == "date" else wait
    server.plan = lambda image, number: "limit" if len(server.log) == 0 else "answer"
    judge = openai_judge(server, ledger, concurrency=1)
    assert all(item.status == "ok" for item in judge.judge_files(requests))
    moments = [item.moment for item in server.log]
    assert min(moments[1:]) - moments[0] >= 0.49
    assert len(server.log) == 6


def test_a_retry_after_beyond_patience_ends_the_run(server, ledger, requests):
    server.retry_after = "3600"
    server.plan = lambda image, number: "limit"
    judge = openai_judge(server, ledger, patience=60)
    with pytest.raises(UserError, match=r"asks to wait 3600 s: .*judge\.pace\.patience=3600"):
        list(judge.judge_files(requests))
    assert not read_answers(ledger)


def test_no_more_questions_than_allowed_are_under_way(server, ledger, requests):
    server.delay = 0.3  # time enough for a second question to arrive
    list(openai_judge(server, ledger, concurrency=2).judge_files(requests))
    assert server.most == 2


def test_questions_are_spaced_by_the_rate_limit(server, ledger, requests):
    start = time.monotonic()
    list(openai_judge(server, ledger, per_minute=600).judge_files(requests))
    assert len(server.log) == len(requests) == 5
    assert time.monotonic() - start >= 4 * 0.1  # however late the first one arrives


def test_the_same_image_twice_in_one_run_is_asked_once(server, ledger):
    twins = [JudgeRequest(png(1), "left"), JudgeRequest(png(1), "right")]
    left, right = openai_judge(server, ledger).judge_files(twins)
    assert (left.id, right.id) == ("left", "right")
    assert left.scores == right.scores
    assert len(server.log) == len(read_answers(ledger)) == 1


def test_repeats_settings_and_models_are_answers_of_their_own(server, ledger, requests):
    list(openai_judge(server, ledger).judge_files(repeated(requests[:1], 3)))
    list(openai_judge(server, ledger, options={"temperature": 1}).judge_files(requests[:1]))
    list(gemini_judge(server, ledger).judge_files(requests[:1]))
    assert len(read_answers(ledger)) == len(server.log) == 5
    assert server.log[3].body["temperature"] == 1


def test_stopping_early_keeps_what_is_finished_and_lets_others_write(server, ledger, requests):
    server.delay = 0.02
    judging = openai_judge(server, ledger, concurrency=1).judge_files(requests)
    first = next(judging)
    judging.close()
    assert read_answers(ledger)[first.key]["id"] == first.id
    judgements = list(openai_judge(server, ledger).judge_files(requests))
    assert judgements[0] == first
    assert sum(item.image == server.log[0].image for item in server.log) == 1


def test_an_image_that_is_none_is_named(server, ledger, tmp_path):
    (tmp_path / "torn.png").write_bytes(png(1)[:40])
    for name, message in (("torn.png", "cannot be read"), ("none.png", "is missing")):
        with pytest.raises(UserError, match=rf"{name} .*{message}|{name} {message}"):
            list(openai_judge(server, ledger).judge_files([JudgeRequest(tmp_path / name, "x")]))
    assert not server.log


def test_replies_without_a_count_of_tokens_are_told_and_not_guessed(server, ledger, requests):
    server.plan = lambda image, number: "untold"
    judge = openai_judge(server, ledger)
    assert all(item.usage is None for item in judge.judge_files(requests))
    assert judge.totals().untold == 5
    assert judge.totals().usage == Usage()


def test_totals_and_estimates_are_those_of_one_judge_of_a_ledger(server, ledger, requests):
    warm = {"options": {"temperature": 1}}
    first, second = openai_judge(server, ledger), openai_judge(server, ledger, **warm)
    list(first.judge_files(requests))
    own = len(server.log)
    list(second.judge_files(requests[:2]))
    server.plan = lambda image, number: "denied"
    with pytest.raises(UserError, match="takes no questions"):
        list(second.judge_files(requests[2:3]))
    assert len(server.log) == own + 3  # the last of them at a question without an answer
    for judge, log, answers in ((first, server.log[:own], 5), (second, server.log[own:], 2)):
        totals = judge.totals()
        assert totals.answers == {"ok": answers, "invalid": 0, "refused": 0}
        assert (totals.usage.input, totals.usage.output) == server.total(log)
        assert totals.attempts == len(log)
    assert second.estimate(requests).measured == 2


def test_a_server_without_a_key_may_say_the_word_that_stands_for_it(
    server, ledger, requests, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setattr(Handler, "text", lambda self, kind, image: f"none: {good(image)}")
    (judgement,) = openai_judge(server, ledger).judge_files(requests[:1])
    assert judgement.status == "ok"
    assert judgement.raw.startswith("none: ")


def test_a_key_that_occurs_in_an_answer_is_hidden_after_the_scores_were_read(
    server, ledger, requests, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "Anger")
    (judgement,) = openai_judge(server, ledger).judge_files(requests[:1])
    (row,) = read_answers(ledger).values()
    assert judgement.scores == truth(row["image"])
    assert "***" in judgement.raw
    assert "Anger" not in ledger.read_text() + attempts_path(ledger).read_text()


def test_the_estimate_shrinks_with_what_is_answered_and_learns_from_it(server, ledger, requests):
    judge = openai_judge(server, ledger, prices=Prices(input=2.0, output=12.0))
    judge.expected = Usage(input=1500, output=100)
    before = judge.estimate(requests)
    assert (before.requests, before.usage) == (5, Usage(7500, 0, 500))
    assert before.cost == pytest.approx((7500 * 2 + 500 * 12) / 1e6)
    list(judge.judge_files(requests[:2]))
    after = judge.estimate(requests)
    spent_in, spent_out = server.total()
    assert (after.requests, after.measured) == (3, 2)
    assert after.usage == Usage(round(spent_in * 1.5), 64 * 3, round(spent_out * 1.5))
    assert judge.totals().cost == pytest.approx((spent_in * 2 + spent_out * 12) / 1e6)


@BOTH
def test_the_key_is_in_no_file_and_no_message(judge_of, server, tmp_path, requests, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    said = []
    kinds = ["denied", "echo", "drop", "limit", "answer"]
    for number, (kind, request) in enumerate(zip(kinds, requests, strict=True)):
        server.plan = lambda image, number, kind=kind: kind
        judge = judge_of(server, tmp_path / str(number) / "judge.jsonl", max_failures=2)
        try:
            said += [repr(item) for item in judge.judge_files([request])]
        except UserError as error:
            said.append("".join(traceback.format_exception(error)))
        said += [repr(judge.describe()), repr(vars(judge.service)), json.dumps(judge.describe())]
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 8
    texts = [*said, *files, caplog.text, *capfd.readouterr()]
    assert not [text for text in texts if KEY in text]
    assert any("***" in text for text in said)  # the server did say it
    assert any("***" in text for text in files)


@pytest.mark.slow
def test_thirty_percent_of_six_failures_and_three_kills_leave_every_answer_accounted_for(
    server, tmp_path
):
    """The server's own log is the reference: each attempt by name, each token."""
    images, repeats = 100, 2
    troubles = ["stall", "drop", "limit", "overload", "json", "nan"]
    counts = Counter()

    def plan(image, number):
        if int(image[-2:], 16) < 8:
            return "refuse"  # some faces, always
        counts["all"] += 1
        kind = troubles[counts["all"] % 20] if counts["all"] % 20 < 6 else "answer"
        counts[kind] += 1
        return kind

    server.plan, server.delay, server.stall = plan, 0.01, 6.0
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(images):
        (folder / f"{number:03}.png").write_bytes(png(number))
    ledger = tmp_path / "judge.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "tests.judges.kill_judge", server.url, folder, ledger, f"{repeats}"],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["killed", "killed", "killed", "finished"]
    assert all(counts[kind] >= 10 for kind in troubles)

    # Each request has one final line, which is right.
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert Counter((row["id"], row["repeat"]) for row in lines) == {
        (f"{number:03}.png", repeat): 1 for number in range(images) for repeat in range(repeats)
    }
    for row in lines:
        refused = int(row["image"][-2:], 16) < 8
        scores = row["scores"] and tuple(row["scores"][name] for name in EXPRESSIONS)
        if row["status"] == "invalid":  # three lies in a row about one face
            assert "asked 3 times" in row["reason"]
            assert scores is None
        else:
            assert row["status"] == ("refused" if refused else "ok")
            assert scores == (None if refused else truth(row["image"]))
    assert sum(row["status"] == "refused" for row in lines) >= 2

    # Nothing was asked again once an answer was known; what the server saw is in the journal.
    attempts = read_attempts(ledger)
    by_name = {attempt.name: attempt for group in attempts.values() for attempt in group}
    for group in attempts.values():
        finals = [n for n, attempt in enumerate(group) if attempt.outcome in ("ok", "refused")]
        assert finals in ([], [len(group) - 1])
    seen = defaultdict(list)
    for entry in server.log:
        seen[entry.attempt].append(entry)
    assert all(len(entries) == 1 for entries in seen.values())
    assert seen.keys() <= by_name.keys()
    assert all(by_name[name].lost for name in by_name.keys() - seen.keys())

    # Tokens agree attempt by attempt, and what is not known is known to be not known.
    lost = {name for name, attempt in by_name.items() if attempt.lost}
    for name, (entry,) in seen.items():
        usage = by_name[name].usage
        told = (usage.input, usage.output) if usage else (0, 0)
        assert told == ((0, 0) if name in lost else (entry.input, entry.output))
    totals = openai_judge(server, ledger).totals()
    told = server.total([entry for entry in server.log if entry.attempt not in lost])
    assert (totals.usage.input, totals.usage.output) == told
    assert totals.lost == len(lost)
    assert totals.attempts == len(by_name)
    usages = [row["usage"] for row in lines if row["usage"]]
    assert sum(row["input"] for row in usages) == totals.usage.input
    assert sum(row["output"] for row in usages) == totals.usage.output
    open_ones = sum(attempt.outcome is None for attempt in by_name.values())
    assert 3 <= open_ones <= 3 * 8
    assert attempts_path(ledger).exists()
