"""Identity similarity between source and edited faces (paper Sec. 3.2)."""

import torch
from torch import Tensor

from pixelsmile.metrics.functional.checks import check_dims, check_finite, check_same_shape, wide


def identity_similarity(source: Tensor, edited: Tensor) -> Tensor:
    """Cosine of source and edited face, averaged over the recognisers, (B,), in [-1, 1].

    This is the S_ID of the harmonic editing score. The paper takes ArcFace, AdaFace and FaceNet.

    Args:
        source: Embeddings of the source faces by M recognisers, (M, B, D), of any length. Where D
            differs between recognisers, pad with zeros: the cosine does not change.
        edited: Embeddings of the edited faces, (M, B, D).

    Returns:
        One similarity per image, (B,), float32, or float64 where both inputs are.

    Raises:
        ValueError: If the shapes differ or a value is nan.

    Example:
        >>> source, edited = torch.eye(2).view(2, 1, 2), torch.ones(2, 1, 2)
        >>> identity_similarity(source, edited)
        tensor([0.7071])
    """
    return recogniser_similarity(source, edited).mean(dim=0)


def recogniser_similarity(source: Tensor, edited: Tensor) -> Tensor:
    """Cosine of source and edited face by each recogniser, (M, B), in [-1, 1].

    Arguments and errors are those of `identity_similarity`. A face without any activation, whose
    direction is undefined, has similarity 0.
    """
    check_dims("source", source, "(M, B, D)")
    check_same_shape("edited", edited, "source", source)
    if source.shape[0] == 0:
        raise ValueError("source holds no recogniser: give embeddings (M, B, D), M at least 1.")
    check_finite("source", source)
    check_finite("edited", edited)
    first, second = (torch.nn.functional.normalize(wide(x), dim=-1) for x in (source, edited))
    return (first * second).sum(-1).clamp(-1, 1)
