"""Blends of two expressions: are both of them there (paper Sec. 5.6, Fig. 12)."""

from torch import Tensor

from pixelsmile.metrics.functional.checks import check_dims, check_finite, check_indices


def both_strongest(score: Tensor, requested: Tensor) -> Tensor:
    """Tell for which images the two strongest expressions are the two asked for, (B,) bool.

    The paper counts blends that people find plausible, 9 of its 15. This is the question that a
    judge can answer: the weaker of the two requested scores lies above every other score. Their
    order does not matter, and a tie with a third expression is a failure.

    Args:
        score: Scores of all expressions, (B, K), on any scale, K at least 3.
        requested: Indices of the two expressions of each blend, (B, 2), integer in [0, K).

    Raises:
        ValueError: If the shapes do not fit, a score is not finite, an index is out of range, or
            the two expressions of a blend are the same.

    Example:
        Fear and surprise are both seen in the first image; the second collapses onto surprise:

        >>> import torch
        >>> score = torch.tensor([[0.4, 0.5, 0.1], [0.1, 0.9, 0.2]])
        >>> both_strongest(score, torch.tensor([[0, 1], [0, 1]]))
        tensor([ True, False])
    """
    check_dims("score", score, "(B, K)")
    check_dims("requested", requested, "(B, 2)")
    if requested.shape != (len(score), 2):
        raise ValueError(
            f"requested has shape {tuple(requested.shape)} for {len(score)} images: give two "
            f"indices per image, shape ({len(score)}, 2)."
        )
    check_finite("score", score)
    check_indices("requested", requested.flatten(), score.shape[1])
    same = requested[:, 0] == requested[:, 1]
    if bool(same.any()):
        raise ValueError(
            f"requested holds {requested[same][0].tolist()}: a blend has two different expressions."
        )
    weaker = score.gather(1, requested.long()).amin(dim=1)
    others = score.scatter(1, requested.long(), float("-inf")).amax(dim=1)
    return weaker > others
