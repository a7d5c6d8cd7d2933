"""Everything about a person that no expression changes, built once per seed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pixelsmile.faces.human.anatomy import find_anatomy
from pixelsmile.faces.human.hair import HairPiece, grow_hair
from pixelsmile.faces.human.identity import Person, sample_person
from pixelsmile.faces.human.mesh import (
    Eyeball,
    bulged_sphere,
    deform,
    find_eyeballs,
    neutral_vertices,
    turn_eye,
)
from pixelsmile.faces.human.pack import EYE, HAIR, LASHES, load_pack


@dataclass(frozen=True)
class Subject:
    """A person's meshes, joined in the order head, left eye, right eye, hair.

    N vertices and M triangles in total.

    Attributes:
        person: The identity.
        neutral: (head vertices, 3), the head without expression, dm.
        eyeballs: Left and right.
        hair: Pieces of hair.
        triangles: (M, 3).
        part: (M,), material of each triangle.
        two_sided: (M,), seen from both sides.
        painted: (4, N), canonical x, y, z and the mouth mask.
        follow: (N, 1), how far a vertex follows the head.
        eye_slices: Where each eyeball's vertices lie.
    """

    person: Person
    neutral: np.ndarray
    eyeballs: tuple[Eyeball, Eyeball]
    hair: list[HairPiece]
    triangles: np.ndarray
    part: np.ndarray
    two_sided: np.ndarray
    painted: np.ndarray
    follow: np.ndarray
    eye_slices: tuple[slice, slice]

    def vertices(self, actions: dict[str, float]) -> np.ndarray:
        """All positions, (N, 3), under facial actions relative to the resting face."""
        head = deform(self.neutral, actions, self.eyeballs)
        surface, _ = bulged_sphere()
        eyes = [turn_eye(surface, eye, actions) for eye in self.eyeballs]
        return np.concatenate([head, *eyes, *(piece.place(head) for piece in self.hair)])


@lru_cache(maxsize=32)
def build_subject(seed: int) -> Subject:
    """Sample a person and build what does not depend on the expression."""
    pack, anatomy = load_pack(), find_anatomy()
    person = sample_person(seed)
    neutral = neutral_vertices(person)
    hair = grow_hair(person, neutral)
    surface, eye_triangles = bulged_sphere()
    stiff = np.ones((len(surface), 1), np.float32)
    sphere_points = surface / np.linalg.norm(surface, axis=1, keepdims=True)
    pieces = [(pack.vertices, pack.triangles, pack.part, anatomy.head)]
    pieces += [(sphere_points, eye_triangles, np.full(len(eye_triangles), EYE), stiff)] * 2
    for piece in hair:
        hairy = np.full(len(piece.triangles), HAIR)
        pieces.append((piece.canonical, piece.triangles, hairy, piece.follow))
    starts = np.cumsum([0] + [len(canonical) for canonical, *_ in pieces]).tolist()
    canonical = np.concatenate([piece[0] for piece in pieces]).astype(np.float32)
    mouth = np.zeros((len(canonical), 1), np.float32)
    mouth[: len(anatomy.mouth), 0] = anatomy.mouth
    part = np.concatenate([piece[2] for piece in pieces]).astype(np.uint8)
    return Subject(
        person=person,
        neutral=neutral,
        eyeballs=find_eyeballs(neutral),
        hair=hair,
        triangles=np.concatenate(
            [piece[1] + start for piece, start in zip(pieces, starts[:-1], strict=True)]
        ),
        part=part,
        two_sided=(part == HAIR) | (part == LASHES),
        painted=np.concatenate([canonical, mouth], 1).T.copy(),
        follow=np.concatenate([piece[3] for piece in pieces]),
        eye_slices=(slice(starts[1], starts[2]), slice(starts[2], starts[3])),
    )
