"""Control linearity: does the expression follow the strength (paper Sec. 3.2)."""

import torch
from torch import Tensor

from pixelsmile.metrics.functional.checks import check_dims, check_finite, check_same_shape, wide


def control_linearity_score(strength: Tensor, score: Tensor) -> Tensor:
    """Pearson correlation of strength and score along each curve, (B,), in [-1, 1].

    A curve is one image edited toward one expression at S strengths. A curve whose scores are all
    equal does not react to the control and counts 0, where the correlation itself is undefined;
    `constant_curves` tells which those are, and how many should stand beside the mean.

    Args:
        strength: Strengths fed to the editor, (B, S), S at least 2, not all equal in a row.
        score: Scores of the expression asked for, (B, S), on any scale.

    Returns:
        One correlation per curve, (B,), float32, or float64 where the scores are.

    Raises:
        ValueError: If the shapes differ, a value is nan, or the strength does not vary.

    Example:
        >>> strength = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]])
        >>> control_linearity_score(strength, torch.tensor([[0.1, 0.4, 0.7], [0.2, 0.2, 0.2]]))
        tensor([1., 0.])
    """
    check_dims("score", score, "(B, S)")
    check_same_shape("strength", strength, "score", score)
    check_finite("strength", strength)
    check_finite("score", score)
    if score.shape[1] < 2:
        raise ValueError(
            f"strength has {score.shape[1]} values per curve: give at least 2 strengths."
        )
    constant_strength = constant_curves(strength)
    if bool(constant_strength.any()):
        row = int(constant_strength.nonzero()[0])
        raise ValueError(
            f"strength is {strength[row, 0].item():g} all along curve {row}: vary the strength, "
            "for instance torch.linspace(0, 1, 5)."
        )
    control, response = _standardise(strength), _standardise(score)
    correlation = (control * response).sum(-1).clamp(-1, 1)
    return correlation.to(wide(score).dtype)


def constant_curves(score: Tensor) -> Tensor:
    """Return which curves never move, (B,) bool, for scores (B, S)."""
    return (score == score[:, :1]).all(dim=-1)


def _standardise(curve: Tensor) -> Tensor:
    """Centre each row and scale it to length 1, (B, S), float64; constant rows become 0."""
    curve = curve.double()
    # first to [0, 1], so that the squares of a tiny or huge range neither vanish nor overflow
    curve = curve - curve.amin(-1, keepdim=True)
    height = curve.amax(-1, keepdim=True)
    curve = curve / height.where(height > 0, 1.0)
    curve = curve - curve.mean(-1, keepdim=True)
    length = torch.linalg.vector_norm(curve, dim=-1, keepdim=True)
    return torch.where(height > 0, curve / length.where(height > 0, 1.0), 0.0)
