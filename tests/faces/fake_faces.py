"""A face generator that costs nothing; environment variables make it slow or fail."""

import errno
import os
import time

import numpy as np

from pixelsmile.faces.base import Face
from pixelsmile.faces.scores import scores


class FakeFaces:
    """Pixels, box and landmarks follow from the arguments by simple arithmetic."""

    domain = "human"

    def __init__(self, hue=0):
        self.hue = hue

    def render(self, seed, mix, *, size=128):
        if seed >= int(os.environ.get("FAKE_SLOW_FROM", "1000000")):
            time.sleep(0.5)
        if str(seed) == os.environ.get("FAKE_FULL_AT"):
            raise OSError(errno.ENOSPC, "No space left on device", "face.png")
        if str(seed) == os.environ.get("FAKE_KILLED_AT"):
            os._exit(9)
        values = scores(mix)
        ramp = np.arange(size)
        image = np.zeros((size, size, 3), np.uint8)
        image[..., 0] = (ramp[:, None] * (1 + seed) + self.hue) % 256
        image[..., 1] = (ramp[None, :] + 100 * values.sum()) % 256
        image[..., 2] = int(255 * values.max())
        landmarks = size * np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
        box = (0.1 * size, 0.1 * size, 0.9 * size, 0.9 * size)
        return Face(image, box, landmarks, values, dict(mix))

    def render_actions(self, seed, actions, *, size=128):
        return self.render(seed, {}, size=size)
