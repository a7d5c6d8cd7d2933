"""A z-buffer in numpy without loops over triangles or pixels."""

from dataclasses import dataclass

import numpy as np

EDGE_TOLERANCE = np.float32(-1e-5)
SMALLEST_AREA = 1e-9


@dataclass(frozen=True)
class Raster:
    """What is visible. P pixels are covered.

    Attributes:
        pixel: (P,), flat index of each covered pixel, ascending.
        triangle: (P,), the nearest triangle there.
        weights: (3, P), barycentric weights of its corners.
        depth: (size, size), inf where nothing is.
    """

    pixel: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    depth: np.ndarray


def rasterise(
    screen: np.ndarray, triangles: np.ndarray, size: int, *, two_sided: np.ndarray
) -> Raster:
    """Find the nearest triangle at every pixel centre of a square image.

    Args:
        screen: (N, 3), x to the right and y downwards in pixels, depth increasing away.
        triangles: (M, 3), anticlockwise when they face the viewer.
        size: Width and height in pixels.
        two_sided: (M,), False drops a triangle that faces away.
    """
    x, y, depth = (np.ascontiguousarray(axis[triangles.T]) for axis in screen.T)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    left, right = _span(x, size)
    top, bottom = _span(y, size)
    facing = (area < -SMALLEST_AREA) | (two_sided & (area > SMALLEST_AREA))
    ids = np.flatnonzero(facing & (right > left) & (bottom > top))
    left, top = left[ids], top[ids]
    width, height = right[ids] - left, bottom[ids] - top
    edges, planes = _equations(x[:, ids], y[:, ids], depth[:, ids], area[ids], left, top)

    # Candidates: every pixel centre of every bounding box, row by row.
    counts = width * height
    starts = (np.cumsum(counts) - counts).astype(np.int32)
    step = np.arange(counts.sum(), dtype=np.int32) - np.repeat(starts, counts)
    step = step.astype(np.float32)
    span = np.repeat(width.astype(np.float32), counts)
    down = np.floor((step + np.float32(0.5)) / span)
    across = step - down * span
    second, third = _weights(edges, counts, across, down)
    first = 1 - second - third
    inside = np.flatnonzero(np.minimum(np.minimum(first, second), third) >= EDGE_TOLERANCE)
    owner = np.repeat(np.arange(len(ids), dtype=np.int32), counts)[inside]
    across, down = across[inside], down[inside]
    pixel = (top * size + left)[owner] + (down * np.float32(size) + across).astype(np.int32)
    slope_x, slope_y, level = (plane[owner] for plane in planes)
    distance = slope_x * across + slope_y * down + level
    return _nearest(pixel, distance, size, ids[owner], second[inside], third[inside])


def _span(corner: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel centre at or after the smallest corner, and one past the last."""
    low = np.minimum(np.minimum(corner[0], corner[1]), corner[2])
    high = np.maximum(np.maximum(corner[0], corner[1]), corner[2])
    first = np.clip(np.ceil(low - 0.5), 0, size).astype(np.int32)
    return first, np.clip(np.floor(high - 0.5) + 1, 0, size).astype(np.int32)


def _equations(
    x: np.ndarray,
    y: np.ndarray,
    depth: np.ndarray,
    area: np.ndarray,
    left: np.ndarray,
    top: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of corners 1 and 2, (6, M), and depth, (3, M), as affine functions.

    Their origin is the first pixel centre of the bounding box: small numbers keep float32 exact.
    """
    inverse = 1 / area
    offset_x = left.astype(np.float32) + np.float32(0.5) - x[0]
    offset_y = top.astype(np.float32) + np.float32(0.5) - y[0]
    x1, y1 = (y[2] - y[0]) * inverse, (x[0] - x[2]) * inverse
    x2, y2 = (y[0] - y[1]) * inverse, (x[1] - x[0]) * inverse
    c1, c2 = x1 * offset_x + y1 * offset_y, x2 * offset_x + y2 * offset_y
    near1, near2 = depth[1] - depth[0], depth[2] - depth[0]
    planes = [x1 * near1 + x2 * near2, y1 * near1 + y2 * near2, depth[0] + c1 * near1 + c2 * near2]
    return np.stack([x1, y1, c1, x2, y2, c2]), np.stack(planes)


def _weights(
    edges: np.ndarray, counts: np.ndarray, across: np.ndarray, down: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of corners 1 and 2 at all candidates, `counts` of each triangle."""
    x1, y1, c1, x2, y2, c2 = (np.repeat(edge, counts) for edge in edges)
    return x1 * across + y1 * down + c1, x2 * across + y2 * down + c2


def _nearest(
    pixel: np.ndarray,
    distance: np.ndarray,
    size: int,
    triangle: np.ndarray,
    second: np.ndarray,
    third: np.ndarray,
) -> Raster:
    depth = np.full(size * size, np.inf, np.float32)
    np.minimum.at(depth, pixel, distance)
    front = np.flatnonzero(distance <= depth[pixel])
    winner = np.full(size * size, -1, np.int32)
    winner[pixel[front]] = front
    covered = np.flatnonzero(winner >= 0)
    winner = winner[covered]
    second, third = second[winner], third[winner]
    weights = np.stack([1 - second - third, second, third])
    return Raster(covered, triangle[winner], weights, depth.reshape(size, size))
