"""The local judge: what it reads from disk and what it promises about scores."""

import json

import pytest
import torch

from pixelsmile.judges.local import LocalJudge, save_judge
from pixelsmile.judges.network import ExpressionNet


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ExpressionNet(widths=(4, 4, 8, 8))


@pytest.fixture
def folder(tmp_path, network):
    save_judge(network, tmp_path / "judge")
    return tmp_path / "judge"


@pytest.fixture
def images(generator):
    return 2 * torch.rand(3, 3, 128, 128, generator=generator) - 1


def test_loaded_judge_scores_as_the_saved_network_to_half_precision(folder, network, images):
    judge = LocalJudge.from_pretrained(folder)
    scores = judge.score(images)
    assert scores.shape == (3, 12)
    assert ((scores >= 0) & (scores <= 1)).all()
    torch.testing.assert_close(scores, network.eval()(images), atol=2e-3, rtol=0)


def test_an_image_is_scored_alike_alone_and_in_a_batch_even_after_train(folder, images):
    judge = LocalJudge.from_pretrained(folder)
    judge.train()
    together = judge.score(images)
    alone = torch.cat([judge.score(images[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(together, alone)


def test_other_sizes_are_resized_by_the_judge(folder, images):
    judge = LocalJudge.from_pretrained(folder)
    doubled = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(judge.score(doubled), judge.score(images), atol=0.02, rtol=0)


def test_judge_is_frozen_and_small(folder, images):
    judge = LocalJudge.from_pretrained(folder)
    assert not any(weight.requires_grad for weight in judge.parameters())
    assert not judge.score(images.requires_grad_()).requires_grad
    assert sum(weight.numel() for weight in ExpressionNet().parameters()) <= 250_000


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"No judge in .*: {name} is missing"):
        LocalJudge.from_pretrained(folder)


def test_a_judge_of_other_expressions_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["expressions"].reverse()
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="use one that was trained on the twelve expressions"):
        LocalJudge.from_pretrained(folder)
