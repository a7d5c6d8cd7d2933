"""The training of the base editor: which rows it draws, what it weighs, and its processes."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pixelsmile.faces.tiny.architectures import TEXT_WIDTH, tiny_transformer
from pixelsmile.faces.tiny.base_training import (
    EditingSet,
    change_map,
    draw_labels,
    draw_rows,
    train_base,
)
from pixelsmile.faces.tiny.ranks import (
    agree,
    averaging_gradients,
    rank_and_count,
    run_ranks,
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


def _train(folder: Path, data: EditingSet) -> None:
    transformer = tiny_transformer(0, layers=1, heads=1)
    start = {name: value.clone() for name, value in transformer.state_dict().items()}
    average, report = train_base(
        transformer,
        [data],
        minutes=0.0,
        sharpness=1.0,
        candidates=2,
        learning_rate=1e-2,
        batch_size=2,
        fast=False,
    )
    moved = any(not torch.equal(value, start[name]) for name, value in average.state_dict().items())
    result = {"weights": transformer.state_dict(), "moved": moved, "report": report}
    torch.save(result, folder / f"{rank_and_count()[0]}.pt")


@pytest.mark.slow
def test_processes_end_with_the_same_weights(editing_set, tmp_path):
    run_ranks(_train, tmp_path, editing_set, count=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["moved"]
    assert first["report"]["steps"] == second["report"]["steps"] == 1
    for name, value in first["weights"].items():
        torch.testing.assert_close(value, second["weights"][name], atol=0, rtol=0)


def _average(folder: Path) -> None:
    rank, count = rank_and_count()
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    averaging = averaging_gradients(network)
    averaging(torch.tensor([[float(rank)]])).sum().backward()
    assert network.weight.grad is not None
    torch.save((network.weight.grad.item(), agree(10.0 + rank), count), folder / f"{rank}.pt")


def _fail_second() -> None:
    if rank_and_count()[0] == 1:
        raise RuntimeError("this one fails")


@pytest.mark.slow
def test_processes_average_their_gradients_and_agree_on_the_first_one_s_number(tmp_path):
    run_ranks(_average, tmp_path, count=2)
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)] == [(0.5, 10.0, 2)] * 2


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_and_is_raised():
    with pytest.raises(Exception, match="this one fails"):
        run_ranks(_fail_second, count=2)


def test_outside_of_a_group_there_is_one_process():
    network = nn.Linear(1, 1)
    assert (rank_and_count(), agree(0.5)) == ((0, 1), 0.5)
    assert averaging_gradients(network) is network
