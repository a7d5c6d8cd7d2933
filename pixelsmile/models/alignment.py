"""Differentiable five-point face alignment to the ArcFace template.

The warp is the least-squares similarity (Umeyama 1991) from landmarks to the 112 x 112 template,
the one that `insightface.utils.face_align.norm_crop` estimates; sampling is bilinear.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPLATE_SIZE = 112

ARCFACE_TEMPLATE = torch.tensor(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""Where eyes, nose tip and mouth corners go, in pixels of a 112 x 112 crop (ArcFace)."""


def similarity_matrix(source: Tensor, target: Tensor) -> Tensor:
    """Return the least-squares similarity that maps source points onto target points.

    In the plane a similarity is multiplication by one complex number, so the fit is closed-form.

    Args:
        source: (B, N, 2).
        target: (N, 2) or (B, N, 2).

    Returns:
        (B, 2, 3): rotation with scale, and translation.
    """
    target = target.to(source).expand_as(source)
    source_mean, target_mean = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    s, t = source - source_mean, target - target_mean
    norm = s.square().sum((1, 2)).clamp_min(1e-8)
    real = (s * t).sum((1, 2)) / norm
    imaginary = (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0]).sum(1) / norm
    linear = torch.stack(
        [torch.stack([real, -imaginary], -1), torch.stack([imaginary, real], -1)], dim=1
    )
    shift = target_mean - source_mean @ linear.mT
    return torch.cat([linear, shift.mT], dim=2)


def align_faces(images: Tensor, landmarks: Tensor, size: int = TEMPLATE_SIZE) -> Tensor:
    """Warp faces to the ArcFace template, with gradients to the pixels.

    Args:
        images: (B, 3, H, W), in [-1, 1].
        landmarks: (B, 5, 2), pixels, in ArcFace order.
        size: Edge of the crop.

    Returns:
        (B, 3, size, size), in [-1, 1]; what lies outside the image is black.
    """
    height, width = images.shape[-2:]
    template = ARCFACE_TEMPLATE.to(landmarks.device) * (size / TEMPLATE_SIZE)
    forward = similarity_matrix(landmarks.float(), template)
    inverse = torch.linalg.inv(forward[:, :, :2])
    shift = -inverse @ forward[:, :, 2:]

    steps = torch.arange(size, device=images.device, dtype=torch.float32)
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    crop = torch.stack([columns, rows], -1).view(1, -1, 2)
    points = crop @ inverse.mT + shift.mT
    # Pixel centres are integers here; grid_sample counts from edge to edge, -1 to 1.
    grid = (2 * points + 1) / points.new_tensor([width, height]) - 1
    grid = grid.view(-1, size, size, 2)
    # One added and taken away again makes the zero padding black, -1, instead of grey.
    warped = F.grid_sample(images.float() + 1, grid, mode="bilinear", align_corners=False)
    return warped - 1
