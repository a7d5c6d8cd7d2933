"""Facial actions and the twelve recipes made of them.

Left and right are those of the character, so `browDownLeft` moves the brow on the right of the
image. A recipe holds the weights at strength 1; weights scale with strength and add up in a mix.
"""

import math
from collections.abc import Mapping
from typing import Final

from pixelsmile.faces.base import Mix
from pixelsmile.faces.scores import check_mix

ACTIONS: Final = (
    "browInnerUp", "browDownLeft", "browDownRight", "browOuterUpLeft", "browOuterUpRight",
    "browKnit", "eyeWideLeft", "eyeWideRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeGlare", "eyeDroop", "eyeArcHappy", "eyeGleam",
    "gazeX", "gazeY", "pupilShrink", "noseSneer", "jawOpen", "mouthSmile", "mouthFrown",
    "mouthStretch", "mouthPucker", "mouthWave", "mouthSmirkLeft", "mouthSmirkRight",
    "mouthShift", "mouthUpperUp", "mouthClench", "tongueOut", "blush", "sweat", "tears",
    "paleShade", "greenShade", "angerVein", "drool",
)  # fmt: skip
"""Every action that the drawing understands."""

RECIPES: Final[dict[str, dict[str, float]]] = {
    "angry": {
        "browDownLeft": 1.0, "browDownRight": 1.0, "browKnit": 0.9, "eyeGlare": 1.0,
        "pupilShrink": 0.25, "mouthFrown": 0.7, "mouthClench": 1.0, "mouthStretch": 0.4,
        "angerVein": 1.0,
    },
    "confused": {
        "browDownRight": 0.75, "browOuterUpLeft": 1.0, "browInnerUp": 0.3, "browKnit": 0.6,
        "eyeSquintRight": 0.6, "eyeBlinkRight": 0.2, "eyeWideLeft": 0.35, "gazeX": 0.9,
        "gazeY": -0.6, "mouthWave": 1.0, "mouthPucker": 0.3, "mouthShift": 0.8,
    },
    "contempt": {
        "eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.56, "browOuterUpLeft": 0.9,
        "browDownRight": 0.45, "gazeX": -0.55, "gazeY": 0.55, "mouthSmirkLeft": 1.0,
        "noseSneer": 0.2,
    },
    "confident": {
        "browDownLeft": 0.6, "browDownRight": 0.85, "browOuterUpLeft": 0.9,
        "browOuterUpRight": 0.35, "eyeGlare": 0.5, "eyeSquintLeft": 0.5,
        "eyeSquintRight": 0.5, "eyeGleam": 1.0, "mouthSmile": 0.95, "mouthSmirkLeft": 0.45,
        "mouthStretch": 0.45,
    },
    "disgust": {
        "browDownLeft": 0.7, "browDownRight": 0.7, "browKnit": 0.6, "eyeSquintLeft": 0.8,
        "eyeSquintRight": 0.8, "eyeBlinkLeft": 0.25, "eyeBlinkRight": 0.25, "noseSneer": 1.0,
        "mouthUpperUp": 1.0, "mouthFrown": 0.7, "jawOpen": 0.15, "mouthStretch": 0.45,
        "tongueOut": 1.0, "greenShade": 1.0, "gazeX": 0.3,
    },
    "fear": {
        "browInnerUp": 1.0, "browKnit": 0.7, "eyeWideLeft": 1.0, "eyeWideRight": 1.0,
        "pupilShrink": 1.0, "jawOpen": 0.75, "mouthStretch": 0.35, "mouthFrown": 0.35,
        "mouthWave": 1.0, "paleShade": 1.0, "sweat": 0.2,
    },
    "happy": {
        "mouthSmile": 1.0, "jawOpen": 0.95, "mouthStretch": 0.3, "eyeArcHappy": 0.95,
        "browOuterUpLeft": 0.35, "browOuterUpRight": 0.35, "browInnerUp": 0.25, "blush": 0.25,
    },
    "sad": {
        "browInnerUp": 1.0, "browKnit": 0.3, "eyeDroop": 0.9, "eyeBlinkLeft": 0.2,
        "eyeBlinkRight": 0.2, "gazeY": 0.6, "mouthFrown": 1.0, "mouthStretch": 0.3, "tears": 1.0,
    },
    "shy": {
        "blush": 1.0, "gazeX": 0.9, "gazeY": 0.55, "browInnerUp": 0.6, "eyeDroop": 0.3,
        "eyeBlinkLeft": 0.22, "eyeBlinkRight": 0.22, "mouthSmile": 0.35, "mouthWave": 0.45,
        "mouthPucker": 0.3,
    },
    "sleepy": {
        "eyeBlinkLeft": 0.70, "eyeBlinkRight": 0.80, "eyeDroop": 0.25, "browOuterUpLeft": 0.35,
        "browOuterUpRight": 0.35, "browInnerUp": 0.25, "jawOpen": 0.65, "mouthPucker": 0.6,
        "drool": 1.0,
    },
    "surprised": {
        "browInnerUp": 0.75, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0,
        "eyeWideLeft": 1.0, "eyeWideRight": 1.0, "pupilShrink": 0.25, "jawOpen": 1.0,
        "mouthPucker": 0.62,
    },
    "anxious": {
        "sweat": 1.0, "browInnerUp": 0.85, "browKnit": 0.5, "gazeX": -0.9, "gazeY": -0.1,
        "pupilShrink": 0.3, "mouthWave": 0.8, "mouthStretch": 0.45, "mouthFrown": 0.35,
        "eyeWideLeft": 0.2, "eyeWideRight": 0.2,
    },
}  # fmt: skip


def mix_actions(mix: Mix) -> dict[str, float]:
    """Return the summed action weights of a mix; actions of weight 0 are left out.

    Raises:
        ValueError: If an expression is unknown or a strength lies outside 0 to 1.5.
    """
    total: dict[str, float] = {}
    for name, strength in check_mix(mix).items():
        for action, weight in RECIPES[name].items():
            total[action] = total.get(action, 0.0) + strength * weight
    return {action: weight for action, weight in total.items() if weight != 0.0}


class Weights:
    """Action weights, clamped to what the geometry can take."""

    def __init__(self, actions: Mapping[str, float]) -> None:
        for name, weight in actions.items():
            if name not in ACTIONS:
                raise ValueError(f"Unknown action {name!r}: choose one of {', '.join(ACTIONS)}.")
            if not math.isfinite(weight):
                raise ValueError(
                    f"Weight {weight} of action {name!r} is not finite: give a number."
                )
        self._actions = actions

    def get(self, name: str, *, low: float = 0.0, high: float = 1.5) -> float:
        """Return one weight, 0 if it is not set."""
        return min(max(self._actions.get(name, 0.0), low), high)

    def side(self, name: str, side: int) -> float:
        """Return a left or right weight; `side` is 1 on the right of the image."""
        return self.get(name + ("Left" if side > 0 else "Right"))
