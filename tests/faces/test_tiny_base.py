"""The training of the base editor: which rows it draws, what it weighs, and its processes."""

import pytest
import torch

from pixelsmile.faces.tiny.architectures import TEXT_WIDTH, tiny_transformer
from pixelsmile.faces.tiny.base_training import (
    EditingSet,
    change_map,
    draw_labels,
    draw_rows,
    train_base,
)


@pytest.fixture
def editing_set(generator):
    """Two people, a neutral image and two expressions each; only the top left patch changes."""
    latents = torch.randn(2, 16, 4, 4, generator=generator).repeat_interleave(3, 0)
    latents[[1, 2, 4, 5], :, :2, :2] += torch.tensor([1.0, 2.0, 1.0, 2.0]).view(4, 1, 1, 1)
    scores = torch.zeros(6, 12)
    scores[[1, 2, 4, 5], [0, 5, 0, 5]] = torch.tensor([0.5, 1.0, 0.5, 1.0])
    return EditingSet(
        latents=latents,
        source_row=torch.tensor([0, 0, 0, 3, 3, 3]),
        source_number=torch.tensor([0, 0, 0, 1, 1, 1]),
        scores=scores,
        neutral=torch.randn(2, 9, TEXT_WIDTH, generator=generator),
        suffixes=torch.randn(2, 12, 7, TEXT_WIDTH, generator=generator),
    )


def test_rows_come_as_often_as_the_fourth_power_of_their_strength(generator):
    rows = draw_rows(torch.tensor([0.0, 0.5, 1.0]), 17_000, generator)
    shares = torch.bincount(rows, minlength=3) / len(rows)
    torch.testing.assert_close(shares, torch.tensor([0, 1 / 17, 16 / 17]), atol=0.01, rtol=0)


def test_labels_are_drawn_in_proportion_to_the_candidates(generator):
    scores = torch.tensor([[0.2, 1.0, 0.5, *[0.0] * 9]]).repeat(9000, 1)
    assert (draw_labels(scores, 1.0, 1, generator) == 1).all()
    labels = draw_labels(scores, 1.0, 2, generator)
    shares = torch.bincount(labels, minlength=3) / len(labels)
    torch.testing.assert_close(shares, torch.tensor([0, 2 / 3, 1 / 3]), atol=0.02, rtol=0)
    blind = draw_labels(scores, 0.0, 12, generator)
    torch.testing.assert_close(
        torch.bincount(blind) / len(blind), torch.full((3,), 1 / 3), atol=0.02, rtol=0
    )


def test_only_the_patch_that_changes_weighs_more(editing_set):
    weight = change_map(editing_set)
    assert weight.tolist() == pytest.approx([2.5, 0.5, 0.5, 0.5])
    assert weight.mean() == pytest.approx(1.0)


def test_a_step_moves_the_average_and_repeats_to_the_bit(editing_set):
    def trained() -> tuple[dict, dict]:
        transformer = tiny_transformer(0, layers=1, heads=1)
        options = {"sharpness": 1.0, "candidates": 2, "learning_rate": 1e-2, "batch_size": 2}
        average, report = train_base(transformer, [editing_set], minutes=0, fast=False, **options)
        assert report["steps"] == 1
        return transformer.state_dict(), average.state_dict()

    (weights, average), (again, _) = trained(), trained()
    start = tiny_transformer(0, layers=1, heads=1).state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in average.items())
    for name, value in weights.items():
        torch.testing.assert_close(value, again[name], atol=0, rtol=0)
