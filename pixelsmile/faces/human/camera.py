"""Frame a head, turn it, project it and read the true box and landmarks off it."""

from dataclasses import dataclass

import numpy as np

from pixelsmile.faces.human.anatomy import find_anatomy
from pixelsmile.faces.human.fields import rotation
from pixelsmile.faces.human.pose import Pose
from pixelsmile.faces.human.subject import Subject

DISTANCE = np.float32(11.0)
"""From the camera to the middle of the head, dm."""

HEAD_HEIGHT = 1.0
"""Height of an average head from chin to crown, as a share of the image."""

HEAD_MIDDLE = 0.43
"""Height above the chin that lies in the middle of the image, in head heights."""

NECK_SHARE = 0.6
"""Share of a person's yaw that the neck makes; the body makes the rest."""


@dataclass(frozen=True)
class View:
    """A subject in front of the camera.

    Attributes:
        world: (3, N), camera-aligned positions round the middle of the head, dm.
        screen: (N, 3), pixels to the right and down, and distance from the camera in dm.
        scale: Pixels per dm at the middle of the head.
        size: Width and height of the image in pixels.
    """

    world: np.ndarray
    screen: np.ndarray
    scale: np.float32
    size: int


def frame(subject: Subject, vertices: np.ndarray, pose: Pose, size: int) -> View:
    """Turn and project all vertices; the framing depends on the neutral head only."""
    person, anatomy, neutral = subject.person, find_anatomy(), subject.neutral
    chin = neutral[anatomy.body & anatomy.chin, 1].min()
    height = neutral[anatomy.body, 1].max() - chin
    middle = (subject.eyeballs[0].centre + subject.eyeballs[1].centre) / 2
    centre = np.array([middle[0], chin + HEAD_MIDDLE * height, middle[2] - 0.9], np.float32)
    pivot = np.array([middle[0], chin + 0.05 * height, centre[2] - 0.15], np.float32)
    yaw, pitch, roll = (a + b for a, b in zip(pose.turn, (0.0, *person.turn[1:]), strict=True))
    head = rotation(yaw + person.turn[0] * NECK_SHARE, pitch, roll)
    body = rotation(person.turn[0] * (1 - NECK_SHARE), 0, 0)
    offset = vertices - pivot
    offset += (offset @ head.T - offset) * subject.follow
    world = ((offset + (pivot - centre)) @ body.T).T.copy()
    depth = DISTANCE - world[2]
    focal = np.float32(size * HEAD_HEIGHT / height * DISTANCE * person.zoom)
    screen = [size / 2 + world[0] / depth * focal, size / 2 - world[1] / depth * focal, depth]
    return View(world, np.stack(screen, 1).astype(np.float32), focal / DISTANCE, size)


def face_box(view: View, scale: float) -> tuple[float, float, float, float]:
    """Box round the face in pixels of the image, `scale` pixels of the view each, clipped."""
    face = view.screen[find_anatomy().face, :2]
    corners = np.clip(np.concatenate([face.min(0), face.max(0)]), 0, view.size) / scale
    x0, y0, x1, y1 = corners.tolist()
    return x0, y0, x1, y1


def landmarks(subject: Subject, view: View, scale: float) -> np.ndarray:
    """Eyes, nose tip and mouth corners, (5, 2), in ArcFace order; see `face_box` for `scale`."""
    left, right = (view.screen[part, :2].mean(0) for part in subject.eye_slices)
    marks = view.screen[find_anatomy().marks, :2]
    # The subject's right eye is on the left of the image.
    return np.stack([right, left, *marks]).astype(np.float64) / scale
