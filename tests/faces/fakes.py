"""A face generator that costs nothing: identity is colour, expression is where a bar lies."""

from collections.abc import Mapping

import numpy as np

from pixelsmile.expressions import index
from pixelsmile.faces.base import Face, Mix
from pixelsmile.faces.scores import scores


class FakeFaces:
    """Draw coloured noise with one bright bar per expression of the mix."""

    def __init__(self, domain: str = "human") -> None:
        self.domain = domain
        self.drawn = 0

    def render(self, seed: int, mix: Mix, *, size: int = 128) -> Face:
        self.drawn += 1
        generator = np.random.default_rng((seed, self.domain == "anime"))
        blocks = generator.integers(30, 180, (4, 4, 3)).repeat(size // 4, 0).repeat(size // 4, 1)
        image = blocks.astype(float)
        for name, strength in mix.items():
            top = index(name) * size // 12
            image[top : top + size // 16] += (250 - image[top : top + size // 16]) * strength
        landmarks = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]])
        return Face(
            image=image.clip(0, 255).astype(np.uint8),
            box=(0.1 * size, 0.1 * size, 0.9 * size, 0.9 * size),
            landmarks=landmarks * size,
            scores=scores(mix),
            actions={},
        )

    def render_actions(self, seed: int, actions: Mapping[str, float], *, size: int = 128) -> Face:
        raise NotImplementedError


class StillFaces:
    """The same without a count, which would be a setting: its fingerprint stays."""

    domain = "human"

    def render(self, seed: int, mix: Mix, *, size: int = 128) -> Face:
        return FakeFaces(self.domain).render(seed, mix, size=size)

    def render_actions(self, seed: int, actions: Mapping[str, float], *, size: int = 128) -> Face:
        raise NotImplementedError
