"""Hair as geometry: a cap that grows out of the scalp, a bun, or a curtain of strands.

Hair belongs to the identity: the cap follows the scalp by constant offsets, bun and curtain follow
the head.
"""

from dataclasses import dataclass

import numpy as np

from pixelsmile.faces.human.anatomy import find_anatomy
from pixelsmile.faces.human.fields import smooth_step
from pixelsmile.faces.human.identity import Person
from pixelsmile.faces.human.mesh import sphere
from pixelsmile.faces.human.pack import SKIN, load_pack

PAINTED_STYLES = ("bald", "buzz")
"""Styles without geometry."""

CURTAIN_LENGTH = {"bob": 1.0, "long": 2.3}
CURTAIN_OPENING = {"bob": 0.62, "long": 0.70}
"""Half the opening at the face, radians."""

CURTAIN_HEIGHT = 20.0
"""Canonical height at which curtains start: strands are painted along it, far above any head."""


@dataclass(frozen=True)
class HairPiece:
    """One mesh of hair.

    Attributes:
        vertices: (N, 3), positions, or offsets from `roots`, dm.
        roots: Skin vertices that carry the piece, or None.
        triangles: (M, 3).
        canonical: (N, 3), where the strands are painted.
        follow: (N, 1), how far a vertex follows the head.
    """

    vertices: np.ndarray
    roots: np.ndarray | None
    triangles: np.ndarray
    canonical: np.ndarray
    follow: np.ndarray

    def place(self, skin: np.ndarray) -> np.ndarray:
        """Positions on a deformed head, whose vertices are `skin`."""
        return self.vertices if self.roots is None else skin[self.roots] + self.vertices


def grow_hair(person: Person, neutral: np.ndarray) -> list[HairPiece]:
    """Build the person's hair on their neutral head."""
    if person.hair in PAINTED_STYLES:
        return []
    phases = np.random.default_rng(person.seed + 77).uniform(0, 6, 6)
    pieces = [_cap(person.hair, neutral, phases)]
    if person.hair == "bun":
        pieces.append(_bun(neutral))
    if person.hair in CURTAIN_LENGTH:
        pieces.append(_curtain(person, neutral, phases))
    return pieces


def _thickness(style: str, height: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Thickness of a full cap, dm; `height` and `front` run from 0 to 1 over the head."""
    match style:
        case "quiff":
            return 0.06 + 0.12 * height + 0.22 * height * front
        case "bun":
            return 0.05 + 0.05 * height
        case "bob":
            return 0.10 + 0.08 * height
        case "long":
            return 0.09 + 0.08 * height
        case "afro":
            return 0.34 + 0.22 * height
        case _:
            return 0.07 + 0.10 * height


def _cap(style: str, neutral: np.ndarray, phases: np.ndarray) -> HairPiece:
    pack, anatomy = load_pack(), find_anatomy()
    canonical = pack.vertices
    x, y, z = canonical.T
    hairy = np.where(anatomy.ear > 0.3, -1, anatomy.scalp)
    grows = (hairy > -0.02) & anatomy.body & (anatomy.mouth == 0)
    triangles = pack.triangles[pack.part == SKIN]
    triangles = triangles[grows[triangles].all(1)]
    roots, local = np.unique(triangles, return_inverse=True)
    local = local.reshape(-1, 3)
    lumps = np.sin(x * 7 + phases[0]) * np.sin(z * 6 + phases[1]) * np.sin(y * 7 + phases[2])
    thickness = _thickness(style, smooth_step(7.3, 8.4, y), smooth_step(0.2, 1.2, z))
    thickness *= smooth_step(-0.02, 0.3 if style == "afro" else 0.16, hairy)
    thickness += 0.02 * lumps * smooth_step(0, 0.3, hairy)
    offsets = _vertex_normals(neutral[roots], local) * thickness[roots, None]
    return HairPiece(
        offsets.astype(np.float32), roots, local, canonical[roots], anatomy.head[roots]
    )


def _vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[corner] for corner in triangles.T)
    faces = np.cross(b - a, c - a)
    normals = np.zeros(vertices.shape)
    for corner in triangles.T:
        np.add.at(normals, corner, faces)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)


def _bun(neutral: np.ndarray) -> HairPiece:
    anatomy = find_anatomy()
    points, triangles = sphere()
    crown = neutral[anatomy.body, 1].max()
    centre = np.array([0, crown - 0.12, neutral[anatomy.ear > 0.3, 2].mean() - 0.75], np.float32)
    shape = np.float32(0.34) * np.array([1, 0.9, 0.85], np.float32)
    canonical = points * np.float32(0.34) + np.array([0, 8.4, -0.3], np.float32)
    return HairPiece(
        points * shape + centre, None, triangles, canonical, np.ones((len(points), 1), np.float32)
    )


def _curtain(
    person: Person, neutral: np.ndarray, phases: np.ndarray, strands: int = 72, steps: int = 34
) -> HairPiece:
    """Strands that leave the crown, follow an ellipsoid to ear height, then fall."""
    anatomy = find_anatomy()
    opening = CURTAIN_OPENING[person.hair]
    around, along = np.meshgrid(
        np.linspace(-np.pi + opening, np.pi - opening, strands),  # 0 is the back of the head
        np.linspace(0, 1, steps),
        indexing="ij",
    )
    polar = np.clip(along / 0.45, 0, 1) * np.pi / 2
    fall = np.clip((along - 0.45) / 0.55, 0, 1)
    ear = neutral[anatomy.ear > 0.3]
    scalp = neutral[anatomy.body & (np.where(anatomy.ear > 0.3, -1, anatomy.scalp) > 0.05)]
    forehead = neutral[anatomy.body & (load_pack().vertices[:, 1] > 7.6), 2].max()
    middle = (scalp[:, 2].min() + forehead) / 2 - 0.02
    equator = ear[:, 1].mean() + 0.25
    half_width = max(np.abs(scalp[:, 0]).max() + 0.13, np.abs(ear[:, 0]).max() + 0.01)
    height = neutral[anatomy.body, 1].max() + 0.17 - equator
    front = np.cos(around) < 0
    half_depth = np.where(front, (forehead - middle) * 0.93, middle - scalp[:, 2].min() + 0.16)
    boxiness = np.where(front, 0.72, 1.0)  # squarer at the temples
    sine = np.sign(np.sin(around)) * np.abs(np.sin(around)) ** boxiness
    cosine = np.sign(np.cos(around)) * np.abs(np.cos(around)) ** boxiness
    wave = 0.035 * np.sin(around * 9 + phases[3] + 3 * fall)
    wave = (wave + 0.02 * np.sin(around * 23 + phases[4])) * np.clip(along * 2, 0, 1)
    inwards = 0.22 if person.hair == "bob" else 0.12
    x = half_width * np.sin(polar) * sine + person.parting * np.cos(polar) ** 2
    x += np.sin(around) * (
        wave + 0.10 * smooth_step(0, 0.5, fall) - inwards * smooth_step(0.5, 1, fall)
    )
    length = CURTAIN_LENGTH[person.hair]
    y = equator + height * np.cos(polar)
    y -= fall * length * (1 + 0.06 * np.sin(around * 5 + phases[5]))
    z = middle - half_depth * np.sin(polar) * cosine - np.cos(around) * wave - 0.06 * fall
    z += front * 0.05 * smooth_step(0, 0.6, fall) * np.cos(around)
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    painted = [around * 0.8, CURTAIN_HEIGHT + along * 2, np.full_like(along, 0.4)]
    ear_height = ear[:, 1].mean()
    follow = smooth_step(ear_height - 1.9, ear_height - 0.2, points[:, 1]).astype(np.float32)
    return HairPiece(
        points,
        None,
        _grid_triangles(strands, steps),
        np.stack(painted, -1).reshape(-1, 3).astype(np.float32),
        follow[:, None],
    )


def _grid_triangles(rows: int, columns: int) -> np.ndarray:
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (row * columns + column).ravel()
    b, c, d = a + columns, a + columns + 1, a + 1
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
