"""An editor without networks: an edit is the image, lighter in the middle by its strengths."""

import time

import torch

from pixelsmile.editing.source import Source, open_source, to_pixels
from pixelsmile.errors import UserError


class StandIn:
    """Renders at once, the same bytes every time; counts what it renders.

    Args:
        seconds: To take for each picture.
    """

    domain, identity, num_steps, image_size = "human", "stand-in", 4, 64

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.rendered = 0
        self.sizes = []

    def encode(self, image, size=None):
        height, width = size or (self.image_size, self.image_size)
        pixels = to_pixels(open_source(image), height, width)
        self.sizes.append((height, width))
        return Source(pixels, torch.zeros(1, 1, 1), torch.zeros(1, 1), torch.zeros(12, 1, 1))

    def render(self, source, weights, *, seed=0, speed="exact", progress=None):
        if speed not in ("exact", "fast"):
            raise UserError(f"speed={speed}: choose one of exact, fast.")
        height, width = source.image.shape[-2:]
        down = torch.linspace(-1, 1, height)[:, None]
        across = torch.linspace(-1, 1, width)
        spot = (1 - (down**2 + across**2) * 4).clamp(0, 1)
        pictures = []
        for row in weights:
            time.sleep(self.seconds)
            shade = (row * torch.arange(1, 13)).sum() / 12 + seed / 100
            pictures.append((source.image + shade * spot).clamp(-1, 1))
            self.rendered += 1
            if progress is not None:
                progress(1)
        return torch.stack(pictures)


class Finder:
    """A detector that finds one face, or none.

    Args:
        box: Of the face; None finds nothing.
    """

    identity, available = "finder", True

    def __init__(self, box=None):
        self.box = box

    def locate(self, image, box=None):
        from pixelsmile.models.detectors import BoxTemplate

        box = self.box if box is None else box
        return None if box is None else BoxTemplate().locate(image, box)
