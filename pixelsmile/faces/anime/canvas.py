"""A Pillow canvas that takes points in head units and knows colour, opacity and clipping."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from pixelsmile.faces.anime.curves import Points, ribbon
from pixelsmile.faces.anime.palette import Color

UNITS = 512
"""Side of the drawing in head units; at 128 pixels this is four samples per pixel side."""

SUPERSAMPLE = 4


@dataclass(frozen=True)
class Canvas:
    """An image and the affine map from head units to its pixels.

    Attributes:
        image: RGB, or RGBA for a layer that is pasted over another one.
        matrix: (2, 3), maps (x, y, 1) to pixels.
        scale: Pixels per head unit, for widths.
    """

    image: Image.Image
    matrix: np.ndarray
    scale: float

    def place(self, points: Points) -> np.ndarray:
        """Map points from head units to pixels."""
        return np.asarray(points, dtype=float) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def on(self, image: Image.Image) -> "Canvas":
        """Return the same map over another image of the same size."""
        return Canvas(image, self.matrix, self.scale)

    def mask(self, points: Points) -> Image.Image:
        """Return a full-size mask, 255 inside the outline."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self.place(points).ravel().tolist(), fill=255)
        return mask

    def fill(
        self,
        points: Points,
        color: Color,
        *,
        alpha: float = 1.0,
        clip: Image.Image | None = None,
    ) -> None:
        """Fill an outline; `clip` limits it to a mask from `mask`."""
        pixels = self.place(points)
        if alpha >= 1.0 and clip is None:
            ImageDraw.Draw(self.image).polygon(pixels.ravel().tolist(), fill=color)
            return
        self._blend(pixels, color, alpha, clip)

    def gradient(
        self,
        points: Points,
        top: Color,
        bottom: Color,
        *,
        alpha: float = 1.0,
        clip: Image.Image | None = None,
        fade: float = 1.0,
    ) -> None:
        """Fill an outline with a vertical gradient; the opacity falls to `fade` at its bottom."""
        pixels = self.place(points)
        box = self._box(pixels)
        if box is None or alpha <= 0.0:
            return
        ramp = np.linspace(0.0, 1.0, max(box[3] - box[1], 1))[:, None, None]
        rgb = np.asarray(top) * (1 - ramp) + np.asarray(bottom) * ramp
        size = (box[2] - box[0], box[3] - box[1])
        paint = Image.fromarray(rgb.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        mask = self._crop(pixels, box, alpha, clip)
        if fade < 1.0:
            opacity = (255 * (1 - ramp[..., 0] * (1 - fade))).astype(np.uint8)
            column = Image.fromarray(opacity).resize(size, Image.Resampling.NEAREST)
            mask = ImageChops.multiply(mask, column)
        self.image.paste(paint, box, mask)

    def stroke(
        self,
        points: Points,
        color: Color,
        width: float | np.ndarray,
        *,
        alpha: float = 1.0,
        clip: Image.Image | None = None,
    ) -> None:
        """Draw a line whose width, in head units, may vary from point to point."""
        self.fill(ribbon(points, width), color, alpha=alpha, clip=clip)

    def outline(self, points: Points, color: Color, width: float, *, closed: bool = True) -> None:
        """Draw a line of constant width with round joints, safe at sharp corners."""
        pixels = self.place(points)
        if closed:
            pixels = np.concatenate([pixels, pixels[:2]])
        pen = max(round(width * self.scale), 1)
        draw = ImageDraw.Draw(self.image)
        draw.line(pixels.ravel().tolist(), fill=color, width=pen, joint="curve")

    def _blend(
        self, pixels: np.ndarray, color: Color, alpha: float, clip: Image.Image | None
    ) -> None:
        box = self._box(pixels)
        if box is None or alpha <= 0.0:
            return
        self.image.paste(color, box, self._crop(pixels, box, alpha, clip))

    def _crop(
        self,
        pixels: np.ndarray,
        box: tuple[int, int, int, int],
        alpha: float,
        clip: Image.Image | None,
    ) -> Image.Image:
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        level = round(255 * min(alpha, 1.0))
        shifted = pixels - (box[0], box[1])
        ImageDraw.Draw(mask).polygon(shifted.ravel().tolist(), fill=level)
        return mask if clip is None else ImageChops.multiply(mask, clip.crop(box))

    def _box(self, pixels: np.ndarray) -> tuple[int, int, int, int] | None:
        width, height = self.image.size
        low, high = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0)) + 1
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1, y1 = min(int(high[0]), width), min(int(high[1]), height)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
