"""Smooth curves as point arrays, (N, 2)."""

from collections.abc import Sequence

import numpy as np

Points = np.ndarray | Sequence[Sequence[float]]
Point = np.ndarray | Sequence[float]


def catmull_rom(points: Points, *, closed: bool = False, steps: int = 8) -> np.ndarray:
    """Return a Catmull-Rom curve through the points, `steps` samples per segment."""
    p = np.asarray(points, dtype=float)
    if closed:
        padded = np.concatenate([p[-1:], p, p[:2]])
    else:
        padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.arange(steps)[:, None, None] / steps
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )  # steps x segments x 2
    samples = curve.swapaxes(0, 1).reshape(-1, 2)
    return samples if closed else np.concatenate([samples, p[-1:]])


def bezier(start: Point, control: Point, end: Point, *, steps: int = 8) -> np.ndarray:
    """Return a quadratic Bezier curve including both of its ends."""
    a, b, c = (np.asarray(point, dtype=float) for point in (start, control, end))
    t = np.linspace(0.0, 1.0, steps + 1)[:, None]
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c


def moved(points: Points | Point, x: float, y: float) -> np.ndarray:
    """Return the points shifted by (x, y)."""
    return np.asarray(points, dtype=float) + np.array((x, y))


def ellipse(
    x: float, y: float, rx: float, ry: float, *, angle: float = 0.0, steps: int = 28
) -> np.ndarray:
    """Return a closed ellipse; `angle` in degrees turns it clockwise on the screen."""
    t = np.linspace(0.0, 2 * np.pi, steps, endpoint=False)
    shape = np.stack([rx * np.cos(t), ry * np.sin(t)], axis=1)
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return moved(shape @ rotation, x, y)


def ribbon(points: Points, widths: float | np.ndarray) -> np.ndarray:
    """Return the outline of a stroke along the points; `widths` may vary from point to point."""
    p = np.asarray(points, dtype=float)
    along = np.gradient(p, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    half = np.broadcast_to(np.asarray(widths, dtype=float) / 2, len(p))[:, None]
    return np.concatenate([p + normal * half, (p - normal * half)[::-1]])


def mirrored(right: Points) -> np.ndarray:
    """Return a closed outline from its right half, listed from top to bottom."""
    half = np.asarray(right, dtype=float)
    left = half[::-1] * (-1.0, 1.0)
    # Points on the axis belong to both halves and are kept once.
    return np.concatenate([half, left[np.abs(left[:, 0]) > 1e-9]])
