"""Colours of hair, eyes, skin, clothes and background."""

import colorsys
from typing import Final

Color = tuple[int, int, int]

WHITE: Final = (255, 255, 255)
INK: Final = (46, 30, 44)
"""Outlines; a warm near-black reads softer than black."""

HAIR: Final = (
    (58, 52, 70),
    (92, 62, 50),
    (150, 98, 60),
    (240, 206, 120),
    (246, 232, 196),
    (205, 74, 62),
    (240, 140, 76),
    (246, 158, 186),
    (176, 130, 214),
    (96, 116, 206),
    (112, 190, 226),
    (110, 196, 170),
    (136, 186, 98),
    (206, 212, 224),
    (156, 52, 92),
)
EYES: Final = (
    (196, 52, 62),
    (214, 112, 40),
    (226, 172, 44),
    (96, 168, 66),
    (44, 160, 140),
    (56, 140, 220),
    (70, 84, 200),
    (140, 84, 206),
    (206, 84, 160),
    (126, 82, 52),
    (104, 112, 130),
)
SKIN: Final = (
    (255, 232, 218),
    (255, 224, 202),
    (250, 214, 186),
    (240, 196, 160),
    (218, 164, 122),
    (176, 122, 88),
)
CLOTHES: Final = (
    (70, 84, 130),
    (60, 60, 72),
    (236, 236, 240),
    (196, 82, 92),
    (110, 150, 110),
    (236, 196, 110),
    (150, 116, 170),
    (120, 170, 200),
    (222, 150, 160),
    (150, 110, 84),
)
BACKGROUNDS: Final = (
    (206, 226, 244),
    (250, 220, 226),
    (222, 240, 216),
    (252, 240, 206),
    (230, 220, 244),
    (212, 240, 238),
    (232, 232, 236),
    (250, 226, 204),
    (176, 196, 220),
    (196, 180, 206),
    (170, 204, 190),
)


def blend(first: Color, second: Color, weight: float) -> Color:
    """Return `first` moved towards `second` by `weight` in [0, 1]."""
    r, g, b = (round(a + (c - a) * weight) for a, c in zip(first, second, strict=True))
    return r, g, b


def shift(color: Color, *, hue: float = 0.0, saturation: float = 1.0, value: float = 1.0) -> Color:
    """Turn the hue and scale saturation and value, clipped to the valid range."""
    h, s, v = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    s, v = min(s * saturation, 1.0), min(v * value, 1.0)
    r, g, b = (round(channel * 255) for channel in colorsys.hsv_to_rgb((h + hue) % 1.0, s, v))
    return r, g, b


def shade(color: Color) -> Color:
    """Return the cel shadow of a colour: darker, slightly cooler and more saturated."""
    return blend(shift(color, saturation=1.15, value=0.82), (90, 60, 130), 0.10)


def light(color: Color) -> Color:
    """Return the highlight of a colour."""
    return blend(color, WHITE, 0.45)
