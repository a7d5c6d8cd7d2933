"""Expression lines as a height field: facial actions crease the skin across their pull.

All positions are canonical, dm; heights are dm, negative is a crease. `age` deepens every line.
"""

import numpy as np

from pixelsmile.faces.human.fields import bell, noise, smooth_step

DEEPEST = 1.2


class Creases:
    """Heights at a set of points, given the facial actions.

    Args:
        canonical: (3, P).
        actions: Weights relative to the resting face.
        age: Depth of the lines of age, 0 to 0.75.
    """

    def __init__(self, canonical: np.ndarray, actions: dict[str, float], age: float) -> None:
        self.x, self.y, self.z = canonical
        self.width = np.abs(self.x)
        self.left = self.x > 0
        self.front = self.z > 0.9
        self.actions, self.age = actions, age

    def height(self) -> np.ndarray:
        """Sum of all lines, (P,)."""
        lines = self._forehead() + self._between_brows() + self._nose_bridge()
        lines = lines + self._nasolabial() + self._mouth_corners() + self._under_eyes()
        return self.front * (lines + self._chin()) + self._crows_feet()

    def _side(self, name: str) -> np.ndarray:
        left, right = (np.float32(self.actions.get(name + side, 0)) for side in ("Left", "Right"))
        return np.where(self.left, left, right)

    def _both(self, name: str) -> float:
        return (self.actions.get(name + "Left", 0) + self.actions.get(name + "Right", 0)) / 2

    def _limit(self, drive: np.ndarray, most: float = DEEPEST) -> np.ndarray:
        return np.clip(drive + 0 * self.width, 0, most)

    def _forehead(self) -> np.ndarray:
        """Three lines across, and two that arch over raised inner brows."""
        inner = self.actions.get("browInnerUp", 0)
        raised = 0.55 * inner + 0.75 * self._side("browOuterUp") + 0.55 * self.age
        across = self._limit(raised, 1.3) * smooth_step(0.52, 0.3, self.width)
        height = np.zeros_like(self.x)
        for row, level in enumerate((7.67, 7.76, 7.85)):
            path = self.y - level - 0.02 * np.cos(self.x * 6 + row) + 0.03 * self.width
            height -= across * bell(path, 0.013) * 0.022
        knit = float(np.clip(inner - 0.4 * self._both("browOuterUp"), 0, 1.3))
        if knit > 0:
            middle = knit * smooth_step(0.26, 0.1, self.width) * 0.02
            for level in (7.64, 7.72):
                height -= middle * bell(self.y - level + 0.5 * self.x * self.x, 0.013)
        return height

    def _between_brows(self) -> np.ndarray:
        inner = self.actions.get("browInnerUp", 0)
        drive = self._limit(self._side("browDown") + 0.25 * inner + 0.3 * self.age)
        path = self.width - 0.055 - 0.12 * (self.y - 7.42)
        ends = smooth_step(7.34, 7.40, self.y) * smooth_step(7.60, 7.48, self.y)
        return drive * bell(path, 0.014) * ends * -0.024

    def _nose_bridge(self) -> np.ndarray:
        sneer = self._side("noseSneer") * smooth_step(0.17, 0.08, self.width) * -0.020
        path = self.y - 7.20 - 0.35 * self.width
        return sneer * (bell(path, 0.010) + bell(path - 0.06, 0.010) + bell(path - 0.12, 0.010))

    def _nasolabial(self) -> np.ndarray:
        """The fold from nose to mouth corner, with the cheek bulging beside it."""
        drive = 0.75 * (self._side("mouthSmile") + self._side("noseSneer"))
        drive += 0.5 * self._side("mouthUpperUp") + 0.35 * self._side("mouthDimple")
        drive += 0.10 * self._side("mouthStretch") + 0.55 * self.age
        path = self.width - 0.185 - 0.46 * (7.0 - self.y)
        fold = bell(path, 0.026) * 0.030
        fold += np.clip((path + 0.05) * 8, -1, 0) * bell(path, 0.06) * 0.004
        ends = smooth_step(6.54, 6.80, self.y) * smooth_step(7.07, 6.98, self.y)
        return -self._limit(drive) * fold * ends

    def _mouth_corners(self) -> np.ndarray:
        drive = self._limit(self._side("mouthFrown") * 0.8 + 0.3 * self.age)
        path = self.width - 0.27 - 0.25 * (6.58 - self.y)
        ends = smooth_step(6.34, 6.42, self.y) * smooth_step(6.62, 6.55, self.y)
        return drive * bell(path, 0.016) * ends * -0.020

    def _crows_feet(self) -> np.ndarray:
        """Rays from the outer corner of the eye."""
        drive = 0.8 * self._side("cheekSquint") + 0.25 * self._side("mouthSmile") + 0.6 * self.age
        near = np.flatnonzero((self.width > 0.47) & (np.abs(self.y - 7.28) < 0.23))
        across, up = self.width[near] - np.float32(0.47), self.y[near] - np.float32(7.28)
        angle, radius = np.arctan2(up, across), np.hypot(across, up)
        rays = sum(bell((angle - ray) * radius, 0.007) for ray in (-0.5, 0.0, 0.5))
        ends = smooth_step(0.03, 0.07, radius) * smooth_step(0.22, 0.12, radius)
        height = np.zeros_like(self.x)
        height[near] = self._limit(drive)[near] * rays * ends * -0.014
        return height

    def _under_eyes(self) -> np.ndarray:
        drive = 0.6 * (self._side("eyeSquint") + self._side("cheekSquint")) + 0.5 * self.age + 0.2
        path = self.y - 7.115 - 1.4 * (self.width - 0.30) ** 2
        ends = smooth_step(0.12, 0.2, self.width) * smooth_step(0.48, 0.38, self.width)
        return self._limit(drive) * bell(path, 0.014) * ends * -0.016

    def _chin(self) -> np.ndarray:
        """Dimples on the chin and the line above it."""
        drive = self.actions.get("mouthShrugLower", 0) * 0.8 + 0.4 * self._both("mouthPress")
        if drive == 0:
            return np.zeros_like(self.x)
        dimples = bell(self.width, 0.13) * bell(self.y - 6.33, 0.08)
        dimples *= noise("grain", self.x * 1.7, self.y * 1.7) * 0.008
        line = bell(self.y - 6.455 + 0.6 * self.x * self.x, 0.018)
        line *= smooth_step(0.2, 0.1, self.width) * 0.02
        return np.float32(drive) * (dimples - line)
