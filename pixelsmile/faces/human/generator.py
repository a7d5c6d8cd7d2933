"""Draw human faces: 3-D heads from the head pack, rendered with numpy."""

from collections.abc import Mapping

import numpy as np

from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.faces.base import Face, Mix
from pixelsmile.faces.human.camera import face_box, frame, landmarks
from pixelsmile.faces.human.fields import linear
from pixelsmile.faces.human.fragments import collect
from pixelsmile.faces.human.identity import Person
from pixelsmile.faces.human.lighting import add_sweat, illuminate
from pixelsmile.faces.human.materials import describe
from pixelsmile.faces.human.pack import load_pack
from pixelsmile.faces.human.pose import Pose, pose_from_actions, within_limits
from pixelsmile.faces.human.recipes import pose_from_mix
from pixelsmile.faces.human.subject import build_subject
from pixelsmile.faces.scores import scores

SUPERSAMPLING = 2
MIN_SIZE, MAX_SIZE = 32, 1024


class HumanFaces:
    """Photograph-like portraits of sampled people.

    Actions of a `Face` are relative to the resting face, so that neutral has weight 0 everywhere;
    a small negative weight undoes what the resting face has. Left and Right are the subject's own.

    Example:
        >>> face = HumanFaces().render(7, {"happy": 0.7}, size=32)
        >>> face.image.shape, round(face.actions["jawOpen"], 3)
        ((32, 32, 3), 0.252)
    """

    domain = "human"

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the 52 actions that `render_actions` accepts."""
        return load_pack().actions

    def render(self, seed: int, mix: Mix, *, size: int = 128) -> Face:
        """Draw one identity with a weighted mix of expressions.

        Raises:
            ValueError: If the seed is negative, the size outside 32 to 1024, an expression unknown
                or a strength outside 0 to 1.5.
        """
        return _draw(seed, pose_from_mix(mix), scores(mix), size)

    def render_actions(self, seed: int, actions: Mapping[str, float], *, size: int = 128) -> Face:
        """Draw one identity with facial actions set by hand; all scores are 0.

        Raises:
            ValueError: If an action is unknown or its weight outside -1 to 1.5, or as for `render`.
        """
        return _draw(seed, pose_from_actions(actions), np.zeros(len(EXPRESSIONS)), size)


def _draw(seed: int, pose: Pose, truth: np.ndarray, size: int) -> Face:
    if seed < 0:
        raise ValueError(f"Seed {seed} is negative: give a whole number from 0 up.")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(
            f"Size {size} lies outside {MIN_SIZE} to {MAX_SIZE}: give the image width in pixels."
        )
    subject = build_subject(int(seed))
    actions = within_limits(pose)
    view = frame(subject, subject.vertices(actions), pose, size * SUPERSAMPLING)
    seen = collect(subject, view)
    surface = describe(subject.person, pose, actions, seen, float(view.scale), view.size)
    colour = illuminate(subject, view, seen, surface)
    if pose.effect("sweat") > 0:
        add_sweat(colour, subject.person, seen, pose.effect("sweat"))
    canvas = _backdrop(subject.person, view.size)
    canvas[:, seen.pixel] = colour
    return Face(
        image=_develop(canvas, size),
        box=face_box(view, SUPERSAMPLING),
        landmarks=landmarks(subject, view, SUPERSAMPLING),
        scores=truth,
        actions=actions,
    )


def _backdrop(person: Person, size: int) -> np.ndarray:
    """Plain background with a soft glow, (3, size * size), linear."""
    place = np.arange(size, dtype=np.float32) / size
    across = (place - np.float32(0.5 - 0.12 * np.sign(person.key_light[0]))) ** 2
    glow = 1.18 - 1.1 * (across[None] + (place[:, None] - np.float32(0.45)) ** 2)
    return linear(person.background)[:, None] * glow.ravel()


def _develop(canvas: np.ndarray, size: int) -> np.ndarray:
    """Average the supersamples, compress highlights and encode for display, (size, size, 3)."""
    blocks = canvas.reshape(3, size, SUPERSAMPLING, size, SUPERSAMPLING)
    light = np.maximum(blocks.mean((2, 4)), 0)
    light = light * (1 + light * 0.12) / (1 + light * 0.42) * 1.16
    display = np.clip(light, 0, 1) ** np.float32(1 / 2.2) * 255 + np.float32(0.5)
    return np.ascontiguousarray(display.astype(np.uint8).transpose(1, 2, 0))
