"""Scalar fields that paint and shape a head: smooth steps, bumps, noise tiles, linear colours."""

from functools import lru_cache

import numpy as np

TILE_SIZE = 256


def smooth_step(start: float, stop: float, x: np.ndarray) -> np.ndarray:
    """Cubic ramp from 0 at `start` to 1 at `stop`; `start` may be the larger one."""
    t = np.clip((x - start) * np.float32(1 / (stop - start)), 0, 1)
    return t * t * (3 - 2 * t)


def bell(x: np.ndarray, width: float) -> np.ndarray:
    """Gaussian of standard deviation `width`, 1 at x = 0."""
    return np.exp(x * x * np.float32(-0.5 / width**2))


def linear(colour: object) -> np.ndarray:
    """Turn display values in [0, 1] into linear light, float32."""
    return np.asarray(colour, np.float32) ** np.float32(2.2)


@lru_cache(maxsize=1)
def _tiles() -> dict[str, np.ndarray]:
    """Three periodic noise tiles of unit variance; the name says what they look like."""
    return {
        "grain": _noise_tile(1, falloff=0.6, lowest=6),
        "cloud": _noise_tile(2, falloff=1.4, lowest=0),
        "dust": _noise_tile(3, falloff=0.2, lowest=20),
    }


def _noise_tile(seed: int, *, falloff: float, lowest: float) -> np.ndarray:
    """Filter white noise in frequency space: amplitude 1 / k**falloff for k > lowest."""
    steps = np.fft.fftfreq(TILE_SIZE) * TILE_SIZE
    k = np.hypot(*np.meshgrid(steps, steps))
    amplitude = np.where(k > lowest, 1 / np.maximum(k, 1) ** falloff, 0)
    white = np.random.default_rng(seed).normal(size=(TILE_SIZE, TILE_SIZE))
    noise = np.fft.ifft2(np.fft.fft2(white) * amplitude).real
    return (noise / noise.std()).astype(np.float32).ravel()


def noise(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Look a tile up at (u, v), period 1, nearest texel."""
    column = (u * TILE_SIZE).astype(np.int32) & (TILE_SIZE - 1)
    row = (v * TILE_SIZE).astype(np.int32) & (TILE_SIZE - 1)
    return _tiles()[name][row * TILE_SIZE + column]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation matrix (3, 3) from degrees; positive pitch lowers the chin."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.deg2rad([yaw, pitch, roll])) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return (turn @ nod @ tilt).astype(np.float32)
