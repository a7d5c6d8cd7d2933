"""The anime face generator: static layers per identity, features per expression."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.faces.anime.actions import Weights, mix_actions
from pixelsmile.faces.anime.back_hair import draw_back
from pixelsmile.faces.anime.brows import draw_brows
from pixelsmile.faces.anime.canvas import SUPERSAMPLE, UNITS, Canvas
from pixelsmile.faces.anime.effects import draw_on_skin, draw_over_hair, draw_tears
from pixelsmile.faces.anime.extras import draw_extras
from pixelsmile.faces.anime.eyes import draw_eyes, eye_centre
from pixelsmile.faces.anime.hair import draw_front, draw_shadow
from pixelsmile.faces.anime.head import draw_background, draw_body, draw_face, face_outline
from pixelsmile.faces.anime.identity import Identity, sample_identity
from pixelsmile.faces.anime.mouth import draw_mouth, lips
from pixelsmile.faces.base import Face, Mix
from pixelsmile.faces.scores import scores

_CENTRE = (256.0, 266.0)
"""Middle of the head in the drawing."""

MIN_SIZE = 16
"""Smallest image side in pixels."""


@dataclass(frozen=True)
class _Layers:
    """What one identity looks like without features: below them, above them, and two masks."""

    under: Canvas
    over: Image.Image
    hair: Image.Image
    face: Image.Image


def _matrix(who: Identity, size: int) -> tuple[np.ndarray, float]:
    scale = size * SUPERSAMPLE / UNITS * who.zoom
    turn = np.deg2rad(who.tilt)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = (np.array(_CENTRE) + who.offset) * size * SUPERSAMPLE / UNITS
    return np.concatenate([rotation, centre[:, None]], axis=1), scale


@lru_cache(maxsize=16)
def _layers(seed: int, size: int) -> _Layers:
    who = sample_identity(seed)
    matrix, scale = _matrix(who, size)
    side = size * SUPERSAMPLE
    under = Canvas(Image.new("RGB", (side, side)), matrix, scale)
    draw_background(under, who)
    draw_back(under, who)
    draw_body(under, who)
    draw_face(under, who)
    draw_shadow(under, who)
    over = under.on(Image.new("RGBA", (side, side)))
    draw_front(over, who)
    draw_extras(over, who)
    return _Layers(under, over.image, over.image.getchannel("A"), under.mask(face_outline(who)))


class AnimeFaces:
    """Draws characters with flat colour, cel shading and large eyes.

    Example:
        >>> face = AnimeFaces().render(7, {"happy": 1.0})
        >>> face.image.shape
        (128, 128, 3)
    """

    domain = "anime"

    def render(self, seed: int, mix: Mix, *, size: int = 128) -> Face:
        """Draw one identity with a weighted mix of expressions.

        Raises:
            ValueError: If an expression is unknown, a strength lies outside 0 to 1.5, the seed is
                negative, or the image is smaller than `MIN_SIZE`.
        """
        return _draw(seed, mix_actions(mix), scores(mix), size)

    def render_actions(self, seed: int, actions: Mapping[str, float], *, size: int = 128) -> Face:
        """Draw one identity with facial actions set by hand; all scores are 0.

        Raises:
            ValueError: If an action is unknown, its weight is not finite, the seed is negative, or
                the image is smaller than `MIN_SIZE`.
        """
        return _draw(seed, dict(actions), np.zeros(len(EXPRESSIONS)), size)


def _draw(seed: int, actions: dict[str, float], labels: np.ndarray, size: int) -> Face:
    if size < MIN_SIZE:
        raise ValueError(f"Size {size} is too small to draw a face: give at least {MIN_SIZE}.")
    weights = Weights(actions)
    who, layers = sample_identity(seed), _layers(seed, size)
    canvas = layers.under.on(layers.under.image.copy())
    draw_on_skin(canvas, who, weights, layers.face)
    draw_mouth(canvas, who, weights)
    draw_eyes(canvas, who, weights)
    draw_tears(canvas, who, weights)
    canvas.image.paste(layers.over, mask=layers.over)
    draw_brows(canvas, who, weights, layers.hair)
    draw_over_hair(canvas, who, weights)
    contour = canvas.place(face_outline(who)) / SUPERSAMPLE
    (x0, y0), (x1, y1) = contour.min(axis=0), contour.max(axis=0)
    return Face(
        image=np.array(canvas.image.reduce(SUPERSAMPLE)),
        box=(float(x0), float(y0), float(x1), float(y1)),
        landmarks=_landmarks(canvas, who, weights),
        scores=labels,
        actions=actions,
    )


def _landmarks(canvas: Canvas, who: Identity, weights: Weights) -> np.ndarray:
    eyes = [eye_centre(who, -1), eye_centre(who, 1)]
    points = np.concatenate([eyes, [(0.0, 72.0)], lips(who, weights).corners])
    return canvas.place(points) / SUPERSAMPLE
