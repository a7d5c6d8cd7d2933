"""The judge's loss and, on faces that cost nothing, its training from start to file."""

import pytest
import torch
import torch.nn.functional as F

from pixelsmile.faces.tiny.judge_training import measure_judge, score_loss, train_judge
from pixelsmile.faces.tiny.renders import join, judge_plan, render_set
from pixelsmile.faces.tiny.training import Recipe
from pixelsmile.judges.local import LocalJudge
from tests.faces.fakes import FakeFaces


def test_loss_is_least_at_the_exact_scores(generator):
    scores = torch.rand(4, 12, generator=generator) * 0.9 + 0.05
    category = torch.full((4,), -1)
    exact = score_loss(scores.logit(), scores, category)
    for _ in range(5):
        noise = 0.3 * torch.randn(4, 12, generator=generator)
        assert score_loss(scores.logit() + noise, scores, category) > exact


def test_strongest_expression_counts_only_where_there_is_one(generator):
    logits = torch.randn(2, 12, generator=generator)
    scores = torch.zeros(2, 12)
    scores[1, 3] = 0.8
    plain = F.binary_cross_entropy_with_logits(logits, scores, reduction="none").sum(1)
    first = 0.8 * -logits[1].log_softmax(0)[3]
    expected = (plain[0] + plain[1] + 0.5 * first) / 2
    torch.testing.assert_close(score_loss(logits, scores, torch.tensor([-1, 3])), expected)


@pytest.mark.slow
def test_judge_learns_faces_saves_itself_and_knows_strangers(tmp_path):
    faces = [FakeFaces(domain) for domain in ("human", "anime")]
    sets = [
        render_set(drawn, range(3000, 3036), judge_plan, tmp_path / drawn.domain, workers=1)
        for drawn in faces
    ]
    result = train_judge(*join(sets), tmp_path / "judge", Recipe(steps=60, batch_size=32))
    assert result["steps"] == 60
    assert result["human/n"] > 0
    measured = measure_judge(
        LocalJudge.from_pretrained(tmp_path / "judge"), faces, range(9000, 9002)
    )
    assert measured["human/n"] == measured["anime/n"] == 24
    assert measured["human/1.0"] > 0.8
    assert measured["human/1.0"] >= measured["human/0.35"]
