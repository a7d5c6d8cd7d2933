"""Configs of judges come to life, and what is missing is said in one sentence."""

import dataclasses
import math
import statistics
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import pixelsmile.stack  # noqa: F401 - registers the resolvers of the configs
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.judges import build_judge, judge_noise, repeated
from pixelsmile.judges.base import Judgement, JudgeRequest, Usage
from pixelsmile.judges.costs import Estimate, Prices, estimate, totals
from pixelsmile.judges.ledger import Attempt
from pixelsmile.judges.pace import Pace
from tests.judges.conftest import png


def judge_config(name, *overrides):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose(f"judge/{name}", list(overrides)).judge


def test_the_tiny_judge_of_the_config_judges_with_the_shipped_weights(tmp_path):
    judge = build_judge(judge_config("tiny"), tmp_path / "judge.jsonl")
    (judgement,) = judge.judge_files([JudgeRequest(png(1, 128), "plain")])
    assert judgement.status == "ok"
    assert (tmp_path / "judge.jsonl").exists()


def test_the_openai_judge_of_the_config_has_the_limits_it_names(server, tmp_path):
    config = judge_config(
        "openai", "judge.service.model=m", f"judge.service.base_url={server.url}/v1"
    )
    judge = build_judge(config, tmp_path / "judge.jsonl")
    assert judge.pace == Pace()  # what the file says is what the class says
    assert judge.prices == Prices()
    assert judge.describe()["settings"]["options"] == {"temperature": 0}
    (judgement,) = judge.judge_files([JudgeRequest(png(1), "face")])
    assert judgement.status == "ok"
    assert server.log[0].body["temperature"] == 0


def test_the_gemini_judge_of_the_config_asks_the_model_of_the_paper(server, tmp_path):
    judge = build_judge(
        judge_config(
            "gemini",
            f"judge.service.base_url={server.url}",
            "+judge.service.options.thinking_config={thinking_budget:128}",
        ),
        tmp_path / "judge.jsonl",
    )
    assert judge.describe()["id"] == "gemini/gemini-3-pro-preview"
    (judgement,) = judge.judge_files([JudgeRequest(png(1), "face")])
    assert judgement.status == "ok"
    (thinking,) = server.log[0].body["generationConfig"].values()
    assert list(thinking.values()) == [128]  # the client names nested fields in its own way


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("openai", [], r"Set judge\.service\.model="),
        ("openai", ["judge.service.model=m"], "No API key: export OPENAI_API_KEY"),
        ("gemini", [], r"No API key: export GEMINI_API_KEY or GOOGLE_API_KEY"),
        ("gemini", ["+judge.service.api_key=sk-1"], "'api_key' in its config.*environment"),
        ("gemini", ["+judge.service.options.heat=1"], r"'heat': 1.* no fields of Generate.*heat"),
        ("gemini", ["judge.pace.concurrency=0"], r"judge\.pace\.concurrency=0 is too small"),
        ("gemini", ["judge.prices.input=-1"], r"judge\.prices\.input=-1 is no price"),
        ("qwen_vl", [], r"Set judge\.folder="),
        ("qwen_vl", ["judge.folder=nowhere"], "No model in nowhere"),
        ("replay", [], r"Set judge\.file="),
        ("replay", ["judge.file=nowhere.jsonl"], r"No answers of a judge in nowhere\.jsonl"),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(name, overrides, message, monkeypatch, tmp_path):
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UserError, match=message) as error:
        build_judge(judge_config(name, *overrides), tmp_path / "judge.jsonl")
    assert "sk-1" not in str(error.value)
    assert not (tmp_path / "judge.jsonl").exists()


@pytest.mark.parametrize(("name", "package"), [("openai", "openai"), ("gemini", "google.genai")])
def test_a_client_that_is_not_installed_is_one_sentence(name, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    config = judge_config(name)
    config.service.model = "m"
    with pytest.raises(UserError, match=rf'needs the package {package}: pip install "pixelsmile'):
        build_judge(config, tmp_path / "judge.jsonl")


def test_no_config_mentions_a_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("GEMINI_API_KEY", "sk-planted")
    for name in ("openai", "gemini"):
        text = OmegaConf.to_yaml(judge_config(name, "judge.service.model=m"), resolve=True)
        assert "sk-planted" not in text
        assert "api_key" not in text


def test_a_paid_judge_without_a_place_for_its_answers_is_refused(server):
    config = judge_config("gemini", f"judge.service.base_url={server.url}")
    with pytest.raises(UserError, match=r"say where to keep them, judge\.ledger"):
        build_judge(config)


def attempt(outcome, usage=None, raw=""):
    return Attempt("x", "judge", outcome, raw, usage=usage)


def test_totals_count_every_attempt_and_say_what_is_not_known():
    attempts = {
        "a": [
            attempt("unreadable", Usage(100, 60, 10), "no"),
            attempt("ok", Usage(101, 0, 11), "y"),
        ],
        "b": [attempt(None), attempt("timeout"), attempt("rate_limited"), attempt("ok", None, "y")],
    }
    answers = {"a": {"status": "ok"}, "b": {"status": "ok"}}
    found = totals(answers, attempts, Prices(input=2.0, cached=0.5, output=12.0))
    assert found.usage == Usage(201, 60, 21)
    assert (found.attempts, found.lost, found.untold) == (6, 2, 1)
    assert found.cost == pytest.approx((141 * 2 + 60 * 0.5 + 21 * 12) / 1e6, rel=1e-12)
    assert str(found) == (
        "2 ok, 0 invalid, 0 refused; 6 attempts, 201 tokens in (60 cached), 21 out, 0.0006 USD; "
        "2 attempts were cut off, their cost is unknown; 1 replies came without a count of tokens"
    )
    assert totals({}, {}, Prices(input=1.0)).cost is None


def test_estimates_say_what_they_rest_on():
    prices = Prices(input=1.0, output=10.0)
    guess = estimate(1000, [], Usage(1800, 0, 150), prices)
    assert str(guess) == (
        "1000 requests, about 1,800,000 tokens in and 150,000 out, 3.3000 USD (guess of the config)"
    )
    assert estimate(10, [{"input": 10, "cached": 0, "output": 1}, None], None, prices).measured == 1
    assert "tokens unknown" in str(estimate(10, [], None, prices))
    assert str(Estimate(0, None, None, "USD", 0)) == "nothing left to ask"
    assert "cost unknown: set judge.prices" in str(estimate(1, [], Usage(1, 0, 1), Prices()))


def judged(name, repeat, *scores):
    return Judgement("ok", (*scores, *(0.0,) * (12 - len(scores))), "", None, "k", name, repeat)


def test_noise_is_the_pooled_deviation_within_images_and_ignores_what_was_not_read():
    a, b = [0.1, 0.4, 0.1], [0.9, 0.7]
    judgements = [judged("a", n, score, 0.2) for n, score in enumerate(a)]
    judgements += [judged("b", n, score) for n, score in enumerate(b)]
    judgements += [judged("alone", 0, 0.3)]
    judgements += [dataclasses.replace(judged("b", 2), status="invalid", scores=None)]
    noise = judge_noise(judgements)
    pooled = (2 * statistics.variance(a) + statistics.variance(b)) / 3
    assert noise.deviation[EXPRESSIONS[0]] == pytest.approx(math.sqrt(pooled), rel=1e-12)
    assert noise.deviation[EXPRESSIONS[1]] == 0
    assert noise.overall == pytest.approx(math.sqrt(pooled / 12), rel=1e-12)
    assert (noise.images, noise.answers) == (2, 5)
    assert noise.agreement == pytest.approx(2 / 4)  # a: 1 of 3 pairs, b: 1 of 1


def test_noise_of_single_answers_is_not_a_number_rather_than_none():
    noise = judge_noise([judged("a", 0, 0.3)])
    assert math.isnan(noise.overall)
    assert math.isnan(noise.agreement)
    assert noise.images == 0


def test_repeats_are_numbered_and_at_least_one():
    requests = [JudgeRequest(b"x", "a"), JudgeRequest(b"y", "b")]
    asked = [(item.id, item.repeat) for item in repeated(requests, 2)]
    assert asked == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    with pytest.raises(UserError, match="repeat=0"):
        list(repeated(requests, 0))
