"""Which pictures stand for others, and how. Pure geometry of strengths.

Pictures whose weights are positive multiples of each other lie on one line that starts at neutral,
and a picture between two others on its line is interpolated from them.

Shapes: R pictures (rows), K expressions, n nodes.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Nodes(NamedTuple):
    """The chosen rows, and every row as a point between two of them."""

    rows: Tensor  # (n,), 0 first
    lower: Tensor  # (R,), position in `rows`
    upper: Tensor  # (R,), position in `rows`
    share: Tensor  # (R,), of the upper one, in [0, 1]; 0 for a node itself, with lower == upper

    def interpolate(self, values: Tensor, of: Tensor | None = None) -> Tensor:
        """Return a value for each row from those of the nodes, (n, ...) to (R, ...).

        Args:
            values: Of the nodes.
            of: (m,), the rows wanted; None for all.
        """
        lower, upper, share = (x if of is None else x[of] for x in self[1:])
        below = values.index_select(0, lower)
        if not share.any():
            return below
        weight = share.to(values.dtype).view(-1, *[1] * (values.dim() - 1))
        return torch.lerp(below, values.index_select(0, upper), weight)


def choose_nodes(weights: Tensor, span: float) -> Nodes:
    """Choose the rows that stand for those between them.

    From neutral on, the next node of a line is the farthest row within `span`, or else the next
    row. So the strongest row of every line is a node.

    Args:
        weights: (R, K), no two rows alike; row 0 is neutral, unless it is the only one.
        span: In units of strength, the largest weight of a row; 0 makes every row a node.

    Example:
        >>> nodes = choose_nodes(torch.tensor([[0.0], [0.25], [1.0]]), span=1.0)
        >>> nodes.rows, nodes.interpolate(torch.tensor([8.0, 4.0]))
        (tensor([0, 2]), tensor([8., 7., 4.]))
    """
    strengths = weights.abs().amax(dim=1).tolist()
    lines: dict[tuple[float, ...], list[int]] = {}
    for row in range(1, len(weights)):
        direction = (weights[row] / strengths[row]).mul(1e5).round().tolist()
        lines.setdefault(tuple(direction), []).append(row)
    chosen, places = [0], {0: (0, 0, 0.0)}
    for line in lines.values():
        waiting = sorted(line, key=strengths.__getitem__)
        lower, start = 0, 0.0
        while waiting:
            near = [row for row in waiting if strengths[row] <= start + span + 1e-6]
            reached = near or waiting[:1]
            end = strengths[reached[-1]]
            chosen.append(reached[-1])
            upper = len(chosen) - 1
            for row in reached[:-1]:
                places[row] = (lower, upper, (strengths[row] - start) / (end - start))
            places[reached[-1]] = (upper, upper, 0.0)
            waiting, lower, start = waiting[len(reached) :], upper, end
    lower, upper, share = zip(*(places[row] for row in range(len(weights))), strict=True)
    device = weights.device
    return Nodes(
        torch.tensor(chosen, device=device),
        torch.tensor(lower, device=device),
        torch.tensor(upper, device=device),
        torch.tensor(share, device=device),
    )
