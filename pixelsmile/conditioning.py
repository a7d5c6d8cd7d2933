"""Conditioning in the textual latent space: interpolation, blending and prefix sharing (Sec. 4.1).

The text encoder is a causal decoder and the expression word stands near the end of the prompt. All
token states before that word are therefore the same for the 13 prompts of one image, and e_tgt -
e_neu (Eq. 4) is zero except in the last tokens. It is enough to store the neutral embedding and a
short suffix for each expression: `split_suffix` takes a suffix off and `join_suffix` puts it back.

Shapes: B batch, L tokens, D embedding, K expressions, S tokens of the suffix. Interpolation runs in
float32 at least and returns the dtype of the neutral embedding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def interpolate_text(neutral: Tensor, target: Tensor, strength: Tensor) -> Tensor:
    """Eq. 5: neutral + strength * (target - neutral), (B, L, D).

    Strength 0 gives the neutral and 1 the target embedding, both to the last bit. Strengths above
    1 exaggerate and below 0 invert the expression; neither is clipped.

    Args:
        neutral: Embedding of the neutral prompt, (B, L, D).
        target: Embedding of the target prompt, (B, L, D).
        strength: (B,), the paper's alpha.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> neutral, target = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
        >>> interpolate_text(neutral, target, torch.tensor([1.5]))
        tensor([[[1.5000, 1.5000]]])
    """
    if target.shape != neutral.shape:
        raise ValueError(
            f"target has shape {tuple(target.shape)} and neutral {tuple(neutral.shape)}: encode "
            "both prompts with the same image and the same number of tokens."
        )
    if strength.shape != neutral.shape[:1]:
        raise ValueError(
            f"strength has shape {tuple(strength.shape)} for a batch of {neutral.shape[0]}: give "
            f"one value per sample, shape ({neutral.shape[0]},)."
        )
    start = _wide(neutral)
    weight = strength.to(start.dtype).view(-1, *[1] * (neutral.dim() - 1))
    # lerp, unlike a + w (b - a), is exact at both ends
    return torch.lerp(start, target.to(start.dtype), weight).to(neutral.dtype)


def blend_text(neutral: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mix expressions: neutral + sum over k of weight_k * (target_k - neutral), (B, L, D).

    With one expression this is `interpolate_text`. Weights need not sum to 1: (0.5, 0.5) is half
    of each, (1, 1) is both in full.

    Args:
        neutral: Embedding of the neutral prompt, (B, L, D).
        targets: Embeddings of K target prompts, (B, K, L, D).
        weights: (B, K).

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> neutral, targets = torch.zeros(1, 1, 2), torch.eye(2).view(1, 2, 1, 2)
        >>> blend_text(neutral, targets, torch.tensor([[0.5, 2.0]]))
        tensor([[[0.5000, 2.0000]]])
    """
    batch, *tokens = neutral.shape
    if targets.dim() != neutral.dim() + 1 or targets[:, :1].shape != (batch, 1, *tokens):
        raise ValueError(
            f"targets has shape {tuple(targets.shape)} and neutral {tuple(neutral.shape)}: stack "
            "the targets along a new dimension 1, shape (B, K, L, D)."
        )
    if weights.shape != targets.shape[:2]:
        raise ValueError(
            f"weights has shape {tuple(weights.shape)} and targets {tuple(targets.shape)}: give "
            f"one weight per sample and target, shape {tuple(targets.shape[:2])}."
        )
    start = _wide(neutral)
    delta = targets.to(start.dtype) - start.unsqueeze(1)
    scale = weights.to(start.dtype).view(*weights.shape, *[1] * len(tokens))
    # no einsum: under autocast it would run in bf16
    return (start + (scale * delta).sum(dim=1)).to(neutral.dtype)


def steer_text(neutral: Tensor, suffixes: Tensor, weights: Tensor) -> Tensor:
    """Give many pictures of one image their prompts, (N, L, D), float32 at least.

    This is `blend_text` where only the last tokens differ: neutral + sum over k of
    weight_k * (target_k - neutral). Rows of zeros give the neutral embedding and rows with a
    single 1 a target, both to the last bit.

    Args:
        neutral: Embedding of the neutral prompt, (L, D).
        suffixes: Last tokens of K target prompts, (K, T, D), see `join_suffix`.
        weights: (N, K), of any sign.

    Example:
        >>> steer_text(torch.zeros(2, 1), torch.ones(1, 1, 1), torch.tensor([[0.5]])).flatten()
        tensor([0.0000, 0.5000])
    """
    start = _wide(neutral)
    tail = start[len(start) - suffixes.shape[1] :]
    weights = weights.to(start.dtype)
    rest = 1 - weights.sum(dim=1)
    parts = [
        weight.view(-1, 1, 1) * target for weight, target in zip(weights.T, suffixes, strict=True)
    ]
    mixed = rest.view(-1, 1, 1) * tail + sum(parts)
    return join_suffix(start.expand(len(weights), -1, -1), mixed)


def shared_prefix_length(token_ids: Sequence[Sequence[int]]) -> int:
    """Return how many leading tokens all prompts have in common.

    By causality the encoder's states of these tokens agree too, so they are computed and stored
    once per image.

    Raises:
        ValueError: If there is no prompt.

    Example:
        >>> shared_prefix_length([[5, 6, 7, 9], [5, 6, 8, 9]])
        2
    """
    if not token_ids:
        raise ValueError("token_ids is empty: give the token ids of one prompt or more.")
    length = 0
    for column in zip(*token_ids, strict=False):  # stops with the shortest prompt
        if any(token != column[0] for token in column):
            break
        length += 1
    return length


def align_suffixes(before: Tensor, suffixes: Sequence[Tensor], tail: int) -> Tensor:
    """Bring suffixes of unequal length to one, aligned at both ends, (K, T, D).

    A suffix is a word of its own followed by `tail` tokens that all have in common. The last token
    of each shorter word is repeated until it is as long as the longest, so that no token of any
    prompt is lost and the common ones meet each other. Suffixes of one length stay as they are.

    Args:
        before: The state before the suffixes, (D,), held where a suffix has no word.
        suffixes: K states, (S_k, D) each.
        tail: Tokens at the end that all suffixes share, at most the shortest of them.

    Example:
        >>> short, long = torch.tensor([[1.0], [9.0]]), torch.tensor([[2.0], [3.0], [9.0]])
        >>> align_suffixes(torch.zeros(1), [short, long], tail=1).squeeze(-1)
        tensor([[1., 1., 9.],
                [2., 3., 9.]])
    """
    longest = max(len(suffix) for suffix in suffixes)
    aligned = []
    for suffix in suffixes:
        word = len(suffix) - tail
        held = suffix[word - 1] if word else before
        parts = [suffix[:word], held.expand(longest - len(suffix), -1), suffix[word:]]
        aligned.append(torch.cat(parts))
    return torch.stack(aligned)


def join_suffix(neutral: Tensor, suffix: Tensor) -> Tensor:
    """Replace the last S tokens of the neutral embedding by a target's suffix, (..., L, D).

    Args:
        neutral: Embedding of the neutral prompt without padding at its end, (..., L, D).
        suffix: Last tokens of the target prompt, (..., S, D), with S from 0 to L.

    Raises:
        ValueError: If the suffix is longer than the embedding or differs in another dimension.

    Example:
        >>> join_suffix(torch.zeros(3, 1), torch.ones(2, 1)).flatten()
        tensor([0., 1., 1.])
    """
    length = suffix.shape[-2]
    fits = suffix.shape[:-2] == neutral.shape[:-2] and suffix.shape[-1] == neutral.shape[-1]
    if not fits or length > neutral.shape[-2]:
        raise ValueError(
            f"suffix has shape {tuple(suffix.shape)} and neutral {tuple(neutral.shape)}: only the "
            "number of tokens may differ, and the suffix has to be the shorter one."
        )
    return torch.cat([neutral[..., : neutral.shape[-2] - length, :], suffix], dim=-2)


def split_suffix(
    neutral: Tensor, target: Tensor, length: int, *, tolerance: float = 1e-4
) -> Tensor:
    """Take the last tokens off a target embedding, (..., S, D): the inverse of `join_suffix`.

    The suffix is a copy, so that saving it does not save the whole embedding.

    Args:
        neutral: Embedding of the neutral prompt without padding at its end, (..., L, D).
        target: Embedding of the target prompt, (..., L, D).
        length: S, tokens of the suffix.
        tolerance: Largest difference allowed in the prefix. It is exactly 0 for one batch of
            prompts; kernels may round differently from batch to batch.

    Raises:
        ValueError: If the shapes differ, the length is out of range, or the prefixes disagree, as
            they do for an encoder that is not causal or prompts that split into unequal tokens.

    Example:
        >>> split_suffix(torch.zeros(3, 1), torch.tensor([[0.0], [1.0], [2.0]]), length=2).flatten()
        tensor([1., 2.])
    """
    if target.shape != neutral.shape:
        raise ValueError(
            f"target has shape {tuple(target.shape)} and neutral {tuple(neutral.shape)}: the "
            "prompts split into unequal numbers of tokens, so store this target whole."
        )
    if not 0 <= length <= neutral.shape[-2]:
        raise ValueError(
            f"length is {length} for {neutral.shape[-2]} tokens: choose 0 to {neutral.shape[-2]}."
        )
    start = neutral.shape[-2] - length
    gap = (target[..., :start, :].float() - neutral[..., :start, :].float()).abs()
    if not bool((gap <= tolerance).all()):  # written so that nan fails too
        raise ValueError(
            f"The prefixes of neutral and target differ by {gap.max().item():.3g}, more than "
            f"tolerance {tolerance:g}: raise length (now {length}) or store this target whole."
        )
    return target[..., start:, :].clone()


def to_bool_mask(mask: Tensor | None, batch: int, length: int, device: torch.device) -> Tensor:
    """Return a prompt mask as (B, L) bool with True for valid tokens, also where it was None.

    The stock pipeline's `encode_prompt` returns None when every token is valid; here, in one
    place, that becomes a tensor, so that no padded batch ever runs without its mask.

    Raises:
        ValueError: If the mask is not (B, L) or holds anything but 0 and 1, as additive masks do.

    Example:
        >>> to_bool_mask(None, batch=1, length=2, device=torch.device("cpu"))
        tensor([[True, True]])
    """
    if mask is None:
        return torch.ones(batch, length, dtype=torch.bool, device=device)
    if mask.shape != (batch, length):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: give one value per token, ({batch}, {length})."
        )
    valid = mask.to(device=device, dtype=torch.bool)
    if not torch.equal(valid.to(mask.dtype), mask.to(device)):
        raise ValueError("mask holds values other than 0 and 1: give 1 for valid tokens, else 0.")
    return valid


def _wide(embedding: Tensor) -> Tensor:
    return embedding if embedding.dtype == torch.float64 else embedding.float()
