"""Strict reading of answers: what is forgiven, what is not, and that no score is ever invented."""

import json
import random
import re
import time

import pytest

from pixelsmile.expressions import EXPRESSIONS, canonical
from pixelsmile.judges.parsing import parse_scores
from pixelsmile.judges.prompt import PROMPT_LABELS

SCORES = {label: place / 100 for place, label in enumerate(PROMPT_LABELS)}
EXPECTED = tuple(
    {canonical(label): score for label, score in SCORES.items()}[name] for name in EXPRESSIONS
)
PLAIN = json.dumps(SCORES)


def changed(**changes):
    """Return the answer with other values; Python's NaN and Infinity are written as such."""
    return json.dumps({**SCORES, **changes})


def without(*labels):
    return json.dumps({label: score for label, score in SCORES.items() if label not in labels})


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        json.dumps(SCORES, indent=4),
        f"\ufeff  {PLAIN}\n\n",
        f"```json\n{PLAIN}\n```",
        f"```\n{PLAIN}\n```",
        f"````json\n{PLAIN}\n````",
        f"Here are the scores:\n{PLAIN}\nLet me know if I can help.",
        f'<think>Perhaps {{"Happiness": 1}}? I cannot help but wonder.</think>\n{PLAIN}',
        json.dumps(dict(reversed(SCORES.items()))),
        json.dumps({label.upper(): score for label, score in SCORES.items()}),
        json.dumps(dict(zip(EXPRESSIONS, EXPECTED, strict=True))),
        changed(Happiness=0),
        changed(Happiness=-0.0),
    ],
)
def test_what_surrounds_the_scores_is_forgiven(text):
    parsed = parse_scores(text)
    assert (parsed.status, parsed.reason) == ("ok", "")
    assert parsed.scores == EXPECTED


def test_whole_numbers_are_scores():
    parsed = parse_scores(changed(Happiness=1, Sadness=0))
    assert parsed.scores[EXPRESSIONS.index("happy")] == 1.0
    assert parsed.scores[EXPRESSIONS.index("sad")] == 0.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("The person looks happy.", "no JSON object"),
        ("[0.1, 0.2]", "no JSON object"),
        (PLAIN[:-1], "broken JSON"),
        (PLAIN[:40], "broken JSON"),
        (PLAIN.replace("}", ", ...}"), "broken JSON"),
        (PLAIN.replace('"', "'"), "broken JSON"),
        (f"{{well}} {PLAIN}", "broken JSON"),
        (PLAIN + PLAIN, "2 JSON objects"),
        (f"{PLAIN} or rather {PLAIN}", "2 JSON objects"),
        (json.dumps({"scores": SCORES}), "extra key 'scores'"),
        (f'{{"a": {PLAIN}', "broken JSON"),
        (changed(Neutral=0.5), "extra key 'Neutral'"),
        (changed(Joy=0.5), "extra key 'Joy'"),
        (without("Anger"), "missing: angry"),
        (
            without("Anger", "Fear", "Disgust", "Sadness"),
            "missing: angry, disgust, fear and 1 more",
        ),
        ("{}", "missing: angry, confused, contempt and 9 more"),
        (PLAIN.replace('"Sadness"', '"Happiness"'), "happy twice"),
        (changed(happy=0.5), "happy twice"),
        (changed(Anger="0.5"), "Anger is '0.5', not a number"),
        (changed(Anger="50%"), "Anger is '50%', not a number"),
        (changed(Anger=None), "Anger is None, not a number"),
        (changed(Anger=True), "Anger is True, not a number"),
        (changed(Anger=[0.5]), r"Anger is \[0.5\], not a number"),
        (changed(Anger={"score": 0.5}), "not a number"),
        (changed(Anger=50), r"Anger is 50, not in \[0, 1\]"),
        (changed(Anger=1.01), "not in"),
        (changed(Anger=-0.01), "not in"),
        (changed(Anger=float("nan")), "NaN is no score"),
        (changed(Anger=float("inf")), "Infinity is no score"),
        (changed(Anger=float("-inf")), "-Infinity is no score"),
        (PLAIN.replace("0.02", "1e999"), "not in"),
        (PLAIN.replace("0.02", "9" * 5000), "."),
        (PLAIN.replace("0.02", "50%"), "broken JSON"),
        (PLAIN + " " * 30_000 + "x", "characters"),
        ("{" * 15_000, "broken JSON"),
        ('{"a":' * 3_000, "broken JSON"),
    ],
)
def test_what_touches_the_scores_is_not(text, reason):
    parsed = parse_scores(text)
    assert (parsed.status, parsed.scores) == ("invalid", None)
    assert re.search(reason, parsed.reason), parsed.reason
    assert len(parsed.reason) < 300


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m unable to analyze images of real people.",
        "I cannot assist with identifying facial expressions.",
        "This request goes against the content policy.",
        "I won't do that.",
    ],
)
def test_prose_that_declines_is_a_refusal(text):
    assert parse_scores(text).status == "refused"


def test_an_apology_with_scores_is_read_and_one_with_broken_scores_is_invalid():
    assert parse_scores(f"I'm sorry for the delay: {PLAIN}").scores == EXPECTED
    assert parse_scores(f"I'm sorry, I can't say more: {PLAIN[:50]}").status == "invalid"


def test_no_mutilation_of_an_answer_gives_scores_that_were_not_there():
    chance = random.Random(0)
    read = 0
    for _ in range(3000):
        text = list(PLAIN)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(text))
            text[place : place + chance.randint(0, 3)] = chance.choice(
                ["", "9", "-", '"', ",", "}"]
            )
        parsed = parse_scores("".join(text))
        if parsed.status == "ok":
            read += 1
            whole = "".join(text)
            found, _ = json.JSONDecoder().raw_decode(whole, whole.index("{"))
            assert sorted(parsed.scores) == sorted(found.values())
            assert all(0 <= score <= 1 for score in parsed.scores)
        else:
            assert parsed.scores is None
    assert read > 50


def test_hostile_answers_are_read_in_no_time():
    started = time.process_time()
    for text in ('{"a":' * 4_000, "{" * 20_000, "{}" * 10_000, "</think>" * 2_500, "I can" * 4_000):
        assert parse_scores(text).status in ("invalid", "refused")
    assert time.process_time() - started < 2
