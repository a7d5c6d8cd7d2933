"""The state of a face: weights of facial actions, gaze, head turn and skin effects."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pixelsmile.faces.human.pack import load_pack

EFFECTS = ("flush", "pale", "blush", "sweat")
MAX_TURN = 6.0
"""Largest head turn of a mix, degrees."""

ACTION_RANGE = (-1.0, 1.5)
"""Weights that may be set by hand, relative to the resting face."""


def both(**weights: float) -> dict[str, float]:
    """Give actions the same weight on both sides; Left and Right are the subject's own."""
    return {name + side: weight for name, weight in weights.items() for side in ("Left", "Right")}


# The template's resting face looks a little sullen; this makes it neutral.
REST = both(eyeWide=0.20, mouthSmile=0.17, browOuterUp=0.10)

# Beyond these weights lids cross, lips tear or cheeks fold.
DEFAULT_LIMIT = 1.1
LIMITS = {
    **both(browDown=1.4, browOuterUp=1.4, noseSneer=1.3, mouthStretch=1.3, mouthFrown=1.3),
    **both(eyeBlink=0.8, eyeWide=1.25, eyeSquint=0.9, mouthSmile=1.15, mouth=0.8),
    **both(eyeLookIn=1.0, eyeLookOut=1.0, eyeLookUp=1.0, eyeLookDown=1.0),
    "browInnerUp": 1.5,
    "jawOpen": 0.95,
    "mouthFunnel": 0.6,
    "mouthPucker": 0.6,
    "tongueOut": 0.6,
}


@dataclass(frozen=True)
class Pose:
    """State of a face relative to its resting state; the default is neutral.

    Attributes:
        actions: Weight per facial action. Negative weights undo what the resting face has.
        turn: Yaw, pitch (positive lowers the chin) and roll of the head, degrees.
        effects: Strength per skin effect, 0 to 1.5.
    """

    actions: dict[str, float] = field(default_factory=dict)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    effects: dict[str, float] = field(default_factory=dict)

    def effect(self, name: str) -> float:
        """Strength of a skin effect, 0 if the pose lacks it."""
        return self.effects.get(name, 0.0)


def gaze(left: float, up: float) -> dict[str, float]:
    """Look actions for a gaze to the subject's left and up, in fractions of the full range."""
    if left > 0:
        weights = {"eyeLookOutLeft": left, "eyeLookInRight": left}
    else:
        weights = {"eyeLookInLeft": -left, "eyeLookOutRight": -left}
    return weights | (both(eyeLookUp=up) if up > 0 else both(eyeLookDown=-up))


def weighted_sum(parts: Iterable[tuple[Pose, float]]) -> Pose:
    """Blend poses: actions, turns and effects add up; the turn stays within `MAX_TURN`."""
    actions: dict[str, float] = {}
    effects: dict[str, float] = {}
    turn = [0.0, 0.0, 0.0]
    for pose, weight in parts:
        for name, value in pose.actions.items():
            actions[name] = actions.get(name, 0.0) + weight * value
        for name, value in pose.effects.items():
            effects[name] = effects.get(name, 0.0) + weight * value
        turn = [total + weight * angle for total, angle in zip(turn, pose.turn, strict=True)]
    yaw, pitch, roll = (min(max(angle, -MAX_TURN), MAX_TURN) for angle in turn)
    return Pose(actions, (yaw, pitch, roll), effects)


def within_limits(pose: Pose) -> dict[str, float]:
    """All 52 weights as applied, relative to the resting face, after the limits."""
    result = {}
    for name in load_pack().actions:
        rest = REST.get(name, 0.0)
        total = rest + pose.actions.get(name, 0.0)
        result[name] = min(max(total, 0.0), LIMITS.get(name, DEFAULT_LIMIT)) - rest
    return result


def pose_from_actions(actions: Mapping[str, float]) -> Pose:
    """Build a pose from weights set by hand.

    Raises:
        ValueError: If an action is unknown or a weight is not finite or outside `ACTION_RANGE`.
    """
    known = load_pack().actions
    low, high = ACTION_RANGE
    for name, weight in actions.items():
        if name not in known:
            raise ValueError(f"Unknown facial action {name!r}: choose one of {', '.join(known)}.")
        if not (math.isfinite(weight) and low <= weight <= high):
            raise ValueError(
                f"Weight {weight} of action {name!r} lies outside {low} to {high}: "
                "give a finite number in that range."
            )
    return Pose({name: float(weight) for name, weight in actions.items()})
