"""Shape the head mesh: identity, expression, lids on eyeballs."""

from dataclasses import dataclass

import numpy as np

from pixelsmile.faces.human.anatomy import find_anatomy
from pixelsmile.faces.human.fields import rotation
from pixelsmile.faces.human.identity import Person
from pixelsmile.faces.human.pack import load_pack
from pixelsmile.faces.human.pose import REST

LID_CLEARANCE = np.float32(1.045)
"""Distance of the lids from the centre of the eye, in eye radii."""

LASH_LENGTH = np.float32(0.40)
TEETH_NARROWING = np.array([0.93, 1, 1], np.float32)
TEETH_RETREAT = np.array([0, 0, 0.035], np.float32)
GAZE_RANGE = (32.0, 26.0)
"""Degrees that a full look action turns the eye sideways and up or down."""

CONVERGENCE = 2.0
"""Degrees that each eye turns inwards at rest."""


@dataclass(frozen=True)
class Eyeball:
    """Centre (3,) and radius of one eyeball, dm; `side` is Left or Right, the subject's own."""

    side: str
    centre: np.ndarray
    radius: np.float32


def sphere(rings: int = 20, segments: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere with its pole towards +z: vertices (V, 3) and triangles (T, 3)."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rings),
        np.linspace(0, 2 * np.pi, segments, endpoint=False),
        indexing="ij",
    )
    points = [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)]
    ring, segment = np.meshgrid(np.arange(rings - 1), np.arange(segments), indexing="ij")
    first, following = ring * segments, (segment + 1) % segments
    a, b = first + segment, first + following
    c, d = b + segments, a + segments
    triangles = np.stack([a, d, c, a, c, b], -1).reshape(-1, 3)
    return np.stack(points, -1).reshape(-1, 3).astype(np.float32), triangles


def neutral_vertices(person: Person) -> np.ndarray:
    """The person's head without expression, (N, 3), dm."""
    pack = load_pack()
    vertices = pack.vertices.copy()
    child = float(np.interp(person.age, [0.3, 0.5], [1, 0]))
    old = float(np.interp(person.age, [0.5, 1], [0, 1]))
    ages = {"child": child, "old": old, "young": 1 - child - old}
    thin, heavy = max(0.0, 1 - 2 * person.weight), max(0.0, 2 * person.weight - 1)
    builds = {"minweight": thin, "maxweight": heavy, "averageweight": 1 - thin - heavy}
    origins = dict(zip(("african", "asian", "caucasian"), person.origins, strict=True))
    for sex, share in (("female", person.femininity), ("male", 1 - person.femininity)):
        for age, part in ages.items():
            for origin, weight in origins.items():
                pack.add_target(vertices, f"race:{origin}-{sex}-{age}", share * part * weight)
            for build, weight in builds.items():
                name = f"universal:{sex}-{age}-averagemuscle-{build}"
                pack.add_target(vertices, name, share * part * weight)
    for name, weight in person.shapes.items():
        pack.add_target(vertices, name, weight)
    return vertices


def find_eyeballs(neutral: np.ndarray) -> tuple[Eyeball, Eyeball]:
    """Fit a sphere to each eye of a neutral head; the left one first."""
    left, right = (
        _fit_eyeball(side, neutral[vertices])
        for side, vertices in zip(("Left", "Right"), load_pack().eye_vertices, strict=True)
    )
    return left, right


def _fit_eyeball(side: str, points: np.ndarray) -> Eyeball:
    low, high = points.min(0), points.max(0)
    radius = (high[0] - low[0] + high[1] - low[1]) / 4
    centre = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2] + radius * 1.03]
    return Eyeball(side, np.array(centre, np.float32), np.float32(radius))


def deform(
    neutral: np.ndarray, actions: dict[str, float], eyeballs: tuple[Eyeball, Eyeball]
) -> np.ndarray:
    """Apply facial actions, given relative to the resting face, to a neutral head."""
    pack, anatomy = load_pack(), find_anatomy()
    vertices = neutral.copy()
    for name, weight in actions.items():
        pack.add_target(vertices, f"action:{name}", weight + REST.get(name, 0.0))
    # A little back and narrower, so that closed lips cover the teeth.
    vertices[anatomy.teeth] = vertices[anatomy.teeth] * TEETH_NARROWING - TEETH_RETREAT
    for eye in eyeballs:
        _push_lids_out(vertices, eye)
    roots = vertices[anatomy.lash_roots]
    vertices[anatomy.lashes] = roots + (vertices[anatomy.lashes] - roots) * LASH_LENGTH
    return vertices


def _push_lids_out(vertices: np.ndarray, eye: Eyeball) -> None:
    """Move lid vertices that sank into the eyeball to its surface, in place."""
    lids = np.flatnonzero(find_anatomy().lids)
    offset = vertices[lids] - eye.centre
    distance = np.linalg.norm(offset, axis=1)
    sunk = (distance < eye.radius * LID_CLEARANCE) & (offset[:, 2] > 0.25 * eye.radius)
    reach = (eye.radius * LID_CLEARANCE / distance[sunk])[:, None]
    vertices[lids[sunk]] = eye.centre + offset[sunk] * reach


def bulged_sphere() -> tuple[np.ndarray, np.ndarray]:
    """Unit eyeball with a cornea, looking along +z: vertices and triangles."""
    vertices, triangles = sphere()
    angle = np.arccos(np.clip(vertices[:, 2], -1, 1))
    cornea = 1 + 0.075 * np.exp(-((angle / 0.42) ** 4))
    return (vertices * cornea[:, None]).astype(np.float32), triangles


def turn_eye(surface: np.ndarray, eye: Eyeball, actions: dict[str, float]) -> np.ndarray:
    """Place an eyeball's surface, looking where the look actions point."""
    look = {way: actions[f"eyeLook{way}{eye.side}"] for way in ("In", "Out", "Up", "Down")}
    outwards = 1 if eye.side == "Left" else -1
    sideways = outwards * (GAZE_RANGE[0] * (look["Out"] - look["In"]) - CONVERGENCE)
    downwards = GAZE_RANGE[1] * (look["Down"] - look["Up"])
    return (surface @ rotation(sideways, downwards, 0).T) * eye.radius + eye.centre
