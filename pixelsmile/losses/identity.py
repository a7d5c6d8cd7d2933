"""Identity preservation in the space of a frozen face recogniser (paper Sec. 4.3, Eq. 8)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsmile.errors import UserError


class IdentityLoss(nn.Module):
    r"""Keep the generated faces recognisable as their targets.

    .. math:: L_{ID} = \tfrac12 \sum_{i \in \{a, b\}} [1 - \cos(\Phi(G_i), \Phi(P_i))]
        \quad\text{(Eq. 8)}

    At high noise the one-step estimate is a blur without a face, and its gradient teaches nothing
    about identity. So each *sample* counts only where its own sigma is at most `max_sigma`. The
    paper has no such gate, which `max_sigma=None` gives; the authors' code gates the whole batch
    by its first sample. The mean runs over the whole batch with gated samples as 0, not over the
    active ones: then every active sample has the same weight in every batch, and a batch of one
    active sample does not pull on it as hard as a full one. Log the mean of `active` beside it.

    Cosines are taken in float32, or float64 where the input is.

    Args:
        max_sigma: Highest noise level that counts, in (0, 1]; None counts all.

    Shape:
        - generated_a, generated_b, target_a, target_b: (B, D), of any length.
        - sigma: (B,), in [0, 1], shared by the two branches.
        - output: (), in [0, 2], mean over the batch; 0 for an empty batch.

    Example:
        Two orthogonal identities, the second at a noise level that does not count:

        >>> generated, target = torch.eye(2), torch.eye(2).flip(0)
        >>> IdentityLoss()(generated, generated, target, target, torch.tensor([0.1, 0.9]))
        tensor(0.5000)
    """

    def __init__(self, max_sigma: float | None = 0.6) -> None:
        super().__init__()
        if max_sigma is not None and not 0 < max_sigma <= 1:
            raise UserError(
                f"max_sigma is {max_sigma}: choose a noise level in (0, 1], or null to count all."
            )
        self.max_sigma = max_sigma

    def active(self, sigma: Tensor) -> Tensor:
        """Return which samples count, (B,) bool."""
        if self.max_sigma is None:
            return torch.ones_like(sigma, dtype=torch.bool)
        return sigma <= self.max_sigma

    def counted(self, sigma: Tensor) -> Tensor:
        """Return the indices of the samples that count, (B',); without a gate all, unseen."""
        if self.max_sigma is None:
            return torch.arange(len(sigma), device=sigma.device)
        return self.active(sigma).nonzero()[:, 0]

    def forward(
        self,
        generated_a: Tensor,
        generated_b: Tensor,
        target_a: Tensor,
        target_b: Tensor,
        sigma: Tensor,
    ) -> Tensor:
        """Return the loss, (); see the class."""
        if sigma.shape != generated_a.shape[:1]:
            raise ValueError(
                f"sigma has shape {tuple(sigma.shape)} for a batch of {len(generated_a)}: give "
                f"one value per sample, shape ({len(generated_a)},)."
            )
        values = (_distance(generated_a, target_a) + _distance(generated_b, target_b)) / 2
        gated = torch.where(self.active(sigma), values, torch.zeros_like(values))
        return gated.sum() / max(len(values), 1)


def _distance(generated: Tensor, target: Tensor) -> Tensor:
    """Cosine distance, (B,), as |a - b|^2 / 2 of unit vectors: exact near 0, never negative."""
    if generated.dim() != 2 or generated.shape != target.shape:
        raise ValueError(
            f"generated and target have shapes {tuple(generated.shape)} and "
            f"{tuple(target.shape)}: give two of one shape (B, D)."
        )
    unit, reference = (
        F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1)
        for x in (generated, target)
    )
    return (unit - reference).square().sum(-1) / 2
