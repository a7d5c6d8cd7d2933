"""Triplet terms of the symmetric contrastive loss (paper Sec. 4.2 and App. A.1).

A term compares one generated image with its own target (positive) and with the target of the
expression it is confused with (negative). All embeddings are (B, D) and of any length, they are
normalised here; a term returns one value per sample, (B,), and the loss takes the mean once.
Everything runs in float32 at least: bf16 cosines were 19 % off in the log-ratio term.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Term = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(generated, positive, negative), each (B, D) -> (B,)."""


def hinge(generated: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 0.2) -> Tensor:
    """Eq. 10: how far the positive fails to be nearer than the negative by the margin, (B,).

    In [0, 2 + margin]; no gradient where the margin is kept.
    """
    near, far = _similarities(generated, positive, negative)
    return F.relu(far - near + margin)  # the 1 - of the two cosine distances cancels


def log_ratio(
    generated: Tensor, positive: Tensor, negative: Tensor, *, epsilon: float = 1e-6
) -> Tensor:
    """Eq. 11: log of the ratio of cosine distances, (B,). Negative when the positive is nearer.

    Unbounded but for epsilon, which limits it to about +-14.5.
    """
    anchor, positive, negative = _unit(generated, positive, negative)
    # for unit vectors 1 - cos = |a - b|^2 / 2, which keeps its digits near 0 and is never negative
    near = (anchor - positive).square().sum(-1) / 2
    far = (anchor - negative).square().sum(-1) / 2
    return torch.log((near + epsilon) / (far + epsilon))


def info_nce(
    generated: Tensor, positive: Tensor, negative: Tensor, *, temperature: float = 0.07
) -> Tensor:
    """Eq. 12: two-way cross-entropy, written as a softplus of the similarity gap, (B,).

    Positive; log 2 where positive and negative are equally near. The default of the paper.
    """
    near, far = _similarities(generated, positive, negative)
    return F.softplus((far - near) / temperature)


class SymmetricTripletLoss(nn.Module):
    r"""Separate two confusing expressions of one subject, in both directions.

    .. math:: L_{SC} = \tfrac12 [T(G_a, P_a, P_b) + T(G_b, P_b, P_a)]    \quad\text{(Eq. 7)}

    G_a and G_b are embeddings of the one-step estimates, see `flow.denoise`, decoded by the frozen
    VAE. P_a and P_b are embeddings of the VAE *reconstructions* of the targets, so that the VAE's
    own blur is on both sides.

    Args:
        term: One of `hinge`, `log_ratio`, `info_nce`; partially applied to fix its constant.
        symmetric: With False only the first direction counts, in full ("w/o Sym. Frame.",
            Table 3).

    Shape:
        - generated_a, generated_b, target_a, target_b: (B, D).
        - output: (), mean over the batch; 0 for an empty batch.

    Example:
        Two edits that collapse onto fear pay on one side:

        >>> fear, surprise = torch.eye(2)[:1], torch.eye(2)[1:]
        >>> SymmetricTripletLoss(hinge)(fear, fear, fear, surprise)
        tensor(0.6000)
    """

    def __init__(self, term: Term = info_nce, symmetric: bool = True) -> None:
        super().__init__()
        if not callable(term):
            raise ValueError(
                f"term is {term!r}: give a function such as pixelsmile.losses.info_nce, "
                "in a config with _target_ and _partial_: true."
            )
        self.term = term
        self.symmetric = symmetric

    def forward(
        self, generated_a: Tensor, generated_b: Tensor, target_a: Tensor, target_b: Tensor
    ) -> Tensor:
        """Return the loss, (); see the class."""
        values = self.term(generated_a, target_a, target_b)
        if self.symmetric:
            values = (values + self.term(generated_b, target_b, target_a)) / 2
        return values.sum() / max(len(values), 1)


def _similarities(generated: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine similarities to the positive and to the negative, (B,) each."""
    anchor, positive, negative = _unit(generated, positive, negative)
    return (anchor * positive).sum(-1), (anchor * negative).sum(-1)


def _unit(generated: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise to length 1, in float32, or float64 where the input is."""
    if generated.dim() != 2 or not generated.shape == positive.shape == negative.shape:
        raise ValueError(
            f"generated, positive and negative have shapes {tuple(generated.shape)}, "
            f"{tuple(positive.shape)} and {tuple(negative.shape)}: give three of one shape (B, D)."
        )
    anchor, near, far = (
        F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1)
        for x in (generated, positive, negative)
    )
    return anchor, near, far
