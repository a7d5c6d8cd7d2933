"""When a service is asked again: waits, Retry-After, and limits that make sense."""

import random

import pytest

from pixelsmile.errors import UserError
from pixelsmile.judges.pace import Pace, backoff, retry_after
from pixelsmile.judges.services import (
    Secret,
    checked_url,
    key_from,
    kind_of_status,
    need_package,
)


def test_waits_double_up_to_a_limit_with_jitter_in_the_upper_half():
    pace = Pace(first_wait=0.5, longest_wait=6.0)
    chance = random.Random(0)
    for failures in range(1, 50):
        full = min(6.0, 0.5 * 2 ** (failures - 1))
        waits = [backoff(pace, failures, chance) for _ in range(200)]
        assert full / 2 <= min(waits) < 0.6 * full
        assert 0.9 * full < max(waits) <= full


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 37.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:37 GMT"}, 37.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds):
    assert retry_after(headers, now=784111740.0) == seconds  # 1994-11-06 08:49:00 UTC


@pytest.mark.parametrize(
    "settings",
    [
        {"concurrency": 0},
        {"timeout": 0},
        {"per_minute": 0},
        {"max_answers": 0},
        {"first_wait": -1},
        {"max_failures": float("nan")},
    ],
)
def test_limits_that_make_no_sense_are_named(settings):
    (name,) = settings
    with pytest.raises(UserError, match=rf"judge\.pace\.{name}="):
        Pace(**settings)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, None, "denied"),
        (404, "model_not_found", "denied"),
        (429, "rate_limit_exceeded", "rate_limited"),
        (429, "insufficient_quota", "denied"),
        (400, "content_filter", "refused"),
        (403, "content_policy_violation", "refused"),
        (422, "moderation_blocked", "refused"),
        (451, "SAFETY", "refused"),
        (403, "permission_denied", "denied"),
        (503, "safety", "server_error"),
        (400, "invalid_value", "rejected"),
        (400, "API_KEY_INVALID", "denied"),
        (413, None, "rejected"),
        (408, None, "server_error"),
        (500, None, "server_error"),
        (529, None, "server_error"),
    ],
)
def test_statuses_mean_what_they_say(status, code, kind):
    assert kind_of_status(status, {"error": {"details": [{"code": code}]}}) == kind


@pytest.mark.parametrize("word", ["none", "None", "EMPTY", "sk-no-key-required"])
def test_a_word_in_place_of_a_key_is_no_secret(word):
    assert Secret(word).hide(f"{word} of them, none") == f"{word} of them, none"
    assert Secret(f"{word}-1").hide(f"{word}-1") == "***"


def test_a_missing_key_or_package_is_one_clear_error(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="No API key: export OPENAI_API_KEY in the shell"):
        key_from(("OPENAI_API_KEY",))
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1 ")
    secret = key_from(("GEMINI_API_KEY_2", "OPENAI_API_KEY"))
    assert secret == Secret("sk-1")
    assert "sk-1" not in repr(secret) + str(secret)
    with pytest.raises(UserError, match=r'no_such_client: pip install "pixelsmile\[judges\]"'):
        need_package("no_such_client")


@pytest.mark.parametrize(
    "url", ["http://user:secret@host/v1", "http://host/v1?key=secret", "host:8000", "ftp://host"]
)
def test_an_address_with_a_secret_or_without_sense_is_refused(url):
    with pytest.raises(UserError, match="base_url") as error:
        checked_url(url)
    assert "secret" not in str(error.value)
