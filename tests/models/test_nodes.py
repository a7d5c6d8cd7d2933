"""Rows between two others of their line are interpolated, and no others."""

import pytest
import torch

from pixelsmile.models.nodes import choose_nodes


def rows(*pairs):
    """One-hot rows of (expression, strength), the neutral one first."""
    weights = torch.zeros(1 + len(pairs), 3)
    for row, (expression, strength) in enumerate(pairs, start=1):
        weights[row, expression] = strength
    return weights


SWEEP = rows(*[(k, s) for k in range(3) for s in (0.25, 0.5, 0.75, 1.0)])


@pytest.mark.parametrize("span", [0.0, 0.3, 0.5, 1.0, 9.0])
def test_interpolation_reproduces_whatever_is_linear_in_the_weights(span, generator):
    nodes = choose_nodes(SWEEP, span)
    values = SWEEP @ torch.randn(3, 5, generator=generator)
    torch.testing.assert_close(nodes.interpolate(values[nodes.rows]), values)
    some = torch.tensor([4, 1, 0])
    torch.testing.assert_close(nodes.interpolate(values[nodes.rows], some), values[some])


@pytest.mark.parametrize(("span", "count"), [(0.0, 13), (0.25, 13), (0.5, 7), (1.0, 4), (9.0, 4)])
def test_span_says_how_many_rows_stand_for_others(span, count):
    assert len(choose_nodes(SWEEP, span).rows) == count


def test_nodes_keep_their_own_values_to_the_last_bit(generator):
    nodes = choose_nodes(SWEEP, 0.5)
    values = torch.randn(len(nodes.rows), 7, generator=generator)
    assert torch.equal(nodes.interpolate(values)[nodes.rows], values)


def test_positive_and_negative_strengths_are_lines_of_their_own():
    weights = rows((0, -1.0), (0, -0.5), (0, 0.5), (0, 2.0))
    nodes = choose_nodes(weights, 5.0)
    assert sorted(nodes.rows.tolist()) == [0, 1, 4]
    values = torch.tensor([0.0, -8.0, 0.0, 0.0, 3.0])[nodes.rows]
    assert nodes.interpolate(values).tolist() == [0.0, -8.0, -4.0, 0.75, 3.0]


def test_blends_of_other_proportions_stand_for_themselves():
    weights = torch.tensor([[0.0, 0.0], [0.6, 0.4], [0.4, 0.6], [0.3, 0.2]])
    nodes = choose_nodes(weights, 1.0)
    assert sorted(nodes.rows.tolist()) == [0, 1, 2]
    assert nodes.share.tolist() == pytest.approx([0, 0, 0, 0.5])


def test_a_gap_wider_than_the_span_is_taken_in_one():
    nodes = choose_nodes(rows((0, 2.0), (0, 3.5), (0, 3.6), (0, 3.7)), 0.25)
    assert sorted(nodes.rows.tolist()) == [0, 1, 2, 4]
    assert nodes.share.tolist() == pytest.approx([0, 0, 0, 0.5, 0], abs=1e-5)


def test_a_single_row_is_its_own_node():
    nodes = choose_nodes(torch.tensor([[0.7]]), 1.0)
    assert nodes.rows.tolist() == [0]
    assert nodes.interpolate(torch.tensor([5.0])).tolist() == [5.0]
