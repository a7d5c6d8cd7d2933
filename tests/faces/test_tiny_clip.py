"""The small CLIP: captions, loss, and the folder that stock open_clip loads."""

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from pixelsmile.faces.tiny.clip_training import (
    captions,
    clip_config,
    clip_optimizer,
    contrast,
    measure_clip,
    save_clip,
    train_clip,
)
from pixelsmile.faces.tiny.renders import base_plan, join, render_set
from pixelsmile.faces.tiny.training import Recipe, apply_step
from tests.faces.fakes import FakeFaces


@pytest.fixture
def labelled(tmp_path):
    return join(
        [
            render_set(
                FakeFaces(domain), range(1000, 1024), base_plan, tmp_path / domain, workers=1
            )
            for domain in ("human", "anime")
        ]
    )


def test_captions_name_domain_expression_and_level_once(labelled):
    _, labels = labelled
    tokens = captions(labels, levels=True)
    facts = [labels.domain, labels.category, np.round(4 * labels.strength)]
    for column, fact in zip(tokens.T[:3].numpy(), facts, strict=True):
        pairs = set(zip(column.tolist(), fact.tolist(), strict=True))
        assert len(pairs) == len(np.unique(column)) == len(np.unique(fact))
    assert (tokens.argmax(1) == 3).all()  # where open_clip pools
    assert len(torch.unique(captions(labels, levels=False), dim=0)) == 26


def test_contrast_without_shared_captions_is_clips_loss(generator):
    seen, read = (torch.randn(5, 8, generator=generator) for _ in range(2))
    scale = torch.tensor(7.0)
    logits = scale * F.normalize(seen) @ F.normalize(read).T
    expected = (
        F.cross_entropy(logits, torch.arange(5)) + F.cross_entropy(logits.T, torch.arange(5))
    ) / 2
    torch.testing.assert_close(contrast(seen, read, torch.arange(5), scale), expected)


def test_images_of_one_caption_are_not_each_others_negatives(generator):
    read = torch.eye(3, 8)
    perfect = contrast(read[[0, 0, 1, 2]], read, torch.tensor([0, 0, 1, 2]), torch.tensor(50.0))
    # two images share the choice of their caption evenly: ln 2 in one of three captions
    assert perfect.item() == pytest.approx(np.log(2) / 3 / 2, abs=1e-4)


def test_stock_open_clip_loads_the_folder_in_float32(tmp_path, generator):
    config = clip_config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(**config["model_cfg"]).eval()
    save_clip(model, config, tmp_path)
    loaded = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert loaded.visual.image_mean == [0.5] * 3
    images = torch.randn(2, 3, 128, 128, generator=generator)
    with torch.no_grad():
        cosines = F.cosine_similarity(loaded.encode_image(images), model.encode_image(images))
    assert cosines.min() > 0.999


@pytest.mark.slow
def test_training_repeats_exactly_with_its_seed_and_reports_what_the_file_does(labelled, tmp_path):
    images, labels = labelled
    results = [
        train_clip(images, labels, tmp_path / name, Recipe(steps=3, batch_size=16))
        for name in ("first", "second")
    ]
    first, second = (
        load_file(tmp_path / name / "open_clip_model.safetensors") for name in ("first", "second")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    measured = measure_clip(tmp_path / "first", images, labels)
    assert {name: results[0][name] for name in measured} == measured
    assert measured["all/n"] > 0


def test_text_tower_learns_ten_times_slower():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(**clip_config()["model_cfg"])
    optimizer = clip_optimizer(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    loss = sum(weight.sum() for weight in model.parameters())
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    apply_step(loss, optimizer, lr=1e-3)
    moved = {name: (weight - before[name]).abs().max() for name, weight in model.named_parameters()}
    assert moved["visual.conv1.weight"].item() == pytest.approx(1e-3, rel=0.05)
    assert moved["token_embedding.weight"].item() == pytest.approx(1e-4, rel=0.05)
