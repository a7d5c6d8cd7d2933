"""What light cannot reach: the shadow of the key light and the occlusion of ambient light."""

import numpy as np

from pixelsmile.faces.human.camera import View
from pixelsmile.faces.human.fragments import Fragments
from pixelsmile.faces.human.pack import LASHES
from pixelsmile.faces.human.raster import rasterise
from pixelsmile.faces.human.subject import Subject

SHADOW_SPAN = 4.2
"""Width of the shadow map, dm."""

SHADOW_BLUR = 1.6 / 300
"""Distance of the nine shadow samples, as a share of the shadow map."""

RADII = (0.05, 0.12, 0.26)
"""Distances at which ambient occlusion looks for nearer surfaces, dm."""


def _shadow_size(view: View) -> int:
    """Width of the shadow map in texels: coarser for small images."""
    return int(np.clip(view.size * 0.75, 128, 300))


def key_shadow(
    subject: Subject, view: View, seen: Fragments, normal: np.ndarray, key: np.ndarray
) -> np.ndarray:
    """Share of the key light that reaches each sample, (P,), from nine depth comparisons."""
    size = _shadow_size(view)
    right = np.cross(np.array([0, 1, 0], np.float32), key)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(key, right), -key]).astype(np.float32)
    scale = np.float32(size / SHADOW_SPAN)
    flip = np.array([[scale], [-scale], [1]], np.float32)
    middle = np.array([[size / 2], [size / 2], [0]], np.float32)
    casts = subject.part != LASHES
    screen = (axes @ view.world) * flip + middle
    depth = rasterise(
        screen.T, subject.triangles[casts], size, two_sided=subject.two_sided[casts]
    ).depth.ravel()
    x, y, distance = (axes @ seen.position) * flip + middle
    distance -= 0.030 + 0.03 * (1 - np.clip(key @ normal, 0, 1))
    step = np.float32(SHADOW_BLUR * size)
    columns = [np.clip(x + shift, 0, size - 1).astype(np.int32) for shift in (-step, 0, step)]
    rows = [np.clip(y + shift, 0, size - 1).astype(np.int32) * size for shift in (-step, 0, step)]
    lit = np.zeros(len(x), np.uint8)
    for row in rows:
        for column in columns:
            lit += distance < depth[row + column]
    return lit.astype(np.float32) / 9


def ambient_occlusion(view: View, seen: Fragments) -> np.ndarray:
    """Share of the ambient light that reaches each sample, (P,), from the depth image."""
    size, found = view.size, np.isfinite(seen.depth)
    depth = np.where(found, seen.depth, seen.depth[found].max() + 2)
    offsets = []
    for radius in RADII:
        reach = radius * view.scale
        for angle in np.arange(6) * np.pi / 3 + radius * 20:
            offsets.append((radius, round(np.cos(angle) * reach), round(np.sin(angle) * reach)))
    margin = max(max(abs(dx), abs(dy)) for _, dx, dy in offsets)
    padded = np.pad(depth, margin, mode="wrap")
    hidden = np.zeros_like(depth)
    for radius, dx, dy in offsets:
        top, left = margin - dy, margin - dx
        nearer = depth - padded[top : top + size, left : left + size]
        hidden += np.clip(nearer / radius - 0.25, 0, 1.2) * (nearer < radius * 4)
    return _blur(np.clip(1 - 1.5 / len(offsets) * hidden, 0.12, 1)).ravel()[seen.pixel]


def _blur(image: np.ndarray) -> np.ndarray:
    """Mean over five neighbours along each axis, wrapping round."""
    for axis in (0, 1):
        total = np.zeros_like(image)
        for shift in range(-2, 3):
            total += np.roll(image, shift, axis)
        image = total / np.float32(5)
    return image
